/*
** scan.c: scan(f, init, xs, { length =, reverse = }) -> carry, ys. f(carry, x) gives carry, y; each of them one value or a
** table. On numbers, and in eager mode, f runs step by step; otherwise it is traced once.
*/
#include "args.h"
#include "body.h"
#include "control.h"
#include "op.h"
#include "operand.h"
#include "ops/attrs.h"

static const char *const option_names[] = {"length", "reverse", NULL};

static void read_options(lua_State *L, const moon_bind *b, moon_scan_attrs *attrs, bool *has_length) {
  *has_length = false;
  if (lua_isnil(L, 4)) return;
  moon__lua_want_table(L, b, 4, "scan", "options");
  moon__lua_known_keys(L, b, 4, "scan", option_names, false);
  if (moon__lua_option(L, 4, "length")) {
    attrs->length = moon__lua_size(L, b, -1, "scan", "length");
    *has_length = true;
  }
  if (moon__lua_option(L, 4, "reverse")) attrs->reverse = moon__lua_flag(L, b, -1, "scan", "reverse");
  lua_settop(L, 4);
}

/* ---- step by step: f at 1, carry at 2, xs at 3; results in a list of lists at 5 ---- */

static int64_t first_size(lua_State *L, const moon_bind *b, int idx) {
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  int64_t n = 0;
  if (kind != MOON_LUA_TENSOR && kind != MOON_LUA_SYMBOL && kind != MOON_LUA_VARIABLE)
    moon__lua_fail(L, "scan: a sequence must be a tensor, got %s", moon__lua_describe(L, b, idx).s);
  lua_getfield(L, idx, "shape");
  lua_rawgeti(L, -1, 1);
  if (!moon__lua_toint64(L, -1, &n)) n = -1;
  lua_pop(L, 2);
  return n;
}

static int64_t sequence_length(lua_State *L, const moon_bind *b) {
  int64_t n = -1;
  if (lua_type(L, 3) != LUA_TTABLE) return first_size(L, b, 3);
  for (int i = 1; i <= (int)moon__lua_rawlen(L, 3); i++) {
    lua_rawgeti(L, 3, i);
    int64_t size = first_size(L, b, lua_gettop(L));
    lua_pop(L, 1);
    if (n >= 0 && size != n)
      moon__lua_fail(L, "scan: sequences differ in length: %s and %s", moon__lua_count(n).s, moon__lua_count(size).s);
    n = size;
  }
  return n;
}

/* Pushes x at step t (from 1). */
static void push_step(lua_State *L, int64_t t) {
  if (lua_isnil(L, 3)) {
    lua_pushnil(L);
    return;
  }
  if (lua_type(L, 3) != LUA_TTABLE) {
    moon__lua_pushint64(L, t);
    lua_gettable(L, 3);
    return;
  }
  int n = (int)moon__lua_rawlen(L, 3);
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 3, i);
    moon__lua_pushint64(L, t);
    lua_gettable(L, -2);
    lua_rawseti(L, -3, i);
    lua_pop(L, 1);
  }
}

/* Stores y (on top, popped) of step t into the lists at 5: one list, or one for each entry of a table. */
static void store_step(lua_State *L, int64_t t, bool *tables) {
  int n;
  *tables = lua_type(L, -1) == LUA_TTABLE;
  n = *tables ? (int)moon__lua_rawlen(L, -1) : lua_isnil(L, -1) ? 0 : 1;
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 5, i);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_rawseti(L, 5, i);
    }
    if (*tables) lua_rawgeti(L, -2, i);
    else lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (int)t);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Replaces the lists at 5 by stacked tensors; pushes the one, or the table. */
static void push_stacked(lua_State *L, bool tables) {
  int n = (int)moon__lua_rawlen(L, 5);
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(L, lua_upvalueindex(1));
    moon__lua_push_op(L, -1, moon__ops[MOON_OP_stack]);
    lua_remove(L, -2);
    lua_rawgeti(L, 5, i);
    lua_pushinteger(L, 1);
    lua_call(L, 2, 1);
    lua_rawseti(L, 5, i);
  }
  if (tables) lua_pushvalue(L, 5);
  else lua_rawgeti(L, 5, 1);
}

