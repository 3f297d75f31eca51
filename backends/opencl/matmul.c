/*
** matmul.c: the matrix product: a [.., m, k], b [.., k, n] -> y [.., m, n], batch axes alike. Three kernels: register tiles for
** floats on CPUs, tiles in local memory for f32 on GPUs, and a plain one for all else.
*/
#include "base/shape.h"
#include "base/size.h"
#include "tile.h"

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

/* ---- CPUs. Scratch: panels of b, then rows of a packed [m / MR][k][MR]. ---- */

/* One tile of rows at a time. p: tiles in all, tiles, m, k, steps of rows, k, batch; place in scratch. */
static const char rows_text[] = CL(
  KERNEL void NAME(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long k = p.v[3]; const long m = p.v[2];
    EACH(tile, p.v[0], 1) {
      const long first = tile % p.v[1] * MR;
      __global const T *x = AT(const T, 0) + tile / p.v[1] * p.v[6];
      __global T *y = (__global T *)(mem1 + off1 + p.v[7]) + tile * k * MR;
      for (int i = 0; i < MR; i++) {
        __global const T *from = x + (first + i) * p.v[4];
        const bool inside = first + i < m;
        for (long j = 0; j < k; j++) y[j * MR + i] = inside ? from[j * p.v[5]] : 0;
      }
    }
  }
);

