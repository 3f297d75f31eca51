/*
** pool.c: plain kernels of pooling: maximum with its positions, mean, and their adjoints. Letters: x [n, i.., c], y [n, o.., c].
** Padding takes no part. The adjoints ask, for each position of x, the windows that see it, so no two jobs write one element; a
** stored position that lies outside x is a fault, one outside its own window counts nowhere.
*/
#include "plain.h"

typedef struct operands {
  moon_geometry g;
  moon_spatial xs, ys; /* strides */
  int64_t taps, area;  /* of a window; of the spatial axes of x */
} operands;

static operands operands_of(const moon_call *call, const moon_array *x, const moon_array *y) {
  operands v = {.g = moon__pool_geometry(call->node), .xs = moon__spatial_strides(x), .ys = moon__spatial_strides(y)};
  v.taps = moon__count3(v.g.window);
  v.area = moon__count3(v.g.in);
  return v;
}

static int64_t work_of(const moon_node *node) {
  moon_geometry g = moon__pool_geometry(node);
  return moon__count3(g.window);
}

static int64_t jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), work_of(node)); }

/* Calls make for each stretch of the output [n, s.., c] that the jobs hold. */
typedef void (*make_fn)(const moon_call *call, const operands *v, const moon_stretch *t);
static void run_stretches(const moon_call *call, const operands *v, const int64_t *s, make_fn make, int64_t first, int64_t last) {
  int64_t lo, hi;
  moon__job_range(moon__output_count(call->node), v->taps, first, last, &lo, &hi);
  while (lo < hi) {
    moon_stretch t = moon__stretch(s, v->g.c_in, v->g.c_in, lo, hi);
    make(call, v, &t);
    lo += t.n;
  }
}

/* ---- max_pool ---- */

static int64_t position_of(const operands *v, const int64_t *i) { return (i[0] * v->g.in[1] + i[1]) * v->g.in[2] + i[2]; }

static void make_max(const moon_call *call, const operands *v, const moon_stretch *t) {
  const moon_array *x = &call->in[0], *y = &call->out[0], *index = &call->out[1];
  double best[MOON_STRETCH];
  int64_t where[MOON_STRETCH], k[3], i[3];
  for (int64_t c = 0; c < t->n; c++) best[c] = -INFINITY, where[c] = -1;
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_sees(&v->g, t->s, k, i)) continue;
    const char *p = moon__at(x, t->b * v->xs.n + moon__spatial_offset(&v->xs, i) + t->c * v->xs.c);
    for (int64_t c = 0; c < t->n; c++) {
      double e = moon__load_f64(p, x->dtype, c * v->xs.c);
      if (where[c] < 0 || e > best[c] || (e != e && best[c] == best[c])) best[c] = e, where[c] = position_of(v, i);
    }
  }
  for (int64_t c = 0; c < t->n; c++) {
    if (y->data) moon__store_f64(y->data, y->dtype, t->at + c, best[c]);
    if (call->nout > 1 && index->data) moon__store_i64(index->data, index->dtype, t->at + c, where[c]);
  }
}

static void max_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->in[0], &call->out[0]);
  run_stretches(call, &v, v.g.out, make_max, first, last);
}

static bool check_position(const moon_call *call, int64_t position, int64_t area) {
  if (position >= 0 && position < area) return true;
  moon__fault_raise(call->fault, MOON_EINDEX, position, area);
  return false;
}

/* (index, dy) -> x */
static void make_max_grad(const moon_call *call, const operands *v, const moon_stretch *t) {
  const moon_array *index = &call->in[0], *dy = &call->in[1], *x = &call->out[0];
  moon_spatial is = moon__spatial_strides(index);
  moon_sum sums[MOON_STRETCH];
  int64_t k[3], o[3], here = position_of(v, t->s);
  memset(sums, 0, sizeof sums);
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_seeing(&v->g, t->s, k, o)) continue;
    const char *p = moon__at(index, t->b * is.n + moon__spatial_offset(&is, o) + t->c * is.c);
    const char *d = moon__at(dy, t->b * v->ys.n + moon__spatial_offset(&v->ys, o) + t->c * v->ys.c);
    for (int64_t c = 0; c < t->n; c++) {
      int64_t position = moon__load_i64(p, index->dtype, c * is.c);
      if (check_position(call, position, v->area) && position == here) sums[c].f += moon__load_f64(d, dy->dtype, c * v->ys.c);
    }
  }
  moon__sums_store(sums, dy->dtype, x->data, x->dtype, t->at, t->n);
}

