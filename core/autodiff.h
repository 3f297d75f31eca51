/*
** autodiff.h: reverse mode. A graph becomes a larger graph: gradient rules return nodes, so gradients of gradients work.
** moon_gradients and moon_gradients_of (moonlet.h) are made of the function below.
*/
#ifndef MOON_AUTODIFF_H
#define MOON_AUTODIFF_H
#include "graph/node.h"

/* Vector-Jacobian product: given dys[i] for outs[i] (NULL: zero), sets dxs[j] to the gradient of wrt[j] (NULL: zero). With stop
** set, nothing is propagated beyond a wrt value, so wrt values count as independent (bodies of composites and control flow). */
moon_status moon__vjp(moon_context *ctx, int nouts, moon_value *const *outs, moon_value *const *dys, int nwrt,
                      moon_value *const *wrt, bool stop, moon_value **dxs);
/* The gradient of a composite that its body gives: that of ops without a rule, and a way out for rules. */
moon_status moon__grad_through_body(moon_context *ctx, const moon_grad *g);
#endif
