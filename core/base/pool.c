/*
** pool.c: the worker threads of a runtime. A run is published as one word, generation and number of parts together, so a worker
** that has no part in it never reads the run's fields and nobody waits for it. One run at a time: whoever finds the pool busy (a
** nested run, another thread) computes alone. Workers never touch Lua, never allocate.
*/
#include "base/pool.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/context.h"

#define PART_BITS 8
#define MAX_THREADS (1 << PART_BITS)
#define SPINS 2000 /* about 50 us */

enum { FORKED = 0, RESETTING = 1, OURS = 2 }; /* the fork word */

typedef struct moon_worker {
  moon_pool *pool;
  int part;
} moon_worker;

struct moon_pool {
  _Atomic uint32_t *fork_word; /* NULL: compare process ids */
  uint64_t process;
  _Atomic int threads; /* wanted, the calling one included */
  int started; /* workers running */
  char *handles;        /* [threads - 1] moon_thread */
  moon_worker *workers; /* [threads - 1] */
  moon_signal *go, *done;
  _Atomic int busy, stop, sleepers, waiting;
  _Atomic uint32_t run;     /* generation << PART_BITS | parts - 1 */
  _Atomic uint32_t pending; /* workers still computing */
  void (*body)(void *arg, int64_t first, int64_t last);
  void *arg;
  int64_t njobs;
};

/* given: what the host asks for; 0: as the environment or the machine says. */
static int wanted_threads(int given) {
  const char *text = moon__env("MOONLET_THREADS");
  int n = given;
  if (n <= 0 && text) {
    for (n = 0; *text >= '0' && *text <= '9' && n < MAX_THREADS; text++) n = n * 10 + (*text - '0');
  }
  if (n <= 0) n = moon__cpu_count();
  return n > MAX_THREADS ? MAX_THREADS : n;
}

bool moon__pool_new(moon_runtime *runtime) {
  moon_pool *p = moon__alloc(runtime, sizeof *p);
  if (!p) return false;
  runtime->pool = p;
  p->threads = wanted_threads(runtime->host.threads);
  p->process = moon__process_id();
  return true;
}

int moon__pool_threads(moon_runtime *runtime) { return runtime->pool->threads; }

/* Part `part` of `parts` of [0, n). */
static int64_t part_first(int64_t n, int parts, int part) {
  int64_t more = n % parts;
  return n / parts * part + (part < more ? part : more);
}

static void run_part(const moon_pool *p, int parts, int part) {
  int64_t first = part_first(p->njobs, parts, part), last = part_first(p->njobs, parts, part + 1);
  if (first < last) p->body(p->arg, first, last);
}

/* Spins, then sleeps, until *word is not seen; counts itself in sleepers while asleep. */
static void wait_word(moon_signal *signal, _Atomic int *sleepers, const _Atomic uint32_t *word, uint32_t seen) {
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit(word, memory_order_acquire) != seen) return;
    moon__pause();
  }
  atomic_fetch_add(sleepers, 1);
  moon__signal_wait(signal, word, seen);
  atomic_fetch_sub(sleepers, 1);
}

static void finish_part(moon_pool *p) {
  if (atomic_fetch_sub(&p->pending, 1) == 1 && atomic_load(&p->waiting) > 0) moon__signal_wake_all(p->done);
}

static void worker_main(void *arg) {
  moon_worker *w = arg;
  moon_pool *p = w->pool;
  uint32_t seen = 0;
  for (;;) {
    wait_word(p->go, &p->sleepers, &p->run, seen);
    if (atomic_load(&p->stop)) return;
    seen = atomic_load(&p->run);
    int parts = (int)(seen & (MAX_THREADS - 1)) + 1;
    if (w->part >= parts) continue;
    run_part(p, parts, w->part);
    finish_part(p);
  }
}

static void free_members(moon_runtime *runtime, moon_pool *p) {
  if (p->go) moon__signal_destroy(p->go);
  if (p->done) moon__signal_destroy(p->done);
  moon__free(runtime, p->go);
  moon__free(runtime, p->done);
  moon__free(runtime, p->handles);
  moon__free(runtime, p->workers);
  p->go = p->done = NULL;
  p->handles = NULL;
  p->workers = NULL;
}

/* Memory for the workers. False: out of memory, nothing kept. */
static bool make_members(moon_runtime *runtime, moon_pool *p) {
  size_t n = (size_t)p->threads - 1;
  p->go = moon__alloc(runtime, moon__signal_bytes());
  p->done = moon__alloc(runtime, moon__signal_bytes());
  p->handles = moon__alloc_array(runtime, n, moon__thread_bytes());
  p->workers = moon__alloc_array(runtime, n, sizeof *p->workers);
  if (p->go && p->done && p->handles && p->workers && moon__signal_init(p->go) && moon__signal_init(p->done)) return true;
  free_members(runtime, p);
  return false;
}

