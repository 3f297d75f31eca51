/*
** epilogue.c: plans and runs the loop that finishes a product. See epilogue.h. A tile is whole rows of a block, up to about a
** thousand elements; operands that do not lie like that are copied into the arena, which stays in the first-level cache.
*/
#include "epilogue.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

enum { LEAST_ELEMENTS = 64, MOST_ELEMENTS = 1024 };

/* ---- Plan ---- */

/* Do these axes move by one step from index to index? */
static bool one_step(const moon_loop *loop, const moon_loop_arg *arg, int first, int last, int64_t *step) {
  *step = last > first ? arg->strides[last - 1] : 0;
  for (int i = first; i + 1 < last; i++)
    if (arg->strides[i] != arg->strides[i + 1] * loop->size[i + 1]) return false;
  return true;
}

static bool is_output(const moon_loop *loop, int reg) {
  for (int i = 0; i < loop->nout; i++)
    if (loop->out[i].reg == reg) return true;
  return false;
}

static int uses_of(const moon_loop *loop, int reg) {
  int n = is_output(loop, reg);
  for (int i = 0; i < loop->nins; i++)
    for (int k = 0; k < 3; k++) n += loop->ins[i].src[k] == reg;
  return n;
}

/* Input that the sums can start from: one that the loop adds to the product before anything else is done with it. */
static void find_start(moon_finish *p) {
  moon_loop *loop = &p->e.loop;
  if (uses_of(loop, p->e.acc) != 1) return;
  for (int k = 0; k < loop->nins; k++) {
    const moon_loop_ins *ins = &loop->ins[k];
    int other = ins->src[0] == p->e.acc ? ins->src[1] : ins->src[0];
    if (ins->op != MOON_OP_add || (ins->src[0] != p->e.acc && ins->src[1] != p->e.acc)) continue;
    for (int i = 0; i < loop->nin; i++) {
      const moon_finish_input *in = &p->in[i];
      if (loop->in[i].reg != other || !in->rows || !in->columns || (in->column_step != 1 && p->e.columns > 1)) continue;
      p->start = i;
      p->e.acc = ins->dst;
      loop->nins--;
      memmove(loop->ins + k, loop->ins + k + 1, (size_t)(loop->nins - k) * sizeof *loop->ins);
      return;
    }
    return;
  }
}

static bool number_in(const moon_loop *loop, int reg, float *x) {
  for (int i = 0; i < loop->nnumbers; i++) {
    if (loop->number[i].reg != reg) continue;
    *x = (float)loop->number[i].f;
    return !isnan(*x);
  }
  return false;
}

/* Does the loop only bring the sums into bounds? Notes these. */
static bool find_clamp(moon_finish *p) {
  const moon_loop *loop = &p->e.loop;
  int reg = p->e.acc;
  p->lo = -INFINITY, p->hi = INFINITY;
  for (int i = 0; i < loop->nins; i++) {
    const moon_loop_ins *ins = &loop->ins[i];
    float bound = 0;
    bool relu = ins->op == MOON_OP_relu, most = ins->op == MOON_OP_minimum, least = relu || ins->op == MOON_OP_maximum;
    int other = ins->src[0] == reg ? ins->src[1] : ins->src[0];
    if ((!most && !least) || (ins->src[0] != reg && (relu || ins->src[1] != reg)) || (!relu && !number_in(loop, other, &bound)))
      return false;
    if (least ? p->lo < bound : p->lo > bound) p->lo = bound;
    if (most ? p->hi > bound : p->hi < bound) p->hi = bound;
    reg = ins->dst;
  }
  return !p->plain && !p->reduces && loop->nout == 1 && loop->out[0].reg == reg && loop->out[0].dtype == MOON_DTYPE_f32;
}

/* Inputs whose memory outputs may take: those that lie as all outputs do. */
static uint64_t alias_inputs(const moon_finish *p) {
  uint64_t bits = 0;
  for (int i = 0; !p->reduces && i < p->e.loop.nin; i++) {
    const moon_finish_input *in = &p->in[i];
    bool same = in->rows && in->columns && (in->row_step == p->e.columns || p->e.rows == 1);
    if (same && (in->column_step == 1 || p->e.columns == 1)) bits |= (uint64_t)1 << (p->nproduct + i);
  }
  return bits;
}

