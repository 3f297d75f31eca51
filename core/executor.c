/*
** executor.c: runs a program: binds inputs, outputs and variables to the operands once, then walks the launches, whole or for so
** many microseconds. Between the first and the last step nothing is allocated. A sliced run, and one whose variables somebody else
** holds, writes variables to second copies and swaps them in when it is complete; cancelling before that leaves no trace.
** Control flow lives in control.c.
*/
#include "executor.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "ops/attrs.h"
#include "profile.h"
#include "program.h"
#include "tensor/variable.h"

/* In slices and in the background variables are written to second copies, and what is read must not change meanwhile. */
typedef enum run_kind { WHOLE, SLICED, BACKGROUND } run_kind;

/* ---- Making ---- */

/* The status block stands behind everything else in the arena. */
static size_t status_offset(const moon_program *p) { return (p->arena_bytes + 63) & ~(size_t)63; }
static size_t arena_bytes(const moon_program *p) {
  return p->device->backend->check ? status_offset(p) + MOON_STATUS_BYTES : p->arena_bytes;
}

static moon_run *make(moon_context *ctx, moon_program *p, size_t arena_offset);

/* Bodies of a run never run at the same time: they compute in one place behind the run's own part of the arena. */
static bool make_children(moon_context *ctx, moon_run *run) {
  const moon_program *p = run->program;
  run->children = moon__alloc_array(ctx->runtime, (size_t)p->nlaunches * 2, sizeof *run->children);
  size_t own = (arena_bytes(p) + 63) & ~(size_t)63, most = 0; /* as checked as the buffers in it */
  if (!run->children) return false;
  for (int i = 0; i < p->nlaunches * 2; i++) {
    moon_program *child = p->launches[i / 2].child[i % 2];
    if (!child) continue;
    run->children[i] = make(ctx, child, run->shares ? run->arena_offset + own : 0);
    if (!run->children[i]) return false;
    if (run->shares && run->children[i]->arena_bytes > most) most = run->children[i]->arena_bytes;
  }
  run->arena_bytes = own + most;
  return true;
}

static bool is_bound(moon_buffer_kind k) {
  return k == MOON_BUFFER_INPUT || k == MOON_BUFFER_OUTPUT || k == MOON_BUFFER_READ || k == MOON_BUFFER_WRITE;
}

static void set_array(moon_run *run, int operand, const moon_base *base) {
  const moon_operand *o = &run->program->operands[operand];
  moon_array *a = &run->arrays[operand];
  size_t at = base->offset + (size_t)o->view.offset * moon_dtype_bytes(o->dtype); /* inside a checked buffer */
  a->data = base->data ? base->data + at - base->offset : NULL;
  a->handle = base->handle;
  a->offset_bytes = at;
}

/* Where a buffer that does not change from run to run lies. */
static moon_base fixed_base(const moon_run *run, const moon_plan_buffer *b) {
  if (b->kind == MOON_BUFFER_ARENA) {
    size_t at = run->arena_offset + b->offset;
    return (moon_base){run->arena->data ? run->arena->data + at : NULL, run->arena->handle, at};
  }
  if (b->kind == MOON_BUFFER_PERSISTENT)
    return (moon_base){run->persistent->data ? run->persistent->data + b->offset : NULL, run->persistent->handle, b->offset};
  const moon_storage *s = run->program->constants[b->index]->storage;
  return (moon_base){s->data, s->handle, 0};
}

static void make_arrays(moon_run *run) {
  const moon_program *p = run->program;
  for (int i = 0; i < p->noperands; i++) {
    const moon_operand *o = &p->operands[i];
    moon_array *a = &run->arrays[i];
    *a = (moon_array){.dtype = o->dtype, .ndim = o->view.ndim};
    memcpy(a->shape, o->view.shape, sizeof a->shape);
    memcpy(a->strides, o->view.strides, sizeof a->strides);
    if (o->buffer < 0) continue;
    if (is_bound(p->buffers[o->buffer].kind)) run->bound[run->nbound++] = i;
  }
}

