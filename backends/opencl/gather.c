/*
** gather.c: kernels that read and add by index. Letters: x [p, n, q] with n on axis, index [e], y [p, e, q]. Every index is checked:
** one that is not in [0, n) is reported, reads as 0 and adds nothing. Adding kernels make each element of the output by itself, its
** updates in the order of the index, so that equal runs give equal bits.
*/
#include "base/size.h"
#include "family.h"
#include "ops/attrs.h"

/* A row of q numbers at a time. p: rows, q, e, n. */
static const char gather_rows_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    __global const T0 *x = AT(const T0, 0);
    const long q = p.v[1]; const long n = p.v[3];
    EACH(row, p.v[0], max(1L, 1024 / q)) {
      const long index = AT(const T1, 1)[row % p.v[2]];
      __global T2 *y = AT(T2, 2) + row * q;
      const bool good = index >= 0 && index < n;
      if (!good) BAD_INDEX(index, n);
      __global const T0 *from = x + (row / p.v[2] * n + (good ? index : 0)) * q;
      long j = 0;
      for (; good && j + 16 <= q; j += 16) vstore16(vload16(0, from + j), 0, y + j);
      for (; j < q; j++) y[j] = good ? from[j] : 0;
    }
  }
);

/* An element at a time, for neighbours that do neighbouring elements. */
static const char gather_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    const long q = p.v[1]; const long n = p.v[3];
    EACH(i, p.v[0] * q, 1024) {
      const long row = i / q;
      const long index = AT(const T1, 1)[row % p.v[2]];
      const bool good = index >= 0 && index < n;
      if (!good) BAD_INDEX(index, n);
      AT(T2, 2)[i] = good ? AT(const T0, 0)[(row / p.v[2] * n + index) * q + i % q] : 0;
    }
  }
);

/* Scratch: head [n], next [e]: the updates of each position as lists, first to last. One work-item. p: n, e. */
static const char list_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    __global long *head = AT(long, 1);
    __global long *next = head + p.v[0];
    if (get_global_id(0) > 0) return;
    for (long i = 0; i < p.v[0]; i++) head[i] = -1;
    for (long e = p.v[1] - 1; e >= 0; e--) {
      const long index = AT(const T0, 0)[e];
      if (index < 0 || index >= p.v[0]) { BAD_INDEX(index, p.v[0]); continue; }
      next[e] = head[index];
      head[index] = e;
    }
  }
);

/* p: count of y, n, q, e. */
static const char scatter_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), OPERAND(4), PARAMS, REST) {
    START
    __global const long *head = AT(const long, 4);
    __global const long *next = head + p.v[1];
    const long n = p.v[1]; const long q = p.v[2];
    EACH(i, p.v[0], 256) {
      const long row = i / q; const long outer = row / n;
      SUM sum = (SUM)AT(const T0, 0)[i];
      for (long e = head[row % n]; e >= 0; e = next[e]) sum += (SUM)AT(const T2, 2)[(outer * p.v[3] + e) * q + i % q];
      AT(T3, 3)[i] = (T3)sum;
    }
  }
);

/* x [p, n, q], index and y [p, m, q]. p: count of y, n, m, q. */
static const char take_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    const long n = p.v[1]; const long q = p.v[3];
    EACH(i, p.v[0], 512) {
      const long index = AT(const T1, 1)[i];
      const bool good = index >= 0 && index < n;
      if (!good) BAD_INDEX(index, n);
      AT(T2, 2)[i] = good ? AT(const T0, 0)[(i / (p.v[2] * q) * n + index) * q + i % q] : 0;
    }
  }
);

/* x and y [p, n, q], index and updates [p, m, q], a line along n at a time. p: lines, n, m, q. */
static const char put_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {
    START
    const long n = p.v[1]; const long m = p.v[2]; const long q = p.v[3];
    EACH(line, p.v[0], max(1L, 1024 / (n + m))) {
      const long from = line / q * n * q + line % q; const long at = line / q * m * q + line % q;
      __global T3 *y = AT(T3, 3) + from;
      for (long j = 0; j < n; j++) y[j * q] = AT(const T0, 0)[from + j * q];
      for (long e = 0; e < m; e++) {
        const long index = AT(const T1, 1)[at + e * q];
        if (index < 0 || index >= n) { BAD_INDEX(index, n); continue; }
        y[index * q] += AT(const T2, 2)[at + e * q];
      }
    }
  }
);

