/*
** cells.h: the elementwise part of one step of an LSTM or GRU over a block [rows, columns] of its units, forward and backward,
** compiled once per instruction set. Products with the recurrent kernel are made before, by the tiles of gemm.h. Pointers are to
** the block's first element; `units` is the distance from gate to gate wherever gates lie side by side, steps are from row to row.
*/
#ifndef MOON_CELLS_H
#define MOON_CELLS_H
#include "isa.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moon_cell {
  int64_t rows, columns, units;
  const float *product; /* of the state with the recurrent kernel; gate g begins at g * product_gate */
  int64_t product_step, product_gate;
  const float *z, *bias; /* LSTM bias [4u]; GRU [2, 3u] */
  int64_t z_step;
  const float *before;   /* h before the step: GRU, and rows that a mask leaves as they are */
  int64_t before_step;
  const float *c_before; /* LSTM */
  int64_t c_before_step;
  float *h, *c, *gates;  /* steps: units, units, 4 units; gates may be NULL */
  const uint8_t *mask;   /* one per row; NULL: all count */
} moon_cell;

typedef struct moon_cell_back {
  int64_t rows, columns, units;
  const float *product; /* of the next step's gradient with the turned recurrent kernel; NULL: nothing yet */
  int64_t product_step;
  const float *dy;      /* NULL: 0 */
  int64_t dy_step;
  const float *gates;   /* step 4 units */
  const float *c;       /* LSTM: states after the step */
  const float *before;  /* states before the step: c of an LSTM, h of a GRU */
  int64_t before_step;
  float *dc;            /* LSTM: in and out, step units */
  float *pass;          /* what goes to the state before the step beside the product, in and out, step units; LSTM may: NULL */
  float *dz, *dq;       /* [.., gates]; dq: GRU, what went through the reset gate; steps: gates units; dz may be gates (LSTM) */
  float *dbias;         /* sums over rows are added: [gates u]; GRU: [2, gates u] */
  const uint8_t *mask;
} moon_cell_back;

typedef struct moon_cells_set {
  void (*lstm)(const moon_cell *p);
  void (*gru)(const moon_cell *p);
  void (*lstm_back)(const moon_cell_back *p);
  void (*gru_back)(const moon_cell_back *p);
} moon_cells_set;
MOON_ISA_DECLARE(const moon_cells_set, moon__cells_set)
#endif
