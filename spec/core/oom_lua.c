/*
** oom_lua.c: every allocation fails, in Lua. A state whose allocator and library share one hostile hook requires the module, builds,
** trains, saves to a string, loads and trains on, with the n-th call failing, once, or it and all after it. Each time there is a
** Lua error or the right result, the same state then does it all again to the same result, and at the end every block is back.
** Arguments: the folder of moonlet.so; the number of points of failure to try, 0 for all of them; part and parts: of these points
** only every parts-th, from part on (0, ..).
*/
#include <stdio.h>
#include <stdlib.h>

#include "lua_api.h"
#include "moonlet.h"

typedef struct hostile {
  long calls, fail_at, blocks; /* fail_at 0: never */
  bool for_good;
} hostile;

static void *hostile_alloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  hostile *h = user;
  void *fresh;
  if (new_bytes == 0) {
    if (block) h->blocks--;
    if (block) memset(block, 0xdd, old_bytes); /* who still uses it shall notice */
    free(block);
    return NULL;
  }
  h->calls++;
  if (h->fail_at && (h->for_good ? h->calls >= h->fail_at : h->calls == h->fail_at) && (!block || new_bytes > old_bytes)) return NULL;
  fresh = realloc(block, new_bytes);
  if (!block && fresh) h->blocks++;
  return fresh;
}

/* Lua gives the kind of object as the old size of a new block. */
static void *lua_hostile_alloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  return hostile_alloc(user, block, block ? old_bytes : 0, new_bytes);
}

typedef struct library {
  lua_api lua;
  lua_api_runtimes runtimes;
  const char *build;
  long points, part, parts;
} library;

static const char require[] = "package.cpath = BUILD .. '/?.so;' .. package.cpath ml = require 'moonlet'\n";
static const char script[] =
    "local core = require 'moonlet.core'\n"
    "local nn = ml.nn\n"
    "local function train(model, x, y)\n"
    "  local loss\n"
    "  for _ = 1, 2 do loss = model:train_on_batch(x, y).loss end\n"
    "  local done, logs\n"
    "  repeat done, logs = model:train_on_batch(x, y, { budget_us = 20 }) until done\n"
    "  return loss + logs.loss\n"
    "end\n"
    "function WORK()\n"
    "  ml.seed(1)\n"
    "  local x, y = ml.uniform { 4, 3 }, ml.integers({ 4 }, 0, 2)\n"
    "  local model = ml.Sequential { nn.Dense { 5, activation = 'tanh' }, nn.Dropout { 0.2 }, nn.Dense { 2 } }\n"
    "  model:compile { optimizer = 'adam', loss = 'sparse_categorical_crossentropy', metrics = { 'accuracy' } }\n"
    "  local sum = train(model, x, y)\n"
    "  local copy = ml.deserialize(model:serialize())\n"
    "  return sum + train(copy, x, y) + copy:predict(x):sum():item()\n"
    "end\n"
    "WANT = WORK()\n"
    "function TRY() local ok, result = pcall(WORK) FAILED = not ok and tostring(result) or nil RESULT = result end\n"
    "function AFTER()\n"
    "  if FAILED and not FAILED:find 'memory' then error('another error: ' .. FAILED, 0) end\n"
    "  if not FAILED and RESULT and RESULT ~= WANT then error('another result: ' .. RESULT .. ', ' .. WANT, 0) end\n"
    "  FAILED, RESULT = nil, nil\n"
    "  local again = WORK()\n"
    "  if again ~= WANT then error('the state does not go on: ' .. again .. ', ' .. WANT, 0) end\n"
    "end\n";

static int fail(const library *l, lua_State *L, const char *what, long n) {
  printf("failed: %s at %ld: %s\n", what, n, L ? l->lua.tolstring(L, -1, NULL) : "");
  return 1;
}

/* A state that has the hostile runtime; NULL: memory is out. */
static lua_State *open_state(const library *l, hostile *h, moon_runtime *runtime) {
  long fail_at = h->fail_at;
  h->fail_at = 0; /* Lua's own start is not ours to prove */
  lua_State *L = l->lua.newstate(lua_hostile_alloc, h);
  if (!L) return NULL;
  lua_api_prepare(&l->lua, L, l->build, runtime);
  h->fail_at = fail_at ? h->calls + fail_at : 0;
  return L;
}