/* y from packed operands. p: m n k tiles panels, place of a in scratch. */
static const char tile_text[] = CL_(
  KERNEL void NAME(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long m = p.v[0]; const long n = p.v[1]; const long k = p.v[2];
    const long tile = get_global_id(0); const long panel = get_global_id(1); const long batch = get_global_id(2);
    __global const T *a = (__global const T *)(mem1 + off1 + p.v[5]) + (batch * p.v[3] + tile) * k * MR;
    __global const T *w = AT(const T, 1) + (batch * p.v[4] + panel) * k * NB;
    MOON_CL_TILE_BEGIN
    for (long j = 0; j < k; j++) {
      MOON_CL_TILE_STEP(a[i])
      a += MR;
    }
    __global T *y = AT(T, 0) + (batch * m + tile * MR) * n + panel * NB;
    MOON_CL_TILE_STORE(m - tile * MR, y + i * n, n - panel * NB)
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

static bool add_tiles(moon_cl_choice *c) {
  const moon_array *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  int d = y->ndim - 2;
  moon_dtype dtype = y->dtype;
  int64_t m = y->shape[d], n = y->shape[d + 1], k = a->shape[d + 1], batch = moon__cl_sizes(y, 0, d), a_step = 0;
  moon_cl_tile t = moon__cl_tile(c->d, dtype, m, n);
  moon_cl_columns columns = {.k1 = 1, .k2 = k, .n = n, .k2_step = b->strides[d], .column_step = b->strides[d + 1], .batch = batch};
  bool a_even = batch_step(a, &a_step), b_even = batch_step(b, &columns.batch_step);
  if (!moon__cl_begin(c, "opencl_matmul_tiles", true)) return false;
  /* Uneven batches are made dense by the planner, which then asks again. */
  if (!a_even || !b_even) c->choice->dense_in = (a_even ? 0u : 1u) | (b_even ? 0u : 2u);
  if (!a_even) a_step = m * k;
  if (!b_even) columns.batch_step = k * n;
  int64_t tiles = moon__ceildiv_i64(m, t.rows), panels = moon__ceildiv_i64(n, moon__cl_tile_columns(&t));
  size_t b_bytes, a_bytes, element = moon_dtype_bytes(dtype);
  if (!moon__cl_panel_bytes(&t, &columns, dtype, &b_bytes) || !moon__mul_size((size_t)(tiles * t.rows * batch), (size_t)k, &a_bytes) ||
      !moon__mul_size(a_bytes, element, &a_bytes) || !moon__add_size(a_bytes, b_bytes, &c->choice->scratch_bytes))
    return false;
  int64_t rows_p[8] = {tiles * batch, tiles, m, k, a->strides[d], a->strides[d + 1], a_step, (int64_t)b_bytes};
  const int rows_of[2] = {0, MOON_CL_SCRATCH}, tile_of[2] = {2, MOON_CL_SCRATCH};
  moon_cl_step_spec rows = {.noperands = 2, .operands = rows_of, .nparams = 8, .params = rows_p,
                            .global = {(size_t)(tiles * batch), 1, 1}};
  int64_t tile_p[6] = {m, n, k, tiles, panels, (int64_t)b_bytes};
  moon_cl_step_spec tile = {.noperands = 2, .operands = tile_of, .nparams = 6, .params = tile_p,
                            .global = {(size_t)tiles, (size_t)panels, (size_t)batch}};
  return moon__cl_pack(c, &t, &columns, 1, dtype, 0) && moon__cl_add_tile(c, &t, dtype, rows_text, &rows) &&
         moon__cl_add_tile(c, &t, dtype, tile_text, &tile);
}

/* ---- GPUs: blocks of 64 x 64 of y, 16 of k at a time in local memory, 4 x 4 numbers a work-item. p: m n k, steps of a, b: rows,
** columns, batch ---- */
static const char local_text[] = CL(
  __kernel __attribute__((reqd_work_group_size(16, 16, 1)))
  void NAME(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    __local float as[16][64]; __local float bs[16][64];
    const int bad = STATUS[0]; /* every work-item reaches the barriers */
    const long m = p.v[0]; const long n = p.v[1]; const long k = bad ? 0 : p.v[2];
    const int tx = get_local_id(0); const int ty = get_local_id(1); const int id = ty * 16 + tx;
    const long row0 = get_group_id(1) * 64; const long column0 = get_group_id(0) * 64; const long batch = get_global_id(2);
    __global const float *a = AT(const float, 0) + batch * p.v[5];
    __global const float *b = AT(const float, 1) + batch * p.v[8];
    float c[4][4];
    for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) c[i][j] = 0;
    for (long k0 = 0; k0 < k; k0 += 16) {
      for (int e = id; e < 1024; e += 256) {
        const int ak = p.v[4] == 1 ? e % 16 : e / 64; const int ai = p.v[4] == 1 ? e / 16 : e % 64;
        const bool a_in = row0 + ai < m && k0 + ak < k;
        as[ak][ai] = a_in ? a[(row0 + ai) * p.v[3] + (k0 + ak) * p.v[4]] : 0;
        const int bk = p.v[7] == 1 ? e / 64 : e % 16; const int bj = p.v[7] == 1 ? e % 64 : e / 16;
        const bool b_in = column0 + bj < n && k0 + bk < k;
        bs[bk][bj] = b_in ? b[(k0 + bk) * p.v[6] + (column0 + bj) * p.v[7]] : 0;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int q = 0; q < 16; q++)
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++) c[i][j] = fma(as[q][ty + 16 * i], bs[q][tx + 16 * j], c[i][j]);
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (bad) return;
    __global float *y = AT(float, 2) + batch * m * n;
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) {
        const long row = row0 + ty + 16 * i; const long column = column0 + tx + 16 * j;
        if (row < m && column < n) y[row * n + column] = c[i][j];
      }
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
  const int operands[3] = {0, 1, 2};
  const moon_dtype types[3] = {MOON_DTYPE_f32, MOON_DTYPE_f32, MOON_DTYPE_f32};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 9, .params = p, .local = {16, 16, 1}};
  s.global[0] = (size_t)(moon__ceildiv_i64(n, 64) * 16);
  s.global[1] = (size_t)(moon__ceildiv_i64(m, 64) * 16);
  s.global[2] = (size_t)moon__cl_sizes(y, 0, d);
  return moon__cl_add_spec(c, local_text, types, &s);
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
