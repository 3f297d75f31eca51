/*
** loss.c: losses, one number an example: the last axis is reduced. y is the prediction, t the target; formulas, clipping at 1e-7
** included, are Keras's. Mean over examples, weights and masks belong to the training loop. From logits, losses are computed
** without overflow and their gradients are finite. Letters: y [.., c], t [.., c] or, sparse, [..] -> [..].
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

#define TINY 1e-7 /* Keras's epsilon */

/* ---- Shapes ---- */

static moon_shape without_last(const moon_shape *s) {
  moon_shape r = *s;
  r.dim[--r.ndim] = 0;
  return r;
}

static moon_status check_prediction(moon_context *ctx, const moon_infer *f) {
  if (f->in[0].shape.ndim < 1) return moon__fail(ctx, MOON_ESHAPE, "%s: y needs an axis, got shape ()", f->op->name);
  return moon__rule_float(ctx, f->op->name, "y", f->in[0].dtype);
}

static moon_status infer_pair(moon_context *ctx, moon_infer *f) {
  moon_status s = check_prediction(ctx, f);
  if (s == MOON_OK) s = moon__rule_same_shape(ctx, f->op->name, "y", &f->in[0].shape, "t", &f->in[1].shape);
  if (s == MOON_OK) f->out[0] = (moon_type){f->in[0].dtype, without_last(&f->in[0].shape)};
  return s;
}

static moon_status infer_huber(moon_context *ctx, moon_infer *f) {
  const moon_loss_attrs *a = f->attrs;
  if (!(a->delta > 0)) return moon__fail(ctx, MOON_EARGUMENT, "huber: delta must be above 0, got %g", a->delta);
  return infer_pair(ctx, f);
}

static moon_status check_labels(moon_context *ctx, const moon_infer *f, const moon_shape *want, const moon_shape *have) {
  if (moon__rule_may_equal(want, have)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: t must have the shape of y without its last axis: y %s, t %s", f->op->name,
                    moon__rule_text(ctx, &f->in[0].shape).s, moon__rule_text(ctx, have).s);
}

static moon_status infer_sparse(moon_context *ctx, moon_infer *f) {
  moon_status s = check_prediction(ctx, f);
  if (s != MOON_OK) return s;
  moon_shape want = without_last(&f->in[0].shape), have = f->in[1].shape;
  if (have.ndim == want.ndim + 1 && have.dim[want.ndim] == 1) have = without_last(&have);
  f->out[0] = (moon_type){f->in[0].dtype, want};
  return moon__rule_may_equal(&want, &have) ? MOON_OK : check_labels(ctx, f, &want, &f->in[1].shape);
}

static moon_status infer_labels(moon_context *ctx, moon_infer *f) {
  moon_status s = check_prediction(ctx, f);
  if (s == MOON_OK) s = moon__rule_index(ctx, f->op->name, f->in[1].dtype);
  if (s != MOON_OK) return s;
  f->out[0] = (moon_type){f->in[0].dtype, without_last(&f->in[0].shape)};
  return check_labels(ctx, f, &f->out[0].shape, &f->in[1].shape);
}

static moon_status infer_labels_grad(moon_context *ctx, moon_infer *f) {
  moon_status s = infer_labels(ctx, f);
  if (s == MOON_OK) s = moon__rule_same_dtype(ctx, f->op->name, "y", f->in[0].dtype, "dy", f->in[2].dtype);
  if (s == MOON_OK) s = check_labels(ctx, f, &f->out[0].shape, &f->in[2].shape);
  if (s == MOON_OK) f->out[0] = f->in[0];
  return s;
}

/* ---- Pieces ---- */

static moon_value *over_last(moon_context *ctx, moon_op_id op, moon_value *v) {
  int last = v ? moon__shape_of(v)->ndim - 1 : 0;
  return moon__reduce(ctx, op, v, 1, &last, false);
}

static moon_value *kept_over_last(moon_context *ctx, moon_op_id op, moon_value *v) {
  int last = v ? moon__shape_of(v)->ndim - 1 : 0;
  return moon__reduce(ctx, op, v, 1, &last, true);
}

/* v kept within [lo, hi]; the gradient is 0 outside, and half of it passes at the ends. */
static moon_value *clip(moon_context *ctx, moon_value *v, double lo, double hi) {
  if (!v) return NULL;
  v = moon__binary(ctx, MOON_OP_maximum, v, moon__number(ctx, v, lo));
  return v ? moon__binary(ctx, MOON_OP_minimum, v, moon__number(ctx, v, hi)) : NULL;
}

