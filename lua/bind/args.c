/*
** args.c: Lua values read as plain C values; see args.h. A Lua float with a whole value is an integer wherever integers are asked.
** All reads are raw: no metamethod of a script's table runs.
*/
#include "args.h"

#include <stdio.h>
#include <string.h>

#include "base/shape.h"

static void fail_value(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what, const char *expected) {
  moon__lua_fail(L, "%s: %s must be %s, got %s", who, what, expected, moon__lua_describe(L, b, idx).s);
}

int64_t moon__lua_int(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  int64_t i = 0;
  if (!moon__lua_toint64(L, idx, &i)) fail_value(L, b, idx, who, what, "a whole number");
  return i;
}

double moon__lua_num(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  if (lua_type(L, idx) != LUA_TNUMBER) fail_value(L, b, idx, who, what, "a number");
  return (double)lua_tonumber(L, idx);
}

const char *moon__lua_str(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  if (lua_type(L, idx) != LUA_TSTRING) fail_value(L, b, idx, who, what, "a string");
  return lua_tostring(L, idx);
}

bool moon__lua_flag(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  if (lua_type(L, idx) != LUA_TBOOLEAN) fail_value(L, b, idx, who, what, "true or false");
  return lua_toboolean(L, idx);
}

void moon__lua_want_table(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  if (lua_type(L, idx) != LUA_TTABLE) fail_value(L, b, idx, who, what, "a table");
}

void moon__lua_want_function(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  if (lua_type(L, idx) != LUA_TFUNCTION) fail_value(L, b, idx, who, what, "a function");
}

moon_dtype moon__lua_dtype(lua_State *L, const moon_bind *b, int idx, const char *who) {
  moon_dtype d = lua_type(L, idx) == LUA_TSTRING ? moon_dtype_find(lua_tostring(L, idx)) : MOON_DTYPE_COUNT;
  if (d == MOON_DTYPE_COUNT) fail_value(L, b, idx, who, "dtype", "one of bool, u8, i32, i64, bf16, f16, f32, f64");
  return d;
}

/* ---- sizes and axes ---- */

moon_dim moon__lua_size(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  int64_t size = -1;
  const moon_lua_dim *dim = moon__lua_test(L, b, idx, MOON_LUA_DIM);
  if (dim) return dim->dim;
  if (!moon__lua_toint64(L, idx, &size) || size < 0) fail_value(L, b, idx, who, what, "a size (a whole number from 0, or a Dim)");
  return size;
}

/* Length of the list at idx; raises beyond the number of axes a tensor may have. */
static int list_length(lua_State *L, int idx, const char *who, const char *what) {
  size_t n = moon__lua_rawlen(L, idx);
  if (n > MOON_MAX_DIMS) moon__lua_fail(L, "%s: %s has %d entries, at most %d are possible", who, what, (int)n, MOON_MAX_DIMS);
  return (int)n;
}

static moon_dim shape_entry(lua_State *L, const moon_bind *b, const char *who, const char *what, int i, bool *wild) {
  char name[64];
  int64_t size;
  if (*wild && moon__lua_toint64(L, -1, &size) && size == -1) {
    *wild = false;
    return -1;
  }
  snprintf(name, sizeof name, "%s[%d]", what, i + 1);
  return moon__lua_size(L, b, -1, who, name);
}

/* A table with holes or with names is not a list of sizes: count all keys. */
static void check_list(lua_State *L, int idx, int n, const char *who, const char *what) {
  int keys = 0;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) keys++;
  if (keys != n) moon__lua_fail(L, "%s: %s must be a list without gaps or names (nil is not a size here)", who, what);
}

void moon__lua_shape(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what, bool wild, moon_shape *shape) {
  idx = moon__lua_absindex(L, idx);
  *shape = (moon_shape){0};
  if (lua_type(L, idx) != LUA_TTABLE) {
    if (lua_type(L, idx) != LUA_TNUMBER && moon__lua_kind(L, b, idx) != MOON_LUA_DIM)
      fail_value(L, b, idx, who, what, "a table of sizes");
    lua_pushvalue(L, idx);
    shape->dim[shape->ndim++] = shape_entry(L, b, who, what, 0, &wild);
    lua_pop(L, 1);
    return;
  }
  shape->ndim = list_length(L, idx, who, what);
  check_list(L, idx, shape->ndim, who, what);
  for (int i = 0; i < shape->ndim; i++) {
    lua_rawgeti(L, idx, i + 1);
    shape->dim[i] = shape_entry(L, b, who, what, i, &wild);
    lua_pop(L, 1);
  }
}

int64_t moon__lua_axis(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what) {
  int64_t axis = 0;
  if (!moon__lua_toint64(L, idx, &axis) || axis == 0 || axis > MOON_MAX_DIMS || axis < -MOON_MAX_DIMS)
    fail_value(L, b, idx, who, what, "an axis, counted from 1, or from -1 backwards");
  return axis > 0 ? axis - 1 : axis;
}

void moon__lua_push_dim(lua_State *L, moon_bind *b, moon_dim d) {
  moon_lua_dim *o;
  if (moon__dim_known(d)) {
    moon__lua_pushint64(L, d);
    return;
  }
  o = moon__lua_newblock(L, sizeof *o);
  o->head = (moon_object){0};
  o->dim = d;
  moon__lua_own(L, b, -1, MOON_LUA_DIM, o);
}

