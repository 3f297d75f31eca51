/* dim.h: sizes that are known when data comes. */
#ifndef MOON_LUA_DIM_H
#define MOON_LUA_DIM_H
#include "bind.h"

extern const luaL_Reg moon__lua_dim_functions[];
extern const moon_lua_class moon__lua_dim_class;
#endif
