/*
** attention.c: scaled dot-product attention (Vaswani et al., Attention is all you need, section 3.2.1). Masked scores take a large
** negative number, not an infinity, and masked weights are set to 0 afterwards: a row that is masked whole gives 0, and no gradient
** is NaN. The gradient is a composite too, which computes the weights again: nothing of size t s is kept for it. Letters: q [b, h, t, d], k [b, h, s, d], v [b, h, s, e], mask true where a key is seen -> y [b, h, t, e].
*/
#include <math.h>

#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_status check_shapes(moon_context *ctx, const moon_shape *q, const moon_shape *k, const moon_shape *v) {
  bool fits = q->ndim == 4 && k->ndim == 4 && v->ndim == 4;
  for (int i = 0; fits && i < 2; i++) fits = moon__dim_may_equal(q->dim[i], k->dim[i]) && moon__dim_may_equal(q->dim[i], v->dim[i]);
  if (fits && moon__dim_may_equal(q->dim[3], k->dim[3]) && moon__dim_may_equal(k->dim[2], v->dim[2])) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "attention: needs q [b, h, t, d], k [b, h, s, d], v [b, h, s, e]: q %s, k %s, v %s",
                    moon__rule_text(ctx, q).s, moon__rule_text(ctx, k).s, moon__rule_text(ctx, v).s);
}

static moon_status check_mask(moon_context *ctx, const moon_type *mask, const moon_shape *q, const moon_shape *k) {
  moon_shape scores = *q, both;
  scores.dim[3] = k->dim[2];
  if (mask->dtype != MOON_DTYPE_bool)
    return moon__fail(ctx, MOON_EDTYPE, "attention: mask must be bool, true where a key is seen, got %s",
                      moon_dtype_name(mask->dtype));
  moon_status s = moon__shape_broadcast(ctx, "attention: mask", &mask->shape, &scores, &both);
  if (s != MOON_OK) return s;
  return moon__rule_same_shape(ctx, "attention", "scores are", &scores, "mask broadcasts to", &both);
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  const moon_attention_attrs *a = f->attrs;
  const moon_shape *q = moon__rule_shape(f, 0), *k = moon__rule_shape(f, 1), *v = moon__rule_shape(f, 2);
  moon_status s = moon__rule_float(ctx, "attention", "q", f->in[0].dtype);
  if (s == MOON_OK) s = moon__rule_same_dtype(ctx, "attention", "q", f->in[0].dtype, "k", f->in[1].dtype);
  if (s == MOON_OK) s = moon__rule_same_dtype(ctx, "attention", "q", f->in[0].dtype, "v", f->in[2].dtype);
  if (s == MOON_OK) s = check_shapes(ctx, q, k, v);
  if (s == MOON_OK && f->ninputs > 3) s = check_mask(ctx, &f->in[3], q, k);
  if (s == MOON_OK && !isfinite(a->scale)) s = moon__fail(ctx, MOON_EARGUMENT, "attention: scale must be finite, got %g", a->scale);
  if (s != MOON_OK) return s;
  f->out[0] = f->in[0];
  for (int i = 0; i < 2; i++) f->out[0].shape.dim[i] = moon__rule_merge(q->dim[i], moon__rule_merge(k->dim[i], v->dim[i]));
  f->out[0].shape.dim[3] = v->dim[3];
  return MOON_OK;
}

/* 1, 2, .. n along the axis of a mask [t, s] that has this shape; n need not be known. */
static moon_value *positions(moon_context *ctx, moon_dim t, moon_dim s, int axis) {
  moon_shape shape = {.ndim = 2, .dim = {t, s}};
  moon_value *ones = moon__full(ctx, MOON_DTYPE_i32, &shape, 1);
  moon_cumsum_attrs a = {.axis = axis};
  return moon__apply(ctx, MOON_OP_cumsum, &a, 1, &ones);
}

/* What query i sees: keys up to i. */
static moon_value *causal_mask(moon_context *ctx, moon_dim t, moon_dim s) {
  return moon__binary(ctx, MOON_OP_ge, positions(ctx, t, 1, 0), positions(ctx, 1, s, 1));
}

/* scale, or 1 / sqrt(d), as a number beside q. */
static moon_value *scale_of(moon_context *ctx, const moon_attention_attrs *a, moon_value *q) {
  moon_dim d = moon__shape_of(q)->dim[3];
  if (a->scale != 0) return moon__number(ctx, q, a->scale);
  if (moon__dim_known(d)) return moon__number(ctx, q, d > 0 ? 1 / sqrt((double)d) : 1);
  return moon__unary(ctx, MOON_OP_rsqrt, moon__size(ctx, d, q->type.dtype));
}

/* softmax(q k' scale), 0 where masked. [b, h, t, s] */
static moon_value *weights_of(moon_context *ctx, const moon_attention_attrs *a, moon_value *q, moon_value *k, moon_value *mask) {
  moon_value *scores = moon__matmul(ctx, moon__mul(ctx, q, scale_of(ctx, a, q)), moon__swap_last(ctx, k));
  if (a->causal) {
    moon_value *seen = causal_mask(ctx, moon__shape_of(q)->dim[2], moon__shape_of(k)->dim[2]);
    if (!seen) return NULL;
    mask = mask ? moon__binary(ctx, MOON_OP_logical_and, mask, seen) : seen;
  }
  /* Large against any score, and still finite in f32 after a maximum is taken off. */
  if (mask && scores) scores = moon__where(ctx, mask, scores, moon__number(ctx, scores, -1e30));
  moon_axis_attrs along = {.axis = 3};
  moon_value *weights = moon__apply(ctx, MOON_OP_softmax, &along, 1, &scores);
  if (mask && weights) weights = moon__where(ctx, mask, weights, moon__number(ctx, weights, 0));
  return weights;
}

