/* profiler.h: what launches cost, as Lua tables. */
#ifndef MOON_LUA_PROFILER_H
#define MOON_LUA_PROFILER_H
#include "bind.h"

extern const luaL_Reg moon__lua_profiler_functions[];
#endif
