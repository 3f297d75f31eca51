/*
** scale.c: in inference, what scales or shifts the channels of a convolution by numbers that stay the same from run to run (batch
** normalisation above all) becomes part of its filter and of one shift: conv(x, w) s = conv(x, w s), (y + p) s = y s + p s,
** (y + p) + q = y + (p + q). Filter and shift are then computed once, in the prologue. Equal up to rounding.
*/
#include "base/map.h"
#include "base/shape.h"
#include "graph/build.h"
#include "passes/body.h"

typedef struct scaling {
  moon_pass_env *env;
  const moon_graph *g;
  moon_map uses;    /* value -> how often it is used */
  moon_map lasting; /* nodes that depend on variables and constants alone */
} scaling;

static int uses_of(const scaling *s, const moon_value *v) { return (int)(uintptr_t)moon__map_get(&s->uses, v); }

static bool count_use(scaling *s, const moon_value *v) {
  return moon__map_put(&s->uses, v, (void *)(uintptr_t)(uses_of(s, v) + 1));
}

static bool look(scaling *s, const moon_node *n) {
  bool lasting = n->op->id != MOON_OP_input && !n->ngraphs && !(n->op->flags & (MOON_OPF_RANDOM | MOON_OPF_EFFECT));
  for (int i = 0; i < n->ninputs; i++) {
    lasting &= moon__map_has(&s->lasting, n->inputs[i]->node);
    if (!count_use(s, n->inputs[i])) return false;
  }
  return !lasting || moon__map_put(&s->lasting, n, s);
}

static bool look_at_all(scaling *s) {
  bool ok = true;
  for (int i = 0; ok && i < s->g->nnodes; i++) ok = look(s, s->g->nodes[i]);
  for (int i = 0; ok && i < s->g->noutputs; i++) ok = count_use(s, s->g->outputs[i]);
  return ok;
}

/* What v is broadcast from, when that is a number or one number for each place along the last axis. */
static moon_value *channels_of(moon_value *v) {
  moon_value *u = v->node->op->id == MOON_OP_broadcast_to ? v->node->inputs[0] : v;
  const moon_shape *shape = &u->type.shape, *whole = &v->type.shape;
  for (int i = 0; i + 1 < shape->ndim; i++)
    if (shape->dim[i] != 1) return NULL;
  bool along = shape->ndim == 0 || shape->dim[shape->ndim - 1] == 1 || shape->dim[shape->ndim - 1] == whole->dim[whole->ndim - 1];
  return along ? u : NULL;
}

/* n = y op channels. Gives y, and what it is scaled or shifted by, which must last; of inputs as they are now. NULL: it is not, or
** somebody else wants y, or what y comes from. */
static moon_value *split(const scaling *s, const moon_node *n, moon_value *const *in, moon_value **by) {
  for (int k = 0; k < 2; k++) {
    const moon_value *y = n->inputs[1 - k];
    bool alone = uses_of(s, y) == 1;
    for (int i = 0; i < y->node->ninputs; i++)
      alone &= y->node->op->id == MOON_OP_conv || moon__map_has(&s->lasting, y->node->inputs[i]->node) || uses_of(s, y->node->inputs[i]) == 1;
    if (alone && moon__map_has(&s->lasting, n->inputs[k]->node) && (*by = channels_of(in[k]))) return in[1 - k];
  }
  return NULL;
}

/* y = conv + shift. Gives the convolution. */
static moon_value *unshifted(const moon_value *y, moon_value **shift) {
  if (y->node->op->id != MOON_OP_add) return NULL;
  for (int k = 0; k < 2; k++) {
    moon_value *conv = y->node->inputs[1 - k];
    if (conv->node->op->id == MOON_OP_conv && (*shift = channels_of(y->node->inputs[k]))) return conv;
  }
  return NULL;
}

static moon_value *scaled(moon_context *ctx, const moon_value *conv, moon_value *by) {
  moon_value *in[] = {conv->node->inputs[0], moon__mul(ctx, conv->node->inputs[1], by)};
  return in[1] ? moon__node_with_inputs(ctx, conv->node, in) : NULL;
}

static moon_value *rewrite(const scaling *s, const moon_node *n, moon_value *const *in) {
  moon_context *ctx = s->env->ctx;
  moon_value *by = NULL, *shift = NULL, *y = split(s, n, in, &by);
  moon_value *conv = y ? unshifted(y, &shift) : NULL;
  if (y && n->op->id == MOON_OP_mul && y->node->op->id == MOON_OP_conv) return scaled(ctx, y, by);
  if (!conv) return NULL;
  if (n->op->id == MOON_OP_mul) return moon__add(ctx, scaled(ctx, conv, by), moon__mul(ctx, shift, by));
  return moon__add(ctx, conv, moon__add(ctx, shift, by));
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  scaling *s = r->user;
  moon_context *ctx = s->env->ctx;
  if (n->op->id != MOON_OP_mul && n->op->id != MOON_OP_add) return moon__pass_bodies(s->env, moon__pass_scale, n, in, out);
  moon_status before = ctx->status;
  ctx->status = MOON_OK;
  moon_origin *origin = moon__origin_swap(ctx, n->origin);
  out[0] = rewrite(s, n, in);
  ctx->borrowed = origin;
  if (ctx->status != MOON_OK) return ctx->status;
  ctx->status = before;
  return MOON_OK;
}

moon_graph *moon__pass_scale(moon_pass_env *env, moon_graph *g) {
  scaling s = {.env = env, .g = g};
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = &s};
  moon_graph *made = NULL;
  if (env->mode != MOON_INFERENCE) return moon_graph_retain(g);
  moon__map_init(&s.uses, env->ctx->runtime);
  moon__map_init(&s.lasting, env->ctx->runtime);
  if (look_at_all(&s)) made = moon__rewrite(&r, g);
  else moon__fail_memory(env->ctx);
  moon__map_free(&s.uses);
  moon__map_free(&s.lasting);
  return made;
}
