/* explain.h: a program's launches as words, for explain and for profiles. */
#ifndef MOON_EXPLAIN_H
#define MOON_EXPLAIN_H
#include "plan/plan.h"

/* Each writes into buf [buf_bytes], cut where it does not fit, always terminated. */
/* "matmul"; "loop [add relu]" for what was fused. */
void moon__launch_name(const moon_launch *l, char *buf, size_t buf_bytes);
/* Where its node was built; of a chain, where its products were: "conv2d_1, depthwise_conv2d_1". */
void moon__launch_layers(const moon_launch *l, char *buf, size_t buf_bytes);
/* "input f32(64, 784), variable f32(784, 512) -> f32(64, 512)". */
void moon__launch_operands(const moon_program *p, const moon_launch *l, char *buf, size_t buf_bytes);
#endif
