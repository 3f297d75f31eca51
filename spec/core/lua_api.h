/*
** lua_api.h: the few functions of Lua 5.4 that C specs call, found by dlopen, so that these programs need no header of it.
*/
#ifndef MOON_SPEC_LUA_API_H
#define MOON_SPEC_LUA_API_H
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef struct lua_State lua_State;
typedef void *(*lua_alloc)(void *user, void *block, size_t old_bytes, size_t new_bytes);
typedef struct lua_api {
  lua_State *(*newstate)(lua_alloc f, void *user);
  void (*openlibs)(lua_State *);
  int (*load)(lua_State *, const char *);
  int (*pcall)(lua_State *, int, int, int, ptrdiff_t, void *);
  const char *(*tolstring)(lua_State *, int, size_t *);
  void (*settop)(lua_State *, int);
  void (*close)(lua_State *);
} lua_api;

/* ISO C has no cast from an object's address to a function's. */
static inline int lua_api_find(void *lua, const char *name, void *function) {
  void *symbol = dlsym(lua, name);
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

/* 0: there is no Lua 5.4 to load. */
static inline int lua_api_open(lua_api *api) {
  static const char *const names[] = {"liblua5.4.so.0", "liblua5.4.so", "liblua.so.5.4"};
  void *lua = NULL;
  for (size_t i = 0; !lua && i < sizeof names / sizeof *names; i++) lua = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
  return lua && lua_api_find(lua, "lua_newstate", &api->newstate) && lua_api_find(lua, "luaL_openlibs", &api->openlibs) &&
         lua_api_find(lua, "luaL_loadstring", &api->load) && lua_api_find(lua, "lua_pcallk", &api->pcall) &&
         lua_api_find(lua, "lua_tolstring", &api->tolstring) && lua_api_find(lua, "lua_settop", &api->settop) &&
         lua_api_find(lua, "lua_close", &api->close);
}

/* Runs text; 0: fine, else the message is left on the stack. */
static inline int lua_api_run(const lua_api *api, lua_State *L, const char *text) {
  int status = api->load(L, text);
  return status ? status : api->pcall(L, 0, 0, 0, 0, NULL);
}
#endif
