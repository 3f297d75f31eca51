/*
** matmul.c: the matrix product: a [.., m, k], b [.., k, n] -> y [.., m, n], batch axes alike. Kernels: register tiles for
** floats on CPUs and two for few rows, tiles in local memory for f32 on GPUs, and a plain one for all else.
*/
#include "base/shape.h"
#include "base/size.h"
#include "local.h"
#include "tile.h"
#include "tune.h"

/* ---- Any dtypes: an element of y at a time. p: m n k count ---- */
static const char plain_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    __global const T0 *a = AT(const T0, 0);
    __global const T0 *b = AT(const T0, 1);
    const long m = p.v[0]; const long n = p.v[1]; const long k = p.v[2];
    EACH(i, p.v[3], 256) {
      const long column = i % n; const long row = i / n;
      __global const T0 *x = a + row * k;
      __global const T0 *w = b + row / m * k * n + column;
      SUM sum = 0;
      for (long j = 0; j < k; j++) sum += (SUM)x[j] * (SUM)w[j * n];
      AT(T2, 2)[i] = (T2)sum;
    }
  }
);

static bool add_plain(moon_cl_choice *c) {
  const moon_array *a = &c->in[0], *y = &c->out[0];
  int64_t count = moon__cl_count(y), p[4] = {y->shape[y->ndim - 2], y->shape[y->ndim - 1], a->shape[a->ndim - 1], count};
  return moon__cl_begin(c, "opencl_matmul", false) && moon__cl_add(c, plain_text, p, 4, count, 256);
}

/* ---- CPUs. Work is cut into blocks of y, some row tiles by some panels of columns. A work-item takes block after block, each a piece
** of k after the other; it packs the panels of b, one at a time, into a place of its own in scratch, where they stay in a near cache.
** a is read where it lies, or, where its rows are neighbours, packed for the block. ---- */

/* PIECE: of k; ITEM: multiplications that are worth a work-item; STREAM: of few rows, see there. */
enum { PIECE = 512, ITEM = 65536, STREAM_COLUMNS = 4096, STREAM_SEGMENTS = 4, STREAM_LEAST = 65536 };

/* p: m n k, steps of a: rows, k, batch, of b: k, columns, batch; row tiles and panels of a block, blocks down and along, blocks in all,
** numbers of a work-item's place, whether a and b are packed, piece of k. */
static const char tile_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {
    START
    const long m = p.v[0]; const long n = p.v[1]; const bool a_packed = p.v[15];
    const long row_step = a_packed ? 1 : p.v[3]; const long k_step = a_packed ? MR : p.v[4];
    __global T *panel_at = AT(T, 3) + get_global_id(0) * p.v[14]; __global T *a_at = panel_at + p.v[17] * NB;
    for (long block = get_global_id(0); block < p.v[13]; block += get_global_size(0)) {
      const long batch = block / (p.v[11] * p.v[12]);
      const long first = block / p.v[12] % p.v[11] * p.v[9] * MR; const long last = min(m, first + p.v[9] * MR);
      const long begin = block % p.v[12] * p.v[10] * NB; const long end = min(n, begin + p.v[10] * NB);
      for (long at = 0; at < p.v[2]; at += p.v[17]) {
        const long k = min(p.v[17], p.v[2] - at);
        __global const T *from = AT(const T, 0) + batch * p.v[5] + at * p.v[4];
        for (long row = first; a_packed && row < last; row += MR) {
          __global const T *x = from + row; __global T *z = a_at + (row - first) * k;
          const long whole = row + (MR + L - 1) / L * L <= m ? k : 0;
          for (long j = 0; j < whole; j++) { UNROLL for (int i = 0; i < MR; i += L) VSTORE(VLOAD(0, x + j * p.v[4] + i), 0, z + j * MR + i); }
          for (long j = whole; j < k; j++) { UNROLL for (int i = 0; i < MR; i++) z[j * MR + i] = x[j * p.v[4] + min((long)i, m - 1 - row)]; }
        }
        for (long column = begin; column < end; column += NB) {
          __global const T *b = AT(const T, 1) + batch * p.v[8] + at * p.v[6] + column * p.v[7];
          const bool packed = p.v[16] || n - column < NB;
          if (packed) MOON_CL_PACK_PANEL(b, p.v[6], p.v[7], k, n - column, panel_at)
          const long skip = packed ? 0 : p.v[6] - NB;
          for (long row = first; row < last; row += MR) {
            __global const T *w = packed ? panel_at : b;
            __global const T *a[MR];
            UNROLL for (int i = 0; i < MR; i++)
              a[i] = a_packed ? a_at + (row - first) * k + i : from + min(row + i, m - 1) * row_step;
            MOON_CL_TILE_BEGIN
            for (long j = 0; j < k; j++) {
              MOON_CL_TILE_STEP(a[i][j * k_step])
              w += skip;
            }
            __global T *y = AT(T, 2) + (batch * m + row) * n + column;
            MOON_CL_TILE_STORE(m - row, y + i * n, n - column, at > 0)
          }
        }
      }
    }
  }
);

