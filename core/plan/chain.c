/*
** chain.c: which products run together, each piece of one's result going to the next while it is in a near cache. In a chain each
** product is the only user of what the one before makes (finished by its loop, seen as another shape) and takes it as its first
** operand. What pays is the device's to say; whether it can is asked when the last of them is planned.
*/
#include "base/map.h"
#include "plan/plan.h"

/* The product whose finished result v is, seen as another shape, where that has no other user. */
static moon_node *finished_behind(const moon_map *uses, const moon_map *partners, const moon_value *v) {
  while (moon__plan_uses(uses, v) == 1 && v->node->op->id == MOON_OP_reshape) v = v->node->inputs[0];
  moon_node *n = v->node, *partner = moon__map_get(partners, n);
  if (moon__plan_uses(uses, v) != 1 || n->noutputs != 1) return NULL;
  if (n->op->id == MOON_OP_loop) return partner;
  return (n->op->flags & MOON_OPF_PRODUCT) && !partner ? n : NULL;
}

/* Appends n to the chain that ends with the product before it, if that pays. */
static moon_status append(moon_context *ctx, const moon_device *device, moon_node *n, moon_node *before, moon_chains *c) {
  moon_node *chain[MOON_MAX_LINKS] = {before, n};
  int count = 2;
  if (moon__map_has(&c->after, before)) return MOON_OK;
  for (moon_node *p; (p = moon__map_get(&c->before, chain[0])); count++) {
    if (count == MOON_MAX_LINKS) return MOON_OK;
    for (int i = count; i > 0; i--) chain[i] = chain[i - 1];
    chain[0] = p;
  }
  if (!device->backend->chains(device, chain, count)) return MOON_OK;
  return moon__map_put(&c->before, n, before) && moon__map_put(&c->after, before, n) ? MOON_OK : moon__fail_memory(ctx);
}

moon_status moon__plan_chains(moon_context *ctx, const moon_device *device, const moon_graph *g, const moon_map *partners,
                              moon_chains *c) {
  moon_map uses;
  moon__map_init(&uses, ctx->runtime);
  moon_status s = moon__plan_count_uses(g, &uses) ? MOON_OK : moon__fail_memory(ctx);
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) {
    moon_node *n = g->nodes[i];
    moon_node *before = n->op->flags & MOON_OPF_PRODUCT ? finished_behind(&uses, partners, n->inputs[0]) : NULL;
    if (before) s = append(ctx, device, n, before, c);
  }
  moon__map_free(&uses);
  return s;
}
