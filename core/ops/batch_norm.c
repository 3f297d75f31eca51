/*
** batch_norm.c: batch normalisation: by a batch's own statistics and by given ones, and the two passes over whole arrays that the
** first needs: batch_moments forward, batch_sums backward, composites for which a backend may have kernels. All else is elementwise,
** so it fuses with what comes before and after. The variance is the biased one, and epsilon stands under the root, so gradients are
** finite everywhere. Running averages are not kept here: a layer assigns them.
** Letters: x [.., c, ..] of n elements a channel, everything else [c]; r = 1 / sqrt(variance + epsilon).
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static int axis_of(const moon_body *b) { return (int)((const moon_batch_norm_attrs *)b->attrs)->axis; }

/* v [c] as [1, .., c, .., 1]. */
static moon_value *spread(moon_context *ctx, moon_value *v, const moon_value *x, int axis) {
  moon_shape to = {.ndim = moon__shape_of(x)->ndim};
  for (int i = 0; i < to.ndim; i++) to.dim[i] = i == axis ? moon__shape_of(x)->dim[i] : 1;
  return v ? moon__reshape(ctx, v, &to) : NULL;
}

/* Sum or mean over all axes but one; x [c] is one example, and its own mean. */
static moon_value *reduce(moon_context *ctx, moon_op_id op, moon_value *x, int axis) {
  int others[MOON_MAX_DIMS], n = 0;
  for (int i = 0; x && i < moon__shape_of(x)->ndim; i++) {
    if (i != axis) others[n++] = i;
  }
  return n ? moon__reduce(ctx, op, x, n, others, false) : x;
}

static moon_value *rsqrt_of(moon_context *ctx, moon_value *variance, double epsilon) {
  return variance ? moon__unary(ctx, MOON_OP_rsqrt, moon__add(ctx, variance, moon__number(ctx, variance, epsilon))) : NULL;
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  static const char *const affine[] = {"x", "gamma", "beta", "mean", "variance"};
  moon_batch_norm_attrs *a = f->attrs;
  const moon_shape *x = moon__rule_shape(f, 0);
  moon_status s = MOON_OK;
  if (!(a->epsilon >= 0)) s = moon__fail(ctx, MOON_EARGUMENT, "%s: epsilon must be 0 or more, got %g", f->op->name, a->epsilon);
  if (s == MOON_OK) s = moon__rule_axis(ctx, f->op->name, &a->axis, x);
  for (int i = 1; i < f->ninputs && s == MOON_OK; i++)
    s = moon__rule_vector(ctx, f->op->name, affine[i], &f->in[i].shape, x->dim[a->axis]);
  f->out[0] = f->in[0];
  for (int i = 1; i < f->noutputs && s == MOON_OK; i++) f->out[i] = (moon_type){f->in[0].dtype, moon__shape(1, &x->dim[a->axis])};
  return s;
}

/* (x) or (x, dy, mean) -> two of [c]. */
static moon_status infer_sums(moon_context *ctx, moon_infer *f) {
  moon_batch_norm_attrs *a = f->attrs;
  const moon_shape *x = moon__rule_shape(f, 0);
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis, x);
  if (s == MOON_OK && f->ninputs > 1) s = moon__rule_same_shape(ctx, f->op->name, "x is", x, "dy", moon__rule_shape(f, 1));
  if (s == MOON_OK && f->ninputs > 1) s = moon__rule_vector(ctx, f->op->name, "mean", moon__rule_shape(f, 2), x->dim[a->axis]);
  for (int i = 0; i < 2 && s == MOON_OK; i++) f->out[i] = (moon_type){f->in[0].dtype, moon__shape(1, &x->dim[a->axis])};
  return s;
}

static moon_status build_moments(moon_context *ctx, const moon_body *b) {
  moon_value *x = b->in[0];
  b->out[0] = reduce(ctx, MOON_OP_mean, x, axis_of(b));
  moon_value *d = moon__sub(ctx, x, spread(ctx, b->out[0], x, axis_of(b)));
  b->out[1] = reduce(ctx, MOON_OP_mean, moon__mul(ctx, d, d), axis_of(b));
  return moon__rule_built(ctx, b);
}

static moon_status build_sums(moon_context *ctx, const moon_body *b) {
  moon_value *x = b->in[0], *dy = b->in[1], *mean = b->in[2];
  b->out[0] = reduce(ctx, MOON_OP_sum, dy, axis_of(b));
  b->out[1] = reduce(ctx, MOON_OP_sum, moon__mul(ctx, dy, moon__sub(ctx, x, spread(ctx, mean, x, axis_of(b)))), axis_of(b));
  return moon__rule_built(ctx, b);
}

/* (x - mean) gamma r + beta */
static moon_status build_train(moon_context *ctx, const moon_body *b) {
  const moon_batch_norm_attrs *a = b->attrs;
  moon_value *x = b->in[0], *mean = moon__apply(ctx, MOON_OP_batch_moments, a, 1, &x), *variance = moon__output(mean, 1);
  moon_value *scale = moon__mul(ctx, b->in[1], rsqrt_of(ctx, variance, a->epsilon));
  moon_value *d = moon__sub(ctx, x, spread(ctx, mean, x, axis_of(b)));
  moon_value *scaled = moon__mul(ctx, d, spread(ctx, scale, x, axis_of(b)));
  b->out[0] = moon__add(ctx, scaled, spread(ctx, b->in[2], x, axis_of(b)));
  b->out[1] = mean;
  b->out[2] = variance;
  return moon__rule_built(ctx, b);
}

