/*
** concat.c: plain kernels of concat and split: parts [.., n_p, q..] of a whole [.., n, q..]. Each is a strided copy of a range of the
** outputs.
*/
#include "plain.h"

/* Copies whole positions [lo, hi) of y from the parts they come from. */
static void concat_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  int axis = moon__axis_at(a->axis, y->ndim);
  int64_t inner = moon__count_between(y->shape, axis + 1, y->ndim), lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  if (lo >= hi) return;
  int64_t row = y->shape[axis] * inner;
  while (lo < hi) {
    int64_t outer = lo / row, left = lo % row;
    int p = 0;
    while (left >= call->in[p].shape[axis] * inner) left -= call->in[p++].shape[axis] * inner;
    int64_t part = call->in[p].shape[axis] * inner, n = moon__min_i64(hi - lo, part - left);
    moon__copy_elements(&call->in[p], outer * part + left, outer * part + left + n, moon__at(y, lo));
    lo += n;
  }
}

/* Jobs go over the outputs one after the other, as many elements as x has. */
static int64_t split_jobs(const moon_node *node) { return moon__job_count(moon__value_count(node->inputs[0]), 1); }

static void split_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_split_attrs *a = call->attrs;
  const moon_array *x = &call->in[0];
  int axis = moon__axis_at(a->axis, x->ndim);
  int64_t lo, hi, start = 0, position = 0;
  moon__job_range(moon__array_count(x), 1, first, last, &lo, &hi);
  for (int p = 0; p < call->nout; p++) {
    const moon_shape *s = &call->node->outputs[p].type.shape;
    moon_array v = *x;
    v.shape[axis] = s->dim[axis];
    int64_t count = moon__array_count(&v), from = moon__max_i64(lo - start, 0), to = moon__min_i64(hi - start, count);
    if (from < to && call->out[p].data) {
      v.data = moon__at(&v, position * x->strides[axis]);
      moon__copy_elements(&v, from, to, moon__at(&call->out[p], from));
    }
    start += count;
    position += s->dim[axis];
  }
}

MOON_CPU_KERNEL(concat) = {.name = "cpu_concat_plain", .jobs = moon__jobs_by_output, .run = concat_run};
MOON_CPU_KERNEL(split) = {.name = "cpu_split_plain", .jobs = split_jobs, .run = split_run};
