/*
** tensor.c: making tensors and moving their numbers to and from the host. Views are in view.c, the conversion of dtypes in
** convert.c. Invariant: every element of a tensor lies within its storage, so strides can be followed without checks.
*/
#include "tensor/tensor.h"

#include <stdatomic.h>
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/shape.h"
#include "base/size.h"

moon_status moon__tensor_check(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape, int64_t *count, size_t *bytes) {
  moon_shape s;
  char text[256];
  if ((unsigned)dtype >= MOON_DTYPE_COUNT) return moon__fail(ctx, MOON_EDTYPE, "tensor: %d is not a dtype", (int)dtype);
  if (ndim < 0 || ndim > MOON_MAX_DIMS) {
    return moon__fail(ctx, MOON_ESHAPE, "tensor: at most %d axes are possible, got %d", MOON_MAX_DIMS, ndim);
  }
  s = moon__shape(ndim, shape);
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) {
      return moon__fail(ctx, MOON_ESHAPE, "tensor: sizes must be known and not negative, got %s",
                        moon_shape_text(ctx->runtime, &s, text, sizeof text));
    }
  }
  if (!moon__shape_count_known(&s, count) || !moon__mul_size((size_t)*count, moon_dtype_bytes(dtype), bytes) ||
      *bytes > PTRDIFF_MAX) {
    return moon__fail(ctx, MOON_ESIZE, "tensor: shape %s is too large", moon_shape_text(ctx->runtime, &s, text, sizeof text));
  }
  return MOON_OK;
}

void moon__dense_strides(int ndim, const int64_t *shape, int64_t *strides) {
  int64_t step = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    strides[i] = step;
    if (shape[i] > 1 && !moon__mul_i64(step, shape[i], &step)) step = INT64_MAX;
  }
}

static moon_tensor *new_tensor(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape, bool zero) {
  int64_t count;
  size_t bytes;
  moon_storage *s;
  moon_tensor *t;
  if (moon__tensor_check(ctx, dtype, ndim, shape, &count, &bytes) != MOON_OK) return NULL;
  s = moon__storage_new(ctx, NULL, bytes, zero);
  if (!s) return NULL;
  t = moon__tensor_over(ctx, s, dtype, ndim, shape, NULL, 0);
  moon__storage_release(s);
  return t;
}

moon_tensor *moon_tensor_new(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape) {
  return new_tensor(ctx, dtype, ndim, shape, true);
}

moon_tensor *moon__tensor_empty(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape) {
  return new_tensor(ctx, dtype, ndim, shape, false);
}

/* First and last element of a strided array that is not empty, counted from offset. False: does not fit. */
static bool find_extent(int ndim, const int64_t *shape, const int64_t *strides, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (int i = 0; i < ndim; i++) {
    int64_t reach;
    if (!moon__mul_i64(shape[i] - 1, strides[i], &reach)) return false;
    if (!moon__add_i64(*(reach < 0 ? low : high), reach, reach < 0 ? low : high)) return false;
  }
  return true;
}

/* Do all elements lie within the storage? */
static bool fits(const moon_storage *s, moon_dtype dtype, int64_t count, const moon_tensor *t) {
  int64_t low, high, room = (int64_t)(s->bytes / moon_dtype_bytes(dtype));
  if (count == 0) return t->offset >= 0;
  if (!find_extent(t->ndim, t->shape, t->strides, &low, &high)) return false;
  return moon__add_i64(low, t->offset, &low) && moon__add_i64(high, t->offset, &high) && low >= 0 && high < room;
}

moon_tensor *moon__tensor_over(moon_context *ctx, moon_storage *s, moon_dtype dtype, int ndim, const int64_t *shape,
                               const int64_t *strides, int64_t offset) {
  int64_t count;
  size_t bytes;
  moon_tensor *t;
  if (moon__tensor_check(ctx, dtype, ndim, shape, &count, &bytes) != MOON_OK) return NULL;
  t = moon__alloc(ctx->runtime, sizeof *t);
  if (!t) {
    moon__fail_memory(ctx);
    return NULL;
  }
  t->refs = 1;
  t->runtime = ctx->runtime;
  t->storage = moon__storage_retain(s);
  t->dtype = dtype;
  t->ndim = ndim;
  t->offset = offset;
  for (int i = 0; i < ndim; i++) t->shape[i] = shape[i];
  moon__dense_strides(ndim, shape, t->strides);
  for (int i = 0; strides && i < ndim; i++) t->strides[i] = strides[i];
  if (fits(s, dtype, count, t)) return t;
  moon_tensor_release(t);
  moon__fail(ctx, MOON_ESIZE, "tensor: a view must lie within its storage");
  return NULL;
}

