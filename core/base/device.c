/*
** device.c: finds devices by word, opening the backend of that name when it is first asked for. Words: a device's name, a backend's
** name (its first device), that with ':' and a kind or a part of the model, or "auto" (the first that is not a CPU, else "cpu"). Devices belong to the runtime and live
** as long as it. The runtime's lock is held while a backend opens, so it opens once.
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/context.h"

#define DEFAULT_DEVICE "cpu"

moon_device *moon__device_add(moon_context *ctx, const moon_backend *backend, const char *name, void *data) {
  moon_runtime *runtime = ctx->runtime;
  moon_device *device;
  if (!MOON_RESERVE(runtime, runtime->devices, runtime->device_capacity, runtime->ndevices + 1) ||
      !(device = moon__alloc(runtime, sizeof *device))) {
    moon__fail_memory(ctx);
    return NULL;
  }
  device->backend = backend;
  device->runtime = runtime;
  device->data = data;
  snprintf(device->name, sizeof device->name, "%s", name);
  runtime->devices[runtime->ndevices++] = device;
  return device;
}

static moon_device *find_named(const moon_runtime *runtime, const char *word) {
  for (int i = 0; i < runtime->ndevices; i++) {
    if (strcmp(runtime->devices[i]->name, word) == 0) return runtime->devices[i];
  }
  for (int i = 0; i < runtime->ndevices; i++) {
    if (strcmp(runtime->devices[i]->backend->name, word) == 0) return runtime->devices[i];
  }
  return NULL;
}

/* Is text within s, upper and lower case alike? "" is in nothing. */
static bool contains(const char *s, const char *text) {
  for (; *s && *text; s++) {
    size_t n = 0;
    while (text[n] && tolower((unsigned char)s[n]) == tolower((unsigned char)text[n])) n++;
    if (!text[n]) return true;
  }
  return false;
}

/* "backend:what": the first device of that backend whose kind is `what`, or whose model contains it. */
static moon_device *find_described(const moon_runtime *runtime, const char *word) {
  const char *what = strchr(word, ':');
  for (int pass = 0; what && pass < 2; pass++) {
    for (int i = 0; i < runtime->ndevices; i++) {
      moon_device_info info = moon_device_describe(runtime->devices[i]);
      if (strncmp(word, info.backend, (size_t)(what - word)) != 0 || info.backend[what - word]) continue;
      if (pass == 0 ? strcmp(info.kind, what + 1) == 0 : contains(info.model, what + 1)) return runtime->devices[i];
    }
  }
  return NULL;
}

static moon_device *find_known(const moon_runtime *runtime, const char *word) {
  moon_device *device = find_named(runtime, word);
  return device ? device : find_described(runtime, word);
}

static bool is_open(const moon_runtime *runtime, const moon_backend *backend) {
  for (int i = 0; i < runtime->ndevices; i++) {
    if (runtime->devices[i]->backend == backend) return true;
  }
  return false;
}

/* Is word the backend's name, alone or before ':'? */
static bool names_backend(const char *word, const moon_backend *backend) {
  size_t n = strlen(backend->name);
  return strncmp(word, backend->name, n) == 0 && (word[n] == '\0' || word[n] == ':');
}

/* Adds ", name (model)" to the list of what there is. */
static size_t list_device(char *known, size_t bytes, size_t n, const moon_device *d) {
  const char *model = moon_device_describe(d).model;
  int used = snprintf(known + n, bytes - n, *model ? ", %s (%s)" : ", %s", d->name, model);
  return n + (used < 0 ? 0 : (size_t)used);
}

static void fail_unknown(moon_context *ctx, const char *word) {
  char known[512] = "";
  size_t n = 0;
  for (int i = 0; moon__backends[i] && n < sizeof known; i++) {
    int used = is_open(ctx->runtime, moon__backends[i]) ? 0 : snprintf(known + n, sizeof known - n, ", %s", moon__backends[i]->name);
    n += used < 0 ? 0 : (size_t)used;
  }
  for (int i = 0; i < ctx->runtime->ndevices && n < sizeof known; i++) n = list_device(known, sizeof known, n, ctx->runtime->devices[i]);
  moon__fail(ctx, MOON_EDEVICE, "device: there is no '%s', expected auto%s", word, known);
}

