/*
** safetensors.c: the format of saved models: 8 bytes of header length, a JSON header, the tensors' bytes one after the other. A
** file is verified whole before anything of it is used: names once, dtype and shape and bytes agree, no gaps, no overlaps. Names
** and texts in memory are in file.c.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/shape.h"
#include "base/size.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/wire.h"

#define MAX_HEADER_BYTES 100000000 /* the format's own limit */
#define PREFIX_BYTES 8
#define METADATA "__metadata__"

typedef struct entry {
  char *name;
  moon_wire wire;
  int ndim;
  int64_t shape[MOON_MAX_DIMS];
  int64_t offsets[2]; /* first byte and the one behind the last, from the start of the data */
} entry;

typedef struct decoder {
  moon_json json;
  moon_file *file;
  entry *entries;
  int n, capacity;
  bool has_metadata;
} decoder;

/* ---- the header ---- */

static moon_status read_dtype(decoder *d, entry *e) {
  moon_context *ctx = d->json.ctx;
  char *word;
  moon_status status = moon__json_name(&d->json, &word);
  if (status != MOON_OK) return status;
  e->wire = moon__wire_find(word);
  if (e->wire == MOON_WIRE_COUNT) {
    status = moon__fail(ctx, MOON_EDTYPE, "%s: tensor '%s': dtype %.40s is not supported", d->json.who, e->name, word);
  }
  moon__free(ctx->runtime, word);
  return status;
}

static moon_status read_member(decoder *d, entry *e, unsigned *seen) {
  static const char *const keys[] = {"dtype", "shape", "data_offsets"};
  char *key;
  int which = 0, n;
  moon_status status = moon__json_name(&d->json, &key);
  if (status != MOON_OK) return status;
  while (which < 3 && strcmp(keys[which], key) != 0) which++;
  moon__free(d->json.ctx->runtime, key);
  status = moon__json_expect(&d->json, ':');
  if (status != MOON_OK) return status;
  if (which == 3) return moon__json_skip(&d->json);
  if (*seen & 1u << which) {
    return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: tensor '%s' has its %s twice", d->json.who, e->name, keys[which]);
  }
  *seen |= 1u << which;
  if (which == 0) return read_dtype(d, e);
  if (which == 1) return moon__json_sizes(&d->json, MOON_MAX_DIMS, &e->ndim, e->shape);
  status = moon__json_sizes(&d->json, 2, &n, e->offsets);
  return status == MOON_OK && n != 2 ? moon__json_fail(&d->json, "two offsets") : status;
}

/* Steps behind the comma or the closing brace of an object; *more tells which. */
static moon_status read_separator(moon_json *j, bool *more) {
  *more = moon__json_accept(j, ',');
  return *more ? MOON_OK : moon__json_expect(j, '}');
}

static moon_status read_entry(decoder *d, entry *e) {
  unsigned seen = 0;
  bool more = true;
  moon_status status = moon__json_expect(&d->json, '{');
  while (status == MOON_OK && more) {
    status = read_member(d, e, &seen);
    if (status == MOON_OK) status = read_separator(&d->json, &more);
  }
  if (status != MOON_OK || seen == 7) return status;
  return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: tensor '%s' needs dtype, shape and data_offsets", d->json.who, e->name);
}

static moon_status read_text(decoder *d) {
  moon_context *ctx = d->json.ctx;
  char *name, *text = NULL;
  size_t bytes;
  moon_status status = moon__json_name(&d->json, &name);
  if (status == MOON_OK) status = moon__json_expect(&d->json, ':');
  if (status == MOON_OK) status = moon__json_string(&d->json, &text, &bytes);
  if (status == MOON_OK && moon_file_find_text(d->file, name, NULL)) {
    status = moon__fail(ctx, MOON_EFORMAT, "%s: text '%s' is there twice", d->json.who, name);
  }
  if (status == MOON_OK) status = moon_file_put_text(ctx, d->file, name, text, bytes);
  moon__free(ctx->runtime, name);
  moon__free(ctx->runtime, text);
  return status;
}

static moon_status read_metadata(decoder *d) {
  bool more;
  moon_status status = moon__json_expect(&d->json, '{');
  if (d->has_metadata) return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: " METADATA " is there twice", d->json.who);
  d->has_metadata = true;
  more = status == MOON_OK && !moon__json_accept(&d->json, '}');
  while (status == MOON_OK && more) {
    status = read_text(d);
    if (status == MOON_OK) status = read_separator(&d->json, &more);
  }
  return status;
}

