/*
** body.c: tracing of bodies; see body.h. Invariant: eager mode and the count of open bodies are as before when a script function
** raises, so it runs protected, and its error is raised again unchanged.
*/
#include "body.h"

#include "args.h"
#include "base/alloc.h"
#include "operand.h"
#include "ops/control.h"

moon_pack moon__lua_pack(lua_State *L, moon_bind *b, int idx, const char *who, const char *what) {
  moon_pack pack = {.single = lua_type(L, idx) != LUA_TTABLE, .absent = lua_isnoneornil(L, idx)};
  pack.list = moon__lua_values(L, b, idx, who, what);
  return pack;
}

static void push_item(lua_State *L, moon_bind *b, const moon_lua_list *list, int i) {
  moon__lua_block(L);
  moon__lua_own(L, b, -1, MOON_LUA_SYMBOL, moon_value_retain(list->item[i]));
}

void moon__lua_unpack(lua_State *L, moon_bind *b, const moon_lua_list *list, int first, int n, const moon_pack *form) {
  if (form->absent) {
    lua_pushnil(L);
    return;
  }
  if (form->single) {
    push_item(L, b, list, first);
    return;
  }
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    push_item(L, b, list, first + i);
    lua_rawseti(L, -2, i + 1);
  }
}

moon_lua_list *moon__lua_formals(lua_State *L, moon_bind *b, const char *who, int n, void *const *values, bool step) {
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_SYMBOL, n);
  for (int i = 0; i < n; i++) {
    moon_type type = ((const moon_value *)values[i])->type;
    if (step) {
      if (type.shape.ndim == 0) moon__lua_fail(L, "%s: sequence %d has rank 0, there is no axis to go along", who, i + 1);
      for (int k = 1; k < type.shape.ndim; k++) type.shape.dim[k - 1] = type.shape.dim[k];
      type.shape.dim[--type.shape.ndim] = 0;
    }
    moon_scope_open(b->ctx);
    list->item[i] = moon_value_retain(moon__body_formal(b->ctx, step ? "step" : "x", i, &type));
    moon_scope_close(b->ctx);
    if (!list->item[i]) moon__lua_raise(L, b);
  }
  return list;
}

/* ---- calling ---- */

/* Runs protected: (f, who, nresults, args...) -> for each result: list, is it single, is it absent. */
static int call_function(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *who = lua_touserdata(L, 2);
  int nresults = (int)lua_tointeger(L, 3);
  lua_remove(L, 2);
  lua_remove(L, 2);
  lua_call(L, lua_gettop(L) - 1, nresults + 1);
  if (!lua_isnil(L, -1))
    return moon__lua_fail(L, "%s: the function must return %d values (each may be a table), got more", who, nresults);
  for (int i = 1; i <= nresults; i++) {
    moon_pack pack = moon__lua_pack(L, b, i, who, "what the function returns");
    lua_pushboolean(L, pack.single);
    lua_pushboolean(L, pack.absent);
  }
  return 3 * nresults;
}

void moon__lua_body_begin(moon_bind *b, moon_body_graph *body) { body->first_id = moon__next_id(b->runtime); }

void moon__lua_body_call(lua_State *L, moon_bind *b, moon_body_graph *body, const char *who, int f_idx, int nargs, int nresults) {
  int first = lua_gettop(L) - nargs + 1, eager = b->ctx->eager_depth, status;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, call_function, 1);
  lua_pushvalue(L, f_idx);
  lua_pushlightuserdata(L, (void *)(uintptr_t)who);
  lua_pushinteger(L, nresults);
  for (int i = 0; i < 4; i++) lua_insert(L, first);
  b->ctx->eager_depth = 0;
  b->bodies++;
  b->inside++;
  status = lua_pcall(L, nargs + 3, 3 * nresults, 0);
  b->inside--;
  b->bodies--;
  b->ctx->eager_depth = eager;
  if (status != LUA_OK) moon__lua_rethrow(L);
  for (int i = 0; i < nresults; i++) {
    body->results[i].list = moon__lua_list_at(L, first + 3 * i);
    body->results[i].single = lua_toboolean(L, first + 3 * i + 1);
    body->results[i].absent = lua_toboolean(L, first + 3 * i + 2);
  }
  if (nresults < 2) body->results[1] = (moon_pack){.absent = true};
}

/* ---- closing ---- */

typedef struct closing_lists {
  moon_value *out[MOON_MAX_OUTPUTS];
  int n;
} closing_lists;

static closing_lists outputs_of(lua_State *L, const moon_body_graph *body) {
  closing_lists c = {.n = 0};
  for (int k = 0; k < 2; k++) {
    const moon_lua_list *list = body->results[k].list;
    for (int i = 0; list && i < list->n; i++) {
      if (c.n == MOON_MAX_OUTPUTS) moon__lua_fail(L, "a body may return at most %d values", MOON_MAX_OUTPUTS);
      c.out[c.n++] = list->item[i];
    }
  }
  return c;
}

/* The captured value; a variable read while eager mode was off is read again, with numbers. */
static moon_value *captured(moon_bind *b, moon_value *v) {
  bool again = b->ctx->eager_depth > 0 && !moon_value_tensor(v) && v->node->op->id == MOON_OP_variable;
  return moon_value_retain(again ? moon_variable_value(b->ctx, v->node->variable) : v);
}

