/*
** gemm.c: f32 matmul by register tiles: which operands are packed, how the product is cut into jobs. The tiles are in gemm_isa.c.
** Shape letters: a [m, k], b [k, n], c [m, n], each times a batch.
**
** b is packed into panels [n / width][k][width] when it is used often enough to pay for it or its columns do not lie side by side;
** a only when neither its rows nor its columns are contiguous. Where m n is small and
** k is long, k is cut too, and the partial products are added up in a later phase, in order. A loop that finishes the product runs
** over each block, which is on the stack then, once its sums are complete.
*/
#include "gemm.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "plain.h"

typedef struct gemm_plan {
  const moon_gemm_set *set;
  int64_t m, n, k, batch;
  int nbatch;
  int64_t batch_size[MOON_MAX_DIMS], a_batch[MOON_MAX_DIMS], b_batch[MOON_MAX_DIMS]; /* outermost first */
  int64_t a_row, a_column, b_row, b_column;
  bool pack_a, pack_b, dots, stream;
  bool turned; /* a is the operand b turned round, b is a: the product is computed as its transpose, block by block */
  moon_gemm_form form;
  int width, height;
  int64_t m_block, n_block, k_block, k_segment, m_blocks, n_blocks, segments;
  int64_t a_packs, b_packs;            /* panels to pack of each operand */
  int64_t packs_per_job;
  int64_t a_matrices, b_matrices;      /* matrices that are packed: 1 or batch */
  size_t a_packed, b_packed, partial;  /* offsets in scratch */
  int64_t a_bytes_step, b_bytes_step;  /* floats from one packed matrix to the next */
  int64_t sum_rows;                    /* of a job that adds up partial products for a loop */
  moon_finish *finish;                 /* behind the plan; NULL: none */
} gemm_plan;

/* Sums on the stack, at most; results of a job that adds up partial products; numbers packed by a job, at least: another thread would
** fetch fewer, and have them fetched back, for longer than packing takes. */
enum { BLOCK_FLOATS = 16384, SUM_BLOCK = 4096, PACK_FLOATS = 16384 };

/* ---- Tiles over panels ---- */

int moon__gemm_height(int64_t m, int most) {
  int64_t tiles = moon__ceildiv_i64(m < 1 ? 1 : m, most);
  return (int)moon__ceildiv_i64(m < 1 ? 1 : m, tiles);
}

void moon__gemm_panel(const moon_gemm_set *set, moon_gemm_form form, moon_gemm_tile t, int64_t m, int height, int64_t a_tile,
                      int width, bool padded) {
  int64_t left = t.columns;
  while (left > 0) {
    int w = width;
    while (w > 1 && (padded ? w / 2 * set->lanes >= left : w * set->lanes > left)) w /= 2;
    if (w == 1 && !padded && left < set->lanes) w = 0;
    t.columns = moon__min_i64(left, (w ? w : 1) * set->lanes);
    moon_gemm_tile row = t;
    for (int64_t i = 0; i < m; i += height, row.a += a_tile, row.c += height * t.c_step) {
      set->tile[form][w][moon__min_i64(height, m - i)](&row);
      if (row.start) row.start += height * t.start_step;
    }
    left -= t.columns;
    t.b += t.columns;
    t.c += t.columns;
    if (t.start) t.start += t.columns;
  }
}

/* ---- Phases ---- */

static int64_t batch_offset(const gemm_plan *p, const int64_t *strides, int64_t batch) {
  return moon__offset_at(p->nbatch, p->batch_size, strides, batch);
}

static const float *matrix(const moon_array *x) { return (const float *)(const void *)x->data; }
static const float *left(const gemm_plan *p, const moon_call *call) { return matrix(&call->in[p->turned ? 1 : 0]); }
static const float *right(const gemm_plan *p, const moon_call *call) { return matrix(&call->in[p->turned ? 0 : 1]); }
static int64_t panel_columns(const gemm_plan *p) { return (int64_t)p->width * p->set->lanes; }

static void pack_b_panel(const gemm_plan *p, const moon_call *call, int64_t job) {
  int64_t wide = panel_columns(p), panels = moon__ceildiv_i64(p->n, wide), which = job / panels, at = job % panels * wide;
  const float *b = right(p, call) + batch_offset(p, p->b_batch, which) + at * p->b_column;
  float *out = (float *)(void *)(call->scratch + p->b_packed) + which * p->b_bytes_step + at * p->k;
  p->set->pack(out, b, p->k, moon__min_i64(wide, p->n - at), p->b_row, p->b_column, wide);
}

