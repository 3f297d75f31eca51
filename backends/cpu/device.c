/*
** device.c: the CPU as a device: its memory (the runtime's allocator), its threads (the runtime's pool), and the choice of a
** kernel: a fast one where fast.c has one, else the plain one of the op. The table of plain kernels is collected by the build.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/pool.h"
#include "cpu.h"
#include "isa.h"
#include "openblas.h"
#include "plain.h"
#include "tune.h"

#define UNARY(name, ...) extern const moon_cpu_kernel moon__cpu_plain_##name;
#define BINARY(name, ...) extern const moon_cpu_kernel moon__cpu_plain_##name;
#define TERNARY(name, ...) extern const moon_cpu_kernel moon__cpu_plain_##name;
#define MOON_CPU_ROW(name) extern const moon_cpu_kernel moon__cpu_plain_##name;
#include "gen/cpu_kernels.def"
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef MOON_CPU_ROW

static const moon_cpu_kernel *const plain_kernels[MOON_OP_COUNT] = {
#define UNARY(name, ...) [MOON_OP_##name] = &moon__cpu_plain_##name,
#define BINARY(name, ...) [MOON_OP_##name] = &moon__cpu_plain_##name,
#define TERNARY(name, ...) [MOON_OP_##name] = &moon__cpu_plain_##name,
#define MOON_CPU_ROW(name) [MOON_OP_##name] = &moon__cpu_plain_##name,
#include "gen/cpu_kernels.def"
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef MOON_CPU_ROW
};

typedef struct cpu_device {
  moon_openblas blas; /* first: kernels see no more of it */
  char target[MOON_TUNE_WORD];
} cpu_device;

/* What choices depend on: instruction set, matrix unit, and caches, the second level by the class of its size. */
static void name_target(cpu_device *d) {
  const char *isa = moon__cpu_has_matrix_unit() ? "cpu_amx" : MOON_ISA_TEXT(moon__cpu_isa(), "cpu");
  int near = (int)(moon__cache_bytes(1) >> 10), far = 64;
  while (far <= moon__cache_bytes(2) >> 11) far *= 2;
  snprintf(d->target, sizeof d->target, "%s_%dK_%dK", isa, near, far);
}

static const char *cpu_target(const moon_device *device) { return ((const cpu_device *)device->data)->target; }

static moon_status cpu_open(moon_context *ctx) {
  cpu_device *d = moon__alloc(ctx->runtime, sizeof *d);
  if (!d) return moon__fail_memory(ctx);
  name_target(d);
  if (moon__device_add(ctx, &moon__cpu_backend, "cpu", d)) return MOON_OK;
  moon__free(ctx->runtime, d);
  return moon_error_status(ctx);
}

static void cpu_device_free(moon_device *device) { moon__free(device->runtime, device->data); }

static void *cpu_buffer_new(moon_device *device, size_t bytes, char **host_data) {
  char *block = moon__alloc(device->runtime, bytes);
  if (host_data) *host_data = block;
  return block;
}

static void cpu_buffer_free(moon_device *device, void *handle) { moon__free(device->runtime, handle); }

static moon_status cpu_buffer_read(moon_context *ctx, moon_device *device, void *handle, size_t offset, void *host, size_t bytes) {
  (void)ctx;
  (void)device;
  if (bytes) memcpy(host, (const char *)handle + offset, bytes);
  return MOON_OK;
}

static moon_status cpu_buffer_write(moon_context *ctx, moon_device *device, void *handle, size_t offset, const void *host,
                                    size_t bytes) {
  (void)ctx;
  (void)device;
  if (bytes) memcpy((char *)handle + offset, host, bytes);
  return MOON_OK;
}

static moon_status cpu_buffer_copy(moon_context *ctx, moon_device *device, void *to, size_t to_offset, void *from,
                                   size_t from_offset, size_t bytes) {
  (void)ctx;
  (void)device;
  if (bytes) memcpy((char *)to + to_offset, (const char *)from + from_offset, bytes);
  return MOON_OK;
}

static bool is_dense(const moon_array *a) {
  int64_t strides[MOON_MAX_DIMS];
  moon__dense_strides(a->ndim, a->shape, strides);
  for (int i = 0; i < a->ndim; i++)
    if (a->shape[i] > 1 && a->strides[i] != strides[i]) return false;
  return true;
}

