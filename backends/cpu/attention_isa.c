/* attention_isa.c: rows of attention scores, compiled once per instruction set. See attention_fast.h. */
#include "attention_fast.h"

#include <math.h>

#include "vmath.h"

static float weigh(float *s, int64_t n, float scale, float *most, float *sum) {
  vf m = vsplat(-INFINITY), factor = vsplat(scale), all = {0};
  const float old = *most;
  float top;
  n = (n + VL - 1) & -(int64_t)VL;
  for (int64_t i = 0; i < n; i += VL) {
    const vf v = vload(s + i) * factor;
    vstore(s + i, v);
    m = vmax(v, m);
  }
  top = vmax_lanes(m);
  if (old > top || old != old) top = old;
  *most = top;
  const float shift = top == -INFINITY ? 0.0f : top; /* nothing seen yet */
  for (int64_t i = 0; i < n; i += VL) {
    const vf v = vexp(vload(s + i) - shift);
    vstore(s + i, v);
    all += v;
  }
  const float keep = moon__exp(old - shift);
  *sum = *sum * keep + vsum(all);
  return keep;
}

static void repeat(float *s, int64_t n, float scale, float shift) {
  for (int64_t i = 0; i < n; i += VL) vstore(s + i, vexp(vload(s + i) * scale - shift));
}

static void slope(float *dp, const float *p, int64_t n, float sum, float scale) {
  const vf shift = vsplat(sum), factor = vsplat(scale);
  for (int64_t i = 0; i < n; i += VL) vstore(dp + i, vload(p + i) * (vload(dp + i) - shift) * factor);
}

static void multiply(float *y, int64_t n, float by) {
  MOON_IVDEP
  for (int64_t i = 0; i < n; i++) y[i] *= by;
}

static float log_of(float x) { return moon__log(x); }

const moon_attention_set MOON_ISA_NAME(moon__attention_set) = {
    .weigh = weigh, .repeat = repeat, .slope = slope, .multiply = multiply, .log = log_of};
