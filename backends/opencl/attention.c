/*
** attention.c: attention and its gradient on CPU devices, block by block of queries and keys, after FlashAttention (Dao et al., 2022,
** algorithms 1 and 4): nothing of size t s is stored. A work-item takes panels of NB queries, turned so that queries are lanes: scores
** are rows of vectors, [keys][NB], and maxima and sums are made for all queries at once, never across lanes. Keys, values, queries
** and gradients are read where they lie, rows of contiguous numbers: heads may stand beside each other. Few queries, halves and other
** devices are left to the body. Letters: q [b, h, t, d], k [b, h, s, d], v [b, h, s, e].
*/
#include <math.h>

#include "base/shape.h"
#include "base/size.h"
#include "ops/attrs.h"
#include "tile.h"

/* KEYS: of a block, whole tiles. FEW: queries that are no panel. */
enum { KEYS = 128, FEW = 4 };
enum { Q, K, V, FORWARD_MASK };
enum { G_Y = 3, G_DY, G_MASK };
enum { DQ, DK, DV };

/* product: x [rows][NB] = a b, a's terms contiguous, b [terms][NB]; x has room for whole tiles.
** add: y [rows, columns] += a b, columns contiguous; those of b beyond the last whole panel are copied to `rest`.
** turn: y [d][NB] = up to NB rows of x, turned, times a number.
** hide: of scores x [n][NB] of queries from i and keys from j, those that nobody may see. They are functions that stay functions:
** inlined, they take almost twice as long to build and run no faster. */
#define PART __attribute__((noinline)) static void
#define ATTENTION_PARTS                                                                                                       \
  PART product(__global T *x, __global const T *from, long step, long rows, long terms, __global const T *b) {                \
    for (long r = 0; r < rows; r += MR) {                                                                                     \
      __global const T *a[MR]; __global const T *w = b;                                                                       \
      UNROLL for (int i = 0; i < MR; i++) a[i] = from + min(r + i, rows - 1) * step;                                          \
      MOON_CL_TILE_BEGIN                                                                                                      \
      for (long j = 0; j < terms; j++) MOON_CL_TILE_STEP(a[i][j])                                                             \
      UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int q = 0; q < NV; q++) VSTORE(acc[i][q], (r + i) * NV + q, x); }     \
    }                                                                                                                         \
  }                                                                                                                           \
  PART add(__global T *y, long y_step, long rows, long columns, __global const T *from, long row_step, long term_step,        \
                  __global const T *b, long b_step, long terms, __global T *rest) {                                           \
    for (long c = 0; c < columns; c += NB) {                                                                                  \
      const bool cut = columns - c < NB; const long skip = cut ? 0 : b_step - NB;                                             \
      for (long j = 0; cut && j < terms; j++)                                                                                 \
        for (int l = 0; l < NB; l++) rest[j * NB + l] = c + l < columns ? b[j * b_step + c + l] : 0;                          \
      for (long r = 0; r < rows; r += MR) {                                                                                   \
        __global const T *a[MR]; __global const T *w = cut ? rest : b + c;                                                    \
        UNROLL for (int i = 0; i < MR; i++) a[i] = from + (r + i) * row_step;                                                 \
        MOON_CL_TILE_BEGIN                                                                                                    \
        for (long j = 0; j < terms; j++) { MOON_CL_TILE_STEP(a[i][j * term_step]) w += skip; }                                \
        __global T *to = y + r * y_step + c;                                                                                  \
        MOON_CL_TILE_STORE(rows - r, to + i * y_step, columns - c, true)                                                      \
      }                                                                                                                       \
    }                                                                                                                         \
  }                                                                                                                           \
  PART turn(__global T *y, __global const T *x, long step, long d, long rows, T by) {                                         \
    MOON_CL_PACK_PANEL(x, 1, step, d, rows, y)                                                                                \
    for (long j = 0; j < d * NB; j++) y[j] *= by;                                                                             \
  }                                                                                                                           \
  PART hide(__global T *x, long n, long i, long j, long rows, bool causal, __global const uchar *mask, long row_step,         \
                   long key_step) {                                                                                           \
    for (long r = max(0L, i + 1 - j); causal && r < n; r++)                                                                   \
      for (long l = 0; l < min((long)NB, j + r - i); l++) x[r * NB + l] = LOWEST;                                             \
    for (long r = 0; mask && r < n; r++)                                                                                      \
      for (long l = 0; l < rows; l++)                                                                                         \
        if (!mask[(i + l) * row_step + (j + r) * key_step]) x[r * NB + l] = LOWEST;                                           \
  }                                                                                                                           \
  static void multiply(__global T *y, long n, T by) {                                                                         \
    for (long c = 0; c < n; c++) y[c] *= by;                                                                                  \
  }                                                                                                                           \
  static void clear(__global T *y, long step, long rows, long n) {                                                            \
    for (long r = 0; r < rows; r++) for (long c = 0; c < n; c++) y[r * step + c] = 0;                                         \
  }

