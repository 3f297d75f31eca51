/*
** symbol.c: the Symbol object: one output of a graph node, whose numbers exist when its program runs, or at once in eager mode;
** then a Symbol is read as a Tensor is. Placeholders, constants and gradients are made here; ops in op.c.
*/
#include "symbol.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "operand.h"
#include "tensor.h"

void moon__lua_fill_symbol(lua_State *L, moon_bind *b, int idx, moon_value *v) {
  if (!v) moon__lua_raise(L, b);
  moon__lua_own(L, b, idx, MOON_LUA_SYMBOL, v);
  moon__lua_account(L, b, MOON_LUA_SYMBOL_BYTES);
}

moon_value *moon__lua_want_symbol(lua_State *L, moon_bind *b, int idx, const char *who, const char *what) {
  moon_operand o;
  moon_value *v;
  idx = moon__lua_absindex(L, idx);
  moon__lua_block(L);
  moon__lua_want_operand(L, b, idx, who, what, &o);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  v = moon_value_retain(moon__lua_value(b, &o, moon__lua_freezes(b)));
  moon_scope_close(b->ctx);
  moon__lua_fill_symbol(L, b, -1, v);
  return v;
}

/* ---- making ---- */

/* core.placeholder(name, dtype, shape) -> Symbol: an input of graphs; sizes are numbers or Dims. */
static int placeholder(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_shape shape;
  moon_dtype dtype;
  moon_value *v;
  moon__lua_str(L, b, 1, "placeholder", "name");
  dtype = moon__lua_dtype(L, b, 2, "placeholder");
  moon__lua_shape(L, b, 3, "placeholder", "shape", false, &shape);
  moon__lua_block(L);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  v = moon_value_retain(moon_input(b->ctx, lua_tostring(L, 1), dtype, shape.ndim, shape.dim));
  moon_scope_close(b->ctx);
  moon__lua_fill_symbol(L, b, -1, v);
  return 1;
}

/* core.constant(tensor) -> Symbol. The tensor cannot be written from then on (but in eager mode). */
static int constant(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_settop(L, 1);
  if (lua_type(L, 1) == LUA_TNUMBER || lua_type(L, 1) == LUA_TTABLE) {
    return moon__lua_fail(L, "constant: argument 1 must be a Tensor, got %s", moon__lua_describe(L, b, 1).s);
  }
  moon__lua_want_symbol(L, b, 1, "constant", "argument 1");
  return 1;
}

/* ---- gradients ---- */

/* Gradients for the entries of wrt of one kind, Symbols or Variables, into their places of out. Cannot raise. */
static moon_status gradients_of_kind(moon_bind *b, moon_value *loss, moon_lua_kind kind, const moon_lua_kind *kinds,
                                     void *const *wrt, int n, void **room, moon_lua_list *out) {
  moon_value **grads = (moon_value **)(room + n);
  moon_status status;
  int m = 0;
  for (int i = 0; i < n; i++) {
    if (kinds[i] == kind) room[m++] = wrt[i];
  }
  if (m == 0) return MOON_OK;
  moon_scope_open(b->ctx);
  if (kind == MOON_LUA_SYMBOL) status = moon_gradients(b->ctx, loss, m, (moon_value *const *)room, grads);
  else status = moon_gradients_of(b->ctx, loss, m, (moon_variable *const *)room, grads);
  for (int i = 0, k = 0; i < n && status == MOON_OK; i++) {
    if (kinds[i] == kind) out->item[i] = moon_value_retain(grads[k++]);
  }
  moon_scope_close(b->ctx);
  return status;
}

static void read_wrt(lua_State *L, const moon_bind *b, int n, moon_lua_kind *kinds, void **wrt) {
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 2, i + 1);
    kinds[i] = moon__lua_kind(L, b, -1);
    if (kinds[i] != MOON_LUA_SYMBOL && kinds[i] != MOON_LUA_VARIABLE)
      moon__lua_fail(L, "gradients: argument 2 must hold Symbols and Variables, got %s at %d%s", moon__lua_describe(L, b, -1).s,
                     i + 1, kinds[i] == MOON_LUA_TENSOR ? " (gradients exist inside ml.fn, where inputs are Symbols)" : "");
    wrt[i] = moon__lua_check(L, b, -1, kinds[i], "gradients", "argument 2");
    lua_pop(L, 1);
  }
}

/* core.gradients(loss, { symbols or variables }) -> { symbols } */
static int gradients(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_list *out;
  moon_value *loss;
  moon_lua_kind *kinds;
  void **wrt;
  int n;
  if (moon__lua_kind(L, b, 1) == MOON_LUA_TENSOR)
    return moon__lua_fail(L, "gradients: the loss is a Tensor, which has no history: compute it inside ml.fn");
  moon__lua_want_table(L, b, 2, "gradients", "argument 2");
  if (moon__lua_rawlen(L, 2) > MOON_LUA_LIST_MAX) return moon__lua_fail(L, "gradients: too many entries in argument 2");
  n = (int)moon__lua_rawlen(L, 2);
  out = moon__lua_list(L, b, MOON_LUA_SYMBOL, n);
  wrt = moon__lua_newblock(L, ((size_t)n * 3 + 1) * sizeof *wrt);
  kinds = moon__lua_newblock(L, ((size_t)n + 1) * sizeof *kinds);
  moon__lua_origin(L, b);
  loss = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "gradients", "argument 1");
  read_wrt(L, b, n, kinds, wrt);
  if (gradients_of_kind(b, loss, MOON_LUA_SYMBOL, kinds, wrt, n, wrt + n, out) != MOON_OK ||
      gradients_of_kind(b, loss, MOON_LUA_VARIABLE, kinds, wrt, n, wrt + n, out) != MOON_OK)
    return moon__lua_raise(L, b);
  moon__lua_list_table(L, out);
  moon__lua_account(L, b, (size_t)n * MOON_LUA_SYMBOL_BYTES);
  return 1;
}

