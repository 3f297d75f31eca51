/*
** file.c: files as a script sees them: safetensors as tables of tensors and texts, npy, csv, and writing a text whole. Reading and
** verifying are core's.
*/
#include "file.h"

#include <string.h>

#include "args.h"
#include "base/os.h"
#include "formats/file.h"
#include "tensor.h"

/* ---- a reader of the script's own ---- */

static const char reader_key = 0; /* registry: the function that brings the bytes of a path */

/* core.files(reader): reader(path) returns the bytes, or nil and why not. nil: the host's or the system's files again. */
static int files(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_settop(L, 1);
  if (!lua_isnil(L, 1)) moon__lua_want_function(L, b, 1, "files", "the reader");
  b->has_reader = !lua_isnil(L, 1);
  moon__lua_setkey(L, &reader_key);
  return 0;
}

/* Leaves the bytes of the path at 1 on the stack for the call of core that follows, if a reader brings them. */
static void ask_reader(lua_State *L, moon_bind *b, const char *who) {
  moon__lua_str(L, b, 1, who, "path");
  if (!b->has_reader) return;
  moon__lua_getkey(L, &reader_key);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 2);
  if (lua_type(L, -2) != LUA_TSTRING)
    moon__lua_fail(L, "%s: cannot read '%s': %s", who, lua_tostring(L, 1),
                   lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "the reader gave no string");
  lua_pop(L, 1);
  b->ctx->given = lua_tolstring(L, -1, &b->ctx->given_bytes);
}

static void forget_given(moon_bind *b) { b->ctx->given = NULL; }

/* core.read_file(path, who) -> bytes; who reads it, for messages, by default read_file. */
static int read_file(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *who = luaL_optstring(L, 2, "read_file");
  char *data;
  size_t bytes = 0;
  moon_status status;
  lua_settop(L, 1);
  ask_reader(L, b, who);
  moon__lua_no_origin(b);
  if (b->has_reader) {
    forget_given(b);
    return 1;
  }
  moon__lua_block(L);
  status = moon__file_bytes(b->ctx, who, lua_tostring(L, 1), &data, &bytes);
  if (status != MOON_OK) {
    moon_text_release(b->ctx, data);
    return moon__lua_raise(L, b);
  }
  return moon__lua_push_text(L, b, -1, data, bytes);
}

/* ---- reading ---- */

/* Pushes { tensors = { name = tensor }, names = { in order }, texts = { name = text } } of the file at idx. */
static int push_file(lua_State *L, moon_bind *b, const moon_file *f) {
  int n = moon_file_count(f), ntexts = moon_file_text_count(f);
  lua_createtable(L, 0, 3);
  lua_createtable(L, 0, n);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, moon_file_name(f, i));
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, i + 1);
    moon__lua_block(L);
    moon__lua_own(L, b, -1, MOON_LUA_TENSOR, moon_tensor_retain(moon_file_tensor(f, i)));
    lua_rawset(L, -4);
  }
  lua_setfield(L, -3, "names");
  lua_setfield(L, -2, "tensors");
  lua_createtable(L, 0, ntexts);
  for (int i = 0; i < ntexts; i++) {
    size_t bytes = 0;
    const char *text = moon_file_find_text(f, moon_file_text_name(f, i), &bytes);
    lua_pushstring(L, moon_file_text_name(f, i));
    lua_pushlstring(L, text ? text : "", bytes);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "texts");
  return 1;
}

/* Fills the block on top with the file, and pushes its table. The tensors keep their memory, the file itself goes. */
static int push_and_release(lua_State *L, moon_bind *b, moon_file *f) {
  moon_object *o = lua_touserdata(L, -1);
  if (!f) return moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_FILE, f);
  push_file(L, b, f);
  moon__lua_release(b, o);
  return 1;
}

static int load(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_file *f;
  lua_settop(L, 1);
  moon__lua_block(L);
  ask_reader(L, b, "file_load");
  moon__lua_no_origin(b);
  f = moon_file_load(b->ctx, lua_tostring(L, 1));
  forget_given(b);
  lua_settop(L, 2);
  return push_and_release(L, b, f);
}

static int decode(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  size_t bytes;
  const char *data;
  moon__lua_str(L, b, 1, "file_decode", "bytes");
  moon__lua_block(L);
  moon__lua_no_origin(b);
  data = lua_tolstring(L, 1, &bytes);
  return push_and_release(L, b, moon_file_decode(b->ctx, data, bytes));
}

/* ---- writing: { { name, tensor }, .. } and { name = text } ---- */

static void check_entries(lua_State *L, const moon_bind *b, int idx, const char *who) {
  moon__lua_want_table(L, b, idx, who, "tensors");
  for (int i = 1; i <= (int)moon__lua_rawlen(L, idx); i++) {
    lua_rawgeti(L, idx, i);
    moon__lua_want_table(L, b, -1, who, "an entry of tensors");
    lua_rawgeti(L, -1, 1);
    moon__lua_str(L, b, -1, who, "a name");
    lua_rawgeti(L, -2, 2);
    if (moon__lua_kind(L, b, -1) != MOON_LUA_VARIABLE) moon__lua_check(L, b, -1, MOON_LUA_TENSOR, who, "an entry's tensor");
    lua_pop(L, 3);
  }
}

