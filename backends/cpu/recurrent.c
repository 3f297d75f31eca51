/*
** recurrent.c: f32 kernels of lstm_sequence, gru_sequence and their gradients. Each step is a product with the recurrent kernel,
** packed once, by the tiles of gemm.h, whose result goes into the cell (cells.h) while it is in the cache. The state is also kept
** turned, [units, rows] for the rows of each tile, as the tiles read it best; where there is a matrix unit (amx.h) both are kept in its
** tiles instead. What they compute stands in core/ops.
**
** Jobs are cut by units where a step is large, and each step is a group of jobs; where it is small a job takes some rows through
** many steps. Each element is computed in the same way whatever the cut, but for the sums over rows in the bias gradient, whose
** parts are added in order. Letters: t b as in the field, u units; depth: what a product sums over, u forward, gates u back.
*/
#include <string.h>

#include "amx.h"
#include "base/size.h"
#include "cells.h"
#include "fast.h"
#include "gemm.h"
#include "ops/attrs.h"

enum { MOST_ROWS = 64, DEPTH_BLOCK = 256, PRODUCT = MOST_ROWS * 4 * 2 * 16, UNIT = 2 * MOON_AMX_ROWS, UNIT_ROWS = 20 };
/* Inputs and outputs, as core/ops declares them. The gradients' inputs have one less from dc on for a GRU. */
enum { Z, RECURRENT, BIAS, H, C };
enum { BACK_RECURRENT, BACK_BEFORE, BACK_GATES, BACK_STATES, BACK_DY, BACK_DH, BACK_DC };

typedef struct recurrent_plan {
  const moon_gemm_set *gemm;
  const moon_cells_set *cells;
  moon_isa isa;
  bool gru, back, reverse, packed, turned, has_dy;
  bool unit; /* products are made by the matrix unit */
  int mask;                                 /* its input; -1: none */
  int64_t t, b, u, gates, depth;
  int64_t r_row, r_column, dy_step, dy_row; /* strides */
  int width, height;                        /* of tiles: vectors, rows */
  int64_t wide, panels;                     /* columns of a panel, panels of a block of units */
  int64_t blocks, blocks_per_job, unit_jobs; /* of units */
  int64_t rows, row_blocks, steps, chunk;    /* chunk: steps of a job */
  int64_t turned_floats, panel_floats;       /* of a block of rows, once; of a panel of the recurrent kernel */
  size_t packed_at, turned_at, c_at, pass_at, bias_at; /* in scratch */
} recurrent_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *output(const moon_call *call, int i) { return (float *)(void *)call->out[i].data; }
static float *scratch(const moon_call *call, size_t at) { return (float *)(void *)(call->scratch + at); }
static int64_t bias_count(const recurrent_plan *p) { return p->gru ? 2 * p->gates * p->u : p->gates * p->u; }
/* Where step s of the order of reading lies. */
static int64_t place_of(const recurrent_plan *p, int64_t s) { return p->reverse ? p->t - 1 - s : s; }

/* ---- Products ---- */

/* The state, or the gradient that goes back, of a block of rows, turned: [tiles, depth, height], or tiles of the unit. Steps take turns. */
static float *turned_of(const recurrent_plan *p, const moon_call *call, int64_t row, int64_t step) {
  return scratch(call, p->turned_at) + ((step & 1) * p->row_blocks + row / p->rows) * p->turned_floats;
}

/* Behind tiles of the unit: for each UNIT of depth a byte that tells whether one of its numbers is infinite. */
static int64_t flag_floats(const recurrent_plan *p) { return moon__ceildiv_i64(p->depth, UNIT * 64) * 16; }
static char *flags_behind(const recurrent_plan *p, const float *tiles, int64_t floats) {
  return (char *)(uintptr_t)(tiles + floats - flag_floats(p));
}

