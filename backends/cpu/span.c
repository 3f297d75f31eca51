/* span.c: cuts an axis into spans. See span.h. */
#include "span.h"

#include "base/size.h"

/* Appends place->count places in a row, to the last span when they continue that. */
static int64_t add_place(moon_span *spans, int64_t n, bool fresh, moon_span *last, const moon_span *place) {
  if (!fresh && last->tap == place->tap && last->ntaps == place->ntaps) {
    last->count += place->count;
    if (spans) spans[n - 1].count += place->count;
    return n;
  }
  *last = *place;
  if (spans) spans[n] = *place;
  return n + 1;
}

/* How many of at, at + step, .. are at most limit; at least 1: inside an axis all places see the same taps. */
static int64_t run_of(int64_t at, int64_t limit, int64_t step) { return limit < at ? 1 : (limit - at) / step + 1; }

int64_t moon__spans_forward(const moon_geometry *g, int axis, moon_span *spans) {
  int64_t s = g->stride[axis], d = g->dilation[axis], n = 0;
  moon_span last = {0};
  for (int64_t o = 0, count; o < g->out[axis]; o += count) {
    int64_t start = o * s - g->pad_lo[axis];
    int64_t tap = moon__max_i64(0, moon__ceildiv_i64(-start, d));
    int64_t end = moon__min_i64(g->window[axis], moon__floordiv_i64(g->in[axis] - 1 - start, d) + 1);
    bool whole = tap == 0 && end == g->window[axis];
    count = whole ? moon__min_i64(run_of(start, g->in[axis] - 1 - (end - 1) * d, s), g->out[axis] - o) : 1;
    moon_span place = {.first = o, .step = 1, .count = count, .source = start + tap * d, .source_step = s, .tap = tap, .tap_step = 1};
    place.tap_source = d;
    place.ntaps = moon__max_i64(0, end - tap);
    n = add_place(spans, n, o == 0, &last, &place);
  }
  return n;
}

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/* x at i is read by tap k at o = (i + pad - k d) / s, where that is whole and inside y: every (s / gcd(s, d))th tap, if any. */
int64_t moon__spans_backward(const moon_geometry *g, int axis, moon_span *spans) {
  int64_t s = g->stride[axis], d = g->dilation[axis], n = 0, every = s / common_divisor(s, d);
  moon_span last = {0};
  for (int64_t residue = 0; residue < moon__min_i64(s, g->in[axis]); residue++) {
    for (int64_t i = residue, count; i < g->in[axis]; i += count * s) {
      int64_t at = i + g->pad_lo[axis], tap = 0;
      while (tap < every && (at - tap * d) % s != 0) tap++;
      bool any = tap < every;
      int64_t least = moon__max_i64(0, moon__ceildiv_i64(at - (g->out[axis] - 1) * s, d));
      if (any && tap < least) tap += moon__ceildiv_i64(least - tap, every) * every;
      int64_t most = moon__min_i64(g->window[axis] - 1, moon__floordiv_i64(at, d));
      bool whole = least == 0 && most == g->window[axis] - 1;
      count = whole ? run_of(i, moon__min_i64((g->out[axis] - 1) * s - g->pad_lo[axis], g->in[axis] - 1), s) : 1;
      moon_span place = {.first = i, .step = s, .count = count, .source_step = 1, .tap = tap, .tap_step = every};
      place.source = any ? moon__floordiv_i64(at - tap * d, s) : 0;
      place.tap_source = -(every * d / s);
      place.ntaps = any && most >= tap ? (most - tap) / every + 1 : 0;
      n = add_place(spans, n, i == residue, &last, &place);
    }
  }
  return n;
}

void moon__span_of_tap(const moon_geometry *g, int axis, int64_t k, int64_t *lo, int64_t *hi) {
  int64_t s = g->stride[axis], offset = k * g->dilation[axis] - g->pad_lo[axis];
  *lo = moon__min_i64(g->out[axis], moon__max_i64(0, moon__ceildiv_i64(-offset, s)));
  *hi = moon__min_i64(g->out[axis], moon__floordiv_i64(g->in[axis] - 1 - offset, s) + 1);
  if (*hi < *lo) *hi = *lo;
}

void moon__span_clip(const moon_span *s, int64_t from, int64_t to, int64_t *lo, int64_t *hi) {
  *lo = moon__max_i64(0, moon__ceildiv_i64(from - s->first, s->step));
  *hi = moon__min_i64(s->count, moon__ceildiv_i64(to - s->first, s->step));
}
