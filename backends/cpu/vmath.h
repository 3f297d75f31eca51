/*
** vmath.h: the functions of vecmath.h that neural networks spend their time in, on whole vectors. AVX-512 has what the compiler
** does not find by itself: limits that let NaN through, scaling by powers of two, a first guess at reciprocals where division takes
** longer than all the rest. Elsewhere they are the functions of vecmath.h, lane by
** lane. Only *_isa.c files include it; nothing in here is exported.
*/
#ifndef MOON_VMATH_H
#define MOON_VMATH_H
#include "vecmath.h"
#include "vector.h"

#define MOON_LANES(name, f)                      \
  MOON_INLINE vf name(vf x) {                    \
    float a[VL];                                 \
    memcpy(a, &x, sizeof a);                     \
    for (int i = 0; i < VL; i++) a[i] = f(a[i]); \
    memcpy(&x, a, sizeof a);                     \
    return x;                                    \
  }

#if VL == 16
/* The smaller; x where it is NaN. */
MOON_INLINE vf vat_most(vf x, float high) { return (vf)_mm512_min_ps((__m512)vsplat(high), (__m512)x); }
MOON_INLINE vf vabs(vf x) { return (vf)((vi)x & 0x7fffffff); }
/* 1 / x for 1 <= x < 2^100, within 1 ulp. */
MOON_INLINE vf vreciprocal(vf x) {
  vf guess = (vf)_mm512_rcp14_ps((__m512)x);
  return vfma(guess, vfma(-x, guess, vsplat(1.0f)), guess);
}
/* x at most 89. Hidden scores are 0 at once: denormal results, which would become 0, are slow to make. */
MOON_INLINE vf vexp_limited(vf x) {
  float a[VL], shifted[VL];
  vf r, n;
  memcpy(a, &x, sizeof a);
  for (int i = 0; i < VL; i++) a[i] = moon__exp_parts(a[i], &shifted[i]);
  memcpy(&r, a, sizeof a);
  memcpy(&n, shifted, sizeof shifted);
  const __mmask16 counts = _mm512_cmp_ps_mask((__m512)x, (__m512)vsplat(-104.0f), _CMP_NLT_UQ);
  return (vf)_mm512_maskz_scalef_ps(counts, (__m512)r, (__m512)(n - MOON_ROUNDER));
}
MOON_INLINE vf vexp(vf x) { return vexp_limited(vat_most(x, 89.0f)); }
/* e^-|x| / (1 + e^-|x|) below 0: numbers that stay small on the way. */
MOON_INLINE vf vsigmoid(vf x) {
  const vf e = vexp_limited(-vabs(x)), up = vselect(x < 0.0f, e, vsplat(1.0f)), down = 1.0f + e;
  const vf r = vreciprocal(down), q = up * r;
  return vfma(vfma(-down, q, up), r, q);
}
/* As moon__tanh. */
MOON_INLINE vf vtanh(vf x) {
  const vf a = vabs(x), z = x * x, e = vexp_limited(2.0f * vat_most(a, 10.0f));
  float zs[VL], qs[VL];
  vf q;
  memcpy(zs, &z, sizeof zs);
  for (int i = 0; i < VL; i++) qs[i] = moon__tanh_small(zs[i]);
  memcpy(&q, qs, sizeof qs);
  const vf small = vfma(q * z, a, a), large = vfma(vreciprocal(e + 1.0f), vsplat(-2.0f), vsplat(1.0f));
  const vf y = vselect(a < 0.625f, small, large);
  return (vf)((vi)y | ((vi)x & INT32_MIN));
}
/* s = 1 / (1 + e) of gelu_tanh, e = exp(-x (p + q x^2)) as a power of 2; where that is beyond 2^126, s and the bit of *counts are 0. */
MOON_INLINE vf vgelu_gate(vf x, vf square, vf *e, __mmask16 *counts) {
  const vf t = vmax(vsplat(-126.0f), x * vfma(square, vsplat(-0.10294324f), vsplat(-2.3022082f)));
  const vf n = (vf)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = t - n;
  float a[VL];
  memcpy(a, &r, sizeof a);
  for (int i = 0; i < VL; i++) a[i] = moon__exp2_part(a[i]);
  memcpy(e, a, sizeof a);
  *e = (vf)_mm512_scalef_ps((__m512)*e, (__m512)n);
  *counts = _mm512_cmp_ps_mask((__m512)t, (__m512)vsplat(126.0f), _CMP_NGT_UQ);
  return (vf)_mm512_maskz_mov_ps(*counts, (__m512)vreciprocal(1.0f + *e));
}
MOON_INLINE vf vgelu(vf x) {
  vf e;
  __mmask16 counts;
  return x * vgelu_gate(x, x * x, &e, &counts);
}
/* s + x (p + 3 q x^2) s (1 - s) */
MOON_INLINE vf vgelu_slope(vf x) {
  vf e;
  __mmask16 counts;
  const vf square = x * x, s = vgelu_gate(x, square, &e, &counts);
  const vf steep = x * vfma(square, vsplat(0.21406445f), vsplat(1.5957691f)) * (e * s);
  counts = _mm512_mask_cmp_ps_mask(counts, (__m512)x, (__m512)vsplat(10.0f), _CMP_NGT_UQ);
  return vfma(s, (vf)_mm512_maskz_mov_ps(counts, (__m512)steep), s);
}
#define MOON_HAS_VGELU
#else
MOON_LANES(vexp, moon__exp)
MOON_LANES(vsigmoid, moon__sigmoid)
MOON_LANES(vtanh, moon__tanh)
#endif
#endif
