/*
** reduce.c: one number from many along axes: sum, mean, prod, max, min, any, all, argmax, argmin, and the running sum cumsum.
** logsumexp, var and std, made of these, are in moments.c. Invariant: after inference axes are sorted and complete (empty only
** for rank 0), and a kernel meets few dtypes: sum, prod, cumsum i64 f32 f64; mean f32 f64; any, all bool; the others all but halves.
*/
#include "base/error.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/reduce.h"
#include "ops/rule.h"

static moon_status done(moon_context *ctx, const moon_value *dx) { return dx ? MOON_OK : moon_error_status(ctx); }

/* ---- Shapes ---- */

moon_status moon__infer_reduce(moon_context *ctx, moon_infer *f) {
  moon_reduce_attrs *a = f->attrs;
  const moon_shape *x = &f->in[0].shape;
  if (a->axes.n == 0) {
    a->axes.n = x->ndim;
    for (int i = 0; i < x->ndim; i++) a->axes.v[i] = i;
  }
  moon_status s = moon__rule_axes(ctx, f->op->name, &a->axes, x);
  if (s != MOON_OK) return s;
  f->out[0] = (moon_type){.dtype = f->in[0].dtype};
  moon_shape *y = &f->out[0].shape;
  for (int i = 0, k = 0; i < x->ndim; i++) {
    bool reduced = k < a->axes.n && a->axes.v[k] == i;
    k += reduced;
    if (!reduced || a->keepdims) y->dim[y->ndim++] = reduced ? 1 : x->dim[i];
  }
  return MOON_OK;
}

moon_status moon__infer_reduce_some(moon_context *ctx, moon_infer *f) {
  const moon_reduce_attrs *a = f->attrs;
  const moon_shape *x = &f->in[0].shape;
  moon_status s = moon__infer_reduce(ctx, f);
  for (int i = 0; s == MOON_OK && i < a->axes.n; i++) {
    if (x->dim[a->axes.v[i]] == 0)
      s = moon__fail(ctx, MOON_ESHAPE, "%s: axis %lld of %s is empty and %s of nothing is not defined", f->op->name,
                     moon__rule_axis_shown(ctx, a->axes.v[i]), moon__rule_text(ctx, x).s, f->op->name);
  }
  return s;
}

static moon_status infer_total(moon_context *ctx, moon_infer *f) {
  if (f->in[0].dtype < MOON_DTYPE_i64)
    return moon__fail(ctx, MOON_EDTYPE, "%s: takes i64 or floats, got %s", f->op->name, moon_dtype_name(f->in[0].dtype));
  return moon__infer_reduce(ctx, f);
}

static moon_status infer_mean(moon_context *ctx, moon_infer *f) {
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  return s == MOON_OK ? moon__infer_reduce(ctx, f) : s;
}

static moon_status infer_logical(moon_context *ctx, moon_infer *f) {
  if (f->in[0].dtype != MOON_DTYPE_bool)
    return moon__fail(ctx, MOON_EDTYPE, "%s: takes bool, got %s", f->op->name, moon_dtype_name(f->in[0].dtype));
  return moon__infer_reduce(ctx, f);
}

/* ---- What the builder does first: small integers are summed as i64, truth is told of bool. ---- */

static moon_status build_cast(moon_context *ctx, const moon_body *b, moon_op_id op, moon_dtype dtype) {
  moon_value *x = moon__cast(ctx, b->in[0], dtype);
  b->out[0] = moon__apply(ctx, op, b->attrs, 1, &x);
  return done(ctx, b->out[0]);
}
#define BUILD_CAST(name, needed, to)                                               \
  static moon_status build_##name(moon_context *ctx, const moon_body *b) {         \
    if (!(b->in[0]->type.dtype needed)) return MOON_OK;                            \
    return build_cast(ctx, b, MOON_OP_##name, to);                                 \
  }
BUILD_CAST(sum, < MOON_DTYPE_i64, MOON_DTYPE_i64)
BUILD_CAST(prod, < MOON_DTYPE_i64, MOON_DTYPE_i64)
BUILD_CAST(cumsum, < MOON_DTYPE_i64, MOON_DTYPE_i64)
BUILD_CAST(any, != MOON_DTYPE_bool, MOON_DTYPE_bool)
BUILD_CAST(all, != MOON_DTYPE_bool, MOON_DTYPE_bool)

/* ---- Gradients ---- */

/* Shape of x with reduced axes of size 1. */
static moon_shape kept_shape(const moon_grad *g) {
  const moon_ints *axes = &((const moon_reduce_attrs *)g->node->attrs)->axes;
  moon_shape s = g->x[0]->type.shape;
  for (int i = 0; i < axes->n; i++) s.dim[axes->v[i]] = 1;
  return s;
}

/* v, of the shape of y, stretched over x. */
static moon_value *stretch(moon_context *ctx, const moon_grad *g, moon_value *v) {
  moon_shape kept = kept_shape(g);
  return moon__broadcast_to(ctx, moon__reshape(ctx, v, &kept), &g->x[0]->type.shape);
}

