/*
** lower.c: composites become their bodies, except those the device has a kernel for; calls become theirs; mean of floats becomes a
** scaled sum, so that it fuses. Bodies may hold composites: lowering goes on until none is left.
*/
#include "backend.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"

static moon_status inline_composite(moon_pass_env *env, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_body body = {.attrs = n->attrs, .n = n->ninputs, .noutputs = n->noutputs, .in = in, .out = out};
  moon_origin *before = moon__origin_swap(env->ctx, n->origin);
  moon_status s = n->op->build(env->ctx, &body);
  env->ctx->borrowed = before;
  for (int i = 0; s == MOON_OK && i < n->noutputs; i++) {
    if (!out[i]) s = env->ctx->status != MOON_OK ? env->ctx->status : MOON_EINTERNAL;
  }
  return s;
}

static moon_status inline_call(moon_pass_env *env, const moon_node *n, moon_value *const *in, moon_value **out) {
  return moon__graph_inline(env->ctx, n->graphs[0], in, out);
}

/* A mean of how many floats? 0: none that is lowered. */
static double mean_count(const moon_node *n) {
  int64_t count = 1, result = 1;
  if (n->op->id != MOON_OP_mean) return 0;
  const moon_type *x = &n->inputs[0]->type;
  if (!moon__dtype_is_float(x->dtype) || !moon__shape_count_known(&x->shape, &count) ||
      !moon__shape_count_known(&n->outputs[0].type.shape, &result) || count == 0 || result == 0)
    return 0;
  return (double)count / (double)result;
}

/* mean (x) = sum (x) / n: divided, so that the mean of equal numbers whose sum is exact is that number. */
static moon_status lower_mean(moon_pass_env *env, const moon_node *n, moon_value *const *in, moon_value **out) {
  double count = mean_count(n);
  if (count == 0) return MOON_OK;
  moon_value *sum = moon__apply(env->ctx, MOON_OP_sum, n->attrs, 1, in);
  out[0] = sum ? moon__div(env->ctx, sum, moon__number(env->ctx, sum, count)) : NULL;
  return out[0] ? MOON_OK : env->ctx->status;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  if (n->op->id == MOON_OP_call) return inline_call(env, n, in, out);
  if (n->op->id == MOON_OP_mean) return lower_mean(env, n, in, out);
  if (n->op->kind == MOON_COMPOSITE) {
    if (env->fast_kernels && env->device->backend->has_kernel(env->device, n)) return MOON_OK;
    return inline_composite(env, n, in, out);
  }
  return moon__pass_bodies(env, moon__pass_lower, n, in, out);
}

static bool is_low(const moon_pass_env *env, const moon_graph *g) {
  for (int i = 0; i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    if (n->op->id == MOON_OP_call || mean_count(n) > 0) return false;
    if (n->op->kind == MOON_COMPOSITE && !(env->fast_kernels && env->device->backend->has_kernel(env->device, n))) return false;
  }
  return true;
}

moon_graph *moon__pass_lower(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  moon_graph *low = moon__rewrite(&r, g);
  while (low && !is_low(env, low)) {
    moon_graph *next = moon__rewrite(&r, low);
    moon_graph_release(low);
    low = next;
  }
  return low;
}
