/*
** tile.h: register tiles of the wide family: MR rows times NV vectors of columns, summed over k, one work-item a tile. Columns are
** packed in panels [k][NB] with zeros beyond the last; the files of matmul and convolution say where rows lie.
*/
#ifndef MOON_CL_TILE_H
#define MOON_CL_TILE_H
#include "family.h"

typedef struct moon_cl_tile { int rows, vectors, lanes; } moon_cl_tile;
/* The tile for m rows and n columns of a float dtype. */
moon_cl_tile moon__cl_tile(const moon_cl_device *d, moon_dtype dtype, int64_t m, int64_t n);
static inline int64_t moon__cl_tile_columns(const moon_cl_tile *t) { return (int64_t)t->vectors * t->lanes; }

/* b as [k1][k2] rows of n columns, elements apart by steps; batch of them apart by batch_step (of y: see matmul.c). */
typedef struct moon_cl_columns {
  int64_t k1, k2, n, k1_step, k2_step, column_step, batch, batch_step, first; /* first: element where it begins */
} moon_cl_columns;
/* Bytes of the panels. False: too many. */
bool moon__cl_panel_bytes(const moon_cl_tile *t, const moon_cl_columns *b, moon_dtype dtype, size_t *bytes);
/* Adds the step that packs operand `from` into scratch, at byte `at`. */
bool moon__cl_pack(moon_cl_choice *c, const moon_cl_tile *t, const moon_cl_columns *b, int from, moon_dtype dtype, size_t at);
/* Adds a step with the tile's words (V, L, MR, NV, NB, T) before its text; spec as for moon__cl_add_spec. */
bool moon__cl_add_tile(moon_cl_choice *c, const moon_cl_tile *t, moon_dtype dtype, const char *text, moon_cl_step_spec *spec);

/* In a text: the accumulators of a tile; one step of k with MR numbers a(i) and the panel's row at w; and storing rows of columns
** of y. */
#define MOON_CL_TILE_BEGIN                                                       \
  V acc[MR][NV];                                                                 \
  UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int j = 0; j < NV; j++) acc[i][j] = (V)(0); }
#define MOON_CL_TILE_STEP(a)                                                     \
  {                                                                              \
    V w_[NV];                                                                    \
    UNROLL for (int j = 0; j < NV; j++) w_[j] = VLOAD(j, w);                     \
    UNROLL for (int i = 0; i < MR; i++) {                                        \
      const V a_ = (V)(a);                                                       \
      UNROLL for (int j = 0; j < NV; j++) acc[i][j] = fma(a_, w_[j], acc[i][j]); \
    }                                                                            \
    w += NB;                                                                     \
  }
/* Row i of the tile goes to to(i), for the first `rows` of them; `columns` are stored, or with `more` added. */
#define MOON_CL_TILE_STORE(rows, to, columns, more)                              \
  if ((columns) >= NB) {                                                         \
    UNROLL for (int i = 0; i < MR; i++) {                                        \
      if (i < (rows)) {                                                          \
        __global T *y_ = to;                                                     \
        UNROLL for (int j = 0; j < NV; j++) VSTORE(more ? acc[i][j] + VLOAD(j, y_) : acc[i][j], j, y_); \
      }                                                                          \
    }                                                                            \
  } else {                                                                       \
    T t_[MR * NB];                                                               \
    UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int j = 0; j < NV; j++) VSTORE(acc[i][j], i * NV + j, t_); } \
    for (int i = 0; i < min((long)MR, rows); i++) {                              \
      __global T *y_ = to;                                                       \
      for (int j = 0; j < (columns); j++) y_[j] = more ? y_[j] + t_[i * NB + j] : t_[i * NB + j]; \
    }                                                                            \
  }
/* In a text: a panel of `rows` rows of `columns` columns from x, whose rows and columns are these steps apart, to y [rows][NB]; what is
** beyond the last column is 0. Where rows are neighbours, L x L numbers are turned at a time, by interleaving halves again and again. */
#define MOON_CL_PACK_PANEL(x, row_step, column_step, rows, columns, y)                                       \
  {                                                                                                        \
    long r_ = 0;                                                                                           \
    const bool whole_ = (columns) >= NB;                                                                   \
    for (; whole_ && row_step == 1 && r_ + L <= (rows); r_ += L) {                                           \
      for (int j = 0; j < NV; j++) {                                                                       \
        V a_[L]; V b_[L];                                                                                  \
        UNROLL for (int i = 0; i < L; i++) a_[i] = VLOAD(0, (x) + (j * L + i) * column_step + r_);            \
        for (int half_ = 1; half_ < L; half_ *= 2) {                                                       \
          UNROLL for (int i = 0; i < L / 2; i++) {                                                         \
            b_[2 * i].even = a_[i].lo; b_[2 * i].odd = a_[i + L / 2].lo;                                     \
            b_[2 * i + 1].even = a_[i].hi; b_[2 * i + 1].odd = a_[i + L / 2].hi;                             \
          }                                                                                                \
          UNROLL for (int i = 0; i < L; i++) a_[i] = b_[i];                                                \
        }                                                                                                  \
        UNROLL for (int i = 0; i < L; i++) VSTORE(a_[i], 0, (y) + (r_ + i) * NB + j * L);                     \
      }                                                                                                    \
    }                                                                                                      \
    for (; r_ < (rows); r_++) {                                                                            \
      __global const T *from_ = (x) + r_ * row_step; __global T *to_ = (y) + r_ * NB;                         \
      if (whole_ && column_step == 1) { UNROLL for (int j = 0; j < NV; j++) VSTORE(VLOAD(j, from_), j, to_); } \
      else for (int j = 0; j < NB; j++) to_[j] = j < (columns) ? from_[j * column_step] : 0;                  \
    }                                                                                                      \
  }
#endif
