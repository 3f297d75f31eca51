/*
** loop.c: plans a fused loop for the tile VM: how its index space is cut into tiles and jobs, which operands are used where they
** lie, where registers live. Running is in loop_run.c.
**
** A choice with alias_in promises that an output may lie in the memory of such an input: an output is written where it is computed
** only if every input of that kind has been read by then, else it waits in a register until the tile is done.
*/
#include "loop.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

typedef struct planning {
  moon_isa isa;
  moon_loop_plan *plan;
  int64_t tile;                  /* elements at most */
  int last_use[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS]; /* step after which a register is free; nsteps: after the tile */
  int made_by[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS];  /* step that writes it; -1: before the first */
  int64_t arena_bytes;
} planning;

/* ---- Steps ---- */

static moon_tile_fn combine_of(moon_isa isa, moon_op_id reduce, moon_dtype dtype) {
  moon_op_id op = MOON_OP_add;
  switch (reduce) {
    case MOON_OP_sum: op = MOON_OP_add; break;
    case MOON_OP_prod: op = MOON_OP_mul; break;
    case MOON_OP_max: op = dtype == MOON_DTYPE_bool ? MOON_OP_logical_or : MOON_OP_maximum; break;
    case MOON_OP_min: op = dtype == MOON_DTYPE_bool ? MOON_OP_logical_and : MOON_OP_minimum; break;
    case MOON_OP_any: op = MOON_OP_logical_or; break;
    case MOON_OP_all: op = MOON_OP_logical_and; break;
    default: return NULL;
  }
  return moon__tile_op(isa, op, dtype);
}

/* What reducing nothing gives, as bits of the dtype. */
static int64_t identity_of(moon_op_id reduce, moon_dtype dtype) {
  int64_t bits = 0, whole = reduce == MOON_OP_prod || reduce == MOON_OP_all;
  double f = (double)whole;
  if (reduce == MOON_OP_max || reduce == MOON_OP_min) f = reduce == MOON_OP_max ? -INFINITY : INFINITY;
  float f32 = (float)f;
  bool low = reduce == MOON_OP_max;
  switch (dtype) {
    case MOON_DTYPE_f32: memcpy(&bits, &f32, sizeof f32); return bits;
    case MOON_DTYPE_f64: memcpy(&bits, &f, sizeof f); return bits;
    case MOON_DTYPE_i32:
      memcpy(&bits, &(int32_t){low ? INT32_MIN : reduce == MOON_OP_min ? INT32_MAX : (int32_t)whole}, 4);
      return bits;
    case MOON_DTYPE_i64: return low ? INT64_MIN : reduce == MOON_OP_min ? INT64_MAX : whole;
    default:
      memcpy(&bits, &(uint8_t){reduce == MOON_OP_min ? (dtype == MOON_DTYPE_bool ? 1 : 255) : (uint8_t)whole}, 1);
      return bits;
  }
}

static bool add_steps(planning *pl) {
  moon_loop_plan *p = pl->plan;
  const moon_loop *loop = &p->loop;
  p->out = p->in + loop->nin;
  for (int i = 0; i < loop->nins; i++) {
    const moon_loop_ins *ins = &loop->ins[i];
    moon_loop_step *s = &p->step[p->nsteps++];
    s->dst = ins->dst;
    for (int k = 0; k < 3; k++) s->src[k] = ins->src[k] < 0 ? ins->src[0] : ins->src[k];
    bool cast = ins->op == MOON_OP_cast;
    s->run = cast ? moon__tile_cast(pl->isa, (moon_dtype)ins->dtype, (moon_dtype)ins->out_dtype)
                  : moon__tile_op(pl->isa, ins->op, (moon_dtype)ins->dtype);
    if (!s->run) return false;
  }
  for (int i = 0; i < loop->nout; i++) {
    moon_loop_operand *o = &p->out[i];
    moon_dtype have = (moon_dtype)loop->reg_dtype[loop->out[i].reg];
    *o = (moon_loop_operand){.reg = loop->out[i].reg, .dtype = loop->out[i].dtype, .reduce = loop->out[i].reduce};
    o->bytes = (int)moon_dtype_bytes(o->dtype);
    if (have != o->dtype) { /* sums of small integers are taken in i64 */
      moon_loop_step *s = &p->step[p->nsteps++];
      int16_t from = (int16_t)o->reg, to = (int16_t)(loop->nregs + i);
      *s = (moon_loop_step){moon__tile_cast(pl->isa, have, o->dtype), to, {from, from, from}};
      o->reg = to;
    }
    if (o->reduce == MOON_OP_COUNT) continue;
    o->combine = combine_of(pl->isa, o->reduce, o->dtype);
    if (!o->combine) return false;
    o->identity_bits = identity_of(o->reduce, o->dtype);
    const moon_tile_set *set = p->set;
    if (o->dtype != MOON_DTYPE_f32) continue;
    o->fold = o->reduce == MOON_OP_sum ? set->fold_sum : o->reduce == MOON_OP_max ? set->fold_max : NULL;
    if (o->reduce == MOON_OP_min) o->fold = set->fold_min;
  }
  return true;
}