/* ---- methods ---- */

static moon_value *self(lua_State *L, const moon_bind *b, const char *who) {
  return moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, who, "argument 1");
}

/*: Symbol:tensor() -> Tensor. Its numbers: of a constant, or in eager mode; nil otherwise. */
static int tensor(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  self(L, b, "tensor");
  moon__lua_block(L);
  moon_tensor *t = moon_tensor_retain(moon_value_tensor(self(L, b, "tensor")));
  if (t) moon__lua_push_tensor(L, b, -1, t, 0);
  else lua_pushnil(L);
  return 1;
}

/*: Symbol:outputs() -> table. All outputs of its node, itself among them. */
static int outputs(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int n = moon_value_output_count(self(L, b, "outputs"));
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_SYMBOL, n);
  moon_value *v = self(L, b, "outputs");
  for (int i = 0; i < n; i++) list->item[i] = moon_value_retain(moon_value_output(v, i));
  moon__lua_list_table(L, list);
  return 1;
}

static int length(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_shape *shape = moon_value_shape(self(L, b, "#"));
  if (shape->ndim == 0) return moon__lua_fail(L, "#: a tensor of rank 0 has no length");
  if (shape->dim[0] < 0) return moon__lua_fail(L, "#: the first size of the Symbol is not known yet");
  moon__lua_pushint64(L, shape->dim[0]);
  return 1;
}

/* Name for people: that of an input, the last layer of the path, or the op. */
static const char *display_name(const moon_value *v) {
  const char *path = moon__node_path(v->node), *slash = strrchr(path, '/');
  if (*moon_value_name(v)) return moon_value_name(v);
  if (slash) return slash + 1;
  return *path ? path : v->node->op->name;
}

static void push_header(lua_State *L, const moon_value *v) { lua_pushfstring(L, "Symbol '%s'", display_name(v)); }

/* Sizes as people read them: an unknown batch is "?". */
static void push_shape_text(lua_State *L, const moon_bind *b, const moon_shape *shape) {
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  luaL_addchar(&out, '(');
  for (int i = 0; i < shape->ndim; i++) {
    char text[96];
    moon_dim_text(b->runtime, shape->dim[i], text, sizeof text);
    if (i > 0) luaL_addstring(&out, ", ");
    luaL_addstring(&out, strcmp(text, "batch") == 0 ? "?" : text);
  }
  luaL_addchar(&out, ')');
  luaL_pushresult(&out);
}

static int to_text(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_object *o = lua_touserdata(L, 1);
  moon_value *v;
  moon_shape shape;
  if (moon__lua_kind(L, b, 1) == MOON_LUA_SYMBOL && !o->ptr) {
    lua_pushliteral(L, "Symbol (released)");
    return 1;
  }
  v = self(L, b, "tostring");
  push_header(L, v);
  if (moon_value_tensor(v)) {
    const char *header = lua_tostring(L, -1);
    moon__lua_push_print(L, b, moon__lua_numbers(L, b, 1, "tostring"), header);
    return 1;
  }
  shape = *moon_value_shape(v);
  lua_pushfstring(L, " %s ", moon_dtype_name(moon_value_dtype(v)));
  push_shape_text(L, b, &shape);
  lua_concat(L, 3);
  return 1;
}

/*: Symbol.name -> string. Name of an input, of the layer that made it, or of its op. */
/*: Symbol.op -> string. The op that made it. */
/*: Symbol.line -> string. The script line that made it. */
/*: Symbol.path -> string. The layers around that line, joined by slashes. */
static const char *const properties[] = {"shape", "dtype", "ndim", "name", "op", "line", "path", NULL};

static int property(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_value *v = self(L, b, "symbol");
  moon_shape shape = *moon_value_shape(v);
  switch ((int)lua_tointeger(L, 3)) {
    case 1: moon__lua_push_shape(L, b, &shape); break;
    case 2: lua_pushstring(L, moon_dtype_name(moon_value_dtype(v))); break;
    case 3: lua_pushinteger(L, shape.ndim); break;
    case 4: lua_pushstring(L, display_name(v)); break;
    case 5: lua_pushstring(L, v->node->op->name); break;
    case 6: lua_pushstring(L, moon__node_line(v->node)); break;
    case 7: lua_pushstring(L, moon__node_path(v->node)); break;
    default: lua_settop(L, 2); return moon__lua_index_at(L);
  }
  return 1;
}

static int refuse_write(lua_State *L) {
  return moon__lua_fail(L, "a Symbol cannot be written: its numbers are computed; state is kept in ml.variable");
}

const luaL_Reg moon__lua_symbol_functions[] = {
    {"placeholder", placeholder}, {"constant", constant}, {"gradients", gradients}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"tensor", tensor}, {"outputs", outputs}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", to_text}, {"__len", length}, {"__newindex", refuse_write}, {NULL, NULL}};

const moon_lua_class moon__lua_symbol_class = {
    .kind = MOON_LUA_SYMBOL,
    .ops = true,
    .methods = methods,
    .metamethods = metamethods,
    .properties = properties,
    .property = property,
};