static int scan_at_once(lua_State *L, moon_bind *b, const moon_scan_attrs *attrs, bool has_length) {
  int64_t n = lua_isnil(L, 3) ? attrs->length : sequence_length(L, b);
  bool tables = false;
  if (n < 1 || n > INT32_MAX)
    return moon__lua_fail(L, "scan: the length must be 1 or more to run step by step, got %s", moon__lua_count(n).s);
  if (has_length && attrs->length != n)
    return moon__lua_fail(L, "scan: length is %s, but the sequences have %s", moon__lua_count(attrs->length).s,
                          moon__lua_count(n).s);
  lua_newtable(L); /* 5 */
  for (int64_t k = 1; k <= n; k++) {
    int64_t t = attrs->reverse ? n + 1 - k : k;
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    push_step(L, t);
    lua_call(L, 2, 2);
    store_step(L, t, &tables);
    lua_replace(L, 2);
  }
  push_stacked(L, tables);
  lua_pushvalue(L, 2);
  lua_insert(L, -2);
  return 2;
}

/* ---- traced ---- */

static int scan_traced(lua_State *L, moon_bind *b, moon_scan_attrs *attrs) {
  moon_body_graph body;
  moon_graph *graph;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_scan], .ngraphs = 1, .graphs = &graph, .attrs = attrs};
  moon_pack carry = moon__lua_pack(L, b, 2, "scan", "init"), xs = moon__lua_pack(L, b, 3, "scan", "a sequence");
  int ncarry = carry.list->n, nxs = xs.list->n;
  moon__lua_body_begin(b, &body);
  moon_lua_list *carry_formals = moon__lua_formals(L, b, "scan", ncarry, carry.list->item, false);
  moon_lua_list *x_formals = moon__lua_formals(L, b, "scan", nxs, xs.list->item, true);
  moon_lua_list *formals = moon__lua_list(L, b, MOON_LUA_SYMBOL, ncarry + nxs);
  for (int i = 0; i < ncarry + nxs; i++)
    formals->item[i] = moon_value_retain(i < ncarry ? carry_formals->item[i] : x_formals->item[i - ncarry]);
  moon__lua_unpack(L, b, formals, 0, ncarry, &carry);
  moon__lua_unpack(L, b, formals, ncarry, nxs, &xs);
  moon__lua_body_call(L, b, &body, "scan", 1, 2, 2);
  if (body.results[0].list->n != ncarry)
    return moon__lua_fail(L, "scan: the function must return %d carries first, got %d", ncarry, body.results[0].list->n);
  moon__lua_body_close(L, b, &body, formals);
  graph = moon__lua_body_graph(&body);
  attrs->ncarry = ncarry;
  attrs->nxs = nxs;
  const moon_lua_list *lists[] = {carry.list, xs.list, body.captures};
  moon_lua_list *out = moon__lua_body_node(L, b, &spec, 3, lists);
  moon__lua_unpack(L, b, out, 0, ncarry, &carry);
  moon__lua_unpack(L, b, out, ncarry, out->n - ncarry, &body.results[1]);
  return 2;
}

int moon__lua_scan(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_scan_attrs attrs = {0};
  bool has_length;
  lua_settop(L, 4);
  moon__lua_want_function(L, b, 1, "scan", "argument 1");
  read_options(L, b, &attrs, &has_length);
  if (lua_isnil(L, 3) && !has_length) return moon__lua_fail(L, "scan: a sequence or length = n is needed");
  if (moon__lua_must_trace(L, b, 2) || moon__lua_must_trace(L, b, 3) || attrs.length < 0) return scan_traced(L, b, &attrs);
  return scan_at_once(L, b, &attrs, has_length);
}
