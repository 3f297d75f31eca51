/* conv_isa.c: depthwise convolution's inner loops. See conv_fast.h. */
#include "conv_fast.h"

#include "vector.h"

/* `rows` places by `vectors` vectors of channels; lanes of the last vector. */
MOON_INLINE void tile(const moon_depthwise *t, const float *x, float *y, const float *start, int64_t j, const int rows,
                      const int vectors, const bool part, int64_t lanes) {
  vf acc[4][2];
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) {
      const float *p = start + i * t->start_step + j + v * VL;
      acc[i][v] = !start ? (vf){0} : part ? vload_part(p, lanes) : vload(p);
    }
  for (int64_t s = 0; s < t->ntaps; s++) {
    const float *w = t->w + t->w_taps[s] + j, *xs = x + t->x_taps[s] + j;
    vf wv[2];
    for (int v = 0; v < vectors; v++) wv[v] = part ? vload_part(w + v * VL, lanes) : vload(w + v * VL);
    for (int i = 0; i < rows; i++)
      for (int v = 0; v < vectors; v++) {
        const float *p = xs + i * t->x_step + v * VL;
        acc[i][v] = vfma(part ? vload_part(p, lanes) : vload(p), wv[v], acc[i][v]);
      }
  }
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) {
      float *p = y + i * t->y_step + j + v * VL;
      if (part) vstore_part(p, acc[i][v], lanes);
      else vstore(p, acc[i][v]);
    }
}

#define NEXT(n) i += n, x += n * t->x_step, y += n * t->y_step, start = start ? start + n * t->start_step : NULL
#define COLUMNS(vectors, part, lanes)                                                                \
  do {                                                                                               \
    const float *x = t->x, *start = t->start;                                                        \
    float *y = t->y;                                                                                 \
    int64_t i = 0;                                                                                   \
    for (; i + 4 <= t->m; NEXT(4)) tile(t, x, y, start, j, 4, vectors, part, lanes);                 \
    for (; i < t->m; NEXT(1)) tile(t, x, y, start, j, 1, vectors, part, lanes);                      \
  } while (0)

static void depthwise(const moon_depthwise *t) {
  int64_t j = 0;
  for (; j + 2 * VL <= t->channels; j += 2 * VL) COLUMNS(2, false, VL);
  for (; j + VL <= t->channels; j += VL) COLUMNS(1, false, VL);
  if (j < t->channels) COLUMNS(1, true, t->channels - j);
}

MOON_INLINE void filter_tile(float *w, const float *x, const float *dy, const int64_t *x_segments, const int64_t *dy_segments,
                             int64_t nsegments, int64_t length, int64_t x_step, int64_t dy_step, const int vectors, const bool part,
                             int64_t lanes, bool add) {
  vf acc[4];
  for (int v = 0; v < vectors; v++) acc[v] = !add ? (vf){0} : part ? vload_part(w, lanes) : vload(w + v * VL);
  for (int64_t s = 0; s < nsegments; s++) {
    const float *xs = x + x_segments[s], *ds = dy + dy_segments[s];
    for (int64_t i = 0; i < length; i++, xs += x_step, ds += dy_step)
      for (int v = 0; v < vectors; v++)
        acc[v] = part ? vfma(vload_part(xs, lanes), vload_part(ds, lanes), acc[v])
                      : vfma(vload(xs + v * VL), vload(ds + v * VL), acc[v]);
  }
  for (int v = 0; v < vectors; v++) {
    if (part) vstore_part(w, acc[v], lanes);
    else vstore(w + v * VL, acc[v]);
  }
}

static void depthwise_filter(float *w, const float *x, const float *dy, const int64_t *x_segments, const int64_t *dy_segments,
                             int64_t nsegments, int64_t length, int64_t x_step, int64_t dy_step, int64_t channels, bool add) {
  int64_t j = 0;
#define FILTER(vectors, part) \
  filter_tile(w + j, x + j, dy + j, x_segments, dy_segments, nsegments, length, x_step, dy_step, vectors, part, channels - j, add)
  for (; j + 4 * VL <= channels; j += 4 * VL) FILTER(4, false);
  for (; j + VL <= channels; j += VL) FILTER(1, false);
  if (j < channels) FILTER(1, true);
}

const moon_conv_set MOON_ISA_NAME(moon__conv_set) = {.depthwise = depthwise, .depthwise_filter = depthwise_filter};
