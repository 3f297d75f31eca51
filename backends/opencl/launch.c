/*
** launch.c: a launch: the kernels ("steps") that compute one node, each with its operands and numbers. Kernel objects are made when
** the launch first runs; their arguments are set then, and again only when an operand lies elsewhere than the last time, so that a
** steady run only enqueues. A kernel's parameters are: a pair (memory, offset) for each operand, its params struct when it has
** params, the run's status block, the launch's number, and for random ops the four words of the generator.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/philox.h"
#include "base/size.h"
#include "opencl.h"
#include "ops/attrs.h"

typedef struct bound { void *handle; size_t offset; } bound;

struct moon_cl_step {
  moon_cl_step *next;
  moon_cl_unit *unit;
  cl_kernel kernel; /* NULL: not made yet */
  int noperands, nparams;
  bool exact, rng;
  int *operands;
  int64_t *params;
  bound *last;   /* [noperands + 1]: what the arguments are set to; the last is the status block */
  size_t global[3], local[3];
};

struct moon_cl_launch {
  moon_cl_device *device;
  moon_cl_step *first, *last;
  moon_cl_fallback *fallback; /* runs instead of the steps */
};

moon_cl_launch *moon__cl_launch(moon_cl_device *d, moon_choice *choice, const char *kernel, const char *why) {
  moon_cl_launch *l = moon__alloc(d->device->runtime, sizeof *l);
  if (!l) return NULL;
  l->device = d;
  *choice = (moon_choice){.kernel = kernel, .why = why, .nphases = 1, .state = l, .free_state = moon__cl_launch_free};
  choice->phase[0].njobs = 1;
  return l;
}

void moon__cl_spread(const moon_cl_device *d, moon_cl_step_spec *spec, int64_t n, int64_t block) {
  const int64_t group = 64, most = (int64_t)1 << 20;
  spec->local[1] = spec->local[2] = spec->global[1] = spec->global[2] = 1;
  spec->local[0] = d->wide ? 1 : (size_t)group;
  spec->global[0] = (size_t)(d->wide ? moon__ceildiv_i64(n, block) : moon__min_i64(moon__ceildiv_i64(n, group) * group, most));
}

static void free_step(moon_runtime *runtime, moon_cl_device *d, moon_cl_step *s) {
  if (s->kernel) d->cl.clReleaseKernel(s->kernel);
  moon__cl_unit_release(d, s->unit);
  moon__free(runtime, s->operands);
  moon__free(runtime, s->params);
  moon__free(runtime, s->last);
  moon__free(runtime, s);
}

void moon__cl_launch_free(moon_runtime *runtime, void *state) {
  moon_cl_launch *l = state;
  if (!l) return;
  for (moon_cl_step *s = l->first, *next; s; s = next) {
    next = s->next;
    free_step(runtime, l->device, s);
  }
  moon__cl_fallback_free(runtime, l->fallback);
  moon__free(runtime, l);
}

void moon__cl_launch_fall_back(moon_cl_launch *l, moon_cl_fallback *f) { l->fallback = f; }

bool moon__cl_step(moon_cl_launch *l, const moon_cl_step_spec *spec) {
  moon_runtime *runtime = l->device->device->runtime;
  bool nothing = spec->global[0] == 0 || spec->global[1] == 0 || spec->global[2] == 0;
  moon_cl_step *s = spec->unit && !nothing ? moon__alloc(runtime, sizeof *s) : NULL;
  if (!s) {
    moon__cl_unit_release(l->device, spec->unit);
    return nothing;
  }
  int nparams = spec->exact || spec->nparams == 0 ? spec->nparams : MOON_CL_PARAMS;
  s->unit = spec->unit;
  s->noperands = spec->noperands;
  s->nparams = nparams;
  s->rng = spec->rng;
  s->operands = moon__alloc_array(runtime, (size_t)spec->noperands, sizeof *s->operands);
  s->params = moon__alloc_array(runtime, (size_t)nparams, sizeof *s->params);
  s->last = moon__alloc_array(runtime, (size_t)spec->noperands + 1, sizeof *s->last);
  if (!s->operands || !s->params || !s->last) {
    free_step(runtime, l->device, s);
    return false;
  }
  if (spec->noperands) memcpy(s->operands, spec->operands, (size_t)spec->noperands * sizeof *s->operands);
  if (spec->nparams) memcpy(s->params, spec->params, (size_t)spec->nparams * sizeof *s->params);
  memcpy(s->global, spec->global, sizeof s->global);
  memcpy(s->local, spec->local, sizeof s->local);
  if (l->last) l->last->next = s;
  else l->first = s;
  l->last = s;
  return true;
}

/* ---- Running ---- */

