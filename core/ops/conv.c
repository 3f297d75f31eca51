/*
** conv.c: convolution and its two adjoints, which are one another's gradients:
**   conv (x, w) -> y,  conv_input_grad (y', w) -> x',  conv_filter_grad (x, y') -> w'
** Each is linear in both of its inputs and each pair of the three determines the third's gradient, so gradients of any order stay
** among them. conv_transpose is conv_input_grad under another name. Letters: x [n, s.., c], w [k.., c / groups, f], y [n, o.., f].
*/
#include <string.h>

#include "base/error.h"
#include "base/shape.h"
#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "ops/window.h"

/* x, w, y of a node by role; the one that is its output is given by attrs->shape while it is inferred. */
typedef struct roles {
  const moon_shape *x, *w, *y;
} roles;

static moon_windows windows_of(const char *who, moon_conv_attrs *a, const roles *r, moon_ints *window) {
  moon_windows v = {.who = who,
                    .x = r->x,
                    .naxes = r->x->ndim - 2,
                    .window = window,
                    .strides = &a->strides,
                    .pad_lo = &a->pad_lo,
                    .pad_hi = &a->pad_hi,
                    .dilation = &a->dilation,
                    .padding = a->padding};
  window->n = v.naxes;
  for (int i = 0; i < v.naxes; i++) window->v[i] = r->w->dim[i];
  return v;
}

static moon_status check_ranks(moon_context *ctx, const char *who, const roles *r) {
  if (r->x->ndim >= 3 && r->x->ndim <= 2 + MOON_MAX_SPATIAL && r->w->ndim == r->x->ndim) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: needs x [n, s.., c] and w [k.., c / groups, f] with 1 to 3 spatial axes: x %s, w %s",
                    who, moon__rule_text(ctx, r->x).s, moon__rule_text(ctx, r->w).s);
}

static moon_status check_kernel(moon_context *ctx, const char *who, const moon_shape *w) {
  for (int i = 0; i < w->ndim; i++) {
    bool spatial = i < w->ndim - 2;
    if (w->dim[i] == 0 || (spatial && (!moon__dim_known(w->dim[i]) || w->dim[i] > INT32_MAX)))
      return moon__fail(ctx, MOON_ESHAPE, "%s: kernel sizes must be known and at least 1: w %s", who, moon__rule_text(ctx, w).s);
  }
  return MOON_OK;
}

static moon_status check_channels(moon_context *ctx, const char *who, const moon_conv_attrs *a, const roles *r) {
  moon_dim c = r->x->dim[r->x->ndim - 1], f = r->w->dim[r->w->ndim - 1];
  if (a->groups < 1 || a->groups > INT32_MAX)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: groups must be at least 1, got %lld", who, (long long)a->groups);
  moon_dim want = moon_dim_mul(ctx, r->w->dim[r->w->ndim - 2], a->groups);
  if (want == MOON_DIM_ERROR) return ctx->status;
  if (!moon__dim_may_equal(c, want))
    return moon__fail(ctx, MOON_ESHAPE, "%s: x has %s channels, w with groups %lld is made for %s: x %s, w %s", who,
                      moon__rule_dim_text(ctx, c).s, (long long)a->groups, moon__rule_dim_text(ctx, want).s,
                      moon__rule_text(ctx, r->x).s, moon__rule_text(ctx, r->w).s);
  if (moon__dim_known(f) && f % a->groups != 0)
    return moon__fail(ctx, MOON_ESHAPE, "%s: groups %lld must divide the %lld filters: w %s", who, (long long)a->groups,
                      (long long)f, moon__rule_text(ctx, r->w).s);
  return MOON_OK;
}

/* Checks x and w, completes the lists of a, and gives the shape of y. */
static moon_status shape_of_y(moon_context *ctx, const char *who, moon_conv_attrs *a, const roles *r, moon_shape *y) {
  moon_ints window = {0};
  moon_status s = MOON_OK;
  if ((s = check_ranks(ctx, who, r)) != MOON_OK || (s = check_kernel(ctx, who, r->w)) != MOON_OK) return s;
  if ((s = check_channels(ctx, who, a, r)) != MOON_OK) return s;
  moon_windows v = windows_of(who, a, r, &window);
  if ((s = moon__window_complete(ctx, &v, 1)) != MOON_OK) return s;
  *y = *r->x;
  y->dim[y->ndim - 1] = r->w->dim[r->w->ndim - 1];
  for (int i = 0; i < v.naxes; i++) {
    if ((y->dim[i + 1] = moon__window_out(ctx, &v, i)) == MOON_DIM_ERROR) return ctx->status;
  }
  return MOON_OK;
}

