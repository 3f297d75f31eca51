/*
** half.c: bf16 and f16 are ways to store numbers. A node that computes over them becomes one over f32 between casts, so its result is
** rounded once; what only moves elements stays as it is. This is what such a node means, so it is done always, before the passes:
** kernels that compute meet f32, and loops take the casts in. No later pass may drop a cast to a half.
*/
#include <string.h>

#include "backend.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"
#include "tensor/tensor.h"

static bool moves_only(const moon_op *op) { return (op->flags & (MOON_OPF_MOVES | MOON_OPF_VIEW)) != 0; }

static bool has_half(const moon_graph *g) {
  for (int i = 0; i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    for (int k = 0; k < n->noutputs; k++)
      if (moon__dtype_is_half(n->outputs[k].type.dtype)) return true;
    for (int k = 0; k < n->ngraphs; k++)
      if (has_half(n->graphs[k])) return true;
  }
  return false;
}

/* v as f32. Numbers stay numbers, and what is repeated is widened before it is. */
static moon_value *widen(moon_context *ctx, moon_value *v) {
  moon_dtype dtype = v->type.dtype;
  if (!moon__dtype_is_half(dtype)) return v;
  if (v->node->op->id == MOON_OP_broadcast_to)
    return moon__broadcast_to(ctx, widen(ctx, v->node->inputs[0]), &v->type.shape);
  if (v->node->op->id == MOON_OP_full) {
    double x = ((const moon_full_attrs *)v->node->attrs)->value;
    uint16_t rounded;
    moon__convert(&rounded, dtype, &x, MOON_DTYPE_f64);
    moon__convert(&x, MOON_DTYPE_f64, &rounded, dtype);
    return moon__full(ctx, MOON_DTYPE_f32, &v->type.shape, x);
  }
  return moon__cast(ctx, v, MOON_DTYPE_f32);
}

/* Casts between a half and another dtype go by way of f32. */
static moon_status widen_cast(moon_context *ctx, const moon_node *n, moon_value *x, moon_value **out) {
  moon_dtype from = x->type.dtype, to = n->outputs[0].type.dtype;
  if (!moon__dtype_is_half(from) && !moon__dtype_is_half(to)) return MOON_OK;
  if (from == to) out[0] = x;
  else if (to == MOON_DTYPE_f32) out[0] = widen(ctx, x);
  else if (from != MOON_DTYPE_f32) out[0] = moon__cast(ctx, moon__cast(ctx, x, MOON_DTYPE_f32), to);
  else return MOON_OK;
  return out[0] ? MOON_OK : ctx->status;
}

/* The attributes with f32 where they say a half: what is drawn or counted up is made in f32. */
static void widen_attrs(const moon_node *n, void *attrs) {
  for (int i = 0; i < n->op->nattrs; i++) {
    const moon_attr *row = &n->op->attrs[i];
    int32_t *dtype = (int32_t *)(void *)((char *)attrs + row->offset);
    if (row->kind == MOON_ATTR_DTYPE && *dtype >= 0) *dtype = (int32_t)moon__dtype_wide((moon_dtype)*dtype);
  }
}

/* A product that the device has of halves: its f32 sums, rounded. */
static moon_status keep_product(moon_context *ctx, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_value *sums = moon__apply(ctx, n->op->id, &(moon_cast_attrs){MOON_DTYPE_f32}, n->ninputs, in);
  out[0] = moon__cast(ctx, sums, n->outputs[0].type.dtype);
  return out[0] ? MOON_OK : ctx->status;
}

static bool has_product(const moon_pass_env *env, const moon_node *n) {
  return env->fast_kernels && n->op->id == MOON_OP_matmul && env->device->backend->has_kernel(env->device, n);
}

static moon_status widen_node(moon_context *ctx, const moon_node *n, moon_value *const *in, moon_value **out) {
  _Alignas(16) char attrs[1024]; /* as large as node.c allows */
  moon_value *wide[MOON_MAX_INPUTS];
  bool any = false;
  for (int i = 0; i < n->ninputs; i++) any |= moon__dtype_is_half(in[i]->type.dtype);
  for (int i = 0; i < n->noutputs; i++) any |= moon__dtype_is_half(n->outputs[i].type.dtype);
  if (!any) return MOON_OK;
  for (int i = 0; i < n->ninputs; i++)
    if (!(wide[i] = widen(ctx, in[i]))) return ctx->status;
  if (n->attrs) memcpy(attrs, n->attrs, n->op->attrs_bytes);
  widen_attrs(n, attrs);
  moon_node_spec spec = {.op = n->op, .attrs = attrs, .ninputs = n->ninputs, .inputs = wide, .name = n->name, .origin = n->origin,
                         .raw = true};
  moon_value *y = moon__node_build(ctx, &spec);
  for (int i = 0; y && i < n->noutputs; i++) {
    out[i] = moon__cast(ctx, moon__output(y, i), n->outputs[i].type.dtype);
    if (!out[i]) return ctx->status;
  }
  return y ? MOON_OK : ctx->status;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  if (n->ngraphs) return moon__pass_bodies(env, moon__widen_halves, n, in, out);
  moon_origin *before = moon__origin_swap(env->ctx, n->origin);
  moon_status s = MOON_OK;
  if (n->op->id == MOON_OP_cast) s = widen_cast(env->ctx, n, in[0], out);
  else if (has_product(env, n)) s = keep_product(env->ctx, n, in, out);
  else if (!moves_only(n->op)) s = widen_node(env->ctx, n, in, out);
  env->ctx->borrowed = before;
  return s;
}

moon_graph *moon__widen_halves(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env};
  return has_half(g) ? moon__rewrite(&r, g) : moon_graph_retain(g);
}
