/*
** winograd_grad.c: f32 kernel of winograd_filter_grad: tiles of x and dy are transformed, multiplied position by position and summed
** over tiles, and the sums transformed back to 3x3. Tiles come in blocks; a segment is some blocks that one job sums up. Where all
** sums fit the second-level cache a job transforms its own blocks; else that is a phase before, and blocks of rows and columns
** are further jobs. Results of several segments are added up in a last phase, in order.
** Letters: x [n, s, c], dy [n, s', f], dw [3, 3, c, f]; v and d are x and dy transformed.
*/
#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "gemm.h"
#include "slots.h"
#include "winograd.h"
#include "winograd_tiles.h"

enum { TILE = 4, POSITIONS = 36, SUM_BLOCK = 4096, CACHED_SUMS = 600000, PART_SUMS = 8192 };

typedef struct grad_plan {
  const moon_gemm_set *set;
  const moon_winograd_set *transforms;
  moon_winograd_tiles x, dy; /* of one and the same grid */
  int height;
  bool apart;
  int64_t c, f, block, blocks, segment, segments; /* block: tiles; segment: blocks */
  int64_t grain, grains; /* tiles that a job transforms, and such jobs of a block */
  int64_t rows, columns, row_blocks, column_blocks;
  int64_t v_step, d_step, m_step; /* from position to position */
  size_t slots, slot_bytes, zeros, v_at, parts; /* v_at: of all blocks, v then d */
} grad_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *scratch(const moon_call *call, size_t at) { return (float *)(void *)(call->scratch + at); }

static void run_prepare(const moon_call *call, int64_t first, int64_t last) {
  const grad_plan *p = call->state;
  (void)first, (void)last;
  moon__slots_clear(call->scratch + p->slots);
  memset(scratch(call, p->zeros), 0, (size_t)moon__max_i64(p->c, p->f) * sizeof(float));
}

/* Rows and columns of dw that a job makes. */
typedef struct part { int64_t row, rows, column, columns; } part;

/* Tiles [from, from + n) of a block, whose v begins at v, for these columns. */
static void transform(const grad_plan *p, const moon_call *call, const part *w, int64_t block, int64_t from, int64_t n, float *v) {
  moon_winograd_tiles dy = p->dy;
  int64_t tile = block * p->block + from, to = moon__min_i64(p->x.count, tile + moon__min_i64(n, p->block - from));
  const float *zeros = scratch(call, p->zeros);
  float *d = v + POSITIONS * p->v_step + from * p->f + w->column;
  dy.wide = w->columns;
  v += from * p->c;
  moon__winograd_gather(&p->x, p->transforms->source[TILE / 4], POSITIONS, input(call, 0), zeros, v, p->v_step, tile, to);
  moon__winograd_gather(&dy, p->transforms->target_grad[TILE / 4], POSITIONS, input(call, 1) + w->column, zeros, d, p->d_step, tile, to);
}

static float *block_v(const grad_plan *p, const moon_call *call, int64_t block) {
  return scratch(call, p->v_at) + block * POSITIONS * (p->v_step + p->d_step);
}

static void run_transform(const moon_call *call, int64_t first, int64_t last) {
  const grad_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t block = job / p->grains;
    transform(p, call, &(part){.columns = p->f}, block, job % p->grains * p->grain, p->grain, block_v(p, call, block));
  }
}

/* m [positions][rows][columns] (+)= v' d over the tiles of a block. */
static void multiply(const grad_plan *p, const part *w, const float *v, float *m, int64_t tiles, bool add) {
  int height = moon__gemm_height(w->rows, p->height);
  for (int k = 0; k < POSITIONS; k++)
    for (int64_t j = 0; j < w->columns; j += 2 * p->set->lanes) {
      moon_gemm_tile t = {.a_step = p->c, .b_step = p->f, .c_step = p->columns, .nsegments = 1, .length = tiles, .add = add};
      t.a = v + k * p->v_step + w->row;
      t.b = v + POSITIONS * p->v_step + k * p->d_step + w->column + j;
      t.c = m + k * p->m_step + j;
      t.columns = moon__min_i64(2 * p->set->lanes, w->columns - j);
      moon__gemm_panel(p->set, MOON_GEMM_COLUMNS, t, w->rows, height, height, 2, false);
    }
}

