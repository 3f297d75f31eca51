/*
** scan.c: a body repeated over a sequence. Inputs carry..., xs..., captures...; body (carry, x, captures) -> (carry, y); outputs
** the last carries and the ys stacked on a new axis 0. y stands at t where x stood, whichever way steps are taken.
**
** The gradient is a scan the other way. Its body computes one step again from the carry that step was given, and differentiates it:
**   carry  the adjoints of the carries, and the sums of the adjoints of captures
**   xs     the given carries, the x, the dy        ys  the dx
** The given carries are ys of the forward scan where its body emits its own formals (moon__scan_saving_body sees to that); else a
** second forward scan emits them. So only carries are kept, at the price of each step being computed once more. What the backward
** body does not use is neither kept nor passed. Carries that are no floats have no adjoint.
*/
#include <string.h>

#include "autodiff.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/control.h"
#include "ops/rule.h"

/* ---- Types ---- */

static moon_status check_counts(moon_context *ctx, const moon_infer *f, const moon_scan_attrs *a) {
  if (f->ngraphs != 1) return moon__fail(ctx, MOON_EARGUMENT, "scan: needs one body, got %d", f->ngraphs);
  moon_status s = moon__body_there(ctx, "scan", 1, f->graphs);
  if (s != MOON_OK) return s;
  const moon_graph *body = f->graphs[0];
  if (a->ncarry < 0 || a->nxs < 0 || a->ncarry > f->ninputs || a->nxs > f->ninputs - a->ncarry)
    return moon__fail(ctx, MOON_EARGUMENT, "scan: %lld carries and %lld sequences do not go with %d inputs", (long long)a->ncarry,
                      (long long)a->nxs, f->ninputs);
  if (body->ninputs != f->ninputs)
    return moon__fail(ctx, MOON_EARGUMENT, "scan: the body takes %d inputs, got %d", body->ninputs, f->ninputs);
  if (body->noutputs < 1 || body->noutputs < a->ncarry || body->noutputs > MOON_MAX_OUTPUTS)
    return moon__fail(ctx, MOON_EARGUMENT, "scan: the body must return %lld carries and at most %d values in all, got %d",
                      (long long)a->ncarry, MOON_MAX_OUTPUTS, body->noutputs);
  return MOON_OK;
}

/* The type of one step of xs. */
static moon_status step_type(moon_context *ctx, int i, const moon_type *xs, moon_type *x) {
  if (xs->shape.ndim < 1) return moon__fail(ctx, MOON_ESHAPE, "scan: sequence %d has no axis to go along", i + ctx->index_base);
  *x = *xs;
  x->shape.ndim--;
  memmove(x->shape.dim, xs->shape.dim + 1, (size_t)x->shape.ndim * sizeof *x->shape.dim);
  x->shape.dim[x->shape.ndim] = 0;
  return MOON_OK;
}

/* length 0 with sequences means theirs. */
static moon_status find_length(moon_context *ctx, const moon_infer *f, moon_scan_attrs *a) {
  bool open = a->nxs > 0 && a->length == 0;
  for (int i = 0; i < a->nxs; i++) {
    const moon_shape *xs = moon__rule_shape(f, (int)a->ncarry + i);
    moon_dim n = xs->ndim > 0 ? xs->dim[0] : a->length;
    if (open) a->length = n;
    open = false;
    if (!moon__dim_may_equal(a->length, n))
      return moon__fail(ctx, MOON_ESHAPE, "scan: sequence %d has length %s, expected %s", i + ctx->index_base,
                        moon__rule_dim_text(ctx, n).s, moon__rule_dim_text(ctx, a->length).s);
    a->length = moon__rule_merge(a->length, n);
  }
  return a->length == MOON_DIM_ERROR ? moon__fail(ctx, MOON_ESIZE, "scan: length must be 0 or more") : MOON_OK;
}