/* p: rows, depth. */
static const char one_hot_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long depth = p.v[1];
    EACH(row, p.v[0], max(1L, 1024 / max(1L, depth))) {
      const long index = AT(const T0, 0)[row];
      if (index < 0 || index >= depth) BAD_INDEX(index, depth);
      for (long j = 0; j < depth; j++) AT(T1, 1)[row * depth + j] = j == index;
    }
  }
);

static int64_t axis_of(const moon_cl_choice *c) {
  int64_t axis = ((const moon_axis_attrs *)c->node->attrs)->axis;
  return axis < 0 ? axis + c->in[0].ndim : axis;
}

static int64_t at_least(int64_t x, int64_t least) { return x < least ? least : x; }

static bool add_gather(moon_cl_choice *c) {
  const moon_array *x = &c->in[0];
  int axis = (int)axis_of(c);
  int64_t q = moon__cl_sizes(x, axis + 1, x->ndim), e = moon__cl_count(&c->in[1]);
  int64_t rows = q ? moon__cl_count(&c->out[0]) / q : 0;
  int64_t p[4] = {rows, q, e, x->shape[axis]};
  if (!moon__cl_begin(c, "opencl_gather", false) || q == 0) return c->launch != NULL;
  return c->d->wide ? moon__cl_add(c, gather_rows_text, p, 4, rows, at_least(1024 / q, 1)) : moon__cl_add(c, gather_text, p, 4, rows * q, 1024);
}

static bool add_scatter(moon_cl_choice *c) {
  const moon_array *x = &c->in[0];
  int axis = (int)axis_of(c);
  int64_t n = x->shape[axis], q = moon__cl_sizes(x, axis + 1, x->ndim), e = moon__cl_count(&c->in[1]), count = moon__cl_count(x);
  int64_t list[2] = {n, e}, p[4] = {count, n, q, e};
  size_t bytes;
  if (!moon__cl_begin(c, "opencl_scatter_add", false)) return false;
  if (!moon__add_size((size_t)n, (size_t)e, &bytes) || !moon__mul_size(bytes, sizeof(int64_t), &bytes)) return false;
  if (count == 0) return true;
  c->choice->scratch_bytes = bytes;
  const int operands[2] = {1, MOON_CL_SCRATCH};
  const moon_dtype types[2] = {c->in[1].dtype, MOON_DTYPE_i64};
  moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 2, .params = list};
  moon__cl_spread(c->d, &s, 1, 1);
  return moon__cl_add_spec(c, list_text, types, &s) && moon__cl_add(c, scatter_text, p, 4, count, 256);
}

static bool add_take(moon_cl_choice *c) {
  const moon_array *x = &c->in[0], *y = &c->out[0];
  int axis = (int)axis_of(c);
  int64_t count = moon__cl_count(y), p[4] = {count, x->shape[axis], y->shape[axis], moon__cl_sizes(x, axis + 1, x->ndim)};
  return moon__cl_begin(c, "opencl_take_along_axis", false) && moon__cl_add(c, take_text, p, 4, count, 512);
}

static bool add_put(moon_cl_choice *c) {
  const moon_array *x = &c->in[0];
  int axis = (int)axis_of(c);
  int64_t n = x->shape[axis], m = c->in[1].shape[axis], q = moon__cl_sizes(x, axis + 1, x->ndim);
  int64_t lines = n ? moon__cl_sizes(x, 0, axis) * q : 0, p[4] = {lines, n, m, q};
  return moon__cl_begin(c, "opencl_put_along_axis_add", false) && moon__cl_add(c, put_text, p, 4, lines, at_least(1024 / at_least(n + m, 1), 1));
}

static bool add_one_hot(moon_cl_choice *c) {
  const moon_array *y = &c->out[0];
  int64_t depth = y->shape[y->ndim - 1], rows = moon__cl_sizes(y, 0, y->ndim - 1), p[2] = {rows, depth};
  return moon__cl_begin(c, "opencl_one_hot", false) && moon__cl_add(c, one_hot_text, p, 2, rows, at_least(1024 / at_least(depth, 1), 1));
}

static bool select_gather(moon_cl_choice *c, moon_status *s) {
  bool ok;
  switch (c->node->op->id) {
    case MOON_OP_gather: ok = add_gather(c); break;
    case MOON_OP_scatter_add: ok = add_scatter(c); break;
    case MOON_OP_take_along_axis: ok = add_take(c); break;
    case MOON_OP_put_along_axis_add: ok = add_put(c); break;
    case MOON_OP_one_hot: ok = add_one_hot(c); break;
    default: return false;
  }
  c->choice->may_fault = true;
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_gather = {select_gather};
