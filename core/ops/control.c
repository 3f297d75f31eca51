/*
** control.c: cond and while_loop, and what bodies of all control flow share; scan is in scan.c. A body is a graph whose formals
** stand for the node's inputs; it captures nothing else and has no effects. The gradient of cond is a cond over the gradients of
** its bodies. Invariant: both bodies of a cond give the same types.
*/
#include "ops/control.h"

#include <stdio.h>

#include "autodiff.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- Bodies ---- */

moon_status moon__body_check(moon_context *ctx, const char *who, const char *what, int i, const moon_type *want,
                             const moon_type *have) {
  if (want->dtype == have->dtype && moon__rule_may_equal(&want->shape, &have->shape)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: %s %d must be %s %s, got %s %s", who, what, i + ctx->index_base,
                    moon_dtype_name(want->dtype), moon__rule_text(ctx, &want->shape).s, moon_dtype_name(have->dtype),
                    moon__rule_text(ctx, &have->shape).s);
}

moon_status moon__body_there(moon_context *ctx, const char *who, int n, moon_graph *const *graphs) {
  for (int i = 0; i < n; i++) {
    if (!graphs[i]) return ctx->status != MOON_OK ? ctx->status : moon__fail(ctx, MOON_EARGUMENT, "%s: a body is missing", who);
  }
  return MOON_OK;
}

moon_value *moon__body_formal(moon_context *ctx, const char *kind, int i, const moon_type *type) {
  char name[48];
  snprintf(name, sizeof name, "%s_%d", kind, i + 1);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = name, .type = type, .raw = true};
  return moon__node_build(ctx, &spec);
}