static moon_status build(moon_context *ctx, const moon_body *b) {
  moon_value *weights = weights_of(ctx, b->attrs, b->in[0], b->in[1], b->n > 3 ? b->in[3] : NULL);
  b->out[0] = moon__matmul(ctx, weights, b->in[2]);
  return moon__rule_built(ctx, b);
}

/* ---- Gradient: p = weights; dv = p' dy, ds = p (dy v' - sum (dy y)), dq = ds k scale, dk = ds' q scale ---- */

static moon_status grad(moon_context *ctx, const moon_grad *g) {
  moon_value *in[] = {g->x[0], g->x[1], g->x[2], g->y[0], g->dy[0], g->nx > 3 ? g->x[3] : NULL};
  if (!g->dy[0] || !(g->need[0] || g->need[1] || g->need[2])) return MOON_OK;
  moon_value *dx = moon__apply(ctx, MOON_OP_attention_grad, g->node->attrs, g->nx > 3 ? 6 : 5, in);
  for (int i = 0; dx && i < 3; i++) g->dx[i] = moon__output(dx, i);
  return dx ? MOON_OK : ctx->status;
}

static moon_status infer_grad(moon_context *ctx, moon_infer *f) {
  moon_type in[4] = {f->in[0], f->in[1], f->in[2]}, y;
  if (f->ninputs > 5) in[3] = f->in[5];
  moon_infer forward = {.op = moon__ops[MOON_OP_attention], .ninputs = f->ninputs > 5 ? 4 : 3, .in = in, .attrs = f->attrs,
                        .noutputs = 1, .out = &y};
  moon_status s = infer(ctx, &forward);
  for (int i = 3; s == MOON_OK && i < 5; i++) {
    s = moon__rule_same_dtype(ctx, "attention_grad", "q", y.dtype, i == 3 ? "y" : "dy", f->in[i].dtype);
    if (s == MOON_OK) s = moon__rule_same_shape(ctx, "attention_grad", "y is", &y.shape, "got", &f->in[i].shape);
  }
  for (int i = 0; i < 3; i++) f->out[i] = f->in[i];
  return s;
}

static moon_status build_grad(moon_context *ctx, const moon_body *b) {
  const moon_attention_attrs *a = b->attrs;
  moon_value *q = b->in[0], *k = b->in[1], *v = b->in[2], *y = b->in[3], *dy = b->in[4];
  moon_value *p = weights_of(ctx, a, q, k, b->n > 5 ? b->in[5] : NULL), *scale = scale_of(ctx, a, q);
  moon_value *sum = moon__reduce(ctx, MOON_OP_sum, moon__mul(ctx, dy, y), 1, (const int[]){3}, true);
  moon_value *ds = moon__mul(ctx, p, moon__sub(ctx, moon__matmul(ctx, dy, moon__swap_last(ctx, v)), sum));
  ds = moon__mul(ctx, ds, scale);
  b->out[0] = moon__matmul(ctx, ds, k);
  b->out[1] = moon__matmul(ctx, moon__swap_last(ctx, ds), q);
  b->out[2] = moon__matmul(ctx, moon__swap_last(ctx, p), dy);
  return moon__rule_built(ctx, b);
}

static double flops(const moon_node *n) {
  const moon_shape *q = moon__shape_of(n->inputs[0]), *v = moon__shape_of(n->inputs[2]);
  double scores = (double)q->dim[0] * (double)q->dim[1] * (double)q->dim[2] * (double)v->dim[2];
  return 2 * scores * ((double)q->dim[3] + (double)v->dim[3]);
}

static double flops_grad(const moon_node *n) {
  const moon_shape *q = moon__shape_of(n->inputs[0]), *v = moon__shape_of(n->inputs[2]);
  double scores = (double)q->dim[0] * (double)q->dim[1] * (double)q->dim[2] * (double)v->dim[2];
  return 2 * scores * (3 * (double)q->dim[3] + 2 * (double)v->dim[3]);
}

static const moon_attr rows[] = {
    MOON_ATTR(moon_attention_attrs, scale, F64, .number = 0),
    MOON_ATTR(moon_attention_attrs, causal, BOOL, .number = 0),
};

MOON_OP(attention) = {
    MOON_OP_HEAD(attention),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 3,
    .max_inputs = 4,
    .noutputs = 1,
    .input_names = "q, k, v, mask",
    MOON_OP_ATTRS(moon_attention_attrs, rows),
    .infer = infer,
    .grad = grad,
    .build = build,
    .flops = flops,
    .doc = "softmax(q k' scale) v: q [b, h, t, d], k [b, h, s, d], v [b, h, s, e], mask bool, broadcast to [b, h, t, s], true "
           "where a key is seen (may be left out) -> [b, h, t, e]; scale 0 means 1 / sqrt(d); causal: query i sees keys up to i.",
};
MOON_OP(attention_grad) = {
    MOON_OP_HEAD(attention_grad),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 5,
    .max_inputs = 6,
    .noutputs = 3,
    .input_names = "q, k, v, y, dy, mask",
    MOON_OP_ATTRS(moon_attention_attrs, rows),
    .infer = infer_grad,
    .build = build_grad,
    .flops = flops_grad,
    .doc = "Gradient of y = attention(q, k, v, mask), dy [b, h, t, e] -> that of q, k and v.",
};
