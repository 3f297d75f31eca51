/*
** tensor_table.c: Lua tables to tensors and back. Tables are read raw, so no script code runs in between. A table is looked at
** twice: once for its shape, which must be a full box, once for its numbers; nothing is allocated before the first look is
** over.
*/
#include "tensor_table.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "base/shape.h"
#include "tensor/tensor.h"

/* ---- elements ---- */

void moon__lua_push_element(lua_State *L, moon_dtype dtype, const void *element) {
  switch (dtype) {
    case MOON_DTYPE_bool: lua_pushboolean(L, *(const uint8_t *)element != 0); break;
    case MOON_DTYPE_u8: moon__lua_pushint64(L, *(const uint8_t *)element); break;
    case MOON_DTYPE_i32: moon__lua_pushint64(L, *(const int32_t *)element); break;
    case MOON_DTYPE_i64: moon__lua_pushint64(L, *(const int64_t *)element); break;
    case MOON_DTYPE_f32: lua_pushnumber(L, (lua_Number) * (const float *)element); break;
    default: {
      double x;
      moon__convert(&x, MOON_DTYPE_f64, element, dtype);
      lua_pushnumber(L, (lua_Number)x);
    }
  }
}

/* False when i does not fit. */
static bool set_integer(moon_dtype dtype, int64_t i, moon_lua_element *e) {
  switch (dtype) {
    case MOON_DTYPE_bool: e->u8 = i != 0; return true;
    case MOON_DTYPE_u8: e->u8 = (uint8_t)i; return i >= 0 && i <= UINT8_MAX;
    case MOON_DTYPE_i32: e->i32 = (int32_t)i; return i >= INT32_MIN && i <= INT32_MAX;
    default: e->i64 = i; return true;
  }
}

static moon_lua_element to_element(double d, moon_dtype dtype) {
  moon_lua_element e = {.i64 = 0};
  moon__convert(&e, dtype, &d, MOON_DTYPE_f64);
  return e;
}

moon_lua_element moon__lua_element(lua_State *L, const moon_bind *b, int idx, moon_dtype dtype, const char *who) {
  moon_lua_element e = {.i64 = 0};
  bool number = lua_type(L, idx) == LUA_TNUMBER;
  int64_t i = 0;
  if (!number && lua_type(L, idx) != LUA_TBOOLEAN)
    moon__lua_fail(L, "%s: a number or boolean is expected, got %s", who, moon__lua_describe(L, b, idx).s);
  if (!number) i = lua_toboolean(L, idx);
  if (moon__dtype_is_float(dtype) || (number && dtype == MOON_DTYPE_bool))
    return to_element(number ? (double)lua_tonumber(L, idx) : (double)i, dtype);
  if ((number && !moon__lua_toint64(L, idx, &i)) || !set_integer(dtype, i, &e))
    moon__lua_fail(L, "%s: %s does not fit %s", who, moon__lua_describe(L, b, idx).s, moon_dtype_name(dtype));
  return e;
}

/* ---- tables to tensors ---- */

enum { STACKED = 16 }; /* numbers of a table that stand on the stack at once, at most */

typedef struct table_scan {
  const char *who;
  int ndim;
  int64_t shape[MOON_MAX_DIMS], at[MOON_MAX_DIMS];
  bool numbers, booleans;
  moon_dtype dtype; /* that every leaf must fit; MOON_DTYPE_COUNT: whatever */
} table_scan;

/* Where in the nested table the scan is, for messages: "[2][1]". */
static moon_lua_text position(const table_scan *s, int level) {
  moon_lua_text text = {""};
  size_t n = 0;
  for (int i = 0; i < level && n < sizeof text.s; i++) {
    int used = snprintf(text.s + n, sizeof text.s - n, "[%lld]", (long long)s->at[i] + 1);
    n += used < 0 ? 0 : (size_t)used;
  }
  return text;
}

static void refuse_names(lua_State *L, const table_scan *s, int level) {
  lua_pushnil(L);
  if (lua_next(L, -2))
    moon__lua_fail(L, "%s: table%s has names or gaps, a list of numbers is expected", s->who, position(s, level).s);
}

