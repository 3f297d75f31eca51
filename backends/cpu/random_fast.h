/* random_fast.h: draws by vectors: the numbers of base/philox.h, a run of elements at a time. */
#ifndef MOON_RANDOM_FAST_H
#define MOON_RANDOM_FAST_H
#include "backend.h"
#include "base/philox.h"
#include "isa.h"
#include "ops/attrs.h"

/* The generator of a random node in this run. */
static inline moon_philox moon__call_philox(const moon_call *call) {
  const moon_random_attrs *a = call->attrs;
  return moon__philox(call->rng->seed, call->rng->step, call->rng->fold, a->stream + call->rng->stream);
}

/* Each fills y [n] with the draws of elements first .. first + n - 1. Sets without fused multiply-adds are empty: they could not give
** uniform's bits. */
typedef struct moon_random_set {
  void (*uniform)(const moon_philox *r, float low, float span, float top, int64_t first, int64_t n, float *y);
  void (*normal)(const moon_philox *r, float mean, float std, int64_t first, int64_t n, float *y);
  void (*bernoulli_f32)(const moon_philox *r, uint32_t limit, int64_t first, int64_t n, float *y); /* 1 where w0 < limit */
  void (*bernoulli_u8)(const moon_philox *r, uint32_t limit, int64_t first, int64_t n, uint8_t *y); /* bool too */
} moon_random_set;
MOON_ISA_DECLARE(const moon_random_set, moon__random_set)
#endif