void moon__lua_push_shape(lua_State *L, moon_bind *b, const moon_shape *shape) {
  lua_createtable(L, shape->ndim, 0);
  for (int i = 0; i < shape->ndim; i++) {
    moon__lua_push_dim(L, b, shape->dim[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* ---- attributes ---- */

static void read_ints(lua_State *L, const moon_bind *b, const moon_op *op, const moon_attr *row, int idx, moon_ints *list) {
  bool axes = row->kind == MOON_ATTR_AXES;
  *list = (moon_ints){0};
  if (lua_type(L, idx) != LUA_TTABLE) {
    list->n = 1;
    list->v[0] = axes ? moon__lua_axis(L, b, idx, op->name, row->name) : moon__lua_int(L, b, idx, op->name, row->name);
    return;
  }
  list->n = list_length(L, idx, op->name, row->name);
  check_list(L, idx, list->n, op->name, row->name);
  for (int i = 0; i < list->n; i++) {
    lua_rawgeti(L, idx, i + 1);
    list->v[i] = axes ? moon__lua_axis(L, b, -1, op->name, row->name) : moon__lua_int(L, b, -1, op->name, row->name);
    lua_pop(L, 1);
  }
}

/* Position of word in "a|b|c", -1: none. */
static int find_word(const char *words, const char *word) {
  size_t n = strlen(word);
  for (int i = 0; words; i++) {
    const char *end = strchr(words, '|');
    size_t length = end ? (size_t)(end - words) : strlen(words);
    if (length == n && memcmp(words, word, n) == 0) return i;
    words = end ? end + 1 : NULL;
  }
  return -1;
}

static int32_t read_word(lua_State *L, const moon_bind *b, const moon_op *op, const moon_attr *row, int idx) {
  int word = lua_type(L, idx) == LUA_TSTRING ? find_word(row->words, lua_tostring(L, idx)) : -1;
  if (word < 0) {
    char expected[128];
    snprintf(expected, sizeof expected, "one of %s", row->words);
    fail_value(L, b, idx, op->name, row->name, expected);
  }
  return word;
}

static bool has_unknown(const moon_shape *shape) {
  for (int i = 0; i < shape->ndim; i++) {
    if (shape->dim[i] < -1) return true;
  }
  return false;
}

void moon__lua_attr(lua_State *L, const moon_bind *b, const moon_op *op, const moon_attr *row, int idx, void *attrs,
                    bool *symbolic) {
  void *at = (char *)attrs + row->offset;
  bool wild;
  idx = moon__lua_absindex(L, idx);
  switch (row->kind) {
    case MOON_ATTR_I64: *(int64_t *)at = moon__lua_int(L, b, idx, op->name, row->name); break;
    case MOON_ATTR_F64: *(double *)at = moon__lua_num(L, b, idx, op->name, row->name); break;
    case MOON_ATTR_BOOL: *(bool *)at = moon__lua_flag(L, b, idx, op->name, row->name); break;
    case MOON_ATTR_DTYPE: *(int32_t *)at = (int32_t)moon__lua_dtype(L, b, idx, op->name); break;
    case MOON_ATTR_ENUM: *(int32_t *)at = read_word(L, b, op, row, idx); break;
    case MOON_ATTR_AXIS: *(int64_t *)at = moon__lua_axis(L, b, idx, op->name, row->name); break;
    case MOON_ATTR_INTS:
    case MOON_ATTR_AXES: read_ints(L, b, op, row, idx, at); break;
    case MOON_ATTR_SHAPE:
      wild = strcmp(op->name, "reshape") == 0;
      moon__lua_shape(L, b, idx, op->name, row->name, wild, at);
      if (has_unknown(at)) *symbolic = true;
      break;
    case MOON_ATTR_DIM:
      *(moon_dim *)at = moon__lua_size(L, b, idx, op->name, row->name);
      if (*(moon_dim *)at < 0) *symbolic = true;
      break;
  }
}

/* ---- tables of options ---- */

bool moon__lua_is_options(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TTABLE) return false;
  idx = moon__lua_absindex(L, idx);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      lua_pop(L, 2);
      return true;
    }
  }
  return false;
}

bool moon__lua_option(lua_State *L, int idx, const char *name) {
  idx = moon__lua_absindex(L, idx);
  lua_pushstring(L, name);
  lua_rawget(L, idx);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

static void fail_key(lua_State *L, const moon_bind *b, int key_idx, const char *who, const char *const *names) {
  char known[256] = "none";
  size_t n = 0;
  moon_lua_text key = moon__lua_describe(L, b, key_idx);
  for (int i = 0; names[i] && n < sizeof known; i++) {
    int used = snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", names[i]);
    n += used < 0 ? 0 : (size_t)used;
  }
  moon__lua_fail(L, "%s: unknown key %s; known: %s", who, key.s, known);
}

static bool is_known(const char *const *names, const char *key) {
  for (int i = 0; names[i]; i++) {
    if (strcmp(names[i], key) == 0) return true;
  }
  return false;
}

void moon__lua_known_keys(lua_State *L, const moon_bind *b, int idx, const char *who, const char *const *names, bool array) {
  idx = moon__lua_absindex(L, idx);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    bool good = lua_type(L, -2) == LUA_TSTRING ? is_known(names, lua_tostring(L, -2)) : array && lua_type(L, -2) == LUA_TNUMBER;
    if (!good) fail_key(L, b, lua_gettop(L) - 1, who, names);
  }
}
