/*
** ticket.c: the Ticket object: a run in the background. ticket:done() never waits; where nobody may run it in the background it
** does a slice instead. ticket:result() waits, and raises the run's error. What the run gives is put into the Tensors when one of
** them finds it over. A ticket that is collected, or whose state closes, is cancelled.
*/
#include "ticket.h"

#include "args.h"
#include "program.h"
#include "tensor.h"

#define SLICE_US 500 /* of done, where nobody runs it in the background */

static const char kept_key = 0; /* registry: ticket -> what it keeps alive; weak keys */

void moon__lua_ticket_open(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  moon__lua_setkey(L, &kept_key);
}

moon_lua_ticket *moon__lua_ticket_push(lua_State *L, int nout) {
  moon_lua_ticket *t = moon__lua_newblock(L, sizeof *t);
  t->head = (moon_object){0};
  t->failed = false;
  t->nout = nout;
  moon__lua_getkey(L, &kept_key);
  lua_pushvalue(L, -2);
  lua_pushvalue(L, -4);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_remove(L, -2);
  return t;
}

static moon_lua_ticket *self(lua_State *L, const moon_bind *b, const char *who) {
  return moon__lua_check(L, b, 1, MOON_LUA_TICKET, who, "argument 1");
}

static void push_kept(lua_State *L) {
  moon__lua_getkey(L, &kept_key);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* The run, which lets go of everything, goes back to its program, for the next start. */
static void give_back(lua_State *L, const moon_bind *b, moon_lua_ticket *t, int kept) {
  moon_run_cancel(b->ctx, t->head.holding->run);
  lua_rawgeti(L, kept, 1);
  moon_lua_program *p = moon__lua_kind(L, b, -1) == MOON_LUA_PROGRAM ? lua_touserdata(L, -1) : NULL;
  if (p && p->head.ptr && !p->head.holding->spare) p->head.holding->spare = t->head.holding->run;
  else moon_run_release(t->head.holding->run);
  t->head.holding->run = NULL;
  lua_pop(L, 1);
}

/* Outputs that the caller did not give become Tensors. */
static size_t own_outputs(lua_State *L, moon_bind *b, const moon_lua_ticket *t, int kept) {
  size_t bytes = 0;
  for (int i = 0; i < t->nout; i++) {
    lua_rawgeti(L, kept, i + 2);
    if (moon__lua_kind(L, b, -1) == MOON_LUA_OTHER) {
      moon_tensor *y = moon_tensor_retain(moon_run_result(t->head.holding->run, i));
      moon__lua_own(L, b, -1, MOON_LUA_TENSOR, y);
      bytes += moon_tensor_bytes(y);
    }
    lua_pop(L, 1);
  }
  return bytes;
}

static void note_error(lua_State *L, moon_lua_ticket *t, int kept, const char *message) {
  t->failed = true;
  lua_pushstring(L, message);
  lua_setfield(L, kept, "error");
}

/* Looks whether the run is over; budget_us 0 waits for it. Leaves the kept table on top. */
static void look(lua_State *L, moon_bind *b, moon_lua_ticket *t, double budget_us) {
  bool done = false;
  push_kept(L);
  int kept = lua_gettop(L);
  if (!t->head.holding->run) return;
  moon__lua_no_origin(b);
  moon_status status = moon_run_step(b->ctx, t->head.holding->run, budget_us, &done);
  if (status == MOON_OK && !done) return;
  size_t bytes = status == MOON_OK ? own_outputs(L, b, t, kept) : 0;
  give_back(L, b, t, kept);
  if (status != MOON_OK) note_error(L, t, kept, moon_error(b->ctx));
  else moon__lua_account(L, b, bytes);
}

/*: Ticket:done([budget_us]) -> boolean. Is the run in the background over? Where nobody may run it in the background it does a
** slice of the work, of so many microseconds. */
static int is_done(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_ticket *t = self(L, b, "done");
  double budget_us = lua_isnoneornil(L, 2) ? SLICE_US : moon__lua_num(L, b, 2, "done", "budget_us");
  if (!(budget_us > 0)) return moon__lua_fail(L, "done: budget_us must be more than 0, got %s", moon__lua_describe(L, b, 2).s);
  look(L, b, t, budget_us);
  lua_pushboolean(L, !t->head.holding->run);
  return 1;
}

/*: Ticket:result() -> Tensor. Waits for its end where it must, and gives the outputs, or raises its error. */
static int result(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_ticket *t = self(L, b, "result");
  look(L, b, t, 0);
  int kept = lua_gettop(L);
  if (t->failed) {
    lua_getfield(L, kept, "error");
    return moon__lua_throw(L);
  }
  luaL_checkstack(L, t->nout + 2, "too many outputs");
  for (int i = 0; i < t->nout; i++) lua_rawgeti(L, kept, i + 2);
  return t->nout;
}

/*: Ticket:cancel(). Stops it; nothing of it has happened unless it was over. */
static int cancel(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_ticket *t = self(L, b, "cancel");
  if (!t->head.holding->run) return 0;
  push_kept(L);
  give_back(L, b, t, lua_gettop(L));
  note_error(L, t, lua_gettop(L), "result: the run was cancelled");
  return 0;
}

static int to_text(lua_State *L) {
  const moon_bind *b = moon__lua_bind(L);
  const moon_lua_ticket *t = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) != MOON_LUA_TICKET || !t->head.ptr) lua_pushliteral(L, "Ticket (released)");
  else lua_pushfstring(L, "Ticket (%s)", t->failed ? "failed" : t->head.holding->run ? "running" : "done");
  return 1;
}

static const luaL_Reg methods[] = {{"done", is_done}, {"result", result}, {"cancel", cancel}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", to_text}, {NULL, NULL}};

const moon_lua_class moon__lua_ticket_class = {.kind = MOON_LUA_TICKET, .methods = methods, .metamethods = metamethods};
