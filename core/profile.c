/*
** profile.c: see profile.h. Noting a launch never fails a run: what finds no memory is counted as lost. Programs are retained, so
** that their launches can be told of when the script has long dropped them.
*/
#include "profile.h"

#include "base/alloc.h"
#include "graph/graph.h"
#include "ops/attrs.h"

#define MAX_EVENTS 1000000

/* ---- Life ---- */

void moon__profile_free(moon_context *ctx) {
  moon_profile *f = ctx->profile;
  if (!f) return;
  for (int i = 0; i < f->nprograms; i++) {
    moon_program_release(f->programs[i].program);
    moon__free(ctx->runtime, f->programs[i].launches);
  }
  moon__free(ctx->runtime, f->programs);
  moon__free(ctx->runtime, f->events);
  moon__free(ctx->runtime, f);
  ctx->profile = NULL;
  ctx->profiling = false;
}

moon_status moon__profile_begin(moon_context *ctx, bool keep_events) {
  if (ctx->profiling) return moon__fail(ctx, MOON_ESTATE, "profile: one is being made already");
  moon__profile_free(ctx);
  ctx->profile = moon__alloc(ctx->runtime, sizeof *ctx->profile);
  if (!ctx->profile) return moon__fail_memory(ctx);
  ctx->profile->keep_events = keep_events;
  ctx->profile->start_us = moon__clock_us();
  ctx->profiling = true;
  return MOON_OK;
}

void moon__profile_end(moon_context *ctx) {
  if (!ctx->profiling) return;
  ctx->profile->wall_us = moon__clock_us() - ctx->profile->start_us;
  ctx->profiling = false;
}

/* ---- Noting ---- */

/* Index of p's entry, made when it is new; -1: memory is out. The last program is most often the one. */
static int entry_of(moon_context *ctx, moon_program *p) {
  moon_profile *f = ctx->profile;
  for (int i = f->nprograms - 1; i >= 0; i--) {
    if (f->programs[i].program == p) return i;
  }
  moon_profile_launch *launches = moon__alloc_array(ctx->runtime, (size_t)p->nlaunches, sizeof *launches);
  if (!launches || !MOON_RESERVE(ctx->runtime, f->programs, f->program_capacity, f->nprograms + 1)) {
    moon__free(ctx->runtime, launches);
    return -1;
  }
  f->programs[f->nprograms] = (moon_profile_program){moon_program_retain(p), launches};
  return f->nprograms++;
}

moon_profile_mark moon__profile_mark(const moon_context *ctx) {
  return (moon_profile_mark){moon__clock_us(), ctx->profile->launches_us};
}

void moon__profile_add(moon_context *ctx, moon_program *p, int launch, moon_profile_mark began, bool complete) {
  moon_profile *f = ctx->profile;
  double us = moon__clock_us() - began.us, own = us - (f->launches_us - began.launches_us);
  int at = entry_of(ctx, p);
  f->launches_us += own;
  if (at < 0) {
    f->lost++;
    return;
  }
  f->programs[at].launches[launch].us += own;
  f->programs[at].launches[launch].calls += complete;
  if (!f->keep_events) return;
  if (f->nevents >= MAX_EVENTS || !MOON_RESERVE(ctx->runtime, f->events, f->event_capacity, f->nevents + 1)) {
    f->lost++;
    return;
  }
  f->events[f->nevents++] = (moon_profile_event){began.us - f->start_us, us, at, launch};
}

/* ---- Counting ---- */

static double count_of(const moon_type *t) {
  double n = 1;
  for (int i = 0; i < t->shape.ndim; i++) n *= (double)t->shape.dim[i];
  return n;
}

static double nodes_flops(moon_context *ctx, moon_node *const *nodes, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += moon__node_flops(ctx, nodes[i]);
  return sum;
}

/* The body is built on the node's own inputs, and dropped again. */
static double body_flops(moon_context *ctx, const moon_node *n) {
  moon_value *out[MOON_MAX_OUTPUTS] = {NULL};
  moon_body body = {.attrs = n->attrs, .n = n->ninputs, .noutputs = n->noutputs, .in = n->inputs, .out = out};
  moon_node **nodes = NULL;
  moon_map stop;
  int nnodes = 0;
  double sum = 0;
  moon__map_init(&stop, ctx->runtime);
  moon_scope_open(ctx);
  ctx->compile_depth++;
  bool ok = n->op->build(ctx, &body) == MOON_OK;
  for (int i = 0; ok && i < n->ninputs; i++) ok = moon__map_put(&stop, n->inputs[i], ctx);
  if (ok && moon__topology(ctx, n->noutputs, out, &stop, &nodes, &nnodes) == MOON_OK) sum = nodes_flops(ctx, nodes, nnodes);
  ctx->compile_depth--;
  moon_scope_close(ctx);
  moon__free(ctx->runtime, nodes);
  moon__map_free(&stop);
  return sum;
}

double moon__node_flops(moon_context *ctx, const moon_node *n) {
  if (n->op->flops) return n->op->flops(n);
  if (n->op->id == MOON_OP_loop) return nodes_flops(ctx, n->graphs[0]->nodes, n->graphs[0]->nnodes);
  if (n->op->kind == MOON_COMPOSITE) return body_flops(ctx, n);
  if (n->op->kind == MOON_ELEMENTWISE) return count_of(&n->outputs[0].type);
  return 0; /* moves data, or runs bodies, whose launches are counted themselves */
}

static double runs_of_body(const moon_launch *l) {
  if (l->node->op->id != MOON_OP_scan) return 1;
  return (double)((const moon_scan_attrs *)l->node->attrs)->length;
}

void moon__program_flops(moon_context *ctx, const moon_program *p, double times, double *by_op) {
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    for (int k = 0; k < l->nbefore; k++) by_op[l->before[k].node->op->id] += times * moon__node_flops(ctx, l->before[k].node);
    by_op[l->node->op->id] += times * moon__node_flops(ctx, l->node);
    for (int k = 0; k < 2; k++) {
      if (l->child[k]) moon__program_flops(ctx, l->child[k], times * runs_of_body(l), by_op);
    }
  }
}

static double finished_flops(moon_context *ctx, const moon_node *n, const moon_node *epilogue) {
  return moon__node_flops(ctx, n) + (epilogue ? moon__node_flops(ctx, epilogue) : 0);
}

double moon__launch_flops(moon_context *ctx, const moon_launch *l) {
  double sum = finished_flops(ctx, l->node, l->epilogue);
  for (int i = 0; i < l->nbefore; i++) sum += finished_flops(ctx, l->before[i].node, l->before[i].epilogue);
  return sum;
}

double moon__launch_bytes(const moon_program *p, const moon_launch *l) {
  double sum = 0;
  for (int k = 0; k < l->nin + l->nout; k++) {
    const moon_operand *o = &p->operands[l->operands + k];
    double n = o->buffer < 0 ? 0 : (double)moon_dtype_bytes(o->dtype);
    for (int i = 0; i < o->view.ndim; i++) n *= o->view.strides[i] == 0 ? 1 : (double)o->view.shape[i];
    sum += n;
  }
  return sum;
}
