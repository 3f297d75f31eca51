/*
** worker.c: a queue of jobs and the one thread that runs them; or the host's thread, where it has a hook for that. Invariant: a job
** belongs to its sender again as soon as its state is MOON_JOB_OVER and the lock was free once, so that the sender may free it.
** After a fork the child finds the jobs lost and starts a thread of its own.
*/
#include "base/worker.h"

#include "base/alloc.h"
#include "base/context.h"

enum { FORKED = 0, OURS = 2 }; /* the fork word */

struct moon_worker_thread {
  _Atomic uint32_t *fork_word; /* NULL: compare process ids */
  uint64_t process;
  moon_mutex *lock; /* guards the queue, and the end of a job */
  moon_signal *go, *over;
  moon_thread *thread;
  bool started;
  uint32_t life; /* grows with every fork */
  moon_job *first, *last;
  _Atomic uint32_t sent;   /* jobs so far */
  _Atomic uint32_t ended;  /* likewise */
  _Atomic int sleeping, waiting, stop;
};

static bool is_allowed(const moon_runtime *runtime) {
  return runtime->host.background || (!runtime->host.parallel && moon_threads_get(runtime) > 1);
}

/* ---- making ---- */

static void free_members(moon_runtime *runtime, moon_worker_thread *w) {
  if (w->lock) moon__mutex_destroy(w->lock);
  if (w->go) moon__signal_destroy(w->go);
  if (w->over) moon__signal_destroy(w->over);
  moon__fork_word_free(w->fork_word);
  moon__free(runtime, w->lock);
  moon__free(runtime, w->go);
  moon__free(runtime, w->over);
  moon__free(runtime, w->thread);
  moon__free(runtime, w);
}

static bool init_lock(moon_runtime *runtime, moon_worker_thread *w) {
  w->lock = moon__alloc(runtime, moon__mutex_bytes());
  if (w->lock && moon__mutex_init(w->lock)) return true;
  moon__free(runtime, w->lock);
  w->lock = NULL;
  return false;
}

static moon_worker_thread *make(moon_runtime *runtime) {
  moon_worker_thread *w = moon__alloc(runtime, sizeof *w);
  if (!w) return NULL;
  w->go = moon__alloc(runtime, moon__signal_bytes());
  w->over = moon__alloc(runtime, moon__signal_bytes());
  w->thread = moon__alloc(runtime, moon__thread_bytes());
  if (!init_lock(runtime, w) || !w->go || !w->over || !w->thread || !moon__signal_init(w->go) || !moon__signal_init(w->over)) {
    free_members(runtime, w);
    return NULL;
  }
  w->process = moon__process_id();
  w->fork_word = moon__fork_word_new();
  if (w->fork_word) atomic_store(w->fork_word, OURS);
  return w;
}

static bool is_forked(const moon_worker_thread *w) {
  return w->fork_word ? atomic_load(w->fork_word) == FORKED : w->process != moon__process_id();
}

/* In a forked child the thread is gone and the lock may be held by nobody who lives: both begin anew. */
static void settle_fork(moon_worker_thread *w) {
  if (!is_forked(w)) return;
  moon__mutex_init(w->lock);
  w->first = w->last = NULL;
  w->started = false;
  w->life++;
  atomic_store(&w->sleeping, 0);
  atomic_store(&w->waiting, 0);
  w->process = moon__process_id();
  if (w->fork_word) atomic_store(w->fork_word, OURS);
}

static moon_worker_thread *worker_of(moon_runtime *runtime) {
  moon__mutex_lock(runtime->lock);
  if (runtime->worker) settle_fork(runtime->worker);
  else runtime->worker = make(runtime);
  moon_worker_thread *w = runtime->worker;
  moon__mutex_unlock(runtime->lock);
  return w;
}

/* ---- running ---- */

static void run_job(void *arg) {
  moon_job *job = arg;
  moon_worker_thread *w = job->runtime->worker;
  atomic_store(&job->state, MOON_JOB_RUNNING);
  job->body(job);
  moon__mutex_lock(w->lock);
  atomic_store(&job->state, MOON_JOB_OVER);
  atomic_fetch_add(&w->ended, 1);
  if (atomic_load(&w->waiting) > 0) moon__signal_wake_all(w->over);
  moon__mutex_unlock(w->lock);
}

