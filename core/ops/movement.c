/*
** movement.c: ops that look at all of the same numbers through another shape or other strides: reshape, broadcast_to, transpose,
** flip; squeeze, expand_dims and swapaxes are made of them. Parts of a tensor are in slice.c, joining and repeating in concat.c,
** padding in pad.c. Invariant: after inference attributes are complete: no -1, no negative axis, no empty list that stands for
** something.
*/
#include "base/error.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "tensor/tensor.h"

static moon_status done(moon_context *ctx, const moon_value *dx) { return dx ? MOON_OK : moon_error_status(ctx); }

/* ---- reshape ---- */

static moon_status fail_reshape(moon_context *ctx, const char *who, const moon_shape *x, const moon_shape *to) {
  return moon__fail(ctx, MOON_ESHAPE, "%s: %s cannot become %s: numbers of elements differ", who, moon__rule_text(ctx, x).s,
                    moon__rule_text(ctx, to).s);
}

/* Replaces the one -1 in to, at axis hole. */
static moon_status fill_hole(moon_context *ctx, const char *who, const moon_shape *x, moon_shape *to, int hole) {
  to->dim[hole] = 1;
  moon_status s = moon__rule_sizes(ctx, who, to);
  if (s != MOON_OK) return s;
  moon_dim have = moon__shape_count(ctx, x), rest = moon__shape_count(ctx, to);
  if (have == MOON_DIM_ERROR || rest == MOON_DIM_ERROR) return moon_error_status(ctx);
  to->dim[hole] = -1;
  if (rest == 0) return moon__fail(ctx, MOON_ESHAPE, "%s: -1 in %s can be any size", who, moon__rule_text(ctx, to).s);
  if (moon__dim_known(have) && moon__dim_known(rest) && have % rest != 0) return fail_reshape(ctx, who, x, to);
  to->dim[hole] = moon__dim_divexact(ctx, have, rest);
  return to->dim[hole] == MOON_DIM_ERROR ? moon_error_status(ctx) : MOON_OK;
}

static moon_status infer_reshape(moon_context *ctx, moon_infer *f) {
  moon_shape_attrs *a = f->attrs;
  const moon_shape *x = &f->in[0].shape;
  const char *who = f->op->name;
  int hole = -1;
  for (int i = 0; i < a->shape.ndim; i++) {
    if (a->shape.dim[i] != -1) continue;
    if (hole >= 0) return moon__fail(ctx, MOON_ESHAPE, "%s: only one size may be -1", who);
    hole = i;
  }
  moon_status s = hole >= 0 ? fill_hole(ctx, who, x, &a->shape, hole) : moon__rule_sizes(ctx, who, &a->shape);
  if (s != MOON_OK) return s;
  moon_dim have = moon__shape_count(ctx, x), want = moon__shape_count(ctx, &a->shape);
  if (have == MOON_DIM_ERROR || want == MOON_DIM_ERROR) return moon_error_status(ctx);
  if (!moon__dim_may_equal(have, want)) return fail_reshape(ctx, who, x, &a->shape);
  f->out[0] = (moon_type){.dtype = f->in[0].dtype, .shape = a->shape};
  return MOON_OK;
}

static moon_status grad_reshape(moon_context *ctx, const moon_grad *g) {
  if (g->dy[0]) g->dx[0] = moon__reshape(ctx, g->dy[0], &g->x[0]->type.shape);
  return g->dy[0] ? done(ctx, g->dx[0]) : MOON_OK;
}

/* Axes of x without those of size 1. */
static moon_view squeezed(const moon_view *x) {
  moon_view v = {.offset = x->offset};
  for (int i = 0; i < x->ndim; i++) {
    if (x->shape[i] == 1) continue;
    v.shape[v.ndim] = x->shape[i];
    v.strides[v.ndim++] = x->strides[i];
  }
  return v;
}

/* Gives axes [y0, y1) of y the strides that axes [x0, x1) of x have as one run; false when these are not one run. */
static bool split_run(const moon_view *x, int x0, int x1, moon_view *y, int y0, int y1) {
  for (int i = x0; i + 1 < x1; i++) {
    if (x->strides[i] != x->shape[i + 1] * x->strides[i + 1]) return false;
  }
  int64_t stride = x->strides[x1 - 1];
  for (int i = y1 - 1; i >= y0; i--) {
    y->strides[i] = stride;
    stride *= y->shape[i]; /* within the product of sizes, which fits */
  }
  return true;
}

