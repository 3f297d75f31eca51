/*
** build.h: short builders for gradient rules, composites and passes. Every one passes NULL on. x, y are values of float or
** integer dtype; numbers take the dtype of the value beside them.
*/
#ifndef MOON_BUILD_H
#define MOON_BUILD_H
#include "graph/node.h"

moon_value *moon__unary(moon_context *ctx, moon_op_id op, moon_value *a);
moon_value *moon__binary(moon_context *ctx, moon_op_id op, moon_value *a, moon_value *b); /* promotes, broadcasts */
moon_value *moon__where(moon_context *ctx, moon_value *condition, moon_value *a, moon_value *b);
moon_value *moon__cast(moon_context *ctx, moon_value *a, moon_dtype dtype);
/* Rank 0 constant of like's dtype. */
moon_value *moon__number(moon_context *ctx, moon_value *like, double x);
moon_value *moon__zeros_like(moon_context *ctx, moon_value *like);
moon_value *moon__full(moon_context *ctx, moon_dtype dtype, const moon_shape *shape, double x);
/* The size of a dim as a rank 0 value of dtype (a constant when it is known). */
moon_value *moon__size(moon_context *ctx, moon_dim d, moon_dtype dtype);
moon_value *moon__reshape(moon_context *ctx, moon_value *a, const moon_shape *shape);
moon_value *moon__broadcast_to(moon_context *ctx, moon_value *a, const moon_shape *shape);
/* Sums a over the axes along which `to` was broadcast, and reshapes to it: the adjoint of broadcast. */
moon_value *moon__sum_to(moon_context *ctx, moon_value *a, const moon_shape *to);
moon_value *moon__transpose(moon_context *ctx, moon_value *a, const int *perm);
moon_value *moon__swap_last(moon_context *ctx, moon_value *a); /* last two axes */
moon_value *moon__expand(moon_context *ctx, moon_value *a, int axis); /* a new axis of size 1 before axis */
moon_value *moon__squeeze(moon_context *ctx, moon_value *a, int axis);
moon_value *moon__slice(moon_context *ctx, moon_value *a, int axis, moon_dim first, moon_dim size, int64_t step);
moon_value *moon__concat(moon_context *ctx, int n, moon_value *const *parts, int axis);
/* op: MOON_OP_sum, mean, max, ...; naxes 0: all axes. */
moon_value *moon__reduce(moon_context *ctx, moon_op_id op, moon_value *a, int naxes, const int *axes, bool keepdims);
moon_value *moon__matmul(moon_context *ctx, moon_value *a, moon_value *b);
moon_value *moon__gather(moon_context *ctx, moon_value *a, moon_value *index, int axis);
static inline moon_value *moon__add(moon_context *c, moon_value *a, moon_value *b) { return moon__binary(c, MOON_OP_add, a, b); }
static inline moon_value *moon__sub(moon_context *c, moon_value *a, moon_value *b) { return moon__binary(c, MOON_OP_sub, a, b); }
static inline moon_value *moon__mul(moon_context *c, moon_value *a, moon_value *b) { return moon__binary(c, MOON_OP_mul, a, b); }
static inline moon_value *moon__div(moon_context *c, moon_value *a, moon_value *b) { return moon__binary(c, MOON_OP_div, a, b); }
static inline moon_value *moon__neg(moon_context *c, moon_value *a) { return moon__unary(c, MOON_OP_neg, a); }
static inline moon_value *moon__scale(moon_context *c, moon_value *a, double k) {
  return moon__mul(c, a, moon__number(c, a, k));
}
#endif
