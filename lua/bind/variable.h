/* variable.h: Variables, state that lives between runs. */
#ifndef MOON_LUA_VARIABLE_H
#define MOON_LUA_VARIABLE_H
#include "bind.h"

extern const luaL_Reg moon__lua_variable_functions[];
extern const moon_lua_class moon__lua_variable_class;
#endif
