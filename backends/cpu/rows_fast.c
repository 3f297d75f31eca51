/*
** rows_fast.c: f32 kernels for composites that stay nodes: softmax, log_softmax, layer_norm and rms_norm along the last axes,
** softmax_cross_entropy and its gradient. What they mean stands in core/ops; a body is used where these do not fit.
** Letters: x [rows, n].
*/
#include "rows_fast.h"

#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "ops/attrs.h"

typedef struct rows_plan {
  const moon_rows_set *set;
  int64_t rows, n, rows_per_job, jobs;
  float epsilon;
  bool centred, streams;
} rows_plan;

static const float *input(const moon_call *call, int i) {
  return i < call->nin ? (const float *)(const void *)call->in[i].data : NULL;
}
static float *output(const moon_call *call, int i) { return (float *)(void *)call->out[i].data; }
static int64_t last_row(const rows_plan *p, int64_t last) {
  return last > p->rows / p->rows_per_job ? p->rows : last * p->rows_per_job;
}

/* ---- Kernels ---- */

static void run_softmax(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  int64_t from = first * p->rows_per_job, to = last_row(p, last);
  p->set->softmax(output(call, 0) + from * p->n, input(call, 0) + from * p->n, to - from, p->n, p->streams);
}

static void run_log_softmax(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  int64_t from = first * p->rows_per_job, to = last_row(p, last);
  p->set->log_softmax(output(call, 0) + from * p->n, input(call, 0) + from * p->n, to - from, p->n, p->streams);
}

static void run_norm(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  int64_t from = first * p->rows_per_job, to = last_row(p, last);
  p->set->norm(output(call, 0) + from * p->n, input(call, 0) + from * p->n, input(call, 1), input(call, 2), to - from, p->n,
               p->epsilon, p->centred, p->streams);
}

/* (x, dy, gamma) -> dx, dgamma, dbeta. Each job has its own sums, [2, n] in scratch, which are added up afterwards. */
static void run_norm_grad(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t from = job * p->rows_per_job, rows = moon__min_i64(p->rows - from, p->rows_per_job);
    float *sums = (float *)(void *)call->scratch + job * 2 * p->n;
    memset(sums, 0, (size_t)(2 * p->n) * sizeof *sums);
    p->set->norm_grad(output(call, 0) + from * p->n, sums, sums + p->n, input(call, 0) + from * p->n, input(call, 1) + from * p->n,
                      input(call, 2), rows, p->n, p->epsilon, p->centred);
  }
}

enum { SUM_BLOCK = 1024 };
static void add_norm_sums(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  const float *sums = (const float *)(const void *)call->scratch;
  int64_t lo = moon__min_i64(2 * p->n, first * SUM_BLOCK), hi = moon__min_i64(2 * p->n, last * SUM_BLOCK);
  float *dgamma = output(call, 1), *dbeta = output(call, 2);
  if (dgamma) moon__sum_parts(dgamma, sums, p->jobs, 2 * p->n, moon__min_i64(lo, p->n), moon__min_i64(hi, p->n));
  if (dbeta) moon__sum_parts(dbeta, sums + p->n, p->jobs, 2 * p->n, moon__max_i64(lo - p->n, 0), moon__max_i64(hi - p->n, 0));
}

/* No rows: the sums are 0. */
static void clear_norm_sums(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  for (int i = 1; first < last && i < 3; i++)
    if (output(call, i)) memset(output(call, i), 0, (size_t)p->n * sizeof(float));
}

/* The label of a row; false after a fault. */
static bool read_label(const moon_call *call, const rows_plan *p, int64_t row, int64_t *label) {
  const moon_array *t = &call->in[1];
  moon__convert(label, MOON_DTYPE_i64, t->data + row * (int64_t)moon_dtype_bytes(t->dtype), t->dtype);
  if (*label >= 0 && *label < p->n) return true;
  moon__fault_raise(call->fault, MOON_EINDEX, *label, p->n);
  return false;
}

static void run_cross_entropy(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  for (int64_t r = first * p->rows_per_job, to = last_row(p, last), t; r < to; r++) {
    const float *x = input(call, 0) + r * p->n;
    output(call, 0)[r] = read_label(call, p, r, &t) ? p->set->log_sum(x, p->n) - x[t] : 0;
  }
}

/* (x, t, dy) -> dx */
static void run_cross_entropy_grad(const moon_call *call, int64_t first, int64_t last) {
  const rows_plan *p = call->state;
  for (int64_t r = first * p->rows_per_job, to = last_row(p, last), t; r < to; r++) {
    float *dx = output(call, 0) + r * p->n, dy = input(call, 2)[r];
    p->set->softmax_scaled(dx, input(call, 0) + r * p->n, p->n, dy);
    if (read_label(call, p, r, &t)) dx[t] -= dy;
  }
}

/* ---- Plan ---- */

static bool known_count(const moon_shape *s, int from, int to, int64_t *count) {
  *count = 1;
  for (int i = from; i < to; i++)
    if (s->dim[i] < 0 || !moon__mul_i64(*count, s->dim[i], count)) return false;
  return true;
}

/* Is the first input f32, of known sizes? rows and n: around the axis. */
static bool read_rows(const moon_node *node, int axis, int64_t *rows, int64_t *n) {
  const moon_type *x = &node->inputs[0]->type;
  return x->dtype == MOON_DTYPE_f32 && known_count(&x->shape, 0, axis, rows) && known_count(&x->shape, axis, x->shape.ndim, n);
}