static void make_calls(moon_run *run) {
  const moon_program *p = run->program;
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    moon_call *c = &run->calls[i];
    *c = (moon_call){.node = l->node, .attrs = l->node->attrs, .state = l->choice.state, .in = run->arrays + l->operands,
                     .out = run->arrays + l->operands + l->nin, .nin = l->nin, .nout = l->nout, .rng = &run->rng,
                     .fault = &run->fault, .launch = i, .status_offset = status_offset(p)};
    if (l->scratch >= 0) c->scratch_offset = run->arena_offset + p->buffers[l->scratch].offset;
    run->may_fault |= p->device->backend->check && l->choice.may_fault;
  }
}

/* Points arrays and calls, also of the bodies, into the arena. */
static void place(moon_run *run, moon_arena *arena) {
  const moon_program *p = run->program;
  run->arena = arena;
  if (run->placed == arena && run->placed_handle == arena->handle) return;
  run->placed = arena;
  run->placed_handle = arena->handle;
  for (int i = 0; i < p->noperands; i++) {
    int buffer = p->operands[i].buffer;
    if (buffer < 0 || is_bound(p->buffers[buffer].kind)) continue;
    moon_base base = fixed_base(run, &p->buffers[buffer]);
    set_array(run, i, &base);
  }
  for (int i = 0; i < p->nlaunches; i++) {
    run->calls[i].arena = arena->handle;
    if (p->launches[i].scratch >= 0 && arena->data) run->calls[i].scratch = arena->data + run->calls[i].scratch_offset;
  }
  for (int i = 0; run->shares && i < p->nlaunches * 2; i++) {
    if (run->children[i]) place(run->children[i], arena);
  }
}

/* Touches every page now, so that no run does. */
static moon_storage *touched(moon_context *ctx, moon_device *device, size_t bytes) {
  return moon__storage_new(ctx, device, bytes ? bytes : 1, true);
}

static bool allocate(moon_context *ctx, moon_run *run) {
  moon_runtime *r = ctx->runtime;
  const moon_program *p = run->program;
  run->persistent = touched(ctx, p->device, p->persistent_bytes);
  run->arrays = moon__alloc_array(r, (size_t)p->noperands, sizeof *run->arrays);
  run->bound = moon__alloc_array(r, (size_t)p->noperands, sizeof *run->bound);
  run->calls = moon__alloc_array(r, (size_t)p->nlaunches, sizeof *run->calls);
  run->first_us = moon__alloc_array(r, (size_t)p->nlaunches * MOON_MAX_PHASES, sizeof *run->first_us);
  run->inputs = moon__alloc_array(r, (size_t)p->graph->ninputs, sizeof *run->inputs);
  run->outputs = moon__alloc_array(r, (size_t)p->graph->noutputs, sizeof *run->outputs);
  run->results = moon__alloc_array(r, (size_t)p->graph->noutputs, sizeof *run->results);
  run->bases = moon__alloc_array(r, (size_t)(p->graph->ninputs + p->graph->noutputs + 2 * p->nvariables), sizeof *run->bases);
  run->next = moon__alloc_array(r, (size_t)p->nvariables, sizeof *run->next);
  run->reads = moon__alloc_array(r, (size_t)p->nvariables, sizeof *run->reads);
  run->versions = moon__alloc_array(r, (size_t)p->nvariables, sizeof *run->versions);
  return run->persistent && run->arrays && run->bound && run->calls && run->first_us && run->inputs && run->outputs &&
         run->results && run->bases && run->next && run->reads && run->versions;
}

