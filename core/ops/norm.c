/*
** norm.c: normalisations of each sample over its own axes: layer_norm, rms_norm; over the batch: batch_norm.c. Statistics are means
** over the named axes, the variance is the biased one, and epsilon stands under the root, so gradients are finite everywhere.
** Letters: x [..] with axes of sizes a..; gamma and beta [a..].
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- Pieces ---- */

static moon_value *moved_by(moon_context *ctx, moon_value *x, double epsilon) {
  return x ? moon__add(ctx, x, moon__number(ctx, x, epsilon)) : NULL;
}

/* Gives v, which has the sizes of axes, the rank of x. */
static moon_value *spread(moon_context *ctx, moon_value *v, moon_value *x, int n, const int *axes) {
  moon_shape to = {.ndim = moon__shape_of(x)->ndim};
  for (int i = 0; i < to.ndim; i++) to.dim[i] = 1;
  for (int i = 0; i < n; i++) to.dim[axes[i]] = moon__shape_of(x)->dim[axes[i]];
  return v ? moon__reshape(ctx, v, &to) : NULL;
}

static moon_value *mean_square(moon_context *ctx, moon_value *d, int n, const int *axes) {
  return moon__reduce(ctx, MOON_OP_mean, moon__mul(ctx, d, d), n, axes, true);
}

static moon_status check_epsilon(moon_context *ctx, const char *who, double epsilon) {
  if (epsilon >= 0) return MOON_OK;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: epsilon must be 0 or more, got %g", who, epsilon);
}

/* ---- layer_norm and rms_norm ---- */

static moon_status infer_layer(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "gamma", "beta"};
  moon_norm_attrs *a = f->attrs;
  const moon_shape *x = moon__rule_shape(f, 0);
  moon_shape part = {0};
  moon_status s = check_epsilon(ctx, f->op->name, a->epsilon);
  if (a->axes.n == 0) a->axes = (moon_ints){.n = 1, .v = {-1}};
  if (s == MOON_OK) s = moon__rule_axes(ctx, f->op->name, &a->axes, x);
  if (s != MOON_OK) return s;
  for (int i = 0; i < a->axes.n; i++) part.dim[part.ndim++] = x->dim[a->axes.v[i]];
  f->out[0] = f->in[0];
  for (int i = 1; i < f->ninputs && s == MOON_OK; i++)
    s = moon__rule_same_shape(ctx, f->op->name, "the axes of x are", &part, names[i], &f->in[i].shape);
  return s;
}

static int list_axes(const moon_norm_attrs *a, int *axes) {
  for (int i = 0; i < a->axes.n; i++) axes[i] = (int)a->axes.v[i];
  return a->axes.n;
}

/* d / sqrt(mean(d d) + epsilon) gamma + beta, gamma and beta if they are there. */
static moon_status scaled(moon_context *ctx, const moon_body *b, moon_value *d, int n, const int *axes) {
  double epsilon = ((const moon_norm_attrs *)b->attrs)->epsilon;
  moon_value *y = moon__mul(ctx, d, moon__unary(ctx, MOON_OP_rsqrt, moved_by(ctx, mean_square(ctx, d, n, axes), epsilon)));
  if (b->n > 1) y = moon__mul(ctx, y, spread(ctx, b->in[1], b->in[0], n, axes));
  if (b->n > 2) y = moon__add(ctx, y, spread(ctx, b->in[2], b->in[0], n, axes));
  b->out[0] = y;
  return moon__rule_built(ctx, b);
}

static moon_status build_layer(moon_context *ctx, const moon_body *b) {
  int axes[MOON_MAX_DIMS], n = list_axes(b->attrs, axes);
  moon_value *x = b->in[0];
  return scaled(ctx, b, moon__sub(ctx, x, moon__reduce(ctx, MOON_OP_mean, x, n, axes, true)), n, axes);
}

static moon_status build_rms(moon_context *ctx, const moon_body *b) {
  int axes[MOON_MAX_DIMS], n = list_axes(b->attrs, axes);
  return scaled(ctx, b, b->in[0], n, axes);
}

/* ---- Their gradients: x, dy, gamma or not -> dx, dgamma, dbeta ---- */

static moon_status grad_layer(moon_context *ctx, const moon_grad *g, moon_op_id op) {
  moon_value *in[] = {g->x[0], g->dy[0], g->nx > 1 ? g->x[1] : NULL};
  if (!g->dy[0]) return MOON_OK;
  moon_value *v = moon__apply(ctx, op, g->node->attrs, g->nx > 1 ? 3 : 2, in);
  for (int i = 0; v && i < g->nx; i++) g->dx[i] = moon__output(v, i);
  return v ? MOON_OK : ctx->status;
}
static moon_status grad_layer_norm(moon_context *ctx, const moon_grad *g) { return grad_layer(ctx, g, MOON_OP_layer_norm_grad); }
static moon_status grad_rms_norm(moon_context *ctx, const moon_grad *g) { return grad_layer(ctx, g, MOON_OP_rms_norm_grad); }

