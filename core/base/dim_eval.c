/*
** dim_eval.c: sizes in numbers: values under bindings, and matching an input's dim against the size that came. Walks are short
** because expressions are bounded in depth and weight when they are made.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "base/dim.h"
#include "base/shape.h"
#include "base/size.h"

typedef enum outcome { DONE, UNBOUND, OVERFLOWED, BY_ZERO } outcome;

static outcome eval_dim(const moon_dims *dims, moon_dim d, const moon_bindings *b, int64_t *value);

/* An unknown is bound by the handle of the expression that is it alone. */
static bool is_name(const moon_dims *dims, moon_dim d, int32_t atom) {
  const moon_expr *e = moon__dim_expr(dims, d);
  return e && e->n == 1 && e->term[0].k == 1 && e->term[0].n == 1 && e->term[0].atom[0] == atom;
}

static outcome eval_name(const moon_dims *dims, int32_t atom, const moon_bindings *b, int64_t *value) {
  for (int i = 0; b && i < b->n; i++) {
    if (!is_name(dims, b->item[i].unknown, atom)) continue;
    *value = b->item[i].size;
    return DONE;
  }
  return UNBOUND;
}

static outcome eval_atom(const moon_dims *dims, int32_t i, const moon_bindings *b, int64_t *value) {
  const moon_atom *atom = &dims->atoms[i];
  int64_t x, y;
  outcome o;
  if (atom->kind == MOON_ATOM_NAME) return eval_name(dims, i, b, value);
  o = eval_dim(dims, atom->a, b, &x);
  if (o == DONE) o = eval_dim(dims, atom->b, b, &y);
  if (o != DONE) return o;
  if (atom->kind == MOON_ATOM_FLOOR && y <= 0) return BY_ZERO;
  *value = atom->kind == MOON_ATOM_FLOOR ? moon__floordiv_i64(x, y) : moon__max_i64(x, y);
  return DONE;
}

static outcome eval_term(const moon_dims *dims, const moon_term *t, const moon_bindings *b, int64_t *value) {
  int64_t x;
  *value = t->k;
  for (int i = 0; i < t->n; i++) {
    outcome o = eval_atom(dims, t->atom[i], b, &x);
    if (o != DONE) return o;
    if (!moon__mul_i64(*value, x, value)) return OVERFLOWED;
  }
  return DONE;
}

static outcome eval_dim(const moon_dims *dims, moon_dim d, const moon_bindings *b, int64_t *value) {
  const moon_expr *e = moon__dim_expr(dims, d);
  *value = d;
  if (!e) return d >= 0 ? DONE : UNBOUND;
  *value = 0;
  for (int i = 0; i < e->n; i++) {
    int64_t x;
    outcome o = eval_term(dims, &e->term[i], b, &x);
    if (o != DONE) return o;
    if (!moon__add_i64(*value, x, value)) return OVERFLOWED;
  }
  return DONE;
}

int64_t moon__dim_eval(moon_context *ctx, moon_dim d, const moon_bindings *b) {
  char text[256];
  int64_t value = d;
  outcome o;
  if (d >= 0 || d == MOON_DIM_ERROR) return d;
  moon__dims_lock(ctx->runtime);
  o = eval_dim(ctx->runtime->dims, d, b, &value);
  moon__dims_unlock(ctx->runtime);
  if (o == DONE && value >= 0) return value;
  moon_dim_text(ctx->runtime, d, text, sizeof text);
  if (o == UNBOUND) moon__fail(ctx, MOON_ESHAPE, "size '%s' is not known: no input tells it", text);
  if (o == OVERFLOWED) moon__fail(ctx, MOON_ESIZE, "size '%s' does not fit in 63 bits", text);
  if (o == BY_ZERO) moon__fail(ctx, MOON_ESIZE, "size '%s' divides by a size that is not positive", text);
  if (o == DONE) moon__fail(ctx, MOON_ESIZE, "size '%s' would be %lld", text, (long long)value);
  return MOON_DIM_ERROR;
}

/* The one unknown of t that is not bound, if the rest of t has a value (in *k); -1 when there is none or it is not alone. */
static int32_t solvable_atom(const moon_dims *dims, const moon_term *t, const moon_bindings *b, int64_t *k) {
  int32_t found = -1;
  *k = t->k;
  for (int i = 0; i < t->n; i++) {
    int64_t x;
    if (eval_atom(dims, t->atom[i], b, &x) == DONE) {
      if (!moon__mul_i64(*k, x, k)) return -1;
    } else if (found < 0 && dims->atoms[t->atom[i]].kind == MOON_ATOM_NAME) {
      found = t->atom[i];
    } else {
      return -1;
    }
  }
  return found;
}

/* Solves k * unknown + rest = size. False: there is no such term, or more than one. */
static bool solve(const moon_dims *dims, const moon_expr *e, const moon_bindings *b, int64_t *k, int64_t *rest, int32_t *atom) {
  *atom = -1;
  *rest = 0;
  for (int i = 0; i < e->n; i++) {
    int64_t x;
    outcome o = eval_term(dims, &e->term[i], b, &x);
    if (o == DONE) {
      if (!moon__add_i64(*rest, x, rest)) return false;
      continue;
    }
    if (o != UNBOUND || *atom >= 0) return false;
    *atom = solvable_atom(dims, &e->term[i], b, k);
    if (*atom < 0) return false;
  }
  return *atom >= 0;
}

