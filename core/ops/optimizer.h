/*
** optimizer.h: how updates lay out their operands. One update takes tensors w g slots.. and then numbers; many take the tensors of
** one after those of the other, then the numbers, then perhaps a number that all gradients are multiplied by. Outputs are w slots..
** of each.
*/
#ifndef MOON_OPTIMIZER_H
#define MOON_OPTIMIZER_H
#include "ops/op.h"

typedef struct moon_update {
  moon_op_id one, many;
  int tensors, numbers;
} moon_update;
/* The row that an op, one or many, belongs to; NULL: it is no update. */
const moon_update *moon__update_of(moon_op_id id);
#endif
