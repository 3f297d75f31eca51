/*
** gemm.c: f32 matmul by register tiles, as its tuning says (gemm_tuning.h). The tiles are in gemm_isa.c.
** Shape letters: a [m, k], b [k, n], c [m, n], each times a batch.
**
** b is packed into panels [n / width][k][width], all of it before or a part of a panel at a time by the job that is about to use it;
** a only when neither its rows nor its columns are contiguous. Where m n is small and
** k is long, k is cut too, and the partial products are added up in a later phase, in order. A loop that finishes the product runs
** over each block, which is on the stack then, once its sums are complete.
*/
#include "gemm_tuning.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "plain.h"
#include "tune.h"

typedef struct gemm_plan {
  const moon_gemm_set *set;
  moon_product p; /* as tiles see it */
  moon_gemm_tuning t;
  moon_product_axes axes;
  moon_gemm_form form;
  int64_t wide; /* columns of a panel */
  int64_t m_blocks, n_blocks, k_segment;
  int64_t a_packs, b_packs;            /* panels to pack of each operand */
  int64_t packs_per_job;
  int64_t a_matrices, b_matrices;      /* matrices that are packed: 1 or batch */
  size_t a_packed, b_packed, partial;  /* offsets in scratch */
  int64_t a_packed_step, b_packed_step; /* floats from one packed matrix to the next */
  int64_t sum_rows;                    /* of a job that adds up partial products for a loop */
  moon_finish *finish;                 /* behind the plan; NULL: none */
} gemm_plan;

/* Results of a job that adds up partial products; numbers packed by a job, at least: another thread would fetch fewer, and have them
** fetched back, for longer than packing takes. */
enum { SUM_BLOCK = 4096, PACK_FLOATS = 16384 };

/* ---- Tiles over panels ---- */

int moon__gemm_height(int64_t m, int most) {
  int64_t tiles = moon__ceildiv_i64(m < 1 ? 1 : m, most);
  return (int)moon__ceildiv_i64(m < 1 ? 1 : m, tiles);
}

void moon__gemm_look_ahead(moon_gemm_tile *t, const float *next, int64_t tiles) {
  bool wanted = next && tiles <= 16;
  t->ahead = wanted ? next : t->b;
  t->ahead_step = wanted ? moon__ceildiv_i64(t->b_step, tiles) : 0;
}

/* So many rows of a tile that has w vectors; there are kernels for fewer rows of a single vector. */
static void run_tile(const moon_gemm_set *set, moon_gemm_form form, int w, moon_gemm_tile t, int64_t rows) {
  int most = set->rows[w];
  for (; rows > most; rows -= most) {
    set->tile[form][w][most](&t);
    t.a += form == MOON_GEMM_ROWS ? most * t.a_step : most;
    t.c += most * t.c_step;
    if (t.start) t.start += most * t.start_step;
  }
  set->tile[form][w][rows](&t);
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
      run_tile(set, form, w, row, moon__min_i64(height, m - i));
      if (row.start) row.start += height * t.start_step;
      if (t.ahead) row.ahead += t.ahead_step * t.nsegments * t.length;
    }
    left -= t.columns;
    t.b += t.columns;
    t.c += t.columns;
    if (t.start) t.start += t.columns;
  }
}

/* ---- Phases ---- */

static int64_t batch_offset(const gemm_plan *g, const int64_t *strides, int64_t batch) {
  return moon__offset_at(g->axes.n, g->axes.size, strides, batch);
}

static const float *matrix(const moon_array *x) { return (const float *)(const void *)x->data; }
static const float *left(const gemm_plan *g, const moon_call *call) { return matrix(&call->in[g->t.turned ? 1 : 0]); }
static const float *right(const gemm_plan *g, const moon_call *call) { return matrix(&call->in[g->t.turned ? 0 : 1]); }

static void pack_b_panel(const gemm_plan *g, const moon_call *call, int64_t job) {
  const moon_product *p = &g->p;
  int64_t panels = moon__ceildiv_i64(p->n, g->wide), which = job / panels, at = job % panels * g->wide;
  const float *b = right(g, call) + batch_offset(g, g->axes.b, which) + at * p->b_column;
  float *out = (float *)(void *)(call->scratch + g->b_packed) + which * g->b_packed_step + at * p->k;
  g->set->pack(out, b, p->k, moon__min_i64(g->wide, p->n - at), p->b_row, p->b_column, g->wide);
}

