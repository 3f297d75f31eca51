/*
** attrs.c: generic work on attributes through the rows that describe them: defaults, comparing, hashing, and the text form
** "axis=1 keepdims=true perm=[1,0] shape=[batch,3]". Invariant: what text writes, parse reads back to the last bit, whatever the
** locale. Axes count from 0 here. What the attributes mean is the business of each op's file.
*/
#include "ops/attrs.h"

#include <stdio.h>
#include <string.h>

#include "base/dim.h"
#include "base/error.h"
#include "base/map.h"
#include "base/number.h"
#include "base/shape.h"
#include "base/size.h"

static void *field_of(const moon_attr *row, void *attrs) { return (char *)attrs + row->offset; }
static const void *field_in(const moon_attr *row, const void *attrs) { return (const char *)attrs + row->offset; }

/* Bytes of a field that count: unused entries of a list do not. */
static size_t field_bytes(const moon_attr *row, const void *field) {
  switch (row->kind) {
    case MOON_ATTR_I64:
    case MOON_ATTR_AXIS: return sizeof(int64_t);
    case MOON_ATTR_DIM: return sizeof(moon_dim);
    case MOON_ATTR_F64: return sizeof(double);
    case MOON_ATTR_BOOL: return sizeof(bool);
    case MOON_ATTR_DTYPE:
    case MOON_ATTR_ENUM: return sizeof(int32_t);
    case MOON_ATTR_INTS:
    case MOON_ATTR_AXES: return offsetof(moon_ints, v) + (size_t)((const moon_ints *)field)->n * sizeof(int64_t);
    case MOON_ATTR_SHAPE: return offsetof(moon_shape, dim) + (size_t)((const moon_shape *)field)->ndim * sizeof(moon_dim);
  }
  return 0;
}

static void set_number(const moon_attr *row, void *field, double number) {
  switch (row->kind) {
    case MOON_ATTR_I64:
    case MOON_ATTR_AXIS:
    case MOON_ATTR_DIM: *(int64_t *)field = (int64_t)number; break;
    case MOON_ATTR_F64: *(double *)field = number; break;
    case MOON_ATTR_BOOL: *(bool *)field = number != 0; break;
    case MOON_ATTR_DTYPE:
    case MOON_ATTR_ENUM: *(int32_t *)field = (int32_t)number; break;
    case MOON_ATTR_INTS:
    case MOON_ATTR_AXES: *(moon_ints *)field = (moon_ints){0}; break;
    case MOON_ATTR_SHAPE: *(moon_shape *)field = (moon_shape){0}; break;
  }
}

void moon__attrs_default(const moon_op *op, void *attrs) {
  if (op->attrs_bytes) memset(attrs, 0, op->attrs_bytes);
  for (int i = 0; i < op->nattrs; i++) set_number(&op->attrs[i], field_of(&op->attrs[i], attrs), op->attrs[i].number);
}

static bool field_equal(const moon_attr *row, const void *a, const void *b) {
  size_t bytes = field_bytes(row, a);
  return bytes == field_bytes(row, b) && memcmp(a, b, bytes) == 0;
}

bool moon__attrs_equal(const moon_op *op, const void *a, const void *b) {
  for (int i = 0; i < op->nattrs; i++) {
    if (!field_equal(&op->attrs[i], field_in(&op->attrs[i], a), field_in(&op->attrs[i], b))) return false;
  }
  return true;
}

uint64_t moon__attrs_hash(const moon_op *op, const void *attrs, uint64_t seed) {
  for (int i = 0; i < op->nattrs; i++) {
    const void *field = field_in(&op->attrs[i], attrs);
    seed = moon__hash_bytes(seed, field, field_bytes(&op->attrs[i], field));
  }
  return seed;
}

/* ---- Writing ---- */

typedef struct writer {
  char *buf;
  size_t bytes, length; /* length may pass bytes: what the whole text needs */
} writer;

static void put(writer *w, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++, w->length++) {
    if (w->length + 1 < w->bytes) w->buf[w->length] = text[i];
  }
}
static void put_text(writer *w, const char *text) { put(w, text, strlen(text)); }

static void put_i64(writer *w, int64_t x) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)x);
  put_text(w, text);
}

static void put_f64(writer *w, double x) {
  char text[MOON_NUMBER_BYTES];
  put_text(w, moon__number_write(x, text));
}

static void put_word(writer *w, const char *words, int32_t which) {
  for (; which > 0 && words; which--) {
    words = strchr(words, '|');
    if (words) words++;
  }
  if (words) put(w, words, strcspn(words, "|"));
}

static void put_dim(writer *w, const moon_runtime *runtime, moon_dim d) {
  char text[512];
  if (d < 0 && d > MOON_DIM_FIRST) put_i64(w, d); /* reshape's -1, before it is resolved */
  else put_text(w, moon_dim_text(runtime, d, text, sizeof text));
}

