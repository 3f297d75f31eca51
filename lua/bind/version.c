/*
** version.c: which Lua has loaded the module, found out by which functions it has. This file alone sees no header of Lua: the
** names below stand for addresses only and are never called. In the module they are weak, as every function of Lua is there, so
** that a Lua that lacks some can load the module far enough to be told. Nothing else of Lua may be called before
** moon__lua_version was asked, except luaL_error, which all have.
*/
#include "version.h"

extern void lua_newuserdatauv(void) __attribute__((weak)); /* since 5.4 */
extern void lua_rotate(void) __attribute__((weak));        /* since 5.3 */
extern void lua_rawlen(void) __attribute__((weak));        /* since 5.2 */

int moon__lua_version(void) {
  if (lua_newuserdatauv) return 504;
  if (lua_rotate) return 503;
  return lua_rawlen ? 502 : 501;
}
