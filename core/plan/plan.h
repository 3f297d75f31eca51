/*
** plan.h: a program: launches over operands that live in buffers. plan.c makes the launches, memory.c gives the arena's buffers
** their offsets, executor.c runs them. A program is immutable; what changes while it runs is in moon_run.
*/
#ifndef MOON_PLAN_H
#define MOON_PLAN_H
#include "backend.h"
#include "graph/graph.h"
#include "plan/loop.h"

typedef enum moon_buffer_kind {
  MOON_BUFFER_ARENA,      /* temporary, at an offset of the run's arena */
  MOON_BUFFER_PERSISTENT, /* results of the prologue, at an offset of the run's own block */
  MOON_BUFFER_INPUT,
  MOON_BUFFER_OUTPUT,
  MOON_BUFFER_CONSTANT,
  MOON_BUFFER_READ,  /* a variable as it was when the run started */
  MOON_BUFFER_WRITE, /* a variable as it will be when the run is complete */
} moon_buffer_kind;

typedef struct moon_plan_buffer {
  moon_buffer_kind kind;
  int index;         /* of the input, output, constant or variable */
  int same_as;       /* shares the memory of that buffer (in place); -1: its own */
  int first, last;   /* launches between which it is alive */
  size_t bytes, offset;
} moon_plan_buffer;

typedef struct moon_operand {
  int buffer; /* -1: an output that nobody uses */
  moon_dtype dtype;
  moon_view view;
} moon_operand;

/* A product, and the loop that finishes it or NULL; both retained. */
typedef struct moon_finished { moon_node *node, *epilogue; } moon_finished;

typedef struct moon_launch {
  moon_node *node; /* retained */
  moon_node *epilogue; /* loop that finishes the product; retained; NULL: none. Operands are the product's inputs, then the loop's
                       ** but for the product, and the loop's outputs */
  moon_finished before[MOON_MAX_LINKS - 1]; /* of a chain: the products before node, whose operands come first; of each, as of node,
                                            ** without the one that the product before makes */
  int nbefore;
  moon_choice choice;
  int nin, nout, operands; /* operands [operands, operands + nin + nout) */
  int scratch;             /* buffer, or -1 */
  moon_program *child[2];  /* cond: then, else; scan: body; while_loop: condition, body */
} moon_launch;

struct moon_program {
  _Atomic int refs;
  moon_runtime *runtime;
  moon_device *device;
  moon_graph *graph; /* after the passes */
  moon_mode mode;
  int nbuffers, buffer_capacity;
  moon_plan_buffer *buffers;
  int noperands, operand_capacity;
  moon_operand *operands;
  int nlaunches, launch_capacity, nprologue; /* the prologue comes first */
  moon_launch *launches;
  int nconstants, constant_capacity;
  moon_tensor **constants; /* retained */
  int nvariables;
  moon_variable **variables; /* retained; slots */
  bool *written;             /* [nvariables] */
  size_t arena_bytes, persistent_bytes, constant_bytes;
  double compile_us;
  _Atomic bool superseded; /* it was tuned: whoever compiles its graph again gets a new one */
  moon_run *_Atomic idle; /* a run kept for the next moon_program_run */
};

/* Plans a graph that went through the passes. */
moon_program *moon__plan(moon_context *ctx, moon_device *device, moon_graph *g, moon_mode mode, bool fast);
/* Offsets of arena and persistent buffers; sets arena_bytes and persistent_bytes. */
moon_status moon__plan_memory(moon_context *ctx, moon_program *p);
/* IR of a loop node over operands (strides of in are set, data is not looked at). */
moon_status moon__loop_make(moon_context *ctx, const moon_node *node, const moon_array *in, moon_loop *loop);
/* Makes the epilogue of a product with that many columns from a loop and the number of its input that is the product. False: the
** loop does not walk the product in order, or an axis crosses its rows. */
bool moon__loop_epilogue(const moon_loop *loop, int product, int64_t columns, moon_epilogue *e);
/* order.c: fills order [g->nnodes] with the nodes of g in the order in which they are computed. */
moon_status moon__plan_order(moon_context *ctx, const moon_graph *g, moon_node **order);
/* epilogue.c: pairs products with the loops that finish them: product node -> loop node and back. */
moon_status moon__plan_epilogues(moon_context *ctx, const moon_graph *g, moon_map *partners);
int moon__plan_uses(const moon_map *uses, const moon_value *v); /* as counted: users, and outputs of the graph */
bool moon__plan_count_uses(const moon_graph *g, moon_map *uses); /* false: memory is out */
/* chain.c: which product comes before another in a chain, and which after. */
typedef struct moon_chains { moon_map before, after; } moon_chains;
moon_status moon__plan_chains(moon_context *ctx, const moon_device *device, const moon_graph *g, const moon_map *partners,
                              moon_chains *c);
bool moon__view_is_dense(const moon_view *v);
size_t moon__type_bytes(const moon_type *t); /* of a known shape that was checked when it was inferred */
#endif
