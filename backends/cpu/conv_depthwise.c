/*
** conv_depthwise.c: f32 conv_filter_grad where each channel has one filter: dw [k.., 1, c] from x [n, s.., c] and dy [n, o.., c]. A job
** takes lines of dy, once for all taps, so that a line of x and dy is read from a near cache by all but the first of them; jobs'
** sums are added up in a second phase, in order. The other directions are in conv_fast.c.
*/
#include <string.h>

#include "base/size.h"
#include "conv_fast.h"
#include "fast.h"
#include "span.h"

enum { SUM_BLOCK = 4096 };

typedef struct depthwise_plan {
  const moon_conv_set *set;
  moon_geometry g;
  int64_t c, taps, lines, segment, segments, columns, column_blocks;
} depthwise_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }

/* Places [lo, hi) of one line of dy, and taps [first, first + n) of one line of the window, which all lie inside x there. */
static void add_places(const depthwise_plan *p, moon_depthwise_filter t, int64_t first, int64_t n, int64_t lo, int64_t hi) {
  const moon_geometry *g = &p->g;
  if (lo >= hi) return;
  t.w += first * p->c;
  t.x += (lo * g->stride[2] + first * g->dilation[2] - g->pad_lo[2]) * p->c;
  t.dy += lo * p->c;
  t.ntaps = n;
  t.length = hi - lo;
  p->set->depthwise_filter(&t);
}

/* One line of dy with one line of the window: the places that all its taps see, then what is left of each. */
static void add_line(const depthwise_plan *p, const moon_depthwise_filter *t) {
  int64_t lo, hi, all_lo = 0, all_hi = p->g.out[2], n = p->g.window[2];
  for (int64_t k = 0; k < n; k++) {
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    all_lo = moon__max_i64(all_lo, lo);
    all_hi = moon__min_i64(all_hi, hi);
  }
  all_hi = moon__max_i64(all_lo, all_hi);
  add_places(p, *t, 0, n, all_lo, all_hi);
  for (int64_t k = 0; k < n; k++) {
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    add_places(p, *t, k, 1, lo, moon__min_i64(hi, all_lo));
    add_places(p, *t, k, 1, moon__max_i64(lo, all_hi), hi);
  }
}

/* All lines of the window on one line of dy. */
static void add_lines(const depthwise_plan *p, const moon_call *call, int64_t line, int64_t column, int64_t columns, float *w) {
  const moon_geometry *g = &p->g;
  int64_t o1 = line % g->out[1], o0 = line / g->out[1] % g->out[0], image = line / g->out[1] / g->out[0];
  moon_depthwise_filter t = {.w_tap = p->c, .x_tap = g->dilation[2] * p->c, .dy_step = p->c, .channels = columns};
  t.x_step = g->stride[2] * p->c;
  t.dy = input(call, 1) + line * g->out[2] * p->c + column;
  for (int64_t k0 = 0; k0 < g->window[0]; k0++)
    for (int64_t k1 = 0; k1 < g->window[1]; k1++) {
      int64_t i0 = o0 * g->stride[0] + k0 * g->dilation[0] - g->pad_lo[0], i1 = o1 * g->stride[1] + k1 * g->dilation[1] - g->pad_lo[1];
      if (i0 < 0 || i0 >= g->in[0] || i1 < 0 || i1 >= g->in[1]) continue;
      t.x = input(call, 0) + ((image * g->in[0] + i0) * g->in[1] + i1) * g->in[2] * p->c + column;
      t.w = w + (k0 * g->window[1] + k1) * g->window[2] * p->c + column;
      add_line(p, &t);
    }
}

static void run_filter(const moon_call *call, int64_t first, int64_t last) {
  const depthwise_plan *p = call->state;
  float *sums = (float *)(void *)(p->segments > 1 ? call->scratch : call->out[0].data);
  for (int64_t job = first; job < last; job++) {
    int64_t column = job % p->column_blocks * p->columns, from = job / p->column_blocks * p->segment;
    int64_t columns = moon__min_i64(p->columns, p->c - column);
    float *w = sums + job / p->column_blocks * p->taps * p->c;
    for (int64_t k = 0; k < p->taps; k++) memset(w + k * p->c + column, 0, (size_t)columns * sizeof *w);
    for (int64_t line = from; line < moon__min_i64(p->lines, from + p->segment); line++) add_lines(p, call, line, column, columns, w);
  }
}

static void run_sum(const moon_call *call, int64_t first, int64_t last) {
  const depthwise_plan *p = call->state;
  int64_t count = p->taps * p->c;
  moon__sum_parts((float *)(void *)call->out[0].data, (const float *)(const void *)call->scratch, p->segments, count,
                  moon__min_i64(count, first * SUM_BLOCK), moon__min_i64(count, last * SUM_BLOCK));
}

/* ---- Plan ---- */

bool moon__cpu_depthwise_filter_fits(const moon_fast *f) {
  moon_geometry g = moon__conv_geometry(f->node);
  return moon__cpu_conv_fits(f) && g.groups > 1 && g.c_in == g.groups && g.c_out == g.groups;
}

static void choose_blocks(depthwise_plan *p) {
  double line = 2 * (double)p->taps * (double)(p->g.out[2] * p->c) / 60e3 + 0.05 * (double)p->taps, all = line * (double)p->lines;
  p->columns = p->c;
  if (line > 20) p->columns = moon__max_i64(64, moon__ceildiv_i64((int64_t)((double)p->c * 20 / line), 64) * 64);
  p->column_blocks = moon__ceildiv_i64(p->c, p->columns);
  double us = all > 320 ? 40 : all > 16 ? all / 8 : all; /* at least 8 jobs where that pays */
  p->segment = moon__max_i64(1, moon__min_i64(p->lines, (int64_t)(us * (double)p->column_blocks / line)));
  p->segments = moon__max_i64(1, moon__ceildiv_i64(p->lines, p->segment));
}

moon_status moon__cpu_depthwise_filter_plan(const moon_fast *f, moon_choice *c) {
  int64_t bytes;
  depthwise_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->g = moon__conv_geometry(f->node);
  p->set = MOON_ISA_PICK(f->isa, moon__conv_set);
  p->c = p->g.c_out;
  p->taps = p->g.window[0] * p->g.window[1] * p->g.window[2];
  p->lines = p->g.batch * p->g.out[0] * p->g.out[1];
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_conv_filter_grad_f32");
  c->why = "depthwise";
  c->dense_in = 3;
  choose_blocks(p);
  moon__fast_phase(c, run_filter, p->segments * p->column_blocks);
  if (p->segments == 1) return MOON_OK;
  if (!moon__mul_i64(p->taps * p->c, (int64_t)sizeof(float) * p->segments, &bytes)) return MOON_ESIZE;
  c->scratch_bytes = (size_t)bytes;
  moon__fast_phase(c, run_sum, moon__ceildiv_i64(p->taps * p->c, SUM_BLOCK));
  return MOON_OK;
}
