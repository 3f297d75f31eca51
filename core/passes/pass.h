/*
** pass.h: passes are pure graph-to-graph functions over specialised graphs (every size known), in one ordered table (pass.c):
** lower fold simplify cse dce place join scale winograd select layout fuse. Each is one file and can be switched off; correctness
** never depends on one: what lower leaves is inlined when planned, what select leaves gets the plain kernel.
*/
#ifndef MOON_PASS_H
#define MOON_PASS_H
#include "graph/graph.h"

typedef struct moon_pass_env {
  moon_context *ctx;
  moon_device *device;
  moon_mode mode;
  bool fast_kernels; /* select is on */
  uint64_t own; /* nodes from this id on were made by this compile, and belong to the graph that a pass is given; see moon_rewriter */
} moon_pass_env;
typedef struct moon_pass {
  const char *name;
  moon_graph *(*run)(moon_pass_env *env, moon_graph *g); /* returns a new reference (may be g retained); NULL after an error */
} moon_pass;
extern const moon_pass moon__passes[];
extern const int moon__pass_count;
/* Runs the table over g (a new reference comes back), skipping passes named in off, calling dump after each. */
moon_graph *moon__passes_run(moon_pass_env *env, moon_graph *g, const moon_compile_options *options);
bool moon__pass_is_off(const char *off, const char *name);

/* Not in the table, for it is what nodes over bf16 and f16 mean: done always, before the passes (half.c). */
moon_graph *moon__widen_halves(moon_pass_env *env, moon_graph *g);
/* What the table says of n, a 3x3 convolution or gradient of one, written either way: *tile is 0 (direct), 2 or 4, and the chooser's own
** before. NULL: nothing, or it is no such node. */
const char *moon__winograd_tuned(moon_context *ctx, const moon_device *device, const moon_node *n, moon_mode mode, int32_t *tile);

moon_graph *moon__pass_lower(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_fold(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_cse(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_dce(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_simplify(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_place(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_join(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_scale(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_winograd(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_select(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_layout(moon_pass_env *env, moon_graph *g);
moon_graph *moon__pass_fuse(moon_pass_env *env, moon_graph *g);
#endif
