/*
** gather.c: plain kernels that read and add by index. Letters: x [p.., n, q..] with n on axis, index [i..], y [p.., i.., q..].
** Indices come as data, so each is checked: one that is not in [0, n) raises a fault, reads as 0 and adds nothing. The adding
** kernels make each element of the output by itself: x and then its updates in the order of the index, in f64 (integers in 64
** bits), so the result depends neither on how jobs are spread nor on how many updates meet.
*/
#include "plain.h"

/* The stored number at a position of index; false after raising a fault. */
static bool read_index(const moon_call *call, const moon_array *index, int64_t offset, int64_t n, int64_t *value) {
  *value = moon__load_i64(index->data, index->dtype, offset);
  if (*value >= 0 && *value < n) return true;
  moon__fault_raise(call->fault, MOON_EINDEX, *value, n);
  return false;
}

/* Axes [from, ndim) of x, element 0 at an offset. */
static moon_array last_axes(const moon_array *x, int from, int64_t offset) {
  moon_array v = *x;
  v.ndim = x->ndim - from;
  v.data = moon__at(x, offset);
  for (int i = 0; i < v.ndim; i++) {
    v.shape[i] = x->shape[from + i];
    v.strides[i] = x->strides[from + i];
  }
  return v;
}

/* ---- gather ---- */

static void gather_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *index = &call->in[1], *y = &call->out[0];
  int axis = moon__axis_at(a->axis, x->ndim);
  int64_t q = moon__count_between(x->shape, axis + 1, x->ndim), ni = moon__array_count(index), lo, hi, i;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  while (lo < hi) {
    int64_t row = lo / q, from = lo % q, n = moon__min_i64(q - from, hi - lo);
    int64_t offset = moon__offset_at(axis, x->shape, x->strides, row / ni);
    if (read_index(call, index, moon__offset_at(index->ndim, index->shape, index->strides, row % ni), x->shape[axis], &i)) {
      moon_array v = last_axes(x, axis + 1, offset + i * x->strides[axis]);
      moon__copy_elements(&v, from, from + n, moon__at(y, lo));
    } else {
      memset(moon__at(y, lo), 0, (size_t)n * moon_dtype_bytes(y->dtype));
    }
    lo += n;
  }
}

MOON_CPU_KERNEL(gather) = {.name = "cpu_gather_plain", .jobs = moon__jobs_by_output, .run = gather_run};

/* ---- scatter_add: first the updates of each position on axis are listed, then each job adds those of its outputs ---- */

typedef struct lists { /* in scratch */
  int64_t *head, *next; /* head[i]: the first update for position i, next[e]: the one after update e; -1: none */
} lists;

static lists lists_of(const moon_call *call) {
  const moon_axis_attrs *a = call->attrs;
  int64_t *at = (int64_t *)(void *)call->scratch;
  return (lists){at, at + moon__line_length(call->node, a->axis)};
}

static size_t scatter_scratch(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  size_t n = (size_t)moon__line_length(node, a->axis), updates = (size_t)moon__value_count(node->inputs[1]);
  return moon__add_size(n, updates, &n) && moon__mul_size(n, sizeof(int64_t), &n) ? n : SIZE_MAX;
}

enum { CLEARED = 65536, LISTED = 4096 }; /* positions, then updates, of a job */

static int64_t list_jobs(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return moon__ceildiv_i64(moon__line_length(node, a->axis), CLEARED) + moon__ceildiv_i64(moon__value_count(node->inputs[1]), LISTED);
}

/* Updates [from, end), backwards, go before those that are listed. */
static void list_piece(const moon_call *call, const lists *l, int64_t n, int64_t from, int64_t end) {
  const moon_array *index = &call->in[1];
  bool line = index->ndim <= 1;
  int64_t step = index->ndim == 1 ? index->strides[0] : 0, i;
  for (int64_t e = end - 1; e >= from; e--) {
    int64_t offset = line ? e * step : moon__offset_at(index->ndim, index->shape, index->strides, e);
    if (!read_index(call, index, offset, n, &i)) continue;
    l->next[e] = l->head[i];
    l->head[i] = e;
  }
}