/* Few rows by columns that lie one after the other: four columns of y at a time. p: fours in all, n, k, m, steps of a: rows, batch; of
** b: columns, batch; fours of a batch. */
static const char dot_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    const long n = p.v[1]; const long k = p.v[2]; const long m = p.v[3];
    EACH(group, p.v[0], max(1L, 8192 / k)) {
      const long batch = group / p.v[8]; const long first = group % p.v[8] * 4;
      __global const T *w[4]; __global const T *a[MR]; V sum[MR][4]; T rest[MR][4];
      UNROLL for (int q = 0; q < 4; q++) w[q] = AT(const T, 1) + batch * p.v[7] + min(first + q, n - 1) * p.v[6];
      UNROLL for (int i = 0; i < MR; i++) {
        a[i] = AT(const T, 0) + batch * p.v[5] + min((long)i, m - 1) * p.v[4];
        UNROLL for (int q = 0; q < 4; q++) { sum[i][q] = (V)(0); rest[i][q] = 0; }
      }
      long j = 0;
      for (; j + L <= k; j += L) {
        UNROLL for (int q = 0; q < 4; q++) {
          const V w_ = VLOAD(0, w[q] + j);
          UNROLL for (int i = 0; i < MR; i++) sum[i][q] = fma(VLOAD(0, a[i] + j), w_, sum[i][q]);
        }
      }
      for (; j < k; j++)
        UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int q = 0; q < 4; q++) rest[i][q] = fma(a[i][j], w[q][j], rest[i][q]); }
      for (int i = 0; i < MR && i < m; i++)
        for (int q = 0; q < 4 && first + q < n; q++) {
          T t[L];
          VSTORE(sum[i][q], 0, t);
          for (int l = 0; l < L; l++) rest[i][q] += t[l];
          AT(T, 2)[(batch * m + i) * n + first + q] = rest[i][q];
        }
    }
  }
);

/* Few rows by a matrix whose rows lie one after the other: some columns of y a work-item, summed over a segment of k, eight rows of b at
** a time, so that memory is read in long pieces. p: n, k, m, steps of a: rows, k, batch; of b: k, batch; columns and k of a work-item;
** batches. */
static const char stream_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    const long n = p.v[0]; const long k = p.v[1]; const long m = p.v[2]; const long batch = get_global_id(1);
    const long first = get_global_id(0) * p.v[8]; const long end = min(n, first + p.v[8]);
    const long from = get_global_id(2) * p.v[9]; const long to = min(k, from + p.v[9]);
    __global const T *a = AT(const T, 0) + batch * p.v[5]; __global const T *b = AT(const T, 1) + batch * p.v[7];
    __global T *y = AT(T, 2) + (get_global_id(2) * p.v[10] + batch) * m * n;
    for (int i = 0; i < m; i++) for (long j = first; j < end; j++) y[i * n + j] = 0;
    for (long at = from; at < to; at += 8) {
      T x[MR][8];
      for (int i = 0; i < MR; i++) for (int q = 0; q < 8; q++)
        x[i][q] = at + q < to ? a[min((long)i, m - 1) * p.v[3] + (at + q) * p.v[4]] : 0;
      __global const T *w[8];
      UNROLL for (int q = 0; q < 8; q++) w[q] = b + min(at + q, to - 1) * p.v[6];
      long j = first;
      for (; j + L <= end; j += L) {
        V w_[8];
        UNROLL for (int q = 0; q < 8; q++) w_[q] = VLOAD(0, w[q] + j);
        UNROLL for (int i = 0; i < MR; i++) {
          if (i < m) {
            V sum = VLOAD(0, y + i * n + j);
            UNROLL for (int q = 0; q < 8; q++) sum = fma((V)(x[i][q]), w_[q], sum);
            VSTORE(sum, 0, y + i * n + j);
          }
        }
      }
      for (; j < end; j++)
        for (int i = 0; i < m; i++) for (int q = 0; q < 8 && at + q < to; q++) y[i * n + j] = fma(x[i][q], w[q][j], y[i * n + j]);
    }
  }
);

