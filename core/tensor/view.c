/*
** view.c: tensors that share storage with another: parts, one index, permuted axes, other shapes. A view never copies, except that
** reshape does where strides do not allow one.
*/
#include <string.h>

#include "base/context.h"
#include "base/shape.h"
#include "base/size.h"
#include "tensor/tensor.h"

/* Checks one axis of a part and gives its new stride and its share of the offset. */
static moon_status cut_axis(moon_context *ctx, const moon_tensor *t, int axis, int64_t start, int64_t size, int64_t step,
                            int64_t *stride, int64_t *offset) {
  int64_t n = t->shape[axis], last = start, reach, shift = 0;
  int at = axis + ctx->index_base;
  if (size < 0) {
    return moon__fail(ctx, MOON_ESIZE, "slice: the size along axis %d must not be negative, got %lld", at, (long long)size);
  }
  if (size > 1 && step == 0) return moon__fail(ctx, MOON_EARGUMENT, "slice: the step along axis %d must not be 0", at);
  *stride = size > 1 ? t->strides[axis] : 0;
  if (size == 0) return MOON_OK;
  if (size > 1 && (!moon__mul_i64(size - 1, step, &reach) || !moon__add_i64(start, reach, &last))) last = -1;
  if (start < 0 || start >= n || last < 0 || last >= n) {
    return moon__fail(ctx, MOON_EINDEX, "slice: %lld from position %lld by steps of %lld leave axis %d of size %lld",
                      (long long)size, (long long)start + ctx->index_base, (long long)step, at, (long long)n);
  }
  if (size > 1) moon__mul_i64(*stride, step, stride);
  moon__mul_i64(start, t->strides[axis], &shift);
  *offset += shift;
  return MOON_OK;
}

moon_tensor *moon_tensor_view(moon_context *ctx, moon_tensor *t, const int64_t *start, const int64_t *size, const int64_t *step) {
  int64_t strides[MOON_MAX_DIMS], offset = t->offset;
  for (int i = 0; i < t->ndim; i++) {
    if (cut_axis(ctx, t, i, start[i], size[i], step ? step[i] : 1, &strides[i], &offset) != MOON_OK) return NULL;
  }
  return moon__tensor_over(ctx, t->storage, t->dtype, t->ndim, size, strides, offset);
}

moon_tensor *moon_tensor_at(moon_context *ctx, moon_tensor *t, int64_t index) {
  if (t->ndim == 0) {
    moon__fail(ctx, MOON_EINDEX, "index: a tensor of rank 0 has no axis to index");
    return NULL;
  }
  if (index < 0 || index >= t->shape[0]) {
    moon__fail(ctx, MOON_EINDEX, "index: %lld is out of range, the axis has size %lld", (long long)index + ctx->index_base,
               (long long)t->shape[0]);
    return NULL;
  }
  return moon__tensor_over(ctx, t->storage, t->dtype, t->ndim - 1, t->shape + 1, t->strides + 1, t->offset + index * t->strides[0]);
}

moon_tensor *moon_tensor_transpose(moon_context *ctx, moon_tensor *t, const int *perm) {
  int64_t shape[MOON_MAX_DIMS], strides[MOON_MAX_DIMS];
  bool seen[MOON_MAX_DIMS] = {false};
  for (int i = 0; i < t->ndim; i++) {
    int axis = perm ? perm[i] : t->ndim - 1 - i;
    if (axis < 0 || axis >= t->ndim || seen[axis]) {
      moon__fail(ctx, MOON_EAXIS, "transpose: each of the %d axes is expected once, got axis %d", t->ndim, axis + ctx->index_base);
      return NULL;
    }
    seen[axis] = true;
    shape[i] = t->shape[axis];
    strides[i] = t->strides[axis];
  }
  return moon__tensor_over(ctx, t->storage, t->dtype, t->ndim, shape, strides, t->offset);
}

/* ---- reshape ---- */

