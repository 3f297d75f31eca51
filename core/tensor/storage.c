/*
** storage.c: reference counted bytes on one device. A storage retains its runtime, so tensors outlive contexts. Shapes and views
** are in tensor.c and view.c; this file knows bytes only.
*/
#include <stdatomic.h>
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/context.h"
#include "tensor/tensor.h"

/* Writes zeros to a buffer that the host cannot see: some, then copies of what is there already. */
static moon_status clear_buffer(moon_context *ctx, const moon_storage *s) {
  static const char zeros[256];
  const moon_backend *b = s->device->backend;
  size_t done = s->bytes < sizeof zeros ? s->bytes : sizeof zeros;
  moon_status status = b->buffer_write(ctx, s->device, s->handle, 0, zeros, done);
  while (status == MOON_OK && done < s->bytes) {
    size_t n = s->bytes - done < done ? s->bytes - done : done;
    status = b->buffer_copy(ctx, s->device, s->handle, done, s->handle, 0, n);
    done += n;
  }
  return status;
}

moon_storage *moon__storage_new(moon_context *ctx, moon_device *device, size_t bytes, bool zero) {
  moon_storage *s;
  if (!device) device = moon_device_get(ctx);
  if (!device) return NULL;
  s = moon__alloc(ctx->runtime, sizeof *s);
  if (s) s->handle = device->backend->buffer_new(device, bytes, &s->data);
  if (!s || !s->handle) {
    moon__free(ctx->runtime, s);
    moon__fail(ctx, MOON_EMEMORY, "out of memory: %zu bytes on %s", bytes, device->name);
    return NULL;
  }
  s->refs = 1;
  s->runtime = moon_runtime_retain(ctx->runtime);
  s->device = device;
  s->bytes = bytes;
  if (zero && s->data) memset(s->data, 0, bytes);
  if (zero && !s->data && clear_buffer(ctx, s) != MOON_OK) {
    moon__storage_release(s);
    return NULL;
  }
  return s;
}

moon_storage *moon__storage_retain(moon_storage *s) {
  if (s) atomic_fetch_add(&s->refs, 1);
  return s;
}

void moon__storage_release(moon_storage *s) {
  moon_runtime *runtime;
  if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
  runtime = s->runtime;
  s->device->backend->buffer_free(s->device, s->handle);
  moon__free(runtime, s);
  moon_runtime_release(runtime);
}