/* The step from one matrix of a batch to the next; false: they do not lie at equal steps. */
static bool batch_step(const moon_array *x, int64_t *step) {
  int d = x->ndim - 3;
  *step = d >= 0 ? x->strides[d] : 0;
  for (int i = d; i > 0; i--)
    if (x->strides[i - 1] != x->strides[i] * x->shape[i]) return false;
  return true;
}

typedef struct blocks { int64_t tiles, panels, down, along; } blocks; /* tiles and panels of a block; blocks of y */

/* Work-items for so many multiplications: some for each processor, fewer where each packs both operands. */
static int64_t items_for(const moon_cl_device *d, int64_t m, int64_t n, int64_t k, bool a_packed) {
  int64_t all;
  if (!moon__mul_i64(m, n, &all) || !moon__mul_i64(all, k, &all)) all = INT64_MAX;
  return moon__max_i64(1, moon__min_i64((a_packed ? 2 : 4) * (int64_t)d->units, all / ITEM));
}

/* Enough blocks for all work-items, of rows that stay in a near cache; cut where packing again costs the least. */
static blocks cut(int64_t items, int64_t tiles, int64_t panels, int64_t batch, int64_t tile_numbers, int64_t a_cost, int64_t b_cost) {
  int64_t want = moon__ceildiv_i64(items, batch), near = moon__max_i64(1, 250000 / tile_numbers);
  blocks best = {0};
  double least = 0;
  for (int64_t along = 1; along <= moon__min_i64(panels, want); along *= 2) {
    blocks b = {.panels = moon__ceildiv_i64(panels, along)};
    b.along = moon__ceildiv_i64(panels, b.panels);
    b.tiles = moon__min_i64(near, moon__ceildiv_i64(tiles, moon__min_i64(tiles, moon__ceildiv_i64(want, b.along))));
    b.down = moon__ceildiv_i64(tiles, b.tiles);
    double few = (double)want / (double)moon__min_i64(want, b.along * b.down);
    double cost = few * ((double)(tiles * panels) + (double)(b.along * tiles * a_cost + b.down * panels * b_cost) / 16);
    if (best.tiles && cost >= least) continue;
    least = cost;
    best = b;
  }
  return best;
}

/* The tile that the table knows for this product, in place of t. */
static const char *tune_tile(moon_cl_choice *c, moon_cl_tile *t, int64_t m, int64_t n, int64_t k, int64_t batch) {
  static const moon_dial dials[] = {{"rows", 5, {2, 4, 6, 8, 12}}, {"vectors", 2, {1, 2}}};
  moon_tune_key key = {.op = MOON_OP_matmul, .dtype = c->out[0].dtype, .form = "tiles", .nsizes = 4, .size = {m, n, k, batch}};
  int32_t v[2] = {t->rows, t->vectors};
  const char *words = moon__tune_ask(c->ctx, c->d->device, &key, 2, dials, v);
  t->rows = v[0];
  t->vectors = v[1];
  return words;
}