static void pack_a_tile(const gemm_plan *p, const moon_call *call, int64_t job) {
  int64_t tiles = moon__ceildiv_i64(p->m, p->height), which = job / tiles, at = job % tiles * p->height;
  const float *a = left(p, call) + batch_offset(p, p->a_batch, which) + at * p->a_row;
  float *out = (float *)(void *)(call->scratch + p->a_packed) + which * p->a_bytes_step + at * p->k;
  p->set->pack(out, a, p->k, moon__min_i64(p->height, p->m - at), p->a_column, p->a_row, p->height);
}

static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  int64_t end = moon__min_i64(last * p->packs_per_job, p->a_packs + p->b_packs);
  for (int64_t i = first * p->packs_per_job; i < end; i++) {
    if (i < p->b_packs) pack_b_panel(p, call, i);
    else pack_a_tile(p, call, i - p->b_packs);
  }
}

/* A block of c: rows [i, i + m) and columns [j, j + n) of a product of the batch. */
typedef struct block { int64_t batch, i, j, m, n; } block;

static const float *start_of(const gemm_plan *p, const moon_call *call, const block *at, int64_t *step) {
  if (!p->finish || p->finish->start < 0) return NULL;
  const moon_finish_input *in = &p->finish->in[p->finish->start];
  *step = in->row_step;
  return matrix(&call->in[p->finish->nproduct + p->finish->start]) + (at->batch * p->m + at->i) * in->row_step + at->j;
}

/* c, the block's, over [k, k + length). */
static void multiply(const gemm_plan *p, const moon_call *call, const block *at, float *c, int64_t c_step, int64_t k, int64_t length,
                     bool add) {
  int64_t wide = panel_columns(p), a_tile = p->height * p->a_row;
  moon_gemm_tile t = {.c_step = c_step, .nsegments = 1, .length = length, .add = add};
  const float *start = add ? NULL : start_of(p, call, at, &t.start_step);
  t.a_step = p->form == MOON_GEMM_ROWS ? p->a_row : p->a_column;
  if (p->pack_a) {
    t.a = (float *)(void *)(call->scratch + p->a_packed) + (p->a_matrices > 1 ? at->batch : 0) * p->a_bytes_step + at->i * p->k +
          k * p->height;
    t.a_step = p->height;
    a_tile = p->height * p->k;
  } else {
    t.a = left(p, call) + batch_offset(p, p->a_batch, at->batch) + at->i * p->a_row + k * p->a_column;
  }
  const float *b = right(p, call) + batch_offset(p, p->b_batch, at->batch) + k * p->b_row + at->j * p->b_column;
  if (p->pack_b)
    b = (float *)(void *)(call->scratch + p->b_packed) + (p->b_matrices > 1 ? at->batch : 0) * p->b_bytes_step + at->j * p->k +
        k * wide;
  t.b_step = p->pack_b ? wide : p->b_row;
  for (int64_t j = 0; j < at->n; j += wide) {
    t.b = p->pack_b ? b + j * p->k : b + j;
    t.c = c + j;
    t.start = start ? start + j : NULL;
    t.columns = moon__min_i64(wide, at->n - j);
    moon__gemm_panel(p->set, p->form, t, at->m, p->height, a_tile, p->width, p->pack_b);
  }
}

/* The block's sums over [k, end). */
static void make_sums(const gemm_plan *p, const moon_call *call, const block *at, float *c, int64_t c_step, int64_t k, int64_t end) {
  bool add = false;
  if (p->stream) {
    int64_t step = 0;
    const float *start = start_of(p, call, at, &step);
    for (int64_t i = 0; i < at->m; i++) {
      if (start) memcpy(c + i * c_step, start + i * step, (size_t)at->n * sizeof *c);
      else memset(c + i * c_step, 0, (size_t)at->n * sizeof *c);
    }
    const float *a = left(p, call) + batch_offset(p, p->a_batch, at->batch) + at->i * p->a_row + k * p->a_column;
    const float *b = right(p, call) + batch_offset(p, p->b_batch, at->batch) + k * p->b_row + at->j;
    p->set->stream(c, c_step, a, p->a_row, p->a_column, b, p->b_row, at->m, at->n, end - k);
    return;
  }
  if (p->dots) {
    const float *a = left(p, call) + batch_offset(p, p->a_batch, at->batch) + at->i * p->a_row;
    const float *b = right(p, call) + batch_offset(p, p->b_batch, at->batch) + at->j * p->b_column;
    p->set->dots(c, c_step, a, p->a_row, b, p->b_column, at->m, at->n, p->k);
    return;
  }
  do { /* once even where k is 0: the sums are what they start from then */
    int64_t length = moon__min_i64(p->k_block, end - k);
    multiply(p, call, at, c, c_step, k, length, add);
    k += length;
    add = true;
  } while (k < end);
}