static void find_lifetimes(planning *pl) {
  moon_loop_plan *p = pl->plan;
  int nregs = p->loop.nregs + p->loop.nout;
  for (int i = 0; i < nregs; i++) pl->last_use[i] = pl->made_by[i] = -1;
  for (int i = 0; i < p->nsteps; i++) {
    pl->made_by[p->step[i].dst] = i;
    pl->last_use[p->step[i].dst] = i;
    for (int k = 0; k < 3; k++) pl->last_use[p->step[i].src[k]] = i;
  }
  for (int i = 0; i < p->loop.nout; i++) pl->last_use[p->out[i].reg] = p->nsteps;
}

/* ---- Tiles ---- */

static void choose_block(planning *pl) {
  moon_loop_plan *p = pl->plan;
  int axis = p->loop.ndim;
  p->inner = 1;
  while (axis > 0 && p->loop.size[axis - 1] <= pl->tile / p->inner) p->inner *= p->loop.size[--axis];
  p->block_axis = axis - 1;
  p->block = axis > 0 ? moon__min_i64(p->loop.size[axis - 1], pl->tile / p->inner) : 1;
  p->nkept = p->nreduced = 0;
  p->groups = p->tiles = 1;
  for (int i = 0; i < axis; i++) {
    bool reduced = p->loop.reduced >> i & 1, blocked = i == axis - 1;
    int64_t step = blocked ? p->block : 1;
    moon_outer_axis outer = {i, moon__ceildiv_i64(p->loop.size[i], step), step};
    if (reduced) p->reduced[p->nreduced++] = outer;
    else p->kept[p->nkept++] = outer;
    *(reduced ? &p->tiles : &p->groups) *= outer.count;
  }
}

/* The tile of an operand in memory. Its axis 0 stands for the block, with size 1 per index, until inner axes merge with it. */
static moon_box box_of(const moon_loop_plan *p, const int64_t *strides, bool only_kept) {
  moon_box b = {.n = 1, .size = {1}, .stride = {0}};
  bool first_is_one = true; /* axis 0 has one index, whatever its stride */
  for (int i = p->block_axis < 0 ? 0 : p->block_axis; i < p->loop.ndim; i++) {
    int64_t size = p->loop.size[i];
    if (only_kept && (p->loop.reduced >> i & 1)) continue;
    if (i == p->block_axis) {
      b.stride[0] = strides[i];
      first_is_one = p->block == 1;
    } else if (size == 1) {
      continue;
    } else if ((b.n == 1 && first_is_one) || b.stride[b.n - 1] == strides[i] * size) {
      b.size[b.n - 1] *= size;
      b.stride[b.n - 1] = strides[i];
      first_is_one = false;
    } else {
      b.size[b.n] = size;
      b.stride[b.n++] = strides[i];
    }
  }
  return b;
}

static bool in_one_piece(const moon_loop_plan *p, const moon_box *b) {
  return b->n == 1 && (b->stride[0] == 1 || p->block * p->inner == 1);
}

static bool same_strides(const moon_loop *loop, const moon_loop_arg *a, const moon_loop_arg *b) {
  for (int i = 0; i < loop->ndim; i++)
    if (loop->size[i] > 1 && a->strides[i] != b->strides[i]) return false;
  return true;
}

