/*
** fold.c: what depends on constants alone is computed now, once. Generators (full, arange) stay: they are smaller than their
** numbers. Results larger than FOLD_BYTES stay too, unless they are not larger than what they come from.
*/
#include "base/shape.h"
#include "eager.h"
#include "ops/attrs.h"
#include "passes/body.h"
#include "tensor/tensor.h"

#define FOLD_BYTES ((int64_t)1 << 20)

static bool small_enough(const moon_node *n) {
  int64_t out = 0, count;
  for (int i = 0; i < n->noutputs; i++) {
    if (!moon__shape_count_known(&n->outputs[i].type.shape, &count) || count > FOLD_BYTES) return false;
    out += count * (int64_t)moon_dtype_bytes(n->outputs[i].type.dtype);
  }
  return out <= FOLD_BYTES;
}

static bool foldable(const moon_node *n, moon_value *const *in) {
  if (n->op->id == MOON_OP_size) return true;
  if (n->ninputs == 0 || n->ngraphs || (n->op->flags & (MOON_OPF_RANDOM | MOON_OPF_EFFECT | MOON_OPF_VIEW))) return false;
  for (int i = 0; i < n->ninputs; i++) {
    double x;
    if (in[i]->node->op->id != MOON_OP_constant && !moon__is_number(in[i], &x)) return false;
  }
  return small_enough(n);
}

/* Inputs that are views or fulls of one number become constants first: copies of them, for nodes are shared and stay as they are. */
static moon_value *as_constant(moon_context *ctx, moon_value *v) {
  moon_value *x[1] = {NULL};
  if (v->node->op->id == MOON_OP_constant) return v;
  if (v->node->ninputs == 1) x[0] = as_constant(ctx, v->node->inputs[0]);
  v = v->node->ninputs == 0 || x[0] ? moon__node_with_inputs(ctx, v->node, x) : NULL;
  if (!v || moon__eager_compute(ctx, v->node) != MOON_OK || !v->tensor) return NULL;
  return moon_constant(ctx, v->tensor);
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  moon_context *ctx = env->ctx;
  moon_value *ready[MOON_MAX_INPUTS];
  if (n->ngraphs) return moon__pass_bodies(env, moon__pass_fold, n, in, out);
  if (!foldable(n, in)) return MOON_OK;
  for (int i = 0; i < n->ninputs; i++) {
    ready[i] = as_constant(ctx, in[i]);
    if (!ready[i]) return ctx->status;
  }
  moon_value *copy = moon__node_with_inputs(ctx, n, ready);
  if (!copy) return ctx->status;
  moon_status s = moon__eager_compute(ctx, copy->node);
  if (s == MOON_EINDEX) return MOON_OK; /* a bad index in constants is reported when, and if, it runs */
  for (int i = 0; s == MOON_OK && i < n->noutputs; i++) {
    moon_node_spec spec = {.op = moon__ops[MOON_OP_constant], .tensor = moon__output(copy, i)->tensor, .origin = n->origin,
                           .raw = true};
    out[i] = moon__node_build(ctx, &spec);
    if (!out[i]) s = ctx->status;
  }
  return s;
}

/* The work is small, so it is the host's; place moves what comes of it. */
moon_graph *moon__pass_fold(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  moon_device *before = env->ctx->device;
  env->ctx->device = moon_device_find(env->ctx, "cpu");
  moon_graph *folded = env->ctx->device ? moon__rewrite(&r, g) : NULL;
  env->ctx->device = before;
  return folded;
}
