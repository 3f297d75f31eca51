/*
** conv_chain.c: f32 convolutions of a chain that run together, strip by strip: a job makes some rows of one image of the last one's
** result, and before that, into memory that stays in a near cache, the rows of each that the next one's windows see. A strip takes the
** rows that it shares with the strip before from there when the same slot has just made that; else it makes them again, to the same
** bits. What each does is a plan of conv_plan.c, over rows. Letters: y, the result of the last.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/size.h"
#include "conv_plan.h"
#include "plain.h"
#include "slots.h"

enum { NOTE_BYTES = 64 };                  /* before the rows of a slot: the strip that they are of */
enum { LEAST_ROWS = 7, MOST_ROW_US = 120 }; /* of an image; of a row of y, as strips must have some */

typedef struct chain_plan {
  int n;
  moon_conv_plan *link[MOON_MAX_LINKS];
  int operands[MOON_MAX_LINKS]; /* inputs of the call that stand before the link's; of a later link one more, as if it had an x */
  int64_t rows, strips;         /* of y: rows of a job; jobs of an image */
  int64_t at[MOON_MAX_LINKS - 1]; /* rows of each link but the last in a slot: bytes */
  size_t slots, slot_bytes;
  int64_t nslots;
} chain_plan;

/* ---- Running ---- */

/* Rows [*from, *to) of the source that rows [*from, *to) of the target see. */
static void see(const moon_conv_plan *p, int64_t *from, int64_t *to) {
  const moon_geometry *g = &p->g;
  int64_t lo = *from * g->stride[1] - g->pad_lo[1], hi = (*to - 1) * g->stride[1] - g->pad_lo[1] + (g->window[1] - 1) * g->dilation[1];
  *from = moon__min_i64(g->in[1], moon__max_i64(0, lo));
  *to = moon__max_i64(*from, moon__min_i64(g->in[1], hi + 1));
}

/* Rows of each link's result that a strip needs. */
static void list_rows(const chain_plan *p, int64_t strip, int64_t *from, int64_t *to) {
  int last = p->n - 1;
  from[last] = strip * p->rows;
  to[last] = moon__min_i64(p->link[last]->target_size[1], from[last] + p->rows);
  for (int k = last; k > 0; k--) {
    from[k - 1] = from[k], to[k - 1] = to[k];
    see(p->link[k], &from[k - 1], &to[k - 1]);
  }
}

static int64_t row_of(const moon_conv_plan *p) { return p->target_size[2] * p->target_channels; }

/* A link's rows [begin, to) of an image; what it reads and writes lies where the chain keeps it. */
static moon_conv_block block_of(const moon_conv_plan *p, int64_t image, int64_t begin, int64_t to) {
  return (moon_conv_block){.first_image = image, .last_image = image + 1, .columns = p->target_channels, .from = {0, begin, 0},
                           .to = {1, to, p->target_size[2]}};
}

/* Brings the rows that the strip before made to the front. Gives the first that is to be made. */
static int64_t keep_rows(const chain_plan *p, int k, float *rows, int64_t strip, int64_t from) {
  int64_t old_from[MOON_MAX_LINKS], old_to[MOON_MAX_LINKS], row = row_of(p->link[k]);
  list_rows(p, strip - 1, old_from, old_to);
  if (old_to[k] <= from) return from;
  memmove(rows, rows + (from - old_from[k]) * row, (size_t)((old_to[k] - from) * row) * sizeof *rows);
  return old_to[k];
}

/* call: as each link sees it. */
static void run_strip(const chain_plan *p, const moon_call *call, int64_t job, char *slot, moon_finishing *finishing) {
  int64_t image = job / p->strips, strip = job % p->strips, *done = (int64_t *)(void *)slot;
  int64_t from[MOON_MAX_LINKS], to[MOON_MAX_LINKS], skip = 0;
  const float *source = (const float *)(const void *)call[0].in[0].data;
  bool follows = strip > 0 && *done == job - 1;
  list_rows(p, strip, from, to);
  for (int k = 0; k < p->n; k++) {
    const moon_conv_plan *link = p->link[k];
    bool last = k == p->n - 1;
    float *target = (float *)(void *)(last ? call[k].out[link->place].data : slot + p->at[k]);
    int64_t here = last ? 0 : (image * link->target_size[1] + from[k]) * row_of(link);
    moon_conv_block b = block_of(link, image, !last && follows ? keep_rows(p, k, target, strip, from[k]) : from[k], to[k]);
    moon__conv_make(link, &call[k], &b, source, skip, target, here);
    if (last && finishing) moon__conv_finish(link, finishing, &b);
    source = target;
    skip = here;
  }
  *done = job;
}

