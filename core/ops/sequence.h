/*
** sequence.h: what the ops over whole sequences share: one step of each cell as values, checks of shapes, and a scan whose body is
** built by a function. Letters: b t d as in the field, u units.
*/
#ifndef MOON_SEQUENCE_H
#define MOON_SEQUENCE_H
#include "graph/node.h"
#include "ops/attrs.h"

/* What a step of a cell gives. gates [b, 4u]: LSTM i f g o; GRU z r g, and the recurrent part of g. c: LSTM only. */
typedef struct moon_cell_step {
  moon_value *h, *c, *gates;
} moon_cell_step;

/* z [b, 4u]: the sum of all that goes into the gates. */
moon_cell_step moon__lstm_step(moon_context *ctx, moon_value *z, moon_value *c);
/* xs, hs [b, 3u]: what comes from the input and from the state. */
moon_cell_step moon__gru_step(moon_context *ctx, moon_value *xs, moon_value *hs, moon_value *h);
/* Part i of x [b, parts u]. */
moon_value *moon__gate(moon_context *ctx, moon_value *x, int i, moon_dim u);
/* 1 - y */
moon_value *moon__one_minus(moon_context *ctx, moon_value *y);
/* sigmoid'(x) dy and tanh'(x) dy, by the y that they gave. */
moon_value *moon__sigmoid_back(moon_context *ctx, moon_value *y, moon_value *dy);
moon_value *moon__tanh_back(moon_context *ctx, moon_value *y, moon_value *dy);

/* Must shape have these sizes? Fails: MOON_ESHAPE. */
moon_status moon__sequence_check(moon_context *ctx, const char *who, const char *name, const moon_shape *shape, int ndim,
                                 const moon_dim *want);
/* The rest of a check that stops at the first failure: x's shape is checked unless *s tells of one. */
typedef struct moon_sequence_rule { const char *name; int ndim; moon_dim dim[3]; } moon_sequence_rule;
/* Checks the inputs of f against rules [f->ninputs] and that all but a mask, the last when its rule says so, have one float dtype. */
moon_status moon__sequence_rules(moon_context *ctx, const moon_infer *f, const moon_sequence_rule *rules, int nfloats);

/* Builds results from formals (carries, xs, captures), both in scan's order. */
typedef moon_status (*moon_step_fn)(moon_context *ctx, int n, moon_value *const *in, moon_value **out);
/* A scan over in [n] whose body is built by step; nout results of the body. Gives output 0; NULL after an error. */
moon_value *moon__sequence_scan(moon_context *ctx, const moon_scan_attrs *a, int n, moon_value *const *in, int nout,
                                moon_step_fn step);
/* mask [b], one per row of x and y [b, ..]: x where it holds, else y. mask NULL: x. */
moon_value *moon__where_rows(moon_context *ctx, moon_value *mask, moon_value *x, moon_value *y);
/* [t, b, u] -> what each step was given: before [b, u] first (last when reversed), then all but the last of states. */
moon_value *moon__states_before(moon_context *ctx, moon_value *before, moon_value *states, bool reverse);
/* Sum over steps and rows of (state before the step)^T dz: the gradient of the recurrent kernel. dz [t, b, n] -> [u, n]. */
moon_value *moon__recurrent_gradient(moon_context *ctx, moon_value *before, moon_value *states, moon_value *dz, bool reverse);
#endif
