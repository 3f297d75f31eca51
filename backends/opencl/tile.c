/* tile.c: the choice of register tiles, and packing columns for them. See tile.h. */
#include "tile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"

/* 12 x 2 vectors fill 32 registers of 512 bits, 6 x 1 vectors of 16 numbers 16 registers of 256. Of the rows that there are kernels
** for, those that leave little of the last tile unused; loading a tile's row of the panel costs as much as two rows more. */
moon_cl_tile moon__cl_tile(const moon_cl_device *d, moon_dtype dtype, int64_t m, int64_t n) {
  static const int rows[] = {12, 8, 6, 4, 2, 1};
  bool wide = d->vector_bytes >= 64;
  moon_cl_tile t = {.lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
  int64_t least = INT64_MAX;
  t.vectors = wide && n > t.lanes ? 2 : 1;
  for (size_t i = wide ? 0 : 2; i < sizeof rows / sizeof *rows; i++) {
    int64_t cost = moon__ceildiv_i64(m, rows[i]) * (rows[i] + 2);
    if (cost >= least) continue;
    least = cost;
    t.rows = rows[i];
  }
  return t;
}

bool moon__cl_panel_bytes(const moon_cl_tile *t, const moon_cl_columns *b, moon_dtype dtype, size_t *bytes) {
  size_t columns = (size_t)(moon__ceildiv_i64(b->n, moon__cl_tile_columns(t)) * moon__cl_tile_columns(t)), k;
  return moon__mul_size((size_t)b->k1, (size_t)b->k2, &k) && moon__mul_size(columns, k, bytes) &&
         moon__mul_size(*bytes, moon_dtype_bytes(dtype) * (size_t)b->batch, bytes) && moon__align_size(*bytes, 64, bytes);
}

static void put_words(const moon_cl_tile *t, moon_dtype dtype, moon_cl_text *text) {
  bool f64 = dtype == MOON_DTYPE_f64;
  const char *type = f64 ? "double" : "float";
  moon__cl_put(text,
               "#define T %s\n#define V %s%d\n#define TANH %s\n#define L %d\n#define MR %d\n#define NV %d\n#define NB (NV * L)\n"
               "#define VLOAD(i, p) vload%d(i, p)\n#define VSTORE(v, i, p) vstore%d(v, i, p)\n#define UNROLL _Pragma(\"unroll\")\n",
               type, type, t->lanes, f64 ? "tanh" : "TANH_F32", t->lanes, t->rows, t->vectors, t->lanes, t->lanes);
}

bool moon__cl_add_tile(moon_cl_choice *c, const moon_cl_tile *t, moon_dtype dtype, const char *text, moon_cl_step_spec *spec) {
  moon_cl_text all = {.runtime = c->ctx->runtime};
  put_words(t, dtype, &all);
  moon__cl_put_bytes(&all, text, strlen(text));
  spec->unit = all.failed ? NULL : moon__cl_unit(c->d, all.s, all.n);
  moon__free(all.runtime, all.s);
  for (int i = 0; i < 3; i++) spec->local[i] = 1;
  return moon__cl_step(c->launch, spec);
}

/* Some rows of k at a time: of one place of k1, one panel, one batch. p: k1, k2, n, steps of k1, k2, column, batch; first, place in
** scratch, panels. */
static const char pack_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long k1 = p.v[0]; const long k2 = p.v[1]; const long step = p.v[5]; const long panel = get_global_id(1);
    const long part = get_global_id(2) % k1; const long batch = get_global_id(2) / k1; const long begin = get_global_id(0) * 64;
    __global const T *x = AT(const T, 0) + p.v[7] + part * p.v[3] + begin * p.v[4] + batch * p.v[6] + panel * NB * step;
    __global T *y = (__global T *)(mem1 + off1 + p.v[8]) + (((batch * p.v[9] + panel) * k1 + part) * k2 + begin) * NB;
    MOON_CL_PACK_PANEL(x, p.v[4], step, min(64L, k2 - begin), p.v[2] - panel * NB, y)
  }
);

bool moon__cl_pack(moon_cl_choice *c, const moon_cl_tile *t, const moon_cl_columns *b, int from, moon_dtype dtype, size_t at) {
  int64_t panels = moon__ceildiv_i64(b->n, moon__cl_tile_columns(t));
  int64_t p[10] = {b->k1, b->k2, b->n, b->k1_step, b->k2_step, b->column_step, b->batch_step, b->first, (int64_t)at, panels};
  const int operands[2] = {from, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 10, .params = p,
                         .global = {(size_t)moon__ceildiv_i64(b->k2, 64), (size_t)panels, (size_t)(b->k1 * b->batch)}};
  return moon__cl_add_tile(c, t, dtype, pack_text, &s);
}
