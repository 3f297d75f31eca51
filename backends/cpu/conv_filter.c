/*
** conv_filter.c: f32 conv_filter_grad (x [n, s.., c], dy [n, o.., f]) -> dw [k.., c / groups, f] by register tiles of gemm.h: a
** tile's rows are channels of x at one tap, its columns channels of dy, and k runs over places, a line of dy a segment. Both are
** read where they lie. With few channels, neighbouring taps of a line are rows of one tile, but for the places where only some
** lie inside x. Long sums are cut over lines of places; the parts are added up in a second phase, in order.
*/
#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "gemm.h"
#include "span.h"

enum { MAX_SEGMENTS = 128, CACHE_BYTES = 256 * 1024, LINE = 64, PARTIAL_FLOATS = 16 << 20, SUM_BLOCK = 4096 };

typedef struct filter_plan {
  const moon_gemm_set *set;
  moon_geometry g;
  bool merged;
  int64_t c_group, f_group, lines, taps; /* taps: of the window, or lines of taps when merged */
  int64_t rows, row_block, column_block, row_blocks, column_blocks;
  int64_t segments, lines_per_segment, lines_at_once;
  int width, height;
} filter_plan;

/* One block of dw: rows [row, row + rows) of a tap, columns from column on, summed over lines [first, last). */
typedef struct block {
  const filter_plan *p;
  const float *x, *dy; /* of the group */
  float *dw;           /* of the block */
  int64_t tap[3], row, rows, column, columns, first, last;
} block;

/* Segments for lines from *line on: those whose tap lies inside x. Gives their number. Places [lo, hi) along the last axis. */
static int64_t list_lines(const block *b, int64_t tap2, int64_t lo, int64_t *line, int64_t *x, int64_t *dy) {
  const moon_geometry *g = &b->p->g;
  int64_t n = 0, end = moon__min_i64(b->last, *line + b->p->lines_at_once);
  for (; *line < end; ++*line) {
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

/* Adds places [lo, hi) of each line, tap2 for all rows. */
static void add_places(const block *b, int64_t row, int64_t rows, int64_t tap2, int64_t lo, int64_t hi, bool add) {
  const filter_plan *p = b->p;
  int64_t x[MAX_SEGMENTS], dy[MAX_SEGMENTS], line = b->first, wide = p->width * p->set->lanes;
  int height = moon__gemm_height(rows, p->height);
  float *dw = b->dw + (row - b->row) * p->g.c_out;
  do {
    int64_t n = lo < hi ? list_lines(b, tap2, lo, &line, x, dy) : 0;
    if (n == 0 && add) continue;
    moon_gemm_tile t = {.a_step = p->g.stride[2] * p->g.c_in, .b_step = p->g.c_out, .c_step = p->g.c_out, .add = add};
    t.nsegments = n, t.length = hi - lo, t.a_segments = x, t.b_segments = dy;
    for (int64_t j = 0; j < b->columns; j += wide) {
      t.a = b->x + row % p->c_group;
      t.b = b->dy + j;
      t.c = dw + j;
      t.columns = moon__min_i64(wide, b->columns - j);
      moon__gemm_panel(p->set, MOON_GEMM_COLUMNS, t, rows, height, height, p->width, false);
    }
    add = true;
  } while (lo < hi && line < b->last);
}

static void run_block(const block *b) {
  const filter_plan *p = b->p;
  int64_t lo, hi, all_lo = 0, all_hi = p->g.out[2];
  if (!p->merged) {
    moon__span_of_tap(&p->g, 2, b->tap[2], &lo, &hi);
    add_places(b, b->row, b->rows, b->tap[2], lo, hi, false);
    return;
  }
  for (int64_t k = 0; k < p->g.window[2]; k++) {
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    all_lo = moon__max_i64(all_lo, lo);
    all_hi = moon__min_i64(all_hi, hi);
  }
  all_hi = moon__max_i64(all_lo, all_hi);
  add_places(b, b->row, b->rows, 0, all_lo, all_hi, false);
  for (int64_t k = 0; k < p->g.window[2]; k++) { /* borders: places that not all taps see */
    moon__span_of_tap(&p->g, 2, k, &lo, &hi);
    if (lo < all_lo) add_places(b, k * p->c_group, p->c_group, k, lo, moon__min_i64(hi, all_lo), true);
    if (hi > all_hi) add_places(b, k * p->c_group, p->c_group, k, moon__max_i64(lo, all_hi), hi, true);
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
  p->row_block = p->merged ? p->rows : moon__min_i64(p->rows, 5 * height);
  p->column_block = moon__min_i64(columns, 4 * p->width * lanes);
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
  int64_t line_bytes = 4 * (g->in[2] * moon__min_i64(p->row_block, p->c_group) + g->out[2] * p->column_block);
  p->lines_at_once = moon__min_i64(MAX_SEGMENTS, moon__max_i64(1, CACHE_BYTES / moon__max_i64(1, line_bytes)));
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
