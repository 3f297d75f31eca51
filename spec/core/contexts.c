/*
** contexts.c: runtimes and contexts come and go. 200 times a runtime is opened, used and closed: every byte must come back. Then
** threads with a context of their own share one runtime, one program and one variable that nobody writes, and must all compute the
** same. Last, results outlive the context and the runtime's owner.
*/
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "moonlet.h"

#define ROUNDS 200
#define THREADS 4
#define RUNS 200
#define SIZE 64

typedef struct counter {
  _Atomic long live; /* blocks */
} counter;

static void *counted_realloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  counter *c = user;
  (void)old_bytes;
  if (new_bytes == 0) {
    if (block) c->live--;
    free(block);
    return NULL;
  }
  if (!block) c->live++;
  return realloc(block, new_bytes);
}

static int fail(const char *what, const moon_context *ctx) {
  printf("failed: %s: %s\n", what, moon_error(ctx));
  return 1;
}

/* tanh (x w) summed along axis 1; w [SIZE, SIZE] of a variable. */
static moon_program *build(moon_context *ctx, moon_variable **w) {
  const int64_t shape[] = {SIZE, SIZE};
  moon_program *program = NULL;
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, 2, shape);
  if (!t) return NULL;
  float *data = moon_tensor_data(t);
  for (int i = 0; i < SIZE * SIZE; i++) data[i] = (float)(i * 7 % 13 - 6) * 0.01f;
  *w = moon_variable_new(ctx, "w", t, true);
  moon_tensor_release(t);
  moon_scope_open(ctx);
  moon_value *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, (moon_dim[]){moon_dim_named(ctx, "batch"), SIZE});
  moon_value *y = moon_apply1(ctx, "tanh", NULL, moon_apply2(ctx, "matmul", NULL, x, moon_variable_value(ctx, *w)));
  moon_value *sum = moon_apply1(ctx, "sum", "axes=[1]", y);
  moon_graph *g = sum ? moon_graph_new(ctx, 1, &x, 1, &sum, 0, NULL) : NULL;
  moon_scope_close(ctx);
  if (g) program = moon_compile(ctx, g, &(moon_type){MOON_DTYPE_f32, {2, 0, {2, SIZE}}}, NULL);
  moon_graph_release(g);
  return program;
}

static moon_tensor *input(moon_context *ctx) {
  const int64_t shape[] = {2, SIZE};
  float data[2 * SIZE];
  for (int i = 0; i < 2 * SIZE; i++) data[i] = (float)(i % 9) * 0.1f;
  return moon_tensor_from(ctx, MOON_DTYPE_f32, 2, shape, data);
}

static bool run(moon_context *ctx, moon_program *program, moon_tensor *x, moon_tensor **out, float sums[2]) {
  return moon_program_run(ctx, program, &x, out, 0) == MOON_OK &&
         moon_tensor_read(ctx, *out, MOON_DTYPE_f32, sums, 2 * sizeof *sums) == MOON_OK;
}

/* One life; the sums that it computed. */
static bool live_once(moon_context *ctx, float sums[2]) {
  moon_variable *w = NULL;
  moon_program *program = build(ctx, &w);
  moon_tensor *x = program ? input(ctx) : NULL, *out = NULL;
  bool ok = x && run(ctx, program, x, &out, sums);
  moon_tensor_release(out);
  moon_tensor_release(x);
  moon_program_release(program);
  moon_variable_release(w);
  return ok;
}

static int open_and_close(float expected[2]) {
  for (int i = 0; i < ROUNDS; i++) {
    counter c = {0};
    moon_host host = {.user = &c, .realloc = counted_realloc, .threads = i % 3};
    float sums[2] = {0, 0};
    moon_runtime *runtime = moon_runtime_new(&host);
    moon_context *a = moon_context_new(runtime), *b = moon_context_new(runtime);
    if (!live_once(a, sums) || !live_once(b, sums)) return fail("a life", a);
    if (i == 0) expected[0] = sums[0], expected[1] = sums[1];
    if (sums[0] != expected[0] || sums[1] != expected[1]) return fail("other sums", a);
    moon_context_release(b);
    moon_runtime_release(runtime); /* the context holds it still */
    if (!live_once(a, sums)) return fail("a life after the runtime's owner", a);
    moon_context_release(a);
    if (c.live != 0) {
      printf("failed: round %d left %ld blocks\n", i, c.live);
      return 1;
    }
  }
  return 0;
}

typedef struct job {
  moon_runtime *runtime;
  moon_program *program;
  const float *expected;
  bool ok;
} job;

static void *work(void *arg) {
  job *j = arg;
  moon_context *ctx = moon_context_new(j->runtime);
  moon_tensor *x = ctx ? input(ctx) : NULL, *out = NULL;
  j->ok = x != NULL;
  for (int i = 0; j->ok && i < RUNS; i++) {
    float sums[2];
    j->ok = run(ctx, j->program, x, &out, sums) && sums[0] == j->expected[0] && sums[1] == j->expected[1];
    if (j->ok && i % 50 == 0) j->ok = live_once(ctx, sums) && sums[0] == j->expected[0];
  }
  moon_tensor_release(out);
  moon_tensor_release(x);
  moon_context_release(ctx);
  return NULL;
}

static int share(const float *expected) {
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = moon_context_new(runtime);
  moon_variable *w = NULL;
  moon_program *program = build(ctx, &w);
  pthread_t threads[THREADS];
  job jobs[THREADS];
  bool ok = program != NULL;
  for (int i = 0; i < THREADS; i++) {
    jobs[i] = (job){runtime, program, expected, false};
    if (pthread_create(&threads[i], NULL, work, &jobs[i]) != 0) return fail("no thread", ctx);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ok &= jobs[i].ok;
  }
  moon_program_release(program);
  moon_variable_release(w);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return ok ? 0 : fail("a thread", NULL);
}

/* Tensors and variables hold what they need. */
static int outlive(const float *expected) {
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = moon_context_new(runtime);
  moon_variable *w = NULL;
  moon_program *program = build(ctx, &w);
  moon_tensor *x = input(ctx), *out = NULL;
  float sums[2];
  if (!program || !x || !run(ctx, program, x, &out, sums)) return fail("a run", ctx);
  moon_program_release(program);
  moon_tensor_release(x);
  moon_context_release(ctx);
  const float *data = moon_tensor_data(out);
  bool ok = data[0] == expected[0] && data[1] == expected[1];
  moon_tensor_release(out);
  moon_variable_release(w);
  moon_runtime_release(runtime);
  return ok ? 0 : fail("a tensor after its context", NULL);
}

int main(void) {
  float expected[2] = {0, 0};
  if (open_and_close(expected) || share(expected) || outlive(expected)) return 1;
  printf("ok: %d lives, %d threads\n", ROUNDS, THREADS);
  return 0;
}
