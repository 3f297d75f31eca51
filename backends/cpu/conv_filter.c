/*
** conv_filter.c: f32 conv_filter_grad (x [n, s.., c], dy [n, o.., f]) -> dw [k.., c / groups, f] by register tiles of gemm.h: a
** tile's rows are channels of x at one tap, its columns channels of dy, and k runs over places. Where places lie far apart, mostly by
** a power of two, they fall onto the same sets of a cache: then as many as stay near are packed before they are multiplied. With few
** channels, neighbouring taps of a line are rows of one tile, but for the places where only some lie inside x. Long sums are cut
** over lines of places; the parts are added up in a second phase, in order.
*/
#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "gemm.h"
#include "span.h"

/* APART: numbers from place to place from which on packing pays. */
enum { PLACES = 128, MAX_ROWS = 5 * MOON_GEMM_MAX_ROWS, MAX_LANES = 16, MAX_SEGMENTS = 128, APART = 128 };
enum { LINE = 64, PARTIAL_FLOATS = 16 << 20, SUM_BLOCK = 4096 };

typedef struct filter_plan {
  const moon_gemm_set *set;
  moon_geometry g;
  bool merged, packs;
  int64_t c_group, f_group, lines, taps; /* taps: of the window, or lines of taps when merged */
  int64_t rows, row_block, column_block, row_blocks, column_blocks;
  int64_t segments, lines_per_segment;
  int width, height;
} filter_plan;

/* One block of dw: rows [row, row + rows) of a tap, columns from column on, summed over lines [first, last). */
typedef struct block {
  const filter_plan *p;
  const float *x, *dy; /* of the group */
  float *dw;           /* of the block */
  int64_t tap[3], row, rows, column, columns, first, last;
} block;

/* Up to `most` of the lines from *line on whose tap lies inside x: where place lo of each is in x and dy. Gives their number. */
static int64_t list_lines(const block *b, int64_t tap2, int64_t lo, int64_t most, int64_t *line, int64_t *x, int64_t *dy) {
  const moon_geometry *g = &b->p->g;
  int64_t n = 0;
  for (; *line < b->last && n < most; ++*line) {
    int64_t o1 = *line % g->out[1], o0 = *line / g->out[1] % g->out[0], image = *line / g->out[1] / g->out[0];
    int64_t i0 = o0 * g->stride[0] + b->tap[0] * g->dilation[0] - g->pad_lo[0];
    int64_t i1 = o1 * g->stride[1] + b->tap[1] * g->dilation[1] - g->pad_lo[1];
    if (i0 < 0 || i0 >= g->in[0] || i1 < 0 || i1 >= g->in[1]) continue;
    int64_t i2 = lo * g->stride[2] + tap2 * g->dilation[2] - g->pad_lo[2];
    x[n] = (((image * g->in[0] + i0) * g->in[1] + i1) * g->in[2] + i2) * g->c_in;
    dy[n++] = (*line * g->out[2] + lo) * g->c_out;
  }
  return n;
}

/* out [n lines * length, width] = `columns` numbers of each place. */
static void pack_places(const filter_plan *p, float *out, const float *x, const int64_t *lines, int64_t n, int64_t length, int64_t columns,
                        int64_t step, int64_t width) {
  for (int64_t i = 0; i < n; i++, out += length * width) p->set->pack(out, x + lines[i], length, columns, step, 1, width);
}

/* dw += sums over n lines of t's length, for all columns. */
static void add_packed(const block *b, moon_gemm_tile t, int64_t rows, int height, int64_t n, const int64_t *x, const int64_t *dy) {
  const filter_plan *p = b->p;
  _Alignas(64) float xs[PLACES * MAX_ROWS], dys[PLACES * MOON_GEMM_MAX_VECTORS * MAX_LANES];
  const float *from = t.b;
  int64_t wide = p->width * p->set->lanes, length = t.length;
  pack_places(p, xs, t.a, x, n, length, rows, t.a_step, rows);
  t.nsegments = 1, t.length = n * length, t.a_step = rows, t.b_step = wide;
  for (int64_t j = 0; j < b->columns; j += wide, t.c += wide) {
    t.columns = moon__min_i64(wide, b->columns - j);
    pack_places(p, dys, from + j, dy, n, length, t.columns, p->g.c_out, wide);
    t.a = xs, t.b = dys;
    moon__gemm_panel(p->set, MOON_GEMM_COLUMNS, t, rows, height, height, p->width, true);
  }
}