static void max_grad_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->out[0], &call->in[1]);
  run_stretches(call, &v, v.g.in, make_max_grad, first, last);
}

/* (index, x) -> y */
static void make_pick(const moon_call *call, const operands *v, const moon_stretch *t) {
  const moon_array *index = &call->in[0], *x = &call->in[1], *y = &call->out[0];
  int64_t at = t->b * v->ys.n + moon__spatial_offset(&v->ys, t->s) + t->c * v->ys.c, i[3];
  for (int64_t c = 0; c < t->n; c++) {
    int64_t position = moon__load_i64(index->data, index->dtype, at + c * v->ys.c);
    double e = 0;
    if (check_position(call, position, v->area)) {
      moon__index_at(3, v->g.in, position, i);
      e = moon__load_f64(x->data, x->dtype, t->b * v->xs.n + moon__spatial_offset(&v->xs, i) + (t->c + c) * v->xs.c);
    }
    moon__store_f64(y->data, y->dtype, t->at + c, e);
  }
}

static void pick_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->in[1], &call->in[0]);
  run_stretches(call, &v, v.g.out, make_pick, first, last);
}

/* ---- avg_pool ---- */

static void make_avg(const moon_call *call, const operands *v, const moon_stretch *t) {
  const moon_array *x = &call->in[0], *y = &call->out[0];
  moon_sum sums[MOON_STRETCH];
  int64_t k[3], i[3], seen = 0;
  memset(sums, 0, sizeof sums);
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_sees(&v->g, t->s, k, i)) continue;
    seen++;
    moon__sums_add(sums, moon__at(x, t->b * v->xs.n + moon__spatial_offset(&v->xs, i) + t->c * v->xs.c), x->dtype, v->xs.c, t->n);
  }
  for (int64_t c = 0; c < t->n; c++) moon__store_f64(y->data, y->dtype, t->at + c, seen ? sums[c].f / (double)seen : 0);
}

static void avg_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->in[0], &call->out[0]);
  run_stretches(call, &v, v.g.out, make_avg, first, last);
}

/* How many taps of the window at o see x: along each axis those with 0 <= o stride + k - pad < in. */
static int64_t taps_inside(const moon_geometry *g, const int64_t *o) {
  int64_t n = 1;
  for (int d = 0; d < 3; d++) {
    int64_t start = o[d] * g->stride[d] - g->pad_lo[d];
    n *= moon__min_i64(start + g->window[d], g->in[d]) - moon__max_i64(start, 0);
  }
  return n;
}

/* dy -> x */
static void make_avg_grad(const moon_call *call, const operands *v, const moon_stretch *t) {
  const moon_array *dy = &call->in[0], *x = &call->out[0];
  moon_sum sums[MOON_STRETCH];
  int64_t k[3], o[3];
  memset(sums, 0, sizeof sums);
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_seeing(&v->g, t->s, k, o)) continue;
    const char *d = moon__at(dy, t->b * v->ys.n + moon__spatial_offset(&v->ys, o) + t->c * v->ys.c);
    double seen = (double)taps_inside(&v->g, o);
    for (int64_t c = 0; c < t->n; c++) sums[c].f += moon__load_f64(d, dy->dtype, c * v->ys.c) / seen;
  }
  moon__sums_store(sums, dy->dtype, x->data, x->dtype, t->at, t->n);
}

static void avg_grad_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->out[0], &call->in[0]);
  run_stretches(call, &v, v.g.in, make_avg_grad, first, last);
}

MOON_CPU_KERNEL(max_pool) = {.name = "cpu_max_pool_plain", .jobs = jobs, .run = max_run};
MOON_CPU_KERNEL(max_pool_grad) = {.name = "cpu_max_pool_grad_plain", .jobs = jobs, .run = max_grad_run};
MOON_CPU_KERNEL(max_pool_pick) = {.name = "cpu_max_pool_pick_plain", .jobs = jobs, .run = pick_run};
MOON_CPU_KERNEL(avg_pool) = {.name = "cpu_avg_pool_plain", .jobs = jobs, .run = avg_run};
MOON_CPU_KERNEL(avg_pool_grad) = {.name = "cpu_avg_pool_grad_plain", .jobs = jobs, .run = avg_grad_run};
