/*
** convert.c: numbers of one dtype as another, by the rules of cast, which hold on every backend: float to integer saturates and
** takes NaN to 0, integers wrap, anything to bool is != 0, a bool counts as 0 or 1 whatever its byte. To and from bf16 and f16 goes
** through f32.
*/
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/shape.h"
#include "base/size.h"
#include "tensor/tensor.h"

/* ---- one number; S is the source's C type ---- */
#define SATURATE(name, ctype, low, high, below)                            \
  static inline ctype name(double x) {                                     \
    return x != x ? (ctype)0 : x <= (low) ? (ctype)(below) : x >= (high) ? (ctype)((high) - 1) : (ctype)x; \
  }
SATURATE(double_to_u8, uint8_t, 0.0, 256.0, 0)
SATURATE(double_to_i32, int32_t, -2147483648.0, 2147483648.0, INT32_MIN)
static inline int64_t double_to_i64(double x) {
  return x != x ? 0 : x <= -9223372036854775808.0 ? INT64_MIN : x >= 9223372036854775808.0 ? INT64_MAX : (int64_t)x;
}

static inline uint8_t int_to_u8(int64_t x) { return (uint8_t)(uint64_t)x; }
static inline int32_t int_to_i32(int64_t x) { return (int32_t)(uint32_t)(uint64_t)x; }
static inline int64_t int_to_i64(int64_t x) { return x; }
static inline uint8_t int_to_b8(int64_t x) { return x != 0; }
static inline uint8_t double_to_b8(double x) { return x != 0; }
static inline float int_to_f32(int64_t x) { return (float)x; }
static inline double int_to_f64(int64_t x) { return (double)x; }
static inline float double_to_f32(double x) { return (float)x; }
static inline double double_to_f64(double x) { return x; }

/* ---- strided loops, one a pair of dtypes (b8 stands for bool, which is a macro) ---- */
#define LOOP(from, to, stype, dtype, convert, load)                                                  \
  static void convert_##from##_##to(char *d, int64_t ds, const char *s, int64_t ss, int64_t n) {     \
    for (int64_t i = 0; i < n; i++) {                                                                \
      stype x;                                                                                       \
      dtype y;                                                                                       \
      memcpy(&x, s + i * ss * (int64_t)sizeof x, sizeof x);                                          \
      y = convert(load);                                                                             \
      memcpy(d + i * ds * (int64_t)sizeof y, &y, sizeof y);                                          \
    }                                                                                                \
  }