/* p: t s d e h, causal, a mask is there, bits of the scale, pieces of work in all and of a head, keys of a block and of a piece, byte
** where the shifts of the scores are, or, forward, -1; byte where the places of work-items begin, numbers of one; steps of the mask;
** byte of each piece's dq, or -1; from 20 on steps of batch, head and row of q k v y dy dq dk dv.
** HEAD(n, i): a head of operand n, the one that stands in this place of the list. */
#define ATTENTION_NUMBERS(scratch)                                                                                            \
  const long t = p.v[0]; const long s = p.v[1]; const long d = p.v[2]; const long e = p.v[3];                                 \
  const bool causal = p.v[5]; const long all = p.v[8]; const long of_head = p.v[9]; const long keys = p.v[10];                \
  const long items = get_global_size(0); const long item = get_global_id(0);                                                  \
  union { long bits; T number; } scale;                                                                                       \
  scale.bits = p.v[7];                                                                                                        \
  __global T *shifts = (__global T *)(mem##scratch + off##scratch + p.v[12]);                                                 \
  __global T *x = (__global T *)(mem##scratch + off##scratch + p.v[13]) + item * p.v[14];                                     \
  __global T *turned = x + keys * NB;
#define EACH_WORK for (long work = item * all / items; work < (item + 1) * all / items; work++)
#define ATTENTION_HEAD(mask_operand)                                                                                          \
  const long head = work / of_head; const long batch = head / p.v[4]; const long of_batch = head % p.v[4];                    \
  __global const uchar *mask = p.v[6] ? AT(const uchar, mask_operand) + batch * p.v[15] + of_batch * p.v[16] : 0;
#define STEP(i) p.v[22 + 3 * i]
#define HEAD(n, i) (AT(T, n) + batch * p.v[20 + 3 * i] + of_batch * p.v[21 + 3 * i])

/* Work is a panel of queries: rows of y, or what their scores are shifted by, so that their weights sum to 1. Operands: q k v mask y,
** scratch. */
static const char forward_text[] = CL_(
  ATTENTION_PARTS
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), OPERAND(4), OPERAND(5), PARAMS, REST) {
    START
    ATTENTION_NUMBERS(5)
    const bool shifts_only = p.v[12] >= 0;
    EACH_WORK {
      ATTENTION_HEAD(3)
      const long i = work % of_head * NB; const long rows = min((long)NB, t - i); const long end = causal ? min(s, i + rows) : s;
      __global T *y = HEAD(4, 3) + i * STEP(3);
      V top[NV]; V sum[NV]; T by[NB];
      UNROLL for (int q = 0; q < NV; q++) { top[q] = (V)(LOWEST); sum[q] = (V)(0); }
      turn(turned, HEAD(0, 0) + i * STEP(0), STEP(0), d, rows, scale.number);
      if (!shifts_only) clear(y, STEP(3), rows, e);
      for (long j = 0; j < end; j += keys) {
        const long n = min(keys, end - j);
        product(x, HEAD(1, 1) + j * STEP(1), STEP(1), n, d, turned);
        hide(x, n, i, j, rows, causal, mask, p.v[17], p.v[18]);
        UNROLL for (int q = 0; q < NV; q++) {
          V high = top[q]; V more = (V)(0);
          for (long r = 0; r < n; r++) { const V score = VLOAD(r * NV + q, x); high = MAX(high, score); }
          const V shift = high == (V)(LOWEST) ? (V)(0) : high; const V keep = exp(top[q] - shift);
          for (long r = 0; r < n; r++) {
            const V w = exp(VLOAD(r * NV + q, x) - shift);
            VSTORE(w, r * NV + q, x);
            more += w;
          }
          sum[q] = sum[q] * keep + more;
          top[q] = high;
          VSTORE(keep, q, by);
        }
        if (shifts_only) continue;
        for (long r = 0; j > 0 && r < rows; r++) multiply(y + r * STEP(3), e, by[r]);
        add(y, STEP(3), rows, e, x, 1, NB, HEAD(2, 2) + j * STEP(2), STEP(2), n, turned + d * NB);
      }
      UNROLL for (int q = 0; q < NV; q++) {
        const V last = shifts_only ? top[q] + log(sum[q]) : 1 / sum[q];
        VSTORE(sum[q] == (V)(0) ? (V)(shifts_only ? -LOWEST : 0) : last, q, by);
      }
      for (long r = 0; r < rows; r++) {
        if (shifts_only) shifts[head * t + i + r] = by[r];
        else multiply(y + r * STEP(3), e, by[r]);
      }
    }
  }
);

