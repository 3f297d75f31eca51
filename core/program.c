/*
** program.c: from a graph and concrete types to a program: specialise, run the passes, plan; and the cache of the results. Running
** is the executor's, telling what was made is explain.c's.
*/
#include "program.h"

#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "passes/pass.h"
#include "tune.h"

/* ---- Compiling ---- */

static moon_graph *replace(moon_graph *before, moon_graph *after) {
  moon_graph_release(before);
  return after;
}

static moon_graph *optimise(moon_context *ctx, const moon_graph *g, const moon_type *types, const moon_compile_options *options,
                            moon_pass_env *env) {
  moon_graph *bound = moon__graph_specialise(ctx, g, types, env->mode);
  if (bound) bound = replace(bound, moon__widen_halves(env, bound));
  if (!bound) return NULL;
  moon_graph *better = moon__passes_run(env, bound, options);
  moon_graph_release(bound);
  const char *off = options ? options->passes_off : NULL;
  /* Composites have no plain kernels: without the pass they are inlined here, all of them. */
  if (better && moon__pass_is_off(off, "lower")) {
    env->fast_kernels = false;
    better = replace(better, moon__pass_lower(env, better));
  }
  /* A device cannot read the memory of another. */
  if (better && moon__pass_is_off(off, "place")) better = replace(better, moon__pass_place(env, better));
  return better;
}

moon_program *moon__program_make(moon_context *ctx, const moon_graph *g, const moon_type *input_types,
                                 const moon_compile_options *options) {
  double start = moon__now_us(ctx->runtime);
  moon_pass_env env = {.ctx = ctx, .device = options && options->device ? options->device : moon_device_get(ctx),
                       .mode = options ? options->mode : MOON_INFERENCE, .own = ctx->runtime->next_id + 1,
                       .fast_kernels = !moon__pass_is_off(options ? options->passes_off : NULL, "select")};
  moon_program *p = NULL;
  if (!env.device || moon__tune_load(ctx) != MOON_OK) return NULL;
  bool fast = env.fast_kernels;
  ctx->compile_depth++;
  moon_scope_open(ctx);
  moon_graph *ready = optimise(ctx, g, input_types, options, &env);
  if (ready) p = moon__plan(ctx, env.device, ready, env.mode, fast);
  moon_scope_close(ctx);
  moon_graph_release(ready);
  ctx->compile_depth--;
  if (p) p->compile_us = moon__now_us(ctx->runtime) - start;
  return p;
}

/* ---- The cache ---- */

typedef struct entry {
  struct entry *next;
  moon_program *program;
  moon_mode mode;
  moon_device *device;
  char *passes_off;
  moon_type types[]; /* [ninputs] */
} entry;

struct moon_program_cache {
  entry *first;
};

static void free_entry(moon_runtime *runtime, entry *e) {
  moon_program_release(e->program);
  moon__free(runtime, e->passes_off);
  moon__free(runtime, e);
}

static void free_entries(moon_runtime *runtime, entry *e) {
  for (entry *next; e; e = next) {
    next = e->next;
    free_entry(runtime, e);
  }
}

void moon__program_cache_free(moon_graph *g) {
  if (!g->programs) return;
  free_entries(g->runtime, g->programs->first);
  moon__free(g->runtime, g->programs);
  g->programs = NULL;
}

static bool same_types(const moon_type *a, const moon_type *b, int n) {
  for (int i = 0; i < n; i++) {
    if (a[i].dtype != b[i].dtype || !moon__shape_equal(&a[i].shape, &b[i].shape)) return false;
  }
  return true;
}

static moon_program *look_up(const moon_graph *g, const moon_type *types, moon_mode mode, const moon_device *device, const char *off) {
  for (entry *e = g->programs ? g->programs->first : NULL; e; e = e->next) {
    if (e->mode == mode && e->device == device && strcmp(e->passes_off ? e->passes_off : "", off) == 0 &&
        same_types(e->types, types, g->ninputs))
      return moon_program_retain(e->program);
  }
  return NULL;
}

/* Takes out the programs that were tuned since they were made, to be freed without the lock; who holds one keeps it. */
static entry *take_superseded(moon_graph *g) {
  entry *taken = NULL;
  for (entry **at = g->programs ? &g->programs->first : NULL; at && *at;) {
    entry *e = *at;
    if (!e->program->superseded) {
      at = &e->next;
      continue;
    }
    *at = e->next;
    e->next = taken;
    taken = e;
  }
  return taken;
}

static bool remember(moon_graph *g, const moon_type *types, moon_mode mode, moon_device *device, const char *off, moon_program *p) {
  entry *e = moon__alloc(g->runtime, sizeof *e + (size_t)g->ninputs * sizeof *types); /* ninputs is an array's length */
  if (!e) return false;
  e->passes_off = moon__strdup(g->runtime, off);
  if (!g->programs) g->programs = moon__alloc(g->runtime, sizeof *g->programs);
  if (!e->passes_off || !g->programs) {
    free_entry(g->runtime, e);
    return false;
  }
  e->program = moon_program_retain(p);
  e->mode = mode;
  e->device = device;
  if (g->ninputs) memcpy(e->types, types, (size_t)g->ninputs * sizeof *types);
  e->next = g->programs->first;
  g->programs->first = e;
  return true;
}