static void check_texts(lua_State *L, const moon_bind *b, int idx, const char *who) {
  if (lua_isnil(L, idx)) return;
  moon__lua_want_table(L, b, idx, who, "texts");
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) moon__lua_fail(L, "%s: a text's name must be a string", who);
    moon__lua_str(L, b, -1, who, "a text");
  }
}

static void put_tensors(lua_State *L, moon_bind *b, int idx, moon_file *f, const char *who) {
  for (int i = 1; i <= (int)moon__lua_rawlen(L, idx); i++) {
    moon_tensor *t;
    lua_rawgeti(L, idx, i);
    lua_rawgeti(L, -1, 2);
    t = moon__lua_numbers(L, b, lua_gettop(L), who);
    lua_rawgeti(L, -3, 1);
    if (moon_file_put(b->ctx, f, lua_tostring(L, -1), t) != MOON_OK) moon__lua_raise(L, b);
    lua_pop(L, 4);
  }
}

static void put_texts(lua_State *L, moon_bind *b, int idx, moon_file *f) {
  if (lua_isnil(L, idx)) return;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    size_t bytes;
    const char *text = lua_tolstring(L, -1, &bytes);
    if (moon_file_put_text(b->ctx, f, lua_tostring(L, -2), text, bytes) != MOON_OK) moon__lua_raise(L, b);
  }
}

/* Pushes a file made of the tables at idx and idx + 1; everything is checked first. */
static moon_file *push_new_file(lua_State *L, moon_bind *b, int idx, const char *who) {
  moon_file *f;
  check_entries(L, b, idx, who);
  check_texts(L, b, idx + 1, who);
  moon__lua_block(L);
  moon__lua_no_origin(b);
  f = moon_file_new(b->ctx);
  if (!f) moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_FILE, f);
  put_tensors(L, b, idx, f, who);
  put_texts(L, b, idx + 1, f);
  return f;
}

static int save(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *path = moon__lua_str(L, b, 1, "file_save", "path");
  moon_file *f;
  moon_status status;
  lua_settop(L, 3);
  f = push_new_file(L, b, 2, "file_save");
  status = moon_file_save(b->ctx, f, path);
  moon__lua_release(b, lua_touserdata(L, 4));
  return status == MOON_OK ? 0 : moon__lua_raise(L, b);
}

static int encode(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_file *f;
  char *data;
  size_t bytes = 0;
  lua_settop(L, 2);
  f = push_new_file(L, b, 1, "file_encode");
  moon__lua_block(L);
  data = moon_file_encode(b->ctx, f, &bytes);
  moon__lua_release(b, lua_touserdata(L, 3));
  return moon__lua_push_text(L, b, 4, data, bytes);
}

/* ---- other formats ---- */

typedef moon_tensor *(*tensor_loader)(moon_context *ctx, const char *path);

static int load_tensor(lua_State *L, tensor_loader loader, const char *who) {
  moon_bind *b = moon__lua_bind(L);
  moon_tensor *t;
  lua_settop(L, 1);
  moon__lua_block(L);
  ask_reader(L, b, who);
  moon__lua_no_origin(b);
  t = loader(b->ctx, lua_tostring(L, 1));
  forget_given(b);
  lua_settop(L, 2);
  moon__lua_push_tensor(L, b, 2, t, t ? moon_tensor_bytes(t) : 0);
  return 1;
}

static int npy_load(lua_State *L) { return load_tensor(L, moon_npy_load, "npy_load"); }
static int csv_load(lua_State *L) { return load_tensor(L, moon_csv_load, "csv_load"); }

static int npy_save(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *path = moon__lua_str(L, b, 1, "npy_save", "path");
  const moon_tensor *t = moon__lua_numbers(L, b, 2, "npy_save");
  if (moon_npy_save(b->ctx, path, t) != MOON_OK) return moon__lua_raise(L, b);
  return 0;
}

/* core.write_file(path, text): whole or not at all. */
static int write_file(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *path = moon__lua_str(L, b, 1, "write_file", "path");
  size_t bytes;
  const char *text;
  moon__lua_str(L, b, 2, "write_file", "text");
  text = lua_tolstring(L, 2, &bytes);
  moon__lua_no_origin(b);
  if (moon__file_write(b->ctx, "write_file", path, text, bytes) != MOON_OK) return moon__lua_raise(L, b);
  return 0;
}

const luaL_Reg moon__lua_file_functions[] = {{"file_load", load},     {"file_decode", decode},    {"file_save", save},
                                             {"file_encode", encode}, {"npy_load", npy_load},     {"npy_save", npy_save},
                                             {"csv_load", csv_load},  {"write_file", write_file}, {"read_file", read_file},
                                             {"files", files},        {NULL, NULL}};
