/*
** matmul.c: the matrix product. A matmul node demands operands of one rank with equal batch sizes; NumPy's rank-1 and broadcast
** rules are met when it is built, by reshapes and broadcasts around the node, so kernels see one form only.
** Its hidden attribute dtype is what halves are summed to without rounding, for a device that has a product of them.
** Letters: a [.., m, k], b [.., k, n] -> y [.., m, n].
*/
#include "ops/matmul.h"

#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_dim inner_of_b(const moon_shape *b) { return b->dim[b->ndim == 1 ? 0 : b->ndim - 2]; }

static moon_status check_inner(moon_context *ctx, const moon_shape *a, const moon_shape *b) {
  if (a->ndim < 1 || b->ndim < 1)
    return moon__fail(ctx, MOON_ESHAPE, "matmul: needs rank 1 or more: a %s, b %s", moon__rule_text(ctx, a).s,
                      moon__rule_text(ctx, b).s);
  if (!moon__dim_may_equal(a->dim[a->ndim - 1], inner_of_b(b)))
    return moon__fail(ctx, MOON_ESHAPE, "matmul: inner sizes differ: a %s, b %s", moon__rule_text(ctx, a).s,
                      moon__rule_text(ctx, b).s);
  return MOON_OK;
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  const moon_shape *a = moon__rule_shape(f, 0), *b = moon__rule_shape(f, 1);
  moon_type *y = &f->out[0];
  int r = a->ndim;
  moon_status s = check_inner(ctx, a, b);
  if (s != MOON_OK) return s;
  if (f->in[0].dtype != f->in[1].dtype || f->in[0].dtype < MOON_DTYPE_i32)
    return moon__fail(ctx, MOON_EDTYPE, "matmul: operands must both be i32, i64 or of one float dtype: a %s, b %s",
                      moon_dtype_name(f->in[0].dtype), moon_dtype_name(f->in[1].dtype));
  bool fits = r >= 2 && b->ndim == r;
  for (int i = 0; fits && i < r - 2; i++) fits = moon__dim_may_equal(a->dim[i], b->dim[i]);
  if (!fits)
    return moon__fail(ctx, MOON_ESHAPE, "matmul: batch sizes differ: a %s, b %s", moon__rule_text(ctx, a).s,
                      moon__rule_text(ctx, b).s);
  const moon_cast_attrs *attrs = f->attrs;
  if (attrs->dtype >= 0 && (attrs->dtype != MOON_DTYPE_f32 || moon__dtype_wide(f->in[0].dtype) != MOON_DTYPE_f32))
    return moon__fail(ctx, MOON_EDTYPE, "matmul: only sums of bf16, f16 and f32 can be f32: a %s, dtype %s",
                      moon_dtype_name(f->in[0].dtype), moon_dtype_name((moon_dtype)attrs->dtype));
  *y = f->in[0];
  if (attrs->dtype >= 0) y->dtype = MOON_DTYPE_f32;
  for (int i = 0; i < r - 2; i++) y->shape.dim[i] = moon__rule_merge(a->dim[i], b->dim[i]);
  y->shape.dim[r - 1] = b->dim[r - 1];
  return MOON_OK;
}

/* ---- Adapting operands ---- */

static bool is_plain(const moon_value *a, const moon_value *b) {
  const moon_shape *sa = moon__shape_of(a), *sb = moon__shape_of(b);
  bool plain = sa->ndim >= 2 && sa->ndim == sb->ndim && a->type.dtype >= MOON_DTYPE_i32;
  for (int i = 0; plain && i < sa->ndim - 2; i++) plain = (sa->dim[i] == 1) == (sb->dim[i] == 1);
  return plain;
}

/* [.., m, k] @ [k, n]: the batch is more rows. */
static moon_value *fold_batch(moon_context *ctx, moon_value *a, moon_value *b) {
  moon_shape y = *moon__shape_of(a), flat = {.ndim = 2};
  moon_dim rows = 1;
  for (int i = 0; i < y.ndim - 1; i++) rows = moon_dim_mul(ctx, rows, y.dim[i]);
  if (rows == MOON_DIM_ERROR) return NULL;
  flat.dim[0] = rows;
  flat.dim[1] = y.dim[y.ndim - 1];
  y.dim[y.ndim - 1] = moon__shape_of(b)->dim[1];
  return moon__reshape(ctx, moon__matmul(ctx, moon__reshape(ctx, a, &flat), b), &y);
}

