/*
** vecmath_check.c: measures the functions of backends/cpu/vecmath.h, and those of vmath.h on vectors (vexp ..), against the C
** library's f64 ones and prints the largest error of each in units of the last place. It tries every 997th float, or all 2^32 with
** --all; for functions of two numbers, pairs. Fails (exit 1) above the documented bound, or where a special value (NaN, infinity,
** sign of zero) is wrong. Built for an instruction set that the machine lacks, it says so.
** Build it as kernels are built: cc -O3 -fno-math-errno -fno-trapping-math -Ibackends/cpu spec/support/vecmath_check.c -lm
*/
#include "vmath.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 4096 };
typedef struct worst { double ulp; float a, b, got; double want; long specials; } worst;

static void compare(worst *w, float a, float b, float got, double want) {
  float rounded = (float)want;
  bool special = isnan(rounded) ? !isnan(got) : isinf(rounded) || rounded == 0 ? false : isnan(got);
  if (rounded == 0 && got == 0 && !signbit(rounded) != !signbit(got)) special = true;
  if ((isinf(want) || want == 0) && got != rounded) special = true;
  if (special) {
    if (w->specials++ == 0) printf("  special: f(%a, %a) = %a, expected %a\n", (double)a, (double)b, (double)got, want);
    return;
  }
  if (isnan(rounded) || isinf(want)) return;
  int e;
  frexp(isinf(rounded) ? 0x1p127 : want, &e);
  double unit = ldexp(1.0, (e - 1 < -126 ? -126 : e - 1) - 23);
  double value = isinf(got) ? copysign(0x1p128, (double)got) : (double)got;
  double ulp = fabs(value - (isinf(rounded) ? copysign(0x1p128, want) : want)) / unit;
  if (ulp > w->ulp) *w = (worst){ulp, a, b, got, want, w->specials};
}

static bool report(const char *name, const worst *w, double bound) {
  bool good = w->ulp <= bound && w->specials == 0;
  printf("%-6s %.3f ulp at (%a, %a): %a, expected %a%s\n", name, w->ulp, (double)w->a, (double)w->b, (double)w->got, w->want,
         good ? "" : "   FAILED");
  return good;
}

#define EACH_NUMBER(f) for (int i = 0; i < BLOCK; i++) y[i] = f(x[i]);
#define EACH_VECTOR(f) for (int i = 0; i < BLOCK; i += VL) vstore(y + i, f(vload(x + i)));

/* One tester a function: a block goes through the vector loop first. */
#define TEST(name, all, reference, bound, domain)                                            \
  static bool test_##name(uint64_t step) {                                                 \
    static float x[BLOCK], y[BLOCK];                                                       \
    worst w = {0};                                                                         \
    for (uint64_t at = 0; at < UINT64_C(1) << 32;) {                                       \
      int n = 0;                                                                           \
      for (; n < BLOCK && at < UINT64_C(1) << 32; at += step) x[n++] = moon__float((int32_t)(uint32_t)at); \
      all                                                                                  \
      for (int i = 0; i < n; i++)                                                          \
        if (domain(x[i])) compare(&w, x[i], 0, y[i], reference((double)x[i]));             \
    }                                                                                      \
    return report(#name, &w, bound);                                                       \
  }
#define TEST1(name, reference, bound, domain) TEST(name, EACH_NUMBER(moon__##name), reference, bound, domain)
#define TESTV(name, reference, bound, domain) TEST(name, EACH_VECTOR(name), reference, bound, domain)
#define TEST2(name, reference, bound)                                                      \
  static bool test_##name(uint64_t step) {                                                 \
    static float a[BLOCK], b[BLOCK], y[BLOCK];                                             \
    worst w = {0};                                                                         \
    uint64_t count = step == 1 ? UINT64_C(200000000) : UINT64_C(4000000), r = 88172645463325252;      \
    for (uint64_t at = 0; at < count; at += BLOCK) {                                       \
      for (int i = 0; i < BLOCK; i++) {                                                    \
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;                                           \
        pick(r, &a[i], &b[i]);                                                             \
      }                                                                                    \
      for (int i = 0; i < BLOCK; i++) y[i] = moon__##name(a[i], b[i]);                     \
      for (int i = 0; i < BLOCK; i++) compare(&w, a[i], b[i], y[i], reference((double)a[i], (double)b[i])); \
    }                                                                                      \
    return report(#name, &w, bound);                                                       \
  }
