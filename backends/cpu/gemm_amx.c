/*
** gemm_amx.c: products by the processor's matrix unit (amx.h), of bf16 matrices and of f32 ones, with f32 sums.
** Shape letters: a [m, k], b [k, n], c [m, n], each times a batch.
**
** An f32 number is the sum of three of bf16, so a product of f32 matrices is six of bf16, which the unit still makes in less time than
** vectors take. Its sums are nearer to the true ones than those of a chain of multiply-adds, since pairs are added at a time. What an
** infinity makes of its parts is mended afterwards.
** A first phase packs the operand that is shorter across into strips of tiles; jobs share it. Each job packs 64 rows or columns of
** the other one for itself, a part of k at a time, and goes over a block of the shared strips that stays in the second-level cache.
** A loop that finishes the product runs over each block, which is on the stack then.
*/
#include "amx.h"

#include <string.h>

#include "base/os.h"
#include "base/size.h"
#include "epilogue.h"
#include "fast.h"
#include "gemm_tuning.h"
#include "plain.h"

/* Numbers of bf16 that a job packs, strips of 16 that it owns at most, and sums, both on the stack; two strips are a block's side. */
enum { OWN_HALVES = 49152, OWN_STRIPS = 4, SUMS = 8192, SIDE = 2 * MOON_AMX_ROWS };

typedef struct amx_plan {
  moon_isa isa;
  bool of_f32;
  int64_t m, n, k, batch;
  moon_product_axes axes;
  moon_amx_side own, shared;
  int64_t tile;                      /* numbers of a tile, or of the three of f32 */
  int64_t ntiles, depth;             /* tiles along k, and of them packed by a job at a time */
  int64_t own_block, shared_block;   /* of a job; the shared one is gone through sub_block at a time */
  int64_t sub_block;
  int64_t own_blocks, shared_blocks, shared_strips, matrices; /* shared strips of a matrix; shared matrices that differ */
  int64_t row_block, row_blocks;     /* rows of c that are finished together, which are a part to a loop that reduces */
  size_t packed, infinite;           /* in scratch: the strips, and of each two of them whether one holds an infinity */
  moon_finish *finish;               /* behind the plan; NULL: none */
} amx_plan;

static const char *matrix(const amx_plan *g, const moon_call *call, const moon_amx_side *s, int64_t batch) {
  const moon_array *x = &call->in[s->is_a ? 0 : 1];
  return moon__at(x, moon__offset_at(g->axes.n, g->axes.size, s->is_a ? g->axes.a : g->axes.b, batch));
}

/* ---- Packing ---- */

static uint16_t *shared_strip(const amx_plan *g, const moon_call *call, int64_t which, int64_t strip) {
  return (uint16_t *)(void *)(call->scratch + g->packed) + (which * g->shared_strips + strip) * g->ntiles * g->tile;
}

/* A job packs two strips. */
static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const amx_plan *g = call->state;
  for (int64_t job = first; job < last; job++) {
    int64_t which = job / (g->shared_strips / 2), strip = job % (g->shared_strips / 2) * 2;
    uint16_t *out = shared_strip(g, call, which, strip);
    call->scratch[g->infinite + (size_t)job] =
        moon__amx_pack(g->isa, &g->shared, matrix(g, call, &g->shared, which), strip, 2, 0, g->ntiles, out, g->ntiles * g->tile);
  }
}

/* ---- Blocks of sums ---- */

/* Rows [i, i + m) and columns [j, j + n) of a product of the batch. */
typedef struct block { int64_t batch, i, j, m, n; } block;

/* What a job packed of its own operand: from tile `at` on (-1: nothing yet). */
typedef struct own_part {
  _Alignas(64) uint16_t tiles[OWN_HALVES];
  int64_t at;
  bool infinite;
} own_part;

static void multiply(const amx_plan *g, const moon_call *call, const block *at, const own_part *own, int64_t t, int64_t depth, float *c,
                     int64_t c_step) {
  const bool own_a = g->own.is_a;
  int64_t own_step = depth * g->tile, shared_step = g->ntiles * g->tile;
  int64_t across = own_a ? at->m : at->n, along = own_a ? at->n : at->m, first = own_a ? at->j : at->i;
  for (int64_t x = 0; x < along; x += SIDE) {
    const uint16_t *shared = shared_strip(g, call, g->matrices > 1 ? at->batch : 0, (first + x) / MOON_AMX_ROWS) + t * g->tile;
    for (int64_t y = 0; y < across; y += SIDE) {
      const uint16_t *mine = own->tiles + y / MOON_AMX_ROWS * own_step;
      if (own_a) moon__amx_block(c + y * c_step + x, c_step, mine, own_step, shared, shared_step, depth, g->of_f32, t > 0);
      else moon__amx_block(c + x * c_step + y, c_step, shared, shared_step, mine, own_step, depth, g->of_f32, t > 0);
    }
  }
}

