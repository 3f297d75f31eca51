/*
** attention_fast.c: attention and its gradient block by block of queries and keys, after FlashAttention (Dao et al., 2022, algorithms
** 1 and 4): scores live on the stack, nothing of size t s is stored. Letters: q [b, h, t, d], k [b, h, s, d], v [b, h, s, e]; heads
** are counted through b and h.
**
** Forward: a job is a block of queries of one head; rows keep a running maximum and sum. Backward, phase after phase: the maximum and
** sum of each row again; for a block of keys, over all queries, dk and dv; for a block of queries, over all keys, dq, unless one block
** holds all keys: then dq came along. What is read and written is rows of contiguous numbers, wherever each row lies: heads may stand
** beside each other. Keys and values are first packed as the right-hand sides of products. Few queries (a decoder's) read the keys where they lie instead.
*/
#include "attention_fast.h"

#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "base/size.h"
#include "gemm.h"
#include "ops/attrs.h"

enum { QUERIES = 28, KEYS = 128, FEW = 3 }; /* KEYS: whole vectors */

typedef struct attention_plan {
  const moon_gemm_set *gemm;
  const moon_attention_set *set;
  int64_t b, h, t, s, d, e;
  float scale, hidden; /* hidden: a score that weighs nothing */
  bool causal, few;
  int mask;             /* input, or -1 */
  int64_t mask_step[4];
  int64_t panel, keys_panels; /* columns of a packed panel; panels for all keys */
  int64_t query_blocks, key_blocks, heads_per_job;
  size_t k_packed, v_packed, shift, sums; /* offsets in scratch; shift, sums [heads, t] */
} attention_plan;

/* A head's matrix of an operand, and the distance of its rows. at NULL: nobody uses that output. */
typedef struct matrix { float *at; int64_t step; } matrix;

static matrix head_of(const attention_plan *p, const moon_array *x, int64_t head) {
  float *at = (float *)(void *)x->data;
  return (matrix){at ? at + head / p->h * x->strides[0] + head % p->h * x->strides[1] : NULL, x->strides[2]};
}

/* Its rows from row `first` on; `rows` of them become zeros. */
static matrix clear_rows(matrix m, int64_t first, int64_t rows, int64_t columns) {
  if (m.at) m.at += first * m.step;
  for (int64_t r = 0; m.at && r < rows; r++) memset(m.at + r * m.step, 0, (size_t)columns * sizeof *m.at);
  return m;
}

static float *scratch(const moon_call *call, size_t offset) { return (float *)(void *)(call->scratch + offset); }

/* c [m, n] (+)= a b: a's k contiguous (turned: its rows), b as it lies or a packed panel. */
static void product(const attention_plan *p, float *c, int64_t c_step, const float *a, int64_t a_step, bool turned, const float *b,
                    int64_t b_step, bool packed, int64_t m, int64_t n, int64_t k, bool add) {
  int width = packed || n > p->gemm->lanes ? 2 : 1, height = moon__gemm_height(m, p->gemm->rows[width]);
  int64_t wide = width * p->gemm->lanes;
  for (int64_t j = 0; j < n; j += wide) {
    moon_gemm_tile tile = {.a = a, .b = packed ? b + j * k : b + j, .c = c + j, .a_step = a_step, .b_step = packed ? wide : b_step,
                           .c_step = c_step, .nsegments = 1, .length = k, .columns = moon__min_i64(wide, n - j), .add = add};
    moon__gemm_panel(p->gemm, turned ? MOON_GEMM_COLUMNS : MOON_GEMM_ROWS, tile, m, height, turned ? height : height * a_step, width,
                     packed);
  }
}

/* Scores that nobody may see, and those that fill up the last vector. queries [i, i + m), keys [j, j + n) */
static void hide(const attention_plan *p, const moon_call *call, float *s, int64_t s_step, int64_t head, int64_t i, int64_t m,
                 int64_t j, int64_t n) {
  int64_t whole = moon__ceildiv_i64(n, p->gemm->lanes) * p->gemm->lanes;
  for (int64_t r = 0; r < m; r++)
    for (int64_t c = p->causal ? moon__min_i64(n, moon__max_i64(0, i + r + 1 - j)) : n; c < whole; c++) s[r * s_step + c] = p->hidden;
  if (p->mask < 0) return;
  const uint8_t *mask = (const uint8_t *)call->in[p->mask].data + head / p->h * p->mask_step[0] + head % p->h * p->mask_step[1];
  for (int64_t r = 0; r < m; r++)
    for (int64_t c = 0; c < n; c++)
      if (!mask[(i + r) * p->mask_step[2] + (j + c) * p->mask_step[3]]) s[r * s_step + c] = p->hidden;
}

