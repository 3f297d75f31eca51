/*
** device.c: OpenCL devices as devices of a runtime: finding the loader, listing platforms and devices, their memory. A device's
** context and queue are made when it is listed. Buffers (buffer.c) are memory that the host cannot see; reads wait for what was asked
** for before, writes and copies are in order with the kernels.
**
** Environment, read when the backend is opened: MOONLET_OPENCL_LIBRARY, the loader (default libOpenCL.so.1);
** MOONLET_OPENCL_FAMILY, cpu or gpu: the family of kernels instead of the one that the device's type gives.
*/
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"
#include "family.h"
#include "step.h"

enum { MOST_PLATFORMS = 16, MOST_DEVICES = 32 };

moon_status moon__cl_fail(moon_context *ctx, const moon_cl_device *d, int32_t code, const char *format, ...) {
  char doing[256];
  va_list args;
  va_start(args, format);
  vsnprintf(doing, sizeof doing, format, args);
  va_end(args);
  bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY || code == CL_INVALID_BUFFER_SIZE;
  return moon__fail(ctx, memory ? MOON_EMEMORY : MOON_EDEVICE, "opencl: %s (%d) while %s%s%s", moon__cl_error(code), (int)code,
                    doing, d ? " on " : "", d ? d->model : "");
}

/* ---- Listing ---- */

/* Text of a device or platform, "" when it gives none; leading spaces, which some drivers have, left out. */
static void trim(char *text) {
  size_t n = strspn(text, " ");
  memmove(text, text + n, strlen(text + n) + 1);
}

static void device_text(const moon_cl *cl, cl_device id, uint32_t what, char *text, size_t bytes) {
  char all[1024] = "";
  if (cl->clGetDeviceInfo(id, what, sizeof all - 1, all, NULL) != CL_SUCCESS) all[0] = '\0';
  trim(all);
  snprintf(text, bytes, "%.*s", (int)bytes - 1, all);
}

static uint64_t device_number(const moon_cl *cl, cl_device id, uint32_t what) {
  uint64_t x = 0; /* numbers of 4 and of 8 bytes; little-endian hosts only: see is_usable */
  return cl->clGetDeviceInfo(id, what, sizeof x, &x, NULL) == CL_SUCCESS ? x : 0;
}

/* Can kernels be built there, and do its numbers lie as the host's do? */
static bool is_usable(const moon_cl *cl, cl_device id) {
  const uint16_t one = 1;
  bool little = *(const uint8_t *)&one == 1;
  return little && (uint32_t)device_number(cl, id, CL_DEVICE_ENDIAN_LITTLE) && (uint32_t)device_number(cl, id, CL_DEVICE_AVAILABLE) &&
         (uint32_t)device_number(cl, id, CL_DEVICE_COMPILER_AVAILABLE);
}

/* One word: what is tuned for a device depends on its model and driver. */
static void name_target(moon_cl_device *d) {
  snprintf(d->target, sizeof d->target, "opencl_%.36s_%.18s", d->model, d->driver);
  for (char *c = d->target; *c; c++)
    if (*c <= ' ' || *c >= 127 || *c == '=') *c = '_';
}