static moon_status plan_steps(const moon_fast *f, moon_finish *p) {
  moon_loop *loop = &p->vm.loop;
  *loop = p->e.loop;
  loop->in[loop->nin] = (moon_loop_arg){.dtype = MOON_DTYPE_f32, .reg = (int16_t)p->e.acc, .reduce = MOON_OP_COUNT};
  loop->nin++;
  for (p->elements = MOST_ELEMENTS; p->elements >= LEAST_ELEMENTS; p->elements /= 2) {
    moon_status s = moon__loop_plan_steps(f->isa, &p->vm, p->elements);
    if (s != MOON_ESIZE) return s;
  }
  return MOON_EUNSUPPORTED;
}

/* Are all axes of rows reduced, and no others? */
static bool reduces_rows(const moon_epilogue *e) {
  for (int i = 0; i < e->loop.ndim; i++)
    if ((e->loop.reduced >> i & 1) != (i < e->row_axes)) return false;
  return e->row_axes > 0;
}

moon_status moon__finish_plan(const moon_fast *f, moon_finish *p, bool can_start, moon_choice *c) {
  p->e = *f->epilogue;
  p->start = -1;
  p->nproduct = f->node->ninputs;
  moon_loop *loop = &p->e.loop;
  if (loop->nin == MOON_LOOP_MAX_ARGS || loop->reg_dtype[p->e.acc] != MOON_DTYPE_f32) return MOON_EUNSUPPORTED;
  for (int i = 0; i < loop->nout; i++) p->reduces |= loop->out[i].reduce != MOON_OP_COUNT;
  if (p->reduces && !reduces_rows(&p->e)) return MOON_EUNSUPPORTED;
  for (int i = 0; i < loop->nin; i++) {
    moon_finish_input *in = &p->in[i];
    in->rows = one_step(loop, &loop->in[i], 0, p->e.row_axes, &in->row_step);
    in->columns = one_step(loop, &loop->in[i], p->e.row_axes, loop->ndim, &in->column_step);
    in->fixed = in->rows && in->row_step == 0;
  }
  if (can_start) find_start(p);
  for (int i = 0; i < loop->nin; i++) p->in[i].used = uses_of(loop, loop->in[i].reg) > 0;
  p->plain = loop->nins == 0 && loop->nout == 1 && !p->reduces && loop->out[0].reg == p->e.acc;
  p->clamps = find_clamp(p);
  c->alias_in = alias_inputs(p);
  return p->plain ? MOON_OK : plan_steps(f, p);
}

bool moon__finish_parts(moon_finish *p, int64_t parts, moon_choice *c) {
  p->parts = parts;
  for (int i = 0; p->reduces && i < p->e.loop.nout; i++) {
    moon_loop_operand *o = &p->vm.out[i];
    int64_t count, bytes;
    if (o->reduce == MOON_OP_COUNT) continue;
    o->partial = c->scratch_bytes;
    if (!moon__mul_i64(parts, p->e.columns, &count) || !moon__mul_i64(count, o->bytes, &bytes)) return false;
    size_t whole;
    if (!moon__align_size((size_t)bytes, 64, &whole) || !moon__add_size(c->scratch_bytes, whole, &c->scratch_bytes)) return false;
  }
  return true;
}

int moon__finish_place(const moon_finish *p, moon_choice *c) {
  const moon_loop *loop = &p->e.loop;
  int place = -1;
  bool given = is_output(loop, p->e.acc); /* then what is stored last must not lie where the sums do */
  c->alias_in = 0;
  for (int i = 0; i < loop->nout; i++) {
    bool fits = loop->out[i].reduce == MOON_OP_COUNT && loop->out[i].dtype == MOON_DTYPE_f32;
    if (fits && (!given || loop->out[i].reg == p->e.acc)) place = i;
  }
  return place;
}

/* ---- One tile ---- */

static int64_t offset_along(const moon_loop *loop, const moon_loop_arg *arg, int first, int last, int64_t index) {
  int64_t offset = 0;
  for (int i = last - 1; i >= first; i--) {
    offset += index % loop->size[i] * arg->strides[i];
    index /= loop->size[i];
  }
  return offset;
}

typedef struct tile { int64_t row, rows, column, columns; } tile;