/* The shape that the first elements say. Leaves the stack as it was. */
static void measure(lua_State *L, int idx, table_scan *s) {
  int top = lua_gettop(L);
  lua_pushvalue(L, idx);
  while (lua_type(L, -1) == LUA_TTABLE) {
    if (s->ndim == MOON_MAX_DIMS) moon__lua_fail(L, "%s: tables are nested deeper than %d", s->who, MOON_MAX_DIMS);
    if (moon__lua_rawlen(L, -1) >= INT32_MAX) moon__lua_fail(L, "%s: too many entries in a table", s->who);
    s->shape[s->ndim] = (int64_t)moon__lua_rawlen(L, -1);
    if (s->shape[s->ndim++] == 0) break;
    lua_rawgeti(L, -1, 1);
  }
  lua_settop(L, top);
}

static void check_leaf(lua_State *L, const moon_bind *b, table_scan *s, int level) {
  int type = lua_type(L, -1);
  if (type == LUA_TNUMBER) s->numbers = true;
  else if (type == LUA_TBOOLEAN) s->booleans = true;
  if (type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
    if (!moon__dtype_is_float(s->dtype)) moon__lua_element(L, b, -1, s->dtype, s->who); /* a float takes any number */
    return;
  }
  if (level == 0)
    moon__lua_fail(L, "%s: a tensor, a table of numbers, a number or a boolean is expected, got %s", s->who,
                   moon__lua_describe(L, b, -1).s);
  if (type == LUA_TTABLE)
    moon__lua_fail(L, "%s: ragged table: a table at %s, a number is expected", s->who, position(s, level).s);
  else
    moon__lua_fail(L, "%s: a number or boolean is expected at %s, got %s", s->who, position(s, level).s,
                   moon__lua_describe(L, b, -1).s);
}

/* Entry i is done with: are it and those before it to be popped? Of numbers a few at a time, as calls cost more than they do. */
static bool is_popped(const table_scan *s, int level, int64_t i) {
  return level + 1 < s->ndim || i % STACKED == STACKED - 1 || i + 1 == s->shape[level];
}

/* The table on top is level deep; its box must be full. */
static void check_box(lua_State *L, const moon_bind *b, table_scan *s, int level) {
  int64_t n = s->shape[level];
  if (lua_type(L, -1) != LUA_TTABLE)
    moon__lua_fail(L, "%s: ragged table: %s at %s, a table is expected", s->who, moon__lua_describe(L, b, -1).s,
                   position(s, level).s);
  if ((int64_t)moon__lua_rawlen(L, -1) != n)
    moon__lua_fail(L, "%s: ragged table: %d entries in table%s, %d in the first of its kind", s->who, (int)moon__lua_rawlen(L, -1),
                   position(s, level).s, (int)n);
  if (n == 0) refuse_names(L, s, level);
  int box = lua_gettop(L);
  for (int64_t i = 0; i < n; i++) {
    s->at[level] = i;
    lua_rawgeti(L, box, (int)(i + 1));
    if (level + 1 < s->ndim) check_box(L, b, s, level + 1);
    else check_leaf(L, b, s, level + 1);
    if (is_popped(s, level, i)) lua_settop(L, box);
  }
}

/* The value on top, which was looked at, at `at`. */
static void store(lua_State *L, const moon_bind *b, const table_scan *s, moon_dtype dtype, char *at) {
  if (dtype == MOON_DTYPE_f32 && !s->booleans) {
    *(float *)(void *)at = (float)lua_tonumber(L, -1);
    return;
  }
  moon_lua_element e = moon__lua_element(L, b, -1, dtype, s->who);
  memcpy(at, &e, moon_dtype_bytes(dtype));
}

/* strides: in elements. */
static void fill_box(lua_State *L, const moon_bind *b, const table_scan *s, int level, moon_dtype dtype, char *at,
                     const int64_t *strides) {
  ptrdiff_t step = (ptrdiff_t)strides[level] * (ptrdiff_t)moon_dtype_bytes(dtype);
  int box = lua_gettop(L);
  for (int64_t i = 0; i < s->shape[level]; i++) {
    lua_rawgeti(L, box, (int)(i + 1));
    if (level + 1 < s->ndim) fill_box(L, b, s, level + 1, dtype, at + i * step, strides);
    else store(L, b, s, dtype, at + i * step);
    if (is_popped(s, level, i)) lua_settop(L, box);
  }
}

