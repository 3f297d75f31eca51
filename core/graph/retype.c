/*
** retype.c: a graph meets other input types. Specialising binds every unknown to a size, chooses the side of mode nodes, turns
** assigns into the graph's effects and infers every shape again, which checks what could not be compared before. Calling a graph
** (a model as a layer) copies it onto other values the same way, keeping both modes.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "graph/build.h"
#include "graph/graph.h"
#include "ops/attrs.h"

typedef struct retyping {
  moon_context *ctx;
  moon_bindings bindings;
  moon_map map;  /* value -> value */
  bool specialise; /* else a call */
  int side;        /* moon_mode whose side of mode nodes is taken, or -1: mode nodes are kept */
} retyping;

static moon_value *mapped(const retyping *r, moon_value *v) {
  moon_value *to = moon__map_get(&r->map, v);
  return to ? to : v;
}

static moon_status replace(retyping *r, const void *key, moon_value *by) {
  return moon__map_put(&r->map, key, by) ? MOON_OK : moon__fail_memory(r->ctx);
}

/* ---- Bindings ---- */

static moon_status bind_input(retyping *r, const moon_value *formal, const moon_type *type) {
  moon_context *ctx = r->ctx;
  const moon_type *want = &formal->type;
  char a[160], b[160];
  const char *name = formal->node->name;
  if (want->dtype != type->dtype)
    return moon__fail(ctx, MOON_EDTYPE, "input '%s': expected dtype %s, got %s", name, moon_dtype_name(want->dtype),
                      moon_dtype_name(type->dtype));
  bool fits = want->shape.ndim == type->shape.ndim;
  for (int i = 0; fits && i < want->shape.ndim; i++) {
    moon_dim have = type->shape.dim[i];
    moon_status before = ctx->status;
    ctx->status = MOON_OK;
    fits = r->specialise ? moon__dim_match(ctx, want->shape.dim[i], have, &r->bindings)
                         : moon__dim_match_call(ctx, want->shape.dim[i], have, &r->bindings);
    if (ctx->status == MOON_EMEMORY) return MOON_EMEMORY;
    ctx->status = before;
  }
  if (fits) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "input '%s': expected shape %s, got %s", name,
                    moon_shape_text(ctx->runtime, &want->shape, a, sizeof a),
                    moon_shape_text(ctx->runtime, &type->shape, b, sizeof b));
}

static bool eval(retyping *r, moon_dim *d) {
  if (moon__dim_known(*d)) return true;
  moon_dim v = r->specialise ? moon__dim_eval(r->ctx, *d, &r->bindings) : moon__dim_substitute(r->ctx, *d, &r->bindings);
  if (v == MOON_DIM_ERROR) return false;
  *d = v;
  return true;
}

static bool eval_shape(retyping *r, moon_shape *s) {
  for (int i = 0; i < s->ndim; i++) {
    if (!eval(r, &s->dim[i])) return false;
  }
  return true;
}

static bool eval_attrs(retyping *r, const moon_op *op, char *attrs) {
  for (int i = 0; i < op->nattrs; i++) {
    const moon_attr *a = &op->attrs[i];
    if (a->kind == MOON_ATTR_SHAPE && !eval_shape(r, (moon_shape *)(void *)(attrs + a->offset))) return false;
    if (a->kind == MOON_ATTR_DIM && !eval(r, (moon_dim *)(void *)(attrs + a->offset))) return false;
  }
  return true;
}

/* Is every size that the node has known? */
static bool is_known(const moon_node *n) {
  for (int i = 0; i < n->noutputs; i++) {
    if (!moon__shape_known(&n->outputs[i].type.shape)) return false;
  }
  for (int i = 0; i < n->op->nattrs; i++) {
    const moon_attr *a = &n->op->attrs[i];
    const void *field = (const char *)n->attrs + a->offset;
    if (a->kind == MOON_ATTR_SHAPE && !moon__shape_known(field)) return false;
    if (a->kind == MOON_ATTR_DIM && !moon__dim_known(*(const moon_dim *)field)) return false;
  }
  return true;
}

/* ---- Nodes ---- */

static moon_graph *retype_body(retyping *r, const moon_graph *body);

/* Nodes that mean one of their inputs once the mode is known. */
static moon_value *pass_through(const retyping *r, const moon_node *n, moon_value *const *in) {
  if (n->op->id == MOON_OP_mode && r->side >= 0) return in[r->side == MOON_TRAINING ? 0 : 1];
  if (r->specialise && (n->op->id == MOON_OP_depend || n->op->id == MOON_OP_stop_gradient)) return in[0];
  return NULL;
}

static moon_tensor *constant_of(const moon_node *n) { return n->op->id == MOON_OP_constant ? n->outputs[0].tensor : NULL; }

