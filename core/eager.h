/*
** eager.h: computes a node the moment it is built, through the same compiler and executor as whole graphs: a one-node graph,
** compiled once per op, attributes and input types, kept in the context.
*/
#ifndef MOON_EAGER_H
#define MOON_EAGER_H
#include "graph/node.h"

/* Sets the tensors of node's outputs from those of its inputs. Leaves a node with a symbolic input symbolic. */
moon_status moon__eager_compute(moon_context *ctx, moon_node *node);
void moon__eager_cache_free(moon_context *ctx);
#endif
