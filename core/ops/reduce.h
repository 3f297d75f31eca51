/* reduce.h: what the reductions of reduce.c share with those of moments.c that are made of them. */
#ifndef MOON_REDUCE_H
#define MOON_REDUCE_H
#include "ops/attrs.h"

/* Output 0 is input 0 without the reduced axes, in its dtype; axes are resolved. */
moon_status moon__infer_reduce(moon_context *ctx, moon_infer *f);
/* The same; reduced axes must not be empty. Fails: MOON_ESHAPE. */
moon_status moon__infer_reduce_some(moon_context *ctx, moon_infer *f);
extern const moon_attr moon__reduce_rows[2];
#endif