/* An arena whose status block says that nothing happened. */
static moon_arena *own_arena(moon_context *ctx, const moon_run *run) {
  static const char none[MOON_STATUS_BYTES];
  const moon_program *p = run->program;
  moon_arena *a = moon__arena_new(ctx, p->device, run->arena_bytes ? run->arena_bytes : 1);
  if (!a || p->device->backend->buffer_write(ctx, p->device, a->handle, status_offset(p), none, sizeof none) == MOON_OK) return a;
  moon__arena_free(ctx->runtime, a);
  return NULL;
}

/* A device that reports faults late keeps the report in the arena, so there each run has its own. */
static bool make_arena(moon_context *ctx, moon_run *run) {
  run->arena = run->shares ? &run->none : own_arena(ctx, run);
  if (run->arena) place(run, run->arena);
  return run->arena != NULL;
}

static moon_run *make(moon_context *ctx, moon_program *p, size_t arena_offset) {
  moon_run *run = moon__alloc(ctx->runtime, sizeof *run);
  if (!run) {
    moon__fail_memory(ctx);
    return NULL;
  }
  run->runtime = ctx->runtime;
  run->program = p;
  run->shares = !p->device->backend->check;
  run->arena_offset = arena_offset;
  run->top = arena_offset == SIZE_MAX;
  if (run->top) run->arena_offset = 0;
  if (run->top) moon__arena_join(ctx->runtime);
  bool ok = allocate(ctx, run) && make_children(ctx, run), told = ok; /* told: the error says what it is */
  if (ok) {
    make_arrays(run);
    make_calls(run);
    ok = make_arena(ctx, run);
  }
  if (ok) return run;
  moon__run_free(run);
  if (!told) moon__fail_memory(ctx);
  return NULL;
}

moon_run *moon_run_new(moon_context *ctx, moon_program *p) {
  moon_run *run = make(ctx, p, SIZE_MAX);
  if (run) run->owned = moon_program_retain(p);
  return run;
}

/* ---- Freeing ---- */

static void drop_tensors(moon_tensor **t, int n) {
  for (int i = 0; t && i < n; i++) {
    moon_tensor_release(t[i]);
    t[i] = NULL;
  }
}

static void give_arena(moon_run *run) {
  if (run->taken) moon__arena_give(run->runtime, run->arena);
  run->taken = false;
}

/* Lets go of what the last start bound, but for outputs that nobody gave: they wait to be taken. */
static void let_go(moon_run *run) {
  const moon_program *p = run->program;
  for (int i = 0; run->outputs && i < p->graph->noutputs; i++) {
    if (run->outputs[i]) drop_tensors(&run->results[i], 1);
  }
  drop_tensors(run->inputs, p->graph->ninputs);
  drop_tensors(run->outputs, p->graph->noutputs);
  drop_tensors(run->reads, p->nvariables);
  give_arena(run);
  run->active = run->in_background = false;
}

static void unbind(moon_run *run) {
  const moon_program *p = run->program;
  if (run->in_background) moon__background_stop(run);
  if (run->mark) p->device->backend->mark_free(p->device, run->mark);
  run->mark = NULL;
  let_go(run);
  drop_tensors(run->results, p->graph->noutputs);
}

void moon__run_free(moon_run *run) {
  if (!run) return;
  moon_runtime *r = run->runtime;
  const moon_program *p = run->program;
  unbind(run);
  drop_tensors(run->next, p->nvariables);
  drop_tensors(run->staged, p->graph->ninputs + p->graph->noutputs);
  for (int i = 0; run->children && i < p->nlaunches * 2; i++) moon__run_free(run->children[i]);
  if (!run->shares && run->arena != &run->none) moon__arena_free(r, run->arena);
  if (run->top) moon__arena_leave(r, run->arena_bytes);
  moon__storage_release(run->persistent);
  void *const blocks[] = {run->children, run->arrays, run->bound, run->calls, run->first_us, run->inputs, run->outputs, run->results,
                          run->bases, run->next, run->reads, run->versions, run->staged, run->background, run};
  moon_program *owned = run->owned;
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) moon__free(r, blocks[i]);
  moon_program_release(owned);
}

