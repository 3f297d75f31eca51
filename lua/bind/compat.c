/*
** compat.c: the functions that bridge Lua versions; see compat.h. Nothing here knows about tensors.
*/
#include "compat.h"

#include <math.h>
#include <string.h>

#include "version.h"

void moon__lua_check_version(lua_State *L) {
  int running = moon__lua_version();
  if (running != LUA_VERSION_NUM) {
    luaL_error(L, "moonlet: this library was built for Lua 5.%d, and Lua 5.%d has loaded it; build it with make LUA=5.%d",
               LUA_VERSION_NUM % 100, running % 100, running % 100);
  }
#if LUA_VERSION_NUM >= 502
  luaL_checkversion(L);
#endif
}

#if LUA_VERSION_NUM < 502
void moon__lua_setfuncs(lua_State *L, const luaL_Reg *list, int nup) {
  for (; list->name; list++) {
    for (int i = 0; i < nup; i++) lua_pushvalue(L, -nup);
    lua_pushcclosure(L, list->func, nup);
    lua_setfield(L, -(nup + 2), list->name);
  }
  lua_pop(L, nup);
}
#endif

static bool double_to_int64(double d, int64_t *out) {
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) || d != floor(d)) return false;
  *out = (int64_t)d;
  return true;
}

bool moon__lua_toint64(lua_State *L, int idx, int64_t *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return false;
#if LUA_VERSION_NUM >= 503
  if (lua_isinteger(L, idx)) {
    *out = (int64_t)lua_tointeger(L, idx);
    return true;
  }
#endif
  return double_to_int64((double)lua_tonumber(L, idx), out);
}

void moon__lua_pushint64(lua_State *L, int64_t value) {
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, (lua_Integer)value);
#else
  lua_pushnumber(L, (lua_Number)value);
#endif
}

void moon__lua_getkey(lua_State *L, const void *key) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)key);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

void moon__lua_setkey(lua_State *L, const void *key) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)key);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

bool moon__lua_gc_stopped(lua_State *L) {
#if LUA_VERSION_NUM >= 502
  return !lua_gc(L, LUA_GCISRUNNING, 0);
#else
  (void)L;
  return false;
#endif
}

void moon__lua_getsearchers(lua_State *L) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  if (!lua_istable(L, -1)) return;
#if LUA_VERSION_NUM >= 502
  lua_getfield(L, -1, "searchers");
#else
  lua_getfield(L, -1, "loaders");
#endif
  lua_remove(L, -2);
}

void moon__lua_pushglobals(lua_State *L) {
#if LUA_VERSION_NUM >= 502
  lua_pushglobaltable(L);
#else
  lua_pushvalue(L, LUA_GLOBALSINDEX);
#endif
}

void moon__lua_setenv(lua_State *L) {
#if LUA_VERSION_NUM >= 502
  if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1); /* a chunk that names no global has no upvalue in 5.2 */
#else
  lua_setfenv(L, -2);
#endif
}

int moon__lua_loadtext(lua_State *L, const char *text, size_t bytes, const char *chunk) {
#if LUA_VERSION_NUM >= 502
  return luaL_loadbufferx(L, text, bytes, chunk, "t");
#else
  return luaL_loadbuffer(L, text, bytes, chunk);
#endif
}
