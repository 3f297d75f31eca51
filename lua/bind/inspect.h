/* inspect.h: functions for our own Lua files. */
#ifndef MOON_LUA_INSPECT_H
#define MOON_LUA_INSPECT_H
#include "bind.h"

extern const luaL_Reg moon__lua_inspect_functions[];
#endif
