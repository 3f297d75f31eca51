/*
** conv_fast.c: f32 conv and conv_input_grad by register tiles of gemm.h, channels last. A tile's rows are places along one spatial
** axis, its columns are channels of the result, and k runs over taps (segments) and channels of the source: the source is read
** where it lies. Weights lie in panels of 32 columns, packed in the prologue (conv_packed), in a phase of their own (the backward
** pass turns them round at the same time), or, where they are few, as they are. Borders are spans of their own, so nothing is padded.
** Where weights outweigh the places (deep layers of small images), taps are the outer loop instead, so that weights are read once.
** Depthwise convolution has its own tile. How all this is cut is decided in conv_plan.c; the gradient of the filter is in
** conv_filter.c.
**
** Products with window 1 and stride 1 take all places of all images as one axis.
*/
#include "conv_plan.h"

#include <string.h>

#include "base/size.h"

enum { MAX_SEGMENTS = 128, MAX_DEPTH = 1024 };
typedef moon_conv_plan conv_plan;

/* ---- One region: places of three spans for a range of images ---- */

typedef struct region {
  const conv_plan *p;
  const float *source, *weights; /* of the group; of the block of columns */
  float *target;
  int64_t source_skip, target_skip; /* numbers of x and y that lie before these */
  int64_t weight_step, columns;
  int64_t first_image, last_image;
  const moon_span *span[3];
  int64_t lo[3], hi[3]; /* of each span's places */
  bool add;
  const float *start; /* what sums start from: for each place what lies there as in target, or (fixed) the same; NULL: 0 */
  bool fixed;
} region;

/* Offsets of taps [from, from + n) of the region: in the source, and in the weights. */
static void list_taps(const region *r, int64_t from, int64_t n, int64_t tap_weights, int64_t *source, int64_t *weights) {
  const conv_plan *p = r->p;
  int64_t inner = p->merged ? 1 : r->span[2]->ntaps;
  for (int64_t i = 0; i < n; i++) {
    int64_t t2 = (from + i) % inner, t1 = (from + i) / inner % r->span[1]->ntaps, t0 = (from + i) / inner / r->span[1]->ntaps;
    int64_t at = t0 * r->span[0]->tap_source * p->source_size[1] + t1 * r->span[1]->tap_source;
    source[i] = (at * p->source_size[2] + t2 * r->span[2]->tap_source) * p->source_channels;
    int64_t tap = (r->span[0]->tap + t0 * r->span[0]->tap_step) * p->g.window[1] + r->span[1]->tap + t1 * r->span[1]->tap_step;
    weights[i] = (tap * p->g.window[2] + r->span[2]->tap + t2 * r->span[2]->tap_step) * tap_weights;
  }
}

/* How the places of the region are walked: rows of a tile along one axis, lines along the other. */
typedef struct walk { int64_t rows, lines, source_row, source_line, target_row, target_line, source_at, target_at; } walk;

static walk walk_of(const region *r) {
  const conv_plan *p = r->p;
  const moon_span *s0 = r->span[0], *s1 = r->span[1], *s2 = r->span[2];
  int64_t s_line = p->source_size[2] * p->source_channels, t_line = p->target_size[2] * p->target_channels;
  walk w = {.rows = r->hi[2] - r->lo[2], .lines = r->hi[1] - r->lo[1]};
  w.source_row = s2->source_step * p->source_channels;
  w.target_row = s2->step * p->target_channels;
  w.source_line = s1->source_step * s_line;
  w.target_line = s1->step * t_line;
  int64_t plane = (s0->source + r->lo[0] * s0->source_step) * p->source_size[1];
  w.source_at = (plane + s1->source + r->lo[1] * s1->source_step) * s_line;
  w.source_at += (s2->source + r->lo[2] * s2->source_step) * p->source_channels - r->source_skip;
  plane = (s0->first + r->lo[0] * s0->step) * p->target_size[1];
  w.target_at = (plane + s1->first + r->lo[1] * s1->step) * t_line - r->target_skip;
  w.target_at += (s2->first + r->lo[2] * s2->step) * p->target_channels;
  if (w.rows < 4 && w.rows < w.lines) {
    walk turned = w;
    turned.rows = w.lines, turned.source_row = w.source_line, turned.target_row = w.target_line;
    turned.lines = w.rows, turned.source_line = w.source_row, turned.target_line = w.target_row;
    return turned;
  }
  return w;
}