/* The same where they lie. */
static void add_in_place(const block *b, moon_gemm_tile t, int64_t rows, int height, int64_t n, const int64_t *x, const int64_t *dy) {
  const filter_plan *p = b->p;
  int64_t wide = p->width * p->set->lanes;
  t.nsegments = n, t.a_segments = x, t.b_segments = dy;
  for (int64_t j = 0; j < b->columns; j += wide, t.b += wide, t.c += wide) {
    t.columns = moon__min_i64(wide, b->columns - j);
    moon__gemm_panel(p->set, MOON_GEMM_COLUMNS, t, rows, height, height, p->width, false);
  }
}

/* Adds places [lo, hi) of each line, at most PLACES; rows [row, row + rows), the first of them at tap2. */
static void add_places(const block *b, int64_t row, int64_t rows, int64_t tap2, int64_t lo, int64_t hi, bool add) {
  const filter_plan *p = b->p;
  int64_t x[MAX_SEGMENTS], dy[MAX_SEGMENTS], line = b->first;
  moon_gemm_tile t = {.a = b->x + row % p->c_group, .b = b->dy, .c = b->dw + (row - b->row) * p->g.c_out, .length = hi - lo};
  t.a_step = p->g.stride[2] * p->g.c_in, t.b_step = t.c_step = p->g.c_out;
  int64_t most = lo < hi ? (p->packs ? PLACES : 4 * PLACES) / t.length : 0;
  int height = moon__gemm_height(rows, p->height);
  do {
    int64_t n = list_lines(b, tap2, lo, moon__min_i64(most, MAX_SEGMENTS), &line, x, dy);
    t.add = add;
    if (n > 0 && p->packs) add_packed(b, t, rows, height, n, x, dy);
    else if (n > 0 || !add) add_in_place(b, t, rows, height, n, x, dy); /* of no lines: zeros */
    add = true;
  } while (lo < hi && line < b->last);
}

/* The same for lines of any length. */
static void add_lines(const block *b, int64_t row, int64_t rows, int64_t tap2, int64_t lo, int64_t hi, bool add) {
  do {
    int64_t end = moon__min_i64(hi, lo + PLACES);
    add_places(b, row, rows, tap2, lo, end, add);
    add = true;
    lo = end;
  } while (lo < hi);
}

static void run_block(const block *b) {
  const filter_plan *p = b->p;
  int64_t lo, hi, all_lo = 0, all_hi = p->g.out[2];
  if (!p->merged) {
    moon__span_of_tap(&p->g, 2, b->tap[2], &lo, &hi);
    add_lines(b, b->row, b->rows, b->tap[2], lo, hi, false);
    return;
  }
  const int64_t first = b->row / p->c_group, end = (b->row + b->rows) / p->c_group;
  for (int64_t k = first; k < end; k++) {
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    all_lo = moon__max_i64(all_lo, lo);
    all_hi = moon__min_i64(all_hi, hi);
  }
  all_hi = moon__max_i64(all_lo, all_hi);
  add_lines(b, b->row, b->rows, first, all_lo, all_hi, false);
  for (int64_t k = first; k < end; k++) { /* borders: places that not all taps see */
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    if (lo < all_lo) add_lines(b, k * p->c_group, p->c_group, k, lo, moon__min_i64(hi, all_lo), true);
    if (hi > all_hi) add_lines(b, k * p->c_group, p->c_group, k, moon__max_i64(lo, all_hi), hi, true);
  }
}

static void run_filter(const moon_call *call, int64_t first, int64_t last) {
  const filter_plan *p = call->state;
  const moon_geometry *g = &p->g;
  for (int64_t job = first; job < last; job++) {
    int64_t blocks = g->groups * p->taps * p->row_blocks * p->column_blocks;
    int64_t rest = job % blocks, segment = job / blocks; /* neighbours read the same lines */
    block b = {.p = p, .column = rest % p->column_blocks * p->column_block};
    rest /= p->column_blocks;
    b.row = rest % p->row_blocks * p->row_block;
    rest /= p->row_blocks;
    int64_t tap = rest % p->taps, group = rest / p->taps;
    b.rows = moon__min_i64(p->row_block, p->rows - b.row);
    b.columns = moon__min_i64(p->column_block, p->f_group - b.column);
    b.first = segment * p->lines_per_segment;
    b.last = moon__min_i64(p->lines, b.first + p->lines_per_segment);
    int64_t along = p->merged ? 1 : g->window[2];
    b.tap[2] = tap % along, b.tap[1] = tap / along % g->window[1], b.tap[0] = tap / along / g->window[1];
    b.x = (const float *)(const void *)call->in[0].data + group * p->c_group;
    b.dy = (const float *)(const void *)call->in[1].data + group * p->f_group + b.column;
    float *dw = (float *)(void *)(p->segments > 1 ? call->scratch : call->out[0].data);
    dw += segment * g->window[0] * g->window[1] * g->window[2] * p->c_group * g->c_out;
    b.dw = dw + (tap * p->rows + b.row) * g->c_out + group * p->f_group + b.column;
    run_block(&b);
  }
}

