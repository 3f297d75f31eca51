/*
** movement.c: plain kernels of ops that move numbers: the views (used when a view cannot be had by strides), constants, and slices
** put back. Each is a strided copy of a range of the output. What joins tensors is in concat.c, padding in pad.c.
*/
#include "plain.h"

/* ---- Views: y is x seen through other strides. ---- */

static void copy_view(const moon_call *call, const moon_array *view, int64_t first, int64_t last) {
  const moon_array *y = &call->out[0];
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  moon__copy_elements(view, lo, hi, moon__at(y, lo));
}

/* A view of x with the shape of y and strides still to be set. */
static moon_array view_for(const moon_call *call) {
  moon_array v = call->out[0];
  v.data = call->in[0].data;
  memset(v.strides, 0, sizeof v.strides);
  return v;
}

static void reshape_run(const moon_call *call, int64_t first, int64_t last) { copy_view(call, &call->in[0], first, last); }

static void broadcast_to_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *x = &call->in[0];
  moon_array v = view_for(call);
  int ahead = v.ndim - x->ndim;
  for (int i = 0; i < x->ndim; i++)
    if (x->shape[i] == v.shape[i + ahead]) v.strides[i + ahead] = x->strides[i];
  copy_view(call, &v, first, last);
}

static void transpose_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axes_only_attrs *a = call->attrs;
  const moon_array *x = &call->in[0];
  moon_array v = view_for(call);
  for (int i = 0; i < v.ndim; i++) v.strides[i] = x->strides[a->axes.n ? moon__axis_at(a->axes.v[i], x->ndim) : x->ndim - 1 - i];
  copy_view(call, &v, first, last);
}

static void flip_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axes_only_attrs *a = call->attrs;
  moon_array v = call->in[0];
  for (int i = 0; i < a->axes.n; i++) {
    int axis = moon__axis_at(a->axes.v[i], v.ndim);
    if (v.shape[axis] > 0) v.data = moon__at(&v, (v.shape[axis] - 1) * v.strides[axis]);
    v.strides[axis] = -v.strides[axis];
  }
  copy_view(call, &v, first, last);
}

static void slice_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_slice_attrs *a = call->attrs;
  const moon_array *x = &call->in[0];
  moon_array v = view_for(call);
  if (moon__array_count(&v) == 0) return;
  for (int i = 0; i < v.ndim; i++) {
    v.data = moon__at(&v, a->first.dim[i] * x->strides[i]);
    v.strides[i] = a->step.v[i] * x->strides[i];
  }
  copy_view(call, &v, first, last);
}

/* ---- full, size ---- */

static void full_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_full_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  moon__convert_many(moon__at(y, lo), y->dtype, 1, &a->value, MOON_DTYPE_f64, 0, hi - lo);
}

static void size_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_size_attrs *a = call->attrs;
  if (first < last) moon__convert(call->out[0].data, call->out[0].dtype, &a->size, MOON_DTYPE_i64);
}

/* ---- unslice: dy put where slice took it, zeros elsewhere ---- */

/* The position on dy's axis that slice took from position p, or -1. */
static int64_t taken_from(int64_t p, int64_t from, int64_t step, int64_t size) {
  int64_t d = p - from, j = step ? d / step : -1;
  return step && d % step == 0 && j >= 0 && j < size ? j : -1;
}

static void unslice_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_unslice_attrs *a = call->attrs;
  const moon_array *dy = &call->in[0], *x = &call->out[0];
  int64_t bytes = (int64_t)moon_dtype_bytes(x->dtype), lo, hi, index[MOON_MAX_DIMS];
  moon__job_range(moon__array_count(x), 1, first, last, &lo, &hi);
  memset(moon__at(x, lo), 0, (size_t)((hi - lo) * bytes));
  for (int64_t at = lo; at < hi; at++) {
    int64_t offset = 0;
    bool taken = true;
    moon__index_at(x->ndim, x->shape, at, index);
    for (int i = 0; taken && i < x->ndim; i++) {
      int64_t j = taken_from(index[i], a->first.dim[i], a->step.v[i], dy->shape[i]);
      taken = j >= 0;
      offset += j * dy->strides[i];
    }
    if (taken) memcpy(moon__at(x, at), moon__at(dy, offset), (size_t)bytes);
  }
}

MOON_CPU_KERNEL(reshape) = {.name = "cpu_reshape_plain", .jobs = moon__jobs_by_output, .run = reshape_run};
MOON_CPU_KERNEL(broadcast_to) = {.name = "cpu_broadcast_to_plain", .jobs = moon__jobs_by_output, .run = broadcast_to_run};
MOON_CPU_KERNEL(transpose) = {.name = "cpu_transpose_plain", .jobs = moon__jobs_by_output, .run = transpose_run};
MOON_CPU_KERNEL(flip) = {.name = "cpu_flip_plain", .jobs = moon__jobs_by_output, .run = flip_run};
MOON_CPU_KERNEL(slice) = {.name = "cpu_slice_plain", .jobs = moon__jobs_by_output, .run = slice_run};
MOON_CPU_KERNEL(full) = {.name = "cpu_full_plain", .jobs = moon__jobs_by_output, .run = full_run};
MOON_CPU_KERNEL(size) = {.name = "cpu_size_plain", .run = size_run};
MOON_CPU_KERNEL(unslice) = {.name = "cpu_unslice_plain", .jobs = moon__jobs_by_output, .run = unslice_run};
