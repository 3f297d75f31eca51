/*
** args.h: Lua values read as plain C values: whole numbers, dims, shapes, axes, dtypes, and the attributes of ops by their rows.
** Nothing here keeps or makes a native object. who names the function in messages, what the argument.
*/
#ifndef MOON_LUA_ARGS_H
#define MOON_LUA_ARGS_H
#include "bind.h"

int64_t moon__lua_int(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
double moon__lua_num(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
const char *moon__lua_str(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
bool moon__lua_flag(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
void moon__lua_want_table(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
void moon__lua_want_function(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
moon_dtype moon__lua_dtype(lua_State *L, const moon_bind *b, int idx, const char *who);
/* A size >= 0, or a Dim. */
moon_dim moon__lua_size(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
/* A table of sizes, or one size. wild: one -1 may stand among them. */
void moon__lua_shape(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what, bool wild, moon_shape *shape);
/* An axis as the script counts (from 1, negative from the end) -> as core counts (from 0, negative from the end). */
int64_t moon__lua_axis(lua_State *L, const moon_bind *b, int idx, const char *who, const char *what);
void moon__lua_push_dim(lua_State *L, moon_bind *b, moon_dim d);
void moon__lua_push_shape(lua_State *L, moon_bind *b, const moon_shape *shape);

/* Reads the value at idx into attrs as row says. *symbolic is set when a Dim came. */
void moon__lua_attr(lua_State *L, const moon_bind *b, const moon_op *op, const moon_attr *row, int idx, void *attrs,
                    bool *symbolic);
/* Does the table at idx have a string key (then it names options)? */
bool moon__lua_is_options(lua_State *L, int idx);
/* Gets options[name] on top; true when it is not nil (else nothing is pushed). */
bool moon__lua_option(lua_State *L, int idx, const char *name);
/* Raises when the table at idx has a key that is not in names (ended by NULL). array: keys 1, 2, .. are fine. */
void moon__lua_known_keys(lua_State *L, const moon_bind *b, int idx, const char *who, const char *const *names, bool array);
#endif
