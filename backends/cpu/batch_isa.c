/* batch_isa.c: sums over rows. See batch_fast.h. */
#include "batch_fast.h"

#include <stdbool.h>

#include "vector.h"

enum { WIDE = 4 };

#define LOAD(p) (part ? vload_part(p, lanes) : vload(p))
#define STORE(p, v)                          \
  do {                                       \
    if (part) vstore_part(p, v, lanes);      \
    else vstore(p, v);                       \
  } while (0)

/* One stripe of `vectors` vectors; part: one vector of which there are only `lanes`. The mean of a first pass may be off where it is
** large: a second pass takes distances from it, and their sum corrects it. */
MOON_INLINE void moments_of(const float *x, int64_t rows, int64_t step, float *mean, float *spread, const int vectors, const bool part,
                            int64_t lanes) {
  vf sum[WIDE], square[WIDE], middle[WIDE], one = vsplat(1.0f / (float)rows);
  const float *p = x;
  for (int v = 0; v < vectors; v++) sum[v] = (vf){0};
  for (int64_t i = 0; i < rows; i++, p += step)
    for (int v = 0; v < vectors; v++) sum[v] += LOAD(p + v * VL);
  for (int v = 0; v < vectors; v++) {
    middle[v] = sum[v] * one;
    sum[v] = square[v] = (vf){0};
  }
  p = x;
  for (int64_t i = 0; i < rows; i++, p += step)
    for (int v = 0; v < vectors; v++) {
      vf d = LOAD(p + v * VL) - middle[v];
      sum[v] += d;
      square[v] = vfma(d, d, square[v]);
    }
  for (int v = 0; v < vectors; v++) {
    STORE(mean + v * VL, middle[v] + sum[v] * one);
    STORE(spread + v * VL, square[v] - sum[v] * sum[v] * one);
  }
}

MOON_INLINE void sums_of(const float *x, const float *dy, const float *mean, int64_t rows, int64_t step, float *s, float *t,
                         const int vectors, const bool part, int64_t lanes) {
  vf sum[WIDE], along[WIDE], middle[WIDE];
  for (int v = 0; v < vectors; v++) {
    sum[v] = along[v] = (vf){0};
    middle[v] = LOAD(mean + v * VL);
  }
  for (int64_t i = 0; i < rows; i++, x += step, dy += step)
    for (int v = 0; v < vectors; v++) {
      vf d = LOAD(dy + v * VL);
      sum[v] += d;
      along[v] = vfma(d, LOAD(x + v * VL) - middle[v], along[v]);
    }
  for (int v = 0; v < vectors; v++) {
    STORE(s + v * VL, sum[v]);
    STORE(t + v * VL, along[v]);
  }
}

/* stripe(vectors, part, lanes) for all channels from j on. */
#define STRIPES(stripe)                                                       \
  do {                                                                        \
    int64_t j = 0;                                                            \
    for (; j + WIDE * VL <= channels; j += WIDE * VL) stripe(WIDE, false, VL); \
    for (; j + VL <= channels; j += VL) stripe(1, false, VL);                 \
    if (j < channels) stripe(1, true, channels - j);                          \
  } while (0)

static void moments(const float *x, int64_t rows, int64_t step, int64_t channels, float *mean, float *spread) {
#define MOMENTS(vectors, part, lanes) moments_of(x + j, rows, step, mean + j, spread + j, vectors, part, lanes)
  STRIPES(MOMENTS);
}

static void sums(const float *x, const float *dy, const float *mean, int64_t rows, int64_t step, int64_t channels, float *s, float *t) {
#define SUMS(vectors, part, lanes) sums_of(x + j, dy + j, mean + j, rows, step, s + j, t + j, vectors, part, lanes)
  STRIPES(SUMS);
}

const moon_batch_set MOON_ISA_NAME(moon__batch_set) = {.moments = moments, .sums = sums};
