/*
** matmul.c: the matrix product: a [.., m, k], b [.., k, n] -> y [.., m, n], batch axes alike.
*/
#include "base/shape.h"
#include "base/size.h"
#include "family.h"

/* Any dtypes: an element of y at a time, terms added in the widest type there is. p: m n k count. */
static const char plain_text[] = CL(
  KERNEL void NAME(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    __global const T0 *a = AT(const T0, 0);
    __global const T0 *b = AT(const T0, 1);
    const long m = p.v[0], n = p.v[1], k = p.v[2];
    EACH(i, p.v[3], 256) {
      const long column = i % n, row = i / n, batch = row / m;
      __global const T0 *x = a + row * k;
      __global const T0 *w = b + batch * k * n + column;
      SUM sum = 0;
      for (long j = 0; j < k; j++) sum += (SUM)x[j] * (SUM)w[j * n];
      AT(T2, 2)[i] = (T2)sum;
    }
  }
);

static bool select_matmul(moon_cl_choice *c, moon_status *s) {
  if (c->node->op->id != MOON_OP_matmul) return false;
  const moon_array *a = &c->in[0], *y = &c->out[0];
  bool ok = moon__cl_begin(c, "opencl_matmul", false);
  int64_t count = 1;
  for (int i = 0; i < y->ndim; i++) count *= y->shape[i];
  int64_t params[4] = {y->shape[y->ndim - 2], y->shape[y->ndim - 1], a->shape[a->ndim - 1], count};
  ok = ok && moon__cl_add(c, plain_text, params, 4, count, 256);
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_matmul = {select_matmul};