static void finish(const grad_plan *p, const part *w, const float *m, float *dw) {
  const float *x[MOON_WINOGRAD_MAX];
  float *y[9];
  for (int64_t i = 0; i < w->rows; i++) {
    for (int k = 0; k < POSITIONS; k++) x[k] = m + k * p->m_step + i * p->columns;
    for (int t = 0; t < 9; t++) y[t] = dw + (t * p->c + w->row + i) * p->f + w->column;
    p->transforms->filter_grad[TILE / 4](x, y, w->columns);
  }
}

static void run_product(const moon_call *call, int64_t first, int64_t last) {
  const grad_plan *p = call->state;
  int slot = moon__slot_take(call->scratch + p->slots);
  float *m = (float *)(void *)(call->scratch + p->slots + MOON_SLOTS_BYTES + (size_t)slot * p->slot_bytes);
  float *own = m + POSITIONS * p->m_step;
  for (int64_t job = first; job < last; job++) {
    int64_t column = job % p->column_blocks, row = job / p->column_blocks % p->row_blocks;
    int64_t segment = job / p->column_blocks / p->row_blocks, from = segment * p->segment;
    part w = {.row = row * p->rows, .column = column * p->columns};
    w.rows = moon__min_i64(p->rows, p->c - w.row);
    w.columns = moon__min_i64(p->columns, p->f - w.column);
    for (int64_t b = from; b < moon__min_i64(p->blocks, from + p->segment); b++) {
      float *v = p->apart ? block_v(p, call, b) : own;
      if (!p->apart) transform(p, call, &w, b, 0, p->block, v);
      multiply(p, &w, v, m, moon__min_i64(p->block, p->x.count - b * p->block), b > from);
    }
    float *dw = p->segments > 1 ? scratch(call, p->parts) + segment * 9 * p->c * p->f : (float *)(void *)call->out[0].data;
    finish(p, &w, m, dw);
  }
  moon__slot_give(call->scratch + p->slots, slot);
}

static void run_sum(const moon_call *call, int64_t first, int64_t last) {
  const grad_plan *p = call->state;
  int64_t count = 9 * p->c * p->f;
  moon__sum_parts((float *)(void *)call->out[0].data, scratch(call, p->parts), p->segments, count,
                  moon__min_i64(count, first * SUM_BLOCK), moon__min_i64(count, last * SUM_BLOCK));
}

/* ---- Plan ---- */

/* Measured: per pair of channels a place costs 9 units by the direct sum, a tile 36, transforming the sums back as much as 20
** tiles; transforming a tile 36 * 16 units per channel. */
bool moon__cpu_winograd_grad_has(const moon_node *node) {
  moon_geometry g = moon__conv_geometry(node);
  if (!moon__winograd_fits(node, &g) || g.c_in * g.c_out < 512) return false;
  double tiles = (double)(g.batch * moon__ceildiv_i64(g.out[1], TILE) * moon__ceildiv_i64(g.out[2], TILE));
  double edges = POSITIONS * tiles * 16 * (1 / (double)g.c_in + 1 / (double)g.c_out);
  return 9 * (double)g.batch * (double)g.out[1] * (double)g.out[2] > 1.1 * (POSITIONS * (tiles + 20) + edges);
}
bool moon__cpu_winograd_grad_can(const moon_node *node) {
  moon_geometry g = moon__conv_geometry(node);
  return moon__winograd_fits(node, &g);
}
bool moon__cpu_winograd_grad_fits(const moon_fast *f) { return moon__cpu_winograd_grad_can(f->node); }

