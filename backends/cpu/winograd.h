/*
** winograd.h: the transforms of Winograd convolution with 3x3 filters (Lavin and Gray, 2016, after Winograd), compiled once per
** instruction set: squares of vectors of channels, brought from one size to another. F(m, 3) computes m x m places from tiles of
** n x n, n = m + 2; m is 2 or 4. What the products in between are made of is gemm.h's.
*/
#ifndef MOON_WINOGRAD_H
#define MOON_WINOGRAD_H
#include "isa.h"

#include <stdint.h>

enum { MOON_WINOGRAD_MAX = 36 }; /* positions of the largest tile */

/* y[i] [channels], i over the square of results, from x[i] [channels], i over the square that comes in. channels is a multiple of
** the vector's length. y may not overlap x. */
typedef void (*moon_winograd_fn)(const float *const *x, float *const *y, int64_t channels);

/* Each for m = 2 and m = 4; all NULL where this instruction set has none. Letters of the paper: B' d B, G g G', A' m A, and the transposed A dy A', G' m G. */
typedef struct moon_winograd_set {
  moon_winograd_fn source[2];      /* n x n -> n x n */
  moon_winograd_fn filter[2];      /* 3 x 3 -> n x n */
  moon_winograd_fn target[2];      /* n x n -> m x m */
  moon_winograd_fn target_grad[2]; /* m x m -> n x n */
  moon_winograd_fn filter_grad[2]; /* n x n -> 3 x 3 */
} moon_winograd_set;
MOON_ISA_DECLARE(const moon_winograd_set, moon__winograd_set)
#endif
