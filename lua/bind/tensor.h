/* tensor.h: the numbers behind a Tensor, a Symbol or a Variable, and the functions that Tensors, Symbols and Variables share. */
#ifndef MOON_LUA_TENSOR_H
#define MOON_LUA_TENSOR_H
#include "bind.h"

/* Pushes a Tensor with the numbers of the Tensor, Symbol (which has some in eager mode) or Variable at idx, and returns it. Raises
** for a Variable while a function is traced; the second form gives what it holds now even then. */
moon_tensor *moon__lua_numbers(lua_State *L, moon_bind *b, int idx, const char *who);
moon_tensor *moon__lua_numbers_now(lua_State *L, moon_bind *b, int idx, const char *who);
/* Writes the table, tensor, number or boolean at idx into t, which something on the stack keeps alive. */
void moon__lua_set(lua_State *L, moon_bind *b, moon_tensor *t, int idx, const char *who);
/* Pushes t, taking over the caller's reference; b->ctx holds the error when t is NULL. block_idx: a block made before. */
void moon__lua_push_tensor(lua_State *L, moon_bind *b, int block_idx, moon_tensor *t, size_t bytes);

/* tensor.c, tensor_index.c, print.c: functions with the bind as upvalue 1. */
int moon__lua_tensor_tostring(lua_State *L);
int moon__lua_item(lua_State *L);
int moon__lua_totable(lua_State *L);
int moon__lua_iter(lua_State *L);
int moon__lua_slice(lua_State *L);
int moon__lua_index_at(lua_State *L); /* (t, i) -> t[i] */
int moon__lua_newindex(lua_State *L); /* (t, i, v) */
/* Pushes the text of a tensor: header such as "Tensor f32", then shape and values. */
void moon__lua_push_print(lua_State *L, moon_bind *b, const moon_tensor *t, const char *header);

extern const luaL_Reg moon__lua_tensor_functions[], moon__lua_shared_methods[];
extern const moon_lua_class moon__lua_tensor_class;
#endif
