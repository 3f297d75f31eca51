/*
** create.c: tensors made from numbers that the graph knows: full (zeros, ones), size, arange, linspace, eye. Random ones are in
** random.c. Invariant: after inference attributes say everything: start, stop, step and n of a range agree.
*/
#include <math.h>

#include "base/error.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

#define MAX_COUNT ((int64_t)1 << 40) /* elements of a range; more is a mistake */

static moon_status fail_dtype(moon_context *ctx, const char *who) { return moon__fail(ctx, MOON_EDTYPE, "%s: bad dtype", who); }

/* ---- full, zeros, ones ---- */

static moon_status infer_full(moon_context *ctx, moon_infer *f) {
  const moon_full_attrs *a = f->attrs;
  if (!moon__rule_dtype_given(a->dtype)) return fail_dtype(ctx, f->op->name);
  moon_status s = moon__rule_sizes(ctx, f->op->name, &a->shape);
  if (s == MOON_OK) s = moon__rule_number(ctx, f->op->name, "value", a->value, (moon_dtype)a->dtype);
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = a->shape};
  return s;
}

static const moon_attr full_rows[] = {MOON_ATTR(moon_full_attrs, shape, SHAPE, .required = true),
                                      MOON_ATTR(moon_full_attrs, value, F64, .required = true),
                                      MOON_ATTR(moon_full_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32)};
MOON_OP(full) = {MOON_OP_HEAD(full), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "",
                 MOON_OP_ATTRS(moon_full_attrs, full_rows), .infer = infer_full,
                 .doc = "A tensor whose elements are all value: () -> shape."};

static moon_status build_filled(moon_context *ctx, const moon_body *b, double value) {
  moon_full_attrs a = *(const moon_full_attrs *)b->attrs;
  a.value = value;
  b->out[0] = moon__apply(ctx, MOON_OP_full, &a, 0, NULL);
  return moon__rule_built(ctx, b);
}
static moon_status build_zeros(moon_context *ctx, const moon_body *b) { return build_filled(ctx, b, 0); }
static moon_status build_ones(moon_context *ctx, const moon_body *b) { return build_filled(ctx, b, 1); }

static const moon_attr filled_rows[] = {MOON_ATTR(moon_full_attrs, shape, SHAPE, .required = true),
                                        MOON_ATTR(moon_full_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32)};
MOON_OP(zeros) = {MOON_OP_HEAD(zeros), .kind = MOON_INLINE, .flags = MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "",
                  MOON_OP_ATTRS(moon_full_attrs, filled_rows), .infer = infer_full, .build = build_zeros, .doc = "Zeros: () -> shape."};
MOON_OP(ones) = {MOON_OP_HEAD(ones), .kind = MOON_INLINE, .flags = MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "",
                 MOON_OP_ATTRS(moon_full_attrs, filled_rows), .infer = infer_full, .build = build_ones, .doc = "Ones: () -> shape."};

/* ---- size ---- */

static moon_status infer_size(moon_context *ctx, moon_infer *f) {
  const moon_size_attrs *a = f->attrs;
  moon_shape one = {.ndim = 1, .dim = {a->size}};
  if (!moon__rule_dtype_given(a->dtype)) return fail_dtype(ctx, f->op->name);
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype};
  return moon__rule_sizes(ctx, f->op->name, &one);
}

static const moon_attr size_rows[] = {MOON_ATTR(moon_size_attrs, size, DIM, .required = true),
                                      MOON_ATTR(moon_size_attrs, dtype, DTYPE, .number = MOON_DTYPE_i64)};
MOON_OP(size) = {MOON_OP_HEAD(size), .kind = MOON_STRUCTURED, .flags = MOON_OPF_INTERNAL, .noutputs = 1, .input_names = "",
                 MOON_OP_ATTRS(moon_size_attrs, size_rows), .infer = infer_size,
                 .doc = "A size, known when the program is compiled, as a number: () -> rank 0."};

/* ---- arange, linspace ---- */

static moon_status check_range(moon_context *ctx, const char *who, const moon_range_attrs *a) {
  if (!moon__rule_dtype_given(a->dtype)) return fail_dtype(ctx, who);
  if (!isfinite(a->start) || !isfinite(a->stop))
    return moon__fail(ctx, MOON_EARGUMENT, "%s: start and stop must be finite, got %g and %g", who, a->start, a->stop);
  return MOON_OK;
}