static void list_updates(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  lists l = lists_of(call);
  int64_t n = moon__line_length(call->node, a->axis), count = moon__array_count(&call->in[1]);
  for (int64_t job = first; job < last; job++) {
    int64_t at = job * CLEARED, piece = job - moon__ceildiv_i64(n, CLEARED);
    for (int64_t i = at, end = moon__min_i64(n, at + CLEARED); i < end; i++) l.head[i] = -1;
    if (piece >= 0) list_piece(call, &l, n, moon__max_i64(0, count - (piece + 1) * LISTED), count - piece * LISTED);
  }
}

/* sums[j] += v's element from + j, row-major, j in [0, n) */
static void add_elements(moon_sum *sums, const moon_array *v, int64_t from, int64_t n) {
  moon_walk w;
  moon__walk_init(&w, 1, v);
  moon__walk_set(&w, from, from + n);
  while (moon__walk_next(&w)) moon__sums_add(sums + (w.at - from), w.p[0], v->dtype, w.step[0], w.run);
}

/* y[p, i, from .. from + n) */
static void scatter_stretch(const moon_call *call, const lists *l, int axis, int64_t p, int64_t i, int64_t from, int64_t n,
                            int64_t at) {
  const moon_array *x = &call->in[0], *index = &call->in[1], *updates = &call->in[2], *y = &call->out[0];
  int split = axis + index->ndim;
  int64_t ni = moon__array_count(index);
  moon_sum sums[MOON_STRETCH];
  memset(sums, 0, sizeof sums);
  moon_array v = last_axes(x, axis + 1, moon__offset_at(axis, x->shape, x->strides, p) + i * x->strides[axis]);
  add_elements(sums, &v, from, n);
  for (int64_t e = l->head[i]; e >= 0; e = l->next[e]) {
    v = last_axes(updates, split, moon__offset_at(split, updates->shape, updates->strides, p * ni + e));
    add_elements(sums, &v, from, n);
  }
  moon__sums_store(sums, y->dtype, y->data, y->dtype, at, n);
}

static int64_t scatter_work(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return 2 + moon__value_count(node->inputs[1]) / moon__max_i64(moon__line_length(node, a->axis), 1);
}

static int64_t scatter_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), scatter_work(node)); }

static void scatter_add_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  lists l = lists_of(call);
  int axis = moon__axis_at(a->axis, y->ndim);
  int64_t q = moon__count_between(y->shape, axis + 1, y->ndim), lo, hi;
  moon__job_range(moon__array_count(y), scatter_work(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    int64_t row = lo / q, from = lo % q, n = moon__min_i64(moon__min_i64(q - from, hi - lo), MOON_STRETCH);
    scatter_stretch(call, &l, axis, row / y->shape[axis], row % y->shape[axis], from, n, lo);
    lo += n;
  }
}

MOON_CPU_KERNEL(scatter_add) = {.name = "cpu_scatter_add_plain", .before = list_updates, .before_jobs = list_jobs,
                                .jobs = scatter_jobs, .scratch = scatter_scratch, .run = scatter_add_run};

/* ---- take_along_axis, put_along_axis_add: x and index differ only along axis ---- */

static void take_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *index = &call->in[1], *y = &call->out[0];
  int axis = moon__axis_at(a->axis, x->ndim);
  size_t bytes = moon_dtype_bytes(y->dtype);
  int64_t lo, hi, i, at[MOON_MAX_DIMS];
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  for (; lo < hi; lo++) {
    int64_t x_offset = 0, index_offset = 0;
    moon__index_at(y->ndim, y->shape, lo, at);
    for (int d = 0; d < y->ndim; d++) {
      if (d != axis) x_offset += at[d] * x->strides[d];
      index_offset += at[d] * index->strides[d];
    }
    if (read_index(call, index, index_offset, x->shape[axis], &i))
      memcpy(moon__at(y, lo), moon__at(x, x_offset + i * x->strides[axis]), bytes);
    else
      memset(moon__at(y, lo), 0, bytes);
  }
}

