/* builder.h: functions of core that build from several values but are no op with attributes of its own. */
#ifndef MOON_LUA_BUILDER_H
#define MOON_LUA_BUILDER_H
#include "bind.h"

extern const luaL_Reg moon__lua_builder_functions[];
#endif
