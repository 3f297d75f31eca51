/*
** gemm_isa.c: register tiles of f32 matrix products, packing with transposition, and dots, compiled once per instruction set. What
** they are given to do is decided in gemm.c and conv_fast.c.
*/
#include "gemm.h"

#include "vector.h"

#if VL == 16 || defined(__aarch64__)
#define ROWS_1 7 /* twice as many would gain little and take 16 KB */
#define ROWS_2 14
#define ROWS_4 7
#else
#define ROWS_1 6
#define ROWS_2 6
#define ROWS_4 3
#endif

/* c [rows, columns] from a tile that was computed beside it, and what it starts from. */
static __attribute__((noinline)) void store_edge(float *c, int64_t c_step, const float *x, int64_t x_step, int64_t rows,
                                                 int64_t columns, const float *start, int64_t start_step) {
  for (int64_t i = 0; i < rows; i++, c += c_step, x += x_step, start = start ? start + start_step : NULL) {
    int64_t j = 0;
    for (; j + VL <= columns; j += VL) vstore(c + j, start ? vload(start + j) + vload(x + j) : vload(x + j));
    if (j == columns) continue;
    vf part = vload_part(x + j, columns - j);
    vstore_part(c + j, start ? vload_part(start + j, columns - j) + part : part, columns - j);
  }
}

/* The whole tile: every loop but those over k has a constant length and is unrolled, so acc lives in registers. */
MOON_INLINE void tile(const moon_gemm_tile *t, const int form, const int vectors, const int rows, const bool part) {
  vf acc[MOON_GEMM_MAX_ROWS][MOON_GEMM_MAX_VECTORS];
  float edge[MOON_GEMM_MAX_ROWS * MOON_GEMM_MAX_VECTORS * VL];
  const int64_t a_step = t->a_step, b_step = t->b_step, length = t->length, columns = t->columns;
  const bool whole = columns == vectors * VL;
  const float *b = t->b, *start = t->add ? t->c : t->start;
  const int64_t start_step = t->add ? t->c_step : t->start_step, ahead_step = t->ahead_step;
  uintptr_t ahead = (uintptr_t)t->ahead;
  if (whole && start) {
    const float *x = start;
    MOON_UNROLL(14) for (int i = 0; i < rows; i++, x += start_step)
      MOON_UNROLL(4) for (int j = 0; j < vectors; j++) acc[i][j] = vload(x + j * VL);
  } else {
    MOON_UNROLL(14) for (int i = 0; i < rows; i++)
      MOON_UNROLL(4) for (int j = 0; j < vectors; j++) acc[i][j] = (vf){0};
  }
  for (int64_t s = 0; s < t->nsegments; s++) {
    const float *a = t->a_segments ? t->a + t->a_segments[s] : t->a;
    if (t->b_segments) b = t->b + t->b_segments[s];
    for (int64_t k = 0; k < length; k++) {
      vf bv[MOON_GEMM_MAX_VECTORS];
      MOON_UNROLL(4) for (int j = 0; j < vectors; j++) bv[j] = part ? vload_part(b, columns) : vload(b + j * VL);
      MOON_UNROLL(14) for (int i = 0; i < rows; i++) {
        vf av = vsplat(form == MOON_GEMM_ROWS ? a[i * a_step] : a[i]);
        MOON_UNROLL(4) for (int j = 0; j < vectors; j++) acc[i][j] = vfma(av, bv[j], acc[i][j]);
      }
      a += form == MOON_GEMM_ROWS ? 1 : a_step;
      b += b_step;
      if (form == MOON_GEMM_ROWS && vectors == 2) {
        __builtin_prefetch((const void *)ahead, 0, 2);
        ahead += (uintptr_t)ahead_step * sizeof *b;
      }
    }
  }
  float *y = whole ? t->c : edge;
  const int64_t y_step = whole ? t->c_step : vectors * VL;
  MOON_UNROLL(14) for (int i = 0; i < rows; i++, y += y_step)
    MOON_UNROLL(4) for (int j = 0; j < vectors; j++) vstore(y + j * VL, acc[i][j]);
  if (!whole) store_edge(t->c, t->c_step, edge, vectors * VL, rows, columns, start, start_step);
}

#define TILE(width, vectors, rows)                                                                                      \
  static void rows_##width##_##rows(const moon_gemm_tile *t) { tile(t, MOON_GEMM_ROWS, vectors, rows, width == 0); }    \
  static void columns_##width##_##rows(const moon_gemm_tile *t) { tile(t, MOON_GEMM_COLUMNS, vectors, rows, width == 0); }
