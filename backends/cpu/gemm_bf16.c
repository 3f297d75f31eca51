/*
** gemm_bf16.c: products of few rows of bf16 with f32 sums: b is read once as it lies, its numbers widened on the way (by rows, or by
** dots where its columns lie along k). Many rows are for the matrix unit (gemm_amx.c), or computed in f32 (core/passes/half.c).
** A loop that finishes the product runs over each block, which is on the stack then.
*/
#include "gemm_bf16.h"

#include <string.h>

#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "plain.h"

enum { BLOCK_FLOATS = 8192, FEW_ROWS = 8 };

/* Where numbers of a matrix lie: elements from row to row, and from column to column. */
typedef struct layout { int64_t row, column; } layout;

typedef struct bf16_plan {
  const moon_gemm_bf16_set *set;
  bool dots;
  int64_t m, n, k, batch;
  layout a, b;
  int64_t n_block, n_blocks; /* columns of a job, which makes all rows of them */
  size_t a_wide;             /* in scratch: a, dense and in f32 */
  moon_finish *finish; /* behind the plan; NULL: none */
} bf16_plan;

static const uint16_t *matrix(const moon_call *call, int i, int64_t batch) {
  const moon_array *x = &call->in[i];
  return (const uint16_t *)(const void *)x->data + moon__offset_at(x->ndim - 2, x->shape, x->strides, batch);
}

static void run_widen(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  for (int64_t row = first; row < last; row++)
    moon__convert_many(call->scratch + p->a_wide + (size_t)(row * p->k) * sizeof(float), MOON_DTYPE_f32, 1,
                       matrix(call, 0, row / p->m) + row % p->m * p->a.row, MOON_DTYPE_bf16, p->a.column, p->k);
}

/* sums [m, n_block] of columns [j, j + n) of a product of the batch. */
static void make_sums(const bf16_plan *p, const moon_call *call, int64_t batch, int64_t j, int64_t n, float *sums) {
  const float *a = (const float *)(const void *)(call->scratch + p->a_wide) + batch * p->m * p->k;
  const uint16_t *b = matrix(call, 1, batch) + j * p->b.column;
  for (int64_t i = 0; i < p->m; i += MOON_BF16_STREAM_ROWS) {
    int64_t m = moon__min_i64(MOON_BF16_STREAM_ROWS, p->m - i);
    float *c = sums + i * p->n_block;
    if (p->dots) {
      p->set->dots(c, p->n_block, a + i * p->k, p->k, b, p->b.column, m, n, p->k);
    } else {
      memset(c, 0, (size_t)(m * p->n_block) * sizeof *c);
      p->set->stream(c, p->n_block, a + i * p->k, p->k, b, p->b.row, m, n, p->k);
    }
  }
}

static void run_blocks(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  bool finish = p->finish && !p->finish->plain;
  _Alignas(64) float sums[BLOCK_FLOATS];
  moon_finishing r;
  if (first >= last) return;
  if (finish) moon__finish_begin(&r, p->finish, call);
  for (int64_t job = first; job < last; job++) {
    int64_t batch = job / p->n_blocks, j = job % p->n_blocks * p->n_block, n = moon__min_i64(p->n_block, p->n - j);
    make_sums(p, call, batch, j, n, sums);
    if (finish) {
      moon__finish_block(&r, sums, p->n_block, batch * p->m, p->m, j, n, batch, true);
    } else {
      float *c = (float *)(void *)call->out[0].data + batch * p->m * p->n + j;
      for (int64_t i = 0; i < p->m; i++) memcpy(c + i * p->n, sums + i * p->n_block, (size_t)n * sizeof *c);
    }
  }
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* ---- Plan ---- */

/* Columns of a job: it reads 256 KB of b, or less, and its sums fit onto the stack. */
static void choose_blocks(bf16_plan *p) {
  int64_t columns = moon__max_i64(1, 131072 / p->k) / 64 * 64;
  p->n_block = moon__max_i64(64, moon__min_i64(columns, BLOCK_FLOATS / FEW_ROWS));
  p->n_blocks = moon__ceildiv_i64(p->n, p->n_block);
}

/* Few rows pay anywhere; many, where the matrix unit is. */
bool moon__cpu_matmul_bf16_has(const moon_node *node) {
  const moon_shape *a = &node->inputs[0]->type.shape, *b = &node->inputs[1]->type.shape;
  if (node->op->id != MOON_OP_matmul || node->inputs[0]->type.dtype != MOON_DTYPE_bf16 || node->inputs[1]->type.dtype != MOON_DTYPE_bf16)
    return false;
  if (a->ndim < 2 || !moon__shape_known(a) || !moon__shape_known(b) || moon__value_count(node->inputs[0]) == 0) return false;
  int64_t m = a->dim[a->ndim - 2], k = a->dim[a->ndim - 1], n = b->dim[b->ndim - 1];
  return m <= FEW_ROWS ? k >= 16 && n >= 16 : moon__cpu_matmul_amx_pays(m, n, k);
}

bool moon__cpu_matmul_bf16_fits(const moon_fast *f) {
  const moon_array *a = &f->in[0];
  return a->dtype == MOON_DTYPE_bf16 && f->out[0].dtype == MOON_DTYPE_f32 && a->shape[a->ndim - 2] <= FEW_ROWS;
}

static moon_status plan_phases(const moon_fast *f, bf16_plan *p, moon_choice *c) {
  if (f->epilogue) {
    p->finish = (moon_finish *)(void *)(p + 1);
    moon_status s = moon__finish_plan(f, p->finish, false, c);
    if (s != MOON_OK) return s;
    if (!moon__finish_parts(p->finish, p->batch, c)) return MOON_ESIZE;
  }
  moon__fast_phase(c, run_widen, p->batch * p->m);
  moon__fast_phase(c, run_blocks, p->batch * p->n_blocks);
  if (p->finish && !p->finish->plain && p->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(p->finish));
  return MOON_OK;
}

moon_status moon__cpu_matmul_bf16_plan(const moon_fast *f, moon_choice *c) {
  const moon_array *a = &f->in[0], *b = &f->in[1];
  int nd = a->ndim;
  bf16_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0));
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_bf16_set);
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  p->a = (layout){a->strides[nd - 2], a->strides[nd - 1]};
  p->b = (layout){b->strides[nd - 2], b->strides[nd - 1]};
  p->batch = moon__count_between(a->shape, 0, nd - 2);
  p->dots = p->b.row == 1 && p->b.column != 1;
  if (p->b.row != 1 && p->b.column != 1) {
    c->dense_in = 2; /* the planner copies it */
    p->b = (layout){p->n, 1};
  }
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_matmul_bf16");
  c->why = p->dots ? "few rows: dots" : "few rows: b once";
  choose_blocks(p);
  if (!moon__fast_scratch(c, &p->a_wide, p->batch * p->m, p->k * 4)) return MOON_ESIZE;
  return plan_phases(f, p, c);
}
