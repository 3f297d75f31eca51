/*
** winograd.c: 3x3 convolutions and their gradients go by Winograd's algorithm where the device has a kernel for that and says that it
** pays (core/ops/winograd.c tells what the nodes mean). Error: F(4, 3) has about 4.5 times the root mean square error of the direct
** sum (1.3e-6 relative at 64 channels), F(2, 3) about 0.8 times. Who wants direct sums only switches this pass off, or sets
** MOONLET_WINOGRAD=0.
*/
#include <string.h>

#include "backend.h"
#include "base/os.h"
#include "ops/attrs.h"
#include "passes/body.h"
#include "tune.h"

static moon_value *build(moon_context *ctx, moon_op_id op, const moon_node *like, const void *attrs, int n, moon_value *const *in) {
  moon_node_spec spec = {.op = moon__ops[op], .attrs = attrs, .ninputs = n, .inputs = in, .origin = like->origin, .raw = true};
  return moon__node_build(ctx, &spec);
}

static bool pays(const moon_pass_env *env, const moon_value *v) { return env->device->backend->has_kernel(env->device, v->node); }

static bool can_run(const moon_pass_env *env, const moon_value *v) {
  const moon_backend *b = env->device->backend;
  return b->can_run ? b->can_run(env->device, v->node) : b->has_kernel(env->device, v->node);
}

/* n by F(tile, 3). NULL: an error. */
static moon_value *with_tile(moon_pass_env *env, const moon_node *n, moon_value *const *in, int64_t tile) {
  moon_op_id op = n->op->id;
  if (op == MOON_OP_conv_filter_grad) return build(env->ctx, MOON_OP_winograd_filter_grad, n, n->attrs, 2, in);
  moon_winograd_attrs a;
  memset(&a, 0, sizeof a);
  a.tile = tile;
  a.turned = op == MOON_OP_conv_input_grad;
  a.fresh = env->mode == MOON_TRAINING;
  moon_value *u = build(env->ctx, MOON_OP_winograd_filter, n, &a, 1, &in[1]);
  op = a.turned ? MOON_OP_winograd_input_grad : MOON_OP_winograd_conv;
  return u ? build(env->ctx, op, n, n->attrs, 3, (moon_value *[]){in[0], in[1], u}) : NULL;
}

/* The largest tile of which the device says that it pays, unless the table knows better. NULL: direct, or an error. */
static moon_value *choose(moon_pass_env *env, const moon_node *n, moon_value *const *in) {
  moon_value *y = NULL;
  int32_t own = 0, tile;
  bool able = false;
  for (int32_t t = 4; !own && t >= (n->op->id == MOON_OP_conv_filter_grad ? 4 : 2); t -= 2) {
    if (!(y = with_tile(env, n, in, t))) return NULL;
    able |= can_run(env, y);
    if (pays(env, y)) own = t;
  }
  if (!able) return NULL;
  tile = own;
  (void)moon__winograd_tuned(env->ctx, env->device, n, env->mode, &tile);
  if (tile == own) return own ? y : NULL;
  y = tile ? with_tile(env, n, in, tile) : NULL;
  return y && can_run(env, y) ? y : NULL;
}

static bool is_3x3(const moon_node *n) {
  moon_geometry g = moon__conv_geometry(n);
  bool square = n->outputs[0].type.shape.ndim == 4 && g.groups == 1;
  for (int i = 1; i < 3; i++) square &= g.window[i] == 3 && g.stride[i] == 1 && g.dilation[i] == 1;
  return square;
}

/* The convolution that a node is, directly or by Winograd's algorithm; MOON_OP_COUNT: neither. */
static moon_op_id meaning(moon_op_id op) {
  switch (op) {
    case MOON_OP_winograd_conv: return MOON_OP_conv;
    case MOON_OP_winograd_input_grad: return MOON_OP_conv_input_grad;
    case MOON_OP_winograd_filter_grad: return MOON_OP_conv_filter_grad;
    default: return op == MOON_OP_conv || op == MOON_OP_conv_input_grad || op == MOON_OP_conv_filter_grad ? op : MOON_OP_COUNT;
  }
}

const char *moon__winograd_tuned(moon_context *ctx, const moon_device *device, const moon_node *n, moon_mode mode, int32_t *tile) {
  static const moon_dial all = {"tile", 3, {0, 2, 4}}, filter_grad = {"tile", 2, {0, 4}};
  moon_tune_key key = {.op = meaning(n->op->id), .dtype = n->outputs[0].type.dtype, .nsizes = 5};
  if (key.op == MOON_OP_COUNT || !is_3x3(n)) return NULL;
  moon_geometry g = moon__conv_geometry(n);
  key.form = mode == MOON_INFERENCE ? "3x3-infer" : "3x3-train"; /* filters are transformed once, or in each step */
  memcpy(key.size, (int64_t[]){g.batch, g.out[1], g.out[2], g.c_in, g.c_out}, 5 * sizeof *key.size);
  return moon__tune_ask(ctx, device, &key, 1, key.op == MOON_OP_conv_filter_grad ? &filter_grad : &all, tile);
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  moon_op_id op = n->op->id;
  if (op != MOON_OP_conv && op != MOON_OP_conv_input_grad && op != MOON_OP_conv_filter_grad)
    return moon__pass_bodies(env, moon__pass_winograd, n, in, out);
  if (!is_3x3(n)) return MOON_OK;
  moon_status before = env->ctx->status;
  env->ctx->status = MOON_OK;
  out[0] = choose(env, n, in);
  if (env->ctx->status != MOON_OK) return env->ctx->status;
  env->ctx->status = before;
  return MOON_OK;
}

moon_graph *moon__pass_winograd(moon_pass_env *env, moon_graph *g) {
  const char *word = moon__env("MOONLET_WINOGRAD");
  if (!env->fast_kernels || (word && strcmp(word, "0") == 0)) return moon_graph_retain(g);
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  return moon__rewrite(&r, g);
}
