/*
** einsum.c: an einsum equation becomes transposes, reshapes, sums, products and matmuls. Operands are taken from left to right:
** what only one of them has is summed at once, then the two are joined by one matmul, or by a product where nothing is summed.
** An axis is named by a label: a letter, or its place in "..." counted from the last. Invariant: a term has each label once.
*/
#include "ops/einsum.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/matmul.h"
#include "ops/rule.h"

enum { LETTERS = 52, LABELS = LETTERS + MOON_MAX_DIMS };

typedef struct term {
  moon_value *v;
  int n;
  uint8_t label[MOON_MAX_DIMS]; /* of each axis of v */
} term;

typedef struct equation {
  moon_context *ctx;
  const char *text;
  int nterms, nout, ndots; /* ndots: the most axes that "..." stands for */
  term *terms;
  uint8_t out[LABELS];
  moon_dim size[LABELS];
  int seen[LABELS]; /* how often a label appears in the inputs */
} equation;

static moon_status fail(const equation *e, const char *why) {
  return moon__fail(e->ctx, MOON_EARGUMENT, "einsum: '%s': %s", e->text, why);
}

/* ---- Parsing ---- */

static int letter_label(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  return -1;
}
static char label_letter(int label) { return (char)(label >= LETTERS ? '.' : label < 26 ? 'A' + label : 'a' + label - 26); }

/* Reads one list of indices up to ',', "->" or the end; "..." stands for dots axes, the last label LETTERS. Sets label [*n], and
** *has_dots where "..." is there. */
static moon_status read_labels(const equation *e, const char **at, int dots, int room, uint8_t *label, int *n, bool *has_dots) {
  const char *p = *at;
  *n = 0;
  *has_dots = false;
  for (; *p && *p != ',' && *p != '-'; p++) {
    if (*p == ' ') continue;
    if (strncmp(p, "...", 3) == 0) {
      if (*has_dots) return fail(e, "'...' appears twice in one operand");
      *has_dots = true;
      p += 2;
      for (int i = 0; i < dots; i++) {
        if (*n >= room) return fail(e, "more indices than axes are allowed");
        label[(*n)++] = (uint8_t)(LETTERS + dots - 1 - i);
      }
      continue;
    }
    int l = letter_label(*p);
    if (l < 0) return fail(e, "indices are letters and '...'");
    if (*n >= room) return fail(e, "more indices than axes are allowed");
    label[(*n)++] = (uint8_t)l;
  }
  *at = p;
  return MOON_OK;
}

static moon_status read_term(equation *e, int i, const char **at) {
  term *t = &e->terms[i];
  const moon_shape *shape = moon__shape_of(t->v);
  const char *start = *at;
  bool has_dots = false;
  moon_status s = read_labels(e, at, 0, MOON_MAX_DIMS, t->label, &t->n, &has_dots);
  if (s != MOON_OK) return s;
  int dots = shape->ndim - t->n;
  if (dots < 0 || (!has_dots && dots > 0))
    return moon__fail(e->ctx, MOON_ESHAPE, "einsum: '%s': input %d has shape %s, which is not %d ind%s%s", e->text,
                      i + e->ctx->index_base, moon__rule_text(e->ctx, shape).s, t->n, t->n == 1 ? "ex" : "ices",
                      has_dots ? " or more" : "");
  if (dots > e->ndots) e->ndots = dots;
  *at = start;
  return read_labels(e, at, dots, MOON_MAX_DIMS, t->label, &t->n, &has_dots);
}

static moon_status read_inputs(equation *e, const char **at) {
  for (int i = 0; i < e->nterms; i++) {
    moon_status s = read_term(e, i, at);
    if (s != MOON_OK) return s;
    bool more = **at == ',';
    if (more != (i + 1 < e->nterms)) {
      int named = 1;
      for (const char *p = e->text; *p && *p != '-'; p++) named += *p == ',';
      return moon__fail(e->ctx, MOON_EARGUMENT, "einsum: '%s' needs %d inputs, got %d", e->text, named, e->nterms);
    }
    if (more) ++*at;
  }
  return MOON_OK;
}