#define UP_TO_3(X, w, v) X(w, v, 1) X(w, v, 2) X(w, v, 3)
#define UP_TO_6(X, w, v) UP_TO_3(X, w, v) X(w, v, 4) X(w, v, 5) X(w, v, 6)
#define UP_TO_7(X, w, v) UP_TO_6(X, w, v) X(w, v, 7)
#define UP_TO_14(X, w, v) \
  UP_TO_7(X, w, v) X(w, v, 8) X(w, v, 9) X(w, v, 10) X(w, v, 11) X(w, v, 12) X(w, v, 13) X(w, v, 14)
#if ROWS_2 == 14
#define WIDTHS(X) UP_TO_7(X, 0, 1) UP_TO_14(X, 2, 2) UP_TO_7(X, 4, 4)
#define WIDTH_1(X) UP_TO_7(X, 1, 1)
#else
#define WIDTHS(X) UP_TO_6(X, 0, 1) UP_TO_6(X, 2, 2) UP_TO_3(X, 4, 4)
#define WIDTH_1(X) UP_TO_6(X, 1, 1)
#endif
WIDTHS(TILE)
#if VL == 16 /* loading part of a vector costs nothing: width 0 serves as width 1 */
#define rows_1(rows) rows_0_##rows
#define columns_1(rows) columns_0_##rows
#else
WIDTH_1(TILE)
#define rows_1(rows) rows_1_##rows
#define columns_1(rows) columns_1_##rows
#endif

/* ---- Packing ---- */

/* Turns a square of VL vectors round: each round interleaves vector i with vector i + VL / 2. */
MOON_INLINE void transpose(vf x[VL]) {
  vf y[VL];
#if VL == 16
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif VL == 8
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
  for (int round = VL; round > 1; round /= 2) {
    MOON_UNROLL(8) for (int i = 0; i < VL / 2; i++) {
      y[2 * i] = LOW(x[i], x[i + VL / 2]);
      y[2 * i + 1] = HIGH(x[i], x[i + VL / 2]);
    }
    MOON_UNROLL(16) for (int i = 0; i < VL; i++) x[i] = y[i];
  }
}

/* Columns [j, j + VL) of rows [k, k + VL), depth contiguous in x. */
static void pack_square(float *out, const float *x, int64_t depth, int64_t columns, int64_t column_step, int64_t width, int64_t k,
                        int64_t j) {
  vf v[VL];
  int64_t deep = depth - k < VL ? depth - k : VL, room = width - j < VL ? width - j : VL;
  for (int64_t i = 0; i < VL; i++) {
    const float *p = x + (j + i) * column_step + k;
    v[i] = j + i >= columns ? (vf){0} : deep == VL ? vload(p) : vload_part(p, deep);
  }
  transpose(v);
  for (int64_t i = 0; i < deep; i++) {
    float *p = out + (k + i) * width + j;
    if (room == VL) vstore(p, v[i]);
    else vstore_part(p, v[i], room);
  }
}

static void pack(float *out, const float *x, int64_t depth, int64_t columns, int64_t depth_step, int64_t column_step,
                 int64_t width) {
  if (depth_step == 1 && column_step != 1) {
    for (int64_t j = 0; j < width; j += VL)
      for (int64_t k = 0; k < depth; k += VL) pack_square(out, x, depth, columns, column_step, width, k, j);
    return;
  }
  for (int64_t k = 0; k < depth; k++, x += depth_step, out += width) {
    int64_t j = 0;
    if (column_step == 1) {
      for (; j + VL <= columns; j += VL) {
        __builtin_prefetch(x + j + 16 * depth_step);
        vstore(out + j, vload(x + j));
      }
      if (j < columns) vstore_part(out + j, vload_part(x + j, columns - j), columns - j);
      j = columns;
    }
    for (; j < columns; j++) out[j] = x[j * column_step];
    for (; j < width; j++) out[j] = 0;
  }
}

/* ---- Dots: up to 4 x 4 of them side by side, vectors along k ---- */

MOON_INLINE void dot_tile(float *c, int64_t c_step, const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t k,
                          const int rows, const int columns) {
  vf acc[4][4];
  int64_t i = 0;
  MOON_UNROLL(4) for (int r = 0; r < rows; r++)
    MOON_UNROLL(4) for (int j = 0; j < columns; j++) acc[r][j] = (vf){0};
  for (; i < k; i += VL) {
    const bool whole = i + VL <= k;
    vf bv[4];
    MOON_UNROLL(4) for (int j = 0; j < columns; j++)
      bv[j] = whole ? vload(b + j * b_step + i) : vload_part(b + j * b_step + i, k - i);
    MOON_UNROLL(4) for (int r = 0; r < rows; r++) {
      vf av = whole ? vload(a + r * a_step + i) : vload_part(a + r * a_step + i, k - i);
      MOON_UNROLL(4) for (int j = 0; j < columns; j++) acc[r][j] = vfma(av, bv[j], acc[r][j]);
    }
  }
  MOON_UNROLL(4) for (int r = 0; r < rows; r++)
    MOON_UNROLL(4) for (int j = 0; j < columns; j++) c[r * c_step + j] = vsum(acc[r][j]);
}