/* Elements a channel, as a number of x's dtype. */
static moon_value *count_of(moon_context *ctx, const moon_value *x, int axis) {
  moon_dim n = 1;
  for (int i = 0; i < moon__shape_of(x)->ndim && n != MOON_DIM_ERROR; i++) {
    if (i != axis) n = moon_dim_mul(ctx, n, moon__shape_of(x)->dim[i]);
  }
  return n == MOON_DIM_ERROR ? NULL : moon__size(ctx, n, x->type.dtype);
}

static moon_value *plus(moon_context *ctx, moon_value *a, moon_value *b) { return a && b ? moon__add(ctx, a, b) : a ? a : b; }

/* With s = sum(dy) and t = sum(dy (x - mean)): dx = a dy - a r r t / n (x - mean) - a s / n, a = gamma r; dgamma = t r; dbeta = s.
** The gradients of mean and variance themselves add dmean / n and 2 dvariance (x - mean) / n. */
static moon_status grad_train(moon_context *ctx, const moon_grad *g) {
  const moon_batch_norm_attrs *at = g->node->attrs;
  moon_value *x = g->x[0], *dy = g->dy[0], *mean = g->y[1], *r = rsqrt_of(ctx, g->y[2], at->epsilon);
  moon_value *n = count_of(ctx, x, (int)at->axis), *along = NULL, *level = NULL, *dx = NULL;
  if (dy) {
    moon_value *s = moon__apply(ctx, MOON_OP_batch_sums, at, 3, (moon_value *[]){x, dy, mean}), *t = moon__output(s, 1);
    moon_value *a = moon__mul(ctx, g->x[1], r);
    g->dx[1] = moon__mul(ctx, t, r);
    g->dx[2] = s;
    along = moon__neg(ctx, moon__div(ctx, moon__mul(ctx, moon__mul(ctx, a, moon__mul(ctx, r, r)), t), n));
    level = moon__neg(ctx, moon__div(ctx, moon__mul(ctx, a, s), n));
    dx = moon__mul(ctx, dy, spread(ctx, a, x, (int)at->axis));
  }
  if (g->dy[2]) along = plus(ctx, along, moon__scale(ctx, moon__div(ctx, g->dy[2], n), 2));
  if (g->dy[1]) level = plus(ctx, level, moon__div(ctx, g->dy[1], n));
  if (along) {
    moon_value *d = moon__sub(ctx, x, spread(ctx, mean, x, (int)at->axis));
    dx = plus(ctx, dx, moon__mul(ctx, d, spread(ctx, along, x, (int)at->axis)));
  }
  if (level) dx = dx ? plus(ctx, dx, spread(ctx, level, x, (int)at->axis))
                     : moon__broadcast_to(ctx, spread(ctx, level, x, (int)at->axis), moon__shape_of(x));
  g->dx[0] = dx;
  return dx ? MOON_OK : moon_error_status(ctx);
}

/* Scale and shift depend on weights alone, so a program computes them once. */
static moon_status build_infer(moon_context *ctx, const moon_body *b) {
  const moon_batch_norm_attrs *a = b->attrs;
  moon_value *x = b->in[0], *gamma = b->in[1], *beta = b->in[2], *mean = b->in[3], *variance = b->in[4];
  moon_value *scale = moon__mul(ctx, gamma, rsqrt_of(ctx, variance, a->epsilon));
  moon_value *shift = moon__sub(ctx, beta, moon__mul(ctx, mean, scale));
  b->out[0] = moon__add(ctx, moon__mul(ctx, x, spread(ctx, scale, x, axis_of(b))), spread(ctx, shift, x, axis_of(b)));
  return moon__rule_built(ctx, b);
}

static const moon_attr rows[] = {
    MOON_ATTR(moon_batch_norm_attrs, axis, AXIS, .number = -1),
    MOON_ATTR(moon_batch_norm_attrs, epsilon, F64, .number = 1e-3),
};

#define BATCH(op, takes, gives, names) \
  MOON_OP_HEAD(op), .kind = MOON_COMPOSITE, .inputs = MOON_INPUTS_FLOAT, .min_inputs = takes, .max_inputs = takes, \
  .noutputs = gives, .input_names = names, MOON_OP_ATTRS(moon_batch_norm_attrs, rows)

MOON_OP(batch_norm_train) = {
    BATCH(batch_norm_train, 3, 3, "x, gamma, beta"),
    .infer = infer,
    .build = build_train,
    .grad = grad_train,
    .doc = "x normalised over all axes but one by its own statistics: x [.., c, ..], gamma and beta [c] -> y [.., c, ..], "
           "mean [c], biased variance [c].",
};

MOON_OP(batch_norm_infer) = {
    BATCH(batch_norm_infer, 5, 1, "x, gamma, beta, mean, variance"),
    .infer = infer,
    .build = build_infer,
    .doc = "x normalised by given statistics: x [.., c, ..], gamma, beta, mean and variance [c] -> [.., c, ..].",
};

MOON_OP(batch_moments) = {
    BATCH(batch_moments, 1, 2, "x"),
    .flags = MOON_OPF_INTERNAL,
    .infer = infer_sums,
    .build = build_moments,
    .doc = "Mean and biased variance over all axes but one: x [.., c, ..] -> [c], [c].",
};

MOON_OP(batch_sums) = {
    BATCH(batch_sums, 3, 2, "x, dy, mean"),
    .flags = MOON_OPF_INTERNAL,
    .infer = infer_sums,
    .build = build_sums,
    .doc = "sum(dy) and sum(dy (x - mean)) over all axes but one: x and dy [.., c, ..], mean [c] -> [c], [c].",
};
