/*
** rewrite.c: how a graph becomes another: nodes are visited in order with their inputs already replaced. Passes and the order of
** effects are made of it; so is closing a body over what it captures.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "graph/graph.h"

static bool same_type(const moon_type *a, const moon_type *b) {
  return a->dtype == b->dtype && moon__shape_equal(&a->shape, &b->shape);
}

static bool same_types(const moon_node *node, moon_value *const *inputs) {
  for (int i = 0; i < node->ninputs; i++) {
    if (!inputs[i] || !same_type(&node->inputs[i]->type, &inputs[i]->type)) return false;
  }
  return true;
}

moon_value *moon__node_with_inputs(moon_context *ctx, const moon_node *node, moon_value *const *inputs) {
  moon_node_spec spec = {.op = node->op, .attrs = node->attrs, .ninputs = node->ninputs, .inputs = inputs,
                         .ngraphs = node->ngraphs, .graphs = node->graphs, .variable = node->variable,
                         .tensor = node->op->id == MOON_OP_constant ? node->outputs[0].tensor : NULL, .name = node->name,
                         .type = node->op->id == MOON_OP_input ? &node->outputs[0].type : NULL, .origin = node->origin, .raw = true,
                         .like = same_types(node, inputs) ? node : NULL};
  return moon__node_build(ctx, &spec);
}

static moon_value *look_up(const moon_map *map, moon_value *v) {
  moon_value *r = map->n ? moon__map_get(map, v) : NULL;
  return r ? r : v;
}

static moon_status check_type(moon_rewriter *r, const moon_node *node, int i, const moon_value *v) {
  const moon_type *was = &node->outputs[i].type;
  if (r->retype || same_type(was, &v->type)) return MOON_OK;
  return moon__fail_node(r->ctx, node, MOON_EINTERNAL, "a rewrite changed its type to %s", moon_dtype_name(v->type.dtype));
}

static void change_inputs(moon_rewriter *r, moon_node *node, moon_value *const *inputs) {
  for (int i = 0; i < node->ninputs; i++) {
    moon_value *before = node->inputs[i];
    if (before == inputs[i]) continue;
    node->inputs[i] = moon_value_retain(inputs[i]);
    moon_value_release(before);
  }
  node->id = moon__next_id(r->ctx->runtime); /* where a copy would stand: after its inputs */
}

moon_node *moon__rewrite_inputs(moon_rewriter *r, moon_node *node, moon_value *const *inputs) {
  bool changed = false, own = r->own && node->id >= r->own;
  for (int i = 0; i < node->ninputs; i++) changed |= inputs[i] != node->inputs[i] || inputs[i]->node->id > node->id;
  if (!changed) return node;
  if (own && same_types(node, inputs)) {
    change_inputs(r, node, inputs);
    return node;
  }
  moon_value *copy = moon__node_with_inputs(r->ctx, node, inputs);
  return copy ? copy->node : NULL;
}

/* The map learns what stands for a value. The value lives on with the scope: until all its users have been visited, nothing new may
** come to lie where it is. */
static moon_status replace_outputs(moon_rewriter *r, moon_map *map, moon_node *node, moon_value *const *out) {
  bool replaced = false;
  for (int i = 0; i < node->noutputs; i++) {
    if (!out[i] || out[i] == &node->outputs[i]) continue;
    moon_status s = check_type(r, node, i, out[i]);
    if (s != MOON_OK) return s;
    if (!moon__map_put(map, &node->outputs[i], out[i])) return moon__fail_memory(r->ctx);
    replaced = true;
  }
  if (!replaced || !r->own || moon__scope_add(r->ctx, moon_value_retain(node->outputs))) return MOON_OK;
  moon_value_release(node->outputs);
  return moon__fail_memory(r->ctx);
}

/* Replaces one node; the map learns values that changed. */
static moon_status rewrite_node(moon_rewriter *r, moon_map *map, moon_node *node) {
  moon_value *in[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS];
  /* Room for the largest node, cleared only as far as this one goes: a walk visits thousands. */
  in[0] = NULL;
  memset(out, 0, (size_t)node->noutputs * sizeof *out);
  for (int i = 0; i < node->ninputs; i++) in[i] = look_up(map, node->inputs[i]);
  moon_status s = r->visit(r, node, in, out);
  if (s != MOON_OK) return s;
  if (!out[0]) {
    moon_node *made = moon__rewrite_inputs(r, node, in);
    if (!made) return r->ctx->status;
    for (int i = 0; i < node->noutputs; i++) out[i] = &made->outputs[i];
  }
  return replace_outputs(r, map, node, out);
}

static moon_graph *make_mapped(moon_context *ctx, const moon_graph *g, const moon_map *map) {
  int n = g->noutputs + g->neffects;
  moon_value **v = moon__alloc_array(ctx->runtime, (size_t)n, sizeof *v);
  if (!v) {
    moon__fail_memory(ctx);
    return NULL;
  }
  for (int i = 0; i < g->noutputs; i++) v[i] = look_up(map, g->outputs[i]);
  for (int i = 0; i < g->neffects; i++) v[g->noutputs + i] = look_up(map, g->effects[i]);
  moon_graph *made = moon__graph_make(ctx, g->ninputs, g->inputs, g->noutputs, v, g->neffects, v + g->noutputs);
  moon__free(ctx->runtime, v);
  return made;
}