static bool fits_softmax(const moon_node *node, int64_t *rows, int64_t *n) {
  const moon_axis_attrs *a = node->attrs;
  int last = node->inputs[0]->type.shape.ndim - 1;
  return last >= 0 && (a->axis == last || a->axis == -1) && read_rows(node, last, rows, n);
}

/* The normalised axes are the last ones, in order. */
static bool fits_norm(const moon_node *node, int64_t *rows, int64_t *n) {
  const moon_norm_attrs *a = node->attrs;
  int ndim = node->inputs[0]->type.shape.ndim;
  for (int i = 0; i < a->axes.n; i++)
    if (a->axes.v[i] != ndim - a->axes.n + i) return false;
  for (int i = 1; i < node->ninputs; i++)
    if (node->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  return a->axes.n > 0 && read_rows(node, ndim - a->axes.n, rows, n);
}

static bool fits_cross_entropy(const moon_node *node, int64_t *rows, int64_t *n) {
  int last = node->inputs[0]->type.shape.ndim - 1;
  return last >= 0 && (node->ninputs < 3 || node->inputs[2]->type.dtype == MOON_DTYPE_f32) && read_rows(node, last, rows, n) &&
         *n > 0;
}

typedef struct row_kernel {
  moon_op_id op;
  bool (*fits)(const moon_node *node, int64_t *rows, int64_t *n);
  moon_kernel_fn run;
  const char *name[3]; /* by instruction set */
  uint64_t dense_in, alias_in;
  double ns; /* an element */
} row_kernel;
#define NAMES(stem) {stem "_baseline", stem "_avx2", stem "_avx512"}
static const row_kernel kernels[] = {
    {MOON_OP_softmax, fits_softmax, run_softmax, NAMES("cpu_softmax_f32"), 1, 1, 0.4},
    {MOON_OP_log_softmax, fits_softmax, run_log_softmax, NAMES("cpu_log_softmax_f32"), 1, 1, 0.4},
    {MOON_OP_layer_norm, fits_norm, run_norm, NAMES("cpu_layer_norm_f32"), 7, 1, 0.25},
    {MOON_OP_rms_norm, fits_norm, run_norm, NAMES("cpu_rms_norm_f32"), 3, 1, 0.2},
    {MOON_OP_layer_norm_grad, fits_norm, run_norm_grad, NAMES("cpu_layer_norm_grad_f32"), 7, 3, 0.5},
    {MOON_OP_rms_norm_grad, fits_norm, run_norm_grad, NAMES("cpu_rms_norm_grad_f32"), 7, 3, 0.45},
    {MOON_OP_softmax_cross_entropy, fits_cross_entropy, run_cross_entropy, NAMES("cpu_softmax_cross_entropy_f32"), 3, 0, 0.4},
    {MOON_OP_softmax_cross_entropy_grad, fits_cross_entropy, run_cross_entropy_grad, NAMES("cpu_softmax_cross_entropy_grad_f32"), 7,
     0, 0.4},
};

/* A row is a job at least: those that take longer than this are left to loops, which are cut within rows. */
#define LONGEST_ROW_NS 100e3

static const row_kernel *find_kernel(const moon_node *node, int64_t *rows, int64_t *n) {
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    const row_kernel *k = &kernels[i];
    if (k->op != node->op->id) continue;
    return k->fits(node, rows, n) && k->ns * (double)*n <= LONGEST_ROW_NS ? k : NULL;
  }
  return NULL;
}

bool moon__cpu_rows_has(const moon_node *node) {
  int64_t rows, n;
  return find_kernel(node, &rows, &n) != NULL;
}

bool moon__cpu_rows_fits(const moon_fast *f) { return moon__cpu_rows_has(f->node); }

moon_status moon__cpu_rows_plan(const moon_fast *f, moon_choice *c) {
  rows_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  const row_kernel *k = find_kernel(f->node, &p->rows, &p->n);
  p->set = MOON_ISA_PICK(f->isa, moon__rows_set);
  if (k->run == run_norm || k->run == run_norm_grad) {
    p->epsilon = (float)((const moon_norm_attrs *)f->node->attrs)->epsilon;
    p->centred = f->node->op->id == MOON_OP_layer_norm || f->node->op->id == MOON_OP_layer_norm_grad;
  }
  c->kernel = k->name[f->isa];
  c->why = "one pass over rows";
  c->dense_in = k->dense_in;
  c->alias_in = k->alias_in;
  if ((p->rows == 0 || p->n == 0) && k->run == run_norm_grad) moon__fast_phase(c, clear_norm_sums, 1);
  if (p->rows == 0 || p->n == 0) return MOON_OK;
  p->streams = p->n % 16 == 0 && p->rows >= moon__ceildiv_i64(MOON_STREAM_FLOATS, p->n);
  p->rows_per_job = moon__max_i64(1, (int64_t)(40e3 / (20 + k->ns * (double)p->n)));
  p->jobs = moon__ceildiv_i64(p->rows, p->rows_per_job);
  moon__fast_phase(c, k->run, p->jobs);
  if (k->run == run_norm_grad) {
    size_t at, row = 2 * sizeof(float);
    if (!moon__mul_size(row, (size_t)p->n, &row) || row > INT64_MAX || !moon__fast_scratch(c, &at, p->jobs, (int64_t)row))
      return MOON_ESIZE;
    moon__fast_phase(c, add_norm_sums, moon__ceildiv_i64(2 * p->n, SUM_BLOCK));
  }
  return MOON_OK;
}
