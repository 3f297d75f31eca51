/*
** sort.c: order along one axis: sort, argsort, topk. Equal elements keep their order and NaN counts as the largest; kernels see to
** both. The gradient of the values goes back to where they came from (put_along_axis_add over the index output).
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_status infer_sort(moon_context *ctx, moon_infer *f) {
  moon_sort_attrs *a = f->attrs;
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis, &f->in[0].shape);
  f->out[0] = f->in[0];
  f->out[1] = (moon_type){MOON_DTYPE_i64, f->in[0].shape};
  return s;
}

static moon_status infer_argsort(moon_context *ctx, moon_infer *f) {
  f->out[0] = (moon_type){MOON_DTYPE_i64, f->in[0].shape};
  return moon__rule_axis(ctx, f->op->name, &((moon_sort_attrs *)f->attrs)->axis, &f->in[0].shape);
}

static moon_status infer_topk(moon_context *ctx, moon_infer *f) {
  const moon_topk_attrs *a = f->attrs;
  moon_shape y = f->in[0].shape;
  if (y.ndim < 1) return moon__fail(ctx, MOON_ESHAPE, "topk: needs an axis, got shape ()");
  moon_dim n = y.dim[y.ndim - 1];
  if (a->k < 1 || (moon__dim_known(n) && a->k > n))
    return moon__fail(ctx, MOON_EARGUMENT, "topk: k must be from 1 to the size of the last axis, got %lld for %s", (long long)a->k,
                      moon__rule_text(ctx, &y).s);
  y.dim[y.ndim - 1] = a->k;
  f->out[0] = (moon_type){f->in[0].dtype, y};
  f->out[1] = (moon_type){MOON_DTYPE_i64, y};
  return MOON_OK;
}

/* dx = zeros with dy put back along axis. */
static moon_status put_back(moon_context *ctx, const moon_grad *g, int64_t axis) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  moon_axis_attrs a = {.axis = axis};
  moon_value *in[] = {moon__zeros_like(ctx, g->x[0]), g->y[1], g->dy[0]};
  g->dx[0] = moon__apply(ctx, MOON_OP_put_along_axis_add, &a, 3, in);
  return g->dx[0] ? MOON_OK : ctx->status;
}

static moon_status grad_sort(moon_context *ctx, const moon_grad *g) {
  return put_back(ctx, g, ((const moon_sort_attrs *)g->node->attrs)->axis);
}
static moon_status grad_topk(moon_context *ctx, const moon_grad *g) { return put_back(ctx, g, -1); }

static moon_status build_argsort(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__output(moon__apply(ctx, MOON_OP_sort, b->attrs, 1, b->in), 1);
  return moon__rule_built(ctx, b);
}

static const moon_attr sort_rows[] = {
    MOON_ATTR(moon_sort_attrs, axis, AXIS, .number = -1),
    MOON_ATTR(moon_sort_attrs, descending, BOOL, .number = 0),
};
static const moon_attr topk_rows[] = {MOON_ATTR(moon_topk_attrs, k, I64, .required = true)};

MOON_OP(sort) = {
    MOON_OP_HEAD(sort),
    .kind = MOON_STRUCTURED,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 2,
    .input_names = "x",
    MOON_OP_ATTRS(moon_sort_attrs, sort_rows),
    .infer = infer_sort,
    .grad = grad_sort,
    .doc = "x in order along axis, and where each element stood: x [p.., n, q..] -> values and i64 index from 0, both alike.",
};

MOON_OP(argsort) = {
    MOON_OP_HEAD(argsort),
    .kind = MOON_INLINE,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "x",
    MOON_OP_ATTRS(moon_sort_attrs, sort_rows),
    .infer = infer_argsort,
    .build = build_argsort,
    .doc = "The i64 index, counting from 0, that puts x in order along axis: x [p.., n, q..] -> [p.., n, q..].",
};

MOON_OP(topk) = {
    MOON_OP_HEAD(topk),
    .kind = MOON_STRUCTURED,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 2,
    .input_names = "x",
    MOON_OP_ATTRS(moon_topk_attrs, topk_rows),
    .infer = infer_topk,
    .grad = grad_topk,
    .doc = "The k largest along the last axis, largest first: x [.., n] -> values [.., k] and their i64 index, counting from 0.",
};
