/*
** graph.h: inputs, outputs and effects, with the nodes they reach in topological order. Graphs are immutable; passes make new
** ones. Reads of a variable are resolved when a graph is made: a read built after an assign sees the assigned value.
*/
#ifndef MOON_GRAPH_H
#define MOON_GRAPH_H
#include "base/map.h"
#include "graph/node.h"

typedef struct moon_program_cache moon_program_cache; /* in program.c */

struct moon_graph {
  _Atomic int refs;
  moon_runtime *runtime;
  int ninputs, noutputs, neffects, nnodes, nvariables;
  moon_value **inputs, **outputs, **effects; /* retained */
  moon_node **nodes;         /* everything reached, inputs before users, by id among equals; inputs listed even if unused */
  moon_variable **variables; /* read or assigned, by first appearance; borrowed from nodes */
  moon_program_cache *programs;
};

/* As moon_graph_new, but takes reads as they are (passes, and bodies of composites). Fails as well when an input is reached that is
** not listed: nothing could bind it. */
moon_graph *moon__graph_make(moon_context *ctx, int ninputs, moon_value *const *inputs, int noutputs, moon_value *const *outputs,
                             int neffects, moon_value *const *effects);
/* Nodes that roots reach, inputs first, in order of id; caller frees *nodes with moon__free. Stops at values in stop (may be
** NULL): their nodes are not entered through them. */
moon_status moon__topology(moon_context *ctx, int nroots, moon_value *const *roots, const moon_map *stop, moon_node ***nodes,
                           int *nnodes);
/* The subgraph from formals to outputs, for a body traced since first_node_id (its trace has ended): values built before it, and reads of variables
** inside, become extra inputs; *captures [*ncaptures] are the outer values for them, in order of id (caller frees the array;
** the values live in the current scope). */
moon_graph *moon__graph_close(moon_context *ctx, uint64_t first_node_id, int nformals, moon_value *const *formals, int noutputs,
                              moon_value *const *outputs, moon_value ***captures, int *ncaptures);

/*
** Rewriting: visits the nodes of g in order and calls visit for each with its inputs already replaced. visit sets out
** [node->noutputs] to replacements, or leaves them NULL to keep the node (copied only if an input changed). A replacement must
** have the type of what it replaces (exact, unless retype is set: then users are inferred again).
** Nodes from id `own` on are nobody's but g's, which is not used afterwards: they are changed where they are instead of copied, so
** visit may look at a node's new inputs only. 0: all are copied.
*/
typedef struct moon_rewriter {
  moon_context *ctx;
  moon_status (*visit)(struct moon_rewriter *r, const moon_node *node, moon_value *const *inputs, moon_value **out);
  void *user;
  uint64_t own;
  bool retype;
} moon_rewriter;
moon_graph *moon__rewrite(moon_rewriter *r, const moon_graph *g);
/* A node of g with these inputs: itself, or a copy. NULL: an error. */
moon_node *moon__rewrite_inputs(moon_rewriter *r, moon_node *node, moon_value *const *inputs);
/* A copy of node with other inputs (and its own attrs, graphs, variable, origin). */
moon_value *moon__node_with_inputs(moon_context *ctx, const moon_node *node, moon_value *const *inputs);

/* As moon_graph_call, with the side of mode nodes chosen: a moon_mode, or -1 to keep them. */
moon_status moon__graph_call_mode(moon_context *ctx, const moon_graph *g, int side, moon_value *const *inputs,
                                  moon_value **outputs);

/* A specialised body put in the place of a node: its outputs over these inputs, random streams kept. */
moon_status moon__graph_inline(moon_context *ctx, const moon_graph *g, moon_value *const *inputs, moon_value **outputs);

/* The graph for concrete input types and one mode: dims bound, every shape inferred again (which checks what could not be
** checked before, naming the node's line), mode nodes replaced by the chosen side, depend nodes by their value with their
** effects moved to the graph's effects, bodies treated alike. */
moon_graph *moon__graph_specialise(moon_context *ctx, const moon_graph *g, const moon_type *input_types, moon_mode mode);
#endif
