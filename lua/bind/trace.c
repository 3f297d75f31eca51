/*
** trace.c: tracing as a script sees it: begin and end, the effects assigned in between, eager mode, training or inference, and the
** path of layers.
** Effects of open traces are Lua tables in a list in the registry, one for each depth, so that a collector sees them.
*/
#include "trace.h"

#include "args.h"
#include "operand.h"

static const char effects_key = 0;

static void push_lists(lua_State *L) {
  moon__lua_getkey(L, &effects_key);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  moon__lua_setkey(L, &effects_key);
}

void moon__lua_record_effect(lua_State *L, const moon_bind *b) {
  if (b->ctx->ntraces == 0) return;
  push_lists(L);
  lua_rawgeti(L, -1, b->ctx->ntraces);
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (int)moon__lua_rawlen(L, -2) + 1);
  }
  lua_pop(L, 2);
}

static void set_list(lua_State *L, int depth, bool open) {
  push_lists(L);
  if (open) lua_newtable(L);
  else lua_pushnil(L);
  lua_rawseti(L, -2, depth);
  lua_pop(L, 1);
}

/* core.trace_begin() -> id */
static int trace_begin(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  set_list(L, b->ctx->ntraces + 1, true);
  moon__lua_no_origin(b);
  if (moon_trace_begin(b->ctx) != MOON_OK) return moon__lua_raise(L, b);
  moon__lua_pushint64(L, (int64_t)b->ctx->traces[b->ctx->ntraces - 1].id);
  return 1;
}

static int trace_end(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (b->ctx->ntraces == 0) return moon__lua_fail(L, "trace_end: no trace is open");
  set_list(L, b->ctx->ntraces, false);
  moon_trace_end(b->ctx);
  return 0;
}

/* core.trace_effects() -> the effects of the innermost trace so far, in program order. */
static int trace_effects(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int n;
  if (b->ctx->ntraces == 0) return moon__lua_fail(L, "trace_effects: no trace is open");
  push_lists(L);
  lua_rawgeti(L, -1, b->ctx->ntraces);
  n = (int)moon__lua_rawlen(L, -1);
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

static int trace_depth(lua_State *L) {
  lua_pushinteger(L, moon__lua_bind(L)->ctx->ntraces);
  return 1;
}

static int eager_push(lua_State *L) {
  moon_eager_push(moon__lua_bind(L)->ctx);
  return 0;
}

static int eager_pop(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (b->ctx->eager_depth == 0) return moon__lua_fail(L, "eager_pop: eager mode is not on");
  moon_eager_pop(b->ctx);
  return 0;
}

static int is_eager(lua_State *L) {
  lua_pushboolean(L, moon__lua_bind(L)->ctx->eager_depth > 0);
  return 1;
}

/* core.training() -> true, false, or nil: both, to be chosen when the graph is compiled. */
static int training(lua_State *L) {
  const moon_bind *b = moon__lua_bind(L);
  if (b->side == MOON_LUA_BOTH) lua_pushnil(L);
  else lua_pushboolean(L, b->side == MOON_LUA_TRAIN);
  return 1;
}

/* core.training_set(true | false | nil) */
static int training_set(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (lua_isnoneornil(L, 1)) b->side = MOON_LUA_BOTH;
  else b->side = moon__lua_flag(L, b, 1, "training_set", "argument 1") ? MOON_LUA_TRAIN : MOON_LUA_INFER;
  return 0;
}

static int path_push(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *name = moon__lua_str(L, b, 1, "path_push", "name");
  moon__lua_no_origin(b);
  if (moon_path_push(b->ctx, name) != MOON_OK) return moon__lua_raise(L, b);
  return 0;
}

static int path_pop(lua_State *L) {
  moon_path_pop(moon__lua_bind(L)->ctx);
  return 0;
}

const luaL_Reg moon__lua_trace_functions[] = {{"trace_begin", trace_begin},     {"trace_end", trace_end},
                                              {"trace_effects", trace_effects}, {"trace_depth", trace_depth},
                                              {"eager_push", eager_push},       {"eager_pop", eager_pop},
                                              {"is_eager", is_eager},           {"training", training},
                                              {"training_set", training_set},   {"path_push", path_push},
                                              {"path_pop", path_pop},           {NULL, NULL}};