void moon_run_release(moon_run *run) { moon__run_free(run); }

/* ---- Binding ---- */

static moon_base base_of(const moon_tensor *t) {
  size_t offset = (size_t)t->offset * moon_dtype_bytes(t->dtype); /* inside a checked storage */
  return (moon_base){t->storage->data ? t->storage->data + offset : NULL, t->storage->handle, offset};
}

/* Notes where bound buffer i lies; operands are pointed anew only when one has moved. */
static void set_base(moon_run *run, int i, moon_base base) {
  moon_base *at = &run->bases[i];
  if (at->data == base.data && at->handle == base.handle && at->offset == base.offset) return;
  *at = base;
  run->moved = true;
}

static int base_index(const moon_program *p, const moon_plan_buffer *b) {
  int inputs = p->graph->ninputs, outputs = p->graph->noutputs;
  switch (b->kind) {
    case MOON_BUFFER_INPUT: return b->index;
    case MOON_BUFFER_OUTPUT: return inputs + b->index;
    case MOON_BUFFER_READ: return inputs + outputs + b->index;
    default: return inputs + outputs + p->nvariables + b->index;
  }
}

void moon__run_bind(moon_run *run) {
  const moon_program *p = run->program;
  for (int i = 0; i < run->nbound; i++) {
    const moon_operand *o = &p->operands[run->bound[i]];
    set_array(run, run->bound[i], &run->bases[base_index(p, &p->buffers[o->buffer])]);
  }
}

static bool has_type(const moon_tensor *t, const moon_type *type) {
  bool same = t->dtype == type->dtype && t->ndim == type->shape.ndim;
  for (int i = 0; same && i < t->ndim; i++) same = t->shape[i] == type->shape.dim[i];
  return same;
}

static moon_status fail_type(moon_context *ctx, const char *what, const char *name, const moon_tensor *t, const moon_type *type) {
  char a[160], b[160];
  moon_type have = moon__tensor_type(t);
  return moon__fail(ctx, MOON_ESHAPE, "run: %s '%s': expected %s %s, got %s %s", what, name, moon_dtype_name(type->dtype),
                    moon_shape_text(ctx->runtime, &type->shape, a, sizeof a), moon_dtype_name(have.dtype),
                    moon_shape_text(ctx->runtime, &have.shape, b, sizeof b));
}

/* A new tensor on the program's device. */
static moon_tensor *fresh(moon_context *ctx, const moon_program *p, const moon_type *type) {
  moon_device *before = ctx->device;
  ctx->device = p->device;
  moon_tensor *t = moon__tensor_empty(ctx, type->dtype, type->shape.ndim, type->shape.dim);
  ctx->device = before;
  return t;
}

/* A dense copy of t on the program's device. */
static moon_tensor *staged(moon_context *ctx, const moon_program *p, const moon_tensor *t) {
  moon_type type = moon__tensor_type(t);
  moon_tensor *copy = fresh(ctx, p, &type);
  if (copy && moon_tensor_copy(ctx, copy, t) == MOON_OK) return copy;
  moon_tensor_release(copy);
  return NULL;
}

/* Memory of a background run for input or output i, made once and used again while nobody else holds it; retained. */
static moon_tensor *aside(moon_context *ctx, moon_run *run, int i, const moon_type *type) {
  const moon_program *p = run->program;
  if (!run->staged) {
    run->staged = moon__alloc_array(run->runtime, (size_t)(p->graph->ninputs + p->graph->noutputs), sizeof *run->staged);
    if (!run->staged) moon__fail_memory(ctx);
  }
  if (!run->staged) return NULL;
  moon_tensor **t = &run->staged[i];
  if (!*t || (*t)->refs > 1 || (*t)->storage->refs > 1) {
    moon_tensor_release(*t);
    *t = fresh(ctx, p, type);
  }
  return moon_tensor_retain(*t);
}