static moon_value *log_of(moon_context *ctx, moon_value *v) { return moon__unary(ctx, MOON_OP_log, v); }

/* 1 - v */
static moon_value *rest(moon_context *ctx, moon_value *v) { return v ? moon__sub(ctx, moon__number(ctx, v, 1), v) : NULL; }

/* y over its sum, so that it is a distribution; a row of zeros stays one. */
static moon_value *distribution(moon_context *ctx, moon_value *y) {
  moon_value *sum = kept_over_last(ctx, MOON_OP_sum, y);
  if (!sum) return NULL;
  return moon__div(ctx, y, moon__binary(ctx, MOON_OP_maximum, sum, moon__number(ctx, sum, TINY)));
}

/* Element t of the last axis of v: v [.., c], t [..] -> [..]. */
static moon_value *pick(moon_context *ctx, moon_value *v, moon_value *t) {
  moon_axis_attrs a = {.axis = -1};
  if (!v || !t) return NULL;
  int last = moon__shape_of(t)->ndim;
  moon_value *in[] = {v, moon__expand(ctx, t, last)};
  return moon__squeeze(ctx, moon__apply(ctx, MOON_OP_take_along_axis, &a, 2, in), last);
}

/* ---- Differences ---- */

static moon_status build_mse(moon_context *ctx, const moon_body *b) {
  moon_value *d = moon__sub(ctx, b->in[0], b->in[1]);
  b->out[0] = over_last(ctx, MOON_OP_mean, moon__mul(ctx, d, d));
  return moon__rule_built(ctx, b);
}

static moon_status build_mae(moon_context *ctx, const moon_body *b) {
  b->out[0] = over_last(ctx, MOON_OP_mean, moon__unary(ctx, MOON_OP_abs, moon__sub(ctx, b->in[0], b->in[1])));
  return moon__rule_built(ctx, b);
}

/* d d / 2 up to delta, delta |d| - delta delta / 2 beyond. */
static moon_status build_huber(moon_context *ctx, const moon_body *b) {
  double delta = ((const moon_loss_attrs *)b->attrs)->delta;
  moon_value *d = moon__unary(ctx, MOON_OP_abs, moon__sub(ctx, b->in[0], b->in[1]));
  if (!d) return ctx->status;
  moon_value *near = moon__scale(ctx, moon__mul(ctx, d, d), 0.5);
  moon_value *far = moon__sub(ctx, moon__scale(ctx, d, delta), moon__number(ctx, d, 0.5 * delta * delta));
  moon_value *is_near = moon__binary(ctx, MOON_OP_le, d, moon__number(ctx, d, delta));
  b->out[0] = over_last(ctx, MOON_OP_mean, moon__where(ctx, is_near, near, far));
  return moon__rule_built(ctx, b);
}

/* mean(max(1 - t y, 0)); targets that are all 0 or 1 are taken as -1 and 1. */
static moon_status build_hinge(moon_context *ctx, const moon_body *b) {
  moon_value *y = b->in[0], *t = b->in[1];
  moon_value *product = moon__mul(ctx, t, rest(ctx, t));
  if (!product) return ctx->status;
  moon_value *is_bit = moon__binary(ctx, MOON_OP_eq, product, moon__number(ctx, t, 0));
  moon_value *signs = moon__sub(ctx, moon__scale(ctx, t, 2), moon__number(ctx, t, 1));
  t = moon__where(ctx, moon__reduce(ctx, MOON_OP_all, is_bit, 0, NULL, false), signs, t);
  b->out[0] = over_last(ctx, MOON_OP_mean, moon__unary(ctx, MOON_OP_relu, rest(ctx, moon__mul(ctx, t, y))));
  return moon__rule_built(ctx, b);
}

/* ---- Distributions ---- */

/* softplus(y) - t y is -(t log p + (1 - t) log(1 - p)) with p = sigmoid(y). */
static moon_value *binary_from_logits(moon_context *ctx, moon_value *y, moon_value *t) {
  return moon__sub(ctx, moon__unary(ctx, MOON_OP_softplus, y), moon__mul(ctx, t, y));
}

