/*
** pool_fast.c: f32 max_pool, avg_pool and their gradients, vectors along channels. Spans (span.h) take care of borders: padding
** takes no part, so a place combines only the taps that lie inside. x [n, s.., c], y [n, o.., c].
*/
#include "pool_fast.h"

#include "base/size.h"
#include "fast.h"
#include "span.h"

enum { MAX_TAPS = 256 };

typedef struct pool_plan {
  const moon_pool_set *set;
  moon_geometry g;
  bool backward;
  int64_t source_size[3], target_size[3];
  int64_t lines_per_job, lines; /* lines of the target, all images */
  int nspans[3];
  moon_span *spans[3]; /* behind the plan */
} pool_plan;

/* Places of one line of the target that see the same taps. */
typedef struct piece {
  const pool_plan *p;
  moon_pool_rows rows;
  int64_t image, source_at, target_at; /* elements, of the first place */
  int64_t place[3];                    /* of the first, in the target */
  const moon_span *span[3];
  int64_t o[3]; /* source place of tap 0 */
  int64_t taps[MAX_TAPS];
} piece;
typedef void (*make_fn)(const moon_call *call, const piece *s);

static void list_taps(piece *s) {
  const pool_plan *p = s->p;
  int64_t n1 = s->span[1]->ntaps, n2 = s->span[2]->ntaps;
  s->rows.ntaps = s->span[0]->ntaps * n1 * n2;
  for (int64_t t = 0; t < s->rows.ntaps; t++) {
    int64_t at = t / n2 / n1 * s->span[0]->tap_source * p->source_size[1] + t / n2 % n1 * s->span[1]->tap_source;
    s->taps[t] = (at * p->source_size[2] + t % n2 * s->span[2]->tap_source) * p->g.c_in;
  }
  s->rows.taps = s->taps;
}

/* Sets span and source place for a target place on an outer axis. */
static void find_span(piece *s, int axis, int64_t place) {
  const pool_plan *p = s->p;
  s->place[axis] = place;
  for (int i = 0; i < p->nspans[axis]; i++) {
    const moon_span *x = &p->spans[axis][i];
    int64_t j = (place - x->first) / x->step;
    if (place < x->first || (place - x->first) % x->step != 0 || j >= x->count) continue;
    s->span[axis] = x;
    s->o[axis] = x->source + j * x->source_step;
  }
}

static void run_lines(const moon_call *call, int64_t first, int64_t last, make_fn make) {
  const pool_plan *p = call->state;
  piece s = {.p = p};
  int64_t end = moon__min_i64(p->lines, last * p->lines_per_job);
  for (int64_t line = first * p->lines_per_job; line < end; line++) {
    s.image = line / p->target_size[1] / p->target_size[0];
    find_span(&s, 0, line / p->target_size[1] % p->target_size[0]);
    find_span(&s, 1, line % p->target_size[1]);
    for (int i = 0; i < p->nspans[2]; i++) {
      s.span[2] = &p->spans[2][i];
      s.place[2] = s.span[2]->first;
      s.o[2] = s.span[2]->source;
      s.rows = (moon_pool_rows){.m = s.span[2]->count, .channels = p->g.c_in};
      s.rows.source_step = s.span[2]->source_step * p->g.c_in;
      s.rows.target_step = s.span[2]->step * p->g.c_in;
      list_taps(&s);
      int64_t at = (s.image * p->source_size[0] + s.o[0]) * p->source_size[1] + s.o[1];
      s.source_at = (at * p->source_size[2] + s.o[2]) * p->g.c_in;
      s.target_at = (line * p->target_size[2] + s.place[2]) * p->g.c_in;
      make(call, &s);
    }
  }
}

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *output(const moon_call *call, int i) { return (float *)(void *)call->out[i].data; }

/* ---- max_pool ---- */

static void make_max(const moon_call *call, const piece *s) {
  const pool_plan *p = s->p;
  int32_t positions[MAX_TAPS], *index = call->nout > 1 ? (int32_t *)(void *)call->out[1].data : NULL;
  int64_t first = (s->o[0] * p->g.in[1] + s->o[1]) * p->g.in[2] + s->o[2];
  for (int64_t t = 0; t < s->rows.ntaps; t++) positions[t] = (int32_t)(first + s->taps[t] / p->g.c_in);
  float *y = output(call, 0);
  p->set->max(&s->rows, input(call, 0) + s->source_at, y ? y + s->target_at : NULL, index ? index + s->target_at : NULL, positions,
              (int32_t)s->span[2]->source_step);
}
static void run_max(const moon_call *call, int64_t first, int64_t last) { run_lines(call, first, last, make_max); }

/* (index, dy) -> dx */
static void make_max_grad(const moon_call *call, const piece *s) {
  const pool_plan *p = s->p;
  const int32_t *index = (const int32_t *)(const void *)call->in[0].data;
  int64_t here = (s->place[0] * p->g.in[1] + s->place[1]) * p->g.in[2] + s->place[2], area = p->g.in[0] * p->g.in[1] * p->g.in[2];
  bool good = p->set->max_grad(&s->rows, index + s->source_at, input(call, 1) + s->source_at, output(call, 0) + s->target_at,
                               (int32_t)here, (int32_t)s->span[2]->step, (int32_t)area);
  if (good) return;
  for (int64_t i = 0; i < s->rows.m * s->rows.ntaps; i++) {
    const int32_t *at = index + s->source_at + i / s->rows.ntaps * s->rows.source_step + s->taps[i % s->rows.ntaps];
    for (int64_t c = 0; c < p->g.c_in; c++)
      if (at[c] < 0 || at[c] >= area) moon__fault_raise(call->fault, MOON_EINDEX, at[c], area);
  }
}
static void run_max_grad(const moon_call *call, int64_t first, int64_t last) { run_lines(call, first, last, make_max_grad); }

