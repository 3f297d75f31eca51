/* movement.c: kernels that put numbers elsewhere: concat, pad and unpad, unslice. Views are strides, copies of them are loops. */
#include <string.h>

#include "base/size.h"
#include "family.h"
#include "ops/attrs.h"

/* A part [outer, n q] into the whole [outer, N q] at a place, a piece of a row at a time. p: pieces in all, n q, N q, place, numbers of
** a piece, pieces of a row. */
static const char part_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    EACH(at, p.v[0], max(1L, 2048 / p.v[1])) {
      const long row = at / p.v[5]; const long begin = at % p.v[5] * p.v[4]; const long end = min(begin + p.v[4], p.v[1]);
      __global const T0 *x = AT(const T0, 0) + row * p.v[1];
      __global T1 *y = AT(T1, 1) + row * p.v[2] + p.v[3];
      for (long j = begin; j < end; j++) y[j] = x[j];
    }
  }
);

/* p: count of y, axes, then 8 each: sizes of y, lo, sizes of x; mode, bits of the value. */
static const char pad_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    union { long bits; T1 value; } fill;
    fill.bits = p.v[27];
    EACH(at, p.v[0], 256) {
      long left = at; long offset = 0; long step = 1; bool inside = true;
      for (int d = (int)p.v[1] - 1; d >= 0; d--) {
        const long n = p.v[18 + d]; const long period = 2 * n - 2;
        long i = left % p.v[2 + d] - p.v[10 + d];
        left /= p.v[2 + d];
        if (i < 0 || i >= n) {
          if (n == 0 || p.v[26] == 0) { inside = false; i = 0; }
          else if (p.v[26] == 2) i = i < 0 ? 0 : n - 1;
          else if (n == 1) i = 0;
          else { i = (i % period + period) % period; i = i < n ? i : period - i; }
        }
        offset += i * step;
        step *= n;
      }
      AT(T1, 1)[at] = inside ? AT(const T0, 0)[offset] : fill.value;
    }
  }
);

/* The first position >= from of a padded axis that shows position i; -1: none. */
#define NEXT_SHOWING                                                                                       \
  inline long congruent(long from, long r, long period) {                                     \
    return from + ((r - from) % period + period) % period;                                                 \
  }                                                                                                        \
  inline long next_showing(long from, long i, long lo, long n, long padded, long mode) {               \
    long at = lo + i;                                                                                      \
    if (mode == 1) {                                                                                       \
      const long period = n == 1 ? 1 : 2 * n - 2;                                                          \
      at = min(congruent(from, lo + i, period), congruent(from, lo - i, period)); \
    } else if (mode == 2) {                                                                                \
      if (i == 0 && from < lo) at = from;                                                                  \
      if (i == n - 1 && from > at) at = from;                                                              \
    }                                                                                                      \
    return at >= from && at < padded ? at : -1;                                                            \
  }

/* x[index] = what dy holds at all positions that show it, added in order. p: count of x, axes, sizes of x, lo, sizes of dy, mode. */
static const char unpad_text[] = CL_(
  NEXT_SHOWING
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const int axes = (int)p.v[1];
    EACH(at, p.v[0], 64) {
      long index[8]; long shown[8]; long left = at; bool any = true;
      for (int d = axes - 1; d >= 0; d--) { index[d] = left % p.v[2 + d]; left /= p.v[2 + d]; }
      for (int d = 0; d < axes; d++) {
        shown[d] = next_showing(0, index[d], p.v[10 + d], p.v[2 + d], p.v[18 + d], p.v[26]);
        any = any && shown[d] >= 0;
      }
      SUM sum = 0;
      while (any) {
        long offset = 0;
        for (int d = 0; d < axes; d++) offset = offset * p.v[18 + d] + shown[d];
        sum += (SUM)AT(const T0, 0)[offset];
        int d = axes - 1;
        for (; d >= 0; d--) {
          shown[d] = next_showing(shown[d] + 1, index[d], p.v[10 + d], p.v[2 + d], p.v[18 + d], p.v[26]);
          if (shown[d] >= 0) break;
          shown[d] = next_showing(0, index[d], p.v[10 + d], p.v[2 + d], p.v[18 + d], p.v[26]);
        }
        any = d >= 0;
      }
      AT(T1, 1)[at] = (T1)sum;
    }
  }
);

/* p: count of y, axes, then 8 each: sizes of y, first, step, sizes of dy. What y at `left` takes, over axes up to this one: offset in
** dy, which there has elements of `size`, or nothing (taken). */
#define UNSLICE_FROM(axis)                                                             \
  for (int d = axis; d >= 0; d--) {                                                    \
    const long step = p.v[18 + d]; const long i = left % p.v[2 + d] - p.v[10 + d];      \
    const long j = step ? i / step : -1;                                               \
    left /= p.v[2 + d];                                                                \
    taken = taken && step && i % step == 0 && j >= 0 && j < p.v[26 + d];                \
    offset += j * size;                                                                \
    size *= p.v[26 + d];                                                               \
  }