static moon_status read_named(decoder *d) {
  moon_runtime *runtime = d->json.ctx->runtime;
  char *name;
  moon_status status = moon__json_name(&d->json, &name);
  if (status == MOON_OK) status = moon__json_expect(&d->json, ':');
  if (status == MOON_OK && strcmp(name, METADATA) == 0) {
    moon__free(runtime, name);
    return read_metadata(d);
  }
  if (status == MOON_OK && !MOON_RESERVE(runtime, d->entries, d->capacity, d->n + 1)) status = moon__fail_memory(d->json.ctx);
  if (status != MOON_OK) {
    moon__free(runtime, name);
    return status;
  }
  memset(&d->entries[d->n], 0, sizeof *d->entries);
  d->entries[d->n].name = name;
  return read_entry(d, &d->entries[d->n++]);
}

static moon_status read_header(decoder *d) {
  bool more;
  moon_status status = moon__json_expect(&d->json, '{');
  more = status == MOON_OK && !moon__json_accept(&d->json, '}');
  while (status == MOON_OK && more) {
    status = read_named(d);
    if (status == MOON_OK) status = read_separator(&d->json, &more);
  }
  if (status != MOON_OK) return status;
  moon__json_accept(&d->json, ' ');
  while (d->json.at < d->json.end && *d->json.at == ' ') d->json.at++;
  return d->json.at == d->json.end ? MOON_OK : moon__json_fail(&d->json, "the end of the header");
}

/* ---- the data ---- */

static moon_status check_entry(const decoder *d, const entry *e, size_t data_bytes) {
  moon_shape shape = moon__shape(e->ndim, e->shape);
  int64_t count, bytes, have;
  char text[256];
  if (e->offsets[0] > e->offsets[1] || (uint64_t)e->offsets[1] > data_bytes) {
    return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: tensor '%s' lies outside of the file: bytes %lld to %lld of %zu", d->json.who,
                      e->name, (long long)e->offsets[0], (long long)e->offsets[1], data_bytes);
  }
  have = e->offsets[1] - e->offsets[0];
  if (moon__shape_count_known(&shape, &count) && moon__mul_i64(count, (int64_t)moon__wire[e->wire].bytes, &bytes) &&
      bytes == have) {
    return MOON_OK;
  }
  return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: tensor '%s': %s of shape %s does not fill %lld bytes", d->json.who, e->name,
                    moon__wire[e->wire].word, moon_shape_text(d->json.ctx->runtime, &shape, text, sizeof text), (long long)have);
}

static bool comes_before(const entry *a, const entry *b) {
  if (a->offsets[0] != b->offsets[0]) return a->offsets[0] < b->offsets[0];
  return a->offsets[1] < b->offsets[1];
}

/* Restores the heap of positions below `at`. */
static void sift_down(const entry *e, int *order, int at, int n) {
  for (int child = 2 * at + 1; child < n; child = 2 * at + 1) {
    int top = order[at];
    if (child + 1 < n && comes_before(&e[order[child]], &e[order[child + 1]])) child++;
    if (!comes_before(&e[top], &e[order[child]])) return;
    order[at] = order[child];
    order[child] = top;
    at = child;
  }
}

/* Heap sort: no memory, no recursion, no bad case. */
static void sort_entries(const entry *e, int *order, int n) {
  for (int i = 0; i < n; i++) order[i] = i;
  for (int i = n / 2 - 1; i >= 0; i--) sift_down(e, order, i, n);
  for (int last = n - 1; last > 0; last--) {
    int top = order[0];
    order[0] = order[last];
    order[last] = top;
    sift_down(e, order, 0, last);
  }
}

/* Tensors must cover the data without gaps and overlaps. */
static moon_status check_cover(const decoder *d, size_t data_bytes) {
  moon_context *ctx = d->json.ctx;
  int *order = moon__alloc_array(ctx->runtime, (size_t)d->n, sizeof *order);
  int64_t at = 0;
  moon_status status = order ? MOON_OK : moon__fail_memory(ctx);
  if (order) sort_entries(d->entries, order, d->n);
  for (int i = 0; status == MOON_OK && i < d->n; i++) {
    const entry *e = &d->entries[order[i]];
    if (e->offsets[0] != at) {
      status = moon__fail(ctx, MOON_EFORMAT, "%s: tensor '%s' begins at byte %lld, expected %lld: there is %s", d->json.who,
                          e->name, (long long)e->offsets[0], (long long)at, e->offsets[0] < at ? "an overlap" : "a gap");
    }
    at = e->offsets[1];
  }
  moon__free(ctx->runtime, order);
  if (status != MOON_OK || (uint64_t)at == data_bytes) return status;
  return moon__fail(ctx, MOON_EFORMAT, "%s: %zu bytes of data, but tensors fill %lld", d->json.who, data_bytes, (long long)at);
}

