/*
** executor.h: a run: the memory, bindings and position of a program while it runs. Seen by executor.c, control.c and background.c only.
*/
#ifndef MOON_EXECUTOR_H
#define MOON_EXECUTOR_H
#include "arena.h"
#include "base/context.h"
#include "plan/plan.h"

typedef struct moon_base { /* where a bound buffer lies */
  char *data;
  void *handle;
  size_t offset;
} moon_base;

typedef struct moon_background moon_background; /* in background.c */

typedef struct moon_slice {
  double deadline; /* by moon__now_us; 0: none */
  bool begun;      /* a job has run in it: every slice runs one */
} moon_slice;

struct moon_run {
  moon_runtime *runtime;
  moon_program *program;
  moon_program *owned; /* retained for runs that a caller made; NULL for those that a program or a run owns */
  moon_arena *arena; /* while it runs: taken from the runtime, or the parent's; &none where there is nothing to hold */
  moon_arena none;
  size_t arena_offset, arena_bytes; /* its part of the arena, with those of its children */
  const moon_arena *placed;         /* where arrays point, and what lay there */
  const void *placed_handle;
  bool top, shares, taken; /* top: of no other run. shares: arenas are taken when it starts and given back; else it has its own */
  moon_storage *persistent;
  moon_array *arrays;  /* one per operand */
  moon_call *calls;    /* one per launch */
  int *bound, nbound;  /* operands in buffers that change from run to run */
  moon_base *bases;    /* inputs, outputs, variables read, variables written */
  moon_tensor **inputs, **outputs, **results; /* retained while active */
  moon_tensor **next;  /* second copies of variables */
  moon_tensor **reads; /* sliced runs: the variables as they were */
  moon_tensor **staged; /* background runs: copies of the inputs, and the outputs until they show; NULL before the first */
  moon_background *background; /* NULL before the first */
  uint64_t *versions;  /* of the variables that the prologue saw */
  moon_run **children; /* two per launch, for control flow */
  moon_rng rng;
  moon_fault fault;
  bool active, prologue_done, in_background;
  bool moved; /* bases are not where operands point */
  void *mark;     /* a sliced run that waits for its device: see moon_backend.poll */
  bool may_fault; /* its kernels may report late: see moon_backend.check */
  int launch, phase;
  int64_t job;
  double *first_us; /* how long the first job took the last time, one per launch and phase */
  /* Position inside a control launch. */
  int64_t iteration;
  int stage;
};

void moon__run_free(moon_run *run);
/* Points operands at bases. */
void moon__run_bind(moon_run *run);
void moon__run_rewind(moon_run *run);
/* Runs until done, or until the next job would end after the deadline. */
moon_status moon__run_advance(moon_context *ctx, moon_run *run, moon_slice *slice, bool *done);
/* The same for a launch with children. */
moon_status moon__control_advance(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *complete);

/* ---- background.c ---- */
/* Makes what a background run needs; false with an error: memory is out. */
bool moon__background_new(moon_context *ctx, moon_run *run);
/* Hands a bound run over. False: nobody runs it in the background. */
bool moon__background_send(moon_context *ctx, moon_run *run);
/* Is it over? The run's error, if it had one. wait: sleeps until it is over. */
moon_status moon__background_look(moon_context *ctx, moon_run *run, bool wait, bool *over);
/* Stops the run, if it was handed over, and waits until the worker has let go of it. */
void moon__background_stop(moon_run *run);
#endif