enum { MOST_JOBS = 64 }; /* each job of put_along_axis_add has the sums of one line in scratch */

static int64_t put_lines_a_job(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  const moon_shape *index = moon__shape_of(node->inputs[1]);
  int64_t work = moon__line_length(node, a->axis) + index->dim[moon__axis_at(a->axis, index->ndim)];
  return moon__max_i64(moon__job_block(work), moon__ceildiv_i64(moon__line_count(node, a->axis), MOST_JOBS));
}

static int64_t put_jobs(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return moon__ceildiv_i64(moon__line_count(node, a->axis), put_lines_a_job(node));
}

static size_t put_scratch(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  size_t bytes;
  bool fits = moon__mul_size((size_t)moon__line_length(node, a->axis), sizeof(moon_sum), &bytes);
  return fits && moon__mul_size((size_t)put_jobs(node), bytes, &bytes) ? bytes : SIZE_MAX;
}

static void put_line(const moon_call *call, int64_t line, moon_sum *sums) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *index = &call->in[1], *updates = &call->in[2], *y = &call->out[0];
  moon_lines lx = moon__lines_of(x, a->axis), li = moon__lines_of(index, a->axis);
  moon_lines lu = moon__lines_of(updates, a->axis), ly = moon__lines_of(y, a->axis);
  int64_t from_index = moon__line_offset(&li, line), from = moon__line_offset(&lu, line), to = moon__line_offset(&ly, line), i;
  memset(sums, 0, (size_t)lx.n * sizeof *sums);
  moon__sums_add(sums, moon__at(x, moon__line_offset(&lx, line)), x->dtype, lx.step, lx.n);
  for (int64_t e = 0; e < li.n; e++)
    if (read_index(call, index, from_index + e * li.step, lx.n, &i))
      moon__sums_add(&sums[i], moon__at(updates, from + e * lu.step), x->dtype, 0, 1);
  for (i = 0; i < lx.n; i++) moon__sums_store(&sums[i], x->dtype, y->data, y->dtype, to + i * ly.step, 1);
}

static void put_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  int64_t n = moon__line_length(call->node, a->axis), count = moon__line_count(call->node, a->axis);
  int64_t block = put_lines_a_job(call->node);
  for (int64_t job = first; job < last; job++) {
    int64_t end = moon__min_i64(count, (job + 1) * block);
    for (int64_t line = job * block; line < end; line++) put_line(call, line, (moon_sum *)(void *)call->scratch + job * n);
  }
}

MOON_CPU_KERNEL(take_along_axis) = {.name = "cpu_take_along_axis_plain", .jobs = moon__jobs_by_output, .run = take_run};
MOON_CPU_KERNEL(put_along_axis_add) = {.name = "cpu_put_along_axis_add_plain", .jobs = put_jobs, .scratch = put_scratch,
                                       .run = put_run};

/* ---- one_hot ---- */

static void one_hot_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *index = &call->in[0], *y = &call->out[0];
  int64_t depth = y->shape[y->ndim - 1], lo, hi, i;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  while (lo < hi) {
    int64_t row = lo / depth, from = lo % depth, n = moon__min_i64(depth - from, hi - lo);
    memset(moon__at(y, lo), 0, (size_t)n * moon_dtype_bytes(y->dtype));
    bool found = read_index(call, index, moon__offset_at(index->ndim, index->shape, index->strides, row), depth, &i);
    if (found && i >= from && i < from + n) moon__store_i64(y->data, y->dtype, lo + i - from, 1);
    lo += n;
  }
}

MOON_CPU_KERNEL(one_hot) = {.name = "cpu_one_hot_plain", .jobs = moon__jobs_by_output, .run = one_hot_run};
