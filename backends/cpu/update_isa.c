/*
** update_isa.c: optimizer steps, a vector at a time: all that an element needs is loaded before any of it is stored. See update.h.
*/
#include "update.h"

#include "vector.h"

MOON_INLINE vf vsqrt(vf x) {
  float a[VL];
  memcpy(a, &x, sizeof a);
  for (int i = 0; i < VL; i++) a[i] = __builtin_sqrtf(a[i]);
  memcpy(&x, a, sizeof a);
  return x;
}
MOON_INLINE vf get(const float *p, int64_t i, int64_t n) { return n - i >= VL ? vload(p + i) : vload_part(p + i, n - i); }
MOON_INLINE void put(float *p, vf v, int64_t i, int64_t n) {
  if (!p) return;
  if (n - i >= VL) vstore(p + i, v);
  else vstore_part(p + i, v, n - i);
}
#define EACH for (int64_t i = 0; i < n; i += VL)

/* 0 for what is below the normal numbers. A slot whose gradient is 0 decays to there and stays, and the processor takes a hundred times as
** long for each of these: with dead units a training step took three times as long after 700 of them. */
MOON_INLINE vf flush(vf x) {
  vi size = (vi)x & 0x7fffffff;
  return (vf)((vi)x & ~(size < 0x00800000));
}

static void sgd(const moon_update_numbers *a, const float *const *in, float *const *out, int64_t n) {
  const vf rate = vsplat(a->rate * a->scale), momentum = vsplat(a->momentum);
  const bool moves = a->momentum != 0, nesterov = a->nesterov;
  EACH {
    vf w = get(in[0], i, n), step = get(in[1], i, n) * rate, m = get(in[2], i, n);
    if (moves) {
      m = flush(vfma(m, momentum, -step));
      w = nesterov ? w + vfma(m, momentum, -step) : w + m;
    } else {
      w -= step;
    }
    put(out[0], w, i, n);
    put(out[1], m, i, n);
  }
}

static void adam(const moon_update_numbers *a, const float *const *in, float *const *out, int64_t n) {
  const vf rate = vsplat(a->rate), decay = vsplat(1.0f - a->decay), k1 = vsplat(a->keep_1), k2 = vsplat(a->keep_2);
  const vf epsilon = vsplat(a->epsilon), scale = vsplat(a->scale);
  EACH {
    vf w = get(in[0], i, n), g = get(in[1], i, n) * scale, m = get(in[2], i, n), v = get(in[3], i, n);
    m = flush(vfma(g - m, k1, m));
    v = flush(vfma(vfma(g, g, -v), k2, v));
    w = w * decay - m * rate / (vsqrt(v) + epsilon);
    put(out[0], w, i, n);
    put(out[1], m, i, n);
    put(out[2], v, i, n);
  }
}

static void rmsprop(const moon_update_numbers *a, const float *const *in, float *const *out, int64_t n) {
  const vf rate = vsplat(a->rate), k2 = vsplat(a->keep_2), epsilon = vsplat(a->epsilon), momentum = vsplat(a->momentum);
  const vf scale = vsplat(a->scale);
  const bool moves = a->momentum != 0;
  EACH {
    vf w = get(in[0], i, n), g = get(in[1], i, n) * scale, v = get(in[2], i, n), m = get(in[3], i, n);
    v = flush(vfma(vfma(g, g, -v), k2, v));
    vf step = rate * g / vsqrt(v + epsilon);
    if (moves) m = step = flush(vfma(m, momentum, step));
    put(out[0], w - step, i, n);
    put(out[1], v, i, n);
    put(out[2], m, i, n);
  }
}

static float squares(const float *x, int64_t n) {
  vf sum[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    MOON_UNROLL(4) for (int k = 0; k < 4; k++) {
      vf v = vload(x + i + k * VL);
      sum[k] = vfma(v, v, sum[k]);
    }
  for (; i < n; i += VL) {
    vf v = get(x, i, n);
    sum[0] = vfma(v, v, sum[0]);
  }
  return vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

const moon_update_set MOON_ISA_NAME(moon__update_set) = {.sgd = sgd, .adam = adam, .rmsprop = rmsprop, .squares = squares};
