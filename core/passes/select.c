/*
** select.c: chooses among ways to compute the same node that are themselves graphs: a 1x1 convolution without stride or padding is
** a matrix product over pixels; in inference filters are packed first, which the prologue does once, where the device says that it
** pays. Which kernel runs a node is the backend's choice over final strides, made when it is planned.
*/
#include "backend.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"

static bool is_pointwise(const moon_node *n) {
  if (n->op->id != MOON_OP_conv) return false;
  moon_geometry g = moon__conv_geometry(n);
  bool pointwise = g.groups == 1;
  for (int i = 0; i < 3; i++) pointwise &= g.window[i] == 1 && g.stride[i] == 1 && g.pad_lo[i] == 0 && g.in[i] == g.out[i];
  return pointwise;
}

/* x [n, s.., c], w [1.., c, f]: [pixels, c] x [c, f]. */
static moon_value *as_matmul(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  const moon_shape *x = &in[0]->type.shape, *w = &in[1]->type.shape;
  int64_t count;
  moon_dim c = x->dim[x->ndim - 1], f = w->dim[w->ndim - 1];
  if (!moon__shape_count_known(x, &count) || c == 0) return NULL;
  moon_shape pixels = moon__shape(2, (moon_dim[]){count / c, c}), weights = moon__shape(2, (moon_dim[]){c, f});
  moon_value *y = moon__matmul(ctx, moon__reshape(ctx, in[0], &pixels), moon__reshape(ctx, in[1], &weights));
  return moon__reshape(ctx, y, &n->outputs[0].type.shape);
}

/* NULL: it does not pay, or an error. */
static moon_value *as_packed(moon_pass_env *env, const moon_node *n, moon_value *const *in) {
  const moon_shape *w = &in[1]->type.shape;
  if (env->mode != MOON_INFERENCE || !env->fast_kernels || w->dim[w->ndim - 1] % 32 != 0) return NULL;
  moon_value *packed = moon__apply(env->ctx, MOON_OP_pack_filter, NULL, 1, &in[1]);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_conv_packed], .attrs = n->attrs, .ninputs = 3,
                         .inputs = (moon_value *[]){in[0], in[1], packed}, .raw = true};
  moon_value *y = packed ? moon__node_build(env->ctx, &spec) : NULL;
  return !y || env->device->backend->has_kernel(env->device, y->node) ? y : NULL;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  if (is_pointwise(n)) {
    moon_origin *before = moon__origin_swap(env->ctx, n->origin);
    out[0] = as_matmul(env->ctx, n, in);
    env->ctx->borrowed = before;
    return out[0] || n->inputs[0]->type.shape.dim[n->inputs[0]->type.shape.ndim - 1] == 0 ? MOON_OK : env->ctx->status;
  }
  if (n->op->id == MOON_OP_conv) {
    moon_status status = env->ctx->status;
    moon_origin *before = moon__origin_swap(env->ctx, n->origin);
    env->ctx->status = MOON_OK;
    out[0] = as_packed(env, n, in);
    env->ctx->borrowed = before;
    if (env->ctx->status != MOON_OK) return env->ctx->status;
    env->ctx->status = status;
    return MOON_OK;
  }
  return moon__pass_bodies(env, moon__pass_select, n, in, out);
}

moon_graph *moon__pass_select(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env};
  return moon__rewrite(&r, g);
}
