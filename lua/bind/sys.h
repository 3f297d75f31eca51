/* sys.h: what a script asks about the library and the machine. */
#ifndef MOON_LUA_SYS_H
#define MOON_LUA_SYS_H
#include "bind.h"

extern const luaL_Reg moon__lua_sys_functions[];
#endif
