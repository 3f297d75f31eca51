/*
** vecmath.h: functions of one f32 number, written without branches so that the compiler turns a loop over them into vectors of
** any width. All are right at zeros of either sign, infinities, NaN and denormals, and stay within 2 ulp (spec/support/
** vecmath_check.c measures all 2^32 inputs). The hot ones (exp, exp2, log, tanh, erf, sin, cos) work in f32; the others take the
** easy way through f64, where a plain formula is exact enough. sin, cos and tan hold for |x| <= MOON_TRIG_LIMIT only; beyond,
** callers use the C library. Nothing in here is exported.
**
** Coefficients are minimax fits (Remez) over the interval each comment names; their errors stay below 6e-9 relative.
*/
#ifndef MOON_VECMATH_H
#define MOON_VECMATH_H
#include <stdint.h>
#include <string.h>

#define MOON_MATH static inline __attribute__((always_inline, unused))
#define MOON_TRIG_LIMIT 1.0e6f

MOON_MATH int32_t moon__bits(float x) { int32_t i; memcpy(&i, &x, sizeof i); return i; }
MOON_MATH float moon__float(int32_t i) { float x; memcpy(&x, &i, sizeof x); return x; }
MOON_MATH int64_t moon__bits_f64(double x) { int64_t i; memcpy(&i, &x, sizeof i); return i; }
MOON_MATH double moon__double(int64_t i) { double x; memcpy(&x, &i, sizeof x); return x; }
/* a * b + c, in one rounding where the machine can. */
MOON_MATH float moon__fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
MOON_MATH double moon__fma_f64(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
MOON_MATH float moon__abs(float x) { return moon__float(moon__bits(x) & 0x7fffffff); }
MOON_MATH float moon__with_sign(float magnitude, float sign) {
  return moon__float((moon__bits(magnitude) & 0x7fffffff) | (moon__bits(sign) & INT32_MIN));
}
/* Adding and taking away 1.5 * 2^23 rounds |x| < 2^22 to a whole number, which then stands in the low bits of the sum. */
#define MOON_ROUNDER 12582912.0f
#define MOON_ROUNDER_F64 6755399441055744.0

/* ---- exp ---- */

/* 2^n for n in [-126, 127]; another n, as NaN gives it, makes any number. */
MOON_MATH float moon__power_of_two(int32_t n) { return moon__float((int32_t)((uint32_t)(n + 127) << 23)); }
/* 2^n x for n in [-252, 254], in two steps so that results may be denormal or infinite. */
MOON_MATH float moon__scale_by_power(float x, int32_t n) {
  int32_t half = n >> 1;
  return x * moon__power_of_two(half) * moon__power_of_two(n - half);
}
/* exp(x) = result * 2^n with *shifted = MOON_ROUNDER + n, |x| < 2^20. x = n ln 2 + r; (exp(r) - 1 - r) / r^2 over |r| <= ln(2) / 2. */
MOON_MATH float moon__exp_parts(float x, float *shifted) {
  *shifted = moon__fma(x, 1.44269504f, MOON_ROUNDER);
  float n = *shifted - MOON_ROUNDER, r = moon__fma(n, -0.693359375f, x);
  r = moon__fma(n, 2.12194440e-4f, r);
  float q = 0.001381461258f;
  q = moon__fma(q, r, 0.008368723792f);
  q = moon__fma(q, r, 0.04166838827f);
  q = moon__fma(q, r, 0.1666652058f);
  q = moon__fma(q, r, 0.4999999345f);
  return moon__fma(q, r * r, r) + 1.0f;
}
MOON_MATH int32_t moon__whole_of(float shifted) { return moon__bits(shifted) - 0x4b400000; }
/* Below the least denormal the result is 0 at once, as hidden scores are: many machines take long to make what is denormal. */
MOON_MATH float moon__exp(float x) {
  float shifted;
  float y = x > 89.0f ? 89.0f : x;
  y = x < -104.0f ? 0.0f : y;
  float r = moon__exp_parts(y, &shifted);
  r = moon__scale_by_power(r, moon__whole_of(shifted));
  return x < -104.0f ? 0.0f : r;
}
/* exp for |x| <= 87, where results are neither denormal nor infinite. */
MOON_MATH float moon__exp_near(float x) {
  float shifted, r = moon__exp_parts(x, &shifted);
  return r * moon__power_of_two(moon__whole_of(shifted));
}
/* 2^r for |r| <= 1/2, by (2^r - 1) / r. */
MOON_MATH float moon__exp2_part(float r) {
  float q = 0.0001559468552f;
  q = moon__fma(q, r, 0.001340667423f);
  q = moon__fma(q, r, 0.009617692887f);
  q = moon__fma(q, r, 0.05550310468f);
  q = moon__fma(q, r, 0.2402265278f);
  q = moon__fma(q, r, 0.693147215f);
  return moon__fma(q, r, 1.0f);
}
/* x = n + r */
MOON_MATH float moon__exp2(float x) {
  x = x > 129.0f ? 129.0f : x;
  x = x < -151.0f ? -151.0f : x;
  float shifted = x + MOON_ROUNDER, r = x - (shifted - MOON_ROUNDER);
  return moon__scale_by_power(moon__exp2_part(r), moon__whole_of(shifted));
}
/* exp(r) - 1 and 2^n of x = n ln 2 + r, |x| <= 700. (exp(r) - 1 - r) / r^2 over |r| <= ln(2) / 2. */
MOON_MATH double moon__exp_parts_f64(double x, double *power) {
  double shifted = x * 1.4426950408889634074 + MOON_ROUNDER_F64, n = shifted - MOON_ROUNDER_F64;
  double r = moon__fma_f64(n, -0.69314718055994530942, x);
  double q = 0.0000247081531302813646;
  q = moon__fma_f64(q, r, 0.000199089651296596623);
  q = moon__fma_f64(q, r, 0.001388919757366773);
  q = moon__fma_f64(q, r, 0.008333281768937974);
  q = moon__fma_f64(q, r, 0.0416666644014246187);
  q = moon__fma_f64(q, r, 0.166666667845719364);
  q = moon__fma_f64(q, r, 0.500000000042749544);
  *power = moon__double((int64_t)((uint64_t)(moon__bits_f64(shifted) + 1023) << 52));
  return moon__fma_f64(q, r * r, r);
}
/* exp with results beyond the range of f32 cut off. */
MOON_MATH double moon__exp_f64(double x) {
  double power;
  x = x > 120.0 ? 120.0 : x;
  x = x < -130.0 ? -130.0 : x;
  double p = moon__exp_parts_f64(x, &power);
  return moon__fma_f64(p, power, power);
}
MOON_MATH float moon__expm1(float x) {
  double power, d = x;
  d = d > 120.0 ? 120.0 : d;
  d = d < -130.0 ? -130.0 : d;
  double p = moon__exp_parts_f64(d, &power);
  return x == 0 ? x : (float)moon__fma_f64(p, power, power - 1.0);
}

/* ---- log ---- */

/* x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); (log(1 + f) - f + f^2 / 2) / f^3. */
MOON_MATH float moon__log(float x) {
  float tiny = x < 1.17549435e-38f ? 1.0f : 0.0f;
  float y = tiny != 0 ? x * 8388608.0f : x;
  int32_t i = moon__bits(y), e = (int32_t)((uint32_t)i - 0x3f3504f3u) >> 23; /* wraps below 0, where the result is NaN anyway */
  float f = moon__float((int32_t)((uint32_t)i - ((uint32_t)e << 23))) - 1.0f;
  float n = (float)e - tiny * 23.0f, z = f * f;
  float q = -0.07634765384f;
  q = moon__fma(q, f, 0.1276173599f);
  q = moon__fma(q, f, -0.1316015139f);
  q = moon__fma(q, f, 0.1420173098f);
  q = moon__fma(q, f, -0.1662335778f);
  q = moon__fma(q, f, 0.200012283f);
  q = moon__fma(q, f, -0.2500082106f);
  q = moon__fma(q, f, 0.3333333168f);
  float low = moon__fma(q * f, z, n * -2.12194440e-4f);
  low = moon__fma(z, -0.5f, low);
  float r = moon__fma(n, 0.693359375f, f + low);
  r = x < __builtin_inff() ? r : x; /* inf, NaN */
  r = x > 0 || x != x ? r : -__builtin_inff();
  return x < 0 ? __builtin_nanf("") : r;
}
/* log of a positive, finite, normal number. x = 2^e m; with s = (m - 1) / (m + 1): log(m) = 2 s + s^3 q(s^2). */
MOON_MATH double moon__log_f64(double x) {
  int64_t i = moon__bits_f64(x);
  double e = moon__double(((int64_t)((uint64_t)i >> 52)) | 0x4330000000000000) - (4503599627370496.0 + 1023.0);
  double m = moon__double((i & 0x000fffffffffffff) | 0x3ff0000000000000);
  e = m > 1.4142135623730951 ? e + 1.0 : e;
  m = m > 1.4142135623730951 ? m * 0.5 : m;
  double s = (m - 1.0) / (m + 1.0), z = s * s;
  double q = 0.19584183097207451;
  q = moon__fma_f64(q, z, 0.221761861994469986);
  q = moon__fma_f64(q, z, 0.285721092274836239);
  q = moon__fma_f64(q, z, 0.399999956210643598);
  q = moon__fma_f64(q, z, 0.666666666758036926);
  return moon__fma_f64(e, 0.69314718055994530942, moon__fma_f64(q, s * z, 2.0 * s));
}
/* log at any number. */
MOON_MATH double moon__log_any_f64(double x) {
  double r = moon__log_f64(x);
  r = x < (double)__builtin_inff() ? r : x;
  r = x == 0 ? -__builtin_inf() : r;
  return x < 0 ? __builtin_nan("") : r;
}
MOON_MATH float moon__log2(float x) { return (float)(moon__log_any_f64(x) * 1.4426950408889634074); }
MOON_MATH float moon__log10(float x) { return (float)(moon__log_any_f64(x) * 0.43429448190325182765); }
/* log(1 + x): what rounding 1 + x lost is added to the first order. */
MOON_MATH double moon__log1p_f64(double x) {
  double u = 1.0 + x, lost = x - (u - 1.0);
  double r = moon__log_any_f64(u);
  return u > 0 && u < 1e300 ? r + lost / u : r;
}
MOON_MATH float moon__log1p(float x) { return x == 0 ? x : (float)moon__log1p_f64(x); }

/* ---- hyperbolic ---- */

/* (tanh(x) / x - 1) / x^2 of x^2, x below 5/8. */
MOON_MATH float moon__tanh_small(float z) {
  float q = -0.005717047919f;
  q = moon__fma(q, z, 0.02065059155f);
  q = moon__fma(q, z, -0.05374349971f);
  q = moon__fma(q, z, 0.133314913f);
  return moon__fma(q, z, -0.3333328392f);
}
/* Above 5/8 by exp, up to where it is 1. */
MOON_MATH float moon__tanh(float x) {
  float a = moon__abs(x), z = x * x, b = a > 10.0f ? 10.0f : a;
  float small = moon__fma(moon__tanh_small(z) * z, a, a);
  float large = 1.0f - 2.0f / (moon__exp_near(2.0f * b) + 1.0f);
  return moon__with_sign(a < 0.625f ? small : large, x);
}
/* Below 1: (sinh(x) / x - 1) / x^2. */
MOON_MATH float moon__sinh(float x) {
  double a = moon__abs(x), z = a * a, e = moon__exp_f64(a);
  double q = 2.55298185759785436e-8;
  q = moon__fma_f64(q, z, 2.75520641004041529e-6);
  q = moon__fma_f64(q, z, 0.000198412960450720602);
  q = moon__fma_f64(q, z, 0.00833333327634297917);
  q = moon__fma_f64(q, z, 0.166666666670690788);
  double r = a < 1.0 ? moon__fma_f64(q * z, a, a) : 0.5 * (e - 1.0 / e);
  return moon__with_sign((float)r, x);
}
MOON_MATH float moon__cosh(float x) {
  double e = moon__exp_f64(moon__abs(x));
  return (float)(0.5 * (e + 1.0 / e));
}
MOON_MATH float moon__asinh(float x) {
  double a = moon__abs(x), r = moon__log1p_f64(a + a * a / (1.0 + __builtin_sqrt(a * a + 1.0)));
  return moon__with_sign((float)(a < (double)__builtin_inff() ? r : a), x);
}
MOON_MATH float moon__acosh(float x) {
  double t = (double)x - 1.0, r = moon__log1p_f64(t + __builtin_sqrt(t * (t + 2.0)));
  r = x < __builtin_inff() ? r : (double)x;
  return x < 1.0f ? __builtin_nanf("") : (float)r;
}
MOON_MATH float moon__atanh(float x) {
  double a = moon__abs(x), r = 0.5 * moon__log1p_f64(2.0 * a / (1.0 - a));
  return a > 1.0 ? __builtin_nanf("") : moon__with_sign((float)r, x);
}

/* ---- error function ---- */

/* Below 0.93: erf(x) / x - 1 in x^2; above: -log(erfc(x)) over [0.92, 3.95]. */
MOON_MATH float moon__erf(float x) {
  float a = moon__abs(x), z = x * x;
  float q = 8.316774509e-5f;
  q = moon__fma(q, z, -0.0008130012793f);
  q = moon__fma(q, z, 0.005199906721f);
  q = moon__fma(q, z, -0.02685894156f);
  q = moon__fma(q, z, 0.1128368719f);
  q = moon__fma(q, z, -0.3761263319f);
  q = moon__fma(q, z, 0.1283791666f);
  float small = moon__fma(q, a, a);
  float t = a > 3.95f ? 3.95f : a;
  float g = -0.0001959355809f;
  g = moon__fma(g, t, 0.003043202448f);
  g = moon__fma(g, t, -0.022226865f);
  g = moon__fma(g, t, 0.1039314894f);
  g = moon__fma(g, t, 0.6371823625f);
  g = moon__fma(g, t, 1.127675562f);
  g = moon__fma(g, t, 0.0001956903566f);
  return moon__with_sign(a < 0.93f ? small : 1.0f - moon__exp_near(-g), x);
}
/* erfc(a) exp(a^2) / t with t = 2 / (2 + a), over [0, 10.3]. */
MOON_MATH float moon__erfc(float x) {
  double a = moon__abs(x);
  a = a > 10.3 ? 10.3 : a;
  double t = 2.0 / (2.0 + a);
  double q = -0.0287977485621922737;
  q = moon__fma_f64(q, t, 0.2172421326480805);
  q = moon__fma_f64(q, t, -0.697081659696512157);
  q = moon__fma_f64(q, t, 1.20393088867683705);
  q = moon__fma_f64(q, t, -1.15347400847690889);
  q = moon__fma_f64(q, t, 0.592241864207718246);
  q = moon__fma_f64(q, t, -0.2655248766855708);
  q = moon__fma_f64(q, t, 0.156252299908104559);
  q = moon__fma_f64(q, t, 0.162632814387306766);
  q = moon__fma_f64(q, t, 0.248504000022153607);
  q = moon__fma_f64(q, t, 0.281975758568733054);
  q = moon__fma_f64(q, t, 0.282098535319208834);
  double r = q * t * moon__exp_f64(-a * a);
  return (float)(x < 0 ? 2.0 - r : r);
}

/* ---- circular ---- */

/* x = n pi/2 + r, exact to f32 for |x| <= MOON_TRIG_LIMIT: the first part of pi/2 has 33 bits. quadrant: n in the low bits. */
MOON_MATH double moon__reduce_angle(float x, int32_t *quadrant) {
  double d = x, shifted = d * 0.63661977236758134308 + MOON_ROUNDER_F64, n = shifted - MOON_ROUNDER_F64;
  *quadrant = (int32_t)moon__bits_f64(shifted);
  return (d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
}
/* sin and cos over |r| <= pi/4, taken by turns: quadrant 0 sin, 1 cos, 2 -sin, 3 -cos. */
MOON_MATH float moon__sin_from(float r, int32_t quadrant) {
  float z = r * r;
  float s = moon__fma(2.718237813e-6f, z, -0.000198393272f);
  s = moon__fma(s, z, 0.008333329362f);
  s = moon__fma(s, z, -0.1666666664f);
  s = moon__fma(s * z, r, r);
  float c = moon__fma(2.443774021e-5f, z, -0.001388736155f);
  c = moon__fma(c, z, 0.04166664675f);
  c = moon__fma(c, z * z, moon__fma(z, -0.5f, 1.0f));
  float y = quadrant & 1 ? c : s;
  return moon__float(moon__bits(y) ^ (int32_t)((uint32_t)(quadrant & 2) << 30));
}
MOON_MATH float moon__sin(float x) {
  int32_t quadrant;
  float r = (float)moon__reduce_angle(x, &quadrant);
  float y = moon__sin_from(r, quadrant);
  return x == 0 ? x : y;
}
MOON_MATH float moon__cos(float x) {
  int32_t quadrant;
  float r = (float)moon__reduce_angle(x, &quadrant);
  return moon__sin_from(r, quadrant + 1);
}
MOON_MATH float moon__tan(float x) {
  int32_t quadrant;
  double r = moon__reduce_angle(x, &quadrant), z = r * r;
  double s = moon__fma_f64(-2.47611181633338781e-8, z, 2.75553505407506334e-6);
  s = moon__fma_f64(s, z, -0.000198412637898318433);
  s = moon__fma_f64(s, z, 0.00833333332521282037);
  s = moon__fma_f64(s, z, -0.166666666666312749);
  s = moon__fma_f64(s * z, r, r);
  double c = moon__fma_f64(2.06472849135362117e-9, z, -2.75555601905019344e-7);
  c = moon__fma_f64(c, z, 0.0000248015809340576616);
  c = moon__fma_f64(c, z, -0.00138888888781903253);
  c = moon__fma_f64(c, z, 0.0416666666666016215);
  c = moon__fma_f64(c, z * z, moon__fma_f64(z, -0.5, 1.0));
  double up = quadrant & 1 ? -c : s, down = quadrant & 1 ? s : c;
  return x == 0 ? x : (float)(up / down);
}
/* Angle of the point (x, y). atan(q) for q in [0, 1] through (q - 1) / (q + 1) above tan(pi/8); (atan(z) / z - 1) / z^2. */
MOON_MATH float moon__atan2_f64(double y, double x) {
  double ay = moon__double(moon__bits_f64(y) & INT64_MAX), ax = moon__double(moon__bits_f64(x) & INT64_MAX);
  double high = ax > ay ? ax : ay, low = ax > ay ? ay : ax, one = high == 0 ? 0.0 : 1.0;
  double q = low / high;
  q = high == low ? one : q;
  double shift = q > 0.41421356237309503 ? 0.78539816339744830962 : 0.0;
  double w = q > 0.41421356237309503 ? (q - 1.0) / (q + 1.0) : q, z = w * w;
  double p = -0.037958828461457415;
  p = moon__fma_f64(p, z, 0.0699326287028717119);
  p = moon__fma_f64(p, z, -0.0899731404800524816);
  p = moon__fma_f64(p, z, 0.11104057875942715);
  p = moon__fma_f64(p, z, -0.142854267325319264);
  p = moon__fma_f64(p, z, 0.199999944086874569);
  p = moon__fma_f64(p, z, -0.333333332964514557);
  double r = shift + moon__fma_f64(p * z, w, w);
  r = ay > ax ? 1.5707963267948966192 - r : r;
  r = moon__bits_f64(x) < 0 ? 3.1415926535897932385 - r : r;
  return moon__with_sign((float)r, (float)y);
}
MOON_MATH float moon__atan2(float y, float x) { return moon__atan2_f64(y, x); }
MOON_MATH float moon__atan(float x) { return moon__atan2_f64(x, 1.0); }
MOON_MATH float moon__asin(float x) { return moon__atan2_f64(x, __builtin_sqrt((1.0 - (double)x) * (1.0 + (double)x))); }
MOON_MATH float moon__acos(float x) { return moon__atan2_f64(__builtin_sqrt((1.0 - (double)x) * (1.0 + (double)x)), x); }

/* ---- powers ---- */

MOON_MATH float moon__hypot(float a, float b) {
  double x = a, y = b;
  float r = (float)__builtin_sqrt(x * x + y * y);
  float inf = __builtin_inff();
  return moon__abs(a) == inf || moon__abs(b) == inf ? inf : r;
}
/* a where the condition (0 or 1) holds, else b: bits, where too many choices in a row make the compiler branch. */
MOON_MATH float moon__pick(int32_t condition, float a, float b) {
  return moon__float((-condition & moon__bits(a)) | ((condition - 1) & moon__bits(b)));
}
/* exp(b log |a|); whole b gives a negative a its sign. */
MOON_MATH float moon__pow(float a, float b) {
  const float inf = __builtin_inff(), nan = __builtin_nanf(""), magnitude = moon__abs(a), size = moon__abs(b);
  double l = moon__log_f64(magnitude);
  l = magnitude < inf ? l : (double)magnitude; /* inf, NaN */
  l = magnitude > 0 ? l : -1e300;
  l = a != a ? (double)a : l;
  double t = b * l;
  float r = (float)moon__exp_f64(t);
  float part = moon__pick(size < 16777216.0f, b, 0.0f); /* larger numbers are even */
  int32_t whole = (int32_t)part;
  int32_t fraction = (float)whole != part, odd = whole & 1 & ~fraction;
  float signed_r = moon__float(moon__bits(r) ^ (int32_t)((uint32_t)moon__bits(a) & (uint32_t)odd << 31));
  r = moon__pick((a < 0) & (a > -inf) & fraction, nan, signed_r);
  r = moon__pick((magnitude == 1.0f) & (size == inf), 1.0f, r);
  r = moon__pick((a != a) | (b != b), nan, r);
  return moon__pick((b == 0) | (a == 1.0f), 1.0f, r);
}
MOON_MATH float moon__sigmoid(float x) { return 1.0f / (1.0f + moon__exp(-x)); }
#endif
