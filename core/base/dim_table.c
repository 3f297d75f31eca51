/*
** dim_table.c: the interning table of atoms and expressions, and their order. The order is by structure, never by the time
** something was met, so texts are the same in every run. Arithmetic is in dim.c.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/dim.h"
#include "base/dim_table.h"
#include "base/map.h"

bool moon__dims_new(moon_runtime *runtime) {
  moon_dims *dims = moon__alloc(runtime, sizeof *dims);
  if (!dims) return false;
  dims->lock = moon__alloc(runtime, moon__mutex_bytes());
  if (!dims->lock || !moon__mutex_init(dims->lock)) {
    moon__free(runtime, dims->lock);
    moon__free(runtime, dims);
    return false;
  }
  runtime->dims = dims;
  return true;
}

void moon__dims_free(moon_runtime *runtime) {
  moon_dims *dims = runtime->dims;
  if (!dims) return;
  for (int i = 0; i < dims->natoms; i++) moon__free(runtime, dims->atoms[i].name);
  for (int i = 0; i < dims->nexprs; i++) moon__free(runtime, dims->exprs[i].term);
  moon__free(runtime, dims->atoms);
  moon__free(runtime, dims->exprs);
  moon__free(runtime, dims->atom_slots.slot);
  moon__free(runtime, dims->expr_slots.slot);
  moon__mutex_destroy(dims->lock);
  moon__free(runtime, dims->lock);
  moon__free(runtime, dims);
  runtime->dims = NULL;
}

const moon_expr *moon__dim_expr(const moon_dims *dims, moon_dim d) {
  return d <= MOON_DIM_FIRST && d > MOON_DIM_FIRST - dims->nexprs ? &dims->exprs[MOON_DIM_FIRST - d] : NULL;
}

/* ---- order ---- */

static int compare_dims(const moon_dims *dims, moon_dim a, moon_dim b) {
  const moon_expr *x = moon__dim_expr(dims, a), *y = moon__dim_expr(dims, b);
  if (a == b) return 0;
  if (!x || !y) return x ? 1 : y ? -1 : a < b ? -1 : 1;
  if (x->n != y->n) return x->n < y->n ? -1 : 1;
  for (int i = 0; i < x->n; i++) {
    int order = moon__term_compare(dims, &x->term[i], &y->term[i]);
    if (order != 0) return order;
    if (x->term[i].k != y->term[i].k) return x->term[i].k < y->term[i].k ? -1 : 1;
  }
  return 0;
}

int moon__atom_compare(const moon_dims *dims, int32_t i, int32_t j) {
  const moon_atom *a = &dims->atoms[i], *b = &dims->atoms[j];
  int order;
  if (i == j) return 0;
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->kind == MOON_ATOM_NAME) return strcmp(a->name, b->name);
  order = compare_dims(dims, a->a, b->a);
  return order ? order : compare_dims(dims, a->b, b->b);
}

/* Higher degree first, then by atoms: a monomial order, as polynomial division needs. */
int moon__term_compare(const moon_dims *dims, const moon_term *a, const moon_term *b) {
  if (a->n != b->n) return a->n > b->n ? -1 : 1;
  for (int i = 0; i < a->n; i++) {
    int order = moon__atom_compare(dims, a->atom[i], b->atom[i]);
    if (order != 0) return order;
  }
  return 0;
}

int moon__dim_compare(const moon_dims *dims, moon_dim a, moon_dim b) { return compare_dims(dims, a, b); }

/* ---- interning ---- */

static void slots_put(moon_slots *s, uint64_t hash, int index) {
  uint64_t mask = (uint64_t)s->capacity - 1, i = hash & mask;
  while (s->slot[i]) i = (i + 1) & mask;
  s->slot[i] = index + 1;
}

/* Makes room for one more: at most half of the slots are used. hash_of tells the hashes of those already in. */
static bool slots_grow(moon_runtime *runtime, moon_slots *s, const moon_dims *dims, uint64_t (*hash_of)(const moon_dims *, int)) {
  moon_slots fresh = *s;
  if (s->n < s->capacity / 2) return true;
  if (s->capacity > (1 << 28)) return false;
  fresh.capacity = s->capacity ? s->capacity * 2 : 32;
  fresh.slot = moon__alloc_array(runtime, (size_t)fresh.capacity, sizeof *fresh.slot);
  if (!fresh.slot) return false;
  for (int i = 0; i < s->n; i++) slots_put(&fresh, hash_of(dims, i), i);
  moon__free(runtime, s->slot);
  *s = fresh;
  return true;
}

static uint64_t atom_hash(const moon_dims *dims, int i) { return dims->atoms[i].hash; }
static uint64_t expr_hash(const moon_dims *dims, int i) { return dims->exprs[i].hash; }