/* Infinities make NaN in the unit. a, x [rows, depth] and b, y [depth, UNIT]: in tiles, and as they lie. */
static void mend(const recurrent_plan *p, float *out, int64_t out_step, const float *a, const float *x, int64_t x_step, int64_t rows,
                 const float *b, const float *y) {
  int64_t deep = p->back ? p->r_column : p->r_row, across = p->back ? p->r_row : p->r_column;
  if (!p->unit) return;
  if (memchr(flags_behind(p, a, p->turned_floats), 1, (size_t)(p->depth / UNIT)) || *flags_behind(p, b, p->panel_floats))
    moon__amx_mend(out, out_step, x, x_step, 1, y, deep, across, rows, UNIT, p->depth);
}

/* out [rows, wide] = a [rows, depth] b; a_step: from row to row where a is not turned. */
static void multiply(const recurrent_plan *p, float *out, int64_t out_step, const float *a, int64_t a_step, int64_t rows,
                     const float *b, int64_t b_step, int64_t columns) {
  if (p->unit) {
    int64_t ntiles = p->depth / MOON_AMX_K, strip = ntiles * moon__amx_tile(true);
    const uint16_t *x = (const uint16_t *)(const void *)a, *y = (const uint16_t *)(const void *)b;
    for (int64_t r = 0; r < rows; r += UNIT, x += 2 * strip) moon__amx_block(out + r * out_step, out_step, x, strip, y, strip, ntiles, true, false);
    return;
  }
  moon_gemm_form form = p->turned ? MOON_GEMM_COLUMNS : MOON_GEMM_ROWS;
  moon_gemm_tile t = {.c = out, .a_step = p->turned ? p->height : a_step, .b_step = b_step, .c_step = out_step, .nsegments = 1,
                      .columns = p->packed ? p->wide : columns};
  for (int64_t k = 0; k < p->depth; k += DEPTH_BLOCK) {
    t.a = a + (p->turned ? k * p->height : k);
    t.b = b + k * b_step;
    t.length = moon__min_i64(DEPTH_BLOCK, p->depth - k);
    t.add = k > 0;
    moon__gemm_panel(p->gemm, form, t, rows, p->height, p->height * (p->turned ? p->depth : a_step), p->width, p->packed);
  }
}

/* Tiles [t, t + n) of the strips of x, whose number 0 belongs to tile t. True: one of the numbers is infinite. */
static bool pack_tiles(const recurrent_plan *p, const moon_amx_side *s, float *out, const float *x, int64_t t, int64_t n) {
  int64_t tile = moon__amx_tile(true), strips = moon__ceildiv_i64(s->size, UNIT) * 2;
  return moon__amx_pack(p->isa, s, (const char *)x, 0, strips, 0, n, (uint16_t *)(void *)out + t * tile, p->depth / MOON_AMX_K * tile);
}

/* Panel `job` of the recurrent kernel: of block job / panels, gate job % panels; going back, of the kernel turned round. */
static const float *panel_source(const recurrent_plan *p, const moon_call *call, int64_t job) {
  int64_t j = job / p->panels * p->wide;
  if (p->back) return input(call, BACK_RECURRENT) + j * p->r_row;
  return input(call, RECURRENT) + (job % p->panels * p->u + j) * p->r_column;
}

static void pack_panel(const recurrent_plan *p, const moon_call *call, int64_t job) {
  int64_t j = job / p->panels * p->wide, deep = p->back ? p->r_column : p->r_row, across = p->back ? p->r_row : p->r_column;
  const float *x = panel_source(p, call, job);
  float *out = scratch(call, p->packed_at) + job * p->panel_floats;
  moon_amx_side b = {.of_f32 = true, .size = p->wide, .k = p->depth, .along = deep, .across = across};
  if (p->unit) *flags_behind(p, out, p->panel_floats) = pack_tiles(p, &b, out, x, 0, p->depth / MOON_AMX_K);
  else p->gemm->pack(out, x, p->depth, moon__min_i64(p->wide, p->u - j), deep, across, p->wide);
}

