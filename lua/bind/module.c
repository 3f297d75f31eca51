/*
** module.c: what `require "moonlet"` runs: the state of the binding in the registry, the table of core functions, and the
** searcher that finds our Lua files: on disk beside a checkout's build, else inside the library. Opening twice gives the same
** table. Our files see the globals of the state, but a `require` of ours: hosts that lock theirs (Luanti) can use the library, and
** what is loaded is shared with the host's.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "bind.h"
#include "builder.h"
#include "control.h"
#include "dim.h"
#include "embed.h"
#include "file.h"
#include "graph.h"
#include "inspect.h"
#include "op.h"
#include "profiler.h"
#include "program.h"
#include "rows.h"
#include "symbol.h"
#include "sys.h"
#include "tensor.h"
#include "ticket.h"
#include "trace.h"
#include "variable.h"

MOON_API int luaopen_moonlet(lua_State *L);
MOON_API int luaopen_moonlet_core(lua_State *L);

static const char core_key = 0; /* registry: the table of core functions */
static const char env_key = 0;  /* registry: what our Lua files see as globals */

moon_bind *moon__lua_bind(lua_State *L) {
  moon_bind *b = lua_touserdata(L, lua_upvalueindex(1));
  if (!b->ctx) moon__lua_fail(L, "moonlet: the Lua state is closing");
  return b;
}

/* ---- the core table ---- */

/* The runtime of the host that made the state, if it put one there: see MOON_LUA_RUNTIME in moonlet.h. */
static moon_runtime *host_runtime(lua_State *L) {
  moon_runtime *runtime;
  lua_getfield(L, LUA_REGISTRYINDEX, MOON_LUA_RUNTIME);
  runtime = lua_islightuserdata(L, -1) ? moon_runtime_retain(lua_touserdata(L, -1)) : NULL;
  lua_pop(L, 1);
  return runtime;
}

static moon_bind *push_bind(lua_State *L) {
  moon_bind *b = moon__lua_newblock(L, sizeof *b);
  memset(b, 0, sizeof *b);
  b->alloc = lua_getallocf(L, &b->alloc_user);
  lua_newtable(L);
  lua_pushcfunction(L, moon__lua_bind_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, "locked");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  b->runtime = host_runtime(L);
  if (!b->runtime) b->runtime = moon_runtime_new(NULL);
  if (b->runtime) b->ctx = moon_context_new(b->runtime);
  if (b->ctx) (void)moon_cache_folder_set(b->ctx, "usual"); /* without memory for the word there is no cache */
  if (!b->ctx) {
    moon_runtime_release(b->runtime);
    b->runtime = NULL;
    moon__lua_fail(L, "moonlet: out of memory");
  }
  moon_index_base_set(b->ctx, 1);
  return b;
}

static void add_functions(lua_State *L, int bind_idx, const luaL_Reg *list) {
  lua_pushvalue(L, bind_idx);
  moon__lua_setfuncs(L, list, 1);
}

static void open_classes(lua_State *L, moon_bind *b, int bind_idx) {
  static const moon_lua_class file = {.kind = MOON_LUA_FILE}, text = {.kind = MOON_LUA_TEXT}, list = {.kind = MOON_LUA_LIST};
  const moon_lua_class *const classes[] = {&moon__lua_tensor_class,
                                           &moon__lua_symbol_class,
                                           &moon__lua_variable_class,
                                           &moon__lua_dim_class,
                                           &moon__lua_graph_class,
                                           &moon__lua_program_class,
                                           &moon__lua_ticket_class,
                                           &file,
                                           &text,
                                           &list};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) moon__lua_class_open(L, b, bind_idx, classes[i]);
}

static void push_core(lua_State *L) {
  const luaL_Reg *const lists[] = {moon__lua_tensor_functions, moon__lua_symbol_functions,  moon__lua_variable_functions,
                                   moon__lua_dim_functions,    moon__lua_graph_functions,   moon__lua_program_functions,
                                   moon__lua_trace_functions,  moon__lua_control_functions, moon__lua_builder_functions,
                                   moon__lua_file_functions,   moon__lua_inspect_functions, moon__lua_sys_functions,
                                   moon__lua_profiler_functions, moon__lua_rows_functions};
  moon_bind *b = push_bind(L);
  int bind_idx = lua_gettop(L);
  moon__lua_ticket_open(L);
  open_classes(L, b, bind_idx);
  lua_newtable(L);
  moon__lua_op_functions(L, bind_idx);
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) add_functions(L, bind_idx, lists[i]);
  lua_pushliteral(L, MOON_VERSION);
  lua_setfield(L, -2, "version");
  lua_remove(L, bind_idx);
}

int luaopen_moonlet_core(lua_State *L) {
  moon__lua_check_version(L);
  moon__lua_getkey(L, &core_key);
  if (lua_istable(L, -1)) return 1;
  lua_pop(L, 1);
  push_core(L);
  lua_pushvalue(L, -1);
  moon__lua_setkey(L, &core_key);
  return 1;
}

/* ---- finding our Lua files ---- */

#define PATH_BYTES 4096

/* The folder that holds moonlet/init.lua: what MOONLET_LUA names, else ../lua beside the library. False: there is none. */
static bool find_folder(char *folder, size_t bytes) {
  const char *given = moon__env("MOONLET_LUA");
  char path[PATH_BYTES], init[PATH_BYTES + 32];
  char *slash;
  if (given) return snprintf(folder, bytes, "%s", given) < (int)bytes;
  if (!moon__library_path((const void *)&core_key, path, sizeof path)) return false;
  slash = strrchr(path, '/');
  if (slash) *slash = '\0';
  if (snprintf(folder, bytes, "%s/../lua", slash ? path : ".") >= (int)bytes) return false;
  snprintf(init, sizeof init, "%s/moonlet/init.lua", folder);
  return moon__file_exists(init);
}

