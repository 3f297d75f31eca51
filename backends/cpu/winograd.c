/*
** winograd.c: f32 kernels of winograd_filter, winograd_conv and winograd_input_grad, channels last: tiles of the source are
** transformed, multiplied position by position with the transformed filter, and transformed back. A job takes a block of tiles
** through all positions, so that what lies between stays in the second-level cache; where a product with all filters takes too long
** for one job, the tiles are transformed in a phase of their own, and blocks of filters are further jobs. Where the filter is larger
** than the tiles (deep layers), it must pass by once only: each position is a product of its own then, of all tiles, and transforming
** back is a phase too. The gradient of the filter is in winograd_grad.c. Letters: source [n, s, c] to target [n, s', f], whichever of x, y they are; t tiles; m, n as in winograd.h.
*/
#include <string.h>

#include "base/shape.h"
#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "gemm.h"
#include "slots.h"
#include "winograd.h"
#include "winograd_tiles.h"

enum { PANEL = 32, FILTER_ROWS = 16, FRESH = 64, FAR_FLOATS = 1 << 20 };

typedef struct winograd_plan {
  const moon_gemm_set *set;
  const moon_winograd_set *transforms;
  moon_winograd_tiles source, target; /* as tiles of one and the same grid */
  int positions, height;
  int64_t c, f, block, blocks, columns, column_blocks;
  int64_t grain, grains; /* tiles that a job of that phase transforms, and such jobs of a block */
  int64_t v_step, m_step; /* from position to position */
  int64_t m_row;          /* from tile to tile */
  bool apart;             /* transformed in a phase of its own */
  bool by_position;       /* that too, and transformed back in another: v and m [positions][all tiles][..] */
  size_t slots, slot_bytes, m_at, v_at, m_all, zeros;
  moon_finish *finish; /* behind the plan; NULL: none */
  int place;           /* output that holds the target */
} winograd_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *scratch(const moon_call *call, size_t at) { return (float *)(void *)(call->scratch + at); }

/* ---- winograd_conv, winograd_input_grad ---- */

static void run_prepare(const moon_call *call, int64_t first, int64_t last) {
  const winograd_plan *p = call->state;
  (void)first, (void)last;
  moon__slots_clear(call->scratch + p->slots);
  memset(scratch(call, p->zeros), 0, (size_t)p->c * sizeof(float));
}

/* Tiles [from, from + n) of a block -> v [positions][tiles][c]. */
static void transform(const winograd_plan *p, const moon_call *call, int64_t block, int64_t from, int64_t n, float *v) {
  int64_t tile = block * p->block + from, to = moon__min_i64(p->source.count, tile + moon__min_i64(n, p->block - from));
  moon__winograd_gather(&p->source, p->transforms->source[p->target.size / 4], p->positions, input(call, 0),
                        scratch(call, p->zeros), v + from * p->c, p->v_step, tile, to);
}

static float *block_v(const winograd_plan *p, const moon_call *call, int64_t block) {
  return scratch(call, p->v_at) + (p->by_position ? block * p->block * p->c : block * p->positions * p->v_step);
}

static void run_transform(const moon_call *call, int64_t first, int64_t last) {
  const winograd_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t block = job / p->grains;
    transform(p, call, block, job % p->grains * p->grain, p->grain, block_v(p, call, block));
  }
}

/* v times the filters from column on -> m [positions][tiles][columns]. What is the same for all places is added at the position
** whose number all places of a tile receive once: the one of the point 1, both ways. */
static void multiply(const winograd_plan *p, const float *v, const float *u, const float *start, float *m, int k, int64_t tiles,
                     int64_t columns) {
  const int ones = p->target.size + 3;
  int height = moon__gemm_height(tiles, p->height);
  for (int64_t j = 0; j < columns; j += PANEL) {
    moon_gemm_tile t = {.a = v + k * p->v_step, .a_step = p->c, .b_step = PANEL, .c_step = p->m_row, .nsegments = 1, .length = p->c};
    t.b = u + (j * p->positions + k * PANEL) * p->c;
    t.c = m + k * p->m_step + j;
    t.columns = moon__min_i64(PANEL, columns - j);
    bool more = j + PANEL < columns;
    moon__gemm_look_ahead(&t, more ? t.b + p->positions * p->c * PANEL : u + (k + 1) * PANEL * p->c, moon__ceildiv_i64(tiles, height));
    t.start = start && k == ones ? start + j : NULL;
    moon__gemm_panel(p->set, MOON_GEMM_ROWS, t, tiles, height, height * p->c, 2, true);
  }
}

