/*
** tile.c: which loop an instruction of the tile VM runs: the f32 loop of the instruction set, else the plain loop of the row in
** elementwise.c; and the casts between dtypes other than f32.
*/
#include "tile.h"

#include <math.h>
#include <string.h>

/* ---- Casts: integers wrap, bool is != 0, float to integer saturates and takes NaN to 0. ---- */
#define CAST(A, TA, B, TB, value)                                                              \
  static void cast_##A##_##B(char *y, const char *const *p, const int64_t *step, int64_t n) {  \
    const TA *pa = (const TA *)(const void *)p[0];                                             \
    TB *out = (TB *)(void *)y;                                                                 \
    (void)step;                                                                                \
    for (int64_t i = 0; i < n; i++) {                                                          \
      const TA a = pa[i];                                                                      \
      out[i] = (TB)(value);                                                                    \
    }                                                                                          \
  }
CAST(bool, uint8_t, u8, uint8_t, a != 0)
CAST(bool, uint8_t, i32, int32_t, a != 0)
CAST(bool, uint8_t, i64, int64_t, a != 0)
CAST(bool, uint8_t, f64, double, a != 0)
CAST(u8, uint8_t, bool, uint8_t, a != 0)
CAST(u8, uint8_t, i32, int32_t, a)
CAST(u8, uint8_t, i64, int64_t, a)
CAST(u8, uint8_t, f64, double, a)
CAST(i32, int32_t, bool, uint8_t, a != 0)
CAST(i32, int32_t, u8, uint8_t, (uint32_t)a)
CAST(i32, int32_t, i64, int64_t, a)
CAST(i32, int32_t, f64, double, a)
CAST(i64, int64_t, bool, uint8_t, a != 0)
CAST(i64, int64_t, u8, uint8_t, (uint64_t)a)
CAST(i64, int64_t, i32, int32_t, (uint32_t)(uint64_t)a)
CAST(i64, int64_t, f64, double, a)
CAST(f64, double, bool, uint8_t, a != 0)
CAST(f64, double, u8, uint8_t, a > 255 ? 255 : a > 0 ? (int32_t)a : 0)
CAST(f64, double, i32, int32_t, a >= 2147483648.0 ? INT32_MAX : a < -2147483648.0 ? INT32_MIN : a == a ? (int32_t)a : 0)
CAST(f64, double, i64, int64_t,
     a >= 9223372036854775808.0 ? INT64_MAX : a < -9223372036854775808.0 ? INT64_MIN : a == a ? (int64_t)a : 0)

#define COPY(S, bytes)                                                                    \
  static void copy_##S(char *y, const char *const *p, const int64_t *step, int64_t n) {   \
    (void)step;                                                                           \
    if (y != p[0]) memmove(y, p[0], (size_t)n * (bytes));                                 \
  }
COPY(1, 1)
COPY(2, 2)
COPY(4, 4)
COPY(8, 8)

#define TO(A, B) [MOON_DTYPE_##B] = cast_##A##_##B
static const moon_tile_fn casts[MOON_DTYPE_COUNT][MOON_DTYPE_COUNT] = {
    [MOON_DTYPE_bool] = {[MOON_DTYPE_bool] = copy_1, TO(bool, u8), TO(bool, i32), TO(bool, i64), TO(bool, f64)},
    [MOON_DTYPE_u8] = {[MOON_DTYPE_u8] = copy_1, TO(u8, bool), TO(u8, i32), TO(u8, i64), TO(u8, f64)},
    [MOON_DTYPE_i32] = {[MOON_DTYPE_i32] = copy_4, TO(i32, bool), TO(i32, u8), TO(i32, i64), TO(i32, f64)},
    [MOON_DTYPE_i64] = {[MOON_DTYPE_i64] = copy_8, TO(i64, bool), TO(i64, u8), TO(i64, i32), TO(i64, f64)},
    [MOON_DTYPE_bf16] = {[MOON_DTYPE_bf16] = copy_2},
    [MOON_DTYPE_f16] = {[MOON_DTYPE_f16] = copy_2},
    [MOON_DTYPE_f32] = {[MOON_DTYPE_f32] = copy_4},
    [MOON_DTYPE_f64] = {[MOON_DTYPE_f64] = copy_8, TO(f64, bool), TO(f64, u8), TO(f64, i32), TO(f64, i64)},
};

moon_tile_fn moon__tile_op(moon_isa isa, moon_op_id op, moon_dtype dtype) {
  moon_tile_fn fast = dtype == MOON_DTYPE_f32 ? MOON_ISA_PICK(isa, moon__tile_set)->op[op] : NULL;
  return fast ? fast : moon__cpu_loops[op][dtype];
}

/* f16 where the instruction set has no conversion of it. */
static void cast_f16_f32(char *y, const char *const *p, const int64_t *step, int64_t n) {
  moon__convert_many(y, MOON_DTYPE_f32, 1, p[0], MOON_DTYPE_f16, step[0], n);
}
static void cast_f32_f16(char *y, const char *const *p, const int64_t *step, int64_t n) {
  moon__convert_many(y, MOON_DTYPE_f16, 1, p[0], MOON_DTYPE_f32, step[0], n);
}

moon_tile_fn moon__tile_cast(moon_isa isa, moon_dtype from, moon_dtype to) {
  const moon_tile_set *set = MOON_ISA_PICK(isa, moon__tile_set);
  if (casts[from][to]) return casts[from][to];
  moon_tile_fn fast = from == MOON_DTYPE_f32 ? set->to[to] : set->from[from];
  return fast ? fast : from == MOON_DTYPE_f16 ? cast_f16_f32 : cast_f32_f16;
}