static void *file_block(void *user, size_t bytes) {
  (void)user;
  return malloc(bytes > 0 ? bytes : 1);
}

/* Loads folder/chunk; pushes the function, or an error message. 0: there is no such file. */
static int load_from_disk(lua_State *L, const char *folder, const char *chunk) {
  char path[PATH_BYTES];
  void *data = NULL;
  size_t bytes = 0;
  int status;
  if (snprintf(path, sizeof path, "%s/%s", folder, chunk + 1) >= (int)sizeof path || !moon__file_exists(path)) return 0;
  if (moon__file_read(path, file_block, NULL, &data, &bytes) != 0) {
    free(data);
    return 0;
  }
  status = moon__lua_loadtext(L, data, bytes, chunk);
  free(data);
  return status == LUA_OK ? 1 : -1;
}

/* "=moonlet/nn/dense.lua" for "moonlet.nn.dense"; suffix is ".lua" or "/init.lua". False: the name is no name of ours. */
static bool chunk_name(const char *module, const char *suffix, char *chunk, size_t bytes) {
  if (strspn(module, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != strlen(module) || strstr(module, ".."))
    return false;
  if (snprintf(chunk, bytes, "=%s%s", module, suffix) >= (int)bytes) return false;
  for (char *p = chunk; p < chunk + 1 + strlen(module); p++) {
    if (*p == '.') *p = '/';
  }
  return true;
}

/* The same from inside the library. Leaves the text below what it pushes: the collector owns it. */
static int load_embedded(lua_State *L, const char *module, char *chunk, size_t bytes) {
  for (const moon_embed *e = moon__embed; e->module; e++) {
    char *text;
    if (strcmp(e->module, module) != 0 || !chunk_name(module, e->suffix, chunk, bytes)) continue;
    text = moon__lua_newblock(L, e->bytes);
    moon__embed_unpack(e, text);
    return moon__lua_loadtext(L, text, e->bytes, chunk) == LUA_OK ? 1 : -1;
  }
  return 0;
}

/* Pushes the function of one of our files; nothing when there is no such file. folder: on disk, or NULL. */
static bool push_loader(lua_State *L, const char *module, const char *folder) {
  char chunk[512];
  int found = 0;
  if (folder && chunk_name(module, ".lua", chunk, sizeof chunk)) found = load_from_disk(L, folder, chunk);
  if (folder && !found && chunk_name(module, "/init.lua", chunk, sizeof chunk)) found = load_from_disk(L, folder, chunk);
  if (!folder) found = load_embedded(L, module, chunk, sizeof chunk);
  if (found < 0) moon__lua_rethrow(L);
  if (found) {
    moon__lua_getkey(L, &env_key);
    moon__lua_setenv(L);
  }
  return found > 0;
}

/* The searcher: upvalue 1 is the folder on disk, or false. */
static int search(lua_State *L) {
  const char *module = luaL_checkstring(L, 1);
  if (strncmp(module, "moonlet.", 8) != 0) return 0;
  if (!push_loader(L, module, lua_tostring(L, lua_upvalueindex(1)))) {
    lua_pushfstring(L, "\n\tno file of moonlet is '%s'", module);
    return 1;
  }
  lua_pushstring(L, module);
  return 2;
}

/* require for our own files: upvalue 1 is the folder on disk, or false. What was loaded is where Lua's require looks too. */
static int require_ours(lua_State *L) {
  const char *module = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, 2, module);
  if (lua_toboolean(L, -1)) return 1;
  if (!push_loader(L, module, lua_tostring(L, lua_upvalueindex(1)))) {
    return moon__lua_fail(L, "module '%s' not found: no file of moonlet has this name", module);
  }
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, 2, module);
  return 1;
}

/* Makes what our files see as globals: the folder is on top, or false. */
static void make_env(lua_State *L) {
  lua_newtable(L);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, require_ours, 1);
  lua_setfield(L, -2, "require");
  lua_newtable(L);
  moon__lua_pushglobals(L);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  moon__lua_setkey(L, &env_key);
}

/* package.searchers: ours comes second, behind package.preload. The folder is on top, or false. */
static void install_searcher(lua_State *L) {
  moon__lua_getsearchers(L);
  if (lua_istable(L, -1)) {
    for (int i = (int)moon__lua_rawlen(L, -1); i >= 2; i--) {
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search, 1);
    lua_rawseti(L, -2, 2);
  }
  lua_pop(L, 1);
}

static void set_loaded(lua_State *L, const char *name) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

/* Once a state. */
static void open_files(lua_State *L) {
  char folder[PATH_BYTES];
  if (find_folder(folder, sizeof folder)) lua_pushstring(L, folder);
  else lua_pushboolean(L, 0);
  make_env(L);
  install_searcher(L);
  lua_pop(L, 1);
}

int luaopen_moonlet(lua_State *L) {
  luaopen_moonlet_core(L);
  set_loaded(L, "moonlet.core");
  moon__lua_getkey(L, &env_key);
  if (!lua_istable(L, -1)) open_files(L);
  moon__lua_getkey(L, &env_key);
  lua_getfield(L, -1, "require");
  lua_pushliteral(L, "moonlet.init");
  lua_call(L, 1, 1);
  return 1;
}