static void pack_a_tile(const gemm_plan *g, const moon_call *call, int64_t job) {
  const moon_product *p = &g->p;
  int64_t height = g->t.height, tiles = moon__ceildiv_i64(p->m, height), which = job / tiles, at = job % tiles * height;
  const float *a = left(g, call) + batch_offset(g, g->axes.a, which) + at * p->a_row;
  float *out = (float *)(void *)(call->scratch + g->a_packed) + which * g->a_packed_step + at * p->k;
  g->set->pack(out, a, p->k, moon__min_i64(height, p->m - at), p->a_column, p->a_row, height);
}

static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  int64_t end = moon__min_i64(last * g->packs_per_job, g->a_packs + g->b_packs);
  for (int64_t i = first * g->packs_per_job; i < end; i++) {
    if (i < g->b_packs) pack_b_panel(g, call, i);
    else pack_a_tile(g, call, i - g->b_packs);
  }
}

/* A block of c: rows [i, i + m) and columns [j, j + n) of a product of the batch. */
typedef struct block { int64_t batch, i, j, m, n; } block;

static const float *start_of(const gemm_plan *g, const moon_call *call, const block *at, int64_t *step) {
  if (!g->finish || g->finish->start < 0) return NULL;
  const moon_finish_input *in = &g->finish->in[g->finish->start];
  *step = in->row_step;
  return matrix(&call->in[g->finish->nproduct + g->finish->start]) + (at->batch * g->p.m + at->i) * in->row_step + at->j;
}

/* Where b's columns from `column` on begin, from k on, as they lie or as they were packed before. */
static const float *columns_at(const gemm_plan *g, const moon_call *call, int64_t batch, int64_t k, int64_t column) {
  const moon_product *p = &g->p;
  if (g->t.pack_b != MOON_GEMM_PACK_ONCE)
    return right(g, call) + batch_offset(g, g->axes.b, batch) + k * p->b_row + column * p->b_column;
  const float *b = (float *)(void *)(call->scratch + g->b_packed) + (g->b_matrices > 1 ? batch : 0) * g->b_packed_step;
  return b + column * p->k + k * g->wide;
}

static const float *rows_at(const gemm_plan *g, const moon_call *call, int64_t batch, int64_t row, int64_t k) {
  const moon_product *p = &g->p;
  if (!g->t.pack_a) return left(g, call) + batch_offset(g, g->axes.a, batch) + row * p->a_row + k * p->a_column;
  const float *a = (float *)(void *)(call->scratch + g->a_packed) + (g->a_matrices > 1 ? batch : 0) * g->a_packed_step;
  return a + row * p->k + k * g->t.height;
}

/* c, the block's, over [k, k + length). */
static void multiply(const gemm_plan *g, const moon_call *call, const block *at, float *c, int64_t c_step, int64_t k, int64_t length,
                     bool add) {
  _Alignas(64) float panel[MOON_GEMM_PANEL_FLOATS];
  const moon_product *p = &g->p;
  bool packed = g->t.pack_b != MOON_GEMM_PACK_NEVER;
  int64_t a_tile = g->t.height * (g->t.pack_a ? p->k : p->a_row);
  moon_gemm_tile t = {.c_step = c_step, .nsegments = 1, .length = length, .add = add, .b_step = packed ? g->wide : p->b_row};
  const float *start = add ? NULL : start_of(g, call, at, &t.start_step);
  t.a = rows_at(g, call, at->batch, at->i, k);
  t.a_step = g->t.pack_a ? g->t.height : g->form == MOON_GEMM_ROWS ? p->a_row : p->a_column;
  for (int64_t j = 0; j < at->n; j += g->wide) {
    t.columns = moon__min_i64(g->wide, at->n - j);
    t.b = columns_at(g, call, at->batch, k, at->j + j);
    if (g->t.pack_b == MOON_GEMM_PACK_JOBS) {
      g->set->pack(panel, t.b, length, t.columns, p->b_row, p->b_column, g->wide);
      t.b = panel;
    }
    t.c = c + j;
    t.start = start ? start + j : NULL;
    moon__gemm_panel(g->set, g->form, t, at->m, g->t.height, a_tile, g->t.width, packed);
  }
}

