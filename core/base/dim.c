/*
** dim.c: arithmetic on sizes. Known sizes take a short way; others go through sums of products, kept in one canonical form so that
** equal handles mean equal sizes: floor((a*k + r) / k) is written a + floor(r / k), floor(floor(a/m)/n) is floor(a/(m*n)), and
** divisions that come out even vanish. Unknowns are sizes, so they count as positive where a common factor is cancelled.
*/
#include "base/dim.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/dim_table.h"
#include "base/shape.h"
#include "base/size.h"

static bool fail_overflow(moon_context *ctx) {
  moon__fail(ctx, MOON_ESIZE, "size: the result does not fit in 63 bits");
  return false;
}

static bool fail_large(moon_context *ctx) {
  moon__fail(ctx, MOON_ESIZE, "size: the expression is too large");
  return false;
}

/* ---- sums of products ---- */

void moon__poly_number(int64_t k, moon_poly *out) {
  out->n = k != 0;
  out->term[0].k = k;
  out->term[0].n = 0;
}

/* The value of p when it is a number. */
static bool is_number(const moon_poly *p, int64_t *k) {
  if (p->n > 1 || (p->n == 1 && p->term[0].n > 0)) return false;
  *k = p->n ? p->term[0].k : 0;
  return true;
}

static void set_atom(int32_t atom, moon_poly *out) {
  out->n = 1;
  out->term[0].k = 1;
  out->term[0].n = 1;
  out->term[0].atom[0] = atom;
}

bool moon__poly_of(moon_context *ctx, moon_dim d, moon_poly *out) {
  const moon_expr *e;
  if (d >= 0) {
    moon__poly_number(d, out);
    return true;
  }
  e = moon__dim_expr(ctx->runtime->dims, d);
  if (!e) {
    if (d != MOON_DIM_ERROR) moon__fail(ctx, MOON_ESIZE, "size: %lld is not a size", (long long)d);
    return false;
  }
  out->n = e->n;
  memcpy(out->term, e->term, (size_t)e->n * sizeof *e->term);
  return true;
}

moon_dim moon__poly_dim(moon_context *ctx, const moon_poly *p) {
  int64_t k;
  if (!is_number(p, &k)) return moon__expr_intern(ctx, p);
  if (k >= 0) return k;
  moon__fail(ctx, MOON_ESIZE, "size: a size cannot be negative, got %lld", (long long)k);
  return MOON_DIM_ERROR;
}

bool moon__poly_name(moon_context *ctx, const char *name, size_t bytes, moon_poly *out) {
  moon_atom atom = {.kind = MOON_ATOM_NAME, .name = (char *)(uintptr_t)name, .depth = 1, .weight = 1, .nonnegative = true};
  bool good = bytes > 0 && bytes <= 64 && !isdigit((unsigned char)name[0]) && name[0] != '.';
  int32_t i;
  for (size_t c = 0; good && c < bytes; c++) {
    good = isalnum((unsigned char)name[c]) || name[c] == '_' || name[c] == '.';
  }
  if (!good) {
    moon__fail(ctx, MOON_EARGUMENT, "size: a name has letters, digits, '_' and '.', up to 64, and no digit first, got '%.*s'",
               (int)(bytes < 80 ? bytes : 80), name);
    return false;
  }
  i = moon__atom_intern(ctx, &atom, bytes);
  if (i >= 0) set_atom(i, out);
  return i >= 0;
}

bool moon__poly_add(moon_context *ctx, const moon_poly *a, const moon_poly *b, int sign, moon_poly *out) {
  const moon_dims *dims = ctx->runtime->dims;
  moon_poly sum;
  int i = 0, j = 0;
  sum.n = 0;
  while (i < a->n || j < b->n) {
    int order = i == a->n ? 1 : j == b->n ? -1 : moon__term_compare(dims, &a->term[i], &b->term[j]);
    moon_term t = order <= 0 ? a->term[i] : b->term[j];
    int64_t k = order >= 0 ? b->term[j].k : 0;
    if (order > 0) t.k = 0;
    if (!(sign < 0 ? moon__sub_i64(t.k, k, &t.k) : moon__add_i64(t.k, k, &t.k))) return fail_overflow(ctx);
    i += order <= 0;
    j += order >= 0;
    if (t.k == 0) continue;
    if (sum.n == MOON_DIM_TERMS) return fail_large(ctx);
    sum.term[sum.n++] = t;
  }
  *out = sum;
  return true;
}

