/*
** context.c: the per-thread state of building and computing: origin of nodes, random streams, lifetime scopes. The error text is in
** error.c. A context retains its runtime. Opening a scope cannot fail: when its mark finds no memory, its values simply live until
** the enclosing scope is closed.
*/
#include "base/context.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

moon_context *moon_context_new(moon_runtime *runtime) {
  moon_context *ctx = moon__alloc(runtime, sizeof *ctx);
  if (!ctx) return NULL;
  ctx->runtime = moon_runtime_retain(runtime);
  ctx->next_stream = 1;
  return ctx;
}

static void release_pending(moon_context *ctx, int keep) {
  while (ctx->npending > keep) moon_value_release(ctx->pending[--ctx->npending]);
}

void moon_context_release(moon_context *ctx) {
  moon_runtime *runtime;
  if (!ctx) return;
  runtime = ctx->runtime;
  release_pending(ctx, 0);
  moon__eager_cache_free(ctx);
  moon__profile_free(ctx);
  moon__origin_release(runtime, ctx->origin);
  moon__free(runtime, ctx->line);
  moon__free(runtime, ctx->path);
  moon__free(runtime, ctx->path_marks);
  moon__free(runtime, ctx->traces);
  moon__free(runtime, ctx->pending);
  moon__free(runtime, ctx->marks);
  moon__free(runtime, ctx);
  moon_runtime_release(runtime);
}

moon_runtime *moon_context_runtime(const moon_context *ctx) { return ctx->runtime; }
void moon_index_base_set(moon_context *ctx, int base) { ctx->index_base = base != 0; }

/* ---- random streams ---- */

void moon_seed(moon_context *ctx, uint64_t seed) {
  ctx->seed = seed;
  ctx->next_stream = 1;
  ctx->eager_step = 0;
}

uint64_t moon_seed_get(const moon_context *ctx) { return ctx->seed; }

int64_t moon__next_stream(moon_context *ctx) {
  return ctx->ntraces > 0 ? ctx->traces[ctx->ntraces - 1].next_stream++ : ctx->next_stream++;
}

/* ---- origins ---- */

moon_origin *moon__origin_retain(moon_origin *o) {
  if (o) atomic_fetch_add(&o->refs, 1);
  return o;
}

void moon__origin_release(moon_runtime *runtime, moon_origin *o) {
  if (!o || atomic_fetch_sub(&o->refs, 1) != 1) return;
  moon__free(runtime, o->line);
  moon__free(runtime, o->path);
  moon__free(runtime, o);
}

moon_origin *moon__origin_new(moon_context *ctx, const char *line, const char *path) {
  moon_origin *o = moon__alloc(ctx->runtime, sizeof *o);
  if (o) {
    o->refs = 1;
    o->line = moon__strdup(ctx->runtime, line);
    o->path = moon__strdup(ctx->runtime, path);
  }
  if (o && o->line && o->path) return o;
  moon__origin_release(ctx->runtime, o);
  moon__fail_memory(ctx);
  return NULL;
}

moon_origin *moon__origin_current(moon_context *ctx) {
  moon_origin *o = ctx->borrowed ? ctx->borrowed : ctx->origin;
  if (o) return moon__origin_retain(o);
  ctx->origin = moon__origin_new(ctx, ctx->line ? ctx->line : "", ctx->path ? ctx->path : "");
  return moon__origin_retain(ctx->origin);
}

static void forget_origin(moon_context *ctx) {
  moon__origin_release(ctx->runtime, ctx->origin);
  ctx->origin = NULL;
}

/* Lines up to this long reuse one buffer. */
#define LINE_BYTES 256

moon_status moon_origin_set(moon_context *ctx, const char *line) {
  size_t bytes;
  if (!line) line = "";
  if (strcmp(ctx->line ? ctx->line : "", line) == 0) return MOON_OK;
  bytes = strlen(line) + 1;
  if (!ctx->line || bytes > LINE_BYTES) {
    char *fresh = moon__alloc(ctx->runtime, bytes < LINE_BYTES ? LINE_BYTES : bytes);
    if (!fresh) return moon__fail_memory(ctx);
    memcpy(fresh, line, bytes);
    moon__free(ctx->runtime, ctx->line);
    ctx->line = fresh;
  } else {
    memmove(ctx->line, line, bytes);
  }
  forget_origin(ctx);
  return MOON_OK;
}

moon_status moon_path_push(moon_context *ctx, const char *name) {
  size_t old, bytes, total;
  char *path;
  if (!name) return moon__fail(ctx, MOON_EARGUMENT, "path: a name is expected, got NULL");
  old = ctx->path ? strlen(ctx->path) : 0;
  bytes = strlen(name);
  if (!moon__add_size(old, bytes, &total) || !moon__add_size(total, 2, &total)) return moon__fail_memory(ctx);
  if (!MOON_RESERVE(ctx->runtime, ctx->path_marks, ctx->path_mark_capacity, ctx->npath_marks + 1)) return moon__fail_memory(ctx);
  path = moon__realloc(ctx->runtime, ctx->path, total);
  if (!path) return moon__fail_memory(ctx);
  ctx->path = path;
  ctx->path_marks[ctx->npath_marks++] = old;
  if (bytes > 0 && old > 0) path[old++] = '/';
  memcpy(path + old, name, bytes);
  path[old + bytes] = '\0';
  forget_origin(ctx);
  return MOON_OK;
}

void moon_path_pop(moon_context *ctx) {
  if (ctx->npath_marks == 0) return;
  ctx->path[ctx->path_marks[--ctx->npath_marks]] = '\0';
  if (ctx->npath_marks == 0) { /* nothing stays behind, however long the names were */
    moon__free(ctx->runtime, ctx->path);
    ctx->path = NULL;
  }
  forget_origin(ctx);
}

/* ---- lifetime scopes ---- */

bool moon__scope_add(moon_context *ctx, moon_value *v) {
  if (!MOON_RESERVE(ctx->runtime, ctx->pending, ctx->pending_capacity, ctx->npending + 1)) return false;
  ctx->pending[ctx->npending++] = v;
  return true;
}

void moon_scope_open(moon_context *ctx) {
  int marked = ctx->mark_capacity; /* scopes beyond it found no memory for their marks */
  if (MOON_RESERVE(ctx->runtime, ctx->marks, ctx->mark_capacity, ctx->nmarks + 1)) {
    for (int i = marked; i < ctx->nmarks; i++) ctx->marks[i] = ctx->npending;
    ctx->marks[ctx->nmarks] = ctx->npending;
  }
  ctx->nmarks++;
}

void moon_scope_close(moon_context *ctx) {
  if (ctx->nmarks == 0) return;
  ctx->nmarks--;
  if (ctx->nmarks < ctx->mark_capacity) release_pending(ctx, ctx->marks[ctx->nmarks]);
}
