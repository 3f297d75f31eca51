/*
** conv_fast.h: convolution's own inner loops, compiled once per instruction set: depthwise ones, vectors of channels, one weight a
** channel; and bounds for results that have just been made.
*/
#ifndef MOON_CONV_FAST_H
#define MOON_CONV_FAST_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

/* Rows y [m, channels] = sum over taps t of x [m, channels] at x_taps[t] times w [channels] at w_taps[t]. */
typedef struct moon_depthwise {
  const float *x, *w;
  float *y;
  int64_t x_step, y_step, m, channels; /* steps from row to row */
  int64_t ntaps;
  const int64_t *x_taps, *w_taps;
  const float *start; /* what sums start from, rows start_step apart, which may be y; NULL: 0 */
  int64_t start_step;
  bool add;   /* start is y */
  bool clamp; /* results are brought into [lo, hi]; NaN stays */
  float lo, hi;
} moon_depthwise;

/* w [ntaps][channels], w_tap apart, += sum over places i in [0, length) of x at i * x_step + tap * x_tap times dy at i * dy_step. */
typedef struct moon_depthwise_filter {
  float *w;
  const float *x, *dy;
  int64_t w_tap, x_tap, x_step, dy_step, ntaps, length, channels;
} moon_depthwise_filter;

typedef struct moon_conv_set {
  void (*depthwise)(const moon_depthwise *t);
  void (*depthwise_filter)(const moon_depthwise_filter *t);
} moon_conv_set;
MOON_ISA_DECLARE(const moon_conv_set, moon__conv_set)
#endif