static moon_status retype_node(retyping *r, moon_node *n) {
  moon_context *ctx = r->ctx;
  _Alignas(16) char attrs[1024];
  moon_value *in[MOON_MAX_INPUTS];
  moon_graph *graphs[4] = {NULL};
  moon_value *v = NULL;
  moon_type type;
  bool changed = false, specialise = r->specialise;
  for (int i = 0; i < n->ninputs; i++) {
    in[i] = mapped(r, n->inputs[i]);
    changed |= in[i] != n->inputs[i];
  }
  moon_value *through = pass_through(r, n, in);
  if (through) return replace(r, n->outputs, through);
  bool usable = specialise || moon__trace_is_open(ctx, n->trace); /* a call may come after the trace that made the graph */
  if ((usable && n->op->id == MOON_OP_constant) || (specialise && n->op->id == MOON_OP_variable)) return MOON_OK;
  if (n->op->id == MOON_OP_variable) { /* a call reads anew, in its own place of the program order */
    v = moon_variable_value(ctx, n->variable);
    return v ? replace(r, n->outputs, v) : ctx->status;
  }
  bool keep = !changed && !r->bindings.n && n->ngraphs == 0 && !(n->op->flags & (MOON_OPF_RANDOM | MOON_OPF_EFFECT));
  if (keep && usable && (specialise ? is_known(n) : ctx->eager_depth == 0)) return MOON_OK;
  if (n->op->attrs_bytes > sizeof attrs || n->ngraphs > 4) return moon__fail_node(ctx, n, MOON_EINTERNAL, "node too large");
  if (n->attrs) memcpy(attrs, n->attrs, n->op->attrs_bytes);
  moon_origin *before = moon__origin_swap(ctx, n->origin);
  bool ok = eval_attrs(r, n->op, attrs);
  for (int i = 0; ok && i < n->ngraphs; i++) ok = (graphs[i] = retype_body(r, n->graphs[i])) != NULL;
  if (ok) {
    if (!specialise && (n->op->flags & MOON_OPF_RANDOM)) ((moon_random_attrs *)(void *)attrs)->stream = 0; /* a new draw */
    type = n->outputs[0].type;
    moon_node_spec spec = {.op = n->op, .attrs = attrs, .ninputs = n->ninputs, .inputs = in, .ngraphs = n->ngraphs,
                           .graphs = graphs, .variable = n->variable, .name = n->name, .tensor = constant_of(n),
                           .type = n->op->id == MOON_OP_input && eval_shape(r, &type.shape) ? &type : NULL,
                           .origin = n->origin, .raw = specialise};
    v = moon__node_build(ctx, &spec);
  }
  ctx->borrowed = before;
  for (int i = 0; i < n->ngraphs; i++) moon_graph_release(graphs[i]);
  if (!v) return ctx->status;
  for (int i = 0; i < n->noutputs; i++) {
    moon_status s = replace(r, &n->outputs[i], moon__output(v, i));
    if (s != MOON_OK) return s;
  }
  if (!specialise || n->op->id != MOON_OP_assign) return MOON_OK;
  /* Users of an assigned value read the value; the assign itself, found under its node, stays an effect. */
  moon_status s = replace(r, n->outputs, in[0]);
  return s == MOON_OK ? replace(r, n, v) : s;
}

/* Bodies have formals of their own, whose types follow from the same bindings. Mode nodes inside are chosen as outside. */
static moon_graph *retype_body(retyping *r, const moon_graph *body) {
  moon_context *ctx = r->ctx;
  moon_value **v = moon__alloc_array(ctx->runtime, (size_t)(body->ninputs + body->noutputs), sizeof *v);
  moon_graph *made = NULL;
  if (!v) {
    moon__fail_memory(ctx);
    return NULL;
  }
  for (int i = 0; i < body->nnodes; i++) {
    moon_node *n = body->nodes[i];
    if (n->op->id == MOON_OP_input) {
      moon_type type = n->outputs[0].type;
      if (!eval_shape(r, &type.shape)) goto done;
      moon_node_spec spec = {.op = n->op, .name = n->name, .type = &type, .origin = n->origin, .raw = true};
      moon_value *formal = moon__node_build(ctx, &spec);
      if (!formal || replace(r, n->outputs, formal) != MOON_OK) goto done;
    } else if (retype_node(r, n) != MOON_OK) {
      goto done;
    }
  }
  for (int i = 0; i < body->ninputs; i++) v[i] = mapped(r, body->inputs[i]);
  for (int i = 0; i < body->noutputs; i++) v[body->ninputs + i] = mapped(r, body->outputs[i]);
  made = moon__graph_make(ctx, body->ninputs, v, body->noutputs, v + body->ninputs, 0, NULL);
done:
  moon__free(ctx->runtime, v);
  return made;
}

