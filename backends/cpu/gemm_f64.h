/* gemm_f64.h: the inner loops of f64 matmul, compiled once per instruction set. */
#ifndef MOON_GEMM_F64_H
#define MOON_GEMM_F64_H
#include "isa.h"

#include <stdint.h>

/* c [m, n] = a [m, k] b [k, n]; columns of b and c lie side by side, a's rows and k anyhow. */
typedef struct moon_gemm_f64 {
  const double *a, *b;
  double *c;
  int64_t m, n, k, a_row, a_column, b_row, c_row;
} moon_gemm_f64;
typedef void (*moon_gemm_f64_fn)(const moon_gemm_f64 *t);
typedef struct moon_gemm_f64_set { moon_gemm_f64_fn multiply; } moon_gemm_f64_set;
MOON_ISA_DECLARE(const moon_gemm_f64_set, moon__gemm_f64_set)
#endif