/* A product of few rows whose other operand is read once, by columns. */
static bool add_dots(moon_cl_choice *c, const moon_cl_columns *b, int64_t m, int64_t row_step, int64_t a_step) {
  moon_cl_tile t = {.rows = m > 2 ? 4 : (int)m, .vectors = 1, .lanes = c->out[0].dtype == MOON_DTYPE_f64 ? 8 : 16};
  int64_t groups = moon__ceildiv_i64(b->n, 4);
  int64_t p[9] = {groups * b->batch, b->n, b->k2, m, row_step, a_step, b->column_step, b->batch_step, groups};
  const int operands[3] = {0, 1, 2};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 9, .params = p};
  moon__cl_spread(c->d, &s, p[0], moon__max_i64(1, 8192 / b->k2));
  return moon__cl_add_tile(c, &t, c->out[0].dtype, dot_text, &s);
}

/* A product of few rows whose other operand is read once, by rows: segments of k, whose sums are added in order. */
static bool add_stream(moon_cl_choice *c, const moon_cl_columns *b, int64_t m, const moon_array *a, int64_t a_step) {
  moon_dtype dtype = c->out[0].dtype;
  moon_cl_tile t = {.rows = m > 2 ? 4 : (int)m, .vectors = 1, .lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
  int64_t width = moon__min_i64(b->n, STREAM_COLUMNS), segment = moon__ceildiv_i64(b->k2, 8 * STREAM_SEGMENTS) * 8;
  int64_t segments = moon__ceildiv_i64(b->k2, segment), count = moon__cl_count(&c->out[0]);
  int64_t p[11] = {b->n, b->k2, m, a->strides[a->ndim - 2], a->strides[a->ndim - 1], a_step, b->k2_step, b->batch_step, width, segment,
                   b->batch};
  const int operands[3] = {0, 1, segments > 1 ? MOON_CL_SCRATCH : 2};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 11, .params = p,
                         .global = {(size_t)moon__ceildiv_i64(b->n, width), (size_t)b->batch, (size_t)segments}};
  size_t bytes;
  if (!moon__mul_size((size_t)count, (size_t)segments * moon_dtype_bytes(dtype), &bytes)) return false;
  if (segments > 1) c->choice->scratch_bytes = bytes;
  return moon__cl_add_tile(c, &t, dtype, stream_text, &s) && (segments == 1 || moon__cl_add_sum(c, 0, count, segments, 0));
}

static bool add_tiles(moon_cl_choice *c) {
  const moon_array *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  int d = y->ndim - 2;
  moon_dtype dtype = y->dtype;
  int64_t m = y->shape[d], n = y->shape[d + 1], k = a->shape[d + 1], batch = moon__cl_sizes(y, 0, d), a_step = 0;
  moon_cl_tile t = moon__cl_tile(c->d, dtype, m, n);
  moon_cl_columns columns = {.k1 = 1, .k2 = k, .n = n, .k2_step = b->strides[d], .column_step = b->strides[d + 1], .batch = batch};
  const char *tuned = tune_tile(c, &t, m, n, k, batch);
  bool a_even = batch_step(a, &a_step), b_even = batch_step(b, &columns.batch_step);
  if (!moon__cl_begin(c, "opencl_matmul_tiles", true)) return false;
  c->choice->tuned = tuned;
  /* Uneven batches are made dense by the planner, which then asks again. */
  if (!a_even || !b_even) c->choice->dense_in = (a_even ? 0u : 1u) | (b_even ? 0u : 2u);
  if (!a_even) a_step = m * k;
  if (!b_even) columns.batch_step = k * n;
  if (m <= 4 && k > 1 && columns.k2_step == 1 && columns.column_step != 1 && a->strides[d + 1] == 1)
    return add_dots(c, &columns, m, a->strides[d], a_step);
  if (m <= 4 && n * k >= STREAM_LEAST && columns.column_step == 1) return add_stream(c, &columns, m, a, a_step);
  int64_t nb = moon__cl_tile_columns(&t), tiles = moon__ceildiv_i64(m, t.rows), panels = moon__ceildiv_i64(n, nb), numbers;
  bool a_packed = tiles > 1 && a->strides[d + 1] != 1 && a->strides[d] == 1, b_packed = tiles > 2 || columns.column_step != 1;
  int64_t piece = moon__min_i64(k, PIECE);
  int64_t items = items_for(c->d, moon__mul_i64(m, batch, &numbers) ? numbers : INT64_MAX, n, k, a_packed);
  blocks cuts = cut(items, tiles, panels, batch, t.rows * piece, a_packed ? t.rows : 0, !b_packed ? 0 : columns.column_step == 1 ? 4 : 10);
  int64_t work = cuts.down * cuts.along * batch;
  items = moon__min_i64(work, items);
  if (!moon__mul_i64(piece, nb + (a_packed ? cuts.tiles * t.rows : 0), &numbers) || numbers > INT64_MAX - 32) return false;
  numbers = (numbers + t.lanes + 15) / 16 * 16; /* packing a stores whole vectors */
  if (!moon__mul_size((size_t)numbers, moon_dtype_bytes(dtype) * (size_t)items, &c->choice->scratch_bytes)) return false;
  int64_t p[18] = {m, n, k, a->strides[d], a->strides[d + 1], a_step, columns.k2_step, columns.column_step, columns.batch_step,
                   cuts.tiles, cuts.panels, cuts.down, cuts.along, work, numbers, a_packed, b_packed, piece};
  const int operands[4] = {0, 1, 2, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 4, .operands = operands, .nparams = 18, .params = p, .global = {(size_t)items, 1, 1}};
  return moon__cl_add_tile(c, &t, dtype, tile_text, &s);
}