/* Starts the workers at the first parallel run; with the pool held. */
static void start_workers(moon_runtime *runtime, moon_pool *p) {
  if (p->workers || !make_members(runtime, p)) return;
  if (!p->fork_word) p->fork_word = moon__fork_word_new();
  if (p->fork_word) atomic_store(p->fork_word, OURS);
  p->process = moon__process_id();
  atomic_store(&p->run, 0);
  for (; p->started < p->threads - 1; p->started++) {
    moon_worker *w = &p->workers[p->started];
    w->pool = p;
    w->part = p->started + 1;
    if (!moon__thread_start((moon_thread *)(void *)(p->handles + (size_t)p->started * moon__thread_bytes()), worker_main, w)) break;
  }
}

static bool is_forked(const moon_pool *p) {
  if (!p->workers) return false;
  return p->fork_word ? atomic_load(p->fork_word) == FORKED : p->process != moon__process_id();
}

/* In a forked child the workers are gone: forgets them. Only the first thread to notice does it; others compute alone. */
static bool settle_fork(moon_runtime *runtime, moon_pool *p) {
  uint32_t forked = FORKED;
  if (p->fork_word && atomic_load(p->fork_word) == RESETTING) return false;
  if (!is_forked(p)) return true;
  if (p->fork_word && !atomic_compare_exchange_strong(p->fork_word, &forked, RESETTING)) return false;
  p->started = 0;
  atomic_store(&p->sleepers, 0);
  atomic_store(&p->waiting, 0);
  atomic_store(&p->pending, 0);
  free_members(runtime, p);
  p->process = moon__process_id();
  atomic_store(&p->busy, 0);
  if (p->fork_word) atomic_store(p->fork_word, OURS);
  return true;
}

static void run_shared(moon_pool *p, int parts) {
  uint32_t generation = (atomic_load(&p->run) >> PART_BITS) + 1, left;
  atomic_store(&p->pending, (uint32_t)parts - 1);
  atomic_store(&p->run, (generation << PART_BITS) | (uint32_t)(parts - 1));
  if (atomic_load(&p->sleepers) > 0) moon__signal_wake_all(p->go);
  run_part(p, parts, 0);
  while ((left = atomic_load(&p->pending)) != 0) wait_word(p->done, &p->waiting, &p->pending, left);
}

/* The host's job system counts with int and knows no ranges. */
typedef struct host_job {
  void (*body)(void *arg, int64_t first, int64_t last);
  void *arg;
  int64_t njobs;
  int parts;
} host_job;

static void run_host_part(void *arg, int i) {
  const host_job *job = arg;
  job->body(job->arg, part_first(job->njobs, job->parts, i), part_first(job->njobs, job->parts, i + 1));
}

void moon__pool_run(moon_runtime *runtime, void (*body)(void *arg, int64_t first, int64_t last), void *arg, int64_t njobs) {
  moon_pool *p = runtime->pool;
  int parts = njobs < p->threads ? (int)njobs : p->threads;
  if (njobs <= 0) return;
  if (parts > 1 && runtime->host.parallel) {
    host_job job = {body, arg, njobs, parts};
    runtime->host.parallel(runtime->host.user, run_host_part, &job, parts);
    return;
  }
  if (parts < 2 || !settle_fork(runtime, p) || atomic_exchange(&p->busy, 1)) {
    body(arg, 0, njobs);
    return;
  }
  start_workers(runtime, p);
  p->body = body;
  p->arg = arg;
  p->njobs = njobs;
  if (parts > p->started + 1) parts = p->started + 1;
  if (parts > 1) {
    run_shared(p, parts);
  } else {
    body(arg, 0, njobs);
  }
  atomic_store(&p->busy, 0);
}

/* Joins the workers; nobody else uses the pool. */
static void stop_workers(moon_runtime *runtime, moon_pool *p) {
  if (p->started > 0 && !is_forked(p)) {
    atomic_store(&p->stop, 1);
    atomic_fetch_add(&p->run, 1u << PART_BITS);
    moon__signal_wake_all(p->go);
    for (int i = 0; i < p->started; i++) {
      moon__thread_join((moon_thread *)(void *)(p->handles + (size_t)i * moon__thread_bytes()));
    }
  }
  p->started = 0;
  free_members(runtime, p);
  atomic_store(&p->stop, 0);
}

void moon_threads_set(moon_runtime *runtime, int threads) {
  moon_pool *p = runtime->pool;
  if (!settle_fork(runtime, p)) return;
  while (atomic_exchange(&p->busy, 1)) moon__pause();
  stop_workers(runtime, p);
  p->threads = wanted_threads(threads);
  atomic_store(&p->busy, 0);
}

int moon_threads_get(const moon_runtime *runtime) { return runtime->pool->threads; }

void moon__pool_free(moon_runtime *runtime) {
  moon_pool *p = runtime->pool;
  if (!p) return;
  stop_workers(runtime, p);
  moon__fork_word_free(p->fork_word);
  moon__free(runtime, p);
  runtime->pool = NULL;
}