/* Work is a piece of the keys of a head: their dk and dv, and what they give to dq, over all queries. Operands: q k v y dy mask, dq dk
** dv, scratch. z: slopes of the scores x. */
static const char back_text[] = CL_(
  ATTENTION_PARTS
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), OPERAND(4), OPERAND(5), OPERAND(6), OPERAND(7), OPERAND(8),
                  OPERAND(9), PARAMS, REST) {
    START
    ATTENTION_NUMBERS(9)
    __global T *z = turned + (d + e) * NB; __global T *rest = z + keys * NB;
    EACH_WORK {
      ATTENTION_HEAD(5)
      const long piece = work % of_head; const long first = piece * p.v[11]; const long last = min(s, first + p.v[11]);
      const long dq_step = p.v[19] < 0 ? STEP(5) : d;
      __global T *dq = p.v[19] < 0 ? HEAD(6, 5) : (__global T *)(mem9 + off9 + p.v[19]) + (piece * (all / of_head) + head) * t * d;
      if (mem7) clear(HEAD(7, 6) + first * STEP(6), STEP(6), last - first, d);
      if (mem8) clear(HEAD(8, 7) + first * STEP(7), STEP(7), last - first, e);
      for (long i = 0; i < t; i += NB) {
        const long rows = min((long)NB, t - i); const long end = causal ? min(last, i + rows) : last;
        __global const T *q = HEAD(0, 0) + i * STEP(0); __global const T *dy = HEAD(4, 4) + i * STEP(4);
        T shift[NB]; T sum[NB];
        if (mem6) clear(dq + i * dq_step, dq_step, rows, d);
        if (end <= first) continue;
        turn(turned, q, STEP(0), d, rows, scale.number);
        turn(turned + d * NB, dy, STEP(4), e, rows, 1);
        for (long r = 0; r < NB; r++) {
          __global const T *y = HEAD(3, 3) + (i + r) * STEP(3);
          shift[r] = r < rows ? shifts[head * t + i + r] : -LOWEST;
          sum[r] = 0;
          for (long c = 0; r < rows && c < e; c++) sum[r] += y[c] * dy[r * STEP(4) + c];
        }
        for (long j = first; j < end; j += keys) {
          const long n = min(keys, end - j);
          __global const T *k = HEAD(1, 1) + j * STEP(1);
          product(x, k, STEP(1), n, d, turned);
          hide(x, n, i, j, rows, causal, mask, p.v[17], p.v[18]);
          product(z, HEAD(2, 2) + j * STEP(2), STEP(2), n, e, turned + d * NB);
          for (long at = 0; at < n * NV; at++) {
            const V w = exp(VLOAD(at, x) - VLOAD(at % NV, shift));
            VSTORE(w, at, x);
            VSTORE(w * (VLOAD(at, z) - VLOAD(at % NV, sum)) * scale.number, at, z);
          }
          if (mem8) add(HEAD(8, 7) + j * STEP(7), STEP(7), n, e, x, NB, 1, dy, STEP(4), rows, rest);
          if (mem7) add(HEAD(7, 6) + j * STEP(6), STEP(6), n, d, z, NB, 1, q, STEP(0), rows, rest);
          if (mem6) add(dq + i * dq_step, dq_step, rows, d, z, 1, NB, k, STEP(1), n, rest);
        }
      }
    }
  }
);