/* Inputs whose memory outputs may take: those that lie as every output does. */
static uint64_t alias_inputs(const moon_loop_plan *p) {
  uint64_t bits = 0;
  for (int i = 0; i < p->loop.nin; i++) {
    bool same = true;
    for (int k = 0; k < p->loop.nout; k++)
      if (p->loop.out[k].reduce != MOON_OP_COUNT || !same_strides(&p->loop, &p->loop.in[i], &p->loop.out[k])) same = false;
    if (same) bits |= (uint64_t)1 << i;
  }
  return bits;
}

static bool is_output_register(const moon_loop_plan *p, int reg) {
  for (int i = 0; i < p->loop.nout; i++)
    if (p->out[i].reg == reg && p->out[i].reduce == MOON_OP_COUNT) return true;
  return false;
}

static void place_inputs(planning *pl) {
  moon_loop_plan *p = pl->plan;
  for (int i = 0; i < p->loop.nin; i++) {
    const moon_loop_arg *arg = &p->loop.in[i];
    moon_loop_operand *o = &p->in[i];
    *o = (moon_loop_operand){.reg = arg->reg, .dtype = arg->dtype, .reduce = MOON_OP_COUNT};
    o->bytes = (int)moon_dtype_bytes(arg->dtype);
    o->box = box_of(p, arg->strides, false);
    o->fixed = p->block_axis >= 0;
    for (int k = 0; k <= p->block_axis; k++)
      if (arg->strides[k] != 0) o->fixed = false;
    /* An input that is stored as it came is loaded first: the place it is stored to may be another input's. */
    o->direct = in_one_piece(p, &o->box) && !is_output_register(p, arg->reg);
  }
}

static bool leaves_caches(const moon_loop_plan *p) {
  int64_t left = MOON_STREAM_FLOATS;
  for (int i = 0; i < p->loop.ndim; i++) left = moon__ceildiv_i64(left, p->loop.size[i]);
  return left <= 1;
}

/* An output is written at once if its tile is in one piece, it is computed (not a copy of an input or number), it is nobody else's
** register, and all inputs whose memory it may share have been read by then. One that leaves the caches waits, and goes out in order. */
static void place_outputs(planning *pl) {
  moon_loop_plan *p = pl->plan;
  p->streams = false;
  uint64_t alias = alias_inputs(p);
  for (int i = 0; i < p->loop.nout; i++) {
    moon_loop_operand *o = &p->out[i];
    o->box = box_of(p, p->loop.out[i].strides, o->reduce != MOON_OP_COUNT);
    o->count = 1;
    for (int k = 0; o->reduce != MOON_OP_COUNT && k < p->loop.ndim; k++)
      if (!(p->loop.reduced >> k & 1)) o->count *= p->loop.size[k];
    o->direct = o->reduce == MOON_OP_COUNT && in_one_piece(p, &o->box) && pl->made_by[o->reg] >= 0;
    for (int k = 0; o->direct && k < p->loop.nin; k++)
      if ((alias >> k & 1) && pl->last_use[p->in[k].reg] > pl->made_by[o->reg]) o->direct = false;
    for (int k = 0; k < i; k++)
      if (p->out[k].reg == o->reg) o->direct = false;
    o->streams = o->reduce == MOON_OP_COUNT && o->bytes == 4 && in_one_piece(p, &o->box) && leaves_caches(p);
    if (o->streams) o->direct = false;
    p->streams |= o->streams;
  }
}

static int64_t take_arena(planning *pl, int64_t bytes) {
  int64_t at = pl->arena_bytes;
  pl->arena_bytes += (bytes + 63) & ~(int64_t)63;
  return at;
}

/* Registers get places of the arena; a computed one takes over the place of one that is dead: at once if their elements are of one
** size, as loops run in place. Places are wide enough for any dtype in use. */
typedef struct free_list { int n, place[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS]; } free_list;

static int reg_bytes(const moon_loop_plan *p, int reg) {
  if (reg >= p->loop.nregs) return p->out[reg - p->loop.nregs].bytes;
  return (int)moon_dtype_bytes((moon_dtype)p->loop.reg_dtype[reg]);
}

/* Places of operands that die at step s; with bytes, only those of elements of that size. */
static void free_operands(const planning *pl, int s, int bytes, bool equal, free_list *list) {
  const moon_loop_plan *p = pl->plan;
  const int16_t *src = p->step[s].src;
  for (int k = 0; k < 3; k++) {
    bool seen = (k > 0 && src[k] == src[0]) || (k > 1 && src[k] == src[1]);
    if (seen || pl->last_use[src[k]] != s || pl->made_by[src[k]] < 0) continue;
    if ((reg_bytes(p, src[k]) == bytes) == equal) list->place[list->n++] = p->reg_arena[src[k]];
  }
}

