/*
** pool.c: maximum and average over sliding windows, and their adjoints. Padding never takes part: a window is what lies inside x,
** and never empty (pads are smaller than the window). max_pool also tells where each maximum stood, so that its gradient and the
** gradient of that are a scatter (max_pool_grad) and a pick (max_pool_pick) over these positions. x [n, s.., c] -> y [n, o.., c].
*/
#include "base/error.h"
#include "base/shape.h"
#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "ops/window.h"

static moon_windows windows_of(const char *who, moon_pool_attrs *a, const moon_shape *x) {
  return (moon_windows){.who = who,
                        .x = x,
                        .naxes = x->ndim - 2,
                        .window = &a->window,
                        .strides = &a->strides,
                        .pad_lo = &a->pad_lo,
                        .pad_hi = &a->pad_hi,
                        .padding = a->padding};
}

/* A window that lies in the padding alone would have no value. */
static moon_status check_inside(moon_context *ctx, const moon_windows *v) {
  for (int i = 0; i < v->naxes; i++) {
    if (v->pad_lo->v[i] >= v->window->v[i] || v->pad_hi->v[i] >= v->window->v[i])
      return moon__fail(ctx, MOON_EARGUMENT, "%s: pads must be smaller than the window %lld along axis %lld, got %lld and %lld",
                        v->who, (long long)v->window->v[i], moon__rule_axis_shown(ctx, i + 1), (long long)v->pad_lo->v[i],
                        (long long)v->pad_hi->v[i]);
    if (v->x->dim[i + 1] == 0)
      return moon__fail(ctx, MOON_ESHAPE, "%s: spatial sizes must be at least 1: x %s", v->who, moon__rule_text(ctx, v->x).s);
  }
  return MOON_OK;
}

/* Checks x, completes the lists of a, and gives the shape of y. */
static moon_status shape_of_y(moon_context *ctx, const char *who, moon_pool_attrs *a, const moon_shape *x, moon_shape *y) {
  moon_status s = MOON_OK;
  moon_windows v = windows_of(who, a, x);
  if (x->ndim < 3 || x->ndim > 2 + MOON_MAX_SPATIAL)
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs x [n, s.., c] with 1 to 3 spatial axes, got %s", who, moon__rule_text(ctx, x).s);
  if (a->window.n == 0) return moon__fail(ctx, MOON_EARGUMENT, "%s: window is missing", who);
  if ((s = moon__window_list(ctx, who, "window", &a->window, v.naxes, 1, 1)) != MOON_OK) return s;
  if ((s = moon__window_complete(ctx, &v, 0)) != MOON_OK || (s = check_inside(ctx, &v)) != MOON_OK) return s;
  *y = *x;
  for (int i = 0; i < v.naxes; i++) {
    if ((y->dim[i + 1] = moon__window_out(ctx, &v, i)) == MOON_DIM_ERROR) return ctx->status;
  }
  return MOON_OK;
}

/* Positions are i32: they must count the spatial elements of x. */
static moon_status check_positions(moon_context *ctx, const char *who, const moon_shape *x) {
  int64_t count = 1;
  for (int i = 1; i < x->ndim - 1; i++) {
    if (moon__dim_known(x->dim[i]) && (!moon__mul_i64(count, x->dim[i], &count) || count > INT32_MAX))
      return moon__fail(ctx, MOON_ESIZE, "%s: more than 2^31 - 1 spatial positions: x %s", who, moon__rule_text(ctx, x).s);
  }
  return MOON_OK;
}

static moon_status check_index(moon_context *ctx, const moon_infer *f) {
  if (f->in[0].dtype == MOON_DTYPE_i32) return MOON_OK;
  return moon__fail(ctx, MOON_EDTYPE, "%s: index must be the i32 positions that max_pool gives, got %s", f->op->name,
                    moon_dtype_name(f->in[0].dtype));
}