moon_tensor *moon_tensor_from(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape, const void *data) {
  moon_tensor *t = moon__tensor_empty(ctx, dtype, ndim, shape);
  if (t && moon_tensor_write(ctx, t, dtype, data, moon_tensor_bytes(t)) != MOON_OK) {
    moon_tensor_release(t);
    return NULL;
  }
  return t;
}

moon_tensor *moon_tensor_retain(moon_tensor *t) {
  if (t) atomic_fetch_add(&t->refs, 1);
  return t;
}

void moon_tensor_release(moon_tensor *t) {
  moon_storage *s;
  if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
  s = t->storage; /* may hold the last reference to the runtime */
  moon__free(t->runtime, t);
  moon__storage_release(s);
}

/* ---- what it is ---- */

moon_dtype moon_tensor_dtype(const moon_tensor *t) { return t->dtype; }
int moon_tensor_ndim(const moon_tensor *t) { return t->ndim; }
int64_t moon_tensor_size(const moon_tensor *t, int axis) { return axis >= 0 && axis < t->ndim ? t->shape[axis] : 1; }
int64_t moon_tensor_stride(const moon_tensor *t, int axis) { return axis >= 0 && axis < t->ndim ? t->strides[axis] : 0; }

int64_t moon_tensor_count(const moon_tensor *t) {
  int64_t count = 1;
  for (int i = 0; i < t->ndim; i++) count *= t->shape[i]; /* checked when t was made */
  return count;
}

size_t moon_tensor_bytes(const moon_tensor *t) { return (size_t)moon_tensor_count(t) * moon_dtype_bytes(t->dtype); }

bool moon_tensor_is_dense(const moon_tensor *t) {
  int64_t step = 1;
  if (moon_tensor_count(t) == 0) return true;
  for (int i = t->ndim - 1; i >= 0; i--) {
    if (t->shape[i] == 1) continue;
    if (t->strides[i] != step) return false;
    step *= t->shape[i];
  }
  return true;
}

void *moon_tensor_data(const moon_tensor *t) {
  if (!t->storage->data) return NULL;
  return t->storage->data + t->offset * (int64_t)moon_dtype_bytes(t->dtype);
}

moon_type moon__tensor_type(const moon_tensor *t) {
  moon_type type;
  memset(&type, 0, sizeof type);
  type.dtype = t->dtype;
  type.shape = moon__shape(t->ndim, t->shape);
  return type;
}

moon_status moon__tensor_writable(moon_context *ctx, const char *who, const moon_tensor *t) {
  if (!t->storage->frozen) return MOON_OK;
  return moon__fail(ctx, MOON_ESTATE, "%s: this tensor is a constant of a graph and cannot be written; use ml.variable for "
                    "numbers that change", who);
}

/* ---- numbers in and out ---- */

/* Host memory that holds the elements of a tensor: its own, or a copy of the part of its buffer that they span. */
typedef struct window {
  char *first;  /* element 0 */
  char *copy;   /* to be freed; NULL: the storage's own memory */
  size_t at, bytes; /* what copy holds of the buffer */
} window;

static moon_status open_window(moon_context *ctx, const moon_tensor *t, bool load, window *w) {
  int64_t low, high, element = (int64_t)moon_dtype_bytes(t->dtype);
  const moon_storage *s = t->storage;
  memset(w, 0, sizeof *w);
  w->first = moon_tensor_data(t);
  if (w->first || moon_tensor_count(t) == 0) return MOON_OK;
  find_extent(t->ndim, t->shape, t->strides, &low, &high);
  w->at = (size_t)((t->offset + low) * element);
  w->bytes = (size_t)((high - low + 1) * element);
  w->copy = moon__alloc(t->runtime, w->bytes);
  if (!w->copy) return moon__fail_memory(ctx);
  w->first = w->copy - low * element;
  if (!load) return MOON_OK;
  return s->device->backend->buffer_read(ctx, s->device, s->handle, w->at, w->copy, w->bytes);
}

