/*
** slice.c: plain kernels of slice (used when a view does not serve) and of unslice, its adjoint: dy put where slice took it, zeros
** elsewhere.
*/
#include "plain.h"

static void slice_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_slice_attrs *a = call->attrs;
  const moon_array *x = &call->in[0];
  moon_array v = call->out[0];
  int64_t lo, hi;
  if (moon__array_count(&v) == 0) return;
  v.data = x->data;
  for (int i = 0; i < v.ndim; i++) {
    v.data = moon__at(&v, a->first.dim[i] * x->strides[i]);
    v.strides[i] = a->step.v[i] * x->strides[i];
  }
  moon__job_range(moon__array_count(&v), 1, first, last, &lo, &hi);
  moon__copy_elements(&v, lo, hi, moon__at(&call->out[0], lo));
}

/* The position on dy's axis that slice took from position p, or -1. */
static int64_t taken_from(int64_t p, int64_t from, int64_t step, int64_t size) {
  int64_t d = p - from, j = step ? d / step : -1;
  return step && d % step == 0 && j >= 0 && j < size ? j : -1;
}

/* Was the row of x that position index lies in taken, by all axes but the last? Then *offset: where it begins in dy. */
static bool row_taken(const moon_unslice_attrs *a, const moon_array *dy, const int64_t *index, int64_t *offset) {
  *offset = 0;
  for (int i = 0; i + 1 < dy->ndim; i++) {
    int64_t j = taken_from(index[i], a->first.dim[i], a->step.v[i], dy->shape[i]);
    if (j < 0) return false;
    *offset += j * dy->strides[i];
  }
  return true;
}

/* Positions [from, from + n) of a row of x that is all zeros. */
static void fill_row(const moon_unslice_attrs *a, const moon_array *dy, int64_t offset, int64_t from, int64_t n, char *x) {
  int axis = dy->ndim - 1;
  int64_t bytes = (int64_t)moon_dtype_bytes(dy->dtype), first = a->first.dim[axis], size = dy->shape[axis];
  if (a->step.v[axis] == 1 && dy->strides[axis] == 1) {
    int64_t lo = moon__max_i64(from, first), hi = moon__min_i64(from + n, first + size);
    if (lo < hi) memcpy(x + (lo - from) * bytes, moon__at(dy, offset + lo - first), (size_t)((hi - lo) * bytes));
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t j = taken_from(from + i, first, a->step.v[axis], size);
    if (j >= 0) memcpy(x + i * bytes, moon__at(dy, offset + j * dy->strides[axis]), (size_t)bytes);
  }
}

static void unslice_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_unslice_attrs *a = call->attrs;
  const moon_array *dy = &call->in[0], *x = &call->out[0];
  int64_t lo, hi, index[MOON_MAX_DIMS], n, offset;
  moon__job_range(moon__array_count(x), 1, first, last, &lo, &hi);
  memset(moon__at(x, lo), 0, (size_t)(hi - lo) * moon_dtype_bytes(x->dtype));
  for (int64_t at = lo; at < hi; at += n) {
    moon__index_at(x->ndim, x->shape, at, index);
    int64_t from = x->ndim ? index[x->ndim - 1] : 0;
    n = x->ndim ? moon__min_i64(hi - at, x->shape[x->ndim - 1] - from) : 1;
    if (x->ndim == 0) memcpy(moon__at(x, at), dy->data, moon_dtype_bytes(x->dtype));
    else if (row_taken(a, dy, index, &offset)) fill_row(a, dy, offset, from, n, moon__at(x, at));
  }
}

MOON_CPU_KERNEL(slice) = {.name = "cpu_slice_plain", .jobs = moon__jobs_by_output, .run = slice_run};
MOON_CPU_KERNEL(unslice) = {.name = "cpu_unslice_plain", .jobs = moon__jobs_by_output, .run = unslice_run};
