/*
** numbers.h: what the value macros of elementwise.def mean for one scalar of each dtype; loops over arrays are in elementwise.c.
** f32 functions are evaluated in f64 and rounded once, so they are exact to half an ulp but for rare ties: an oracle must be
** better than what it judges. Integers are computed in 64 bits and wrapped to their width.
*/
#ifndef MOON_NUMBERS_H
#define MOON_NUMBERS_H
#include <math.h>
#include <stdint.h>

/* ---- Comparisons give conditions. ---- */
#define MOON_COMPARISONS(S, T)                                \
  static inline int num_eq_##S(T a, T b) { return a == b; }   \
  static inline int num_ne_##S(T a, T b) { return a != b; }   \
  static inline int num_lt_##S(T a, T b) { return a < b; }    \
  static inline int num_le_##S(T a, T b) { return a <= b; }   \
  static inline int num_gt_##S(T a, T b) { return a > b; }    \
  static inline int num_ge_##S(T a, T b) { return a >= b; }
MOON_COMPARISONS(truth, uint8_t)
MOON_COMPARISONS(u8, uint8_t)
MOON_COMPARISONS(i32, int32_t)
MOON_COMPARISONS(i64, int64_t)
MOON_COMPARISONS(f32, float)
MOON_COMPARISONS(f64, double)

/* ---- Integers: 64-bit forms, then one set per dtype. ---- */
static inline int64_t moon__wrap(uint64_t a) { return (int64_t)a; }
static inline int64_t num_floordiv(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return moon__wrap(0 - (uint64_t)a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
static inline int64_t num_rem(int64_t a, int64_t b) {
  return b == 0 || b == -1 ? 0 : a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
}
static inline int64_t num_pow(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  uint64_t y = 1;
  for (uint64_t x = (uint64_t)a; b; b >>= 1, x *= x)
    if (b & 1) y *= x;
  return moon__wrap(y);
}
#define MOON_INTEGER_NUMBERS(S, T)                                                                    \
  static inline T num_neg_##S(T a) { return (T)moon__wrap(0 - (uint64_t)a); }                         \
  static inline T num_abs_##S(T a) { return a > 0 ? a : num_neg_##S(a); }                             \
  static inline T num_floor_##S(T a) { return a; }                                                    \
  static inline T num_ceil_##S(T a) { return a; }                                                     \
  static inline T num_trunc_##S(T a) { return a; }                                                    \
  static inline T num_round_##S(T a) { return a; }                                                    \
  static inline T num_add_##S(T a, T b) { return (T)moon__wrap((uint64_t)a + (uint64_t)b); }          \
  static inline T num_sub_##S(T a, T b) { return (T)moon__wrap((uint64_t)a - (uint64_t)b); }          \
  static inline T num_mul_##S(T a, T b) { return (T)moon__wrap((uint64_t)a * (uint64_t)b); }          \
  static inline T num_max_##S(T a, T b) { return a > b ? a : b; }                                     \
  static inline T num_min_##S(T a, T b) { return a < b ? a : b; }                                     \
  static inline T num_floordiv_##S(T a, T b) { return (T)num_floordiv((int64_t)a, (int64_t)b); }      \
  static inline T num_rem_##S(T a, T b) { return (T)num_rem((int64_t)a, (int64_t)b); }                \
  static inline T num_pow_##S(T a, T b) { return (T)num_pow((int64_t)a, (int64_t)b); }
MOON_INTEGER_NUMBERS(u8, uint8_t)
MOON_INTEGER_NUMBERS(i32, int32_t)
MOON_INTEGER_NUMBERS(i64, int64_t)

/* ---- Floats: F is the suffix of libm's exact functions of that type. ---- */
#define MOON_FLOAT_FUNCTION(S, T, name) \
  static inline T num_##name##_##S(T a) { return (T)name((double)a); }
#define MOON_FLOAT_NUMBERS(S, T, F)                                                                   \
  static inline T num_neg_##S(T a) { return -a; }                                                     \
  static inline T num_abs_##S(T a) { return fabs##F(a); }                                             \
  static inline T num_floor_##S(T a) { return floor##F(a); }                                          \
  static inline T num_ceil_##S(T a) { return ceil##F(a); }                                            \
  static inline T num_trunc_##S(T a) { return trunc##F(a); }                                          \
  static inline T num_round_##S(T a) { return rint##F(a); }                                           \
  static inline T num_add_##S(T a, T b) { return a + b; }                                             \
  static inline T num_sub_##S(T a, T b) { return a - b; }                                             \
  static inline T num_mul_##S(T a, T b) { return a * b; }                                             \
  static inline T num_div_##S(T a, T b) { return a / b; }                                             \
  static inline T num_sqrt_##S(T a) { return sqrt##F(a); }                                            \
  static inline T num_max_##S(T a, T b) { return a != a ? a : b != b ? b : a > b ? a : b; }           \
  static inline T num_min_##S(T a, T b) { return a != a ? a : b != b ? b : a < b ? a : b; }           \
  static inline T num_floordiv_##S(T a, T b) {                                                        \
    if (b == 0) return a / b;                                                                         \
    T r = fmod##F(a, b), q = (a - r) / b;                                                             \
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;                                                         \
    if (q == 0) return copysign##F(0, a / b);                                                         \
    T whole = floor##F(q);                                                                            \
    return q - whole > (T)0.5 ? whole + 1 : whole;                                                    \
  }                                                                                                   \
  static inline T num_rem_##S(T a, T b) {                                                             \
    T r = fmod##F(a, b);                                                                              \
    if (r == 0) return copysign##F(r, b);                                                             \
    return (r < 0) != (b < 0) ? r + b : r;                                                            \
  }                                                                                                   \
  static inline T num_pow_##S(T a, T b) { return (T)pow((double)a, (double)b); }                      \
  static inline T num_atan2_##S(T a, T b) { return (T)atan2((double)a, (double)b); }                  \
  static inline T num_hypot_##S(T a, T b) { return (T)hypot((double)a, (double)b); }                  \
  MOON_FLOAT_FUNCTION(S, T, exp)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, exp2)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, expm1)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, log)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, log2)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, log10)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, log1p)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, sin)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, cos)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, tan)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, asin)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, acos)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, atan)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, sinh)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, cosh)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, tanh)                                                                     \
  MOON_FLOAT_FUNCTION(S, T, asinh)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, acosh)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, atanh)                                                                    \
  MOON_FLOAT_FUNCTION(S, T, erf)                                                                      \
  MOON_FLOAT_FUNCTION(S, T, erfc)
MOON_FLOAT_NUMBERS(f32, float, f)
MOON_FLOAT_NUMBERS(f64, double, )
#endif
