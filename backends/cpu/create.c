/* create.c: plain kernels of tensors made from numbers alone: full, size, arange, linspace, eye. Computed in f64, then cast. */
#include "plain.h"

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

/* y[i] = start + i step */
static void arange_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_range_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  for (; lo < hi; lo++) moon__store_f64(y->data, y->dtype, lo, a->start + (double)lo * a->step);
}

/* y[i] = start + i (stop - start) / (n - 1), and the last is stop itself. */
static void linspace_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_range_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  int64_t n = moon__array_count(y), lo, hi;
  moon__job_range(n, 1, first, last, &lo, &hi);
  for (; lo < hi; lo++) {
    double v = n == 1 ? a->start : a->start + (double)lo * ((a->stop - a->start) / (double)(n - 1));
    moon__store_f64(y->data, y->dtype, lo, lo > 0 && lo == n - 1 ? a->stop : v);
  }
}

/* y [n, m]: 1 where column - row is k. */
static void eye_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_eye_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  int64_t columns = y->shape[1], lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  for (; lo < hi; lo++) moon__store_i64(y->data, y->dtype, lo, lo % columns - lo / columns == a->k);
}

MOON_CPU_KERNEL(full) = {.name = "cpu_full_plain", .jobs = moon__jobs_by_output, .run = full_run};
MOON_CPU_KERNEL(size) = {.name = "cpu_size_plain", .run = size_run};
MOON_CPU_KERNEL(arange) = {.name = "cpu_arange_plain", .jobs = moon__jobs_by_output, .run = arange_run};
MOON_CPU_KERNEL(linspace) = {.name = "cpu_linspace_plain", .jobs = moon__jobs_by_output, .run = linspace_run};
MOON_CPU_KERNEL(eye) = {.name = "cpu_eye_plain", .jobs = moon__jobs_by_output, .run = eye_run};
