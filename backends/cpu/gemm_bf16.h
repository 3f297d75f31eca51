/*
** gemm_bf16.h: vector code of products of few rows of bf16. Sums are f32.
** Shape letters: a [m, k], b [k, n], c [m, n].
*/
#ifndef MOON_GEMM_BF16_H
#define MOON_GEMM_BF16_H
#include <stdint.h>

#include "isa.h"

enum { MOON_BF16_STREAM_ROWS = 4 };

typedef struct moon_gemm_bf16_set {
  /* c [m, n] += a b for m <= MOON_BF16_STREAM_ROWS, b's columns side by side: b is read once, rows at a time. a is f32 [m, k]. */
  void (*stream)(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
                 int64_t k);
  /* c [m, n] = dots of the rows of a, f32 [m, k], and of b [n, k]. */
  void (*dots)(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
               int64_t k);
} moon_gemm_bf16_set;
MOON_ISA_DECLARE(const moon_gemm_bf16_set, moon__gemm_bf16_set)
#endif
