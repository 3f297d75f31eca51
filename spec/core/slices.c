/*
** slices.c: a run in slices keeps to its budget, without measuring anything: the clock is ours, and a device of our own, which is the
** CPU with plain kernels, lets it pass by what a job of each launch is said to cost. The first run cannot know that; those after it
** end a slice before a job that would end too late. Every slice does at least one job, on the calling thread, and allocates nothing,
** the first one neither. A run that is done holds nothing but outputs that nobody gave.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "check.h"
#include "tensor/tensor.h"

#define SIZE 64
#define BUDGET 100.0

static const double cost[] = {10, 300, 10, 60}; /* us a job, by launch */
static double clock_now;
static int jobs, parallels;

static double read_clock(void *user) { return (void)user, clock_now; }

static void count_parallel(void *user, void (*body)(void *arg, int i), void *arg, int n) {
  (void)user;
  parallels++;
  for (int i = 0; i < n; i++) body(arg, i);
}

static moon_status select_plain(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                const moon_array *out, int nout, bool fast, moon_choice *choice) {
  (void)fast;
  return moon__cpu_backend.select(ctx, device, node, in, nin, out, nout, false, choice);
}

static moon_status run_jobs(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first,
                            int64_t last, bool threads) {
  clock_now += cost[call->launch] * (double)(last - first);
  jobs += (int)(last - first);
  return moon__cpu_backend.run(ctx, device, kernel, call, first, last, threads);
}

/* x x x x x */
static moon_program *compile(moon_context *ctx, moon_device *device) {
  moon_scope_open(ctx);
  moon_value *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, (moon_dim[]){SIZE, SIZE}), *y = x;
  for (int i = 0; i < 4; i++) y = moon_apply2(ctx, "matmul", NULL, y, x);
  moon_graph *g = moon_graph_new(ctx, 1, &x, 1, &y, 0, NULL);
  moon_scope_close(ctx);
  CHECK(g);
  moon_program *p = moon_compile(ctx, g, &(moon_type){MOON_DTYPE_f32, {2, 0, {SIZE, SIZE}}},
                                 &(moon_compile_options){.device = device});
  moon_graph_release(g);
  CHECK(p && moon_program_stats_get(p).launches == 4);
  return p;
}

static moon_tensor *square(moon_context *ctx) {
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, 2, (const int64_t[]){SIZE, SIZE});
  CHECK(t);
  for (int i = 0; i < SIZE * SIZE; i++) ((float *)moon_tensor_data(t))[i] = (float)(i % 9) * 0.1f;
  return t;
}

static bool same(const moon_tensor *a, const moon_tensor *b) {
  return memcmp(moon_tensor_data(a), moon_tensor_data(b), SIZE * SIZE * sizeof(float)) == 0;
}

/* Slices until it is done; the number of those that did more than one job and took longer than they may. */
static int run_sliced(moon_context *ctx, moon_run *run, moon_tensor *x, moon_tensor **y) {
  int late = 0;
  bool done = false;
  CHECK(moon_run_start(ctx, run, &x, y, 0) == MOON_OK);
  uint64_t calls = moon_runtime_memory(ctx->runtime).calls;
  parallels = 0;
  while (!done) {
    double start = clock_now;
    jobs = 0;
    CHECK(moon_run_step(ctx, run, BUDGET, &done) == MOON_OK && jobs > 0);
    late += jobs > 1 && clock_now - start > BUDGET;
  }
  CHECK(moon_runtime_memory(ctx->runtime).calls == calls && parallels == 0);
  return late;
}

int main(void) {
  moon_runtime *runtime = moon_runtime_new(&(moon_host){.clock_us = read_clock, .parallel = count_parallel, .threads = 4});
  moon_context *ctx = moon_context_new(runtime);
  CHECK(ctx);
  moon_backend backend = moon__cpu_backend;
  backend.select = select_plain;
  backend.select_product = NULL;
  backend.run = run_jobs;
  backend.device_free = NULL;
  moon_device *device = moon__device_add(ctx, &backend, "test", moon_device_find(ctx, "cpu")->data);
  CHECK(device && moon_device_set(ctx, device) == MOON_OK);
  moon_program *p = compile(ctx, device);
  moon_tensor *x = square(ctx), *want = NULL, *y = square(ctx);
  CHECK(moon_program_run(ctx, p, &x, &want, 0) == MOON_OK && parallels > 0);
  moon_run *run = moon_run_new(ctx, p);
  CHECK(run && run_sliced(ctx, run, x, &y) > 0 && same(y, want));
  for (int i = 0; i < 3; i++) CHECK(run_sliced(ctx, run, x, &y) == 0 && same(y, want));
  CHECK(x->refs == 1 && y->refs == 1 && !moon_run_result(run, 0));
  moon_tensor *none = NULL;
  CHECK(run_sliced(ctx, run, x, &none) == 0 && x->refs == 1 && same(moon_run_result(run, 0), want));
  moon_run_cancel(ctx, run);
  CHECK(!moon_run_result(run, 0));
  moon_run_release(run);
  moon_tensor_release(x);
  moon_tensor_release(y);
  moon_tensor_release(want);
  moon_program_release(p);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  printf("ok\n");
  return 0;
}
