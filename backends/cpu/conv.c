/*
** conv.c: plain kernels of convolution and its two gradients, straight from the definition. Letters: x [n, i.., c], y [n, o.., f],
** w [k.., c / groups, f]; i = o stride + k dilation - pad. Terms are added in f64, in the order of taps, then channels (conv), of
** taps, then filters (input gradient), of batch, then positions (filter gradient).
*/
#include "plain.h"

typedef struct operands {
  moon_geometry g;
  const moon_array *x, *w, *y;
  moon_spatial xs, ws, ys; /* strides */
  int64_t c, f;            /* channels and filters of a group */
  int64_t bytes;           /* of an element */
  int64_t taps;
} operands;

static operands operands_of(const moon_call *call, const moon_array *x, const moon_array *w, const moon_array *y) {
  operands v = {.g = moon__conv_geometry(call->node), .x = x, .w = w, .y = y, .bytes = (int64_t)moon_dtype_bytes(x->dtype)};
  v.xs = moon__spatial_strides(x);
  v.ys = moon__spatial_strides(y);
  v.ws = moon__filter_strides(w);
  v.c = v.g.c_in / v.g.groups;
  v.f = v.g.c_out / v.g.groups;
  v.taps = moon__count3(v.g.window);
  return v;
}

/* ---- y [n, o.., f] ---- */

static int64_t conv_work(const moon_node *node) {
  moon_geometry g = moon__conv_geometry(node);
  return moon__work_mul(moon__count3(g.window), g.c_in / g.groups);
}

static int64_t conv_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), conv_work(node)); }

static void make_y(const operands *v, const moon_stretch *t) {
  moon_sum sums[MOON_STRETCH];
  int64_t k[3], i[3], c0 = t->c / v->f * v->c;
  memset(sums, 0, sizeof sums);
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_sees(&v->g, t->s, k, i)) continue;
    const char *x = moon__at(v->x, t->b * v->xs.n + moon__spatial_offset(&v->xs, i) + c0 * v->xs.c);
    const char *w = moon__at(v->w, moon__spatial_offset(&v->ws, k) + t->c * v->ws.c);
    for (int64_t c = 0; c < v->c; c++)
      moon__sums_add_scaled(sums, x + c * v->xs.c * v->bytes, w + c * v->ws.n * v->bytes, v->x->dtype, v->ws.c, t->n);
  }
  moon__sums_store(sums, v->x->dtype, v->y->data, v->y->dtype, t->at, t->n);
}

static void conv_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->in[0], &call->in[1], &call->out[0]);
  int64_t lo, hi;
  moon__job_range(moon__array_count(v.y), conv_work(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    moon_stretch t = moon__stretch(v.g.out, v.g.c_out, v.f, lo, hi);
    make_y(&v, &t);
    lo += t.n;
  }
}

/* ---- dx [n, i.., c] ---- */

static int64_t input_work(const moon_node *node) {
  moon_geometry g = moon__conv_geometry(node);
  return moon__work_mul(moon__count3(g.window), g.c_out / g.groups);
}

static int64_t input_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), input_work(node)); }

static void make_dx(const operands *v, const moon_stretch *t) {
  moon_sum sums[MOON_STRETCH];
  int64_t k[3], o[3], f0 = t->c / v->c * v->f;
  memset(sums, 0, sizeof sums);
  for (int64_t tap = 0; tap < v->taps; tap++) {
    moon__index_at(3, v->g.window, tap, k);
    if (!moon__window_seeing(&v->g, t->s, k, o)) continue;
    const char *dy = moon__at(v->y, t->b * v->ys.n + moon__spatial_offset(&v->ys, o) + f0 * v->ys.c);
    const char *w = moon__at(v->w, moon__spatial_offset(&v->ws, k) + t->c % v->c * v->ws.n + f0 * v->ws.c);
    for (int64_t c = 0; c < t->n; c++)
      moon__sum_add_dot(&sums[c], dy, v->ys.c, w + c * v->ws.n * v->bytes, v->ws.c, v->x->dtype, v->f);
  }
  moon__sums_store(sums, v->x->dtype, v->x->data, v->x->dtype, t->at, t->n);
}

static void input_grad_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->out[0], &call->in[1], &call->in[0]);
  int64_t lo, hi;
  moon__job_range(moon__array_count(v.x), input_work(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    moon_stretch t = moon__stretch(v.g.in, v.g.c_in, v.c, lo, hi);
    make_dx(&v, &t);
    lo += t.n;
  }
}

/* ---- dw [k.., c / groups, f] ---- */

static int64_t filter_work(const moon_node *node) {
  moon_geometry g = moon__conv_geometry(node);
  return moon__work_mul(moon__count3(g.out), g.batch);
}

static int64_t filter_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), filter_work(node)); }

/* The stretch of dw at t: filters t->c.. of channel c of its group, tap k. */
static void make_dw(const operands *v, const moon_stretch *t, int64_t c, const int64_t *k) {
  moon_sum sums[MOON_STRETCH];
  int64_t o[3], i[3], area = moon__count3(v->g.out), channel = t->c / v->f * v->c + c;
  memset(sums, 0, sizeof sums);
  for (int64_t at = 0; at < v->g.batch * area; at++) {
    moon__index_at(3, v->g.out, at % area, o);
    if (!moon__window_sees(&v->g, o, k, i)) continue;
    const char *x = moon__at(v->x, at / area * v->xs.n + moon__spatial_offset(&v->xs, i) + channel * v->xs.c);
    const char *dy = moon__at(v->y, at / area * v->ys.n + moon__spatial_offset(&v->ys, o) + t->c * v->ys.c);
    moon__sums_add_scaled(sums, x, dy, v->x->dtype, v->ys.c, t->n);
  }
  moon__sums_store(sums, v->x->dtype, v->w->data, v->w->dtype, t->at, t->n);
}

static void filter_grad_run(const moon_call *call, int64_t first, int64_t last) {
  operands v = operands_of(call, &call->in[0], &call->out[0], &call->in[1]);
  int64_t lo, hi, k[3];
  moon__job_range(moon__array_count(v.w), filter_work(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    static const int64_t one[3] = {1, 1, 1};
    moon_stretch t = moon__stretch(one, v.g.c_out, v.f, lo, hi);
    moon__index_at(3, v.g.window, t.b / v.c, k);
    make_dw(&v, &t, t.b % v.c, k);
    lo += t.n;
  }
}

MOON_CPU_KERNEL(conv) = {.name = "cpu_conv_plain", .jobs = conv_jobs, .run = conv_run};
MOON_CPU_KERNEL(conv_input_grad) = {.name = "cpu_conv_input_grad_plain", .jobs = input_jobs, .run = input_grad_run};
MOON_CPU_KERNEL(conv_filter_grad) = {.name = "cpu_conv_filter_grad_plain", .jobs = filter_jobs, .run = filter_grad_run};
