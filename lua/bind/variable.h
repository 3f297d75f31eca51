/* variable.h: Variables, state that lives between runs. */
#ifndef MOON_LUA_VARIABLE_H
#define MOON_LUA_VARIABLE_H
#include "bind.h"

/* Puts what the Variable at 1 holds in its place: a Symbol while a function is traced, else a Tensor. */
void moon__lua_read(lua_State *L, moon_bind *b);

extern const luaL_Reg moon__lua_variable_functions[];
extern const moon_lua_class moon__lua_variable_class;
#endif