static bool bind(moon_context *ctx, int32_t atom, int64_t size, moon_bindings *b) {
  moon_poly p;
  moon_dim unknown;
  p.n = 1;
  p.term[0].k = 1;
  p.term[0].n = 1;
  p.term[0].atom[0] = atom;
  unknown = moon__poly_dim(ctx, &p);
  if (unknown == MOON_DIM_ERROR) return false;
  if (!MOON_RESERVE(ctx->runtime, b->item, b->capacity, b->n + 1)) {
    moon__fail_memory(ctx);
    return false;
  }
  b->item[b->n].unknown = unknown;
  b->item[b->n++].size = size;
  return true;
}

static bool match_expr(moon_context *ctx, moon_dim d, int64_t size, moon_bindings *b) {
  const moon_dims *dims = ctx->runtime->dims;
  const moon_expr *e = moon__dim_expr(dims, d);
  int64_t value, k, rest, difference;
  int32_t atom;
  outcome o = eval_dim(dims, d, b, &value);
  if (o == DONE) return value == size;
  if (o != UNBOUND || !e) return false;
  if (!solve(dims, e, b, &k, &rest, &atom)) return true; /* cannot be told yet */
  if (!moon__sub_i64(size, rest, &difference)) return false;
  if (k == 0) return difference == 0;
  if (k == -1 && difference == INT64_MIN) return false;
  if (difference % k != 0 || difference / k < 0) return false;
  return bind(ctx, atom, difference / k, b);
}

bool moon__dim_match(moon_context *ctx, moon_dim d, int64_t size, moon_bindings *b) {
  bool good;
  if (d >= 0) return d == size;
  moon__dims_lock(ctx->runtime);
  good = match_expr(ctx, d, size, b);
  moon__dims_unlock(ctx->runtime);
  return good;
}

/* ---- dims in the place of unknowns ---- */

static bool substitute(moon_context *ctx, moon_dim d, const moon_bindings *b, moon_poly *out);

static bool substitute_atom(moon_context *ctx, int32_t i, const moon_bindings *b, moon_poly *out) {
  moon_dims *dims = ctx->runtime->dims;
  moon_atom atom = dims->atoms[i]; /* a copy: the table may move */
  moon_poly x, y;
  int64_t bound;
  if (atom.kind == MOON_ATOM_NAME && eval_name(dims, i, b, &bound) == DONE) return moon__poly_of(ctx, bound, out);
  if (atom.kind == MOON_ATOM_NAME) {
    out->n = 1;
    out->term[0].k = 1;
    out->term[0].n = 1;
    out->term[0].atom[0] = i;
    return true;
  }
  if (!substitute(ctx, atom.a, b, &x) || !substitute(ctx, atom.b, b, &y)) return false;
  return atom.kind == MOON_ATOM_FLOOR ? moon__poly_floordiv(ctx, &x, &y, out) : moon__poly_max(ctx, &x, &y, out);
}

static bool substitute(moon_context *ctx, moon_dim d, const moon_bindings *b, moon_poly *out) {
  moon_poly p, sum = {.n = 0};
  if (!moon__poly_of(ctx, d, &p)) return false;
  for (int i = 0; i < p.n; i++) {
    moon_poly product, factor;
    moon__poly_number(p.term[i].k, &product);
    for (int j = 0; j < p.term[i].n; j++) {
      if (!substitute_atom(ctx, p.term[i].atom[j], b, &factor) || !moon__poly_mul(ctx, &product, &factor, &product)) return false;
    }
    if (!moon__poly_add(ctx, &sum, &product, 1, &sum)) return false;
  }
  *out = sum;
  return true;
}

moon_dim moon__dim_substitute(moon_context *ctx, moon_dim d, const moon_bindings *b) {
  moon_poly p;
  if (d >= 0 || b->n == 0) return d;
  moon__dims_lock(ctx->runtime);
  d = substitute(ctx, d, b, &p) ? moon__poly_dim(ctx, &p) : MOON_DIM_ERROR;
  moon__dims_unlock(ctx->runtime);
  return d;
}

static bool all_known(const moon_bindings *b) {
  for (int i = 0; i < b->n; i++) {
    if (b->item[i].size < 0) return false;
  }
  return true;
}

/* The number of the unknown that d is alone, not bound yet; -1: it is not. */
static int32_t free_name(const moon_dims *dims, moon_dim d, const moon_bindings *b) {
  const moon_expr *e = moon__dim_expr(dims, d);
  int64_t bound;
  if (!e || e->n != 1 || e->term[0].k != 1 || e->term[0].n != 1) return -1;
  if (dims->atoms[e->term[0].atom[0]].kind != MOON_ATOM_NAME) return -1;
  return eval_name(dims, e->term[0].atom[0], b, &bound) == DONE ? -1 : e->term[0].atom[0];
}

bool moon__dim_match_call(moon_context *ctx, moon_dim d, moon_dim came, moon_bindings *b) {
  int32_t name;
  moon_dim now;
  bool good = true;
  if (d >= 0 && came >= 0) return d == came;
  if (d >= 0) return true;
  if (came >= 0 && all_known(b)) return moon__dim_match(ctx, d, came, b);
  moon__dims_lock(ctx->runtime);
  name = free_name(ctx->runtime->dims, d, b);
  if (name >= 0) good = bind(ctx, name, came, b);
  moon__dims_unlock(ctx->runtime);
  if (name >= 0) return good;
  now = moon__dim_substitute(ctx, d, b);
  return now != MOON_DIM_ERROR && (now < 0 || came < 0 || now == came);
}

void moon__bindings_free(moon_runtime *runtime, moon_bindings *b) {
  moon__free(runtime, b->item);
  b->item = NULL;
  b->n = b->capacity = 0;
}
