/*
** gemm_bf16.c: products of bf16 matrices with f32 sums. Few rows: b is read once as it lies, its numbers widened on the way (by rows,
** or by dots where its columns lie along k). Many rows: both operands are packed into tiles for the matrix unit, zeros beyond their
** ends, then blocks of sums are made, independent of each other. A machine without the unit computes many rows in f32
** (core/passes/half.c). The unit takes denormals as 0.
** A loop that finishes the product runs over each block, which is on the stack then.
*/
#include "gemm_bf16.h"

#include <string.h>

#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "gemm.h"
#include "plain.h"

enum { BLOCK_FLOATS = 8192, PANEL = 2 * MOON_AMX_ROWS, FEW_ROWS = 8 };

/* Where numbers of a matrix lie: elements from row to row, and from column to column. */
typedef struct layout { int64_t row, column; } layout;

typedef struct bf16_plan {
  const moon_gemm_bf16_set *set;
  const moon_gemm_set *f32; /* it knows how to transpose */
  bool few, dots;
  int64_t m, n, k, batch;
  layout a, b;
  int64_t m_block, n_block, m_blocks, n_blocks;
  int64_t ntiles, m_panels, n_panels, a_matrices, b_matrices; /* tiles along k; panels of 32; matrices that differ */
  size_t a_packed, b_packed, a_wide;
  moon_finish *finish; /* behind the plan; NULL: none */
} bf16_plan;

static const uint16_t *matrix(const moon_call *call, int i, int64_t batch) {
  const moon_array *x = &call->in[i];
  return (const uint16_t *)(const void *)x->data + moon__offset_at(x->ndim - 2, x->shape, x->strides, batch);
}

/* ---- Packing ---- */

/* A tile whose numbers come one by one: at ends, and from odd strides. along(k), across(row of a, column of b). */
static void pack_slowly(uint16_t *out, const uint16_t *x, int64_t along, int64_t across, int64_t depth, int64_t width, bool pairs) {
  memset(out, 0, MOON_AMX_TILE * sizeof *out);
  for (int64_t i = 0; i < width; i++)
    for (int64_t k = 0; k < depth; k++) out[pairs ? k / 2 * 32 + i * 2 + k % 2 : i * 32 + k] = x[k * along + i * across];
}

/* [16 rows][32 k], from rows or from columns that are contiguous. */
static void pack_a_tile(const bf16_plan *p, uint16_t *out, const uint16_t *x, int64_t depth, int64_t rows) {
  uint32_t pairs[MOON_AMX_TILE / 2];
  if (depth < MOON_AMX_K || rows < MOON_AMX_ROWS || (p->a.column != 1 && p->a.row != 1)) {
    pack_slowly(out, x, p->a.column, p->a.row, depth, rows, false);
  } else if (p->a.column == 1) {
    for (int i = 0; i < MOON_AMX_ROWS; i++) memcpy(out + i * MOON_AMX_K, x + i * p->a.row, MOON_AMX_K * sizeof *x);
  } else {
    for (int k = 0; k < MOON_AMX_K / 2; k++) p->set->interleave(pairs + k * 16, x + 2 * k * p->a.column, x + (2 * k + 1) * p->a.column);
    p->f32->pack((float *)(void *)out, (const float *)(const void *)pairs, 16, 16, 1, 16, 16);
  }
}

/* [16 pairs of k][16 columns][2]. */
static void pack_b_tile(const bf16_plan *p, uint16_t *out, const uint16_t *x, int64_t depth, int64_t columns) {
  if (depth == MOON_AMX_K && columns == MOON_AMX_ROWS && p->b.column == 1) {
    for (int k = 0; k < MOON_AMX_K / 2; k++) p->set->interleave((uint32_t *)(void *)(out + k * 32), x + 2 * k * p->b.row, x + (2 * k + 1) * p->b.row);
  } else if (depth == MOON_AMX_K && columns == MOON_AMX_ROWS && p->b.row == 1 && p->b.column % 2 == 0) {
    p->f32->pack((float *)(void *)out, (const float *)(const void *)x, 16, 16, 1, p->b.column / 2, 16);
  } else {
    pack_slowly(out, x, p->b.row, p->b.column, depth, columns, true);
  }
}

