/*
** loop.h: a fused loop as the tile VM runs it: made by loop.c, run by loop_run.c.
**
** The index space is cut into tiles: a block of consecutive indices on one axis times all axes inside it, about a thousand
** elements, always in row-major order. Outer axes that are kept number the groups of tiles, outer axes that are reduced number
** the tiles of a group; a group's tiles are combined element by element, and its last tile is folded. So a result depends on the
** shape alone.
*/
#ifndef MOON_CPU_LOOP_H
#define MOON_CPU_LOOP_H
#include "gemm.h"
#include "plan/loop.h"
#include "tile.h"

enum { MOON_ARENA_BYTES = 56 * 1024 }; /* registers of one run, on the stack */

/* The tile of one operand in memory, outermost axis first, axes merged: size[0] counts per index of the block. */
typedef struct moon_box {
  int n;
  int64_t size[MOON_MAX_DIMS + 1], stride[MOON_MAX_DIMS + 1];
} moon_box;

typedef struct moon_loop_operand {
  int reg, bytes;
  bool direct;  /* its tile lies in one piece: the register is the memory itself */
  bool streams; /* an output that no cache would hold: from the register past the caches */
  bool fixed;   /* an input whose tile is the same everywhere: loaded once a call */
  moon_box box; /* of a reduced output: its kept axes */
  moon_op_id reduce;
  moon_dtype dtype;
  int arena;    /* reduced outputs: offset of the accumulator */
  moon_tile_fn combine;
  moon_fold_fn fold;
  int64_t identity_bits;
  int64_t count;  /* reduced outputs: elements */
  size_t partial; /* reduced outputs of a split loop: offset of the partial results in scratch, [segments][count] */
} moon_loop_operand;

typedef struct moon_loop_step {
  moon_tile_fn run;
  int16_t dst, src[3];
} moon_loop_step;

/* How far the operands move for one step along an outer axis. */
typedef struct moon_outer_axis {
  int axis;
  int64_t count, step; /* step > 1: the block axis */
} moon_outer_axis;

typedef struct moon_loop_plan {
  const moon_tile_set *set;
  const moon_gemm_set *gemm; /* it knows how to transpose */
  moon_loop loop;
  int block_axis;                 /* -1: one tile is everything */
  int64_t block, inner;           /* indices of a block; elements for each */
  int nkept, nreduced;
  moon_outer_axis kept[MOON_MAX_DIMS + 1], reduced[MOON_MAX_DIMS + 1];
  int64_t groups, tiles;          /* tiles: of a group */
  int64_t groups_per_job, segments, tiles_per_segment;
  int nfold;                      /* a tile by runs of axes kept or reduced, outermost first; run 0 counts per index of the block */
  int64_t fold_size[MOON_MAX_DIMS + 1];
  bool fold_reduced[MOON_MAX_DIMS + 1];
  int nsteps;
  bool streams;                   /* some output does */
  moon_loop_step step[MOON_LOOP_MAX_INS + MOON_LOOP_MAX_ARGS];
  int reg_arena[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS]; /* offset in the arena, -1: none of its own */
  moon_loop_operand *out;         /* behind the inputs */
  moon_loop_operand in[2 * MOON_LOOP_MAX_ARGS]; /* a plan of its own ends with the last output: programs hold hundreds of them */
} moon_loop_plan;

/* Fills set and gemm, and plans the instructions of p->loop for tiles of up to `elements`, all operands in registers of the arena
** (p->in and p->out tell which). MOON_ESIZE: they need more than the arena; MOON_EUNSUPPORTED: there is no loop for an instruction. */
moon_status moon__loop_plan_steps(moon_isa isa, moon_loop_plan *p, int64_t elements);
/* y[i * y_stride] = x[i * x_stride] for i in [0, n), strides in elements of that size. */
void moon__loop_copy(char *y, int64_t y_stride, const char *x, int64_t x_stride, int64_t n, int bytes);
/* y[i] = the number, for i in [0, n). */
void moon__loop_number(char *y, const moon_loop_number *k, int64_t n);
/* Combines x [length, inner] into its first inner elements, by halves. */
void moon__loop_fold(const moon_loop_operand *o, char *x, int64_t length, int64_t inner);
extern const int64_t moon__loop_ones[3]; /* steps, for moon_tile_fn */

/* Phase 1: jobs of groups (and segments of them); phase 2: partial results become results. Fill: identities, when nothing is
** reduced. */
void moon__loop_run(const moon_call *call, int64_t first, int64_t last);
void moon__loop_combine(const moon_call *call, int64_t first, int64_t last);
void moon__loop_fill(const moon_call *call, int64_t first, int64_t last);
enum { MOON_COMBINE_BLOCK = 1024 }; /* results of one job of moon__loop_combine */
#endif
