/* clip.c: numbers held between two bounds: a composite of maximum and minimum. A bound that is NaN is none. */
#include <math.h>

#include "base/error.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"

static moon_status infer_clip(moon_context *ctx, moon_infer *f) {
  const moon_clip_attrs *a = f->attrs;
  f->out[0] = f->in[0];
  if (f->out[0].dtype == MOON_DTYPE_bool) f->out[0].dtype = MOON_DTYPE_i32;
  moon_status s = isnan(a->lo) ? MOON_OK : moon__rule_number(ctx, f->op->name, "lo", a->lo, f->out[0].dtype);
  return s != MOON_OK || isnan(a->hi) ? s : moon__rule_number(ctx, f->op->name, "hi", a->hi, f->out[0].dtype);
}

static moon_status build_clip(moon_context *ctx, const moon_body *b) {
  const moon_clip_attrs *a = b->attrs;
  moon_value *x = b->in[0];
  if (x->type.dtype == MOON_DTYPE_bool) x = moon__cast(ctx, x, MOON_DTYPE_i32);
  if (x && !isnan(a->lo)) x = moon__binary(ctx, MOON_OP_maximum, x, moon__number(ctx, x, a->lo));
  if (x && !isnan(a->hi)) x = moon__binary(ctx, MOON_OP_minimum, x, moon__number(ctx, x, a->hi));
  b->out[0] = x;
  return moon__rule_built(ctx, b);
}

static const moon_attr clip_rows[] = {MOON_ATTR(moon_clip_attrs, lo, F64, .number = NAN),
                                      MOON_ATTR(moon_clip_attrs, hi, F64, .number = NAN)};
MOON_OP(clip) = {MOON_OP_HEAD(clip), .kind = MOON_COMPOSITE, .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x",
                 MOON_OP_ATTRS(moon_clip_attrs, clip_rows), .infer = infer_clip, .build = build_clip,
                 .doc = "x, but lo where it is less and hi where it is more; either may be left out: x [..] -> [..]."};
