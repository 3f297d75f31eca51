/* tensor_table.h: between Lua tables and tensors, and one element at a time. */
#ifndef MOON_LUA_TENSOR_TABLE_H
#define MOON_LUA_TENSOR_TABLE_H
#include "bind.h"

/* One element of any dtype. */
typedef union moon_lua_element {
  uint8_t u8; /* bool too */
  int32_t i32;
  int64_t i64;
  float f32;
  double f64;
} moon_lua_element;

/* Pushes a Tensor made of the nested table, number or boolean at idx. dtype MOON_DTYPE_COUNT: bool for booleans, else f32. */
void moon__lua_tensor_from_table(lua_State *L, moon_bind *b, int idx, moon_dtype dtype, const char *who);
/* Writes the nested table at idx into t, whose shape it must have; t stays as it was when the table does not fit. Makes nothing where
** the host sees t, which something on the stack keeps alive. */
void moon__lua_write_table(lua_State *L, moon_bind *b, moon_tensor *t, int idx, const char *who);
/* Fills the nested table on top with the tensor's numbers, making the tables that are missing; rank at least 1. */
void moon__lua_fill_table(lua_State *L, moon_bind *b, const moon_tensor *t);
/* Pushes the nested table (rank 0: the number) of the tensor, which something on the stack keeps alive. */
void moon__lua_push_table(lua_State *L, moon_bind *b, const moon_tensor *t);
void moon__lua_push_element(lua_State *L, moon_dtype dtype, const void *element);
/* The number or boolean at idx as an element; raises when it does not fit dtype. */
moon_lua_element moon__lua_element(lua_State *L, const moon_bind *b, int idx, moon_dtype dtype, const char *who);
#endif
