/*
** gather_fast.c: gather along the first axis for any dtype, and scatter_add along it for f32: the rows of a table and their gradient.
** Letters: x [n, q], index [i..], updates [i.., q]. Updates are listed by row, in the order of the index, and each row is summed by
** itself, in pieces of a fixed length: the result depends neither on jobs nor on how many updates meet. Indices are checked.
*/
#include <string.h>

#include "fast.h"
#include "ops/attrs.h"
#include "plain.h"
#include "rows_fast.h"

/* Elements that a job copies or adds; columns of a block; updates added before the sum grows; of a job that makes lists. */
enum { WORK = 32768, MOST_COLUMNS = 256, PIECE = 32, LISTED = 8192, CLEARED = 65536 };

typedef struct table_plan {
  const moon_rows_set *set;
  int64_t n, q, count;            /* rows, elements of a row, indices */
  size_t row_bytes;
  int64_t rows_per_job;           /* gather: of the result */
  int64_t columns, blocks, things; /* scatter_add: columns of a block, blocks of a row, pairs of row and block in a job */
  bool from_zero;
} table_plan;

static bool read_index(const moon_call *call, int64_t e, int64_t n, int64_t *value) {
  const moon_array *index = &call->in[1];
  *value = moon__load_i64(index->data, index->dtype, e);
  if (*value >= 0 && *value < n) return true;
  moon__fault_raise(call->fault, MOON_EINDEX, *value, n);
  return false;
}

static void run_gather(const moon_call *call, int64_t first, int64_t last) {
  const table_plan *p = call->state;
  int64_t to = moon__min_i64(p->count, last * p->rows_per_job), i;
  for (int64_t e = first * p->rows_per_job; e < to; e++) {
    char *y = call->out[0].data + (size_t)e * p->row_bytes;
    if (read_index(call, e, p->n, &i)) memcpy(y, call->in[0].data + (size_t)i * p->row_bytes, p->row_bytes);
    else memset(y, 0, p->row_bytes);
  }
}

/* ---- scatter_add; scratch: head [n], the first update of a row, next [count]; -1: none ---- */

static void clear_lists(const moon_call *call, int64_t first, int64_t last) {
  const table_plan *p = call->state;
  int64_t lo = moon__min_i64(p->n, first * CLEARED), hi = moon__min_i64(p->n, last * CLEARED);
  memset((int32_t *)(void *)call->scratch + lo, 0xff, (size_t)(hi - lo) * sizeof(int32_t));
}

/* One job after the other; the last updates are listed first. */
static void list_updates(const moon_call *call, int64_t first, int64_t last) {
  const table_plan *p = call->state;
  int32_t *head = (int32_t *)(void *)call->scratch, *next = head + p->n;
  int64_t end = moon__max_i64(0, p->count - last * LISTED), i;
  for (int64_t e = p->count - 1 - first * LISTED; e >= end; e--) {
    if (!read_index(call, e, p->n, &i)) continue;
    next[e] = head[i];
    head[i] = (int32_t)e;
  }
}

/* Columns [from, from + n) of row i. */
static void add_updates(const moon_call *call, int64_t i, int64_t from, int64_t n) {
  const table_plan *p = call->state;
  const int32_t *head = (const int32_t *)(const void *)call->scratch, *next = head + p->n;
  const moon_array *updates = &call->in[2];
  const float *rows[PIECE];
  float *y = (float *)(void *)call->out[0].data + i * p->q + from;
  bool empty = p->from_zero;
  if (!empty) memcpy(y, (const float *)(const void *)call->in[0].data + i * p->q + from, (size_t)n * sizeof *y);
  for (int32_t e = head[i]; e >= 0;) {
    int count = 0;
    for (; e >= 0 && count < PIECE; e = next[e])
      rows[count++] = (const float *)(const void *)updates->data +
                      moon__offset_at(call->in[1].ndim, updates->shape, updates->strides, e) + from;
    p->set->sum(y, rows, count, n, !empty);
    empty = false;
  }
  if (empty) memset(y, 0, (size_t)n * sizeof *y);
}

static void run_scatter(const moon_call *call, int64_t first, int64_t last) {
  const table_plan *p = call->state;
  int64_t to = moon__min_i64(p->n * p->blocks, last * p->things);
  for (int64_t at = first * p->things; at < to; at++) {
    int64_t from = at % p->blocks * p->columns;
    add_updates(call, at / p->blocks, from, moon__min_i64(p->columns, p->q - from));
  }
}

/* ---- Plan ---- */

/* Are the axes from `from` on dense? */
static bool dense_from(const moon_array *x, int from) {
  int64_t step = 1;
  for (int d = x->ndim - 1; d >= from; d--) {
    if (x->shape[d] != 1 && x->strides[d] != step) return false;
    step *= x->shape[d];
  }
  return true;
}

static bool first_axis(const moon_fast *f) {
  const moon_axis_attrs *a = f->node->attrs;
  return moon__axis_at(a->axis, f->in[0].ndim) == 0;
}

bool moon__cpu_gather_fits(const moon_fast *f) { return first_axis(f); }

bool moon__cpu_scatter_add_fits(const moon_fast *f) {
  return first_axis(f) && f->in[0].dtype == MOON_DTYPE_f32 && f->in[0].shape[0] < INT32_MAX && moon__array_count(&f->in[1]) < INT32_MAX;
}

static void read_table(table_plan *p, const moon_fast *f) {
  const moon_array *x = &f->in[0];
  p->n = x->shape[0];
  p->q = moon__count_between(x->shape, 1, x->ndim);
  p->count = moon__array_count(&f->in[1]);
  p->row_bytes = (size_t)p->q * moon_dtype_bytes(x->dtype);
}

moon_status moon__cpu_gather_plan(const moon_fast *f, moon_choice *c) {
  table_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  read_table(p, f);
  c->kernel = "cpu_gather_rows";
  c->why = "whole rows";
  c->dense_in = 3;
  p->rows_per_job = moon__max_i64(1, WORK / (p->q + 8));
  moon__fast_phase(c, run_gather, moon__ceildiv_i64(p->count, p->rows_per_job));
  return MOON_OK;
}

static bool is_zero(const moon_value *v) {
  return v->node->op->id == MOON_OP_full && ((const moon_full_attrs *)v->node->attrs)->value == 0;
}

moon_status moon__cpu_scatter_add_plan(const moon_fast *f, moon_choice *c) {
  table_plan *p = moon__fast_state(f, c, sizeof *p);
  size_t lists;
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__rows_set);
  read_table(p, f);
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_scatter_add_f32");
  c->why = "rows summed by themselves";
  c->dense_in = dense_from(&f->in[2], f->in[1].ndim) ? 3 : 7;
  p->from_zero = is_zero(f->node->inputs[0]);
  if (p->n == 0 || p->q == 0) return MOON_OK;
  if (!moon__fast_scratch(c, &lists, p->n + p->count, (int64_t)sizeof(int32_t))) return MOON_ESIZE;
  p->columns = moon__min_i64(p->q, MOST_COLUMNS);
  p->blocks = moon__ceildiv_i64(p->q, p->columns);
  p->things = moon__max_i64(1, WORK / ((p->columns + 8) * (1 + p->count / p->n)));
  moon__fast_phase(c, clear_lists, moon__ceildiv_i64(p->n, CLEARED));
  moon__fast_phase(c, list_updates, moon__ceildiv_i64(p->count, LISTED));
  c->phase[c->nphases - 1].group = 1;
  moon__fast_phase(c, run_scatter, moon__ceildiv_i64(p->n * p->blocks, p->things));
  return MOON_OK;
}
