/* loop_run.c: runs a planned loop, tile by tile. See loop.h. */
#include "loop.h"

#include <string.h>

#include "base/shape.h"
#include "base/size.h"
#include "tensor/tensor.h"

typedef struct running {
  const moon_loop_plan *plan;
  const moon_call *call;
  char *arena;
  char *reg[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS];
} running;

const int64_t moon__loop_ones[3] = {1, 1, 1};

/* ---- Moving tiles ---- */

/* dst[i] = *src for i in [0, n). */
static void splat(char *dst, const char *src, int64_t n, int bytes) {
  char pattern[64];
  int64_t all = n * bytes, at = 0;
  for (int i = 0; i < 64; i += bytes) memcpy(pattern + i, src, (size_t)bytes);
  for (; at + 64 <= all; at += 64) memcpy(dst + at, pattern, 64);
  memcpy(dst + at, pattern, (size_t)(all - at));
}

#define COPY_RUN(T)                                                                  \
  do {                                                                               \
    const T *restrict x = (const T *)(const void *)src;                              \
    T *restrict y = (T *)(void *)dst;                                                \
    for (int64_t i = 0; i < n; i++) y[i * dst_stride] = x[i * src_stride];           \
  } while (0)
void moon__loop_copy(char *dst, int64_t dst_stride, const char *src, int64_t src_stride, int64_t n, int bytes) {
  if (n <= 0) return;
  if (dst_stride == 1 && src_stride == 0 && n > 32) splat(dst, src, n, bytes);
  else if (dst_stride == 1 && src_stride == 1 && n > 16) memcpy(dst, src, (size_t)(n * bytes));
  else if (bytes == 4) COPY_RUN(uint32_t);
  else if (bytes == 8) COPY_RUN(uint64_t);
  else if (bytes == 2) COPY_RUN(uint16_t);
  else COPY_RUN(uint8_t);
}

