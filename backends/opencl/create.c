/* create.c: tensors made from numbers alone: full, size, arange, linspace, eye. */
#include <string.h>

#include "base/shape.h"
#include "family.h"
#include "ops/attrs.h"

/* p: count, bits of the value. */
static const char full_text[] = CL(
  KERNEL void run(OPERAND(0), PARAMS, REST) {
    START
    union { long bits; T0 value; } v;
    v.bits = p.v[1];
    EACH(i, p.v[0], 4096) AT(T0, 0)[i] = v.value;
  }
);

/* y[i] = start + i step, computed by the host: first and step as numbers of the widest kind; p: count, last, 64 bits each of the
** three. A last element that is given (linspace) is stored as it is. */
static const char range_text[] = CL(
  KERNEL void run(OPERAND(0), PARAMS, REST) {
    START
    union { long bits; WORK value; } start, step, stop;
    start.bits = p.v[1];
    step.bits = p.v[2];
    stop.bits = p.v[3];
    EACH(i, p.v[0], 1024) {
      const WORK v = p.v[4] && i > 0 && i == p.v[0] - 1 ? stop.value : start.value + (WORK)i * step.value;
      AT(T0, 0)[i] = TO0(v);
    }
  }
);

/* 1 where column - row is k. p: count, columns, k. */
static const char eye_text[] = CL(
  KERNEL void run(OPERAND(0), PARAMS, REST) {
    START
    EACH(i, p.v[0], 4096) AT(T0, 0)[i] = (T0)(i % p.v[1] - i / p.v[1] == p.v[2]);
  }
);

static bool add_range(moon_cl_choice *c, int64_t n, double start, double step, double stop, bool ends) {
  moon_dtype work = c->d->f64 ? MOON_DTYPE_f64 : MOON_DTYPE_f32;
  int64_t p[5] = {n, moon__cl_bits(work, start), moon__cl_bits(work, step), moon__cl_bits(work, stop), ends};
  return moon__cl_add(c, range_text, p, 5, n, 1024);
}

static bool add_full(moon_cl_choice *c, int64_t n, int64_t bits) {
  int64_t p[2] = {n, bits};
  return moon__cl_add(c, full_text, p, 2, n, 4096);
}

static bool add(moon_cl_choice *c, int64_t n, bool *known) {
  const void *attrs = c->node->attrs;
  const moon_range_attrs *r = attrs;
  const moon_eye_attrs *e = attrs;
  moon_dtype dtype = c->out[0].dtype;
  int64_t bits = 0;
  switch (c->node->op->id) {
    case MOON_OP_full: return moon__cl_begin(c, "opencl_full", false) && add_full(c, n, moon__cl_bits(dtype, ((const moon_full_attrs *)attrs)->value));
    case MOON_OP_size:
      moon__convert(&bits, dtype, &((const moon_size_attrs *)attrs)->size, MOON_DTYPE_i64);
      return moon__cl_begin(c, "opencl_size", false) && add_full(c, n, bits);
    case MOON_OP_arange: return moon__cl_begin(c, "opencl_arange", false) && add_range(c, n, r->start, r->step, 0, false);
    case MOON_OP_linspace: {
      double step = n > 1 ? (r->stop - r->start) / (double)(n - 1) : 0;
      return moon__cl_begin(c, "opencl_linspace", false) && add_range(c, n, r->start, step, r->stop, true);
    }
    case MOON_OP_eye: {
      int64_t p[3] = {n, c->out[0].shape[1], e->k};
      return moon__cl_begin(c, "opencl_eye", false) && moon__cl_add(c, eye_text, p, 3, n, 4096);
    }
    default: *known = false; return true;
  }
}

static bool select_create(moon_cl_choice *c, moon_status *s) {
  bool known = true, ok = add(c, moon__cl_count(&c->out[0]), &known);
  if (known) *s = moon__cl_end(c, ok);
  return known;
}

const moon_cl_family moon__cl_create = {select_create};
