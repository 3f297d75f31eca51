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
    .build = build_rms,
    .doc = "x / sqrt(mean(x x) + epsilon) over axes (default the last), times gamma: x [..], gamma [axes..] (may be left out) "
           "-> [..].",
};
