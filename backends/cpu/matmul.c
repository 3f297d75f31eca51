/*
** matmul.c: the plain kernel of the matrix product: a [.., m, k], b [.., k, n] -> y [.., m, n], batch axes alike. Each job makes
** stretches of rows of y; terms are added in f64 (integers in 64 bits) in the order of k.
*/
#include "plain.h"

enum { COLUMNS = 64 };

static int64_t inner_size(const moon_node *node) {
  const moon_shape *a = moon__shape_of(node->inputs[0]);
  return a->dim[a->ndim - 1];
}

static int64_t jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), inner_size(node)); }

/* y[row, j .. j + n) */
static void make_stretch(const moon_call *call, int64_t row, int64_t j, int64_t n) {
  const moon_array *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
  int d = y->ndim - 2;
  int64_t m = y->shape[d], batch = row / m;
  const char *pa = moon__at(a, moon__offset_at(d, a->shape, a->strides, batch) + row % m * a->strides[d]);
  const char *pb = moon__at(b, moon__offset_at(d, b->shape, b->strides, batch) + j * b->strides[d + 1]);
  int64_t a_bytes = a->strides[d + 1] * (int64_t)moon_dtype_bytes(a->dtype);
  int64_t b_bytes = b->strides[d] * (int64_t)moon_dtype_bytes(b->dtype);
  moon_sum sums[COLUMNS];
  memset(sums, 0, sizeof sums); /* 0 as an integer and as a number */
  for (int64_t k = 0; k < a->shape[d + 1]; k++)
    moon__sums_add_scaled(sums, pa + k * a_bytes, pb + k * b_bytes, a->dtype, b->strides[d + 1], n);
  moon__sums_store(sums, a->dtype, y->data, y->dtype, row * y->shape[d + 1] + j, n);
}

static void run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *y = &call->out[0];
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), inner_size(call->node), first, last, &lo, &hi);
  while (lo < hi) {
    int64_t columns = y->shape[y->ndim - 1], j = lo % columns;
    int64_t n = moon__min_i64(moon__min_i64(columns - j, COLUMNS), hi - lo);
    make_stretch(call, lo / columns, j, n);
    lo += n;
  }
}

MOON_CPU_KERNEL(matmul) = {.name = "cpu_matmul_plain", .jobs = jobs, .run = run};
