/*
** batch.c: f32 kernels of batch_moments and batch_sums, channels last: each job makes the sums of some rows, a second phase puts
** those of all blocks together, in order and in f64. Variances are sums of squared distances from the block's own mean, moved to
** the mean of all (Chan, Golub and LeVeque, 1979), so nothing is lost where the mean is large. Letters: x [rows, c].
*/
#include "batch_fast.h"

#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "ops/attrs.h"

enum { BLOCK_FLOATS = 32768, CHANNELS = 64 }; /* that a job reads; channels that are put together at a time */

typedef struct batch_plan {
  const moon_batch_set *set;
  int64_t rows, c, block, blocks;
} batch_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
/* The two sums of a block: [block][2][c]. */
static float *parts(const moon_call *call, const batch_plan *p, int64_t block) {
  return (float *)(void *)call->scratch + block * 2 * p->c;
}
static int64_t rows_of(const batch_plan *p, int64_t block) { return moon__min_i64(p->block, p->rows - block * p->block); }

static void run_moments(const moon_call *call, int64_t first, int64_t last) {
  const batch_plan *p = call->state;
  for (int64_t b = first; b < last; b++)
    p->set->moments(input(call, 0) + b * p->block * p->c, rows_of(p, b), p->c, p->c, parts(call, p, b), parts(call, p, b) + p->c);
}

static void run_sums(const moon_call *call, int64_t first, int64_t last) {
  const batch_plan *p = call->state;
  for (int64_t b = first; b < last; b++) {
    int64_t at = b * p->block * p->c;
    p->set->sums(input(call, 0) + at, input(call, 1) + at, input(call, 2), rows_of(p, b), p->c, p->c, parts(call, p, b),
                 parts(call, p, b) + p->c);
  }
}

/* sums [n] = sum over blocks of weight * part, part i of channels from c on. */
static void add_parts(const moon_call *call, const batch_plan *p, int which, int64_t c, int64_t n, bool weighted, double *sums) {
  memset(sums, 0, (size_t)n * sizeof *sums);
  for (int64_t b = 0; b < p->blocks; b++) {
    const float *part = parts(call, p, b) + which * p->c + c;
    double weight = weighted ? (double)rows_of(p, b) : 1;
    for (int64_t i = 0; i < n; i++) sums[i] += weight * (double)part[i];
  }
}

static void store(const moon_call *call, int i, int64_t c, int64_t n, const double *sums, double divisor) {
  float *y = (float *)(void *)call->out[i].data;
  for (int64_t k = 0; y && k < n; k++) y[c + k] = (float)(sums[k] / divisor);
}

static void finish_moments(const moon_call *call, int64_t first, int64_t last) {
  const batch_plan *p = call->state;
  double mean[CHANNELS], spread[CHANNELS];
  for (int64_t c = first * CHANNELS, n; c < moon__min_i64(p->c, last * CHANNELS); c += n) {
    n = moon__min_i64(CHANNELS, p->c - c);
    add_parts(call, p, 0, c, n, true, mean);
    add_parts(call, p, 1, c, n, false, spread);
    for (int64_t i = 0; i < n; i++) mean[i] /= (double)p->rows;
    for (int64_t b = 0; b < p->blocks; b++)
      for (int64_t i = 0; i < n; i++) {
        double d = (double)parts(call, p, b)[c + i] - mean[i];
        spread[i] += (double)rows_of(p, b) * d * d;
      }
    store(call, 0, c, n, mean, 1);
    store(call, 1, c, n, spread, (double)p->rows);
  }
}

static void finish_sums(const moon_call *call, int64_t first, int64_t last) {
  const batch_plan *p = call->state;
  double sums[CHANNELS];
  for (int64_t c = first * CHANNELS, n; c < moon__min_i64(p->c, last * CHANNELS); c += n) {
    n = moon__min_i64(CHANNELS, p->c - c);
    for (int i = 0; i < 2; i++) {
      add_parts(call, p, i, c, n, false, sums);
      store(call, i, c, n, sums, 1);
    }
  }
}

/* ---- Plan ---- */

bool moon__cpu_batch_has(const moon_node *node) {
  const moon_batch_norm_attrs *a = node->attrs;
  const moon_shape *x = &node->inputs[0]->type.shape;
  for (int i = 0; i < node->ninputs; i++)
    if (node->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  for (int i = 0; i < x->ndim; i++)
    if (x->dim[i] <= 0) return false;
  return a->axis == x->ndim - 1;
}
bool moon__cpu_batch_fits(const moon_fast *f) { return moon__cpu_batch_has(f->node); }

moon_status moon__cpu_batch_plan(const moon_fast *f, moon_choice *c) {
  const moon_array *x = &f->in[0];
  bool backward = f->node->op->id == MOON_OP_batch_sums;
  int64_t bytes;
  batch_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__batch_set);
  p->c = x->shape[x->ndim - 1];
  p->rows = 1;
  for (int i = 0; i + 1 < x->ndim; i++) p->rows *= x->shape[i];
  p->block = moon__min_i64(p->rows, moon__max_i64(8, BLOCK_FLOATS / (backward ? 2 : 1) / p->c));
  p->blocks = moon__ceildiv_i64(p->rows, p->block);
  if (!moon__mul_i64(p->blocks * 2, p->c, &bytes) || !moon__mul_i64(bytes, (int64_t)sizeof(float), &bytes)) return MOON_ESIZE;
  c->scratch_bytes = (size_t)bytes;
  c->kernel = backward ? MOON_ISA_TEXT(f->isa, "cpu_batch_sums_f32") : MOON_ISA_TEXT(f->isa, "cpu_batch_moments_f32");
  c->why = "one pass, channels last";
  c->dense_in = 7;
  moon__fast_phase(c, backward ? run_sums : run_moments, p->blocks);
  moon__fast_phase(c, backward ? finish_sums : finish_moments, moon__ceildiv_i64(p->c, CHANNELS));
  return MOON_OK;
}
