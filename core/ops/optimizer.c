/*
** optimizer.c: one update of a weight and its slots, as Keras 3 computes it; assigning the results is the caller's business. lr is
** a value of rank 0, so a schedule changes no graph. Many updates in one node are what the pass join makes. Letters: w, g (the gradient), slots m, v: [..], all alike; lr, t: rank 0.
*/
#include "ops/optimizer.h"

#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* Inputs [0, ntensors) are alike, the others numbers; output i is like w. */
static moon_status infer_update(moon_context *ctx, moon_infer *f, int ntensors, const char *const *names) {
  const char *who = f->op->name;
  moon_status s = moon__rule_float(ctx, who, "w", f->in[0].dtype);
  for (int i = 1; i < ntensors && s == MOON_OK; i++) {
    s = moon__rule_same_dtype(ctx, who, "w", f->in[0].dtype, names[i], f->in[i].dtype);
    if (s == MOON_OK) s = moon__rule_same_shape(ctx, who, "w", &f->in[0].shape, names[i], &f->in[i].shape);
  }
  for (int i = ntensors; i < f->ninputs && s == MOON_OK; i++) {
    if (f->in[i].shape.ndim != 0)
      s = moon__fail(ctx, MOON_ESHAPE, "%s: %s must be one number (rank 0), got %s", who, names[i],
                     moon__rule_text(ctx, &f->in[i].shape).s);
  }
  for (int i = 0; i < f->noutputs; i++) f->out[i] = f->in[0];
  return s;
}

static moon_status check_rate(moon_context *ctx, const char *who, const char *name, double x) {
  if (x >= 0 && x < 1) return MOON_OK;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: %s must be from 0 to below 1, got %g", who, name, x);
}

static moon_value *sqrt_of(moon_context *ctx, moon_value *v) { return moon__unary(ctx, MOON_OP_sqrt, v); }

/* a + (b - a) rate */
static moon_value *towards(moon_context *ctx, moon_value *a, moon_value *b, double rate) {
  return moon__add(ctx, a, moon__scale(ctx, moon__sub(ctx, b, a), rate));
}

/* ---- SGD ---- */

static moon_status infer_sgd(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"w", "g", "m", "lr"};
  const moon_sgd_attrs *a = f->attrs;
  moon_status s = check_rate(ctx, "sgd_update", "momentum", a->momentum);
  return s == MOON_OK ? infer_update(ctx, f, 3, names) : s;
}

/* m' = momentum m - lr g; w' = w + m', or with Nesterov w + momentum m' - lr g */
static moon_status build_sgd(moon_context *ctx, const moon_body *b) {
  const moon_sgd_attrs *a = b->attrs;
  moon_value *w = b->in[0], *step = moon__mul(ctx, b->in[1], moon__cast(ctx, b->in[3], w->type.dtype));
  b->out[1] = b->in[2];
  b->out[0] = moon__sub(ctx, w, step);
  if (a->momentum == 0) return moon__rule_built(ctx, b);
  b->out[1] = moon__sub(ctx, moon__scale(ctx, b->in[2], a->momentum), step);
  if (a->nesterov) b->out[0] = moon__sub(ctx, moon__add(ctx, w, moon__scale(ctx, b->out[1], a->momentum)), step);
  else b->out[0] = moon__add(ctx, w, b->out[1]);
  return moon__rule_built(ctx, b);
}

/* ---- Adam ---- */

static moon_status infer_adam(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"w", "g", "m", "v", "lr", "t"};
  const moon_adam_attrs *a = f->attrs;
  moon_status s = check_rate(ctx, "adam_update", "beta_1", a->beta_1);
  if (s == MOON_OK) s = check_rate(ctx, "adam_update", "beta_2", a->beta_2);
  if (s == MOON_OK && !(a->epsilon >= 0 && a->weight_decay >= 0))
    s = moon__fail(ctx, MOON_EARGUMENT, "adam_update: epsilon and weight_decay must be 0 or more, got %g and %g", a->epsilon,
                   a->weight_decay);
  return s == MOON_OK ? infer_update(ctx, f, 4, names) : s;
}