/* ---- What is needed in one mode ---- */

/* Marks the nodes of g that outputs and effects reach once mode nodes are decided. */
static moon_status mark_needed(retyping *r, const moon_graph *g, moon_map *needed) {
  bool ok = moon__map_reserve(needed, g->nnodes) && moon__map_reserve(&r->map, g->nnodes);
  for (int i = 0; ok && i < g->noutputs; i++) ok = moon__map_put(needed, g->outputs[i]->node, r);
  for (int i = 0; ok && i < g->neffects; i++) ok = moon__map_put(needed, g->effects[i]->node, r);
  for (int i = g->nnodes - 1; ok && i >= 0; i--) {
    const moon_node *n = g->nodes[i];
    if (!moon__map_has(needed, n)) continue;
    if (n->op->id == MOON_OP_mode && r->side >= 0) {
      ok = moon__map_put(needed, n->inputs[r->side == MOON_TRAINING ? 0 : 1]->node, r);
      continue;
    }
    for (int k = 0; ok && k < n->ninputs; k++) ok = moon__map_put(needed, n->inputs[k]->node, r);
  }
  return ok ? MOON_OK : moon__fail_memory(r->ctx);
}

/* Does the assign leave its variable as it is? The one side of a mode node does. */
static bool changes_nothing(const moon_node *assign) {
  const moon_node *x = assign->inputs[0]->node;
  return x->op->id == MOON_OP_variable && x->variable == assign->variable;
}

/* The assigns that count: needed, and the last of their variable. effects [g->nnodes] has room for all. */
static moon_status list_effects(retyping *r, const moon_graph *g, const moon_map *needed, moon_value **effects, int *n) {
  moon_map last;
  moon_status s = MOON_OK;
  moon__map_init(&last, r->ctx->runtime);
  for (int i = g->nnodes - 1; s == MOON_OK && i >= 0; i--) {
    moon_node *a = g->nodes[i];
    if (a->op->id != MOON_OP_assign || !moon__map_has(needed, a) || moon__map_has(&last, a->variable)) continue;
    if (!moon__map_put(&last, a->variable, a)) s = moon__fail_memory(r->ctx);
    moon_value *made = moon__map_get(&r->map, a);
    if (!made) made = &a->outputs[0];
    if (!changes_nothing(made->node)) effects[(*n)++] = made;
  }
  moon__map_free(&last);
  for (int i = 0, k = *n - 1; i < k; i++, k--) { /* found backwards */
    moon_value *v = effects[i];
    effects[i] = effects[k];
    effects[k] = v;
  }
  return s;
}

static moon_graph *specialise(retyping *r, const moon_graph *g, const moon_type *input_types) {
  moon_context *ctx = r->ctx;
  moon_map needed;
  int neffects = 0;
  moon_graph *made = NULL;
  moon_value **v = moon__alloc_array(ctx->runtime, (size_t)(g->ninputs + g->noutputs + g->nnodes), sizeof *v);
  moon__map_init(&needed, ctx->runtime);
  if (!v) {
    moon__fail_memory(ctx);
    goto done;
  }
  for (int i = 0; i < g->ninputs; i++) {
    moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = g->inputs[i]->node->name, .type = &input_types[i],
                           .origin = g->inputs[i]->node->origin, .raw = true};
    if (bind_input(r, g->inputs[i], &input_types[i]) != MOON_OK) goto done;
    v[i] = moon__node_build(ctx, &spec);
    if (!v[i] || replace(r, g->inputs[i], v[i]) != MOON_OK) goto done;
  }
  if (mark_needed(r, g, &needed) != MOON_OK) goto done;
  for (int i = 0; i < g->nnodes; i++) {
    if (g->nodes[i]->op->id == MOON_OP_input || !moon__map_has(&needed, g->nodes[i])) continue;
    if (retype_node(r, g->nodes[i]) != MOON_OK) goto done;
  }
  moon_value **outputs = v + g->ninputs, **effects = outputs + g->noutputs;
  for (int i = 0; i < g->noutputs; i++) outputs[i] = mapped(r, g->outputs[i]);
  if (list_effects(r, g, &needed, effects, &neffects) != MOON_OK) goto done;
  made = moon__graph_make(ctx, g->ninputs, v, g->noutputs, outputs, neffects, effects);
done:
  moon__map_free(&needed);
  moon__free(ctx->runtime, v);
  return made;
}

moon_graph *moon__graph_specialise(moon_context *ctx, const moon_graph *g, const moon_type *input_types, moon_mode mode) {
  retyping r = {.ctx = ctx, .specialise = true, .side = (int)mode};
  moon__map_init(&r.map, ctx->runtime);
  moon_scope_open(ctx);
  moon_graph *made = specialise(&r, g, input_types);
  moon_scope_close(ctx);
  moon__map_free(&r.map);
  moon__bindings_free(ctx->runtime, &r.bindings);
  return made;
}

