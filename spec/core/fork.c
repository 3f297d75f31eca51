/*
** fork.c: a process forks in the middle of its work. Workers compute and a run is in the background when a child is made. In the
** child the run is lost and says so, the pool is empty and starts again, also for the background; both processes compute the same.
*/
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moonlet.h"

#define SIZE 256
#define DEPTH 12

/* tanh (x x) .. summed: many launches. */
static moon_program *build(moon_context *ctx) {
  moon_scope_open(ctx);
  moon_value *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, (moon_dim[]){SIZE, SIZE}), *y = x;
  for (int i = 0; i < DEPTH; i++) y = moon_apply1(ctx, "tanh", NULL, moon_apply2(ctx, "matmul", NULL, y, x));
  y = moon_apply1(ctx, "sum", NULL, y);
  moon_graph *g = y ? moon_graph_new(ctx, 1, &x, 1, &y, 0, NULL) : NULL;
  moon_scope_close(ctx);
  moon_program *p = g ? moon_compile(ctx, g, &(moon_type){MOON_DTYPE_f32, {2, 0, {SIZE, SIZE}}}, NULL) : NULL;
  moon_graph_release(g);
  return p;
}

static bool whole(moon_context *ctx, moon_program *p, moon_tensor *x, moon_tensor *y, float *sum) {
  if (moon_program_run(ctx, p, &x, &y, 0) != MOON_OK) return false;
  *sum = *(float *)moon_tensor_data(y);
  return true;
}

static bool background(moon_context *ctx, moon_run *run, moon_tensor *x, moon_tensor *y, float *sum) {
  bool done = false;
  if (moon_run_background(ctx, run, &x, &y, 0) != MOON_OK || moon_run_step(ctx, run, 0, &done) != MOON_OK || !done) return false;
  *sum = *(float *)moon_tensor_data(y);
  return true;
}

static int fail(const char *who, const char *what, const moon_context *ctx) {
  printf("failed: %s: %s: %s\n", who, what, moon_error(ctx));
  fflush(stdout);
  return 1;
}

int main(void) {
  const int64_t shape[] = {SIZE, SIZE};
  moon_runtime *runtime = moon_runtime_new(&(moon_host){.threads = 3});
  moon_context *ctx = moon_context_new(runtime);
  moon_program *p = build(ctx);
  moon_tensor *x = moon_tensor_new(ctx, MOON_DTYPE_f32, 2, shape), *y = moon_tensor_new(ctx, MOON_DTYPE_f32, 0, NULL);
  moon_run *run = p ? moon_run_new(ctx, p) : NULL;
  float want = 0, sum = 0;
  bool done = false;
  int status = 0;
  if (!run || !x || !y) return fail("parent", "building", ctx);
  for (int i = 0; i < SIZE * SIZE; i++) ((float *)moon_tensor_data(x))[i] = (float)(i % 11 - 5) * 0.02f;
  if (!whole(ctx, p, x, y, &want) || !background(ctx, run, x, y, &sum) || sum != want) return fail("parent", "before", ctx);
  if (moon_run_background(ctx, run, &x, &y, 0) != MOON_OK) return fail("parent", "starting", ctx);
  pid_t child = fork();
  const char *who = child == 0 ? "child" : "parent";
  if (child == 0) {
    while (moon_run_step(ctx, run, 0, &done) == MOON_OK && !done) {}
    if (!done && moon_error_status(ctx) != MOON_ESTATE) return fail(who, "a lost run", ctx);
  } else if (moon_run_step(ctx, run, 0, &done) != MOON_OK || !done) {
    return fail(who, "its own run", ctx);
  }
  for (int i = 0; i < 3; i++) {
    if (!whole(ctx, p, x, y, &sum) || sum != want) return fail(who, "a run after the fork", ctx);
    if (!background(ctx, run, x, y, &sum) || sum != want) return fail(who, "a background run after the fork", ctx);
  }
  moon_run_release(run);
  moon_tensor_release(x);
  moon_tensor_release(y);
  moon_program_release(p);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (child == 0) return 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail(who, "the child", NULL);
  printf("ok\n");
  return 0;
}
