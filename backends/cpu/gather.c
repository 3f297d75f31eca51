/*
** gather.c: plain kernels that read and add by index. Letters: x [p.., n, q..] with n on axis, index [i..], y [p.., i.., q..].
** Indices come as data, so each is checked: one that is not in [0, n) raises a fault, reads as 0 and adds nothing. The adding
** kernels give each job columns (p, q) of the output and add updates in the order of the index, in the output's own dtype: the
** result does not depend on how jobs are spread, but many f32 updates at one place round as f32 sums do.
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

/* y[j] += x[j * step] */
static void add_run(char *y, const char *x, moon_dtype dtype, int64_t step, int64_t n) {
  switch (dtype) {
#define ADD_FLOAT(name, type)                                                                                          \
  case MOON_DTYPE_##name:                                                                                              \
    for (int64_t j = 0; j < n; j++) ((type *)(void *)y)[j] += ((const type *)(const void *)x)[j * step];               \
    break;
#define ADD_INTEGER(name, type)                                                                                        \
  case MOON_DTYPE_##name:                                                                                              \
    for (int64_t j = 0; j < n; j++)                                                                                    \
      ((type *)(void *)y)[j] = (type)((uint64_t)((type *)(void *)y)[j] + (uint64_t)((const type *)(const void *)x)[j * step]); \
    break;
    MOON_FLOAT_TYPES(ADD_FLOAT)
    MOON_INTEGER_TYPES(ADD_INTEGER)
#undef ADD_FLOAT
#undef ADD_INTEGER
    case MOON_DTYPE_COUNT: break;
  }
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

/* ---- scatter_add ---- */

/* Columns [from, to) of q, at place p of the axes in front. */
static void scatter_columns(const moon_call *call, int axis, int64_t p, int64_t from, int64_t to) {
  const moon_array *x = &call->in[0], *index = &call->in[1], *updates = &call->in[2], *y = &call->out[0];
  int64_t n = x->shape[axis], q = moon__count_between(x->shape, axis + 1, x->ndim), ni = moon__array_count(index), i;
  for (i = 0; i < n; i++) {
    moon_array v = last_axes(x, axis + 1, moon__offset_at(axis, x->shape, x->strides, p) + i * x->strides[axis]);
    moon__copy_elements(&v, from, to, moon__at(y, (p * n + i) * q + from));
  }
  for (int64_t e = 0; e < ni; e++) {
    moon_walk w;
    int split = axis + index->ndim;
    if (!read_index(call, index, moon__offset_at(index->ndim, index->shape, index->strides, e), n, &i)) continue;
    moon_array v = last_axes(updates, split, moon__offset_at(split, updates->shape, updates->strides, p * ni + e));
    moon__walk_init(&w, 1, &v);
    moon__walk_set(&w, from, to);
    while (moon__walk_next(&w)) add_run(moon__at(y, (p * n + i) * q + w.at), w.p[0], y->dtype, w.step[0], w.run);
  }
}

static int64_t scatter_work(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return moon__line_length(node, a->axis) + moon__value_count(node->inputs[1]);
}

static int64_t scatter_jobs(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return moon__job_count(moon__line_count(node, a->axis), scatter_work(node));
}

static void scatter_add_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *x = &call->in[0];
  int axis = moon__axis_at(a->axis, x->ndim);
  int64_t q = moon__count_between(x->shape, axis + 1, x->ndim), lo, hi;
  moon__job_range(moon__line_count(call->node, a->axis), scatter_work(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    int64_t from = lo % q, n = moon__min_i64(q - from, hi - lo);
    scatter_columns(call, axis, lo / q, from, from + n);
    lo += n;
  }
}

MOON_CPU_KERNEL(scatter_add) = {.name = "cpu_scatter_add_plain", .jobs = scatter_jobs, .run = scatter_add_run};

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

static int64_t put_work(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  const moon_shape *index = moon__shape_of(node->inputs[1]);
  return moon__line_length(node, a->axis) + index->dim[moon__axis_at(a->axis, index->ndim)];
}

static int64_t put_jobs(const moon_node *node) {
  const moon_axis_attrs *a = node->attrs;
  return moon__job_count(moon__line_count(node, a->axis), put_work(node));
}

static void put_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *index = &call->in[1], *updates = &call->in[2], *y = &call->out[0];
  moon_lines lx = moon__lines_of(x, a->axis), li = moon__lines_of(index, a->axis);
  moon_lines lu = moon__lines_of(updates, a->axis), ly = moon__lines_of(y, a->axis);
  int64_t lo, hi, i;
  moon__job_range(lx.count, put_work(call->node), first, last, &lo, &hi);
  for (; lo < hi; lo++) {
    int64_t from_x = moon__line_offset(&lx, lo), from_i = moon__line_offset(&li, lo);
    int64_t from_u = moon__line_offset(&lu, lo), to = moon__line_offset(&ly, lo);
    for (i = 0; i < lx.n; i++)
      memcpy(moon__at(y, to + i * ly.step), moon__at(x, from_x + i * lx.step), moon_dtype_bytes(y->dtype));
    for (int64_t e = 0; e < li.n; e++)
      if (read_index(call, index, from_i + e * li.step, lx.n, &i))
        add_run(moon__at(y, to + i * ly.step), moon__at(updates, from_u + e * lu.step), y->dtype, 0, 1);
  }
}

MOON_CPU_KERNEL(take_along_axis) = {.name = "cpu_take_along_axis_plain", .jobs = moon__jobs_by_output, .run = take_run};
MOON_CPU_KERNEL(put_along_axis_add) = {.name = "cpu_put_along_axis_add_plain", .jobs = put_jobs, .run = put_run};

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
