/*
** object.c: what userdata of every kind have in common: making, testing, releasing, metatables. Invariants: a userdata owns at
** most one reference, ptr NULL means none; one that owns something is in the bind's list. __gc and release are idempotent and
** need no other object alive but the bind block, which Lua frees after all finalizers have run; that block's own __gc releases
** what is left.
*/
#include "bind.h"
#include "op.h"
#include "program.h"
#include "tensor.h"
#include "ticket.h"

moon_object *moon__lua_block(lua_State *L) {
  moon_object *o = moon__lua_newblock(L, sizeof *o);
  o->ptr = NULL;
  return o;
}

void moon__lua_own(lua_State *L, moon_bind *b, int idx, moon_lua_kind kind, void *ptr) {
  moon_object *o = lua_touserdata(L, idx);
  idx = moon__lua_absindex(L, idx);
  lua_rawgeti(L, LUA_REGISTRYINDEX, b->metatable_ref[kind]);
  lua_setmetatable(L, idx);
  o->ptr = ptr;
  o->kind = kind;
  o->before = NULL;
  o->after = b->objects;
  if (b->objects) b->objects->before = o;
  b->objects = o;
}

moon_lua_kind moon__lua_kind(lua_State *L, const moon_bind *b, int idx) {
  const void *metatable;
  if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx)) return MOON_LUA_OTHER;
  metatable = lua_topointer(L, -1);
  lua_pop(L, 1);
  for (int kind = 0; kind < MOON_LUA_KINDS; kind++) {
    if (b->metatable[kind] == metatable) return (moon_lua_kind)kind;
  }
  return MOON_LUA_OTHER;
}

void *moon__lua_test(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind) {
  const moon_object *o;
  if (moon__lua_kind(L, b, idx) != kind) return NULL;
  o = lua_touserdata(L, idx);
  if (!o->ptr) moon__lua_fail(L, "%s was released", moon__lua_kind_name(kind));
  return o->ptr;
}

void *moon__lua_check(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind, const char *who, const char *what) {
  const moon_object *o = lua_touserdata(L, idx);
  if (moon__lua_kind(L, b, idx) != kind) {
    moon__lua_fail(L, "%s: %s must be a %s, got %s", who, what, moon__lua_kind_name(kind), moon__lua_describe(L, b, idx).s);
    return NULL;
  }
  if (!o->ptr) moon__lua_fail(L, "%s: %s is a released %s", who, what, moon__lua_kind_name(kind));
  return o->ptr;
}

/* ---- release ---- */

static void drop(moon_bind *b, moon_lua_kind kind, void *ptr) {
  switch (kind) {
    case MOON_LUA_TENSOR: moon_tensor_release(ptr); break;
    case MOON_LUA_SYMBOL: moon_value_release(ptr); break;
    case MOON_LUA_VARIABLE: moon_variable_release(ptr); break;
    case MOON_LUA_GRAPH: moon_graph_release(ptr); break;
    case MOON_LUA_FILE: moon_file_release(ptr); break;
    case MOON_LUA_TEXT: moon_text_release(b->ctx, ptr); break;
    default: break; /* dims own nothing; programs, tickets and lists are dropped below */
  }
}

static void drop_list(moon_bind *b, moon_lua_list *list) {
  for (int i = 0; i < list->n; i++) {
    if (list->item[i]) drop(b, list->kind, list->item[i]);
    list->item[i] = NULL;
  }
}

static void unlink_object(moon_bind *b, moon_object *o) {
  if (o->before) o->before->after = o->after;
  else b->objects = o->after;
  if (o->after) o->after->before = o->before;
}

void moon__lua_release(moon_bind *b, moon_object *o) {
  void *ptr = o->ptr;
  moon_lua_kind kind = o->kind;
  if (!ptr) return;
  unlink_object(b, o);
  o->ptr = NULL;
  if (kind == MOON_LUA_LIST) drop_list(b, (moon_lua_list *)o);
  else if (kind == MOON_LUA_PROGRAM) moon__lua_program_drop((moon_lua_program *)o, ptr);
  else if (kind == MOON_LUA_TICKET) moon__lua_ticket_drop((moon_lua_ticket *)o);
  else drop(b, kind, ptr);
}

