/*
** build.c: the short builders of build.h: each is one or a few applications of ops, and none when nothing is to be done. NULL
** goes through all of them.
*/
#include "graph/build.h"

#include "base/shape.h"
#include "ops/attrs.h"

moon_value *moon__unary(moon_context *ctx, moon_op_id op, moon_value *a) { return moon__apply(ctx, op, NULL, 1, &a); }

moon_value *moon__binary(moon_context *ctx, moon_op_id op, moon_value *a, moon_value *b) {
  moon_value *in[] = {a, b};
  return moon__apply(ctx, op, NULL, 2, in);
}

moon_value *moon__where(moon_context *ctx, moon_value *condition, moon_value *a, moon_value *b) {
  moon_value *in[] = {condition, a, b};
  return moon__apply(ctx, MOON_OP_where, NULL, 3, in);
}

moon_value *moon__cast(moon_context *ctx, moon_value *a, moon_dtype dtype) {
  moon_cast_attrs attrs = {.dtype = (int32_t)dtype};
  if (!a || a->type.dtype == dtype) return a;
  return moon__apply(ctx, MOON_OP_cast, &attrs, 1, &a);
}

/* ---- Numbers ---- */

moon_value *moon__number(moon_context *ctx, moon_value *like, double x) {
  return like ? moon_scalar(ctx, like->type.dtype, x) : NULL;
}

moon_value *moon__full(moon_context *ctx, moon_dtype dtype, const moon_shape *shape, double x) {
  moon_full_attrs attrs = {.shape = *shape, .value = x, .dtype = (int32_t)dtype};
  if (shape->ndim == 0) return moon_scalar(ctx, dtype, x);
  return moon__apply(ctx, MOON_OP_full, &attrs, 0, NULL);
}

moon_value *moon__zeros_like(moon_context *ctx, moon_value *like) {
  return like ? moon__full(ctx, like->type.dtype, &like->type.shape, 0) : NULL;
}

moon_value *moon__size(moon_context *ctx, moon_dim d, moon_dtype dtype) {
  moon_size_attrs attrs = {.size = d, .dtype = (int32_t)dtype};
  if (d == MOON_DIM_ERROR) return NULL;
  if (moon__dim_known(d)) return moon_scalar(ctx, dtype, (double)d);
  return moon__apply(ctx, MOON_OP_size, &attrs, 0, NULL);
}

/* ---- Shapes ---- */

static moon_value *apply_shape(moon_context *ctx, moon_op_id op, moon_value *a, const moon_shape *shape) {
  moon_shape_attrs attrs = {.shape = *shape};
  if (!a || moon__shape_equal(&a->type.shape, shape)) return a;
  return moon__apply(ctx, op, &attrs, 1, &a);
}

moon_value *moon__reshape(moon_context *ctx, moon_value *a, const moon_shape *shape) {
  return apply_shape(ctx, MOON_OP_reshape, a, shape);
}

moon_value *moon__broadcast_to(moon_context *ctx, moon_value *a, const moon_shape *shape) {
  return apply_shape(ctx, MOON_OP_broadcast_to, a, shape);
}

moon_value *moon__sum_to(moon_context *ctx, moon_value *a, const moon_shape *to) {
  int axes[MOON_MAX_DIMS], n = 0;
  if (!a) return NULL;
  const moon_shape *from = &a->type.shape;
  int ahead = from->ndim - to->ndim;
  for (int i = 0; i < from->ndim; i++) {
    if (i < ahead || (to->dim[i - ahead] == 1 && from->dim[i] != 1)) axes[n++] = i;
  }
  if (n) a = moon__reduce(ctx, MOON_OP_sum, a, n, axes, false);
  return moon__reshape(ctx, a, to);
}

moon_value *moon__transpose(moon_context *ctx, moon_value *a, const int *perm) {
  moon_axes_only_attrs attrs = {0};
  bool moved = false;
  if (!a) return NULL;
  attrs.axes.n = a->type.shape.ndim;
  for (int i = 0; i < attrs.axes.n; i++) {
    attrs.axes.v[i] = perm[i];
    moved |= perm[i] != i;
  }
  return moved ? moon__apply(ctx, MOON_OP_transpose, &attrs, 1, &a) : a;
}

moon_value *moon__swap_last(moon_context *ctx, moon_value *a) {
  int perm[MOON_MAX_DIMS], n = a ? a->type.shape.ndim : 0;
  for (int i = 0; i < n; i++) perm[i] = i < n - 2 ? i : 2 * n - 3 - i;
  return n < 2 ? a : moon__transpose(ctx, a, perm);
}

moon_value *moon__expand(moon_context *ctx, moon_value *a, int axis) {
  moon_shape to = {0};
  if (!a) return NULL;
  to.ndim = a->type.shape.ndim + 1;
  for (int i = 0; i < to.ndim; i++) to.dim[i] = i < axis ? a->type.shape.dim[i] : i == axis ? 1 : a->type.shape.dim[i - 1];
  return moon__reshape(ctx, a, &to);
}

moon_value *moon__squeeze(moon_context *ctx, moon_value *a, int axis) {
  moon_shape to = {0};
  for (int i = 0; a && i < a->type.shape.ndim; i++) {
    if (i != axis) to.dim[to.ndim++] = a->type.shape.dim[i];
  }
  return moon__reshape(ctx, a, &to);
}

/* ---- Parts ---- */

moon_value *moon__slice(moon_context *ctx, moon_value *a, int axis, moon_dim first, moon_dim size, int64_t step) {
  moon_slice_attrs attrs = {0};
  if (!a || first == MOON_DIM_ERROR || size == MOON_DIM_ERROR) return NULL;
  attrs.first.ndim = attrs.step.n = a->type.shape.ndim;
  attrs.size = a->type.shape;
  for (int i = 0; i < attrs.step.n; i++) attrs.step.v[i] = 1;
  if (first == 0 && size == attrs.size.dim[axis] && step == 1) return a;
  attrs.first.dim[axis] = first;
  attrs.size.dim[axis] = size;
  attrs.step.v[axis] = step;
  return moon__apply(ctx, MOON_OP_slice, &attrs, 1, &a);
}

moon_value *moon__concat(moon_context *ctx, int n, moon_value *const *parts, int axis) {
  moon_axis_attrs attrs = {.axis = axis};
  if (n == 1) return parts[0];
  return moon__apply(ctx, MOON_OP_concat, &attrs, n, parts);
}

moon_value *moon__gather(moon_context *ctx, moon_value *a, moon_value *index, int axis) {
  moon_axis_attrs attrs = {.axis = axis};
  moon_value *in[] = {a, index};
  return moon__apply(ctx, MOON_OP_gather, &attrs, 2, in);
}

/* ---- Many to one ---- */

moon_value *moon__reduce(moon_context *ctx, moon_op_id op, moon_value *a, int naxes, const int *axes, bool keepdims) {
  moon_reduce_attrs attrs = {.axes = {.n = naxes}, .keepdims = keepdims};
  for (int i = 0; i < naxes; i++) attrs.axes.v[i] = axes[i];
  return moon__apply(ctx, op, &attrs, 1, &a);
}

moon_value *moon__matmul(moon_context *ctx, moon_value *a, moon_value *b) {
  return moon__binary(ctx, MOON_OP_matmul, a, b);
}
