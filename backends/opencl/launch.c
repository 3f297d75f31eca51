/*
** launch.c: a launch: the kernels ("steps") that compute one node, each with its operands and numbers. Kernel objects are made when
** the launch first runs; their arguments are set then, and again only when an operand lies elsewhere than the last time, so that a
** steady run only enqueues. Small steps wait for others, to run as one kernel (join.c). A kernel's parameters are: a pair (memory,
** offset) for each operand, its params struct when it has params, the run's status block, the launch's number, and for random ops the
** four words of the generator.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/philox.h"
#include "base/size.h"
#include "ops/attrs.h"
#include "step.h"

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
  moon__cl_joins_free(runtime, d, s->joins);
  moon__free(runtime, s->operands);
  moon__free(runtime, s->params);
  moon__free(runtime, s->now);
  moon__free(runtime, s->set);
  moon__free(runtime, s);
}

void moon__cl_launch_free(moon_runtime *runtime, void *state) {
  moon_cl_launch *l = state;
  if (!l) return;
  for (moon_cl_step *s = l->first, *next; s; s = next) {
    next = s->next;
    moon__cl_forget(l->device, s, NULL);
    free_step(runtime, l->device, s);
  }
  moon__cl_fallback_free(runtime, l->fallback);
  moon__free(runtime, l);
}

void moon__cl_launch_fall_back(moon_cl_launch *l, moon_cl_fallback *f) { l->fallback = f; }

/* Work is cut into work-items that take about as long as asking for a kernel, but where it is said: two of them one after the other
** cost no more than to be asked for by themselves. Random numbers are new arguments each time. */
static bool is_small(const moon_cl_device *d, const moon_cl_step *s) {
  return d->wide && !s->rng && s->global[0] <= 2 && s->global[1] <= 2 && s->global[2] <= 2 &&
         s->global[0] * s->global[1] * s->global[2] <= 2;
}

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
  s->exact = spec->exact;
  s->rng = spec->rng;
  s->operands = moon__alloc_array(runtime, (size_t)spec->noperands, sizeof *s->operands);
  s->params = moon__alloc_array(runtime, (size_t)nparams, sizeof *s->params);
  s->now = moon__alloc_array(runtime, (size_t)spec->noperands + 1, sizeof *s->now);
  s->set = moon__alloc_array(runtime, (size_t)spec->noperands + 1, sizeof *s->set);
  if (!s->operands || !s->params || !s->now || !s->set) {
    free_step(runtime, l->device, s);
    return false;
  }
  if (spec->noperands) memcpy(s->operands, spec->operands, (size_t)spec->noperands * sizeof *s->operands);
  if (spec->nparams) memcpy(s->params, spec->params, (size_t)spec->nparams * sizeof *s->params);
  memcpy(s->global, spec->global, sizeof s->global);
  memcpy(s->local, spec->local, sizeof s->local);
  s->small = !spec->large && is_small(l->device, s);
  if (l->last) l->last->next = s;
  else l->first = s;
  l->last = s;
  return true;
}

/* ---- Running ---- */

static moon_cl_bound bind(const moon_cl_buffer *b, size_t offset) {
  return b ? (moon_cl_bound){b, b->memory, b->offset + offset} : (moon_cl_bound){0};
}

static moon_cl_bound place_of(const moon_call *call, int operand) {
  if (operand == MOON_CL_SCRATCH) return bind(call->arena, call->scratch_offset);
  const moon_array *a = operand < call->nin ? &call->in[operand] : &call->out[operand - call->nin];
  return bind(a->handle, a->offset_bytes);
}

/* Notes what this run has to say to a step. */
static void note(moon_cl_step *s, const moon_call *call) {
  for (int i = 0; i < s->noperands; i++) s->now[i] = place_of(call, s->operands[i]);
  s->now[s->noperands] = bind(call->arena, call->status_offset);
  s->launch = call->launch;
  s->what = call->node->op->name;
  if (!s->rng) return;
  const moon_random_attrs *a = call->attrs;
  moon_philox r = moon__philox(call->rng->seed, call->rng->step, call->rng->fold, a->stream + call->rng->stream);
  const uint32_t words[4] = {r.key[0], r.key[1], r.step, r.stream};
  memcpy(s->words, words, sizeof words);
}