/* 1 - beta^t */
static moon_value *correction(moon_context *ctx, double beta, moon_value *t) {
  if (!t) return NULL;
  return moon__sub(ctx, moon__number(ctx, t, 1), moon__binary(ctx, MOON_OP_pow, moon__number(ctx, t, beta), t));
}

/* Kingma and Ba, Adam, section 2: w' = w - lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m' / (sqrt(v') + epsilon). Weight decay acts on w
** alone (Loshchilov and Hutter, AdamW). */
static moon_status build_adam(moon_context *ctx, const moon_body *b) {
  const moon_adam_attrs *a = b->attrs;
  moon_value *w = b->in[0], *g = b->in[1];
  moon_value *lr = moon__cast(ctx, b->in[4], w->type.dtype), *t = moon__cast(ctx, b->in[5], w->type.dtype);
  moon_value *m = towards(ctx, b->in[2], g, 1 - a->beta_1), *v = towards(ctx, b->in[3], moon__mul(ctx, g, g), 1 - a->beta_2);
  moon_value *rate = moon__mul(ctx, lr, moon__div(ctx, sqrt_of(ctx, correction(ctx, a->beta_2, t)), correction(ctx, a->beta_1, t)));
  moon_value *root = sqrt_of(ctx, v);
  if (!root || !lr) return ctx->status;
  moon_value *step = moon__div(ctx, moon__mul(ctx, m, rate), moon__add(ctx, root, moon__number(ctx, w, a->epsilon)));
  if (a->weight_decay != 0) w = moon__sub(ctx, w, moon__mul(ctx, w, moon__scale(ctx, lr, a->weight_decay)));
  b->out[0] = moon__sub(ctx, w, step);
  b->out[1] = m;
  b->out[2] = v;
  return moon__rule_built(ctx, b);
}

/* ---- RMSprop ---- */

static moon_status infer_rmsprop(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"w", "g", "v", "m", "lr"};
  const moon_rmsprop_attrs *a = f->attrs;
  moon_status s = check_rate(ctx, "rmsprop_update", "rho", a->rho);
  if (s == MOON_OK) s = check_rate(ctx, "rmsprop_update", "momentum", a->momentum);
  if (s == MOON_OK && !(a->epsilon >= 0))
    s = moon__fail(ctx, MOON_EARGUMENT, "rmsprop_update: epsilon must be 0 or more, got %g", a->epsilon);
  return s == MOON_OK ? infer_update(ctx, f, 4, names) : s;
}

/* v' = rho v + (1 - rho) g g; m' = momentum m + lr g / sqrt(v' + epsilon); w' = w - m'. Epsilon is under the root, as in Keras. */
static moon_status build_rmsprop(moon_context *ctx, const moon_body *b) {
  const moon_rmsprop_attrs *a = b->attrs;
  moon_value *w = b->in[0], *g = b->in[1], *m = b->in[3];
  moon_value *lr = moon__cast(ctx, b->in[4], w->type.dtype);
  moon_value *v = towards(ctx, b->in[2], moon__mul(ctx, g, g), 1 - a->rho);
  if (!v) return ctx->status;
  moon_value *root = sqrt_of(ctx, moon__add(ctx, v, moon__number(ctx, v, a->epsilon)));
  moon_value *step = moon__div(ctx, moon__mul(ctx, lr, g), root);
  if (a->momentum != 0) m = step = moon__add(ctx, moon__scale(ctx, m, a->momentum), step);
  b->out[0] = moon__sub(ctx, w, step);
  b->out[1] = v;
  b->out[2] = m;
  return moon__rule_built(ctx, b);
}

/* ---- Many at once ---- */

static const moon_update updates[] = {
    {MOON_OP_sgd_update, MOON_OP_sgd_updates, 3, 1},
    {MOON_OP_adam_update, MOON_OP_adam_updates, 4, 2},
    {MOON_OP_rmsprop_update, MOON_OP_rmsprop_updates, 4, 1},
};

