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

static moon_value *build(moon_context *ctx, moon_op_id op, const moon_node *like, const void *attrs, int n, moon_value *const *in) {
  moon_node_spec spec = {.op = moon__ops[op], .attrs = attrs, .ninputs = n, .inputs = in, .origin = like->origin, .raw = true};
  return moon__node_build(ctx, &spec);
}

static bool pays(const moon_pass_env *env, const moon_value *v) { return env->device->backend->has_kernel(env->device, v->node); }

/* Tries F(4, 3), then F(2, 3). NULL: neither, or an error. */
static moon_value *with_filter(moon_pass_env *env, const moon_node *n, moon_value *const *in, moon_op_id op, bool turned) {
  for (int64_t tile = 4; tile >= 2; tile -= 2) {
    moon_winograd_attrs a;
    memset(&a, 0, sizeof a);
    a.tile = tile;
    a.turned = turned;
    a.fresh = env->mode == MOON_TRAINING;
    moon_value *u = build(env->ctx, MOON_OP_winograd_filter, n, &a, 1, &in[1]);
    moon_value *y = u ? build(env->ctx, op, n, n->attrs, 3, (moon_value *[]){in[0], in[1], u}) : NULL;
    if (!y || pays(env, y)) return y;
  }
  return NULL;
}

static moon_value *without_filter(moon_pass_env *env, const moon_node *n, moon_value *const *in) {
  moon_value *dw = build(env->ctx, MOON_OP_winograd_filter_grad, n, n->attrs, 2, in);
  return !dw || pays(env, dw) ? dw : NULL;
}

static bool is_3x3(const moon_node *n) {
  moon_geometry g = moon__conv_geometry(n);
  bool square = n->outputs[0].type.shape.ndim == 4 && g.groups == 1;
  for (int i = 1; i < 3; i++) square &= g.window[i] == 3 && g.stride[i] == 1 && g.dilation[i] == 1;
  return square;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  moon_op_id op = n->op->id;
  if (op != MOON_OP_conv && op != MOON_OP_conv_input_grad && op != MOON_OP_conv_filter_grad)
    return moon__pass_bodies(env, moon__pass_winograd, n, in, out);
  if (!is_3x3(n)) return MOON_OK;
  moon_status before = env->ctx->status;
  env->ctx->status = MOON_OK;
  if (op == MOON_OP_conv) out[0] = with_filter(env, n, in, MOON_OP_winograd_conv, false);
  else if (op == MOON_OP_conv_input_grad) out[0] = with_filter(env, n, in, MOON_OP_winograd_input_grad, true);
  else out[0] = without_filter(env, n, in);
  if (env->ctx->status != MOON_OK) return env->ctx->status;
  env->ctx->status = before;
  return MOON_OK;
}

moon_graph *moon__pass_winograd(moon_pass_env *env, moon_graph *g) {
  const char *word = moon__env("MOONLET_WINOGRAD");
  if (!env->fast_kernels || (word && strcmp(word, "0") == 0)) return moon_graph_retain(g);
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env};
  return moon__rewrite(&r, g);
}
