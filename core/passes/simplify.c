/*
** simplify.c: algebra that never changes a result beyond rounding, and never hides a NaN: x + 0, x * 1, x - 0, x / 1, --x, views of
** views, casts to the same dtype, sums over axes of size 1. One function a family of ops; the dispatcher names no op twice.
*/
#include <string.h>

#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"

typedef moon_value *(*rule)(moon_context *ctx, const moon_node *n, moon_value *const *in);

static bool same_type(const moon_value *a, const moon_value *b) {
  return a->type.dtype == b->type.dtype && moon__shape_equal(&a->type.shape, &b->type.shape);
}

static moon_value *simplify_add(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  (void)n;
  /* -0 + 0 is 0: only a difference in the sign of zero. */
  if (moon__is_all(in[0], 0)) return in[1];
  if (moon__is_all(in[1], 0)) return in[0];
  return NULL;
}

static moon_value *simplify_sub(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  (void)n;
  return moon__is_all(in[1], 0) ? in[0] : NULL;
}

static moon_value *simplify_mul(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  (void)n;
  if (moon__is_all(in[0], 1)) return in[1];
  if (moon__is_all(in[1], 1)) return in[0];
  return NULL;
}

static moon_value *simplify_div(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  (void)n;
  return moon__is_all(in[1], 1) ? in[0] : NULL;
}

static moon_value *simplify_neg(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  (void)n;
  return in[0]->node->op->id == MOON_OP_neg ? in[0]->node->inputs[0] : NULL;
}

static moon_value *simplify_pow(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)n;
  if (moon__is_all(in[1], 1)) return in[0];
  if (moon__is_all(in[1], 2)) return moon__unary(ctx, MOON_OP_square, in[0]);
  return NULL;
}

static moon_value *simplify_cast(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  (void)ctx;
  if (n->outputs[0].type.dtype == in[0]->type.dtype) return in[0];
  /* A half widened and rounded again is what it was. */
  moon_value *x = in[0]->node->op->id == MOON_OP_cast ? in[0]->node->inputs[0] : NULL;
  bool there_and_back = x && x->type.dtype == n->outputs[0].type.dtype && moon__dtype_is_half(x->type.dtype);
  return there_and_back && in[0]->type.dtype == MOON_DTYPE_f32 ? x : NULL;
}

static moon_value *simplify_reshape(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  if (same_type(in[0], &n->outputs[0])) return in[0];
  if (in[0]->node->op->id == MOON_OP_reshape) return moon__reshape(ctx, in[0]->node->inputs[0], &n->outputs[0].type.shape);
  return NULL;
}

static moon_value *simplify_broadcast(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  double x;
  if (same_type(in[0], &n->outputs[0])) return in[0];
  if (moon__is_number(in[0], &x)) return moon__full(ctx, in[0]->type.dtype, &n->outputs[0].type.shape, x);
  if (in[0]->node->op->id == MOON_OP_broadcast_to) return moon__broadcast_to(ctx, in[0]->node->inputs[0], &n->outputs[0].type.shape);
  return NULL;
}

static void resolved_perm(const moon_node *n, int *perm) {
  const moon_axes_only_attrs *a = n->attrs;
  int ndim = n->outputs[0].type.shape.ndim;
  for (int i = 0; i < ndim; i++) perm[i] = a->axes.n ? (int)a->axes.v[i] : ndim - 1 - i;
}

static moon_value *simplify_transpose(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  int outer[MOON_MAX_DIMS], inner[MOON_MAX_DIMS], both[MOON_MAX_DIMS];
  int ndim = n->outputs[0].type.shape.ndim;
  bool identity = true;
  resolved_perm(n, outer);
  for (int i = 0; i < ndim; i++) identity &= outer[i] == i;
  if (identity) return in[0];
  if (in[0]->node->op->id != MOON_OP_transpose) return NULL;
  resolved_perm(in[0]->node, inner);
  for (int i = 0; i < ndim; i++) both[i] = inner[outer[i]];
  return moon__transpose(ctx, in[0]->node->inputs[0], both);
}

/* Reducing axes of size 1 only changes the shape. */
static moon_value *simplify_reduce(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  const moon_reduce_attrs *a = n->attrs;
  const moon_shape *x = &in[0]->type.shape;
  if (in[0]->type.dtype != n->outputs[0].type.dtype) return NULL;
  for (int i = 0; i < (a->axes.n ? a->axes.n : x->ndim); i++) {
    int axis = 0;
    if (!moon__axis_resolve(a->axes.n ? a->axes.v[i] : i, x->ndim, &axis) || x->dim[axis] != 1) return NULL;
  }
  return moon__reshape(ctx, in[0], &n->outputs[0].type.shape);
}

static rule rule_of(moon_op_id op) {
  switch (op) {
    case MOON_OP_add: return simplify_add;
    case MOON_OP_sub: return simplify_sub;
    case MOON_OP_mul: return simplify_mul;
    case MOON_OP_div: return simplify_div;
    case MOON_OP_neg: return simplify_neg;
    case MOON_OP_pow: return simplify_pow;
    case MOON_OP_cast: return simplify_cast;
    case MOON_OP_reshape: return simplify_reshape;
    case MOON_OP_broadcast_to: return simplify_broadcast;
    case MOON_OP_transpose: return simplify_transpose;
    case MOON_OP_sum:
    case MOON_OP_prod:
    case MOON_OP_max:
    case MOON_OP_min: return simplify_reduce;
    default: return NULL;
  }
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  rule f = rule_of(n->op->id);
  if (f) {
    moon_status before = env->ctx->status;
    env->ctx->status = MOON_OK;
    moon_origin *origin = moon__origin_swap(env->ctx, n->origin);
    out[0] = f(env->ctx, n, in);
    env->ctx->borrowed = origin;
    if (env->ctx->status != MOON_OK) return env->ctx->status;
    env->ctx->status = before;
    return MOON_OK;
  }
  return moon__pass_bodies(env, moon__pass_simplify, n, in, out);
}

moon_graph *moon__pass_simplify(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  return moon__rewrite(&r, g);
}