static bool atom_equals(const moon_atom *x, const moon_atom *y, size_t name_bytes) {
  if (x->hash != y->hash || x->kind != y->kind || x->a != y->a || x->b != y->b) return false;
  return x->kind != MOON_ATOM_NAME || (strncmp(x->name, y->name, name_bytes) == 0 && x->name[name_bytes] == '\0');
}

int32_t moon__atom_intern(moon_context *ctx, const moon_atom *atom, size_t name_bytes) {
  moon_runtime *runtime = ctx->runtime;
  moon_dims *dims = runtime->dims;
  moon_slots *s = &dims->atom_slots;
  moon_atom fresh = *atom;
  moon_dim parts[2] = {atom->a, atom->b};
  fresh.hash = moon__hash_bytes((uint64_t)atom->kind, parts, sizeof parts);
  if (atom->name) fresh.hash = moon__hash_bytes(fresh.hash, atom->name, name_bytes);
  if (s->capacity > 0) {
    uint64_t mask = (uint64_t)s->capacity - 1;
    for (uint64_t i = fresh.hash & mask; s->slot[i]; i = (i + 1) & mask) {
      if (atom_equals(&dims->atoms[s->slot[i] - 1], &fresh, name_bytes)) return s->slot[i] - 1;
    }
  }
  fresh.name = NULL;
  if (!slots_grow(runtime, s, dims, atom_hash) || !MOON_RESERVE(runtime, dims->atoms, dims->atom_capacity, dims->natoms + 1) ||
      (atom->name && !(fresh.name = moon__alloc(runtime, name_bytes + 1)))) {
    moon__fail_memory(ctx);
    return -1;
  }
  if (fresh.name) memcpy(fresh.name, atom->name, name_bytes);
  dims->atoms[dims->natoms] = fresh;
  slots_put(s, fresh.hash, dims->natoms);
  s->n++;
  return dims->natoms++;
}

static bool terms_equal(const moon_term *x, const moon_term *y, int n) {
  for (int i = 0; i < n; i++) {
    if (x[i].k != y[i].k || x[i].n != y[i].n) return false;
    if (memcmp(x[i].atom, y[i].atom, (size_t)x[i].n * sizeof *x[i].atom) != 0) return false;
  }
  return true;
}

/* Depth and weight of the walk through the terms; false when too large. */
static bool measure(const moon_dims *dims, const moon_poly *p, moon_expr *e) {
  for (int i = 0; i < p->n; i++) {
    e->weight++;
    for (int j = 0; j < p->term[i].n; j++) {
      const moon_atom *atom = &dims->atoms[p->term[i].atom[j]];
      if (atom->depth > e->depth) e->depth = atom->depth;
      e->weight += atom->weight;
      if (e->weight > MOON_DIM_WEIGHT) return false;
    }
  }
  return e->depth <= MOON_DIM_DEPTH;
}

moon_dim moon__expr_intern(moon_context *ctx, const moon_poly *p) {
  moon_runtime *runtime = ctx->runtime;
  moon_dims *dims = runtime->dims;
  moon_slots *s = &dims->expr_slots;
  moon_expr e = {.n = p->n};
  for (int i = 0; i < p->n; i++) {
    const moon_term *t = &p->term[i];
    e.hash = moon__hash_bytes(e.hash + (uint64_t)t->k, t->atom, (size_t)t->n * sizeof *t->atom);
  }
  if (s->capacity > 0) {
    uint64_t mask = (uint64_t)s->capacity - 1;
    for (uint64_t i = e.hash & mask; s->slot[i]; i = (i + 1) & mask) {
      const moon_expr *old = &dims->exprs[s->slot[i] - 1];
      if (old->hash == e.hash && old->n == e.n && terms_equal(old->term, p->term, e.n)) return MOON_DIM_FIRST - (s->slot[i] - 1);
    }
  }
  if (!measure(dims, p, &e)) {
    moon__fail(ctx, MOON_ESIZE, "size: the expression is too large");
    return MOON_DIM_ERROR;
  }
  if (!slots_grow(runtime, s, dims, expr_hash) || !MOON_RESERVE(runtime, dims->exprs, dims->expr_capacity, dims->nexprs + 1) ||
      !(e.term = moon__alloc_array(runtime, (size_t)e.n, sizeof *e.term))) {
    moon__fail_memory(ctx);
    return MOON_DIM_ERROR;
  }
  memcpy(e.term, p->term, (size_t)e.n * sizeof *e.term);
  dims->exprs[dims->nexprs] = e;
  slots_put(s, e.hash, dims->nexprs);
  s->n++;
  return MOON_DIM_FIRST - dims->nexprs++;
}
