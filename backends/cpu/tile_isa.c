/*
** tile_isa.c: the f32 loops of the tile VM, compiled once per instruction set: one per row of elementwise.def, the casts from and
** to f32, and folds of rows to one number. The compiler turns each loop into vectors; vecmath.h holds the functions.
*/
#include "tile.h"

#include <math.h>

#include "vmath.h"

/* ---- Value macros for f32 (see the head of elementwise.def). ---- */
#define K(x) ((float)(x))
#define NEG(a) (-(a))
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define ABS(a) moon__abs(a)
#define FLOOR(a) floorf(a)
#define CEIL(a) ceilf(a)
#define TRUNC(a) truncf(a)
#define ROUND(a) rintf(a)
#define MAX(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define MIN(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define FLOORDIV(a, b) divide_down(a, b)
#define REM(a, b) remainder_of(a, b)
#define POW(a, b) moon__pow(a, b)
#define WHERE(p, a, b) ((p) ? (a) : (b))
#define SQRT(a) __builtin_sqrtf(a)
#define EXP(a) moon__exp(a)
#define EXP2(a) moon__exp2(a)
#define EXPM1(a) moon__expm1(a)
#define LOG(a) moon__log(a)
#define LOG2(a) moon__log2(a)
#define LOG10(a) moon__log10(a)
#define LOG1P(a) moon__log1p(a)
#define SIN(a) moon__sin(a)
#define COS(a) moon__cos(a)
#define TAN(a) moon__tan(a)
#define ASIN(a) moon__asin(a)
#define ACOS(a) moon__acos(a)
#define ATAN(a) moon__atan(a)
#define SINH(a) moon__sinh(a)
#define COSH(a) moon__cosh(a)
#define TANH(a) moon__tanh(a)
#define ASINH(a) moon__asinh(a)
#define ACOSH(a) moon__acosh(a)
#define ATANH(a) moon__atanh(a)
#define ERF(a) moon__erf(a)
#define ERFC(a) moon__erfc(a)
#define ATAN2(a, b) moon__atan2(a, b)
#define HYPOT(a, b) moon__hypot(a, b)
#define EQ(a, b) ((a) == (b))
#define NE(a, b) ((a) != (b))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define GT(a, b) ((a) > (b))
#define GE(a, b) ((a) >= (b))
#define NOT(p) (!(p))
#define AND(p, q) ((p) && (q))
#define OR(p, q) ((p) || (q))
#define XOR(p, q) (!(p) != !(q))

MOON_INLINE float remainder_of(float a, float b) {
  float r = fmodf(a, b);
  if (r == 0) return copysignf(r, b);
  return (r < 0) != (b < 0) ? r + b : r;
}
MOON_INLINE float divide_down(float a, float b) {
  if (b == 0) return a / b;
  float r = fmodf(a, b), q = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) q -= 1;
  if (q == 0) return copysignf(0, a / b);
  float whole = floorf(q);
  return q - whole > 0.5f ? whole + 1 : whole;
}

/* ---- One loop per row. Rows of class BOOL are not about f32. A loop runs whole blocks, so that it needs no code for a rest: the
** rest of a tile is copied to a block of its own. ---- */
enum { BLOCK = 16, BYTES_BLOCK = 64 }; /* elements: of loops over numbers; of loops that also touch bytes */

typedef struct operand_bytes { uint8_t block, in, first, out; } operand_bytes; /* first: of p[0]; so small that it is one number */

static void run_rest(moon_tile_fn run, char *y, const char *const *p, int64_t from, int64_t n, int nin,
                                               operand_bytes b) {
  _Alignas(64) char in[3][BYTES_BLOCK * 8], out[BYTES_BLOCK * 8];
  const char *q[3] = {in[0], in[1], in[2]};
  for (int k = 0; k < nin; k++) {
    int64_t bytes = k == 0 ? b.first : b.in;
    memset(in[k], 0, (size_t)(b.block * bytes));
    memcpy(in[k], p[k] + from * bytes, (size_t)(n * bytes));
  }
  run(out, q, NULL, b.block);
  memcpy(y + from * b.out, out, (size_t)(n * b.out));
}
static __attribute__((noinline)) void run_blocks(moon_tile_fn run, char *y, const char *const *p, int64_t n, int nin, operand_bytes b) {
  int64_t whole = n & -(int64_t)b.block;
  if (whole > 0) run(y, p, NULL, whole);
  if (whole < n) run_rest(run, y, p, whole, n - whole, nin, b);
}