static void stream(const gemm_plan *g, const moon_call *call, const block *at, float *c, int64_t c_step, int64_t k, int64_t length) {
  int64_t step = 0;
  const float *start = start_of(g, call, at, &step);
  for (int64_t i = 0; i < at->m; i++) {
    if (start) memcpy(c + i * c_step, start + i * step, (size_t)at->n * sizeof *c);
    else memset(c + i * c_step, 0, (size_t)at->n * sizeof *c);
  }
  g->set->stream(c, c_step, rows_at(g, call, at->batch, at->i, k), g->p.a_row, g->p.a_column, columns_at(g, call, at->batch, k, at->j),
                 g->p.b_row, at->m, at->n, length);
}

/* The block's sums over [k, end). */
static void make_sums(const gemm_plan *g, const moon_call *call, const block *at, float *c, int64_t c_step, int64_t k, int64_t end) {
  bool add = false;
  if (g->t.way == MOON_GEMM_STREAM) {
    stream(g, call, at, c, c_step, k, end - k);
    return;
  }
  if (g->t.way == MOON_GEMM_DOTS) {
    g->set->dots(c, c_step, rows_at(g, call, at->batch, at->i, k), g->p.a_row, columns_at(g, call, at->batch, k, at->j), g->p.b_column,
                 at->m, at->n, end - k);
    return;
  }
  do { /* once even where k is 0: the sums are what they start from then */
    int64_t length = moon__min_i64(g->t.k_block, end - k);
    multiply(g, call, at, c, c_step, k, length, add);
    k += length;
    add = true;
  } while (k < end);
}

static block block_of(const gemm_plan *g, int64_t job, int64_t *segment) {
  block at;
  *segment = job % g->t.segments;
  job /= g->t.segments;
  at.j = job % g->n_blocks * g->t.n_block;
  job /= g->n_blocks;
  at.i = job % g->m_blocks * g->t.m_block;
  at.batch = job / g->m_blocks;
  at.m = moon__min_i64(g->t.m_block, g->p.m - at.i);
  at.n = moon__min_i64(g->t.n_block, g->p.n - at.j);
  return at;
}

static void run_multiply(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t segment;
    block at = block_of(g, job, &segment);
    int64_t k = segment * g->k_segment, end = moon__min_i64(g->p.k, k + g->k_segment);
    float *c = (float *)(void *)call->out[0].data;
    if (g->t.segments > 1) c = (float *)(void *)(call->scratch + g->partial) + segment * g->p.batch * g->p.m * g->p.n;
    make_sums(g, call, &at, c + (at.batch * g->p.m + at.i) * g->p.n + at.j, g->p.n, k, end);
  }
}

static void run_sum(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  int64_t count = g->p.batch * g->p.m * g->p.n;
  const float *partial = (const float *)(const void *)(call->scratch + g->partial);
  moon__sum_parts((float *)(void *)call->out[0].data, partial, g->t.segments, count, moon__min_i64(count, first * SUM_BLOCK),
                  moon__min_i64(count, last * SUM_BLOCK));
}

/* ---- Phases of a product that a loop finishes ---- */

/* Makes a block's sums on the stack, the right way round; x: where they are. */
static block make_block(const gemm_plan *g, const moon_call *call, int64_t job, float *sums, const float **x) {
  int64_t segment;
  block at = block_of(g, job, &segment);
  make_sums(g, call, &at, sums, at.n, 0, g->p.k);
  *x = sums;
  if (!g->t.turned) return at;
  *x = sums + MOON_GEMM_SUM_FLOATS / 2;
  g->set->pack(sums + MOON_GEMM_SUM_FLOATS / 2, sums, at.n, at.m, 1, at.n, at.m);
  return (block){.batch = at.batch, .i = at.j, .j = at.i, .m = at.n, .n = at.m};
}

static void run_finished(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  _Alignas(64) float sums[MOON_GEMM_SUM_FLOATS];
  const float *x;
  moon_finishing r;
  int64_t rows = g->t.turned ? g->p.n : g->p.m;
  moon__finish_begin(&r, g->finish, call);
  for (int64_t job = first; job < last; job++) {
    block at = make_block(g, call, job, sums, &x);
    int64_t part = at.batch * (g->t.turned ? g->n_blocks : g->m_blocks) + at.i / (g->t.turned ? g->t.n_block : g->t.m_block);
    moon__finish_block(&r, x, at.n, at.batch * rows + at.i, at.m, at.j, at.n, part, true);
  }
}