#define LOOPS(from, stype, kind, load)                   \
  LOOP(from, b8, stype, uint8_t, kind##_to_b8, load)     \
  LOOP(from, u8, stype, uint8_t, kind##_to_u8, load)     \
  LOOP(from, i32, stype, int32_t, kind##_to_i32, load)   \
  LOOP(from, i64, stype, int64_t, kind##_to_i64, load)   \
  LOOP(from, f32, stype, float, kind##_to_f32, load)     \
  LOOP(from, f64, stype, double, kind##_to_f64, load)
LOOPS(b8, uint8_t, int, x != 0)
LOOPS(u8, uint8_t, int, x)
LOOPS(i32, int32_t, int, x)
LOOPS(i64, int64_t, int, x)
LOOPS(f32, float, double, (double)x)
LOOPS(f64, double, double, x)

typedef void (*convert_loop)(char *d, int64_t ds, const char *s, int64_t ss, int64_t n);
#define ROW(from)                                                                                                   \
  {[MOON_DTYPE_bool] = convert_##from##_b8, [MOON_DTYPE_u8] = convert_##from##_u8, [MOON_DTYPE_i32] = convert_##from##_i32, \
   [MOON_DTYPE_i64] = convert_##from##_i64, [MOON_DTYPE_f32] = convert_##from##_f32, [MOON_DTYPE_f64] = convert_##from##_f64}
static const convert_loop loops[MOON_DTYPE_COUNT][MOON_DTYPE_COUNT] = {
    [MOON_DTYPE_bool] = ROW(b8), [MOON_DTYPE_u8] = ROW(u8),   [MOON_DTYPE_i32] = ROW(i32),
    [MOON_DTYPE_i64] = ROW(i64), [MOON_DTYPE_f32] = ROW(f32), [MOON_DTYPE_f64] = ROW(f64),
};

/* ---- halves: by way of f32, in pieces ---- */
enum { PIECE = 256 };

static void widen_piece(float *y, moon_dtype dtype, const char *s, int64_t ss, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t x;
    memcpy(&x, s + i * ss * 2, sizeof x);
    y[i] = dtype == MOON_DTYPE_bf16 ? moon__bf16_to_f32(x) : moon__f16_to_f32(x);
  }
}

static void narrow_piece(char *d, moon_dtype dtype, int64_t ds, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t y = dtype == MOON_DTYPE_bf16 ? moon__f32_to_bf16(x[i]) : moon__f32_to_f16(x[i]);
    memcpy(d + i * ds * 2, &y, sizeof y);
  }
}

static void convert_half(char *d, moon_dtype d_dtype, int64_t ds, const char *s, moon_dtype s_dtype, int64_t ss, int64_t n) {
  int64_t d_bytes = (int64_t)moon_dtype_bytes(d_dtype), s_bytes = (int64_t)moon_dtype_bytes(s_dtype);
  float x[PIECE];
  for (int64_t i = 0; i < n; i += PIECE) {
    int64_t m = moon__min_i64(PIECE, n - i);
    const char *from = s + i * ss * s_bytes;
    if (moon__dtype_is_half(s_dtype)) widen_piece(x, s_dtype, from, ss, m);
    else loops[s_dtype][MOON_DTYPE_f32]((char *)x, 1, from, ss, m);
    if (moon__dtype_is_half(d_dtype)) narrow_piece(d + i * ds * d_bytes, d_dtype, ds, x, m);
    else loops[MOON_DTYPE_f32][d_dtype](d + i * ds * d_bytes, ds, (const char *)x, 1, m);
  }
}

static void convert_loop_of(char *d, moon_dtype d_dtype, int64_t ds, const char *s, moon_dtype s_dtype, int64_t ss, int64_t n) {
  convert_loop loop = loops[s_dtype][d_dtype];
  if (loop) loop(d, ds, s, ss, n);
  else convert_half(d, d_dtype, ds, s, s_dtype, ss, n);
}

void moon__convert(void *dst, moon_dtype dst_dtype, const void *src, moon_dtype src_dtype) {
  convert_loop_of(dst, dst_dtype, 0, src, src_dtype, 0, 1);
}

void moon__convert_many(void *dst, moon_dtype dst_dtype, int64_t dst_stride, const void *src, moon_dtype src_dtype,
                        int64_t src_stride, int64_t n) {
  if (n <= 0) return;
  if (dst_dtype == src_dtype && dst_stride == 1 && src_stride == 1 && dst_dtype != MOON_DTYPE_bool) {
    memcpy(dst, src, (size_t)n * moon_dtype_bytes(dst_dtype));
  } else {
    convert_loop_of(dst, dst_dtype, dst_stride, src, src_dtype, src_stride, n);
  }
}

/* Leaves out axes of size 1 and merges neighbours that both arrays walk as one. Gives the number of axes left (at least 1). */
static int merge_axes(int ndim, const int64_t *shape, const int64_t *ds, const int64_t *ss, int64_t *n, int64_t *d, int64_t *s) {
  int m = 0;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] == 1) continue;
    if (m > 0 && d[m - 1] == ds[i] * shape[i] && s[m - 1] == ss[i] * shape[i]) {
      m--;
      n[m] *= shape[i];
    } else {
      n[m] = shape[i];
    }
    d[m] = ds[i];
    s[m] = ss[i];
    m++;
  }
  if (m > 0) return m;
  n[0] = d[0] = s[0] = 1;
  return 1;
}

void moon__convert_array(void *dst, moon_dtype dst_dtype, const int64_t *dst_strides, const void *src, moon_dtype src_dtype,
                         const int64_t *src_strides, int ndim, const int64_t *shape) {
  int64_t n[MOON_MAX_DIMS], d[MOON_MAX_DIMS], s[MOON_MAX_DIMS], at[MOON_MAX_DIMS] = {0}, d_at = 0, s_at = 0;
  int64_t d_bytes = (int64_t)moon_dtype_bytes(dst_dtype), s_bytes = (int64_t)moon_dtype_bytes(src_dtype);
  int last, axis;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] == 0) return;
  }
  last = merge_axes(ndim, shape, dst_strides, src_strides, n, d, s) - 1;
  do {
    moon__convert_many((char *)dst + d_at * d_bytes, dst_dtype, d[last], (const char *)src + s_at * s_bytes, src_dtype, s[last],
                       n[last]);
    for (axis = last - 1; axis >= 0; axis--) {
      d_at += d[axis];
      s_at += s[axis];
      if (++at[axis] < n[axis]) break;
      d_at -= d[axis] * n[axis];
      s_at -= s[axis] * n[axis];
      at[axis] = 0;
    }
  } while (axis >= 0);
}

static const char *element_at(const moon_tensor *t, const int64_t *index) {
  int64_t at = t->offset;
  for (int i = 0; i < t->ndim; i++) at += index[i] * t->strides[i];
  return t->storage->data + at * (int64_t)moon_dtype_bytes(t->dtype);
}

double moon__element_get(const moon_tensor *t, const int64_t *index) {
  double x;
  moon__convert(&x, MOON_DTYPE_f64, element_at(t, index), t->dtype);
  return x;
}

int64_t moon__element_get_i64(const moon_tensor *t, const int64_t *index) {
  int64_t x;
  moon__convert(&x, MOON_DTYPE_i64, element_at(t, index), t->dtype);
  return x;
}
