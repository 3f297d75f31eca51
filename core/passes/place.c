/*
** place.c: decides where each node runs. A program has one device; what this pass does is to bring constants that live elsewhere
** to it, once, at compile time. Inputs and variables are moved when a run binds them.
*/
#include "backend.h"
#include "passes/body.h"
#include "tensor/tensor.h"

static moon_status move_constant(moon_pass_env *env, const moon_node *n, moon_value **out) {
  moon_context *ctx = env->ctx;
  const moon_tensor *t = n->outputs[0].tensor;
  if (!t || t->storage->device == env->device) return MOON_OK;
  moon_device *before = ctx->device;
  ctx->device = env->device;
  moon_tensor *moved = moon__tensor_empty(ctx, t->dtype, t->ndim, t->shape);
  ctx->device = before;
  moon_status s = moved ? moon_tensor_copy(ctx, moved, t) : ctx->status;
  if (s == MOON_OK) {
    moon_node_spec spec = {.op = n->op, .tensor = moved, .origin = n->origin, .raw = true};
    out[0] = moon__node_build(ctx, &spec);
    if (!out[0]) s = ctx->status;
  }
  moon_tensor_release(moved);
  return s;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  if (n->op->id == MOON_OP_constant) return move_constant(env, n, out);
  return moon__pass_bodies(env, moon__pass_place, n, in, out);
}

moon_graph *moon__pass_place(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  return moon__rewrite(&r, g);
}