/* Copies a row whose columns are several axes, run by run of the innermost. */
static void load_runs(const moon_finish *p, const moon_loop_arg *arg, const char *x, char *y, int bytes, const tile *t) {
  const moon_loop *loop = &p->e.loop;
  int64_t last = loop->size[loop->ndim - 1], end = t->column + t->columns;
  for (int64_t at = t->column, n; at < end; at += n) {
    n = moon__min_i64(end - at, last - at % last);
    const char *from = x + offset_along(loop, arg, p->e.row_axes, loop->ndim, at) * bytes;
    moon__loop_copy(y + (at - t->column) * bytes, 1, from, arg->strides[loop->ndim - 1], n, bytes);
  }
}

static void load_input(moon_finishing *r, int i, const tile *t) {
  const moon_finish *p = r->p;
  const moon_finish_input *in = &p->in[i];
  const moon_loop_arg *arg = &p->e.loop.in[i];
  int bytes = p->vm.in[i].bytes;
  const char *x = r->call->in[p->nproduct + i].data;
  char *y = r->arena + p->vm.reg_arena[arg->reg];
  if (in->fixed && r->have_rows[i] >= t->rows) return;
  if (in->rows && in->columns) {
    x += (t->row * in->row_step + t->column * in->column_step) * bytes;
    bool dense = (in->column_step == 1 || t->columns == 1) && (in->row_step == t->columns || t->rows == 1);
    if (dense && !is_output(&p->e.loop, arg->reg)) {
      r->reg[arg->reg] = r->call->in[p->nproduct + i].data + (x - r->call->in[p->nproduct + i].data);
      return;
    }
    r->reg[arg->reg] = y;
    if (in->column_step == 0 && arg->dtype == MOON_DTYPE_f32) {
      p->vm.set->spread((float *)(void *)y, (const float *)(const void *)x, in->row_step, t->rows, t->columns);
    } else {
      for (int64_t k = 0; k < t->rows; k++, x += in->row_step * bytes, y += t->columns * bytes)
        moon__loop_copy(y, 1, x, in->column_step, t->columns, bytes);
    }
  } else {
    r->reg[arg->reg] = y;
    for (int64_t k = 0; k < t->rows; k++, y += t->columns * bytes)
      load_runs(p, arg, x + offset_along(&p->e.loop, arg, 0, p->e.row_axes, t->row + k) * bytes, y, bytes, t);
  }
  if (in->fixed) r->have_rows[i] = t->rows;
}

static void load_sums(moon_finishing *r, const float *x, int64_t x_step, const tile *t) {
  const moon_finish *p = r->p;
  if (x_step == t->columns || t->rows == 1) {
    r->reg[p->e.acc] = (char *)(uintptr_t)x; /* instructions only write registers of their own */
    return;
  }
  r->reg[p->e.acc] = r->arena + p->vm.reg_arena[p->e.acc];
  for (int64_t i = 0; i < t->rows; i++)
    memcpy(r->reg[p->e.acc] + i * t->columns * 4, x + i * x_step, (size_t)t->columns * sizeof *x);
}

static void compute(moon_finishing *r, int64_t n) {
  const moon_loop_plan *vm = &r->p->vm;
  for (int i = 0; i < vm->nsteps; i++) {
    const moon_loop_step *s = &vm->step[i];
    const char *x[3] = {r->reg[s->src[0]], r->reg[s->src[1]], r->reg[s->src[2]]};
    s->run(r->reg[s->dst], x, moon__loop_ones, n);
  }
}

/* The rows of the tile become one, which goes to the part's. */
static void reduce_tile(moon_finishing *r, const moon_loop_operand *o, const tile *t, int64_t part, bool fresh) {
  const moon_finish *p = r->p;
  char *rows = r->arena + o->arena;
  char *to = r->call->scratch + o->partial + (size_t)(part * p->e.columns + t->column) * (size_t)o->bytes;
  memcpy(rows, r->reg[o->reg], (size_t)(t->rows * t->columns * o->bytes));
  moon__loop_fold(o, rows, t->rows, t->columns);
  const char *both[3] = {to, rows, rows};
  if (fresh) memcpy(to, rows, (size_t)(t->columns * o->bytes));
  else o->combine(to, both, moon__loop_ones, t->columns);
}

