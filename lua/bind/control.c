/*
** control.c: cond and while_loop from a script. With symbols in play the functions are traced into bodies of one node; on numbers
** (and in eager mode) they simply run, so that print inside them shows numbers. scan is in scan.c, call_custom in custom.c.
*/
#include "control.h"

#include "args.h"
#include "body.h"
#include "operand.h"
#include "ops/attrs.h"
#include "tensor.h"

/* The truth of the boolean, tensor or number at idx. */
static bool truth(lua_State *L, moon_bind *b, int idx, const char *who) {
  double d = 0;
  const moon_tensor *t;
  if (lua_type(L, idx) == LUA_TBOOLEAN) return lua_toboolean(L, idx);
  t = moon__lua_numbers(L, b, idx, who);
  if (moon_tensor_count(t) != 1)
    moon__lua_fail(L, "%s: the condition must be one bool, got %s", who, moon__lua_describe(L, b, idx).s);
  if (moon_tensor_read(b->ctx, t, MOON_DTYPE_f64, &d, sizeof d) != MOON_OK) moon__lua_raise(L, b);
  lua_pop(L, 1);
  return d != 0;
}

/* Pushes the entries of the table at idx, or the value there, or nothing for nil; returns how many. */
static int push_arguments(lua_State *L, int idx) {
  int n = lua_type(L, idx) == LUA_TTABLE ? (int)moon__lua_rawlen(L, idx) : 0;
  if (lua_isnoneornil(L, idx)) return 0;
  if (lua_type(L, idx) != LUA_TTABLE) {
    lua_pushvalue(L, idx);
    return 1;
  }
  luaL_checkstack(L, n + 8, "too many inputs");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, idx, i);
  return n;
}

/* ---- cond(p, f_then, f_else [, inputs]) ---- */

static int cond_at_once(lua_State *L, moon_bind *b) {
  int n;
  lua_pushvalue(L, truth(L, b, 1, "cond") ? 2 : 3);
  n = push_arguments(L, 4);
  lua_call(L, n, 1);
  return 1;
}

/* Traces the function at f_idx on formals for x. */
static void trace_side(lua_State *L, moon_bind *b, moon_body_graph *side, int f_idx, const moon_pack *x) {
  moon_lua_list *formals;
  moon__lua_body_begin(b, side);
  formals = moon__lua_formals(L, b, "cond", x->list->n, x->list->item, false);
  luaL_checkstack(L, formals->n + 16, "too many inputs");
  for (int i = 0; i < formals->n; i++) {
    const moon_pack one = {.single = true};
    moon__lua_unpack(L, b, formals, i, 1, &one);
  }
  moon__lua_body_call(L, b, side, "cond", f_idx, formals->n, 1);
  moon__lua_body_close(L, b, side, formals);
}

static int cond(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_body_graph yes, no;
  moon_graph *graphs[2];
  moon_pack p, x;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_cond], .ngraphs = 2, .graphs = graphs};
  lua_settop(L, 4);
  moon__lua_want_function(L, b, 2, "cond", "argument 2");
  moon__lua_want_function(L, b, 3, "cond", "argument 3");
  if (lua_type(L, 1) == LUA_TBOOLEAN || moon__lua_kind(L, b, 1) != MOON_LUA_SYMBOL || !moon__lua_must_trace(L, b, 1)) {
    if (moon__lua_kind(L, b, 1) != MOON_LUA_VARIABLE || !moon__lua_in_trace(b)) return cond_at_once(L, b);
  }
  p = moon__lua_pack(L, b, 1, "cond", "the condition");
  x = moon__lua_pack(L, b, 4, "cond", "an input");
  trace_side(L, b, &yes, 2, &x);
  trace_side(L, b, &no, 3, &x);
  moon__lua_body_widen(L, b, &yes, x.list->n, no.captures, false);
  moon__lua_body_widen(L, b, &no, x.list->n, yes.captures, true);
  graphs[0] = moon__lua_body_graph(&yes);
  graphs[1] = moon__lua_body_graph(&no);
  const moon_lua_list *lists[] = {p.list, x.list, yes.captures, no.captures};
  moon_lua_list *out = moon__lua_body_node(L, b, &spec, 4, lists);
  moon__lua_unpack(L, b, out, 0, out->n, &yes.results[0]);
  return 1;
}

/* ---- while_loop(f_condition, f_body, init) ---- */

static int while_at_once(lua_State *L, moon_bind *b) {
  for (;;) {
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_call(L, 1, 1);
    if (!truth(L, b, 4, "while_loop")) break;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_call(L, 1, 1);
    lua_replace(L, 3);
    lua_settop(L, 3);
  }
  lua_settop(L, 3);
  return 1;
}

static void trace_loop_part(lua_State *L, moon_bind *b, moon_body_graph *part, int f_idx, const moon_pack *carry) {
  moon_lua_list *formals;
  moon__lua_body_begin(b, part);
  formals = moon__lua_formals(L, b, "while_loop", carry->list->n, carry->list->item, false);
  moon__lua_unpack(L, b, formals, 0, formals->n, carry);
  moon__lua_body_call(L, b, part, "while_loop", f_idx, 1, 1);
  moon__lua_body_close(L, b, part, formals);
}

static int while_loop(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_body_graph condition, body;
  moon_graph *graphs[2];
  moon_while_attrs attrs = {0};
  moon_pack carry;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_while_loop], .ngraphs = 2, .graphs = graphs, .attrs = &attrs};
  lua_settop(L, 3);
  moon__lua_want_function(L, b, 1, "while_loop", "argument 1");
  moon__lua_want_function(L, b, 2, "while_loop", "argument 2");
  if (lua_isnil(L, 3)) return moon__lua_fail(L, "while_loop: init must be a tensor or a table of them, got nil");
  if (!moon__lua_must_trace(L, b, 3)) return while_at_once(L, b);
  carry = moon__lua_pack(L, b, 3, "while_loop", "init");
  trace_loop_part(L, b, &condition, 1, &carry);
  trace_loop_part(L, b, &body, 2, &carry);
  moon__lua_body_widen(L, b, &condition, carry.list->n, body.captures, false);
  moon__lua_body_widen(L, b, &body, carry.list->n, condition.captures, true);
  graphs[0] = moon__lua_body_graph(&condition);
  graphs[1] = moon__lua_body_graph(&body);
  attrs.ncarry = carry.list->n;
  const moon_lua_list *lists[] = {carry.list, condition.captures, body.captures};
  moon_lua_list *out = moon__lua_body_node(L, b, &spec, 3, lists);
  moon__lua_unpack(L, b, out, 0, out->n, &carry);
  return 1;
}

const luaL_Reg moon__lua_control_functions[] = {
    {"cond", cond}, {"while_loop", while_loop}, {"scan", moon__lua_scan}, {"call_custom", moon__lua_call_custom}, {NULL, NULL}};