static moon_status check_formals(moon_context *ctx, const moon_infer *f, const moon_scan_attrs *a) {
  const moon_graph *body = f->graphs[0];
  moon_status s = MOON_OK;
  for (int i = 0; i < f->ninputs && s == MOON_OK; i++) {
    bool sequence = i >= a->ncarry && i < a->ncarry + a->nxs;
    moon_type have = f->in[i];
    if (sequence) s = step_type(ctx, i - (int)a->ncarry, &f->in[i], &have);
    if (s == MOON_OK) s = moon__body_check(ctx, "scan", "input", i, &body->inputs[i]->type, &have);
  }
  return s;
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  moon_scan_attrs *a = f->attrs;
  moon_status s = check_counts(ctx, f, a);
  if (s == MOON_OK) s = find_length(ctx, f, a);
  if (s == MOON_OK) s = check_formals(ctx, f, a);
  if (s != MOON_OK) return s;
  const moon_graph *body = f->graphs[0];
  f->noutputs = body->noutputs;
  for (int i = 0; i < body->noutputs && s == MOON_OK; i++) {
    const moon_type *y = &body->outputs[i]->type;
    f->out[i] = *y;
    if (i < a->ncarry) {
      s = moon__body_check(ctx, "scan", "carry of the body", i, &f->in[i], y);
      for (int k = 0; s == MOON_OK && k < y->shape.ndim; k++)
        f->out[i].shape.dim[k] = moon__rule_merge(f->in[i].shape.dim[k], y->shape.dim[k]);
    } else if (y->shape.ndim == MOON_MAX_DIMS) {
      s = moon__fail(ctx, MOON_ESHAPE, "scan: y %d already has %d axes", i - (int)a->ncarry + ctx->index_base, MOON_MAX_DIMS);
    } else {
      f->out[i].shape.dim[0] = a->length;
      memcpy(f->out[i].shape.dim + 1, y->shape.dim, (size_t)y->shape.ndim * sizeof *y->shape.dim);
      f->out[i].shape.ndim++;
    }
  }
  return s;
}

/* ---- Keeping the carries that steps are given ---- */

/* Which output of body is its formal i; -1: none. */
static int emits(const moon_graph *body, int ncarry, int i) {
  for (int k = ncarry; k < body->noutputs; k++) {
    if (body->outputs[k] == body->inputs[i]) return k;
  }
  return -1;
}

moon_graph *moon__scan_saving_body(moon_context *ctx, const moon_graph *body, int ncarry) {
  moon_value *out[MOON_MAX_OUTPUTS];
  int n = 0;
  for (int i = 0; i < body->noutputs && n < MOON_MAX_OUTPUTS; i++) out[n++] = body->outputs[i];
  for (int i = 0; i < ncarry; i++) {
    if (emits(body, ncarry, i) >= 0) continue;
    if (n == MOON_MAX_OUTPUTS) {
      moon__fail(ctx, MOON_EGRADIENT, "scan: more than %d carries and ys, counting the carries kept for the gradient",
                 MOON_MAX_OUTPUTS);
      return NULL;
    }
    out[n++] = body->inputs[i];
  }
  return moon__graph_make(ctx, body->ninputs, body->inputs, n, out, 0, NULL);
}

/* The forward scan with all given carries among its outputs: the node itself, or a second one. */
static const moon_node *saving_scan(moon_context *ctx, const moon_node *node, int ncarry) {
  bool all = true;
  for (int i = 0; i < ncarry; i++) all &= emits(node->graphs[0], ncarry, i) >= 0;
  if (all) return node;
  moon_graph *body = moon__scan_saving_body(ctx, node->graphs[0], ncarry);
  if (!body) return NULL;
  moon_node_spec spec = {
      .op = node->op, .attrs = node->attrs, .ninputs = node->ninputs, .inputs = node->inputs, .ngraphs = 1, .graphs = &body};
  moon_value *v = moon__node_build(ctx, &spec);
  moon_graph_release(body);
  return v ? v->node : NULL;
}

/* ---- The backward body ---- */

