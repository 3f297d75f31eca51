/* shape.c: whole shapes: comparing, counting, broadcasting. Single dims are in dim.c, texts in dim_text.c. */
#include "base/shape.h"

#include <string.h>

#include "base/error.h"
#include "base/context.h"
#include "base/size.h"

bool moon__shape_equal(const moon_shape *a, const moon_shape *b) {
  if (a->ndim != b->ndim) return false;
  for (int i = 0; i < a->ndim; i++) {
    if (a->dim[i] != b->dim[i]) return false;
  }
  return true;
}

bool moon__shape_known(const moon_shape *s) {
  for (int i = 0; i < s->ndim; i++) {
    if (s->dim[i] < 0) return false;
  }
  return true;
}

moon_shape moon__shape(int ndim, const moon_dim *dims) {
  moon_shape s;
  memset(&s, 0, sizeof s);
  s.ndim = ndim;
  for (int i = 0; i < ndim; i++) s.dim[i] = dims[i];
  return s;
}

moon_dim moon__shape_count(moon_context *ctx, const moon_shape *s) {
  moon_dim count = 1;
  for (int i = 0; i < s->ndim; i++) {
    if (s->dim[i] == 0) return 0;
  }
  for (int i = 0; i < s->ndim && count != MOON_DIM_ERROR; i++) count = moon_dim_mul(ctx, count, s->dim[i]);
  return count;
}

/* Sizes of 0 count as 1 for the overflow, so strides of empty shapes fit as well. */
bool moon__shape_count_known(const moon_shape *s, int64_t *count) {
  int64_t product = 1;
  bool empty = false;
  for (int i = 0; i < s->ndim; i++) {
    if (s->dim[i] < 0) return false;
    if (s->dim[i] == 0) empty = true;
    if (s->dim[i] > 0 && !moon__mul_i64(product, s->dim[i], &product)) return false;
  }
  *count = empty ? 0 : product;
  return true;
}

static bool broadcast_dim(moon_dim a, moon_dim b, moon_dim *out) {
  if (a == b || b == 1) {
    *out = a;
  } else if (a == 1) {
    *out = b;
  } else if (moon__dim_known(a) && moon__dim_known(b)) {
    return false;
  } else {
    *out = moon__dim_known(b) ? b : a;
  }
  return true;
}

moon_status moon__shape_broadcast(moon_context *ctx, const char *who, const moon_shape *a, const moon_shape *b, moon_shape *out) {
  moon_shape result;
  memset(&result, 0, sizeof result);
  result.ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
  for (int i = 1; i <= result.ndim; i++) {
    moon_dim x = i <= a->ndim ? a->dim[a->ndim - i] : 1, y = i <= b->ndim ? b->dim[b->ndim - i] : 1;
    if (!broadcast_dim(x, y, &result.dim[result.ndim - i])) {
      char a_text[256], b_text[256];
      return moon__fail(ctx, MOON_ESHAPE, "%s: shapes %s and %s cannot be broadcast: sizes %lld and %lld differ", who,
                        moon_shape_text(ctx->runtime, a, a_text, sizeof a_text),
                        moon_shape_text(ctx->runtime, b, b_text, sizeof b_text), (long long)x, (long long)y);
    }
  }
  *out = result;
  return MOON_OK;
}
