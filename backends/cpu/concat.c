/*
** concat.c: the plain kernel of concat: parts [.., n_p, q..] of a whole [.., n, q..]. A job copies a range of the whole.
*/
#include "plain.h"

#include "tensor/tensor.h"

/* Elements [from, from + n) of a part. Most parts are dense, and short rows of them many. */
static void copy_part(const moon_array *x, bool dense, int64_t from, int64_t n, char *y) {
  if (dense) memcpy(y, moon__at(x, from), (size_t)n * moon_dtype_bytes(x->dtype));
  else moon__copy_elements(x, from, from + n, y);
}

static bool is_dense(const moon_array *x) {
  int64_t strides[MOON_MAX_DIMS];
  moon__dense_strides(x->ndim, x->shape, strides);
  for (int i = 0; i < x->ndim; i++)
    if (x->shape[i] != 1 && x->strides[i] != strides[i]) return false;
  return true;
}

/* Copies whole positions [lo, hi) of y from the parts they come from. */
static void concat_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_axis_attrs *a = call->attrs;
  const moon_array *y = &call->out[0];
  bool dense[MOON_MAX_INPUTS];
  int axis = moon__axis_at(a->axis, y->ndim), p = 0;
  int64_t inner = moon__count_between(y->shape, axis + 1, y->ndim), lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  if (lo >= hi) return;
  for (int i = 0; i < call->nin; i++) dense[i] = is_dense(&call->in[i]);
  int64_t outer = lo / (y->shape[axis] * inner), left = lo % (y->shape[axis] * inner);
  while (left >= call->in[p].shape[axis] * inner) left -= call->in[p++].shape[axis] * inner;
  while (lo < hi) {
    int64_t part = call->in[p].shape[axis] * inner, n = moon__min_i64(hi - lo, part - left);
    copy_part(&call->in[p], dense[p], outer * part + left, n, moon__at(y, lo));
    lo += n;
    left = 0;
    if (++p == call->nin) p = 0, outer++;
  }
}

MOON_CPU_KERNEL(concat) = {.name = "cpu_concat_plain", .jobs = moon__jobs_by_output, .run = concat_run};
