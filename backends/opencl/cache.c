/*
** cache.c: built programs on disk. A file is named by the hash of its key: source, device, driver and platform. It holds the key
** again, so that equal hashes cannot be taken for equal keys, the binary (or the log of a build that failed), and a hash of it all. What does not look right is as if
** it were not there. Files are written to a temporary and renamed; a folder that cannot be written is no error.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/map.h"
#include "base/size.h"
#include "opencl.h"

static const char magic[8] = "mooncl2";

typedef struct header {
  char magic[8];
  uint64_t failed, key_bytes, binary_bytes, hash; /* hash: of key and binary */
} header;

static void put_key(const moon_cl_device *d, const moon_cl_text *source, moon_cl_text *key) {
  moon__cl_put(key, "%s\n%s\n%s\n", d->model, d->platform, d->driver);
  moon__cl_put_bytes(key, source->s, source->n);
}

static bool file_name(const moon_cl_device *d, const moon_cl_text *key, char *name, size_t bytes) {
  int n = snprintf(name, bytes, "%s/%016llx.clb", d->cache_folder, (unsigned long long)moon__hash_bytes(2, key->s, key->n));
  return n > 0 && (size_t)n < bytes;
}

void moon__cl_cache_open(moon_cl_device *d, moon_runtime *runtime) {
  const char *folder = runtime->cache_folder;
  if (folder && moon__folder_make(folder) == 0) d->cache_folder = moon__strdup(runtime, folder);
}

static void *alloc_file(void *user, size_t bytes) { return moon__alloc(user, bytes); }

/* Where the binary lies in a file of that key; NULL: it is not one. */
static const char *find_binary(const char *data, size_t bytes, const moon_cl_text *key, size_t *binary_bytes, bool *failed) {
  header h;
  size_t all;
  if (bytes < sizeof h) return NULL;
  memcpy(&h, data, sizeof h);
  if (memcmp(h.magic, magic, sizeof magic) != 0 || h.key_bytes != key->n || h.binary_bytes == 0) return NULL;
  if (!moon__add_size(sizeof h + key->n, (size_t)h.binary_bytes, &all) || all != bytes) return NULL;
  if (memcmp(data + sizeof h, key->s, key->n) != 0 || moon__hash_bytes(3, data + sizeof h, bytes - sizeof h) != h.hash) return NULL;
  *binary_bytes = (size_t)h.binary_bytes;
  *failed = h.failed != 0;
  if (*failed && data[bytes - 1] != '\0') return NULL; /* a log is text */
  return data + sizeof h + key->n;
}

bool moon__cl_cache_read(moon_cl_device *d, const moon_cl_text *source, void **binary, size_t *bytes, bool *failed) {
  moon_runtime *runtime = d->device->runtime;
  moon_cl_text key = {.runtime = runtime};
  char name[1024];
  void *data = NULL;
  size_t file_bytes = 0;
  bool found = false;
  if (!d->cache_folder) return false;
  put_key(d, source, &key);
  if (!key.failed && file_name(d, &key, name, sizeof name) &&
      moon__file_read(name, alloc_file, runtime, &data, &file_bytes) == 0) {
    const char *from = find_binary(data, file_bytes, &key, bytes, failed);
    *binary = from ? moon__alloc(runtime, *bytes) : NULL;
    found = *binary != NULL;
    if (found) memcpy(*binary, from, *bytes);
  }
  moon__free(runtime, data);
  moon__free(runtime, key.s);
  return found;
}

void moon__cl_cache_write(moon_cl_device *d, const moon_cl_text *source, const void *binary, size_t bytes, bool failed) {
  moon_cl_text file = {.runtime = d->device->runtime}, key = {.runtime = d->device->runtime};
  char name[1024];
  header h = {.binary_bytes = bytes, .failed = failed};
  if (!d->cache_folder) return;
  put_key(d, source, &key);
  memcpy(h.magic, magic, sizeof magic);
  h.key_bytes = key.n;
  moon__cl_put_bytes(&file, (const char *)&h, sizeof h);
  moon__cl_put_bytes(&file, key.s, key.n);
  moon__cl_put_bytes(&file, binary, bytes);
  if (!file.failed && !key.failed && file_name(d, &key, name, sizeof name)) {
    h.hash = moon__hash_bytes(3, file.s + sizeof h, file.n - sizeof h);
    memcpy(file.s, &h, sizeof h);
    (void)moon__file_replace(name, file.s, file.n);
  }
  moon__free(file.runtime, file.s);
  moon__free(key.runtime, key.s);
}