/* Types of all three ops: y follows from x and w, and must be the dy that came. */
static moon_status infer_role(moon_context *ctx, moon_infer *f, const roles *r) {
  moon_shape y;
  moon_status s = moon__rule_float(ctx, f->op->name, "x", f->in[0].dtype);
  if (s == MOON_OK && r->y) s = moon__rule_sizes(ctx, f->op->name, &((const moon_conv_attrs *)f->attrs)->shape);
  if (s == MOON_OK) s = moon__rule_same_dtype(ctx, f->op->name, "the first input", f->in[0].dtype, "the second", f->in[1].dtype);
  if (s == MOON_OK) s = shape_of_y(ctx, f->op->name, f->attrs, r, &y);
  if (s != MOON_OK) return s;
  f->out[0].dtype = f->in[0].dtype;
  if (!r->y) f->out[0].shape = y;
  else f->out[0].shape = ((const moon_conv_attrs *)f->attrs)->shape;
  return r->y ? moon__rule_same_shape(ctx, f->op->name, "y by x and w is", &y, "dy is", r->y) : MOON_OK;
}

static moon_status infer_conv(moon_context *ctx, moon_infer *f) {
  return infer_role(ctx, f, &(roles){.x = &f->in[0].shape, .w = &f->in[1].shape});
}
static moon_status infer_input_grad(moon_context *ctx, moon_infer *f) {
  const moon_conv_attrs *a = f->attrs;
  return infer_role(ctx, f, &(roles){.x = &a->shape, .w = &f->in[1].shape, .y = &f->in[0].shape});
}
static moon_status infer_filter_grad(moon_context *ctx, moon_infer *f) {
  const moon_conv_attrs *a = f->attrs;
  return infer_role(ctx, f, &(roles){.x = &f->in[0].shape, .w = &a->shape, .y = &f->in[1].shape});
}

/* ---- Gradients: u and v are the two of x, w, y that an op takes ---- */

static moon_value *apply(moon_context *ctx, moon_op_id op, const moon_node *like, const moon_shape *shape, moon_value *u,
                         moon_value *v) {
  moon_conv_attrs a = *(const moon_conv_attrs *)like->attrs;
  moon_value *in[] = {u, v};
  memset(&a.shape, 0, sizeof a.shape);
  if (shape) a.shape = *shape;
  return moon__apply(ctx, op, &a, 2, in);
}

static moon_status grad_conv(moon_context *ctx, const moon_grad *g) {
  moon_value *x = g->x[0], *w = g->x[1], *dy = g->dy[0];
  if (!dy) return MOON_OK;
  if (g->need[0] && !(g->dx[0] = apply(ctx, MOON_OP_conv_input_grad, g->node, moon__shape_of(x), dy, w))) return ctx->status;
  if (g->need[1] && !(g->dx[1] = apply(ctx, MOON_OP_conv_filter_grad, g->node, moon__shape_of(w), x, dy))) return ctx->status;
  return MOON_OK;
}

static moon_status grad_input_grad(moon_context *ctx, const moon_grad *g) {
  moon_value *y = g->x[0], *w = g->x[1], *dx = g->dy[0];
  if (!dx) return MOON_OK;
  if (g->need[0] && !(g->dx[0] = apply(ctx, MOON_OP_conv, g->node, NULL, dx, w))) return ctx->status;
  if (g->need[1] && !(g->dx[1] = apply(ctx, MOON_OP_conv_filter_grad, g->node, moon__shape_of(w), dx, y))) return ctx->status;
  return MOON_OK;
}

static moon_status grad_filter_grad(moon_context *ctx, const moon_grad *g) {
  moon_value *x = g->x[0], *y = g->x[1], *dw = g->dy[0];
  if (!dw) return MOON_OK;
  if (g->need[0] && !(g->dx[0] = apply(ctx, MOON_OP_conv_input_grad, g->node, moon__shape_of(x), y, dw))) return ctx->status;
  if (g->need[1] && !(g->dx[1] = apply(ctx, MOON_OP_conv, g->node, NULL, x, dw))) return ctx->status;
  return MOON_OK;
}

/* ---- Geometry ---- */

