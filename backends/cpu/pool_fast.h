/* pool_fast.h: pooling's inner loops over vectors of channels, compiled once per instruction set. */
#ifndef MOON_POOL_FAST_H
#define MOON_POOL_FAST_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

/* m places side by side of a target [m, channels], each combining ntaps places of a source; steps lead from place to place. */
typedef struct moon_pool_rows {
  int64_t m, channels, ntaps, source_step, target_step;
  const int64_t *taps; /* offsets in the source */
} moon_pool_rows;

typedef struct moon_pool_set {
  /* y = largest tap; index = its position (either may be NULL): positions[t] + place * position_step; the first of equals, NaN
  ** before all. */
  void (*max)(const moon_pool_rows *r, const float *x, float *y, int32_t *index, const int32_t *positions, int32_t position_step);
  /* y = sum of taps, tap t times weights[t] (NULL: 1), divided by divisor. */
  void (*sum)(const moon_pool_rows *r, const float *x, float *y, const float *weights, float divisor);
  /* dx = sum of those taps of dy whose index is here + place * here_step. Gives false when an index is not in [0, area). */
  bool (*max_grad)(const moon_pool_rows *r, const int32_t *index, const float *dy, float *dx, int32_t here, int32_t here_step,
                   int32_t area);
} moon_pool_set;
MOON_ISA_DECLARE(const moon_pool_set, moon__pool_set)
#endif