static void put_field(writer *w, const moon_runtime *runtime, const moon_attr *row, const void *field) {
  const moon_ints *ints = field;
  const moon_shape *shape = field;
  switch (row->kind) {
    case MOON_ATTR_I64:
    case MOON_ATTR_AXIS: put_i64(w, *(const int64_t *)field); break;
    case MOON_ATTR_DIM: put_dim(w, runtime, *(const moon_dim *)field); break;
    case MOON_ATTR_F64: put_f64(w, *(const double *)field); break;
    case MOON_ATTR_BOOL: put_text(w, *(const bool *)field ? "true" : "false"); break;
    case MOON_ATTR_DTYPE:
      put_text(w, *(const int32_t *)field < 0 ? "none" : moon_dtype_name((moon_dtype) * (const int32_t *)field));
      break;
    case MOON_ATTR_ENUM: put_word(w, row->words, *(const int32_t *)field); break;
    case MOON_ATTR_INTS:
    case MOON_ATTR_AXES:
      for (int i = 0; i < ints->n; i++) {
        put_text(w, i ? "," : "[");
        put_i64(w, ints->v[i]);
      }
      put_text(w, ints->n ? "]" : "[]");
      break;
    case MOON_ATTR_SHAPE:
      for (int i = 0; i < shape->ndim; i++) {
        put_text(w, i ? "," : "[");
        put_dim(w, runtime, shape->dim[i]);
      }
      put_text(w, shape->ndim ? "]" : "[]");
      break;
  }
}

static bool is_default(const moon_attr *row, const void *field) {
  union {
    moon_ints ints;
    moon_shape shape;
    int64_t number;
  } plain;
  set_number(row, &plain, row->number);
  return field_equal(row, field, &plain);
}

size_t moon__attrs_text(const moon_runtime *runtime, const moon_op *op, const void *attrs, char *buf, size_t buf_bytes) {
  writer w = {.buf = buf, .bytes = buf_bytes};
  for (int i = 0; i < op->nattrs; i++) {
    const moon_attr *row = &op->attrs[i];
    const void *field = field_in(row, attrs);
    if (!row->required && is_default(row, field)) continue;
    if (w.length) put_text(&w, " ");
    put_text(&w, row->name);
    put_text(&w, "=");
    put_field(&w, runtime, row, field);
  }
  if (buf_bytes) buf[w.length < buf_bytes ? w.length : buf_bytes - 1] = 0;
  return w.length;
}

/* ---- Reading ---- */

typedef struct reader {
  moon_context *ctx;
  const moon_op *op;
  const moon_attr *row;
  const char *at, *end;
} reader;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static void skip_space(reader *r) {
  while (r->at < r->end && is_space(*r->at)) r->at++;
}

static moon_status fail_value(reader *r, const char *expected) {
  int n = (int)moon__min_i64(r->end - r->at, 40);
  return moon__fail(r->ctx, MOON_EFORMAT, "%s: attribute '%s': expected %s, got '%.*s'", r->op->name, r->row->name, expected, n,
                    r->at);
}

/* Length of the value at r->at: up to a comma, bracket or space outside parentheses. */
static size_t value_length(const reader *r) {
  int depth = 0;
  const char *p = r->at;
  for (; p < r->end; p++) {
    if (*p == '(') depth++;
    if (*p == ')') depth--;
    if (depth <= 0 && (*p == ',' || *p == ']' || *p == '[' || is_space(*p))) break;
  }
  return (size_t)(p - r->at);
}

static moon_status read_i64(reader *r, int64_t *x) {
  const char *end = r->at + value_length(r);
  if (moon__integer_read(r->at, end, x) != end) return fail_value(r, "a whole number");
  r->at = end;
  return MOON_OK;
}

static moon_status read_f64(reader *r, double *x) {
  const char *end = r->at + value_length(r);
  if (moon__number_read(r->at, end, x) != end) return fail_value(r, "a number");
  r->at = end;
  return MOON_OK;
}

static moon_status read_dim(reader *r, moon_dim *d) {
  const char *end = r->at + value_length(r);
  if (moon__integer_read(r->at, end, d) == end) {
    if (*d < -1) return fail_value(r, "a size of 0 or more");
  } else {
    if (r->at == end) return fail_value(r, "a size");
    *d = moon__dim_parse(r->ctx, r->at, end);
    if (*d == MOON_DIM_ERROR) return moon_error_status(r->ctx);
  }
  r->at = end;
  return MOON_OK;
}

/* Position of the word at r->at in words ("a|b|c"), -1 for none. */
static int32_t find_word(const reader *r, const char *words, size_t n) {
  for (int32_t i = 0; words; i++) {
    size_t length = strcspn(words, "|");
    if (length == n && memcmp(words, r->at, n) == 0) return i;
    words = words[length] ? words + length + 1 : NULL;
  }
  return -1;
}

static moon_status read_word(reader *r, int32_t *x) {
  size_t n = value_length(r);
  if (r->row->kind == MOON_ATTR_DTYPE) {
    char name[16] = "";
    if (n < sizeof name) memcpy(name, r->at, n);
    moon_dtype d = moon_dtype_find(name);
    if (d == MOON_DTYPE_COUNT && strcmp(name, "none") != 0) return fail_value(r, "a dtype");
    *x = d == MOON_DTYPE_COUNT ? -1 : (int32_t)d;
  } else {
    *x = find_word(r, r->row->words, n);
    if (*x < 0) return fail_value(r, r->row->words);
  }
  r->at += n;
  return MOON_OK;
}

