/*
** update.h: one step of an optimizer on n numbers, compiled once per instruction set. Outputs may be the inputs, or NULL where
** nobody wants them. What they compute stands in core/ops/optimizer.c.
*/
#ifndef MOON_UPDATE_H
#define MOON_UPDATE_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moon_update_numbers {
  float scale;   /* of gradients */
  float rate;    /* Adam: lr with both corrections */
  float decay;   /* Adam: lr * weight_decay */
  float keep_1, keep_2, epsilon; /* 1 - beta or 1 - rho (keep_2) */
  float momentum;
  bool nesterov;
} moon_update_numbers;

/* in: w, g, slots; out: w, slots. */
typedef void (*moon_update_fn)(const moon_update_numbers *a, const float *const *in, float *const *out, int64_t n);
typedef struct moon_update_set {
  moon_update_fn sgd, adam, rmsprop;
  float (*squares)(const float *x, int64_t n); /* the sum of x x */
} moon_update_set;
MOON_ISA_DECLARE(const moon_update_set, moon__update_set)
#endif