static int64_t image_of(const int64_t *size, int64_t channels) { return size[0] * size[1] * size[2] * channels; }

/* One block of columns, and of the terms of its sums, for all places: the weights that it needs stay in a near cache. */
static void multiply_block(const region *r, const walk *w, moon_gemm_tile t, int64_t j, int width, int height, bool last) {
  const conv_plan *p = r->p;
  const float *a = t.a, *start = t.add ? NULL : r->start;
  for (int64_t n = r->first_image; n < r->last_image; n++)
    for (int64_t line = 0; line < w->lines; line++) {
      int64_t from = n * image_of(p->source_size, p->source_channels) + w->source_at + line * w->source_line;
      int64_t at = n * image_of(p->target_size, p->target_channels) + w->target_at + line * w->target_line + j;
      for (int64_t i = 0; i < w->rows; i += p->cut.row_block) {
        int64_t rows = moon__min_i64(p->cut.row_block, w->rows - i), here = at + i * w->target_row;
        t.a = a + from + i * w->source_row;
        t.c = r->target + here;
        t.start = start ? start + (r->fixed ? j : here) : NULL;
        moon__gemm_panel(p->set, MOON_GEMM_ROWS, t, rows, height, height * w->source_row, width, p->cut.panel == MOON_CONV_PANEL);
        t.ahead += t.ahead_step * t.nsegments * t.length * moon__ceildiv_i64(rows, height);
        if (last) moon__finish_clamp(p->finish, t.c, t.c_step, t.c, t.c_step, rows, t.columns);
      }
    }
}

/* Weights that follow those of t, up to term k of a tap, for columns from j on; NULL: these do not lie in panels, or are the job's last. */
static const float *next_weights(const region *r, const moon_gemm_tile *t, int64_t j, int64_t k, int64_t length) {
  const conv_plan *p = r->p;
  int64_t wide = p->cut.panel;
  if (!wide) return NULL;
  if (k < length) return t->b + t->b_segments[0] + t->length * t->b_step;
  if (j + wide < r->columns) return r->weights + (j / wide + 1) * p->taps * p->source_group * wide + t->b_segments[0];
  return p->cut.by_taps ? r->weights + t->b_segments[0] + length * t->b_step : NULL;
}

/* t: segments, their length, and whether sums are added to; all: these are the last terms. */
static void multiply(const region *r, const walk *w, moon_gemm_tile t, bool all) {
  const conv_plan *p = r->p;
  const moon_gemm_set *set = p->set;
  int64_t lanes = set->lanes, length = t.length, depth = t.nsegments == 1 ? p->cut.depth : length;
  int width = r->columns <= lanes ? 1 : w->rows <= set->rows[4] && r->columns > 2 * lanes && !p->cut.panel ? 4 : 2;
  int height = moon__gemm_height(moon__min_i64(w->rows, p->cut.row_block), set->rows[width]);
  int64_t wide = moon__min_i64(width * lanes, p->cut.panel ? p->cut.panel : INT64_MAX), panel = p->taps * p->source_group * p->cut.panel;
  int64_t tiles = w->lines * (r->last_image - r->first_image) * moon__ceildiv_i64(w->rows, height);
  bool add = t.add;
  t.a_step = w->source_row;
  t.b_step = r->weight_step;
  t.c_step = w->target_row;
  t.start_step = r->fixed ? 0 : w->target_row;
  for (int64_t j = 0; j < r->columns; j += wide) {
    int64_t k = 0;
    t.columns = moon__min_i64(wide, r->columns - j);
    do { /* once even where there are no terms: zeros then */
      t.length = moon__min_i64(depth, length - k);
      t.add = add || k > 0;
      t.a = r->source + k;
      t.b = r->weights + (p->cut.panel ? j / p->cut.panel * panel + j % p->cut.panel : j) + k * r->weight_step;
      k += depth;
      moon__gemm_look_ahead(&t, next_weights(r, &t, j, k, length), tiles);
      multiply_block(r, w, t, j, width, height, all && p->clamp && k >= length);
    } while (k < length);
  }
}

