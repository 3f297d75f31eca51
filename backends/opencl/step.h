/*
** step.h: a step, which is one kernel over its operands, as launch.c makes it and join.c runs it together with others.
*/
#ifndef MOON_CL_STEP_H
#define MOON_CL_STEP_H
#include "opencl.h"

/* Where an operand lies. NULL and 0: nowhere. */
typedef struct moon_cl_bound {
  const moon_cl_buffer *buffer;
  cl_mem memory;
  size_t offset; /* in memory */
} moon_cl_bound;
/* For the kernel: a buffer may have the address of one that has gone. */
static inline bool moon__cl_same_bound(moon_cl_bound a, moon_cl_bound b) { return a.memory == b.memory && a.offset == b.offset; }

struct moon_cl_step {
  moon_cl_step *next;
  moon_cl_unit *unit;
  cl_kernel kernel; /* NULL: not made yet */
  int noperands, nparams;
  bool exact, rng, small; /* small: runs with others that are */
  int *operands;
  int64_t *params;
  moon_cl_bound *now; /* [noperands + 1]: where operands lie in this run; the last is the status block */
  moon_cl_bound *set; /* [noperands + 1]: what the arguments say */
  size_t global[3], local[3];
  int32_t launch;      /* its number in the program */
  uint32_t words[4];   /* of the run's random numbers, when rng */
  const char *what;    /* the op */
  moon_cl_join *joins; /* kernels of sequences that begin with it */
};

/* ---- launch.c ---- */
/* Sets the pair of arguments of a place. */
int32_t moon__cl_set_place(const moon_cl *cl, cl_kernel k, uint32_t at, moon_cl_bound b);
/* Asks the device to run a step by itself. With the lock held. */
moon_status moon__cl_step_run(moon_context *ctx, moon_cl_device *d, moon_cl_step *s);

/* ---- join.c; all with the lock held ---- */
/* Keeps a small step for later. run: whose it is; steps of one run alone are run together. */
moon_status moon__cl_defer(moon_context *ctx, moon_cl_device *d, moon_cl_step *s, const void *run);
/* Asks the device to run what is kept. `regular`: the same steps will be kept again when the program runs again, so that a kernel for
** all of them pays. */
moon_status moon__cl_submit(moon_context *ctx, moon_cl_device *d, bool regular);
/* Leaves out what is kept if step s is part of it, or works on the buffer: its run was given up. Takes the lock. */
void moon__cl_forget(moon_cl_device *d, const moon_cl_step *s, const moon_cl_buffer *buffer);
/* Frees the joins of a step that goes away. */
void moon__cl_joins_free(moon_runtime *runtime, moon_cl_device *d, moon_cl_join *j);
#endif