/* Pairs runs of axes of equal product; within a run the axes of x must lie one behind the other. */
static bool view_reshape(const moon_node *node, const moon_view *view, moon_view *y) {
  const moon_shape *to = &((const moon_shape_attrs *)node->attrs)->shape;
  moon_view x = squeezed(view);
  int xi = 0, yi = 0;
  *y = (moon_view){.ndim = to->ndim, .offset = view->offset};
  for (int i = 0; i < to->ndim; i++) y->shape[i] = to->dim[i];
  moon__dense_strides(y->ndim, y->shape, y->strides);
  for (int i = 0; i < x.ndim; i++) {
    if (x.shape[i] == 0) return true;
  }
  while (xi < x.ndim && yi < y->ndim) {
    int x0 = xi, y0 = yi;
    int64_t nx = x.shape[xi++], ny = y->shape[yi++];
    while (nx != ny) {
      if (nx < ny) nx *= x.shape[xi++];
      else ny *= y->shape[yi++];
    }
    if (!split_run(&x, x0, xi, y, y0, yi)) return false;
  }
  return true;
}

static const moon_attr reshape_rows[] = {MOON_ATTR(moon_shape_attrs, shape, SHAPE, .required = true)};
MOON_OP(reshape) = {MOON_OP_HEAD(reshape), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW, .min_inputs = 1, .max_inputs = 1,
                    .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_shape_attrs, reshape_rows), .infer = infer_reshape,
                    .grad = grad_reshape, .view = view_reshape,
                    .doc = "The same elements, row after row, in another shape, of which one size may be -1: x [..] -> shape."};

/* ---- broadcast_to ---- */

static moon_status infer_broadcast_to(moon_context *ctx, moon_infer *f) {
  const moon_shape *x = &f->in[0].shape, *to = &((moon_shape_attrs *)f->attrs)->shape;
  moon_status s = moon__rule_sizes(ctx, f->op->name, to);
  if (s != MOON_OK) return s;
  int ahead = to->ndim - x->ndim;
  bool fits = ahead >= 0;
  for (int i = 0; fits && i < x->ndim; i++) fits = x->dim[i] == 1 || moon__dim_may_equal(x->dim[i], to->dim[i + ahead]);
  if (!fits)
    return moon__fail(ctx, MOON_ESHAPE, "%s: %s cannot be broadcast to %s", f->op->name, moon__rule_text(ctx, x).s,
                      moon__rule_text(ctx, to).s);
  f->out[0] = (moon_type){.dtype = f->in[0].dtype, .shape = *to};
  return MOON_OK;
}

static moon_status grad_broadcast_to(moon_context *ctx, const moon_grad *g) {
  if (g->dy[0]) g->dx[0] = moon__sum_to(ctx, g->dy[0], &g->x[0]->type.shape);
  return g->dy[0] ? done(ctx, g->dx[0]) : MOON_OK;
}

static bool view_broadcast_to(const moon_node *node, const moon_view *x, moon_view *y) {
  const moon_shape *to = &((const moon_shape_attrs *)node->attrs)->shape;
  int ahead = to->ndim - x->ndim;
  *y = (moon_view){.ndim = to->ndim, .offset = x->offset};
  for (int i = 0; i < to->ndim; i++) {
    y->shape[i] = to->dim[i];
    y->strides[i] = i < ahead || x->shape[i - ahead] != to->dim[i] ? 0 : x->strides[i - ahead];
  }
  return true;
}

static const moon_attr broadcast_to_rows[] = {MOON_ATTR(moon_shape_attrs, shape, SHAPE, .required = true)};
MOON_OP(broadcast_to) = {MOON_OP_HEAD(broadcast_to), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW, .min_inputs = 1,
                         .max_inputs = 1, .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_shape_attrs, broadcast_to_rows),
                         .infer = infer_broadcast_to, .grad = grad_broadcast_to, .view = view_broadcast_to,
                         .doc = "Repeats axes of size 1, and new ones in front: x [..] -> shape."};

/* ---- transpose, swapaxes ---- */

static moon_status infer_transpose(moon_context *ctx, moon_infer *f) {
  moon_ints *perm = &((moon_axes_only_attrs *)f->attrs)->axes;
  const moon_shape *x = &f->in[0].shape;
  bool seen[MOON_MAX_DIMS] = {false};
  if (perm->n == 0) {
    perm->n = x->ndim;
    for (int i = 0; i < x->ndim; i++) perm->v[i] = x->ndim - 1 - i;
  }
  if (perm->n != x->ndim)
    return moon__fail(ctx, MOON_EAXIS, "%s: perm must name every axis of %s once, got %d axes", f->op->name,
                      moon__rule_text(ctx, x).s, (int)perm->n);
  f->out[0] = (moon_type){.dtype = f->in[0].dtype, .shape = {.ndim = x->ndim}};
  for (int i = 0; i < x->ndim; i++) {
    moon_status s = moon__rule_axis(ctx, f->op->name, &perm->v[i], x);
    if (s != MOON_OK) return s;
    if (seen[perm->v[i]])
      return moon__fail(ctx, MOON_EAXIS, "%s: axis %lld is twice in perm", f->op->name,
                        moon__rule_axis_shown(ctx, perm->v[i]));
    seen[perm->v[i]] = true;
    f->out[0].shape.dim[i] = x->dim[perm->v[i]];
  }
  return MOON_OK;
}

