/*
** threads.c: Lua states on threads of their own, as in an engine with a script per thread. Each opens a state, requires the module,
** trains a model and infers, again and again, first with a runtime of its own, then with one that all share, and must get the
** numbers that one thread alone gets. Arguments: the folder of moonlet.so, the rounds of each thread.
*/
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lua_api.h"
#include "moonlet.h"

#define THREADS 2

static const char script[] =
    "package.cpath = BUILD .. '/?.so;' .. package.cpath\n"
    "local ml = require 'moonlet'\n"
    "local nn = ml.nn\n"
    "ml.seed(1)\n"
    "local x, y = ml.randn { 16, 8 }, ml.integers({ 16 }, 0, 3)\n"
    "local model = ml.Sequential { nn.Dense { 32, activation = 'tanh' }, nn.Dropout { 0.2 }, nn.Dense { 3 } }\n"
    "model:compile { optimizer = 'adam', loss = 'sparse_categorical_crossentropy' }\n"
    "local sum = 0\n"
    "for _ = 1, 5 do sum = sum + model:train_on_batch(x, y).loss + model:predict(x):sum():item() end\n"
    "local ticket = model:train_on_batch(x, y, { background = true })\n"
    "while not ticket:done() do end\n"
    "return ('%.17g'):format(sum + ticket:result().loss)\n";

typedef struct library {
  lua_api lua;
  void (*setfield)(lua_State *, int, const char *);
  void (*pushlightuserdata)(lua_State *, void *);
  moon_runtime *(*runtime_new)(const moon_host *);
  void (*runtime_release)(moon_runtime *);
  const char *build;
} library;

typedef struct job {
  const library *l;
  moon_runtime *runtime; /* NULL: each state has its own */
  int rounds;
  char result[64]; /* what every round gave; else what went wrong */
} job;

static void *plain_alloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  (void)user;
  (void)old_bytes;
  if (new_bytes) return realloc(block, new_bytes);
  free(block);
  return NULL;
}

static void live_once(const job *j, char result[64]) {
  const library *l = j->l;
  char head[1024];
  lua_State *L = l->lua.newstate(plain_alloc, NULL);
  l->lua.openlibs(L);
  if (j->runtime) {
    l->pushlightuserdata(L, j->runtime);
    l->setfield(L, -1001000, MOON_LUA_RUNTIME); /* LUA_REGISTRYINDEX */
  }
  snprintf(head, sizeof head, "BUILD = [[%s]]", l->build);
  if (lua_api_run(&l->lua, L, head) == 0 && l->lua.load(L, script) == 0) l->lua.pcall(L, 0, 1, 0, 0, NULL);
  snprintf(result, 64, "%s", l->lua.tolstring(L, -1, NULL));
  l->lua.close(L);
}

static void *work(void *arg) {
  job *j = arg;
  live_once(j, j->result);
  for (int i = 1; i < j->rounds; i++) {
    char again[64];
    live_once(j, again);
    if (strcmp(again, j->result) != 0) memcpy(j->result, "rounds differ", sizeof "rounds differ");
  }
  return NULL;
}

/* 0 when every thread got what is wanted. */
static int on_threads(const library *l, moon_runtime *runtime, int rounds, const char *want) {
  pthread_t threads[THREADS];
  job jobs[THREADS];
  int bad = 0;
  for (int i = 0; i < THREADS; i++) {
    jobs[i] = (job){.l = l, .runtime = runtime, .rounds = rounds};
    if (pthread_create(&threads[i], NULL, work, &jobs[i]) != 0) return printf("failed: no thread\n");
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    if (strcmp(jobs[i].result, want) != 0) bad = printf("failed: %s runtime: %s, %s\n", runtime ? "one" : "own", jobs[i].result, want);
  }
  return bad;
}

int main(int argc, char **argv) {
  library l = {.build = argc > 1 ? argv[1] : "build"};
  int rounds = argc > 2 ? atoi(argv[2]) : 10;
  char path[1024];
  if (!lua_api_open(&l.lua)) {
    printf("none: no liblua5.4 to load\n");
    return 0;
  }
  snprintf(path, sizeof path, "%s/moonlet.so", l.build);
  void *symbols = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!symbols || !lua_api_find(symbols, "moon_runtime_new", &l.runtime_new) ||
      !lua_api_find(symbols, "moon_runtime_release", &l.runtime_release) ||
      !lua_api_find(RTLD_DEFAULT, "lua_setfield", &l.setfield) ||
      !lua_api_find(RTLD_DEFAULT, "lua_pushlightuserdata", &l.pushlightuserdata)) {
    printf("failed: no library\n");
    return 1;
  }
  job alone = {.l = &l, .rounds = 1};
  work(&alone);
  moon_runtime *shared = l.runtime_new(NULL);
  int bad = on_threads(&l, NULL, rounds, alone.result) || on_threads(&l, shared, rounds, alone.result);
  l.runtime_release(shared);
  if (bad) return 1;
  printf("ok: %d threads, %d states each\n", THREADS, 2 * rounds);
  return 0;
}
