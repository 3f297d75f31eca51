/*
** graph.c: making graphs: finding what outputs and effects reach, checking that inputs are listed, and putting reads and assigns
** of variables into program order. How graphs change lives in rewrite.c, how they meet concrete sizes in retype.c.
*/
#include "graph/graph.h"

#include <string.h>

#include "base/alloc.h"
#include "program.h"

/* ---- Order of id: ids grow in order of creation, and inputs are older than their users, so it is an order of execution ---- */

enum { DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS };

static unsigned digit_of(const moon_node *n, uint64_t least, int shift) { return (unsigned)((n->id - least) >> shift) & (DIGITS - 1); }

/* Moves nodes [n] to `to`, by one digit of their ids, else in the order in which they are. */
static void sort_by_digit(moon_node *const *nodes, moon_node **to, int n, uint64_t least, int shift) {
  int first[DIGITS + 1] = {0};
  for (int i = 0; i < n; i++) first[digit_of(nodes[i], least, shift) + 1]++;
  for (int d = 0; d < DIGITS; d++) first[d + 1] += first[d];
  for (int i = 0; i < n; i++) to[first[digit_of(nodes[i], least, shift)]++] = nodes[i];
}

static void insert_in_order(moon_node **nodes, int n) {
  for (int i = 1; i < n; i++) {
    moon_node *x = nodes[i];
    int at = i;
    for (; at > 0 && nodes[at - 1]->id > x->id; at--) nodes[at] = nodes[at - 1];
    nodes[at] = x;
  }
}

/* Nodes are found users first, so they are turned round before they are sorted: the few of a body are nearly in order then. */
static bool sort_by_id(moon_runtime *runtime, moon_node **nodes, int n) {
  uint64_t least = UINT64_MAX, most = 0;
  for (int i = 0; i < n; i++) {
    least = nodes[i]->id < least ? nodes[i]->id : least;
    most = nodes[i]->id > most ? nodes[i]->id : most;
  }
  for (int i = 0, k = n - 1; i < k; i++, k--) {
    moon_node *x = nodes[i];
    nodes[i] = nodes[k];
    nodes[k] = x;
  }
  if (n < 48) {
    insert_in_order(nodes, n);
    return true;
  }
  moon_node **other = moon__alloc_array(runtime, (size_t)n, sizeof *other), **from = nodes, **to = other;
  if (!other) return false;
  for (int shift = 0; shift < 64 && (most - least) >> shift; shift += DIGIT_BITS) {
    sort_by_digit(from, to, n, least, shift);
    moon_node **x = from;
    from = to;
    to = x;
  }
  if (from != nodes) memcpy(nodes, from, (size_t)n * sizeof *nodes);
  moon__free(runtime, other);
  return true;
}

/* ---- What is reached ---- */

/* Nodes found so far, a work list at the same time. Of the youngest nodes, which most are, a bit each tells whether they were seen. */
enum { YOUNG = 1 << 15 };
typedef struct walk {
  moon_context *ctx;
  const moon_map *stop;
  uint64_t youngest; /* id */
  uint64_t young[YOUNG / 64];
  moon_map seen; /* of the others */
  moon_node **nodes;
  int n, capacity;
} walk;

/* Marks a node as seen. *fresh: it was not. False: memory is out. */
static bool see(walk *w, moon_node *n, bool *fresh) {
  uint64_t age = w->youngest - n->id, bit = UINT64_C(1) << age % 64;
  if (age < YOUNG) {
    *fresh = !(w->young[age / 64] & bit);
    w->young[age / 64] |= bit;
    return true;
  }
  *fresh = !moon__map_has(&w->seen, n);
  return !*fresh || moon__map_put(&w->seen, n, n);
}

static bool visit(walk *w, const moon_value *v) {
  bool fresh = false;
  if (!v || (w->stop && moon__map_has(w->stop, v))) return true;
  if (!see(w, v->node, &fresh)) return false;
  if (!fresh) return true;
  if (!MOON_RESERVE(w->ctx->runtime, w->nodes, w->capacity, w->n + 1)) return false;
  w->nodes[w->n++] = v->node;
  return true;
}