static moon_status infer_arange(moon_context *ctx, moon_infer *f) {
  moon_range_attrs *a = f->attrs;
  if (isnan(a->stop)) {
    a->stop = a->start;
    a->start = 0;
  }
  moon_status s = check_range(ctx, f->op->name, a);
  if (s != MOON_OK) return s;
  if (!isfinite(a->step) || a->step == 0)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: step must be finite and not 0, got %g", f->op->name, a->step);
  double n = ceil((a->stop - a->start) / a->step);
  if (n > (double)MAX_COUNT)
    return moon__fail(ctx, MOON_ESIZE, "%s: from %g to %g by %g are too many elements", f->op->name, a->start, a->stop, a->step);
  a->n = n > 0 ? (int64_t)n : 0;
  s = moon__rule_number(ctx, f->op->name, "start", a->start, (moon_dtype)a->dtype);
  if (s == MOON_OK && a->n > 1)
    s = moon__rule_number(ctx, f->op->name, "every element", a->start + a->step, (moon_dtype)a->dtype);
  if (s == MOON_OK && a->n > 1)
    s = moon__rule_number(ctx, f->op->name, "every element", a->start + (double)(a->n - 1) * a->step, (moon_dtype)a->dtype);
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = {.ndim = 1, .dim = {a->n}}};
  return s;
}

static const moon_attr arange_rows[] = {
    MOON_ATTR(moon_range_attrs, start, F64, .required = true), MOON_ATTR(moon_range_attrs, stop, F64, .number = NAN),
    MOON_ATTR(moon_range_attrs, step, F64, .number = 1), MOON_ATTR(moon_range_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32),
    MOON_ATTR(moon_range_attrs, n, I64, .hidden = true)};
MOON_OP(arange) = {MOON_OP_HEAD(arange), .kind = MOON_STRUCTURED, .flags = MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "",
                   MOON_OP_ATTRS(moon_range_attrs, arange_rows), .infer = infer_arange,
                   .doc = "start, start + step, .. before stop; one number alone is stop: () -> [ceil((stop - start) / step)]."};

static moon_status infer_linspace(moon_context *ctx, moon_infer *f) {
  moon_range_attrs *a = f->attrs;
  moon_status s = check_range(ctx, f->op->name, a);
  if (s != MOON_OK) return s;
  if (a->n < 0) return moon__fail(ctx, MOON_ESIZE, "%s: n must be 0 or more, got %lld", f->op->name, (long long)a->n);
  if (a->n > MAX_COUNT)
    return moon__fail(ctx, MOON_ESIZE, "%s: n must be at most %lld, got %lld", f->op->name, (long long)MAX_COUNT, (long long)a->n);
  if (!moon__dtype_is_float((moon_dtype)a->dtype))
    return moon__fail(ctx, MOON_EDTYPE, "%s: dtype must be bf16, f16, f32 or f64, got %s", f->op->name,
                      moon_dtype_name((moon_dtype)a->dtype));
  a->step = a->n > 1 ? (a->stop - a->start) / (double)(a->n - 1) : 0;
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = {.ndim = 1, .dim = {a->n}}};
  return MOON_OK;
}

static const moon_attr linspace_rows[] = {
    MOON_ATTR(moon_range_attrs, start, F64, .required = true), MOON_ATTR(moon_range_attrs, stop, F64, .required = true),
    MOON_ATTR(moon_range_attrs, n, I64, .number = 50), MOON_ATTR(moon_range_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32),
    MOON_ATTR(moon_range_attrs, step, F64, .hidden = true)};
MOON_OP(linspace) = {MOON_OP_HEAD(linspace), .kind = MOON_STRUCTURED, .flags = MOON_OPF_METHOD_OFF, .noutputs = 1,
                     .input_names = "", MOON_OP_ATTRS(moon_range_attrs, linspace_rows), .infer = infer_linspace,
                     .doc = "n numbers at equal distances from start to stop, both included: () -> [n]."};

/* ---- eye ---- */

static moon_status infer_eye(moon_context *ctx, moon_infer *f) {
  moon_eye_attrs *a = f->attrs;
  if (!moon__rule_dtype_given(a->dtype)) return fail_dtype(ctx, f->op->name);
  if (a->m == -1) a->m = a->n;
  moon_shape shape = {.ndim = 2, .dim = {a->n, a->m}};
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = shape};
  if (a->n < 0 || a->m < 0)
    return moon__fail(ctx, MOON_ESIZE, "%s: n and m must be 0 or more, got %lld and %lld", f->op->name, (long long)a->n,
                      (long long)a->m);
  return moon__rule_sizes(ctx, f->op->name, &shape);
}

static const moon_attr eye_rows[] = {MOON_ATTR(moon_eye_attrs, n, I64, .required = true),
                                     MOON_ATTR(moon_eye_attrs, m, I64, .number = -1),
                                     MOON_ATTR(moon_eye_attrs, k, I64, .number = 0),
                                     MOON_ATTR(moon_eye_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32)};
MOON_OP(eye) = {MOON_OP_HEAD(eye), .kind = MOON_STRUCTURED, .flags = MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "",
                MOON_OP_ATTRS(moon_eye_attrs, eye_rows), .infer = infer_eye,
                .doc = "Ones on the k-th diagonal (0: the main one, above it positive), zeros elsewhere; m is n if not given: () "
                       "-> [n, m]."};