/* Formals of the backward body, and where inputs and results go. Index i is the forward input or output it belongs to. */
typedef struct backward {
  moon_context *ctx;
  const moon_grad *g;
  const moon_graph *body;
  int ncarry, nxs, nin, nout;       /* of the forward scan */
  moon_value *x[MOON_MAX_INPUTS];   /* formals: given carry, x, capture */
  moon_value *dy[MOON_MAX_OUTPUTS]; /* formals: adjoint of carry i, or of y i; NULL: none */
  moon_value *sum[MOON_MAX_INPUTS]; /* formals: adjoint of capture i so far */
  moon_value *dx[MOON_MAX_INPUTS];  /* adjoints of x by one step */
  moon_value *formals[3 * MOON_MAX_INPUTS];
  moon_value *results[2 * MOON_MAX_INPUTS];
  int nformals, nresults, ncarries; /* ncarries: of the backward scan */
  bool used[MOON_MAX_INPUTS], dy_used[MOON_MAX_OUTPUTS];
} backward;

static bool is_float(const moon_value *v) { return moon__dtype_is_float(v->type.dtype); }
static bool is_capture(const backward *b, int i) { return i >= b->ncarry + b->nxs; }

static moon_status make_formals(backward *b) {
  moon_context *ctx = b->ctx;
  for (int i = 0; i < b->nin; i++) {
    const moon_type *t = &b->body->inputs[i]->type;
    const char *kind = i < b->ncarry ? "carry" : is_capture(b, i) ? "capture" : "x";
    if (!(b->x[i] = moon__body_formal(ctx, kind, i, t))) return ctx->status;
    if (is_capture(b, i) && b->g->need[i] && !(b->sum[i] = moon__body_formal(ctx, "sum", i, t))) return ctx->status;
  }
  for (int i = 0; i < b->nout; i++) {
    bool there = is_float(b->body->outputs[i]) && (i < b->ncarry || b->g->dy[i]);
    if (there && !(b->dy[i] = moon__body_formal(ctx, "dy", i, &b->body->outputs[i]->type))) return ctx->status;
  }
  return MOON_OK;
}

/* Adjoints of one step: all float carries, and of the rest what is wanted. */
static moon_status differentiate(backward *b) {
  moon_value *y[MOON_MAX_OUTPUTS], *wrt[MOON_MAX_INPUTS], *d[MOON_MAX_INPUTS] = {NULL};
  int which[MOON_MAX_INPUTS], n = 0;
  moon_status s = moon__body_copy(b->ctx, b->body, b->x, y);
  for (int i = 0; i < b->nin; i++) {
    if (!is_float(b->x[i]) || (i >= b->ncarry && !b->g->need[i])) continue;
    which[n] = i;
    wrt[n++] = b->x[i];
  }
  if (s == MOON_OK) s = moon__vjp(b->ctx, b->nout, y, b->dy, n, wrt, true, d);
  for (int i = 0; i < n && s == MOON_OK; i++) b->dx[which[i]] = d[i];
  return s;
}

static void add_carry(backward *b, moon_value *formal, moon_value *result) {
  b->formals[b->nformals++] = formal;
  b->results[b->nresults++] = result;
  b->ncarries++;
}

/* Carries of the backward scan, then its ys. */
static moon_status list_results(backward *b) {
  for (int i = 0; i < b->ncarry; i++) {
    if (b->dy[i]) add_carry(b, b->dy[i], b->dx[i] ? b->dx[i] : moon__zeros_like(b->ctx, b->x[i]));
  }
  for (int i = b->ncarry + b->nxs; i < b->nin; i++) {
    if (b->sum[i] && b->dx[i]) add_carry(b, b->sum[i], moon__add(b->ctx, b->sum[i], b->dx[i]));
  }
  for (int i = b->ncarry; i < b->ncarry + b->nxs; i++) {
    if (b->dx[i]) b->results[b->nresults++] = b->dx[i];
  }
  for (int i = 0; i < b->nresults; i++) {
    if (!b->results[i]) return b->ctx->status;
  }
  if (b->nresults <= MOON_MAX_OUTPUTS) return MOON_OK;
  return moon__fail_node(b->ctx, b->g->node, MOON_EGRADIENT, "has %d gradients to give, at most %d can be", b->nresults,
                         MOON_MAX_OUTPUTS);
}