/* Keys that queries [i, i + m) may see lie before this one. */
static int64_t seen_keys(const attention_plan *p, int64_t i, int64_t m) {
  return p->causal ? moon__min_i64(p->s, i + m) : p->s;
}

static void make_scores(const attention_plan *p, const moon_call *call, float *s, int64_t head, int64_t i, int64_t m, int64_t j,
                        int64_t n) {
  matrix q = head_of(p, &call->in[0], head), k = head_of(p, &call->in[1], head);
  if (p->few) {
    p->gemm->dots(s, KEYS, q.at + i * q.step, q.step, k.at + j * k.step, k.step, m, n, p->d);
  } else {
    const float *packed = scratch(call, p->k_packed) + (head * p->keys_panels * p->panel + j) * p->d;
    product(p, s, KEYS, q.at + i * q.step, q.step, false, packed, 0, true, m, n, p->d, false);
  }
  hide(p, call, s, KEYS, head, i, m, j, n);
}

/* ---- Forward ---- */

static void attend(const attention_plan *p, const moon_call *call, int64_t head, int64_t i) {
  _Alignas(64) float s[QUERIES * KEYS];
  float most[QUERIES], sum[QUERIES];
  int64_t m = moon__min_i64(QUERIES, p->t - i), end = seen_keys(p, i, m);
  matrix v = head_of(p, &call->in[2], head), y = clear_rows(head_of(p, &call->out[0], head), i, m, p->e);
  for (int64_t r = 0; r < m; r++) {
    most[r] = -INFINITY;
    sum[r] = 0;
  }
  for (int64_t j = 0; j < end; j += KEYS) {
    int64_t n = moon__min_i64(KEYS, end - j);
    make_scores(p, call, s, head, i, m, j, n);
    for (int64_t r = 0; r < m; r++) {
      float keep = p->set->weigh(s + r * KEYS, n, p->scale, &most[r], &sum[r]);
      if (j > 0) p->set->multiply(y.at + r * y.step, p->e, keep);
    }
    if (p->few) p->gemm->stream(y.at, y.step, s, KEYS, 1, v.at + j * v.step, v.step, m, p->e, n);
    else product(p, y.at, y.step, s, KEYS, false, v.at + j * v.step, v.step, false, m, p->e, n, j > 0);
  }
  for (int64_t r = 0; r < m; r++) p->set->multiply(y.at + r * y.step, p->e, sum[r] != 0 ? 1 / sum[r] : 0);
}

static void run_forward(const moon_call *call, int64_t first, int64_t last) {
  const attention_plan *p = call->state;
  int64_t heads = p->b * p->h;
  for (int64_t job = first; job < last; job++) {
    int64_t head = job / p->query_blocks * p->heads_per_job, end = moon__min_i64(heads, head + p->heads_per_job);
    for (; head < end; head++) attend(p, call, head, job % p->query_blocks * QUERIES);
  }
}

/* One job packs the keys, and for the gradient the values, of a head. */
static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const attention_plan *p = call->state;
  bool both = call->nout > 1;
  for (int64_t head = first; head < last; head++) {
    matrix k = head_of(p, &call->in[1], head), v = head_of(p, &call->in[2], head);
    for (int64_t j = 0; j < p->s; j += p->panel) {
      int64_t n = moon__min_i64(p->panel, p->s - j), at = head * p->keys_panels * p->panel + j;
      p->gemm->pack(scratch(call, p->k_packed) + at * p->d, k.at + j * k.step, p->d, n, 1, k.step, p->panel);
      if (both) p->gemm->pack(scratch(call, p->v_packed) + at * p->e, v.at + j * v.step, p->e, n, 1, v.step, p->panel);
    }
  }
}

/* ---- Backward ---- */

enum { Y = 3, DY = 4 };