static void run_sum(const moon_call *call, int64_t first, int64_t last) {
  const filter_plan *p = call->state;
  int64_t count = p->g.window[0] * p->g.window[1] * p->g.window[2] * p->c_group * p->g.c_out;
  moon__sum_parts((float *)(void *)call->out[0].data, (const float *)(const void *)call->scratch, p->segments, count,
                  moon__min_i64(count, first * SUM_BLOCK), moon__min_i64(count, last * SUM_BLOCK));
}

/* ---- Plan ---- */

/* Windows of one place: all places of all images are one line, cut into lines that the first-level cache holds. */
static void flatten(moon_geometry *g) {
  int64_t n = g->batch * g->in[0] * g->in[1] * g->in[2], line = LINE;
  if (!moon__conv_is_pointwise(g)) return;
  while (n % line != 0) line--;
  if (line < g->out[2]) return;
  g->in[2] = g->out[2] = line;
  g->in[1] = g->out[1] = n / line;
  g->in[0] = g->out[0] = g->batch = 1;
}

static void choose_blocks(filter_plan *p) {
  const moon_geometry *g = &p->g;
  int64_t lanes = p->set->lanes, columns = p->f_group;
  p->rows = p->c_group * (p->merged ? g->window[2] : 1);
  p->width = columns <= lanes ? 1 : p->rows <= p->set->rows[4] && columns > 2 * lanes ? 4 : 2;
  p->height = p->set->rows[p->width];
  int height = moon__gemm_height(p->rows, p->height);
  p->row_block = moon__min_i64(p->rows, p->merged ? MAX_ROWS / p->c_group * p->c_group : 5 * height);
  p->column_block = moon__min_i64(columns, 4 * p->width * lanes);
  p->packs = !p->merged && (g->stride[2] * g->c_in >= APART || g->c_out >= APART);
  p->row_blocks = moon__ceildiv_i64(p->rows, p->row_block);
  p->column_blocks = moon__ceildiv_i64(columns, p->column_block);
  double rate = lanes == 16 ? 160e3 : lanes == 8 ? 80e3 : 15e3;
  double places = (double)p->lines * (double)g->out[2], rows = (double)moon__max_i64(p->row_block, 4);
  double us = 2 * places * rows * (double)p->column_block / rate;
  int64_t count = g->window[0] * g->window[1] * g->window[2] * p->c_group * g->c_out;
  int64_t most = moon__min_i64(p->lines, moon__max_i64(1, PARTIAL_FLOATS / moon__max_i64(1, count)));
  p->segments = us > 80 ? moon__max_i64(1, moon__min_i64((int64_t)(us / 40), most)) : 1;
  p->lines_per_segment = moon__max_i64(1, moon__ceildiv_i64(p->lines, p->segments));
  p->segments = moon__max_i64(1, moon__ceildiv_i64(p->lines, p->lines_per_segment));
}

moon_status moon__cpu_conv_filter_grad_plan(const moon_fast *f, moon_choice *c) {
  c->dense_in = 3;
  filter_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  moon_geometry *g = &p->g;
  *g = moon__conv_geometry(f->node);
  flatten(g);
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->c_group = g->c_in / g->groups;
  p->f_group = g->c_out / g->groups;
  p->lines = g->batch * g->out[0] * g->out[1];
  p->merged = g->groups == 1 && g->dilation[2] == 1 && p->c_group < p->set->rows[2] && g->window[2] > 1;
  p->taps = g->window[0] * g->window[1] * (p->merged ? 1 : g->window[2]);
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_conv_filter_grad_f32");
  c->why = "direct, channels last";
  int64_t count, bytes;
  if (!moon__mul_i64(p->taps * g->window[2] * p->c_group, g->c_out, &count)) return MOON_ESIZE;
  if (g->c_out == 0 || p->c_group == 0) return MOON_OK;
  choose_blocks(p);
  moon__fast_phase(c, run_filter, g->groups * p->taps * p->row_blocks * p->column_blocks * p->segments);
  if (p->segments == 1) return MOON_OK;
  count = g->window[0] * g->window[1] * g->window[2] * p->c_group * g->c_out;
  if (!moon__mul_i64(count, 4 * p->segments, &bytes)) return MOON_ESIZE;
  c->scratch_bytes = (size_t)bytes;
  moon__fast_phase(c, run_sum, moon__ceildiv_i64(count, SUM_BLOCK));
  return MOON_OK;
}