static void choose_blocks(grad_plan *p) {
  int64_t lanes = p->set->lanes;
  double rate = lanes == 16 ? 180e3 : 90e3;
  p->apart = POSITIONS * p->c * p->f > CACHED_SUMS;
  p->rows = p->c, p->columns = p->f;
  int64_t few = moon__max_i64(2 * lanes, PART_SUMS / p->c / (2 * lanes) * (2 * lanes));
  if (p->columns > few) p->columns = few;
  if (p->apart) {
    p->rows = moon__min_i64(p->c, 2 * moon__gemm_height(p->c, p->height));
    p->columns = moon__min_i64(p->f, 4 * lanes);
  }
  p->block = moon__ceildiv_i64(p->x.count, moon__ceildiv_i64(p->x.count, p->apart ? 32 : 28));
  p->blocks = moon__ceildiv_i64(p->x.count, p->block);
  p->row_blocks = moon__ceildiv_i64(p->c, p->rows);
  p->column_blocks = moon__ceildiv_i64(p->f, p->columns);
  double us = 2.0 * POSITIONS * (double)(p->block * p->rows * p->columns) / rate;
  p->segment = moon__max_i64(1, moon__min_i64(p->blocks, (int64_t)(80 / us)));
  p->segments = moon__ceildiv_i64(p->blocks, p->segment);
  p->segment = moon__ceildiv_i64(p->blocks, p->segments);
  p->grain = moon__winograd_grain(p->block, p->c + p->f);
  p->grains = moon__ceildiv_i64(p->block, p->grain);
  p->v_step = p->block * p->c + 16;
  p->d_step = p->block * p->f + 16;
  p->m_step = p->rows * p->columns + 16;
}

static bool lay_out(grad_plan *p, moon_device *device, moon_choice *c) {
  int64_t v, m, all, parts, slots = moon__slots_needed(device, p->segments * p->row_blocks * p->column_blocks);
  if (!moon__mul_i64(POSITIONS * (int64_t)sizeof(float), p->v_step + p->d_step, &v)) return false;
  if (!moon__mul_i64(POSITIONS * (int64_t)sizeof(float), p->m_step, &m)) return false;
  if (!moon__mul_i64(p->apart ? v : 0, p->blocks, &all) || all > INT64_MAX / 4) return false;
  if (!moon__mul_i64(9 * p->c * p->f * (int64_t)sizeof(float), p->segments > 1 ? p->segments : 0, &parts) || parts > INT64_MAX / 4)
    return false;
  p->slot_bytes = ((size_t)m + (size_t)(p->apart ? 0 : v) + 63) / 64 * 64;
  p->zeros = MOON_SLOTS_BYTES + (size_t)slots * p->slot_bytes;
  p->v_at = p->zeros + (size_t)moon__max_i64(p->c, p->f) * sizeof(float);
  p->parts = p->v_at + (size_t)all;
  c->scratch_bytes = p->parts + (size_t)parts;
  return true;
}

moon_status moon__cpu_winograd_grad_plan(const moon_fast *f, moon_choice *c) {
  moon_geometry g = moon__conv_geometry(f->node);
  grad_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->transforms = MOON_ISA_PICK(f->isa, moon__winograd_set);
  p->height = p->set->rows[2];
  p->c = g.c_in, p->f = g.c_out;
  moon__winograd_tiles_of(&g, TILE, false, &p->x, &p->dy);
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_winograd_filter_grad_f32");
  c->why = "F(4, 3)";
  c->dense_in = 3;
  choose_blocks(p);
  if (!lay_out(p, f->device, c)) return MOON_ESIZE;
  moon__fast_phase(c, run_prepare, 1);
  if (p->apart) moon__fast_phase(c, run_transform, p->blocks * p->grains);
  moon__fast_phase(c, run_product, p->segments * p->row_blocks * p->column_blocks);
  if (p->segments > 1) moon__fast_phase(c, run_sum, moon__ceildiv_i64(9 * p->c * p->f, SUM_BLOCK));
  return MOON_OK;
}
