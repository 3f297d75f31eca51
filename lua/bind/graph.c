/*
** graph.c: the Graph object: made from Symbols or parsed from text, called like a layer, printed, compiled to a Program. Script
** functions that core calls back run protected; what they raise is raised again once core has returned.
*/
#include "graph.h"

#include <string.h>

#include "args.h"
#include "graph/graph.h"
#include "operand.h"
#include "program.h"
#include "tensor.h"

static moon_graph *self(lua_State *L, const moon_bind *b, const char *who) {
  return moon__lua_check(L, b, 1, MOON_LUA_GRAPH, who, "argument 1");
}

static int push_graph(lua_State *L, moon_bind *b, int block_idx, moon_graph *g) {
  if (!g) return moon__lua_raise(L, b);
  moon__lua_own(L, b, block_idx, MOON_LUA_GRAPH, g);
  return 1;
}

/* core.graph(inputs, outputs [, effects]) -> Graph */
static int make_graph(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_list *inputs, *outputs, *effects;
  moon_graph *g;
  lua_settop(L, 3);
  inputs = moon__lua_values(L, b, 1, "graph", "inputs");
  outputs = moon__lua_values(L, b, 2, "graph", "outputs");
  effects = moon__lua_values(L, b, 3, "graph", "effects");
  moon__lua_block(L);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  g = moon_graph_new(b->ctx, inputs->n, (moon_value *const *)inputs->item, outputs->n, (moon_value *const *)outputs->item,
                     effects->n, (moon_value *const *)effects->item);
  moon_scope_close(b->ctx);
  return push_graph(L, b, -1, g);
}

/* ---- parsing ---- */

typedef struct resolver_call {
  lua_State *L;
  moon_bind *b;
  int table;   /* of callbacks */
  int keep;    /* table that keeps what they gave alive */
  bool raised; /* the error is the last entry of keep */
} resolver_call;

static void push_type(lua_State *L, moon_bind *b, const moon_type *type) {
  lua_pushstring(L, moon_dtype_name(type->dtype));
  moon__lua_push_shape(L, b, &type->shape);
}

typedef struct resolver_ask {
  resolver_call *call;
  const char *field, *name;
  const moon_type *type;
  moon_lua_kind kind;
  void *found;
} resolver_ask;

/* Runs protected: asks callbacks[field](name, dtype, shape). */
static int ask_protected(lua_State *L) {
  resolver_ask *ask = lua_touserdata(L, 1);
  moon_bind *b = ask->call->b;
  if (!moon__lua_option(L, 2, ask->field)) return 0;
  lua_pushstring(L, ask->name);
  push_type(L, b, ask->type);
  lua_call(L, 3, 1);
  if (lua_isnil(L, -1)) return 0;
  ask->found = moon__lua_check(L, b, -1, ask->kind, "graph_parse", ask->field);
  lua_pushvalue(L, -1);
  lua_rawseti(L, 3, (int)moon__lua_rawlen(L, 3) + 1);
  return 0;
}

static void *ask(resolver_call *c, const char *field, moon_lua_kind kind, const char *name, const moon_type *type) {
  resolver_ask request = {.call = c, .field = field, .name = name, .type = type, .kind = kind};
  lua_State *L = c->L;
  if (c->raised || !lua_checkstack(L, 16)) return NULL;
  lua_pushvalue(L, c->table + 2); /* ask_protected */
  lua_pushlightuserdata(L, &request);
  lua_pushvalue(L, c->table);
  lua_pushvalue(L, c->keep);
  if (lua_pcall(L, 3, 0, 0) == LUA_OK) return request.found;
  lua_replace(L, c->keep + 2); /* the error */
  c->raised = true;
  return NULL;
}

static moon_variable *find_variable(void *user, const char *name, const moon_type *type) {
  return ask(user, "variable", MOON_LUA_VARIABLE, name, type);
}
static moon_tensor *find_constant(void *user, const char *name, const moon_type *type) {
  return ask(user, "constant", MOON_LUA_TENSOR, name, type);
}

/* core.graph_parse(text, { variable = function(name, dtype, shape), constant = function(name, dtype, shape) }) -> Graph */
static int parse(lua_State *L) {
  static const char *const known[] = {"variable", "constant", NULL};
  moon_bind *b = moon__lua_bind(L);
  resolver_call call = {.L = L, .b = b, .table = 2, .keep = 3};
  moon_resolver resolver = {.user = &call, .variable = find_variable, .constant = find_constant};
  moon_graph *g;
  size_t bytes;
  const char *text;
  moon__lua_str(L, b, 1, "graph_parse", "text");
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  moon__lua_want_table(L, b, 2, "graph_parse", "argument 2");
  moon__lua_known_keys(L, b, 2, "graph_parse", known, false);
  lua_newtable(L);                     /* 3: keep */
  lua_pushcfunction(L, ask_protected); /* 4 */
  lua_pushnil(L);                      /* 5: the error */
  moon__lua_block(L);                  /* 6 */
  text = lua_tolstring(L, 1, &bytes);
  moon__lua_no_origin(b);
  moon_scope_open(b->ctx);
  g = moon_graph_parse(b->ctx, text, bytes, &resolver);
  moon_scope_close(b->ctx);
  if (call.raised) {
    moon_graph_release(g);
    lua_settop(L, 5);
    return moon__lua_rethrow(L);
  }
  return push_graph(L, b, 6, g);
}

