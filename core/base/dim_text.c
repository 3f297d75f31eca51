/*
** dim_text.c: sizes as text and back: "32", "batch", "2*time+1", "floor((h+1)/2)", "max(a,b)". What is printed parses to the same
** handle. Nesting in parsed text is limited, spaces are allowed.
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/dim.h"
#include "base/shape.h"
#include "base/size.h"

/* ---- printing ---- */

typedef struct writer {
  char *buf;
  size_t n, bytes;
} writer;

static void put(writer *w, const char *text) {
  for (; *text && w->n + 1 < w->bytes; text++) w->buf[w->n++] = *text;
  if (w->bytes > 0) w->buf[w->n] = '\0';
}

static void put_number(writer *w, int64_t k) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)k);
  put(w, text);
}

static void put_dim(writer *w, const moon_dims *dims, moon_dim d);

/* In parentheses unless it is a number or one atom (for a numerator: one term). */
static void put_operand(writer *w, const moon_dims *dims, moon_dim d, bool numerator) {
  const moon_expr *e = moon__dim_expr(dims, d);
  bool plain = !e || (e->n == 1 && (numerator || (e->term[0].k == 1 && e->term[0].n == 1)));
  if (!plain) put(w, "(");
  put_dim(w, dims, d);
  if (!plain) put(w, ")");
}

static void put_atom(writer *w, const moon_dims *dims, const moon_atom *atom) {
  if (atom->kind == MOON_ATOM_NAME) {
    put(w, atom->name);
    return;
  }
  put(w, atom->kind == MOON_ATOM_FLOOR ? "floor(" : "max(");
  if (atom->kind == MOON_ATOM_FLOOR) {
    put_operand(w, dims, atom->a, true);
    put(w, "/");
    put_operand(w, dims, atom->b, false);
  } else {
    put_dim(w, dims, atom->a);
    put(w, ",");
    put_dim(w, dims, atom->b);
  }
  put(w, ")");
}

static void put_term(writer *w, const moon_dims *dims, const moon_term *t, bool first) {
  if (!first && t->k > 0) put(w, "+");
  if (t->n == 0 || (t->k != 1 && t->k != -1)) {
    put_number(w, t->k);
    if (t->n > 0) put(w, "*");
  } else if (t->k == -1) {
    put(w, "-");
  }
  for (int i = 0; i < t->n; i++) {
    if (i > 0) put(w, "*");
    put_atom(w, dims, &dims->atoms[t->atom[i]]);
  }
}

static void put_dim(writer *w, const moon_dims *dims, moon_dim d) {
  const moon_expr *e = moon__dim_expr(dims, d);
  if (!e) put_number(w, d);
  for (int i = 0; e && i < e->n; i++) put_term(w, dims, &e->term[i], i == 0);
}

const char *moon_dim_text(const moon_runtime *runtime, moon_dim d, char *buf, size_t buf_bytes) {
  writer w = {buf, 0, buf_bytes};
  put(&w, "");
  if (d > MOON_DIM_FIRST) {
    put_number(&w, d);
  } else {
    moon__dims_lock(runtime);
    put_dim(&w, runtime->dims, d);
    moon__dims_unlock(runtime);
  }
  return buf;
}

const char *moon_shape_text(const moon_runtime *runtime, const moon_shape *shape, char *buf, size_t buf_bytes) {
  writer w = {buf, 0, buf_bytes};
  put(&w, "(");
  for (int i = 0; i < shape->ndim; i++) {
    if (i > 0) put(&w, ", ");
    moon_dim_text(runtime, shape->dim[i], w.buf + w.n, w.bytes > w.n ? w.bytes - w.n : 0);
    if (w.bytes > w.n) w.n += strlen(w.buf + w.n);
  }
  put(&w, ")");
  return buf;
}

/* ---- parsing ---- */

#define MAX_PARENTHESES 24

typedef struct reader {
  moon_context *ctx;
  const char *start, *at, *end;
  int depth;
} reader;

