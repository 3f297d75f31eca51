/*
** lua_api.h: the few functions of Lua 5.4 that C specs call, found by dlopen, so that these programs need no header of it; and the
** library's own runtime, found in the module that these states load.
*/
#ifndef MOON_SPEC_LUA_API_H
#define MOON_SPEC_LUA_API_H
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moonlet.h"

typedef struct lua_State lua_State;
typedef void *(*lua_alloc)(void *user, void *block, size_t old_bytes, size_t new_bytes);
typedef struct lua_api {
  lua_State *(*newstate)(lua_alloc f, void *user);
  void (*openlibs)(lua_State *);
  int (*load)(lua_State *, const char *);
  int (*pcall)(lua_State *, int, int, int, ptrdiff_t, void *);
  const char *(*tolstring)(lua_State *, int, size_t *);
  void (*settop)(lua_State *, int);
  void (*setfield)(lua_State *, int, const char *);
  void (*pushlightuserdata)(lua_State *, void *);
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
         lua_api_find(lua, "lua_setfield", &api->setfield) &&
         lua_api_find(lua, "lua_pushlightuserdata", &api->pushlightuserdata) && lua_api_find(lua, "lua_close", &api->close);
}

/* Runs text; 0: fine, else the message is left on the stack. */
static inline int lua_api_run(const lua_api *api, lua_State *L, const char *text) {
  int status = api->load(L, text);
  return status ? status : api->pcall(L, 0, 0, 0, 0, NULL);
}

/* A lua_alloc that is the C library's. */
static inline void *lua_api_alloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  (void)user;
  (void)old_bytes;
  if (new_bytes) return realloc(block, new_bytes);
  free(block);
  return NULL;
}

/* Runtimes of the module in a folder, which states share when they are given one. */
typedef struct lua_api_runtimes {
  moon_runtime *(*make)(const moon_host *);
  void (*release)(moon_runtime *);
} lua_api_runtimes;

/* 0: there is none. */
static inline int lua_api_runtimes_open(lua_api_runtimes *r, const char *build) {
  char path[1024];
  snprintf(path, sizeof path, "%s/moonlet.so", build);
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return module && lua_api_find(module, "moon_runtime_new", &r->make) && lua_api_find(module, "moon_runtime_release", &r->release);
}

/* A state that loads the module from this folder, BUILD, into this runtime; runtime NULL: into one of its own. */
static inline void lua_api_prepare(const lua_api *api, lua_State *L, const char *build, moon_runtime *runtime) {
  char head[1024];
  api->openlibs(L);
  if (runtime) {
    api->pushlightuserdata(L, runtime);
    api->setfield(L, -1001000, MOON_LUA_RUNTIME); /* LUA_REGISTRYINDEX */
  }
  snprintf(head, sizeof head, "BUILD = [[%s]]", build);
  lua_api_run(api, L, head);
}
#endif
