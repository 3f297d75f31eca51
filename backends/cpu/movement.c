/*
** movement.c: plain kernels of the views reshape, broadcast_to, transpose and flip, used when strides alone do not serve: each
** copies a range of the output from x seen through other strides. slice and its adjoint are in slice.c, concat in concat.c, padding
** in pad.c.
*/
#include "plain.h"

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

MOON_CPU_KERNEL(reshape) = {.name = "cpu_reshape_plain", .jobs = moon__jobs_by_output, .run = reshape_run};
MOON_CPU_KERNEL(broadcast_to) = {.name = "cpu_broadcast_to_plain", .jobs = moon__jobs_by_output, .run = broadcast_to_run};
MOON_CPU_KERNEL(transpose) = {.name = "cpu_transpose_plain", .jobs = moon__jobs_by_output, .run = transpose_run};
MOON_CPU_KERNEL(flip) = {.name = "cpu_flip_plain", .jobs = moon__jobs_by_output, .run = flip_run};