int32_t moon__cl_set_place(const moon_cl *cl, cl_kernel k, uint32_t at, moon_cl_bound b) {
  uint64_t offset = b.offset;
  int32_t code = cl->clSetKernelArg(k, at, sizeof b.memory, &b.memory);
  return code == CL_SUCCESS ? cl->clSetKernelArg(k, at + 1, sizeof offset, &offset) : code;
}

static int32_t set_arguments(const moon_cl *cl, moon_cl_step *s, bool fresh) {
  int32_t code = CL_SUCCESS;
  uint32_t at = 0;
  for (int i = 0; code == CL_SUCCESS && i <= s->noperands; i++, at += 2) {
    if (i == s->noperands && s->nparams) {
      if (fresh) code = cl->clSetKernelArg(s->kernel, at, (size_t)s->nparams * sizeof *s->params, s->params);
      at++;
    }
    if (code == CL_SUCCESS && (fresh || !moon__cl_same_bound(s->now[i], s->set[i])))
      code = moon__cl_set_place(cl, s->kernel, at, s->now[i]);
    s->set[i] = s->now[i];
  }
  if (code == CL_SUCCESS && fresh) code = cl->clSetKernelArg(s->kernel, at, sizeof s->launch, &s->launch);
  if (code == CL_SUCCESS && s->rng) code = cl->clSetKernelArg(s->kernel, at + 1, sizeof s->words, s->words);
  return code;
}

moon_status moon__cl_step_run(moon_context *ctx, moon_cl_device *d, moon_cl_step *s) {
  bool fresh = !s->kernel;
  if (fresh) {
    moon_status made = moon__cl_kernel(ctx, d, s->unit, s->what, &s->kernel);
    if (made != MOON_OK) return made;
  }
  int32_t code = set_arguments(&d->cl, s, fresh);
  if (code == CL_SUCCESS)
    code = d->cl.clEnqueueNDRangeKernel(d->queue, s->kernel, 3, NULL, s->global, s->local, 0, NULL, NULL);
  if (code == CL_SUCCESS) return MOON_OK;
  d->cl.clReleaseKernel(s->kernel); /* its arguments may be half set */
  s->kernel = NULL;
  return moon__cl_fail(ctx, d, code, "running '%s'", s->what);
}

/* Before a step that runs by itself comes what was kept. */
static moon_status run_step(moon_context *ctx, moon_cl_device *d, moon_cl_step *s, const moon_call *call) {
  if (!s->small) {
    moon_status kept = moon__cl_submit(ctx, d, true);
    if (kept != MOON_OK) return kept;
  }
  note(s, call);
  return s->small ? moon__cl_defer(ctx, d, s, call->fault) : moon__cl_step_run(ctx, d, s);
}

moon_status moon__cl_run(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                         int64_t last, bool threads) {
  moon_cl_device *d = device->data;
  moon_cl_launch *l = (moon_cl_launch *)(uintptr_t)call->state;
  moon_status s = MOON_OK;
  (void)kernel;
  if (first >= last) return MOON_OK;
  if (d->process != moon__process_id()) return moon__fail(ctx, MOON_EDEVICE, "opencl: a forked process cannot use '%s'", d->model);
  moon__mutex_lock(d->lock);
  if (l->fallback) s = moon__cl_submit(ctx, d, true);
  for (moon_cl_step *step = l->first; s == MOON_OK && step; step = step->next) s = run_step(ctx, d, step, call);
  if (s == MOON_OK && !threads) (void)d->cl.clFlush(d->queue); /* a slice: the device is to begin before the next */
  moon__mutex_unlock(d->lock);
  return s == MOON_OK && l->fallback ? moon__cl_fallback_run(ctx, d, l->fallback, call) : s;
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
