/*
** backend.h: what a backend must offer: memory, copies, and a kernel for a node. Core knows backends only through this.
**
** A kernel runs any range [first, last) of a launch's independent jobs; jobs are cut by shape alone, at most about 50 us each, so
** that runs can be sliced, spread over threads, and give equal bits on any number of them. A reduction across jobs is a second
** phase of the same choice. Kernels never allocate, lock, or fail, except by raising a fault for data that is out of range.
*/
#ifndef MOON_BACKEND_H
#define MOON_BACKEND_H
#include <stdatomic.h>

#include "graph/node.h"
#include "plan/loop.h"
#include "tensor/tensor.h"

/* An operand: element 0 at data (host backends) or at byte offset `offset` of `handle`. */
typedef struct moon_array {
  char *data;
  void *handle;
  size_t offset_bytes;
  moon_dtype dtype;
  int32_t ndim;
  int64_t shape[MOON_MAX_DIMS], strides[MOON_MAX_DIMS]; /* elements */
} moon_array;

/* Key of a run's random numbers; a draw is philox(seed, stream, step, element index) with stream = attrs' stream + this stream
** (0 but for single ops computed at once). fold numbers positions of a scan. */
typedef struct moon_rng { uint64_t seed, step, fold; int64_t stream; } moon_rng;

/* First bad datum of a run: raised by kernels, turned into an error with the node's line by the executor. */
typedef struct moon_fault {
  _Atomic int status; /* moon_status; 0: none */
  _Atomic int64_t value, limit; /* what came; it must be in [0, limit) */
  int launch; /* set by backends whose kernels report late: the launch that raised it */
} moon_fault;
static inline void moon__fault_raise(moon_fault *f, moon_status status, int64_t value, int64_t limit) {
  int none = 0;
  if (!atomic_compare_exchange_strong(&f->status, &none, (int)status)) return;
  f->value = value;
  f->limit = limit;
}

typedef struct moon_call {
  const moon_node *node;
  const void *attrs;      /* node->attrs */
  const void *state;      /* what select prepared */
  const moon_array *in;   /* [nin] */
  const moon_array *out;  /* [nout]; data NULL when nobody uses that output */
  int nin, nout;
  char *scratch;          /* scratch_bytes, 64-byte aligned; shared by all jobs and phases of this launch */
  void *arena;            /* devices with handles: what holds scratch and the run's status block, at these offsets */
  size_t scratch_offset, status_offset;
  int launch;             /* its number in the program */
  const moon_rng *rng;
  moon_fault *fault;
} moon_call;
typedef void (*moon_kernel_fn)(const moon_call *call, int64_t first, int64_t last);

#define MOON_MAX_PHASES 5
typedef struct moon_choice {
  const char *kernel; /* its name; a grammar: cpu_matmul_f32_avx512 */
  const char *why;    /* one short reason, for explain */
  const char *tuned;  /* what moon__tune_ask said when the kernel was chosen; NULL: the kernel's own rule */
  int nphases;
  /* group: jobs [0, group) are complete before any of [group, 2 group) begins, and so on; 0: all jobs are independent. */
  struct { moon_kernel_fn run; int64_t njobs, group; } phase[MOON_MAX_PHASES];
  size_t scratch_bytes;
  void *state;        /* owned by the program; freed by free_state */
  void (*free_state)(moon_runtime *runtime, void *state);
  uint64_t dense_in;  /* bit i: input i must be dense (the planner inserts a copy); bit 63: all inputs beyond 62 too */
  uint64_t needs_out; /* bit i: the kernel works in output i, which has memory even when nobody uses it */
  uint64_t ordered_out; /* bit i: output i may lie with its axes in any other order that keeps the last one last: the planner asks again,
                        ** with strides, if that spares a copy */
  uint64_t alias_in;  /* bit i: any output of input i's shape and dtype may take its memory: element j of an output depends on
                      ** element j of input i alone, and everything is loaded before anything is stored */
  bool may_fault;     /* devices with handles: its kernels may report to the status block, which is then looked at after the run */
} moon_choice;
/* Where the jobs end that may run together with `job` and after it. */
static inline int64_t moon__group_end(const moon_choice *c, int phase, int64_t job) {
  int64_t njobs = c->phase[phase].njobs, group = c->phase[phase].group;
  int64_t left = group > 0 ? group - job % group : njobs; /* a slice may have ended inside a group */
  return left < njobs - job ? job + left : njobs;
}

/* A product of a chain, with what select_product is told of it. */
#define MOON_MAX_LINKS 3
typedef struct moon_link {
  const moon_node *node;
  const moon_array *in; /* [nin]; of all links but the first, in[0] is the product of the link before, and not to be looked at */
  int nin;
  moon_array product;
  const moon_epilogue *epilogue; /* NULL: none */
} moon_link;

/* What a device can do at most, measured: multiply-adds count two; copies count bytes read and written. */
typedef struct moon_limits {
  double gflops, read_gbps, copy_gbps;
  int threads;
} moon_limits;

/* Where kernels that run later than they are asked for report the first fault of a run: zeros at first, laid out by the backend. */
#define MOON_STATUS_BYTES 64