static block block_of(const gemm_plan *p, int64_t job, int64_t *segment) {
  block at;
  *segment = job % p->segments;
  job /= p->segments;
  at.j = job % p->n_blocks * p->n_block;
  job /= p->n_blocks;
  at.i = job % p->m_blocks * p->m_block;
  at.batch = job / p->m_blocks;
  at.m = moon__min_i64(p->m_block, p->m - at.i);
  at.n = moon__min_i64(p->n_block, p->n - at.j);
  return at;
}

static void run_multiply(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t segment;
    block at = block_of(p, job, &segment);
    int64_t k = segment * p->k_segment, end = moon__min_i64(p->k, k + p->k_segment);
    float *c = (float *)(void *)call->out[0].data;
    if (p->segments > 1) c = (float *)(void *)(call->scratch + p->partial) + segment * p->batch * p->m * p->n;
    make_sums(p, call, &at, c + (at.batch * p->m + at.i) * p->n + at.j, p->n, k, end);
  }
}

static void run_sum(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  int64_t count = p->batch * p->m * p->n;
  const float *partial = (const float *)(const void *)(call->scratch + p->partial);
  moon__sum_parts((float *)(void *)call->out[0].data, partial, p->segments, count, moon__min_i64(count, first * SUM_BLOCK),
                  moon__min_i64(count, last * SUM_BLOCK));
}

/* ---- Phases of a product that a loop finishes ---- */

/* Makes a block's sums on the stack, the right way round; x: where they are. */
static block make_block(const gemm_plan *p, const moon_call *call, int64_t job, float *sums, const float **x) {
  int64_t segment;
  block at = block_of(p, job, &segment);
  make_sums(p, call, &at, sums, at.n, 0, p->k);
  *x = sums;
  if (!p->turned) return at;
  *x = sums + BLOCK_FLOATS / 2;
  p->set->pack(sums + BLOCK_FLOATS / 2, sums, at.n, at.m, 1, at.n, at.m);
  return (block){.batch = at.batch, .i = at.j, .j = at.i, .m = at.n, .n = at.m};
}

static void run_finished(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  _Alignas(64) float sums[BLOCK_FLOATS];
  const float *x;
  moon_finishing r;
  int64_t rows = p->turned ? p->n : p->m;
  moon__finish_begin(&r, p->finish, call);
  for (int64_t job = first; job < last; job++) {
    block at = make_block(p, call, job, sums, &x);
    int64_t part = at.batch * (p->turned ? p->n_blocks : p->m_blocks) + at.i / (p->turned ? p->n_block : p->m_block);
    moon__finish_block(&r, x, at.n, at.batch * rows + at.i, at.m, at.j, at.n, part, true);
  }
}

static void run_turned(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  _Alignas(64) float sums[BLOCK_FLOATS];
  const float *x;
  for (int64_t job = first; job < last; job++) {
    block at = make_block(p, call, job, sums, &x);
    float *c = (float *)(void *)call->out[0].data + (at.batch * p->n + at.i) * p->m + at.j;
    for (int64_t i = 0; i < at.m; i++, c += p->m, x += at.n) memcpy(c, x, (size_t)at.n * sizeof *c);
  }
}