static bound place_of(const moon_call *call, int operand) {
  if (operand == MOON_CL_SCRATCH) return (bound){call->arena, call->scratch_offset};
  const moon_array *a = operand < call->nin ? &call->in[operand] : &call->out[operand - call->nin];
  return (bound){a->handle, a->offset_bytes};
}

/* Sets the pair of arguments of a place. */
static int32_t set_place(const moon_cl *cl, cl_kernel k, uint32_t at, bound b) {
  uint64_t offset = b.offset;
  int32_t code = cl->clSetKernelArg(k, at, sizeof b.handle, &b.handle);
  return code == CL_SUCCESS ? cl->clSetKernelArg(k, at + 1, sizeof offset, &offset) : code;
}

static int32_t set_arguments(const moon_cl *cl, moon_cl_step *s, const moon_call *call, bool fresh) {
  int32_t code = CL_SUCCESS;
  uint32_t at = 0;
  for (int i = 0; code == CL_SUCCESS && i <= s->noperands; i++, at += 2) {
    bool status = i == s->noperands;
    bound b = status ? (bound){call->arena, call->status_offset} : place_of(call, s->operands[i]);
    if (status && s->nparams) {
      if (fresh) code = cl->clSetKernelArg(s->kernel, at, (size_t)s->nparams * sizeof *s->params, s->params);
      at++;
    }
    if (code == CL_SUCCESS && (fresh || b.handle != s->last[i].handle || b.offset != s->last[i].offset))
      code = set_place(cl, s->kernel, at, b);
    s->last[i] = b;
  }
  int32_t launch = call->launch;
  if (code == CL_SUCCESS && fresh) code = cl->clSetKernelArg(s->kernel, at, sizeof launch, &launch);
  if (code == CL_SUCCESS && s->rng) {
    const moon_random_attrs *a = call->attrs;
    moon_philox r = moon__philox(call->rng->seed, call->rng->step, call->rng->fold, a->stream + call->rng->stream);
    uint32_t words[4] = {r.key[0], r.key[1], r.step, r.stream};
    code = cl->clSetKernelArg(s->kernel, at + 1, sizeof words, words);
  }
  return code;
}

static moon_status run_step(moon_context *ctx, moon_cl_device *d, moon_cl_step *s, const moon_call *call) {
  bool fresh = !s->kernel;
  if (fresh) {
    moon_status made = moon__cl_kernel(ctx, d, s->unit, call->node->op->name, &s->kernel);
    if (made != MOON_OK) return made;
  }
  int32_t code = set_arguments(&d->cl, s, call, fresh);
  if (code == CL_SUCCESS)
    code = d->cl.clEnqueueNDRangeKernel(d->queue, s->kernel, 3, NULL, s->global, s->local, 0, NULL, NULL);
  if (code == CL_SUCCESS) return MOON_OK;
  d->cl.clReleaseKernel(s->kernel); /* its arguments may be half set */
  s->kernel = NULL;
  return moon__cl_fail(ctx, d, code, "running '%s'", call->node->op->name);
}

moon_status moon__cl_run(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                         int64_t last, bool threads) {
  moon_cl_device *d = device->data;
  moon_cl_launch *l = (moon_cl_launch *)(uintptr_t)call->state;
  moon_status s = MOON_OK;
  (void)kernel;
  if (first >= last) return MOON_OK;
  if (d->process != moon__process_id()) return moon__fail(ctx, MOON_EDEVICE, "opencl: a forked process cannot use '%s'", d->model);
  if (l->fallback) return moon__cl_fallback_run(ctx, d, l->fallback, call);
  moon__mutex_lock(d->lock);
  for (moon_cl_step *step = l->first; s == MOON_OK && step; step = step->next) s = run_step(ctx, d, step, call);
  if (s == MOON_OK && !threads) (void)d->cl.clFlush(d->queue); /* a slice: the device is to begin before the next */
  moon__mutex_unlock(d->lock);
  return s;
}

moon_status moon__cl_poll(moon_context *ctx, moon_device *device, void **mark, bool *over) {
  moon_cl_device *d = device->data;
  int32_t code = CL_SUCCESS, status = CL_COMPLETE;
  if (!*mark) {
    cl_event event = NULL;
    code = d->cl.clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &event);
    *mark = code == CL_SUCCESS ? event : NULL;
    if (code == CL_SUCCESS) code = d->cl.clFlush(d->queue);
  }
  if (code == CL_SUCCESS) code = d->cl.clGetEventInfo(*mark, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
  if (code == CL_SUCCESS && status < 0) code = status; /* what it waited for has failed */
  *over = status == CL_COMPLETE;
  if (*mark && (code != CL_SUCCESS || *over)) {
    moon__cl_mark_free(device, *mark);
    *mark = NULL;
  }
  return code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "asking whether a run is over");
}

void moon__cl_mark_free(moon_device *device, void *mark) {
  moon_cl_device *d = device->data;
  (void)d->cl.clReleaseEvent(mark);
}