/* x [rows, columns], rows x_step apart, turned, as depth `at` and on of `to`. */
static void turn(const recurrent_plan *p, float *to, int64_t at, const float *x, int64_t x_step, int64_t rows, int64_t columns) {
  if (p->unit) {
    moon_amx_side a = {.is_a = true, .of_f32 = true, .size = rows, .k = columns, .along = 1, .across = x_step};
    char *flags = flags_behind(p, to, p->turned_floats) + at / UNIT;
    memset(flags, pack_tiles(p, &a, to, x, at / MOON_AMX_K, columns / MOON_AMX_K), (size_t)(columns / UNIT));
    return;
  }
  for (int64_t r = 0; r < rows; r += p->height, to += p->height * p->depth)
    p->gemm->pack(to + at * p->height, x + r * x_step, columns, moon__min_i64(p->height, rows - r), 1, x_step, p->height);
}

static int64_t rows_at(const recurrent_plan *p, int64_t row) { return moon__min_i64(p->rows, p->b - row); }

static void copy_rows(float *to, const float *from, int64_t u, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; r++) memcpy(to + r * u, from + r * u, (size_t)columns * sizeof *to);
}

/* ---- Forward ---- */

static void prepare(const moon_call *call, int64_t first, int64_t last) {
  const recurrent_plan *p = call->state;
  int64_t packs = p->packed ? p->blocks * p->panels : 0;
  for (int64_t job = first; job < last; job++) {
    int64_t row = (job - packs) * p->rows;
    if (job < packs) pack_panel(p, call, job);
    else if (p->turned) turn(p, turned_of(p, call, row, 0), 0, input(call, H) + row * p->u, p->u, rows_at(p, row), p->u);
  }
}

/* Brings what the cell will read of z while the product is computed. */
static void fetch(const moon_cell *c, int64_t gates) {
  for (int64_t r = 0; r < c->rows; r++)
    for (int64_t g = 0; g < gates; g++)
      for (int64_t j = 0; j < c->columns; j += 16) __builtin_prefetch(c->z + r * c->z_step + g * c->units + j);
}

/* The state before step s, of rows from `row` on. */
static const float *state_before(const recurrent_plan *p, const moon_call *call, int64_t s, int64_t row) {
  return (s == 0 ? input(call, H) : output(call, 0) + place_of(p, s - 1) * p->b * p->u) + row * p->u;
}

/* Points the c of an LSTM, which is kept for all steps or only the last. */
static void point_c(const recurrent_plan *p, const moon_call *call, int64_t s, int64_t row, int64_t j, moon_cell *c) {
  float *all = output(call, 4), *one = scratch(call, p->c_at);
  c->c = (all ? all + place_of(p, s) * p->b * p->u : one) + row * p->u + j;
  c->c_before = (s == 0 ? input(call, C) : all ? all + place_of(p, s - 1) * p->b * p->u : one) + row * p->u + j;
  c->c_before_step = p->u;
}