/* The size of a label, from all inputs; axes of "..." broadcast. */
static moon_status learn_size(equation *e, int label, moon_dim d, int input) {
  moon_dim *have = &e->size[label];
  bool dots = label >= LETTERS;
  if (e->seen[label]++ == 0) *have = d;
  else if (dots && *have == 1) *have = d;
  else if (dots && d == 1) return MOON_OK;
  else if (!moon__dim_may_equal(*have, d))
    return moon__fail(e->ctx, MOON_ESHAPE, "einsum: '%s': index '%c' has size %s, but %s in input %d", e->text, label_letter(label),
                      moon__rule_dim_text(e->ctx, *have).s, moon__rule_dim_text(e->ctx, d).s, input + e->ctx->index_base);
  else *have = moon__rule_merge(*have, d);
  return MOON_OK;
}

static moon_status learn_sizes(equation *e) {
  moon_status s = MOON_OK;
  for (int i = 0; i < e->nterms; i++) {
    const term *t = &e->terms[i];
    for (int k = 0; s == MOON_OK && k < t->n; k++) s = learn_size(e, t->label[k], moon__shape_of(t->v)->dim[k], i);
  }
  return s;
}

static moon_status check_output(const equation *e, bool has_dots) {
  bool taken[LABELS] = {false};
  if (e->ndots > 0 && !has_dots) return fail(e, "the result must name '...' too");
  for (int i = 0; i < e->nout; i++) {
    int l = e->out[i];
    if (taken[l] || e->seen[l] == 0)
      return moon__fail(e->ctx, MOON_EARGUMENT, "einsum: '%s': index '%c' of the result %s", e->text, label_letter(l),
                        taken[l] ? "appears twice" : "is in no input");
    taken[l] = true;
  }
  return MOON_OK;
}

static moon_status read_output(equation *e, const char *at) {
  bool has_dots = false;
  if (*at == 0) { /* not given: "...", then what appears once, by the alphabet */
    for (int i = e->ndots - 1; i >= 0; i--) e->out[e->nout++] = (uint8_t)(LETTERS + i);
    for (int l = 0; l < LETTERS; l++) {
      if (e->seen[l] == 1) e->out[e->nout++] = (uint8_t)l;
    }
    return MOON_OK;
  }
  if (at[0] != '-' || at[1] != '>') return fail(e, "expected '->'");
  at += 2;
  moon_status s = read_labels(e, &at, e->ndots, LABELS, e->out, &e->nout, &has_dots);
  if (s != MOON_OK) return s;
  return *at ? fail(e, "the result is one list of indices") : check_output(e, has_dots);
}

/* ---- One term ---- */

static int find_label(const term *t, int label) {
  for (int i = 0; i < t->n; i++) {
    if (t->label[i] == label) return i;
  }
  return -1;
}

static void drop_axis(term *t, int axis) {
  memmove(t->label + axis, t->label + axis + 1, (size_t)(t->n - axis - 1));
  t->n--;
}

/* Puts the axes of t in the order of labels [n], which are all of them. */
static void order(moon_context *ctx, term *t, const uint8_t *label) {
  int perm[MOON_MAX_DIMS];
  bool sorted = true;
  for (int i = 0; i < t->n; i++) {
    perm[i] = find_label(t, label[i]);
    sorted &= perm[i] == i;
  }
  if (!sorted) t->v = moon__transpose(ctx, t->v, perm);
  memcpy(t->label, label, (size_t)t->n);
}

/* v [.., n, n] -> [.., n]. With n zeros behind, the n n elements are n rows of n + 1 whose first column is the diagonal. */
static moon_value *last_diagonal(moon_context *ctx, moon_value *v) {
  if (!v) return NULL;
  moon_shape rows = *moon__shape_of(v), flat = rows, pad = rows, y = rows;
  int r = rows.ndim;
  moon_dim n = rows.dim[r - 1];
  flat.ndim = pad.ndim = y.ndim = r - 1;
  flat.dim[r - 2] = moon_dim_mul(ctx, n, n);
  pad.dim[r - 2] = n;
  rows.dim[r - 1] = moon_dim_add(ctx, n, 1);
  if (flat.dim[r - 2] == MOON_DIM_ERROR || rows.dim[r - 1] == MOON_DIM_ERROR) return NULL;
  moon_value *parts[] = {moon__reshape(ctx, v, &flat), moon__full(ctx, v->type.dtype, &pad, 0)};
  v = moon__reshape(ctx, moon__concat(ctx, 2, parts, r - 2), &rows);
  return moon__reshape(ctx, moon__slice(ctx, v, r - 1, 0, 1, 1), &y);
}

