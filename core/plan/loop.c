/*
** loop.c: a loop node and the strides of its operands become the IR of loop.h: registers are handed out, axes of size 1 dropped,
** neighbouring axes merged where every operand allows it.
*/
#include "plan/loop.h"

#include <string.h>

#include "base/map.h"
#include "base/shape.h"
#include "ops/attrs.h"
#include "passes/body.h"
#include "plan/plan.h"

static bool reduces(const moon_node *n) { return n->op->kind != MOON_ELEMENTWISE && n->op->id != MOON_OP_cast; }

/* Strides of a reduction's dense result along the axes of its input: 0 where reduced. */
static void result_strides(const moon_node *n, int64_t *strides, uint32_t *reduced) {
  const moon_reduce_attrs *a = n->attrs;
  const moon_shape *x = &n->inputs[0]->type.shape;
  int64_t step = 1;
  for (int i = 0; i < (a->axes.n ? a->axes.n : x->ndim); i++) {
    int axis = 0;
    if (moon__axis_resolve(a->axes.n ? a->axes.v[i] : i, x->ndim, &axis)) *reduced |= 1u << axis;
  }
  for (int i = x->ndim - 1; i >= 0; i--) {
    bool r = *reduced >> i & 1;
    strides[i] = r ? 0 : step;
    if (!r) step *= x->dim[i];
  }
}

static moon_status add_number(moon_context *ctx, moon_loop *loop, const moon_node *n, int *reg) {
  const moon_full_attrs *a = n->attrs;
  if (loop->nnumbers == MOON_LOOP_MAX_NUMBERS || loop->nregs == MOON_LOOP_MAX_REGS)
    return moon__fail(ctx, MOON_EINTERNAL, "loop: too many numbers");
  moon_loop_number *k = &loop->number[loop->nnumbers++];
  *reg = loop->nregs++;
  k->reg = (int16_t)*reg;
  k->dtype = (moon_dtype)a->dtype;
  if (moon__dtype_is_float(k->dtype)) k->f = a->value;
  else moon__convert(&k->i, MOON_DTYPE_i64, &a->value, MOON_DTYPE_f64);
  loop->reg_dtype[*reg] = (uint8_t)k->dtype;
  return MOON_OK;
}

static moon_status add_instruction(moon_context *ctx, moon_loop *loop, const moon_map *regs, const moon_node *n, int *reg) {
  if (loop->nins == MOON_LOOP_MAX_INS || loop->nregs == MOON_LOOP_MAX_REGS)
    return moon__fail(ctx, MOON_EINTERNAL, "loop: too many instructions");
  moon_loop_ins *ins = &loop->ins[loop->nins++];
  memset(ins, 0, sizeof *ins);
  *reg = loop->nregs++;
  ins->op = n->op->id;
  ins->dst = (int16_t)*reg;
  for (int i = 0; i < 3; i++)
    ins->src[i] = i < n->ninputs ? (int16_t)((int)(uintptr_t)moon__map_get(regs, n->inputs[i]) - 1) : (int16_t)-1;
  ins->dtype = (uint8_t)n->inputs[n->ninputs == 3 ? 1 : 0]->type.dtype; /* where computes in the dtype of its values */
  ins->out_dtype = (uint8_t)n->outputs[0].type.dtype;
  loop->reg_dtype[*reg] = ins->out_dtype;
  return MOON_OK;
}

static void drop_axis(moon_loop *loop, int axis) {
  uint32_t low = loop->reduced & ((1u << axis) - 1);
  loop->reduced = low | (loop->reduced >> 1 & ~((1u << axis) - 1));
  for (int i = axis; i + 1 < loop->ndim; i++) loop->size[i] = loop->size[i + 1];
  for (int k = 0; k < loop->nin + loop->nout; k++) {
    int64_t *s = k < loop->nin ? loop->in[k].strides : loop->out[k - loop->nin].strides;
    for (int i = axis; i + 1 < loop->ndim; i++) s[i] = s[i + 1];
  }
  loop->ndim--;
}

/* Can axis and axis + 1 be walked as one? */
static bool mergeable(const moon_loop *loop, int axis) {
  if ((loop->reduced >> axis & 1) != (loop->reduced >> (axis + 1) & 1)) return false;
  for (int k = 0; k < loop->nin + loop->nout; k++) {
    const int64_t *s = k < loop->nin ? loop->in[k].strides : loop->out[k - loop->nin].strides;
    if (s[axis] != s[axis + 1] * loop->size[axis + 1]) return false;
  }
  return true;
}

static void merge_axes(moon_loop *loop) {
  for (int i = loop->ndim - 1; i >= 0; i--) {
    if (loop->size[i] == 1) drop_axis(loop, i);
  }
  for (int i = loop->ndim - 2; i >= 0; i--) {
    if (!mergeable(loop, i)) continue;
    loop->size[i + 1] *= loop->size[i];
    drop_axis(loop, i);
  }
}

