/*
** batch_fast.h: sums over the rows of an array, one for each channel, in one pass each, compiled once per instruction set. Rows are
** `step` apart; a call takes some rows.
*/
#ifndef MOON_BATCH_FAST_H
#define MOON_BATCH_FAST_H
#include "isa.h"

#include <stdint.h>

typedef struct moon_batch_set {
  /* mean [channels] of the rows, and spread [channels]: the sum of squared distances from it. The rows should fit a near cache. */
  void (*moments)(const float *x, int64_t rows, int64_t step, int64_t channels, float *mean, float *spread);
  /* s [channels] = sum of dy, t [channels] = sum of dy (x - mean). */
  void (*sums)(const float *x, const float *dy, const float *mean, int64_t rows, int64_t step, int64_t channels, float *s, float *t);
} moon_batch_set;
MOON_ISA_DECLARE(const moon_batch_set, moon__batch_set)
#endif
