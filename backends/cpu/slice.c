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

MOON_CPU_KERNEL(slice) = {.name = "cpu_slice_plain", .jobs = moon__jobs_by_output, .run = slice_run};
MOON_CPU_KERNEL(unslice) = {.name = "cpu_unslice_plain", .jobs = moon__jobs_by_output, .run = unslice_run};