static moon_value *to_batch(moon_context *ctx, moon_value *a, const moon_shape *batch) {
  const moon_shape *s = moon__shape_of(a);
  moon_shape to = *batch;
  bool same = s->ndim == batch->ndim + 2;
  for (int i = 0; same && i < batch->ndim; i++) same = s->dim[i] != 1 || batch->dim[i] == 1;
  if (same) return a;
  for (int i = 0; i < 2; i++) to.dim[to.ndim++] = s->dim[s->ndim - 2 + i];
  return moon__broadcast_to(ctx, a, &to);
}

static moon_value *broadcast_batch(moon_context *ctx, moon_value *a, moon_value *b) {
  moon_shape sa = *moon__shape_of(a), sb = *moon__shape_of(b), batch;
  sa.ndim -= 2;
  sb.ndim -= 2;
  if (moon__shape_broadcast(ctx, "matmul: batch sizes", &sa, &sb, &batch) != MOON_OK) return NULL;
  return moon__matmul(ctx, to_batch(ctx, a, &batch), to_batch(ctx, b, &batch));
}

moon_value *moon__matmul_adapt(moon_context *ctx, moon_value *a, moon_value *b) {
  if (!a || !b || check_inner(ctx, moon__shape_of(a), moon__shape_of(b)) != MOON_OK) return NULL;
  bool row = moon__shape_of(a)->ndim == 1, column = moon__shape_of(b)->ndim == 1;
  moon_dtype d = moon_dtype_promote(moon_dtype_promote(a->type.dtype, b->type.dtype), MOON_DTYPE_i32);
  a = moon__cast(ctx, a, d);
  b = moon__cast(ctx, b, d);
  if (a && row) a = moon__expand(ctx, a, 0);
  if (b && column) b = moon__expand(ctx, b, 1);
  if (!a || !b) return NULL;
  int ra = moon__shape_of(a)->ndim, rb = moon__shape_of(b)->ndim;
  moon_value *y = ra > 2 && rb == 2 ? fold_batch(ctx, a, b) : broadcast_batch(ctx, a, b);
  if (y && column) y = moon__squeeze(ctx, y, moon__shape_of(y)->ndim - 1);
  if (y && row) y = moon__squeeze(ctx, y, moon__shape_of(y)->ndim - (column ? 1 : 2));
  return y;
}

static moon_status prepare(moon_context *ctx, const moon_body *b) {
  moon_status s = check_inner(ctx, moon__shape_of(b->in[0]), moon__shape_of(b->in[1]));
  if (s != MOON_OK || is_plain(b->in[0], b->in[1])) return s;
  b->out[0] = moon__matmul_adapt(ctx, b->in[0], b->in[1]);
  return moon__rule_built(ctx, b);
}

/* ---- Gradient: y = a b, so da = dy b^T, db = a^T dy. ---- */

static moon_status grad(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  moon_value *dy = moon__cast(ctx, g->dy[0], g->x[0]->type.dtype);
  if (g->need[0] && !(g->dx[0] = moon__matmul(ctx, dy, moon__swap_last(ctx, g->x[1])))) return ctx->status;
  if (g->need[1] && !(g->dx[1] = moon__matmul(ctx, moon__swap_last(ctx, g->x[0]), dy))) return ctx->status;
  return MOON_OK;
}

static double flops(const moon_node *n) {
  const moon_shape *y = moon__shape_of(&n->outputs[0]), *a = moon__shape_of(n->inputs[0]);
  double count = 2 * (double)a->dim[a->ndim - 1];
  for (int i = 0; i < y->ndim; i++) count *= (double)y->dim[i];
  return count;
}

static const moon_attr rows[] = {MOON_ATTR(moon_cast_attrs, dtype, DTYPE, .number = -1, .hidden = true)};
MOON_OP(matmul) = {
    MOON_OP_HEAD(matmul),
    MOON_OP_ATTRS(moon_cast_attrs, rows),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_PRODUCT,
    .inputs = MOON_INPUTS_PROMOTE,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "a, b",
    .infer = infer,
    .grad = grad,
    .build = prepare,
    .flops = flops,
    .doc = "Matrix product: a [.., m, k], b [.., k, n] -> [.., m, n]; batch axes broadcast, operands of rank 1 as in NumPy.",
};
