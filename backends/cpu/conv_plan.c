/*
** conv_plan.c: how f32 conv and conv_input_grad are computed directly: which weights are packed, how the work is cut into jobs of so
** many microseconds, and whether the loop that finishes it is one that the kernels know themselves. What runs is in conv_fast.c.
*/
#include "conv_plan.h"

#include <math.h>
#include <string.h>

#include "base/os.h"
#include "base/size.h"
#include "plain.h"

enum { PANEL = MOON_CONV_PANEL };
typedef moon_conv_plan conv_plan;

static bool is_dense_f32(const moon_array *a) { return a->dtype == MOON_DTYPE_f32; }

bool moon__cpu_conv_fits(const moon_fast *f) {
  return is_dense_f32(&f->in[0]) && is_dense_f32(&f->in[1]) && is_dense_f32(&f->out[0]);
}

/* All places of all images become one axis. */
static void flatten(moon_geometry *g) {
  if (!moon__conv_is_pointwise(g)) return;
  g->in[2] = g->out[2] = g->batch * g->in[0] * g->in[1] * g->in[2];
  g->in[0] = g->in[1] = g->out[0] = g->out[1] = g->batch = 1;
}

double moon__conv_work_us(const conv_plan *p, double places, double columns) {
  double taps = (double)p->taps;
  if (p->backward) taps /= (double)p->g.stride[0] * (double)p->g.stride[1] * (double)p->g.stride[2];
  double rate = p->set->lanes == 16 ? 180e3 : p->set->lanes == 8 ? 90e3 : 15e3;
  double depth = p->depthwise ? 3 : (double)p->source_group;
  return 2 * places * columns * (taps < 1 ? 1 : taps) * depth / rate + places * 0.002;
}

static void set_roles(conv_plan *p) {
  const moon_geometry *g = &p->g;
  memcpy(p->source_size, p->backward ? g->out : g->in, sizeof p->source_size);
  memcpy(p->target_size, p->backward ? g->in : g->out, sizeof p->target_size);
  p->source_channels = p->backward ? g->c_out : g->c_in;
  p->target_channels = p->backward ? g->c_in : g->c_out;
  p->taps = g->window[0] * g->window[1] * g->window[2];
  p->source_group = p->source_channels / g->groups;
  p->target_group = p->target_channels / g->groups;
  p->depthwise = g->groups > 1 && p->source_group == 1 && p->target_group == 1;
  p->merged = !p->backward && !p->depthwise && g->groups == 1 && g->dilation[2] == 1;
}

/* Pays where each row of weights lies on a page of its own or falls onto the sets of another, and each weight is used often. */
static bool wants_panels(const conv_plan *p, int64_t places) {
  if (p->depthwise) return false;
  return p->backward || (p->g.c_out >= 128 && p->source_group >= 32 && places >= 1024);
}

/* Do weights outweigh what is read and written? Then jobs share places and each has its own weights; else each has its own places, which
** it finds where its thread wrote them before: in its cache. Depthwise ones do as the products around them, which have so many. */
static bool shares_places(const conv_plan *p) {
  double places = (double)moon__sizes_count(3, p->source_size) * (double)p->source_channels +
                  (double)moon__sizes_count(3, p->target_size) * (double)p->target_channels;
  double weights = p->depthwise ? (double)p->target_channels * (double)p->target_channels / 4
                                : (double)p->taps * (double)p->source_group * (double)p->target_channels;
  return weights > places * (double)p->g.batch;
}

/* Blocks of at most `most` of an axis, in steps: those with which the busier of two threads is done first. us: of a step. */
int64_t moon__conv_block_for(int64_t size, int64_t step, double most, double us) {
  int64_t best = moon__min_i64(size, step);
  double least = INFINITY;
  int64_t end = moon__min_i64(size, moon__max_i64(best, (int64_t)most));
  for (int64_t block = best; block <= end; block += step) {
    int64_t n = moon__ceildiv_i64(size, block);
    double time = (double)((n + 1) / 2 * moon__ceildiv_i64(block, step)) * us + (double)n * 0.1;
    if (time <= least) best = block, least = time;
  }
  return best;
}

static void cut_columns(const conv_plan *p, moon_conv_cut *cut, double most) {
  int64_t wide = cut->panel ? cut->panel : 2 * p->set->lanes;
  double work = moon__conv_work_us(p, (double)(cut->block1 * cut->block2), (double)cut->column_block), columns = (double)cut->column_block;
  if (work > most) cut->column_block = moon__conv_block_for(cut->column_block, wide, columns * most / work, work / columns * (double)wide);
}