static void make_sums(const amx_plan *g, const moon_call *call, const block *at, own_part *own, float *c, int64_t c_step) {
  int64_t strips = moon__ceildiv_i64(g->own.is_a ? at->m : at->n, SIDE) * 2;
  int64_t first = (g->own.is_a ? at->i : at->j) / MOON_AMX_ROWS;
  for (int64_t t = 0; t < g->ntiles; t += g->depth) {
    int64_t depth = moon__min_i64(g->depth, g->ntiles - t);
    if (own->at != t) {
      const char *x = matrix(g, call, &g->own, at->batch);
      own->infinite |= moon__amx_pack(g->isa, &g->own, x, first, strips, t, depth, own->tiles, depth * g->tile);
      own->at = t;
    }
    multiply(g, call, at, own, t, depth, c, c_step);
  }
}

static void mend(const amx_plan *g, const moon_call *call, const block *at, float *c, int64_t c_step) {
  const moon_amx_side *a = g->own.is_a ? &g->own : &g->shared, *b = g->own.is_a ? &g->shared : &g->own;
  const float *x = (const float *)(const void *)matrix(g, call, a, at->batch) + at->i * a->across;
  const float *y = (const float *)(const void *)matrix(g, call, b, at->batch) + at->j * b->across;
  moon__amx_mend(c, c_step, x, a->across, a->along, y, b->along, b->across, at->m, at->n, g->k);
}

static bool has_infinity(const amx_plan *g, const moon_call *call, const block *at, const own_part *own) {
  int64_t first = g->own.is_a ? at->j : at->i, size = g->own.is_a ? at->n : at->m;
  const char *pairs = call->scratch + g->infinite + (g->matrices > 1 ? at->batch : 0) * (g->shared_strips / 2);
  bool any = own->infinite;
  for (int64_t x = first / SIDE; x < moon__ceildiv_i64(first + size, SIDE); x++) any |= pairs[x] != 0;
  return any;
}

/* The block's sums: in c itself, or on the stack where they are cut off or not yet what is wanted. */
static void make_block(const amx_plan *g, const moon_call *call, const block *at, own_part *own, bool in_place, moon_finishing *finishing) {
  _Alignas(64) float sums[SUMS];
  float *c = (float *)(void *)call->out[0].data + (at->batch * g->m + at->i) * g->n + at->j;
  float *to = in_place ? c : sums;
  int64_t step = in_place ? g->n : moon__ceildiv_i64(at->n, SIDE) * SIDE;
  make_sums(g, call, at, own, to, step);
  if (has_infinity(g, call, at, own)) mend(g, call, at, to, step);
  if (finishing) {
    int64_t part = at->batch * g->row_blocks + at->i / g->row_block;
    moon__finish_block(finishing, sums, step, at->batch * g->m + at->i, at->m, at->j, at->n, part, true);
  } else if (!in_place) {
    for (int64_t i = 0; i < at->m; i++) memcpy(c + i * g->n, sums + i * step, (size_t)at->n * sizeof *c);
  }
}

static void run_blocks(const moon_call *call, int64_t first, int64_t last) {
  const amx_plan *g = call->state;
  own_part own;
  moon_finishing finishing;
  bool finish = g->finish && !g->finish->plain;
  if (first >= last) return;
  if (finish) moon__finish_begin(&finishing, g->finish, call);
  moon__amx_begin();
  for (int64_t job = first; job < last; job++) {
    int64_t own_at = job % g->own_blocks * g->own_block, own_size = moon__min_i64(g->own_block, g->own.size - own_at);
    int64_t shared_at = job / g->own_blocks % g->shared_blocks * g->shared_block;
    int64_t end = moon__min_i64(shared_at + g->shared_block, g->shared.size);
    bool in_place = !finish && own_size % SIDE == 0 && (end - shared_at) % SIDE == 0;
    own.at = -1;
    own.infinite = false;
    for (int64_t size; shared_at < end; shared_at += size) {
      size = in_place ? end - shared_at : moon__min_i64(g->sub_block, end - shared_at);
      block at = {.batch = job / g->own_blocks / g->shared_blocks, .i = shared_at, .j = own_at, .m = size, .n = own_size};
      if (g->own.is_a) at.i = own_at, at.j = shared_at, at.m = own_size, at.n = size;
      make_block(g, call, &at, &own, in_place, finish ? &finishing : NULL);
    }
  }
  moon__amx_end();
}

