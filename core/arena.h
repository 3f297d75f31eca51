/*
** arena.h: the memory that programs compute in while they run.
*/
#ifndef MOON_ARENA_H
#define MOON_ARENA_H
#include "moonlet.h"

typedef struct moon_arena {
  struct moon_arena *next;
  moon_device *device;
  void *handle;
  char *data; /* NULL when the host cannot see it */
  size_t bytes;
} moon_arena;

/* An arena of the runtime that has room for bytes; NULL with an error. */
moon_arena *moon__arena_take(moon_context *ctx, moon_device *device, size_t bytes);
void moon__arena_give(moon_runtime *runtime, moon_arena *a);
/* One that nobody shares, zeroed; NULL with an error. */
moon_arena *moon__arena_new(moon_context *ctx, moon_device *device, size_t bytes);
void moon__arena_free(moon_runtime *runtime, moon_arena *a);
/* A run that will take arenas of up to so many bytes was made, or is gone. */
void moon__arena_join(moon_runtime *runtime);
void moon__arena_leave(moon_runtime *runtime, size_t bytes);
#endif
