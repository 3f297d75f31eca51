/*
** object.c: what userdata of every kind have in common: making, testing, releasing, metatables. Invariants: what a userdata owns is a
** holding in the bind's list, which knows nothing of the userdata; ptr NULL means that it is gone. __gc and release are idempotent and
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
  *o = (moon_object){0};
  return o;
}

static size_t list_bytes(int room) { return sizeof(moon_lua_list) + (size_t)room * sizeof(void *); }

static void drop(moon_bind *b, moon_lua_kind kind, void *ptr) {
  switch (kind) {
    case MOON_LUA_TENSOR: moon_tensor_release(ptr); break;
    case MOON_LUA_SYMBOL: moon_value_release(ptr); break;
    case MOON_LUA_VARIABLE: moon_variable_release(ptr); break;
    case MOON_LUA_GRAPH: moon_graph_release(ptr); break;
    case MOON_LUA_PROGRAM: moon_program_release(ptr); break;
    case MOON_LUA_FILE: moon_file_release(ptr); break;
    case MOON_LUA_TEXT: moon_text_release(b->ctx, ptr); break;
    case MOON_LUA_LIST: {
      moon_lua_list *list = ptr;
      for (int i = 0; i < list->n; i++)
        if (list->item[i]) drop(b, list->kind, list->item[i]);
      b->alloc(b->alloc_user, list, list_bytes(list->room), 0);
      break;
    }
    default: break; /* dims own nothing; what a ticket owns is its run */
  }
}

static void drop_holding(moon_bind *b, moon_lua_holding *h) {
  if (h->before) h->before->after = h->after;
  else b->holdings = h->after;
  if (h->after) h->after->before = h->before;
  moon_run_release(h->run);
  moon_run_release(h->spare);
  drop(b, h->kind, h->ptr);
  b->alloc(b->alloc_user, h, sizeof *h, 0);
}

static moon_lua_holding *hold(moon_bind *b, moon_lua_kind kind, void *ptr) {
  moon_lua_holding *h = b->alloc(b->alloc_user, NULL, 0, sizeof *h);
  if (!h) return NULL;
  *h = (moon_lua_holding){.after = b->holdings, .kind = kind, .ptr = ptr};
  if (h->after) h->after->before = h;
  b->holdings = h;
  return h;
}

bool moon__lua_take(lua_State *L, moon_bind *b, int idx, moon_lua_kind kind, void *ptr) {
  moon_object *o = lua_touserdata(L, idx);
  if (kind != MOON_LUA_DIM && !(o->holding = hold(b, kind, ptr))) {
    drop(b, kind, ptr);
    moon__fail_memory(b->ctx);
    return false;
  }
  idx = moon__lua_absindex(L, idx);
  lua_rawgeti(L, LUA_REGISTRYINDEX, b->metatable_ref[kind]);
  lua_setmetatable(L, idx);
  o->ptr = ptr;
  return true;
}

void moon__lua_own(lua_State *L, moon_bind *b, int idx, moon_lua_kind kind, void *ptr) {
  if (!moon__lua_take(L, b, idx, kind, ptr)) moon__lua_raise(L, b);
}

void moon__lua_exchange(moon_object *o, void *ptr) { o->ptr = o->holding->ptr = ptr; }

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

/* Is o, the userdata at idx or NULL, of this kind? */
static bool is_kind(lua_State *L, const moon_bind *b, int idx, const moon_object *o, moon_lua_kind kind) {
  if (!o || !lua_getmetatable(L, idx)) return false;
  bool same = lua_topointer(L, -1) == b->metatable[kind];
  lua_pop(L, 1);
  return same;
}

void *moon__lua_check(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind, const char *who, const char *what) {
  const moon_object *o = lua_touserdata(L, idx);
  if (!is_kind(L, b, idx, o, kind)) {
    moon__lua_fail(L, "%s: %s must be a %s, got %s", who, what, moon__lua_kind_name(kind), moon__lua_describe(L, b, idx).s);
    return NULL;
  }
  if (!o->ptr) moon__lua_fail(L, "%s: %s is a released %s", who, what, moon__lua_kind_name(kind));
  return o->ptr;
}

/* ---- release ---- */

void moon__lua_release(moon_bind *b, moon_object *o) {
  moon_lua_holding *h = o->holding;
  o->ptr = o->holding = NULL;
  if (h && b->ctx) drop_holding(b, h); /* a state that closed let go of it before */
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
  while (b->holdings) drop_holding(b, b->holdings);
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
  moon_lua_list *list;
  moon__lua_block(L);
  list = b->alloc(b->alloc_user, NULL, 0, list_bytes(n));
  if (!list) {
    moon__fail_memory(b->ctx);
    moon__lua_raise(L, b);
  }
  list->bind = b;
  list->kind = kind;
  list->n = list->room = n;
  for (int i = 0; i < n; i++) list->item[i] = NULL;
  moon__lua_own(L, b, -1, MOON_LUA_LIST, list);
  return list;
}

moon_lua_list *moon__lua_list_at(lua_State *L, int idx) {
  const moon_object *o = lua_touserdata(L, idx);
  return o ? o->ptr : NULL;
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

/* The table of methods and properties on top becomes __index. */
static void push_index(lua_State *L, int bind_idx, lua_CFunction property) {
  lua_pushvalue(L, bind_idx);
  lua_insert(L, -2);
  lua_pushcfunction(L, property);
  lua_pushcclosure(L, index_object, 3);
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
    lua_pushvalue(L, -1);
    if (c->property) push_index(L, bind_idx, c->property); /* else Lua looks into the table itself, which is faster */
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
