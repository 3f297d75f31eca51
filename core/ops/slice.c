/*
** slice.c: part of a tensor, by first position, size and step on each axis, and unslice, its adjoint. first and size may be
** symbolic. Invariant: every position is inside: 0 <= first, 0 <= first + (size - 1) * step < size of the axis, checked as soon as
** the sizes are known; an axis of which nothing is taken needs only first <= its size.
*/
#include "base/dim.h"
#include "base/error.h"
#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* Is [first, first + (size - 1) * step] inside [0, n)? True while one of them is unknown. */
static bool inside(moon_dim n, moon_dim first, moon_dim size, int64_t step) {
  int64_t last;
  if (!moon__dim_known(n) || !moon__dim_known(first) || !moon__dim_known(size)) return true;
  if (size == 0) return first <= n;
  if (!moon__mul_i64(size - 1, step, &last) || !moon__add_i64(last, first, &last)) return false;
  return first < n && last >= 0 && last < n;
}

/* Lists left empty: from position 0, by step 1. */
static void fill_cut(int ndim, moon_shape *first, moon_ints *step) {
  if (first->ndim == 0) *first = (moon_shape){.ndim = ndim};
  if (step->n != 0) return;
  step->n = ndim;
  for (int i = 0; i < ndim; i++) step->v[i] = 1;
}

/* One axis: n positions of which size are taken. */
static moon_status check_axis(moon_context *ctx, const char *who, int axis, moon_dim n, moon_dim first, moon_dim size,
                              int64_t step) {
  int shown = axis + ctx->index_base;
  if (step == 0) return moon__fail(ctx, MOON_EARGUMENT, "%s: step on axis %d must not be 0", who, shown);
  if (first < 0 && first > MOON_DIM_FIRST)
    return moon__fail(ctx, MOON_EINDEX, "%s: first on axis %d must be 0 or more, got %lld", who, shown, (long long)first);
  if (inside(n, first, size, step)) return MOON_OK;
  return moon__fail(ctx, MOON_EINDEX, "%s: axis %d has %lld positions; %lld from position %lld by step %lld do not fit", who, shown,
                    (long long)n, (long long)size, moon__rule_axis_shown(ctx, first), (long long)step);
}

static moon_status check_cut(moon_context *ctx, const char *who, const moon_shape *x, moon_shape *first, const moon_shape *size,
                             moon_ints *step) {
  fill_cut(x->ndim, first, step);
  if (first->ndim != x->ndim || size->ndim != x->ndim || step->n != x->ndim)
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs first, size and step for each axis of %s, got %d, %d and %d", who,
                      moon__rule_text(ctx, x).s, (int)first->ndim, (int)size->ndim, (int)step->n);
  moon_status s = moon__rule_sizes(ctx, who, size);
  for (int i = 0; s == MOON_OK && i < x->ndim; i++)
    s = check_axis(ctx, who, i, x->dim[i], first->dim[i], size->dim[i], step->v[i]);
  return s;
}

/* ---- slice ---- */

static moon_status infer_slice(moon_context *ctx, moon_infer *f) {
  moon_slice_attrs *a = f->attrs;
  f->out[0] = (moon_type){.dtype = f->in[0].dtype, .shape = a->size};
  return check_cut(ctx, f->op->name, &f->in[0].shape, &a->first, &a->size, &a->step);
}

static moon_status grad_slice(moon_context *ctx, const moon_grad *g) {
  const moon_slice_attrs *a = g->node->attrs;
  moon_unslice_attrs back = {.shape = g->x[0]->type.shape, .first = a->first, .step = a->step};
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = moon__apply(ctx, MOON_OP_unslice, &back, 1, g->dy);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static bool view_slice(const moon_node *node, const moon_view *x, moon_view *y) {
  const moon_slice_attrs *a = node->attrs;
  *y = (moon_view){.ndim = x->ndim, .offset = x->offset};
  for (int i = 0; i < x->ndim; i++) {
    y->shape[i] = a->size.dim[i];
    y->strides[i] = x->strides[i];
    if (a->size.dim[i] > 0) y->offset += a->first.dim[i] * x->strides[i]; /* an element of x */
    if (a->size.dim[i] > 1) y->strides[i] *= a->step.v[i];
  }
  return true;
}

static const moon_attr slice_rows[] = {MOON_ATTR(moon_slice_attrs, first, SHAPE, .number = 0),
                                       MOON_ATTR(moon_slice_attrs, size, SHAPE, .required = true),
                                       MOON_ATTR(moon_slice_attrs, step, INTS, .number = 0)};
MOON_OP(slice) = {MOON_OP_HEAD(slice), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW | MOON_OPF_INTERNAL, .min_inputs = 1,
                  .max_inputs = 1, .noutputs = 1, .input_names = "x", MOON_OP_ATTRS(moon_slice_attrs, slice_rows),
                  .infer = infer_slice, .grad = grad_slice, .view = view_slice,
                  .doc = "size elements from position first by step, on each axis: x [..] -> size."};

/* ---- unslice ---- */

static moon_status infer_unslice(moon_context *ctx, moon_infer *f) {
  moon_unslice_attrs *a = f->attrs;
  f->out[0] = (moon_type){.dtype = f->in[0].dtype, .shape = a->shape};
  moon_status s = moon__rule_sizes(ctx, f->op->name, &a->shape);
  return s == MOON_OK ? check_cut(ctx, f->op->name, &a->shape, &a->first, &f->in[0].shape, &a->step) : s;
}

static moon_status grad_unslice(moon_context *ctx, const moon_grad *g) {
  const moon_unslice_attrs *a = g->node->attrs;
  moon_slice_attrs back = {.first = a->first, .size = g->x[0]->type.shape, .step = a->step};
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = moon__apply(ctx, MOON_OP_slice, &back, 1, g->dy);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static const moon_attr unslice_rows[] = {MOON_ATTR(moon_unslice_attrs, shape, SHAPE, .required = true),
                                         MOON_ATTR(moon_unslice_attrs, first, SHAPE, .number = 0),
                                         MOON_ATTR(moon_unslice_attrs, step, INTS, .number = 0)};
MOON_OP(unslice) = {MOON_OP_HEAD(unslice), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL, .min_inputs = 1, .max_inputs = 1,
                    .noutputs = 1, .input_names = "dy", MOON_OP_ATTRS(moon_unslice_attrs, unslice_rows), .infer = infer_unslice,
                    .grad = grad_unslice,
                    .doc = "dy at the positions that a slice took, zeros elsewhere: dy [..] -> shape."};