/* Marks which formals the results reach. */
static moon_status mark_used(backward *b) {
  moon_context *ctx = b->ctx;
  moon_node **nodes = NULL;
  int n = 0;
  moon_map reached;
  moon_status s = moon__topology(ctx, b->nresults, b->results, NULL, &nodes, &n);
  moon__map_init(&reached, ctx->runtime);
  for (int i = 0; i < n && s == MOON_OK; i++) {
    if (!moon__map_put(&reached, nodes[i], nodes[i])) s = moon__fail_memory(ctx);
  }
  for (int i = 0; i < b->nin && s == MOON_OK; i++) b->used[i] = moon__map_has(&reached, b->x[i]->node);
  for (int i = b->ncarry; i < b->nout && s == MOON_OK; i++) b->dy_used[i] = b->dy[i] && moon__map_has(&reached, b->dy[i]->node);
  moon__map_free(&reached);
  moon__free(ctx->runtime, nodes);
  return s;
}

/* Formals of the sequences, then of the captures, in the order of list_inputs. Sets *nxs. */
static void list_formals(backward *b, int *nxs) {
  int before = b->nformals;
  for (int i = 0; i < b->ncarry + b->nxs; i++) {
    if (b->used[i]) b->formals[b->nformals++] = b->x[i];
  }
  for (int i = b->ncarry; i < b->nout; i++) {
    if (b->dy_used[i]) b->formals[b->nformals++] = b->dy[i];
  }
  *nxs = b->nformals - before;
  for (int i = b->ncarry + b->nxs; i < b->nin; i++) {
    if (b->used[i]) b->formals[b->nformals++] = b->x[i];
  }
}

/* The backward body, built in a scope of its own and never computed at once. NULL without an error: no gradient flows. */
static moon_graph *backward_body(backward *b, int *nxs) {
  moon_context *ctx = b->ctx;
  int eager = ctx->eager_depth;
  moon_graph *g = NULL;
  ctx->eager_depth = 0;
  moon_scope_open(ctx);
  moon_status s = make_formals(b);
  if (s == MOON_OK) s = differentiate(b);
  if (s == MOON_OK) s = list_results(b);
  if (s == MOON_OK) s = mark_used(b);
  if (s == MOON_OK) list_formals(b, nxs);
  if (s == MOON_OK && b->nformals > MOON_MAX_INPUTS)
    s = moon__fail_node(ctx, b->g->node, MOON_EGRADIENT, "its gradient takes %d inputs, at most %d can be", b->nformals,
                        MOON_MAX_INPUTS);
  if (s == MOON_OK) g = moon__graph_make(ctx, b->nformals, b->formals, b->nresults, b->results, 0, NULL);
  moon_scope_close(ctx);
  ctx->eager_depth = eager;
  return g;
}

/* ---- The backward scan ---- */

static moon_value *or_zeros(moon_context *ctx, moon_value *d, moon_value *like) { return d ? d : moon__zeros_like(ctx, like); }

/* The values for the backward body's formals, in their order. Returns their number. */
static int list_inputs(backward *b, const moon_node *saving, moon_value **in) {
  const moon_grad *g = b->g;
  int n = 0;
  for (int i = 0; i < b->ncarry; i++) {
    if (b->dy[i]) in[n++] = or_zeros(b->ctx, g->dy[i], g->y[i]);
  }
  for (int i = b->ncarry + b->nxs; i < b->nin; i++) {
    if (b->sum[i] && b->dx[i]) in[n++] = moon__zeros_like(b->ctx, g->x[i]);
  }
  for (int i = 0; i < b->ncarry; i++) {
    if (b->used[i]) in[n++] = saving ? &saving->outputs[emits(saving->graphs[0], b->ncarry, i)] : NULL;
  }
  for (int i = b->ncarry; i < b->ncarry + b->nxs; i++) {
    if (b->used[i]) in[n++] = g->x[i];
  }
  for (int i = b->ncarry; i < b->nout; i++) {
    if (b->dy_used[i]) in[n++] = g->dy[i];
  }
  for (int i = b->ncarry + b->nxs; i < b->nin; i++) {
    if (b->used[i]) in[n++] = g->x[i];
  }
  return n;
}

