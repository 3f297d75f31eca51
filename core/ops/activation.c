/*
** activation.c: activation functions made of other ops. Those that are one formula of one element stand in elementwise.def (relu,
** sigmoid, tanh, softplus). Bodies are written so that values and gradients stay finite for every finite x: no branch that is not
** taken computes an infinity.
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- softmax and log_softmax along one axis; y [..] like x ---- */

static moon_status infer_along(moon_context *ctx, moon_infer *f) {
  moon_axis_attrs *a = f->attrs;
  f->out[0] = f->in[0];
  return moon__rule_axis(ctx, f->op->name, &a->axis, &f->in[0].shape);
}

/* x minus its maximum, which is a shift that changes neither result nor gradient. Nothing has no maximum and needs no shift. */
static moon_value *shifted(moon_context *ctx, moon_value *x, int axis) {
  if (moon__shape_of(x)->dim[axis] == 0) return x;
  moon_value *top = moon__reduce(ctx, MOON_OP_max, x, 1, &axis, true);
  return moon__sub(ctx, x, moon__unary(ctx, MOON_OP_stop_gradient, top));
}

static moon_status build_softmax(moon_context *ctx, const moon_body *b) {
  int axis = (int)((const moon_axis_attrs *)b->attrs)->axis;
  moon_value *e = moon__unary(ctx, MOON_OP_exp, shifted(ctx, b->in[0], axis));
  b->out[0] = moon__div(ctx, e, moon__reduce(ctx, MOON_OP_sum, e, 1, &axis, true));
  return moon__rule_built(ctx, b);
}

static moon_status build_log_softmax(moon_context *ctx, const moon_body *b) {
  int axis = (int)((const moon_axis_attrs *)b->attrs)->axis;
  moon_value *z = shifted(ctx, b->in[0], axis);
  moon_value *sum = moon__reduce(ctx, MOON_OP_sum, moon__unary(ctx, MOON_OP_exp, z), 1, &axis, true);
  b->out[0] = moon__sub(ctx, z, moon__unary(ctx, MOON_OP_log, sum));
  return moon__rule_built(ctx, b);
}

/* dx = y (dy - sum(dy y)) */
static moon_status grad_softmax(moon_context *ctx, const moon_grad *g) {
  int axis = (int)((const moon_axis_attrs *)g->node->attrs)->axis;
  moon_value *y = g->y[0], *dy = g->dy[0];
  if (!dy || !g->need[0]) return MOON_OK;
  moon_value *mean = moon__reduce(ctx, MOON_OP_sum, moon__mul(ctx, dy, y), 1, &axis, true);
  g->dx[0] = moon__mul(ctx, y, moon__sub(ctx, dy, mean));
  return g->dx[0] ? MOON_OK : ctx->status;
}

/* dx = dy - exp(y) sum(dy) */
static moon_status grad_log_softmax(moon_context *ctx, const moon_grad *g) {
  int axis = (int)((const moon_axis_attrs *)g->node->attrs)->axis;
  moon_value *dy = g->dy[0];
  if (!dy || !g->need[0]) return MOON_OK;
  moon_value *sum = moon__reduce(ctx, MOON_OP_sum, dy, 1, &axis, true);
  g->dx[0] = moon__sub(ctx, dy, moon__mul(ctx, moon__unary(ctx, MOON_OP_exp, g->y[0]), sum));
  return g->dx[0] ? MOON_OK : ctx->status;
}

/* ---- Smooth gates ---- */

static moon_value *number(moon_context *ctx, const moon_body *b, double x) { return moon__number(ctx, b->in[0], x); }

/* x Phi(x) (Hendrycks and Gimpel, Gaussian error linear units): exact by erf, or their tanh approximation. */
static moon_status build_gelu(moon_context *ctx, const moon_body *b) {
  moon_value *x = b->in[0];
  if (((const moon_gelu_attrs *)b->attrs)->approximate) {
    b->out[0] = moon__unary(ctx, MOON_OP_gelu_tanh, x);
  } else {
    moon_value *step = moon__unary(ctx, MOON_OP_erf, moon__scale(ctx, x, 0.70710678118654752440)); /* 1 / sqrt(2) */
    b->out[0] = moon__mul(ctx, moon__scale(ctx, x, 0.5), moon__add(ctx, step, number(ctx, b, 1)));
  }
  return moon__rule_built(ctx, b);
}

