/*
** matmul.c: the matrix product: a [.., m, k], b [.., k, n] -> y [.., m, n], batch axes alike. Three kernels: register tiles for
** floats on CPUs, tiles in local memory for f32 on GPUs, and a plain one for all else.
*/
#include "base/shape.h"
#include "base/size.h"
#include "local.h"
#include "tile.h"
#include "tune.h"

/* ---- Any dtypes: an element of y at a time. p: m n k count ---- */
static const char plain_text[] = CL(
  KERNEL void NAME(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
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

/* ---- CPUs. a is read where it lies, its rows MR at a time; b from panels in scratch, or where it lies when few rows use it. ---- */

/* p: m n k, tiles of rows, tiles of a work-item, steps of a: rows, k, batch; step of a panel's row, of panels, of b's batch. */
static const char tile_text[] = CL_(
  KERNEL void NAME(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    const long m = p.v[0]; const long n = p.v[1]; const long k = p.v[2]; const long k_step = p.v[6]; const long skip = p.v[8] - NB;
    const long panel = get_global_id(1); const long batch = get_global_id(2); const long begin = get_global_id(0) * p.v[4];
    __global const T *from = AT(const T, 0) + batch * p.v[7];
    for (long tile = begin; tile < min(begin + p.v[4], p.v[3]); tile++) {
      const long first = tile * MR;
      __global const T *w = AT(const T, 2) + batch * p.v[10] + panel * p.v[9];
      __global const T *a[MR];
      UNROLL for (int i = 0; i < MR; i++) a[i] = from + min(first + i, m - 1) * p.v[5];
      MOON_CL_TILE_BEGIN
      for (long j = 0; j < k; j++) {
        MOON_CL_TILE_STEP(a[i][j * k_step])
        w += skip;
      }
      __global T *y = AT(T, 1) + (batch * m + first) * n + panel * NB;
      MOON_CL_TILE_STORE(m - first, y + i * n, n - panel * NB)
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

/* Rows of a tile: as many as fit the registers, but tiles alike, so that the last has little that is thrown away. */
static int rows_of(const moon_cl_tile *t, int64_t m) {
  int64_t tiles = moon__ceildiv_i64(m, t->rows);
  return (int)moon__ceildiv_i64(m, tiles);
}

/* Tiles of a work-item: about 10 us of arithmetic, but work-items enough for all processors. */
static int64_t tiles_at_once(const moon_cl_device *d, const moon_cl_tile *t, int64_t tiles, int64_t others, int64_t k) {
  int64_t most = moon__max_i64(1, (int64_t)500000 / ((int64_t)t->rows * moon__cl_tile_columns(t) * moon__max_i64(k, 1)));
  int64_t items = moon__ceildiv_i64(8 * (int64_t)d->units, others);
  return moon__min_i64(most, moon__max_i64(1, tiles / items));
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

static bool add_tiles(moon_cl_choice *c) {
  const moon_array *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  int d = y->ndim - 2;
  moon_dtype dtype = y->dtype;
  int64_t m = y->shape[d], n = y->shape[d + 1], k = a->shape[d + 1], batch = moon__cl_sizes(y, 0, d), a_step = 0;
  moon_cl_tile t = moon__cl_tile(c->d, dtype, m, n);
  t.rows = rows_of(&t, m);
  moon_cl_columns columns = {.k1 = 1, .k2 = k, .n = n, .k2_step = b->strides[d], .column_step = b->strides[d + 1], .batch = batch};
  const char *tuned = tune_tile(c, &t, m, n, k, batch);
  bool a_even = batch_step(a, &a_step), b_even = batch_step(b, &columns.batch_step);
  if (!moon__cl_begin(c, "opencl_matmul_tiles", true)) return false;
  c->choice->tuned = tuned;
  /* Uneven batches are made dense by the planner, which then asks again. */
  if (!a_even || !b_even) c->choice->dense_in = (a_even ? 0u : 1u) | (b_even ? 0u : 2u);
  if (!a_even) a_step = m * k;
  if (!b_even) columns.batch_step = k * n;
  int64_t nb = moon__cl_tile_columns(&t), tiles = moon__ceildiv_i64(m, t.rows), panels = moon__ceildiv_i64(n, nb);
  bool packed = tiles > 2 || columns.column_step != 1 || n % nb != 0;
  if (packed && !moon__cl_panel_bytes(&t, &columns, dtype, &c->choice->scratch_bytes)) return false;
  int64_t block = tiles_at_once(c->d, &t, tiles, panels * batch, k);
  int64_t p[11] = {m, n, k, tiles, block, a->strides[d], a->strides[d + 1], a_step, nb, k * nb, panels * k * nb};
  if (!packed) p[8] = b->strides[d], p[9] = nb, p[10] = columns.batch_step;
  const int operands[3] = {0, 2, packed ? MOON_CL_SCRATCH : 1};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 11, .params = p,
                         .global = {(size_t)moon__ceildiv_i64(tiles, block), (size_t)panels, (size_t)batch}};
  return (!packed || moon__cl_pack(c, &t, &columns, 1, dtype, 0)) && moon__cl_add_tile(c, &t, dtype, tile_text, &s);
}

/* ---- GPUs. p: m n k, steps of a: rows, columns, batch; of b ---- */
static const char local_text[] = CL_(
  MOON_CL_LOCAL_KERNEL void NAME(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
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
