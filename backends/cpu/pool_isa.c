/* pool_isa.c: pooling's inner loops. See pool_fast.h. */
#include "pool_fast.h"

#include "vector.h"

MOON_INLINE vi iload(const int32_t *p) { return *(const viu *)p; }
MOON_INLINE void istore(int32_t *p, vi v) { *(viu *)p = v; }
MOON_INLINE vi isplat(int32_t x) { return x - (vi){0}; }
MOON_INLINE vi iload_part(const int32_t *p, int64_t n) {
  vi v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
}

/* n lanes of a vector: all (a constant) or a part. */
#define LOAD(p) (n == VL ? vload(p) : vload_part(p, n))
#define STORE(p, v)                \
  do {                             \
    if (n == VL) vstore(p, v);     \
    else vstore_part(p, v, n);     \
  } while (0)
/* body(j, n) for all channels. */
#define CHANNELS(body)                                    \
  do {                                                    \
    int64_t j = 0;                                        \
    for (; j + VL <= r->channels; j += VL) body(j, VL);   \
    if (j < r->channels) body(j, r->channels - j);        \
  } while (0)

MOON_INLINE void max_at(const moon_pool_rows *r, const float *x, float *y, int32_t *index, const int32_t *positions, int32_t shift,
                        int64_t n) {
  vf best = LOAD(x + r->taps[0]);
  vi where = isplat(positions[0]);
  for (int64_t t = 1; t < r->ntaps; t++) {
    vf v = LOAD(x + r->taps[t]);
    vi better = (v > best) | ((v != v) & (best == best));
    best = vselect(better, v, best);
    where = (better & isplat(positions[t])) | (~better & where);
  }
  if (y) STORE(y, best);
  if (!index) return;
  where += isplat(shift);
  if (n == VL) istore(index, where);
  else memcpy(index, &where, (size_t)n * sizeof *index);
}

static void pool_max(const moon_pool_rows *r, const float *x, float *y, int32_t *index, const int32_t *positions,
                     int32_t position_step) {
  for (int64_t i = 0; i < r->m; i++, x += r->source_step) {
#define MAX_AT(j, n) \
  max_at(r, x + (j), y ? y + i * r->target_step + (j) : NULL, index ? index + i * r->target_step + (j) : NULL, positions, \
         (int32_t)i * position_step, n)
    CHANNELS(MAX_AT);
  }
}

MOON_INLINE void sum_at(const moon_pool_rows *r, const float *x, float *y, const float *weights, float divisor, int64_t n) {
  vf sum = {0};
  for (int64_t t = 0; t < r->ntaps; t++) {
    vf v = LOAD(x + r->taps[t]);
    sum = weights ? vfma(v, vsplat(weights[t]), sum) : sum + v;
  }
  STORE(y, sum / vsplat(divisor));
}

static void pool_sum(const moon_pool_rows *r, const float *x, float *y, const float *weights, float divisor) {
  for (int64_t i = 0; i < r->m; i++, x += r->source_step, y += r->target_step) {
#define SUM_AT(j, n) sum_at(r, x + (j), y + (j), weights, divisor, n)
    CHANNELS(SUM_AT);
  }
}

MOON_INLINE void max_grad_at(const moon_pool_rows *r, const int32_t *index, const float *dy, float *dx, int32_t here, int32_t area,
                             vi *bad, int64_t n) {
  vf sum = {0};
  for (int64_t t = 0; t < r->ntaps; t++) {
    vi at = n == VL ? iload(index + r->taps[t]) : iload_part(index + r->taps[t], n);
    *bad |= (at < 0) | (at >= isplat(area));
    sum += (vf)((at == isplat(here)) & (vi)LOAD(dy + r->taps[t]));
  }
  STORE(dx, sum);
}

static bool pool_max_grad(const moon_pool_rows *r, const int32_t *index, const float *dy, float *dx, int32_t here,
                          int32_t here_step, int32_t area) {
  vi bad = {0};
  for (int64_t i = 0; i < r->m; i++, index += r->source_step, dy += r->source_step, dx += r->target_step, here += here_step) {
#define MAX_GRAD_AT(j, n) max_grad_at(r, index + (j), dy + (j), dx + (j), here, area, &bad, n)
    CHANNELS(MAX_GRAD_AT);
  }
  int32_t any = 0;
  for (int i = 0; i < VL; i++) any |= bad[i];
  return any == 0;
}

const moon_pool_set MOON_ISA_NAME(moon__pool_set) = {.max = pool_max, .sum = pool_sum, .max_grad = pool_max_grad};