/* With the lock held. */
static moon_device *find_or_open(moon_context *ctx, const char *word) {
  moon_device *device = find_known(ctx->runtime, word);
  for (int i = 0; !device && moon__backends[i]; i++) {
    const moon_backend *backend = moon__backends[i];
    if (!names_backend(word, backend) || is_open(ctx->runtime, backend)) continue;
    if (backend->open(ctx) != MOON_OK) return NULL;
    device = find_known(ctx->runtime, word);
  }
  if (!device) fail_unknown(ctx, word);
  return device;
}

/* Opens every backend that is there; with the lock held. */
static void open_all(moon_context *ctx) {
  for (int i = 0; moon__backends[i]; i++) {
    if (!is_open(ctx->runtime, moon__backends[i])) (void)moon__backends[i]->open(ctx);
  }
  moon_error_clear(ctx);
}

static moon_device *find_auto(moon_context *ctx) {
  open_all(ctx);
  for (int i = 0; i < ctx->runtime->ndevices; i++) {
    if (strcmp(moon_device_describe(ctx->runtime->devices[i]).kind, "cpu") != 0) return ctx->runtime->devices[i];
  }
  return find_or_open(ctx, DEFAULT_DEVICE);
}

moon_device *moon_device_find(moon_context *ctx, const char *word) {
  moon_device *device;
  if (!word) {
    moon__fail(ctx, MOON_EARGUMENT, "device: a name is expected, got NULL");
    return NULL;
  }
  moon__mutex_lock(ctx->runtime->lock);
  device = strcmp(word, "auto") == 0 ? find_auto(ctx) : find_or_open(ctx, word);
  moon__mutex_unlock(ctx->runtime->lock);
  return device;
}

int moon_device_count(moon_context *ctx) {
  moon__mutex_lock(ctx->runtime->lock);
  open_all(ctx);
  int n = ctx->runtime->ndevices;
  moon__mutex_unlock(ctx->runtime->lock);
  return n;
}

void moon_devices_trim(moon_context *ctx) {
  moon__mutex_lock(ctx->runtime->lock);
  for (int i = 0; i < ctx->runtime->ndevices; i++) {
    moon_device *device = ctx->runtime->devices[i];
    if (device->backend->trim) device->backend->trim(device);
  }
  moon__mutex_unlock(ctx->runtime->lock);
}

moon_device *moon_device_at(moon_context *ctx, int i) {
  moon__mutex_lock(ctx->runtime->lock);
  moon_device *device = i >= 0 && i < ctx->runtime->ndevices ? ctx->runtime->devices[i] : NULL;
  moon__mutex_unlock(ctx->runtime->lock);
  return device;
}

moon_device_info moon_device_describe(const moon_device *device) {
  moon_device_info info = {.name = device->name, .backend = device->backend->name, .kind = "cpu", .model = "", .platform = "",
                           .driver = "", .f64 = true};
  if (device->backend->describe) device->backend->describe(device, &info);
  return info;
}

const char *moon_device_name(const moon_device *device) { return device ? device->name : "none"; }

moon_status moon_device_set(moon_context *ctx, moon_device *device) {
  if (!device) return moon__fail(ctx, MOON_EARGUMENT, "device: a device is expected, got NULL");
  if (device->runtime != ctx->runtime) return moon__fail(ctx, MOON_EARGUMENT, "device: '%s' is of another runtime", device->name);
  ctx->device = device;
  return MOON_OK;
}

/* The first use of a context that chose none: MOONLET_DEVICE's, else the default. A word that names no device is an error once;
** after it the context goes on with the default. */
moon_device *moon_device_get(moon_context *ctx) {
  const char *word = moon__env("MOONLET_DEVICE");
  if (ctx->device) return ctx->device;
  moon_device *asked = moon_device_find(ctx, word ? word : DEFAULT_DEVICE);
  ctx->device = asked;
  if (!asked && word) {
    char text[MOON_ERROR_BYTES];
    snprintf(text, sizeof text, "%s", moon_error(ctx));
    moon_status status = moon_error_status(ctx);
    ctx->device = moon_device_find(ctx, DEFAULT_DEVICE);
    moon__fail_at(ctx, NULL, status, "MOONLET_DEVICE: %s", text);
  }
  return asked;
}