static void transform_back(const winograd_plan *p, float *y, const float *m, float *unused, int64_t from, int64_t to, int64_t columns) {
  const float *x[MOON_WINOGRAD_MAX];
  float *at[MOON_WINOGRAD_MAX];
  for (int k = 0; k < p->positions; k++) x[k] = m + k * p->m_step;
  for (int64_t t = from; t < to; t++) {
    moon__winograd_targets(&p->target, t, y, unused, at);
    p->transforms->target[p->target.size / 4](x, at, columns);
    for (int k = 0; k < p->positions; k++) x[k] += p->m_row;
  }
}

/* What a job makes: tiles [from, to), columns. */
typedef struct job_block { int64_t block, from, to, column, columns; } job_block;

static const float *start_of(const winograd_plan *p, const moon_call *call, int64_t column) {
  return p->finish && p->finish->start >= 0 ? input(call, p->finish->nproduct + p->finish->start) + column : NULL;
}

static void make_block(const winograd_plan *p, const moon_call *call, const job_block *b, char *slot) {
  float *v = (float *)(void *)slot, *m = (float *)(void *)(slot + p->m_at), *unused = m + p->positions * p->m_step;
  const float *u = input(call, 2) + b->column * p->positions * p->c, *start = start_of(p, call, b->column);
  if (p->by_position) {
    unused = m;
    m = scratch(call, p->m_all) + b->from * p->m_row;
  } else {
    if (!p->apart) transform(p, call, b->block, 0, p->block, v);
    for (int k = 0; k < p->positions; k++)
      multiply(p, p->apart ? block_v(p, call, b->block) : v, u, start, m, k, b->to - b->from, b->columns);
  }
  transform_back(p, (float *)(void *)call->out[p->place].data + b->column, m, unused, b->from, b->to, b->columns);
}

/* One job: some columns of one position, for all tiles. */
static void run_position(const moon_call *call, int64_t first, int64_t last) {
  const winograd_plan *p = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t column = job % p->column_blocks * p->columns, columns = moon__min_i64(p->columns, p->f - column);
    multiply(p, scratch(call, p->v_at), input(call, 2) + column * p->positions * p->c, start_of(p, call, column),
             scratch(call, p->m_all) + column, (int)(job / p->column_blocks), p->source.count, columns);
  }
}

/* The loop that finishes the target, over the places of the block: rows of tiles, or what there is of one, line by line. */
static void run_loop(const winograd_plan *p, const job_block *b, moon_finishing *r) {
  const moon_winograd_tiles *t = &p->target;
  bool fresh = true;
  for (int64_t at = b->from, n; at < b->to; at += n) {
    int64_t first = at % t->columns, row = at / t->columns % t->rows, image = at / t->columns / t->rows;
    n = moon__min_i64(b->to - at, t->columns - first);
    int64_t lines = moon__min_i64(t->step, t->image[0] - row * t->step);
    int64_t rows = moon__min_i64((first + n) * t->step, t->image[1]) - first * t->step;
    bool whole = rows == t->image[1];
    if (whole) rows *= lines, lines = 1;
    for (int64_t i = 0; i < lines; i++, fresh = false) {
      int64_t place = (image * t->image[0] + row * t->step + i) * t->image[1] + first * t->step;
      const float *sums = (const float *)(const void *)r->call->out[p->place].data + place * p->f + b->column;
      moon__finish_block(r, sums, p->f, place, rows, b->column, b->columns, b->block, fresh);
    }
  }
}

static void run_jobs(const moon_call *call, int64_t first, int64_t last, moon_finishing *finishing) {
  const winograd_plan *p = call->state;
  int slot = moon__slot_take(call->scratch + p->slots);
  char *own = call->scratch + p->slots + MOON_SLOTS_BYTES + (size_t)slot * p->slot_bytes;
  for (int64_t job = first; job < last; job++) {
    job_block b = {.block = job % p->blocks, .column = job / p->blocks * p->columns};
    b.from = b.block * p->block;
    b.to = moon__min_i64(p->target.count, b.from + p->block);
    b.columns = p->by_position ? p->f : moon__min_i64(p->columns, p->f - b.column);
    make_block(p, call, &b, own);
    if (finishing) run_loop(p, &b, finishing);
  }
  moon__slot_give(call->scratch + p->slots, slot);
}