static moon_status make_tensors(decoder *d, const char *data) {
  moon_context *ctx = d->json.ctx;
  for (int i = 0; i < d->n; i++) {
    const entry *e = &d->entries[i];
    char who[512]; /* longer names are cut in messages only */
    moon_tensor *t;
    moon_status status;
    if (moon__file_position(d->file, e->name) >= 0) {
      return moon__fail(ctx, MOON_EFORMAT, "%s: tensor '%s' is there twice", d->json.who, e->name);
    }
    snprintf(who, sizeof who, "%s: tensor '%s'", d->json.who, e->name);
    t = moon__wire_tensor(ctx, who, e->wire, false, e->ndim, e->shape, data + e->offsets[0]);
    if (!t) return moon_error_status(ctx);
    status = moon_file_put(ctx, d->file, e->name, t);
    moon_tensor_release(t);
    if (status != MOON_OK) return status;
  }
  return MOON_OK;
}

static moon_status decode(decoder *d, const char *data, size_t bytes) {
  uint64_t header = 0;
  size_t data_bytes;
  moon_status status;
  for (int i = PREFIX_BYTES - 1; i >= 0 && bytes >= PREFIX_BYTES; i--) header = header << 8 | (unsigned char)data[i];
  if (bytes < PREFIX_BYTES || header > bytes - PREFIX_BYTES || header > MAX_HEADER_BYTES || header < 2) {
    return moon__fail(d->json.ctx, MOON_EFORMAT, "%s: not a safetensors file: %zu bytes, a header of %llu", d->json.who, bytes,
                      (unsigned long long)header);
  }
  d->json.start = d->json.at = data + PREFIX_BYTES;
  d->json.end = d->json.start + header;
  data_bytes = bytes - PREFIX_BYTES - (size_t)header;
  status = read_header(d);
  for (int i = 0; status == MOON_OK && i < d->n; i++) status = check_entry(d, &d->entries[i], data_bytes);
  if (status == MOON_OK) status = check_cover(d, data_bytes);
  return status == MOON_OK ? make_tensors(d, d->json.end) : status;
}

static moon_file *decode_as(moon_context *ctx, const char *who, const void *data, size_t bytes) {
  decoder d = {.json = {.ctx = ctx, .who = who}, .file = moon_file_new(ctx)};
  moon_status status = d.file ? decode(&d, data, bytes) : MOON_EMEMORY;
  for (int i = 0; i < d.n; i++) moon__free(ctx->runtime, d.entries[i].name);
  moon__free(ctx->runtime, d.entries);
  if (status == MOON_OK) return d.file;
  moon_file_release(d.file);
  return NULL;
}

moon_file *moon_file_decode(moon_context *ctx, const void *data, size_t bytes) {
  return decode_as(ctx, "safetensors", data ? data : "", data ? bytes : 0);
}

moon_file *moon_file_load(moon_context *ctx, const char *path) {
  char *data;
  size_t bytes;
  moon_file *f = NULL;
  if (moon__file_bytes(ctx, "load", path, &data, &bytes) == MOON_OK) f = decode_as(ctx, path, data, bytes);
  moon__free(ctx->runtime, data);
  return f;
}

/* ---- writing ---- */

/* The header is written twice: first to count (out NULL), then for good. */
typedef struct writer {
  char *out;
  size_t n;
} writer;

static void put(writer *w, const char *text) {
  size_t n = strlen(text);
  if (w->out) memcpy(w->out + w->n, text, n);
  w->n += n;
}

static void put_string(writer *w, const char *text, size_t bytes) {
  w->n += moon__json_quote(text, bytes, w->out ? w->out + w->n : NULL);
}

static void put_size(writer *w, uint64_t x) {
  char digits[24];
  int i = (int)sizeof digits - 1;
  digits[i] = '\0';
  do {
    digits[--i] = (char)('0' + x % 10);
    x /= 10;
  } while (x > 0);
  put(w, digits + i);
}

static void put_texts(writer *w, const moon_file *f) {
  put(w, "\"" METADATA "\":{");
  for (int i = 0; i < f->ntexts; i++) {
    if (i > 0) put(w, ",");
    put_string(w, f->texts[i].name, strlen(f->texts[i].name));
    put(w, ":");
    put_string(w, f->texts[i].text, f->texts[i].bytes);
  }
  put(w, "}");
}

static void put_entry(writer *w, const moon_named_tensor *e, size_t offset) {
  put_string(w, e->name, strlen(e->name));
  put(w, ":{\"dtype\":\"");
  put(w, moon__wire[moon__wire_of(moon_tensor_dtype(e->tensor))].word);
  put(w, "\",\"shape\":[");
  for (int i = 0; i < moon_tensor_ndim(e->tensor); i++) {
    if (i > 0) put(w, ",");
    put_size(w, (uint64_t)moon_tensor_size(e->tensor, i));
  }
  put(w, "],\"data_offsets\":[");
  put_size(w, offset);
  put(w, ",");
  put_size(w, offset + moon_tensor_bytes(e->tensor));
  put(w, "]}");
}