static moon_status check_types(moon_context *ctx, const moon_graph *g, const moon_type *types) {
  if (g->ninputs && !types) return moon__fail(ctx, MOON_EARGUMENT, "compile: needs the types of %d inputs", g->ninputs);
  for (int i = 0; i < g->ninputs; i++) {
    if (types[i].shape.ndim < 0 || types[i].shape.ndim > MOON_MAX_DIMS || (unsigned)types[i].dtype >= MOON_DTYPE_COUNT ||
        !moon__shape_known(&types[i].shape))
      return moon__fail(ctx, MOON_ESHAPE, "compile: input '%s' needs a type whose sizes are all known", g->inputs[i]->node->name);
  }
  return MOON_OK;
}

moon_program *moon_compile(moon_context *ctx, moon_graph *g, const moon_type *input_types, const moon_compile_options *options) {
  moon_device *device = options && options->device ? options->device : moon_device_get(ctx);
  moon_mode mode = options ? options->mode : MOON_INFERENCE;
  const char *off = options && options->passes_off ? options->passes_off : "";
  if (!device || check_types(ctx, g, input_types) != MOON_OK) return NULL;
  moon__mutex_lock(ctx->runtime->lock);
  entry *old = take_superseded(g);
  moon_program *p = look_up(g, input_types, mode, device, off);
  moon__mutex_unlock(ctx->runtime->lock);
  free_entries(ctx->runtime, old);
  if (p && !(options && options->dump)) return p;
  bool kept = p != NULL; /* compiled again to be dumped: once is enough in the cache */
  moon_program_release(p);
  p = moon__program_make(ctx, g, input_types, options);
  if (!p) return NULL;
  moon__mutex_lock(ctx->runtime->lock);
  ctx->runtime->compile_count++;
  kept = kept || remember(g, input_types, mode, device, off, p);
  moon__mutex_unlock(ctx->runtime->lock);
  if (kept) return p;
  moon_program_release(p);
  moon__fail_memory(ctx);
  return NULL;
}

uint64_t moon_compile_count(const moon_runtime *runtime) { return runtime->compile_count; }

/* ---- Lifetime ---- */

moon_program *moon_program_retain(moon_program *p) {
  if (p) p->refs++;
  return p;
}

static void free_finished(const moon_finished *f) {
  moon_value_release(&f->node->outputs[0]);
  if (f->epilogue) moon_value_release(&f->epilogue->outputs[0]);
}

static void free_launch(moon_runtime *runtime, moon_launch *l) {
  if (l->choice.free_state) l->choice.free_state(runtime, l->choice.state);
  moon_program_release(l->child[0]);
  moon_program_release(l->child[1]);
  free_finished(&(moon_finished){l->node, l->epilogue});
  for (int i = 0; i < l->nbefore; i++) free_finished(&l->before[i]);
}

void moon_program_release(moon_program *p) {
  if (!p || --p->refs > 0) return;
  moon_runtime *runtime = p->runtime;
  moon_run_release(p->idle);
  for (int i = 0; i < p->nlaunches; i++) free_launch(runtime, &p->launches[i]);
  for (int i = 0; i < p->nconstants; i++) moon_tensor_release(p->constants[i]);
  for (int i = 0; i < p->nvariables; i++) moon_variable_release(p->variables[i]);
  moon__free(runtime, p->launches);
  moon__free(runtime, p->constants);
  moon__free(runtime, p->variables);
  moon__free(runtime, p->written);
  moon__free(runtime, p->buffers);
  moon__free(runtime, p->operands);
  moon_graph_release(p->graph);
  moon__free(runtime, p);
}

/* ---- Looking ---- */

int moon_program_output_count(const moon_program *p) { return p->graph->noutputs; }
moon_type moon_program_output_type(const moon_program *p, int i) {
  return i >= 0 && i < p->graph->noutputs ? p->graph->outputs[i]->type : (moon_type){0};
}

static void count_launches(const moon_program *p, moon_program_stats *s) {
  s->launches += p->nlaunches - p->nprologue;
  s->prologue_launches += p->nprologue;
  s->nodes += p->graph->nnodes;
  s->arena_bytes += p->arena_bytes + p->persistent_bytes;
  s->constant_bytes += p->constant_bytes;
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    s->loops += l->node->op->id == MOON_OP_loop || l->epilogue;
    for (int k = 0; k < 2; k++) {
      if (l->child[k]) count_launches(l->child[k], s);
    }
  }
}

moon_program_stats moon_program_stats_get(const moon_program *p) {
  moon_program_stats s = {.compile_us = p->compile_us};
  count_launches(p, &s);
  return s;
}