bool moon__cl_attention_has(const moon_cl_device *d, const moon_node *node) {
  bool back = node->op->id == MOON_OP_attention_grad;
  if (!d->wide || (!back && node->op->id != MOON_OP_attention) || moon__dtype_is_half(node->inputs[Q]->type.dtype)) return false;
  for (int i = 0; i < node->ninputs; i++) {
    int64_t count;
    if (!moon__shape_count_known(&node->inputs[i]->type.shape, &count) || count == 0) return false;
  }
  return node->inputs[Q]->type.shape.dim[2] > FEW;
}

/* ---- Numbers of a kernel; the enum: places of those that it is told last ---- */

enum { PIECES_ALL = 8, PIECES, PIECE_KEYS = 11, SHIFTS, PLACES, PLACE, MASK_STEPS, PARTS = 19, STEPS, NUMBERS = STEPS + 3 * 8 };

static void put_steps(int64_t *p, int at, const moon_array *x) {
  for (int i = 0; i < 3; i++) p[STEPS + 3 * at + i] = x->strides[i];
}

/* What both kernels are told. */
static void put_numbers(const moon_cl_choice *c, int64_t *p) {
  const moon_attention_attrs *a = c->node->attrs;
  const moon_array *q = &c->in[Q], *k = &c->in[K], *v = &c->in[V];
  bool back = c->nout > 1;
  int mask = back ? G_MASK : FORWARD_MASK;
  double scale = a->scale != 0 ? a->scale : 1 / sqrt((double)q->shape[3]);
  const int64_t first[8] = {q->shape[2], k->shape[2], q->shape[3], v->shape[3],
                            q->shape[1], a->causal,   c->nin > mask, moon__cl_bits(q->dtype, scale)};
  for (int i = 0; i < 8; i++) p[i] = first[i];
  p[10] = KEYS;
  p[SHIFTS] = p[PARTS] = -1;
  for (int i = 0; i < 3; i++) put_steps(p, i, &c->in[i]);
  put_steps(p, 3, back ? &c->in[G_Y] : &c->out[0]);
  for (int i = 0; back && i < 4; i++) put_steps(p, 4 + i, i ? &c->out[i - 1] : &c->in[G_DY]);
  for (int i = 0; c->nin > mask && i < c->in[mask].ndim; i++) {
    const moon_array *m = &c->in[mask];
    p[MASK_STEPS + 4 - m->ndim + i] = m->shape[i] == 1 ? 0 : m->strides[i];
  }
}

static int64_t heads_of(const moon_array *q) { return q->shape[0] * q->shape[1]; }

/* Adds n numbers to scratch; *at: the byte where they begin. */
static bool take(moon_cl_choice *c, int64_t n, int64_t *at) {
  size_t bytes, *all = &c->choice->scratch_bytes;
  *at = (int64_t)*all;
  return moon__mul_size((size_t)n, moon_dtype_bytes(c->out[0].dtype), &bytes) && moon__align_size(bytes, 64, &bytes) &&
         moon__add_size(*all, bytes, all);
}

/* Work-items for so many pieces of work, and places in scratch for them. */
static bool take_places(moon_cl_choice *c, int64_t *p, int64_t work, int64_t numbers, size_t *items) {
  *items = (size_t)moon__min_i64(work, 4 * (int64_t)c->d->units);
  p[PIECES_ALL] = work;
  p[PLACE] = (numbers + 15) / 16 * 16;
  return take(c, (int64_t)*items * p[PLACE], &p[PLACES]);
}