/* op over the reduced axes, which stay with size 1. */
static moon_value *reduce_kept(moon_context *ctx, const moon_grad *g, moon_op_id op, moon_value *v) {
  moon_reduce_attrs a = *(const moon_reduce_attrs *)g->node->attrs;
  if (a.axes.n == 0) return v; /* rank 0 */
  a.keepdims = true;
  return moon__apply(ctx, op, &a, 1, &v);
}

static moon_status grad_sum(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = stretch(ctx, g, g->dy[0]);
  return done(ctx, g->dx[0]);
}

/* How many elements of x make one of the result, as a rank 0 value of x's dtype. */
static moon_value *reduced_count(moon_context *ctx, const moon_reduce_attrs *a, moon_value *x) {
  moon_dim n = 1;
  for (int i = 0; i < a->axes.n && n != MOON_DIM_ERROR; i++) n = moon_dim_mul(ctx, n, x->type.shape.dim[a->axes.v[i]]);
  return n == MOON_DIM_ERROR ? NULL : moon__size(ctx, n, x->type.dtype);
}

static moon_status grad_mean(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  moon_value *count = reduced_count(ctx, g->node->attrs, g->x[0]);
  g->dx[0] = stretch(ctx, g, moon__div(ctx, g->dy[0], count));
  return done(ctx, g->dx[0]);
}

/* others[i] = product of all x but x[i] = rest * (zeros but x[i]) / (x[i] unless zero), rest the product without zeros. The product
** of zeros is written as their sum z where one counts, so that derivatives of this see it: exact up to second derivatives. */
static moon_value *others(moon_context *ctx, const moon_grad *g) {
  moon_value *x = g->x[0], *zero = moon__number(ctx, x, 0), *one = moon__number(ctx, x, 1);
  moon_value *is_zero = moon__binary(ctx, MOON_OP_eq, x, zero);
  moon_value *safe = moon__where(ctx, is_zero, one, x);
  moon_value *count = reduce_kept(ctx, g, MOON_OP_sum, moon__cast(ctx, is_zero, x->type.dtype));
  moon_value *z = reduce_kept(ctx, g, MOON_OP_sum, moon__where(ctx, is_zero, x, zero));
  moon_value *rest = reduce_kept(ctx, g, MOON_OP_prod, safe);
  moon_value *none = moon__binary(ctx, MOON_OP_eq, count, zero), *single = moon__binary(ctx, MOON_OP_eq, count, one);
  moon_value *two = moon__binary(ctx, MOON_OP_eq, count, moon__number(ctx, x, 2));
  moon_value *at_zero = moon__where(ctx, two, moon__mul(ctx, rest, moon__sub(ctx, z, x)), zero);
  moon_value *elsewhere = moon__where(ctx, none, rest, moon__where(ctx, single, moon__mul(ctx, rest, z), zero));
  return moon__where(ctx, is_zero, moon__where(ctx, single, rest, at_zero), moon__div(ctx, elsewhere, safe));
}

static moon_status grad_prod(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = moon__mul(ctx, stretch(ctx, g, g->dy[0]), others(ctx, g));
  return done(ctx, g->dx[0]);
}

/* Elements equal to the result share dy evenly. */
static moon_status grad_extreme(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  moon_value *x = g->x[0];
  moon_shape kept = kept_shape(g);
  moon_value *hit = moon__cast(ctx, moon__binary(ctx, MOON_OP_eq, x, stretch(ctx, g, g->y[0])), x->type.dtype);
  moon_value *share = moon__div(ctx, moon__reshape(ctx, g->dy[0], &kept), reduce_kept(ctx, g, MOON_OP_sum, hit));
  g->dx[0] = moon__mul(ctx, hit, share);
  return done(ctx, g->dx[0]);
}

/* ---- Table entries ---- */

static double flops_reduce(const moon_node *node) {
  double n = 1;
  const moon_shape *x = &node->inputs[0]->type.shape;
  for (int i = 0; i < x->ndim; i++) n *= (double)x->dim[i];
  return n;
}

const moon_attr moon__reduce_rows[2] = {MOON_ATTR(moon_reduce_attrs, axes, AXES, .number = 0),
                                        MOON_ATTR(moon_reduce_attrs, keepdims, BOOL, .number = 0)};
#define REDUCTION(op) \
  MOON_OP_HEAD(op), .kind = MOON_STRUCTURED, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x", \
  MOON_OP_ATTRS(moon_reduce_attrs, moon__reduce_rows), .flops = flops_reduce

MOON_OP(sum) = {REDUCTION(sum), .infer = infer_total, .build = build_sum, .grad = grad_sum,
                .doc = "Sum over axes, all when none is named; bool, u8 and i32 give i64: x [.., d, ..] -> [.., ..]."};
MOON_OP(mean) = {REDUCTION(mean), .inputs = MOON_INPUTS_FLOAT, .infer = infer_mean, .grad = grad_mean,
                 .doc = "Mean over axes; integers give f32, nothing gives NaN: x [.., d, ..] -> [.., ..]."};