/* Puts the captured values into the list; false when there is no room. Frees the array. */
static bool take_captures(moon_bind *b, moon_lua_list *list, moon_value **captures, int n, int room) {
  bool fits = n <= room;
  for (int i = 0; i < n && fits; i++) {
    list->item[i] = captured(b, captures[i]);
    if (list->item[i]) list->n = i + 1;
    else fits = false;
  }
  moon__free(b->runtime, captures);
  return fits;
}

void moon__lua_body_close(lua_State *L, moon_bind *b, moon_body_graph *body, const moon_lua_list *formals) {
  closing_lists out = outputs_of(L, body);
  moon_value **captures = NULL;
  moon_graph *g;
  int ncaptures = 0, eager = b->ctx->eager_depth, room = MOON_MAX_INPUTS - formals->n;
  bool fits = true;
  if (room < 0) moon__lua_fail(L, "a body may take at most %d values", MOON_MAX_INPUTS);
  body->captures = moon__lua_list(L, b, MOON_LUA_SYMBOL, room);
  body->captures->n = 0;
  body->graph = moon__lua_block(L);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  b->ctx->eager_depth = 0;
  g = moon__graph_close(b->ctx, body->first_id, formals->n, (moon_value *const *)formals->item, out.n, out.out, &captures,
                        &ncaptures);
  b->ctx->eager_depth = eager;
  if (g) fits = take_captures(b, body->captures, captures, ncaptures, room);
  moon_scope_close(b->ctx);
  if (!g) moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_GRAPH, g);
  if (!fits && ncaptures <= room) moon__lua_raise(L, b);
  if (!fits) moon__lua_fail(L, "a body uses %d outer values, at most %d are possible", ncaptures, room);
}

/* Formals like those behind the values of list; false after an error. */
static bool add_formals(moon_bind *b, const moon_lua_list *list, moon_value **in, int *n) {
  for (int i = 0; i < list->n; i++) {
    in[*n] = moon__body_formal(b->ctx, "unused", i, &((const moon_value *)list->item[i])->type);
    if (!in[(*n)++]) return false;
  }
  return true;
}

static moon_graph *widen(moon_bind *b, const moon_graph *g, int nformals, const moon_lua_list *other, bool before) {
  moon_value *in[2 * MOON_MAX_INPUTS];
  int n = 0;
  for (int i = 0; i < nformals; i++) in[n++] = g->inputs[i];
  if (before && !add_formals(b, other, in, &n)) return NULL;
  for (int i = nformals; i < g->ninputs; i++) in[n++] = g->inputs[i];
  if (!before && !add_formals(b, other, in, &n)) return NULL;
  return moon__graph_make(b->ctx, n, in, g->noutputs, g->outputs, 0, NULL);
}

void moon__lua_body_widen(lua_State *L, moon_bind *b, moon_body_graph *body, int nformals, const moon_lua_list *other,
                          bool before) {
  moon_graph *g = moon__lua_body_graph(body), *wide;
  if (other->n == 0) return;
  if (g->ninputs + other->n > MOON_MAX_INPUTS)
    moon__lua_fail(L, "bodies use too many outer values, at most %d are possible", MOON_MAX_INPUTS);
  moon_scope_open(b->ctx);
  wide = widen(b, g, nformals, other, before);
  moon_scope_close(b->ctx);
  if (!wide) moon__lua_raise(L, b);
  moon__lua_exchange(body->graph, wide);
  moon_graph_release(g);
}

/* ---- nodes ---- */

static bool has_numbers(const moon_value *v) { return moon_value_tensor(v) != NULL; }

/* Is the value at idx, or an entry of the table there, a symbol that needs a node? */
static bool is_open(lua_State *L, moon_bind *b, int idx) {
  const moon_object *o = lua_touserdata(L, idx);
  return moon__lua_kind(L, b, idx) == MOON_LUA_SYMBOL && !(b->ctx->eager_depth > 0 && o->ptr && has_numbers(o->ptr));
}

bool moon__lua_must_trace(lua_State *L, moon_bind *b, int idx) {
  bool open = false;
  if (moon__lua_is_building(b)) return true;
  if (lua_type(L, idx) != LUA_TTABLE) return is_open(L, b, idx);
  for (int i = 1; i <= (int)moon__lua_rawlen(L, idx) && !open; i++) {
    lua_rawgeti(L, idx, i);
    open = is_open(L, b, lua_gettop(L));
    lua_pop(L, 1);
  }
  return open;
}

moon_lua_list *moon__lua_body_node(lua_State *L, moon_bind *b, const moon_node_spec *spec, int nlists,
                                   const moon_lua_list *const *lists) {
  moon_value *in[MOON_MAX_INPUTS], *v;
  moon_node_spec ready = *spec;
  moon_lua_list *out = moon__lua_list(L, b, MOON_LUA_SYMBOL, MOON_MAX_OUTPUTS);
  int n = 0, nout = 0;
  out->n = 0;
  for (int k = 0; k < nlists; k++) {
    for (int i = 0; i < lists[k]->n; i++) {
      if (n == MOON_MAX_INPUTS) moon__lua_fail(L, "%s: at most %d values are possible", spec->op->name, MOON_MAX_INPUTS);
      in[n++] = lists[k]->item[i];
    }
  }
  ready.inputs = in;
  ready.ninputs = n;
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  v = moon__node_build(b->ctx, &ready);
  if (v) nout = moon_value_output_count(v);
  for (int i = 0; i < nout; i++) out->item[i] = moon_value_retain(moon_value_output(v, i));
  out->n = nout;
  moon_scope_close(b->ctx);
  if (!v) moon__lua_raise(L, b);
  moon__lua_account(L, b, (size_t)nout * MOON_LUA_SYMBOL_BYTES);
  return out;
}