/* ---- Calling a graph on other values ---- */

static moon_status call_inputs(retyping *r, const moon_graph *g, moon_value *const *inputs) {
  for (int i = 0; i < g->ninputs; i++) {
    moon_value *x = inputs[i];
    moon_dtype want = g->inputs[i]->type.dtype;
    if (x && x->type.dtype < want) x = moon__cast(r->ctx, x, want);
    if (!x) return r->ctx->status;
    moon_status s = bind_input(r, g->inputs[i], &x->type);
    if (s != MOON_OK) return s;
    s = replace(r, g->inputs[i], x);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}

/* Marks the nodes of g that its outputs alone reach. */
static moon_status mark_reached(moon_context *ctx, const moon_graph *g, moon_map *reached) {
  bool ok = true;
  for (int i = 0; ok && i < g->noutputs; i++) ok = moon__map_put(reached, g->outputs[i]->node, ctx);
  for (int i = g->nnodes - 1; ok && i >= 0; i--) {
    const moon_node *n = g->nodes[i];
    for (int k = 0; ok && k < n->ninputs && moon__map_has(reached, n); k++) ok = moon__map_put(reached, n->inputs[k]->node, ctx);
  }
  return ok ? MOON_OK : moon__fail_memory(ctx);
}

/* Effects that no output reaches come along with the first one, through a depend node; computed at once they have happened. */
static moon_status carry_effects(retyping *r, const moon_graph *g, moon_value **outputs) {
  moon_value *in[MOON_MAX_INPUTS];
  moon_map reached;
  int n = 1;
  if (r->specialise || r->ctx->eager_depth > 0 || g->neffects == 0 || g->noutputs == 0) return MOON_OK;
  moon__map_init(&reached, r->ctx->runtime);
  moon_status s = mark_reached(r->ctx, g, &reached);
  in[0] = outputs[0];
  for (int i = 0; s == MOON_OK && i < g->neffects; i++) {
    if (moon__map_has(&reached, g->effects[i]->node)) continue;
    if (n == MOON_MAX_INPUTS) { /* more than a node takes: one after the other */
      in[0] = moon__apply(r->ctx, MOON_OP_depend, NULL, n, in);
      n = 1;
    }
    in[n++] = mapped(r, g->effects[i]);
  }
  moon__map_free(&reached);
  if (s == MOON_OK && n > 1) in[0] = moon__apply(r->ctx, MOON_OP_depend, NULL, n, in);
  outputs[0] = in[0];
  return s != MOON_OK || in[0] ? s : r->ctx->status;
}

static moon_status call(retyping *r, const moon_graph *g, moon_value *const *inputs, moon_value **outputs) {
  moon_map needed;
  moon__map_init(&needed, r->ctx->runtime);
  moon_status s = call_inputs(r, g, inputs);
  if (s == MOON_OK) s = mark_needed(r, g, &needed);
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) {
    moon_node *n = g->nodes[i];
    if (n->op->id != MOON_OP_input && moon__map_has(&needed, n)) s = retype_node(r, n);
  }
  for (int i = 0; s == MOON_OK && i < g->noutputs; i++) outputs[i] = mapped(r, g->outputs[i]);
  moon__map_free(&needed);
  return s == MOON_OK ? carry_effects(r, g, outputs) : s;
}

moon_status moon__graph_call_mode(moon_context *ctx, const moon_graph *g, int side, moon_value *const *inputs,
                                  moon_value **outputs) {
  retyping r = {.ctx = ctx, .side = side};
  moon__map_init(&r.map, ctx->runtime);
  moon_status s = call(&r, g, inputs, outputs);
  moon__map_free(&r.map);
  moon__bindings_free(ctx->runtime, &r.bindings);
  return s;
}

moon_status moon_graph_call(moon_context *ctx, const moon_graph *g, moon_value *const *inputs, moon_value **outputs) {
  /* Computing at once cannot wait for a mode: numbers are those of inference. */
  return moon__graph_call_mode(ctx, g, ctx->eager_depth > 0 ? MOON_INFERENCE : -1, inputs, outputs);
}

moon_status moon__graph_inline(moon_context *ctx, const moon_graph *g, moon_value *const *inputs, moon_value **outputs) {
  retyping r = {.ctx = ctx, .specialise = true, .side = -1};
  moon__map_init(&r.map, ctx->runtime);
  moon_status s = call(&r, g, inputs, outputs);
  moon__map_free(&r.map);
  moon__bindings_free(ctx->runtime, &r.bindings);
  return s;
}
