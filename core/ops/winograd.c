/*
** winograd.c: 3x3 convolution without stride by Winograd's algorithm, as the winograd pass writes it: the filter is transformed by
** a node of its own, so that a program does it once for all runs where weights do not change, and once a step where they do.
**   winograd_filter (w) -> u,  winograd_conv (x, w, u) -> y,  winograd_input_grad (dy, w, u) -> dx,  winograd_filter_grad (x, dy)
** They mean conv, conv_input_grad and conv_filter_grad, which are their bodies: u is only what a kernel reads in the place of w.
** Letters: x [n, h, w, c], w [3, 3, c, f], y [n, h', w', f]; u [blocks, positions, c, 32]: filters in blocks of 32, padded with
** zeros; positions 16 for F(2, 3), 36 for F(4, 3). Of a turned filter, for the gradient by x, c and f change places.
*/
#include <string.h>

#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

/* ---- winograd_filter: u[i][j] = sum over taps of G[i][a] G[j][b] w[a][b] ---- */

static const double points_2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
static const double points_4[6][3] = {{1.0 / 4, 0, 0},
                                      {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                      {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                      {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                      {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                      {0, 0, 1}};

/* [positions, 9], of w's dtype. */
static moon_value *positions_by_taps(moon_context *ctx, moon_value *w, const moon_winograd_attrs *a) {
  double k[36 * 9];
  int n = (int)a->tile + 2;
  const double(*g)[3] = n == 6 ? points_4 : points_2;
  for (int i = 0; i < n * n; i++)
    for (int tap = 0; tap < 9; tap++) {
      int at = a->turned ? 8 - tap : tap;
      k[i * 9 + at] = g[i / n][tap / 3] * g[i % n][tap % 3];
    }
  moon_tensor *t = moon_tensor_from(ctx, MOON_DTYPE_f64, 2, (const int64_t[]){n * n, 9}, k);
  moon_value *v = t ? moon_constant(ctx, t) : NULL;
  moon_tensor_release(t);
  return v ? moon__cast(ctx, v, w->type.dtype) : NULL;
}

static moon_status infer_filter(moon_context *ctx, moon_infer *f) {
  const moon_winograd_attrs *a = f->attrs;
  const moon_shape *w = moon__rule_shape(f, 0);
  moon_status s = moon__rule_float(ctx, f->op->name, "w", f->in[0].dtype);
  if (s != MOON_OK) return s;
  if (a->tile != 2 && a->tile != 4)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: tile must be 2 or 4, got %lld", f->op->name, (long long)a->tile);
  if (w->ndim != 4 || w->dim[0] != 3 || w->dim[1] != 3 || !moon__dim_known(w->dim[2]) || !moon__dim_known(w->dim[3]))
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs w [3, 3, c, f] of known sizes: w %s", f->op->name, moon__rule_text(ctx, w).s);
  int64_t c = w->dim[a->turned ? 3 : 2], columns = w->dim[a->turned ? 2 : 3], n = a->tile + 2;
  f->out[0] = f->in[0];
  f->out[0].shape = moon__shape(4, (moon_dim[]){moon__ceildiv_i64(columns, 32), n * n, c, 32});
  return moon__rule_sizes(ctx, f->op->name, &f->out[0].shape);
}

static moon_status build_filter(moon_context *ctx, const moon_body *b) {
  const moon_winograd_attrs *a = b->attrs;
  moon_value *w = b->in[0];
  if (a->turned) w = moon__swap_last(ctx, w);
  if (!w) return moon_error_status(ctx);
  int64_t c = w->type.shape.dim[2], f = w->type.shape.dim[3], blocks = moon__ceildiv_i64(f, 32), n = a->tile + 2;
  moon_pad_attrs pad;
  memset(&pad, 0, sizeof pad);
  pad.lo.n = pad.hi.n = 4;
  pad.hi.v[3] = blocks * 32 - f;
  moon_value *wide = moon__apply(ctx, MOON_OP_pad, &pad, 1, &w);
  moon_shape taps = moon__shape(2, (moon_dim[]){9, c * blocks * 32});
  moon_shape apart = moon__shape(4, (moon_dim[]){n * n, c, blocks, 32});
  moon_value *u = moon__matmul(ctx, positions_by_taps(ctx, w, a), wide ? moon__reshape(ctx, wide, &taps) : NULL);
  b->out[0] = moon__transpose(ctx, u ? moon__reshape(ctx, u, &apart) : NULL, (const int[]){2, 0, 1, 3});
  return moon__rule_built(ctx, b);
}

/* ---- The convolutions ---- */

static moon_status build_as(moon_context *ctx, const moon_body *b, moon_op_id op) {
  b->out[0] = moon__apply(ctx, op, b->attrs, 2, b->in);
  return moon__rule_built(ctx, b);
}
static moon_status build_conv(moon_context *ctx, const moon_body *b) { return build_as(ctx, b, MOON_OP_conv); }
static moon_status build_input_grad(moon_context *ctx, const moon_body *b) { return build_as(ctx, b, MOON_OP_conv_input_grad); }
static moon_status build_filter_grad(moon_context *ctx, const moon_body *b) { return build_as(ctx, b, MOON_OP_conv_filter_grad); }

static const moon_attr filter_rows[] = {
    MOON_ATTR(moon_winograd_attrs, tile, I64, .number = 4),
    MOON_ATTR(moon_winograd_attrs, turned, BOOL, .number = 0),
    MOON_ATTR(moon_winograd_attrs, fresh, BOOL, .number = 0),
};
#define PAD_ROWS                                                                                                    \
  MOON_ATTR(moon_conv_attrs, padding, ENUM, .words = "explicit|valid|same"),                                        \
      MOON_ATTR(moon_conv_attrs, pad_lo, INTS, .number = 0), MOON_ATTR(moon_conv_attrs, pad_hi, INTS, .number = 0), \
      MOON_ATTR(moon_conv_attrs, strides, INTS, .number = 0), MOON_ATTR(moon_conv_attrs, dilation, INTS, .number = 0), \
      MOON_ATTR(moon_conv_attrs, groups, I64, .number = 1)
static const moon_attr conv_rows[] = {PAD_ROWS};
static const moon_attr grad_rows[] = {PAD_ROWS, MOON_ATTR(moon_conv_attrs, shape, SHAPE, .required = true)};

MOON_OP(winograd_filter) = {
    MOON_OP_HEAD(winograd_filter),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "w",
    MOON_OP_ATTRS(moon_winograd_attrs, filter_rows),
    .infer = infer_filter,
    .build = build_filter,
    .doc = "A 3x3 filter transformed for F(tile, 3): w [3, 3, c, f] -> [blocks of f, positions, c, 32].",
};

#define CONVOLUTION(op, rows, ninputs, names, flag) \
  MOON_OP_HEAD(op), .kind = MOON_COMPOSITE, .inputs = MOON_INPUTS_FLOAT, .flags = MOON_OPF_INTERNAL | flag, \
  .min_inputs = ninputs, .max_inputs = ninputs, .noutputs = 1, .input_names = names, .flops = moon__conv_flops, MOON_OP_ATTRS(moon_conv_attrs, rows)

MOON_OP(winograd_conv) = {CONVOLUTION(winograd_conv, conv_rows, 3, "x, w, u", MOON_OPF_PRODUCT), .build = build_conv,
                          .doc = "conv (x, w) with the filter also given as winograd_filter makes it."};
MOON_OP(winograd_input_grad) = {CONVOLUTION(winograd_input_grad, grad_rows, 3, "dy, w, u", MOON_OPF_PRODUCT), .build = build_input_grad,
                                .doc = "conv_input_grad (dy, w) with the turned filter also given as winograd_filter makes it."};
MOON_OP(winograd_filter_grad) = {CONVOLUTION(winograd_filter_grad, grad_rows, 2, "x, dy", 0), .build = build_filter_grad,
                                 .doc = "conv_filter_grad (x, dy) by Winograd's algorithm."};