static moon_status infer_layer_grad(moon_context *ctx, moon_infer *f) {
  moon_norm_attrs *a = f->attrs;
  const moon_shape *x = moon__rule_shape(f, 0);
  moon_shape part = {0};
  moon_status s = check_epsilon(ctx, f->op->name, a->epsilon);
  if (a->axes.n == 0) a->axes = (moon_ints){.n = 1, .v = {-1}};
  if (s == MOON_OK) s = moon__rule_axes(ctx, f->op->name, &a->axes, x);
  if (s == MOON_OK) s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  for (int i = 1; i < f->ninputs && s == MOON_OK; i++)
    s = moon__rule_same_dtype(ctx, f->op->name, "x", f->in[0].dtype, i == 1 ? "dy" : "gamma", f->in[i].dtype);
  if (s == MOON_OK) s = moon__rule_same_shape(ctx, f->op->name, "x", x, "dy", &f->in[1].shape);
  if (s != MOON_OK) return s;
  for (int i = 0; i < a->axes.n; i++) part.dim[part.ndim++] = x->dim[a->axes.v[i]];
  f->out[0] = f->in[0];
  f->out[1] = f->out[2] = (moon_type){f->in[0].dtype, part};
  return f->ninputs > 2 ? moon__rule_same_shape(ctx, f->op->name, "the axes of x are", &part, "gamma", &f->in[2].shape) : MOON_OK;
}

/* Sums v over all axes but those. */
static moon_value *onto(moon_context *ctx, moon_value *v, int n, const int *axes) {
  int others[MOON_MAX_DIMS], count = 0;
  for (int i = 0, k = 0; v && i < moon__shape_of(v)->ndim; i++) {
    if (k < n && axes[k] == i) k++;
    else others[count++] = i;
  }
  return v && count ? moon__reduce(ctx, MOON_OP_sum, v, count, others, false) : v;
}

/* With n = d / sqrt(mean(d d) + epsilon) = d r and g = dy gamma: dx = r (g - mean(g) - n mean(g n)), the first mean where d is
** x - mean(x). */
static moon_status build_grad(moon_context *ctx, const moon_body *b, bool centred) {
  int axes[MOON_MAX_DIMS], n = list_axes(b->attrs, axes);
  moon_value *x = b->in[0], *dy = b->in[1], *d = x, *g = dy;
  if (centred) d = moon__sub(ctx, x, moon__reduce(ctx, MOON_OP_mean, x, n, axes, true));
  double epsilon = ((const moon_norm_attrs *)b->attrs)->epsilon;
  moon_value *r = moon__unary(ctx, MOON_OP_rsqrt, moved_by(ctx, mean_square(ctx, d, n, axes), epsilon)), *y = moon__mul(ctx, d, r);
  if (b->n > 2) g = moon__mul(ctx, dy, spread(ctx, b->in[2], x, n, axes));
  moon_value *along = moon__reduce(ctx, MOON_OP_mean, moon__mul(ctx, g, y), n, axes, true);
  moon_value *rest = moon__sub(ctx, g, moon__mul(ctx, y, along));
  if (centred) rest = moon__sub(ctx, rest, moon__reduce(ctx, MOON_OP_mean, g, n, axes, true));
  b->out[0] = moon__mul(ctx, r, rest);
  b->out[1] = onto(ctx, moon__mul(ctx, dy, y), n, axes);
  b->out[2] = onto(ctx, dy, n, axes);
  return moon__rule_built(ctx, b);
}
static moon_status build_layer_grad(moon_context *ctx, const moon_body *b) { return build_grad(ctx, b, true); }
static moon_status build_rms_grad(moon_context *ctx, const moon_body *b) { return build_grad(ctx, b, false); }

static const moon_attr layer_rows[] = {
    MOON_ATTR(moon_norm_attrs, axes, AXES, .number = 0),
    MOON_ATTR(moon_norm_attrs, epsilon, F64, .number = 1e-3),
};
static const moon_attr rms_rows[] = {
    MOON_ATTR(moon_norm_attrs, axes, AXES, .number = 0),
    MOON_ATTR(moon_norm_attrs, epsilon, F64, .number = 1e-6),
};
MOON_OP(layer_norm) = {
    MOON_OP_HEAD(layer_norm),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 1,
    .max_inputs = 3,
    .noutputs = 1,
    .input_names = "x, gamma, beta",
    MOON_OP_ATTRS(moon_norm_attrs, layer_rows),
    .infer = infer_layer,
    .grad = grad_layer_norm,
    .build = build_layer,
    .doc = "x with mean 0 and variance 1 over axes (default the last), times gamma, plus beta: x [..], gamma and beta [axes..] "
           "(may be left out) -> [..].",
};

MOON_OP(rms_norm) = {
    MOON_OP_HEAD(rms_norm),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 1,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, gamma",
    MOON_OP_ATTRS(moon_norm_attrs, rms_rows),
    .infer = infer_layer,
    .grad = grad_rms_norm,
    .build = build_rms,
    .doc = "x / sqrt(mean(x x) + epsilon) over axes (default the last), times gamma: x [..], gamma [axes..] (may be left out) "
           "-> [..].",
};

#define NORM_GRAD .kind = MOON_COMPOSITE, .flags = MOON_OPF_INTERNAL, .min_inputs = 2, .max_inputs = 3, .noutputs = 3, \
                  .input_names = "x, dy, gamma", .infer = infer_layer_grad

MOON_OP(layer_norm_grad) = {
    MOON_OP_HEAD(layer_norm_grad), NORM_GRAD, MOON_OP_ATTRS(moon_norm_attrs, layer_rows), .build = build_layer_grad,
    .doc = "Gradient of layer_norm: x and dy [..], gamma [axes..] (may be left out) -> dx [..], dgamma and dbeta [axes..].",
};

MOON_OP(rms_norm_grad) = {
    MOON_OP_HEAD(rms_norm_grad), NORM_GRAD, MOON_OP_ATTRS(moon_norm_attrs, rms_rows), .build = build_rms_grad,
    .doc = "Gradient of rms_norm: x and dy [..], gamma [axes..] (may be left out) -> dx [..], dgamma and sum of dy [axes..].",
};