/* A stretch of a line after that of the line before: what the window sees of the source is in the first-level cache. */
static void multiply_stretch(const region *r, const walk *w, moon_depthwise t, int64_t image, int64_t j, int64_t i) {
  const conv_plan *p = r->p;
  t.m = moon__min_i64(p->cut.row_block, w->rows - i);
  t.channels = moon__min_i64(p->cut.channels, r->columns - j);
  t.w = r->weights + j;
  for (int64_t line = 0; line < w->lines; line++) {
    int64_t from = image * image_of(p->source_size, p->source_channels) + w->source_at + line * w->source_line + j;
    int64_t at = image * image_of(p->target_size, p->target_channels) + w->target_at + line * w->target_line + j + i * w->target_row;
    t.x = r->source + from + i * w->source_row;
    t.y = r->target + at;
    t.start = t.add ? t.y : r->start ? r->start + (r->fixed ? j : at) : NULL;
    p->conv->depthwise(&t);
  }
}

static void multiply_depthwise(const region *r, const walk *w, moon_depthwise t) {
  t.x_step = w->source_row;
  t.y_step = w->target_row;
  t.start_step = r->fixed && !t.add ? 0 : w->target_row;
  for (int64_t n = r->first_image; n < r->last_image; n++)
    for (int64_t j = 0; j < r->columns; j += r->p->cut.channels)
      for (int64_t i = 0; i < w->rows; i += r->p->cut.row_block) multiply_stretch(r, w, t, n, j, i);
}

static void run_region(const region *r) {
  const conv_plan *p = r->p;
  int64_t source[MAX_SEGMENTS], weights[MAX_SEGMENTS];
  int64_t length = p->depthwise ? 1 : p->source_group * (p->merged ? r->span[2]->ntaps : 1);
  int64_t count = r->span[0]->ntaps * r->span[1]->ntaps * (p->merged ? 1 : r->span[2]->ntaps);
  int64_t tap_weights = p->depthwise ? p->target_channels : p->source_group * (p->cut.panel ? p->cut.panel : p->g.c_out);
  int64_t at_once = moon__max_i64(1, moon__min_i64(MAX_SEGMENTS, MAX_DEPTH / moon__max_i64(1, length)));
  walk w = walk_of(r);
  int64_t from = 0;
  do { /* once even where no tap lies inside: zeros then */
    int64_t n = moon__min_i64(count - from, at_once);
    list_taps(r, from, n, tap_weights, source, weights);
    if (p->depthwise) {
      moon_depthwise t = {.ntaps = n, .x_taps = source, .w_taps = weights, .add = r->add || from > 0};
      t.clamp = p->clamp && from + n >= count;
      if (t.clamp) t.lo = p->finish->lo, t.hi = p->finish->hi;
      multiply_depthwise(r, &w, t);
    } else {
      multiply(r, &w,
               (moon_gemm_tile){
                   .nsegments = n, .length = length, .a_segments = source, .b_segments = weights, .add = r->add || from > 0},
               from + n >= count);
    }
    from += n;
  } while (from < count);
}

/* ---- Jobs ---- */

static bool clip(region *r, const int64_t *from, const int64_t *to) {
  bool some = true;
  for (int d = 0; d < 3; d++) {
    moon__span_clip(r->span[d], from[d], to[d], &r->lo[d], &r->hi[d]);
    some &= r->lo[d] < r->hi[d];
  }
  return some;
}