static moon_bind *bind_block(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/*: Tensor, Symbol, Variable, Graph, Program, Ticket:release(). Gives its memory back now, without waiting for the collector;
** using it afterwards is an error. On Lua 5.4 `<close>` does it too. */
static int release_any(lua_State *L) {
  moon_bind *b = bind_block(L);
  moon_lua_kind kind = moon__lua_kind(L, b, 1);
  if (kind == MOON_LUA_OTHER)
    return moon__lua_fail(L, "release: an object of this library is expected, got %s", luaL_typename(L, 1));
  if (kind == MOON_LUA_PROGRAM) moon__lua_program_forget(L, 1);
  moon__lua_release(b, lua_touserdata(L, 1));
  return 0;
}

/* __gc of the bind block: the state is closing. */
int moon__lua_bind_gc(lua_State *L) {
  moon_bind *b = lua_touserdata(L, 1);
  if (!b || !b->ctx) return 0;
  while (b->objects) moon__lua_release(b, b->objects);
  moon_context_release(b->ctx);
  moon_runtime_release(b->runtime);
  b->ctx = NULL;
  b->runtime = NULL;
  return 0;
}

/* ---- text and lists ---- */

int moon__lua_push_text(lua_State *L, moon_bind *b, int block_idx, char *text, size_t bytes) {
  moon_object *o = lua_touserdata(L, block_idx);
  if (!text) return moon__lua_raise(L, b);
  moon__lua_own(L, b, block_idx, MOON_LUA_TEXT, text);
  lua_pushlstring(L, text, bytes);
  moon__lua_release(b, o);
  return 1;
}

moon_lua_list *moon__lua_list(lua_State *L, moon_bind *b, moon_lua_kind kind, int n) {
  moon_lua_list *list = moon__lua_newblock(L, sizeof *list + (size_t)n * sizeof list->item[0]);
  list->bind = b;
  list->kind = kind;
  list->n = n;
  for (int i = 0; i < n; i++) list->item[i] = NULL;
  moon__lua_own(L, b, -1, MOON_LUA_LIST, list);
  return list;
}

void moon__lua_list_push(lua_State *L, moon_lua_list *list, int i) {
  void *item;
  moon__lua_block(L);
  item = list->item[i];
  list->item[i] = NULL;
  moon__lua_own(L, list->bind, -1, list->kind, item);
}

void moon__lua_list_table(lua_State *L, moon_lua_list *list) {
  lua_createtable(L, list->n, 0);
  for (int i = 0; i < list->n; i++) {
    moon__lua_list_push(L, list, i);
    lua_rawseti(L, -2, i + 1);
  }
}

/* ---- metatables ---- */

/* __index(object, key): a method, or a property, whose number stands in the table under its name. */
static int index_object(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (lua_type(L, -1) != LUA_TNUMBER) return 1;
  } else {
    lua_pushinteger(L, 0);
  }
  return lua_tocfunction(L, lua_upvalueindex(3))(L);
}

static int no_property(lua_State *L) {
  lua_pushnil(L);
  return 1;
}

static void add_properties(lua_State *L, const char *const *names) {
  for (int i = 0; names && names[i]; i++) {
    lua_pushinteger(L, i + 1);
    lua_setfield(L, -2, names[i]);
  }
}

static void add_functions(lua_State *L, int bind_idx, const luaL_Reg *list) {
  if (!list) return;
  lua_pushvalue(L, bind_idx);
  moon__lua_setfuncs(L, list, 1);
}

static const luaL_Reg release_metamethods[] = {{"__gc", release_any}, {"__close", release_any}, {NULL, NULL}};
static const luaL_Reg release_method[] = {{"release", release_any}, {NULL, NULL}};

void moon__lua_class_open(lua_State *L, moon_bind *b, int bind_idx, const moon_lua_class *c) {
  lua_newtable(L); /* the metatable */
  add_functions(L, bind_idx, release_metamethods);
  if (c->ops) moon__lua_op_metamethods(L, bind_idx);
  add_functions(L, bind_idx, c->metamethods);
  if (c->kind < MOON_LUA_FILE) {
    lua_newtable(L); /* the methods */
    if (c->ops) {
      moon__lua_op_methods(L, bind_idx);
      add_functions(L, bind_idx, moon__lua_shared_methods);
    }
    add_functions(L, bind_idx, release_method);
    add_functions(L, bind_idx, c->methods);
    if (c->kind == MOON_LUA_PROGRAM) moon__lua_program_methods(L, bind_idx);
    add_properties(L, c->properties);
    lua_pushvalue(L, bind_idx);
    lua_pushvalue(L, -2);
    lua_pushcfunction(L, c->property ? c->property : no_property);
    lua_pushcclosure(L, index_object, 3);
    lua_setfield(L, -3, "__index");
    lua_setfield(L, -2, "__names"); /* for completion at the prompt */
  }
  lua_pushstring(L, moon__lua_kind_name(c->kind));
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "locked");
  lua_setfield(L, -2, "__metatable");
  b->metatable[c->kind] = lua_topointer(L, -1);
  b->metatable_ref[c->kind] = luaL_ref(L, LUA_REGISTRYINDEX);
}
