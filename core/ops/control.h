/*
** control.h: bodies of control flow: checking them against what they are given, and copying them so that they can be
** differentiated. The ops are in control.c and scan.c.
*/
#ifndef MOON_CONTROL_H
#define MOON_CONTROL_H
#include "graph/graph.h"

/* Does v's type fit want, as far as sizes are known? Fails: MOON_ESHAPE, "who: what number i is .., got ..". */
moon_status moon__body_check(moon_context *ctx, const char *who, const char *what, int i, const moon_type *want,
                             const moon_type *have);
/* Are all n bodies there? One that could not be made has recorded why, which is handed on. */
moon_status moon__body_there(moon_context *ctx, const char *who, int n, moon_graph *const *graphs);
/* A formal of a new body. It belongs to no trace, so a body may be used after the trace it was made in. */
moon_value *moon__body_formal(moon_context *ctx, const char *kind, int i, const moon_type *type);
/* The outputs [g->noutputs] of g over other formals [g->ninputs] of the same types: copies of all its nodes, which keep their
** random streams and can be differentiated. They live in the current scope. */
moon_status moon__body_copy(moon_context *ctx, const moon_graph *g, moon_value *const *formals, moon_value **outputs);

/* The body of a scan with each carry it is given also among its ys (at the end, where it is not yet): a scan over it needs no
** second run for its gradient. A new reference. */
moon_graph *moon__scan_saving_body(moon_context *ctx, const moon_graph *body, int ncarry);
#endif
