/* file.h: files of tensors. */
#ifndef MOON_LUA_FILE_H
#define MOON_LUA_FILE_H
#include "bind.h"

extern const luaL_Reg moon__lua_file_functions[];
#endif