static moon_status read_bool(reader *r, bool *x) {
  size_t n = value_length(r);
  *x = find_word(r, "false|true", n) == 1;
  if (!*x && find_word(r, "false", n) != 0) return fail_value(r, "true or false");
  r->at += n;
  return MOON_OK;
}

/* "[1,2]" or one entry without brackets, into v [MOON_MAX_DIMS]. */
static moon_status read_list(reader *r, int32_t *n, int64_t *v, bool dims) {
  *n = 0;
  bool brackets = r->at < r->end && *r->at == '[';
  if (!brackets) {
    *n = 1;
    return dims ? read_dim(r, v) : read_i64(r, v);
  }
  r->at++;
  for (skip_space(r); r->at < r->end && *r->at != ']'; skip_space(r)) {
    if (*n == MOON_MAX_DIMS) return fail_value(r, "']' after 8 entries");
    moon_status s = dims ? read_dim(r, &v[*n]) : read_i64(r, &v[*n]);
    if (s != MOON_OK) return s;
    (*n)++;
    skip_space(r);
    if (r->at < r->end && *r->at == ',') r->at++;
    else if (r->at == r->end || *r->at != ']') return fail_value(r, "',' or ']'");
  }
  if (r->at == r->end) return fail_value(r, "']'");
  r->at++;
  return MOON_OK;
}

static moon_status read_field(reader *r, void *field) {
  moon_ints *ints = field;
  moon_shape *shape = field;
  switch (r->row->kind) {
    case MOON_ATTR_I64:
    case MOON_ATTR_AXIS: return read_i64(r, field);
    case MOON_ATTR_DIM: return read_dim(r, field);
    case MOON_ATTR_F64: return read_f64(r, field);
    case MOON_ATTR_BOOL: return read_bool(r, field);
    case MOON_ATTR_DTYPE:
    case MOON_ATTR_ENUM: return read_word(r, field);
    case MOON_ATTR_INTS:
    case MOON_ATTR_AXES: return read_list(r, &ints->n, ints->v, false);
    case MOON_ATTR_SHAPE: return read_list(r, &shape->ndim, shape->dim, true);
  }
  return fail_value(r, "a value");
}

static moon_status fail_unknown(reader *r, size_t name_bytes) {
  char known[512];
  size_t length = 0;
  known[0] = 0;
  for (int i = 0; i < r->op->nattrs; i++) {
    int n = snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", r->op->attrs[i].name);
    if (n < 0 || (size_t)n >= sizeof known - length) break;
    length += (size_t)n;
  }
  return moon__fail(r->ctx, MOON_EFORMAT, "%s: unknown attribute '%.*s'; known: %s", r->op->name,
                    (int)moon__min_i64((int64_t)name_bytes, 40), r->at, known[0] ? known : "none");
}

/* Finds the row named at r->at and steps behind its '='. */
static moon_status read_name(reader *r) {
  size_t n = 0;
  while (r->at + n < r->end && r->at[n] != '=' && r->at[n] != ',' && !is_space(r->at[n])) n++;
  for (int i = 0; i < r->op->nattrs; i++) {
    const char *name = r->op->attrs[i].name;
    if (strlen(name) != n || memcmp(name, r->at, n) != 0) continue;
    r->row = &r->op->attrs[i];
    r->at += n;
    if (r->at == r->end || *r->at != '=') return fail_value(r, "'='");
    r->at++;
    return MOON_OK;
  }
  return fail_unknown(r, n);
}

moon_status moon__attrs_parse(moon_context *ctx, const moon_op *op, const char *text, size_t text_bytes, void *attrs) {
  reader r = {.ctx = ctx, .op = op, .at = text, .end = text + text_bytes};
  bool given[64] = {false};
  for (;;) {
    while (r.at < r.end && (is_space(*r.at) || *r.at == ',')) r.at++;
    if (r.at == r.end) break;
    moon_status s = read_name(&r);
    bool *seen = s == MOON_OK && r.row - op->attrs < 64 ? &given[r.row - op->attrs] : NULL;
    if (seen && *seen) return moon__fail(ctx, MOON_EFORMAT, "%s: attribute '%s' is given twice", op->name, r.row->name);
    if (s == MOON_OK) s = read_field(&r, field_of(r.row, attrs));
    if (s != MOON_OK) return s;
    if (seen) *seen = true;
    if (r.at < r.end && !is_space(*r.at) && *r.at != ',') return fail_value(&r, "a space or ',' after the value");
  }
  for (int i = 0; i < op->nattrs && i < 64; i++) {
    if (op->attrs[i].required && !given[i])
      return moon__fail(ctx, MOON_EARGUMENT, "%s: attribute '%s' must be given", op->name, op->attrs[i].name);
  }
  return MOON_OK;
}