const moon_update *moon__update_of(moon_op_id id) {
  for (size_t i = 0; i < sizeof updates / sizeof *updates; i++)
    if (updates[i].one == id || updates[i].many == id) return &updates[i];
  return NULL;
}

/* Checks each set of tensors with the numbers, as one update would. */
static moon_status infer_many(moon_context *ctx, moon_infer *f) {
  const moon_update *u = moon__update_of(f->op->id);
  int sets = (f->ninputs - u->numbers) / u->tensors, rest = sets * u->tensors, given = f->ninputs - rest;
  if (sets < 1 || given > u->numbers + 1 || sets * (u->tensors - 1) > MOON_MAX_OUTPUTS)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: %d inputs are no whole number of updates", f->op->name, f->ninputs);
  moon_status s = MOON_OK;
  for (int i = 0; i < sets && s == MOON_OK; i++) {
    moon_type in[8], out[3];
    for (int k = 0; k < u->tensors + u->numbers; k++) in[k] = f->in[k < u->tensors ? i * u->tensors + k : rest + k - u->tensors];
    moon_infer one = {.op = moon__ops[u->one], .ninputs = u->tensors + u->numbers, .in = in, .attrs = f->attrs,
                      .noutputs = u->tensors - 1, .out = out};
    s = one.op->infer(ctx, &one);
    for (int k = 0; k < u->tensors - 1; k++) f->out[i * (u->tensors - 1) + k] = out[k];
  }
  if (s == MOON_OK && given > u->numbers && f->in[f->ninputs - 1].shape.ndim != 0)
    s = moon__fail(ctx, MOON_ESHAPE, "%s: scale must be one number (rank 0)", f->op->name);
  f->noutputs = sets * (u->tensors - 1);
  return s;
}

/* One update after the other, of gradients times scale. */
static moon_status build_many(moon_context *ctx, const moon_body *b, moon_op_id one) {
  const moon_update *u = moon__update_of(one);
  int slots = u->tensors - 1, sets = b->noutputs / slots, rest = sets * u->tensors;
  for (int i = 0; i < sets; i++) {
    moon_value *in[8];
    for (int k = 0; k < u->tensors + u->numbers; k++) in[k] = b->in[k < u->tensors ? i * u->tensors + k : rest + k - u->tensors];
    if (b->n > rest + u->numbers) in[1] = moon__mul(ctx, in[1], moon__cast(ctx, b->in[b->n - 1], in[1]->type.dtype));
    moon_value *v = in[1] ? moon__apply(ctx, one, b->attrs, u->tensors + u->numbers, in) : NULL;
    for (int k = 0; k < slots; k++) b->out[i * slots + k] = moon__output(v, k);
  }
  return moon__rule_built(ctx, b);
}
static moon_status build_sgds(moon_context *ctx, const moon_body *b) { return build_many(ctx, b, MOON_OP_sgd_update); }
static moon_status build_adams(moon_context *ctx, const moon_body *b) { return build_many(ctx, b, MOON_OP_adam_update); }
static moon_status build_rmsprops(moon_context *ctx, const moon_body *b) { return build_many(ctx, b, MOON_OP_rmsprop_update); }

/* ---- Norm ---- */

static moon_status infer_squares(moon_context *ctx, moon_infer *f) {
  f->out[0] = (moon_type){f->in[0].dtype, {.ndim = 0}};
  return moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
}

static moon_status build_squares(moon_context *ctx, const moon_body *b) {
  for (int i = 0; i < b->n; i++) {
    moon_value *x = moon__mul(ctx, b->in[i], b->in[i]);
    if (x && moon__shape_of(x)->ndim > 0) x = moon__reduce(ctx, MOON_OP_sum, x, 0, NULL, false);
    b->out[0] = i ? moon__add(ctx, b->out[0], x) : x;
  }
  return moon__rule_built(ctx, b);
}

