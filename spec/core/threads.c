/*
** threads.c: Lua states on threads of their own, as in an engine with a script per thread. Each opens a state, requires the module,
** trains a model and infers, again and again, first with a runtime of its own, then with one that all share, and must get the
** numbers that one thread alone gets. Arguments: the folder of moonlet.so, the rounds of each thread.
*/
#include <pthread.h>

#include "lua_api.h"

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
  lua_api_runtimes runtimes;
  const char *build;
} library;

typedef struct job {
  const library *l;
  moon_runtime *runtime; /* NULL: each state has its own */
  int rounds;
  char result[64]; /* what every round gave; else what went wrong */
} job;

static void live_once(const job *j, char result[64]) {
  const library *l = j->l;
  lua_State *L = l->lua.newstate(lua_api_alloc, NULL);
  lua_api_prepare(&l->lua, L, l->build, j->runtime);
  if (l->lua.load(L, script) == 0) l->lua.pcall(L, 0, 1, 0, 0, NULL);
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
  if (!lua_api_open(&l.lua)) {
    printf("none: no liblua5.4 to load\n");
    return 0;
  }
  if (!lua_api_runtimes_open(&l.runtimes, l.build)) {
    printf("failed: no library\n");
    return 1;
  }
  job alone = {.l = &l, .rounds = 1};
  work(&alone);
  moon_runtime *shared = l.runtimes.make(NULL);
  int bad = on_threads(&l, NULL, rounds, alone.result) || on_threads(&l, shared, rounds, alone.result);
  l.runtimes.release(shared);
  if (bad) return 1;
  printf("ok: %d threads, %d states each\n", THREADS, 2 * rounds);
  return 0;
}