static void describe_device(moon_cl_device *d, cl_platform platform) {
  const moon_cl *cl = &d->cl;
  char name[96] = "", version[160] = "";
  uint64_t type = device_number(cl, d->id, CL_DEVICE_TYPE);
  const char *family = moon__env("MOONLET_OPENCL_FAMILY");
  device_text(cl, d->id, CL_DEVICE_NAME, d->model, sizeof d->model);
  device_text(cl, d->id, CL_DRIVER_VERSION, d->driver, sizeof d->driver);
  cl->clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
  device_text(cl, d->id, CL_DEVICE_VERSION, version, sizeof version);
  snprintf(d->platform, sizeof d->platform, "%s, %.60s", name, version);
  d->kind = type & CL_DEVICE_TYPE_CPU ? "cpu" : type & CL_DEVICE_TYPE_GPU ? "gpu" : type & CL_DEVICE_TYPE_ACCELERATOR ? "accelerator"
                                                                                                                     : "other";
  d->memory_bytes = device_number(cl, d->id, CL_DEVICE_GLOBAL_MEM_SIZE);
  d->units = (int)(uint32_t)device_number(cl, d->id, CL_DEVICE_MAX_COMPUTE_UNITS);
  d->vector_bytes = (int)(uint32_t)device_number(cl, d->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT) * 4;
  d->f64 = device_number(cl, d->id, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
  d->wide = family ? strcmp(family, "gpu") != 0 : strcmp(d->kind, "cpu") == 0;
  name_target(d);
}

static void free_device(moon_runtime *runtime, moon_cl_device *d) {
  if (!d) return;
  if (d->queue) d->cl.clFinish(d->queue);
  moon__cl_units_free(d);
  if (d->queue) d->cl.clReleaseCommandQueue(d->queue);
  if (d->context) d->cl.clReleaseContext(d->context);
  if (d->lock) moon__mutex_destroy(d->lock);
  moon__free(runtime, d->lock);
  moon__free(runtime, d->cache_folder);
  moon__free(runtime, d);
}

static moon_status open_device(moon_context *ctx, const moon_cl *cl, cl_platform platform, cl_device id, int number) {
  moon_runtime *runtime = ctx->runtime;
  char name[32];
  int32_t code = CL_SUCCESS;
  moon_cl_device *d = moon__alloc(runtime, sizeof *d);
  if (d) d->lock = moon__alloc(runtime, moon__mutex_bytes());
  if (d && d->lock && !moon__mutex_init(d->lock)) {
    moon__free(runtime, d->lock);
    d->lock = NULL;
  }
  if (!d || !d->lock) {
    free_device(runtime, d);
    return moon__fail_memory(ctx);
  }
  d->cl = *cl;
  d->id = id;
  d->process = moon__process_id();
  describe_device(d, platform);
  moon__cl_cache_open(d, runtime);
  d->context = cl->clCreateContext(NULL, 1, &id, NULL, NULL, &code);
  if (code == CL_SUCCESS) d->queue = cl->clCreateCommandQueue(d->context, id, 0, &code);
  moon_status s = code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "opening the device");
  snprintf(name, sizeof name, "opencl:%d", number);
  if (s == MOON_OK && !(d->device = moon__device_add(ctx, &moon__opencl_backend, name, d))) s = ctx->status;
  if (s != MOON_OK) free_device(runtime, d);
  return s;
}

/* Opens the devices of a platform; *number counts those that work. A device that does not open is left out; its error stays. */
static moon_status open_platform(moon_context *ctx, const moon_cl *cl, cl_platform platform, int *number) {
  cl_device ids[MOST_DEVICES];
  uint32_t n = 0;
  moon_status s = MOON_OK;
  int32_t code = cl->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MOST_DEVICES, ids, &n);
  if (code == CL_DEVICE_NOT_FOUND) return MOON_OK;
  if (code != CL_SUCCESS) return moon__cl_fail(ctx, NULL, code, "listing devices");
  for (uint32_t i = 0; i < n && i < MOST_DEVICES; i++) {
    if (!is_usable(cl, ids[i])) continue;
    moon_status opened = open_device(ctx, cl, platform, ids[i], *number + 1);
    if (opened == MOON_OK) ++*number;
    else s = opened;
  }
  return s;
}

static moon_status opencl_open(moon_context *ctx) {
  const char *asked = moon__env("MOONLET_OPENCL_LIBRARY"), *library = asked ? asked : "libOpenCL.so.1";
  cl_platform platforms[MOST_PLATFORMS];
  uint32_t n = 0;
  moon_cl cl;
  int number = 0;
  moon_status s = MOON_OK;
  const char *missing = moon__cl_load(library, &cl);
  if (missing == library) return moon__fail(ctx, MOON_EDEVICE, "opencl: the loader %s is not there or does not load", library);
  if (missing) return moon__fail(ctx, MOON_EDEVICE, "opencl: %s has no %s", library, missing);
  int32_t code = cl.clGetPlatformIDs(MOST_PLATFORMS, platforms, &n);
  if (code == CL_PLATFORM_NOT_FOUND_KHR || (code == CL_SUCCESS && n == 0))
    return moon__fail(ctx, MOON_EDEVICE, "opencl: %s knows no platform: no OpenCL driver is installed", library);
  if (code != CL_SUCCESS) return moon__cl_fail(ctx, NULL, code, "listing platforms");
  for (uint32_t i = 0; i < n && i < MOST_PLATFORMS; i++) {
    moon_status opened = open_platform(ctx, &cl, platforms[i], &number);
    if (opened != MOON_OK) s = opened;
  }
  if (number > 0) return MOON_OK;
  return s != MOON_OK ? s : moon__fail(ctx, MOON_EDEVICE, "opencl: the %u platforms have no device that kernels can be built for", n);
}

static void opencl_device_free(moon_device *device) { free_device(device->runtime, device->data); }

static void opencl_describe(const moon_device *device, moon_device_info *info) {
  const moon_cl_device *d = device->data;
  info->kind = d->kind;
  info->model = d->model;
  info->platform = d->platform;
  info->driver = d->driver;
  info->memory_bytes = d->memory_bytes;
  info->units = d->units;
  info->f64 = d->f64;
  info->built = d->built;
  info->kept = d->kept;
  info->build_us = d->build_us;
}