static moon_job *next_job(moon_worker_thread *w) {
  moon__mutex_lock(w->lock);
  moon_job *job = w->first;
  if (job) {
    w->first = job->next;
    if (!w->first) w->last = NULL;
    atomic_store(&job->state, MOON_JOB_RUNNING);
  }
  moon__mutex_unlock(w->lock);
  return job;
}

static void thread_main(void *arg) {
  moon_worker_thread *w = arg;
  moon__thread_yields();
  while (!atomic_load(&w->stop)) {
    uint32_t seen = atomic_load(&w->sent);
    moon_job *job = next_job(w);
    if (job) {
      run_job(job);
      continue;
    }
    atomic_fetch_add(&w->sleeping, 1);
    moon__signal_wait(w->go, &w->sent, seen);
    atomic_fetch_sub(&w->sleeping, 1);
  }
}

static bool enqueue(moon_worker_thread *w, moon_job *job) {
  moon__mutex_lock(w->lock);
  if (!w->started) w->started = moon__thread_start(w->thread, thread_main, w);
  bool ok = w->started;
  if (ok) {
    if (w->last) w->last->next = job;
    else w->first = job;
    w->last = job;
    atomic_fetch_add(&w->sent, 1);
  }
  moon__mutex_unlock(w->lock);
  if (ok && atomic_load(&w->sleeping) > 0) moon__signal_wake_all(w->go);
  return ok;
}

bool moon__worker_send(moon_runtime *runtime, moon_job *job) {
  moon_worker_thread *w = is_allowed(runtime) ? worker_of(runtime) : NULL;
  if (!w) return false;
  job->next = NULL;
  job->runtime = runtime;
  job->life = w->life;
  atomic_store(&job->state, MOON_JOB_WAITING);
  if (runtime->host.background ? runtime->host.background(runtime->host.user, run_job, job) : enqueue(w, job)) return true;
  atomic_store(&job->state, MOON_JOB_NONE);
  return false;
}

/* ---- looking ---- */

moon_job_state moon__worker_state(moon_job *job) {
  uint32_t state = atomic_load(&job->state);
  if (state == MOON_JOB_NONE) return MOON_JOB_NONE;
  moon_worker_thread *w = job->runtime->worker;
  if (state != MOON_JOB_OVER) return is_forked(w) || job->life != w->life ? MOON_JOB_LOST : (moon_job_state)state;
  if (is_forked(w) || job->life != w->life) return MOON_JOB_OVER;
  moon__mutex_lock(w->lock); /* run_job has let go of the job */
  moon__mutex_unlock(w->lock);
  return MOON_JOB_OVER;
}

void moon__worker_wait(moon_job *job) {
  moon_worker_thread *w = job->runtime->worker;
  for (;;) {
    uint32_t seen = atomic_load(&w->ended);
    moon_job_state state = moon__worker_state(job);
    if (state != MOON_JOB_WAITING && state != MOON_JOB_RUNNING) return;
    atomic_fetch_add(&w->waiting, 1);
    moon__signal_wait(w->over, &w->ended, seen);
    atomic_fetch_sub(&w->waiting, 1);
  }
}

void moon__worker_withdraw(moon_job *job) {
  moon_job_state state = moon__worker_state(job);
  moon_worker_thread *w = job->runtime ? job->runtime->worker : NULL;
  if (state == MOON_JOB_WAITING && !job->runtime->host.background) {
    moon__mutex_lock(w->lock);
    moon_job *before = NULL, *at = w->first;
    for (; at && at != job; at = at->next) before = at;
    if (at) {
      if (before) before->next = job->next;
      else w->first = job->next;
      if (w->last == job) w->last = before;
      atomic_store(&job->state, MOON_JOB_NONE);
    }
    moon__mutex_unlock(w->lock);
    if (at) return;
  }
  if (state == MOON_JOB_WAITING || state == MOON_JOB_RUNNING) moon__worker_wait(job);
  atomic_store(&job->state, MOON_JOB_NONE);
}

void moon__worker_free(moon_runtime *runtime) {
  moon_worker_thread *w = runtime->worker;
  if (!w) return;
  if (w->started && !is_forked(w)) {
    atomic_store(&w->stop, 1);
    atomic_fetch_add(&w->sent, 1);
    moon__signal_wake_all(w->go);
    moon__thread_join(w->thread);
  }
  free_members(runtime, w);
  runtime->worker = NULL;
}