/* Takes the diagonal where a label stands on two axes. */
static void take_diagonals(moon_context *ctx, term *t) {
  for (int i = 0; i < t->n; i++) {
    for (int k = i + 1; k < t->n; k++) {
      int perm[MOON_MAX_DIMS], n = 0;
      if (t->label[k] != t->label[i]) continue;
      for (int a = 0; a < t->n; a++) {
        if (a != i && a != k) perm[n++] = a;
      }
      perm[n] = i;
      perm[n + 1] = k;
      uint8_t label = t->label[i];
      t->v = last_diagonal(ctx, moon__transpose(ctx, t->v, perm));
      drop_axis(t, k);
      drop_axis(t, i);
      t->label[t->n++] = label;
      i = -1; /* begin again with the new order */
      break;
    }
  }
}

/* Drops axes of size 1 that another operand broadcasts. */
static void drop_ones(const equation *e, term *t) {
  for (int i = t->n - 1; i >= 0; i--) {
    if (t->label[i] < LETTERS || !t->v || moon__shape_of(t->v)->dim[i] != 1 || e->size[t->label[i]] == 1) continue;
    t->v = moon__squeeze(e->ctx, t->v, i);
    drop_axis(t, i);
  }
}

/* Sums over the labels for which keep is not set. */
static void sum_out(moon_context *ctx, term *t, const bool *keep) {
  int axes[MOON_MAX_DIMS], n = 0;
  for (int i = 0; i < t->n; i++) {
    if (!keep[t->label[i]]) axes[n++] = i;
  }
  if (n == 0) return;
  t->v = moon__reduce(ctx, MOON_OP_sum, t->v, n, axes, false);
  for (int i = n - 1; i >= 0; i--) drop_axis(t, axes[i]);
}

/* ---- Two terms ---- */

/* Labels of a pair by where they are: shared and kept, of a alone, of b alone, shared and summed. */
typedef struct parts {
  uint8_t batch[MOON_MAX_DIMS], left[MOON_MAX_DIMS], right[MOON_MAX_DIMS], inner[MOON_MAX_DIMS];
  int nbatch, nleft, nright, ninner;
} parts;

static parts part(const term *a, const term *b, const bool *keep) {
  parts p = {.nbatch = 0};
  for (int i = 0; i < a->n; i++) {
    uint8_t l = a->label[i];
    if (find_label(b, l) < 0) p.left[p.nleft++] = l;
    else if (keep[l]) p.batch[p.nbatch++] = l;
    else p.inner[p.ninner++] = l;
  }
  for (int i = 0; i < b->n; i++) {
    if (find_label(a, b->label[i]) < 0) p.right[p.nright++] = b->label[i];
  }
  return p;
}

static void append(uint8_t *list, int *n, const uint8_t *more, int count) {
  memcpy(list + *n, more, (size_t)count);
  *n += count;
}

static moon_dim product(const equation *e, const uint8_t *label, int n) {
  moon_dim p = 1;
  for (int i = 0; i < n; i++) p = moon_dim_mul(e->ctx, p, e->size[label[i]]);
  return p;
}

/* The axes of t as three: labels batch, x, y in this order, each group one axis. */
static moon_value *grouped(const equation *e, term *t, const parts *p, const uint8_t *x, int nx, const uint8_t *y, int ny) {
  uint8_t label[MOON_MAX_DIMS];
  int n = 0;
  append(label, &n, p->batch, p->nbatch);
  append(label, &n, x, nx);
  append(label, &n, y, ny);
  order(e->ctx, t, label);
  moon_shape s = {.ndim = 3, .dim = {product(e, p->batch, p->nbatch), product(e, x, nx), product(e, y, ny)}};
  for (int i = 0; i < 3; i++) {
    if (s.dim[i] == MOON_DIM_ERROR) return NULL;
  }
  if (p->nbatch == 0) { /* a plain matrix */
    s.ndim = 2;
    s.dim[0] = s.dim[1];
    s.dim[1] = s.dim[2];
    s.dim[2] = 0;
  }
  return moon__reshape(e->ctx, t->v, &s);
}

/* b's axes beside a's: batch, ones for a's own, b's own; then NumPy's broadcast does the rest. */
static moon_value *outer(const equation *e, term *a, term *b, const parts *p) {
  uint8_t label[MOON_MAX_DIMS];
  int n = 0;
  append(label, &n, p->batch, p->nbatch);
  append(label, &n, p->left, p->nleft);
  order(e->ctx, a, label);
  n = p->nbatch;
  append(label, &n, p->right, p->nright);
  order(e->ctx, b, label);
  if (!a->v || !b->v) return NULL;
  moon_shape sa = *moon__shape_of(a->v), sb = *moon__shape_of(b->v), wide = sb;
  for (int i = 0; i < p->nright; i++) sa.dim[sa.ndim++] = 1;
  wide.ndim = p->nbatch;
  for (int i = 0; i < p->nleft; i++) wide.dim[wide.ndim++] = 1;
  for (int i = 0; i < p->nright; i++) wide.dim[wide.ndim++] = sb.dim[p->nbatch + i];
  return moon__mul(e->ctx, moon__reshape(e->ctx, a->v, &sa), moon__reshape(e->ctx, b->v, &wide));
}