/* Block of units `block` at step s. */
static void step_block(const recurrent_plan *p, const moon_call *call, int64_t s, int64_t row, int64_t block) {
  float product[PRODUCT];
  int64_t u = p->u, j = block * p->wide, n = moon__min_i64(p->wide, u - j), rows = rows_at(p, row), at = place_of(p, s);
  const float *before = state_before(p, call, s, row), *a = p->turned ? turned_of(p, call, row, s) : before;
  float *gates = output(call, p->gru ? 2 : 3);
  moon_cell c = {.rows = rows, .columns = n, .units = u, .product = product, .product_step = p->gates * p->wide,
                 .product_gate = p->wide, .z = input(call, Z) + (at * p->b + row) * p->gates * u + j, .z_step = p->gates * u,
                 .bias = input(call, BIAS) + j, .before = before + j, .before_step = u,
                 .h = output(call, 0) + (at * p->b + row) * u + j, .gates = gates ? gates + (at * p->b + row) * 4 * u + j : NULL,
                 .mask = p->mask < 0 ? NULL : (const uint8_t *)call->in[p->mask].data + at * p->b + row};
  fetch(&c, p->gates);
  for (int64_t g = 0; g < p->gates; g++) {
    const float *b = p->packed ? scratch(call, p->packed_at) + (block * p->panels + g) * p->panel_floats
                               : input(call, RECURRENT) + g * u + j;
    multiply(p, product + g * p->wide, c.product_step, a, u, rows, b, p->packed ? p->wide : p->r_row, n);
    mend(p, product + g * p->wide, c.product_step, a, before, u, rows, b, panel_source(p, call, block * p->panels + g));
  }
  if (!p->gru) point_c(p, call, s, row, j, &c);
  (p->gru ? p->cells->gru : p->cells->lstm)(&c);
  if (p->turned && s + 1 < p->t) turn(p, turned_of(p, call, row, s + 1), j, c.h, u, rows, n);
  if (s + 1 < p->t) return;
  if (output(call, 1)) copy_rows(output(call, 1) + row * u + j, c.h, u, rows, n);
  if (!p->gru && output(call, 2)) copy_rows(output(call, 2) + row * u + j, c.c, u, rows, n);
}

/* No steps: the last states are the first. */
static void run_none(const moon_call *call, int64_t first, int64_t last) {
  const recurrent_plan *p = call->state;
  for (int i = 1; first < last && i <= (p->gru ? 1 : 2); i++)
    if (output(call, i)) memcpy(output(call, i), input(call, H + i - 1), (size_t)(p->b * p->u) * sizeof(float));
}

/* ---- Back ---- */

static void prepare_back(const moon_call *call, int64_t first, int64_t last) {
  const recurrent_plan *p = call->state;
  int64_t packs = p->blocks * p->panels;
  for (int64_t job = first; job < last; job++) {
    if (job < packs) {
      pack_panel(p, call, job);
      continue;
    }
    int64_t row = (job - packs) * p->rows, rows = rows_at(p, row);
    memcpy(scratch(call, p->pass_at) + row * p->u, input(call, BACK_DH) + row * p->u, (size_t)(rows * p->u) * sizeof(float));
    memset(scratch(call, p->bias_at) + (job - packs) * bias_count(p), 0, (size_t)bias_count(p) * sizeof(float));
    if (!p->gru) memcpy(scratch(call, p->c_at) + row * p->u, input(call, BACK_DC) + row * p->u, (size_t)(rows * p->u) * sizeof(float));
  }
}

/* Does `pass` hold something when step k back begins? */
static bool passes(const recurrent_plan *p, int64_t k) { return k == 0 || p->gru || p->mask >= 0; }

/* After the last step back: gradients of the first states. */
static void finish_back(const recurrent_plan *p, const moon_call *call, const float *product, int64_t row, int64_t j, int64_t n) {
  int64_t u = p->u;
  float *dh = output(call, p->gru ? 2 : 1), *dc = p->gru ? NULL : output(call, 2);
  for (int64_t r = row, i = 0; i < rows_at(p, row); r++, i++) {
    const float *pass = scratch(call, p->pass_at) + r * u + j;
    for (int64_t k = 0; dh && k < n; k++)
      dh[r * u + j + k] = (p->t > 0 ? product[i * p->wide + k] : 0) + (passes(p, p->t) ? pass[k] : 0);
    if (dc) memcpy(dc + r * u + j, scratch(call, p->c_at) + r * u + j, (size_t)n * sizeof *dc);
  }
}