static void place_registers(planning *pl) {
  moon_loop_plan *p = pl->plan;
  free_list dead = {0};
  int64_t bytes = 1, elements = p->block * p->inner;
  for (int i = 0; i < p->loop.nregs + p->loop.nout; i++) {
    bytes = moon__max_i64(bytes, reg_bytes(p, i));
    p->reg_arena[i] = -1;
  }
  pl->arena_bytes = 0;
  for (int i = 0; i < p->loop.nnumbers; i++) p->reg_arena[p->loop.number[i].reg] = (int)take_arena(pl, elements * bytes);
  for (int i = 0; i < p->loop.nin; i++)
    if (!p->in[i].direct) p->reg_arena[p->in[i].reg] = (int)take_arena(pl, elements * bytes);
  for (int i = 0; i < p->loop.nout; i++)
    if (p->out[i].reduce != MOON_OP_COUNT) p->out[i].arena = (int)take_arena(pl, elements * bytes);
  for (int s = 0; s < p->nsteps; s++) {
    int dst = p->step[s].dst, dst_bytes = reg_bytes(p, dst);
    free_operands(pl, s, dst_bytes, true, &dead);
    p->reg_arena[dst] = dead.n > 0 ? dead.place[--dead.n] : (int)take_arena(pl, elements * bytes);
    free_operands(pl, s, dst_bytes, false, &dead);
    if (pl->last_use[dst] == s) dead.place[dead.n++] = p->reg_arena[dst];
  }
}

static void make_tiles(planning *pl) {
  for (pl->tile = 1024; ; pl->tile /= 2) {
    choose_block(pl);
    place_inputs(pl);
    place_outputs(pl);
    place_registers(pl);
    if (pl->arena_bytes <= (pl->tile > 256 ? MOON_ARENA_BYTES / 2 : MOON_ARENA_BYTES) || pl->tile <= 32) return;
  }
}

/* Neighbouring axes of a tile that are kept, or reduced, together. */
static void group_axes(moon_loop_plan *p) {
  int first = p->block_axis < 0 ? 0 : p->block_axis;
  p->nfold = 0;
  for (int i = first; i < p->loop.ndim; i++) {
    bool reduced = p->loop.reduced >> i & 1;
    int64_t size = i == p->block_axis ? 1 : p->loop.size[i];
    if (p->nfold > 0 && p->fold_reduced[p->nfold - 1] == reduced) {
      p->fold_size[p->nfold - 1] *= size;
    } else {
      p->fold_reduced[p->nfold] = reduced;
      p->fold_size[p->nfold++] = size;
    }
  }
}

/* ---- Jobs ---- */

/* Rough time of a tile, from the shape and the instructions alone. */
static double tile_us(const planning *pl) {
  const moon_loop *loop = &pl->plan->loop;
  double per_element = 0.1 * (loop->nin + loop->nout);
  for (int i = 0; i < loop->nins; i++) per_element += loop->ins[i].dtype == MOON_DTYPE_f32 ? 0.15 : 2.0;
  return 0.05 + 1e-3 * per_element * (double)(pl->plan->block * pl->plan->inner);
}

static bool cut_jobs(planning *pl, moon_choice *choice) {
  moon_loop_plan *p = pl->plan;
  int64_t per_job = moon__max_i64(1, (int64_t)(40.0 / tile_us(pl))), combine_jobs = 0;
  bool reduces = false;
  for (int i = 0; i < p->loop.nout; i++)
    if (p->out[i].reduce != MOON_OP_COUNT) reduces = true;
  p->segments = reduces && p->tiles > 2 * per_job ? moon__ceildiv_i64(p->tiles, per_job) : 1;
  p->tiles_per_segment = moon__ceildiv_i64(p->tiles, p->segments);
  p->segments = moon__ceildiv_i64(p->tiles, p->tiles_per_segment);
  p->groups_per_job = p->segments > 1 ? 1 : moon__max_i64(1, per_job / p->tiles);
  choice->nphases = 1;
  choice->phase[0].run = moon__loop_run;
  choice->phase[0].njobs = moon__ceildiv_i64(p->groups, p->groups_per_job) * p->segments;
  if (p->segments == 1) return true;
  for (int i = 0; i < p->loop.nout; i++) {
    moon_loop_operand *o = &p->out[i];
    size_t bytes;
    if (o->reduce == MOON_OP_COUNT) continue;
    o->partial = choice->scratch_bytes;
    if (!moon__mul_size((size_t)o->count * (size_t)o->bytes, (size_t)p->segments, &bytes)) return false;
    if (!moon__align_size(bytes, 64, &bytes) || !moon__add_size(choice->scratch_bytes, bytes, &choice->scratch_bytes)) return false;
    combine_jobs += moon__ceildiv_i64(o->count, MOON_COMBINE_BLOCK);
  }
  choice->nphases = 2;
  choice->phase[1].run = moon__loop_combine;
  choice->phase[1].njobs = combine_jobs;
  return true;
}

