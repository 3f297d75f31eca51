/*
** inspect.c: what our Lua files need to know of graphs beyond what scripts see: which nodes a symbol comes from, graphs called
** in one mode, several graphs as texts of one file, and building with symbols outside of traces.
*/
#include "inspect.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "graph/graph.h"
#include "graph/text.h"
#include "operand.h"
#include "symbol.h"
#include "tensor.h"

/* core.symbol_id(s) -> the number of its node, never used again in this runtime. */
static int symbol_id(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_value *v = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "symbol_id", "argument 1");
  moon__lua_pushint64(L, (int64_t)v->node->id);
  return 1;
}

/* core.identity(x) -> a light userdata that two objects share exactly when they are handles of one thing. */
static int identity(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_object *o = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) == MOON_LUA_OTHER || !o->ptr)
    return moon__lua_fail(L, "identity: a tensor, symbol or variable is expected, got %s", moon__lua_describe(L, b, 1).s);
  lua_pushlightuserdata(L, o->ptr);
  return 1;
}

/* core.type_key(x) -> "f32 2,3" for a Tensor, else nil: a short string, which Lua makes once. */
static int type_key(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  char text[16 + MOON_MAX_DIMS * 21];
  const moon_tensor *t = moon__lua_test(L, b, 1, MOON_LUA_TENSOR);
  size_t n;
  if (!t) return 0;
  n = (size_t)snprintf(text, sizeof text, "%s", moon_dtype_name(moon_tensor_dtype(t)));
  for (int i = 0; i < moon_tensor_ndim(t) && n < sizeof text; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%c%lld", i ? ',' : ' ', (long long)moon_tensor_size(t, i));
  lua_pushstring(L, text);
  return 1;
}

/* core.symbol_inputs(s) -> the inputs of its node. */
static int symbol_inputs(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_value *v = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "symbol_inputs", "argument 1");
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_SYMBOL, v->node->ninputs);
  v = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "symbol_inputs", "argument 1");
  for (int i = 0; i < list->n; i++) list->item[i] = moon_value_retain(v->node->inputs[i]);
  moon__lua_list_table(L, list);
  return 1;
}

static int read_mode(lua_State *L, const moon_bind *b, int idx) {
  static const char *const words[] = {"infer", "train", NULL}; /* in the order of moon_mode */
  if (lua_isnoneornil(L, idx)) return b->ctx->eager_depth > 0 ? MOON_INFERENCE : -1;
  return luaL_checkoption(L, idx, NULL, words);
}

/* core.graph_call(graph, { values } [, "train" or "infer"]) -> { values }: only that side of mode nodes; nil keeps both. */
static int graph_call(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_list *in, *out;
  moon_graph *g;
  moon_value **made;
  moon_status status;
  int side, n;
  lua_settop(L, 3);
  g = moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "graph_call", "argument 1");
  side = read_mode(L, b, 3);
  n = moon_graph_output_count(g);
  in = moon__lua_values(L, b, 2, "graph_call", "inputs");
  out = moon__lua_list(L, b, MOON_LUA_SYMBOL, n);
  made = moon__lua_newblock(L, ((size_t)n + 1) * sizeof *made);
  g = moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "graph_call", "argument 1");
  if (in->n != moon_graph_input_count(g))
    return moon__lua_fail(L, "graph_call: the graph takes %d inputs, got %d", moon_graph_input_count(g), in->n);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  status = moon__graph_call_mode(b->ctx, g, side, (moon_value *const *)in->item, made);
  for (int i = 0; i < n && status == MOON_OK; i++) out->item[i] = moon_value_retain(made[i]);
  moon_scope_close(b->ctx);
  if (status != MOON_OK) return moon__lua_raise(L, b);
  moon__lua_list_table(L, out);
  moon__lua_account(L, b, (size_t)n * MOON_LUA_SYMBOL_BYTES);
  return 1;
}

/* ---- several graphs of one file ---- */

typedef struct text_list { /* what the call owns; a collector frees it if Lua raises */
  moon_runtime *runtime;
  moon_constants constants;
} text_list;

static int text_list_gc(lua_State *L) {
  text_list *t = lua_touserdata(L, 1);
  if (t->runtime) {
    moon__constants_free(t->runtime, &t->constants);
    moon_runtime_release(t->runtime);
    t->runtime = NULL;
  }
  return 0;
}

static text_list *push_text_list(lua_State *L, const moon_bind *b) {
  text_list *t = moon__lua_newblock(L, sizeof *t);
  *t = (text_list){0};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, text_list_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  t->runtime = moon_runtime_retain(b->runtime);
  return t;
}

/* core.graph_texts({ graphs }) -> { texts }, { tensors }: large constants are "constant/<i>", counted through all graphs. */
static int graph_texts(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  text_list *t;
  int n;
  moon__lua_want_table(L, b, 1, "graph_texts", "argument 1");
  lua_settop(L, 1);
  n = (int)moon__lua_rawlen(L, 1);
  t = push_text_list(L, b); /* 2 */
  lua_createtable(L, n, 0); /* 3 */
  moon__lua_no_origin(b);
  for (int i = 1; i <= n; i++) {
    const moon_graph *g;
    char *text;
    lua_rawgeti(L, 1, i);
    moon__lua_block(L);
    g = moon__lua_check(L, b, 4, MOON_LUA_GRAPH, "graph_texts", "an entry");
    text = moon__graph_text_with(b->ctx, g, &t->constants);
    if (!text) return moon__lua_raise(L, b);
    moon__lua_push_text(L, b, 5, text, strlen(text));
    lua_rawseti(L, 3, i);
    lua_settop(L, 3);
  }
  lua_createtable(L, t->constants.n, 0); /* 4 */
  for (int i = 0; i < t->constants.n; i++) {
    moon__lua_block(L);
    moon__lua_own(L, b, -1, MOON_LUA_TENSOR, moon_tensor_retain(t->constants.tensor[i]));
    lua_rawseti(L, 4, i + 1);
  }
  return 2;
}

/* ---- symbols outside of traces ---- */

/* core.symbolic_push(): until the pop, reading a variable or drawing numbers gives Symbols, as in a trace. */
static int symbolic_push(lua_State *L) {
  moon__lua_bind(L)->bodies++;
  return 0;
}

static int symbolic_pop(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (b->bodies == 0) return moon__lua_fail(L, "symbolic_pop: nothing was pushed");
  b->bodies--;
  return 0;
}

const luaL_Reg moon__lua_inspect_functions[] = {
    {"identity", identity},           {"symbol_id", symbol_id},       {"type_key", type_key},
    {"symbol_inputs", symbol_inputs}, {"graph_call", graph_call},     {"graph_texts", graph_texts},
    {"symbolic_push", symbolic_push}, {"symbolic_pop", symbolic_pop}, {NULL, NULL}};