/* Block of units `block` at step k back; k = t: beyond the first step. */
static void back_block(const recurrent_plan *p, const moon_call *call, int64_t k, int64_t row, int64_t block) {
  float product[PRODUCT];
  int64_t u = p->u, j = block * p->wide, n = moon__min_i64(p->wide, u - j), rows = rows_at(p, row), w = p->gates * u;
  int64_t s = p->t - 1 - k, at = place_of(p, s);
  float *through = output(call, p->gru ? 1 : 0); /* what goes to the product */
  if (k > 0) {
    const float *before = through + (place_of(p, s + 1) * p->b + row) * w, *a = p->turned ? turned_of(p, call, row, k) : before;
    const float *b = scratch(call, p->packed_at) + block * p->panel_floats;
    multiply(p, product, p->wide, a, w, rows, b, p->wide, n);
    mend(p, product, p->wide, a, before, w, rows, b, panel_source(p, call, block));
  }
  if (k == p->t) {
    finish_back(p, call, product, row, j, n);
    return;
  }
  int64_t here = (at * p->b + row) * u + j;
  const float *states = input(call, BACK_STATES), *first = input(call, BACK_BEFORE);
  moon_cell_back c = {.rows = rows, .columns = n, .units = u, .product = k > 0 ? product : NULL, .product_step = p->wide,
                      .dy = p->has_dy ? input(call, BACK_DY) + at * p->dy_step + row * p->dy_row + j : NULL, .dy_step = p->dy_row,
                      .gates = input(call, BACK_GATES) + (at * p->b + row) * 4 * u + j, .c = states + here,
                      .before = (s == 0 ? first : states + place_of(p, s - 1) * p->b * u) + row * u + j, .before_step = u,
                      .dc = p->gru ? NULL : scratch(call, p->c_at) + row * u + j,
                      .pass = passes(p, k) ? scratch(call, p->pass_at) + row * u + j : NULL,
                      .dz = output(call, 0) + (at * p->b + row) * w + j, .dq = through + (at * p->b + row) * w + j,
                      .dbias = scratch(call, p->bias_at) + row / p->rows * bias_count(p) + j,
                      .mask = p->mask < 0 ? NULL : (const uint8_t *)call->in[p->mask].data + at * p->b + row};
  (p->gru ? p->cells->gru_back : p->cells->lstm_back)(&c);
  for (int64_t g = 0; p->turned && g < p->gates; g++)
    turn(p, turned_of(p, call, row, k + 1), g * u + j, c.dq + g * u, w, rows, n);
}

static void add_bias(const moon_call *call, int64_t first, int64_t last) {
  const recurrent_plan *p = call->state;
  if (first < last && output(call, 3))
    moon__sum_parts(output(call, 3), scratch(call, p->bias_at), p->row_blocks, bias_count(p), 0, bias_count(p));
}

/* A gradient over no rows. */
static void run_no_rows(const moon_call *call, int64_t first, int64_t last) {
  if (first < last && output(call, 3)) memset(output(call, 3), 0, (size_t)bias_count(call->state) * sizeof(float));
}

/* ---- Jobs ---- */

static void run_steps(const moon_call *call, int64_t first, int64_t last) {
  const recurrent_plan *p = call->state;
  if (p->unit) moon__amx_begin();
  for (int64_t job = first; job < last; job++) {
    int64_t group = job / (p->row_blocks * p->unit_jobs), rest = job % (p->row_blocks * p->unit_jobs);
    int64_t row = rest / p->unit_jobs * p->rows, from = rest % p->unit_jobs * p->blocks_per_job;
    int64_t to = moon__min_i64(p->blocks, from + p->blocks_per_job), end = moon__min_i64(p->steps, (group + 1) * p->chunk);
    for (int64_t s = group * p->chunk; s < end; s++)
      for (int64_t block = from; block < to; block++) (p->back ? back_block : step_block)(p, call, s, row, block);
  }
  if (p->unit) moon__amx_end();
}