/* ---- GPUs. p: m n k, steps of a: rows, columns, batch; of b ---- */
static const char local_text[] = CL_(
  MOON_CL_LOCAL_KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    MOON_CL_LOCAL_IDS
    const long rows = p.v[0]; const long columns = p.v[1]; const long terms = p.v[2]; const long batch = get_global_id(2);
    const bool a_terms = p.v[4] == 1; const bool b_columns = p.v[7] == 1;
    __global const float *a = AT(const float, 0) + batch * p.v[5];
    __global const float *b = AT(const float, 1) + batch * p.v[8];
    __global float *y = AT(float, 2) + batch * rows * columns;
    MOON_CL_LOCAL_PRODUCT(const int ai = a_terms ? e / 16 : e % 64; const int ak = a_terms ? e % 16 : e / 64;,
      value = a[row * p.v[3] + term * p.v[4]];,
      const int bj = b_columns ? e % 64 : e / 16; const int bk = b_columns ? e / 64 : e % 16;,
      value = b[term * p.v[6] + column * p.v[7]];, y[row * columns + column])
  }
);

static bool add_local(moon_cl_choice *c) {
  const moon_array *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  int d = y->ndim - 2;
  int64_t m = y->shape[d], n = y->shape[d + 1], k = a->shape[d + 1], a_step = 0, b_step = 0;
  bool a_even = batch_step(a, &a_step), b_even = batch_step(b, &b_step);
  if (!moon__cl_begin(c, "opencl_matmul_local", true)) return false;
  c->choice->dense_in = (a_even ? 0u : 1u) | (b_even ? 0u : 2u);
  int64_t p[9] = {m, n, k, a->strides[d], a->strides[d + 1], a_step, b->strides[d], b->strides[d + 1], b_step};
  return moon__cl_add_local(c, local_text, p, 9, m, n, moon__cl_sizes(y, 0, d));
}

static bool select_matmul(moon_cl_choice *c, moon_status *s) {
  if (c->node->op->id != MOON_OP_matmul) return false;
  const moon_array *y = &c->out[0];
  bool some = moon__cl_count(y) > 0 && c->in[0].shape[y->ndim - 1] > 0, floats = moon__dtype_is_float(y->dtype);
  bool ok = !c->fast || !some || !floats ? add_plain(c)
            : c->d->wide                   ? add_tiles(c)
            : y->dtype == MOON_DTYPE_f32   ? add_local(c) : add_plain(c);
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_matmul = {select_matmul};