moon_graph *moon__rewrite(moon_rewriter *r, const moon_graph *g) {
  moon_map map;
  moon_status s = MOON_OK;
  moon_graph *made = NULL;
  moon__map_init(&map, r->ctx->runtime);
  moon_scope_open(r->ctx);
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) s = rewrite_node(r, &map, g->nodes[i]);
  if (s == MOON_OK) made = map.n ? make_mapped(r->ctx, g, &map) : moon_graph_retain((moon_graph *)(uintptr_t)g);
  moon_scope_close(r->ctx);
  moon__map_free(&map);
  return made;
}

/* ---- Closing a body over what it captures ---- */

typedef struct closing {
  moon_context *ctx;
  uint64_t first_id;
  moon_map inner;      /* outer value -> formal; inner value -> its copy */
  moon_value **captures, **formals;
  int ncaptures, capture_capacity, nformals, formal_capacity;
} closing;

static bool is_outer(const closing *c, const moon_value *v) {
  const moon_node *n = v->node;
  return (n->id < c->first_id && n->op->id != MOON_OP_constant) || n->op->id == MOON_OP_variable;
}

/* The formal that stands for an outer value. All reads of one variable share one; a read made inside is made again outside,
** because the body's trace ends. */
static moon_value *capture(closing *c, moon_value *v) {
  moon_context *ctx = c->ctx;
  const void *key = v->node->variable ? (const void *)v->node->variable : v;
  moon_value *formal = moon__map_get(&c->inner, key);
  char name[32];
  if (formal) return formal;
  if (v->node->variable && v->node->id >= c->first_id) v = moon_variable_value(ctx, v->node->variable);
  if (!v) return NULL;
  snprintf(name, sizeof name, "capture_%d", c->ncaptures + 1);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = name, .type = &v->type, .raw = true};
  formal = moon__node_build(ctx, &spec);
  if (!formal) return NULL;
  if (!MOON_RESERVE(ctx->runtime, c->captures, c->capture_capacity, c->ncaptures + 1) ||
      !MOON_RESERVE(ctx->runtime, c->formals, c->formal_capacity, c->nformals + 1) || !moon__map_put(&c->inner, key, formal)) {
    moon__fail_memory(ctx);
    return NULL;
  }
  c->captures[c->ncaptures++] = v;
  c->formals[c->nformals++] = formal;
  return formal;
}

static moon_value *inside(closing *c, moon_value *v) {
  moon_value *r = moon__map_get(&c->inner, v);
  if (r) return r;
  return is_outer(c, v) ? capture(c, v) : v;
}

static moon_status close_node(closing *c, moon_node *n) {
  moon_value *in[MOON_MAX_INPUTS];
  bool changed = false;
  if (is_outer(c, &n->outputs[0])) return MOON_OK;
  if (n->op->id == MOON_OP_assign)
    return moon__fail_node(c->ctx, n, MOON_ESTATE, "variable '%s' is assigned inside a body of cond, scan or while_loop; return the "
                           "value from the body and assign it outside", moon_variable_name(n->variable));
  for (int i = 0; i < n->ninputs; i++) {
    in[i] = inside(c, n->inputs[i]);
    if (!in[i]) return c->ctx->status;
    changed |= in[i] != n->inputs[i];
  }
  if (!changed) return MOON_OK;
  moon_value *copy = moon__node_with_inputs(c->ctx, n, in);
  if (!copy) return c->ctx->status;
  for (int i = 0; i < n->noutputs; i++) {
    if (!moon__map_put(&c->inner, &n->outputs[i], &copy->node->outputs[i])) return moon__fail_memory(c->ctx);
  }
  return MOON_OK;
}

moon_graph *moon__graph_close(moon_context *ctx, uint64_t first_node_id, int nformals, moon_value *const *formals, int noutputs,
                              moon_value *const *outputs, moon_value ***captures, int *ncaptures) {
  closing c = {.ctx = ctx, .first_id = first_node_id};
  moon_node **nodes = NULL;
  int nnodes = 0;
  moon_graph *g = NULL;
  moon_value **out = NULL;
  moon__map_init(&c.inner, ctx->runtime);
  bool ok = MOON_RESERVE(ctx->runtime, c.formals, c.formal_capacity, nformals + 1);
  for (int i = 0; ok && i < nformals; i++) {
    c.formals[c.nformals++] = formals[i];
    ok = moon__map_put(&c.inner, formals[i], formals[i]);
  }
  out = ok ? moon__alloc_array(ctx->runtime, (size_t)noutputs, sizeof *out) : NULL;
  if (!out) {
    moon__fail_memory(ctx);
    goto done;
  }
  if (moon__topology(ctx, noutputs, outputs, NULL, &nodes, &nnodes) != MOON_OK) goto done;
  for (int i = 0; i < nnodes; i++) {
    if (close_node(&c, nodes[i]) != MOON_OK) goto done;
  }
  for (int i = 0; i < noutputs; i++) {
    out[i] = inside(&c, outputs[i]);
    if (!out[i]) goto done;
  }
  g = moon__graph_make(ctx, c.nformals, c.formals, noutputs, out, 0, NULL);
done:
  moon__free(ctx->runtime, nodes);
  moon__free(ctx->runtime, out);
  moon__free(ctx->runtime, c.formals);
  moon__map_free(&c.inner);
  if (g) {
    *captures = c.captures;
    *ncaptures = c.ncaptures;
  } else {
    moon__free(ctx->runtime, c.captures);
  }
  return g;
}
