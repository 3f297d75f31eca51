/*
** body.h: what passes share: a node's bodies are passed over before the node itself, so that every pass recurses into scan, cond
** and while_loop. A loop's body is already final and left alone.
*/
#ifndef MOON_BODY_H
#define MOON_BODY_H
#include "passes/pass.h"

/* node with each body run through pass; NULL out: bodies did not change. in are the replaced inputs. */
moon_status moon__pass_bodies(moon_pass_env *env, moon_graph *(*pass)(moon_pass_env *, moon_graph *), const moon_node *node,
                              moon_value *const *in, moon_value **out);
/* The value of a constant that is one number (through views), as double. false when v is not that. */
bool moon__is_number(const moon_value *v, double *x);
/* Is v a constant (or full) all of whose elements are x? */
static inline bool moon__is_all(const moon_value *v, double x) {
  double k;
  return moon__is_number(v, &k) && k == x;
}
#endif
