/*
** arena.c: arenas are taken when a run starts and given back when it is over, so there are no more of them than programs that ran at
** the same time, and idle programs share: of those that are free the smallest with enough room is taken; where there is none, the
** largest gives way to one that is as large as is asked for. A steady alternation of runs settles on arenas that fit, and makes no
** new ones. An arena goes with the run that it was as large as needed for, all go with the last run.
*/
#include "arena.h"

#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/context.h"

moon_arena *moon__arena_new(moon_context *ctx, moon_device *device, size_t bytes) {
  moon_arena *a = moon__alloc(ctx->runtime, sizeof *a);
  if (a) a->handle = device->backend->buffer_new(device, bytes, &a->data);
  if (!a || !a->handle) {
    moon__free(ctx->runtime, a);
    moon__fail(ctx, MOON_EMEMORY, "out of memory: %zu bytes on %s", bytes, device->name);
    return NULL;
  }
  a->device = device;
  a->bytes = bytes;
  if (a->data) memset(a->data, 0, bytes); /* touches every page now, so that no run does */
  return a;
}

void moon__arena_free(moon_runtime *runtime, moon_arena *a) {
  if (!a) return;
  a->device->backend->buffer_free(a->device, a->handle);
  moon__free(runtime, a);
}

/* Takes the best one out of the list: the smallest with enough room, else the largest; NULL: there is none. */
static moon_arena *unlink_best(moon_runtime *runtime, const moon_device *device, size_t bytes) {
  moon_arena **best = NULL;
  for (moon_arena **at = &runtime->arenas; *at; at = &(*at)->next) {
    if ((*at)->device != device) continue;
    bool fits = (*at)->bytes >= bytes, best_fits = best && (*best)->bytes >= bytes;
    if (!best || (fits && !best_fits) || (fits && (*at)->bytes < (*best)->bytes) ||
        (!fits && !best_fits && (*at)->bytes > (*best)->bytes))
      best = at;
  }
  moon_arena *a = best ? *best : NULL;
  if (a) *best = a->next;
  return a;
}

moon_arena *moon__arena_take(moon_context *ctx, moon_device *device, size_t bytes) {
  moon__mutex_lock(ctx->runtime->lock);
  moon_arena *a = unlink_best(ctx->runtime, device, bytes);
  moon__mutex_unlock(ctx->runtime->lock);
  if (a && a->bytes >= bytes) return a;
  moon__arena_free(ctx->runtime, a);
  return moon__arena_new(ctx, device, bytes);
}

void moon__arena_give(moon_runtime *runtime, moon_arena *a) {
  moon__mutex_lock(runtime->lock);
  a->next = runtime->arenas;
  runtime->arenas = a;
  moon__mutex_unlock(runtime->lock);
}

void moon__arena_join(moon_runtime *runtime) {
  moon__mutex_lock(runtime->lock);
  runtime->runs++;
  moon__mutex_unlock(runtime->lock);
}

void moon__arena_leave(moon_runtime *runtime, size_t bytes) {
  moon_arena *gone = NULL;
  moon__mutex_lock(runtime->lock);
  bool all = --runtime->runs == 0;
  for (moon_arena **at = &runtime->arenas; *at;) {
    moon_arena *a = *at;
    if (all || a->bytes == bytes) {
      *at = a->next;
      a->next = gone;
      gone = a;
    } else {
      at = &a->next;
    }
  }
  moon__mutex_unlock(runtime->lock);
  for (moon_arena *next; gone; gone = next) {
    next = gone->next;
    moon__arena_free(runtime, gone);
  }
}
