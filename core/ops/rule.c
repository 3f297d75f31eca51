/*
** rule.c: checks and messages that shape rules share. Every message names the op, the rule, what came and what was expected; axes
** are printed as the script counts them. A rule never depends on numbers, only on types.
*/
#include "ops/rule.h"

#include <math.h>

#include "base/dim.h"
#include "base/error.h"

moon_rule_text moon__rule_text(const moon_context *ctx, const moon_shape *shape) {
  moon_rule_text t;
  moon_shape_text(ctx->runtime, shape, t.s, sizeof t.s);
  return t;
}

moon_rule_text moon__rule_dim_text(const moon_context *ctx, moon_dim d) {
  moon_rule_text t;
  moon_dim_text(ctx->runtime, d, t.s, sizeof t.s);
  return t;
}

moon_status moon__rule_axis(moon_context *ctx, const char *who, int64_t *axis, const moon_shape *x) {
  int resolved = 0;
  if (!moon__axis_resolve(*axis, x->ndim, &resolved))
    return moon__fail(ctx, MOON_EAXIS, "%s: axis %lld is out of range for shape %s", who, moon__rule_axis_shown(ctx, *axis),
                      moon__rule_text(ctx, x).s);
  *axis = resolved;
  return MOON_OK;
}

moon_status moon__rule_axes(moon_context *ctx, const char *who, moon_ints *axes, const moon_shape *x) {
  if (axes->n < 0 || axes->n > x->ndim)
    return moon__fail(ctx, MOON_EAXIS, "%s: %d axes given for shape %s", who, (int)axes->n, moon__rule_text(ctx, x).s);
  for (int i = 0; i < axes->n; i++) {
    moon_status s = moon__rule_axis(ctx, who, &axes->v[i], x);
    if (s != MOON_OK) return s;
    int64_t a = axes->v[i];
    int k = i;
    for (; k > 0 && axes->v[k - 1] > a; k--) axes->v[k] = axes->v[k - 1];
    axes->v[k] = a;
    if (k > 0 && axes->v[k - 1] == a)
      return moon__fail(ctx, MOON_EAXIS, "%s: axis %lld is given twice", who, moon__rule_axis_shown(ctx, a));
  }
  return MOON_OK;
}

moon_status moon__rule_index(moon_context *ctx, const char *who, moon_dtype dtype) {
  if (dtype == MOON_DTYPE_u8 || dtype == MOON_DTYPE_i32 || dtype == MOON_DTYPE_i64) return MOON_OK;
  return moon__fail(ctx, MOON_EDTYPE, "%s: index must be u8, i32 or i64, got %s", who, moon_dtype_name(dtype));
}

moon_status moon__rule_float(moon_context *ctx, const char *who, const char *name, moon_dtype dtype) {
  if (moon__dtype_is_float(dtype)) return MOON_OK;
  return moon__fail(ctx, MOON_EDTYPE, "%s: %s must be bf16, f16, f32 or f64, got %s", who, name, moon_dtype_name(dtype));
}

moon_status moon__rule_same_dtype(moon_context *ctx, const char *who, const char *a_name, moon_dtype a, const char *b_name,
                                  moon_dtype b) {
  if (a == b) return MOON_OK;
  return moon__fail(ctx, MOON_EDTYPE, "%s: %s must have the dtype of %s, %s, got %s", who, b_name, a_name, moon_dtype_name(a),
                    moon_dtype_name(b));
}

moon_status moon__rule_sizes(moon_context *ctx, const char *who, const moon_shape *shape) {
  int64_t count;
  for (int i = 0; i < shape->ndim; i++) {
    if (shape->dim[i] < 0 && shape->dim[i] > MOON_DIM_FIRST)
      return moon__fail(ctx, MOON_ESIZE, "%s: size of axis %d must be 0 or more, got %lld", who, i + ctx->index_base,
                        (long long)shape->dim[i]);
  }
  if (moon__shape_known(shape) && !moon__shape_count_known(shape, &count))
    return moon__fail(ctx, MOON_ESIZE, "%s: shape %s has too many elements", who, moon__rule_text(ctx, shape).s);
  return MOON_OK;
}

bool moon__rule_dtype_given(int32_t dtype) { return dtype >= 0 && dtype < MOON_DTYPE_COUNT; }

moon_status moon__rule_number(moon_context *ctx, const char *who, const char *name, double x, moon_dtype dtype) {
  double lo = dtype == MOON_DTYPE_i32 ? INT32_MIN : dtype == MOON_DTYPE_i64 ? -0x1p63 : 0;
  double hi = dtype == MOON_DTYPE_i32 ? INT32_MAX : dtype == MOON_DTYPE_i64 ? 0x1p63 : 255;
  if (moon__dtype_is_float(dtype) || dtype == MOON_DTYPE_bool) return MOON_OK;
  if (x >= lo && x <= hi && x == floor(x)) return MOON_OK;
  return moon__fail(ctx, MOON_EARGUMENT, "%s: %s must be a whole number that %s can hold, got %.17g", who, name,
                    moon_dtype_name(dtype), x);
}

bool moon__rule_may_equal(const moon_shape *a, const moon_shape *b) {
  bool same = a->ndim == b->ndim;
  for (int i = 0; same && i < a->ndim; i++) same = moon__dim_may_equal(a->dim[i], b->dim[i]);
  return same;
}

moon_status moon__rule_same_shape(moon_context *ctx, const char *who, const char *a_name, const moon_shape *a, const char *b_name,
                                  const moon_shape *b) {
  if (moon__rule_may_equal(a, b)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: shapes must be equal: %s %s, %s %s", who, a_name, moon__rule_text(ctx, a).s, b_name,
                    moon__rule_text(ctx, b).s);
}

moon_status moon__rule_vector(moon_context *ctx, const char *who, const char *name, const moon_shape *b, moon_dim n) {
  if (b->ndim == 1 && moon__dim_may_equal(b->dim[0], n)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: %s must have shape (%s), got %s", who, name, moon__rule_dim_text(ctx, n).s,
                    moon__rule_text(ctx, b).s);
}

moon_status moon__rule_built(moon_context *ctx, const moon_body *b) {
  for (int i = 0; i < b->noutputs; i++) {
    if (!b->out[i]) return ctx->status != MOON_OK ? ctx->status : moon__fail(ctx, MOON_EINTERNAL, "body has no output %d", i);
  }
  return MOON_OK;
}