static bool term_mul(moon_context *ctx, const moon_term *a, const moon_term *b, moon_term *out) {
  const moon_dims *dims = ctx->runtime->dims;
  int i = 0, j = 0;
  if (a->n + b->n > MOON_DIM_DEGREE) return fail_large(ctx);
  if (!moon__mul_i64(a->k, b->k, &out->k)) return fail_overflow(ctx);
  out->n = a->n + b->n;
  while (i + j < out->n) {
    bool first = j == b->n || (i < a->n && moon__atom_compare(dims, a->atom[i], b->atom[j]) <= 0);
    out->atom[i + j] = first ? a->atom[i] : b->atom[j];
    if (first) {
      i++;
    } else {
      j++;
    }
  }
  return true;
}

bool moon__poly_mul(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  moon_poly sum;
  sum.n = 0;
  for (int i = 0; i < a->n; i++) {
    moon_poly row;
    row.n = b->n;
    for (int j = 0; j < b->n; j++) {
      if (!term_mul(ctx, &a->term[i], &b->term[j], &row.term[j])) return false;
    }
    if (!moon__poly_add(ctx, &sum, &row, 1, &sum)) return false;
  }
  *out = sum;
  return true;
}

/* ---- atoms of two sizes ---- */

static bool poly_nonnegative(const moon_dims *dims, const moon_poly *p) {
  for (int i = 0; i < p->n; i++) {
    if (p->term[i].k < 0) return false;
    for (int j = 0; j < p->term[i].n; j++) {
      if (!dims->atoms[p->term[i].atom[j]].nonnegative) return false;
    }
  }
  return true;
}

static bool poly_atom(moon_context *ctx, moon_atom_kind kind, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  const moon_dims *dims = ctx->runtime->dims;
  moon_atom atom = {.kind = kind, .depth = 1, .weight = 1};
  bool a_good = poly_nonnegative(dims, a), b_good = poly_nonnegative(dims, b);
  int32_t i;
  atom.a = moon__poly_dim(ctx, a);
  if (atom.a == MOON_DIM_ERROR) return false;
  atom.b = moon__poly_dim(ctx, b);
  if (atom.b == MOON_DIM_ERROR) return false;
  if (kind == MOON_ATOM_MAX && moon__dim_compare(dims, atom.a, atom.b) > 0) {
    moon_dim swap = atom.a;
    atom.a = atom.b;
    atom.b = swap;
  }
  atom.nonnegative = kind == MOON_ATOM_MAX ? a_good || b_good : a_good && b_good;
  for (int side = 0; side < 2; side++) {
    const moon_expr *e = moon__dim_expr(dims, side ? atom.b : atom.a);
    if (e && e->depth >= atom.depth) atom.depth = e->depth + 1;
    if (e) atom.weight += e->weight;
  }
  if (atom.depth > MOON_DIM_DEPTH || atom.weight > MOON_DIM_WEIGHT) return fail_large(ctx);
  i = moon__atom_intern(ctx, &atom, 0);
  if (i >= 0) set_atom(i, out);
  return i >= 0;
}

bool moon__poly_max(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  const moon_dims *dims = ctx->runtime->dims;
  moon_poly more, less;
  if (!moon__poly_add(ctx, a, b, -1, &more) || !moon__poly_add(ctx, b, a, -1, &less)) return false;
  if (poly_nonnegative(dims, &more)) {
    *out = *a;
    return true;
  }
  if (poly_nonnegative(dims, &less)) {
    *out = *b;
    return true;
  }
  return poly_atom(ctx, MOON_ATOM_MAX, a, b, out);
}

/* ---- division ---- */

/* out = a / b for single terms; false when it does not come out even. */
static bool term_div(const moon_dims *dims, const moon_term *a, const moon_term *b, moon_term *out) {
  int j = 0;
  if (b->k == 0 || (b->k == -1 && a->k == INT64_MIN) || a->k % b->k != 0) return false;
  out->k = a->k / b->k;
  out->n = 0;
  for (int i = 0; i < a->n; i++) {
    if (j < b->n && moon__atom_compare(dims, a->atom[i], b->atom[j]) == 0) {
      j++;
    } else {
      out->atom[out->n++] = a->atom[i];
    }
  }
  return j == b->n;
}

