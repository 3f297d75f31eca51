/*
** epilogue.c: which products (matmul, convolution) are finished by which loops. A product whose result only one loop uses, seen as
** any shape, is computed where that loop stands: its other operands are there by then. A loop finishes one product at most,
** the last one before it; whether the device can is asked when the loop is planned.
*/
#include "base/map.h"
#include "plan/plan.h"

int moon__plan_uses(const moon_map *uses, const moon_value *v) { return (int)(uintptr_t)moon__map_get(uses, v); }

bool moon__plan_count_uses(const moon_graph *g, moon_map *uses) {
  bool ok = true;
  for (int i = 0; ok && i < g->noutputs; i++)
    ok = moon__map_put(uses, g->outputs[i], (void *)(uintptr_t)(moon__plan_uses(uses, g->outputs[i]) + 1));
  for (int i = 0; ok && i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    for (int k = 0; ok && k < n->ninputs; k++)
      ok = moon__map_put(uses, n->inputs[k], (void *)(uintptr_t)(moon__plan_uses(uses, n->inputs[k]) + 1));
  }
  return ok;
}

/* The product that v is, seen as another shape (other views may need a copy of it), when nobody else uses it. */
static moon_node *product_behind(const moon_map *uses, const moon_value *v) {
  while (moon__plan_uses(uses, v) == 1 && v->node->op->id == MOON_OP_reshape) v = v->node->inputs[0];
  bool product = moon__plan_uses(uses, v) == 1 && (v->node->op->flags & MOON_OPF_PRODUCT) && v->node->noutputs == 1;
  return product ? v->node : NULL;
}

static moon_status pair(moon_context *ctx, const moon_graph *g, const moon_map *uses, moon_map *partners) {
  for (int i = 0; i < g->nnodes; i++) {
    moon_node *loop = g->nodes[i], *last = NULL;
    if (loop->op->id != MOON_OP_loop) continue;
    for (int k = 0; k < loop->ninputs; k++) {
      moon_node *product = product_behind(uses, loop->inputs[k]);
      if (product && (!last || product->id > last->id)) last = product;
    }
    if (last && (!moon__map_put(partners, last, loop) || !moon__map_put(partners, loop, last))) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

moon_status moon__plan_epilogues(moon_context *ctx, const moon_graph *g, moon_map *partners) {
  moon_map uses;
  moon__map_init(&uses, ctx->runtime);
  moon_status s = moon__plan_count_uses(g, &uses) ? pair(ctx, g, &uses, partners) : moon__fail_memory(ctx);
  moon__map_free(&uses);
  return s;
}
