/* rows_isa.c: kernels that work row by row. See rows_fast.h. */
#include "rows_fast.h"

#include <math.h>

#include "vmath.h"

/* For every vector of the row: v is loaded (missing lanes: fill), body uses it; out(v) stores what it becomes. */
#define EACH(p, fill, body)                                 \
  do {                                                      \
    int64_t i = 0;                                          \
    for (; i + VL <= n; i += VL) {                          \
      vf v = vload((p) + i);                                \
      body;                                                 \
    }                                                       \
    if (i < n) {                                            \
      vf v = vload_filled((p) + i, n - i, fill);             \
      body;                                                 \
    }                                                       \
  } while (0)
#define OUT(y, value)                                       \
  do {                                                      \
    vf out_v = (value);                                     \
    if (i + VL <= n) vstore((y) + i, out_v);                \
    else vstore_part((y) + i, out_v, n - i);                \
  } while (0)

static float row_max(const float *x, int64_t n) {
  vf m = vsplat(-INFINITY), a = m, b = m, c = m;
  for (; n >= 4 * VL; n -= 4 * VL, x += 4 * VL) { /* four at a time: one after the other waits for its result */
    m = vmax_nan(vload(x), m);
    a = vmax_nan(vload(x + VL), a);
    b = vmax_nan(vload(x + 2 * VL), b);
    c = vmax_nan(vload(x + 3 * VL), c);
  }
  EACH(x, -INFINITY, m = vmax_nan(v, m));
  return vmax_lanes(vmax_nan(vmax_nan(m, a), vmax_nan(b, c)));
}

/* y = exp(x - shift); gives the sum. y NULL: only the sum. */
MOON_INLINE float exp_row(float *y, const float *x, int64_t n, float shift) {
  vf sum = {0}, s = vsplat(shift);
  EACH(x, -INFINITY, {
    v = vexp(v - s);
    if (y) OUT(y, v);
    sum += i + VL <= n ? v : vload_filled((const float *)&v, n - i, 0.0f);
  });
  return vsum(sum);
}

static void softmax_scaled(float *y, const float *x, int64_t n, float scale) {
  vf factor = vsplat(scale / exp_row(y, x, n, row_max(x, n)));
  EACH(y, 0.0f, OUT(y, v * factor));
}

static void softmax(float *y, const float *x, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) softmax_scaled(y, x, n, 1.0f);
}

static float log_sum(const float *x, int64_t n) {
  float top = row_max(x, n);
  return top + moon__log(exp_row(NULL, x, n, top));
}

static void log_softmax(float *y, const float *x, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    float top = row_max(x, n);
    vf shift = vsplat(top), low = vsplat(moon__log(exp_row(NULL, x, n, top)));
    EACH(x, 0.0f, OUT(y, (v - shift) - low));
  }
}

static void norm(float *y, const float *x, const float *gamma, const float *beta, int64_t rows, int64_t n, float epsilon,
                 bool centred) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    vf sum = {0}, square = {0};
    if (centred) EACH(x, 0.0f, sum += v);
    float mean = vsum(sum) / (float)n;
    vf shift = vsplat(mean);
    EACH(x, mean, {
      v -= shift;
      square = vfma(v, v, square);
    });
    vf factor = vsplat(1.0f / __builtin_sqrtf(vsum(square) / (float)n + epsilon));
    EACH(x, 0.0f, {
      v = (v - shift) * factor;
      if (gamma) v *= i + VL <= n ? vload(gamma + i) : vload_part(gamma + i, n - i);
      if (beta) v += i + VL <= n ? vload(beta + i) : vload_part(beta + i, n - i);
      OUT(y, v);
    });
  }
}

MOON_INLINE vf get(const float *p, int64_t left) { return left >= VL ? vload(p) : vload_part(p, left); }
MOON_INLINE void add_to(float *p, vf v, int64_t left) {
  if (left >= VL) vstore(p, vload(p) + v);
  else vstore_part(p, vload_part(p, left) + v, left);
}

/* One row: with v = x - mean, r = 1 / sqrt(mean(v v) + epsilon), g = dy gamma: dx = r (g - mean(g)) - v r^3 mean(g v). */
static void norm_grad_row(float *dx, float *dgamma, float *dbeta, const float *x, const float *dy, const float *gamma, int64_t n,
                          float epsilon, bool centred) {
  const float count = (float)n;
  vf total = {0}, square = {0}, sum_g = {0}, sum_gv = {0};
  if (centred) EACH(x, 0.0f, total += v);
  const float mean = vsum(total) / count;
  const vf shift = vsplat(mean);
  EACH(x, mean, {
    v -= shift;
    vf g = get(dy + i, n - i);
    if (gamma) g *= get(gamma + i, n - i);
    square = vfma(v, v, square);
    sum_g += g;
    sum_gv = vfma(g, v, sum_gv);
  });
  const float scale = 1.0f / __builtin_sqrtf(vsum(square) / count + epsilon);
  const vf r = vsplat(scale), low = vsplat(centred ? vsum(sum_g) / count : 0.0f);
  const vf along = vsplat(scale * scale * scale * (vsum(sum_gv) / count));
  EACH(x, mean, {
    v -= shift;
    vf d = get(dy + i, n - i);
    vf g = gamma ? d * get(gamma + i, n - i) : d;
    OUT(dx, r * (g - low) - v * along);
    add_to(dgamma + i, d * v * r, n - i);
    add_to(dbeta + i, d, n - i);
  });
}

static void norm_grad(float *dx, float *dgamma, float *dbeta, const float *x, const float *dy, const float *gamma, int64_t rows,
                      int64_t n, float epsilon, bool centred) {
  for (int64_t k = 0; k < rows; k++, dx += n, x += n, dy += n) norm_grad_row(dx, dgamma, dbeta, x, dy, gamma, n, epsilon, centred);
}

static void sum(float *y, const float *const *rows, int64_t count, int64_t n, bool add) {
  for (int64_t i = 0; i < n; i += VL) {
    const int64_t left = n - i;
    vf v = {0};
    for (int64_t r = 0; r < count; r++) v += left >= VL ? vload(rows[r] + i) : vload_part(rows[r] + i, left);
    if (left >= VL) vstore(y + i, add ? vload(y + i) + v : v);
    else vstore_part(y + i, add ? vload_part(y + i, left) + v : v, left);
  }
}

const moon_rows_set MOON_ISA_NAME(moon__rows_set) = {
    .softmax = softmax,
    .log_softmax = log_softmax,
    .norm = norm,
    .norm_grad = norm_grad,
    .log_sum = log_sum,
    .softmax_scaled = softmax_scaled,
    .sum = sum,
};