static void run_strips(const chain_plan *p, const moon_call *call, int64_t first, int64_t last, moon_finishing *finishing) {
  char *slots = call->scratch + p->slots;
  int slot = moon__slot_take(slots);
  for (int64_t job = first; job < last; job++)
    run_strip(p, call, job, slots + MOON_SLOTS_BYTES + (size_t)slot * p->slot_bytes, finishing);
  moon__slot_give(slots, slot);
}

static void list_calls(const chain_plan *p, const moon_call *call, moon_call *own) {
  for (int k = 0; k < p->n; k++) {
    own[k] = *call;
    own[k].in += p->operands[k];
  }
}

static void run(const moon_call *call, int64_t first, int64_t last) {
  moon_call own[MOON_MAX_LINKS];
  list_calls(call->state, call, own);
  run_strips(call->state, own, first, last, NULL);
}

static void run_finished(const moon_call *call, int64_t first, int64_t last) {
  const chain_plan *p = call->state;
  moon_call own[MOON_MAX_LINKS];
  moon_finishing r;
  list_calls(p, call, own);
  moon__finish_begin(&r, p->link[p->n - 1]->finish, &own[p->n - 1]);
  run_strips(p, own, first, last, &r);
}

static void run_prepare(const moon_call *call, int64_t first, int64_t last) {
  const chain_plan *p = call->state;
  char *slots = call->scratch + p->slots;
  (void)first, (void)last;
  moon__slots_clear(slots);
  for (int64_t i = 0; i < p->nslots; i++) *(int64_t *)(void *)(slots + MOON_SLOTS_BYTES + (size_t)i * p->slot_bytes) = -1;
}

/* ---- Plan ---- */

static bool is_f32(const moon_node *n) {
  bool all = true;
  for (int i = 0; i < n->ninputs; i++) all &= n->inputs[i]->type.dtype == MOON_DTYPE_f32;
  return all && (n->op->id == MOON_OP_conv || n->op->id == MOON_OP_conv_packed);
}

static double map_bytes(const moon_geometry *g) {
  return (double)moon__sizes_count(3, g->out) * (double)g->c_out * sizeof(float);
}

/* Do the weights of a 1x1 product, which each image reads, take less than what is between it and the other? */
static bool is_light(const moon_geometry *product, const moon_geometry *first) {
  return (double)product->c_in * (double)product->c_out * sizeof(float) <= map_bytes(first);
}

/* Pays where what lies between takes a good part of a second-level cache, of which other maps and weights take theirs; a third link
** comes for nothing then. Measured: with less, the rows that two threads both make cost more. */
bool moon__cpu_chains(const moon_device *device, moon_node *const *products, int n) {
  moon_geometry g[MOON_MAX_LINKS] = {0};
  bool apart[MOON_MAX_LINKS] = {false};
  (void)device;
  for (int i = 0; i < n; i++) {
    if (!is_f32(products[i])) return false;
    g[i] = moon__conv_geometry(products[i]);
    apart[i] = g[i].groups > 1 && g[i].groups == g[i].c_in && g[i].groups == g[i].c_out;
    if ((!apart[i] && g[i].groups > 1) || g[i].out[0] != 1 || g[i].in[0] != 1) return false;
    if (g[i].out[1] < LEAST_ROWS) return false;
  }
  const moon_geometry *last = &g[n - 1];
  bool after = apart[n - 2] && !apart[n - 1] && moon__conv_is_pointwise(last) && is_light(last, &g[n - 2]);
  if (n > 2) return after && !apart[0];
  bool before = !apart[0] && apart[1] && is_light(&g[0], &g[0]);
  return (before || after) && map_bytes(&g[0]) * (double)g[0].batch >= (double)moon__cache_bytes(2) / 4;
}

static void free_chain(moon_runtime *runtime, void *state) {
  chain_plan *p = state;
  for (int k = 0; k < p->n; k++) moon__free(runtime, p->link[k]);
  moon__free(runtime, p);
}