/* A panel of 32 rows of a or columns of b: two strips of tiles along k. */
static void pack_panel(const bf16_plan *p, const moon_call *call, bool of_a, int64_t job) {
  int64_t panels = of_a ? p->m_panels : p->n_panels, which = job / panels, at = job % panels * PANEL, size = of_a ? p->m : p->n;
  int64_t across = of_a ? p->a.row : p->b.column, along = of_a ? p->a.column : p->b.row;
  uint16_t *out = (uint16_t *)(void *)(call->scratch + (of_a ? p->a_packed : p->b_packed)) + job * 2 * p->ntiles * MOON_AMX_TILE;
  const uint16_t *x = matrix(call, of_a ? 0 : 1, which);
  for (int64_t t = 0; t < p->ntiles; t++)
    for (int64_t s = 0; s < 2; s++) {
      int64_t first = at + s * MOON_AMX_ROWS, width = moon__min_i64(MOON_AMX_ROWS, size - first), k = t * MOON_AMX_K;
      uint16_t *tile = out + (s * p->ntiles + t) * MOON_AMX_TILE;
      const uint16_t *from = x + k * along + first * across;
      if (width <= 0) memset(tile, 0, MOON_AMX_TILE * sizeof *tile);
      else (of_a ? pack_a_tile : pack_b_tile)(p, tile, from, moon__min_i64(MOON_AMX_K, p->k - k), width);
    }
}

static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  int64_t b_jobs = p->b_matrices * p->n_panels;
  for (int64_t job = first; job < last; job++) pack_panel(p, call, job >= b_jobs, job >= b_jobs ? job - b_jobs : job);
}

/* a of few rows, in f32 and dense. */
static void run_widen(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  for (int64_t row = first; row < last; row++)
    moon__convert_many(call->scratch + p->a_wide + (size_t)(row * p->k) * sizeof(float), MOON_DTYPE_f32, 1,
                       matrix(call, 0, row / p->m) + row % p->m * p->a.row, MOON_DTYPE_bf16, p->a.column, p->k);
}

/* ---- Blocks of sums ---- */

typedef struct block { int64_t batch, i, j, m, n; } block;

static block block_of(const bf16_plan *p, int64_t job) {
  block at = {.j = job % p->n_blocks * p->n_block, .i = job / p->n_blocks % p->m_blocks * p->m_block,
              .batch = job / p->n_blocks / p->m_blocks};
  at.m = moon__min_i64(p->m_block, p->m - at.i);
  at.n = moon__min_i64(p->n_block, p->n - at.j);
  return at;
}

/* sums [rounded m, n_block] by tiles. */
static void sum_by_tiles(const bf16_plan *p, const moon_call *call, const block *at, float *sums) {
  int64_t strip = p->ntiles * MOON_AMX_TILE;
  const uint16_t *a = (const uint16_t *)(const void *)(call->scratch + p->a_packed) +
                      ((p->a_matrices > 1 ? at->batch : 0) * p->m_panels + at->i / PANEL) * 2 * strip;
  const uint16_t *b = (const uint16_t *)(const void *)(call->scratch + p->b_packed) +
                      ((p->b_matrices > 1 ? at->batch : 0) * p->n_panels + at->j / PANEL) * 2 * strip;
  for (int64_t j = 0; j < at->n; j += PANEL)
    for (int64_t i = 0; i < at->m; i += PANEL)
      moon__amx_block(sums + i * p->n_block + j, p->n_block, a + i / PANEL * 2 * strip, strip, b + j / PANEL * 2 * strip, strip, p->ntiles);
}

