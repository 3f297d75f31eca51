/*
** operand.h: what a script may give where an op takes a tensor: a Tensor, a Symbol, a Variable, a number or a boolean. An
** operand is read last, when no Lua memory will be allocated any more, and lives only until core has been called.
*/
#ifndef MOON_LUA_OPERAND_H
#define MOON_LUA_OPERAND_H
#include "bind.h"

typedef enum moon_operand_kind {
  MOON_OPERAND_TENSOR,
  MOON_OPERAND_SYMBOL,
  MOON_OPERAND_VARIABLE,
  MOON_OPERAND_NUMBER,
  MOON_OPERAND_BOOLEAN,
} moon_operand_kind;
typedef struct moon_operand {
  moon_operand_kind kind;
  moon_dtype dtype; /* of numbers: set by the caller before use */
  bool whole;       /* a number that is an int64 */
  int64_t i;
  double d;
  void *ptr;
} moon_operand;

/* False when the value at idx is nothing of that kind. */
bool moon__lua_operand(lua_State *L, const moon_bind *b, int idx, moon_operand *o);
/* The same, but raises "who: what must be a tensor or a number, got ...". */
void moon__lua_want_operand(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what, moon_operand *o);
/* Gives a number the dtype of the tensor beside it (MOON_DTYPE_COUNT: there is none), or raises when its value does not fit. */
void moon__lua_number_dtype(lua_State *L, const char *who, moon_operand *o, moon_dtype beside);
/* The operand as a value, in the current scope; NULL after an error in the context. frozen: a tensor becomes a constant of a graph
** and cannot be written any more. Cannot raise. */
moon_value *moon__lua_value(moon_bind *b, const moon_operand *o, bool frozen);
/* Does building with this operand make a graph (rather than numbers at once)? */
bool moon__lua_is_symbolic(const moon_bind *b, const moon_operand *o);
/* Is a function being traced, so that variables and random ops are symbolic? */
bool moon__lua_in_trace(const moon_bind *b);
/* The same, but nothing is computed meanwhile: values have no numbers. */
bool moon__lua_is_building(const moon_bind *b);
/* Tensors that mix with symbols are frozen, but not in eager mode. */
bool moon__lua_freezes(const moon_bind *b);
/* n rows of the table at idx as operands, all of them symbolic or turned into values; see control.c and graph.c. Returns the values
** in a list of symbols pushed on the stack. A value that is not a table counts as a list of one. */
moon_lua_list *moon__lua_values(lua_State *L, moon_bind *b, int idx, const char *who, const char *what);
#endif
