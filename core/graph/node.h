/*
** node.h: what a graph is made of. A node applies an op to values; each of its outputs is a value. Nodes are immutable once
** built and reference counted through their values (a value's count is its node's). A graph is what its outputs reach.
** Walks over nodes are iterative: graphs are deeper than stacks.
*/
#ifndef MOON_NODE_H
#define MOON_NODE_H
#include "base/context.h"
#include "ops/op.h"

typedef struct moon_node moon_node;

struct moon_value {
  moon_node *node;
  int32_t index;
  moon_type type;
  moon_tensor *tensor; /* its numbers when known: constants, and everything built eagerly; else NULL */
};

struct moon_node {
  _Atomic int refs;
  moon_runtime *runtime;
  const moon_op *op;
  uint64_t id;    /* creation order; inputs have smaller ids */
  uint64_t trace; /* id of the trace it was built in, 0 outside */
  int32_t ninputs, noutputs, ngraphs;
  moon_value **inputs; /* retained */
  moon_value *outputs; /* [noutputs], inside the node's block */
  void *attrs;         /* op->attrs_bytes, NULL when the op has none */
  moon_graph **graphs; /* bodies of scan, cond, while_loop, call, loop; retained */
  moon_variable *variable; /* variable, assign; retained */
  char *name;              /* input; else NULL */
  moon_origin *origin;     /* may be NULL */
  moon_node *next_dead;    /* links nodes being freed, so that freeing a deep graph needs no stack */
};

/* What a new node is made of. Unset members are zero. */
typedef struct moon_node_spec {
  const moon_op *op;
  const void *attrs; /* copied; NULL: zeros */
  int ninputs;
  moon_value *const *inputs;
  int ngraphs;
  moon_graph *const *graphs;
  moon_variable *variable;
  moon_tensor *tensor;  /* constant */
  const char *name;     /* input */
  const moon_type *type; /* input: its type */
  moon_origin *origin;  /* NULL: the context's current one */
  bool raw;             /* made by a pass: no promotion, no broadcast, no expansion, never eager */
  const moon_node *like; /* has the same op, attributes, bodies and types of inputs: its types are taken, not inferred; or NULL */
} moon_node_spec;

/* Builds a node and hands its reference to the innermost lifetime scope. Promotes and broadcasts inputs as the op says, infers
** output types, expands inline composites, computes at once in eager mode. Gives output 0; NULL after recording an error that
** names op and origin. NULL inputs give NULL without a new error. */
moon_value *moon__node_build(moon_context *ctx, const moon_node_spec *spec);
/* The everyday form of the above. */
moon_value *moon__apply(moon_context *ctx, moon_op_id op, const void *attrs, int ninputs, moon_value *const *inputs);

/* May nodes made now use a node of that trace? True for 0, outside of all. */
bool moon__trace_is_open(const moon_context *ctx, uint64_t trace);
static inline moon_value *moon__output(moon_value *v, int i) { return v ? &v->node->outputs[i] : NULL; }
static inline const moon_shape *moon__shape_of(const moon_value *v) { return &v->type.shape; }
const char *moon__node_line(const moon_node *n); /* "" for none */
const char *moon__node_path(const moon_node *n);
/* Takes over as the origin of messages and new nodes until the returned one is given back. NULL leaves things as they are. */
moon_origin *moon__origin_swap(moon_context *ctx, moon_origin *origin);
/* moon__fail with the node's line and op name in front: "train.lua:14: conv: ...". */
moon_status moon__fail_node(moon_context *ctx, const moon_node *n, moon_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
