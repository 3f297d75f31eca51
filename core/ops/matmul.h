/* matmul.h: the matrix product by NumPy's rules, for builders that start from any ranks. */
#ifndef MOON_MATMUL_H
#define MOON_MATMUL_H
#include "graph/node.h"

/* a [.., m, k], b [.., k, n] -> [.., m, n] by reshapes and broadcasts around a plain matmul node; rank 1 as in NumPy; bool and u8
** become i32. NULL after an error. */
moon_value *moon__matmul_adapt(moon_context *ctx, moon_value *a, moon_value *b);
#endif