static moon_runtime *open_runtime(const library *l, hostile *h) {
  const moon_host host = {.user = h, .realloc = hostile_alloc, .threads = 1};
  return l->runtimes.make(&host);
}

/* Loading the module fails at call n. 1: failed, 0: fine, -1: nothing failed any more. */
static int try_require(const library *l, long n, bool for_good) {
  hostile h = {.for_good = for_good};
  moon_runtime *runtime = open_runtime(l, &h);
  h.fail_at = n;
  lua_State *L = open_state(l, &h, runtime);
  long begin = h.calls;
  int status = lua_api_run(&l->lua, L, require), result = 0;
  if (status == 0 && h.calls - begin < n) result = -1;
  h.fail_at = 0;
  l->lua.settop(L, 0);
  if (result == 0 && (lua_api_run(&l->lua, L, require) || lua_api_run(&l->lua, L, script)))
    result = fail(l, L, "the module does not load afterwards", n);
  l->lua.close(L);
  l->runtimes.release(runtime);
  return h.blocks ? fail(l, NULL, "blocks are left by require", n) : result;
}

static int try_work(const library *l, lua_State *L, hostile *h, long n, bool for_good) {
  long begin = h->calls;
  h->for_good = for_good;
  h->fail_at = begin + n;
  int status = lua_api_run(&l->lua, L, "TRY()");
  bool reached = h->calls >= h->fail_at;
  h->fail_at = 0;
  l->lua.settop(L, 0);
  (void)status; /* loading the chunk itself may have failed */
  if (lua_api_run(&l->lua, L, "AFTER()")) return fail(l, L, "after", n);
  l->lua.settop(L, 0);
  return reached ? 0 : -1;
}

/* Of what require allocates nearly each of the first and ever fewer of the many later calls, or all; each fails once, and for good. */
static int try_requires(const library *l) {
  long i = 0;
  for (long n = 1;; n += l->points ? 41 + n / 8 : 1, i++) {
    if (i % l->parts != l->part) continue;
    int once = try_require(l, n, false), for_good = once == 0 ? try_require(l, n, true) : 0;
    if (once > 0 || for_good > 0) return 1;
    if (once < 0) return 0;
  }
}

/* Points spread over what WORK allocates; each fails once, and for good. */
static int try_all(const library *l) {
  hostile h = {0};
  moon_runtime *runtime = open_runtime(l, &h);
  lua_State *L = open_state(l, &h, runtime);
  if (lua_api_run(&l->lua, L, require) || lua_api_run(&l->lua, L, script)) return fail(l, L, "the script", 0);
  long begin = h.calls;
  lua_api_run(&l->lua, L, "TRY()");
  long all = h.calls - begin, tried = 0, stride = l->points && all / l->points > 1 ? all / l->points : 1;
  for (long n = 1 + l->part * stride; n <= all; n += stride * l->parts, tried++) {
    if (try_work(l, L, &h, n, false) > 0 || try_work(l, L, &h, n, true) > 0) return 1;
  }
  /* Where memory is out for good Lua drops finalizers that it cannot call, which adds up from point to point. */
  for (long n = 100; l->points && n <= 364; n += 2, tried++) {
    if (try_work(l, L, &h, n, true) > 0) return 1;
  }
  l->lua.close(L);
  l->runtimes.release(runtime);
  if (h.blocks) return fail(l, NULL, "blocks are left", h.blocks);
  printf("ok: %ld points of %ld\n", tried, all);
  return 0;
}

int main(int argc, char **argv) {
  library l = {.build = argc > 1 ? argv[1] : "build", .points = argc > 2 ? atol(argv[2]) : 20, .parts = 1};
  if (!lua_api_open(&l.lua)) {
    printf("none: no liblua5.4 to load\n");
    return 0;
  }
  if (!lua_api_runtimes_open(&l.runtimes, l.build)) return fail(&l, NULL, "no library", 0);
  if (argc > 4) l.part = atol(argv[3]), l.parts = atol(argv[4]);
  return try_requires(&l) || try_all(&l);
}