static void sum_few(const bf16_plan *p, const moon_call *call, const block *at, float *sums) {
  const float *a = (const float *)(const void *)(call->scratch + p->a_wide) + at->batch * p->m * p->k;
  const uint16_t *b = matrix(call, 1, at->batch) + at->j * p->b.column;
  for (int64_t i = 0; i < at->m; i += MOON_BF16_STREAM_ROWS) {
    int64_t m = moon__min_i64(MOON_BF16_STREAM_ROWS, at->m - i);
    float *c = sums + i * p->n_block;
    if (p->dots) {
      p->set->dots(c, p->n_block, a + i * p->k, p->k, b, p->b.column, m, at->n, p->k);
    } else {
      memset(c, 0, (size_t)(m * p->n_block) * sizeof *c);
      p->set->stream(c, p->n_block, a + i * p->k, p->k, b, p->b.row, m, at->n, p->k);
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
    block at = block_of(p, job);
    if (p->few) {
      sum_few(p, call, &at, sums);
    } else {
      moon__amx_begin();
      sum_by_tiles(p, call, &at, sums);
      moon__amx_end();
    }
    int64_t row = at.batch * p->m + at.i;
    if (finish) {
      moon__finish_block(&r, sums, p->n_block, row, at.m, at.j, at.n, at.batch * p->m_blocks + at.i / p->m_block, true);
    } else {
      float *c = (float *)(void *)call->out[0].data + row * p->n + at.j;
      for (int64_t i = 0; i < at.m; i++) memcpy(c + i * p->n, sums + i * p->n_block, (size_t)at.n * sizeof *c);
    }
  }
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const bf16_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* ---- Plan ---- */

static bool varies(const moon_array *x) {
  bool any = false;
  for (int i = 0; i < x->ndim - 2; i++) any |= x->strides[i] != 0 && x->shape[i] > 1;
  return any;
}

/* Blocks of about 30 us that fit onto the stack: sums of few rows read 256 KB of b, or less. */
static void choose_blocks(bf16_plan *p) {
  if (p->few) {
    int64_t columns = moon__max_i64(1, 131072 / p->k) / 64 * 64;
    p->m_block = p->m;
    p->n_block = moon__max_i64(64, moon__min_i64(columns, BLOCK_FLOATS / FEW_ROWS));
  } else {
    p->m_block = p->m <= 32 ? 32 : p->n <= 32 ? 256 : 64;
    p->n_block = p->n <= 32 ? 32 : p->m <= 32 ? 256 : p->k > 2048 ? 64 : 128;
  }
  p->m_blocks = moon__ceildiv_i64(p->m, p->m_block);
  p->n_blocks = moon__ceildiv_i64(p->n, p->n_block);
}

static bool lay_out(const moon_fast *f, bf16_plan *p, moon_choice *c) {
  if (p->few) return moon__fast_scratch(c, &p->a_wide, p->batch * p->m, p->k * 4);
  p->ntiles = moon__ceildiv_i64(p->k, MOON_AMX_K);
  p->m_panels = moon__ceildiv_i64(p->m, PANEL);
  p->n_panels = moon__ceildiv_i64(p->n, PANEL);
  p->a_matrices = varies(&f->in[0]) ? p->batch : 1;
  p->b_matrices = varies(&f->in[1]) ? p->batch : 1;
  int64_t panel_bytes = 2 * p->ntiles * MOON_AMX_TILE * 2;
  return moon__fast_scratch(c, &p->a_packed, p->a_matrices * p->m_panels, panel_bytes) &&
         moon__fast_scratch(c, &p->b_packed, p->b_matrices * p->n_panels, panel_bytes);
}

/* Few rows pay anywhere; many, where the unit is and packing is little beside the work. */
bool moon__cpu_matmul_bf16_has(const moon_node *node) {
  const moon_shape *a = &node->inputs[0]->type.shape, *b = &node->inputs[1]->type.shape;
  if (node->op->id != MOON_OP_matmul || node->inputs[0]->type.dtype != MOON_DTYPE_bf16 || node->inputs[1]->type.dtype != MOON_DTYPE_bf16)
    return false;
  if (a->ndim < 2 || !moon__shape_known(a) || !moon__shape_known(b) || moon__value_count(node->inputs[0]) == 0) return false;
  int64_t m = a->dim[a->ndim - 2], k = a->dim[a->ndim - 1], n = b->dim[b->ndim - 1];
  if (m <= FEW_ROWS) return k >= 16 && n >= 16;
  return k >= 16 && n >= 16 && moon__amx_usable(moon__cpu_isa());
}

bool moon__cpu_matmul_bf16_fits(const moon_fast *f) { return f->in[0].dtype == MOON_DTYPE_bf16 && f->out[0].dtype == MOON_DTYPE_f32; }

static moon_status plan_phases(const moon_fast *f, bf16_plan *p, moon_choice *c) {
  if (f->epilogue) {
    p->finish = (moon_finish *)(void *)(p + 1);
    moon_status s = moon__finish_plan(f, p->finish, false, c);
    if (s != MOON_OK) return s;
    if (!moon__finish_parts(p->finish, p->batch * p->m_blocks, c)) return MOON_ESIZE;
  }
  if (p->few) moon__fast_phase(c, run_widen, p->batch * p->m);
  else moon__fast_phase(c, run_pack, p->a_matrices * p->m_panels + p->b_matrices * p->n_panels);
  moon__fast_phase(c, run_blocks, p->batch * p->m_blocks * p->n_blocks);
  if (p->finish && !p->finish->plain && p->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(p->finish));
  return MOON_OK;
}

moon_status moon__cpu_matmul_bf16_plan(const moon_fast *f, moon_choice *c) {
  const moon_array *a = &f->in[0], *b = &f->in[1];
  int nd = a->ndim;
  bf16_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0));
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_bf16_set);
  p->f32 = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  p->a = (layout){a->strides[nd - 2], a->strides[nd - 1]};
  p->b = (layout){b->strides[nd - 2], b->strides[nd - 1]};
  p->batch = moon__count_between(a->shape, 0, nd - 2);
  p->few = p->m <= FEW_ROWS;
  p->dots = p->few && p->b.row == 1 && p->b.column != 1;
  if (p->few && p->b.row != 1 && p->b.column != 1) {
    c->dense_in = 2; /* the planner copies it */
    p->b = (layout){p->n, 1};
  }
  c->kernel = p->few ? MOON_ISA_TEXT(f->isa, "cpu_matmul_bf16") : "cpu_matmul_bf16_amx";
  c->why = p->dots ? "few rows: dots" : p->few ? "few rows: b once" : "packed tiles";
  choose_blocks(p);
  if (!lay_out(f, p, c)) return MOON_ESIZE;
  return plan_phases(f, p, c);
}