static const moon_attr sgd_rows[] = {
    MOON_ATTR(moon_sgd_attrs, momentum, F64, .number = 0),
    MOON_ATTR(moon_sgd_attrs, nesterov, BOOL, .number = 0),
};
static const moon_attr adam_rows[] = {
    MOON_ATTR(moon_adam_attrs, beta_1, F64, .number = 0.9),
    MOON_ATTR(moon_adam_attrs, beta_2, F64, .number = 0.999),
    MOON_ATTR(moon_adam_attrs, epsilon, F64, .number = 1e-7),
    MOON_ATTR(moon_adam_attrs, weight_decay, F64, .number = 0),
};
static const moon_attr rmsprop_rows[] = {
    MOON_ATTR(moon_rmsprop_attrs, rho, F64, .number = 0.9),
    MOON_ATTR(moon_rmsprop_attrs, momentum, F64, .number = 0),
    MOON_ATTR(moon_rmsprop_attrs, epsilon, F64, .number = 1e-7),
};

MOON_OP(sgd_update) = {
    MOON_OP_HEAD(sgd_update),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 4,
    .max_inputs = 4,
    .noutputs = 2,
    .input_names = "w, g, m, lr",
    MOON_OP_ATTRS(moon_sgd_attrs, sgd_rows),
    .infer = infer_sgd,
    .build = build_sgd,
    .doc = "One step of gradient descent: w, g, m [..], lr rank 0 -> w, m [..]; without momentum m comes back as it was.",
};

MOON_OP(adam_update) = {
    MOON_OP_HEAD(adam_update),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 6,
    .max_inputs = 6,
    .noutputs = 3,
    .input_names = "w, g, m, v, lr, t",
    MOON_OP_ATTRS(moon_adam_attrs, adam_rows),
    .infer = infer_adam,
    .build = build_adam,
    .doc = "One step of Adam, AdamW with weight_decay: w, g, m, v [..], lr and the step t from 1, rank 0 -> w, m, v [..].",
};

MOON_OP(rmsprop_update) = {
    MOON_OP_HEAD(rmsprop_update),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 5,
    .max_inputs = 5,
    .noutputs = 3,
    .input_names = "w, g, v, m, lr",
    MOON_OP_ATTRS(moon_rmsprop_attrs, rmsprop_rows),
    .infer = infer_rmsprop,
    .build = build_rmsprop,
    .doc = "One step of RMSprop: w, g, v, m [..], lr rank 0 -> w, v, m [..]; without momentum m comes back as it was.",
};

#define MANY .kind = MOON_COMPOSITE, .flags = MOON_OPF_INTERNAL, .min_inputs = 4, .max_inputs = -1, .infer = infer_many

MOON_OP(sgd_updates) = {MOON_OP_HEAD(sgd_updates), MANY, .input_names = "w, g, m, .., lr, scale", .build = build_sgds,
                        MOON_OP_ATTRS(moon_sgd_attrs, sgd_rows), .doc = "sgd_update of many weights, whose gradients are scaled."};
MOON_OP(adam_updates) = {MOON_OP_HEAD(adam_updates), MANY, .input_names = "w, g, m, v, .., lr, t, scale", .build = build_adams,
                         MOON_OP_ATTRS(moon_adam_attrs, adam_rows), .doc = "adam_update of many weights, whose gradients are scaled."};
MOON_OP(rmsprop_updates) = {MOON_OP_HEAD(rmsprop_updates), MANY, .input_names = "w, g, v, m, .., lr, scale", .build = build_rmsprops,
                            MOON_OP_ATTRS(moon_rmsprop_attrs, rmsprop_rows),
                            .doc = "rmsprop_update of many weights, whose gradients are scaled."};

MOON_OP(sum_squares) = {
    MOON_OP_HEAD(sum_squares),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_VARIADIC | MOON_OPF_METHOD_OFF,
    .min_inputs = 1,
    .max_inputs = -1,
    .noutputs = 1,
    .input_names = "x...",
    .infer = infer_squares,
    .build = build_squares,
    .doc = "Sum of the squares of all elements of all inputs: x [..]... -> rank 0.",
};