static moon_status build_silu(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__mul(ctx, b->in[0], moon__unary(ctx, MOON_OP_sigmoid, b->in[0]));
  return moon__rule_built(ctx, b);
}

static moon_status build_mish(moon_context *ctx, const moon_body *b) {
  moon_value *soft = moon__unary(ctx, MOON_OP_softplus, b->in[0]);
  b->out[0] = moon__mul(ctx, b->in[0], moon__unary(ctx, MOON_OP_tanh, soft));
  return moon__rule_built(ctx, b);
}

/* ---- Pieces: one formula above 0, another below ---- */

static moon_value *is_positive(moon_context *ctx, const moon_body *b) {
  return moon__binary(ctx, MOON_OP_gt, b->in[0], number(ctx, b, 0));
}

/* x above 0, alpha (exp(x) - 1) below, where the exponential sees no positive x. */
static moon_value *elu(moon_context *ctx, const moon_body *b, double alpha) {
  moon_value *x = b->in[0], *positive = is_positive(ctx, b);
  moon_value *below = moon__where(ctx, positive, number(ctx, b, 0), x);
  return moon__where(ctx, positive, x, moon__scale(ctx, moon__unary(ctx, MOON_OP_expm1, below), alpha));
}

static moon_status build_elu(moon_context *ctx, const moon_body *b) {
  b->out[0] = elu(ctx, b, ((const moon_alpha_attrs *)b->attrs)->alpha);
  return moon__rule_built(ctx, b);
}

/* Constants of Klambauer et al., Self-normalizing neural networks. */
static moon_status build_selu(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__scale(ctx, elu(ctx, b, 1.67326324235437728481), 1.05070098735548049342);
  return moon__rule_built(ctx, b);
}

static moon_status build_leaky_relu(moon_context *ctx, const moon_body *b) {
  double alpha = ((const moon_alpha_attrs *)b->attrs)->alpha;
  b->out[0] = moon__where(ctx, is_positive(ctx, b), b->in[0], moon__scale(ctx, b->in[0], alpha));
  return moon__rule_built(ctx, b);
}

/* ---- Limits ---- */

static moon_status build_relu6(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__binary(ctx, MOON_OP_minimum, moon__unary(ctx, MOON_OP_relu, b->in[0]), number(ctx, b, 6));
  return moon__rule_built(ctx, b);
}

/* dx = dy where y is neither bound: y, which who comes next needs anyway, tells all. */
static moon_status grad_relu6(moon_context *ctx, const moon_grad *g) {
  moon_value *y = g->y[0], *dy = g->dy[0];
  if (!dy || !g->need[0]) return MOON_OK;
  moon_value *zero = moon__number(ctx, y, 0), *below = moon__binary(ctx, MOON_OP_lt, y, moon__number(ctx, y, 6));
  g->dx[0] = moon__where(ctx, moon__binary(ctx, MOON_OP_gt, y, zero), moon__where(ctx, below, dy, zero), zero);
  return g->dx[0] ? MOON_OK : ctx->status;
}

static moon_status build_hard_sigmoid(moon_context *ctx, const moon_body *b) {
  moon_value *x = moon__add(ctx, b->in[0], number(ctx, b, 3));
  b->out[0] = moon__scale(ctx, moon__apply(ctx, MOON_OP_relu6, NULL, 1, &x), 1.0 / 6.0);
  return moon__rule_built(ctx, b);
}

static moon_status build_softsign(moon_context *ctx, const moon_body *b) {
  moon_value *size = moon__unary(ctx, MOON_OP_abs, b->in[0]);
  b->out[0] = moon__div(ctx, b->in[0], moon__add(ctx, size, number(ctx, b, 1)));
  return moon__rule_built(ctx, b);
}