/* A copy of input i that nobody writes while the run is in the background. */
static moon_tensor *copied_input(moon_context *ctx, moon_run *run, int i, const moon_tensor *t) {
  moon_type type = moon__tensor_type(t);
  moon_tensor *copy = aside(ctx, run, i, &type);
  if (copy && moon_tensor_copy(ctx, copy, t) == MOON_OK) return copy;
  moon_tensor_release(copy);
  return NULL;
}

static moon_status bind_inputs(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, run_kind kind) {
  const moon_program *p = run->program;
  for (int i = 0; i < p->graph->ninputs; i++) {
    const moon_value *formal = p->graph->inputs[i];
    moon_tensor *t = inputs ? inputs[i] : NULL;
    if (!t) return moon__fail(ctx, MOON_EARGUMENT, "run: input '%s' is missing", formal->node->name);
    if (!has_type(t, &formal->type)) return fail_type(ctx, "input", formal->node->name, t, &formal->type);
    bool direct = t->storage->device == p->device && moon_tensor_is_dense(t);
    run->inputs[i] = kind == BACKGROUND ? copied_input(ctx, run, i, t) : direct ? moon_tensor_retain(t) : staged(ctx, p, t);
    if (!run->inputs[i]) return ctx->status;
    set_base(run, i, base_of(run->inputs[i]));
  }
  return MOON_OK;
}

/* Does anything the program reads live in this storage? Then results are written elsewhere first. */
static bool is_read(const moon_run *run, const moon_storage *s) {
  const moon_program *p = run->program;
  for (int i = 0; i < p->graph->ninputs; i++) {
    if (run->inputs[i]->storage == s) return true;
  }
  for (int i = 0; i < p->nvariables; i++) {
    if (p->variables[i]->tensor->storage == s) return true;
  }
  return false;
}

/* outputs[i]: the caller's tensor, or NULL for a new one. results[i]: what the program writes. */
static moon_status bind_outputs(moon_context *ctx, moon_run *run, moon_tensor *const *outputs, run_kind kind) {
  const moon_program *p = run->program;
  for (int i = 0; i < p->graph->noutputs; i++) {
    const moon_type *type = &p->graph->outputs[i]->type;
    moon_tensor *t = outputs ? outputs[i] : NULL;
    bool alone = t && t->refs == 1 && t->storage->refs == 1; /* nobody but the caller, so nothing else of this run */
    if (t) {
      if (!has_type(t, type)) return fail_type(ctx, "output", "out", t, type);
      moon_status s = moon__tensor_writable(ctx, "run", t);
      if (s != MOON_OK) return s;
      run->outputs[i] = moon_tensor_retain(t);
    }
    bool direct = t && t->storage->device == p->device && moon_tensor_is_dense(t) && (alone || !is_read(run, t->storage));
    for (int k = 0; direct && !alone && k < i; k++) direct = run->results[k]->storage != t->storage;
    run->results[i] = kind == BACKGROUND && t ? aside(ctx, run, p->graph->ninputs + i, type)
                      : direct                ? moon_tensor_retain(t)
                                              : fresh(ctx, p, type);
    if (!run->results[i]) return ctx->status;
    set_base(run, p->graph->ninputs + i, base_of(run->results[i]));
  }
  return MOON_OK;
}

/* Second copies are made once and then take turns with the variable's numbers. */
static moon_status second_copy(moon_context *ctx, moon_run *run, int i) {
  const moon_tensor *t = run->program->variables[i]->tensor;
  if (run->next[i] && run->next[i]->refs == 1 && run->next[i]->storage->refs == 1) return MOON_OK;
  moon_tensor_release(run->next[i]);
  moon_type type = moon__tensor_type(t);
  run->next[i] = fresh(ctx, run->program, &type);
  return run->next[i] ? MOON_OK : ctx->status;
}