static moon_status infer_pool(moon_context *ctx, moon_infer *f) {
  moon_shape y;
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  if (s == MOON_OK) s = shape_of_y(ctx, f->op->name, f->attrs, &f->in[0].shape, &y);
  if (s != MOON_OK) return s;
  f->out[0] = (moon_type){f->in[0].dtype, y};
  if (f->noutputs == 1) return MOON_OK;
  f->out[1] = (moon_type){MOON_DTYPE_i32, y};
  return check_positions(ctx, f->op->name, &f->in[0].shape);
}

/* max_pool_grad (index, dy), avg_pool_grad (dy): dy is the last input; what comes has attrs->shape. */
static moon_status infer_grad(moon_context *ctx, moon_infer *f) {
  const moon_type *dy = &f->in[f->ninputs - 1];
  moon_pool_attrs *a = f->attrs;
  moon_shape y, x = a->shape;
  moon_status s = moon__rule_float(ctx, f->op->name, "dy", dy->dtype);
  if (s == MOON_OK) s = moon__rule_sizes(ctx, f->op->name, &x);
  if (s == MOON_OK) s = shape_of_y(ctx, f->op->name, a, &x, &y);
  if (s == MOON_OK) s = moon__rule_same_shape(ctx, f->op->name, "y by x is", &y, "dy is", &dy->shape);
  if (s == MOON_OK && f->ninputs == 2) s = check_index(ctx, f);
  if (s == MOON_OK && f->ninputs == 2) s = moon__rule_same_shape(ctx, f->op->name, "dy", &dy->shape, "index", &f->in[0].shape);
  if (s == MOON_OK) s = check_positions(ctx, f->op->name, &x);
  f->out[0] = (moon_type){dy->dtype, x};
  return s;
}

static moon_status infer_pick(moon_context *ctx, moon_infer *f) {
  moon_shape y;
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[1].dtype);
  if (s == MOON_OK) s = check_index(ctx, f);
  if (s == MOON_OK) s = shape_of_y(ctx, f->op->name, f->attrs, &f->in[1].shape, &y);
  if (s == MOON_OK) s = moon__rule_same_shape(ctx, f->op->name, "y by x is", &y, "index is", &f->in[0].shape);
  if (s == MOON_OK) f->out[0] = (moon_type){f->in[1].dtype, y};
  return s;
}

/* ---- Gradients ---- */

/* shape: what a *_grad op gives; NULL for the others. index NULL: avg_pool and its adjoint. */
static moon_value *apply(moon_context *ctx, moon_op_id op, const moon_node *like, const moon_shape *shape, moon_value *index,
                         moon_value *v) {
  moon_pool_attrs a = *(const moon_pool_attrs *)like->attrs;
  moon_value *in[] = {index, v};
  a.shape = shape ? *shape : (moon_shape){0};
  return moon__apply(ctx, op, &a, index ? 2 : 1, index ? in : in + 1);
}

static moon_status grad_max(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  g->dx[0] = apply(ctx, MOON_OP_max_pool_grad, g->node, moon__shape_of(g->x[0]), g->y[1], g->dy[0]);
  return g->dx[0] ? MOON_OK : ctx->status;
}
static moon_status grad_max_grad(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[1]) return MOON_OK;
  g->dx[1] = apply(ctx, MOON_OP_max_pool_pick, g->node, NULL, g->x[0], g->dy[0]);
  return g->dx[1] ? MOON_OK : ctx->status;
}
static moon_status grad_pick(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[1]) return MOON_OK;
  g->dx[1] = apply(ctx, MOON_OP_max_pool_grad, g->node, moon__shape_of(g->x[1]), g->x[0], g->dy[0]);
  return g->dx[1] ? MOON_OK : ctx->status;
}
static moon_status grad_avg(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  g->dx[0] = apply(ctx, MOON_OP_avg_pool_grad, g->node, moon__shape_of(g->x[0]), NULL, g->dy[0]);
  return g->dx[0] ? MOON_OK : ctx->status;
}
static moon_status grad_avg_grad(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0] || !g->need[0]) return MOON_OK;
  g->dx[0] = apply(ctx, MOON_OP_avg_pool, g->node, NULL, NULL, g->dy[0]);
  return g->dx[0] ? MOON_OK : ctx->status;
}