/* Of each query: what its scores are shifted by, and the sum over dy y. */
static void run_shifts(const moon_call *call, int64_t first, int64_t last) {
  const attention_plan *p = call->state;
  _Alignas(64) float s[QUERIES * KEYS];
  for (int64_t job = first; job < last; job++) {
    int64_t head = job / p->query_blocks, i = job % p->query_blocks * QUERIES, m = moon__min_i64(QUERIES, p->t - i);
    float *shift = scratch(call, p->shift) + head * p->t + i, *sums = scratch(call, p->sums) + head * p->t + i, sum[QUERIES];
    matrix y = head_of(p, &call->in[Y], head), dy = head_of(p, &call->in[DY], head);
    for (int64_t r = 0; r < m; r++) {
      shift[r] = -INFINITY;
      sum[r] = 0;
      p->gemm->dots(sums + r, 1, y.at + (i + r) * y.step, 0, dy.at + (i + r) * dy.step, 0, 1, 1, p->e);
    }
    for (int64_t j = 0, end = seen_keys(p, i, m); j < end; j += KEYS) {
      int64_t n = moon__min_i64(KEYS, end - j);
      make_scores(p, call, s, head, i, m, j, n);
      for (int64_t r = 0; r < m; r++) p->set->weigh(s + r * KEYS, n, p->scale, &shift[r], &sum[r]);
    }
    for (int64_t r = 0; r < m; r++) shift[r] = sum[r] != 0 ? shift[r] + p->set->log(sum[r]) : INFINITY;
  }
}

/* Weights w and slopes of the scores ds for queries [i, i + m) and keys [j, j + n). */
static void make_slopes(const attention_plan *p, const moon_call *call, float *w, float *ds, int64_t head, int64_t i, int64_t m,
                        int64_t j, int64_t n) {
  matrix dy = head_of(p, &call->in[DY], head);
  const float *shift = scratch(call, p->shift) + head * p->t + i, *sums = scratch(call, p->sums) + head * p->t + i;
  const float *packed = scratch(call, p->v_packed) + (head * p->keys_panels * p->panel + j) * p->e;
  make_scores(p, call, w, head, i, m, j, n);
  product(p, ds, KEYS, dy.at + i * dy.step, dy.step, false, packed, 0, true, m, n, p->e, false);
  for (int64_t r = 0; r < m; r++) {
    p->set->repeat(w + r * KEYS, n, p->scale, shift[r]);
    p->set->slope(ds + r * KEYS, w + r * KEYS, n, sums[r], p->scale);
  }
}

/* Keys [j, j + n) of a head over all queries; where these are all keys, dq comes from the same scores. A block of queries sees the
** keys before its last query, so the sums begin at 0 and not with the first block. */
static void back_keys(const attention_plan *p, const moon_call *call, int64_t head, int64_t j, int64_t n) {
  _Alignas(64) float w[QUERIES * KEYS], ds[QUERIES * KEYS];
  matrix q = head_of(p, &call->in[0], head), k = head_of(p, &call->in[1], head), dy = head_of(p, &call->in[DY], head);
  matrix dk = clear_rows(head_of(p, &call->out[1], head), j, n, p->d), dv = clear_rows(head_of(p, &call->out[2], head), j, n, p->e);
  matrix dq = head_of(p, &call->out[0], head);
  for (int64_t i = p->causal ? j / QUERIES * QUERIES : 0; i < p->t; i += QUERIES) {
    int64_t m = moon__min_i64(QUERIES, p->t - i), seen = moon__min_i64(n, seen_keys(p, i, m) - j);
    make_slopes(p, call, w, ds, head, i, m, j, seen);
    if (dv.at) product(p, dv.at, dv.step, w, KEYS, true, dy.at + i * dy.step, dy.step, false, seen, p->e, m, true);
    if (dk.at) product(p, dk.at, dk.step, ds, KEYS, true, q.at + i * q.step, q.step, false, seen, p->d, m, true);
    if (dq.at && p->key_blocks == 1)
      product(p, dq.at + i * dq.step, dq.step, ds, KEYS, false, k.at, k.step, false, m, p->d, seen, false);
  }
}

static void run_keys(const moon_call *call, int64_t first, int64_t last) {
  const attention_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t j = job % p->key_blocks * KEYS;
    back_keys(p, call, job / p->key_blocks, j, moon__min_i64(KEYS, p->s - j));
  }
}

static void run_queries(const moon_call *call, int64_t first, int64_t last) {
  const attention_plan *p = call->state;
  _Alignas(64) float w[QUERIES * KEYS], ds[QUERIES * KEYS];
  for (int64_t job = first; job < last && call->out[0].data; job++) {
    int64_t head = job / p->query_blocks, i = job % p->query_blocks * QUERIES, m = moon__min_i64(QUERIES, p->t - i);
    matrix k = head_of(p, &call->in[1], head), dq = head_of(p, &call->out[0], head);
    for (int64_t j = 0, end = seen_keys(p, i, m); j < end; j += KEYS) {
      int64_t n = moon__min_i64(KEYS, end - j);
      make_slopes(p, call, w, ds, head, i, m, j, n);
      product(p, dq.at + i * dq.step, dq.step, ds, KEYS, false, k.at + j * k.step, k.step, false, m, p->d, n, j > 0);
    }
  }
}