/* ---- Steps ---- */

/* y, or with p[SHIFTS] set the shifts of the scores. */
static bool add_forward(moon_cl_choice *c, const moon_cl_tile *t, int64_t *p) {
  bool back = c->nout > 1;
  int mask = back ? G_MASK : FORWARD_MASK;
  int64_t nb = moon__cl_tile_columns(t);
  const int operands[6] = {Q, K, V, c->nin > mask ? mask : Q, back ? G_Y : c->nin, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 6, .operands = operands, .nparams = NUMBERS, .params = p, .global = {0, 1, 1}, .large = true};
  p[PIECES] = moon__ceildiv_i64(p[0], nb);
  return take_places(c, p, heads_of(&c->in[Q]) * p[PIECES], (2 * KEYS + p[2]) * nb, &s.global[0]) &&
         moon__cl_add_tile(c, t, c->out[0].dtype, forward_text, &s);
}

/* Where heads are too few for all processors, their keys are cut; each piece has a dq of its own. */
static bool add_back(moon_cl_choice *c, const moon_cl_tile *t, int64_t *p) {
  int64_t heads = heads_of(&c->in[Q]), nb = moon__cl_tile_columns(t), blocks = moon__ceildiv_i64(p[1], KEYS);
  int64_t pieces = moon__min_i64(blocks, moon__ceildiv_i64(2 * (int64_t)c->d->units, heads)), count = moon__cl_count(&c->out[DQ]);
  const int operands[10] = {Q, K, V, G_Y, G_DY, c->nin > G_MASK ? G_MASK : Q, c->nin + DQ, c->nin + DK, c->nin + DV, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 10, .operands = operands, .nparams = NUMBERS, .params = p, .global = {0, 1, 1}, .large = true};
  p[PIECE_KEYS] = moon__ceildiv_i64(blocks, pieces) * KEYS;
  p[PIECES] = pieces = moon__ceildiv_i64(p[1], p[PIECE_KEYS]);
  if (pieces > 1 && (count > INT64_MAX / pieces || !take(c, count * pieces, &p[PARTS]))) return false;
  return take_places(c, p, heads * pieces, (3 * KEYS + p[2] + p[3]) * nb, &s.global[0]) &&
         moon__cl_add_tile(c, t, c->out[0].dtype, back_text, &s) &&
         (pieces == 1 || moon__cl_add_sum(c, DQ, count, pieces, (size_t)p[PARTS]));
}

static moon_cl_tile tile_of(const moon_cl_device *d, moon_dtype dtype) {
  bool wide = d->vector_bytes >= 64;
  return (moon_cl_tile){.rows = wide ? 8 : 4, .vectors = wide ? 2 : 1, .lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
}

static bool add_attention(moon_cl_choice *c) {
  bool back = c->nout > 1;
  int64_t p[NUMBERS] = {0};
  moon_cl_tile t = tile_of(c->d, c->out[0].dtype);
  if (!moon__cl_begin(c, back ? "opencl_attention_grad" : "opencl_attention", true)) return false;
  for (int i = 0; i < (back ? 5 : 3); i++)
    if (c->in[i].shape[3] > 1 && c->in[i].strides[3] != 1) c->choice->dense_in |= (uint64_t)1 << i;
  put_numbers(c, p);
  c->choice->ordered_out = 1;
  if (!back) return add_forward(c, &t, p);
  if (!take(c, heads_of(&c->in[Q]) * p[0], &p[SHIFTS]) || !add_forward(c, &t, p) || !add_back(c, &t, p)) return false;
  c->choice->ordered_out = p[PIECES] > 1 ? 1u << DK | 1u << DV : 1u << DQ | 1u << DK | 1u << DV;
  return true;
}

static bool select_attention(moon_cl_choice *c, moon_status *s) {
  if (!moon__cl_attention_has(c->d, c->node)) return false;
  *s = moon__cl_end(c, add_attention(c));
  return true;
}

const moon_cl_family moon__cl_attention = {select_attention};
