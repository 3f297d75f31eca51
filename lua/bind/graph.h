/* graph.h: Graphs: inputs, outputs, effects; text; compiling. */
#ifndef MOON_LUA_GRAPH_H
#define MOON_LUA_GRAPH_H
#include "bind.h"

extern const luaL_Reg moon__lua_graph_functions[];
extern const moon_lua_class moon__lua_graph_class;
#endif