static void cut_places(const conv_plan *p, moon_conv_cut *cut, double most) {
  double work = moon__conv_work_us(p, (double)(cut->block1 * cut->block2), (double)cut->column_block), lines = (double)cut->block1;
  if (work > most) cut->block1 = moon__conv_block_for(cut->block1, 1, lines * most / work, work / lines);
  work /= lines;
  double places = (double)cut->block2, tile = (double)p->set->rows[2];
  if (work > most) cut->block2 = moon__conv_block_for(cut->block2, p->set->rows[2], places * most / work, work / places * tile);
}

double moon__conv_most_us(double all) { return all > 480 ? 60 : all > 96 ? all / 8 : 12; } /* at least 8 jobs, where that pays */

/* Jobs of 12 to 60 us: many images, one, or part of one. */
static void cut_jobs(const conv_plan *p, moon_conv_cut *cut) {
  cut->image_block = 1;
  cut->block1 = p->target_size[1];
  cut->block2 = p->target_size[2];
  cut->column_block = p->depthwise ? p->target_channels : p->target_group;
  double image = moon__conv_work_us(p, (double)(cut->block1 * cut->block2), (double)cut->column_block);
  double groups = p->depthwise ? 1 : (double)p->g.groups, all = image * groups * (double)(p->g.batch * p->target_size[0]);
  double most = moon__conv_most_us(all);
  if (image < most / 3) cut->image_block = moon__conv_block_for(p->g.batch, 1, most * 0.7 / image, image);
  bool columns_first = shares_places(p); /* the second cut makes jobs read the same again */
  if (columns_first) cut_columns(p, cut, most);
  cut_places(p, cut, columns_first ? 3 * most : most);
  if (!columns_first) cut_columns(p, cut, 3 * most);
}

/* So many channels of a depthwise convolution that what a stretch of places sees stays in the first-level cache. */
static int64_t channels_at_once(const conv_plan *p, int64_t places) {
  const moon_geometry *g = &p->g;
  int64_t line = moon__min_i64(p->source_size[2], places * g->stride[2] + g->window[2]), bytes = g->window[1] * line * (int64_t)sizeof(float);
  return moon__max_i64(1, moon__cache_bytes(1) * 3 / 4 / bytes / PANEL) * PANEL;
}

/* The numbers of a convolution of these sizes; packed: weights lie in panels already. */
static moon_conv_cut choose(const conv_plan *p, bool packed) {
  moon_conv_cut cut = {.depth = 256, .row_block = p->depthwise ? 32 : 8 * MOON_GEMM_MAX_ROWS};
  if (p->depthwise) cut.channels = channels_at_once(p, cut.row_block);
  int64_t places = p->target_size[0] * p->target_size[1] * p->target_size[2];
  cut.by_taps = p->nspans[0] * p->nspans[1] * p->nspans[2] > 1 && p->source_group >= 96 && places <= 32 * 32;
  cut.panel = packed ? PANEL : wants_panels(p, p->g.batch * places) ? moon__min_i64(PANEL, p->target_group) : 0;
  cut_jobs(p, &cut);
  return cut;
}

static void set_blocks(conv_plan *p) {
  int64_t whole = p->depthwise ? p->target_channels : p->target_group;
  p->image_blocks = moon__ceildiv_i64(p->g.batch, p->cut.image_block);
  p->blocks1 = moon__ceildiv_i64(p->target_size[1], p->cut.block1);
  p->blocks2 = moon__ceildiv_i64(p->target_size[2], p->cut.block2);
  p->column_blocks = moon__ceildiv_i64(whole, p->cut.column_block);
  p->panels = p->cut.panel ? moon__ceildiv_i64(whole, p->cut.panel) : 0;
}

static moon_status plan_loop(const moon_fast *f, conv_plan *p, moon_choice *c) {
  moon_status s = moon__finish_plan(f, p->finish, true, c);
  const moon_finish_input *start = s == MOON_OK && p->finish->start >= 0 ? &p->finish->in[p->finish->start] : NULL;
  if (start && start->row_step != 0 && start->row_step != p->target_channels) s = MOON_EUNSUPPORTED;
  if (s != MOON_OK) return s;
  p->clamp = p->finish->clamps && !p->cut.by_taps;
  return (p->place = moon__finish_place(p->finish, c)) < 0 ? MOON_EUNSUPPORTED : MOON_OK;
}

static moon_status plan_finish(const moon_fast *f, conv_plan *p, moon_choice *c, int64_t parts, int64_t njobs) {
  moon_status s = plan_loop(f, p, c);
  if (s != MOON_OK) return s;
  if (!moon__finish_parts(p->finish, parts, c)) return MOON_ESIZE;
  moon__fast_phase(c, p->finish->plain || p->clamp ? moon__conv_run : moon__conv_run_finished, njobs);
  if (p->finish->reduces) moon__fast_phase(c, moon__conv_combine, moon__finish_combine_jobs(p->finish));
  return MOON_OK;
}