static bool fail_text(reader *r, const char *expected) {
  long long column = (long long)(r->at - r->start) + 1;
  int n = r->end - r->start < 80 ? (int)(r->end - r->start) : 80;
  moon__fail(r->ctx, MOON_EFORMAT, "size '%.*s': %s expected at column %lld", n, r->start, expected, column);
  return false;
}

static void skip_spaces(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t')) r->at++;
}

static bool accept(reader *r, char c) {
  skip_spaces(r);
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}

static bool read_sum(reader *r, moon_poly *out);

static bool read_number(reader *r, moon_poly *out) {
  int64_t k = 0;
  for (; r->at < r->end && isdigit((unsigned char)*r->at); r->at++) {
    if (!moon__mul_i64(k, 10, &k) || !moon__add_i64(k, *r->at - '0', &k)) return fail_text(r, "a number below 2^63");
  }
  moon__poly_number(k, out);
  return true;
}

static bool read_factor(reader *r, moon_poly *out);

/* What follows "floor(" or "max(". */
static bool read_call(reader *r, bool is_floor, moon_poly *out) {
  moon_poly a, b;
  if (!read_sum(r, &a)) return false;
  if (!accept(r, is_floor ? '/' : ',')) return fail_text(r, is_floor ? "'/'" : "','");
  if (!(is_floor ? read_factor(r, &b) : read_sum(r, &b))) return false;
  if (!accept(r, ')')) return fail_text(r, "')'");
  return is_floor ? moon__poly_floordiv(r->ctx, &a, &b, out) : moon__poly_max(r->ctx, &a, &b, out);
}

static bool read_word(reader *r, moon_poly *out) {
  const char *word = r->at;
  size_t n;
  while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_' || *r->at == '.')) r->at++;
  n = (size_t)(r->at - word);
  if (n == 5 && strncmp(word, "floor", n) == 0 && accept(r, '(')) return read_call(r, true, out);
  if (n == 3 && strncmp(word, "max", n) == 0 && accept(r, '(')) return read_call(r, false, out);
  return moon__poly_name(r->ctx, word, n, out);
}

static bool read_factor(reader *r, moon_poly *out) {
  bool good;
  skip_spaces(r);
  if (r->depth == MAX_PARENTHESES) return fail_text(r, "less nesting");
  if (r->at == r->end) return fail_text(r, "a size");
  if (isdigit((unsigned char)*r->at)) return read_number(r, out);
  r->depth++;
  if (accept(r, '(')) {
    good = read_sum(r, out) && (accept(r, ')') || fail_text(r, "')'"));
  } else {
    good = isalpha((unsigned char)*r->at) || *r->at == '_' ? read_word(r, out) : fail_text(r, "a size");
  }
  r->depth--;
  return good;
}

static bool read_product(reader *r, moon_poly *out) {
  moon_poly factor;
  if (!read_factor(r, out)) return false;
  while (accept(r, '*')) {
    if (!read_factor(r, &factor) || !moon__poly_mul(r->ctx, out, &factor, out)) return false;
  }
  return true;
}

static bool read_sum(reader *r, moon_poly *out) {
  moon_poly product;
  bool minus = accept(r, '-');
  moon__poly_number(0, out);
  for (;;) {
    if (!read_product(r, &product) || !moon__poly_add(r->ctx, out, &product, minus ? -1 : 1, out)) return false;
    if (accept(r, '+')) {
      minus = false;
    } else if (accept(r, '-')) {
      minus = true;
    } else {
      return true;
    }
  }
}

moon_dim moon__dim_parse(moon_context *ctx, const char *text, const char *text_end) {
  reader r = {ctx, text, text, text_end, 0};
  moon_poly p;
  moon_dim d = MOON_DIM_ERROR;
  moon__dims_lock(ctx->runtime);
  if (read_sum(&r, &p)) {
    skip_spaces(&r);
    if (r.at == r.end) {
      d = moon__poly_dim(ctx, &p);
    } else {
      fail_text(&r, "nothing more");
    }
  }
  moon__dims_unlock(ctx->runtime);
  return d;
}
