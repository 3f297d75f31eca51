/*
** conv_fast.c: f32 conv and conv_input_grad by register tiles of gemm.h, channels last. A tile's rows are places along one spatial
** axis, its columns are channels of the result, and k runs over taps (segments) and channels of the source: the source is read
** where it lies, weights too (the backward pass turns them round first). Borders are spans of their own, so nothing is padded.
** Where weights outweigh the places (deep layers of small images), taps are the outer loop instead, so that weights are read once.
** Depthwise convolution has its own tile. The gradient of the filter is in conv_filter.c.
**
** Letters: the target (y, or x backward) is computed from the source (x, or dy backward). Products with window 1 and stride 1 take
** all places of all images as one axis.
*/
#include "conv_fast.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "gemm.h"
#include "span.h"

enum { MAX_SEGMENTS = 128, MAX_DEPTH = 1024, PANEL = 32 };

typedef struct conv_plan {
  const moon_gemm_set *set;
  const moon_conv_set *conv;
  moon_geometry g;
  bool backward, depthwise, merged; /* merged: taps along the last axis and channels are one segment */
  bool by_taps, panels; /* panels: weights come in blocks of PANEL columns (conv_packed.c) */
  int64_t source_size[3], target_size[3], source_channels, target_channels, source_group, target_group;
  int64_t image_block, block1, block2, column_block;
  int64_t image_blocks, blocks1, blocks2, column_blocks;
  size_t packed;
  int nspans[3];
  moon_span *spans[3]; /* behind the plan */
  moon_finish *finish; /* likewise; NULL: none */
  int place;           /* output that holds the target */
  bool clamp;          /* a depthwise kernel does what the finishing loop says: brings results into [lo, hi] */
  float lo, hi;
} conv_plan;

/* ---- One region: places of three spans for a range of images ---- */

typedef struct region {
  const conv_plan *p;
  const float *source, *weights; /* of the group; of the block of columns */
  float *target;
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
  w.source_at += (s2->source + r->lo[2] * s2->source_step) * p->source_channels;
  plane = (s0->first + r->lo[0] * s0->step) * p->target_size[1];
  w.target_at = (plane + s1->first + r->lo[1] * s1->step) * t_line + (s2->first + r->lo[2] * s2->step) * p->target_channels;
  if (w.rows < 4 && w.rows < w.lines) {
    walk turned = w;
    turned.rows = w.lines, turned.source_row = w.source_line, turned.target_row = w.target_line;
    turned.lines = w.rows, turned.source_line = w.source_row, turned.target_line = w.target_row;
    return turned;
  }
  return w;
}

static int64_t image_of(const int64_t *size, int64_t channels) { return size[0] * size[1] * size[2] * channels; }

static void multiply(const region *r, const walk *w, moon_gemm_tile t) {
  const conv_plan *p = r->p;
  const moon_gemm_set *set = p->set;
  int64_t lanes = set->lanes;
  int width = r->columns <= lanes ? 1 : w->rows <= set->rows[4] && r->columns > 2 * lanes && !p->panels ? 4 : 2;
  int64_t panel = p->g.window[0] * p->g.window[1] * p->g.window[2] * p->source_group;
  int height = moon__gemm_height(w->rows, set->rows[width]);
  int64_t wide = width * lanes;
  const float *start = t.add ? NULL : r->start;
  t.a_step = w->source_row;
  t.b_step = r->weight_step;
  t.c_step = w->target_row;
  t.start_step = r->fixed ? 0 : w->target_row;
  for (int64_t j = 0; j < r->columns; j += wide)
    for (int64_t n = r->first_image; n < r->last_image; n++)
      for (int64_t line = 0; line < w->lines; line++) {
        t.a = r->source + n * image_of(p->source_size, p->source_channels) + w->source_at + line * w->source_line;
        int64_t at = n * image_of(p->target_size, p->target_channels) + w->target_at + line * w->target_line + j;
        t.c = r->target + at;
        t.start = start ? start + (r->fixed ? j : at) : NULL;
        t.b = r->weights + (p->panels ? j / PANEL * panel * PANEL + j % PANEL : j);
        t.columns = moon__min_i64(wide, r->columns - j);
        moon__gemm_panel(set, MOON_GEMM_ROWS, t, w->rows, height, height * w->source_row, width, false);
      }
}