static void fill(lua_State *L, const moon_bind *b, int idx, const table_scan *s, moon_dtype dtype, char *data,
                 const int64_t *strides) {
  lua_pushvalue(L, idx);
  if (s->ndim == 0) store(L, b, s, dtype, data);
  else fill_box(L, b, s, 0, dtype, data, strides);
  lua_pop(L, 1);
}

/* Numbers of a tensor that the host cannot see go through Lua memory. */
static void fill_through(lua_State *L, moon_bind *b, int idx, const table_scan *s, moon_tensor *t) {
  size_t bytes = moon_tensor_bytes(t);
  char *data = moon__lua_newblock(L, bytes > 0 ? bytes : 1);
  int64_t dense[MOON_MAX_DIMS];
  moon__dense_strides(s->ndim, s->shape, dense);
  fill(L, b, idx, s, moon_tensor_dtype(t), data, dense);
  if (moon_tensor_write(b->ctx, t, moon_tensor_dtype(t), data, bytes) != MOON_OK) moon__lua_raise(L, b);
  lua_pop(L, 1);
}

/* The first look at the table at idx. */
static void look_at(lua_State *L, const moon_bind *b, int idx, table_scan *s) {
  luaL_checkstack(L, 2 * MOON_MAX_DIMS + STACKED + 8, "nested table");
  measure(L, idx, s);
  lua_pushvalue(L, idx);
  if (s->ndim == 0) check_leaf(L, b, s, 0);
  else check_box(L, b, s, 0);
  lua_pop(L, 1);
}

void moon__lua_tensor_from_table(lua_State *L, moon_bind *b, int idx, moon_dtype dtype, const char *who) {
  table_scan s = {.who = who, .dtype = MOON_DTYPE_COUNT};
  moon_tensor *t;
  idx = moon__lua_absindex(L, idx);
  look_at(L, b, idx, &s);
  if (dtype == MOON_DTYPE_COUNT) dtype = s.booleans && !s.numbers ? MOON_DTYPE_bool : MOON_DTYPE_f32;
  moon__lua_block(L);
  moon__lua_no_origin(b);
  t = moon__tensor_empty(b->ctx, dtype, s.ndim, s.shape);
  if (!t) moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_TENSOR, t);
  if (moon_tensor_data(t)) fill(L, b, idx, &s, dtype, moon_tensor_data(t), t->strides);
  else fill_through(L, b, idx, &s, t);
  moon__lua_account(L, b, moon_tensor_bytes(t));
}

static void fail_shape(lua_State *L, const table_scan *s, const moon_tensor *t) {
  char have[96], want[96];
  moon_shape from = {.ndim = s->ndim}, to = {.ndim = t->ndim};
  memcpy(from.dim, s->shape, (size_t)s->ndim * sizeof *s->shape);
  memcpy(to.dim, t->shape, (size_t)t->ndim * sizeof *t->shape);
  moon__lua_fail(L, "%s: shapes differ: to %s, from a table of %s", s->who, moon_shape_text(t->runtime, &to, want, sizeof want),
                 moon_shape_text(t->runtime, &from, have, sizeof have));
}

void moon__lua_write_table(lua_State *L, moon_bind *b, moon_tensor *t, int idx, const char *who) {
  table_scan s = {.who = who, .dtype = moon_tensor_dtype(t)};
  idx = moon__lua_absindex(L, idx);
  moon__lua_no_origin(b);
  if (moon__tensor_writable(b->ctx, who, t) != MOON_OK) moon__lua_raise(L, b);
  look_at(L, b, idx, &s);
  bool same = s.ndim == t->ndim;
  for (int i = 0; same && i < s.ndim; i++) same = s.shape[i] == t->shape[i];
  if (!same) fail_shape(L, &s, t);
  if (moon_tensor_data(t)) {
    fill(L, b, idx, &s, s.dtype, moon_tensor_data(t), t->strides);
    return;
  }
  moon__lua_tensor_from_table(L, b, idx, s.dtype, who);
  if (moon_tensor_copy(b->ctx, t, moon__lua_check(L, b, -1, MOON_LUA_TENSOR, who, "value")) != MOON_OK) moon__lua_raise(L, b);
  lua_pop(L, 1);
}