static moon_status move_variable(moon_context *ctx, const moon_program *p, moon_variable *v) {
  if (v->tensor->storage->device == p->device) return MOON_OK;
  moon_tensor *moved = staged(ctx, p, v->tensor);
  if (!moved) return ctx->status;
  moon_tensor_release(v->tensor);
  v->tensor = moved;
  return MOON_OK;
}

static moon_status bind_variables(moon_context *ctx, moon_run *run, bool sliced) {
  const moon_program *p = run->program;
  int reads = p->graph->ninputs + p->graph->noutputs, writes = reads + p->nvariables;
  bool same = run->prologue_done;
  for (int i = 0; i < p->nvariables; i++) {
    moon_variable *v = p->variables[i];
    moon_status s = move_variable(ctx, p, v);
    if (s != MOON_OK) return s;
    bool second = p->written[i] && (sliced || moon__variable_is_shared(v));
    if (second) s = second_copy(ctx, run, i);
    if (s != MOON_OK) return s;
    set_base(run, reads + i, base_of(v->tensor));
    set_base(run, writes + i, second ? base_of(run->next[i]) : run->bases[reads + i]);
    if (!p->written[i]) {
      same &= run->versions[i] == v->version;
      run->versions[i] = v->version;
    }
  }
  /* A sliced run reads what was there when it started, whatever is written meanwhile. */
  for (int i = 0; sliced && i < p->nvariables; i++) run->reads[i] = moon_tensor_retain(p->variables[i]->tensor);
  run->prologue_done = same;
  return MOON_OK;
}

/* ---- Steps ---- */

static void rewind_run(moon_run *run) {
  run->launch = run->prologue_done ? run->program->nprologue : 0;
  run->phase = 0;
  run->job = 0;
  run->iteration = 0;
  run->stage = 0;
  run->fault.status = 0;
}

void moon__run_rewind(moon_run *run) { rewind_run(run); }

static moon_status check_fault(moon_context *ctx, moon_run *run, const moon_launch *l) {
  if (!run->fault.status) return MOON_OK;
  moon_status s = (moon_status)run->fault.status;
  if (s == MOON_EINDEX)
    return moon__fail_node(ctx, l->node, s, "index %lld is out of range, it must be at least 0 and less than %lld",
                           (long long)run->fault.value, (long long)run->fault.limit);
  return moon__fail_node(ctx, l->node, s, "%s (%lld, limit %lld)", moon_status_text(s), (long long)run->fault.value,
                         (long long)run->fault.limit);
}

/* What kernels reported that ran after they were asked for. */
static moon_status check_late(moon_context *ctx, moon_run *run) {
  const moon_program *p = run->program;
  if (!run->may_fault) return MOON_OK;
  moon_status s = p->device->backend->check(ctx, p->device, &run->calls[0], &run->fault);
  if (s == MOON_OK && run->fault.status) s = check_fault(ctx, run, &p->launches[run->fault.launch]);
  return s;
}

/* Of a run in slices: has the device run what it was asked for? */
static moon_status poll_device(moon_context *ctx, moon_run *run, bool *over) {
  moon_device *device = run->program->device;
  *over = true;
  return run->top && device->backend->poll ? device->backend->poll(ctx, device, &run->mark, over) : MOON_OK;
}

/* For profiles: a device that runs later what it is asked for has run it. */
static moon_status wait_for(moon_context *ctx, moon_run *run) {
  const moon_backend *b = run->program->device->backend;
  return b->check ? b->check(ctx, run->program->device, &run->calls[run->launch], &run->fault) : MOON_OK;
}

