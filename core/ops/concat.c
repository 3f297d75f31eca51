/*
** concat.c: tensors put together, taken apart and repeated along an axis: concat, with stack and tile made of it and of
** broadcasts, and split, a composite of slices. Invariant: sizes other than the axis's own are equal in all parts.
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- concat ---- */

/* Takes over what part i knows of the sizes besides axis, and adds its size there. */
static moon_status add_part(moon_context *ctx, const char *who, const moon_infer *f, int i, int axis, moon_shape *y) {
  const moon_shape *x = &f->in[i].shape;
  bool fits = x->ndim == y->ndim;
  for (int k = 0; fits && k < y->ndim; k++) {
    fits = k == axis || moon__dim_may_equal(y->dim[k], x->dim[k]);
    if (k != axis) y->dim[k] = moon__rule_merge(y->dim[k], x->dim[k]);
  }
  if (!fits)
    return moon__fail(ctx, MOON_ESHAPE, "%s: sizes besides axis %d must be equal: input %d is %s, input %d is %s", who,
                      axis + ctx->index_base, ctx->index_base, moon__rule_text(ctx, &f->in[0].shape).s, i + ctx->index_base,
                      moon__rule_text(ctx, x).s);
  if (f->in[i].dtype != f->in[0].dtype)
    return moon__fail(ctx, MOON_EDTYPE, "%s: dtypes differ: %s and %s", who, moon_dtype_name(f->in[0].dtype),
                      moon_dtype_name(f->in[i].dtype));
  y->dim[axis] = moon_dim_add(ctx, y->dim[axis], x->dim[axis]);
  return y->dim[axis] == MOON_DIM_ERROR ? moon_error_status(ctx) : MOON_OK;
}

static moon_status infer_concat(moon_context *ctx, moon_infer *f) {
  moon_axis_attrs *a = f->attrs;
  f->out[0] = f->in[0];
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis, &f->in[0].shape);
  for (int i = 1; s == MOON_OK && i < f->ninputs; i++) s = add_part(ctx, f->op->name, f, i, (int)a->axis, &f->out[0].shape);
  return s;
}

static moon_status grad_concat(moon_context *ctx, const moon_grad *g) {
  int axis = (int)((const moon_axis_attrs *)g->node->attrs)->axis;
  moon_dim first = 0;
  if (!g->dy[0]) return MOON_OK;
  for (int i = 0; i < g->nx; i++) {
    moon_dim size = g->x[i]->type.shape.dim[axis];
    if (g->need[i] && !(g->dx[i] = moon__slice(ctx, g->dy[0], axis, first, size, 1))) return moon_error_status(ctx);
    first = moon_dim_add(ctx, first, size);
    if (first == MOON_DIM_ERROR) return moon_error_status(ctx);
  }
  return MOON_OK;
}

static const moon_attr concat_rows[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .number = 0)};
MOON_OP(concat) = {MOON_OP_HEAD(concat), .kind = MOON_STRUCTURED, .inputs = MOON_INPUTS_PROMOTE,
                   .flags = MOON_OPF_MOVES | MOON_OPF_VARIADIC | MOON_OPF_METHOD_OFF, .min_inputs = 1, .max_inputs = -1, .noutputs = 1,
                   .input_names = "x...", MOON_OP_ATTRS(moon_axis_attrs, concat_rows), .infer = infer_concat, .grad = grad_concat,
                   .doc = "Joins tensors along an axis: [.., n, ..], [.., m, ..] ... -> [.., n + m + .., ..]."};

/* ---- stack ---- */

static moon_status infer_stack(moon_context *ctx, moon_infer *f) {
  int64_t *axis = &((moon_axis_attrs *)f->attrs)->axis;
  const moon_shape *x = &f->in[0].shape;
  int resolved = 0;
  if (x->ndim == MOON_MAX_DIMS)
    return moon__fail(ctx, MOON_ESHAPE, "%s: x %s has the most axes already", f->op->name, moon__rule_text(ctx, x).s);
  if (!moon__axis_resolve(*axis, x->ndim + 1, &resolved))
    return moon__fail(ctx, MOON_EAXIS, "%s: axis %lld is out of range for a result of %d axes", f->op->name,
                      moon__rule_axis_shown(ctx, *axis), x->ndim + 1);
  *axis = resolved;
  moon_status s = MOON_OK;
  for (int i = 1; s == MOON_OK && i < f->ninputs; i++)
    s = moon__rule_same_shape(ctx, f->op->name, "the first", x, "another", &f->in[i].shape);
  return s;
}

