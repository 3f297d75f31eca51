/*
** collect.c: native memory accounted to Lua's collector. A tensor's userdata weighs a few bytes in Lua's eyes, so without this
** a loop over 4 MB temporaries would fill the machine before the collector looks. Here the collector is paced as if the native
** bytes were its own: one cycle for each `limit` bytes made, done in steps of a share of its heap, never a full collection per
** op, in realtime mode never at all. Invariant: the work asked for is in proportion to the bytes made, whatever the size of the
** script's own heap.
*/
#include "bind.h"

#define QUANTUM_BYTES ((size_t)256 << 10) /* do not bother the collector for less */
#define LIMIT_MIN_BYTES ((size_t)12 << 20)
#define LIMIT_MAX_BYTES ((size_t)512 << 20)
#define OBJECT_BYTES ((size_t)384) /* headers of a small tensor */
#define WORK_FACTOR 1.5            /* marking, sweeping and finalizing a heap, in bytes of it */

static size_t heap_bytes(lua_State *L) { return (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024; }

/* Native bytes that may be made in one cycle of the collector. */
static size_t cycle_limit(const moon_bind *b, size_t heap) {
  size_t limit = b->base_bytes / 2 + heap;
  return limit < LIMIT_MIN_BYTES ? LIMIT_MIN_BYTES : limit > LIMIT_MAX_BYTES ? LIMIT_MAX_BYTES : limit;
}

static void note_cycle(moon_bind *b) { b->base_bytes = moon_runtime_memory(b->runtime).live_bytes; }

void moon__lua_account(lua_State *L, moon_bind *b, size_t bytes) {
  size_t heap, limit, made;
  double work_kb;
  b->debt_bytes += bytes + OBJECT_BYTES;
  if (b->debt_bytes < QUANTUM_BYTES || moon__lua_gc_stopped(L)) return;
  made = b->debt_bytes;
  heap = heap_bytes(L);
  limit = cycle_limit(b, heap);
  work_kb = WORK_FACTOR * (double)heap * ((double)made / (double)limit) / 1024;
  if (work_kb < 1) return;
  b->debt_bytes = 0;
  if (!b->realtime && moon_runtime_memory(b->runtime).live_bytes > b->base_bytes + 2 * limit) {
    /* The collector fell behind: it is generational, or the script's pause is long. Rare, for base_bytes grows with it. */
    lua_gc(L, LUA_GCCOLLECT, 0);
    note_cycle(b);
  } else if (lua_gc(L, LUA_GCSTEP, work_kb < (double)heap / 512 ? (int)work_kb : (int)(heap / 512))) {
    note_cycle(b);
  }
}

void moon__lua_collect(lua_State *L, moon_bind *b) {
  if (b->realtime) return;
  b->debt_bytes = 0;
  lua_gc(L, LUA_GCCOLLECT, 0);
  note_cycle(b);
}

void moon__lua_realtime(lua_State *L, moon_bind *b, bool on) {
  if (on == b->realtime) return;
  b->realtime = on;
#if LUA_VERSION_NUM >= 504
  if (on) b->was_generational = lua_gc(L, LUA_GCINC, 0, 0, 0) == LUA_GCGEN;
  else if (b->was_generational) lua_gc(L, LUA_GCGEN, 0, 0);
#else
  (void)L;
#endif
}
