/*
** rows.c: what loops over data in memory need of tensors: rows copied into a batch that is used again, and a hash by which a saved
** training knows its data. Invariant: a batch costs neither native memory nor Lua's.
*/
#include "rows.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "base/size.h"
#include "tensor.h"

/* ---- take_rows(batch, x, first [, order]) ---- */

typedef struct taking {
  moon_tensor *to;
  const moon_tensor *from, *order;
  int64_t first, n, count; /* rows: the first one from 0, of the batch, of x */
  size_t row_bytes;
} taking;

static const char *host_data(lua_State *L, const moon_tensor *t, const char *what) {
  const char *data = moon_tensor_data(t);
  if (!moon_tensor_is_dense(t) || (!data && moon_tensor_bytes(t) > 0))
    moon__lua_fail(L, "take_rows: %s must be dense and in host memory", what);
  return data;
}

static void check_taking(lua_State *L, const moon_bind *b, taking *k) {
  bool fits = k->to->dtype == k->from->dtype && k->to->ndim == k->from->ndim && k->to->ndim > 0;
  for (int i = 1; fits && i < k->to->ndim; i++) fits = k->to->shape[i] == k->from->shape[i];
  if (!fits)
    moon__lua_fail(L, "take_rows: the batch must have rows like those of the data, got %s and %s", moon__lua_describe(L, b, 1).s,
                   moon__lua_describe(L, b, 2).s);
  if (k->order && (k->order->dtype != MOON_DTYPE_i64 || k->order->ndim != 1))
    moon__lua_fail(L, "take_rows: the order must be an i64 tensor of rank 1, got %s", moon__lua_describe(L, b, 4).s);
  k->n = k->to->shape[0];
  k->count = k->from->shape[0];
  int64_t most = k->order ? k->order->shape[0] : k->count;
  if (k->first < 0 || k->first > most || k->n > most - k->first)
    moon__lua_fail(L, "take_rows: rows %s to %s are wanted of %s", moon__lua_count(k->first + 1).s,
                   moon__lua_count(k->first + k->n).s, moon__lua_count(most).s);
  k->row_bytes = k->n > 0 ? moon_tensor_bytes(k->to) / (size_t)k->n : 0;
}

static void take_ordered(lua_State *L, const taking *k, char *to, const char *from) {
  const int64_t *order = (const int64_t *)(const void *)host_data(L, k->order, "the order");
  for (int64_t i = 0; i < k->n; i++) {
    int64_t row = order[k->first + i];
    if (row < 0 || row >= k->count)
      moon__lua_fail(L, "take_rows: row %s is out of range for %s rows", moon__lua_count(row).s, moon__lua_count(k->count).s);
    memcpy(to + (size_t)i * k->row_bytes, from + (size_t)row * k->row_bytes, k->row_bytes);
  }
}

/* core.take_rows(batch, x, first [, order]): the rows of x from position first on, or those that order names there, counted from 0;
** as many as the batch has. */
static int take_rows(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  taking k = {0};
  k.to = moon__lua_check(L, b, 1, MOON_LUA_TENSOR, "take_rows", "argument 1");
  k.from = moon__lua_check(L, b, 2, MOON_LUA_TENSOR, "take_rows", "argument 2");
  k.first = moon__lua_int(L, b, 3, "take_rows", "argument 3") - 1;
  if (!lua_isnoneornil(L, 4)) k.order = moon__lua_check(L, b, 4, MOON_LUA_TENSOR, "take_rows", "argument 4");
  check_taking(L, b, &k);
  moon__lua_no_origin(b);
  if (moon__tensor_writable(b->ctx, "take_rows", k.to) != MOON_OK) return moon__lua_raise(L, b);
  const char *from = host_data(L, k.from, "the data");
  char *to = moon_tensor_data(k.to);
  host_data(L, k.to, "the batch");
  if (k.n == 0 || k.row_bytes == 0) return 0;
  if (k.order) take_ordered(L, &k, to, from);
  else memcpy(to, from + (size_t)k.first * k.row_bytes, (size_t)k.n * k.row_bytes);
  return 0;
}

/* ---- hash({ x, .. }) ---- */

static uint64_t hash_word(uint64_t h, uint64_t word) {
  h = (h ^ word) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}

static uint64_t hash_bytes(uint64_t h, const char *data, size_t bytes) {
  uint64_t word;
  for (; bytes >= sizeof word; data += sizeof word, bytes -= sizeof word) {
    memcpy(&word, data, sizeof word);
    h = hash_word(h, word);
  }
  word = bytes;
  if (bytes > 0) memcpy(&word, data, bytes);
  return hash_word(h, word);
}

/* Of large tensors blocks that lie evenly, so that a hash takes no longer than some milliseconds. */
static uint64_t hash_data(uint64_t h, const char *data, size_t bytes) {
  enum { BLOCK = 65536, BLOCKS = 1024 };
  if (bytes <= (size_t)BLOCK * BLOCKS) return hash_bytes(h, data, bytes);
  size_t step = (bytes - BLOCK) / (BLOCKS - 1);
  for (size_t i = 0; i < BLOCKS; i++) h = hash_bytes(h, data + (i + 1 < BLOCKS ? i * step : bytes - BLOCK), BLOCK);
  return h;
}

/* Numbers that do not lie row after row in host memory are copied to a block of Lua's first. */
static const char *readable(lua_State *L, moon_bind *b, const moon_tensor *t) {
  size_t bytes = moon_tensor_bytes(t);
  const char *data = moon_tensor_data(t);
  if (bytes == 0 || (data && moon_tensor_is_dense(t))) return data;
  char *copy = moon__lua_newblock(L, bytes);
  moon__lua_no_origin(b);
  if (moon_tensor_read(b->ctx, t, t->dtype, copy, bytes) != MOON_OK) moon__lua_raise(L, b);
  return copy;
}

static uint64_t hash_tensor(lua_State *L, moon_bind *b, uint64_t h, const moon_tensor *t) {
  h = hash_word(h, (uint64_t)t->dtype);
  for (int i = 0; i < t->ndim; i++) h = hash_word(h, (uint64_t)t->shape[i]);
  return hash_data(h, readable(L, b, t), moon_tensor_bytes(t));
}

/* core.hash({ tensors }) -> 16 hexadecimal digits that depend on their dtypes, shapes and numbers. */
static int hash(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  char text[17];
  uint64_t h = 0;
  moon__lua_want_table(L, b, 1, "hash", "argument 1");
  for (int i = 1; i <= (int)moon__lua_rawlen(L, 1); i++) {
    lua_rawgeti(L, 1, i);
    h = hash_tensor(L, b, h, moon__lua_check(L, b, -1, MOON_LUA_TENSOR, "hash", "an entry"));
    lua_settop(L, 1);
  }
  snprintf(text, sizeof text, "%016llx", (unsigned long long)h);
  lua_pushstring(L, text);
  return 1;
}

const luaL_Reg moon__lua_rows_functions[] = {{"take_rows", take_rows}, {"hash", hash}, {NULL, NULL}};