static const moon_attr axis_rows[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .number = -1)};
static const moon_attr gelu_rows[] = {MOON_ATTR(moon_gelu_attrs, approximate, BOOL, .number = 0)};
static const moon_attr elu_rows[] = {MOON_ATTR(moon_alpha_attrs, alpha, F64, .number = 1)};
static const moon_attr leaky_rows[] = {MOON_ATTR(moon_alpha_attrs, alpha, F64, .number = 0.3)};

/* What all of these have in common. */
#define ACTIVATION \
  .kind = MOON_COMPOSITE, .inputs = MOON_INPUTS_FLOAT, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x"

MOON_OP(softmax) = {MOON_OP_HEAD(softmax),
                    ACTIVATION,
                    MOON_OP_ATTRS(moon_axis_attrs, axis_rows),
                    .infer = infer_along,
                    .grad = grad_softmax,
                    .build = build_softmax,
                    .doc = "exp(x) / sum(exp(x)) along axis, without overflow: x [..] -> [..]."};
MOON_OP(log_softmax) = {MOON_OP_HEAD(log_softmax),
                        ACTIVATION,
                        MOON_OP_ATTRS(moon_axis_attrs, axis_rows),
                        .infer = infer_along,
                        .grad = grad_log_softmax,
                        .build = build_log_softmax,
                        .doc = "Logarithm of softmax along axis: x [..] -> [..]."};
MOON_OP(gelu) = {MOON_OP_HEAD(gelu),
                 ACTIVATION,
                 MOON_OP_ATTRS(moon_gelu_attrs, gelu_rows),
                 .infer = moon__infer_same,
                 .build = build_gelu,
                 .doc = "x times the normal distribution function: x [..] -> [..]; approximate: by tanh."};
MOON_OP(silu) = {MOON_OP_HEAD(silu), ACTIVATION, .infer = moon__infer_same, .build = build_silu,
                 .doc = "x sigmoid(x), also called swish: x [..] -> [..]."};
MOON_OP(mish) = {MOON_OP_HEAD(mish), ACTIVATION, .infer = moon__infer_same, .build = build_mish,
                 .doc = "x tanh(softplus(x)): x [..] -> [..]."};
MOON_OP(elu) = {MOON_OP_HEAD(elu),         ACTIVATION,         MOON_OP_ATTRS(moon_alpha_attrs, elu_rows),
                .infer = moon__infer_same, .build = build_elu, .doc = "x above 0, alpha (exp(x) - 1) below: x [..] -> [..]."};
MOON_OP(selu) = {MOON_OP_HEAD(selu), ACTIVATION, .infer = moon__infer_same, .build = build_selu,
                 .doc = "Scaled elu that keeps mean 0 and variance 1: x [..] -> [..]."};
MOON_OP(leaky_relu) = {MOON_OP_HEAD(leaky_relu),
                       ACTIVATION,
                       MOON_OP_ATTRS(moon_alpha_attrs, leaky_rows),
                       .infer = moon__infer_same,
                       .build = build_leaky_relu,
                       .doc = "x above 0, alpha x below: x [..] -> [..]."};
MOON_OP(relu6) = {MOON_OP_HEAD(relu6), ACTIVATION, .infer = moon__infer_same, .grad = grad_relu6, .build = build_relu6,
                  .doc = "x kept within 0 and 6: x [..] -> [..]."};
MOON_OP(hard_sigmoid) = {MOON_OP_HEAD(hard_sigmoid), ACTIVATION, .infer = moon__infer_same, .build = build_hard_sigmoid,
                         .doc = "relu6(x + 3) / 6: x [..] -> [..]."};
MOON_OP(softsign) = {MOON_OP_HEAD(softsign), ACTIVATION, .infer = moon__infer_same, .build = build_softsign,
                     .doc = "x / (1 + |x|): x [..] -> [..]."};
