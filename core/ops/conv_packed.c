/*
** conv_packed.c: convolution by a filter that was packed once, as the select pass writes it where weights do not change from run to
** run. pack_filter (w) -> p,  conv_packed (x, w, p) -> y: conv (x, w), which is its body: p is only what a kernel reads in the
** place of w. Letters: w [k.., c, f], p [blocks, taps, c, 32]: filters in blocks of 32, the last padded with zeros.
*/
#include <string.h>

#include "base/shape.h"
#include "base/size.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_status infer_pack(moon_context *ctx, moon_infer *f) {
  const moon_shape *w = moon__rule_shape(f, 0);
  moon_dim taps = 1;
  if (w->ndim < 3 || !moon__dim_known(w->dim[w->ndim - 1]))
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs w [k.., c, f], f known: w %s", f->op->name, moon__rule_text(ctx, w).s);
  for (int i = 0; i + 2 < w->ndim && taps != MOON_DIM_ERROR; i++) taps = moon_dim_mul(ctx, taps, w->dim[i]);
  if (taps == MOON_DIM_ERROR) return ctx->status;
  f->out[0] = f->in[0];
  f->out[0].shape = moon__shape(4, (moon_dim[]){moon__ceildiv_i64(w->dim[w->ndim - 1], 32), taps, w->dim[w->ndim - 2], 32});
  return MOON_OK;
}

static moon_status build_pack(moon_context *ctx, const moon_body *b) {
  const moon_shape *w = moon__shape_of(b->in[0]);
  int last = w->ndim - 1;
  moon_dim taps = 1;
  for (int i = 0; i < last - 1; i++) taps = moon_dim_mul(ctx, taps, w->dim[i]);
  int64_t blocks = moon__ceildiv_i64(w->dim[last], 32);
  moon_pad_attrs pad;
  memset(&pad, 0, sizeof pad);
  pad.lo.n = pad.hi.n = w->ndim;
  pad.hi.v[last] = blocks * 32 - w->dim[last];
  moon_value *wide = moon__apply(ctx, MOON_OP_pad, &pad, 1, b->in);
  moon_shape apart = moon__shape(4, (moon_dim[]){taps, w->dim[last - 1], blocks, 32});
  b->out[0] = moon__transpose(ctx, wide ? moon__reshape(ctx, wide, &apart) : NULL, (const int[]){2, 0, 1, 3});
  return moon__rule_built(ctx, b);
}

static moon_status build_conv(moon_context *ctx, const moon_body *b) {
  b->out[0] = moon__apply(ctx, MOON_OP_conv, b->attrs, 2, b->in);
  return moon__rule_built(ctx, b);
}

static const moon_attr rows[] = {
    MOON_ATTR(moon_conv_attrs, strides, INTS, .number = 0),
    MOON_ATTR(moon_conv_attrs, padding, ENUM, .words = "explicit|valid|same"),
    MOON_ATTR(moon_conv_attrs, pad_lo, INTS, .number = 0),
    MOON_ATTR(moon_conv_attrs, pad_hi, INTS, .number = 0),
    MOON_ATTR(moon_conv_attrs, dilation, INTS, .number = 0),
    MOON_ATTR(moon_conv_attrs, groups, I64, .number = 1),
};

MOON_OP(pack_filter) = {
    MOON_OP_HEAD(pack_filter),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 1,
    .noutputs = 1,
    .input_names = "w",
    .infer = infer_pack,
    .build = build_pack,
    .doc = "A filter in blocks: w [k.., c, f] -> [ceil(f / 32), taps, c, 32], padded with zeros.",
};

MOON_OP(conv_packed) = {
    MOON_OP_HEAD(conv_packed),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_INTERNAL | MOON_OPF_PRODUCT,
    .min_inputs = 3,
    .max_inputs = 3,
    .noutputs = 1,
    .input_names = "x, w, p",
    .flops = moon__conv_flops,
    MOON_OP_ATTRS(moon_conv_attrs, rows),
    .build = build_conv,
    .doc = "conv (x, w) with the filter also given as pack_filter makes it.",
};