/* ---- tensors to tables ---- */

/* The entries that a table for this axis has, and the bytes from one to the next. */
static int count_entries(lua_State *L, const moon_tensor *t, int axis, const int64_t *strides, ptrdiff_t *step) {
  int64_t n = moon_tensor_size(t, axis);
  *step = 0; /* strides of tensors without elements may be of any size */
  if (moon_tensor_count(t) > 0) *step = (ptrdiff_t)strides[axis] * (ptrdiff_t)moon_dtype_bytes(moon_tensor_dtype(t));
  if (n >= INT32_MAX) moon__lua_fail(L, "totable: %s entries are too many for a table", moon__lua_count(n).s);
  return (int)n;
}

/* Pushes the box of axes [axis, ndim) whose first element is at. */
static void push_box(lua_State *L, const moon_tensor *t, int axis, const char *at, const int64_t *strides) {
  if (axis == moon_tensor_ndim(t)) {
    moon__lua_push_element(L, moon_tensor_dtype(t), at);
    return;
  }
  ptrdiff_t step;
  int n = count_entries(L, t, axis, strides, &step);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    push_box(L, t, axis + 1, at + i * step, strides);
    lua_rawseti(L, -2, i + 1);
  }
}

/* Pushes Lua memory that holds the numbers of a tensor that the host cannot see. */
static const char *push_numbers(lua_State *L, moon_bind *b, const moon_tensor *t, int64_t *dense) {
  size_t bytes = moon_tensor_bytes(t);
  char *data = moon__lua_newblock(L, bytes > 0 ? bytes : 1);
  if (moon_tensor_read(b->ctx, t, moon_tensor_dtype(t), data, bytes) != MOON_OK) moon__lua_raise(L, b);
  moon__dense_strides(moon_tensor_ndim(t), t->shape, dense);
  return data;
}

void moon__lua_push_table(lua_State *L, moon_bind *b, const moon_tensor *t) {
  int64_t dense[MOON_MAX_DIMS];
  luaL_checkstack(L, MOON_MAX_DIMS + 8, "nested table");
  if (moon_tensor_data(t)) {
    push_box(L, t, 0, moon_tensor_data(t), t->strides);
    return;
  }
  push_box(L, t, 0, push_numbers(L, b, t, dense), dense);
  lua_remove(L, -2);
}

/* The table on top gets the box of axes [axis, ndim) whose first element is at, and no entries beyond. */
static void refill_box(lua_State *L, const moon_tensor *t, int axis, const char *at, const int64_t *strides) {
  ptrdiff_t step;
  int n = count_entries(L, t, axis, strides, &step);
  for (int i = 0; i < n; i++) {
    if (axis + 1 == moon_tensor_ndim(t)) {
      moon__lua_push_element(L, moon_tensor_dtype(t), at + i * step);
      lua_rawseti(L, -2, i + 1);
      continue;
    }
    lua_rawgeti(L, -1, i + 1);
    if (lua_type(L, -1) != LUA_TTABLE) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, i + 1);
    }
    refill_box(L, t, axis + 1, at + i * step, strides);
    lua_pop(L, 1);
  }
  for (int more = (int)moon__lua_rawlen(L, -1); more > n; more--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, more);
  }
}

void moon__lua_fill_table(lua_State *L, moon_bind *b, const moon_tensor *t) {
  int64_t dense[MOON_MAX_DIMS];
  luaL_checkstack(L, 2 * MOON_MAX_DIMS + 8, "nested table");
  if (moon_tensor_data(t)) {
    refill_box(L, t, 0, moon_tensor_data(t), t->strides);
    return;
  }
  const char *data = push_numbers(L, b, t, dense);
  lua_pushvalue(L, -2);
  refill_box(L, t, 0, data, dense);
  lua_pop(L, 2);
}
