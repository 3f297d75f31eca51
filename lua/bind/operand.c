/*
** operand.c: Lua values where ops take tensors; see operand.h. A Lua number takes the dtype of the tensor beside it by its
** value, so that integers stay integers; a fraction beside integers is an error, except for ops that turn integers into floats
** anyway.
*/
#include "operand.h"

#include <stdio.h>

#include "args.h"
#include "base/shape.h"
#include "tensor/tensor.h"
#include "tensor_table.h"

bool moon__lua_in_trace(const moon_bind *b) { return b->ctx->ntraces > 0 || b->bodies > 0; }
bool moon__lua_is_building(const moon_bind *b) { return moon__lua_in_trace(b) && b->ctx->eager_depth == 0; }
bool moon__lua_freezes(const moon_bind *b) { return b->ctx->eager_depth == 0; }

static bool read_object(lua_State *L, const moon_bind *b, int idx, moon_operand *o) {
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  const moon_object *object = lua_touserdata(L, idx);
  if (kind != MOON_LUA_TENSOR && kind != MOON_LUA_SYMBOL && kind != MOON_LUA_VARIABLE) return false;
  if (!object->ptr) moon__lua_fail(L, "%s was released", moon__lua_kind_name(kind));
  o->ptr = object->ptr;
  if (kind == MOON_LUA_TENSOR) {
    o->kind = MOON_OPERAND_TENSOR;
    o->dtype = moon_tensor_dtype(o->ptr);
  } else if (kind == MOON_LUA_SYMBOL) {
    o->kind = MOON_OPERAND_SYMBOL;
    o->dtype = moon_value_dtype(o->ptr);
  } else {
    o->kind = MOON_OPERAND_VARIABLE;
    o->dtype = moon_variable_type(o->ptr).dtype;
  }
  return true;
}

bool moon__lua_operand(lua_State *L, const moon_bind *b, int idx, moon_operand *o) {
  switch (lua_type(L, idx)) {
    case LUA_TUSERDATA: return read_object(L, b, idx, o);
    case LUA_TNUMBER:
      o->kind = MOON_OPERAND_NUMBER;
      o->dtype = MOON_DTYPE_f32;
      o->ptr = NULL;
      o->d = (double)lua_tonumber(L, idx);
      o->i = 0;
      o->whole = moon__lua_toint64(L, idx, &o->i);
      return true;
    case LUA_TBOOLEAN:
      *o = (moon_operand){.kind = MOON_OPERAND_BOOLEAN, .dtype = MOON_DTYPE_bool, .whole = true, .i = lua_toboolean(L, idx)};
      return true;
    default: return false;
  }
}

void moon__lua_want_operand(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what, moon_operand *o) {
  if (!moon__lua_operand(L, b, idx, o))
    moon__lua_fail(L, "%s: %s must be a tensor or a number, got %s", who, what, moon__lua_describe(L, b, idx).s);
}

/* ---- numbers ---- */

static bool fits_integer(const moon_operand *o, moon_dtype d) {
  if (!o->whole) return false;
  switch (d) {
    case MOON_DTYPE_u8: return o->i >= 0 && o->i <= UINT8_MAX;
    case MOON_DTYPE_i32: return o->i >= INT32_MIN && o->i <= INT32_MAX;
    default: return true;
  }
}

void moon__lua_number_dtype(lua_State *L, const char *who, moon_operand *o, moon_dtype beside) {
  char shown[32];
  if (o->kind != MOON_OPERAND_NUMBER) return;
  o->dtype = beside;
  if (beside == MOON_DTYPE_COUNT) o->dtype = MOON_DTYPE_f32;
  if (beside == MOON_DTYPE_bool) o->dtype = fits_integer(o, MOON_DTYPE_i32) ? MOON_DTYPE_i32 : MOON_DTYPE_f32;
  if (moon__dtype_is_float(o->dtype) || fits_integer(o, o->dtype)) return;
  snprintf(shown, sizeof shown, "%.14g", o->d);
  moon__lua_fail(L, "%s: the number %s does not fit %s, the dtype of the tensor beside it; cast one of them", who, shown,
                 moon_dtype_name(o->dtype));
}

static moon_lua_element store_number(const moon_operand *o) {
  moon_lua_element n = {.i64 = 0};
  if (moon__dtype_is_float(o->dtype)) moon__convert(&n, o->dtype, &o->d, MOON_DTYPE_f64);
  else moon__convert(&n, o->dtype, &o->i, MOON_DTYPE_i64);
  return n;
}

/* ---- values ---- */

static moon_value *loose_constant(moon_context *ctx, moon_tensor *t) {
  moon_node_spec spec = {.op = moon__ops[MOON_OP_constant], .tensor = t, .raw = true};
  return moon__node_build(ctx, &spec);
}

static moon_value *number_value(moon_context *ctx, const moon_operand *o) {
  moon_lua_element number = store_number(o);
  moon_tensor *t = moon_tensor_from(ctx, o->dtype, 0, NULL, &number);
  moon_value *v;
  if (!t) return NULL;
  v = loose_constant(ctx, t);
  moon_tensor_release(t);
  return v;
}

moon_value *moon__lua_value(moon_bind *b, const moon_operand *o, bool frozen) {
  switch (o->kind) {
    case MOON_OPERAND_TENSOR: return frozen ? moon_constant(b->ctx, o->ptr) : loose_constant(b->ctx, o->ptr);
    case MOON_OPERAND_SYMBOL: return o->ptr;
    case MOON_OPERAND_VARIABLE: return moon_variable_value(b->ctx, o->ptr);
    default: return number_value(b->ctx, o);
  }
}

bool moon__lua_is_symbolic(const moon_bind *b, const moon_operand *o) {
  return o->kind == MOON_OPERAND_SYMBOL || (o->kind == MOON_OPERAND_VARIABLE && moon__lua_in_trace(b));
}

/* ---- lists ---- */

static void fill_values(lua_State *L, moon_bind *b, moon_lua_list *list, int idx, const char *who, const char *what) {
  bool single = lua_type(L, idx) != LUA_TTABLE;
  moon_operand o;
  moon__lua_origin(L, b);
  for (int i = 0; i < list->n; i++) {
    if (single) lua_pushvalue(L, idx);
    else lua_rawgeti(L, idx, i + 1);
    moon__lua_want_operand(L, b, -1, who, what, &o);
    moon_scope_open(b->ctx);
    list->item[i] = moon_value_retain(moon__lua_value(b, &o, moon__lua_freezes(b)));
    moon_scope_close(b->ctx);
    if (!list->item[i]) moon__lua_raise(L, b);
    lua_pop(L, 1);
  }
}

moon_lua_list *moon__lua_values(lua_State *L, moon_bind *b, int idx, const char *who, const char *what) {
  moon_lua_list *list;
  size_t n = lua_type(L, idx) == LUA_TTABLE ? moon__lua_rawlen(L, idx) : 1;
  idx = moon__lua_absindex(L, idx);
  if (lua_isnoneornil(L, idx)) n = 0;
  if (n > MOON_LUA_LIST_MAX)
    moon__lua_fail(L, "%s: %s has %d entries, at most %d are possible", who, what, (int)n, MOON_LUA_LIST_MAX);
  list = moon__lua_list(L, b, MOON_LUA_SYMBOL, (int)n);
  fill_values(L, b, list, idx, who, what);
  return list;
}