static void multiply_depthwise(const region *r, const walk *w, moon_depthwise t) {
  const conv_plan *p = r->p;
  t.w = r->weights;
  t.channels = r->columns;
  t.x_step = w->source_row;
  t.y_step = w->target_row;
  t.m = w->rows;
  t.start_step = r->fixed ? 0 : w->target_row;
  for (int64_t n = r->first_image; n < r->last_image; n++)
    for (int64_t line = 0; line < w->lines; line++) {
      t.x = r->source + n * image_of(p->source_size, p->source_channels) + w->source_at + line * w->source_line;
      int64_t at = n * image_of(p->target_size, p->target_channels) + w->target_at + line * w->target_line;
      t.y = r->target + at;
      t.start = t.add ? t.y : r->start ? r->start + (r->fixed ? 0 : at) : NULL;
      if (t.add) t.start_step = w->target_row;
      p->conv->depthwise(&t);
    }
}

static void run_region(const region *r) {
  const conv_plan *p = r->p;
  int64_t source[MAX_SEGMENTS], weights[MAX_SEGMENTS];
  int64_t length = p->depthwise ? 1 : p->source_group * (p->merged ? r->span[2]->ntaps : 1);
  int64_t count = r->span[0]->ntaps * r->span[1]->ntaps * (p->merged ? 1 : r->span[2]->ntaps);
  int64_t tap_weights = p->depthwise  ? p->target_channels
                        : p->panels   ? p->source_group * PANEL
                        : p->backward ? p->target_group * p->g.c_out
                                      : p->source_group * p->g.c_out;
  int64_t at_once = moon__max_i64(1, moon__min_i64(MAX_SEGMENTS, MAX_DEPTH / moon__max_i64(1, length)));
  walk w = walk_of(r);
  int64_t from = 0;
  do { /* once even where no tap lies inside: zeros then */
    int64_t n = moon__min_i64(count - from, at_once);
    list_taps(r, from, n, tap_weights, source, weights);
    if (p->depthwise) {
      multiply_depthwise(r, &w, (moon_depthwise){.ntaps = n, .x_taps = source, .w_taps = weights, .add = r->add || from > 0,
                                                   .clamp = p->clamp && from + n >= count, .lo = p->lo, .hi = p->hi});
    } else {
      multiply(r, &w,
               (moon_gemm_tile){
                   .nsegments = n, .length = length, .a_segments = source, .b_segments = weights, .add = r->add || from > 0});
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
typedef struct job_block {
  int64_t from[3], to[3], first_image, last_image, group, column, columns, part;
} job_block;

static job_block block_of(const conv_plan *p, int64_t job) {
  job_block b = {.column = job % p->column_blocks * p->column_block};
  int64_t groups = p->depthwise ? 1 : p->g.groups;
  job /= p->column_blocks;
  b.group = job % groups;
  job /= groups;
  b.part = job;
  b.from[2] = job % p->blocks2 * p->block2;
  job /= p->blocks2;
  b.from[1] = job % p->blocks1 * p->block1;
  job /= p->blocks1;
  b.from[0] = job % p->target_size[0];
  b.first_image = job / p->target_size[0] * p->image_block;
  b.last_image = moon__min_i64(p->g.batch, b.first_image + p->image_block);
  b.to[0] = b.from[0] + 1;
  b.to[1] = moon__min_i64(p->target_size[1], b.from[1] + p->block1);
  b.to[2] = moon__min_i64(p->target_size[2], b.from[2] + p->block2);
  b.columns = moon__min_i64(p->column_block, (p->depthwise ? p->target_channels : p->target_group) - b.column);
  return b;
}

static void make_block(const conv_plan *p, const moon_call *call, const job_block *b) {
  region r = {.p = p, .first_image = b->first_image, .last_image = b->last_image, .columns = b->columns};
  r.source = (const float *)(const void *)call->in[0].data + b->group * p->source_group + (p->depthwise ? b->column : 0);
  r.target = (float *)(void *)call->out[p->place].data + b->group * p->target_group + b->column;
  r.weights = (const float *)(const void *)call->in[1].data + b->group * p->target_group + b->column;
  r.weight_step = p->g.c_out;
  if (p->panels) {
    int64_t taps = p->g.window[0] * p->g.window[1] * p->g.window[2];
    r.weights = (const float *)(const void *)call->in[2].data + b->column * taps * p->source_group;
    r.weight_step = PANEL;
  }
  if (p->finish && p->finish->start >= 0) {
    const moon_array *x = &call->in[p->finish->nproduct + p->finish->start];
    r.start = (const float *)(const void *)x->data + b->group * p->target_group + b->column;
    r.fixed = p->finish->in[p->finish->start].row_step == 0;
  }
  if (p->backward && !p->depthwise) { /* turned: [tap][group][c_out of it][c_in of it] */
    r.weights = (const float *)(const void *)(call->scratch + p->packed) + b->group * p->source_group * p->target_group + b->column;
    r.weight_step = p->target_group;
  }
  if (p->by_taps) run_taps(&r, b->from, b->to);
  else run_spans(&r, b->from, b->to);
}

static void run_conv(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    job_block b = block_of(p, job);
    make_block(p, call, &b);
  }
}

/* Lines that cover the image are finished together. */
static void run_finished(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  moon_finishing r;
  moon__finish_begin(&r, p->finish, call);
  for (int64_t job = first; job < last; job++) {
    job_block b = block_of(p, job);
    bool whole = b.to[2] - b.from[2] == p->target_size[2];
    int64_t lines = whole ? 1 : b.to[1] - b.from[1], rows = (b.to[2] - b.from[2]) * (whole ? b.to[1] - b.from[1] : 1);
    make_block(p, call, &b);
    for (int64_t n = b.first_image; n < b.last_image; n++)
      for (int64_t i = 0; i < lines; i++) {
        int64_t row = ((n * p->target_size[0] + b.from[0]) * p->target_size[1] + b.from[1] + i) * p->target_size[2] + b.from[2];
        int64_t column = b.group * p->target_group + b.column;
        const float *sums = (const float *)(const void *)call->out[p->place].data + row * p->target_channels + column;
        moon__finish_block(&r, sums, p->target_channels, row, rows, column, b.columns, b.part, n == b.first_image && i == 0);
      }
  }
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* One job turns the weights of a tap and group round: [c_in, c_out] -> [c_out, c_in]. */
static void run_turn(const moon_call *call, int64_t first, int64_t last) {
  const conv_plan *p = call->state;
  const float *w = (const float *)(const void *)call->in[1].data;
  float *out = (float *)(void *)(call->scratch + p->packed);
  for (int64_t job = first; job < last; job++) {
    int64_t tap = job / p->g.groups, group = job % p->g.groups;
    p->set->pack(out + job * p->source_group * p->target_group, w + tap * p->target_group * p->g.c_out + group * p->source_group,
                 p->source_group, p->target_group, 1, p->g.c_out, p->target_group);
  }
}

/* ---- Plan ---- */

static bool is_dense_f32(const moon_array *a) { return a->dtype == MOON_DTYPE_f32; }

bool moon__cpu_conv_fits(const moon_fast *f) {
  return is_dense_f32(&f->in[0]) && is_dense_f32(&f->in[1]) && is_dense_f32(&f->out[0]);
}

/* All places of all images become one axis. */
static void flatten(moon_geometry *g) {
  for (int i = 0; i < 3; i++)
    if (g->window[i] != 1 || g->stride[i] != 1 || g->pad_lo[i] != 0 || g->in[i] != g->out[i]) return;
  g->in[2] = g->out[2] = g->batch * g->in[0] * g->in[1] * g->in[2];
  g->in[0] = g->in[1] = g->out[0] = g->out[1] = g->batch = 1;
}

static double work_us(const conv_plan *p, double places, double columns) {
  double taps = (double)p->g.window[0] * (double)p->g.window[1] * (double)p->g.window[2];
  if (p->backward) taps /= (double)p->g.stride[0] * (double)p->g.stride[1] * (double)p->g.stride[2];
  double rate = p->set->lanes == 16 ? 180e3 : p->set->lanes == 8 ? 90e3 : 15e3;
  double depth = p->depthwise ? 3 : (double)p->source_group;
  return 2 * places * columns * (taps < 1 ? 1 : taps) * depth / rate + places * 0.002;
}

/* Blocks of at most about 40 us: many images, one, or part of one. What is smaller, the block's weights or its source, is read again by
** more jobs: so the larger is cut first. */
static void choose_blocks(conv_plan *p) {
  int64_t whole = p->depthwise ? p->target_channels : p->target_group, wide = p->panels ? PANEL : 2 * p->set->lanes;
  double taps = (double)p->g.window[0] * (double)p->g.window[1] * (double)p->g.window[2];
  p->image_block = 1;
  p->block1 = p->target_size[1];
  p->block2 = p->target_size[2];
  p->column_block = whole;
  double image = work_us(p, (double)(p->block1 * p->block2), (double)whole);
  double groups = p->depthwise ? 1 : (double)p->g.groups, all = image * groups * (double)(p->g.batch * p->target_size[0]);
  double most = all > 480 ? 60 : all > 64 ? all / 8 : 8; /* at least 8 jobs, where that pays */
  if (image < most / 3) p->image_block = moon__max_i64(1, moon__min_i64(p->g.batch, (int64_t)(most * 0.7 / image)));
  while (work_us(p, (double)(p->block1 * p->block2), (double)p->column_block) > most) {
    bool more_weights = (double)p->column_block * taps > (double)(p->block1 * p->block2);
    bool lines = p->block1 > 1 || p->block2 > 28, columns = p->column_block > wide;
    if (columns && (more_weights || !lines)) p->column_block = moon__ceildiv_i64(p->column_block / 2, wide) * wide;
    else if (p->block1 > 1) p->block1 = (p->block1 + 1) / 2;
    else if (p->block2 > 28) p->block2 = moon__ceildiv_i64(p->block2 / 2, 14) * 14;
    else break;
  }
  p->image_blocks = moon__ceildiv_i64(p->g.batch, p->image_block);
  p->blocks1 = moon__ceildiv_i64(p->target_size[1], p->block1);
  p->blocks2 = moon__ceildiv_i64(p->target_size[2], p->block2);
  p->column_blocks = moon__ceildiv_i64(whole, p->column_block);
}

static void set_roles(conv_plan *p) {
  const moon_geometry *g = &p->g;
  memcpy(p->source_size, p->backward ? g->out : g->in, sizeof p->source_size);
  memcpy(p->target_size, p->backward ? g->in : g->out, sizeof p->target_size);
  p->source_channels = p->backward ? g->c_out : g->c_in;
  p->target_channels = p->backward ? g->c_in : g->c_out;
  p->source_group = p->source_channels / g->groups;
  p->target_group = p->target_channels / g->groups;
  p->depthwise = g->groups > 1 && p->source_group == 1 && p->target_group == 1;
  p->merged = !p->backward && !p->depthwise && g->groups == 1 && g->dilation[2] == 1;
}

static bool number_in(const moon_loop *loop, int reg, float *x) {
  for (int i = 0; i < loop->nnumbers; i++) {
    if (loop->number[i].reg != reg) continue;
    *x = (float)loop->number[i].f;
    return !isnan(*x);
  }
  return false;
}

/* Does the loop only bring the sums into [lo, hi] (relu, relu6, clip)? */
static bool is_clamp(const moon_finish *p, float *lo, float *hi) {
  const moon_loop *loop = &p->e.loop;
  int reg = p->e.acc;
  *lo = -INFINITY, *hi = INFINITY;
  for (int i = 0; i < loop->nins; i++) {
    const moon_loop_ins *ins = &loop->ins[i];
    float bound = 0;
    bool relu = ins->op == MOON_OP_relu, most = ins->op == MOON_OP_minimum, least = relu || ins->op == MOON_OP_maximum;
    int other = ins->src[0] == reg ? ins->src[1] : ins->src[0];
    if ((!most && !least) || (ins->src[0] != reg && (relu || ins->src[1] != reg)) || (!relu && !number_in(loop, other, &bound)))
      return false;
    if (least ? *lo < bound : *lo > bound) *lo = bound;
    if (most ? *hi > bound : *hi < bound) *hi = bound;
    reg = ins->dst;
  }
  return !p->reduces && loop->nout == 1 && loop->out[0].reg == reg && loop->out[0].dtype == MOON_DTYPE_f32;
}

static moon_status plan_finish(const moon_fast *f, conv_plan *p, moon_choice *c, int64_t parts, int64_t njobs) {
  moon_status s = moon__finish_plan(f, p->finish, true, c);
  const moon_finish_input *start = s == MOON_OK && p->finish->start >= 0 ? &p->finish->in[p->finish->start] : NULL;
  if (start && start->row_step != 0 && start->row_step != p->target_channels) s = MOON_EUNSUPPORTED;
  if (s != MOON_OK) return s;
  if ((p->place = moon__finish_place(p->finish, c)) < 0) return MOON_EUNSUPPORTED;
  if (!moon__finish_parts(p->finish, parts, c)) return MOON_ESIZE;
  p->clamp = p->depthwise && is_clamp(p->finish, &p->lo, &p->hi);
  moon__fast_phase(c, p->finish->plain || p->clamp ? run_conv : run_finished, njobs);
  if (p->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(p->finish));
  return MOON_OK;
}

static moon_status plan_conv(const moon_fast *f, moon_choice *c, bool backward) {
  moon_geometry g = moon__conv_geometry(f->node);
  int64_t (*spans)(const moon_geometry *, int, moon_span *) = backward ? moon__spans_backward : moon__spans_forward;
  int64_t count[3], total = 0, bytes;
  flatten(&g);
  c->dense_in = 7; /* the filter packed too */
  for (int i = 0; i < 3; i++) total += count[i] = spans(&g, i, NULL);
  if (!moon__mul_i64(total, (int64_t)sizeof(moon_span), &bytes)) return MOON_ESIZE;
  conv_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0) + (size_t)bytes);
  if (!p) return MOON_EMEMORY;
  p->g = g;
  p->backward = backward;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->conv = MOON_ISA_PICK(f->isa, moon__conv_set);
  set_roles(p);
  p->panels = f->node->op->id == MOON_OP_conv_packed;
  p->finish = f->epilogue ? (moon_finish *)(void *)(p + 1) : NULL;
  moon_span *at = p->finish ? (moon_span *)(void *)(p->finish + 1) : (moon_span *)(void *)(p + 1);
  for (int i = 0; i < 3; at += count[i++]) {
    p->spans[i] = at;
    p->nspans[i] = (int)spans(&g, i, at);
  }
  c->kernel = backward ? MOON_ISA_TEXT(f->isa, "cpu_conv_input_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_conv_f32");
  c->why = p->depthwise ? "depthwise" : p->panels ? "direct, channels last, packed filter" : "direct, channels last";
  if (g.batch == 0 || p->target_channels == 0 || total == 0 || count[0] == 0 || count[1] == 0 || count[2] == 0)
    return f->epilogue ? MOON_EUNSUPPORTED : MOON_OK; /* nothing to compute */
  choose_blocks(p);
  int64_t places = p->target_size[0] * p->target_size[1] * p->target_size[2];
  p->by_taps = p->nspans[0] * p->nspans[1] * p->nspans[2] > 1 && p->source_group >= 96 && places <= 32 * 32;
  if (backward && !p->depthwise) {
    int64_t taps = g.window[0] * g.window[1] * g.window[2], floats, w_bytes;
    if (!moon__mul_i64(taps * p->source_channels, p->target_group, &floats) || !moon__mul_i64(floats, 4, &w_bytes))
      return MOON_ESIZE;
    if (!moon__align_size((size_t)w_bytes, 64, &c->scratch_bytes)) return MOON_ESIZE;
    moon__fast_phase(c, run_turn, taps * g.groups);
  }
  int64_t groups = p->depthwise ? 1 : g.groups, parts = p->image_blocks * p->target_size[0] * p->blocks1 * p->blocks2;
  if (p->finish) return plan_finish(f, p, c, parts, parts * groups * p->column_blocks);
  moon__fast_phase(c, run_conv, parts * groups * p->column_blocks);
  return MOON_OK;
}

moon_status moon__cpu_conv_plan(const moon_fast *f, moon_choice *c) { return plan_conv(f, c, false); }
moon_status moon__cpu_conv_input_grad_plan(const moon_fast *f, moon_choice *c) { return plan_conv(f, c, true); }
