/*
** npy.c: one array in a file, as NumPy writes it: versions 1 to 3, both orders of axes, both orders of bytes. The header is a
** Python dictionary; of Python no more than strings, True, False and tuples of whole numbers is read.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/number.h"
#include "base/shape.h"
#include "base/size.h"
#include "formats/file.h"
#include "formats/wire.h"
#include "tensor/tensor.h"

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

typedef struct reader {
  moon_context *ctx;
  const char *path, *start, *at, *end;
} reader;

typedef struct array {
  moon_wire wire;
  bool big, fortran;
  int ndim;
  int64_t shape[MOON_MAX_DIMS];
} array;

static moon_status fail_header(reader *r, const char *expected) {
  return moon__fail(r->ctx, MOON_EFORMAT, "%s: malformed npy header: %s expected at byte %lld", r->path, expected,
                    (long long)(r->at - r->start));
}

static void skip_spaces(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t')) r->at++;
}

static bool accept(reader *r, char c) {
  skip_spaces(r);
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}

static bool accept_word(reader *r, const char *word) {
  size_t n = strlen(word);
  skip_spaces(r);
  if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
  r->at += n;
  return true;
}

/* A string in single or double quotes, without escapes, into word. */
static moon_status read_string(reader *r, char *word, size_t word_bytes) {
  char quote = accept(r, '\'') ? '\'' : accept(r, '"') ? '"' : '\0';
  size_t n = 0;
  if (!quote) return fail_header(r, "a string");
  while (r->at < r->end && *r->at != quote && *r->at != '\\' && n + 1 < word_bytes) word[n++] = *r->at++;
  word[n] = '\0';
  if (r->at == r->end || *r->at != quote) return fail_header(r, "a short string");
  r->at++;
  return MOON_OK;
}

static moon_status read_descr(reader *r, array *a) {
  char word[32];
  int64_t bytes;
  const char *stop;
  if (accept(r, '[')) {
    return moon__fail(r->ctx, MOON_EDTYPE, "%s: records are not supported, an array of numbers is expected", r->path);
  }
  moon_status status = read_string(r, word, sizeof word);
  if (status != MOON_OK) return status;
  a->big = word[0] == '>';
  a->wire = MOON_WIRE_COUNT;
  if (word[0] && strchr("<>|=", word[0]) && word[1]) {
    stop = moon__integer_read(word + 2, word + strlen(word), &bytes);
    if (stop && !*stop) a->wire = moon__wire_find_npy(word[1], bytes);
  }
  if (a->wire != MOON_WIRE_COUNT) return MOON_OK;
  return moon__fail(r->ctx, MOON_EDTYPE, "%s: dtype '%s' is not supported", r->path, word);
}

static moon_status read_shape(reader *r, array *a) {
  a->ndim = 0;
  if (!accept(r, '(')) return fail_header(r, "'('");
  while (!accept(r, ')')) {
    const char *stop;
    if (a->ndim == MOON_MAX_DIMS) {
      return moon__fail(r->ctx, MOON_ESHAPE, "%s: at most %d axes are possible", r->path, MOON_MAX_DIMS);
    }
    skip_spaces(r);
    stop = moon__integer_read(r->at, r->end, &a->shape[a->ndim]);
    if (!stop || a->shape[a->ndim] < 0) return fail_header(r, "a size");
    a->ndim++;
    r->at = stop;
    accept(r, 'L'); /* Python 2 wrote long integers so */
    if (!accept(r, ',') && r->at < r->end && *r->at != ')') return fail_header(r, "',' or ')'");
  }
  return MOON_OK;
}

static moon_status read_item(reader *r, array *a, unsigned *seen) {
  static const char *const keys[] = {"descr", "fortran_order", "shape"};
  char key[32];
  int which = 0;
  moon_status status = read_string(r, key, sizeof key);
  if (status != MOON_OK) return status;
  while (which < 3 && strcmp(keys[which], key) != 0) which++;
  if (which == 3 || *seen & 1u << which) return fail_header(r, "each of descr, fortran_order, shape once");
  *seen |= 1u << which;
  if (!accept(r, ':')) return fail_header(r, "':'");
  if (which == 0) return read_descr(r, a);
  if (which == 2) return read_shape(r, a);
  a->fortran = accept_word(r, "True");
  return a->fortran || accept_word(r, "False") ? MOON_OK : fail_header(r, "True or False");
}

static moon_status read_dictionary(reader *r, array *a) {
  unsigned seen = 0;
  if (!accept(r, '{')) return fail_header(r, "'{'");
  while (!accept(r, '}')) {
    moon_status status = read_item(r, a, &seen);
    if (status != MOON_OK) return status;
    if (!accept(r, ',') && r->at < r->end && *r->at != '}') return fail_header(r, "',' or '}'");
  }
  if (seen != 7) return fail_header(r, "descr, fortran_order and shape");
  skip_spaces(r);
  return r->at == r->end ? MOON_OK : fail_header(r, "the end of the header");
}