moon_status moon__topology(moon_context *ctx, int nroots, moon_value *const *roots, const moon_map *stop, moon_node ***nodes,
                           int *nnodes) {
  walk w = {.ctx = ctx, .stop = stop};
  bool ok = true;
  moon__map_init(&w.seen, ctx->runtime);
  for (int i = 0; i < nroots; i++)
    if (roots[i] && roots[i]->node->id > w.youngest) w.youngest = roots[i]->node->id;
  for (int i = 0; ok && i < nroots; i++) ok = visit(&w, roots[i]);
  for (int at = 0; ok && at < w.n; at++) {
    moon_node *n = w.nodes[at];
    for (int i = 0; ok && i < n->ninputs; i++) ok = visit(&w, n->inputs[i]);
  }
  moon__map_free(&w.seen);
  if (!ok || !sort_by_id(ctx->runtime, w.nodes, w.n)) {
    moon__free(ctx->runtime, w.nodes);
    return moon__fail_memory(ctx);
  }
  *nodes = w.nodes;
  *nnodes = w.n;
  return MOON_OK;
}

/* ---- Lifetime ---- */

moon_graph *moon_graph_retain(moon_graph *g) {
  if (g) g->refs++;
  return g;
}

static void release_values(moon_value **v, int n) {
  for (int i = 0; v && i < n; i++) moon_value_release(v[i]);
}

void moon_graph_release(moon_graph *g) {
  if (!g || --g->refs > 0) return;
  moon_runtime *runtime = g->runtime;
  moon__program_cache_free(g);
  release_values(g->inputs, g->ninputs);
  release_values(g->outputs, g->noutputs);
  release_values(g->effects, g->neffects);
  moon__free(runtime, g->inputs);
  moon__free(runtime, g->outputs);
  moon__free(runtime, g->effects);
  moon__free(runtime, g->nodes);
  moon__free(runtime, g->variables);
  moon__free(runtime, g);
}

static bool keep_values(moon_runtime *runtime, moon_value ***dst, int *count, moon_value *const *src, int n) {
  *dst = moon__alloc_array(runtime, (size_t)n, sizeof **dst);
  if (!*dst) return false;
  for (int i = 0; i < n; i++) (*dst)[i] = moon_value_retain(src[i]);
  *count = n;
  return true;
}

/* ---- Making ---- */

static bool list_variables(moon_context *ctx, moon_graph *g) {
  moon_map seen;
  int capacity = 0;
  bool ok = true;
  moon__map_init(&seen, ctx->runtime);
  for (int i = 0; ok && i < g->nnodes; i++) {
    moon_variable *v = g->nodes[i]->variable;
    if (!v || moon__map_has(&seen, v)) continue;
    ok = moon__map_put(&seen, v, v) && MOON_RESERVE(ctx->runtime, g->variables, capacity, g->nvariables + 1);
    if (ok) g->variables[g->nvariables++] = v;
  }
  moon__map_free(&seen);
  return ok;
}

static moon_status list_nodes(moon_context *ctx, moon_graph *g) {
  int nroots = g->ninputs + g->noutputs + g->neffects;
  moon_value **roots = moon__alloc_array(ctx->runtime, (size_t)nroots, sizeof *roots);
  if (!roots) return moon__fail_memory(ctx);
  moon_value *const *part[] = {g->inputs, g->outputs, g->effects};
  const int count[] = {g->ninputs, g->noutputs, g->neffects};
  for (int p = 0, at = 0; p < 3; at += count[p++]) {
    if (count[p]) memcpy(roots + at, part[p], (size_t)count[p] * sizeof *roots);
  }
  moon_status s = moon__topology(ctx, nroots, roots, NULL, &g->nodes, &g->nnodes);
  moon__free(ctx->runtime, roots);
  return s;
}

static bool lists_input(const moon_graph *g, const moon_node *n) {
  for (int i = 0; i < g->ninputs; i++) {
    if (g->inputs[i]->node == n) return true;
  }
  return false;
}

/* Nothing could ever bind an input that is not listed. */
static moon_status check_listed(moon_context *ctx, const moon_graph *g) {
  for (int i = 0; i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    if (n->op->id == MOON_OP_input && !lists_input(g, n))
      return moon__fail_node(ctx, n, MOON_EARGUMENT, "graph: outputs depend on input '%s', which is not among the inputs", n->name);
  }
  return MOON_OK;
}

moon_graph *moon__graph_make(moon_context *ctx, int ninputs, moon_value *const *inputs, int noutputs, moon_value *const *outputs,
                             int neffects, moon_value *const *effects) {
  moon_graph *g = moon__alloc(ctx->runtime, sizeof *g);
  if (!g) {
    moon__fail_memory(ctx);
    return NULL;
  }
  g->refs = 1;
  g->runtime = ctx->runtime;
  bool ok = keep_values(ctx->runtime, &g->inputs, &g->ninputs, inputs, ninputs) &&
            keep_values(ctx->runtime, &g->outputs, &g->noutputs, outputs, noutputs) &&
            keep_values(ctx->runtime, &g->effects, &g->neffects, effects, neffects);
  if (!ok) moon__fail_memory(ctx);
  if (ok && list_nodes(ctx, g) == MOON_OK && check_listed(ctx, g) == MOON_OK) {
    if (list_variables(ctx, g)) return g;
    moon__fail_memory(ctx);
  }
  moon_graph_release(g);
  return NULL;
}

