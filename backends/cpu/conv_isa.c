/* conv_isa.c: convolution's own inner loops. See conv_fast.h. */
#include "conv_fast.h"

#include "vector.h"

enum { FILTER_TAPS = 3 };

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
      if (t->clamp) acc[i][v] = vmin_nan(vmax_nan(acc[i][v], vsplat(t->lo)), vsplat(t->hi));
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

/* `taps` places of the window side by side, for `vectors` vectors of channels. */
MOON_INLINE void filter_tile(const moon_depthwise_filter *t, const float *x, const float *dy, float *w, const int taps,
                             const int vectors, const bool part, int64_t lanes) {
  vf acc[FILTER_TAPS][4];
  for (int k = 0; k < taps; k++)
    for (int v = 0; v < vectors; v++) acc[k][v] = part ? vload_part(w + k * t->w_tap, lanes) : vload(w + k * t->w_tap + v * VL);
  for (int64_t i = 0; i < t->length; i++, x += t->x_step, dy += t->dy_step) {
    vf d[4];
    for (int v = 0; v < vectors; v++) d[v] = part ? vload_part(dy, lanes) : vload(dy + v * VL);
    for (int k = 0; k < taps; k++)
      for (int v = 0; v < vectors; v++) {
        const float *p = x + k * t->x_tap + v * VL;
        acc[k][v] = vfma(part ? vload_part(p, lanes) : vload(p), d[v], acc[k][v]);
      }
  }
  for (int k = 0; k < taps; k++)
    for (int v = 0; v < vectors; v++) {
      if (part) vstore_part(w + k * t->w_tap, acc[k][v], lanes);
      else vstore(w + k * t->w_tap + v * VL, acc[k][v]);
    }
}

static void depthwise_filter(const moon_depthwise_filter *t) {
  int64_t k = 0;
#define FILTER(taps, vectors, part) \
  filter_tile(t, t->x + k * t->x_tap + j, t->dy + j, t->w + k * t->w_tap + j, taps, vectors, part, t->channels - j)
#define TAPS(taps)                                                      \
  do {                                                                  \
    int64_t j = 0;                                                      \
    for (; j + 4 * VL <= t->channels; j += 4 * VL) FILTER(taps, 4, false); \
    for (; j + VL <= t->channels; j += VL) FILTER(taps, 1, false);      \
    if (j < t->channels) FILTER(taps, 1, true);                         \
  } while (0)
  for (; k + FILTER_TAPS <= t->ntaps; k += FILTER_TAPS) TAPS(FILTER_TAPS);
  for (; k < t->ntaps; k++) TAPS(1);
}

const moon_conv_set MOON_ISA_NAME(moon__conv_set) = {.depthwise = depthwise, .depthwise_filter = depthwise_filter};