static void run_combine(const moon_call *call, int64_t first, int64_t last) {
  const amx_plan *g = call->state;
  moon__finish_combine(g->finish, call, first, last);
}

/* ---- Plan ---- */

/* Shared strips of a job take three quarters of the second-level cache: where they are cut, what jobs own is packed again for each part.
** Whatever is finished at a time takes the stack. */
static void choose_blocks(amx_plan *g) {
  int64_t most_depth = OWN_HALVES / OWN_STRIPS / g->tile, bytes = g->ntiles * g->tile / MOON_AMX_ROWS * 2, own = OWN_STRIPS * MOON_AMX_ROWS;
  int64_t fit = moon__max_i64(2 * SIDE, moon__cache_bytes(2) * 3 / 4 / bytes);
  g->depth = moon__ceildiv_i64(g->ntiles, moon__ceildiv_i64(g->ntiles, most_depth));
  g->shared_blocks = moon__ceildiv_i64(g->shared.size, fit);
  g->own_block = g->own.size * g->shared_blocks * g->batch >= 8 * own ? own : SIDE;
  g->own_blocks = moon__ceildiv_i64(g->own.size, g->own_block);
  int64_t size = moon__ceildiv_i64(g->shared.size, g->shared_blocks), subs = moon__ceildiv_i64(size, SUMS / g->own_block);
  g->sub_block = moon__ceildiv_i64(moon__ceildiv_i64(size, subs), SIDE) * SIDE;
  g->shared_block = g->sub_block * subs;
  g->shared_blocks = moon__ceildiv_i64(g->shared.size, g->shared_block);
  g->row_block = g->own.is_a ? g->own_block : g->sub_block;
  g->row_blocks = moon__ceildiv_i64(g->m, g->row_block);
}

static bool lay_out(amx_plan *g, moon_choice *c) {
  int64_t bytes;
  g->shared_strips = moon__ceildiv_i64(g->shared.size, SIDE) * 2;
  return moon__mul_i64(g->shared_strips, g->ntiles * g->tile * 2, &bytes) && moon__fast_scratch(c, &g->packed, g->matrices, bytes) &&
         moon__fast_scratch(c, &g->infinite, g->matrices, g->shared_strips / 2);
}

static moon_status plan_phases(const moon_fast *f, amx_plan *g, moon_choice *c) {
  if (f->epilogue) {
    g->finish = (moon_finish *)(void *)(g + 1);
    moon_status s = moon__finish_plan(f, g->finish, false, c);
    if (s != MOON_OK) return s;
    if (!moon__finish_parts(g->finish, g->batch * g->row_blocks, c)) return MOON_ESIZE;
  }
  moon__fast_phase(c, run_pack, g->matrices * g->shared_strips / 2);
  moon__fast_phase(c, run_blocks, g->batch * g->own_blocks * g->shared_blocks);
  if (g->finish && !g->finish->plain && g->finish->reduces) moon__fast_phase(c, run_combine, moon__finish_combine_jobs(g->finish));
  return MOON_OK;
}

/* p: what c = a b is; the axes of the batch are in g. */
static moon_status plan(const moon_fast *f, moon_choice *c, amx_plan *g, const moon_product *p) {
  g->isa = f->isa;
  g->of_f32 = f->in[0].dtype == MOON_DTYPE_f32;
  g->m = p->m, g->n = p->n, g->k = p->k, g->batch = p->batch;
  moon_amx_side a = {.is_a = true, .of_f32 = g->of_f32, .size = p->m, .k = p->k, .along = p->a_column, .across = p->a_row};
  moon_amx_side b = {.is_a = false, .of_f32 = g->of_f32, .size = p->n, .k = p->k, .along = p->b_row, .across = p->b_column};
  g->own = p->m > p->n ? a : b;
  g->shared = p->m > p->n ? b : a;
  g->tile = moon__amx_tile(g->of_f32);
  g->ntiles = moon__ceildiv_i64(p->k, MOON_AMX_K);
  g->matrices = (p->m > p->n ? moon__product_b_varies : moon__product_a_varies)(&g->axes) ? p->batch : 1;
  choose_blocks(g);
  if (!lay_out(g, c)) return MOON_ESIZE;
  return plan_phases(f, g, c);
}