/* ---- Plan ---- */

bool moon__cpu_attention_has(const moon_node *node) {
  if (node->op->id != MOON_OP_attention && node->op->id != MOON_OP_attention_grad) return false;
  double scale = ((const moon_attention_attrs *)node->attrs)->scale;
  if (node->inputs[0]->type.dtype != MOON_DTYPE_f32 || (scale != 0 && (float)scale == 0)) return false;
  for (int i = 0; i < node->ninputs; i++) {
    int64_t count;
    if (!moon__shape_count_known(&node->inputs[i]->type.shape, &count) || count == 0) return false;
  }
  return true;
}

bool moon__cpu_attention_fits(const moon_fast *f) { return moon__cpu_attention_has(f->node); }

static void read_mask(attention_plan *p, const moon_fast *f, int input) {
  p->mask = f->nin > input ? input : -1;
  if (p->mask < 0) return;
  const moon_array *x = &f->in[input];
  for (int i = 0; i < x->ndim; i++) p->mask_step[4 - x->ndim + i] = x->shape[i] == 1 ? 0 : x->strides[i];
}

/* Adds [heads, rows, columns] floats to the scratch memory. */
static bool take(moon_choice *c, size_t *at, int64_t heads, int64_t rows, int64_t columns) {
  int64_t n;
  size_t bytes;
  *at = c->scratch_bytes;
  if (!moon__mul_i64(heads, rows, &n) || !moon__mul_i64(n, columns, &n) || !moon__mul_i64(n, 4, &n)) return false;
  return moon__align_size((size_t)n, 64, &bytes) && moon__add_size(c->scratch_bytes, bytes, &c->scratch_bytes);
}

moon_status moon__cpu_attention_plan(const moon_fast *f, moon_choice *c) {
  attention_plan *p = moon__fast_state(f, c, sizeof *p);
  const moon_attention_attrs *a = f->node->attrs;
  bool backward = f->node->op->id == MOON_OP_attention_grad;
  if (!p) return MOON_EMEMORY;
  p->gemm = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->set = MOON_ISA_PICK(f->isa, moon__attention_set);
  p->b = f->in[0].shape[0], p->h = f->in[0].shape[1], p->t = f->in[0].shape[2], p->d = f->in[0].shape[3];
  p->s = f->in[1].shape[2], p->e = f->in[2].shape[3];
  p->scale = a->scale != 0 ? (float)a->scale : (float)(1 / sqrt((double)p->d));
  p->hidden = p->scale < 0 ? INFINITY : -INFINITY;
  p->causal = a->causal;
  read_mask(p, f, backward ? 5 : 3);
  p->few = !backward && p->t <= FEW;
  p->panel = 2 * p->gemm->lanes;
  p->keys_panels = moon__ceildiv_i64(p->s, p->panel);
  p->query_blocks = moon__ceildiv_i64(p->t, QUERIES);
  p->key_blocks = moon__ceildiv_i64(p->s, KEYS);
  double head_us = (double)(moon__min_i64(p->t, QUERIES) * p->s) * (double)(p->d + p->e) / 100e3;
  p->heads_per_job = head_us < 4 ? (int64_t)(8 / (head_us + 0.1)) : 1;
  for (int i = 0; i < (backward ? 5 : 3); i++)
    if (f->in[i].shape[3] > 1 && f->in[i].strides[3] != 1) c->dense_in |= (uint64_t)1 << i;
  c->ordered_out = backward ? 7 : 1;
  int64_t heads = p->b * p->h;
  if (!p->few && !take(c, &p->k_packed, heads, p->keys_panels * p->panel, p->d)) return MOON_ESIZE;
  if (!p->few) moon__fast_phase(c, run_pack, heads);
  c->kernel = backward ? MOON_ISA_TEXT(f->isa, "cpu_attention_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_attention_f32");
  c->why = p->few ? "few queries" : "blocks of scores";
  if (!backward) {
    moon__fast_phase(c, run_forward, moon__ceildiv_i64(heads, p->heads_per_job) * p->query_blocks);
    return MOON_OK;
  }
  if (!take(c, &p->v_packed, heads, p->keys_panels * p->panel, p->e) || !take(c, &p->shift, heads, p->t, 1) ||
      !take(c, &p->sums, heads, p->t, 1))
    return MOON_ESIZE;
  moon__fast_phase(c, run_shifts, heads * p->query_blocks);
  moon__fast_phase(c, run_keys, heads * p->key_blocks);
  if (p->key_blocks > 1) moon__fast_phase(c, run_queries, heads * p->query_blocks);
  return MOON_OK;
}