static moon_status build_stack(moon_context *ctx, const moon_body *b) {
  int axis = (int)((const moon_axis_attrs *)b->attrs)->axis;
  moon_value *parts[MOON_MAX_INPUTS];
  for (int i = 0; i < b->n; i++) parts[i] = moon__expand(ctx, b->in[i], axis);
  b->out[0] = moon__concat(ctx, b->n, parts, axis);
  return moon__rule_built(ctx, b);
}

static const moon_attr stack_rows[] = {MOON_ATTR(moon_axis_attrs, axis, AXIS, .number = 0)};
MOON_OP(stack) = {MOON_OP_HEAD(stack), .kind = MOON_INLINE, .inputs = MOON_INPUTS_PROMOTE,
                  .flags = MOON_OPF_VARIADIC | MOON_OPF_METHOD_OFF, .min_inputs = 1, .max_inputs = -1, .noutputs = 1,
                  .input_names = "x...", MOON_OP_ATTRS(moon_axis_attrs, stack_rows), .infer = infer_stack, .build = build_stack,
                  .doc = "Joins k tensors of one shape along a new axis: k times [.., ..] -> [.., k, ..]."};

/* ---- split ---- */

/* One number means so many equal parts. */
static void read_parts(moon_split_attrs *a) {
  if (a->sizes.n != 1 || a->parts != 0) return;
  a->parts = a->sizes.v[0];
  a->sizes = (moon_ints){0};
}

static moon_status check_equal_parts(moon_context *ctx, const moon_split_attrs *a, moon_dim n) {
  if (a->parts < 1 || a->parts > MOON_MAX_OUTPUTS)
    return moon__fail(ctx, MOON_EARGUMENT, "split: number of parts must be 1 to %d, got %lld", MOON_MAX_OUTPUTS,
                      (long long)a->parts);
  if (moon__dim_known(n) && n % a->parts != 0)
    return moon__fail(ctx, MOON_ESHAPE, "split: axis %lld has size %lld, which %lld parts do not divide",
                      moon__rule_axis_shown(ctx, a->axis), (long long)n, (long long)a->parts);
  return MOON_OK;
}

static moon_status check_sizes(moon_context *ctx, const moon_split_attrs *a, moon_dim n) {
  moon_dim sum = 0;
  if (a->parts != 0) return moon__fail(ctx, MOON_EARGUMENT, "split: both a number of parts and sizes are given");
  for (int i = 0; i < a->sizes.n && sum != MOON_DIM_ERROR; i++) {
    if (a->sizes.v[i] < 0)
      return moon__fail(ctx, MOON_ESIZE, "split: size %d must be 0 or more, got %lld", i + ctx->index_base,
                        (long long)a->sizes.v[i]);
    sum = moon_dim_add(ctx, sum, a->sizes.v[i]);
  }
  if (sum == MOON_DIM_ERROR) return moon_error_status(ctx);
  if (moon__dim_may_equal(sum, n)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "split: sizes add up to %lld, but axis %lld has size %lld", (long long)sum,
                    moon__rule_axis_shown(ctx, a->axis), (long long)n);
}

/* Size of part i of an axis of size n. */
static moon_dim part_size(moon_context *ctx, const moon_split_attrs *a, moon_dim n, int i) {
  return a->sizes.n ? a->sizes.v[i] : moon__dim_divexact(ctx, n, a->parts);
}

static moon_status infer_split(moon_context *ctx, moon_infer *f) {
  moon_split_attrs *a = f->attrs;
  read_parts(a);
  moon_status s = moon__rule_axis(ctx, f->op->name, &a->axis, &f->in[0].shape);
  if (s != MOON_OK) return s;
  moon_dim n = f->in[0].shape.dim[a->axis];
  s = a->sizes.n ? check_sizes(ctx, a, n) : check_equal_parts(ctx, a, n);
  if (s != MOON_OK) return s;
  f->noutputs = a->sizes.n ? a->sizes.n : (int)a->parts;
  for (int i = 0; i < f->noutputs; i++) {
    f->out[i] = f->in[0];
    f->out[i].shape.dim[a->axis] = part_size(ctx, a, n, i);
    if (f->out[i].shape.dim[a->axis] == MOON_DIM_ERROR) return moon_error_status(ctx);
  }
  return MOON_OK;
}

