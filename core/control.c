/*
** control.c: runs scan, cond and while_loop: their bodies are programs of their own, whose inputs and outputs are bound to pieces
** of the operands of the launch. Carries take turns between two sets in scratch memory; the last iteration of a scan writes the
** results directly. A slice may end inside a body.
*/
#include "executor.h"

#include "ops/attrs.h"

static size_t array_bytes(const moon_array *a) {
  size_t n = moon_dtype_bytes(a->dtype);
  for (int i = 0; i < a->ndim; i++) n *= (size_t)a->shape[i];
  return n;
}

static moon_base base_at(const moon_array *a, size_t bytes) {
  return (moon_base){a->data ? a->data + bytes : NULL, a->handle, a->offset_bytes + bytes};
}

/* A place in the launch's scratch block. */
static moon_base scratch_base(const moon_run *run, size_t at) {
  const moon_call *c = &run->calls[run->launch];
  return (moon_base){c->scratch ? c->scratch + at : NULL, run->arena->handle, c->scratch_offset + at};
}

static moon_status copy_bytes(moon_context *ctx, const moon_run *run, moon_base to, moon_base from, size_t bytes) {
  moon_device *device = run->program->device;
  return device->backend->buffer_copy(ctx, device, to.handle, to.offset, from.handle, from.offset, bytes);
}

static moon_status read_truth(moon_context *ctx, const moon_run *run, moon_base at, bool *truth) {
  moon_device *device = run->program->device;
  uint8_t byte = 0;
  moon_status s = device->backend->buffer_read(ctx, device, at.handle, at.offset, &byte, 1);
  *truth = byte != 0;
  return s;
}

/* The memory of carry i in set 0 or 1 of the scratch block, which starts with 64 bytes for a predicate. */
static moon_base carry_base(const moon_run *run, const moon_launch *l, int i, int set) {
  const moon_call *c = &run->calls[run->launch];
  size_t at = 64;
  for (int k = 0; k <= i; k++) {
    size_t bytes = (array_bytes(&c->out[k]) + 63) & ~(size_t)63;
    if (k == i) at += set ? bytes : 0;
    else at += 2 * bytes;
  }
  (void)l;
  return scratch_base(run, at);
}

static void begin_child(const moon_run *run, moon_run *child, uint64_t fold) {
  child->rng = run->rng;
  child->rng.fold = run->rng.fold * 0x9E3779B97F4A7C15u + fold;
  moon__run_bind(child);
  moon__run_rewind(child);
}

/* ---- scan: (carry..., xs..., captures...) -> (carry..., ys...) ---- */

static void bind_scan(moon_run *run, const moon_launch *l, moon_run *child, int64_t length) {
  const moon_scan_attrs *a = l->node->attrs;
  const moon_call *c = &run->calls[run->launch];
  moon_base *in = child->bases, *out = in + child->program->graph->ninputs;
  int64_t k = run->iteration, at = a->reverse ? length - 1 - k : k;
  for (int i = 0; i < l->nin; i++) {
    if (i < a->ncarry) in[i] = k == 0 ? base_at(&c->in[i], 0) : carry_base(run, l, i, (int)((k - 1) & 1));
    else if (i < a->ncarry + a->nxs) in[i] = base_at(&c->in[i], array_bytes(&c->in[i]) / (size_t)length * (size_t)at);
    else in[i] = base_at(&c->in[i], 0);
  }
  for (int i = 0; i < l->nout; i++) {
    if (i >= a->ncarry) out[i] = base_at(&c->out[i], array_bytes(&c->out[i]) / (size_t)length * (size_t)at);
    else out[i] = k == length - 1 ? base_at(&c->out[i], 0) : carry_base(run, l, i, (int)(k & 1));
  }
  begin_child(run, child, (uint64_t)at + 1); /* numbers positions: a gradient runs the other way */
}

