/* op.h: ops as Lua functions, methods and operators, all derived from the op table. */
#ifndef MOON_LUA_OP_H
#define MOON_LUA_OP_H
#include "bind.h"

/* Adds to the table on top: a function for every op that is not internal; the methods; the arithmetic metamethods. */
void moon__lua_op_functions(lua_State *L, int bind_idx);
void moon__lua_op_methods(lua_State *L, int bind_idx);
void moon__lua_op_metamethods(lua_State *L, int bind_idx);
/* Pushes the function of one op. */
void moon__lua_push_op(lua_State *L, int bind_idx, const moon_op *op);
/* Name of input i of op, as op->input_names has it; "input" when it has none. */
moon_lua_text moon__lua_input_name(const moon_op *op, int i);
#endif