/* ---- Memory ---- */

static moon_status opencl_buffer_read(moon_context *ctx, moon_device *device, void *handle, size_t offset, void *host, size_t bytes) {
  moon_cl_device *d = device->data;
  const moon_cl_buffer *b = handle;
  if (bytes == 0) return MOON_OK;
  moon__mutex_lock(d->lock);
  moon_status s = moon__cl_submit(ctx, d, false);
  int32_t code =
      s == MOON_OK ? d->cl.clEnqueueReadBuffer(d->queue, b->memory, 1, b->offset + offset, bytes, host, 0, NULL, NULL) : CL_SUCCESS;
  moon__mutex_unlock(d->lock);
  return s != MOON_OK ? s : code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "reading %zu bytes", bytes);
}

/* Waits: the caller's memory may change afterwards. */
static moon_status opencl_buffer_write(moon_context *ctx, moon_device *device, void *handle, size_t offset, const void *host,
                                       size_t bytes) {
  moon_cl_device *d = device->data;
  const moon_cl_buffer *b = handle;
  if (bytes == 0) return MOON_OK;
  moon__mutex_lock(d->lock);
  moon_status s = moon__cl_submit(ctx, d, false);
  int32_t code =
      s == MOON_OK ? d->cl.clEnqueueWriteBuffer(d->queue, b->memory, 1, b->offset + offset, bytes, host, 0, NULL, NULL) : CL_SUCCESS;
  moon__mutex_unlock(d->lock);
  return s != MOON_OK ? s : code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "writing %zu bytes", bytes);
}

static moon_status opencl_buffer_copy(moon_context *ctx, moon_device *device, void *to, size_t to_offset, void *from,
                                      size_t from_offset, size_t bytes) {
  moon_cl_device *d = device->data;
  const moon_cl_buffer *a = from, *b = to;
  if (bytes == 0) return MOON_OK;
  moon__mutex_lock(d->lock);
  moon_status s = moon__cl_submit(ctx, d, false);
  int32_t code = s == MOON_OK ? d->cl.clEnqueueCopyBuffer(d->queue, a->memory, b->memory, a->offset + from_offset, b->offset + to_offset,
                                                          bytes, 0, NULL, NULL) : CL_SUCCESS;
  moon__mutex_unlock(d->lock);
  return s != MOON_OK ? s : code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "copying %zu bytes", bytes);
}

/* The status block: int raised, int launch, long value, long limit. */
typedef struct status_block { int32_t raised, launch; int64_t value, limit; } status_block;

static moon_status opencl_check(moon_context *ctx, moon_device *device, const moon_call *call, moon_fault *fault) {
  static const status_block none;
  status_block b;
  moon_status s = opencl_buffer_read(ctx, device, call->arena, call->status_offset, &b, sizeof b);
  if (s != MOON_OK || !b.raised) return s;
  fault->status = MOON_EINDEX;
  fault->value = b.value;
  fault->limit = b.limit;
  fault->launch = b.launch;
  return opencl_buffer_write(ctx, device, call->arena, call->status_offset, &none, sizeof none);
}

static moon_status opencl_submit(moon_context *ctx, moon_device *device) {
  moon_cl_device *d = device->data;
  moon__mutex_lock(d->lock);
  moon_status s = moon__cl_submit(ctx, d, true);
  moon__mutex_unlock(d->lock);
  return s;
}

static void opencl_trim(moon_device *device) { moon__cl_units_trim(device->data); }

static const char *opencl_target(const moon_device *device) { return moon__cl_of(device)->target; }

/* Other composites are inlined: their bodies fuse. */
static bool opencl_has_kernel(moon_device *device, const moon_node *node) {
  return moon__cl_winograd_has(device->data, node) || moon__cl_recurrent_has(device->data, node) ||
         moon__cl_attention_has(device->data, node) || moon__cl_rows_has(device->data, node);
}

const moon_backend moon__opencl_backend = {
    .name = "opencl",
    .open = opencl_open,
    .device_free = opencl_device_free,
    .buffer_new = moon__cl_buffer_new,
    .buffer_free = moon__cl_buffer_free,
    .buffer_read = opencl_buffer_read,
    .buffer_write = opencl_buffer_write,
    .buffer_copy = opencl_buffer_copy,
    .has_kernel = opencl_has_kernel,
    .target = opencl_target,
    .select = moon__cl_select,
    .select_loop = moon__cl_select_loop,
    .run = moon__cl_run,
    .submit = opencl_submit,
    .check = opencl_check,
    .poll = moon__cl_poll,
    .mark_free = moon__cl_mark_free,
    .describe = opencl_describe,
    .trim = opencl_trim,
};