static moon_status advance_scan(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *complete) {
  const moon_scan_attrs *a = l->node->attrs;
  const moon_call *c = &run->calls[run->launch];
  moon_run *child = run->children[2 * run->launch];
  int64_t length = a->length;
  bool done = false;
  if (length == 0) {
    moon_status s = MOON_OK;
    for (int i = 0; s == MOON_OK && i < a->ncarry; i++)
      s = copy_bytes(ctx, run, base_at(&c->out[i], 0), base_at(&c->in[i], 0), array_bytes(&c->out[i]));
    *complete = s == MOON_OK;
    return s;
  }
  while (run->iteration < length) {
    if (run->stage == 0) bind_scan(run, l, child, length);
    run->stage = 1;
    moon_status s = moon__run_advance(ctx, child, slice, &done);
    if (s != MOON_OK || !done) return s;
    run->stage = 0;
    run->iteration++;
    if (slice->deadline > 0 && run->iteration < length && moon__now_us(ctx->runtime) >= slice->deadline) return MOON_OK;
  }
  *complete = true;
  return MOON_OK;
}

/* ---- cond: (p, x...) -> outputs ---- */

static moon_status advance_cond(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *complete) {
  const moon_call *c = &run->calls[run->launch];
  bool truth = false;
  moon_status s = run->stage == 0 ? read_truth(ctx, run, base_at(&c->in[0], 0), &truth) : MOON_OK;
  if (s != MOON_OK) return s;
  if (run->stage == 0) run->stage = truth ? 1 : 2;
  moon_run *child = run->children[2 * run->launch + run->stage - 1];
  if (run->iteration == 0) {
    for (int i = 1; i < l->nin; i++) child->bases[i - 1] = base_at(&c->in[i], 0);
    for (int i = 0; i < l->nout; i++) child->bases[l->nin - 1 + i] = base_at(&c->out[i], 0);
    begin_child(run, child, 0);
    run->iteration = 1;
  }
  return moon__run_advance(ctx, child, slice, complete);
}

/* ---- while_loop: (carry..., captures...) -> carry... ---- */

static moon_base while_carry(const moon_run *run, const moon_launch *l, int i, int64_t iteration) {
  const moon_call *c = &run->calls[run->launch];
  return iteration == 0 ? base_at(&c->in[i], 0) : carry_base(run, l, i, (int)((iteration - 1) & 1));
}

static void bind_while(moon_run *run, const moon_launch *l, moon_run *child, bool body) {
  const moon_while_attrs *a = l->node->attrs;
  const moon_call *c = &run->calls[run->launch];
  moon_base *out = child->bases + l->nin;
  for (int i = 0; i < l->nin; i++)
    child->bases[i] = i < a->ncarry ? while_carry(run, l, i, run->iteration) : base_at(&c->in[i], 0);
  if (body) {
    for (int i = 0; i < l->nout; i++) out[i] = carry_base(run, l, i, (int)(run->iteration & 1));
  } else {
    out[0] = scratch_base(run, 0);
  }
  begin_child(run, child, (uint64_t)run->iteration + 1);
}

/* Stages: 0 bind the condition, 1 run it, 2 bind the body, 3 run it. */
static moon_status advance_while(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *complete) {
  const moon_call *c = &run->calls[run->launch];
  for (;;) {
    bool body = run->stage >= 2, done = false, again = true;
    moon_run *child = run->children[2 * run->launch + body];
    if (run->stage % 2 == 0) bind_while(run, l, child, body);
    run->stage |= 1;
    moon_status s = moon__run_advance(ctx, child, slice, &done);
    if (s != MOON_OK || !done) return s;
    if (!body) s = read_truth(ctx, run, scratch_base(run, 0), &again);
    if (s != MOON_OK) return s;
    if (!again) break;
    run->stage = body ? 0 : 2;
    run->iteration += body;
    if (slice->deadline > 0 && moon__now_us(ctx->runtime) >= slice->deadline) return MOON_OK;
  }
  moon_status s = MOON_OK;
  for (int i = 0; s == MOON_OK && i < l->nout; i++) {
    moon_base last = while_carry(run, l, i, run->iteration);
    s = copy_bytes(ctx, run, base_at(&c->out[i], 0), last, array_bytes(&c->out[i]));
  }
  *complete = s == MOON_OK;
  return s;
}

moon_status moon__control_advance(moon_context *ctx, moon_run *run, const moon_launch *l, moon_slice *slice, bool *complete) {
  moon_status s = l->node->op->id == MOON_OP_scan   ? advance_scan(ctx, run, l, slice, complete)
                  : l->node->op->id == MOON_OP_cond ? advance_cond(ctx, run, l, slice, complete)
                                                    : advance_while(ctx, run, l, slice, complete);
  if (*complete || s != MOON_OK) {
    run->iteration = 0;
    run->stage = 0;
  }
  return s;
}
