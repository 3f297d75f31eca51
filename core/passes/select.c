/*
** select.c: chooses among ways to compute the same node that are themselves graphs: in inference filters are packed first, which the
** prologue does once, where the device says that it pays; else a 1x1 convolution without padding, and its gradient, is a matrix product
** over the pixels that it sees. Which kernel runs a node is the backend's choice over final strides, made when it is planned.
*/
#include "backend.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"

/* A window of one place, which never falls outside. */
static bool is_pointwise(const moon_node *n, moon_geometry *g) {
  if (n->op->id != MOON_OP_conv && n->op->id != MOON_OP_conv_input_grad && n->op->id != MOON_OP_conv_filter_grad) return false;
  *g = moon__conv_geometry(n);
  bool pointwise = g->groups == 1 && g->c_in > 0 && g->c_out > 0;
  for (int i = 0; i < 3; i++) pointwise &= g->window[i] == 1 && g->pad_lo[i] == 0 && (g->out[i] - 1) * g->stride[i] < g->in[i];
  return pointwise;
}

/* Places of x that no window sees are left out: x [n, s.., c] -> [n, o.., c]. */
static moon_value *seen(moon_context *ctx, moon_value *x, const moon_geometry *g) {
  int naxes = x->type.shape.ndim - 2;
  for (int i = 0; x && i < naxes; i++) {
    int at = 3 - naxes + i;
    if (g->in[at] != g->out[at]) x = moon__slice(ctx, x, i + 1, 0, g->out[at], g->stride[at]);
  }
  return x;
}

/* x of a shape, dx of those of its places that a window sees: the other way round. */
static moon_value *put_back(moon_context *ctx, moon_value *dx, const moon_geometry *g, const moon_shape *shape) {
  moon_unslice_attrs a = {.shape = *shape};
  int naxes = shape->ndim - 2;
  moon_shape seen_shape = *shape;
  a.step.n = a.first.ndim = shape->ndim;
  for (int i = 0; i < shape->ndim; i++) a.step.v[i] = 1;
  for (int i = 0; i < naxes; i++) {
    a.step.v[i + 1] = g->stride[3 - naxes + i];
    seen_shape.dim[i + 1] = g->out[3 - naxes + i];
  }
  dx = moon__reshape(ctx, dx, &seen_shape);
  return moon__shape_equal(&seen_shape, shape) || !dx ? dx : moon__apply(ctx, MOON_OP_unslice, &a, 1, &dx);
}

static moon_value *matrix(moon_context *ctx, moon_value *x, int64_t rows, int64_t columns) {
  moon_shape shape = moon__shape(2, (moon_dim[]){rows, columns});
  return x ? moon__reshape(ctx, x, &shape) : NULL;
}

/* With the pixels that windows see as rows, x [pixels, c] and w [c, f]: y = x w, dx = dy w'. */
static moon_value *as_matmul(moon_context *ctx, const moon_node *n, moon_value *const *in, const moon_geometry *g) {
  const moon_shape *shape = &n->outputs[0].type.shape;
  int64_t pixels = g->batch * g->out[0] * g->out[1] * g->out[2], c = g->c_in, f = g->c_out;
  if (n->op->id == MOON_OP_conv_input_grad) {
    moon_value *w = moon__swap_last(ctx, matrix(ctx, in[1], c, f));
    return put_back(ctx, moon__matmul(ctx, matrix(ctx, in[0], pixels, f), w), g, shape);
  }
  moon_value *y = moon__matmul(ctx, matrix(ctx, seen(ctx, in[0], g), pixels, c), matrix(ctx, in[1], c, f));
  return y ? moon__reshape(ctx, y, shape) : NULL;
}

/* dw = x' dy sums over places, which its own kernel cuts better than a product's: only what no window sees is left out first. */
static moon_value *without_stride(moon_context *ctx, const moon_node *n, moon_value *const *in, const moon_geometry *g) {
  moon_conv_attrs a = *(const moon_conv_attrs *)n->attrs;
  moon_value *x = seen(ctx, in[0], g), *both[] = {x, in[1]};
  if (x == in[0]) return NULL;
  a.padding = MOON_PADDING_VALID;
  for (int i = 0; i < a.strides.n; i++) a.strides.v[i] = 1;
  return x ? moon__apply(ctx, MOON_OP_conv_filter_grad, &a, 2, both) : NULL;
}

/* NULL: it does not pay, or an error. */
static moon_value *as_packed(moon_pass_env *env, const moon_node *n, moon_value *const *in) {
  if (env->mode != MOON_INFERENCE || !env->fast_kernels) return NULL;
  moon_value *packed = moon__apply(env->ctx, MOON_OP_pack_filter, NULL, 1, &in[1]);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_conv_packed], .attrs = n->attrs, .ninputs = 3,
                         .inputs = (moon_value *[]){in[0], in[1], packed}, .raw = true};
  moon_value *y = packed ? moon__node_build(env->ctx, &spec) : NULL;
  return !y || env->device->backend->has_kernel(env->device, y->node) ? y : NULL;
}

/* NULL: it stays as it is, or an error. */
static moon_value *better(moon_pass_env *env, const moon_node *n, moon_value *const *in) {
  moon_geometry g;
  moon_value *y = n->op->id == MOON_OP_conv ? as_packed(env, n, in) : NULL;
  if (y || env->ctx->status != MOON_OK || !is_pointwise(n, &g)) return y;
  return n->op->id == MOON_OP_conv_filter_grad ? without_stride(env->ctx, n, in, &g) : as_matmul(env->ctx, n, in, &g);
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  if (n->op->id != MOON_OP_conv && n->op->id != MOON_OP_conv_input_grad && n->op->id != MOON_OP_conv_filter_grad)
    return moon__pass_bodies(env, moon__pass_select, n, in, out);
  moon_status before = env->ctx->status;
  moon_origin *origin = moon__origin_swap(env->ctx, n->origin);
  env->ctx->status = MOON_OK;
  out[0] = better(env, n, in);
  env->ctx->borrowed = origin;
  if (env->ctx->status != MOON_OK) return env->ctx->status;
  env->ctx->status = before;
  return MOON_OK;
}

moon_graph *moon__pass_select(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  return moon__rewrite(&r, g);
}