static void cut(recurrent_plan *p) {
  double rate = p->gemm->lanes == 16 ? 200e3 : p->gemm->lanes == 8 ? 100e3 : 20e3; /* operations per us */
  double weights = (double)p->gates * (double)p->u * (double)p->u, b = (double)p->b;
  double compute = 2 * b * weights / rate, load = 4 * weights / 60e3, us = (compute > load ? compute : load) + b * (double)p->u * 1e-3;
  p->row_blocks = moon__ceildiv_i64(p->b, MOST_ROWS);
  p->blocks_per_job = p->blocks;
  p->chunk = 1;
  if (us >= 16 && p->blocks > 1) {
    double each = us / (double)p->blocks / (double)p->row_blocks;
    p->blocks_per_job = each > 8 ? 1 : moon__min_i64(p->blocks, (int64_t)(8 / each) + 1);
  } else {
    if (us * (double)p->t > 40) p->row_blocks = moon__max_i64(p->row_blocks, moon__min_i64(16, p->b / 8));
    double each = us / (double)p->row_blocks;
    p->chunk = each > 40 ? 1 : moon__min_i64(p->steps, (int64_t)(40 / each) + 1);
  }
  p->rows = moon__ceildiv_i64(p->b, p->row_blocks);
  p->row_blocks = moon__ceildiv_i64(p->b, p->rows);
  p->unit_jobs = moon__ceildiv_i64(p->blocks, p->blocks_per_job);
}

static void choose_tiles(recurrent_plan *p) {
  int64_t lanes = p->gemm->lanes, rows = moon__min_i64(p->b, MOST_ROWS);
  p->width = p->u <= lanes ? 1 : rows <= p->gemm->rows[4] && p->u > 2 * lanes ? 4 : 2;
  p->wide = p->width * lanes;
  p->blocks = moon__ceildiv_i64(p->u, p->wide);
  p->panels = p->back ? 1 : p->gates;
  cut(p);
  p->height = moon__gemm_height(p->rows, p->gemm->rows[p->width]);
  p->turned = p->rows >= 8;
  p->packed = p->back || p->r_column != 1 || p->t * moon__ceildiv_i64(p->rows, p->height) >= 8;
  p->unit = p->packed && p->wide == UNIT && p->u % UNIT == 0 && p->rows >= UNIT_ROWS && moon__amx_usable();
}

static bool lay_out(recurrent_plan *p, moon_choice *c) {
  const int64_t f = (int64_t)sizeof(float);
  int64_t packed, turned, bias, height = p->unit ? UNIT : p->height, rows = moon__ceildiv_i64(p->rows, height) * height;
  int64_t deep = p->unit ? p->depth * moon__amx_tile(true) / MOON_AMX_TILE / 2 : p->depth; /* floats that hold what is packed along depth */
  int64_t flags = p->unit ? flag_floats(p) : 0;
  if (!moon__mul_i64(p->wide, deep, &p->panel_floats) || !moon__mul_i64(rows, deep, &p->turned_floats)) return false;
  p->panel_floats += flags;
  p->turned_floats += flags;
  if (!moon__mul_i64(p->blocks * p->panels, p->panel_floats, &packed) ||
      !moon__mul_i64(p->turned_floats, 2 * p->row_blocks, &turned) || !moon__mul_i64(p->row_blocks, bias_count(p), &bias))
    return false;
  if (p->packed && !moon__fast_scratch(c, &p->packed_at, packed, f)) return false;
  if (p->turned && !moon__fast_scratch(c, &p->turned_at, turned, f)) return false;
  if (!p->gru && !moon__fast_scratch(c, &p->c_at, p->b * p->u, f)) return false;
  if (p->back && !moon__fast_scratch(c, &p->pass_at, p->b * p->u, f)) return false;
  return !p->back || moon__fast_scratch(c, &p->bias_at, bias, f);
}

/* ---- Plan ---- */

static bool is_back(const moon_node *n) { return n->op->id == MOON_OP_lstm_sequence_grad || n->op->id == MOON_OP_gru_sequence_grad; }
static bool is_gru(const moon_node *n) { return n->op->id == MOON_OP_gru_sequence || n->op->id == MOON_OP_gru_sequence_grad; }

