/*
** states.c: Lua states come and go in one process, as in a game that reloads its scripts. 200 times a state is opened, requires the
** module, builds, trains, leaves objects of every kind in every order, also in the middle of a run in slices, and is closed. Lua
** itself is found by dlopen, so that this program needs no header of it. Arguments: the folder of moonlet.so, the rounds.
*/
#include <stdio.h>
#include <stdlib.h>

#include "lua_api.h"


static const char script[] =
    "package.cpath = BUILD .. '/?.so;' .. package.cpath\n"
    "local ml = require 'moonlet'\n"
    "local core = require 'moonlet.core'\n"
    "local v = ml.variable(core.ones { 16, 16 })\n"
    "local x = core.placeholder('x', 'f32', { core.dim 'n', 16 })\n"
    "core.trace_begin()\n"
    "local loss = (x:matmul(v):tanh():matmul(v)):mean()\n"
    "v:assign(v - core.gradients(loss, { v })[1] * 0.1)\n"
    "local effects = core.trace_effects()\n"
    "core.trace_end()\n"
    "local g = core.graph({ x }, { loss }, effects)\n"
    "local p = g:program { mode = 'train', inputs = { { shape = { 4, 16 } } } }\n"
    "local before = p:run { core.ones { 4, 16 } }:item()\n"
    "for _ = 1, 3 do p:run { core.ones { 4, 16 } } end\n"
    "assert(p:run { core.ones { 4, 16 } }:item() < before)\n"
    "if ROUND % 3 == 0 then keep = { p, g, v, x } end\n"
    "if ROUND % 3 == 1 then p:run { core.ones { 4, 16 }, budget_us = 0.001 } keep = p end\n"
    "if ROUND % 4 == 1 then core.eager_push() keep2 = v + 1 end\n"
    "if ROUND % 5 == 1 then core.trace_begin() keep3 = v * 2 end\n"
    "if ROUND % 7 == 1 then coroutine.wrap(function() keep4 = core.uniform { 8 } coroutine.yield() end)() end\n";

static int run(const lua_api *api, lua_State *L, const char *text) {
  if (lua_api_run(api, L, text) == 0) return 0;
  printf("failed: %s\n", api->tolstring(L, -1, NULL));
  return 1;
}

static int one_round(const lua_api *api, const char *build, int round) {
  char head[1024];
  lua_State *L = api->newstate(lua_api_alloc, NULL);
  int result;
  if (!L) return 1;
  snprintf(head, sizeof head, "BUILD, ROUND = [[%s]], %d", build, round);
  api->openlibs(L);
  result = run(api, L, head) || run(api, L, script);
  api->close(L);
  return result;
}

/* Two states at once, closed in the order they were opened. */
static int two(const lua_api *api, const char *build) {
  char head[1024];
  lua_State *a = api->newstate(lua_api_alloc, NULL), *b = api->newstate(lua_api_alloc, NULL);
  int result;
  if (!a || !b) return 1;
  snprintf(head, sizeof head, "BUILD, ROUND = [[%s]], 0", build);
  api->openlibs(a);
  api->openlibs(b);
  result = run(api, a, head) || run(api, b, head) || run(api, a, script) || run(api, b, script);
  api->close(a);
  result = result || run(api, b, "assert(keep[1]:run { keep[3]:read():slice(1, 1, 4) })");
  api->close(b);
  return result;
}

/* Resident pages of this process; 0 when the system does not tell. */
static long resident(void) {
  long size = 0, pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
  if (f) fclose(f);
  return pages;
}

int main(int argc, char **argv) {
  const char *build = argc > 1 ? argv[1] : "build";
  int rounds = argc > 2 ? atoi(argv[2]) : 200;
  long early = 0;
  lua_api api;
  if (!lua_api_open(&api)) {
    printf("none: no liblua5.4 to load\n");
    return 0;
  }
  for (int i = 0; i < rounds; i++) {
    if (one_round(&api, build, i)) return 1;
    if (i == rounds / 4) early = resident();
  }
  if (two(&api, build)) return 1;
  printf("ok: %d states, %ld pages more after the first quarter\n", rounds, resident() - early);
  return 0;
}