static roles roles_of(const moon_node *n) {
  const moon_shape *a = moon__shape_of(n->inputs[0]), *b = moon__shape_of(n->inputs[1]), *y = moon__shape_of(&n->outputs[0]);
  if (n->op->id == MOON_OP_conv_input_grad || n->op->id == MOON_OP_winograd_input_grad) return (roles){.x = y, .w = b, .y = a};
  if (n->op->id == MOON_OP_conv_filter_grad || n->op->id == MOON_OP_winograd_filter_grad) return (roles){.x = a, .w = y, .y = b};
  return (roles){.x = a, .w = b, .y = y};
}

bool moon__conv_is_pointwise(const moon_geometry *g) {
  for (int i = 0; i < 3; i++)
    if (g->window[i] != 1 || g->stride[i] != 1 || g->pad_lo[i] != 0 || g->in[i] != g->out[i]) return false;
  return true;
}

moon_geometry moon__conv_geometry(const moon_node *node) {
  moon_conv_attrs a = *(const moon_conv_attrs *)node->attrs;
  moon_ints window = {0};
  roles r = roles_of(node);
  moon_windows v = windows_of(node->op->name, &a, &r, &window);
  moon_geometry g = {.batch = r.x->dim[0], .groups = a.groups, .c_in = r.x->dim[r.x->ndim - 1], .c_out = r.y->dim[r.y->ndim - 1]};
  moon__window_geometry(&v, r.y, &g);
  return g;
}

double moon__conv_flops(const moon_node *n) {
  moon_geometry g = moon__conv_geometry(n);
  double count = 2 * (double)g.batch * (double)g.c_out * (double)g.c_in / (double)g.groups;
  for (int i = 0; i < 3; i++) count *= (double)g.out[i] * (double)g.window[i];
  return count;
}

/* ---- conv_transpose (x [n, o.., c], w [k.., f / groups, c]) -> y [n, s.., f], sizes as in Keras ---- */

/* Keras: valid gives room for the stride where no output padding is named, same gives o * s. */
static moon_dim transposed_size(moon_context *ctx, const moon_conv_attrs *a, bool named, moon_dim o, int64_t k, int i) {
  int64_t stride = a->strides.v[i], extra = a->output_padding.v[i];
  if (a->padding == MOON_PADDING_SAME && !named) return moon_dim_mul(ctx, o, stride);
  if (a->padding == MOON_PADDING_SAME) k %= 2;
  if (a->padding == MOON_PADDING_VALID && !named) extra = moon__max_i64(k, stride) - k;
  extra += k - a->pad_lo.v[i] - a->pad_hi.v[i];
  if (a->padding == MOON_PADDING_SAME && (extra < 1 || extra > stride)) {
    moon__fail(ctx, MOON_EARGUMENT, "conv_transpose: output_padding %lld does not go with padding same, stride %lld, this kernel",
               (long long)a->output_padding.v[i], (long long)stride);
    return MOON_DIM_ERROR;
  }
  /* (o - 1) * stride + extra, never negative on the way */
  moon_dim whole = moon_dim_mul(ctx, o, stride);
  if (whole == MOON_DIM_ERROR) return whole;
  int64_t more = extra - stride;
  if (moon__dim_known(whole) && more < 0 && whole < -more) {
    moon__fail(ctx, MOON_ESHAPE, "conv_transpose: the output would have no size along axis %lld",
               moon__rule_axis_shown(ctx, i + 1));
    return MOON_DIM_ERROR;
  }
  return more >= 0 ? moon_dim_add(ctx, whole, more) : moon_dim_sub(ctx, whole, -more);
}

/* w [k.., f / groups, c] takes the channels that x has. */
static moon_status check_transposed(moon_context *ctx, const moon_conv_attrs *a, const roles *r) {
  moon_dim c = r->x->dim[r->x->ndim - 1], takes = r->w->dim[r->w->ndim - 1];
  if (a->groups < 1 || a->groups > INT32_MAX || (moon__dim_known(takes) && takes % a->groups != 0))
    return moon__fail(ctx, MOON_EARGUMENT, "conv_transpose: groups must be at least 1 and divide the channels, got %lld: w %s",
                      (long long)a->groups, moon__rule_text(ctx, r->w).s);
  if (!moon__dim_may_equal(c, takes))
    return moon__fail(ctx, MOON_ESHAPE, "conv_transpose: x has %s channels, w is made for %s: x %s, w %s",
                      moon__rule_dim_text(ctx, c).s, moon__rule_dim_text(ctx, takes).s, moon__rule_text(ctx, r->x).s,
                      moon__rule_text(ctx, r->w).s);
  return MOON_OK;
}