static moon_status build_split(moon_context *ctx, const moon_body *b) {
  const moon_split_attrs *a = b->attrs;
  moon_dim n = b->in[0]->type.shape.dim[a->axis], first = 0;
  for (int i = 0; i < b->noutputs; i++) {
    moon_dim size = part_size(ctx, a, n, i);
    if (size == MOON_DIM_ERROR || first == MOON_DIM_ERROR) return moon_error_status(ctx);
    b->out[i] = moon__slice(ctx, b->in[0], (int)a->axis, first, size, 1);
    first = moon_dim_add(ctx, first, size);
  }
  return moon__rule_built(ctx, b);
}

static moon_status grad_split(moon_context *ctx, const moon_grad *g) {
  moon_value *parts[MOON_MAX_OUTPUTS];
  for (int i = 0; i < g->ny; i++) parts[i] = g->dy[i] ? g->dy[i] : moon__zeros_like(ctx, g->y[i]);
  g->dx[0] = moon__concat(ctx, g->ny, parts, (int)((const moon_split_attrs *)g->node->attrs)->axis);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static const moon_attr split_rows[] = {MOON_ATTR(moon_split_attrs, sizes, INTS, .number = 0),
                                       MOON_ATTR(moon_split_attrs, axis, AXIS, .number = 0),
                                       MOON_ATTR(moon_split_attrs, parts, I64, .hidden = true)};
MOON_OP(split) = {MOON_OP_HEAD(split), .kind = MOON_COMPOSITE, .flags = MOON_OPF_MOVES, .min_inputs = 1, .max_inputs = 1, .input_names = "x",
                  MOON_OP_ATTRS(moon_split_attrs, split_rows), .infer = infer_split, .grad = grad_split, .build = build_split,
                  .doc = "So many equal parts of x along an axis, or, from a list, parts of those sizes: x [.., n, ..] -> "
                         "[.., n1, ..], [.., n2, ..] ..."};

/* ---- tile ---- */

static moon_status infer_tile(moon_context *ctx, moon_infer *f) {
  const moon_ints *reps = &((const moon_tile_attrs *)f->attrs)->reps;
  if (reps->n == 0) return moon__fail(ctx, MOON_EARGUMENT, "%s: reps must have at least one number", f->op->name);
  for (int i = 0; i < reps->n; i++) {
    if (reps->v[i] < 0)
      return moon__fail(ctx, MOON_ESIZE, "%s: reps must be 0 or more, got %lld", f->op->name, (long long)reps->v[i]);
  }
  return MOON_OK;
}

/* Repeats axis k of x r times: [p, d, q] seen as [p, 1, d * q], broadcast to [p, r, d * q]. */
static moon_value *repeat_axis(moon_context *ctx, moon_value *x, int k, int64_t r) {
  const moon_shape *shape = &x->type.shape;
  moon_shape head = {.ndim = k}, tail = {.ndim = shape->ndim - k}, to = *shape;
  for (int i = 0; i < shape->ndim; i++) *(i < k ? &head.dim[i] : &tail.dim[i - k]) = shape->dim[i];
  moon_shape seen = {.ndim = 3, .dim = {moon__shape_count(ctx, &head), 1, moon__shape_count(ctx, &tail)}};
  to.dim[k] = moon_dim_mul(ctx, to.dim[k], r);
  if (seen.dim[0] == MOON_DIM_ERROR || seen.dim[2] == MOON_DIM_ERROR || to.dim[k] == MOON_DIM_ERROR) return NULL;
  x = moon__reshape(ctx, x, &seen);
  seen.dim[1] = r;
  return moon__reshape(ctx, moon__broadcast_to(ctx, x, &seen), &to);
}

static moon_status build_tile(moon_context *ctx, const moon_body *b) {
  const moon_ints *reps = &((const moon_tile_attrs *)b->attrs)->reps;
  moon_value *x = b->in[0];
  while (x && x->type.shape.ndim < reps->n) x = moon__expand(ctx, x, 0);
  int ahead = x ? x->type.shape.ndim - reps->n : 0;
  for (int i = 0; x && i < reps->n; i++) {
    if (reps->v[i] != 1) x = repeat_axis(ctx, x, i + ahead, reps->v[i]);
  }
  b->out[0] = x;
  return moon__rule_built(ctx, b);
}

static const moon_attr tile_rows[] = {MOON_ATTR(moon_tile_attrs, reps, INTS, .required = true)};
MOON_OP(tile) = {MOON_OP_HEAD(tile), .kind = MOON_INLINE, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x",
                 MOON_OP_ATTRS(moon_tile_attrs, tile_rows), .infer = infer_tile, .build = build_tile,
                 .doc = "Repeats x reps times along each axis, the last numbers for the last axes: x [.., d] -> [.., reps * d]."};
