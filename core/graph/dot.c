/*
** dot.c: a graph as a drawing for graphviz: a box a node, an edge a value, a cluster a body. For people to look at; nothing reads
** it back.
*/
#include <string.h>

#include "base/alloc.h"
#include "graph/text.h"

typedef struct drawer {
  moon_context *ctx;
  moon_text text;
  int depth, clusters;
  moon_status status;
} drawer;

/* Nodes are named by their id, which is unique in a runtime. A graph that is the body of several nodes is drawn for each, so the
** number of its cluster goes with the id. */
static void put_id(drawer *d, int cluster, const moon_node *n) {
  moon__text_format(&d->text, "n%d_%llu", cluster, (unsigned long long)n->id);
}

static void put_label(drawer *d, const moon_node *n) {
  moon_text label = {.runtime = d->ctx->runtime};
  moon__text_put(&label, n->op->name);
  if (n->name || n->variable) moon__text_format(&label, " %s", n->name ? n->name : moon_variable_name(n->variable));
  if (n->op->nattrs > 0) moon__text_put(&label, "\n");
  moon__text_attrs(&label, n);
  for (int i = 0; i < n->noutputs; i++) {
    moon__text_put(&label, "\n");
    moon__text_type(&label, &n->outputs[i].type);
  }
  moon__text_put(&label, "");
  if (label.failed) d->text.failed = true;
  if (!label.failed) moon__text_quote(&d->text, label.text);
  moon__free(d->ctx->runtime, label.text);
}

static const char *style_of(const moon_node *n) {
  if (n->op->id == MOON_OP_input) return "shape=ellipse";
  if (n->op->id == MOON_OP_constant) return "shape=plain";
  if (n->op->id == MOON_OP_variable) return "shape=box, style=filled, fillcolor=lightyellow";
  if (n->op->flags & MOON_OPF_EFFECT) return "shape=box, style=filled, fillcolor=mistyrose";
  return "shape=box";
}

static void put_graph(drawer *d, const moon_graph *g, int cluster);

static void put_bodies(drawer *d, const moon_node *n, int cluster) {
  for (int i = 0; i < n->ngraphs; i++) {
    int inner = ++d->clusters;
    const moon_graph *body = n->graphs[i];
    moon__text_format(&d->text, "subgraph cluster_%d {\nlabel=", inner);
    moon__text_quote(&d->text, n->op->name);
    moon__text_put(&d->text, ";\n");
    put_graph(d, body, inner);
    moon__text_put(&d->text, "}\n");
    if (body->noutputs == 0) continue;
    put_id(d, inner, body->outputs[0]->node);
    moon__text_put(&d->text, " -> ");
    put_id(d, cluster, n);
    moon__text_put(&d->text, " [style=dashed];\n");
  }
}

static void put_node(drawer *d, const moon_node *n, int cluster) {
  put_id(d, cluster, n);
  moon__text_put(&d->text, " [label=");
  put_label(d, n);
  moon__text_format(&d->text, ", %s];\n", style_of(n));
  for (int i = 0; i < n->ninputs; i++) {
    const moon_value *x = n->inputs[i];
    put_id(d, cluster, x->node);
    moon__text_put(&d->text, " -> ");
    put_id(d, cluster, n);
    if (x->node->noutputs > 1) moon__text_format(&d->text, " [label=\"%d\"]", x->index);
    moon__text_put(&d->text, ";\n");
  }
  put_bodies(d, n, cluster);
}

static void put_outputs(drawer *d, const moon_graph *g, int cluster) {
  for (int i = 0; i < g->noutputs; i++) {
    moon__text_format(&d->text, "o%d_%d [label=\"output %d\", shape=ellipse];\n", cluster, i, i + d->ctx->index_base);
    put_id(d, cluster, g->outputs[i]->node);
    moon__text_format(&d->text, " -> o%d_%d;\n", cluster, i);
  }
}

static void put_graph(drawer *d, const moon_graph *g, int cluster) {
  if (d->depth == MOON_TEXT_DEPTH) {
    d->status = moon__fail(d->ctx, MOON_ESIZE, "dot: bodies are nested more than %d deep", MOON_TEXT_DEPTH);
    return;
  }
  d->depth++;
  for (int i = 0; i < g->nnodes && !d->text.failed && d->status == MOON_OK; i++) put_node(d, g->nodes[i], cluster);
  put_outputs(d, g, cluster);
  d->depth--;
}

char *moon_graph_dot(moon_context *ctx, const moon_graph *g) {
  drawer d = {.ctx = ctx, .text = {.runtime = ctx->runtime}};
  moon__text_put(&d.text, "digraph moonlet {\n");
  put_graph(&d, g, 0);
  moon__text_put(&d.text, "}\n");
  if (d.status == MOON_OK) return moon__text_end(ctx, &d.text);
  moon__free(ctx->runtime, d.text.text);
  return NULL;
}
