/*
** rows_fast.h: kernels of composites that work row by row (softmax, cross-entropy, normalisation), compiled once per
** instruction set. Rows are dense, n long; y may be x. streams: y goes past the caches; its rows are whole vectors then, aligned.
*/
#ifndef MOON_ROWS_FAST_H
#define MOON_ROWS_FAST_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moon_rows_set {
  void (*softmax)(float *y, const float *x, int64_t rows, int64_t n, bool streams);
  void (*log_softmax)(float *y, const float *x, int64_t rows, int64_t n, bool streams);
  /* (x - mean) / sqrt(mean square + epsilon) gamma + beta; centred false: mean is taken as 0. gamma, beta may be NULL. */
  void (*norm)(float *y, const float *x, const float *gamma, const float *beta, int64_t rows, int64_t n, float epsilon,
               bool centred, bool streams);
  /* Its gradient: dx; sums over the rows [n] are added to dgamma and dbeta. gamma may be NULL; dx may be x or dy. */
  void (*norm_grad)(float *dx, float *dgamma, float *dbeta, const float *x, const float *dy, const float *gamma, int64_t rows,
                    int64_t n, float epsilon, bool centred);
  /* log(sum(exp(x))) of one row. */
  float (*log_sum)(const float *x, int64_t n);
  /* y = softmax(x) scale, one row. */
  void (*softmax_scaled)(float *y, const float *x, int64_t n, float scale);
  /* y = the sum of rows [count], in order, n long; add: y += it. */
  void (*sum)(float *y, const float *const *rows, int64_t count, int64_t n, bool add);
} moon_rows_set;
MOON_ISA_DECLARE(const moon_rows_set, moon__rows_set)
#endif
