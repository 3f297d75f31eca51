/*
** custom.c: call_custom(f, f_gradient, inputs): a function with a gradient of its own. f(x1, ..) gives y (one or a table);
** f_gradient(xs, ys, dys), three tables, gives the gradients of the inputs in order (one or a table; the number 0 for zeros).
** What either function uses from outside becomes further inputs of the call, without a gradient.
*/
#include "args.h"
#include "body.h"
#include "control.h"
#include "graph/build.h"
#include "ops/control.h"

static const moon_pack as_table = {.single = false};

/* Traces the gradient: formals x..., y..., dy... for the values of x and y. */
static moon_lua_list *trace_gradient(lua_State *L, moon_bind *b, moon_body_graph *gradient, const moon_lua_list *x,
                                     const moon_lua_list *y) {
  int nx = x->n, ny = y->n;
  moon_lua_list *values = moon__lua_list(L, b, MOON_LUA_SYMBOL, nx + 2 * ny), *formals;
  for (int i = 0; i < nx + 2 * ny; i++) values->item[i] = moon_value_retain(i < nx ? x->item[i] : y->item[(i - nx) % ny]);
  moon__lua_body_begin(b, gradient);
  formals = moon__lua_formals(L, b, "call_custom", values->n, values->item, false);
  moon__lua_unpack(L, b, formals, 0, nx, &as_table);
  moon__lua_unpack(L, b, formals, nx, ny, &as_table);
  moon__lua_unpack(L, b, formals, nx + ny, ny, &as_table);
  moon__lua_body_call(L, b, gradient, "call_custom", 2, 3, 1);
  if (gradient->results[0].list->n != nx)
    moon__lua_fail(L, "call_custom: the gradient function must return %d gradients, got %d", nx, gradient->results[0].list->n);
  moon__lua_body_close(L, b, gradient, formals);
  return formals;
}

/* dx of the type of x: a rank 0 gradient is spread. */
static moon_value *fit_gradient(moon_context *ctx, moon_value *dx, const moon_value *x) {
  dx = moon__cast(ctx, dx, x->type.dtype);
  if (dx && dx->type.shape.ndim == 0 && x->type.shape.ndim > 0) dx = moon__broadcast_to(ctx, dx, &x->type.shape);
  return dx;
}

/* g (x, y, dy, captures) -> (x, captures of f, captures, y, dy), with zeros for the gradients of captures. In a scope. */
static moon_graph *arrange(moon_bind *b, const moon_graph *g, int nx, int ny, const moon_lua_list *f_captures) {
  moon_value *in[MOON_MAX_INPUTS], *out[MOON_MAX_INPUTS];
  int n = 0, own = g->ninputs - nx - 2 * ny, total = nx + f_captures->n + own;
  for (int i = 0; i < nx; i++) in[n++] = g->inputs[i];
  for (int i = 0; i < f_captures->n; i++) {
    const moon_value *v = f_captures->item[i];
    in[n] = moon__body_formal(b->ctx, "unused", i, &v->type);
    if (!in[n++]) return NULL;
  }
  for (int i = 0; i < own; i++) in[n++] = g->inputs[nx + 2 * ny + i];
  for (int i = 0; i < 2 * ny; i++) in[n++] = g->inputs[nx + i];
  for (int i = 0; i < total; i++) {
    out[i] = i < nx ? fit_gradient(b->ctx, g->outputs[i], in[i]) : moon__zeros_like(b->ctx, in[i]);
    if (!out[i]) return NULL;
  }
  return moon__graph_make(b->ctx, n, in, total, out, 0, NULL);
}

static void arrange_gradient(lua_State *L, moon_bind *b, moon_body_graph *gradient, int nx, int ny,
                             const moon_lua_list *f_captures) {
  moon_graph *g = moon__lua_body_graph(gradient), *arranged;
  int eager = b->ctx->eager_depth;
  if (g->ninputs + f_captures->n > MOON_MAX_INPUTS || nx + f_captures->n + gradient->captures->n > MOON_MAX_OUTPUTS)
    moon__lua_fail(L, "call_custom: the functions use too many outer values");
  b->ctx->eager_depth = 0;
  moon_scope_open(b->ctx);
  arranged = arrange(b, g, nx, ny, f_captures);
  moon_scope_close(b->ctx);
  b->ctx->eager_depth = eager;
  if (!arranged) moon__lua_raise(L, b);
  moon__lua_exchange(gradient->graph, arranged);
  moon_graph_release(g);
}

static int call_at_once(lua_State *L) {
  int n = lua_type(L, 3) == LUA_TTABLE ? (int)moon__lua_rawlen(L, 3) : 1;
  lua_pushvalue(L, 1);
  luaL_checkstack(L, n + 8, "too many inputs");
  if (lua_type(L, 3) != LUA_TTABLE) lua_pushvalue(L, 3);
  else
    for (int i = 1; i <= n; i++) lua_rawgeti(L, 3, i);
  lua_call(L, n, 1);
  return 1;
}

int moon__lua_call_custom(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_body_graph f, gradient;
  moon_graph *graphs[2];
  moon_node_spec spec = {.op = moon__ops[MOON_OP_call], .ngraphs = 2, .graphs = graphs};
  const moon_pack one = {.single = true};
  moon_lua_list *formals;
  moon_pack x;
  lua_settop(L, 3);
  moon__lua_want_function(L, b, 1, "call_custom", "argument 1");
  moon__lua_want_function(L, b, 2, "call_custom", "argument 2");
  if (!moon__lua_must_trace(L, b, 3) && b->ctx->eager_depth == 0) return call_at_once(L);
  x = moon__lua_pack(L, b, 3, "call_custom", "an input");
  moon__lua_body_begin(b, &f);
  formals = moon__lua_formals(L, b, "call_custom", x.list->n, x.list->item, false);
  luaL_checkstack(L, formals->n + 32, "too many inputs");
  for (int i = 0; i < formals->n; i++) moon__lua_unpack(L, b, formals, i, 1, &one);
  moon__lua_body_call(L, b, &f, "call_custom", 1, formals->n, 1);
  moon__lua_body_close(L, b, &f, formals);
  if (f.results[0].list->n == 0) return moon__lua_fail(L, "call_custom: the function must return a value");
  trace_gradient(L, b, &gradient, formals, f.results[0].list);
  moon__lua_body_widen(L, b, &f, x.list->n, gradient.captures, false);
  arrange_gradient(L, b, &gradient, x.list->n, f.results[0].list->n, f.captures);
  graphs[0] = moon__lua_body_graph(&f);
  graphs[1] = moon__lua_body_graph(&gradient);
  const moon_lua_list *lists[] = {x.list, f.captures, gradient.captures};
  moon_lua_list *out = moon__lua_body_node(L, b, &spec, 3, lists);
  moon__lua_unpack(L, b, out, 0, out->n, &f.results[0]);
  return 1;
}
