/*
** gemm_bf16_isa.c: vector code of bf16 products, compiled once per instruction set: products of few rows, which read a large matrix
** once and so go as fast as memory gives it.
*/
#include "gemm_bf16.h"

#include "vector.h"

enum { ROWS_AT_ONCE = 8 };

/* One vector of columns: c += a[k..k + depth) b, for m rows. */
MOON_INLINE void stream_vector(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m,
                               int64_t depth) {
  vf sums[MOON_BF16_STREAM_ROWS];
  for (int64_t i = 0; i < m; i++) sums[i] = vload(c + i * c_step);
  for (int64_t r = 0; r < depth; r++) {
    vf x = vload_bf16(b + r * b_step);
    __builtin_prefetch(b + (r + ROWS_AT_ONCE) * b_step); /* the processor's own guess is too late */
    for (int64_t i = 0; i < m; i++) sums[i] = vfma(vsplat(a[i * a_step + r]), x, sums[i]);
  }
  for (int64_t i = 0; i < m; i++) vstore(c + i * c_step, sums[i]);
}

/* What is left of the columns: through vectors of its own. */
static void stream_rest(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m,
                        int64_t n, int64_t depth) {
  float sums[MOON_BF16_STREAM_ROWS * VL] = {0};
  uint16_t rows[ROWS_AT_ONCE * VL] = {0};
  for (int64_t i = 0; i < m; i++) memcpy(sums + i * VL, c + i * c_step, (size_t)n * sizeof *c);
  for (int64_t r = 0; r < depth; r++) memcpy(rows + r * VL, b + r * b_step, (size_t)n * sizeof *b);
  stream_vector(sums, VL, a, a_step, rows, VL, m, depth);
  for (int64_t i = 0; i < m; i++) memcpy(c + i * c_step, sums + i * VL, (size_t)n * sizeof *c);
}

static void stream(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
                   int64_t k) {
  for (int64_t r = 0; r < k; r += ROWS_AT_ONCE, a += ROWS_AT_ONCE, b += ROWS_AT_ONCE * b_step) {
    int64_t depth = k - r < ROWS_AT_ONCE ? k - r : ROWS_AT_ONCE, j = 0;
    if (m == 1 && depth == ROWS_AT_ONCE) {
      for (; j + VL <= n; j += VL) stream_vector(c + j, c_step, a, a_step, b + j, b_step, 1, ROWS_AT_ONCE);
    } else {
      for (; j + VL <= n; j += VL) stream_vector(c + j, c_step, a, a_step, b + j, b_step, m, depth);
    }
    if (j < n) stream_rest(c + j, c_step, a, a_step, b + j, b_step, m, n - j, depth);
  }
}

/* Dots of a with up to four rows of b, which memory gives faster side by side. A row's sum does not depend on the others. */
static void dot_rows(float *c, const float *a, const uint16_t *b, int64_t b_step, int rows, int64_t k) {
  const uint16_t *row[4];
  vf sums[4][2];
  int64_t i = 0;
  for (int r = 0; r < 4; r++) {
    row[r] = b + (r < rows ? r : rows - 1) * b_step;
    sums[r][0] = sums[r][1] = vsplat(0);
  }
  for (; i + 2 * VL <= k; i += 2 * VL) {
    vf x = vload(a + i), y = vload(a + i + VL);
    for (int r = 0; r < 4; r++) {
      __builtin_prefetch(row[r] + 4 * b_step + i); /* of the next four rows */
      sums[r][0] = vfma(x, vload_bf16(row[r] + i), sums[r][0]);
      sums[r][1] = vfma(y, vload_bf16(row[r] + i + VL), sums[r][1]);
    }
  }
  for (; i < k; i += VL) {
    int64_t n = k - i < VL ? k - i : VL;
    for (int r = 0; r < 4; r++) {
      uint16_t rest[VL] = {0};
      memcpy(rest, row[r] + i, (size_t)n * sizeof *rest);
      sums[r][0] = vfma(vload_filled(a + i, n, 0), vload_bf16(rest), sums[r][0]);
    }
  }
  for (int r = 0; r < rows; r++) c[r] = vsum(sums[r][0] + sums[r][1]);
}

static void dots(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
                 int64_t k) {
  for (int64_t j = 0; j < n; j += 4)
    for (int64_t i = 0; i < m; i++) dot_rows(c + i * c_step + j, a + i * a_step, b + j * b_step, b_step, n - j < 4 ? (int)(n - j) : 4, k);
}

const moon_gemm_bf16_set MOON_ISA_NAME(moon__gemm_bf16_set) = {.stream = stream, .dots = dots};