static moon_value *binary_from_probabilities(moon_context *ctx, moon_value *y, moon_value *t) {
  moon_value *p = clip(ctx, y, TINY, 1 - TINY);
  moon_value *hit = moon__mul(ctx, t, log_of(ctx, p)), *miss = moon__mul(ctx, rest(ctx, t), log_of(ctx, rest(ctx, p)));
  return moon__neg(ctx, moon__add(ctx, hit, miss));
}

static moon_status build_binary(moon_context *ctx, const moon_body *b) {
  bool from_logits = ((const moon_loss_attrs *)b->attrs)->from_logits;
  b->out[0] = over_last(ctx, MOON_OP_mean, (from_logits ? binary_from_logits : binary_from_probabilities)(ctx, b->in[0], b->in[1]));
  return moon__rule_built(ctx, b);
}

static moon_status build_categorical(moon_context *ctx, const moon_body *b) {
  moon_axis_attrs last = {.axis = -1};
  moon_value *log = NULL;
  if (((const moon_loss_attrs *)b->attrs)->from_logits) log = moon__apply(ctx, MOON_OP_log_softmax, &last, 1, b->in);
  else log = log_of(ctx, clip(ctx, distribution(ctx, b->in[0]), TINY, 1 - TINY));
  b->out[0] = moon__neg(ctx, over_last(ctx, MOON_OP_sum, moon__mul(ctx, b->in[1], log)));
  return moon__rule_built(ctx, b);
}

static moon_status build_sparse(moon_context *ctx, const moon_body *b) {
  moon_shape labels = without_last(moon__shape_of(b->in[0]));
  moon_value *y = b->in[0], *t = moon__cast(ctx, b->in[1], MOON_DTYPE_i64);
  if (t && moon__shape_of(t)->ndim != labels.ndim) t = moon__reshape(ctx, t, &labels);
  moon_value *in[] = {y, t};
  if (((const moon_loss_attrs *)b->attrs)->from_logits) b->out[0] = moon__apply(ctx, MOON_OP_softmax_cross_entropy, NULL, 2, in);
  else b->out[0] = moon__neg(ctx, log_of(ctx, clip(ctx, pick(ctx, distribution(ctx, y), t), TINY, 1 - TINY)));
  return moon__rule_built(ctx, b);
}

/* sum(t log(t / y)), both kept within [1e-7, 1] */
static moon_status build_kl(moon_context *ctx, const moon_body *b) {
  moon_value *y = clip(ctx, b->in[0], TINY, 1), *t = clip(ctx, b->in[1], TINY, 1);
  b->out[0] = over_last(ctx, MOON_OP_sum, moon__mul(ctx, t, log_of(ctx, moon__div(ctx, t, y))));
  return moon__rule_built(ctx, b);
}

/* ---- softmax_cross_entropy and its gradient ---- */

/* log(sum(exp(y))) - y[t], with the maximum of y taken off before */
static moon_status build_softmax_ce(moon_context *ctx, const moon_body *b) {
  moon_value *top = kept_over_last(ctx, MOON_OP_max, b->in[0]);
  moon_value *z = moon__sub(ctx, b->in[0], moon__unary(ctx, MOON_OP_stop_gradient, top));
  moon_value *sum = over_last(ctx, MOON_OP_sum, moon__unary(ctx, MOON_OP_exp, z));
  b->out[0] = moon__sub(ctx, log_of(ctx, sum), pick(ctx, z, b->in[1]));
  return moon__rule_built(ctx, b);
}

static moon_status grad_softmax_ce(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  moon_value *in[] = {g->x[0], g->x[1], g->dy[0]};
  g->dx[0] = moon__apply(ctx, MOON_OP_softmax_cross_entropy_grad, NULL, 3, in);
  return g->dx[0] ? MOON_OK : ctx->status;
}

/* (softmax(y) - one_hot(t)) dy, without the one_hot: dy is taken off at t */
static moon_status build_softmax_ce_grad(moon_context *ctx, const moon_body *b) {
  moon_axis_attrs last = {.axis = -1};
  int axis = moon__shape_of(b->in[1])->ndim;
  moon_value *dy = moon__expand(ctx, b->in[2], axis), *p = moon__apply(ctx, MOON_OP_softmax, &last, 1, b->in);
  moon_value *in[] = {moon__mul(ctx, p, dy), moon__expand(ctx, b->in[1], axis), moon__neg(ctx, dy)};
  b->out[0] = moon__apply(ctx, MOON_OP_put_along_axis_add, &last, 3, in);
  return moon__rule_built(ctx, b);
}

