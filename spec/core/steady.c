/*
** steady.c: a steady step asks nobody for anything. In a child process a Lua state with an allocator that counts requires the module,
** computes on one thread, and warms up: inference with tables in and out, a training step, and a training step in slices. Then a
** filter is set, under which any system call but write and exit ends the process by a signal, and the steps are run: none may be made, Lua's allocator and the library's may not be called. Arguments: the folder of moonlet.so, the steps.
*/
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lua_api.h"

static const char script[] =
    "package.cpath = BUILD .. '/?.so;' .. package.cpath\n"
    "local ml = require 'moonlet'\n"
    "local core = require 'moonlet.core'\n"
    "ml.threads(1)\n"
    "local function dense(n) return ml.nn.Dense { n, activation = 'tanh' } end\n"
    "local net = ml.Sequential { dense(32), dense(32), dense(4) }\n"
    "net:compile { optimizer = 'adam', loss = 'mse' }\n"
    "local x, y = ml.uniform { 4, 8 }, ml.uniform { 4, 4 }\n"
    "net:train_on_batch(x, y)\n"
    "local one, action = ml.zeros { 1, 8 }, ml.zeros { 1, 4 }\n"
    "local infer, train = net:program('predict', one), net:program('train', x, y)\n"
    "local losses = {}\n"
    "for i, t in ipairs(train:outputs()) do losses[i] = ml.zeros(t.shape, t.dtype) end\n"
    "local infer_args = { one, out = { action }, step = 0 }\n"
    "local train_args = { x, y, out = losses, step = 1 }\n"
    "local slice_args = { x, y, out = losses, step = 1, budget_us = 3 }\n"
    "local observation, acts = { { 1, 2, 3, 4, 5, 6, 7, 8 } }, { { 0, 0, 0, 0 } }\n"
    "local function step()\n"
    "  one:set(observation)\n"
    "  infer:run(infer_args)\n"
    "  action:totable(acts)\n"
    "  train:run(train_args)\n"
    "  train:run(slice_args)\n"
    "end\n"
    "for _ = 1, 200 do step() end\n"
    "function STEADY(n)\n"
    "  local before = core.memory().calls\n"
    "  for _ = 1, n do step() end\n"
    "  if core.memory().calls ~= before then error('the allocator was called') end\n"
    "end\n"
    "N = 1\n"
    "STEADY(N)\n"
    "collectgarbage() collectgarbage() collectgarbage 'stop'\n";

static void *counting_alloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  long *calls = user;
  (void)old_bytes;
  ++*calls;
  if (new_bytes) return realloc(block, new_bytes);
  free(block);
  return NULL;
}

/* In the child. */
static void say(const char *text) {
  ssize_t n = write(1, text, strlen(text));
  (void)n;
}

static bool forbid_calls(void) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
  };
  const struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static void leave(int code) { syscall(SYS_exit, code); }

static void live(const lua_api *api, const char *build, const char *steps) {
  char head[1024], last[128];
  long calls = 0, before, own;
  lua_State *L = api->newstate(counting_alloc, &calls);
  if (!L) leave(1);
  snprintf(head, sizeof head, "BUILD = [[%s]]", build);
  snprintf(last, sizeof last, "N = %s", steps);
  api->openlibs(L);
  int bad = lua_api_run(api, L, head) || lua_api_run(api, L, script) || lua_api_run(api, L, "STEADY(N)");
  before = calls;
  bad = bad || lua_api_run(api, L, "STEADY(N)");
  own = calls - before; /* what loading the chunk takes */
  bad = bad || lua_api_run(api, L, last);
  if (!bad && !forbid_calls()) {
    say("none: no filter of system calls\n");
    leave(0);
  }
  before = calls;
  bad = bad || lua_api_run(api, L, "STEADY(N)");
  if (bad) {
    say("failed: ");
    say(api->tolstring(L, -1, NULL));
    leave(1);
  }
  say(calls - before == own ? "ok: no calls\n" : "failed: Lua's allocator was called\n");
  leave(0);
}

int main(int argc, char **argv) {
  lua_api api;
  int status = 0;
  if (!lua_api_open(&api)) {
    printf("none: no liblua5.4 to load\n");
    return 0;
  }
  pid_t child = fork();
  if (child == 0) live(&api, argc > 1 ? argv[1] : "build", argc > 2 ? argv[2] : "10000");
  if (child < 0 || waitpid(child, &status, 0) != child) return 1;
  if (WIFSIGNALED(status)) printf("failed: a system call (signal %d)\n", WTERMSIG(status));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
