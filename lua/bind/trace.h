/* trace.h: traces, their effects, and eager mode. */
#ifndef MOON_LUA_TRACE_H
#define MOON_LUA_TRACE_H
#include "bind.h"

/* The effect on top of the stack (a Symbol, which stays there) belongs to the innermost trace, if there is one. */
void moon__lua_record_effect(lua_State *L, const moon_bind *b);
extern const luaL_Reg moon__lua_trace_functions[];
#endif