static void run_product(const moon_call *call, int64_t first, int64_t last) { run_jobs(call, first, last, NULL); }

static void run_finished(const moon_call *call, int64_t first, int64_t last) {
  const winograd_plan *p = call->state;
  moon_finishing r;
  moon__finish_begin(&r, p->finish, call);
  run_jobs(call, first, last, &r);
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const winograd_plan *p = call->state;
  moon__finish_combine(p->finish, call, first, last);
}

/* ---- Plan ---- */

/* The tile that u was made for, 0 when u is not a filter of these sizes. */
static int tile_of(const moon_node *n, int64_t c, int64_t f) {
  const moon_shape *u = &n->inputs[2]->type.shape;
  int64_t want[4] = {moon__ceildiv_i64(f, PANEL), 0, c, PANEL};
  if (u->ndim != 4 || (u->dim[1] != 16 && u->dim[1] != 36)) return 0;
  for (int i = 0; i < 4; i++)
    if (i != 1 && u->dim[i] != want[i]) return 0;
  return u->dim[1] == 36 ? 4 : 2;
}

typedef struct shape { moon_geometry g; int tile; bool backward; int64_t c, f; } shape;

static bool read_shape(const moon_node *n, shape *s) {
  s->g = moon__conv_geometry(n);
  s->backward = n->op->id == MOON_OP_winograd_input_grad;
  s->c = s->backward ? s->g.c_out : s->g.c_in;
  s->f = s->backward ? s->g.c_in : s->g.c_out;
  if (!moon__winograd_fits(n, &s->g)) return false;
  return (s->tile = tile_of(n, s->c, s->f)) != 0;
}

static int64_t tiles_of(const shape *s, int tile) {
  const int64_t *size = s->backward ? s->g.in : s->g.out;
  return s->g.batch * moon__ceildiv_i64(size[1], tile) * moon__ceildiv_i64(size[2], tile);
}

/* Units: the multiply-adds of a pair of channels. Measured: the filter is read once from far away, which takes as long as so many
** products of each position; making it takes longer still. */
static double cost_of(const shape *s, int tile, bool fresh) {
  double positions = (tile + 2) * (tile + 2), tiles = (double)tiles_of(s, tile);
  double edges = tiles * 16 * (1 / (double)s->c + 1 / (double)s->f);
  return positions * (tiles + edges + 16 + (fresh ? FRESH : 0));
}

/* Does F(tile, 3) pay, and is there no better one? */
bool moon__cpu_winograd_conv_has(const moon_node *node) {
  shape s;
  if (!read_shape(node, &s)) return false;
  const int64_t *size = s.backward ? s.g.in : s.g.out;
  const moon_node *u = node->inputs[2]->node;
  bool fresh = u->op->id == MOON_OP_winograd_filter && ((const moon_winograd_attrs *)u->attrs)->fresh;
  double own = cost_of(&s, s.tile, fresh), direct = 9 * (double)s.g.batch * (double)size[1] * (double)size[2];
  return direct > 1.1 * own && (s.tile == 2 || own <= cost_of(&s, 2, fresh));
}
bool moon__cpu_winograd_conv_can(const moon_node *node) {
  shape s;
  return read_shape(node, &s);
}
bool moon__cpu_winograd_conv_fits(const moon_fast *f) { return moon__cpu_winograd_conv_can(f->node); }

static double product_us(const winograd_plan *p, double tiles, double columns) {
  double rate = p->set->lanes == 16 ? 200e3 : 100e3;
  return 2 * p->positions * tiles * columns * (double)p->c / rate;
}

