/*
** autodiff.c: reverse mode by rewriting. Adjoints flow from outs to wrt through the nodes between them, newest first; each node's
** rule gives the adjoints of its inputs as new nodes. A composite without a rule is differentiated through its body, built on its
** own inputs. Nothing here knows a particular op beyond leaves.
*/
#include "autodiff.h"

#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "graph/build.h"
#include "graph/graph.h"

typedef struct sweep {
  moon_context *ctx;
  moon_map adjoint;  /* value -> its adjoint so far */
  moon_map useful;   /* nodes that lead to a wrt value */
  moon_map boundary; /* wrt values where propagation stops */
  moon_node **nodes;
  int nnodes;
} sweep;

static moon_status accumulate(sweep *s, moon_value *v, moon_value *dv) {
  if (!dv) return MOON_OK;
  if (dv->type.shape.ndim != v->type.shape.ndim || dv->type.dtype != v->type.dtype)
    return moon__fail_node(s->ctx, v->node, MOON_EINTERNAL, "a gradient rule gave an adjoint of another type (%s, %d axes)",
                           moon_dtype_name(dv->type.dtype), dv->type.shape.ndim);
  moon_value *sum = moon__map_get(&s->adjoint, v);
  if (sum) dv = moon__add(s->ctx, sum, dv);
  if (!dv) return s->ctx->status;
  return moon__map_put(&s->adjoint, v, dv) ? MOON_OK : moon__fail_memory(s->ctx);
}

moon_status moon__grad_through_body(moon_context *ctx, const moon_grad *g) {
  moon_value *out[MOON_MAX_OUTPUTS] = {NULL};
  const moon_node *n = g->node;
  moon_body body = {.attrs = n->attrs, .n = g->nx, .noutputs = g->ny, .in = g->x, .out = out};
  moon_status status = n->op->build(ctx, &body);
  if (status != MOON_OK) return status;
  status = moon__vjp(ctx, g->ny, out, g->dy, g->nx, g->x, true, g->dx);
  for (int i = 1; i < g->nx; i++) { /* the same value given twice has one adjoint, that of both places */
    for (int k = 0; k < i; k++) {
      if (g->x[k] == g->x[i]) g->dx[i] = NULL;
    }
  }
  return status;
}

static moon_status apply_rule(sweep *s, const moon_grad *g) {
  const moon_op *op = g->node->op;
  if (op->flags & MOON_OPF_NOT_DIFFERENTIABLE) return MOON_OK;
  if (op->grad) return op->grad(s->ctx, g);
  if (op->kind == MOON_COMPOSITE) return moon__grad_through_body(s->ctx, g);
  return moon__fail_node(s->ctx, g->node, MOON_EGRADIENT, "has no gradient; use stop_gradient, or a custom gradient");
}

static moon_value *widened(moon_context *ctx, moon_value *v) {
  return v ? moon__cast(ctx, v, moon__dtype_wide(v->type.dtype)) : NULL;
}

/* The rule of a node that computes over halves: as the node itself, in f32 between casts, so that each adjoint is rounded once. What
** only moves elements, and products, keep what they are given. */
static moon_status apply_wide_rule(sweep *s, const moon_grad *g) {
  moon_value *x[MOON_MAX_INPUTS], *y[MOON_MAX_OUTPUTS], *dy[MOON_MAX_OUTPUTS];
  for (int i = 0; i < g->nx; i++) {
    x[i] = NULL;
    for (int k = 0; k < i && !x[i]; k++) /* one value stays one value */
      if (g->x[k] == g->x[i]) x[i] = x[k];
    if (!x[i] && !(x[i] = widened(s->ctx, g->x[i]))) return s->ctx->status;
  }
  for (int i = 0; i < g->ny; i++) {
    y[i] = widened(s->ctx, g->y[i]);
    dy[i] = widened(s->ctx, g->dy[i]);
    if (!y[i] || (g->dy[i] && !dy[i])) return s->ctx->status;
  }
  moon_grad wide = *g;
  wide.x = x, wide.y = y, wide.dy = dy;
  moon_status status = apply_rule(s, &wide);
  for (int i = 0; status == MOON_OK && i < g->nx; i++) {
    if (!g->dx[i]) continue;
    g->dx[i] = moon__cast(s->ctx, g->dx[i], g->x[i]->type.dtype);
    if (!g->dx[i]) status = s->ctx->status;
  }
  return status;
}