static void run_spans(region *r, const int64_t *from, const int64_t *to) {
  const conv_plan *p = r->p;
  for (int i = 0; i < p->nspans[0]; i++)
    for (int j = 0; j < p->nspans[1]; j++)
      for (int k = 0; k < p->nspans[2]; k++) {
        r->span[0] = &p->spans[0][i], r->span[1] = &p->spans[1][j], r->span[2] = &p->spans[2][k];
        if (clip(r, from, to)) run_region(r);
      }
}

/* All places that one tap reaches, along an axis. */
static moon_span span_of(const conv_plan *p, int axis, int64_t tap) {
  int64_t lo, hi, s = p->g.stride[axis], shift = tap * p->g.dilation[axis] - p->g.pad_lo[axis];
  moon__span_of_tap(&p->g, axis, tap, &lo, &hi);
  moon_span x = {.first = lo * s + shift, .step = s, .count = hi - lo, .source = lo, .source_step = 1};
  moon_span y = {.first = lo, .step = 1, .count = hi - lo, .source = lo * s + shift, .source_step = s};
  moon_span *r = p->backward ? &x : &y;
  r->tap = tap, r->tap_step = 1, r->ntaps = 1;
  return *r;
}

static void start_block(const region *r, const int64_t *from, const int64_t *to) {
  const conv_plan *p = r->p;
  int64_t end1 = moon__min_i64(to[1], p->target_size[1]), end2 = moon__min_i64(to[2], p->target_size[2]);
  for (int64_t n = r->first_image; n < r->last_image; n++)
    for (int64_t i = from[1]; i < end1; i++)
      for (int64_t j = from[2]; j < end2; j++) {
        int64_t at = ((n * p->target_size[0] + from[0]) * p->target_size[1] + i) * p->target_size[2] + j;
        float *y = r->target + at * p->target_channels;
        size_t bytes = (size_t)r->columns * sizeof *y;
        if (r->start) memcpy(y, r->fixed ? r->start : r->start + at * p->target_channels, bytes);
        else memset(y, 0, bytes);
      }
}

static void run_taps(region *r, const int64_t *from, const int64_t *to) {
  const conv_plan *p = r->p;
  const int64_t *window = p->g.window;
  start_block(r, from, to);
  r->add = true;
  for (int64_t i = 0; i < window[0] * window[1] * window[2]; i++) {
    moon_span s0 = span_of(p, 0, i / window[2] / window[1]), s1 = span_of(p, 1, i / window[2] % window[1]);
    moon_span s2 = span_of(p, 2, i % window[2]);
    r->span[0] = &s0, r->span[1] = &s1, r->span[2] = &s2;
    if (clip(r, from, to)) run_region(r);
  }
}

/* What a job makes: places [from, to) of images [first_image, last_image), columns of a group. */
static moon_conv_block block_of(const conv_plan *p, int64_t job) {
  moon_conv_block b = {.column = job % p->column_blocks * p->cut.column_block};
  int64_t groups = p->depthwise ? 1 : p->g.groups;
  job /= p->column_blocks;
  b.group = job % groups;
  job /= groups;
  b.part = job;
  b.from[2] = job % p->blocks2 * p->cut.block2;
  job /= p->blocks2;
  b.from[1] = job % p->blocks1 * p->cut.block1;
  job /= p->blocks1;
  b.from[0] = job % p->target_size[0];
  b.first_image = job / p->target_size[0] * p->cut.image_block;
  b.last_image = moon__min_i64(p->g.batch, b.first_image + p->cut.image_block);
  b.to[0] = b.from[0] + 1;
  b.to[1] = moon__min_i64(p->target_size[1], b.from[1] + p->cut.block1);
  b.to[2] = moon__min_i64(p->target_size[2], b.from[2] + p->cut.block2);
  b.columns = moon__min_i64(p->cut.column_block, (p->depthwise ? p->target_channels : p->target_group) - b.column);
  return b;
}

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *target_of(const conv_plan *p, const moon_call *call) { return (float *)(void *)call->out[p->place].data; }

