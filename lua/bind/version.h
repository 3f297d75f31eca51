/* version.h: see version.c. */
#ifndef MOON_LUA_VERSION_H
#define MOON_LUA_VERSION_H
/* The version of the Lua that is running, as LUA_VERSION_NUM writes it: 501 for 5.1 and LuaJIT. */
int moon__lua_version(void);
#endif
