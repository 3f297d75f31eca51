/* einsum.h: Einstein's summation as a builder; it is no op of its own. */
#ifndef MOON_EINSUM_H
#define MOON_EINSUM_H
#include "graph/node.h"

/* Sums of products by an equation as NumPy writes it: "bij,bjk->bik", "...ij->...ji", "ii", with spaces allowed. Without "->" the
** result has the indices that appear once, in alphabetical order, after those of "...". inputs [n]. Built of transpose, reshape,
** sum, mul and matmul, so gradients follow. NULL after an error that quotes the equation. */
moon_value *moon__einsum(moon_context *ctx, const char *equation, int n, moon_value *const *inputs);
#endif