static void run_turned(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  _Alignas(64) float sums[MOON_GEMM_SUM_FLOATS];
  const float *x;
  for (int64_t job = first; job < last; job++) {
    block at = make_block(g, call, job, sums, &x);
    float *c = (float *)(void *)call->out[0].data + (at.batch * g->p.n + at.i) * g->p.m + at.j;
    for (int64_t i = 0; i < at.m; i++, c += g->p.m, x += at.n) memcpy(c, x, (size_t)at.n * sizeof *c);
  }
}

static void run_finished_sum(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  _Alignas(64) float sums[MOON_GEMM_SUM_FLOATS];
  moon_finishing r;
  int64_t rows = g->p.batch * g->p.m;
  moon__finish_begin(&r, g->finish, call);
  for (int64_t job = first; job < last; job++) {
    int64_t row = job * g->sum_rows, n = moon__min_i64(g->sum_rows, rows - row);
    const float *partial = (const float *)(const void *)(call->scratch + g->partial) + row * g->p.n;
    moon__sum_parts(sums, partial, g->t.segments, rows * g->p.n, 0, n * g->p.n);
    moon__finish_block(&r, sums, g->p.n, row, n, 0, g->p.n, job, true);
  }
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const gemm_plan *g = call->state;
  moon__finish_combine(g->finish, call, first, last);
}

/* ---- Plan ---- */

bool moon__product_read(moon_product *p, moon_product_axes *axes, const moon_array *a, const moon_array *b) {
  int nd = a->ndim;
  if (nd < 2 || b->ndim != nd) return false;
  p->m = a->shape[nd - 2], p->k = a->shape[nd - 1], p->n = b->shape[nd - 1];
  p->a_row = a->strides[nd - 2], p->a_column = a->strides[nd - 1];
  p->b_row = b->strides[nd - 2], p->b_column = b->strides[nd - 1];
  p->batch = 1;
  axes->n = 0;
  int first = nd - 2;
  for (; first > 0 && b->strides[first - 1] == 0; first--) {
    if (a->strides[first - 1] != p->a_row * p->m && a->shape[first - 1] != 1) break;
    p->m *= a->shape[first - 1];
  }
  for (int i = 0; i < first; i++) {
    p->batch *= a->shape[i];
    axes->size[axes->n] = a->shape[i];
    axes->a[axes->n] = a->strides[i];
    axes->b[axes->n++] = b->strides[i];
  }
  return true;
}

static bool any(const int64_t *strides, int n) {
  for (int i = 0; i < n; i++)
    if (strides[i] != 0) return true;
  return false;
}

bool moon__product_a_varies(const moon_product_axes *axes) { return any(axes->a, axes->n); }
bool moon__product_b_varies(const moon_product_axes *axes) { return any(axes->b, axes->n); }

static void turn_batch(gemm_plan *g) {
  for (int i = 0; i < g->axes.n; i++) {
    int64_t keep = g->axes.a[i];
    g->axes.a[i] = g->axes.b[i];
    g->axes.b[i] = keep;
  }
}

static void count_blocks(gemm_plan *g) {
  g->m_blocks = moon__ceildiv_i64(g->p.m, g->t.m_block);
  g->n_blocks = moon__ceildiv_i64(g->p.n, g->t.n_block);
}

/* Reads the tuning: the product as tiles see it, and what follows from its numbers. */
static void take_tuning(gemm_plan *g) {
  moon_gemm_tuning *t = &g->t;
  g->p = moon__gemm_seen(&g->p, t);
  if (t->turned) turn_batch(g);
  g->wide = (int64_t)t->width * g->set->lanes;
  g->form = t->pack_a || (g->p.a_row == 1 && g->p.a_column != 1) ? MOON_GEMM_COLUMNS : MOON_GEMM_ROWS;
  g->k_segment = moon__max_i64(1, moon__ceildiv_i64(moon__ceildiv_i64(g->p.k, t->segments), t->k_block) * t->k_block);
  t->segments = moon__max_i64(1, moon__ceildiv_i64(g->p.k, g->k_segment));
  count_blocks(g);
}

/* Adds count * each floats to the scratch memory. */
static bool take(moon_choice *c, size_t *at, int64_t count, int64_t each) {
  int64_t floats;
  return moon__mul_i64(count, each, &floats) && moon__fast_scratch(c, at, floats, (int64_t)sizeof(float));
}