/* Copies a tile of `block` indices between its box in memory and a dense place; out: from the dense place. */
static void move_box(const moon_box *b, int64_t block, char *memory, char *dense, int bytes, bool out) {
  int64_t index[MOON_MAX_DIMS + 1] = {0};
  int last = b->n - 1;
  int64_t run = b->size[last] * (last == 0 ? block : 1), stride = b->stride[last];
  for (;;) {
    if (out) moon__loop_copy(memory, stride, dense, 1, run, bytes);
    else moon__loop_copy(dense, 1, memory, stride, run, bytes);
    dense += run * bytes;
    int d = last - 1;
    for (; d >= 0; d--) {
      memory += b->stride[d] * bytes;
      if (++index[d] < b->size[d] * (d == 0 ? block : 1)) break;
      memory -= index[d] * b->stride[d] * bytes;
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/* Loads a tile; f32 rows of one number each, and transposed matrices, by vectors. */
static void load_box(const moon_loop_plan *plan, const moon_loop_operand *o, int64_t block, char *memory, char *dense) {
  const moon_box *b = &o->box;
  int64_t rows = b->size[0] * block;
  float *y = (float *)(void *)dense;
  const float *x = (const float *)(const void *)memory;
  if (b->n == 2 && b->stride[1] == 0 && o->dtype == MOON_DTYPE_f32) plan->set->spread(y, x, b->stride[0], rows, b->size[1]);
  else if (b->n == 2 && b->stride[0] == 1 && b->stride[1] > 1 && o->bytes == 4)
    plan->gemm->pack(y, x, rows, b->size[1], 1, b->stride[1], b->size[1]);
  else move_box(b, block, memory, dense, o->bytes, false);
}

/* ---- Places ---- */

typedef struct place { int64_t at[MOON_MAX_DIMS]; int64_t block; } place;

static void place_along(const moon_outer_axis *axes, int n, int64_t index, place *p) {
  for (int i = n - 1; i >= 0; i--) {
    p->at[axes[i].axis] = index % axes[i].count * axes[i].step;
    index /= axes[i].count;
  }
}

static void place_of(const moon_loop_plan *plan, int64_t group, int64_t tile, place *p) {
  memset(p, 0, sizeof *p);
  place_along(plan->kept, plan->nkept, group, p);
  place_along(plan->reduced, plan->nreduced, tile, p);
  p->block = 1;
  if (plan->block_axis < 0) return;
  p->block = moon__min_i64(plan->block, plan->loop.size[plan->block_axis] - p->at[plan->block_axis]);
}

static int64_t offset_at(const moon_loop_plan *plan, const moon_loop_arg *arg, const place *p) {
  int64_t offset = 0;
  int naxes = plan->block_axis + 1;
  for (int i = 0; i < naxes; i++) offset += p->at[i] * arg->strides[i];
  return offset;
}

/* ---- One tile ---- */

/* Asks for the tile after this one while this one is computed: the memory would be idle for so long. */
static void fetch_next(const char *tile, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(tile + bytes + i, 0, 2);
}

static void load_inputs(running *r, const place *p) {
  const moon_loop_plan *plan = r->plan;
  for (int i = 0; i < plan->loop.nin; i++) {
    const moon_loop_operand *o = &plan->in[i];
    if (o->fixed) continue;
    char *memory = r->call->in[i].data + offset_at(plan, &plan->loop.in[i], p) * o->bytes;
    if (o->direct && plan->streams) fetch_next(memory, p->block * plan->inner * o->bytes);
    if (o->direct) r->reg[o->reg] = memory;
    else load_box(plan, o, p->block, memory, r->reg[o->reg]);
  }
}

static void point_outputs(running *r, const place *p) {
  const moon_loop_plan *plan = r->plan;
  for (int i = 0; i < plan->loop.nout; i++) {
    const moon_loop_operand *o = &plan->out[i];
    if (!o->direct) continue;
    if (r->call->out[i].data) r->reg[o->reg] = r->call->out[i].data + offset_at(plan, &plan->loop.out[i], p) * o->bytes;
    else r->reg[o->reg] = r->arena + plan->reg_arena[o->reg];
  }
}

static void compute(running *r, int64_t n) {
  const moon_loop_plan *plan = r->plan;
  for (int i = 0; i < plan->nsteps; i++) {
    const moon_loop_step *s = &plan->step[i];
    const char *p[3] = {r->reg[s->src[0]], r->reg[s->src[1]], r->reg[s->src[2]]};
    s->run(r->reg[s->dst], p, moon__loop_ones, n);
  }
}

static void store_outputs(running *r, const place *p) {
  const moon_loop_plan *plan = r->plan;
  for (int i = 0; i < plan->loop.nout; i++) {
    const moon_loop_operand *o = &plan->out[i];
    if (o->direct || o->reduce != MOON_OP_COUNT || !r->call->out[i].data) continue;
    char *memory = r->call->out[i].data + offset_at(plan, &plan->loop.out[i], p) * o->bytes;
    if (o->streams) plan->set->stream((float *)(void *)memory, (const float *)(const void *)r->reg[o->reg], p->block * plan->inner);
    else move_box(&o->box, p->block, memory, r->reg[o->reg], o->bytes, true);
  }
}

/* ---- Reductions ---- */

/* Takes a tile of n elements into the accumulator, which holds *have; the rest is new. */
static void accumulate(const moon_loop_operand *o, char *acc, const char *tile, int64_t n, int64_t have) {
  int64_t both = moon__min_i64(n, have);
  const char *p[3] = {acc, tile, tile};
  if (both > 0) o->combine(acc, p, moon__loop_ones, both);
  if (n > have) memcpy(acc + have * o->bytes, tile + have * o->bytes, (size_t)((n - have) * o->bytes));
}

void moon__loop_fold(const moon_loop_operand *o, char *x, int64_t length, int64_t inner) {
  while (length > 1) {
    int64_t half = length / 2, keep = length - half;
    const char *p[3] = {x, x + keep * inner * o->bytes, x};
    o->combine(x, p, moon__loop_ones, half * inner);
    length = keep;
  }
}

/* Folds the reduced axes of a tile that stands in acc (or in tile, when that is not acc); the result ends in acc. */
static void fold_tile(const moon_loop_plan *plan, const moon_loop_operand *o, char *acc, const char *tile, int64_t block) {
  int64_t inner = 1;
  for (int g = plan->nfold - 1; g >= 0; g--) {
    int64_t length = plan->fold_size[g] * (g == 0 ? block : 1), outer = 1;
    for (int k = 0; k < g; k++) outer *= plan->fold_size[k] * (k == 0 ? block : 1);
    if (!plan->fold_reduced[g]) {
      inner *= length;
    } else if (inner == 1 && o->fold) {
      o->fold((float *)(void *)acc, (const float *)(const void *)tile, outer, length);
      tile = acc;
    } else {
      if (tile != acc) memcpy(acc, tile, (size_t)(outer * length * inner * o->bytes));
      tile = acc;
      for (int64_t k = 0; k < outer; k++) {
        moon__loop_fold(o, acc + k * length * inner * o->bytes, length, inner);
        if (k > 0) memmove(acc + k * inner * o->bytes, acc + k * length * inner * o->bytes, (size_t)(inner * o->bytes));
      }
    }
  }
  if (tile != acc) memcpy(acc, tile, (size_t)(inner * o->bytes));
}

static void store_reduced(running *r, int i, const place *p, int64_t segment) {
  const moon_loop_plan *plan = r->plan;
  const moon_loop_operand *o = &plan->out[i];
  char *to = r->call->out[i].data;
  if (plan->segments > 1) to = r->call->scratch + o->partial + (size_t)(segment * o->count) * (size_t)o->bytes;
  bool block_kept = plan->block_axis < 0 || !(plan->loop.reduced >> plan->block_axis & 1);
  to += offset_at(plan, &plan->loop.out[i], p) * o->bytes;
  move_box(&o->box, block_kept ? p->block : 1, to, r->arena + o->arena, o->bytes, true);
}

static void run_group(running *r, int64_t group, int64_t segment) {
  const moon_loop_plan *plan = r->plan;
  int64_t tile = segment * plan->tiles_per_segment, end = moon__min_i64(plan->tiles, tile + plan->tiles_per_segment);
  int64_t have = 0, rows = 0;
  bool single = end - tile == 1;
  place p;
  for (; tile < end; tile++) {
    place_of(plan, group, tile, &p);
    int64_t n = p.block * plan->inner;
    load_inputs(r, &p);
    point_outputs(r, &p);
    compute(r, n);
    for (int i = 0; !single && i < plan->loop.nout; i++) {
      const moon_loop_operand *o = &plan->out[i];
      if (o->reduce != MOON_OP_COUNT) accumulate(o, r->arena + o->arena, r->reg[o->reg], n, have);
    }
    store_outputs(r, &p);
    have = moon__max_i64(have, n);
    rows = moon__max_i64(rows, p.block);
  }
  for (int i = 0; i < plan->loop.nout; i++) {
    const moon_loop_operand *o = &plan->out[i];
    if (o->reduce == MOON_OP_COUNT || !r->call->out[i].data) continue;
    char *acc = r->arena + o->arena;
    fold_tile(plan, o, acc, single ? r->reg[o->reg] : acc, rows);
    store_reduced(r, i, &p, segment);
  }
}

/* ---- Phases ---- */

void moon__loop_number(char *y, const moon_loop_number *k, int64_t n) {
  char number[8];
  if (moon__dtype_is_float(k->dtype)) moon__convert(number, k->dtype, &k->f, MOON_DTYPE_f64);
  else moon__convert(number, k->dtype, &k->i, MOON_DTYPE_i64);
  moon__loop_copy(y, 1, number, 0, n, (int)moon_dtype_bytes(k->dtype));
}

static void prepare(running *r) {
  const moon_loop_plan *plan = r->plan;
  int64_t n = plan->block * plan->inner;
  int nregs = plan->loop.nregs + plan->loop.nout;
  for (int i = 0; i < nregs; i++) r->reg[i] = r->arena + (plan->reg_arena[i] < 0 ? 0 : plan->reg_arena[i]);
  for (int i = 0; i < plan->loop.nnumbers; i++) {
    const moon_loop_number *k = &plan->loop.number[i];
    moon__loop_number(r->reg[k->reg], k, n);
  }
  for (int i = 0; i < plan->loop.nin; i++) {
    const moon_loop_operand *o = &plan->in[i];
    if (!o->fixed) continue;
    if (o->direct) r->reg[o->reg] = r->call->in[i].data;
    else load_box(plan, o, plan->block, r->call->in[i].data, r->reg[o->reg]);
  }
}

void moon__loop_run(const moon_call *call, int64_t first, int64_t last) {
  _Alignas(64) char arena[MOON_ARENA_BYTES];
  const moon_loop_plan *plan = call->state;
  running r = {.plan = plan, .call = call, .arena = arena};
  if (first >= last) return;
  prepare(&r);
  for (int64_t job = first; job < last; job++) {
    int64_t group = job / plan->segments * plan->groups_per_job, segment = job % plan->segments;
    int64_t end = moon__min_i64(plan->groups, group + plan->groups_per_job);
    for (; group < end; group++) run_group(&r, group, segment);
  }
  if (plan->streams) plan->set->stream_end();
}

/* Jobs are blocks of results, of one output after the other. */
void moon__loop_combine(const moon_call *call, int64_t first, int64_t last) {
  const moon_loop_plan *plan = call->state;
  int64_t job = 0;
  for (int i = 0; i < plan->loop.nout; i++) {
    const moon_loop_operand *o = &plan->out[i];
    if (o->reduce == MOON_OP_COUNT) continue;
    for (int64_t at = 0; at < o->count; at += MOON_COMBINE_BLOCK, job++) {
      if (job < first || job >= last || !call->out[i].data) continue;
      int64_t n = moon__min_i64(MOON_COMBINE_BLOCK, o->count - at);
      char *y = call->out[i].data + at * o->bytes;
      const char *x = call->scratch + o->partial + at * o->bytes;
      memcpy(y, x, (size_t)(n * o->bytes));
      for (int64_t s = 1; s < plan->segments; s++) {
        const char *p[3] = {y, x + s * o->count * o->bytes, y};
        o->combine(y, p, moon__loop_ones, n);
      }
    }
  }
}

void moon__loop_fill(const moon_call *call, int64_t first, int64_t last) {
  const moon_loop_plan *plan = call->state;
  if (first >= last) return;
  for (int i = 0; i < plan->loop.nout; i++) {
    const moon_loop_operand *o = &plan->out[i];
    if (o->reduce != MOON_OP_COUNT && call->out[i].data)
      moon__loop_copy(call->out[i].data, 1, (const char *)&o->identity_bits, 0, o->count, o->bytes);
  }
}
