/* gemm_f64.c: f64 matmul: one phase of row blocks; b's columns must lie side by side (else the planner copies it). */
#include "gemm_f64.h"

#include "base/size.h"
#include "fast.h"
#include "plain.h"

typedef struct f64_plan {
  const moon_gemm_f64_set *set;
  int64_t m, n, k, row_block, row_blocks;
} f64_plan;

static void run_multiply(const moon_call *call, int64_t first, int64_t last) {
  const f64_plan *p = call->state;
  const moon_array *a = &call->in[0], *b = &call->in[1];
  int nd = a->ndim;
  for (int64_t job = first; job < last; job++) {
    int64_t batch = job / p->row_blocks, row = job % p->row_blocks * p->row_block;
    moon_gemm_f64 t = {.m = moon__min_i64(p->row_block, p->m - row), .n = p->n, .k = p->k, .c_row = p->n};
    t.a_row = a->strides[nd - 2], t.a_column = a->strides[nd - 1], t.b_row = b->strides[nd - 2];
    t.a = (const double *)(const void *)a->data + moon__offset_at(nd - 2, a->shape, a->strides, batch) + row * t.a_row;
    t.b = (const double *)(const void *)b->data + moon__offset_at(nd - 2, a->shape, b->strides, batch);
    t.c = (double *)(void *)call->out[0].data + (batch * p->m + row) * p->n;
    p->set->multiply(&t);
  }
}

bool moon__cpu_matmul_f64_fits(const moon_fast *f) {
  return f->in[0].dtype == MOON_DTYPE_f64 && f->in[1].dtype == MOON_DTYPE_f64 && f->in[0].ndim >= 2 &&
         f->in[0].ndim == f->in[1].ndim;
}

moon_status moon__cpu_matmul_f64_plan(const moon_fast *f, moon_choice *c) {
  f64_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  const moon_array *a = &f->in[0], *b = &f->in[1];
  int nd = a->ndim;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_f64_set);
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_matmul_f64");
  c->why = "b as it lies";
  if (b->strides[nd - 1] != 1) c->dense_in = 2;
  int64_t batch = 1;
  for (int i = 0; i < nd - 2; i++) batch *= a->shape[i];
  if (p->m == 0 || p->n == 0 || batch == 0) return MOON_OK;
  double row_us = 2e-4 * (double)p->n * (double)p->k + 0.01;
  p->row_block = moon__max_i64(4, moon__min_i64(p->m, (int64_t)(40 / row_us)) / 4 * 4);
  p->row_blocks = moon__ceildiv_i64(p->m, p->row_block);
  moon__fast_phase(c, run_multiply, batch * p->row_blocks);
  return MOON_OK;
}