/* Jobs of the current phase until it, or the time, is over: *pause. A job is expected to take as long as the one before it, the
** first as long as in the run before. */
static moon_status run_jobs(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *pause) {
  const moon_program *p = run->program;
  const moon_backend *backend = p->device->backend;
  int64_t njobs = l->choice.phase[run->phase].njobs;
  moon_kernel_fn kernel = l->choice.phase[run->phase].run;
  const moon_call *call = &run->calls[run->launch];
  while (slice->deadline <= 0 && run->job < njobs) {
    int64_t end = moon__group_end(&l->choice, run->phase, run->job);
    moon_status s = backend->run(ctx, p->device, kernel, call, run->job, end, true);
    if (s != MOON_OK) return s;
    run->job = end;
  }
  double *first_us = &run->first_us[run->launch * MOON_MAX_PHASES + run->phase], expected = *first_us;
  double now = run->job < njobs ? moon__now_us(run->runtime) : 0;
  while (run->job < njobs) {
    *pause = slice->begun && now + expected > slice->deadline;
    if (*pause) return MOON_OK;
    moon_status s = backend->run(ctx, p->device, kernel, call, run->job, run->job + 1, false);
    if (s != MOON_OK) return s;
    double before = now;
    now = moon__now_us(run->runtime);
    expected = now - before;
    if (run->job++ == 0) *first_us = expected;
    slice->begun = true;
  }
  run->job = 0;
  run->phase++;
  return MOON_OK;
}

moon_status moon__run_advance(moon_context *ctx, moon_run *run, moon_slice *slice, bool *done) {
  const moon_program *p = run->program;
  *done = false;
  while (run->launch < p->nlaunches) {
    const moon_launch *l = &p->launches[run->launch];
    bool complete = false, pause = false;
    moon_status s = MOON_OK;
    moon_profile_mark began = {0};
    if (ctx->profiling) began = moon__profile_mark(ctx);
    if (l->child[0]) {
      s = moon__control_advance(ctx, run, l, slice, &complete);
      pause = !complete;
    } else {
      if (run->phase < l->choice.nphases) s = run_jobs(ctx, run, l, slice, &pause);
      if (s == MOON_OK && ctx->profiling) s = wait_for(ctx, run);
      complete = run->phase >= l->choice.nphases;
      if (s == MOON_OK && complete) s = check_fault(ctx, run, l);
    }
    if (ctx->profiling) moon__profile_add(ctx, run->program, run->launch, began, complete);
    if (s != MOON_OK) return s;
    if (complete) {
      run->phase = 0;
      run->job = 0;
      run->launch++;
      if (run->launch == p->nprologue) run->prologue_done = true;
    }
    if (pause) return MOON_OK;
  }
  bool over = true;
  moon_status s = p->device->backend->submit ? p->device->backend->submit(ctx, p->device) : MOON_OK;
  if (s == MOON_OK && slice->deadline > 0) s = poll_device(ctx, run, &over);
  if (s == MOON_OK && !over) return MOON_OK;
  if (s == MOON_OK) s = check_late(ctx, run);
  run->prologue_done = s == MOON_OK;
  *done = s == MOON_OK;
  return s;
}

/* Everything ran: second copies become the variables, results reach the caller. */
static moon_status complete(moon_context *ctx, moon_run *run) {
  const moon_program *p = run->program;
  const moon_base *reads = run->bases + p->graph->ninputs + p->graph->noutputs, *writes = reads + p->nvariables;
  for (int i = 0; i < p->graph->noutputs; i++) {
    if (!run->outputs[i] || run->outputs[i] == run->results[i]) continue;
    moon_status s = moon_tensor_copy(ctx, run->outputs[i], run->results[i]);
    if (s != MOON_OK) return s;
  }
  for (int i = 0; i < p->nvariables; i++) {
    moon_variable *v = p->variables[i];
    if (!p->written[i]) continue;
    if (writes[i].handle != reads[i].handle || writes[i].offset != reads[i].offset) {
      moon_tensor *old = v->tensor;
      v->tensor = run->next[i];
      run->next[i] = old;
    }
    moon__variable_changed(v);
  }
  let_go(run);
  return MOON_OK;
}

/* ---- Public ---- */