static moon_status plan_pack(conv_plan *p, moon_choice *c) {
  int64_t jobs = p->g.groups * p->panels * p->taps, floats;
  if (!moon__mul_i64(jobs * p->cut.panel, p->source_group, &floats)) return MOON_ESIZE;
  if (!moon__fast_scratch(c, &p->packed, floats, sizeof(float))) return MOON_ESIZE;
  moon__fast_phase(c, moon__conv_pack, jobs);
  return MOON_OK;
}

static conv_plan *plan_new(const moon_fast *f, moon_choice *c, moon_geometry *g, bool backward) {
  int64_t (*spans)(const moon_geometry *, int, moon_span *) = backward ? moon__spans_backward : moon__spans_forward;
  int64_t count[3], total = 0, bytes;
  for (int i = 0; i < 3; i++) total += count[i] = spans(g, i, NULL);
  if (!moon__mul_i64(total, (int64_t)sizeof(moon_span), &bytes)) return NULL;
  conv_plan *p = moon__fast_state(f, c, sizeof *p + (f->epilogue ? sizeof *p->finish : 0) + (size_t)bytes);
  if (!p) return NULL;
  p->g = *g;
  p->backward = backward;
  p->set = MOON_ISA_PICK(f->isa, moon__gemm_set);
  p->conv = MOON_ISA_PICK(f->isa, moon__conv_set);
  p->finish = f->epilogue ? (moon_finish *)(void *)(p + 1) : NULL;
  set_roles(p);
  moon_span *at = p->finish ? (moon_span *)(void *)(p->finish + 1) : (moon_span *)(void *)(p + 1);
  for (int i = 0; i < 3; at += count[i++]) {
    p->spans[i] = at;
    p->nspans[i] = (int)spans(g, i, at);
  }
  return p;
}

static bool is_empty(const conv_plan *p) {
  return p->g.batch == 0 || p->target_channels == 0 || p->nspans[0] == 0 || p->nspans[1] == 0 || p->nspans[2] == 0;
}

static moon_status plan_conv(const moon_fast *f, moon_choice *c, bool backward) {
  moon_geometry g = moon__conv_geometry(f->node);
  bool packed = f->node->op->id == MOON_OP_conv_packed;
  flatten(&g);
  conv_plan *p = plan_new(f, c, &g, backward);
  if (!p) return MOON_EMEMORY;
  c->dense_in = packed ? 7 : 3; /* what follows are operands of the finishing loop, of any strides */
  c->kernel = backward ? MOON_ISA_TEXT(f->isa, "cpu_conv_input_grad_f32") : MOON_ISA_TEXT(f->isa, "cpu_conv_f32");
  if (is_empty(p)) return f->epilogue ? MOON_EUNSUPPORTED : MOON_OK; /* nothing to compute */
  p->cut = choose(p, packed);
  p->pack = p->cut.panel && !packed;
  set_blocks(p);
  c->why = p->depthwise ? "depthwise" : p->cut.panel ? "direct, channels last, packed filter" : "direct, channels last";
  moon_status s = p->pack ? plan_pack(p, c) : MOON_OK;
  if (s != MOON_OK) return s;
  int64_t parts = p->image_blocks * p->target_size[0] * p->blocks1 * p->blocks2, groups = p->depthwise ? 1 : g.groups;
  if (p->finish) return plan_finish(f, p, c, parts, parts * groups * p->column_blocks);
  moon__fast_phase(c, moon__conv_run, parts * groups * p->column_blocks);
  return MOON_OK;
}

/* Weights are read where they lie, or packed, unless that were a phase of its own; a loop must not reduce. */
moon_status moon__conv_plan_link(const moon_fast *f, moon_choice *c) {
  moon_geometry g = moon__conv_geometry(f->node);
  bool packed = f->node->op->id == MOON_OP_conv_packed;
  conv_plan *p = plan_new(f, c, &g, false);
  if (!p) return MOON_EMEMORY;
  c->dense_in = packed ? 7 : 3;
  if (is_empty(p)) return MOON_EUNSUPPORTED;
  p->cut = choose(p, packed);
  p->cut.by_taps = false;
  if (!packed) p->cut.panel = 0;
  set_blocks(p);
  moon_status s = p->finish ? plan_loop(f, p, c) : MOON_OK;
  return s == MOON_OK && p->finish && p->finish->reduces ? MOON_EUNSUPPORTED : s;
}

moon_status moon__cpu_conv_plan(const moon_fast *f, moon_choice *c) { return plan_conv(f, c, false); }
moon_status moon__cpu_conv_input_grad_plan(const moon_fast *f, moon_choice *c) { return plan_conv(f, c, true); }