/* Plans each link, and says which operands must be dense. */
static moon_status plan_links(moon_fast *f, chain_plan *p, const moon_link *links, int n, moon_choice *c) {
  int at = 0;
  for (int k = 0; k < n; k++) {
    moon_choice own = {0};
    f->node = links[k].node;
    f->epilogue = links[k].epilogue;
    f->in = links[k].in;
    f->nin = links[k].nin;
    f->out = &links[k].product;
    moon_status s = moon__conv_plan_link(f, &own);
    p->link[k] = own.state;
    p->n = k + 1;
    if (s != MOON_OK) return s;
    const moon_finish *finish = p->link[k]->finish;
    bool known = !finish || finish->plain || p->link[k]->clamp;
    bool start = finish && finish->start >= 0, fixed = !start || finish->in[finish->start].row_step == 0;
    if (k < n - 1 && !(known && fixed)) return MOON_EUNSUPPORTED;
    p->operands[k] = at - (k > 0);
    c->dense_in |= k > 0 ? own.dense_in >> 1 << at : own.dense_in;
    at += links[k].nin - (k > 0);
  }
  return MOON_OK;
}

static int64_t image_rows(const chain_plan *p) { return p->link[p->n - 1]->target_size[1]; }

/* Bytes of a slot where a strip has so many rows. */
static bool lay_out(chain_plan *p, int64_t rows, int64_t *bytes) {
  int64_t most[MOON_MAX_LINKS] = {0}, from[MOON_MAX_LINKS], to[MOON_MAX_LINKS];
  p->rows = rows;
  p->strips = moon__ceildiv_i64(image_rows(p), rows);
  for (int64_t i = 0; i < p->strips; i++) {
    list_rows(p, i, from, to);
    for (int k = 0; k < p->n; k++) most[k] = moon__max_i64(most[k], to[k] - from[k]);
  }
  *bytes = NOTE_BYTES;
  for (int k = 0; k < p->n - 1; k++) {
    int64_t own;
    p->at[k] = *bytes;
    if (!moon__mul_i64(most[k] * (int64_t)sizeof(float), row_of(p->link[k]), &own)) return false;
    *bytes += moon__ceildiv_i64(own, 64) * 64; /* of what a tensor holds, and so far below the end of the address space */
  }
  return true;
}

/* Strips of a few dozen microseconds whose rows take at most half of the second-level cache; MOON_EUNSUPPORTED: a row is too long. */
static moon_status cut_strips(chain_plan *p, int64_t *bytes) {
  double us = 0;
  for (int k = 0; k < p->n; k++) {
    const moon_conv_plan *link = p->link[k];
    us += moon__conv_work_us(link, (double)(link->target_size[1] * link->target_size[2]), (double)link->target_channels);
  }
  int64_t rows = image_rows(p), batch = p->link[0]->g.batch, room = moon__cache_bytes(2) / 2;
  double all = us * (double)batch, most = moon__conv_most_us(all);
  if (us / (double)rows > MOST_ROW_US) return MOON_EUNSUPPORTED;
  if (us > most) rows = moon__conv_block_for(rows, 1, (double)rows * most / us, us / (double)rows);
  if (!lay_out(p, rows, bytes)) return MOON_ESIZE;
  while (p->rows > 1 && *bytes > room)
    if (!lay_out(p, p->rows - 1, bytes)) return MOON_ESIZE;
  return *bytes > room ? MOON_EUNSUPPORTED : MOON_OK;
}

moon_status moon__cpu_chain_plan(moon_fast *f, const moon_link *links, int n, moon_choice *c) {
  chain_plan *p = moon__fast_state(f, c, sizeof *p);
  int64_t bytes;
  if (!p) return MOON_EMEMORY;
  c->free_state = free_chain;
  moon_status s = plan_links(f, p, links, n, c);
  if (s != MOON_OK) return s;
  c->kernel = MOON_ISA_TEXT(f->isa, "cpu_conv_chain_f32");
  c->why = "strip by strip";
  if ((s = cut_strips(p, &bytes)) != MOON_OK) return s;
  int64_t jobs = p->link[0]->g.batch * p->strips;
  const moon_conv_plan *last = p->link[n - 1];
  p->slot_bytes = (size_t)bytes;
  p->nslots = moon__slots_needed(f->device, jobs);
  if (!moon__fast_scratch(c, &p->slots, 1, MOON_SLOTS_BYTES + p->nslots * bytes)) return MOON_ESIZE;
  moon__fast_phase(c, run_prepare, 1);
  moon__fast_phase(c, last->finish && !last->finish->plain && !last->clamp ? run_finished : run, jobs);
  return MOON_OK;
}