#define KEEP(...) __VA_ARGS__
#define DROP(...)
#define IF_FLOAT KEEP
#define IF_NUMBER KEEP
#define IF_ANY KEEP
#define IF_BOOL DROP
#define F32(k) ((const float *)(const void *)p[k])
#define OUT_SAME float
#define OUT_BOOL uint8_t
#define PUT_SAME(value) (value)
#define PUT_BOOL(value) ((value) ? 1 : 0)
/* pointers: copies of p[..], as the loop's stores may alias p itself. */
#define LOOP(name, nin, first_type, out_type, pointers, load, value)                                        \
  static void block_##name(char *y, const char *const *p, const int64_t *step, int64_t n) {                 \
    enum { block = sizeof(out_type) == 1 || sizeof(first_type) == 1 ? BYTES_BLOCK : BLOCK };                \
    out_type *out = (out_type *)(void *)y;                                                                  \
    pointers;                                                                                               \
    (void)step;                                                                                             \
    n &= -(int64_t)block;                                                                                   \
    MOON_IVDEP                                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                                       \
      load;                                                                                                 \
      out[i] = value;                                                                                       \
    }                                                                                                       \
  }                                                                                                         \
  static void tile_##name(char *y, const char *const *p, const int64_t *step, int64_t n) {                  \
    const uint8_t block = sizeof(out_type) == 1 || sizeof(first_type) == 1 ? BYTES_BLOCK : BLOCK;           \
    (void)step;                                                                                             \
    run_blocks(block_##name, y, p, n, nin, (operand_bytes){block, sizeof(float), sizeof(first_type), sizeof(out_type)}); \
  }
#define UNARY(name, CLASS, RESULT, value, ...) \
  IF_##CLASS(LOOP(name, 1, float, OUT_##RESULT, const float *pa = F32(0), const float a = pa[i], PUT_##RESULT(value)))
#define BINARY(name, CLASS, RESULT, value, ...)                                                             \
  IF_##CLASS(LOOP(name, 2, float, OUT_##RESULT, const float *pa = F32(0); const float *pb = F32(1),         \
                  const float a = pa[i]; const float b = pb[i], PUT_##RESULT(value)))
#define TERNARY(name, CLASS, RESULT, value, ...)                                                                    \
  IF_##CLASS(LOOP(name, 3, uint8_t, OUT_##RESULT,                                                                   \
                  const uint8_t *pa = (const uint8_t *)p[0]; const float *pb = F32(1); const float *pc = F32(2),    \
                  const int a = pa[i] != 0; const float b = pb[i]; const float c = pc[i], PUT_##RESULT(value)))
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY

/* Circular functions of large angles: the C library's, for the whole tile. */
#define WIDE(name, exact)                                                                       \
  static void wide_##name(char *y, const char *const *p, const int64_t *step, int64_t n) {      \
    int large = 0;                                                                              \
    for (int64_t i = 0; i < n; i++) large |= moon__abs(F32(0)[i]) > MOON_TRIG_LIMIT;            \
    if (!large) {                                                                               \
      tile_##name(y, p, step, n);                                                               \
      return;                                                                                   \
    }                                                                                           \
    for (int64_t i = 0; i < n; i++) ((float *)(void *)y)[i] = (float)exact((double)F32(0)[i]);  \
  }
WIDE(sin, sin)
WIDE(cos, cos)
WIDE(tan, tan)

/* -softplus(-a): a loop of its own would take 1 KB. */
static void from_softplus(char *y, const char *const *p, const int64_t *step, int64_t n) {
  const char *q[3] = {y, y, y};
  tile_neg(y, p, step, n);
  tile_softplus(y, q, step, n);
  tile_neg(y, q, step, n);
}

