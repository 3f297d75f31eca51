/*
** openblas.c: matmul by the machine's OpenBLAS, which is loaded, never linked, and only when MOONLET_OPENBLAS asks for it: "on", or
** the path of a library. Our own products measured faster with AVX2 and AVX-512 (make bench ONLY=gemm). Only serial builds are
** used: one with threads of its own is left alone, because to quieten it would alter what the host may use as well. Invariant: one
** call at a time, as a serial build shares its buffers (results of two threads were seen to differ).
**
** A job is a block of the result, cut by shape alone.
*/
#include "openblas.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/os.h"
#include "base/shape.h"
#include "base/size.h"
#include "fast.h"
#include "plain.h"

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 }; /* of the CBLAS interface */
enum { BLOCK = 256, SMALL = 64 * 64 * 64 };             /* rows and columns of a job; products too small to be worth a call */

typedef struct blas_plan {
  moon_openblas *blas;
  int64_t m, n, k, row_blocks, column_blocks;
} blas_plan;

/* ---- The library ---- */

static void *symbol(void *library, const char *name, void *function, size_t bytes) {
  void *at = moon__library_symbol(library, name);
  memcpy(function, &at, bytes);
  return at;
}

static bool load(moon_openblas *blas, const char *name) {
  int (*parallel)(void) = NULL;
  void *library = moon__library_open(name);
  return library && symbol(library, "openblas_get_parallel", &parallel, sizeof parallel) && parallel() == 0 &&
         symbol(library, "cblas_sgemm", &blas->sgemm, sizeof blas->sgemm) &&
         symbol(library, "cblas_dgemm", &blas->dgemm, sizeof blas->dgemm);
}

static bool is_open(moon_runtime *runtime, moon_openblas *blas, const char *word) {
  int state = atomic_load(&blas->state);
  if (state == 0) {
    moon__mutex_lock(runtime->lock);
    if (atomic_load(&blas->state) == 0) atomic_store(&blas->state, load(blas, word ? word : "libopenblas.so.0") ? 1 : 2);
    moon__mutex_unlock(runtime->lock);
    state = atomic_load(&blas->state);
  }
  return state == 1;
}

/* Is it wanted on this machine, and there? */
static bool is_wanted(const moon_fast *f) {
  const char *word = moon__env("MOONLET_OPENBLAS");
  if (!word || strcmp(word, "off") == 0) return false;
  return is_open(f->device->runtime, f->device->data, strcmp(word, "on") == 0 ? NULL : word);
}

/* ---- The kernel ---- */

/* How the two last axes of a lie: its row step, and whether they are transposed. False: neither axis is dense. */
static bool lies(const moon_array *a, int64_t *step, int *trans) {
  int64_t rows = a->shape[a->ndim - 2], columns = a->shape[a->ndim - 1];
  int64_t row = a->strides[a->ndim - 2], column = a->strides[a->ndim - 1];
  bool plain = (column == 1 || columns == 1) && (row >= columns || rows == 1);
  bool turned = (row == 1 || rows == 1) && (column >= rows || columns == 1);
  *trans = plain ? NO_TRANS : TRANS;
  *step = plain ? (rows == 1 ? columns : row) : (columns == 1 ? rows : column);
  return (plain || turned) && *step <= INT_MAX;
}

static void run_block(const moon_call *call, const blas_plan *p, int64_t batch, int64_t row, int64_t column) {
  const moon_array *a = &call->in[0], *b = &call->in[1];
  int64_t a_step, b_step, c_at = (batch * p->m + row) * p->n + column;
  int a_trans, b_trans;
  if (!lies(a, &a_step, &a_trans) || !lies(b, &b_step, &b_trans)) return;
  int64_t a_at = moon__offset_at(a->ndim - 2, a->shape, a->strides, batch) + row * (a_trans == TRANS ? 1 : a_step);
  int64_t b_at = moon__offset_at(b->ndim - 2, b->shape, b->strides, batch) + column * (b_trans == TRANS ? b_step : 1);
  int m = (int)moon__min_i64(BLOCK, p->m - row), n = (int)moon__min_i64(BLOCK, p->n - column), k = (int)p->k;
  const void *x = a->data, *y = b->data;
  void *z = call->out[0].data;
  while (atomic_exchange(&p->blas->busy, 1)) moon__pause();
  if (a->dtype == MOON_DTYPE_f32)
    p->blas->sgemm(ROW_MAJOR, a_trans, b_trans, m, n, k, 1, (const float *)x + a_at, (int)a_step, (const float *)y + b_at,
                   (int)b_step, 0, (float *)z + c_at, (int)p->n);
  else
    p->blas->dgemm(ROW_MAJOR, a_trans, b_trans, m, n, k, 1, (const double *)x + a_at, (int)a_step, (const double *)y + b_at,
                   (int)b_step, 0, (double *)z + c_at, (int)p->n);
  atomic_store(&p->blas->busy, 0);
}

static void run(const moon_call *call, int64_t first, int64_t last) {
  const blas_plan *p = call->state;
  int64_t blocks = p->row_blocks * p->column_blocks;
  for (int64_t job = first; job < last; job++)
    run_block(call, p, job / blocks, job % blocks / p->column_blocks * BLOCK, job % p->column_blocks * BLOCK);
}

bool moon__cpu_openblas_fits(const moon_fast *f) {
  const moon_array *a = &f->in[0], *b = &f->in[1];
  if (a->dtype != b->dtype || !moon__dtype_is_float(a->dtype) || a->ndim < 2 || a->ndim != b->ndim) return false;
  int64_t m = a->shape[a->ndim - 2], k = a->shape[a->ndim - 1], n = b->shape[b->ndim - 1];
  if (m == 0 || n == 0 || k == 0 || m > INT_MAX || n > INT_MAX || k > INT_MAX) return false;
  return (double)m * (double)n * (double)k >= SMALL && is_wanted(f);
}

moon_status moon__cpu_openblas_plan(const moon_fast *f, moon_choice *c) {
  const moon_array *a = &f->in[0], *b = &f->in[1];
  int nd = a->ndim, trans;
  int64_t step, batch = moon__count_between(a->shape, 0, nd - 2);
  if (f->epilogue) return MOON_EUNSUPPORTED;
  blas_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->blas = f->device->data;
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  p->row_blocks = moon__ceildiv_i64(p->m, BLOCK);
  p->column_blocks = moon__ceildiv_i64(p->n, BLOCK);
  c->kernel = a->dtype == MOON_DTYPE_f32 ? "cpu_matmul_f32_openblas" : "cpu_matmul_f64_openblas";
  c->why = "MOONLET_OPENBLAS";
  c->dense_in = (lies(a, &step, &trans) ? 0 : 1) | (lies(b, &step, &trans) ? 0 : 2);
  if (batch == 0) return MOON_OK;
  moon__fast_phase(c, run, batch * p->row_blocks * p->column_blocks);
  c->phase[0].group = 1; /* one after the other */
  return MOON_OK;
}
