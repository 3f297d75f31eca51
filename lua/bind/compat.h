/*
** compat.h: the Lua C API that the binding uses, on Lua 5.1, LuaJIT, 5.2, 5.3 and 5.4. What differs between them is bridged
** here and in compat.c, under names of our own so that nothing clashes with a host's own bridge. Other files include this,
** never lua.h.
*/
#ifndef MOON_LUA_COMPAT_H
#define MOON_LUA_COMPAT_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>

#if LUA_VERSION_NUM >= 502
#define moon__lua_rawlen(L, i) ((size_t)lua_rawlen((L), (i)))
#define moon__lua_absindex(L, i) lua_absindex((L), (i))
#define moon__lua_setfuncs(L, list, nup) luaL_setfuncs((L), (list), (nup))
#else
#define moon__lua_rawlen(L, i) ((size_t)lua_objlen((L), (i)))
#define moon__lua_absindex(L, i) ((i) > 0 || (i) <= LUA_REGISTRYINDEX ? (i) : lua_gettop(L) + (i) + 1)
void moon__lua_setfuncs(lua_State *L, const luaL_Reg *list, int nup);
#endif

#if LUA_VERSION_NUM >= 504
#define moon__lua_newblock(L, bytes) lua_newuserdatauv((L), (bytes), 0)
#else
#define moon__lua_newblock(L, bytes) lua_newuserdata((L), (bytes))
#endif

#ifndef LUA_OK
#define LUA_OK 0
#endif

/* Raises when the Lua that is running is not of the version this was compiled for. */
void moon__lua_check_version(lua_State *L);
/* Is the value at idx a number (a string is not) that is a whole number of int64? LuaJIT and 5.1: a double that is one. */
bool moon__lua_toint64(lua_State *L, int idx, int64_t *out);
/* As an integer where Lua has them, else as a double (exact up to 2^53). */
void moon__lua_pushint64(lua_State *L, int64_t value);
/* registry[key], by address. */
void moon__lua_getkey(lua_State *L, const void *key);
void moon__lua_setkey(lua_State *L, const void *key); /* pops the value */
/* The collector is switched off by the script (false where Lua cannot tell). */
bool moon__lua_gc_stopped(lua_State *L);
/* package.searchers, which 5.1 calls loaders; pushes nil when there is none. */
void moon__lua_getsearchers(lua_State *L);
/* Pushes the table of globals. */
void moon__lua_pushglobals(lua_State *L);
/* Pops a table, which becomes what the chunk below it sees as globals. */
void moon__lua_setenv(lua_State *L);
/* Loads a chunk of source text; status as lua_load. */
int moon__lua_loadtext(lua_State *L, const char *text, size_t bytes, const char *chunk);
#endif
