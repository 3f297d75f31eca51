/*
** file.c: named tensors and named texts in memory, and whole files to and from the disk. What bytes mean is in safetensors.c and
** npy.c. Names are unique among tensors and among texts.
*/
#include "formats/file.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/map.h"
#include "base/os.h"

moon_file *moon_file_new(moon_context *ctx) {
  moon_file *f = moon__alloc(ctx->runtime, sizeof *f);
  if (!f) {
    moon__fail_memory(ctx);
    return NULL;
  }
  f->runtime = moon_runtime_retain(ctx->runtime);
  return f;
}

void moon_file_release(moon_file *f) {
  moon_runtime *runtime;
  if (!f) return;
  runtime = f->runtime;
  for (int i = 0; i < f->ntensors; i++) {
    moon__free(runtime, f->tensors[i].name);
    moon_tensor_release(f->tensors[i].tensor);
  }
  for (int i = 0; i < f->ntexts; i++) {
    moon__free(runtime, f->texts[i].name);
    moon__free(runtime, f->texts[i].text);
  }
  moon__free(runtime, f->tensors);
  moon__free(runtime, f->texts);
  moon__free(runtime, f->tensor_names.slot);
  moon__free(runtime, f->text_names.slot);
  moon__free(runtime, f);
  moon_runtime_release(runtime);
}

/* ---- names ---- */

static const char *tensor_name(const moon_file *f, int i) { return f->tensors[i].name; }
static const char *text_name(const moon_file *f, int i) { return f->texts[i].name; }
typedef const char *(*name_fn)(const moon_file *f, int i);

/* The slot of name, or the empty slot where it belongs. capacity > 0. */
static int find_slot(const moon_file *f, const moon_names *names, name_fn name_of, const char *name) {
  int mask = names->capacity - 1;
  int i = (int)(moon__hash_bytes(0, name, strlen(name)) & (uint64_t)mask);
  while (names->slot[i] && strcmp(name_of(f, names->slot[i] - 1), name) != 0) i = (i + 1) & mask;
  return i;
}

static int find_name(const moon_file *f, const moon_names *names, name_fn name_of, const char *name) {
  return names->capacity > 0 ? names->slot[find_slot(f, names, name_of, name)] - 1 : -1;
}

/* Makes room for one name more. */
static bool grow_names(const moon_file *f, moon_names *names, name_fn name_of) {
  moon_names fresh = *names;
  if (names->n < names->capacity / 2) return true;
  if (names->capacity > INT_MAX / 4) return false;
  fresh.capacity = names->capacity ? names->capacity * 2 : 16;
  fresh.slot = moon__alloc_array(f->runtime, (size_t)fresh.capacity, sizeof *fresh.slot);
  if (!fresh.slot) return false;
  for (int i = 0; i < names->n; i++) fresh.slot[find_slot(f, &fresh, name_of, name_of(f, i))] = i + 1;
  moon__free(f->runtime, names->slot);
  *names = fresh;
  return true;
}

/* The entry at position names->n has its name by now. */
static void add_name(const moon_file *f, moon_names *names, name_fn name_of) {
  names->slot[find_slot(f, names, name_of, name_of(f, names->n))] = names->n + 1;
  names->n++;
}

int moon__file_position(const moon_file *f, const char *name) { return find_name(f, &f->tensor_names, tensor_name, name); }

/* ---- entries ---- */

moon_status moon_file_put(moon_context *ctx, moon_file *f, const char *name, moon_tensor *t) {
  char *copy;
  if (!name || !t) return moon__fail(ctx, MOON_EARGUMENT, "file: a name and a tensor are expected");
  if (moon__file_position(f, name) >= 0) return moon__fail(ctx, MOON_EARGUMENT, "file: there is already a tensor '%s'", name);
  if (!grow_names(f, &f->tensor_names, tensor_name) ||
      !MOON_RESERVE(f->runtime, f->tensors, f->tensor_capacity, f->ntensors + 1) || !(copy = moon__strdup(f->runtime, name))) {
    return moon__fail_memory(ctx);
  }
  f->tensors[f->ntensors].name = copy;
  f->tensors[f->ntensors++].tensor = moon_tensor_retain(t);
  add_name(f, &f->tensor_names, tensor_name);
  return MOON_OK;
}