static void put_header(writer *w, const moon_file *f, const size_t *offsets) {
  put(w, "{");
  if (f->ntexts > 0) put_texts(w, f);
  for (int i = 0; i < f->ntensors; i++) {
    if (i > 0 || f->ntexts > 0) put(w, ",");
    put_entry(w, &f->tensors[i], offsets[i]);
  }
  put(w, "}");
}

/* Places tensors by falling element size, so that every one is aligned to its own. */
static bool place_tensors(const moon_file *f, size_t *offsets, size_t *total) {
  *total = 0;
  for (size_t element = 8; element > 0; element /= 2) {
    for (int i = 0; i < f->ntensors; i++) {
      if (moon_dtype_bytes(moon_tensor_dtype(f->tensors[i].tensor)) != element) continue;
      offsets[i] = *total;
      if (!moon__add_size(*total, moon_tensor_bytes(f->tensors[i].tensor), total)) return false;
    }
  }
  return true;
}

static moon_status check_names(moon_context *ctx, const moon_file *f) {
  for (int i = 0; i < f->ntensors; i++) {
    const char *name = f->tensors[i].name;
    if (strcmp(name, METADATA) == 0 || !moon__is_utf8(name, strlen(name))) {
      return moon__fail(ctx, MOON_EARGUMENT, "save: a tensor cannot be named '%s'", name);
    }
  }
  for (int i = 0; i < f->ntexts; i++) {
    const moon_named_text *e = &f->texts[i];
    if (!moon__is_utf8(e->name, strlen(e->name)) || !moon__is_utf8(e->text, e->bytes)) {
      return moon__fail(ctx, MOON_EARGUMENT, "save: text '%s' is not UTF-8", e->name);
    }
  }
  return MOON_OK;
}

static moon_status encode_data(moon_context *ctx, const moon_file *f, const size_t *offsets, char *data) {
  moon_status status = MOON_OK;
  for (int i = 0; status == MOON_OK && i < f->ntensors; i++) {
    const moon_tensor *t = f->tensors[i].tensor;
    status = moon_tensor_read(ctx, t, moon_tensor_dtype(t), data + offsets[i], moon_tensor_bytes(t));
  }
  return status;
}

/* offsets [ntensors] is room for the places of the tensors. */
static char *encode(moon_context *ctx, const moon_file *f, size_t *offsets, size_t *bytes) {
  writer w = {NULL, 0};
  size_t header, data_bytes;
  char *out = NULL;
  bool fits = place_tensors(f, offsets, &data_bytes);
  put_header(&w, f, offsets);
  fits = fits && moon__align_size(w.n + PREFIX_BYTES, 64, &header) && moon__add_size(header, data_bytes, bytes);
  if (!fits || w.n > MAX_HEADER_BYTES) {
    moon__fail(ctx, MOON_ESIZE, "save: too large for a safetensors file: %zu bytes of names and texts", w.n);
    return NULL;
  }
  out = moon__alloc(ctx->runtime, *bytes);
  if (!out) {
    moon__fail_memory(ctx);
    return NULL;
  }
  for (int i = 0; i < PREFIX_BYTES; i++) out[i] = (char)((uint64_t)(header - PREFIX_BYTES) >> (8 * i) & 255);
  w = (writer){out + PREFIX_BYTES, 0};
  put_header(&w, f, offsets);
  memset(w.out + w.n, ' ', header - PREFIX_BYTES - w.n);
  if (encode_data(ctx, f, offsets, out + header) == MOON_OK) return out;
  moon__free(ctx->runtime, out);
  return NULL;
}

char *moon_file_encode(moon_context *ctx, const moon_file *f, size_t *bytes) {
  size_t *offsets;
  char *out;
  *bytes = 0;
  if (check_names(ctx, f) != MOON_OK) return NULL;
  offsets = moon__alloc_array(ctx->runtime, (size_t)f->ntensors, sizeof *offsets);
  if (!offsets) {
    moon__fail_memory(ctx);
    return NULL;
  }
  out = encode(ctx, f, offsets, bytes);
  moon__free(ctx->runtime, offsets);
  return out;
}

moon_status moon_file_save(moon_context *ctx, const moon_file *f, const char *path) {
  size_t bytes;
  char *data = moon_file_encode(ctx, f, &bytes);
  moon_status status;
  if (!data) return moon_error_status(ctx);
  status = moon__file_write(ctx, "save", path, data, bytes);
  moon__free(ctx->runtime, data);
  return status;
}