/* ---- Program order of variables ---- */

typedef struct order {
  moon_map latest; /* variable -> value assigned last */
} order;

static moon_status resolve(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  order *o = r->user;
  if (n->op->id == MOON_OP_variable) {
    out[0] = moon__map_get(&o->latest, n->variable);
  } else if (n->op->id == MOON_OP_assign) {
    /* Always a copy, so that the ids of assigns stay in their order. */
    out[0] = moon__node_with_inputs(r->ctx, n, in);
    if (!out[0]) return r->ctx->status;
    if (!moon__map_put(&o->latest, n->variable, in[0])) return moon__fail_memory(r->ctx);
  }
  return MOON_OK;
}

/* Is there a read or an assign of a variable after an assign of it? */
static moon_status needs_order(moon_context *ctx, const moon_graph *g, bool *needed) {
  moon_map assigned;
  bool ok = true;
  *needed = false;
  moon__map_init(&assigned, ctx->runtime);
  for (int i = 0; ok && i < g->nnodes && !*needed; i++) {
    const moon_node *n = g->nodes[i];
    if (!n->variable) continue;
    *needed = moon__map_has(&assigned, n->variable);
    if (n->op->id == MOON_OP_assign) ok = moon__map_put(&assigned, n->variable, n->variable);
  }
  moon__map_free(&assigned);
  return ok ? MOON_OK : moon__fail_memory(ctx);
}

static moon_status check_inputs(moon_context *ctx, const moon_graph *g) {
  moon_map listed;
  moon_status s = MOON_OK;
  moon__map_init(&listed, ctx->runtime);
  for (int i = 0; s == MOON_OK && i < g->ninputs; i++) {
    const moon_node *n = g->inputs[i]->node;
    if (n->op->id != MOON_OP_input)
      s = moon__fail_node(ctx, n, MOON_EARGUMENT, "graph: input %d must come from ml.input, got the result of an op",
                          i + ctx->index_base);
    else if (moon__map_has(&listed, n))
      s = moon__fail_node(ctx, n, MOON_EARGUMENT, "graph: input '%s' is listed twice", n->name);
    else if (!moon__map_put(&listed, n, ctx)) s = moon__fail_memory(ctx);
  }
  moon__map_free(&listed);
  return s;
}

moon_graph *moon_graph_new(moon_context *ctx, int ninputs, moon_value *const *inputs, int noutputs, moon_value *const *outputs,
                           int neffects, moon_value *const *effects) {
  for (int i = 0; i < noutputs; i++) {
    if (!outputs[i]) return NULL;
  }
  for (int i = 0; i < neffects; i++) {
    if (!effects[i]) return NULL;
  }
  for (int i = 0; i < ninputs; i++) {
    if (!inputs[i]) return NULL;
  }
  moon_graph *g = moon__graph_make(ctx, ninputs, inputs, noutputs, outputs, neffects, effects);
  bool needed = false;
  if (!g) return NULL;
  if (check_inputs(ctx, g) != MOON_OK || needs_order(ctx, g, &needed) != MOON_OK) {
    moon_graph_release(g);
    return NULL;
  }
  if (!needed) return g;
  order o;
  moon__map_init(&o.latest, ctx->runtime);
  moon_rewriter r = {.ctx = ctx, .visit = resolve, .user = &o};
  moon_graph *ordered = moon__rewrite(&r, g);
  moon__map_free(&o.latest);
  moon_graph_release(g);
  return ordered;
}

/* ---- Looking ---- */

int moon_graph_input_count(const moon_graph *g) { return g->ninputs; }
int moon_graph_output_count(const moon_graph *g) { return g->noutputs; }
int moon_graph_variable_count(const moon_graph *g) { return g->nvariables; }
int moon_graph_node_count(const moon_graph *g) { return g->nnodes; }
moon_value *moon_graph_input(const moon_graph *g, int i) { return i >= 0 && i < g->ninputs ? g->inputs[i] : NULL; }
moon_value *moon_graph_output(const moon_graph *g, int i) { return i >= 0 && i < g->noutputs ? g->outputs[i] : NULL; }
moon_variable *moon_graph_variable(const moon_graph *g, int i) { return i >= 0 && i < g->nvariables ? g->variables[i] : NULL; }