static bool lay_out(gemm_plan *g, moon_choice *c) {
  const moon_product *p = &g->p;
  g->a_matrices = moon__product_a_varies(&g->axes) ? p->batch : 1;
  g->b_matrices = moon__product_b_varies(&g->axes) ? p->batch : 1;
  bool pack_b = g->t.pack_b == MOON_GEMM_PACK_ONCE;
  int64_t panels = moon__ceildiv_i64(p->n, g->wide), tiles = moon__ceildiv_i64(p->m, g->t.height);
  if (!moon__mul_i64(panels * g->wide, p->k, &g->b_packed_step) || !moon__mul_i64(tiles * g->t.height, p->k, &g->a_packed_step))
    return false;
  if (pack_b) g->b_packs = g->b_matrices * panels;
  if (g->t.pack_a) g->a_packs = g->a_matrices * tiles;
  if (pack_b && !take(c, &g->b_packed, g->b_matrices, g->b_packed_step)) return false;
  if (g->t.pack_a && !take(c, &g->a_packed, g->a_matrices, g->a_packed_step)) return false;
  return g->t.segments == 1 || take(c, &g->partial, g->t.segments, p->batch * p->m * p->n);
}

/* Rows of blocks, or of jobs that add up, are the parts of a loop that reduces. */
static bool lay_out_parts(gemm_plan *g, moon_choice *c) {
  if (!g->finish || g->finish->plain) return true;
  if (g->t.segments > 1) return moon__finish_parts(g->finish, moon__ceildiv_i64(g->p.batch * g->p.m, g->sum_rows), c);
  return moon__finish_parts(g->finish, g->p.batch * (g->t.turned ? g->n_blocks : g->m_blocks), c);
}

/* Blocks of at most that many sums. */
static void fit_blocks(gemm_plan *g, int64_t most) {
  moon_gemm_tuning *t = &g->t;
  while (t->m_block * t->n_block > most) {
    if (t->n_block > 8 * g->wide || t->m_block <= t->height) t->n_block = moon__ceildiv_i64(t->n_block / 2, g->wide) * g->wide;
    else t->m_block = moon__ceildiv_i64(t->m_block / 2, t->height) * t->height;
  }
  count_blocks(g);
}

/* Plans the loop that finishes the product; blocks of sums must fit onto the stack. */
static moon_status plan_finish(const moon_fast *f, gemm_plan *g, moon_choice *c) {
  bool cut = g->t.segments > 1;
  g->finish = (moon_finish *)(void *)(g + 1);
  moon_status s = moon__finish_plan(f, g->finish, g->t.way != MOON_GEMM_DOTS && !g->t.turned && !cut, c);
  if (s != MOON_OK || (g->finish->plain && !cut)) return s;
  if (g->finish->plain || (cut && g->p.n > MOON_GEMM_SUM_FLOATS)) return MOON_EUNSUPPORTED;
  fit_blocks(g, MOON_GEMM_SUM_FLOATS);
  g->sum_rows = moon__max_i64(1, SUM_BLOCK / g->p.n);
  return MOON_OK;
}

static void add_phases(gemm_plan *g, moon_choice *c) {
  bool finish = g->finish && !g->finish->plain, cut = g->t.segments > 1;
  int64_t rows = g->p.batch * g->p.m, jobs = g->p.batch * g->m_blocks * g->n_blocks * g->t.segments;
  int64_t packs = g->a_packs + g->b_packs, panel = g->b_packs ? g->wide : g->t.height;
  g->packs_per_job = moon__max_i64(1, PACK_FLOATS / moon__max_i64(1, panel * g->p.k));
  if (packs > 0) moon__fast_phase(c, run_pack, moon__ceildiv_i64(packs, g->packs_per_job));
  moon__fast_phase(c, finish && !cut ? run_finished : g->t.turned ? run_turned : run_multiply, jobs);
  if (cut && finish) moon__fast_phase(c, run_finished_sum, moon__ceildiv_i64(rows, g->sum_rows));
  else if (cut) moon__fast_phase(c, run_sum, moon__ceildiv_i64(rows * g->p.n, SUM_BLOCK));
  if (finish && g->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(g->finish));
}

