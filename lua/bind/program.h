/* program.h: Programs: a graph compiled for concrete sizes, run whole or in slices. */
#ifndef MOON_LUA_PROGRAM_H
#define MOON_LUA_PROGRAM_H
#include "bind.h"

typedef struct moon_lua_program {
  moon_object head; /* ptr: moon_program */
  bool running;     /* a sliced run has begun and is not done */
  int nin, nout;
  moon_type in[]; /* [nin] */
} moon_lua_program;

/* Forgets what a run in slices keeps alive. */
void moon__lua_program_forget(lua_State *L, int idx);
int moon__lua_compile(lua_State *L); /* graph:program{...} */
/* Adds run and start to the methods of the table on top: their closures keep the names of their options. */
void moon__lua_program_methods(lua_State *L, int bind_idx);

extern const luaL_Reg moon__lua_program_functions[];
extern const moon_lua_class moon__lua_program_class;
#endif
