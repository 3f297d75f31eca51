/*
** select.c: which kernels compute a node. Elementwise nodes, casts, copies and plain reductions are loops of one instruction; other
** ops have an entry in the table of families (family.h); what has none, or an operand of a dtype the device lacks, runs on the CPU.
*/
#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "family.h"
#include "ops/attrs.h"

static const moon_cl_family *const families[] = {&moon__cl_matmul, &moon__cl_conv,   &moon__cl_pool,   &moon__cl_gather, &moon__cl_movement,
                                               &moon__cl_lines,  &moon__cl_create, &moon__cl_random, &moon__cl_winograd,
                                               &moon__cl_recurrent, &moon__cl_attention, &moon__cl_rows, NULL};

static bool has_f64(const moon_array *a, int n) {
  for (int i = 0; i < n; i++)
    if (a[i].dtype == MOON_DTYPE_f64) return true;
  return false;
}

/* ---- Nodes as loops ---- */

static void add_arg(moon_loop *l, const moon_array *a, bool out, int reg) {
  moon_loop_arg *arg = out ? &l->out[l->nout++] : &l->in[l->nin++];
  arg->dtype = a->dtype;
  arg->reg = (int16_t)reg;
  arg->reduce = MOON_OP_COUNT;
  memcpy(arg->strides, a->strides, sizeof arg->strides);
  if (!out) l->reg_dtype[reg] = (uint8_t)a->dtype;
}

static void set_space(moon_loop *l, const moon_array *a) {
  l->ndim = a->ndim;
  memcpy(l->size, a->shape, sizeof l->size);
}

/* y = op(x..): an elementwise row, a cast, or (nins 0) a copy: of a reshape too, in the order of x. */
static void make_elementwise(moon_loop *l, const moon_node *node, const moon_array *in, int nin, const moon_array *y) {
  moon_array dense = *y, *out = &dense;
  if (node->op->id == MOON_OP_reshape) {
    dense.ndim = in->ndim;
    memcpy(dense.shape, in->shape, sizeof dense.shape);
    moon__dense_strides(dense.ndim, dense.shape, dense.strides);
  }
  set_space(l, out);
  for (int i = 0; i < nin; i++) add_arg(l, &in[i], false, i);
  l->nregs = nin;
  if (node->op->kind == MOON_ELEMENTWISE || node->op->id == MOON_OP_cast) {
    moon_loop_ins *ins = &l->ins[l->nins++];
    ins->op = node->op->id;
    ins->dtype = (uint8_t)in[nin == 3 ? 1 : 0].dtype;
    ins->out_dtype = (uint8_t)out->dtype;
    ins->dst = (int16_t)l->nregs;
    for (int i = 0; i < 3; i++) ins->src[i] = (int16_t)(i < nin ? i : -1);
    l->reg_dtype[l->nregs++] = (uint8_t)out->dtype;
  }
  add_arg(l, out, true, l->nregs - 1);
}

static bool is_plain_reduction(moon_op_id op) {
  return op == MOON_OP_mean || op == MOON_OP_sum || op == MOON_OP_prod || op == MOON_OP_max || op == MOON_OP_min || op == MOON_OP_any || op == MOON_OP_all;
}

/* A mean is the sum of x / n. */
static int scale_by_count(moon_loop *l, int64_t in, int64_t out, int reg, moon_dtype dtype) {
  double scale = in ? (double)out / (double)in : (double)NAN;
  int number = l->nregs++, product = l->nregs++;
  l->number[l->nnumbers++] = (moon_loop_number){.reg = (int16_t)number, .dtype = dtype, .f = scale};
  l->ins[l->nins++] = (moon_loop_ins){.op = MOON_OP_mul, .dtype = (uint8_t)dtype, .out_dtype = (uint8_t)dtype, .dst = (int16_t)product,
                                      .src = {(int16_t)reg, (int16_t)number, -1}};
  l->reg_dtype[number] = l->reg_dtype[product] = (uint8_t)dtype;
  return product;
}

/* y = x folded along its reduced axes; cast first where y has another dtype. */
static void make_reduction(moon_loop *l, const moon_node *node, const moon_array *in, const moon_array *out) {
  const moon_reduce_attrs *a = node->attrs;
  int reg = 0;
  set_space(l, in);
  add_arg(l, in, false, 0);
  l->nregs = 1;
  if (in->dtype != out->dtype) {
    moon_loop_ins *ins = &l->ins[l->nins++];
    *ins = (moon_loop_ins){.op = MOON_OP_cast, .dtype = (uint8_t)in->dtype, .out_dtype = (uint8_t)out->dtype, .dst = 1, .src = {0, -1, -1}};
    l->reg_dtype[1] = (uint8_t)out->dtype;
    l->nregs = 2;
    reg = 1;
  }
  if (node->op->id == MOON_OP_mean) reg = scale_by_count(l, moon__cl_count(in), moon__cl_count(out), reg, out->dtype);
  add_arg(l, out, true, reg);
  moon_loop_arg *y = &l->out[0];
  y->reduce = node->op->id == MOON_OP_mean ? MOON_OP_sum : node->op->id;
  for (int i = 0; i < (a->axes.n ? a->axes.n : in->ndim); i++) {
    int64_t axis = a->axes.n ? a->axes.v[i] : i;
    l->reduced |= 1u << (axis < 0 ? axis + in->ndim : axis);
  }
  int64_t step = 1;
  memset(y->strides, 0, sizeof y->strides);
  for (int i = in->ndim - 1; i >= 0; i--) {
    if (l->reduced >> i & 1) continue;
    y->strides[i] = step;
    step *= in->shape[i];
  }
}

static bool make_loop(moon_loop *l, const moon_node *node, const moon_array *in, int nin, const moon_array *out) {
  memset(l, 0, sizeof *l);
  if (node->op->kind == MOON_ELEMENTWISE || node->op->id == MOON_OP_cast || node->op->id == MOON_OP_copy ||
      node->op->id == MOON_OP_reshape)
    make_elementwise(l, node, in, nin, out);
  else if (is_plain_reduction(node->op->id))
    make_reduction(l, node, in, out);
  else
    return false;
  return true;
}

/* ---- The others ---- */

moon_status moon__cl_select(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                            const moon_array *out, int nout, bool fast, moon_choice *choice) {
  moon_cl_device *d = device->data;
  moon_loop loop;
  moon_cl_choice c = {.ctx = ctx, .d = d, .node = node, .in = in, .out = out, .nin = nin, .nout = nout, .fast = fast, .choice = choice};
  if (!d->f64 && (has_f64(in, nin) || has_f64(out, nout)))
    return moon__cl_fallback_select(ctx, d, node, in, nin, out, nout, "the device has no f64", choice);
  if (make_loop(&loop, node, in, nin, out)) return moon__cl_select_loop(ctx, device, &loop, choice);
  for (int i = 0; families[i]; i++) {
    moon_status s = MOON_OK;
    if (families[i]->select(&c, &s)) return s;
  }
  return moon__cl_fallback_select(ctx, d, node, in, nin, out, nout, "there is no kernel for it yet", choice);
}