static const char *reason(const moon_gemm_tuning *t) {
  if (t->way == MOON_GEMM_DOTS) return "few rows: dots";
  if (t->way == MOON_GEMM_STREAM) return "few rows: b once";
  if (t->turned) return "turned";
  return t->pack_b == MOON_GEMM_PACK_ONCE ? "packed b" : t->pack_b == MOON_GEMM_PACK_JOBS ? "b packed by jobs" : "b as it lies";
}

/* What the table says of these sizes takes the place of the cost model's numbers. */
static const char *tune(const moon_fast *f, gemm_plan *g) {
  static const char *const forms[2][2][2][2] = {{{{"nn", "nn+"}, {"nt", "nt+"}}, {{"tn", "tn+"}, {"tt", "tt+"}}},
                                                {{{"rnn", "rnn+"}, {"rnt", "rnt+"}}, {{"rtn", "rtn+"}, {"rtt", "rtt+"}}}};
  static const moon_dial dials[] = {{"pack", 3, {0, 1, 2}},
                                    {"width", 2, {2, 4}},
                                    {"tiles", 6, {1, 2, 4, 8, 16, 32}},
                                    {"panels", 6, {1, 2, 4, 8, 16, 32}},
                                    {"depth", 4, {64, 128, 256, 512}},
                                    {"segments", 4, {1, 2, 4, 8}}};
  enum { PACK, WIDTH, TILES, PANELS, DEPTH, SEGMENTS, N };
  moon_gemm_tuning t = g->t;
  moon_product p = moon__gemm_seen(&g->p, &t);
  if (t.way != MOON_GEMM_TILES || p.k == 0) return NULL;
  moon_tune_key key = {.op = MOON_OP_matmul, .dtype = MOON_DTYPE_f32, .nsizes = 4, .size = {p.m, p.n, p.k, p.batch}};
  key.form = forms[t.turned][p.a_column != 1][p.b_column != 1][p.finished];
  const int32_t own[N] = {(int32_t)t.pack_b, t.width, (int32_t)(t.m_block / t.height), (int32_t)(t.n_block / (t.width * g->set->lanes)),
                          (int32_t)t.k_block, (int32_t)t.segments};
  int32_t v[N];
  memcpy(v, own, sizeof v);
  const char *words = moon__tune_ask(f->ctx, f->device, &key, N, dials, v);
  if (memcmp(v, own, sizeof v) == 0) return words;
  t.pack_b = (moon_gemm_packing)v[PACK];
  t.width = v[WIDTH];
  if (v[WIDTH] != own[WIDTH]) t.height = moon__gemm_height(p.m, g->set->rows[t.width]);
  t.m_block = (int64_t)v[TILES] * t.height;
  t.n_block = (int64_t)v[PANELS] * t.width * g->set->lanes;
  t.k_block = v[DEPTH];
  t.segments = v[SEGMENTS];
  if (moon__gemm_fit(g->set, &g->p, &t)) g->t = t;
  return words;
}

bool moon__cpu_matmul_fits(const moon_fast *f) {
  moon_product p;
  moon_product_axes axes;
  return f->in[0].dtype == MOON_DTYPE_f32 && f->out[0].dtype == MOON_DTYPE_f32 && moon__product_read(&p, &axes, &f->in[0], &f->in[1]);
}

moon_status moon__cpu_matmul_plan(const moon_fast *f, moon_choice *c) {
  gemm_plan *g = moon__fast_state(f, c, sizeof *g + (f->epilogue ? sizeof *g->finish : 0));
  if (!g) return MOON_EMEMORY;
  g->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  moon__product_read(&g->p, &g->axes, &f->in[0], &f->in[1]);
  g->p.finished = f->epilogue != NULL;
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_matmul_f32");
  if (g->p.m == 0 || g->p.n == 0 || g->p.batch == 0) return f->epilogue ? MOON_EUNSUPPORTED : MOON_OK; /* nothing to compute */
  moon__gemm_choose(g->set, &g->p, &g->t);
  const char *tuned = tune(f, g);
  take_tuning(g);
  if (g->t.turned) fit_blocks(g, MOON_GEMM_SUM_FLOATS / 2);
  if (f->epilogue) {
    moon_status s = plan_finish(f, g, c);
    if (s != MOON_OK) return s;
  }
  if (!lay_out(g, c) || !lay_out_parts(g, c)) return MOON_ESIZE;
  add_phases(g, c);
  c->why = reason(&g->t);
  c->tuned = tuned;
  return MOON_OK;
}
