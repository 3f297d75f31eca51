/*
** tile.h: the instructions of the tile VM: loops over up to some thousand elements that stay in the first-level cache. f32 loops
** come from tile_isa.c, once per instruction set; loops of the other dtypes are those of elementwise.c. All may run in place.
*/
#ifndef MOON_TILE_H
#define MOON_TILE_H
#include "cpu.h"
#include "isa.h"

/* y[i] = value(p[0][i], p[1][i], p[2][i]) for i in [0, n); step holds ones, which the fast loops do not even look at. */
typedef moon_cpu_loop_fn moon_tile_fn;

/* Combines rows: y[r] = x[r * length] op ... op x[r * length + length - 1], by a tree fixed by length. */
typedef void (*moon_fold_fn)(float *y, const float *x, int64_t rows, int64_t length);

/* What an instruction set brings for f32. Unset members are NULL: then the loops for every dtype serve. */
typedef struct moon_tile_set {
  moon_tile_fn op[MOON_ELEMENTWISE_COUNT];
  moon_tile_fn from[MOON_DTYPE_COUNT], to[MOON_DTYPE_COUNT]; /* casts to f32 and from f32 */
  moon_fold_fn fold_sum, fold_max, fold_min;
  /* y [rows, n] = x[r * x_step] in row r. */
  void (*spread)(float *y, const float *x, int64_t x_step, int64_t rows, int64_t n);
  /* y [rows, n] = x brought into [lo, hi], rows y_step and x_step apart; NaN stays. */
  void (*clamp)(float *y, int64_t y_step, const float *x, int64_t x_step, int64_t rows, int64_t n, float lo, float hi);
  /* y [n] = x past the caches; after the last of them stream_end. */
  void (*stream)(float *y, const float *x, int64_t n);
  void (*stream_end)(void);
} moon_tile_set;
MOON_ISA_DECLARE(const moon_tile_set, moon__tile_set)

/* The loop for an elementwise op on inputs of dtype (values of where), or for a cast; NULL when there is none. */
moon_tile_fn moon__tile_op(moon_isa isa, moon_op_id op, moon_dtype dtype);
moon_tile_fn moon__tile_cast(moon_isa isa, moon_dtype from, moon_dtype to);
#endif
