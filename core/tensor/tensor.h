/*
** tensor.h: tensors as the core sees them: a strided view over shared, reference counted storage on one device. Only this room
** and the executor touch bytes, and bytes of a device that is not the host only through the backend's copies.
*/
#ifndef MOON_TENSOR_H
#define MOON_TENSOR_H
#include "moonlet.h"

typedef struct moon_storage {
  _Atomic int refs;
  moon_runtime *runtime;
  moon_device *device;
  void *handle;  /* the backend's buffer */
  char *data;    /* host address of it, NULL when the host cannot see it */
  size_t bytes;
  bool frozen;   /* a graph holds it as a constant: writing is an error */
} moon_storage;

struct moon_tensor {
  _Atomic int refs;
  moon_runtime *runtime;
  moon_storage *storage;
  moon_dtype dtype;
  int32_t ndim;
  int64_t offset; /* elements from the start of storage to element 0 */
  int64_t shape[MOON_MAX_DIMS], strides[MOON_MAX_DIMS]; /* elements */
};

/* Zeroed when zero is set, else its bytes are undefined. device NULL: the context's. */
moon_storage *moon__storage_new(moon_context *ctx, moon_device *device, size_t bytes, bool zero);
moon_storage *moon__storage_retain(moon_storage *s);
void moon__storage_release(moon_storage *s);
/* A dense tensor whose elements are undefined. */
moon_tensor *moon__tensor_empty(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape);
/* A view of storage; retains it. strides NULL: dense. */
moon_tensor *moon__tensor_over(moon_context *ctx, moon_storage *s, moon_dtype dtype, int ndim, const int64_t *shape,
                               const int64_t *strides, int64_t offset);
moon_type moon__tensor_type(const moon_tensor *t);
/* Fills strides of a dense row-major array. */
void moon__dense_strides(int ndim, const int64_t *shape, int64_t *strides);
/* Fails with MOON_ESTATE when t may not be written (frozen); the message names who and ml.variable. */
moon_status moon__tensor_writable(moon_context *ctx, const char *who, const moon_tensor *t);
/* One element as double (i64 beyond 2^53 rounds) or int64; index [ndim]. Host visible tensors only. */
double moon__element_get(const moon_tensor *t, const int64_t *index);
int64_t moon__element_get_i64(const moon_tensor *t, const int64_t *index);
/* Converts one number by the rules of cast: float to integer saturates, NaN becomes 0, integers wrap, bool is != 0. */
void moon__convert(void *dst, moon_dtype dst_dtype, const void *src, moon_dtype src_dtype);
/* Converts n strided elements (strides in elements). */
void moon__convert_many(void *dst, moon_dtype dst_dtype, int64_t dst_stride, const void *src, moon_dtype src_dtype,
                        int64_t src_stride, int64_t n);
/* Converts a whole array [shape]; strides in elements; the arrays do not overlap. */
void moon__convert_array(void *dst, moon_dtype dst_dtype, const int64_t *dst_strides, const void *src, moon_dtype src_dtype,
                         const int64_t *src_strides, int ndim, const int64_t *shape);
/* Number of elements of a tensor that may be made: fails with MOON_ESIZE or MOON_EARGUMENT on bad dtype, axes or sizes. */
moon_status moon__tensor_check(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape, int64_t *count, size_t *bytes);
#endif