static moon_value *contract(const equation *e, term *a, term *b, const parts *p, const term *y) {
  moon_value *left = grouped(e, a, p, p->left, p->nleft, p->inner, p->ninner);
  moon_value *right = grouped(e, b, p, p->inner, p->ninner, p->right, p->nright);
  moon_shape shape = {.ndim = y->n};
  for (int i = 0; i < y->n; i++) shape.dim[i] = e->size[y->label[i]];
  return moon__reshape(e->ctx, moon__matmul_adapt(e->ctx, left, right), &shape);
}

/* a becomes the join of a and b. */
static moon_status join(const equation *e, term *a, term *b, const bool *keep) {
  parts p = part(a, b, keep);
  term y = {.n = 0};
  if (p.nbatch + p.nleft + p.nright > MOON_MAX_DIMS) return fail(e, "a product on the way has too many axes");
  append(y.label, &y.n, p.batch, p.nbatch);
  append(y.label, &y.n, p.left, p.nleft);
  append(y.label, &y.n, p.right, p.nright);
  y.v = p.ninner ? contract(e, a, b, &p, &y) : outer(e, a, b, &p);
  *a = y;
  return y.v ? MOON_OK : e->ctx->status;
}

/* ---- The whole ---- */

/* Labels that the result or a term from `first` on needs. */
static void list_needed(const equation *e, int first, bool *needed) {
  memset(needed, 0, LABELS * sizeof *needed);
  for (int i = 0; i < e->nout; i++) needed[e->out[i]] = true;
  for (int i = first; i < e->nterms; i++) {
    for (int k = 0; k < e->terms[i].n; k++) needed[e->terms[i].label[k]] = true;
  }
}

static moon_value *evaluate(equation *e) {
  bool keep[LABELS];
  term *acc = &e->terms[0];
  for (int i = 0; i < e->nterms; i++) {
    take_diagonals(e->ctx, &e->terms[i]);
    drop_ones(e, &e->terms[i]);
  }
  for (int i = 1; i < e->nterms; i++) {
    list_needed(e, i, keep);
    sum_out(e->ctx, acc, keep);
    list_needed(e, i + 1, keep);
    bool mine[LABELS];
    memcpy(mine, keep, sizeof mine);
    for (int k = 0; k < acc->n; k++) mine[acc->label[k]] = true;
    sum_out(e->ctx, &e->terms[i], mine);
    if (!acc->v || !e->terms[i].v || join(e, acc, &e->terms[i], keep) != MOON_OK) return NULL;
  }
  list_needed(e, e->nterms, keep);
  sum_out(e->ctx, acc, keep);
  order(e->ctx, acc, e->out);
  return acc->v;
}

static moon_status parse(equation *e) {
  const char *at = e->text;
  moon_status s = read_inputs(e, &at);
  if (s == MOON_OK) s = learn_sizes(e);
  if (s == MOON_OK) s = read_output(e, at);
  if (s == MOON_OK && e->nout > MOON_MAX_DIMS) s = fail(e, "the result has too many axes");
  return s;
}

moon_value *moon__einsum(moon_context *ctx, const char *text, int n, moon_value *const *inputs) {
  equation e = {.ctx = ctx, .text = text ? text : "", .nterms = n};
  moon_value *y = NULL;
  for (int i = 0; i < n; i++) {
    if (!inputs[i]) return NULL;
  }
  if (n < 1 || n > MOON_MAX_INPUTS) {
    moon__fail(ctx, MOON_EARGUMENT, "einsum: '%s' needs 1 to %d inputs, got %d", e.text, MOON_MAX_INPUTS, n);
    return NULL;
  }
  e.terms = moon__alloc_array(ctx->runtime, (size_t)n, sizeof *e.terms);
  if (!e.terms) {
    moon__fail_memory(ctx);
    return NULL;
  }
  for (int i = 0; i < n; i++) e.terms[i].v = inputs[i];
  if (parse(&e) == MOON_OK) y = evaluate(&e);
  moon__free(ctx->runtime, e.terms);
  return y;
}
