/*
** pad.c: plain kernels of pad and of its adjoint unpad. Letters: on one axis x has n positions, its padded form y has
** lo + n + hi. pad reads, for each position of y, the one position of x it shows; unpad adds, for each position of x, all
** positions of y that show it, in row-major order, so no two jobs ever write one element.
*/
#include "plain.h"

/* The position of x that position p of y shows, or -1 for the padding value. Reflection goes on past the far end. */
static int64_t shown_at(int64_t p, int64_t lo, int64_t n, int32_t mode) {
  int64_t i = p - lo, period = 2 * n - 2;
  if (i >= 0 && i < n) return i;
  if (n == 0 || mode == MOON_PAD_CONSTANT) return -1;
  if (mode == MOON_PAD_EDGE) return i < 0 ? 0 : n - 1;
  if (n == 1) return 0;
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

/* Elements [from, from + n) of a row of y, which shows the row of size elements at x; x NULL: padding alone. */
static void pad_row(const moon_pad_attrs *a, const char *x, int64_t size, int64_t stride, int axis, const char *value, int64_t from,
                    int64_t n, int64_t bytes, char *y) {
  for (int64_t i = 0, run; i < n; i += run) {
    int64_t j = x ? shown_at(from + i, a->lo.v[axis], size, a->mode) : -1;
    run = j >= 0 && j == from + i - a->lo.v[axis] && stride == 1 ? moon__min_i64(n - i, size - j) : 1;
    memcpy(y + i * bytes, j >= 0 ? x + j * stride * bytes : value, (size_t)(run * bytes));
  }
}

static void pad_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_pad_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *y = &call->out[0];
  int64_t bytes = (int64_t)moon_dtype_bytes(y->dtype), lo, hi, n, index[MOON_MAX_DIMS];
  int axis = y->ndim - 1;
  char value[8];
  moon__convert(value, y->dtype, &a->value, MOON_DTYPE_f64);
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  if (axis < 0 && lo < hi) memcpy(y->data, x->data, (size_t)bytes);
  for (int64_t at = lo; axis >= 0 && at < hi; at += n) {
    const char *row = x->data;
    moon__index_at(y->ndim, y->shape, at, index);
    n = moon__min_i64(hi - at, y->shape[axis] - index[axis]);
    for (int i = 0; row && i < axis; i++) {
      int64_t j = shown_at(index[i], a->lo.v[i], x->shape[i], a->mode);
      row = j >= 0 ? row + j * x->strides[i] * bytes : NULL;
    }
    pad_row(a, row, x->shape[axis], x->strides[axis], axis, value, index[axis], n, bytes, moon__at(y, at));
  }
}

/* The smallest number >= from that is congruent to r modulo period. */
static int64_t next_congruent(int64_t from, int64_t r, int64_t period) {
  return from + ((r - from) % period + period) % period;
}

/* The first position p >= from of y that shows position i of x, or -1. */
static int64_t next_showing(int64_t from, int64_t i, int64_t lo, int64_t n, int64_t padded, int32_t mode) {
  int64_t p = lo + i;
  if (mode == MOON_PAD_REFLECT) {
    int64_t period = n == 1 ? 1 : 2 * n - 2;
    p = moon__min_i64(next_congruent(from, lo + i, period), next_congruent(from, lo - i, period));
  } else if (mode == MOON_PAD_EDGE) {
    if (i == 0 && from < lo) p = from;
    if (i == n - 1 && from > p) p = from;
  }
  return p >= from && p < padded ? p : -1;
}

/* Adds what dy holds for the element of x at index. */
static moon_sum add_shown(const moon_array *dy, const moon_array *x, const moon_pad_attrs *a, const int64_t *index) {
  int64_t p[MOON_MAX_DIMS];
  moon_sum sum = {.i = 0};
  for (int d = 0; d < x->ndim; d++) {
    p[d] = next_showing(0, index[d], a->lo.v[d], x->shape[d], dy->shape[d], a->mode);
    if (p[d] < 0) return sum;
  }
  for (int d = x->ndim; d >= 0;) {
    int64_t offset = 0;
    for (int k = 0; k < x->ndim; k++) offset += p[k] * dy->strides[k];
    moon__sums_add(&sum, moon__at(dy, offset), dy->dtype, 0, 1);
    for (d = x->ndim - 1; d >= 0; d--) {
      p[d] = next_showing(p[d] + 1, index[d], a->lo.v[d], x->shape[d], dy->shape[d], a->mode);
      if (p[d] >= 0) break;
      p[d] = next_showing(0, index[d], a->lo.v[d], x->shape[d], dy->shape[d], a->mode);
    }
  }
  return sum;
}

static void unpad_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *dy = &call->in[0], *x = &call->out[0];
  int64_t lo, hi, index[MOON_MAX_DIMS];
  moon__job_range(moon__array_count(x), 4, first, last, &lo, &hi);
  for (int64_t at = lo; at < hi; at++) {
    moon__index_at(x->ndim, x->shape, at, index);
    moon_sum sum = add_shown(dy, x, call->attrs, index);
    moon__sums_store(&sum, dy->dtype, x->data, x->dtype, at, 1);
  }
}

static int64_t unpad_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), 4); }

MOON_CPU_KERNEL(pad) = {.name = "cpu_pad_plain", .jobs = moon__jobs_by_output, .run = pad_run};
MOON_CPU_KERNEL(unpad) = {.name = "cpu_unpad_plain", .jobs = unpad_jobs, .run = unpad_run};