void moon__conv_make(const conv_plan *p, const moon_call *call, const moon_conv_block *b, const float *source, int64_t source_skip,
                     float *target, int64_t target_skip) {
  region r = {.p = p, .first_image = b->first_image, .last_image = b->last_image, .columns = b->columns};
  r.source = source + b->group * p->source_group + (p->depthwise ? b->column : 0);
  r.target = target + b->group * p->target_group + b->column;
  r.source_skip = source_skip;
  r.target_skip = target_skip;
  if (p->cut.panel) {
    const float *packed = p->pack ? (const float *)(const void *)(call->scratch + p->packed) : input(call, 2);
    int64_t group = p->panels * p->cut.panel * p->taps * p->source_group;
    r.weights = packed + b->group * group + b->column * p->taps * p->source_group;
    r.weight_step = p->cut.panel;
  } else {
    r.weights = input(call, 1) + b->group * p->target_group + b->column;
    r.weight_step = p->g.c_out;
  }
  if (p->finish && p->finish->start >= 0) {
    r.start = input(call, p->finish->nproduct + p->finish->start) + b->group * p->target_group + b->column;
    r.fixed = p->finish->in[p->finish->start].row_step == 0;
  }
  if (p->cut.by_taps) run_taps(&r, b->from, b->to);
  else run_spans(&r, b->from, b->to);
}

void moon__conv_run(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    moon_conv_block b = block_of(p, job);
    moon__conv_make(p, call, &b, input(call, 0), 0, target_of(p, call), 0);
  }
}

/* Lines that cover the image are finished together. */
void moon__conv_finish(const conv_plan *p, moon_finishing *r, const moon_conv_block *b) {
  bool whole = b->to[2] - b->from[2] == p->target_size[2];
  int64_t lines = whole ? 1 : b->to[1] - b->from[1], rows = (b->to[2] - b->from[2]) * (whole ? b->to[1] - b->from[1] : 1);
  for (int64_t n = b->first_image; n < b->last_image; n++)
    for (int64_t i = 0; i < lines; i++) {
      int64_t row = ((n * p->target_size[0] + b->from[0]) * p->target_size[1] + b->from[1] + i) * p->target_size[2] + b->from[2];
      int64_t column = b->group * p->target_group + b->column;
      const float *sums = target_of(p, r->call) + row * p->target_channels + column;
      moon__finish_block(r, sums, p->target_channels, row, rows, column, b->columns, b->part, n == b->first_image && i == 0);
    }
}

void moon__conv_run_finished(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  moon_finishing r;
  moon__finish_begin(&r, p->finish, call);
  for (int64_t job = first; job < last; job++) {
    moon_conv_block b = block_of(p, job);
    moon__conv_make(p, call, &b, input(call, 0), 0, target_of(p, call), 0);
    moon__conv_finish(p, &r, &b);
  }
}

void moon__conv_combine(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* One job packs a panel of one tap and group: [c, columns], where the backward pass takes w [.., columns, c]. */
void moon__conv_pack(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  const float *w = (const float *)(const void *)call->in[1].data;
  int64_t c = p->source_group, f = p->target_group, all = p->g.c_out;
  for (int64_t job = first; job < last; job++) {
    int64_t tap = job % p->taps, j = job / p->taps % p->panels * p->cut.panel, group = job / p->taps / p->panels;
    const float *x = p->backward ? w + (tap * f + j) * all + group * c : w + tap * c * all + group * f + j;
    float *out = (float *)(void *)(call->scratch + p->packed) + job * c * p->cut.panel;
    p->set->pack(out, x, c, moon__min_i64(p->cut.panel, f - j), p->backward ? 1 : all, p->backward ? all : 1, p->cut.panel);
  }
}