moon_status moon_file_put_text(moon_context *ctx, moon_file *f, const char *name, const char *text, size_t bytes) {
  moon_named_text entry = {NULL, NULL, bytes};
  if (!name || (!text && bytes)) return moon__fail(ctx, MOON_EARGUMENT, "file: a name and a text are expected");
  if (find_name(f, &f->text_names, text_name, name) >= 0) {
    return moon__fail(ctx, MOON_EARGUMENT, "file: there is already a text '%s'", name);
  }
  if (bytes == SIZE_MAX || !grow_names(f, &f->text_names, text_name) ||
      !MOON_RESERVE(f->runtime, f->texts, f->text_capacity, f->ntexts + 1) || !(entry.name = moon__strdup(f->runtime, name)) ||
      !(entry.text = moon__alloc(f->runtime, bytes + 1))) {
    moon__free(f->runtime, entry.name);
    return moon__fail_memory(ctx);
  }
  if (bytes) memcpy(entry.text, text, bytes);
  f->texts[f->ntexts++] = entry;
  add_name(f, &f->text_names, text_name);
  return MOON_OK;
}

int moon_file_count(const moon_file *f) { return f->ntensors; }
const char *moon_file_name(const moon_file *f, int i) { return i >= 0 && i < f->ntensors ? f->tensors[i].name : NULL; }
moon_tensor *moon_file_tensor(const moon_file *f, int i) { return i >= 0 && i < f->ntensors ? f->tensors[i].tensor : NULL; }
moon_tensor *moon_file_find(const moon_file *f, const char *name) { return moon_file_tensor(f, moon__file_position(f, name)); }
int moon_file_text_count(const moon_file *f) { return f->ntexts; }
const char *moon_file_text_name(const moon_file *f, int i) { return i >= 0 && i < f->ntexts ? f->texts[i].name : NULL; }

const char *moon_file_find_text(const moon_file *f, const char *name, size_t *bytes) {
  int i = find_name(f, &f->text_names, text_name, name);
  if (bytes) *bytes = i < 0 ? 0 : f->texts[i].bytes;
  return i < 0 ? NULL : f->texts[i].text;
}

/* ---- the disk ---- */

/* The bytes that the binding has read already. */
static int take_given(moon_context *ctx, void **data, size_t *bytes) {
  char *copy = moon__alloc(ctx->runtime, ctx->given_bytes + 1);
  if (!copy) return -1;
  memcpy(copy, ctx->given, ctx->given_bytes);
  *data = copy;
  *bytes = ctx->given_bytes;
  return 0;
}

/* The host's block: remembers where and how large it is; a zero follows the host's bytes. */
typedef struct host_block {
  moon_runtime *runtime;
  char *data;
  size_t bytes;
} host_block;

static void *give_block(void *to, size_t bytes) {
  host_block *b = to;
  moon__free(b->runtime, b->data);
  b->data = bytes < SIZE_MAX ? moon__alloc(b->runtime, bytes + 1) : NULL;
  b->bytes = b->data ? bytes : 0;
  return b->data;
}

static int read_by_host(moon_runtime *runtime, const char *path, void **data, size_t *bytes) {
  host_block b = {runtime, NULL, 0};
  int code = runtime->host.read(runtime->host.user, path, give_block, &b);
  if (code == 0 && !b.data) code = give_block(&b, 0) ? 0 : -1;
  *data = b.data;
  *bytes = b.bytes;
  return code;
}

static void *alloc_bytes(void *user, size_t bytes) { return moon__alloc(user, bytes); }

moon_status moon__file_bytes(moon_context *ctx, const char *who, const char *path, char **data, size_t *bytes) {
  char reason[128];
  void *block = NULL;
  int code;
  *data = NULL;
  if (!path) return moon__fail(ctx, MOON_EARGUMENT, "%s: a path is expected, got NULL", who);
  if (ctx->given) code = take_given(ctx, &block, bytes);
  else if (ctx->runtime->host.read) code = read_by_host(ctx->runtime, path, &block, bytes);
  else code = moon__file_read(path, alloc_bytes, ctx->runtime, &block, bytes);
  *data = block;
  if (code == 0) return MOON_OK;
  return moon__fail(ctx, code == -1 ? MOON_EMEMORY : MOON_EIO, "%s: cannot read '%s': %s", who, path,
                    moon__os_error(code, reason, sizeof reason));
}

moon_status moon__file_write(moon_context *ctx, const char *who, const char *path, const void *data, size_t bytes) {
  char reason[128];
  int code;
  if (!path) return moon__fail(ctx, MOON_EARGUMENT, "%s: a path is expected, got NULL", who);
  code = moon__file_replace(path, data, bytes);
  if (code == 0) return MOON_OK;
  return moon__fail(ctx, MOON_EIO, "%s: cannot write '%s': %s", who, path, moon__os_error(code, reason, sizeof reason));
}