static moon_status copy_node(moon_context *ctx, moon_map *map, const moon_node *n) {
  moon_value *in[MOON_MAX_INPUTS];
  for (int i = 0; i < n->ninputs; i++) in[i] = moon__map_get(map, n->inputs[i]);
  moon_value *copy = moon__node_with_inputs(ctx, n, in);
  if (!copy) return ctx->status;
  for (int i = 0; i < n->noutputs; i++) {
    if (!moon__map_put(map, &n->outputs[i], moon__output(copy, i))) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

moon_status moon__body_copy(moon_context *ctx, const moon_graph *g, moon_value *const *formals, moon_value **outputs) {
  moon_map map;
  moon_status s = MOON_OK;
  moon__map_init(&map, ctx->runtime);
  for (int i = 0; i < g->ninputs && s == MOON_OK; i++) {
    if (!formals[i]) s = ctx->status;
    else if (!moon__map_put(&map, g->inputs[i], formals[i])) s = moon__fail_memory(ctx);
  }
  for (int i = 0; i < g->nnodes && s == MOON_OK; i++) {
    if (!moon__map_has(&map, &g->nodes[i]->outputs[0])) s = copy_node(ctx, &map, g->nodes[i]);
  }
  for (int i = 0; i < g->noutputs && s == MOON_OK; i++) outputs[i] = moon__map_get(&map, g->outputs[i]);
  moon__map_free(&map);
  return s;
}

static moon_status check_count(moon_context *ctx, const char *who, const char *what, int want, int have) {
  if (want == have) return MOON_OK;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: the %s must be %d, got %d", who, what, want, have);
}

/* Do the formals of g fit types [n]? */
static moon_status check_formals(moon_context *ctx, const char *who, const moon_graph *g, int n, const moon_type *types) {
  moon_status s = check_count(ctx, who, "number of inputs of a body", n, g->ninputs);
  for (int i = 0; i < n && s == MOON_OK; i++) s = moon__body_check(ctx, who, "input", i, &g->inputs[i]->type, &types[i]);
  return s;
}

static moon_status check_graphs(moon_context *ctx, const moon_infer *f, int n) {
  moon_status s = check_count(ctx, f->op->name, "number of bodies", n, f->ngraphs);
  if (s == MOON_OK) s = moon__body_there(ctx, f->op->name, n, f->graphs);
  for (int i = 0; i < n && s == MOON_OK; i++) {
    if (f->graphs[i]->noutputs > MOON_MAX_OUTPUTS)
      s = moon__fail(ctx, MOON_EARGUMENT, "%s: a body may have at most %d outputs, got %d", f->op->name, MOON_MAX_OUTPUTS,
                     f->graphs[i]->noutputs);
  }
  return s;
}

static moon_status check_flag(moon_context *ctx, const char *who, const char *what, const moon_type *p) {
  if (p->dtype == MOON_DTYPE_bool && p->shape.ndim == 0) return MOON_OK;
  return moon__fail(ctx, MOON_EDTYPE, "%s: %s must be one bool (rank 0), got %s %s", who, what, moon_dtype_name(p->dtype),
                    moon__rule_text(ctx, &p->shape).s);
}

/* ---- cond ---- */

static moon_status infer_cond(moon_context *ctx, moon_infer *f) {
  moon_status s = check_graphs(ctx, f, 2);
  if (s == MOON_OK) s = check_flag(ctx, "cond", "the condition", &f->in[0]);
  for (int i = 0; i < 2 && s == MOON_OK; i++) s = check_formals(ctx, "cond", f->graphs[i], f->ninputs - 1, f->in + 1);
  if (s != MOON_OK) return s;
  const moon_graph *yes = f->graphs[0], *no = f->graphs[1];
  s = check_count(ctx, "cond", "number of values of the else body", yes->noutputs, no->noutputs);
  if (s == MOON_OK && yes->noutputs < 1) s = moon__fail(ctx, MOON_EARGUMENT, "cond: bodies must return a value");
  f->noutputs = yes->noutputs;
  for (int i = 0; i < f->noutputs && s == MOON_OK; i++) {
    const moon_type *a = &yes->outputs[i]->type, *b = &no->outputs[i]->type;
    s = moon__body_check(ctx, "cond", "value of the else body", i, a, b);
    f->out[i] = *a;
    for (int k = 0; s == MOON_OK && k < a->shape.ndim; k++)
      f->out[i].shape.dim[k] = moon__rule_merge(a->shape.dim[k], b->shape.dim[k]);
  }
  return s;
}

/* One side's gradient while it is built: formals for x..., then for the dy that are there. */
typedef struct branch {
  moon_value *formals[MOON_MAX_INPUTS], *dx[MOON_MAX_INPUTS];
  int nformals;
} branch;

static moon_status differentiate_branch(moon_context *ctx, const moon_grad *g, const moon_graph *body, branch *b) {
  moon_value *y[MOON_MAX_OUTPUTS], *dy[MOON_MAX_OUTPUTS] = {NULL};
  int nx = body->ninputs;
  for (int i = 0; i < nx; i++) b->formals[b->nformals++] = moon__body_formal(ctx, "x", i, &body->inputs[i]->type);
  moon_status s = moon__body_copy(ctx, body, b->formals, y);
  for (int i = 0; i < body->noutputs && s == MOON_OK; i++) {
    if (!g->dy[i]) continue;
    dy[i] = b->formals[b->nformals++] = moon__body_formal(ctx, "dy", i, &body->outputs[i]->type);
    if (!dy[i]) s = ctx->status;
  }
  return s == MOON_OK ? moon__vjp(ctx, body->noutputs, y, dy, nx, b->formals, true, b->dx) : s;
}

/* The body that gives the gradients of the inputs marked in wanted. */
static moon_graph *finish_branch(moon_context *ctx, branch *b, int nx, const bool *wanted) {
  moon_value *out[MOON_MAX_INPUTS];
  int n = 0;
  for (int i = 0; i < nx; i++) {
    if (!wanted[i]) continue;
    out[n] = b->dx[i] ? b->dx[i] : moon__zeros_like(ctx, b->formals[i]);
    if (!out[n++]) return NULL;
  }
  return moon__graph_make(ctx, b->nformals, b->formals, n, out, 0, NULL);
}

/* The bodies of the gradient, in a scope of their own and never computed at once. wanted [nx] is set. */
static moon_status differentiate_bodies(moon_context *ctx, const moon_grad *g, branch *sides, bool *wanted, moon_graph **graphs) {
  int nx = g->nx - 1, eager = ctx->eager_depth, count = 0;
  moon_status s = MOON_OK;
  ctx->eager_depth = 0;
  moon_scope_open(ctx);
  for (int i = 0; i < 2 && s == MOON_OK; i++) s = differentiate_branch(ctx, g, g->node->graphs[i], &sides[i]);
  for (int i = 0; i < nx && s == MOON_OK; i++) {
    wanted[i] = g->need[i + 1] && (sides[0].dx[i] || sides[1].dx[i]);
    count += wanted[i];
  }
  if (s == MOON_OK && count > MOON_MAX_OUTPUTS)
    s = moon__fail_node(ctx, g->node, MOON_EGRADIENT, "bodies use %d values with a gradient, at most %d can be", count,
                        MOON_MAX_OUTPUTS);
  for (int i = 0; i < 2 && s == MOON_OK && count > 0; i++) {
    if (!(graphs[i] = finish_branch(ctx, &sides[i], nx, wanted))) s = ctx->status;
  }
  moon_scope_close(ctx);
  ctx->eager_depth = eager;
  return s;
}

/* cond (p, x..., dy...) over the gradients of both bodies. */
static moon_status apply_gradient(moon_context *ctx, const moon_grad *g, const bool *wanted, moon_graph *const *graphs) {
  moon_value *in[MOON_MAX_INPUTS];
  int n = 0;
  for (int i = 0; i < g->nx; i++) in[n++] = g->x[i];
  for (int i = 0; i < g->ny; i++) {
    if (g->dy[i]) in[n++] = g->dy[i];
  }
  moon_node_spec spec = {.op = g->node->op, .ninputs = n, .inputs = in, .ngraphs = 2, .graphs = graphs};
  moon_value *dx = moon__node_build(ctx, &spec);
  if (!dx) return ctx->status;
  for (int i = 0, at = 0; i < g->nx - 1; i++) {
    if (wanted[i]) g->dx[i + 1] = moon__output(dx, at++);
  }
  return MOON_OK;
}

static moon_status grad_cond(moon_context *ctx, const moon_grad *g) {
  branch sides[2] = {{.nformals = 0}, {.nformals = 0}};
  bool wanted[MOON_MAX_INPUTS] = {false};
  moon_graph *graphs[2] = {NULL, NULL};
  if (g->nx + g->ny > MOON_MAX_INPUTS)
    return moon__fail_node(ctx, g->node, MOON_EGRADIENT, "too many inputs for a gradient: %d, at most %d can be", g->nx + g->ny,
                           MOON_MAX_INPUTS);
  moon_status s = differentiate_bodies(ctx, g, sides, wanted, graphs);
  if (s == MOON_OK && graphs[0]) s = apply_gradient(ctx, g, wanted, graphs);
  moon_graph_release(graphs[0]);
  moon_graph_release(graphs[1]);
  return s;
}

/* ---- while_loop ---- */

static moon_status infer_while(moon_context *ctx, moon_infer *f) {
  const moon_while_attrs *a = f->attrs;
  moon_status s = check_graphs(ctx, f, 2);
  if (s == MOON_OK && (a->ncarry < 1 || a->ncarry > f->ninputs || a->ncarry > MOON_MAX_OUTPUTS))
    s = moon__fail(ctx, MOON_EARGUMENT, "while_loop: needs 1 to %d carries, got %lld",
                   f->ninputs < MOON_MAX_OUTPUTS ? f->ninputs : MOON_MAX_OUTPUTS, (long long)a->ncarry);
  for (int i = 0; i < 2 && s == MOON_OK; i++) s = check_formals(ctx, "while_loop", f->graphs[i], f->ninputs, f->in);
  if (s != MOON_OK) return s;
  const moon_graph *condition = f->graphs[0], *body = f->graphs[1];
  s = check_count(ctx, "while_loop", "number of values of the condition", 1, condition->noutputs);
  if (s == MOON_OK) s = check_flag(ctx, "while_loop", "the condition", &condition->outputs[0]->type);
  if (s == MOON_OK) s = check_count(ctx, "while_loop", "number of values of the body", (int)a->ncarry, body->noutputs);
  f->noutputs = (int)a->ncarry;
  for (int i = 0; i < f->noutputs && s == MOON_OK; i++) {
    s = moon__body_check(ctx, "while_loop", "carry of the body", i, &f->in[i], &body->outputs[i]->type);
    f->out[i] = f->in[i];
  }
  return s;
}

static moon_status grad_while(moon_context *ctx, const moon_grad *g) {
  return moon__fail_node(ctx, g->node, MOON_EGRADIENT,
                         "has no gradient, because the number of steps is not known before the run; use scan with a fixed length "
                         "(and where, for steps past the end), or stop_gradient");
}

static const moon_attr while_rows[] = {MOON_ATTR(moon_while_attrs, ncarry, I64, .required = true)};

MOON_OP(cond) = {
    MOON_OP_HEAD(cond),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 1,
    .max_inputs = -1,
    .input_names = "p, x...",
    .infer = infer_cond,
    .grad = grad_cond,
    .doc = "One of two bodies by a bool of rank 0; only that one runs: p, x... -> outputs of the body.",
};

MOON_OP(while_loop) = {
    MOON_OP_HEAD(while_loop),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 1,
    .max_inputs = -1,
    .input_names = "carry..., captures...",
    MOON_OP_ATTRS(moon_while_attrs, while_rows),
    .infer = infer_while,
    .grad = grad_while,
    .doc = "A body repeated while its condition holds: carry..., captures... -> the last carry....",
};