/* Any bits, moderate numbers, small whole numbers, special values: a quarter each, drawn for a and b apart. */
static float pick_one(uint32_t kind, uint32_t bits) {
  static const float special[] = {0.0f, -0.0f, 1.0f,  -1.0f, INFINITY, -INFINITY, NAN,
                                  0.5f, 2.0f,  -2.0f, 3.0f,  1e-45f,   3e38f,     -3.0f};
  if (kind == 0) return moon__float((int32_t)bits);
  if (kind == 1) return (float)((double)bits / 4294967296.0 * 40.0 - 20.0);
  if (kind == 2) return (float)(int32_t)(bits % 64) - 32.0f;
  return special[bits % (sizeof special / sizeof *special)];
}
static void pick(uint64_t r, float *a, float *b) {
  uint64_t s = r * UINT64_C(0x9e3779b97f4a7c15);
  *a = pick_one((uint32_t)(r >> 5) & 3, (uint32_t)(s >> 32));
  *b = pick_one((uint32_t)(r >> 7) & 3, (uint32_t)((s * UINT64_C(0xd1342543de82ef95)) >> 32));
}

#define EVERYWHERE(x) true
#define NEAR(x) (!(fabsf(x) > MOON_TRIG_LIMIT))
static double sigmoid_reference(double x) { return 1.0 / (1.0 + exp(-x)); }
#define NOT_FAR_BELOW(x) (!((x) < -87.0f))
TEST1(exp, exp, 2, EVERYWHERE)
TEST1(exp2, exp2, 2, EVERYWHERE)
TEST1(expm1, expm1, 2, EVERYWHERE)
TEST1(log, log, 2, EVERYWHERE)
TEST1(log2, log2, 2, EVERYWHERE)
TEST1(log10, log10, 2, EVERYWHERE)
TEST1(log1p, log1p, 2, EVERYWHERE)
TEST1(sin, sin, 2, NEAR)
TEST1(cos, cos, 2, NEAR)
TEST1(tan, tan, 2, NEAR)
TEST1(asin, asin, 2, EVERYWHERE)
TEST1(acos, acos, 2, EVERYWHERE)
TEST1(atan, atan, 2, EVERYWHERE)
TEST1(sinh, sinh, 2, EVERYWHERE)
TEST1(cosh, cosh, 2, EVERYWHERE)
TEST1(tanh, tanh, 2, EVERYWHERE)
TEST1(asinh, asinh, 2, EVERYWHERE)
TEST1(acosh, acosh, 2, EVERYWHERE)
TEST1(atanh, atanh, 2, EVERYWHERE)
TEST1(erf, erf, 2, EVERYWHERE)
TEST1(erfc, erfc, 2, EVERYWHERE)
TEST1(sigmoid, sigmoid_reference, 3, NOT_FAR_BELOW)
TESTV(vexp, exp, 2, EVERYWHERE)
TESTV(vtanh, tanh, 2, EVERYWHERE)
#if defined(MOON_HAS_VGELU)
/* Below, the gate is exponential in what was rounded, and the slope passes 0: errors are many units there. */
#define NOT_BELOW(x) (!((x) < -0.25f))
static double gate_reference(double x) { return 1.0 / (1.0 + exp(-x * (1.5957691216057308 + 0.07135481627260025 * x * x))); }
static double gelu_reference(double x) { return x * gate_reference(x); }
static double slope_reference(double x) {
  return gate_reference(x) * (1.0 + x * (1.5957691216057308 + 0.21406444881780076 * x * x) * (1.0 - gate_reference(x)));
}
TESTV(vgelu, gelu_reference, 4, NOT_BELOW)
TESTV(vgelu_slope, slope_reference, 4, NOT_BELOW)
#define GELU_ROWS ROW(vgelu) ROW(vgelu_slope)
#else
#define GELU_ROWS
#endif
TESTV(vsigmoid, sigmoid_reference, 3, NOT_FAR_BELOW)
TEST2(pow, pow, 2)
TEST2(atan2, atan2, 2)
TEST2(hypot, hypot, 2)

static bool runs_here(void) {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

int main(int argc, char **argv) {
  if (!runs_here()) return puts("not on this machine") < 0;
  static const struct { const char *name; bool (*test)(uint64_t step); } tests[] = {
#define ROW(name) {#name, test_##name},
      ROW(exp) ROW(exp2) ROW(expm1) ROW(log) ROW(log2) ROW(log10) ROW(log1p) ROW(sin) ROW(cos) ROW(tan) ROW(asin) ROW(acos)
      ROW(atan) ROW(sinh) ROW(cosh) ROW(tanh) ROW(asinh) ROW(acosh) ROW(atanh) ROW(erf) ROW(erfc) ROW(sigmoid)
      ROW(vexp) ROW(vtanh) ROW(vsigmoid) GELU_ROWS ROW(pow) ROW(atan2) ROW(hypot)
#undef ROW
  };
  bool all = argc > 1 && strcmp(argv[1], "--all") == 0, good = true;
  const char *only = argc > 1 && !all ? argv[1] : argc > 2 ? argv[2] : NULL;
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
    if (!only || strcmp(only, tests[i].name) == 0) good = tests[i].test(all ? 1 : 997) && good;
  return good ? 0 : 1;
}
