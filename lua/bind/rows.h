/* rows.h: rows of tensors in memory: batches of them, and their hash. */
#ifndef MOON_LUA_ROWS_H
#define MOON_LUA_ROWS_H
#include "bind.h"

extern const luaL_Reg moon__lua_rows_functions[];
#endif
