/* ticket.h: Tickets: runs in the background, made by program:start. */
#ifndef MOON_LUA_TICKET_H
#define MOON_LUA_TICKET_H
#include "bind.h"

typedef struct moon_lua_ticket {
  moon_object head; /* ptr: the ticket itself, while it is not released */
  bool failed;
  int nout;
} moon_lua_ticket;

/* Pushes a ticket that owns nothing yet. What it keeps alive is the table on top before: { program, out1, .. }, an entry per
** output: a Tensor, or an empty block that becomes one. Pops that table. */
moon_lua_ticket *moon__lua_ticket_push(lua_State *L, int nout);
void moon__lua_ticket_open(lua_State *L); /* once per state */

extern const moon_lua_class moon__lua_ticket_class;
#endif