bool moon__cpu_recurrent_has(const moon_node *n) {
  bool sequence = is_back(n) || is_gru(n) || n->op->id == MOON_OP_lstm_sequence;
  return sequence && n->inputs[0]->type.dtype == MOON_DTYPE_f32;
}

bool moon__cpu_recurrent_fits(const moon_fast *f) { return moon__cpu_recurrent_has(f->node); }

static bool is_zero(const moon_value *v) {
  return v->node->op->id == MOON_OP_full && ((const moon_full_attrs *)v->node->attrs)->value == 0;
}

static void read_operands(recurrent_plan *p, const moon_fast *f) {
  const moon_array *r = &f->in[p->back ? BACK_RECURRENT : RECURRENT], *wide = &f->in[p->back ? BACK_GATES : Z];
  p->t = wide->shape[0], p->b = wide->shape[1], p->u = r->shape[0];
  p->gates = p->gru ? 3 : 4;
  p->depth = p->back ? p->gates * p->u : p->u;
  p->steps = p->back ? p->t + 1 : p->t;
  p->r_row = r->strides[0], p->r_column = r->strides[1];
  int inputs = p->back ? (p->gru ? BACK_DC : BACK_DC + 1) : p->gru ? C : C + 1;
  p->mask = f->nin > inputs ? inputs : -1;
  if (!p->back) return;
  const moon_array *dy = &f->in[BACK_DY];
  p->has_dy = !is_zero(f->node->inputs[BACK_DY]);
  p->dy_step = dy->strides[0], p->dy_row = dy->strides[1];
}

static void describe(const recurrent_plan *p, const moon_fast *f, moon_choice *c) {
  c->kernel = p->gru ? (p->back ? MOON_ISA_TEXT(f->isa, "cpu_gru_sequence_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_gru_sequence_f32"))
              : p->back ? MOON_ISA_TEXT(f->isa, "cpu_lstm_sequence_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_lstm_sequence_f32");
  c->why = p->unit ? "tiles of the matrix unit" : p->unit_jobs > 1 ? "steps cut by units" : "steps cut by rows";
  c->dense_in = ~(uint64_t)0 & ~((uint64_t)1 << (p->back ? BACK_RECURRENT : RECURRENT));
  if (p->back && (!p->has_dy || f->in[BACK_DY].strides[2] == 1)) c->dense_in &= ~((uint64_t)1 << BACK_DY);
  if (p->back) c->needs_out = p->gru ? 3 : 1;
  /* Gates take the place of z, and their gradient that of the gates: a unit's numbers are loaded before they are stored. */
  if (!p->gru) c->alias_in = (uint64_t)1 << (p->back ? BACK_GATES : Z);
}

moon_status moon__cpu_recurrent_plan(const moon_fast *f, moon_choice *c) {
  recurrent_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->isa = f->isa;
  p->gemm = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->cells = MOON_ISA_PICK(f->isa, moon__cells_set);
  p->back = is_back(f->node);
  p->gru = is_gru(f->node);
  p->reverse = ((const moon_sequence_attrs *)f->node->attrs)->go_backwards;
  read_operands(p, f);
  if (p->b == 0 || p->u == 0) {
    describe(p, f, c);
    if (p->back) moon__fast_phase(c, run_no_rows, 1);
    return MOON_OK;
  }
  choose_tiles(p);
  describe(p, f, c);
  if (!lay_out(p, c)) return MOON_ESIZE;
  if (p->steps == 0) {
    moon__fast_phase(c, run_none, 1);
    return MOON_OK;
  }
  int64_t packs = p->packed ? p->blocks * p->panels : 0, group = p->row_blocks * p->unit_jobs;
  if (p->back || p->turned || packs) moon__fast_phase(c, p->back ? prepare_back : prepare, packs + p->row_blocks);
  moon__fast_phase(c, run_steps, moon__ceildiv_i64(p->steps, p->chunk) * group);
  c->phase[c->nphases - 1].group = group;
  if (p->back) moon__fast_phase(c, add_bias, 1);
  return MOON_OK;
}