MOON_OP(prod) = {REDUCTION(prod), .infer = infer_total, .build = build_prod, .grad = grad_prod,
                 .doc = "Product over axes; bool, u8 and i32 give i64: x [.., d, ..] -> [.., ..]."};
MOON_OP(max) = {REDUCTION(max), .infer = moon__infer_reduce_some, .grad = grad_extreme,
                .doc = "The largest over axes, NaN when there is one: x [.., d, ..] -> [.., ..]; d must not be 0."};
MOON_OP(min) = {REDUCTION(min), .infer = moon__infer_reduce_some, .grad = grad_extreme,
                .doc = "The smallest over axes, NaN when there is one: x [.., d, ..] -> [.., ..]; d must not be 0."};
MOON_OP(any) = {REDUCTION(any), .flags = MOON_OPF_NOT_DIFFERENTIABLE, .infer = infer_logical, .build = build_any,
                .doc = "Is one of them nonzero? false of nothing: x [.., d, ..] -> bool [.., ..]."};
MOON_OP(all) = {REDUCTION(all), .flags = MOON_OPF_NOT_DIFFERENTIABLE, .infer = infer_logical, .build = build_all,
                .doc = "Are all of them nonzero? true of nothing: x [.., d, ..] -> bool [.., ..]."};

/* ---- argmax, argmin ---- */

static moon_status infer_arg(moon_context *ctx, moon_infer *f) {
  moon_arg_attrs *a = f->attrs;
  const moon_shape *x = &f->in[0].shape;
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis, x);
  if (s != MOON_OK) return s;
  if (x->dim[a->axis] == 0)
    return moon__fail(ctx, MOON_ESHAPE, "%s: axis %lld of %s is empty", f->op->name, moon__rule_axis_shown(ctx, a->axis),
                      moon__rule_text(ctx, x).s);
  f->out[0] = (moon_type){.dtype = MOON_DTYPE_i64};
  moon_shape *y = &f->out[0].shape;
  for (int i = 0; i < x->ndim; i++) {
    if (i != a->axis || a->keepdims) y->dim[y->ndim++] = i == a->axis ? 1 : x->dim[i];
  }
  return MOON_OK;
}

static const moon_attr arg_rows[] = {MOON_ATTR(moon_arg_attrs, axis, AXIS, .number = -1),
                                     MOON_ATTR(moon_arg_attrs, keepdims, BOOL, .number = 0)};
#define ARG(op, which)                                                                                                      \
  MOON_OP_HEAD(op), .kind = MOON_STRUCTURED, .flags = MOON_OPF_NOT_DIFFERENTIABLE, .min_inputs = 1, .max_inputs = 1,        \
  .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_arg_attrs, arg_rows), .infer = infer_arg, .flops = flops_reduce,    \
  .doc = "Position from 0 of the first " which " or NaN along an axis (default the last): x [.., d, ..] -> i64 [.., ..]."
MOON_OP(argmax) = {ARG(argmax, "largest")};
MOON_OP(argmin) = {ARG(argmin, "smallest")};

/* ---- cumsum ---- */

static moon_status infer_cumsum(moon_context *ctx, moon_infer *f) {
  moon_cumsum_attrs *a = f->attrs;
  if (f->in[0].dtype < MOON_DTYPE_i64)
    return moon__fail(ctx, MOON_EDTYPE, "%s: takes i64 or floats, got %s", f->op->name, moon_dtype_name(f->in[0].dtype));
  f->out[0] = f->in[0];
  return moon__rule_axis(ctx, f->op->name, &a->axis, &f->in[0].shape);
}

static moon_status grad_cumsum(moon_context *ctx, const moon_grad *g) {
  moon_cumsum_attrs a = *(const moon_cumsum_attrs *)g->node->attrs;
  if (!g->dy[0]) return MOON_OK;
  a.reverse = !a.reverse;
  g->dx[0] = moon__apply(ctx, MOON_OP_cumsum, &a, 1, g->dy);
  return done(ctx, g->dx[0]);
}

static const moon_attr cumsum_rows[] = {MOON_ATTR(moon_cumsum_attrs, axis, AXIS, .number = -1),
                                        MOON_ATTR(moon_cumsum_attrs, exclusive, BOOL, .number = 0),
                                        MOON_ATTR(moon_cumsum_attrs, reverse, BOOL, .number = 0)};
MOON_OP(cumsum) = {MOON_OP_HEAD(cumsum), .kind = MOON_STRUCTURED, .min_inputs = 1, .max_inputs = 1, .noutputs = 1,
                   .input_names = "x", MOON_OP_ATTRS(moon_cumsum_attrs, cumsum_rows), .infer = infer_cumsum,
                   .build = build_cumsum, .grad = grad_cumsum,
                   .doc = "Sums up to each position of an axis (default the last), without itself when exclusive, from the end "
                          "when reverse: x [.., d, ..] -> [.., d, ..]."};