static bool same_shape(const moon_array *a, const moon_array *b) {
  if (a->ndim != b->ndim) return false;
  for (int i = 0; i < a->ndim; i++)
    if (a->shape[i] != b->shape[i]) return false;
  return true;
}

/* The inputs whose memory the output may take. All inputs must be dense and of its shape: another view of the same memory, read
** in another order, would see what was written. */
static uint64_t in_place_inputs(const moon_array *in, int nin, const moon_array *out) {
  uint64_t bits = 0;
  for (int i = 0; i < nin; i++) {
    if (!is_dense(&in[i]) || !same_shape(&in[i], out)) return 0;
    if (i < 63 && moon_dtype_bytes(in[i].dtype) == moon_dtype_bytes(out->dtype)) bits |= (uint64_t)1 << i;
  }
  return bits;
}

/* Rounds of njobs jobs each. */
static void add_phase(moon_choice *choice, moon_kernel_fn run, int64_t njobs, int64_t rounds) {
  choice->phase[choice->nphases].run = run;
  choice->phase[choice->nphases].group = rounds > 1 ? njobs : 0;
  choice->phase[choice->nphases++].njobs = moon__work_mul(njobs, rounds);
}

static moon_status select_plain(moon_context *ctx, const moon_node *node, const moon_array *in, int nin, const moon_array *out,
                                moon_choice *choice) {
  const moon_cpu_kernel *k = plain_kernels[node->op->id];
  if (!k) return moon__fail_node(ctx, node, MOON_EUNSUPPORTED, "the CPU has no kernel for this op");
  size_t scratch = k->scratch ? k->scratch(node) : 0;
  if (scratch == SIZE_MAX) return moon__fail_node(ctx, node, MOON_ESIZE, "its scratch memory is larger than the address space");
  *choice = (moon_choice){.kernel = k->name, .why = "plain", .scratch_bytes = scratch};
  if (k->before) add_phase(choice, k->before, 1, k->before_jobs ? k->before_jobs(node) : 1);
  add_phase(choice, k->run, k->jobs ? k->jobs(node) : 1, k->rounds ? k->rounds(node) : 1);
  if (k->in_place) choice->alias_in = in_place_inputs(in, nin, out);
  return MOON_OK;
}

static moon_status cpu_select(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                              const moon_array *out, int nout, bool fast, moon_choice *choice) {
  bool found = false;
  if (fast) {
    moon_status status = moon__cpu_fast_select(ctx, device, node, in, nin, out, nout, choice, &found);
    if (status) return status;
  }
  return found ? MOON_OK : select_plain(ctx, node, in, nin, out, choice);
}

typedef struct launch {
  moon_kernel_fn kernel;
  const moon_call *call;
  int64_t first;
} launch;

static void run_part(void *arg, int64_t first, int64_t last) {
  const launch *l = arg;
  l->kernel(l->call, l->first + first, l->first + last);
}

static moon_status cpu_run(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                           int64_t last, bool threads) {
  (void)ctx;
  if (first >= last) return MOON_OK;
  if (threads) {
    launch l = {kernel, call, first};
    moon__pool_run(device->runtime, run_part, &l, last - first);
  } else {
    kernel(call, first, last);
  }
  return MOON_OK;
}

const moon_backend moon__cpu_backend = {
    .name = "cpu",
    .open = cpu_open,
    .device_free = cpu_device_free,
    .buffer_new = cpu_buffer_new,
    .buffer_free = cpu_buffer_free,
    .buffer_read = cpu_buffer_read,
    .buffer_write = cpu_buffer_write,
    .buffer_copy = cpu_buffer_copy,
    .has_kernel = moon__cpu_fast_has,
    .can_run = moon__cpu_fast_can,
    .target = cpu_target,
    .tuned = moon__cpu_tuned,
    .select = cpu_select,
    .select_loop = moon__cpu_loop_select,
    .select_product = moon__cpu_select_product,
    .chains = moon__cpu_chains,
    .select_chain = moon__cpu_select_chain,
    .run = cpu_run,
    .limits = moon__cpu_limits,
};