/* ---- Geometry: x by role ---- */

moon_geometry moon__pool_geometry(const moon_node *node) {
  moon_pool_attrs a = *(const moon_pool_attrs *)node->attrs;
  moon_op_id op = node->op->id;
  bool adjoint = op == MOON_OP_max_pool_grad || op == MOON_OP_avg_pool_grad;
  const moon_shape *last = moon__shape_of(node->inputs[node->ninputs - 1]), *out = moon__shape_of(&node->outputs[0]);
  const moon_shape *x = adjoint ? out : last, *y = adjoint ? last : out;
  moon_windows v = windows_of(node->op->name, &a, x);
  moon_geometry g = {.batch = x->dim[0], .groups = 1, .c_in = x->dim[x->ndim - 1], .c_out = x->dim[x->ndim - 1]};
  moon__window_geometry(&v, y, &g);
  return g;
}

static double flops(const moon_node *n) {
  moon_geometry g = moon__pool_geometry(n);
  double count = (double)g.batch * (double)g.c_in;
  for (int i = 0; i < 3; i++) count *= (double)g.out[i] * (double)g.window[i];
  return count;
}

#define POOL_ROWS                                                                                                     \
  MOON_ATTR(moon_pool_attrs, window, INTS, .required = true), MOON_ATTR(moon_pool_attrs, strides, INTS, .number = 0), \
      MOON_ATTR(moon_pool_attrs, padding, ENUM, .words = "explicit|valid|same"),                                      \
      MOON_ATTR(moon_pool_attrs, pad_lo, INTS, .number = 0), MOON_ATTR(moon_pool_attrs, pad_hi, INTS, .number = 0)

static const moon_attr pool_rows[] = {POOL_ROWS};
static const moon_attr grad_rows[] = {POOL_ROWS, MOON_ATTR(moon_pool_attrs, shape, SHAPE, .required = true)};

MOON_OP(max_pool) = {
    MOON_OP_HEAD(max_pool),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 2,
    .input_names = "x",
    MOON_OP_ATTRS(moon_pool_attrs, pool_rows),
    .infer = infer_pool,
    .grad = grad_max,
    .flops = flops,
    .doc = "Maximum over windows: x [n, s.., c] -> y [n, o.., c], and its position in the flattened spatial axes, i32 [n, o.., c].",
};

MOON_OP(max_pool_grad) = {
    MOON_OP_HEAD(max_pool_grad),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "index, dy",
    MOON_OP_ATTRS(moon_pool_attrs, grad_rows),
    .infer = infer_grad,
    .grad = grad_max_grad,
    .flops = flops,
    .doc = "Gradient of max_pool: adds dy [n, o.., c] at the positions index [n, o.., c] of zeros [n, s.., c].",
};

MOON_OP(max_pool_pick) = {
    MOON_OP_HEAD(max_pool_pick),
    .kind = MOON_STRUCTURED,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "index, x",
    MOON_OP_ATTRS(moon_pool_attrs, pool_rows),
    .infer = infer_pick,
    .grad = grad_pick,
    .doc = "Picks x [n, s.., c] at the positions index [n, o.., c] of its flattened spatial axes -> [n, o.., c].",
};

MOON_OP(avg_pool) = {
    MOON_OP_HEAD(avg_pool),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "x",
    MOON_OP_ATTRS(moon_pool_attrs, pool_rows),
    .infer = infer_pool,
    .grad = grad_avg,
    .flops = flops,
    .doc = "Mean over windows, padding not counted: x [n, s.., c] -> [n, o.., c].",
};

MOON_OP(avg_pool_grad) = {
    MOON_OP_HEAD(avg_pool_grad),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "dy",
    MOON_OP_ATTRS(moon_pool_attrs, grad_rows),
    .infer = infer_grad,
    .grad = grad_avg_grad,
    .flops = flops,
    .doc = "Gradient of avg_pool: dy [n, o.., c] -> [n, s.., c] of the given shape.",
};