static amx_plan *plan_new(const moon_fast *f, moon_choice *c) {
  return moon__fast_state(f, c, sizeof(amx_plan) + (f->epilogue ? sizeof(moon_finish) : 0));
}

/* ---- matmul ---- */

/* Many rows and columns. */
static bool pays(int64_t m, int64_t n, int64_t k) { return m > MOON_AMX_ROWS / 2 && n >= MOON_AMX_ROWS && k >= MOON_AMX_ROWS; }

/* Is it clearly faster than vectors, which take f32 as it is? Measured, in ns: packing a number, a block of sums that is stored, operations
** on whole tiles (the unit gives 127 GFLOP/s a core while another machine has its other thread, else 430), operations by vectors; phases. */
static bool wins(const moon_product *p) {
  double m = (double)p->m, n = (double)p->n, k = (double)p->k;
  double blocks = (double)moon__ceildiv_i64(p->m, SIDE) * (double)moon__ceildiv_i64(p->n, SIDE);
  double tiles = blocks * (double)moon__ceildiv_i64(p->k, MOON_AMX_K);
  double unit = 0.4 * (m + n) * k + blocks * 100 + tiles * (SIDE * SIDE * MOON_AMX_K * 2 / 280.0), vectors = m * n * k * 2 / 130;
  return (double)p->batch * (vectors * 0.75 - unit) > 8000;
}

bool moon__cpu_matmul_amx_pays(int64_t m, int64_t n, int64_t k) { return pays(m, n, k) && moon__amx_usable(); }

bool moon__cpu_matmul_amx_fits(const moon_fast *f) {
  moon_product p;
  moon_product_axes axes;
  moon_dtype dtype = f->in[0].dtype;
  if ((dtype != MOON_DTYPE_f32 && dtype != MOON_DTYPE_bf16) || f->out[0].dtype != MOON_DTYPE_f32 ||
      !moon__product_read(&p, &axes, &f->in[0], &f->in[1]) || moon__array_count(&f->out[0]) == 0)
    return false;
  return pays(p.m, p.n, p.k) && (dtype == MOON_DTYPE_bf16 || wins(&p)) && moon__amx_usable();
}

moon_status moon__cpu_matmul_amx_plan(const moon_fast *f, moon_choice *c) {
  amx_plan *g = plan_new(f, c);
  moon_product p;
  if (!g) return MOON_EMEMORY;
  moon__product_read(&p, &g->axes, &f->in[0], &f->in[1]);
  c->kernel = f->in[0].dtype == MOON_DTYPE_f32 ? "cpu_matmul_f32_amx" : "cpu_matmul_bf16_amx";
  c->why = "packed tiles";
  return plan(f, c, g, &p);
}

/* ---- conv whose window is one place, and the gradient of its filter: products over all places of all images ---- */

enum { MOST_PLACES = 8192 }; /* that a gradient sums over: both operands are packed whole then */

static bool read_conv(const moon_node *node, moon_product *p) {
  moon_geometry g = moon__conv_geometry(node);
  int64_t places = g.batch * g.in[0] * g.in[1] * g.in[2], c = g.c_in, f = g.c_out;
  if (g.groups != 1 || node->inputs[0]->type.dtype != MOON_DTYPE_f32 || !moon__conv_is_pointwise(&g)) return false;
  *p = (moon_product){.m = places, .k = c, .n = f, .batch = 1, .a_row = c, .a_column = 1, .b_row = f, .b_column = 1};
  if (node->op->id == MOON_OP_conv_filter_grad) p->m = c, p->k = places, p->a_row = 1, p->a_column = c;
  return pays(p->m, p->n, p->k) && wins(p);
}

bool moon__cpu_conv_amx_wins(const moon_node *node) {
  moon_product p;
  return read_conv(node, &p) && moon__amx_usable();
}

bool moon__cpu_filter_amx_fits(const moon_fast *f) {
  moon_product p;
  return read_conv(f->node, &p) && p.k <= MOST_PLACES && moon__amx_usable();
}

moon_status moon__cpu_filter_amx_plan(const moon_fast *f, moon_choice *c) {
  amx_plan *g = plan_new(f, c);
  moon_product p;
  if (!g) return MOON_EMEMORY;
  read_conv(f->node, &p);
  c->kernel = "cpu_conv_filter_grad_f32_amx";
  c->why = "a product over all places";
  c->dense_in = 3;
  return plan(f, c, g, &p);
}
