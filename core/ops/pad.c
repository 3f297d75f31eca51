/*
** pad.c: a border around a tensor, and unpad, its adjoint. constant: a value; edge: the nearest element; reflect: the elements
** mirrored at the first and last one, back and forth when the border is wider than the tensor. Invariant: lo and hi hold one
** number of 0 or more for each axis.
*/
#include "base/error.h"
#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* One number serves all axes; no hi means as lo. */
static void fill_borders(moon_pad_attrs *a, int ndim) {
  if (a->hi.n == 0) a->hi = a->lo;
  for (int side = 0; side < 2; side++) {
    moon_ints *border = side ? &a->hi : &a->lo;
    if (border->n > 1 || (border->n == 0 && ndim > 0)) continue;
    for (int i = 1; i < ndim; i++) border->v[i] = border->v[0];
    border->n = ndim;
  }
}

static moon_status check_borders(moon_context *ctx, const char *who, const moon_shape *x, moon_pad_attrs *a) {
  fill_borders(a, x->ndim);
  if (a->lo.n != x->ndim || a->hi.n != x->ndim)
    return moon__fail(ctx, MOON_ESHAPE, "%s: lo and hi must have one number for each axis of %s, got %d and %d", who,
                      moon__rule_text(ctx, x).s, (int)a->lo.n, (int)a->hi.n);
  for (int i = 0; i < x->ndim; i++) {
    if (a->lo.v[i] < 0 || a->hi.v[i] < 0)
      return moon__fail(ctx, MOON_ESIZE, "%s: lo and hi must be 0 or more, got %lld and %lld on axis %d", who,
                        (long long)a->lo.v[i], (long long)a->hi.v[i], i + ctx->index_base);
  }
  return MOON_OK;
}

/* lo + hi of an axis whose inner size is n; edge and reflect have nothing to show when n is 0. */
static moon_status border_size(moon_context *ctx, const char *who, const moon_pad_attrs *a, int axis, moon_dim n, int64_t *border) {
  if (!moon__add_i64(a->lo.v[axis], a->hi.v[axis], border))
    return moon__fail(ctx, MOON_ESIZE, "%s: lo and hi are too large on axis %d", who, axis + ctx->index_base);
  if (a->mode == MOON_PAD_CONSTANT || n != 0 || *border == 0) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: axis %d has size 0: mode %s has nothing to repeat", who, axis + ctx->index_base,
                    a->mode == MOON_PAD_EDGE ? "edge" : "reflect");
}

static moon_status infer_pad(moon_context *ctx, moon_infer *f) {
  moon_pad_attrs *a = f->attrs;
  const moon_shape *x = &f->in[0].shape;
  moon_status s = check_borders(ctx, f->op->name, x, a);
  if (s == MOON_OK) s = moon__rule_number(ctx, f->op->name, "value", a->value, f->in[0].dtype);
  f->out[0] = f->in[0];
  for (int i = 0; s == MOON_OK && i < x->ndim; i++) {
    int64_t border;
    s = border_size(ctx, f->op->name, a, i, x->dim[i], &border);
    if (s != MOON_OK) return s;
    f->out[0].shape.dim[i] = moon_dim_add(ctx, x->dim[i], border);
    if (f->out[0].shape.dim[i] == MOON_DIM_ERROR) s = moon_error_status(ctx);
  }
  return s == MOON_OK ? moon__rule_sizes(ctx, f->op->name, &f->out[0].shape) : s;
}

static moon_status infer_unpad(moon_context *ctx, moon_infer *f) {
  moon_pad_attrs *a = f->attrs;
  const moon_shape *y = &f->in[0].shape;
  moon_status s = check_borders(ctx, f->op->name, y, a);
  f->out[0] = f->in[0];
  for (int i = 0; s == MOON_OK && i < y->ndim; i++) {
    int64_t border;
    s = border_size(ctx, f->op->name, a, i, -1, &border);
    if (s != MOON_OK) return s;
    if (moon__dim_known(y->dim[i]) && y->dim[i] < border)
      return moon__fail(ctx, MOON_ESHAPE, "%s: axis %d of %s is smaller than its border of %lld", f->op->name, i + ctx->index_base,
                        moon__rule_text(ctx, y).s, (long long)border);
    moon_dim n = moon_dim_sub(ctx, y->dim[i], border);
    f->out[0].shape.dim[i] = n;
    s = n == MOON_DIM_ERROR ? moon_error_status(ctx) : border_size(ctx, f->op->name, a, i, n, &border);
  }
  return s;
}

/* A constant border is cut off; what others show goes back to where it came from. */
static moon_status grad_pad(moon_context *ctx, const moon_grad *g) {
  moon_pad_attrs a = *(const moon_pad_attrs *)g->node->attrs;
  if (!g->dy[0]) return MOON_OK;
  if (a.mode == MOON_PAD_CONSTANT) {
    moon_slice_attrs cut = {.size = g->x[0]->type.shape};
    cut.first.ndim = cut.size.ndim;
    for (int i = 0; i < cut.size.ndim; i++) cut.first.dim[i] = a.lo.v[i];
    g->dx[0] = moon__apply(ctx, MOON_OP_slice, &cut, 1, g->dy);
  } else {
    a.value = 0;
    g->dx[0] = moon__apply(ctx, MOON_OP_unpad, &a, 1, g->dy);
  }
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static moon_status grad_unpad(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  g->dx[0] = moon__apply(ctx, MOON_OP_pad, g->node->attrs, 1, g->dy);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static const moon_attr pad_rows[] = {MOON_ATTR(moon_pad_attrs, lo, INTS, .required = true),
                                     MOON_ATTR(moon_pad_attrs, hi, INTS, .number = 0),
                                     MOON_ATTR(moon_pad_attrs, mode, ENUM, .words = "constant|reflect|edge"),
                                     MOON_ATTR(moon_pad_attrs, value, F64, .number = 0)};
MOON_OP(pad) = {MOON_OP_HEAD(pad), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x",
                MOON_OP_ATTRS(moon_pad_attrs, pad_rows), .infer = infer_pad, .grad = grad_pad,
                .doc = "A border of lo elements before and hi after x on each axis (one number: on all; no hi: as lo): "
                       "x [d, ..] -> [lo + d + hi, ..]."};
MOON_OP(unpad) = {MOON_OP_HEAD(unpad), .kind = MOON_STRUCTURED, .flags = MOON_OPF_INTERNAL, .min_inputs = 1, .max_inputs = 1,
                  .noutputs = 1, .input_names = "dy", MOON_OP_ATTRS(moon_pad_attrs, pad_rows), .infer = infer_unpad,
                  .grad = grad_unpad, .doc = "Adds what a border shows to where it came from: dy [lo + d + hi, ..] -> [d, ..]."};