static const moon_attr logits_rows[] = {MOON_ATTR(moon_loss_attrs, from_logits, BOOL, .number = 0)};
static const moon_attr huber_rows[] = {MOON_ATTR(moon_loss_attrs, delta, F64, .number = 1)};

/* What losses have in common; t is promoted with y, or left as it is where it holds labels. */
#define LOSS \
  .kind = MOON_COMPOSITE, .flags = MOON_OPF_METHOD_OFF, .min_inputs = 2, .max_inputs = 2, .noutputs = 1, .input_names = "y, t"
#define FLOAT_LOSS LOSS, .inputs = MOON_INPUTS_FLOAT

MOON_OP(mean_squared_error) = {MOON_OP_HEAD(mean_squared_error), FLOAT_LOSS, .infer = infer_pair, .build = build_mse,
                               .doc = "Mean of (y - t)^2 over the last axis: y and t [.., c] -> [..]."};
MOON_OP(mean_absolute_error) = {MOON_OP_HEAD(mean_absolute_error), FLOAT_LOSS, .infer = infer_pair, .build = build_mae,
                                .doc = "Mean of |y - t| over the last axis: y and t [.., c] -> [..]."};
MOON_OP(huber) = {MOON_OP_HEAD(huber),
                  FLOAT_LOSS,
                  MOON_OP_ATTRS(moon_loss_attrs, huber_rows),
                  .infer = infer_huber,
                  .build = build_huber,
                  .doc = "Mean over the last axis of (y - t)^2 / 2, a straight line beyond delta: y and t [.., c] -> [..]."};
MOON_OP(hinge) = {MOON_OP_HEAD(hinge), FLOAT_LOSS, .infer = infer_pair, .build = build_hinge,
                  .doc = "Mean of max(1 - t y, 0) over the last axis, t -1 or 1 (or all 0 or 1): y and t [.., c] -> [..]."};
MOON_OP(binary_crossentropy) = {MOON_OP_HEAD(binary_crossentropy),
                                FLOAT_LOSS,
                                MOON_OP_ATTRS(moon_loss_attrs, logits_rows),
                                .infer = infer_pair,
                                .build = build_binary,
                                .doc = "Mean of -(t log y + (1 - t) log(1 - y)) over the last axis: y and t [.., c] -> [..]."};
MOON_OP(categorical_crossentropy) = {MOON_OP_HEAD(categorical_crossentropy),
                                     FLOAT_LOSS,
                                     MOON_OP_ATTRS(moon_loss_attrs, logits_rows),
                                     .infer = infer_pair,
                                     .build = build_categorical,
                                     .doc = "-sum(t log y) over the last axis, y made to sum to 1: y and t [.., c] -> [..]."};
MOON_OP(sparse_categorical_crossentropy) = {
    MOON_OP_HEAD(sparse_categorical_crossentropy),
    LOSS,
    MOON_OP_ATTRS(moon_loss_attrs, logits_rows),
    .infer = infer_sparse,
    .build = build_sparse,
    .doc = "-log y[t], y made to sum to 1: y [.., c], t [..] or [.., 1], labels from 0 of any dtype with whole numbers -> [..]."};
MOON_OP(kl_divergence) = {MOON_OP_HEAD(kl_divergence), FLOAT_LOSS, .infer = infer_pair, .build = build_kl,
                          .doc = "sum(t log(t / y)) over the last axis: y and t [.., c] -> [..]."};
MOON_OP(softmax_cross_entropy) = {MOON_OP_HEAD(softmax_cross_entropy),
                                  LOSS,
                                  .infer = infer_labels,
                                  .grad = grad_softmax_ce,
                                  .build = build_softmax_ce,
                                  .doc = "-log softmax(y)[t]: logits y [.., c], integer labels t [..] from 0 -> [..]."};
MOON_OP(softmax_cross_entropy_grad) = {
    MOON_OP_HEAD(softmax_cross_entropy_grad),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 3,
    .max_inputs = 3,
    .noutputs = 1,
    .input_names = "y, t, dy",
    .infer = infer_labels_grad,
    .build = build_softmax_ce_grad,
    .doc = "Gradient of softmax_cross_entropy: (softmax(y) - one_hot(t)) dy: y [.., c], t [..], dy [..] -> [.., c].",
};