static moon_status fill(moon_context *ctx, moon_loop *loop, moon_map *regs, const moon_node *node, const moon_array *in) {
  const moon_graph *body = node->graphs[0];
  for (int i = 0; i < body->ninputs; i++) {
    moon_loop_arg *arg = &loop->in[loop->nin++];
    arg->dtype = in[i].dtype;
    arg->reg = (int16_t)loop->nregs++;
    arg->reduce = MOON_OP_COUNT;
    memcpy(arg->strides, in[i].strides, sizeof arg->strides);
    loop->reg_dtype[arg->reg] = (uint8_t)arg->dtype;
    if (!moon__map_put(regs, body->inputs[i], (void *)(uintptr_t)(arg->reg + 1))) return moon__fail_memory(ctx);
  }
  for (int i = 0; i < body->nnodes; i++) {
    const moon_node *n = body->nodes[i];
    int reg = -1;
    moon_status s = MOON_OK;
    if (n->op->id == MOON_OP_input || reduces(n)) {
      if (n->op->id != MOON_OP_full) continue;
      s = add_number(ctx, loop, n, &reg);
    } else {
      s = add_instruction(ctx, loop, regs, n, &reg);
    }
    if (s != MOON_OK) return s;
    if (!moon__map_put(regs, &n->outputs[0], (void *)(uintptr_t)(reg + 1))) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

/* Axis becomes two, the inner one of that size. */
static void split_axis(moon_loop *loop, int axis, int64_t inner) {
  uint32_t low = loop->reduced & ((2u << axis) - 1), high = loop->reduced & ~((1u << axis) - 1);
  loop->reduced = low | high << 1;
  for (int i = loop->ndim; i > axis; i--) loop->size[i] = loop->size[i - 1];
  loop->size[axis] /= inner;
  loop->size[axis + 1] = inner;
  for (int k = 0; k < loop->nin + loop->nout; k++) {
    int64_t *s = k < loop->nin ? loop->in[k].strides : loop->out[k - loop->nin].strides;
    for (int i = loop->ndim; i > axis; i--) s[i] = s[i - 1];
    s[axis] *= inner;
  }
  loop->ndim++;
}

static bool walks_in_order(const moon_loop *loop, const int64_t *strides) {
  int64_t step = 1;
  for (int i = loop->ndim - 1; i >= 0; i--) {
    if (loop->size[i] == 0 || strides[i] != step) return false;
    step *= loop->size[i];
  }
  return true;
}

bool moon__loop_epilogue(const moon_loop *loop, int product, int64_t columns, moon_epilogue *e) {
  int64_t have = 1;
  *e = (moon_epilogue){.loop = *loop, .acc = loop->in[product].reg, .rows = 1, .columns = columns};
  moon_loop *l = &e->loop;
  if (columns < 1 || !walks_in_order(l, l->in[product].strides)) return false;
  int axis = l->ndim;
  while (have < columns) {
    int64_t left = columns / have;
    if (axis == 0) return false;
    int64_t size = l->size[axis - 1];
    if (left % size == 0) {
      axis--;
      have *= size;
    } else if (size % left == 0 && l->ndim < MOON_MAX_DIMS) {
      split_axis(l, axis - 1, left);
      have = columns;
    } else {
      return false;
    }
  }
  e->row_axes = axis;
  for (int i = 0; i < axis; i++) e->rows *= l->size[i];
  l->nin--;
  memmove(l->in + product, l->in + product + 1, (size_t)(l->nin - product) * sizeof *l->in);
  return true;
}

moon_status moon__loop_make(moon_context *ctx, const moon_node *node, const moon_array *in, moon_loop *loop) {
  const moon_graph *body = node->graphs[0];
  moon_map regs;
  memset(loop, 0, sizeof *loop);
  if (body->ninputs > MOON_LOOP_MAX_ARGS || body->noutputs > MOON_LOOP_MAX_ARGS)
    return moon__fail(ctx, MOON_EINTERNAL, "loop: too many operands");
  moon__map_init(&regs, ctx->runtime);
  moon_status s = fill(ctx, loop, &regs, node, in);
  for (int i = 0; s == MOON_OK && i < body->noutputs; i++) {
    const moon_value *v = body->outputs[i];
    moon_loop_arg *arg = &loop->out[loop->nout++];
    const moon_value *from = reduces(v->node) ? v->node->inputs[0] : v;
    const moon_shape *space = &from->type.shape;
    loop->ndim = space->ndim;
    memcpy(loop->size, space->dim, sizeof loop->size);
    arg->dtype = v->type.dtype;
    arg->reg = (int16_t)((int)(uintptr_t)moon__map_get(&regs, from) - 1);
    arg->reduce = reduces(v->node) ? v->node->op->id : MOON_OP_COUNT;
    if (reduces(v->node)) result_strides(v->node, arg->strides, &loop->reduced);
    else moon__dense_strides(space->ndim, space->dim, arg->strides);
  }
  moon__map_free(&regs);
  if (s == MOON_OK) merge_axes(loop);
  return s;
}