/* ---- avg_pool ---- */

static void make_avg(const moon_call *call, const piece *s) {
  s->p->set->sum(&s->rows, input(call, 0) + s->source_at, output(call, 0) + s->target_at, NULL, (float)s->rows.ntaps);
}
static void run_avg(const moon_call *call, int64_t first, int64_t last) { run_lines(call, first, last, make_avg); }

/* Taps of the window at o that lie inside x, along an axis. */
static int64_t inside(const moon_geometry *g, int axis, int64_t o) {
  int64_t start = o * g->stride[axis] - g->pad_lo[axis];
  return moon__min_i64(start + g->window[axis], g->in[axis]) - moon__max_i64(start, 0);
}

/* dy -> dx: each tap weighs one over what its window holds. */
static void make_avg_grad(const moon_call *call, const piece *s) {
  const pool_plan *p = s->p;
  float weights[MAX_TAPS];
  int64_t n1 = s->span[1]->ntaps, n2 = s->span[2]->ntaps;
  moon_pool_rows one = s->rows;
  one.m = 1;
  for (int64_t i = 0; i < s->rows.m; i++) {
    for (int64_t t = 0; t < s->rows.ntaps; t++) {
      int64_t held = inside(&p->g, 0, s->o[0] + t / n2 / n1 * s->span[0]->tap_source);
      held *= inside(&p->g, 1, s->o[1] + t / n2 % n1 * s->span[1]->tap_source);
      held *= inside(&p->g, 2, s->o[2] + i * s->span[2]->source_step + t % n2 * s->span[2]->tap_source);
      weights[t] = 1.0f / (float)held;
    }
    p->set->sum(&one, input(call, 0) + s->source_at + i * s->rows.source_step,
                output(call, 0) + s->target_at + i * s->rows.target_step, weights, 1.0f);
  }
}
static void run_avg_grad(const moon_call *call, int64_t first, int64_t last) { run_lines(call, first, last, make_avg_grad); }

/* ---- Plan ---- */

bool moon__cpu_pool_fits(const moon_fast *f) {
  moon_geometry g = moon__pool_geometry(f->node);
  double taps = (double)g.window[0] * (double)g.window[1] * (double)g.window[2];
  return f->out[0].dtype == MOON_DTYPE_f32 && f->in[f->nin - 1].dtype == MOON_DTYPE_f32 && taps <= MAX_TAPS;
}

static moon_status plan_pool(const moon_fast *f, moon_choice *c, bool backward, moon_kernel_fn run) {
  moon_geometry g = moon__pool_geometry(f->node);
  int64_t (*spans)(const moon_geometry *, int, moon_span *) = backward ? moon__spans_backward : moon__spans_forward;
  int64_t count[3], total = 0, bytes;
  for (int i = 0; i < 3; i++) g.dilation[i] = 1;
  for (int i = 0; i < 3; i++) total += count[i] = spans(&g, i, NULL);
  if (!moon__mul_i64(total, (int64_t)sizeof(moon_span), &bytes)) return MOON_ESIZE;
  pool_plan *p = moon__fast_state(f, c, sizeof *p + (size_t)bytes);
  if (!p) return MOON_EMEMORY;
  p->g = g;
  p->backward = backward;
  p->set = MOON_ISA_PICK(f->isa, moon__pool_set);
  moon_span *at = (moon_span *)(void *)(p + 1);
  for (int i = 0; i < 3; at += count[i++]) {
    p->source_size[i] = backward ? g.out[i] : g.in[i];
    p->target_size[i] = backward ? g.in[i] : g.out[i];
    p->spans[i] = at;
    p->nspans[i] = (int)spans(&g, i, at);
  }
  c->dense_in = 3;
  c->why = "vectors along channels";
  p->lines = g.batch * p->target_size[0] * p->target_size[1];
  if (p->lines == 0 || p->target_size[2] == 0 || g.c_in == 0) return MOON_OK;
  double taps = (double)(g.window[0] * g.window[1] * g.window[2]);
  if (backward) taps /= (double)(g.stride[0] * g.stride[1] * g.stride[2]);
  double us = 1e-3 * (double)p->target_size[2] * (10 + (taps + 1) * (0.1 * (double)g.c_in + 2)) + 0.1;
  p->lines_per_job = moon__max_i64(1, (int64_t)(40 / us));
  moon__fast_phase(c, run, moon__ceildiv_i64(p->lines, p->lines_per_job));
  return MOON_OK;
}

#define POOL(op, backward)                                                   \
  moon_status moon__cpu_##op##_plan(const moon_fast *f, moon_choice *c) {    \
    c->kernel = MOON_ISA_TEXT(f->isa, "cpu_" #op "_f32");                    \
    return plan_pool(f, c, backward, run_##op);                              \
  }
#define run_max_pool run_max
#define run_avg_pool run_avg
#define run_max_pool_grad run_max_grad
#define run_avg_pool_grad run_avg_grad
POOL(max_pool, false)
POOL(max_pool_grad, true)
POOL(avg_pool, false)
POOL(avg_pool_grad, true)
