/*
** background.c: a run on the runtime's background thread. The worker does nothing but advance the run: it reads copies of the inputs
** and the variables as they were, and writes the run's own memory. Binding, and making outputs and variables show, is done by
** whoever polls, on the context's thread (executor.c), so that nothing here needs a lock and cancelling leaves no trace. Errors are
** kept in a context of the run's own until they are asked for.
*/
#include "executor.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/worker.h"

#define SLICE_US 200 /* between two looks at stop */

struct moon_background {
  moon_job job; /* first: the worker knows no more */
  moon_run *run;
  moon_context ctx; /* for messages; retains nothing */
  moon_status status;
  _Atomic bool stop;
};

static void advance(moon_job *job) {
  moon_background *b = (moon_background *)(void *)job;
  bool done = false;
  while (!done && b->status == MOON_OK && !atomic_load_explicit(&b->stop, memory_order_relaxed)) {
    moon_slice slice = {moon__now_us(b->run->runtime) + SLICE_US, false};
    b->status = moon__run_advance(&b->ctx, b->run, &slice, &done);
  }
}

bool moon__background_new(moon_context *ctx, moon_run *run) {
  if (run->background) return true;
  run->background = moon__alloc(run->runtime, sizeof *run->background);
  if (run->background) {
    run->background->run = run;
    return true;
  }
  moon__fail_memory(ctx);
  return false;
}

bool moon__background_send(moon_context *ctx, moon_run *run) {
  moon_background *b = run->background;
  b->ctx.runtime = run->runtime;
  b->ctx.index_base = ctx->index_base;
  b->job.body = advance;
  b->status = MOON_OK;
  atomic_store(&b->stop, false);
  return moon__worker_send(run->runtime, &b->job);
}

moon_status moon__background_look(moon_context *ctx, moon_run *run, bool wait, bool *over) {
  moon_background *b = run->background;
  if (wait) moon__worker_wait(&b->job);
  moon_job_state state = moon__worker_state(&b->job);
  *over = state == MOON_JOB_OVER;
  if (state == MOON_JOB_LOST)
    return moon__fail(ctx, MOON_ESTATE, "run: the process forked, what ran in the background stayed with the parent");
  if (!*over) return MOON_OK;
  return b->status == MOON_OK ? MOON_OK : moon__fail_at(ctx, NULL, b->status, "%s", b->ctx.message);
}

void moon__background_stop(moon_run *run) {
  if (!run->background) return;
  atomic_store(&run->background->stop, true);
  moon__worker_withdraw(&run->background->job);
}