MOON_INLINE void dot_rows(float *c, int64_t c_step, const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t n, int64_t k,
                          const int rows) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) dot_tile(c + j, c_step, a, a_step, b + j * b_step, b_step, k, rows, 4);
  for (; j < n; j++) dot_tile(c + j, c_step, a, a_step, b + j * b_step, b_step, k, rows, 1);
}

static void dots(float *c, int64_t c_step, const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t m, int64_t n,
                 int64_t k) {
  int64_t i = 0;
#if VL > 4 || defined(__aarch64__) /* of few registers two rows are enough */
  for (; i + 3 <= m; i += 3) dot_rows(c + i * c_step, c_step, a + i * a_step, a_step, b, b_step, n, k, 3);
#endif
  for (; i + 2 <= m; i += 2) dot_rows(c + i * c_step, c_step, a + i * a_step, a_step, b, b_step, n, k, 2);
  if (i < m) dot_rows(c + i * c_step, c_step, a + i * a_step, a_step, b, b_step, n, k, 1);
}

/* ---- Few rows: c stays in the first-level cache, b passes by once, `depth` of its rows side by side ---- */

MOON_INLINE void stream_rows(float *c, int64_t c_step, const float *a, int64_t a_row, int64_t a_column, const float *b,
                             int64_t b_step, int64_t n, const int rows, const int depth) {
  vf av[MOON_GEMM_STREAM_ROWS][8], bv[8];
  MOON_UNROLL(4) for (int r = 0; r < rows; r++)
    MOON_UNROLL(8) for (int k = 0; k < depth; k++) av[r][k] = vsplat(a[r * a_row + k * a_column]);
  for (int64_t j = 0; j < n; j += VL) {
    const int64_t left = n - j;
    MOON_UNROLL(8) for (int k = 0; k < depth; k++) {
      const float *p = b + k * b_step + j;
      bv[k] = left >= VL ? vload(p) : vload_part(p, left);
      if (depth > 1 && j % 16 == 0) __builtin_prefetch(p + depth * b_step);
    }
    MOON_UNROLL(4) for (int r = 0; r < rows; r++) {
      float *y = c + r * c_step + j;
      vf sum = left >= VL ? vload(y) : vload_part(y, left);
      MOON_UNROLL(8) for (int k = 0; k < depth; k++) sum = vfma(av[r][k], bv[k], sum);
      if (left >= VL) vstore(y, sum);
      else vstore_part(y, sum, left);
    }
  }
}

#define STREAM(rows, depth)                                                                 \
  case rows:                                                                                \
    for (; i + depth <= k; i += depth, a += depth * a_column, b += depth * b_step)          \
      stream_rows(c, c_step, a, a_row, a_column, b, b_step, n, rows, depth);                \
    break;
static void stream(float *c, int64_t c_step, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_step,
                   int64_t m, int64_t n, int64_t k) {
  int64_t i = 0;
#if VL > 4 || defined(__aarch64__)
  switch (m) {
    STREAM(1, 8)
    STREAM(2, 8)
    STREAM(3, 4)
    STREAM(4, 4)
  }
#else /* of few registers more rows would be in memory */
  for (; i + 4 <= k; i += 4, a += 4 * a_column, b += 4 * b_step)
    for (int64_t r = 0; r < m; r++) stream_rows(c + r * c_step, 0, a + r * a_row, 0, a_column, b, b_step, n, 1, 4);
#endif
  for (; i < k; i++, a += a_column, b += b_step)
    for (int64_t r = 0; r < m; r++) stream_rows(c + r * c_step, 0, a + r * a_row, 0, 0, b, 0, n, 1, 1);
}

#define IN_ROWS(width, vectors, rows) [MOON_GEMM_ROWS][width][rows] = rows_##width##_##rows,
#define IN_COLUMNS(width, vectors, rows) [MOON_GEMM_COLUMNS][width][rows] = columns_##width##_##rows,
#define IN_ROWS_1(width, vectors, rows) [MOON_GEMM_ROWS][1][rows] = rows_1(rows),
#define IN_COLUMNS_1(width, vectors, rows) [MOON_GEMM_COLUMNS][1][rows] = columns_1(rows),
const moon_gemm_set MOON_ISA_NAME(moon__gemm_set) = {
    .lanes = VL,
    .rows = {ROWS_1, ROWS_1, ROWS_2, 0, ROWS_4},
    .tile = {WIDTHS(IN_ROWS) WIDTHS(IN_COLUMNS) WIDTH_1(IN_ROWS_1) WIDTH_1(IN_COLUMNS_1)},
    .pack = pack,
    .dots = dots,
    .stream = stream,
};