static const char unslice_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    EACH(at, p.v[0], 512) {
      long left = at; long offset = 0; long size = 1; bool taken = true;
      UNSLICE_FROM((int)p.v[1] - 1)
      AT(T1, 1)[at] = taken ? AT(const T0, 0)[offset] : 0;
    }
  }
);

/* The same, a row along the last axis at a time; p[0]: rows of y. */
static const char unslice_rows_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const int last = (int)p.v[1] - 1; const long n = p.v[2 + last]; const long m = p.v[26 + last];
    EACH(row, p.v[0], max(1L, 1024 / n)) {
      long left = row; long offset = 0; long size = m; bool taken = true;
      UNSLICE_FROM(last - 1)
      __global T1 *y = AT(T1, 1) + row * n;
      if (!taken || m < n) for (long i = 0; i < n; i++) y[i] = 0;
      for (long j = 0; taken && j < m; j++) y[p.v[10 + last] + j * p.v[18 + last]] = AT(const T0, 0)[offset + j];
    }
  }
);

static bool add_concat(moon_cl_choice *c) {
  const moon_array *y = &c->out[0];
  int64_t axis = ((const moon_axis_attrs *)c->node->attrs)->axis, place = 0;
  if (axis < 0) axis += y->ndim;
  int64_t q = moon__cl_sizes(y, (int)axis + 1, y->ndim), whole = y->shape[axis] * q;
  bool ok = moon__cl_begin(c, "opencl_concat", false);
  for (int i = 0; ok && i < c->nin; i++) {
    const int operands[2] = {i, c->nin};
    const moon_dtype types[2] = {y->dtype, y->dtype};
    int64_t n = c->in[i].shape[axis] * q, count = moon__cl_count(&c->in[i]);
    int64_t piece = c->d->wide ? 2048 : 1, pieces = moon__ceildiv_i64(n, piece), p[6] = {0, n, whole, place, piece, pieces};
    if (count > 0) p[0] = count / n * pieces;
    moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 6, .params = p};
    moon__cl_spread(c->d, &s, p[0], moon__max_i64(1, 2048 / moon__max_i64(1, n)));
    ok = moon__cl_add_spec(c, part_text, types, &s);
    place += n;
  }
  return ok;
}

static void put_sizes(int64_t *p, const int64_t *from, int n) { memcpy(p, from, (size_t)n * sizeof *p); }

static bool add_pad(moon_cl_choice *c, bool back) {
  const moon_pad_attrs *a = c->node->attrs;
  const moon_array *x = &c->in[0], *y = &c->out[0];
  int64_t p[28] = {moon__cl_count(y), y->ndim};
  put_sizes(p + 2, y->shape, y->ndim);
  put_sizes(p + 10, a->lo.v, y->ndim);
  put_sizes(p + 18, x->shape, y->ndim);
  p[26] = a->mode;
  p[27] = moon__cl_bits(y->dtype, a->value);
  return moon__cl_begin(c, back ? "opencl_unpad" : "opencl_pad", false) &&
         moon__cl_add(c, back ? unpad_text : pad_text, p, 28, p[0], back ? 64 : 256);
}

static bool add_unslice(moon_cl_choice *c) {
  const moon_unslice_attrs *a = c->node->attrs;
  const moon_array *y = &c->out[0];
  int64_t p[34] = {moon__cl_count(y), y->ndim};
  put_sizes(p + 2, y->shape, y->ndim);
  put_sizes(p + 10, a->first.dim, y->ndim);
  put_sizes(p + 18, a->step.v, y->ndim);
  put_sizes(p + 26, c->in[0].shape, y->ndim);
  if (!moon__cl_begin(c, "opencl_unslice", false)) return false;
  if (!c->d->wide || p[0] == 0 || y->ndim == 0) return moon__cl_add(c, unslice_text, p, 34, p[0], 512);
  int64_t n = y->shape[y->ndim - 1];
  p[0] /= n;
  return moon__cl_add(c, unslice_rows_text, p, 34, p[0], moon__max_i64(1, 1024 / n));
}

static bool select_movement(moon_cl_choice *c, moon_status *s) {
  bool ok;
  switch (c->node->op->id) {
    case MOON_OP_concat: ok = add_concat(c); break;
    case MOON_OP_pad: ok = add_pad(c, false); break;
    case MOON_OP_unpad: ok = add_pad(c, true); break;
    case MOON_OP_unslice: ok = add_unslice(c); break;
    default: return false;
  }
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_movement = {select_movement};
