/*
** gemm_bf16.h: what products of bf16 matrices are made of: vector code for few rows and for packing, and tiles of the processor's
** matrix unit (AMX). Sums are f32.
** Shape letters: a [m, k], b [k, n], c [m, n]. A tile of a is [16 rows][32 k], one of b [16 pairs of k][16 columns][2]: 1 KB each.
*/
#ifndef MOON_GEMM_BF16_H
#define MOON_GEMM_BF16_H
#include <stdbool.h>
#include <stdint.h>

#include "isa.h"

enum { MOON_AMX_ROWS = 16, MOON_AMX_K = 32, MOON_AMX_TILE = 16 * 32, MOON_BF16_STREAM_ROWS = 4 };

typedef struct moon_gemm_bf16_set {
  /* c [m, n] += a b for m <= MOON_BF16_STREAM_ROWS, b's columns side by side: b is read once, rows at a time. a is f32 [m, k]. */
  void (*stream)(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
                 int64_t k);
  /* c [m, n] = dots of the rows of a, f32 [m, k], and of b [n, k]. */
  void (*dots)(float *c, int64_t c_step, const float *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t m, int64_t n,
               int64_t k);
  /* out[i] = pair (x[i], y[i]), x in the lower half; i in [0, 16). */
  void (*interleave)(uint32_t *out, const uint16_t *x, const uint16_t *y);
} moon_gemm_bf16_set;
MOON_ISA_DECLARE(const moon_gemm_bf16_set, moon__gemm_bf16_set)

/* Does this machine have the matrix unit, and does the system let this process use it? Asks the system for it. */
bool moon__amx_usable(moon_isa isa);
/* Between these two a thread may call the other: they load and drop the shape of the tiles. */
void moon__amx_begin(void);
void moon__amx_end(void);
/* c [32, 32], rows c_step apart, = two strips of tiles of a by two of b, each strip ntiles along k and `strip` numbers from the next. */
void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_strip, const uint16_t *b, int64_t b_strip, int64_t ntiles);
#endif
