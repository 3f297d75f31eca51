/*
** pool.c: the worker threads of a runtime. Each thread of a run has a part of the jobs, cut into chunks; it claims those of its own part
** first, where its cache has what they need, then what the others have not begun: a thread that is slow, or was not there in time,
** holds up no more than the chunk that it is at. A run is published as one word, so a worker that comes too late sees claims of a
** later run, or none left, and never reads the run's fields; nobody waits for it. One run at a time: whoever finds the pool busy (a
** nested run, another thread) computes alone. Workers never touch Lua, never allocate.
*/
#include "base/pool.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/context.h"

#define MAX_THREADS 256
#define MAX_CHUNKS 8 /* of a part */
#define SPINS 2000   /* about 50 us */

enum { FORKED = 0, RESETTING = 1, OURS = 2 }; /* the fork word */

typedef struct moon_worker {
  moon_pool *pool;
  int part;
} moon_worker;

/* How many chunks of a part are claimed, below the number of the run. */
typedef struct moon_claims { _Alignas(64) _Atomic uint64_t word; } moon_claims;

struct moon_pool {
  _Atomic uint32_t *fork_word; /* NULL: compare process ids */
  uint64_t process;
  _Atomic int threads; /* wanted, the calling one included */
  int started; /* workers running */
  char *handles;        /* [threads - 1] moon_thread */
  moon_worker *workers; /* [threads - 1] */
  moon_claims *claims;  /* [threads] */
  moon_signal *go, *done;
  _Atomic int busy, stop, sleepers, waiting;
  _Atomic uint32_t runs;    /* so far: what workers wait for */
  _Atomic uint64_t run;     /* number << 16 | chunks of a part << 8 | parts - 1 */
  _Atomic uint32_t pending; /* chunks that are not done */
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

/* The next chunk of a part that nobody has begun; -1: there is none. A run that is over has none. */
static int claim(moon_claims *c, uint64_t number, uint64_t chunks) {
  uint64_t word = atomic_load(&c->word), n;
  do {
    n = word >> 8 < number ? 0 : word & 255;
    if (word >> 8 > number || n == chunks) return -1;
  } while (!atomic_compare_exchange_weak(&c->word, &word, number << 8 | (n + 1)));
  return (int)n;
}

/* Chunks of the run, as long as there are any: of the thread's own part, then of the others. Gives their number. The run's fields stay
** what they are while a chunk is claimed and not done. */
static uint32_t run_chunks(moon_pool *p, uint64_t run, int part) {
  int parts = (int)(run & 255) + 1, chunks = (int)(run >> 8 & 255);
  uint32_t done = 0;
  for (int k = 0; k < parts; k++) {
    int of = part + k < parts ? part + k : part + k - parts;
    for (int i; (i = claim(&p->claims[of], run >> 16, (uint64_t)chunks)) >= 0; done++) {
      int64_t first = part_first(p->njobs, parts, of), n = part_first(p->njobs, parts, of + 1) - first;
      int64_t lo = part_first(n, chunks, i), hi = part_first(n, chunks, i + 1);
      if (lo < hi) p->body(p->arg, first + lo, first + hi);
    }
  }
  return done;
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

static void finish_chunks(moon_pool *p, uint32_t done) {
  if (done && atomic_fetch_sub(&p->pending, done) == done && atomic_load(&p->waiting) > 0) moon__signal_wake_all(p->done);
}

static void worker_main(void *arg) {
  moon_worker *w = arg;
  moon_pool *p = w->pool;
  uint32_t seen = 0;
  for (;;) {
    wait_word(p->go, &p->sleepers, &p->runs, seen);
    if (atomic_load(&p->stop)) return;
    seen = atomic_load(&p->runs);
    uint64_t run = atomic_load(&p->run);
    if (w->part <= (int)(run & 255)) finish_chunks(p, run_chunks(p, run, w->part));
  }
}

static void free_members(moon_runtime *runtime, moon_pool *p) {
  if (p->go) moon__signal_destroy(p->go);
  if (p->done) moon__signal_destroy(p->done);
  moon__free(runtime, p->go);
  moon__free(runtime, p->done);
  moon__free(runtime, p->handles);
  moon__free(runtime, p->workers);
  moon__free(runtime, p->claims);
  p->go = p->done = NULL;
  p->handles = NULL;
  p->workers = NULL;
  p->claims = NULL;
}

/* Memory for the workers. False: out of memory, nothing kept. */
static bool make_members(moon_runtime *runtime, moon_pool *p) {
  size_t n = (size_t)p->threads - 1;
  p->go = moon__alloc(runtime, moon__signal_bytes());
  p->done = moon__alloc(runtime, moon__signal_bytes());
  p->handles = moon__alloc_array(runtime, n, moon__thread_bytes());
  p->workers = moon__alloc_array(runtime, n, sizeof *p->workers);
  p->claims = moon__alloc_array(runtime, (size_t)p->threads, sizeof *p->claims);
  if (p->go && p->done && p->handles && p->workers && p->claims && moon__signal_init(p->go) && moon__signal_init(p->done))
    return true;
  free_members(runtime, p);
  return false;
}

/* Starts the workers at the first parallel run; with the pool held. */
static void start_workers(moon_runtime *runtime, moon_pool *p) {
  if (p->workers || !make_members(runtime, p)) return;
  if (!p->fork_word) p->fork_word = moon__fork_word_new();
  if (p->fork_word) atomic_store(p->fork_word, OURS);
  p->process = moon__process_id();
  atomic_store(&p->runs, 0);
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
  int64_t most = (p->njobs + parts - 1) / parts;
  uint64_t chunks = most < MAX_CHUNKS ? (uint64_t)most : MAX_CHUNKS;
  uint64_t run = ((atomic_load(&p->run) >> 16) + 1) << 16 | chunks << 8 | (uint64_t)(parts - 1);
  uint32_t left;
  atomic_store(&p->pending, (uint32_t)parts * (uint32_t)chunks);
  atomic_store(&p->run, run);
  atomic_fetch_add(&p->runs, 1);
  if (atomic_load(&p->sleepers) > 0) moon__signal_wake_all(p->go);
  finish_chunks(p, run_chunks(p, run, 0));
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
    atomic_fetch_add(&p->runs, 1);
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