static bool computes_over_halves(const moon_node *n) {
  if (n->ngraphs || (n->op->flags & (MOON_OPF_MOVES | MOON_OPF_VIEW | MOON_OPF_PRODUCT))) return false;
  for (int i = 0; i < n->ninputs; i++)
    if (moon__dtype_is_half(n->inputs[i]->type.dtype)) return true;
  return false;
}

/* Adjoints of a node's outputs become adjoints of its inputs. */
static moon_status propagate(sweep *s, moon_node *n) {
  moon_value *dy[MOON_MAX_OUTPUTS], *y[MOON_MAX_OUTPUTS], *dx[MOON_MAX_INPUTS] = {NULL};
  bool need[MOON_MAX_INPUTS], any = false, wanted = false;
  for (int i = 0; i < n->noutputs; i++) {
    y[i] = &n->outputs[i];
    dy[i] = moon__map_has(&s->boundary, y[i]) ? NULL : moon__map_get(&s->adjoint, y[i]);
    any |= dy[i] != NULL;
  }
  for (int i = 0; i < n->ninputs; i++) {
    moon_value *x = n->inputs[i];
    need[i] = moon__dtype_is_float(x->type.dtype) && (moon__map_has(&s->useful, x->node) || moon__map_has(&s->boundary, x));
    wanted |= need[i];
  }
  if (!any || !wanted) return MOON_OK;
  moon_grad g = {.node = n, .nx = n->ninputs, .ny = n->noutputs, .x = n->inputs, .y = y, .dy = dy, .need = need, .dx = dx};
  moon_origin *before = moon__origin_swap(s->ctx, n->origin);
  moon_status status = computes_over_halves(n) ? apply_wide_rule(s, &g) : apply_rule(s, &g);
  for (int i = 0; status == MOON_OK && i < n->ninputs; i++) {
    if (need[i]) status = accumulate(s, n->inputs[i], dx[i]);
  }
  s->ctx->borrowed = before;
  return status;
}

/* Nodes that lead to wrt, among those outs reach. */
static moon_status mark_useful(sweep *s, int nwrt, moon_value *const *wrt) {
  for (int i = 0; i < nwrt; i++) {
    if (!moon__map_put(&s->useful, wrt[i]->node, s)) return moon__fail_memory(s->ctx);
  }
  for (int i = 0; i < s->nnodes; i++) {
    moon_node *n = s->nodes[i];
    bool useful = false;
    for (int k = 0; k < n->ninputs && !useful; k++)
      useful = moon__map_has(&s->useful, n->inputs[k]->node) && moon__dtype_is_float(n->inputs[k]->type.dtype);
    if (useful && !moon__map_put(&s->useful, n, s)) return moon__fail_memory(s->ctx);
  }
  return MOON_OK;
}

moon_status moon__vjp(moon_context *ctx, int nouts, moon_value *const *outs, moon_value *const *dys, int nwrt,
                      moon_value *const *wrt, bool stop, moon_value **dxs) {
  sweep s = {.ctx = ctx};
  moon__map_init(&s.adjoint, ctx->runtime);
  moon__map_init(&s.useful, ctx->runtime);
  moon__map_init(&s.boundary, ctx->runtime);
  moon_status status = MOON_OK;
  for (int i = 0; stop && status == MOON_OK && i < nwrt; i++) {
    if (!moon__map_put(&s.boundary, wrt[i], wrt[i])) status = moon__fail_memory(ctx);
  }
  if (status == MOON_OK) status = moon__topology(ctx, nouts, outs, stop ? &s.boundary : NULL, &s.nodes, &s.nnodes);
  if (status == MOON_OK) status = mark_useful(&s, nwrt, wrt);
  for (int i = 0; status == MOON_OK && i < nouts; i++) {
    if (outs[i] && dys[i]) status = accumulate(&s, outs[i], dys[i]);
  }
  for (int i = s.nnodes - 1; status == MOON_OK && i >= 0; i--) {
    if (moon__map_has(&s.useful, s.nodes[i])) status = propagate(&s, s.nodes[i]);
  }
  for (int i = 0; status == MOON_OK && i < nwrt; i++) dxs[i] = moon__map_get(&s.adjoint, wrt[i]);
  moon__free(ctx->runtime, s.nodes);
  moon__map_free(&s.adjoint);
  moon__map_free(&s.useful);
  moon__map_free(&s.boundary);
  return status;
}

/* ---- Public ---- */

static moon_status check_loss(moon_context *ctx, const moon_value *loss) {
  char text[160];
  if (!loss) return ctx->status;
  if (moon__dtype_is_float(loss->type.dtype) && loss->type.shape.ndim == 0) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "grad: loss must be one float number (rank 0), got %s %s; take its mean or sum",
                    moon_dtype_name(loss->type.dtype), moon_shape_text(ctx->runtime, &loss->type.shape, text, sizeof text));
}