/* Replaces the one -1 of shape by what is left. */
static moon_status fill_rest(moon_context *ctx, const moon_tensor *t, int ndim, const int64_t *shape, int64_t *out) {
  int64_t product = 1, count = moon_tensor_count(t);
  int rest = -1;
  moon_type type = moon__tensor_type(t);
  moon_shape asked;
  char from[256], to[256];
  bool good = ndim >= 0 && ndim <= MOON_MAX_DIMS;
  for (int i = 0; good && i < ndim; i++) {
    out[i] = shape[i];
    if (shape[i] == -1 && rest < 0) {
      rest = i;
    } else {
      good = shape[i] >= 0 && moon__mul_i64(product, shape[i], &product);
    }
  }
  if (good && rest >= 0) {
    good = product > 0 && count % product == 0;
    out[rest] = good ? count / product : 0;
    product = good ? count : 0;
  }
  if (good && product == count) return MOON_OK;
  if (ndim < 0 || ndim > MOON_MAX_DIMS) {
    return moon__fail(ctx, MOON_ESHAPE, "reshape: at most %d axes are possible, got %d", MOON_MAX_DIMS, ndim);
  }
  asked = moon__shape(ndim, shape);
  return moon__fail(ctx, MOON_ESHAPE, "reshape: %lld elements of shape %s do not fill shape %s", (long long)count,
                    moon_shape_text(ctx->runtime, &type.shape, from, sizeof from),
                    moon_shape_text(ctx->runtime, &asked, to, sizeof to));
}

/*
** Strides of the new shape over the same memory. Both shapes are cut into groups of axes with equal products; a group of old axes
** must be walkable as one. False: a copy is needed.
*/
static bool reshape_strides(const moon_tensor *t, int ndim, const int64_t *shape, int64_t *strides) {
  int64_t old_shape[MOON_MAX_DIMS], old_strides[MOON_MAX_DIMS];
  int nold = 0, i = 0, j = 0;
  for (int k = 0; k < t->ndim; k++) {
    if (t->shape[k] == 1) continue;
    old_shape[nold] = t->shape[k];
    old_strides[nold++] = t->strides[k];
  }
  for (int k = 0; k < ndim; k++) strides[k] = 0;
  while (i < nold && j < ndim) {
    int i_end = i + 1, j_end = j + 1;
    int64_t old_count = old_shape[i], new_count = shape[j], step;
    while (old_count != new_count) {
      if (new_count < old_count) {
        new_count *= shape[j_end++];
      } else {
        old_count *= old_shape[i_end++];
      }
    }
    for (int k = i; k + 1 < i_end; k++) {
      if (old_strides[k] != old_shape[k + 1] * old_strides[k + 1]) return false;
    }
    step = old_strides[i_end - 1];
    for (int k = j_end - 1; k >= j; k--) {
      strides[k] = step;
      step *= shape[k];
    }
    i = i_end;
    j = j_end;
  }
  return true;
}

moon_tensor *moon_tensor_reshape(moon_context *ctx, moon_tensor *t, int ndim, const int64_t *shape) {
  int64_t fresh[MOON_MAX_DIMS], strides[MOON_MAX_DIMS], old[MOON_MAX_DIMS];
  moon_tensor *copy, *view;
  if (fill_rest(ctx, t, ndim, shape, fresh) != MOON_OK) return NULL;
  if (moon_tensor_count(t) == 0 || moon_tensor_is_dense(t)) {
    return moon__tensor_over(ctx, t->storage, t->dtype, ndim, fresh, NULL, t->offset);
  }
  if (reshape_strides(t, ndim, fresh, strides)) {
    return moon__tensor_over(ctx, t->storage, t->dtype, ndim, fresh, strides, t->offset);
  }
  memcpy(old, t->shape, sizeof old);
  copy = moon__tensor_empty(ctx, t->dtype, t->ndim, old);
  if (!copy) return NULL;
  view = moon_tensor_copy(ctx, copy, t) == MOON_OK ? moon__tensor_over(ctx, copy->storage, t->dtype, ndim, fresh, NULL, 0) : NULL;
  moon_tensor_release(copy);
  return view;
}
