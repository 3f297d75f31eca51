/*
** layout.c: moves changes of layout to where they cancel. Elementwise nodes do not care for the order of axes: when every input that
** matters comes through the same transpose, the node is computed before it, and the transpose sinks below the node, where it meets
** its inverse (simplify merged pairs; this pass merges the pairs it makes). Convolutions in channels-first models so run in one
** channels-last region. A backend's blocked layouts will be chosen here, by what its kernels declare.
*/
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"

static int perm_of(const moon_node *n, int *perm) {
  const moon_axes_only_attrs *a = n->attrs;
  int ndim = n->outputs[0].type.shape.ndim;
  for (int i = 0; i < ndim; i++) perm[i] = a->axes.n ? (int)a->axes.v[i] : ndim - 1 - i;
  return ndim;
}

static bool same_perm(const moon_node *a, const moon_node *b) {
  int p[MOON_MAX_DIMS], q[MOON_MAX_DIMS], n = perm_of(a, p);
  if (perm_of(b, q) != n) return false;
  for (int i = 0; i < n; i++) {
    if (p[i] != q[i]) return false;
  }
  return true;
}

/* The transpose that all inputs share (numbers that are broadcast aside), or NULL. */
static const moon_node *shared_transpose(const moon_node *n, moon_value *const *in) {
  const moon_node *t = NULL;
  if (n->op->kind != MOON_ELEMENTWISE && n->op->id != MOON_OP_cast) return NULL;
  for (int i = 0; i < n->ninputs; i++) {
    double x;
    if (moon__is_number(in[i], &x)) continue;
    if (in[i]->node->op->id != MOON_OP_transpose || (t && !same_perm(t, in[i]->node))) return NULL;
    t = in[i]->node;
  }
  return t;
}

static moon_value *sink(moon_context *ctx, const moon_node *n, moon_value *const *in, const moon_node *t) {
  moon_value *inner[3];
  int perm[MOON_MAX_DIMS];
  perm_of(t, perm);
  for (int i = 0; i < n->ninputs; i++) {
    double x;
    inner[i] = moon__is_number(in[i], &x) ? moon__full(ctx, in[i]->type.dtype, &t->inputs[0]->type.shape, x) : in[i]->node->inputs[0];
    if (!inner[i]) return NULL;
  }
  return moon__transpose(ctx, moon__node_with_inputs(ctx, n, inner), perm);
}

static moon_value *cancel(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  int outer[MOON_MAX_DIMS], inner[MOON_MAX_DIMS], both[MOON_MAX_DIMS];
  bool identity = true;
  if (n->op->id != MOON_OP_transpose || in[0]->node->op->id != MOON_OP_transpose) return NULL;
  int ndim = perm_of(n, outer);
  perm_of(in[0]->node, inner);
  for (int i = 0; i < ndim; i++) identity &= (both[i] = inner[outer[i]]) == i;
  return identity ? in[0]->node->inputs[0] : moon__transpose(ctx, in[0]->node->inputs[0], both);
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  moon_pass_env *env = r->user;
  const moon_node *t = shared_transpose(n, in);
  if (t) {
    out[0] = sink(env->ctx, n, in, t);
    return out[0] ? MOON_OK : env->ctx->status;
  }
  out[0] = cancel(env->ctx, n, in);
  return out[0] ? MOON_OK : moon__pass_bodies(env, moon__pass_layout, n, in, out);
}

moon_graph *moon__pass_layout(moon_pass_env *env, moon_graph *g) {
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = env, .own = env->own};
  return moon__rewrite(&r, g);
}