static moon_status grad_transpose(moon_context *ctx, const moon_grad *g) {
  const moon_ints *perm = &((const moon_axes_only_attrs *)g->node->attrs)->axes;
  int back[MOON_MAX_DIMS];
  if (!g->dy[0]) return MOON_OK;
  for (int i = 0; i < perm->n; i++) back[perm->v[i]] = i;
  g->dx[0] = moon__transpose(ctx, g->dy[0], back);
  return done(ctx, g->dx[0]);
}

static bool view_transpose(const moon_node *node, const moon_view *x, moon_view *y) {
  const moon_ints *perm = &((const moon_axes_only_attrs *)node->attrs)->axes;
  *y = (moon_view){.ndim = x->ndim, .offset = x->offset};
  for (int i = 0; i < x->ndim; i++) {
    y->shape[i] = x->shape[perm->v[i]];
    y->strides[i] = x->strides[perm->v[i]];
  }
  return true;
}

static const moon_attr transpose_rows[] = {{"perm", MOON_ATTR_AXES, offsetof(moon_axes_only_attrs, axes), .number = 0}};
MOON_OP(transpose) = {MOON_OP_HEAD(transpose), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW, .min_inputs = 1, .max_inputs = 1,
                      .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_axes_only_attrs, transpose_rows),
                      .infer = infer_transpose, .grad = grad_transpose, .view = view_transpose,
                      .doc = "Axis i of the result is axis perm[i] of x; without perm their order is reversed: x [a, b, ..] -> "
                             "[.., b, a]."};

typedef struct swapaxes_attrs { int64_t axis1, axis2; } swapaxes_attrs;

static moon_status infer_swapaxes(moon_context *ctx, moon_infer *f) {
  swapaxes_attrs *a = f->attrs;
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis1, &f->in[0].shape);
  return s == MOON_OK ? moon__rule_axis(ctx, f->op->name, &a->axis2, &f->in[0].shape) : s;
}

static moon_status build_swapaxes(moon_context *ctx, const moon_body *b) {
  const swapaxes_attrs *a = b->attrs;
  int perm[MOON_MAX_DIMS];
  for (int i = 0; i < MOON_MAX_DIMS; i++) perm[i] = i == a->axis1 ? (int)a->axis2 : i == a->axis2 ? (int)a->axis1 : i;
  b->out[0] = moon__transpose(ctx, b->in[0], perm);
  return moon__rule_built(ctx, b);
}

static const moon_attr swapaxes_rows[] = {MOON_ATTR(swapaxes_attrs, axis1, AXIS, .required = true),
                                          MOON_ATTR(swapaxes_attrs, axis2, AXIS, .required = true)};
MOON_OP(swapaxes) = {MOON_OP_HEAD(swapaxes), .kind = MOON_INLINE, .min_inputs = 1, .max_inputs = 1, .noutputs = 1,
                     .input_names = "x", MOON_OP_ATTRS(swapaxes_attrs, swapaxes_rows), .infer = infer_swapaxes,
                     .build = build_swapaxes, .doc = "Exchanges two axes: x [.., a, .., b, ..] -> [.., b, .., a, ..]."};

/* ---- flip ---- */

static moon_status infer_flip(moon_context *ctx, moon_infer *f) {
  moon_ints *axes = &((moon_axes_only_attrs *)f->attrs)->axes;
  if (axes->n == 0) {
    axes->n = f->in[0].shape.ndim;
    for (int i = 0; i < axes->n; i++) axes->v[i] = i;
  }
  f->out[0] = f->in[0];
  return moon__rule_axes(ctx, f->op->name, axes, &f->in[0].shape);
}

static moon_status grad_flip(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = moon__apply(ctx, MOON_OP_flip, g->node->attrs, 1, g->dy);
  return done(ctx, g->dx[0]);
}

