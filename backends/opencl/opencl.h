/*
** opencl.h: what the files of the OpenCL backend share. A device has one in-order queue; kernels are asked for and run later, in
** order, and nothing waits but reads and the check after a run.
**
** device.c   opens the loader, lists devices, copies
** buffer.c   the memory of buffers
** unit.c     kernel sources ("units") and their programs; the disk cache is cache.c's
** launch.c   a launch: the kernels of one node over its operands, arguments kept, set again only when they change
** join.c     small kernels that follow each other, run as one
** loop.c     prints fused loops; print.c prints the values of elementwise rows
** select.c   the kernel of a node; its families in matmul.c, conv.c and so on
** fallback.c runs a node on the CPU through copies
*/
#ifndef MOON_OPENCL_H
#define MOON_OPENCL_H
#include "backend.h"
#include "base/os.h"
#include "cl.h"

typedef struct moon_cl_unit moon_cl_unit;
typedef struct moon_cl_step moon_cl_step;
typedef struct moon_cl_join moon_cl_join;
typedef struct moon_cl_slab moon_cl_slab;
enum { MOON_CL_WAITING = 64 }; /* small steps that wait, at most */

typedef struct moon_cl_device {
  moon_cl cl;
  moon_device *device;
  cl_device id;
  cl_context context;
  cl_queue queue;
  moon_mutex *lock; /* guards the queue, units and arguments of kernels */
  char model[128], platform[160], driver[64], target[64];
  const char *kind;
  uint64_t memory_bytes;
  int units, vector_bytes; /* vector_bytes: of what it computes with at once */
  bool f64;
  bool wide; /* the family of CPUs: one work-item a register tile; else that of GPUs: work-groups */
  uint64_t process; /* the process that opened it */
  moon_cl_unit *first_unit;
  moon_cl_slab *first_slab;
  moon_cl_step *waiting[MOON_CL_WAITING]; /* small steps that wait to run as one kernel (join.c) */
  int nwaiting;
  const void *waiting_run; /* whose they are */
  char *cache_folder; /* NULL: nothing is kept on disk */
  int built, kept;    /* programs made from sources, from what was kept */
  double build_us;    /* what that took, and the drivers' making of kernel objects */
  bool reported[MOON_OP_COUNT]; /* ops that run on the CPU, said once */
} moon_cl_device;

extern const moon_backend moon__opencl_backend;
static inline moon_cl_device *moon__cl_of(const moon_device *device) { return device->data; }