/* Polynomial division; *even tells whether there is no rest. False: an error. */
static bool divide_even(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out, bool *even) {
  moon_poly rest = *a, quotient, part;
  quotient.n = 0;
  *even = false;
  for (int turns = 0; rest.n > 0; turns++) {
    part.n = 1;
    if (turns == MOON_DIM_TERMS || !term_div(ctx->runtime->dims, &rest.term[0], &b->term[0], &part.term[0])) return true;
    if (!moon__poly_add(ctx, &quotient, &part, 1, &quotient)) return false;
    if (!moon__poly_mul(ctx, &part, b, &part) || !moon__poly_add(ctx, &rest, &part, -1, &rest)) return false;
  }
  *even = true;
  *out = quotient;
  return true;
}

static int64_t gcd(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t t = a % b;
    a = b;
    b = t;
  }
  return a;
}

/* p = p mod k, quotient = floor of each coefficient by k: p was quotient * k + p. */
static void split_by(moon_poly *p, int64_t k, moon_poly *quotient) {
  int n = 0;
  quotient->n = 0;
  for (int i = 0; i < p->n; i++) {
    moon_term t = p->term[i];
    int64_t whole = moon__floordiv_i64(t.k, k), rest = t.k - whole * k;
    if (whole != 0) {
      quotient->term[quotient->n] = t;
      quotient->term[quotient->n++].k = whole;
    }
    if (rest != 0) {
      p->term[n] = t;
      p->term[n++].k = rest;
    }
  }
  p->n = n;
}

/* Divides the coefficients that are not the number's and k by their common factor; the number's is floored. */
static void cancel_factor(moon_poly *p, int64_t *k) {
  int64_t g = *k;
  int n = 0;
  for (int i = 0; i < p->n; i++) {
    if (p->term[i].n > 0) g = gcd(g, p->term[i].k);
  }
  for (int i = 0; i < p->n; i++) {
    moon_term t = p->term[i];
    t.k = moon__floordiv_i64(t.k, g);
    if (t.k != 0) p->term[n++] = t;
  }
  p->n = n;
  *k /= g;
}

/* p = floor(a / m) + c with a known m: rewrites floor(p / k) as floor((a + c*m) / (m*k)). */
static bool merge_floors(moon_context *ctx, moon_poly *p, int64_t *k, bool *merged) {
  const moon_dims *dims = ctx->runtime->dims;
  const moon_atom *atom;
  moon_poly inner, more;
  int64_t c, m;
  *merged = false;
  if (p->n < 1 || p->n > 2 || p->term[0].k != 1 || p->term[0].n != 1 || (p->n == 2 && p->term[1].n > 0)) return true;
  atom = &dims->atoms[p->term[0].atom[0]];
  if (atom->kind != MOON_ATOM_FLOOR || atom->b < 0) return true;
  m = atom->b;
  c = p->n == 2 ? p->term[1].k : 0;
  if (!moon__mul_i64(c, m, &c) || !moon__mul_i64(*k, m, k)) return fail_overflow(ctx);
  moon__poly_number(c, &more);
  if (!moon__poly_of(ctx, atom->a, &inner) || !moon__poly_add(ctx, &inner, &more, 1, p)) return false;
  *merged = true;
  return true;
}

/* floor(a / k), k > 0. */
static bool divide_by_number(moon_context *ctx, const moon_poly *a, int64_t k, moon_poly *out) {
  moon_poly rest = *a, whole, part, divisor;
  int64_t number;
  bool merged = true;
  whole.n = 0;
  while (merged) {
    split_by(&rest, k, &part);
    if (!moon__poly_add(ctx, &whole, &part, 1, &whole)) return false;
    cancel_factor(&rest, &k);
    if (is_number(&rest, &number)) { /* number < k by now, so its floor is 0 */
      *out = whole;
      return true;
    }
    if (!merge_floors(ctx, &rest, &k, &merged)) return false;
  }
  moon__poly_number(k, &divisor);
  return poly_atom(ctx, MOON_ATOM_FLOOR, &rest, &divisor, &part) && moon__poly_add(ctx, &whole, &part, 1, out);
}

/* Cancels the atoms that all terms of a share with the single term of b. */
static void cancel_atoms(const moon_dims *dims, moon_poly *a, moon_poly *b) {
  for (int j = 0; j < b->term[0].n;) {
    moon_term one = {.k = 1, .n = 1}, rest;
    bool shared = true;
    one.atom[0] = b->term[0].atom[j];
    for (int i = 0; shared && i < a->n; i++) shared = term_div(dims, &a->term[i], &one, &rest);
    if (!shared) {
      j++;
      continue;
    }
    for (int i = 0; i < a->n; i++) {
      if (term_div(dims, &a->term[i], &one, &rest)) a->term[i] = rest;
    }
    if (term_div(dims, &b->term[0], &one, &rest)) b->term[0] = rest;
  }
}

