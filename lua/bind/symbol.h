/* symbol.h: Symbols, and pushing values as Symbols. */
#ifndef MOON_LUA_SYMBOL_H
#define MOON_LUA_SYMBOL_H
#include "bind.h"

/* Fills the block at idx with v, taking over a reference of the caller; raises core's error when v is NULL. */
void moon__lua_fill_symbol(lua_State *L, moon_bind *b, int idx, moon_value *v);
/* The Symbol, Tensor, Variable or number at idx as a Symbol on top of the stack. */
moon_value *moon__lua_want_symbol(lua_State *L, moon_bind *b, int idx, const char *who, const char *what);

extern const luaL_Reg moon__lua_symbol_functions[];
extern const moon_lua_class moon__lua_symbol_class;
#endif
