/* control.h: control flow with script functions as bodies. */
#ifndef MOON_LUA_CONTROL_H
#define MOON_LUA_CONTROL_H
#include "bind.h"

extern const luaL_Reg moon__lua_control_functions[];
int moon__lua_scan(lua_State *L);
int moon__lua_call_custom(lua_State *L);
#endif