bool moon__poly_floordiv(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  moon_poly top = *a, bottom = *b;
  int64_t k;
  bool even;
  if (!is_number(&bottom, &k)) {
    if (!divide_even(ctx, &top, &bottom, out, &even)) return false;
    if (even) return true;
    if (bottom.n == 1) cancel_atoms(ctx->runtime->dims, &top, &bottom);
  }
  if (!is_number(&bottom, &k)) return poly_atom(ctx, MOON_ATOM_FLOOR, &top, &bottom, out);
  if (k > 0) return divide_by_number(ctx, &top, k, out);
  moon__fail(ctx, MOON_ESIZE, "size: the divisor must be positive, got %lld", (long long)k);
  return false;
}

/* ---- public ---- */

typedef bool (*poly_op)(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out);
static bool poly_plus(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  return moon__poly_add(ctx, a, b, 1, out);
}
static bool poly_minus(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  return moon__poly_add(ctx, a, b, -1, out);
}
static bool poly_ceildiv(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out) {
  moon_poly one, sum;
  moon__poly_number(1, &one);
  return moon__poly_add(ctx, a, b, 1, &sum) && moon__poly_add(ctx, &sum, &one, -1, &sum) && moon__poly_floordiv(ctx, &sum, b, out);
}

static moon_dim apply(moon_context *ctx, poly_op op, moon_dim a, moon_dim b) {
  moon_poly x, y;
  moon_dim d = MOON_DIM_ERROR;
  moon__dims_lock(ctx->runtime);
  if (moon__poly_of(ctx, a, &x) && moon__poly_of(ctx, b, &y) && op(ctx, &x, &y, &x)) d = moon__poly_dim(ctx, &x);
  moon__dims_unlock(ctx->runtime);
  return d;
}

moon_dim moon_dim_named(moon_context *ctx, const char *name) {
  moon_poly p;
  moon_dim d = MOON_DIM_ERROR;
  if (!name) name = "";
  moon__dims_lock(ctx->runtime);
  if (moon__poly_name(ctx, name, strlen(name), &p)) d = moon__poly_dim(ctx, &p);
  moon__dims_unlock(ctx->runtime);
  return d;
}

bool moon_dim_is_known(moon_dim d) { return d >= 0; }

moon_dim moon_dim_add(moon_context *ctx, moon_dim a, moon_dim b) {
  moon_dim sum;
  return a >= 0 && b >= 0 && moon__add_i64(a, b, &sum) ? sum : apply(ctx, poly_plus, a, b);
}

moon_dim moon_dim_sub(moon_context *ctx, moon_dim a, moon_dim b) {
  return a >= b && b >= 0 ? a - b : apply(ctx, poly_minus, a, b);
}

moon_dim moon_dim_mul(moon_context *ctx, moon_dim a, moon_dim b) {
  moon_dim product;
  return a >= 0 && b >= 0 && moon__mul_i64(a, b, &product) ? product : apply(ctx, moon__poly_mul, a, b);
}

moon_dim moon_dim_floordiv(moon_context *ctx, moon_dim a, moon_dim b) {
  return a >= 0 && b > 0 ? a / b : apply(ctx, moon__poly_floordiv, a, b);
}

moon_dim moon_dim_max(moon_context *ctx, moon_dim a, moon_dim b) {
  return a >= 0 && b >= 0 ? moon__max_i64(a, b) : apply(ctx, moon__poly_max, a, b);
}

moon_dim moon__dim_ceildiv(moon_context *ctx, moon_dim a, moon_dim b) {
  return a >= 0 && b > 0 ? moon__ceildiv_i64(a, b) : apply(ctx, poly_ceildiv, a, b);
}

moon_dim moon__dim_divexact(moon_context *ctx, moon_dim a, moon_dim b) {
  if (a < 0 || b < 0) return moon_dim_floordiv(ctx, a, b);
  if (b > 0 && a % b == 0) return a / b;
  moon__fail(ctx, MOON_ESIZE, "size: %lld cannot be divided by %lld", (long long)a, (long long)b);
  return MOON_DIM_ERROR;
}
