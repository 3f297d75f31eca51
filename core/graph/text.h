/*
** text.h: the text form of graphs, as text.c writes and parse.c reads it:
**
**   graph {
**     %0 = input "x" : f32 [batch,4] @ "train.lua:3" "encoder/dense_1"
**     %1 = variable "dense_1/kernel" : f32 [4,2]
**     %2 = matmul(%0, %1) : f32 [batch,2] @ "train.lua:4"
**     %3 = constant [1,2.5] : f32 [2]
**     %4 = constant "constant/1" : f32 [64,64]
**     %5, %6 = topk(%2) k=1 : f32 [batch,1], i64 [batch,1]
**     %7 = assign "step"(%3) : f32 [2]
**     %8 = scan(%2) ncarry=1 : f32 [batch,2] {
**       ...
**     }
**     inputs %0
**     outputs %5, %6
**     effects %7
**   }
**
** Values are numbered from 0 in order of their nodes; bodies number their own. Constants of up to MOON_TEXT_INLINE elements stand
** in the text, larger ones by name; who saves the text saves their tensors beside it.
*/
#ifndef MOON_GRAPH_TEXT_H
#define MOON_GRAPH_TEXT_H
#include "base/text.h"
#include "graph/graph.h"

#define MOON_TEXT_INLINE 16
#define MOON_TEXT_DEPTH 32 /* of bodies in bodies */

/* Large constants met so far, each once: entry i has the name "constant/<i + 1>". Borrowed from the graphs. */
typedef struct moon_constants {
  int n, capacity;
  moon_tensor **tensor;
} moon_constants;
/* As moon_graph_text; large constants are added to constants, which may already hold those of other graphs of the same file. */
char *moon__graph_text_with(moon_context *ctx, const moon_graph *g, moon_constants *constants);
void moon__constants_free(moon_runtime *runtime, moon_constants *constants);
/* Writes the name of the i-th into buf. */
#define MOON_CONSTANT_NAME_BYTES 32
const char *moon__constant_name(int i, char buf[MOON_CONSTANT_NAME_BYTES]);
/* The attributes of a node as they stand in the text. */
void moon__text_attrs(moon_text *t, const moon_node *n);
#endif
