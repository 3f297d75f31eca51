/* tile.c: the choice of register tiles, and packing columns for them. See tile.h. */
#include "tile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"

/* 12 x 2 vectors fill 32 registers of 512 bits, 6 x 1 vectors of 16 numbers 16 registers of 256. */
moon_cl_tile moon__cl_tile(const moon_cl_device *d, moon_dtype dtype, int64_t m, int64_t n) {
  moon_cl_tile t = {.lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
  t.vectors = d->vector_bytes >= 64 && n > t.lanes ? 2 : 1;
  int most = d->vector_bytes >= 64 ? 12 : 6;
  t.rows = m > 4 ? most : m > 1 ? 4 : 1;
  return t;
}

bool moon__cl_panel_bytes(const moon_cl_tile *t, const moon_cl_columns *b, moon_dtype dtype, size_t *bytes) {
  size_t columns = (size_t)(moon__ceildiv_i64(b->n, moon__cl_tile_columns(t)) * moon__cl_tile_columns(t)), k;
  return moon__mul_size((size_t)b->k1, (size_t)b->k2, &k) && moon__mul_size(columns, k, bytes) &&
         moon__mul_size(*bytes, moon_dtype_bytes(dtype) * (size_t)b->batch, bytes) && moon__align_size(*bytes, 64, bytes);
}

static void put_words(const moon_cl_tile *t, moon_dtype dtype, moon_cl_text *text) {
  const char *type = dtype == MOON_DTYPE_f64 ? "double" : "float";
  moon__cl_put(text,
               "#undef T\n#undef V\n#undef L\n#undef MR\n#undef NV\n#undef NB\n#undef VLOAD\n#undef VSTORE\n#undef UNROLL\n"
               "#define T %s\n#define V %s%d\n#define L %d\n#define MR %d\n#define NV %d\n#define NB (NV * L)\n"
               "#define VLOAD(i, p) vload%d(i, p)\n#define VSTORE(v, i, p) vstore%d(v, i, p)\n#define UNROLL _Pragma(\"unroll\")\n",
               type, type, t->lanes, t->lanes, t->rows, t->vectors, t->lanes, t->lanes);
}

bool moon__cl_add_tile(moon_cl_choice *c, const moon_cl_tile *t, moon_dtype dtype, const char *text, moon_cl_step_spec *spec) {
  moon_cl_text all = {.runtime = c->ctx->runtime};
  put_words(t, dtype, &all);
  moon__cl_put_bytes(&all, text, strlen(text));
  moon__cl_put(&all, "\n#undef T\n#undef L\n");
  spec->unit = all.failed ? NULL : moon__cl_unit(c->d, all.s, all.n);
  moon__free(all.runtime, all.s);
  for (int i = 0; i < 3; i++) spec->local[i] = 1;
  return moon__cl_step(c->launch, spec);
}

/* A row of k at a time. p: rows in all, k1, k2, n, steps of k1, k2, column, batch; first, place in scratch, panels. */
static const char pack_text[] = CL(
  KERNEL void NAME(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long k = p.v[1] * p.v[2]; const long n = p.v[3]; const long step = p.v[6];
    EACH(row, p.v[0], 64) {
      const long r = row % k; const long panel = row / k % p.v[10]; const long batch = row / k / p.v[10];
      __global const T *x = AT(const T, 0) + p.v[8] + r / p.v[2] * p.v[4] + r % p.v[2] * p.v[5] + batch * p.v[7] + panel * NB * step;
      __global T *y = (__global T *)(mem1 + off1 + p.v[9]) + row * NB;
      const long columns = min(n - panel * NB, (long)NB);
      if (step == 1 && columns == NB) {
        UNROLL for (int j = 0; j < NV; j++) VSTORE(VLOAD(j, x), j, y);
      } else {
        for (int j = 0; j < NB; j++) y[j] = j < columns ? x[j * step] : 0;
      }
    }
  }
);

bool moon__cl_pack(moon_cl_choice *c, const moon_cl_tile *t, const moon_cl_columns *b, int from, moon_dtype dtype, size_t at) {
  int64_t panels = moon__ceildiv_i64(b->n, moon__cl_tile_columns(t)), rows = b->k1 * b->k2 * panels * b->batch;
  int64_t p[11] = {rows, b->k1, b->k2, b->n, b->k1_step, b->k2_step, b->column_step, b->batch_step, b->first, (int64_t)at, panels};
  const int operands[2] = {from, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 11, .params = p};
  moon__cl_spread(c->d, &s, rows, 64);
  return moon__cl_add_tile(c, t, dtype, pack_text, &s);
}
