/*
** runtime.c: life of a runtime: the allocator's counters, the lock, the tables of dims and devices, the pool. A runtime lives as
** long as anything that retains it: contexts, storages, variables. Devices are opened in device.c, threads in pool.c.
*/
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/dim.h"
#include "base/pool.h"
#include "base/worker.h"
#include "tune.h"

static void free_runtime(moon_runtime *runtime) {
  moon_runtime last; /* the allocator outlives the runtime's own block */
  moon__worker_free(runtime);
  moon__pool_free(runtime);
  for (int i = 0; i < runtime->ndevices; i++) {
    moon_device *device = runtime->devices[i];
    if (device->backend->device_free) device->backend->device_free(device);
    moon__free(runtime, device);
  }
  moon__free(runtime, runtime->devices);
  moon__free(runtime, runtime->cache_folder);
  moon__tune_free(runtime);
  moon__dims_free(runtime);
  if (runtime->lock) moon__mutex_destroy(runtime->lock);
  moon__free(runtime, runtime->lock);
  memset(&last, 0, sizeof last);
  last.host = runtime->host;
  moon__free(&last, runtime);
}

moon_runtime *moon_runtime_new(const moon_host *host) {
  moon_runtime first, *runtime;
  memset(&first, 0, sizeof first);
  if (host) first.host = *host;
  runtime = moon__alloc(&first, sizeof *runtime);
  if (!runtime) return NULL;
  runtime->refs = 1;
  runtime->host = first.host;
  runtime->live_bytes = first.live_bytes;
  runtime->live_blocks = first.live_blocks;
  runtime->peak_bytes = first.peak_bytes;
  runtime->alloc_calls = first.alloc_calls;
  runtime->lock = moon__alloc(runtime, moon__mutex_bytes());
  if (runtime->lock && !moon__mutex_init(runtime->lock)) {
    moon__free(runtime, runtime->lock);
    runtime->lock = NULL;
  }
  if (!runtime->lock || !moon__dims_new(runtime) || !moon__pool_new(runtime)) {
    free_runtime(runtime);
    return NULL;
  }
  return runtime;
}

moon_runtime *moon_runtime_retain(moon_runtime *runtime) {
  if (runtime) atomic_fetch_add(&runtime->refs, 1);
  return runtime;
}

void moon_runtime_release(moon_runtime *runtime) {
  if (runtime && atomic_fetch_sub(&runtime->refs, 1) == 1) free_runtime(runtime);
}

/* MOONLET_CACHE_DIR, or the user's folder for caches. "off" is none. False: it is longer than a path may be. */
static bool usual_cache_folder(char *folder, size_t bytes) {
  const char *own = moon__env("MOONLET_CACHE_DIR"), *xdg = moon__env("XDG_CACHE_HOME"), *home = moon__env("HOME");
  int n = own                   ? snprintf(folder, bytes, "%s", strcmp(own, "off") == 0 ? "" : own)
          : xdg && xdg[0] == '/' ? snprintf(folder, bytes, "%s/moonlet", xdg)
          : home                ? snprintf(folder, bytes, "%s/.cache/moonlet", home)
                                : snprintf(folder, bytes, "%s", "");
  return n >= 0 && (size_t)n < bytes;
}

moon_status moon_cache_folder_set(moon_context *ctx, const char *folder) {
  char usual[1024], *copy = NULL;
  if (folder && strcmp(folder, "usual") == 0) folder = usual_cache_folder(usual, sizeof usual) ? usual : NULL;
  if (folder && *folder && !(copy = moon__strdup(ctx->runtime, folder))) return moon__fail_memory(ctx);
  moon__mutex_lock(ctx->runtime->lock);
  char *before = ctx->runtime->cache_folder;
  ctx->runtime->cache_folder = copy;
  moon__mutex_unlock(ctx->runtime->lock);
  moon__free(ctx->runtime, before);
  return MOON_OK;
}

moon_memory moon_runtime_memory(const moon_runtime *runtime) {
  moon_memory m = {runtime->live_bytes, runtime->live_blocks, runtime->peak_bytes, runtime->alloc_calls};
  return m;
}
