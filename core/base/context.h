/*
** context.h: the two objects that own everything else. moon_runtime: allocator, dims, devices, threads, counters; thread-safe.
** moon_context: last error, RNG key, default device, traces, lifetime scopes; one thread at a time. No mutable statics anywhere.
*/
#ifndef MOON_CONTEXT_H
#define MOON_CONTEXT_H
#include "base/error.h"
#include "base/os.h"
#include "moonlet.h"

typedef struct moon_dims moon_dims;   /* table of interned dims, in dim.c */
typedef struct moon_pool moon_pool;   /* worker threads, in pool.c */
typedef struct moon_worker_thread moon_worker_thread; /* the background thread, in worker.c */
typedef struct moon_eager_cache moon_eager_cache; /* programs of single nodes, in eager.c */
typedef struct moon_profile moon_profile; /* what launches cost, in profile.c */

struct moon_runtime {
  _Atomic int refs;
  moon_host host;
  _Atomic size_t live_bytes, live_blocks, peak_bytes;
  _Atomic uint64_t alloc_calls;
  _Atomic uint64_t compile_count;
  _Atomic uint64_t next_id; /* node ids and trace ids: creation order */
  moon_mutex *lock;         /* guards dims, devices and program caches */
  moon_dims *dims;
  moon_pool *pool;
  struct moon_arena *arenas; /* idle ones, in arena.c; under the lock */
  int runs;                  /* that were made and not freed; under the lock */
  moon_worker_thread *worker; /* NULL before the first background run */
  int ndevices, device_capacity;
  moon_device **devices;
  char *cache_folder; /* where backends keep what they built; NULL: nowhere */
  struct moon_tune_row *tune_rows; /* in tune.c; under the lock, never taken out */
  _Atomic bool tune_loaded;
};

/* Where a node was built: the script line and the path of layers, shared by the nodes of one call. */
typedef struct moon_origin {
  _Atomic int refs;
  char *line; /* "" for none */
  char *path; /* "" for none */
} moon_origin;

typedef struct moon_trace {
  uint64_t id;
  uint64_t first_node_id; /* nodes built before the trace have smaller ids */
  int64_t next_stream;
} moon_trace;

struct moon_context {
  moon_runtime *runtime;
  moon_status status;
  char message[MOON_ERROR_BYTES];
  uint64_t seed;
  int64_t next_stream; /* outside traces */
  uint64_t eager_step; /* numbers eager random draws */
  moon_device *device;
  int index_base;
  int eager_depth;
  int compile_depth; /* > 0 while compiling: nodes are not checked for ended traces, nor computed at once */
  moon_origin *origin; /* of nodes built from now on, made from line and path when first asked; NULL: not made yet */
  moon_origin *borrowed; /* set while a node is built again (specialise, passes): goes before origin and line; may be NULL */
  char *line, *path;
  int ntraces, trace_capacity;
  moon_trace *traces;
  /* Lifetime scopes: values made and not yet released; marks are lengths of that list at each open scope. */
  int npending, pending_capacity, nmarks, mark_capacity;
  moon_value **pending;
  int *marks;
  moon_eager_cache *eager_cache;
  moon_profile *profile; /* of the last profiling, or the one going on; may be NULL */
  bool profiling;
  struct moon_trial *trial; /* while something is tuned: see tune.h. Else NULL */
  const char *given; /* bytes of the next file that is read, when the binding has them already; NULL: they are read */
  size_t given_bytes;
  int npath_marks, path_mark_capacity;
  size_t *path_marks; /* lengths of path before each push */
};

/* The host's clock, or the system's: microseconds. */
static inline double moon__now_us(const moon_runtime *r) {
  return r->host.clock_us ? r->host.clock_us(r->host.user) : moon__clock_us();
}

/* Frees the programs of single nodes kept for eager mode; in eager.c. */
void moon__eager_cache_free(moon_context *ctx);
/* Frees the profile; in profile.c. */
void moon__profile_free(moon_context *ctx);
/* Gives the caller a reference to the origin of nodes built now; NULL (with an error) when memory is out. */
moon_origin *moon__origin_current(moon_context *ctx);
/* A new origin of these texts; NULL with an error. */
moon_origin *moon__origin_new(moon_context *ctx, const char *line, const char *path);
moon_origin *moon__origin_retain(moon_origin *o);
void moon__origin_release(moon_runtime *runtime, moon_origin *o);
static inline uint64_t moon__next_id(moon_runtime *r) { return ++r->next_id; }
/* Number of the next random stream of the innermost trace, or of the context outside traces. */
int64_t moon__next_stream(moon_context *ctx);
/* Hands a new value's reference to the innermost scope (released at its close). Outside any scope the list is closed by
** moon_context_release. False: memory is out, value not handed over. */
bool moon__scope_add(moon_context *ctx, moon_value *v);
#endif
