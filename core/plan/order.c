/*
** order.c: when nodes are computed. They keep the order in which they were built, but for what needs nothing but variables and
** constants (packed weights, filled arrays, numbers drawn by their places): that waits for its first user, so that a step does not hold
** for its whole length what only its end wants.
*/
#include "base/alloc.h"
#include "plan/plan.h"

static bool is_leaf(const moon_node *n) { return n->op->id == MOON_OP_constant || n->op->id == MOON_OP_variable; }

/* place[i]: before which node i stands; its own number when it stays. at: node -> its number + 1. */
static bool find_places(const moon_graph *g, moon_map *at, int *place) {
  for (int i = 0; i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    bool waits = !is_leaf(n) && n->op->id != MOON_OP_input && !(n->op->flags & MOON_OPF_EFFECT);
    if (!moon__map_put(at, n, (void *)(uintptr_t)(i + 1))) return false;
    for (int k = 0; waits && k < n->ninputs; k++) {
      const moon_node *input = n->inputs[k]->node;
      waits = is_leaf(input) || place[(uintptr_t)moon__map_get(at, input) - 1] == g->nnodes;
    }
    place[i] = waits ? g->nnodes : i;
  }
  for (int i = g->nnodes - 1; i >= 0; i--) { /* users first */
    const moon_node *n = g->nodes[i];
    if (place[i] == g->nnodes) place[i] = i; /* nobody uses it but the caller */
    for (int k = 0; k < n->ninputs; k++) {
      uintptr_t input = (uintptr_t)moon__map_get(at, n->inputs[k]->node) - 1;
      if (place[input] != (int)input && place[input] > place[i]) place[input] = place[i];
    }
  }
  return true;
}

/* Nodes in order of place, then of number. next: chains of those that stand before the same node. */
static void list_in_order(const moon_graph *g, const int *place, int *first, int *next, moon_node **order) {
  int n = 0;
  for (int i = 0; i < g->nnodes; i++) first[i] = -1;
  for (int i = g->nnodes - 1; i >= 0; i--) {
    next[i] = first[place[i]];
    first[place[i]] = i;
  }
  for (int i = 0; i < g->nnodes; i++) {
    for (int k = first[i]; k >= 0; k = next[k]) order[n++] = g->nodes[k];
  }
}

moon_status moon__plan_order(moon_context *ctx, const moon_graph *g, moon_node **order) {
  moon_map at;
  size_t n = (size_t)g->nnodes;
  int *numbers = moon__alloc_array(ctx->runtime, n, 3 * sizeof *numbers);
  moon__map_init(&at, ctx->runtime);
  bool ok = numbers && moon__map_reserve(&at, g->nnodes) && find_places(g, &at, numbers);
  if (ok) list_in_order(g, numbers, numbers + n, numbers + 2 * n, order);
  moon__map_free(&at);
  moon__free(ctx->runtime, numbers);
  return ok ? MOON_OK : moon__fail_memory(ctx);
}