static void choose_blocks(winograd_plan *p) {
  int64_t most = 28, tiles = p->source.count, all = moon__ceildiv_i64(p->f, PANEL) * PANEL;
  double limit = 70;
  p->block = moon__ceildiv_i64(tiles, moon__ceildiv_i64(tiles, most));
  p->by_position = p->positions * p->c * all > FAR_FLOATS && p->c * p->f > tiles * (p->c + p->f) && tiles > p->height;
  p->columns = all;
  while (product_us(p, (double)(p->by_position ? tiles : p->block), (double)p->columns) / (p->by_position ? p->positions : 1) > limit &&
         p->columns > PANEL)
    p->columns = moon__ceildiv_i64(p->columns / 2, PANEL) * PANEL;
  p->blocks = moon__ceildiv_i64(tiles, p->block);
  p->column_blocks = moon__ceildiv_i64(p->f, p->columns);
  p->apart = p->by_position || p->column_blocks > 1;
  p->grain = moon__winograd_grain(p->block, p->c);
  p->grains = moon__ceildiv_i64(p->block, p->grain);
  p->m_row = p->by_position ? p->f : p->columns;
  p->v_step = (p->by_position ? tiles : p->block) * p->c + 16;
  p->m_step = (p->by_position ? tiles : p->block) * p->m_row + 16;
}

static bool lay_out(winograd_plan *p, moon_device *device, moon_choice *c) {
  int64_t v, m, blocks = p->by_position ? 1 : p->blocks, slots = moon__slots_needed(device, p->blocks * p->column_blocks);
  if (!moon__mul_i64(p->positions * (int64_t)sizeof(float), p->v_step, &v)) return false;
  if (!moon__mul_i64(p->positions * (int64_t)sizeof(float), p->m_step, &m)) return false;
  p->m_at = p->apart ? 0 : (size_t)v;
  p->slot_bytes = (p->m_at + (p->by_position ? 0 : (size_t)m) + (size_t)moon__max_i64(p->columns, p->f) * sizeof(float) + 63) / 64 * 64;
  return moon__fast_scratch(c, &p->slots, 1, MOON_SLOTS_BYTES + slots * (int64_t)p->slot_bytes) &&
         moon__fast_scratch(c, &p->zeros, p->c, sizeof(float)) && moon__fast_scratch(c, &p->v_at, p->apart ? blocks : 0, v) &&
         moon__fast_scratch(c, &p->m_all, p->by_position, m);
}

/* Sums start from what is the same for all places, or from 0. */
static moon_status plan_finish(const moon_fast *f, winograd_plan *p, moon_choice *c) {
  p->finish = (moon_finish *)(void *)(p + 1);
  moon_status s = moon__finish_plan(f, p->finish, true, c);
  if (s == MOON_OK && p->finish->start >= 0 && !p->finish->in[p->finish->start].fixed) {
    memset(p->finish, 0, sizeof *p->finish);
    s = moon__finish_plan(f, p->finish, false, c);
  }
  if (s != MOON_OK) return s;
  if ((p->place = moon__finish_place(p->finish, c)) < 0) return MOON_EUNSUPPORTED;
  return moon__finish_parts(p->finish, p->blocks, c) ? MOON_OK : MOON_ESIZE;
}

moon_status moon__cpu_winograd_conv_plan(const moon_fast *f, moon_choice *c) {
  shape s;
  winograd_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0));
  if (!p) return MOON_EMEMORY;
  read_shape(f->node, &s);
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->transforms = MOON_ISA_PICK(f->isa, moon__winograd_set);
  p->positions = (s.tile + 2) * (s.tile + 2);
  p->height = p->set->rows[2];
  p->c = s.c, p->f = s.f;
  moon__winograd_tiles_of(&s.g, s.tile, s.backward, &p->source, &p->target);
  c->kernel = s.backward ? MOON_ISA_TEXT(f->isa, "cpu_winograd_input_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_winograd_conv_f32");
  c->why = s.tile == 4 ? "F(4, 3)" : "F(2, 3)";
  c->dense_in = 5;
  choose_blocks(p);
  if (!lay_out(p, f->device, c)) return MOON_ESIZE;
  if (f->epilogue) {
    moon_status status = plan_finish(f, p, c);
    if (status != MOON_OK) return status;
  }
  bool finish = p->finish && !p->finish->plain;
  moon__fast_phase(c, run_prepare, 1);
  if (p->apart) moon__fast_phase(c, run_transform, p->blocks * p->grains);
  if (p->by_position) moon__fast_phase(c, run_position, p->positions * p->column_blocks);
  moon__fast_phase(c, finish ? run_finished : run_product, p->blocks * (p->by_position ? 1 : p->column_blocks));
  if (finish && p->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(p->finish));
  return MOON_OK;
}