moon_status moon_gradients(moon_context *ctx, moon_value *loss, int n, moon_value *const *wrt, moon_value **grads) {
  moon_status s = check_loss(ctx, loss);
  if (s != MOON_OK) return s;
  for (int i = 0; i < n; i++) {
    if (!wrt[i]) return ctx->status;
    if (!moon__dtype_is_float(wrt[i]->type.dtype))
      return moon__fail(ctx, MOON_EDTYPE, "grad: symbol %d has dtype %s; only floats have gradients", i + ctx->index_base,
                        moon_dtype_name(wrt[i]->type.dtype));
  }
  moon_value *one = moon__number(ctx, loss, 1.0);
  if (!one) return ctx->status;
  s = moon__vjp(ctx, 1, &loss, &one, n, wrt, false, grads);
  for (int i = 0; s == MOON_OK && i < n; i++) {
    if (!grads[i]) grads[i] = moon__zeros_like(ctx, wrt[i]);
    if (!grads[i]) s = ctx->status;
  }
  return s;
}

/* All reads of the variables that loss reaches, and which variable each belongs to. */
static moon_status list_reads(moon_context *ctx, moon_value *loss, int n, moon_variable *const *wrt, moon_value ***reads,
                              int **owner, int *nreads) {
  moon_node **nodes = NULL;
  int nnodes = 0, r_capacity = 0, o_capacity = 0;
  moon_map index;
  moon_status s = moon__topology(ctx, 1, &loss, NULL, &nodes, &nnodes);
  moon__map_init(&index, ctx->runtime);
  for (int i = 0; s == MOON_OK && i < n; i++) {
    if (!moon__map_has(&index, wrt[i]) && !moon__map_put(&index, wrt[i], (void *)(uintptr_t)(i + 1))) s = moon__fail_memory(ctx);
  }
  for (int i = 0; s == MOON_OK && i < nnodes; i++) {
    if (nodes[i]->op->id != MOON_OP_variable || !moon__map_has(&index, nodes[i]->variable)) continue;
    if (!MOON_RESERVE(ctx->runtime, *reads, r_capacity, *nreads + 1) || !MOON_RESERVE(ctx->runtime, *owner, o_capacity, *nreads + 1)) {
      s = moon__fail_memory(ctx);
      break;
    }
    (*owner)[*nreads] = (int)(uintptr_t)moon__map_get(&index, nodes[i]->variable) - 1;
    (*reads)[(*nreads)++] = &nodes[i]->outputs[0];
  }
  moon__map_free(&index);
  moon__free(ctx->runtime, nodes);
  return s;
}

moon_status moon_gradients_of(moon_context *ctx, moon_value *loss, int n, moon_variable *const *wrt, moon_value **grads) {
  moon_value **reads = NULL, **d = NULL;
  int *owner = NULL, nreads = 0;
  moon_status s = check_loss(ctx, loss);
  if (s == MOON_OK) s = list_reads(ctx, loss, n, wrt, &reads, &owner, &nreads);
  if (s == MOON_OK && !(d = moon__alloc_array(ctx->runtime, (size_t)nreads, sizeof *d))) s = moon__fail_memory(ctx);
  if (s == MOON_OK) s = moon_gradients(ctx, loss, nreads, reads, d);
  for (int i = 0; i < n; i++) grads[i] = NULL;
  for (int i = 0; s == MOON_OK && i < nreads; i++) {
    moon_value **sum = &grads[owner[i]];
    *sum = *sum ? moon__add(ctx, *sum, d[i]) : d[i];
    if (!*sum) s = ctx->status;
  }
  for (int i = 0; s == MOON_OK && i < n; i++) {
    for (int k = 0; k < i && !grads[i]; k++) { /* the same variable listed twice */
      if (wrt[k] == wrt[i]) grads[i] = grads[k];
    }
    moon_type type = moon_variable_type(wrt[i]);
    if (!moon__dtype_is_float(type.dtype))
      s = moon__fail(ctx, MOON_EDTYPE, "grad: variable '%s' has dtype %s; only floats have gradients", moon_variable_name(wrt[i]),
                     moon_dtype_name(type.dtype));
    else if (!grads[i] && !(grads[i] = moon__full(ctx, type.dtype, &type.shape, 0.0))) s = ctx->status;
  }
  moon__free(ctx->runtime, reads);
  moon__free(ctx->runtime, owner);
  moon__free(ctx->runtime, d);
  return s;
}