/* Finds the dictionary in the file's bytes; *data is what follows it. */
static moon_status open_header(reader *r, const char *bytes, size_t n, const char **data) {
  size_t prefix, length;
  const unsigned char *p = (const unsigned char *)bytes;
  if (n < 10 || memcmp(bytes, magic, sizeof magic) != 0) {
    return moon__fail(r->ctx, MOON_EFORMAT, "%s: not a npy file", r->path);
  }
  if (p[6] < 1 || p[6] > 3) {
    return moon__fail(r->ctx, MOON_EFORMAT, "%s: npy version %d is not known, 1 to 3 are", r->path, p[6]);
  }
  prefix = p[6] == 1 ? 10 : 12;
  length = p[8] | (size_t)p[9] << 8;
  if (prefix == 12 && n >= 12) length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
  if (n < prefix || length > n - prefix) {
    return moon__fail(r->ctx, MOON_EFORMAT, "%s: the npy header is longer than the file", r->path);
  }
  r->start = bytes;
  r->at = bytes + prefix;
  r->end = r->at + length;
  *data = r->end;
  return MOON_OK;
}

/* Fortran order is the reversed shape, transposed. */
static moon_tensor *load_fortran(reader *r, array *a, const char *data) {
  int64_t reversed[MOON_MAX_DIMS];
  moon_tensor *raw, *view, *dense = NULL;
  for (int i = 0; i < a->ndim; i++) reversed[i] = a->shape[a->ndim - 1 - i];
  raw = moon__wire_tensor(r->ctx, r->path, a->wire, a->big, a->ndim, reversed, data);
  view = raw ? moon_tensor_transpose(r->ctx, raw, NULL) : NULL;
  if (view) dense = moon__tensor_empty(r->ctx, moon_tensor_dtype(raw), a->ndim, a->shape);
  if (dense && moon_tensor_copy(r->ctx, dense, view) != MOON_OK) {
    moon_tensor_release(dense);
    dense = NULL;
  }
  moon_tensor_release(view);
  moon_tensor_release(raw);
  return dense;
}

static moon_tensor *load(reader *r, const char *bytes, size_t n) {
  array a = {.wire = MOON_WIRE_COUNT};
  const char *data = NULL;
  moon_shape shape;
  int64_t count, need;
  size_t have;
  if (open_header(r, bytes, n, &data) != MOON_OK || read_dictionary(r, &a) != MOON_OK) return NULL;
  shape = moon__shape(a.ndim, a.shape);
  have = n - (size_t)(data - bytes);
  if (!moon__shape_count_known(&shape, &count) || !moon__mul_i64(count, (int64_t)moon__wire[a.wire].bytes, &need) ||
      (uint64_t)need != have) {
    char text[256];
    moon__fail(r->ctx, MOON_EFORMAT, "%s: %zu bytes of data do not fill shape %s of %zu bytes an element", r->path, have,
               moon_shape_text(r->ctx->runtime, &shape, text, sizeof text), moon__wire[a.wire].bytes);
    return NULL;
  }
  if (a.fortran && a.ndim > 1) return load_fortran(r, &a, data);
  return moon__wire_tensor(r->ctx, r->path, a.wire, a.big, a.ndim, a.shape, data);
}

moon_tensor *moon_npy_load(moon_context *ctx, const char *path) {
  reader r = {.ctx = ctx, .path = path};
  char *bytes;
  size_t n;
  moon_tensor *t = NULL;
  if (moon__file_bytes(ctx, "npy", path, &bytes, &n) == MOON_OK) t = load(&r, bytes, n);
  moon__free(ctx->runtime, bytes);
  return t;
}

/* ---- writing: version 1, the data at a multiple of 64 ---- */

#define MAX_HEADER 320

static size_t write_header(const moon_tensor *t, char *out) {
  const moon_wire_format *format = &moon__wire[moon__wire_of(moon_tensor_dtype(t))];
  char text[MAX_HEADER];
  size_t n = 10, length;
  int used = snprintf(text, sizeof text, "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (", format->bytes == 1 ? '|' : '<',
                      format->letter, format->bytes);
  for (int i = 0; i < moon_tensor_ndim(t); i++) {
    used += snprintf(text + used, sizeof text - (size_t)used, "%lld,", (long long)moon_tensor_size(t, i));
  }
  used += snprintf(text + used, sizeof text - (size_t)used, "), }");
  memcpy(out, magic, sizeof magic);
  out[6] = 1;
  out[7] = 0;
  memcpy(out + n, text, (size_t)used);
  for (n += (size_t)used; (n + 1) % 64 != 0; n++) out[n] = ' ';
  out[n++] = '\n';
  length = n - 10;
  out[8] = (char)(length & 255);
  out[9] = (char)(length >> 8);
  return n;
}

moon_status moon_npy_save(moon_context *ctx, const char *path, const moon_tensor *t) {
  char header[MAX_HEADER + 80], *bytes;
  size_t n, total;
  moon_status status;
  if (!moon__wire[moon__wire_of(moon_tensor_dtype(t))].letter)
    return moon__fail(ctx, MOON_EDTYPE, "npy: the format has no %s; cast the tensor to f32 or f16", moon_dtype_name(moon_tensor_dtype(t)));
  n = write_header(t, header);
  if (!moon__add_size(n, moon_tensor_bytes(t), &total)) return moon__fail_memory(ctx);
  bytes = moon__alloc(ctx->runtime, total);
  if (!bytes) return moon__fail_memory(ctx);
  memcpy(bytes, header, n);
  status = moon_tensor_read(ctx, t, moon_tensor_dtype(t), bytes + n, total - n);
  if (status == MOON_OK) status = moon__file_write(ctx, "npy", path, bytes, total);
  moon__free(ctx->runtime, bytes);
  return status;
}