/* ---- text ---- */

typedef char *(*text_maker)(moon_context *ctx, const moon_graph *g);

static int push_graph_text(lua_State *L, text_maker make, const char *who) {
  moon_bind *b = moon__lua_bind(L);
  char *made;
  moon__lua_block(L);
  moon__lua_no_origin(b);
  made = make(b->ctx, self(L, b, who));
  return moon__lua_push_text(L, b, -1, made, made ? strlen(made) : 0);
}

/*: Graph:text() -> string. Text that `core.graph_parse` reads back. */
static int text(lua_State *L) { return push_graph_text(L, moon_graph_text, "text"); }
/*: Graph:dot() -> string. Text for graphviz. */
static int dot(lua_State *L) { return push_graph_text(L, moon_graph_dot, "dot"); }

/* ---- looking ---- */

typedef moon_value *(*graph_end)(const moon_graph *g, int i);

static int push_ends(lua_State *L, int n, graph_end end, const char *who) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_SYMBOL, n);
  const moon_graph *g = self(L, b, who);
  for (int i = 0; i < n; i++) list->item[i] = moon_value_retain(end(g, i));
  moon__lua_list_table(L, list);
  return 1;
}

/*: Graph:inputs() -> table. Its placeholders. */
static int inputs(lua_State *L) {
  return push_ends(L, moon_graph_input_count(self(L, moon__lua_bind(L), "inputs")), moon_graph_input, "inputs");
}

/*: Graph:outputs() -> table. Its outputs. */
static int outputs(lua_State *L) {
  return push_ends(L, moon_graph_output_count(self(L, moon__lua_bind(L), "outputs")), moon_graph_output, "outputs");
}

/*: Graph:variables() -> table. The Variables that it reads or assigns. */
static int variables(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int n = moon_graph_variable_count(self(L, b, "variables"));
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_VARIABLE, n);
  const moon_graph *g = self(L, b, "variables");
  for (int i = 0; i < n; i++) list->item[i] = moon_variable_retain(moon_graph_variable(g, i));
  moon__lua_list_table(L, list);
  return 1;
}

/*: Graph:count() -> integer. Number of nodes. */
static int count(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_pushinteger(L, moon_graph_node_count(self(L, b, "count")));
  return 1;
}

/* ---- calling ---- */

/*: Graph:call(inputs) -> table. The graph on other values, as a part of the graph being built; its effects come along. */
static int call(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_list *in, *out;
  moon_graph *g;
  moon_value **made;
  moon_status status;
  self(L, b, "call");
  lua_settop(L, 2);
  in = moon__lua_values(L, b, 2, "call", "inputs");
  if (in->n != moon_graph_input_count(self(L, b, "call")))
    return moon__lua_fail(L, "call: the graph takes %d inputs, got %d", moon_graph_input_count(self(L, b, "call")), in->n);
  out = moon__lua_list(L, b, MOON_LUA_SYMBOL, moon_graph_output_count(self(L, b, "call")));
  made = moon__lua_newblock(L, ((size_t)out->n + 1) * sizeof *made);
  moon__lua_origin(L, b);
  g = self(L, b, "call");
  moon_scope_open(b->ctx);
  status = moon_graph_call(b->ctx, g, (moon_value *const *)in->item, made);
  for (int i = 0; i < out->n && status == MOON_OK; i++) out->item[i] = moon_value_retain(made[i]);
  moon_scope_close(b->ctx);
  if (status != MOON_OK) return moon__lua_raise(L, b);
  moon__lua_list_table(L, out);
  moon__lua_account(L, b, (size_t)out->n * MOON_LUA_SYMBOL_BYTES);
  return 1;
}

static int to_text(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_object *o = lua_touserdata(L, 1);
  const moon_graph *g = o->ptr;
  if (moon__lua_kind(L, b, 1) != MOON_LUA_GRAPH || !g) lua_pushliteral(L, "Graph (released)");
  else
    lua_pushfstring(L, "Graph (%d inputs, %d outputs, %d effects, %d nodes)", g->ninputs, g->noutputs, g->neffects,
                    moon_graph_node_count(g));
  return 1;
}

const luaL_Reg moon__lua_graph_functions[] = {{"graph", make_graph}, {"graph_parse", parse}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"text", text},
                                   {"dot", dot},
                                   {"inputs", inputs},
                                   {"outputs", outputs},
                                   {"variables", variables},
                                   {"count", count},
                                   {"call", call},
                                   {"program", moon__lua_compile},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", to_text}, {NULL, NULL}};

const moon_lua_class moon__lua_graph_class = {.kind = MOON_LUA_GRAPH, .methods = methods, .metamethods = metamethods};
