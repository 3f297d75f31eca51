/*
** single.c: one file with everything in it: Lua 5.4, the library and its Lua files. It runs a script, which finds the library by
** `require "moonlet"`; nothing else has to be shipped.
**
**   make && make build/examples/host/single && build/examples/host/single examples/host/smoke.lua
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

int luaopen_moonlet(lua_State *L);
int luaopen_moonlet_core(lua_State *L);

/* `require` finds these two here; our Lua files are found by the first of them. */
static void preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_moonlet);
  lua_setfield(L, -2, "moonlet");
  lua_pushcfunction(L, luaopen_moonlet_core);
  lua_setfield(L, -2, "moonlet.core");
  lua_pop(L, 1);
}

int main(int argc, char **argv) {
  lua_State *L = argc == 2 ? luaL_newstate() : NULL;
  int status = LUA_ERRRUN;
  if (!L) {
    fputs("usage: single SCRIPT\n", stderr);
    return EXIT_FAILURE;
  }
  luaL_openlibs(L);
  preload(L);
  status = luaL_dofile(L, argv[1]);
  if (status != LUA_OK) fprintf(stderr, "single: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return status == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