static void store(moon_finishing *r, const tile *t, int64_t part, bool fresh) {
  const moon_finish *p = r->p;
  for (int i = 0; i < p->e.loop.nout; i++) {
    const moon_loop_operand *o = &p->vm.out[i];
    char *y = r->call->out[i].data;
    if (!y) continue;
    if (o->reduce != MOON_OP_COUNT) {
      reduce_tile(r, o, t, part, fresh);
      continue;
    }
    size_t row_bytes = (size_t)(t->columns * o->bytes);
    const char *x = r->reg[o->reg];
    y += (t->row * p->e.columns + t->column) * o->bytes;
    if (t->columns == p->e.columns) row_bytes *= (size_t)t->rows;
    for (int64_t k = 0; k < (t->columns == p->e.columns ? 1 : t->rows); k++, y += p->e.columns * o->bytes, x += row_bytes)
      memcpy(y, x, row_bytes);
  }
}

/* ---- Running ---- */

void moon__finish_begin(moon_finishing *r, const moon_finish *p, const moon_call *call) {
  const moon_loop_plan *vm = &p->vm;
  int nregs = vm->loop.nregs + vm->loop.nout;
  r->p = p;
  r->call = call;
  r->have_column = r->have_columns = -1;
  for (int i = 0; i < nregs; i++) r->reg[i] = r->arena + (vm->reg_arena[i] < 0 ? 0 : vm->reg_arena[i]);
  for (int i = 0; i < vm->loop.nnumbers; i++) moon__loop_number(r->reg[vm->loop.number[i].reg], &vm->loop.number[i], p->elements);
}

void moon__finish_clamp(const moon_finish *p, float *y, int64_t y_step, const float *x, int64_t x_step, int64_t rows, int64_t columns) {
  p->vm.set->clamp(y, y_step, x, x_step, rows, columns, p->lo, p->hi);
}

void moon__finish_block(moon_finishing *r, const float *x, int64_t x_step, int64_t row, int64_t rows, int64_t column, int64_t columns,
                        int64_t part, bool fresh) {
  const moon_finish *p = r->p;
  if (p->clamps) {
    float *y = (float *)(void *)r->call->out[0].data + row * p->e.columns + column;
    moon__finish_clamp(p, y, p->e.columns, x, x_step, rows, columns);
    return;
  }
  int64_t wide = moon__min_i64(columns, p->elements), high = moon__max_i64(1, p->elements / wide);
  for (int64_t j = 0; j < columns; j += wide) {
    tile t = {.column = column + j, .columns = moon__min_i64(wide, columns - j)};
    if (t.column != r->have_column || t.columns != r->have_columns) memset(r->have_rows, 0, sizeof r->have_rows);
    r->have_column = t.column;
    r->have_columns = t.columns;
    for (int64_t i = 0; i < rows; i += high) {
      t.row = row + i;
      t.rows = moon__min_i64(high, rows - i);
      for (int k = 0; k < p->e.loop.nin; k++)
        if (p->in[k].used) load_input(r, k, &t);
      load_sums(r, x + i * x_step + j, x_step, &t);
      compute(r, t.rows * t.columns);
      store(r, &t, part, fresh && i == 0);
    }
  }
}

int64_t moon__finish_combine_jobs(const moon_finish *p) {
  return p->reduces ? moon__ceildiv_i64(p->e.columns, MOON_COMBINE_BLOCK) : 0;
}

void moon__finish_combine(const moon_finish *p, const moon_call *call, int64_t first, int64_t last) {
  int64_t at = first * MOON_COMBINE_BLOCK, n = moon__min_i64(last * MOON_COMBINE_BLOCK, p->e.columns) - at;
  for (int i = 0; n > 0 && i < p->e.loop.nout; i++) {
    const moon_loop_operand *o = &p->vm.out[i];
    if (o->reduce == MOON_OP_COUNT || !call->out[i].data) continue;
    char *y = call->out[i].data + at * o->bytes;
    const char *x = call->scratch + o->partial + at * o->bytes;
    memcpy(y, x, (size_t)(n * o->bytes));
    for (int64_t s = 1; s < p->parts; s++) {
      const char *both[3] = {y, x + s * p->e.columns * o->bytes, y};
      o->combine(y, both, moon__loop_ones, n);
    }
  }
}
