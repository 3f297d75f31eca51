/*
** rule.h: checks and messages that shape rules of structured and composite ops share: axes, dtypes, shapes as text. What belongs to
** one family only (windows of convolution and pooling) has its own header. Nothing here builds nodes.
*/
#ifndef MOON_RULE_H
#define MOON_RULE_H
#include "base/context.h"
#include "base/shape.h"
#include "ops/op.h"

/* Text by value, so that it can stand in the arguments of moon__fail: moon__rule_text(ctx, shape).s */
typedef struct moon_rule_text {
  char s[192];
} moon_rule_text;
moon_rule_text moon__rule_text(const moon_context *ctx, const moon_shape *shape);
moon_rule_text moon__rule_dim_text(const moon_context *ctx, moon_dim d);

/* Axis or position as a message shows it. */
static inline long long moon__rule_axis_shown(const moon_context *ctx, int64_t axis) {
  return (long long)(axis < 0 || axis == INT64_MAX ? axis : axis + ctx->index_base);
}
/* Resolves a negative axis of shape x in place. Fails: MOON_EAXIS. */
moon_status moon__rule_axis(moon_context *ctx, const char *who, int64_t *axis, const moon_shape *x);
/* The same for a list, which comes out sorted. Fails: MOON_EAXIS out of range, or one axis twice. */
moon_status moon__rule_axes(moon_context *ctx, const char *who, moon_ints *axes, const moon_shape *x);
/* Indices are u8, i32 or i64. */
moon_status moon__rule_index(moon_context *ctx, const char *who, moon_dtype dtype);
moon_status moon__rule_float(moon_context *ctx, const char *who, const char *name, moon_dtype dtype);
/* Do b's dtype and sizes fit those of a, as far as they are known? */
moon_status moon__rule_same_dtype(moon_context *ctx, const char *who, const char *a_name, moon_dtype a, const char *b_name,
                                  moon_dtype b);
moon_status moon__rule_same_shape(moon_context *ctx, const char *who, const char *a_name, const moon_shape *a, const char *b_name,
                                  const moon_shape *b);
/* b must be [n]. */
moon_status moon__rule_vector(moon_context *ctx, const char *who, const char *name, const moon_shape *b, moon_dim n);

/* Sizes given as attributes: each 0 or more, or an unknown; their product must fit. Fails: MOON_ESIZE. */
moon_status moon__rule_sizes(moon_context *ctx, const char *who, const moon_shape *shape);
/* Can a tensor of that dtype hold x? Integers hold whole numbers of their range. Fails: MOON_EARGUMENT. */
moon_status moon__rule_number(moon_context *ctx, const char *who, const char *name, double x, moon_dtype dtype);
bool moon__rule_dtype_given(int32_t dtype);

bool moon__rule_may_equal(const moon_shape *a, const moon_shape *b);
/* The better known of two sizes that must be equal. */
static inline moon_dim moon__rule_merge(moon_dim a, moon_dim b) { return moon__dim_known(a) ? a : moon__dim_known(b) ? b : a; }
static inline const moon_shape *moon__rule_shape(const moon_infer *f, int i) { return &f->in[i].shape; }
/* What a build function returns: MOON_OK when all outputs were built, else the recorded failure. */
moon_status moon__rule_built(moon_context *ctx, const moon_body *b);
#endif
