/*
** norm.c: normalisations. Statistics are means over the named axes, the variance is the biased one, and epsilon stands under the
** root, so gradients are finite everywhere. Running averages are not kept here: a layer assigns them.
** Letters: x [..] with axes of sizes a..; gamma and beta [a..]; batch norm: x [.., c, ..], everything else [c].
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

/* ---- Batch normalisation ---- */

static moon_status infer_batch(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "gamma", "beta", "mean", "variance"};
  moon_batch_norm_attrs *a = f->attrs;
  const moon_shape *x = moon__rule_shape(f, 0);
  moon_status s = check_epsilon(ctx, f->op->name, a->epsilon);
  if (s == MOON_OK) s = moon__rule_axis(ctx, f->op->name, &a->axis, x);
  for (int i = 1; i < f->ninputs && s == MOON_OK; i++)
    s = moon__rule_vector(ctx, f->op->name, names[i], &f->in[i].shape, x->dim[a->axis]);
  f->out[0] = f->in[0];
  for (int i = 1; i < f->noutputs && s == MOON_OK; i++) f->out[i] = (moon_type){f->in[0].dtype, moon__shape(1, &x->dim[a->axis])};
  return s;
}

static moon_status build_batch_train(moon_context *ctx, const moon_body *b) {
  const moon_batch_norm_attrs *a = b->attrs;
  moon_value *x = b->in[0];
  moon_shape channels = {.ndim = 1, .dim = {moon__shape_of(x)->dim[a->axis]}};
  int axis = (int)a->axis, others[MOON_MAX_DIMS], n = 0;
  for (int i = 0; i < moon__shape_of(x)->ndim; i++) {
    if (i != axis) others[n++] = i;
  }
  /* x [c]: one example, which is its own mean. */
  moon_value *mean = n ? moon__reduce(ctx, MOON_OP_mean, x, n, others, true) : x;
  moon_value *d = moon__sub(ctx, x, mean);
  moon_value *variance = n ? mean_square(ctx, d, n, others) : moon__mul(ctx, d, d);
  moon_value *scale =
      moon__mul(ctx, moon__unary(ctx, MOON_OP_rsqrt, moved_by(ctx, variance, a->epsilon)), spread(ctx, b->in[1], x, 1, &axis));
  b->out[0] = moon__add(ctx, moon__mul(ctx, d, scale), spread(ctx, b->in[2], x, 1, &axis));
  b->out[1] = moon__reshape(ctx, mean, &channels);
  b->out[2] = moon__reshape(ctx, variance, &channels);
  return moon__rule_built(ctx, b);
}

/* Scale and shift depend on weights alone, so a program computes them once. */
static moon_status build_batch_infer(moon_context *ctx, const moon_body *b) {
  const moon_batch_norm_attrs *a = b->attrs;
  moon_value *x = b->in[0], *gamma = b->in[1], *beta = b->in[2], *mean = b->in[3], *variance = b->in[4];
  int axis = (int)a->axis;
  moon_value *scale = moon__mul(ctx, gamma, moon__unary(ctx, MOON_OP_rsqrt, moved_by(ctx, variance, a->epsilon)));
  moon_value *shift = moon__sub(ctx, beta, moon__mul(ctx, mean, scale));
  b->out[0] = moon__add(ctx, moon__mul(ctx, x, spread(ctx, scale, x, 1, &axis)), spread(ctx, shift, x, 1, &axis));
  return moon__rule_built(ctx, b);
}

static const moon_attr layer_rows[] = {
    MOON_ATTR(moon_norm_attrs, axes, AXES, .number = 0),
    MOON_ATTR(moon_norm_attrs, epsilon, F64, .number = 1e-3),
};
static const moon_attr rms_rows[] = {
    MOON_ATTR(moon_norm_attrs, axes, AXES, .number = 0),
    MOON_ATTR(moon_norm_attrs, epsilon, F64, .number = 1e-6),
};
static const moon_attr batch_rows[] = {
    MOON_ATTR(moon_batch_norm_attrs, axis, AXIS, .number = -1),
    MOON_ATTR(moon_batch_norm_attrs, epsilon, F64, .number = 1e-3),
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

MOON_OP(batch_norm_train) = {
    MOON_OP_HEAD(batch_norm_train),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 3,
    .max_inputs = 3,
    .noutputs = 3,
    .input_names = "x, gamma, beta",
    MOON_OP_ATTRS(moon_batch_norm_attrs, batch_rows),
    .infer = infer_batch,
    .build = build_batch_train,
    .doc = "x normalised over all axes but one by its own statistics: x [.., c, ..], gamma and beta [c] -> y [.., c, ..], "
           "mean [c], biased variance [c].",
};

MOON_OP(batch_norm_infer) = {
    MOON_OP_HEAD(batch_norm_infer),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 5,
    .max_inputs = 5,
    .noutputs = 1,
    .input_names = "x, gamma, beta, mean, variance",
    MOON_OP_ATTRS(moon_batch_norm_attrs, batch_rows),
    .infer = infer_batch,
    .build = build_batch_infer,
    .doc = "x normalised by given statistics: x [.., c, ..], gamma, beta, mean and variance [c] -> [.., c, ..].",
};