typedef struct moon_backend {
  const char *name;
  /* Adds this backend's devices to the runtime; called once, when a runtime is made (cpu) or when first asked. */
  moon_status (*open)(moon_context *ctx);
  void (*device_free)(moon_device *device);
  void *(*buffer_new)(moon_device *device, size_t bytes, char **host_data); /* 64-byte aligned; NULL: out of memory */
  void (*buffer_free)(moon_device *device, void *handle);
  moon_status (*buffer_read)(moon_context *ctx, moon_device *device, void *handle, size_t offset, void *host, size_t bytes);
  moon_status (*buffer_write)(moon_context *ctx, moon_device *device, void *handle, size_t offset, const void *host, size_t bytes);
  /* The ranges do not overlap. */
  moon_status (*buffer_copy)(moon_context *ctx, moon_device *device, void *to, size_t to_offset, void *from, size_t from_offset,
                             size_t bytes);
  /* Does the device have a kernel of its own for this composite (else it is inlined)? Shapes are known. */
  bool (*has_kernel)(moon_device *device, const moon_node *node);
  /* Could it run this composite, whether or not has_kernel says that it pays? NULL: as has_kernel says. */
  bool (*can_run)(moon_device *device, const moon_node *node);
  /* One word: the table's rows for this device have it (tune.h). NULL: nothing of it is tuned. */
  const char *(*target)(const moon_device *device);
  const char *tuned; /* rows that are shipped for its devices; NULL: none */
  /* Picks the kernel for a node over these operands (data is NULL; shapes and strides are final). fast false: plain kernels
  ** only. Fails: MOON_EUNSUPPORTED. Outputs are dense, but for those that a choice before offered to order. */
  moon_status (*select)(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                        const moon_array *out, int nout, bool fast, moon_choice *choice);
  /* The same for a fused loop; *loop is copied by the backend if it keeps it. */
  moon_status (*select_loop)(moon_context *ctx, moon_device *device, const moon_loop *loop, moon_choice *choice);
  /* The same for a product (op with MOON_OPF_PRODUCT) whose result only this loop uses: the kernel applies the loop to each block of
  ** the result while it is in a near cache or in registers, so that the result itself is never stored. in: the operands of node, then
  ** those of epilogue->loop.in; product: the dense result, for its shape (it has no memory); out: those of epilogue->loop.out, which
  ** are dense. The call has these operands in this order, and node as its node. dense_in and alias_in count through all inputs; an
  ** output may take the memory of a loop input only if no other job, and no later part of the same job, reads it.
  ** MOON_EUNSUPPORTED, without a message: planned as two launches. NULL: always two launches. */
  moon_status (*select_product)(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                const moon_array *product, const moon_epilogue *epilogue, const moon_array *out, int nout,
                                moon_choice *choice);
  /* Do n products gain by running together, each on pieces of what the one before makes? Only the next one uses that, as its first
  ** operand; all but the last have paid as a chain already. NULL: never. */
  bool (*chains)(const moon_device *device, moon_node *const *products, int n);
  /* The same as select_product for such a chain: the call has the operands of all links, in order, but for those that links before
  ** make, and the node of the last. MOON_EUNSUPPORTED, without a message: each is planned alone. */
  moon_status (*select_chain)(moon_context *ctx, moon_device *device, const moon_link *links, int n, const moon_array *out, int nout,
                              moon_choice *choice);
  /* Runs jobs [first, last) of a phase; threads false: on the calling thread. A device may run them later, in order. */
  moon_status (*run)(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                     int64_t last, bool threads);
  /* A run has asked for its last launch: what the device still waits with, for more to come, begins now. NULL: nothing waits. */
  moon_status (*submit)(moon_context *ctx, moon_device *device);
  moon_status (*limits)(moon_context *ctx, moon_device *device, moon_limits *limits); /* NULL: not known */
  /* Waits for the run that call is of, moves what its kernels reported to *fault, and clears it. NULL: kernels report at once. */
  moon_status (*check)(moon_context *ctx, moon_device *device, const moon_call *call, moon_fault *fault);
  /* Has the device run all that it was asked for before *mark was made? The first call, with *mark NULL, makes it; with the answer
  ** yes, or an error, it is gone. Never waits. NULL: kernels run when they are asked for. */
  moon_status (*poll)(moon_context *ctx, moon_device *device, void **mark, bool *over);
  void (*mark_free)(moon_device *device, void *mark);
  void (*describe)(const moon_device *device, moon_device_info *info); /* fills what it knows; may be NULL */
  void (*trim)(moon_device *device); /* frees what it keeps for later (built kernels) and nobody uses now; may be NULL */
} moon_backend;

struct moon_device {
  const moon_backend *backend;
  moon_runtime *runtime;
  char name[64];
  void *data; /* the backend's */
};
extern const moon_backend moon__cpu_backend;
/* Adds a device to the runtime (backends call it from open). */
moon_device *moon__device_add(moon_context *ctx, const moon_backend *backend, const char *name, void *data);
/* The backends compiled in, in order; ends with NULL. In backends/backends.c. */
extern const moon_backend *const moon__backends[];
#endif
