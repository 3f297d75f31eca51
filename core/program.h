/* program.h: the cache of programs that a graph carries, one per signature, mode, device and set of passes. */
#ifndef MOON_PROGRAM_H
#define MOON_PROGRAM_H
#include "graph/graph.h"
#include "plan/plan.h"

void moon__program_cache_free(moon_graph *g);
/* Compiles without looking in the cache; input_types must be known. */
moon_program *moon__program_make(moon_context *ctx, const moon_graph *g, const moon_type *input_types,
                                 const moon_compile_options *options);
/* As moon_program_run, with the stream that a single op computed at once draws from. */
moon_status moon__program_run(moon_context *ctx, moon_program *p, moon_tensor *const *inputs, moon_tensor **outputs, uint64_t step,
                              int64_t stream);
#endif
