/*
** span.h: windows along one axis without padding: the places that see the same taps form a span, so that borders and strides need
** neither a padded copy nor a test in an inner loop. Letters as in core/ops/window.h.
*/
#ifndef MOON_SPAN_H
#define MOON_SPAN_H
#include "ops/attrs.h"

/* Places first + j * step of the target, j in [0, count), sum over taps tap + t * tap_step, t in [0, ntaps): each reads the
** source at source + j * source_step + t * tap_source. */
typedef struct moon_span {
  int64_t first, step, count;
  int64_t source, source_step;
  int64_t tap, tap_step, tap_source, ntaps;
} moon_span;

/* Spans of y reading x (forward), or of x reading dy (backward), along a spatial axis. Gives their number; spans NULL: only
** that. */
int64_t moon__spans_forward(const moon_geometry *g, int axis, moon_span *spans);
int64_t moon__spans_backward(const moon_geometry *g, int axis, moon_span *spans);
/* Places of y, [*lo, *hi), for which tap k of the window lies inside x. */
void moon__span_of_tap(const moon_geometry *g, int axis, int64_t k, int64_t *lo, int64_t *hi);
/* The j of a span whose places lie in [from, to): [*lo, *hi). */
void moon__span_clip(const moon_span *s, int64_t from, int64_t to, int64_t *lo, int64_t *hi);
#endif
