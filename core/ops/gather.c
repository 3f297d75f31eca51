/*
** gather.c: reading and adding by index. gather and scatter_add, take_along_axis and put_along_axis_add are pairs of adjoints, so
** their gradients stay among them. Indices count from 0 and are never negative; kernels check them. embedding is gather by another
** name. Letters: x [p.., n, q..] with n on axis; index [i..]; y [p.., i.., q..].
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- Shapes ---- */

static moon_status gathered(moon_context *ctx, const char *who, const moon_shape *x, const moon_shape *index, moon_axis_attrs *a,
                            moon_shape *y) {
  moon_status s = moon__rule_axis(ctx, who, &a->axis, x);
  if (s != MOON_OK) return s;
  int axis = (int)a->axis;
  if (x->ndim - 1 + index->ndim > MOON_MAX_DIMS)
    return moon__fail(ctx, MOON_ESHAPE, "%s: the result would have more than %d axes: x %s, index %s", who, MOON_MAX_DIMS,
                      moon__rule_text(ctx, x).s, moon__rule_text(ctx, index).s);
  *y = (moon_shape){0};
  for (int i = 0; i < axis; i++) y->dim[y->ndim++] = x->dim[i];
  for (int i = 0; i < index->ndim; i++) y->dim[y->ndim++] = index->dim[i];
  for (int i = axis + 1; i < x->ndim; i++) y->dim[y->ndim++] = x->dim[i];
  return MOON_OK;
}

/* take_along_axis: index has the rank of x, and its sizes but along axis. */
static moon_status taken(moon_context *ctx, const char *who, const moon_shape *x, const moon_shape *index, moon_axis_attrs *a,
                         moon_shape *y) {
  moon_status s = moon__rule_axis(ctx, who, &a->axis, x);
  if (s != MOON_OK) return s;
  bool fits = index->ndim == x->ndim;
  *y = *index;
  for (int i = 0; fits && i < x->ndim; i++) {
    if (i == a->axis) continue;
    fits = moon__dim_may_equal(x->dim[i], index->dim[i]);
    y->dim[i] = moon__rule_merge(index->dim[i], x->dim[i]);
  }
  if (fits) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: shapes must be equal but along axis %lld: x %s, index %s", who,
                    moon__rule_axis_shown(ctx, a->axis), moon__rule_text(ctx, x).s, moon__rule_text(ctx, index).s);
}

typedef moon_status (*shape_rule)(moon_context *ctx, const char *who, const moon_shape *x, const moon_shape *index,
                                  moon_axis_attrs *a, moon_shape *y);

static moon_status infer_read(moon_context *ctx, moon_infer *f, shape_rule rule) {
  moon_status s = moon__rule_index(ctx, f->op->name, f->in[1].dtype);
  f->out[0].dtype = f->in[0].dtype;
  return s == MOON_OK ? rule(ctx, f->op->name, &f->in[0].shape, &f->in[1].shape, f->attrs, &f->out[0].shape) : s;
}

static moon_status infer_add(moon_context *ctx, moon_infer *f, shape_rule rule) {
  const char *who = f->op->name;
  moon_shape y;
  moon_status s = moon__rule_index(ctx, who, f->in[1].dtype);
  if (s == MOON_OK && f->in[0].dtype == MOON_DTYPE_bool) s = moon__fail(ctx, MOON_EDTYPE, "%s: x must be a number, got bool", who);
  if (s == MOON_OK) s = moon__rule_same_dtype(ctx, who, "x", f->in[0].dtype, "updates", f->in[2].dtype);
  if (s == MOON_OK) s = rule(ctx, who, &f->in[0].shape, &f->in[1].shape, f->attrs, &y);
  if (s == MOON_OK) s = moon__rule_same_shape(ctx, who, "what index reads is", &y, "updates are", &f->in[2].shape);
  f->out[0] = f->in[0];
  return s;
}

static moon_status infer_gather(moon_context *ctx, moon_infer *f) { return infer_read(ctx, f, gathered); }
static moon_status infer_take(moon_context *ctx, moon_infer *f) { return infer_read(ctx, f, taken); }
static moon_status infer_scatter(moon_context *ctx, moon_infer *f) { return infer_add(ctx, f, gathered); }
static moon_status infer_put(moon_context *ctx, moon_infer *f) { return infer_add(ctx, f, taken); }

/* ---- Gradients ---- */

static moon_status grad_read(moon_context *ctx, const moon_grad *g, moon_op_id adjoint) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  moon_value *in[] = {moon__zeros_like(ctx, g->x[0]), g->x[1], g->dy[0]};
  g->dx[0] = moon__apply(ctx, adjoint, g->node->attrs, 3, in);
  return g->dx[0] ? MOON_OK : ctx->status;
}

static moon_status grad_add(moon_context *ctx, const moon_grad *g, moon_op_id adjoint) {
  if (!g->dy[0]) return MOON_OK;
  if (g->need[0]) g->dx[0] = g->dy[0];
  if (!g->need[2]) return MOON_OK;
  moon_value *in[] = {g->dy[0], g->x[1]};
  g->dx[2] = moon__apply(ctx, adjoint, g->node->attrs, 2, in);
  return g->dx[2] ? MOON_OK : ctx->status;
}