static moon_status build_transpose(moon_context *ctx, const moon_body *b) {
  const char *who = "conv_transpose";
  moon_conv_attrs a = *(const moon_conv_attrs *)b->attrs;
  moon_shape x = *moon__shape_of(b->in[0]);
  const moon_shape *w = moon__shape_of(b->in[1]);
  moon_ints window = {0};
  roles r = {.x = &x, .w = w};
  bool named = a.output_padding.n > 0;
  moon_status s = MOON_OK;
  if ((s = check_ranks(ctx, who, &r)) != MOON_OK || (s = check_kernel(ctx, who, w)) != MOON_OK) return s;
  if ((s = check_transposed(ctx, &a, &r)) != MOON_OK) return s;
  moon_windows v = windows_of(who, &a, &r, &window);
  if ((s = moon__window_complete(ctx, &v, 1)) != MOON_OK) return s;
  if ((s = moon__window_list(ctx, who, "output_padding", &a.output_padding, v.naxes, 0, 0)) != MOON_OK) return s;
  for (int i = 0; i < v.naxes; i++) {
    int64_t reach = (window.v[i] - 1) * a.dilation.v[i] + 1;
    if ((x.dim[i + 1] = transposed_size(ctx, &a, named, x.dim[i + 1], reach, i)) == MOON_DIM_ERROR) return ctx->status;
  }
  x.dim[x.ndim - 1] = moon_dim_mul(ctx, w->dim[w->ndim - 2], a.groups);
  memset(&a.output_padding, 0, sizeof a.output_padding);
  a.shape = x;
  b->out[0] = moon__apply(ctx, MOON_OP_conv_input_grad, &a, 2, b->in);
  return moon__rule_built(ctx, b);
}

#define CONV_ROWS                                                                                                   \
  MOON_ATTR(moon_conv_attrs, strides, INTS, .number = 0),                                                           \
      MOON_ATTR(moon_conv_attrs, padding, ENUM, .words = "explicit|valid|same"),                                    \
      MOON_ATTR(moon_conv_attrs, pad_lo, INTS, .number = 0), MOON_ATTR(moon_conv_attrs, pad_hi, INTS, .number = 0), \
      MOON_ATTR(moon_conv_attrs, dilation, INTS, .number = 0), MOON_ATTR(moon_conv_attrs, groups, I64, .number = 1)

static const moon_attr conv_rows[] = {CONV_ROWS};
static const moon_attr grad_rows[] = {CONV_ROWS, MOON_ATTR(moon_conv_attrs, shape, SHAPE, .required = true)};
static const moon_attr transpose_rows[] = {CONV_ROWS, MOON_ATTR(moon_conv_attrs, output_padding, INTS, .number = 0)};

MOON_OP(conv) = {
    MOON_OP_HEAD(conv),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_PRODUCT,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, w",
    MOON_OP_ATTRS(moon_conv_attrs, conv_rows),
    .infer = infer_conv,
    .grad = grad_conv,
    .flops = moon__conv_flops,
    .doc = "Convolution over 1 to 3 spatial axes, channels last: x [n, s.., c], w [k.., c / groups, f] -> [n, o.., f].",
};

MOON_OP(conv_input_grad) = {
    MOON_OP_HEAD(conv_input_grad),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_INTERNAL | MOON_OPF_PRODUCT,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "dy, w",
    MOON_OP_ATTRS(moon_conv_attrs, grad_rows),
    .infer = infer_input_grad,
    .grad = grad_input_grad,
    .flops = moon__conv_flops,
    .doc = "Gradient of conv by x, which has the given shape: dy [n, o.., f], w [k.., c / groups, f] -> [n, s.., c].",
};

MOON_OP(conv_filter_grad) = {
    MOON_OP_HEAD(conv_filter_grad),
    .kind = MOON_STRUCTURED,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, dy",
    MOON_OP_ATTRS(moon_conv_attrs, grad_rows),
    .infer = infer_filter_grad,
    .grad = grad_filter_grad,
    .flops = moon__conv_flops,
    .doc = "Gradient of conv by w, which has the given shape: x [n, s.., c], dy [n, o.., f] -> [k.., c / groups, f].",
};

MOON_OP(conv_transpose) = {
    MOON_OP_HEAD(conv_transpose),
    .kind = MOON_INLINE,
    .inputs = MOON_INPUTS_FLOAT,
    .min_inputs = 2,
    .max_inputs = 2,
    .noutputs = 1,
    .input_names = "x, w",
    MOON_OP_ATTRS(moon_conv_attrs, transpose_rows),
    .build = build_transpose,
    .doc = "Transposed convolution: x [n, o.., c], w [k.., f / groups, c] -> [n, s.., f], sizes as in Keras.",
};
