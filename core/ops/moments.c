/*
** moments.c: reductions made of others: logsumexp, var and std, composites over sum, mean and max. Invariant: bodies keep the
** reduced axes with size 1 up to their last step, so that broadcasting back needs no thought.
*/
#include <math.h>

#include "base/error.h"
#include "graph/build.h"
#include "ops/reduce.h"
#include "ops/rule.h"

static moon_value *reduce_kept(moon_context *ctx, const moon_body *b, moon_op_id op, moon_value *v) {
  moon_reduce_attrs a = *(const moon_reduce_attrs *)b->attrs;
  if (a.axes.n == 0) return v; /* rank 0 */
  a.keepdims = true;
  return moon__apply(ctx, op, &a, 1, &v);
}

/* Drops the axes of size 1 that keepdims would keep. */
static moon_value *finish(moon_context *ctx, const moon_body *b, moon_value *v) {
  const moon_reduce_attrs *a = b->attrs;
  moon_shape to = {0};
  if (!v || a->keepdims) return v;
  for (int i = 0, k = 0; i < v->type.shape.ndim; i++) {
    if (k < a->axes.n && a->axes.v[k] == i) k++;
    else to.dim[to.ndim++] = v->type.shape.dim[i];
  }
  return moon__reshape(ctx, v, &to);
}

/* ---- logsumexp = m + log(sum(exp(x - m))), m the largest, 0 where that is infinite ---- */

static moon_status infer_logsumexp(moon_context *ctx, moon_infer *f) {
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  return s == MOON_OK ? moon__infer_reduce_some(ctx, f) : s;
}

static moon_status build_logsumexp(moon_context *ctx, const moon_body *b) {
  moon_value *x = b->in[0], *zero = moon__number(ctx, x, 0);
  moon_value *largest = moon__unary(ctx, MOON_OP_stop_gradient, reduce_kept(ctx, b, MOON_OP_max, x));
  moon_value *m = moon__where(ctx, moon__unary(ctx, MOON_OP_isinf, largest), zero, largest);
  moon_value *sum = reduce_kept(ctx, b, MOON_OP_sum, moon__unary(ctx, MOON_OP_exp, moon__sub(ctx, x, m)));
  b->out[0] = finish(ctx, b, moon__add(ctx, moon__unary(ctx, MOON_OP_log, sum), m));
  return moon__rule_built(ctx, b);
}

/* exp(x - y), 0 in a row of -inf. */
static moon_status grad_logsumexp(moon_context *ctx, const moon_grad *g) {
  const moon_reduce_attrs *a = g->node->attrs;
  moon_value *x = g->x[0], *y = g->y[0];
  if (!g->dy[0]) return MOON_OK;
  moon_shape kept = x->type.shape;
  for (int i = 0; i < a->axes.n; i++) kept.dim[a->axes.v[i]] = 1;
  moon_value *nothing = moon__binary(ctx, MOON_OP_eq, y, moon__number(ctx, y, -INFINITY));
  moon_value *safe = moon__reshape(ctx, moon__where(ctx, nothing, moon__number(ctx, y, 0), y), &kept);
  moon_value *share = moon__unary(ctx, MOON_OP_exp, moon__sub(ctx, x, safe));
  g->dx[0] = moon__mul(ctx, moon__reshape(ctx, g->dy[0], &kept), share);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

/* ---- var, std ---- */

static moon_status infer_moment(moon_context *ctx, moon_infer *f) {
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  return s == MOON_OK ? moon__infer_reduce(ctx, f) : s;
}

static moon_value *variance(moon_context *ctx, const moon_body *b) {
  moon_value *d = moon__sub(ctx, b->in[0], reduce_kept(ctx, b, MOON_OP_mean, b->in[0]));
  return finish(ctx, b, reduce_kept(ctx, b, MOON_OP_mean, moon__unary(ctx, MOON_OP_square, d)));
}

static moon_status build_var(moon_context *ctx, const moon_body *b) {
  b->out[0] = variance(ctx, b);
  return moon__rule_built(ctx, b);
}

/* The root is never taken of 0, where it has no gradient. */
static moon_status build_std(moon_context *ctx, const moon_body *b) {
  moon_value *v = variance(ctx, b);
  if (!v) return moon_error_status(ctx);
  moon_value *zero = moon__number(ctx, v, 0), *flat = moon__binary(ctx, MOON_OP_eq, v, zero);
  moon_value *root = moon__unary(ctx, MOON_OP_sqrt, moon__where(ctx, flat, moon__number(ctx, v, 1), v));
  b->out[0] = moon__where(ctx, flat, zero, root);
  return moon__rule_built(ctx, b);
}

#define MOMENT(op) \
  MOON_OP_HEAD(op), .kind = MOON_COMPOSITE, .inputs = MOON_INPUTS_FLOAT, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, \
  .input_names = "x", MOON_OP_ATTRS(moon_reduce_attrs, moon__reduce_rows)

MOON_OP(logsumexp) = {MOMENT(logsumexp), .infer = infer_logsumexp, .grad = grad_logsumexp, .build = build_logsumexp,
                      .doc = "log(sum(exp(x))) over axes without overflow: x [.., d, ..] -> [.., ..]; d must not be 0."};
MOON_OP(var) = {MOMENT(var), .infer = infer_moment, .build = build_var,
                .doc = "Mean of the squared distances from the mean over axes: x [.., d, ..] -> [.., ..]."};
MOON_OP(std) = {MOMENT(std), .infer = infer_moment, .build = build_std,
                .doc = "Square root of var, with gradient 0 where it is 0: x [.., d, ..] -> [.., ..]."};