static moon_status grad_gather(moon_context *ctx, const moon_grad *g) { return grad_read(ctx, g, MOON_OP_scatter_add); }
static moon_status grad_take(moon_context *ctx, const moon_grad *g) { return grad_read(ctx, g, MOON_OP_put_along_axis_add); }
static moon_status grad_scatter(moon_context *ctx, const moon_grad *g) { return grad_add(ctx, g, MOON_OP_gather); }
static moon_status grad_put(moon_context *ctx, const moon_grad *g) { return grad_add(ctx, g, MOON_OP_take_along_axis); }

/* ---- one_hot and embedding ---- */

static moon_status infer_one_hot(moon_context *ctx, moon_infer *f) {
  moon_one_hot_attrs *a = f->attrs;
  const moon_shape *index = moon__rule_shape(f, 0);
  moon_status s = moon__rule_index(ctx, "one_hot", f->in[0].dtype);
  if (s != MOON_OK) return s;
  if (!moon__rule_dtype_given(a->dtype)) a->dtype = MOON_DTYPE_f32;
  if (a->depth < 1) return moon__fail(ctx, MOON_EARGUMENT, "one_hot: depth must be at least 1, got %lld", (long long)a->depth);
  if (index->ndim == MOON_MAX_DIMS)
    return moon__fail(ctx, MOON_ESHAPE, "one_hot: the result would have more than %d axes: index %s", MOON_MAX_DIMS,
                      moon__rule_text(ctx, index).s);
  f->out[0] = (moon_type){(moon_dtype)a->dtype, *index};
  f->out[0].shape.dim[f->out[0].shape.ndim++] = a->depth;
  return MOON_OK;
}

static moon_status build_embedding(moon_context *ctx, const moon_body *b) {
  const moon_shape *weight = moon__shape_of(b->in[1]);
  if (weight->ndim != 2)
    return moon__fail(ctx, MOON_ESHAPE, "embedding: weight must be [n, d], got %s", moon__rule_text(ctx, weight).s);
  b->out[0] = moon__gather(ctx, b->in[1], b->in[0], 0);
  return moon__rule_built(ctx, b);
}

static const moon_attr first_axis[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .number = 0)};
static const moon_attr last_axis[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .number = -1)};
static const moon_attr one_hot_rows[] = {
    MOON_ATTR(moon_one_hot_attrs, depth, I64, .required = true),
    MOON_ATTR(moon_one_hot_attrs, dtype, DTYPE, .number = MOON_DTYPE_f32),
};

MOON_OP(gather) = {
    MOON_OP_HEAD(gather),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_MOVES,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, index",
    MOON_OP_ATTRS(moon_axis_attrs, first_axis),
    .infer = infer_gather,
    .grad = grad_gather,
    .doc = "Slices of x by index along axis: x [p.., n, q..], index [i..] counting from 0 -> [p.., i.., q..].",
};

MOON_OP(scatter_add) = {
    MOON_OP_HEAD(scatter_add),
    .kind = MOON_STRUCTURED,
    .min_inputs = 3,
    .max_inputs = 3,
    .noutputs = 1,
    .input_names = "x, index, updates",
    MOON_OP_ATTRS(moon_axis_attrs, first_axis),
    .infer = infer_scatter,
    .grad = grad_scatter,
    .doc = "x with updates added at index along axis: x [p.., n, q..], index [i..], updates [p.., i.., q..] -> [p.., n, q..].",
};

MOON_OP(take_along_axis) = {
    MOON_OP_HEAD(take_along_axis),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_MOVES,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, index",
    MOON_OP_ATTRS(moon_axis_attrs, last_axis),
    .infer = infer_take,
    .grad = grad_take,
    .doc = "Elements of x by index along axis: x [p.., n, q..], index [p.., m, q..] counting from 0 -> [p.., m, q..].",
};

MOON_OP(put_along_axis_add) = {
    MOON_OP_HEAD(put_along_axis_add),
    .kind = MOON_STRUCTURED,
    .min_inputs = 3,
    .max_inputs = 3,
    .noutputs = 1,
    .input_names = "x, index, updates",
    MOON_OP_ATTRS(moon_axis_attrs, last_axis),
    .infer = infer_put,
    .grad = grad_put,
    .doc = "x with updates added by index along axis: x [p.., n, q..], index and updates [p.., m, q..] -> [p.., n, q..].",
};

MOON_OP(one_hot) = {
    MOON_OP_HEAD(one_hot),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_NOT_DIFFERENTIABLE,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "index",
    MOON_OP_ATTRS(moon_one_hot_attrs, one_hot_rows),
    .infer = infer_one_hot,
    .doc = "1 at the position that index names, else 0: index [i..] counting from 0 -> [i.., depth].",
};

MOON_OP(embedding) = {
    MOON_OP_HEAD(embedding),
    .kind = MOON_INLINE,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "index, weight",
    .build = build_embedding,
    .doc = "Rows of weight: index [i..] counting from 0, weight [n, d] -> [i.., d].",
};