/* Records "opencl: CODE while <doing> on '<model>'". MOON_EMEMORY where memory is out, else MOON_EDEVICE. */
moon_status moon__cl_fail(moon_context *ctx, const moon_cl_device *d, int32_t code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- buffer.c ---- */
/* What the core knows as a buffer's handle: bytes of a memory object from `offset` on. */
typedef struct moon_cl_buffer {
  cl_mem memory;
  size_t offset;
  moon_cl_slab *slab; /* that it shares with others; NULL: the memory object is its own */
  int units;          /* of the slab */
} moon_cl_buffer;
void *moon__cl_buffer_new(moon_device *device, size_t bytes, char **host_data);
void moon__cl_buffer_free(moon_device *device, void *handle);

/* ---- text.c: text that grows; a failed one stays empty and says so at its end ---- */
typedef struct moon_cl_text {
  moon_runtime *runtime;
  char *s;
  size_t n, capacity;
  bool failed; /* memory is out */
} moon_cl_text;
void moon__cl_put(moon_cl_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void moon__cl_put_bytes(moon_cl_text *t, const char *s, size_t n);

/* ---- unit.c ---- */
/* The unit of this source, made when it is not known yet, with one user more. text defines the kernel `run`. NULL: memory
** is out. The device's lock is not held, here and below unless it is said. */
moon_cl_unit *moon__cl_unit(moon_cl_device *d, const char *text, size_t text_bytes);
moon_cl_unit *moon__cl_unit_locked(moon_cl_device *d, const char *text, size_t text_bytes); /* with the lock held */
/* The unit's text as that of a function part<number>, with words of its own; see join.c. */
void moon__cl_put_part(moon_cl_text *t, const moon_cl_unit *u, int number);
bool moon__cl_unit_built(const moon_cl_unit *u);
bool moon__cl_unit_failed(const moon_cl_unit *u); /* its source does not build */
void moon__cl_unit_release(moon_cl_device *d, moon_cl_unit *u); /* one user less; NULL is fine */
/* A new kernel object of the unit, for the op `what`; builds the unit first. With the lock held. */
moon_status moon__cl_kernel(moon_context *ctx, moon_cl_device *d, moon_cl_unit *u, const char *what, cl_kernel *kernel);
/* Frees the units that nobody uses. */
void moon__cl_units_trim(moon_cl_device *d);
void moon__cl_units_free(moon_cl_device *d);

/* ---- cache.c ---- */
/* Finds the folder; what goes wrong means no cache. */
void moon__cl_cache_open(moon_cl_device *d, moon_runtime *runtime);
/* What is kept for a source, in memory that the caller frees: the binary, or (*failed) the log of a build that failed. false: none. */
bool moon__cl_cache_read(moon_cl_device *d, const moon_cl_text *source, void **binary, size_t *bytes, bool *failed);
void moon__cl_cache_write(moon_cl_device *d, const moon_cl_text *source, const void *binary, size_t bytes, bool failed);

/* ---- launch.c ---- */
enum { MOON_CL_PARAMS = 64, MOON_CL_SCRATCH = -1 };
typedef struct moon_cl_fallback moon_cl_fallback;
typedef struct moon_cl_launch moon_cl_launch;
/* What a step is made of. */
typedef struct moon_cl_step_spec {
  moon_cl_unit *unit;
  int noperands;
  const int *operands;    /* numbers of inputs, then outputs, or MOON_CL_SCRATCH */
  int nparams;
  const int64_t *params;  /* copied; the kernel's struct has exactly these when `exact`, else MOON_CL_PARAMS */
  bool exact;
  bool rng;               /* the kernel gets key, step and stream of the run's random numbers */
  bool large;             /* a work-item takes far longer than a launch */
  size_t global[3], local[3];
} moon_cl_step_spec;
/* Work-items for EACH(i, n, block). */
void moon__cl_spread(const moon_cl_device *d, moon_cl_step_spec *spec, int64_t n, int64_t block);
/* A launch without steps; the choice's state. NULL: memory is out. */
moon_cl_launch *moon__cl_launch(moon_cl_device *d, moon_choice *choice, const char *kernel, const char *why);
/* False: memory is out. A step without work-items is left out. */
bool moon__cl_step(moon_cl_launch *l, const moon_cl_step_spec *spec);
/* Runs all steps: the one kernel function of this backend. */
moon_status moon__cl_run(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                         int64_t last, bool threads);
/* What moon_backend says of poll and mark_free; a mark is an event. */
moon_status moon__cl_poll(moon_context *ctx, moon_device *device, void **mark, bool *over);
void moon__cl_mark_free(moon_device *device, void *mark);
void moon__cl_launch_free(moon_runtime *runtime, void *state);
/* Gives the launch something that runs instead of its steps. */
void moon__cl_launch_fall_back(moon_cl_launch *l, moon_cl_fallback *f);

/* ---- fallback.c ---- */

moon_status moon__cl_fallback_select(moon_context *ctx, moon_cl_device *d, const moon_node *node, const moon_array *in, int nin,
                                     const moon_array *out, int nout, const char *why, moon_choice *choice);
moon_status moon__cl_fallback_run(moon_context *ctx, moon_cl_device *d, moon_cl_fallback *f, const moon_call *call);
void moon__cl_fallback_free(moon_runtime *runtime, moon_cl_fallback *f);

/* ---- loop.c, select.c ---- */
moon_status moon__cl_select_loop(moon_context *ctx, moon_device *device, const moon_loop *loop, moon_choice *choice);
moon_status moon__cl_select(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                            const moon_array *out, int nout, bool fast, moon_choice *choice);
#endif