static moon_status close_window(moon_context *ctx, const moon_tensor *t, bool store, moon_status status, window *w) {
  const moon_storage *s = t->storage;
  if (w->copy && store && status == MOON_OK) {
    status = s->device->backend->buffer_write(ctx, s->device, s->handle, w->at, w->copy, w->bytes);
  }
  moon__free(t->runtime, w->copy);
  return status;
}

static moon_status check_bytes(moon_context *ctx, const char *who, const moon_tensor *t, moon_dtype dtype, size_t bytes,
                               bool exact) {
  size_t need;
  if ((unsigned)dtype >= MOON_DTYPE_COUNT) return moon__fail(ctx, MOON_EDTYPE, "%s: %d is not a dtype", who, (int)dtype);
  if (!moon__mul_size((size_t)moon_tensor_count(t), moon_dtype_bytes(dtype), &need)) return moon__fail_memory(ctx);
  if (bytes == need || (bytes > need && !exact)) return MOON_OK;
  return moon__fail(ctx, MOON_ESIZE, "%s: %zu bytes are needed, got %zu", who, need, bytes);
}

moon_status moon_tensor_read(moon_context *ctx, const moon_tensor *t, moon_dtype dtype, void *out, size_t out_bytes) {
  int64_t strides[MOON_MAX_DIMS];
  window w;
  moon_status status = check_bytes(ctx, "read", t, dtype, out_bytes, false);
  if (status != MOON_OK) return status;
  status = open_window(ctx, t, true, &w);
  moon__dense_strides(t->ndim, t->shape, strides);
  if (status == MOON_OK) moon__convert_array(out, dtype, strides, w.first, t->dtype, t->strides, t->ndim, t->shape);
  return close_window(ctx, t, false, status, &w);
}

moon_status moon_tensor_write(moon_context *ctx, moon_tensor *t, moon_dtype dtype, const void *in, size_t in_bytes) {
  int64_t strides[MOON_MAX_DIMS];
  window w;
  moon_status status = check_bytes(ctx, "write", t, dtype, in_bytes, true);
  if (status == MOON_OK) status = moon__tensor_writable(ctx, "write", t);
  if (status != MOON_OK) return status;
  status = open_window(ctx, t, !moon_tensor_is_dense(t), &w);
  moon__dense_strides(t->ndim, t->shape, strides);
  if (status == MOON_OK) moon__convert_array(w.first, t->dtype, t->strides, in, dtype, strides, t->ndim, t->shape);
  return close_window(ctx, t, true, status, &w);
}

/* Through a dense copy: for tensors that may overlap, or that the host cannot see. */
static moon_status copy_aside(moon_context *ctx, moon_tensor *dst, const moon_tensor *src) {
  size_t bytes = moon_tensor_bytes(src);
  void *data = moon__alloc(ctx->runtime, bytes);
  moon_status status;
  if (!data) return moon__fail_memory(ctx);
  status = moon_tensor_read(ctx, src, src->dtype, data, bytes);
  if (status == MOON_OK) status = moon_tensor_write(ctx, dst, src->dtype, data, bytes);
  moon__free(ctx->runtime, data);
  return status;
}

moon_status moon_tensor_copy(moon_context *ctx, moon_tensor *dst, const moon_tensor *src) {
  moon_type to = moon__tensor_type(dst), from = moon__tensor_type(src);
  moon_status status = moon__tensor_writable(ctx, "copy", dst);
  if (status != MOON_OK) return status;
  if (!moon__shape_equal(&to.shape, &from.shape)) {
    char a[256], b[256];
    return moon__fail(ctx, MOON_ESHAPE, "copy: shapes differ: to %s, from %s",
                      moon_shape_text(ctx->runtime, &to.shape, a, sizeof a),
                      moon_shape_text(ctx->runtime, &from.shape, b, sizeof b));
  }
  if (dst->storage == src->storage || !dst->storage->data || !src->storage->data) return copy_aside(ctx, dst, src);
  moon__convert_array(moon_tensor_data(dst), dst->dtype, dst->strides, moon_tensor_data(src), src->dtype, src->strides, src->ndim,
                      src->shape);
  return MOON_OK;
}
