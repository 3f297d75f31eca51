/*
** fallback.c: runs on the CPU what a device has no kernel for: operands are read from the device, the CPU's own kernel computes, the
** results are written back. It waits for the device, so it is the last resort, and is said once an op through the host's log.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"
#include "opencl.h"

struct moon_cl_fallback {
  moon_device *cpu;
  moon_choice choice;
  int nin, nout;
  moon_array *arrays;  /* [nin + nout]: dense places in memory */
  size_t *bytes;       /* of each */
  char *memory, *scratch;
  moon_mutex *lock;    /* two runs of a program take turns */
};

static bool array_bytes(const moon_array *a, size_t *bytes) {
  *bytes = moon_dtype_bytes(a->dtype);
  for (int i = 0; i < a->ndim; i++) {
    if (!moon__mul_size(*bytes, (size_t)a->shape[i], bytes)) return false;
  }
  return moon__add_size(*bytes, 63, bytes);
}

/* Places for all operands, one behind the other. */
static bool make_places(moon_runtime *runtime, moon_cl_fallback *f, const moon_array *in, const moon_array *out) {
  size_t total = 0;
  f->arrays = moon__alloc_array(runtime, (size_t)(f->nin + f->nout), sizeof *f->arrays);
  f->bytes = moon__alloc_array(runtime, (size_t)(f->nin + f->nout), sizeof *f->bytes);
  if (!f->arrays || !f->bytes) return false;
  for (int i = 0; i < f->nin + f->nout; i++) {
    size_t bytes;
    f->arrays[i] = i < f->nin ? in[i] : out[i - f->nin];
    moon__dense_strides(f->arrays[i].ndim, f->arrays[i].shape, f->arrays[i].strides);
    f->arrays[i].offset_bytes = total;
    if (!array_bytes(&f->arrays[i], &bytes) || !moon__add_size(total, bytes & ~(size_t)63, &total)) return false;
    f->bytes[i] = bytes - 63;
  }
  f->memory = moon__alloc(runtime, total);
  f->scratch = moon__alloc(runtime, f->choice.scratch_bytes);
  for (int i = 0; f->memory && i < f->nin + f->nout; i++) f->arrays[i].data = f->memory + f->arrays[i].offset_bytes;
  return f->memory && f->scratch;
}

static bool make_lock(moon_runtime *runtime, moon_cl_fallback *f) {
  moon_mutex *lock = moon__alloc(runtime, moon__mutex_bytes());
  if (lock && moon__mutex_init(lock)) f->lock = lock;
  else moon__free(runtime, lock);
  return f->lock != NULL;
}

void moon__cl_fallback_free(moon_runtime *runtime, moon_cl_fallback *f) {
  if (!f) return;
  if (f->choice.free_state) f->choice.free_state(runtime, f->choice.state);
  if (f->lock) moon__mutex_destroy(f->lock);
  moon__free(runtime, f->lock);
  moon__free(runtime, f->arrays);
  moon__free(runtime, f->bytes);
  moon__free(runtime, f->memory);
  moon__free(runtime, f->scratch);
  moon__free(runtime, f);
}

static void report(moon_cl_device *d, const moon_node *node, const char *why) {
  const moon_host *host = &d->device->runtime->host;
  char line[256];
  moon__mutex_lock(d->lock);
  bool said = d->reported[node->op->id];
  d->reported[node->op->id] = true;
  moon__mutex_unlock(d->lock);
  if (said || !host->log) return;
  snprintf(line, sizeof line, "opencl: '%s' runs on the CPU: %s", node->op->name, why);
  host->log(host->user, line);
}

moon_status moon__cl_fallback_select(moon_context *ctx, moon_cl_device *d, const moon_node *node, const moon_array *in, int nin,
                                     const moon_array *out, int nout, const char *why, moon_choice *choice) {
  moon_runtime *runtime = ctx->runtime;
  moon_cl_launch *l = moon__cl_launch(d, choice, "opencl_on_cpu", why);
  moon_cl_fallback *f = l ? moon__alloc(runtime, sizeof *f) : NULL;
  moon_status s = f ? MOON_OK : moon__fail_memory(ctx);
  if (f) {
    moon__cl_launch_fall_back(l, f);
    f->nin = nin;
    f->nout = nout;
    f->cpu = moon_device_find(ctx, "cpu");
    if (!f->cpu) s = ctx->status;
  }
  moon_array dense[MOON_MAX_INPUTS];
  for (int i = 0; i < nin; i++) {
    dense[i] = in[i];
    moon__dense_strides(in[i].ndim, in[i].shape, dense[i].strides);
  }
  if (s == MOON_OK) s = f->cpu->backend->select(ctx, f->cpu, node, dense, nin, out, nout, true, &f->choice);
  if (s == MOON_OK && (!make_lock(runtime, f) || !make_places(runtime, f, in, out))) s = moon__fail_memory(ctx);
  if (s != MOON_OK) {
    moon__cl_launch_free(runtime, l);
    memset(choice, 0, sizeof *choice);
    return s;
  }
  choice->dense_in = UINT64_MAX;
  report(d, node, why);
  return MOON_OK;
}

static moon_status copy_in(moon_context *ctx, moon_cl_device *d, moon_cl_fallback *f, const moon_call *call) {
  moon_status s = MOON_OK;
  for (int i = 0; s == MOON_OK && i < f->nin; i++)
    s = moon__opencl_backend.buffer_read(ctx, d->device, call->in[i].handle, call->in[i].offset_bytes, f->arrays[i].data, f->bytes[i]);
  return s;
}

static moon_status copy_out(moon_context *ctx, moon_cl_device *d, moon_cl_fallback *f, const moon_call *call) {
  moon_status s = MOON_OK;
  for (int i = 0; s == MOON_OK && i < f->nout; i++) {
    const moon_array *to = &call->out[i];
    if (!to->handle) continue;
    s = moon__opencl_backend.buffer_write(ctx, d->device, to->handle, to->offset_bytes, f->arrays[f->nin + i].data,
                                          f->bytes[f->nin + i]);
  }
  return s;
}

moon_status moon__cl_fallback_run(moon_context *ctx, moon_cl_device *d, moon_cl_fallback *f, const moon_call *call) {
  moon_call host = *call;
  host.in = f->arrays;
  host.out = f->arrays + f->nin;
  host.state = f->choice.state;
  host.scratch = f->scratch;
  moon__mutex_lock(f->lock);
  moon_status s = copy_in(ctx, d, f, call);
  for (int p = 0; s == MOON_OK && p < f->choice.nphases; p++) {
    for (int64_t job = 0, end; s == MOON_OK && job < f->choice.phase[p].njobs; job = end) {
      end = moon__group_end(&f->choice, p, job);
      s = f->cpu->backend->run(ctx, f->cpu, f->choice.phase[p].run, &host, job, end, true);
    }
  }
  if (s == MOON_OK) s = copy_out(ctx, d, f, call);
  moon__mutex_unlock(f->lock);
  return s;
}
