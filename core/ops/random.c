/*
** random.c: draws: uniform, normal, bernoulli, integers, permutation. A draw is philox(seed, stream, step, element index), so it
** depends on neither device, layout nor threads; the formula is in base/philox.h. Invariant: attributes begin with
** moon_random_attrs, whose stream the builder sets.
*/
#include <math.h>

#include "base/error.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_status check_random(moon_context *ctx, moon_infer *f) {
  const moon_random_attrs *a = f->attrs;
  if (!moon__rule_dtype_given(a->dtype)) return moon__fail(ctx, MOON_EDTYPE, "%s: bad dtype", f->op->name);
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = a->shape};
  return moon__rule_sizes(ctx, f->op->name, &a->shape);
}

static moon_status check_float_dtype(moon_context *ctx, moon_infer *f) {
  moon_status s = check_random(ctx, f);
  return s == MOON_OK ? moon__rule_float(ctx, f->op->name, "dtype", f->out[0].dtype) : s;
}

static moon_status infer_uniform(moon_context *ctx, moon_infer *f) {
  const moon_random_attrs *a = f->attrs;
  moon_status s = check_float_dtype(ctx, f);
  if (s != MOON_OK || (isfinite(a->a) && isfinite(a->b) && a->a <= a->b)) return s;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: lo and hi must be finite and lo <= hi, got %g and %g", f->op->name, a->a, a->b);
}

static moon_status infer_normal(moon_context *ctx, moon_infer *f) {
  const moon_random_attrs *a = f->attrs;
  moon_status s = check_float_dtype(ctx, f);
  if (s != MOON_OK || (isfinite(a->a) && isfinite(a->b) && a->b >= 0)) return s;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: mean must be finite and std 0 or more, got %g and %g", f->op->name, a->a, a->b);
}

static moon_status infer_bernoulli(moon_context *ctx, moon_infer *f) {
  const moon_random_attrs *a = f->attrs;
  moon_status s = check_random(ctx, f);
  if (s != MOON_OK || (a->a >= 0 && a->a <= 1)) return s;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: p must be 0 to 1, got %g", f->op->name, a->a);
}

static moon_status infer_integers(moon_context *ctx, moon_infer *f) {
  const moon_random_attrs *a = f->attrs;
  const double most = 9007199254740992.0; /* 2^53: whole numbers up to here are exact */
  moon_status s = check_random(ctx, f);
  if (s == MOON_OK) s = moon__rule_index(ctx, f->op->name, f->out[0].dtype);
  if (s != MOON_OK) return s;
  if (!(a->a < a->b) || !(a->a >= -most) || !(a->b <= most) || a->a != floor(a->a) || a->b != floor(a->b))
    return moon__fail(ctx, MOON_EARGUMENT, "%s: lo and hi must be whole numbers with lo < hi, got %.17g and %.17g", f->op->name,
                      a->a, a->b);
  s = moon__rule_number(ctx, f->op->name, "lo", a->a, f->out[0].dtype);
  return s == MOON_OK ? moon__rule_number(ctx, f->op->name, "hi - 1", a->b - 1, f->out[0].dtype) : s;
}

/* Its one size stands in shape.dim[0]; the rest of the attributes follows from it. */
static moon_status infer_permutation(moon_context *ctx, moon_infer *f) {
  moon_random_attrs *a = f->attrs;
  a->shape.ndim = 1;
  a->dtype = MOON_DTYPE_i64;
  return check_random(ctx, f);
}

#define STREAM MOON_ATTR(moon_random_attrs, stream, I64, .hidden = true)
#define SHAPE_ROW MOON_ATTR(moon_random_attrs, shape, SHAPE, .required = true)
#define NUMBER_A(name, value) {name, MOON_ATTR_F64, offsetof(moon_random_attrs, a), .number = value}
#define NUMBER_B(name, value) {name, MOON_ATTR_F64, offsetof(moon_random_attrs, b), .number = value}
#define DTYPE_ROW(word) MOON_ATTR(moon_random_attrs, dtype, DTYPE, .number = MOON_DTYPE_##word)
static const moon_attr uniform_rows[] = {SHAPE_ROW, NUMBER_A("lo", 0), NUMBER_B("hi", 1), DTYPE_ROW(f32), STREAM};
static const moon_attr normal_rows[] = {SHAPE_ROW, NUMBER_A("mean", 0), NUMBER_B("std", 1), DTYPE_ROW(f32), STREAM};
static const moon_attr bernoulli_rows[] = {SHAPE_ROW, NUMBER_A("p", 0.5), DTYPE_ROW(f32), STREAM};
static const moon_attr integers_rows[] = {
    SHAPE_ROW, {"lo", MOON_ATTR_F64, offsetof(moon_random_attrs, a), .required = true},
    {"hi", MOON_ATTR_F64, offsetof(moon_random_attrs, b), .required = true}, DTYPE_ROW(i64), STREAM};
static const moon_attr permutation_rows[] = {
    {"n", MOON_ATTR_DIM, offsetof(moon_random_attrs, shape) + offsetof(moon_shape, dim), .required = true}, STREAM};

#define RANDOM(op, rows) \
  MOON_OP_HEAD(op), .kind = MOON_STRUCTURED, .flags = MOON_OPF_RANDOM | MOON_OPF_METHOD_OFF, .noutputs = 1, .input_names = "", \
  MOON_OP_ATTRS(moon_random_attrs, rows)

MOON_OP(uniform) = {RANDOM(uniform, uniform_rows), .infer = infer_uniform,
                    .doc = "Numbers drawn evenly from [lo, hi): () -> shape."};
MOON_OP(normal) = {RANDOM(normal, normal_rows), .infer = infer_normal,
                   .doc = "Numbers drawn from the normal distribution of that mean and standard deviation: () -> shape."};
MOON_OP(bernoulli) = {RANDOM(bernoulli, bernoulli_rows), .infer = infer_bernoulli,
                      .doc = "1 with probability p, else 0: () -> shape."};
MOON_OP(integers) = {RANDOM(integers, integers_rows), .infer = infer_integers,
                     .doc = "Whole numbers drawn evenly from lo to hi - 1: () -> shape."};
MOON_OP(permutation) = {RANDOM(permutation, permutation_rows), .infer = infer_permutation,
                        .doc = "The numbers 0 to n - 1 in random order: () -> i64 [n]."};