/* Hands the outputs of the backward scan to the inputs of the forward one. */
static void hand_out(const backward *b, moon_value *v) {
  const moon_grad *g = b->g;
  int at = 0;
  for (int i = 0; i < b->ncarry; i++) {
    if (b->dy[i]) g->dx[i] = moon__output(v, at++);
  }
  for (int i = b->ncarry + b->nxs; i < b->nin; i++) {
    if (b->sum[i] && b->dx[i]) g->dx[i] = moon__output(v, at++);
  }
  for (int i = b->ncarry; i < b->ncarry + b->nxs; i++) {
    if (b->dx[i]) g->dx[i] = moon__output(v, at++);
  }
}

static moon_status apply_backward(backward *b, moon_graph *body, int nxs) {
  moon_context *ctx = b->ctx;
  const moon_scan_attrs *fwd = b->g->node->attrs;
  moon_scan_attrs a = {.ncarry = b->ncarries, .nxs = nxs, .length = fwd->length, .reverse = !fwd->reverse};
  moon_value *in[MOON_MAX_INPUTS];
  const moon_node *saving = NULL;
  bool saves = false;
  for (int i = 0; i < b->ncarry; i++) saves |= b->used[i];
  if (saves && !(saving = saving_scan(ctx, b->g->node, b->ncarry))) return ctx->status;
  int n = list_inputs(b, saving, in);
  moon_node_spec spec = {.op = b->g->node->op, .attrs = &a, .ninputs = n, .inputs = in, .ngraphs = 1, .graphs = &body};
  moon_value *v = moon__node_build(ctx, &spec);
  if (!v) return ctx->status;
  hand_out(b, v);
  return MOON_OK;
}

static moon_status grad(moon_context *ctx, const moon_grad *g) {
  const moon_scan_attrs *a = g->node->attrs;
  moon_status s = MOON_OK;
  int nxs = 0;
  backward *b = moon__alloc(ctx->runtime, sizeof *b);
  if (!b) return moon__fail_memory(ctx);
  b->ctx = ctx;
  b->g = g;
  b->body = g->node->graphs[0];
  b->ncarry = (int)a->ncarry;
  b->nxs = (int)a->nxs;
  b->nin = g->nx;
  b->nout = g->ny;
  moon_graph *body = backward_body(b, &nxs);
  if (!body) s = ctx->status;
  else if (b->nresults > 0) s = apply_backward(b, body, nxs);
  moon_graph_release(body);
  moon__free(ctx->runtime, b);
  return s;
}

static const moon_attr rows[] = {
    MOON_ATTR(moon_scan_attrs, ncarry, I64, .required = true),
    MOON_ATTR(moon_scan_attrs, nxs, I64, .required = true),
    MOON_ATTR(moon_scan_attrs, length, DIM, .number = 0),
    MOON_ATTR(moon_scan_attrs, reverse, BOOL, .number = 0),
};

MOON_OP(scan) = {
    MOON_OP_HEAD(scan),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_INTERNAL,
    .max_inputs = -1,
    .input_names = "carry..., xs..., captures...",
    MOON_OP_ATTRS(moon_scan_attrs, rows),
    .infer = infer,
    .grad = grad,
    .doc = "A body repeated along axis 0 of xs: carry [..]..., xs [t, ..]..., captures... -> last carry [..]..., ys [t, ..]....",
};