/* Functions that are faster on whole vectors than what the compiler makes of the loop. */
#define VECTOR(f)                                                                                 \
  static void block_##f(char *y, const char *const *p, const int64_t *step, int64_t n) {          \
    const float *x = F32(0);                                                                      \
    (void)step;                                                                                   \
    for (int64_t i = 0; i < n; i += VL) vstore((float *)(void *)y + i, f(vload(x + i)));          \
  }                                                                                               \
  static void tile_##f(char *y, const char *const *p, const int64_t *step, int64_t n) {           \
    (void)step;                                                                                   \
    run_blocks(block_##f, y, p, n, 1, (operand_bytes){BLOCK, sizeof(float), sizeof(float), sizeof(float)}); \
  }
VECTOR(vexp)
VECTOR(vtanh)
VECTOR(vsigmoid)
#if defined(MOON_HAS_VGELU)
VECTOR(vgelu)
VECTOR(vgelu_slope)
#endif

/* ---- Casts: float to integer saturates and takes NaN to 0. ---- */
#define FROM(S, T, value) \
  LOOP(from_##S, 1, T, float, const T *pa = (const T *)(const void *)p[0], const T a = pa[i], (float)(value))
FROM(bool, uint8_t, a != 0)
FROM(u8, uint8_t, a)
FROM(i32, int32_t, a)
FROM(i64, int64_t, a)
FROM(f64, double, a)
#define TO(S, T, value) LOOP(to_##S, 1, float, T, const float *pa = F32(0), const float a = pa[i], (T)(value))
TO(bool, uint8_t, a != 0)
TO(u8, uint8_t, a > 255.0f ? 255 : a > 0.0f ? (int32_t)a : 0)
TO(i32, int32_t, a >= 2147483648.0f ? INT32_MAX : a < -2147483648.0f ? INT32_MIN : a == a ? (int32_t)a : 0)
TO(i64, int64_t, a >= 9223372036854775808.0f ? INT64_MAX : a < -9223372036854775808.0f ? INT64_MIN : a == a ? (int64_t)a : 0)
TO(f64, double, a)

/* Halves, a vector at a time. What the processor cannot convert, tile.c does. */
#define HALF(S)                                                                                            \
  static void block_from_##S(char *y, const char *const *p, const int64_t *step, int64_t n) {              \
    (void)step;                                                                                            \
    for (int64_t i = 0; i < n; i += VL) vstore((float *)(void *)y + i, vload_##S((const uint16_t *)(const void *)p[0] + i)); \
  }                                                                                                        \
  static void tile_from_##S(char *y, const char *const *p, const int64_t *step, int64_t n) {               \
    (void)step;                                                                                            \
    run_blocks(block_from_##S, y, p, n, 1, (operand_bytes){BLOCK, 2, 2, sizeof(float)});                   \
  }                                                                                                        \
  static void block_to_##S(char *y, const char *const *p, const int64_t *step, int64_t n) {                \
    (void)step;                                                                                            \
    for (int64_t i = 0; i < n; i += VL) vstore_##S((uint16_t *)(void *)y + i, vload(F32(0) + i));          \
  }                                                                                                        \
  static void tile_to_##S(char *y, const char *const *p, const int64_t *step, int64_t n) {                 \
    (void)step;                                                                                            \
    run_blocks(block_to_##S, y, p, n, 1, (operand_bytes){BLOCK, sizeof(float), sizeof(float), 2});         \
  }
HALF(bf16)
#if defined(MOON_HAS_F16)
HALF(f16)
#define SET_HALVES(ROW) ROW(bf16) ROW(f16)
#else
#define SET_HALVES(ROW) ROW(bf16)
#endif

