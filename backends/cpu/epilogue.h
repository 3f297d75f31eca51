/*
** epilogue.h: the loop that finishes a product, run by the tile VM on blocks of the product's result that a kernel has just made.
**
** A kernel that can be finished plans the loop with moon__finish_plan (f->epilogue). If `plain` is set then, its sums are the
** loop's one output, and it stores them there itself. Otherwise each of its runs begins one moon_finishing on its stack and gives
** it every block as soon as the block's sums are complete; the sums may lie anywhere, on the stack for choice. Blocks may come in
** any order, of any shape, but cut by shape alone.
** Loops that reduce over the rows need to know which rows belong together: rows are cut into parts; blocks of one part and the same
** columns come from one job, in a fixed order, `fresh` with the first; a last phase adds up the parts.
*/
#ifndef MOON_CPU_EPILOGUE_H
#define MOON_CPU_EPILOGUE_H
#include "fast.h"
#include "loop.h"

typedef struct moon_finish_input {
  bool used;
  bool fixed;          /* the same for every row */
  bool rows, columns;  /* it moves by one step from row to row; from column to column */
  int64_t row_step, column_step; /* elements */
} moon_finish_input;

typedef struct moon_finish {
  moon_epilogue e;
  moon_loop_plan vm;
  int nproduct;     /* input i of the loop is input nproduct + i of the call */
  int start;        /* input of the loop whose element the sums start from, instead of from 0; -1: none */
  bool plain;       /* the sums are output 0: there is nothing to run */
  bool reduces;
  bool clamps;      /* all that it does is to bring the sums into [lo, hi] (relu, relu6, clip) */
  float lo, hi;
  int64_t elements; /* of a tile */
  int64_t parts;
  moon_finish_input in[MOON_LOOP_MAX_ARGS];
} moon_finish;

/* Plans f->epilogue. can_start: the kernel's sums may start from an operand f->in[nproduct + start] that has `rows` and `columns`
** set. Sets c->alias_in. MOON_EUNSUPPORTED: plan two launches. */
moon_status moon__finish_plan(const moon_fast *f, moon_finish *p, bool can_start, moon_choice *c);
/* For loops that reduce: room for that many parts. False: too large. The combining phase is the kernel's last. */
bool moon__finish_parts(moon_finish *p, int64_t parts, moon_choice *c);
int64_t moon__finish_combine_jobs(const moon_finish *p); /* 0: no such phase */
void moon__finish_combine(const moon_finish *p, const moon_call *call, int64_t first, int64_t last);

/* Of one that clamps: y [rows, columns] from x, rows y_step and x_step apart. */
void moon__finish_clamp(const moon_finish *p, float *y, int64_t y_step, const float *x, int64_t x_step, int64_t rows, int64_t columns);

/* For kernels whose blocks are too large for the stack: the output in whose memory sums can wait until they are finished, where they
** lie. No input may have that memory: clears c->alias_in. -1: none can. */
int moon__finish_place(const moon_finish *p, moon_choice *c);

typedef struct moon_finishing {
  const moon_finish *p;
  const moon_call *call;
  char *reg[MOON_LOOP_MAX_REGS + MOON_LOOP_MAX_ARGS];
  int64_t have_rows[MOON_LOOP_MAX_ARGS], have_column, have_columns; /* fixed inputs that are loaded */
  _Alignas(64) char arena[MOON_ARENA_BYTES];
} moon_finishing;

void moon__finish_begin(moon_finishing *r, const moon_finish *p, const moon_call *call);
/* Finishes sums x [rows, columns], rows x_step apart, of rows [row, row + rows) and columns [column, column + columns). */
void moon__finish_block(moon_finishing *r, const float *x, int64_t x_step, int64_t row, int64_t rows, int64_t column, int64_t columns,
                        int64_t part, bool fresh);
#endif
