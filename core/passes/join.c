/*
** join.c: updates of many weights become one node, so that they are one launch: those of one optimizer that share its numbers. A
** factor that all their gradients are multiplied by, as clipping by the norm of all of them gives it, becomes an operand. Joined are
** only updates that write the variables they read, by gradients that depend on no other update: then each writes in place what no
** other reads. What a device has no kernel for stays as it is.
*/
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/shape.h"
#include "ops/optimizer.h"
#include "passes/body.h"

enum { MOST_SETS = 32 };

typedef struct join {
  moon_pass_env *env;
  const moon_graph *g;
  moon_map after; /* nodes that depend on an update, and updates */
  moon_map apart; /* updates whose results go elsewhere than to the variables they read */
  moon_map made;  /* update -> its first output among many */
} join;

/* The rank 0 factor s of x * s, x of any shape; NULL: v is no such product. */
static moon_value *factor_of(const moon_value *v, moon_value **x) {
  const moon_node *n = v->node;
  if (n->op->id != MOON_OP_mul || v->type.dtype != MOON_DTYPE_f32) return NULL;
  for (int i = 1; i >= 0; i--) { /* of two numbers the second, as optimizers write it */
    moon_value *s = n->inputs[i];
    while (s->node->op->id == MOON_OP_broadcast_to || s->node->op->id == MOON_OP_reshape) s = s->node->inputs[0];
    if (s->type.shape.ndim != 0 || s->type.dtype != MOON_DTYPE_f32) continue;
    *x = n->inputs[1 - i];
    return s;
  }
  return NULL;
}

static bool may_join(const join *j, const moon_node *n, const moon_update *u) {
  if (moon__map_has(&j->apart, n)) return false;
  for (int i = 0; i < u->tensors; i++) {
    if (i != 1 && n->inputs[i]->node->op->id != MOON_OP_variable) return false;
  }
  for (int i = 0; i < n->ninputs; i++) {
    if (moon__map_has(&j->after, n->inputs[i]->node)) return false;
  }
  return true;
}

static bool alike(const moon_node *a, const moon_node *b, const moon_update *u) {
  if (a->op != b->op || a->inputs[0]->type.dtype != b->inputs[0]->type.dtype || !moon__attrs_equal(a->op, a->attrs, b->attrs))
    return false;
  for (int i = u->tensors; i < u->tensors + u->numbers; i++) {
    if (a->inputs[i] != b->inputs[i]) return false;
  }
  moon_value *x;
  return factor_of(a->inputs[1], &x) == factor_of(b->inputs[1], &x);
}

/* One node for updates [n]. */
static moon_status make(join *j, moon_node *const *one, int n, const moon_update *u) {
  moon_context *ctx = j->env->ctx;
  moon_value *in[MOON_MAX_INPUTS], *x, *scale = factor_of(one[0]->inputs[1], &x);
  int at = 0;
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < u->tensors; k++) in[at++] = one[i]->inputs[k];
    if (scale) {
      factor_of(one[i]->inputs[1], &x);
      in[at - u->tensors + 1] = x;
    }
  }
  for (int k = 0; k < u->numbers; k++) in[at++] = one[0]->inputs[u->tensors + k];
  if (scale) in[at++] = scale;
  moon_node_spec spec = {.op = moon__ops[u->many], .attrs = one[0]->attrs, .ninputs = at, .inputs = in, .origin = one[0]->origin,
                         .raw = true};
  moon_value *v = moon__node_build(ctx, &spec);
  if (!v) return ctx->status;
  if (!j->env->device->backend->has_kernel(j->env->device, v->node)) return MOON_OK;
  for (int i = 0; i < n; i++) {
    if (!moon__map_put(&j->made, one[i], moon__output(v, i * (u->tensors - 1)))) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

/* Joins update i of the graph with those like it that come after. */
static moon_status gather(join *j, int i, const moon_update *u, moon_map *taken) {
  moon_node *const *nodes = j->g->nodes, *group[MOST_SETS];
  int n = 0, most = MOON_MAX_OUTPUTS / (u->tensors - 1);
  for (int k = i; k < j->g->nnodes && n < most && n < MOST_SETS; k++) {
    if (nodes[k]->op->id != u->one || moon__map_has(taken, nodes[k]) || !may_join(j, nodes[k], u)) continue;
    if (!alike(nodes[i], nodes[k], u)) continue;
    group[n++] = nodes[k];
    if (!moon__map_put(taken, nodes[k], j)) return moon__fail_memory(j->env->ctx);
  }
  moon_value *x;
  return n > 1 || (n == 1 && factor_of(group[0]->inputs[1], &x)) ? make(j, group, n, u) : MOON_OK;
}

/* Lists what depends on updates, and updates whose results anything but the assignment of their own variables uses. */
static moon_status look(join *j) {
  bool ok = true;
  for (int i = 0; ok && i < j->g->nnodes; i++) { /* in order: inputs first */
    moon_node *n = j->g->nodes[i];
    for (int k = 0; ok && k < n->ninputs; k++) {
      const moon_value *v = n->inputs[k];
      const moon_update *u = moon__update_of(v->node->op->id);
      if (u || moon__map_has(&j->after, v->node)) ok = moon__map_put(&j->after, n, j);
      if (!u || u->one != v->node->op->id) continue;
      bool own = n->op->id == MOON_OP_assign && n->variable == v->node->inputs[v->index ? v->index + 1 : 0]->node->variable;
      if (ok && !own) ok = moon__map_put(&j->apart, v->node, j);
    }
  }
  for (int i = 0; ok && i < j->g->noutputs; i++) ok = moon__map_put(&j->apart, j->g->outputs[i]->node, j);
  return ok ? MOON_OK : moon__fail_memory(j->env->ctx);
}

static moon_status find_all(join *j) {
  moon_map taken;
  moon_status s = look(j);
  moon__map_init(&taken, j->env->ctx->runtime);
  for (int i = 0; s == MOON_OK && i < j->g->nnodes; i++) {
    const moon_update *u = moon__update_of(j->g->nodes[i]->op->id);
    if (u && u->one == j->g->nodes[i]->op->id && !moon__map_has(&taken, j->g->nodes[i]) && may_join(j, j->g->nodes[i], u))
      s = gather(j, i, u, &taken);
  }
  moon__map_free(&taken);
  return s;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  const join *j = r->user;
  moon_value *v = moon__map_get(&j->made, n);
  (void)in;
  for (int i = 0; v && i < n->noutputs; i++) out[i] = moon__output(v, v->index + i);
  return MOON_OK;
}

moon_graph *moon__pass_join(moon_pass_env *env, moon_graph *g) {
  join j = {.env = env, .g = g};
  moon_graph *made = NULL;
  if (g->neffects < 2) return moon_graph_retain(g);
  moon__map_init(&j.after, env->ctx->runtime);
  moon__map_init(&j.apart, env->ctx->runtime);
  moon__map_init(&j.made, env->ctx->runtime);
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = &j, .own = env->own};
  if (find_all(&j) == MOON_OK) made = j.made.n ? moon__rewrite(&r, g) : moon_graph_retain(g);
  moon__map_free(&j.after);
  moon__map_free(&j.apart);
  moon__map_free(&j.made);
  return made;
}