/* ---- Folds: four vectors side by side, then halves of the vectors, then of the lanes. ---- */
#define FOLD(name, identity, vector_op, lanes)                                                  \
  static void fold_##name(float *y, const float *x, int64_t rows, int64_t length) {             \
    for (int64_t r = 0; r < rows; r++, x += length) {                                           \
      vf acc[4];                                                                                \
      int64_t i = 0;                                                                            \
      MOON_UNROLL(4) for (int j = 0; j < 4; j++) acc[j] = vsplat(identity);                     \
      for (; i + 4 * VL <= length; i += 4 * VL)                                                 \
        MOON_UNROLL(4) for (int j = 0; j < 4; j++) {                                            \
          const vf a = acc[j], b = vload(x + i + j * VL);                                       \
          acc[j] = vector_op;                                                                   \
        }                                                                                       \
      for (; i < length; i += VL) {                                                             \
        const vf a = acc[0], b = i + VL <= length ? vload(x + i) : vload_filled(x + i, length - i, identity); \
        acc[0] = vector_op;                                                                     \
      }                                                                                         \
      if (length >= 4 * VL)                                                                     \
        MOON_UNROLL(3) for (int k = 0; k < 3; k++) { /* 0 and 2, 1 and 3, then 0 and 1 */       \
          const vf a = acc[k % 2], b = acc[k < 2 ? k + 2 : 1];                                  \
          acc[k % 2] = vector_op;                                                               \
        }                                                                                       \
      y[r] = lanes(acc[0]);                                                                     \
    }                                                                                           \
  }
FOLD(sum, 0.0f, a + b, vsum)
FOLD(max, -INFINITY, vmax_nan(a, b), vmax_lanes)
FOLD(min, INFINITY, vmin_nan(a, b), vmin_lanes)

static void spread(float *y, const float *x, int64_t x_step, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += x_step, y += n) {
    const vf v = vsplat(*x);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(y + i, v);
    if (i < n) vstore_part(y + i, v, n - i);
  }
}

static void clamp(float *y, int64_t y_step, const float *x, int64_t x_step, int64_t rows, int64_t n, float lo, float hi) {
  const vf least = vsplat(lo), most = vsplat(hi);
  for (int64_t r = 0; r < rows; r++, x += x_step, y += y_step) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(y + i, vmin_nan(vmax_nan(vload(x + i), least), most));
    if (i < n) vstore_part(y + i, vmin_nan(vmax_nan(vload_part(x + i, n - i), least), most), n - i);
  }
}

static void stream(float *y, const float *x, int64_t n) {
  int64_t i = 0;
  for (; i < n && ((uintptr_t)(y + i) & (4 * VL - 1)) != 0; i++) y[i] = x[i];
  for (; i + VL <= n; i += VL) vstream(y + i, vload(x + i));
  for (; i < n; i++) y[i] = x[i];
}
static void stream_end(void) { vstream_end(); }

/* ---- The table. ---- */
#define AT(name) [MOON_OP_##name] = tile_##name,
#define UNARY(name, CLASS, ...) IF_##CLASS(AT(name))
#define BINARY(name, CLASS, ...) IF_##CLASS(AT(name))
#define TERNARY(name, CLASS, ...) IF_##CLASS(AT(name))
#define SET_CASTS(ROW) ROW(bool) ROW(u8) ROW(i32) ROW(i64) ROW(f64) SET_HALVES(ROW)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Woverride-init"
#else
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif
const moon_tile_set MOON_ISA_NAME(moon__tile_set) = {
    .op =
        {
#include "ops/elementwise.def"
            [MOON_OP_exp] = tile_vexp,
            [MOON_OP_tanh] = tile_vtanh,
            [MOON_OP_sigmoid] = tile_vsigmoid,
#if defined(MOON_HAS_VGELU)
            [MOON_OP_gelu_tanh] = tile_vgelu,
            [MOON_OP_gelu_tanh_slope] = tile_vgelu_slope,
#endif
            [MOON_OP_log_sigmoid] = from_softplus,
            [MOON_OP_sin] = wide_sin,
            [MOON_OP_cos] = wide_cos,
            [MOON_OP_tan] = wide_tan,
        },
#define ROW(S) [MOON_DTYPE_##S] = tile_from_##S,
    .from = {SET_CASTS(ROW)},
#undef ROW
#define ROW(S) [MOON_DTYPE_##S] = tile_to_##S,
    .to = {SET_CASTS(ROW)},
#undef ROW
    .fold_sum = fold_sum,
    .fold_max = fold_max,
    .fold_min = fold_min,
    .spread = spread,
    .clamp = clamp,
    .stream = stream,
    .stream_end = stream_end,
};
