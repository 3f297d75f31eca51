/* gemm_f64_isa.c: f64 matrix products by tiles of four rows and two vectors; b is read where it lies. See gemm_f64.h. */
#include "gemm_f64.h"

#include "vector.h"

enum { LANES = VL / 2 };
typedef double vd __attribute__((vector_size(4 * VL)));
typedef double vdu __attribute__((vector_size(4 * VL), aligned(8), may_alias));

MOON_INLINE void tile(const moon_gemm_f64 *t, int64_t i, int64_t j, const int rows, const int vectors) {
  vd acc[4][2];
  const double *a = t->a + i * t->a_row, *b = t->b + j;
  MOON_UNROLL(4) for (int r = 0; r < rows; r++)
    MOON_UNROLL(4) for (int v = 0; v < vectors; v++) acc[r][v] = (vd){0};
  for (int64_t k = 0; k < t->k; k++, a += t->a_column, b += t->b_row) {
    vd bv[2];
    MOON_UNROLL(4) for (int v = 0; v < vectors; v++) bv[v] = *(const vdu *)(b + v * LANES);
    MOON_UNROLL(4) for (int r = 0; r < rows; r++) {
      vd av = a[r * t->a_row] - (vd){0};
      MOON_UNROLL(4) for (int v = 0; v < vectors; v++) acc[r][v] += av * bv[v];
    }
  }
  MOON_UNROLL(4) for (int r = 0; r < rows; r++)
    MOON_UNROLL(4) for (int v = 0; v < vectors; v++) *(vdu *)(t->c + (i + r) * t->c_row + j + v * LANES) = acc[r][v];
}

static void column(const moon_gemm_f64 *t, int64_t j) {
  for (int64_t i = 0; i < t->m; i++) {
    double sum = 0;
    for (int64_t k = 0; k < t->k; k++) sum += t->a[i * t->a_row + k * t->a_column] * t->b[k * t->b_row + j];
    t->c[i * t->c_row + j] = sum;
  }
}

#define ROWS(vectors)                                              \
  do {                                                             \
    int64_t i = 0;                                                 \
    for (; i + 4 <= t->m; i += 4) tile(t, i, j, 4, vectors);       \
    for (; i < t->m; i++) tile(t, i, j, 1, vectors);               \
  } while (0)
static void multiply(const moon_gemm_f64 *t) {
  int64_t j = 0;
  for (; j + 2 * LANES <= t->n; j += 2 * LANES) ROWS(2);
  for (; j + LANES <= t->n; j += LANES) ROWS(1);
  for (; j < t->n; j++) column(t, j);
}

const moon_gemm_f64_set MOON_ISA_NAME(moon__gemm_f64_set) = {.multiply = multiply};
