/*
** gemm.h: the register tiles that matrix products and convolutions are made of: a few rows times a few vectors of columns, summed
** over k. Rows and k are read where they lie; segments let k jump, which is all that a convolution needs.
** Shape letters: a [m, k], b [k, n], c [m, n].
*/
#ifndef MOON_GEMM_H
#define MOON_GEMM_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOON_GEMM_MAX_ROWS = 14, MOON_GEMM_MAX_VECTORS = 4, MOON_GEMM_STREAM_ROWS = 4 };

/* How a lies. ROWS: k is contiguous, rows a_step apart. COLUMNS: rows are contiguous, k a_step apart. */
typedef enum moon_gemm_form { MOON_GEMM_ROWS, MOON_GEMM_COLUMNS } moon_gemm_form;

typedef struct moon_gemm_tile {
  const float *a, *b;
  float *c;
  int64_t a_step, b_step, c_step; /* b_step: from k to k + 1; c_step: from row to row */
  int64_t nsegments, length;      /* k runs over segments of this length */
  const int64_t *a_segments;      /* where each begins, from a; NULL: at a (one segment) */
  const int64_t *b_segments;      /* from b; NULL: one after the other */
  int64_t columns;                /* of c, at most the tile's; b has all of the tile's, but for the part kernel */
  bool add;                       /* c += instead of c = */
  const float *start;             /* otherwise what the sums start from, rows start_step apart; NULL: 0 */
  int64_t start_step;
  const float *ahead; /* brought near meanwhile, ahead_step numbers on with each k (ROWS only); NULL: nothing */
  int64_t ahead_step;
} moon_gemm_tile;
typedef void (*moon_gemm_fn)(const moon_gemm_tile *t);

typedef struct moon_gemm_set {
  int lanes;
  /* By width in vectors: 1, 2, 4; width 0 is one vector of which b has only `columns` lanes. */
  int rows[MOON_GEMM_MAX_VECTORS + 1];
  moon_gemm_fn tile[2][MOON_GEMM_MAX_VECTORS + 1][MOON_GEMM_MAX_ROWS + 1]; /* [form][width][rows] */
  /* out [depth, width] = x [depth, columns], zeros beyond columns. */
  void (*pack)(float *out, const float *x, int64_t depth, int64_t columns, int64_t depth_step, int64_t column_step, int64_t width);
  /* c [m, n] = dots of the rows of a [m, k] and b [n, k]; for m small. */
  void (*dots)(float *c, int64_t c_step, const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t m, int64_t n,
               int64_t k);
  /* c [m, n] += a [m, k] b [k, n] for m <= MOON_GEMM_STREAM_ROWS and columns of b side by side: b is read once, rows at a time. */
  void (*stream)(float *c, int64_t c_step, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_step,
                 int64_t m, int64_t n, int64_t k);
} moon_gemm_set;
MOON_ISA_DECLARE(const moon_gemm_set, moon__gemm_set)

/* c [m, n] from a's rows, a_row apart, and columns of b that lie side by side (b_step from k to k + 1): t describes the first
** row and k. Tiles are `height` rows by `width` vectors; height <= set->rows[width]. The last columns use narrower tiles;
** padded: b has zeros up to a whole panel. a_tile: distance in a from one tile of rows to the next. */
void moon__gemm_panel(const moon_gemm_set *set, moon_gemm_form form, moon_gemm_tile t, int64_t m, int height, int64_t a_tile,
                      int width, bool padded);
/* The first tile of a block would wait for what of b comes from memory: so the next block's (NULL: there is none), which lies as t's does,
** comes while t's is multiplied. Where a block has many tiles of rows that makes no difference. */
void moon__gemm_look_ahead(moon_gemm_tile *t, const float *next, int64_t tiles);
/* Rows of a tile so that m splits evenly into tiles of at most `most` rows. */
int moon__gemm_height(int64_t m, int most);
#endif