static moon_status take_arena(moon_context *ctx, moon_run *run) {
  if (!run->shares || run->arena_bytes == 0) return MOON_OK;
  moon_arena *arena = moon__arena_take(ctx, run->program->device, run->arena_bytes);
  if (!arena) return ctx->status;
  place(run, arena);
  run->taken = true;
  return MOON_OK;
}

static moon_status start(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, moon_tensor *const *outputs, uint64_t step,
                         run_kind kind) {
  unbind(run);
  run->rng = (moon_rng){.seed = ctx->seed, .step = step};
  moon_status s = bind_inputs(ctx, run, inputs, kind);
  if (s == MOON_OK) s = bind_outputs(ctx, run, outputs, kind);
  if (s == MOON_OK) s = bind_variables(ctx, run, kind != WHOLE);
  if (s == MOON_OK) s = take_arena(ctx, run);
  if (s != MOON_OK) {
    unbind(run);
    return s;
  }
  if (run->moved) moon__run_bind(run);
  run->moved = false;
  rewind_run(run);
  run->active = true;
  return MOON_OK;
}

moon_status moon_run_start(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, moon_tensor **outputs, uint64_t step) {
  return start(ctx, run, inputs, outputs, step, SLICED);
}

moon_status moon_run_background(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, moon_tensor **outputs,
                                uint64_t step) {
  moon_status s = start(ctx, run, inputs, outputs, step, BACKGROUND);
  if (s == MOON_OK && !moon__background_new(ctx, run)) s = ctx->status;
  if (s != MOON_OK) unbind(run);
  else run->in_background = moon__background_send(ctx, run);
  return s;
}

moon_status moon_run_step(moon_context *ctx, moon_run *run, double budget_us, bool *done) {
  *done = false;
  if (!run->active) return moon__fail(ctx, MOON_ESTATE, "run: nothing was started");
  moon_slice slice = {budget_us > 0 ? moon__now_us(run->runtime) + budget_us : 0, false};
  moon_status s = run->in_background ? moon__background_look(ctx, run, budget_us <= 0, done)
                                     : moon__run_advance(ctx, run, &slice, done);
  if (s == MOON_OK && *done) s = complete(ctx, run);
  if (s == MOON_OK) return s;
  *done = false;
  unbind(run);
  return s;
}

void moon_run_cancel(moon_context *ctx, moon_run *run) {
  (void)ctx;
  unbind(run);
}

moon_tensor *moon_run_result(const moon_run *run, int i) {
  return i >= 0 && i < run->program->graph->noutputs ? run->results[i] : NULL;
}

static moon_run *take_idle(moon_context *ctx, moon_program *p) {
  moon_run *run = atomic_exchange(&p->idle, NULL);
  return run ? run : make(ctx, p, SIZE_MAX);
}

static void give_idle(moon_program *p, moon_run *run) {
  moon_run *none = NULL;
  if (!atomic_compare_exchange_strong(&p->idle, &none, run)) moon__run_free(run);
}

moon_status moon__program_run(moon_context *ctx, moon_program *p, moon_tensor *const *inputs, moon_tensor **outputs, uint64_t step,
                              int64_t stream) {
  bool done = false;
  moon_run *run = take_idle(ctx, p);
  if (!run) return ctx->status;
  moon_status s = start(ctx, run, inputs, outputs, step, WHOLE);
  run->rng.stream = stream;
  if (s == MOON_OK) s = moon__run_advance(ctx, run, &(moon_slice){0}, &done);
  if (s == MOON_OK) s = complete(ctx, run);
  for (int i = 0; s == MOON_OK && i < p->graph->noutputs; i++) {
    if (!outputs[i]) outputs[i] = moon_tensor_retain(run->results[i]);
  }
  unbind(run);
  give_idle(p, run);
  return s;
}

moon_status moon_program_run(moon_context *ctx, moon_program *p, moon_tensor *const *inputs, moon_tensor **outputs, uint64_t step) {
  return moon__program_run(ctx, p, inputs, outputs, step, 0);
}