static bool view_flip(const moon_node *node, const moon_view *x, moon_view *y) {
  const moon_ints *axes = &((const moon_axes_only_attrs *)node->attrs)->axes;
  *y = *x;
  for (int i = 0; i < axes->n; i++) {
    int64_t k = axes->v[i];
    if (x->shape[k] > 0) y->offset += (x->shape[k] - 1) * x->strides[k]; /* an element of x */
    y->strides[k] = -x->strides[k];
  }
  return true;
}

static const moon_attr flip_rows[] = {MOON_ATTR(moon_axes_only_attrs, axes, AXES, .number = 0)};
MOON_OP(flip) = {MOON_OP_HEAD(flip), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW, .min_inputs = 1, .max_inputs = 1,
                 .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_axes_only_attrs, flip_rows), .infer = infer_flip,
                 .grad = grad_flip, .view = view_flip, .doc = "Reverses axes, all when none is named: x [..] -> [..]."};

/* ---- squeeze, expand_dims ---- */

static moon_status infer_squeeze(moon_context *ctx, moon_infer *f) {
  moon_ints *axes = &((moon_axes_only_attrs *)f->attrs)->axes;
  const moon_shape *x = &f->in[0].shape;
  bool all = axes->n == 0;
  for (int i = 0; all && i < x->ndim; i++) {
    if (x->dim[i] == 1) axes->v[axes->n++] = i;
  }
  moon_status s = moon__rule_axes(ctx, f->op->name, axes, x);
  for (int i = 0; s == MOON_OK && i < axes->n; i++) {
    if (!moon__dim_may_equal(x->dim[axes->v[i]], 1))
      s = moon__fail(ctx, MOON_ESHAPE, "%s: axis %lld of %s has not size 1", f->op->name, moon__rule_axis_shown(ctx, axes->v[i]),
                     moon__rule_text(ctx, x).s);
  }
  return s;
}

static moon_status build_squeeze(moon_context *ctx, const moon_body *b) {
  const moon_ints *axes = &((const moon_axes_only_attrs *)b->attrs)->axes;
  const moon_shape *x = &b->in[0]->type.shape;
  moon_shape to = {0};
  for (int i = 0, k = 0; i < x->ndim; i++) {
    if (k < axes->n && axes->v[k] == i) k++;
    else to.dim[to.ndim++] = x->dim[i];
  }
  b->out[0] = moon__reshape(ctx, b->in[0], &to);
  return moon__rule_built(ctx, b);
}

static const moon_attr squeeze_rows[] = {MOON_ATTR(moon_axes_only_attrs, axes, AXES, .number = 0)};
MOON_OP(squeeze) = {MOON_OP_HEAD(squeeze), .kind = MOON_INLINE, .min_inputs = 1, .max_inputs = 1, .noutputs = 1,
                    .input_names = "x", MOON_OP_ATTRS(moon_axes_only_attrs, squeeze_rows), .infer = infer_squeeze,
                    .build = build_squeeze,
                    .doc = "Drops axes of size 1, all known ones when none is named: x [.., 1, ..] -> [.., ..]."};

static moon_status infer_expand_dims(moon_context *ctx, moon_infer *f) {
  int64_t *axis = &((moon_axis_attrs *)f->attrs)->axis;
  const moon_shape *x = &f->in[0].shape;
  int resolved = 0;
  if (x->ndim == MOON_MAX_DIMS)
    return moon__fail(ctx, MOON_ESHAPE, "%s: x %s has the most axes already", f->op->name, moon__rule_text(ctx, x).s);
  if (!moon__axis_resolve(*axis, x->ndim + 1, &resolved))
    return moon__fail(ctx, MOON_EAXIS, "%s: axis %lld is out of range: x %s has room for a new axis at %d to %d", f->op->name,
                      moon__rule_axis_shown(ctx, *axis), moon__rule_text(ctx, x).s, ctx->index_base, x->ndim + ctx->index_base);
  *axis = resolved;
  return MOON_OK;
}

static moon_status build_expand_dims(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__expand(ctx, b->in[0], (int)((const moon_axis_attrs *)b->attrs)->axis);
  return moon__rule_built(ctx, b);
}

static const moon_attr expand_dims_rows[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .required = true)};
MOON_OP(expand_dims) = {MOON_OP_HEAD(expand_dims), .kind = MOON_INLINE, .min_inputs = 1, .max_inputs = 1, .noutputs = 1,
                        .input_names = "x", MOON_OP_ATTRS(moon_axis_attrs, expand_dims_rows), .infer = infer_expand_dims,
                        .build = build_expand_dims, .doc = "A new axis of size 1 at axis: x [.., ..] -> [.., 1, ..]."};
