/*
** loop.h: the IR of a fused loop: scalar instructions over an index space with strided inputs and outputs, made from a `loop`
** node's body. Registers are numbered; inputs and numbers are loaded into theirs before the instructions. Along reduced axes
** (bits of `reduced`) an output with a reduce op combines values, and its strides there are 0. The CPU backend runs this with the
** tile VM, OpenCL prints it.
*/
#ifndef MOON_LOOP_H
#define MOON_LOOP_H
#include "ops/op.h"

#define MOON_LOOP_MAX_ARGS 16
#define MOON_LOOP_MAX_INS 64
#define MOON_LOOP_MAX_REGS 96
#define MOON_LOOP_MAX_NUMBERS 24

typedef struct moon_loop_ins {
  moon_op_id op;         /* elementwise op, or MOON_OP_cast */
  uint8_t dtype;         /* moon_dtype of its inputs */
  uint8_t out_dtype;
  int16_t dst, src[3];   /* registers */
} moon_loop_ins;
typedef struct moon_loop_arg {
  moon_dtype dtype;
  int16_t reg;           /* register it is loaded into, or stored from */
  moon_op_id reduce;     /* outputs: MOON_OP_sum, prod, max, min, any, all; MOON_OP_COUNT for none */
  int64_t strides[MOON_MAX_DIMS]; /* elements, per loop axis; 0: broadcast or reduced */
} moon_loop_arg;
typedef struct moon_loop_number {
  int16_t reg;
  moon_dtype dtype;
  double f; /* value of float dtypes */
  int64_t i; /* of the others */
} moon_loop_number;
typedef struct moon_loop {
  int ndim;              /* axes merged where all strides allow it; outermost first; 0: one element */
  int64_t size[MOON_MAX_DIMS];
  uint32_t reduced;      /* bit i: axis i is reduced */
  int nin, nout, nnumbers, nins, nregs;
  moon_loop_arg in[MOON_LOOP_MAX_ARGS], out[MOON_LOOP_MAX_ARGS];
  moon_loop_number number[MOON_LOOP_MAX_NUMBERS];
  moon_loop_ins ins[MOON_LOOP_MAX_INS];
  uint8_t reg_dtype[MOON_LOOP_MAX_REGS];
} moon_loop;

/* A loop that finishes a product (matmul, convolution): it takes the product's dense result, seen as [rows, columns] with columns its
** last axis, element by element, from register acc; its other inputs are loop.in. Axes [0, row_axes) of the loop walk the rows,
** outermost first, the rest walk the columns. */
typedef struct moon_epilogue {
  moon_loop loop;
  int acc, row_axes;
  int64_t rows, columns;
} moon_epilogue;
#endif