moon_status moon__loop_plan_steps(moon_isa isa, moon_loop_plan *p, int64_t elements) {
  planning pl = {.isa = isa, .plan = p};
  p->set = MOON_ISA_PICK(isa, moon__tile_set);
  p->gemm = MOON_ISA_PICK(isa, moon__gemm_set);
  p->block_axis = -1;
  p->block = 1;
  p->inner = elements;
  p->nsteps = 0;
  if (!add_steps(&pl)) return MOON_EUNSUPPORTED;
  find_lifetimes(&pl);
  for (int i = 0; i < p->loop.nin; i++) {
    const moon_loop_arg *arg = &p->loop.in[i];
    p->in[i] = (moon_loop_operand){.reg = arg->reg, .dtype = arg->dtype, .bytes = (int)moon_dtype_bytes(arg->dtype),
                                   .reduce = MOON_OP_COUNT};
  }
  place_registers(&pl);
  return pl.arena_bytes <= MOON_ARENA_BYTES ? MOON_OK : MOON_ESIZE;
}

static void free_plan(moon_runtime *runtime, void *state) { moon__free(runtime, state); }

static bool is_empty(const moon_loop *loop) {
  for (int i = 0; i < loop->ndim; i++)
    if (loop->size[i] == 0) return true;
  return false;
}

/* Nothing to visit: results of reductions are their identities. */
static void plan_nothing(planning *pl, moon_choice *choice) {
  moon_loop_plan *p = pl->plan;
  choice->nphases = 1;
  choice->phase[0].run = moon__loop_fill;
  choice->phase[0].njobs = 1;
  for (int i = 0; i < p->loop.nout; i++) {
    p->out[i].count = 1;
    for (int k = 0; k < p->loop.ndim; k++)
      if (!(p->loop.reduced >> k & 1)) p->out[i].count = p->loop.size[k] ? p->out[i].count * p->loop.size[k] : 0;
  }
}

moon_status moon__cpu_loop_select(moon_context *ctx, moon_device *device, const moon_loop *loop, moon_choice *choice) {
  moon_loop_plan *p = moon__alloc(device->runtime, offsetof(moon_loop_plan, in) + (size_t)(loop->nin + loop->nout) * sizeof *p->in);
  if (!p) return moon__fail_memory(ctx);
  planning pl = {.isa = moon__cpu_isa(), .plan = p};
  *choice = (moon_choice){.kernel = MOON_ISA_TEXT(pl.isa, "cpu_loop"), .why = "tile VM", .state = p, .free_state = free_plan};
  p->loop = *loop;
  p->set = MOON_ISA_PICK(pl.isa, moon__tile_set);
  p->gemm = MOON_ISA_PICK(pl.isa, moon__gemm_set);
  moon_status status = MOON_OK;
  if (!add_steps(&pl)) {
    status = moon__fail(ctx, MOON_EUNSUPPORTED, "loop: the CPU has no loop for one of its instructions");
  } else if (is_empty(loop)) {
    plan_nothing(&pl, choice);
  } else {
    find_lifetimes(&pl);
    make_tiles(&pl);
    group_axes(p);
    if (!cut_jobs(&pl, choice)) status = moon__fail(ctx, MOON_ESIZE, "loop: partial results are larger than the address space");
    choice->alias_in = alias_inputs(p);
  }
  if (status != MOON_OK) {
    moon__free(device->runtime, p);
    memset(choice, 0, sizeof *choice);
  }
  return status;
}
