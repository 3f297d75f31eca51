/*
** dce.c: drops what nobody uses. Whole nodes vanish whenever a graph is made, because a graph is what its outputs reach; left to
** do here are results that a scan stacks and nobody reads.
*/
#include <string.h>

#include "base/alloc.h"
#include "ops/attrs.h"
#include "passes/body.h"

typedef struct usage {
  moon_pass_env *env;
  moon_map used; /* values with a user, or that the graph gives out */
} usage;

static bool is_used(const usage *u, const moon_node *n, int output) { return moon__map_has(&u->used, &n->outputs[output]); }

/* The scan without the ys that are not used; its outputs keep their places in out. */
static moon_status trim_scan(usage *u, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_context *ctx = u->env->ctx;
  const moon_scan_attrs *a = n->attrs;
  const moon_graph *body = n->graphs[0];
  moon_value *kept[MOON_MAX_OUTPUTS];
  int nkept = 0;
  for (int i = 0; i < n->noutputs; i++) {
    if (i < a->ncarry || is_used(u, n, i)) kept[nkept++] = body->outputs[i];
  }
  if (nkept == n->noutputs || nkept == 0) return MOON_OK;
  moon_graph *trimmed = moon__graph_make(ctx, body->ninputs, body->inputs, nkept, kept, 0, NULL);
  if (!trimmed) return ctx->status;
  moon_node_spec spec = {.op = n->op, .attrs = n->attrs, .ninputs = n->ninputs, .inputs = in, .ngraphs = 1, .graphs = &trimmed,
                         .origin = n->origin, .raw = true};
  moon_value *v = moon__node_build(ctx, &spec);
  moon_graph_release(trimmed);
  if (!v) return ctx->status;
  for (int i = 0, at = 0; i < n->noutputs; i++) {
    if (i < a->ncarry || is_used(u, n, i)) out[i] = moon__output(v, at++);
  }
  return MOON_OK;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  usage *u = r->user;
  if (n->op->id == MOON_OP_scan) {
    moon_status s = trim_scan(u, n, in, out);
    if (s != MOON_OK || out[0]) return s;
  }
  return moon__pass_bodies(u->env, moon__pass_dce, n, in, out);
}

static bool list_used(usage *u, const moon_graph *g) {
  bool ok = true;
  for (int i = 0; ok && i < g->noutputs; i++) ok = moon__map_put(&u->used, g->outputs[i], u);
  for (int i = 0; ok && i < g->nnodes; i++) {
    for (int k = 0; ok && k < g->nodes[i]->ninputs; k++) ok = moon__map_put(&u->used, g->nodes[i]->inputs[k], u);
  }
  return ok;
}

moon_graph *moon__pass_dce(moon_pass_env *env, moon_graph *g) {
  usage u = {.env = env};
  moon__map_init(&u.used, env->ctx->runtime);
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = &u, .own = env->own};
  moon_graph *made = NULL;
  if (list_used(&u, g)) made = moon__rewrite(&r, g);
  else moon__fail_memory(env->ctx);
  moon__map_free(&u.used);
  return made;
}