/* ---- winograd_filter ---- */

typedef struct filter_plan {
  const moon_gemm_set *set;
  const moon_winograd_set *transforms;
  int64_t tile, c, f, row_blocks;
  bool turned;
} filter_plan;

/* Rows of one panel: w_tap(t) [rows][columns] -> u [positions][c][PANEL]. */
static void transform_rows(const filter_plan *p, const float *w, int64_t tap, int64_t w_row, float *u, int64_t rows, int64_t columns) {
  int64_t positions = (p->tile + 2) * (p->tile + 2);
  const float *x[9];
  float *y[MOON_WINOGRAD_MAX];
  for (int64_t i = 0; i < rows; i++) {
    for (int t = 0; t < 9; t++) x[t] = w + t * tap + i * w_row;
    for (int64_t k = 0; k < positions; k++) {
      y[k] = u + (k * p->c + i) * PANEL;
      if (columns < PANEL) memset(y[k] + columns, 0, (size_t)(PANEL - columns) * sizeof(float));
    }
    p->transforms->filter[p->tile / 4](x, y, columns);
  }
}

/* One job: some rows of one panel. A turned filter has its taps in reverse order, and rows and columns change places. */
static void run_filter(const moon_call *call, int64_t first, int64_t last) {
  const filter_plan *p = call->state;
  float square[9 * FILTER_ROWS * PANEL];
  int64_t positions = (p->tile + 2) * (p->tile + 2), tap = p->c * p->f;
  for (int64_t job = first; job < last; job++) {
    int64_t panels = moon__ceildiv_i64(p->f, PANEL); /* in the order in which w lies */
    int64_t row = (p->turned ? job % p->row_blocks : job / panels) * FILTER_ROWS;
    int64_t column = (p->turned ? job / p->row_blocks : job % panels) * PANEL;
    int64_t rows = moon__min_i64(FILTER_ROWS, p->c - row), columns = moon__min_i64(PANEL, p->f - column);
    float *u = (float *)(void *)call->out[0].data + column * positions * p->c + row * PANEL;
    const float *w = input(call, 0);
    if (!p->turned) {
      transform_rows(p, w + row * p->f + column, tap, p->f, u, rows, columns);
      continue;
    }
    for (int t = 0; t < 9; t++)
      p->set->pack(square + (8 - t) * FILTER_ROWS * PANEL, w + t * tap + column * p->c + row, rows, columns, 1, p->c, PANEL);
    transform_rows(p, square, FILTER_ROWS * PANEL, PANEL, u, rows, columns);
  }
}

bool moon__cpu_winograd_filter_has(const moon_node *node) {
  const moon_shape *w = &node->inputs[0]->type.shape;
  return node->inputs[0]->type.dtype == MOON_DTYPE_f32 && moon__shape_known(w) && w->dim[2] % 16 == 0 && w->dim[3] % 16 == 0 &&
         MOON_ISA_PICK(moon__cpu_isa(), moon__winograd_set)->filter[0];
}
bool moon__cpu_winograd_filter_fits(const moon_fast *f) { return moon__cpu_winograd_filter_has(f->node); }

moon_status moon__cpu_winograd_filter_plan(const moon_fast *f, moon_choice *c) {
  const moon_winograd_attrs *a = f->node->attrs;
  const moon_array *w = &f->in[0];
  filter_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->transforms = MOON_ISA_PICK(f->isa, moon__winograd_set);
  p->tile = a->tile;
  p->turned = a->turned;
  p->c = w->shape[a->turned ? 3 : 2];
  p->f = w->shape[a->turned ? 2 : 3];
  p->row_blocks = moon__ceildiv_i64(p->c, FILTER_ROWS);
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_winograd_filter_f32");
  c->why = "panels of 32";
  c->dense_in = 1;
  if (p->c == 0 || p->f == 0) return MOON_OK;
  moon__fast_phase(c, run_filter, p->row_blocks * moon__ceildiv_i64(p->f, PANEL));
  return MOON_OK;
}