static void run_finished_sum(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  _Alignas(64) float sums[BLOCK_FLOATS];
  moon_finishing r;
  int64_t rows = p->batch * p->m;
  moon__finish_begin(&r, p->finish, call);
  for (int64_t job = first; job < last; job++) {
    int64_t row = job * p->sum_rows, n = moon__min_i64(p->sum_rows, rows - row);
    const float *partial = (const float *)(const void *)(call->scratch + p->partial) + row * p->n;
    moon__sum_parts(sums, partial, p->segments, rows * p->n, 0, n * p->n);
    moon__finish_block(&r, sums, p->n, row, n, 0, p->n, job, true);
  }
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* ---- Plan ---- */

static bool read_shapes(gemm_plan *p, const moon_array *a, const moon_array *b) {
  int nd = a->ndim;
  if (nd < 2 || b->ndim != nd) return false;
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  p->a_row = a->strides[nd - 2], p->a_column = a->strides[nd - 1];
  p->b_row = b->strides[nd - 2], p->b_column = b->strides[nd - 1];
  p->batch = 1;
  for (int i = nd - 3; i >= 0; i--) { /* one b for the whole batch: its axes are more rows of a, where they lie so */
    bool inner = p->nbatch == 0;
    if (inner && b->strides[i] == 0 && (a->strides[i] == p->a_row * p->m || a->shape[i] == 1)) {
      p->m *= a->shape[i];
      continue;
    }
    p->batch *= a->shape[i];
    p->batch_size[p->nbatch] = a->shape[i];
    p->a_batch[p->nbatch] = a->strides[i];
    p->b_batch[p->nbatch++] = b->strides[i];
  }
  for (int i = 0, j = p->nbatch - 1; i < j; i++, j--) {
    int64_t s = p->batch_size[i], x = p->a_batch[i], y = p->b_batch[i];
    p->batch_size[i] = p->batch_size[j], p->a_batch[i] = p->a_batch[j], p->b_batch[i] = p->b_batch[j];
    p->batch_size[j] = s, p->a_batch[j] = x, p->b_batch[j] = y;
  }
  return true;
}

static void swap_i64(int64_t *x, int64_t *y) {
  int64_t keep = *x;
  *x = *y;
  *y = keep;
}

/* Rows of b that lie along k are read in place as the rows of the product turned round, b' a'; a, the smaller, is packed instead. */
static void turn(gemm_plan *p) {
  p->turned = true;
  swap_i64(&p->m, &p->n);
  swap_i64(&p->a_row, &p->b_column);
  swap_i64(&p->a_column, &p->b_row);
  for (int i = 0; i < p->nbatch; i++) swap_i64(&p->a_batch[i], &p->b_batch[i]);
}

static void choose_tiles(gemm_plan *p) {
  const moon_gemm_set *set = p->set;
  int64_t lanes = set->lanes;
  bool b_rows = p->b_column == 1 || p->n == 1;
  p->dots = p->m <= 3 && p->a_column == 1 && !b_rows && p->b_row == 1;
  p->stream = p->m <= MOON_GEMM_STREAM_ROWS && b_rows && p->k > 1;
  if (!p->dots && !b_rows && p->b_row == 1 && p->m < p->n / 2) turn(p);
  p->width = p->n <= lanes ? 1 : p->m <= set->rows[4] && p->n > 2 * lanes ? 4 : 2;
  /* Rows that fall onto the same sets of the first-level cache: no more of them than it has ways to spare. */
  bool same_sets = p->a_column == 1 && p->a_row % 512 == 0 && set->rows[p->width] > 8;
  p->height = moon__gemm_height(p->m, same_sets ? 8 : set->rows[p->width]);
  p->pack_b = !p->dots && !p->stream && (p->turned || !b_rows || p->m > 40 * set->rows[2]);
  p->form = p->a_row == 1 && p->a_column != 1 ? MOON_GEMM_COLUMNS : MOON_GEMM_ROWS;
  bool contiguous = p->a_row == 1 || p->a_column == 1;
  p->pack_a = !p->dots && !p->stream && !p->turned && !contiguous;
  if (p->pack_a) p->form = MOON_GEMM_COLUMNS;
}

/* Microseconds: operations at the speed of the tiles, or bytes of b from memory. */
static double job_us(const gemm_plan *p, double m, double n, double k) {
  double rate = p->set->lanes == 16 ? 220e3 : p->set->lanes == 8 ? 110e3 : 25e3;
  double flops = 2.0 * m * n * k / rate, bytes = 4.0 * n * k / 40e3;
  return flops > bytes ? flops : bytes;
}

/* What blocks of so many tiles and panels cost two cores: work of the largest parts, operands that pass by from the third-level
** cache, calls. */
static double blocks_us(const gemm_plan *p, int64_t m_block, int64_t n_block) {
  double m_blocks = (double)moon__ceildiv_i64(p->m, m_block), n_blocks = (double)moon__ceildiv_i64(p->n, n_block);
  double jobs = m_blocks * n_blocks * (double)p->batch, k = (double)p->k;
  double us = job_us(p, (double)m_block, (double)n_block, k), whole = job_us(p, (double)p->m, (double)p->n, k) * (double)p->batch;
  if (us > 60) return 1e18 * us;
  double half = jobs > 1 ? 2 + (jobs / 2 + (jobs < 16 ? 0.5 : 0)) * us : us, most = jobs > 1 && whole / 2 > half ? whole / 2 : half;
  double a_bytes = 4 * (double)m_block * k, b_bytes = 4 * (double)n_block * k;
  double passes = a_bytes < 500e3 ? m_blocks : jobs / (double)p->batch; /* a block of a stays in the second-level cache */
  return most + (passes * a_bytes + m_blocks * n_blocks * b_bytes) * (double)p->batch / 2 / 100e3 + jobs * 0.15;
}

static void choose_blocks(gemm_plan *p) {
  int64_t wide = panel_columns(p), tiles = moon__ceildiv_i64(p->m, p->height), panels = moon__ceildiv_i64(p->n, wide);
  bool few = !p->pack_b && !p->dots && p->m <= p->set->rows[4]; /* b passes by once, row after row */
  double best = -1;
  p->k_block = few ? 16 : moon__ceildiv_i64(p->k, moon__ceildiv_i64(moon__max_i64(p->k, 1), 1024));
  if (p->dots) p->k_block = p->k;
  if (p->stream) p->k_block = moon__min_i64(p->k, 256);
  if (p->k_block < 1) p->k_block = 1;
  for (int64_t t = 1;; t = moon__min_i64(tiles, t < 4 ? t + 1 : t + t / 2)) {
    for (int64_t q = 1;; q = moon__min_i64(panels, q < 4 ? q + 1 : q + q / 2)) {
      double us = blocks_us(p, t * p->height, q * wide);
      if (best < 0 || us < best) {
        best = us;
        p->m_block = t * p->height;
        p->n_block = q * wide;
      }
      if (q == panels) break;
    }
    if (t == tiles) break;
  }
  if (p->stream) p->n_block = moon__min_i64(p->n_block, 2048);
  p->m_blocks = moon__ceildiv_i64(p->m, p->m_block);
  p->n_blocks = moon__ceildiv_i64(p->n, p->n_block);
  double us = job_us(p, (double)p->m_block, (double)p->n_block, (double)p->k);
  p->segments = 1;
  if (us > 60 && p->batch * p->m_blocks * p->n_blocks < 64 && !p->dots && !p->turned)
    p->segments = moon__min_i64((int64_t)(us / 30), moon__ceildiv_i64(p->k, 2 * p->k_block));
  if (p->segments < 1) p->segments = 1;
  p->k_segment = moon__ceildiv_i64(moon__ceildiv_i64(p->k, p->segments), p->k_block) * p->k_block;
  if (p->k_segment < 1) p->k_segment = 1;
  p->segments = moon__max_i64(1, moon__ceildiv_i64(p->k, p->k_segment));
}

/* Adds count * each floats to the scratch memory. */
static bool take(size_t *scratch, size_t *at, int64_t count, int64_t each) {
  int64_t floats, bytes;
  *at = *scratch;
  if (!moon__mul_i64(count, each, &floats) || !moon__mul_i64(floats, 4, &bytes)) return false;
  size_t whole;
  return moon__align_size((size_t)bytes, 64, &whole) && moon__add_size(*scratch, whole, scratch);
}

static bool lay_out(gemm_plan *p, moon_choice *c) {
  bool a_varies = false, b_varies = false;
  for (int i = 0; i < p->nbatch; i++) {
    a_varies |= p->a_batch[i] != 0;
    b_varies |= p->b_batch[i] != 0;
  }
  p->a_matrices = a_varies ? p->batch : 1;
  p->b_matrices = b_varies ? p->batch : 1;
  int64_t wide = panel_columns(p), panels = moon__ceildiv_i64(p->n, wide), tiles = moon__ceildiv_i64(p->m, p->height);
  if (!moon__mul_i64(panels * wide, p->k, &p->b_bytes_step) || !moon__mul_i64(tiles * p->height, p->k, &p->a_bytes_step))
    return false;
  if (p->pack_b) p->b_packs = p->b_matrices * panels;
  if (p->pack_a) p->a_packs = p->a_matrices * tiles;
  if (p->pack_b && !take(&c->scratch_bytes, &p->b_packed, p->b_matrices, p->b_bytes_step)) return false;
  if (p->pack_a && !take(&c->scratch_bytes, &p->a_packed, p->a_matrices, p->a_bytes_step)) return false;
  if (p->segments > 1 && !take(&c->scratch_bytes, &p->partial, p->segments, p->batch * p->m * p->n)) return false;
  return true;
}

/* Blocks of at most that many sums. */
static void fit_blocks(gemm_plan *p, int64_t most) {
  int64_t wide = panel_columns(p);
  while (p->m_block * p->n_block > most) {
    if (p->n_block > 8 * wide || p->m_block <= p->height) p->n_block = moon__ceildiv_i64(p->n_block / 2, wide) * wide;
    else p->m_block = moon__ceildiv_i64(p->m_block / 2, p->height) * p->height;
  }
  p->m_blocks = moon__ceildiv_i64(p->m, p->m_block);
  p->n_blocks = moon__ceildiv_i64(p->n, p->n_block);
}

/* Plans the loop that finishes the product; blocks of sums must fit onto the stack. */
static moon_status plan_finish(const moon_fast *f, gemm_plan *p, moon_choice *c) {
  p->finish = (moon_finish *)(void *)(p + 1);
  moon_status s = moon__finish_plan(f, p->finish, !p->dots && !p->turned && p->segments == 1, c);
  if (s != MOON_OK || (p->finish->plain && p->segments == 1)) return s;
  if (p->finish->plain || (p->segments > 1 && p->n > BLOCK_FLOATS)) return MOON_EUNSUPPORTED;
  fit_blocks(p, BLOCK_FLOATS);
  p->sum_rows = moon__max_i64(1, SUM_BLOCK / p->n);
  return MOON_OK;
}

static void add_phases(gemm_plan *p, moon_choice *c) {
  bool finish = p->finish && !p->finish->plain, cut = p->segments > 1;
  int64_t packs = p->a_packs + p->b_packs, panel = p->b_packs ? panel_columns(p) : p->height;
  p->packs_per_job = moon__max_i64(1, PACK_FLOATS / moon__max_i64(1, panel * p->k));
  if (packs > 0) moon__fast_phase(c, run_pack, moon__ceildiv_i64(packs, p->packs_per_job));
  moon__fast_phase(c, finish && !cut ? run_finished : p->turned ? run_turned : run_multiply, p->batch * p->m_blocks * p->n_blocks * p->segments);
  if (cut && finish) moon__fast_phase(c, run_finished_sum, moon__ceildiv_i64(p->batch * p->m, p->sum_rows));
  else if (cut) moon__fast_phase(c, run_sum, moon__ceildiv_i64(p->batch * p->m * p->n, SUM_BLOCK));
  if (finish && p->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(p->finish));
}

bool moon__cpu_matmul_fits(const moon_fast *f) {
  gemm_plan p = {0};
  return f->in[0].dtype == MOON_DTYPE_f32 && f->out[0].dtype == MOON_DTYPE_f32 && read_shapes(&p, &f->in[0], &f->in[1]);
}

moon_status moon__cpu_matmul_plan(const moon_fast *f, moon_choice *c) {
  gemm_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0));
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  read_shapes(p, &f->in[0], &f->in[1]);
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_matmul_f32");
  if (p->m == 0 || p->n == 0 || p->batch == 0) return f->epilogue ? MOON_EUNSUPPORTED : MOON_OK; /* nothing to compute */
  choose_tiles(p);
  choose_blocks(p);
  if (p->turned) fit_blocks(p, BLOCK_FLOATS / 2);
  if (f->epilogue) {
    moon_status s = plan_finish(f, p, c);
    if (s != MOON_OK) return s;
  }
  if (!lay_out(p, c)) return MOON_ESIZE;
  int64_t parts = p->segments > 1 ? moon__ceildiv_i64(p->batch * p->m, p->sum_rows) : p->batch * (p->turned ? p->n_blocks : p->m_blocks);
  if (p->finish && !moon__finish_parts(p->finish, parts, c)) return MOON_ESIZE;
  add_phases(p, c);
  c->why = p->dots ? "few rows: dots" : p->stream ? "few rows: b once" : p->turned ? "turned, packed a" : p->pack_b ? "packed b" : "b as it lies";
  return MOON_OK;
}
