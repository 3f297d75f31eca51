/*
** host.c: the host decides. A runtime gets every hook there is; a model is trained whole, in slices and in the background, saved and
** loaded. The hooks count what the library does through them: all memory, all parallel work, the background run, the files that are
** read and the clock must come by them, no thread may be there that the host did not start, and the results must be those of a
** runtime without hooks. Then the same with threads = 1 and nothing else: no thread at all, the background run is polled.
*/
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moonlet.h"

#define SIZE 256
#define STEPS 3

typedef struct host_state {
  _Atomic long blocks, parallels, backgrounds, clocks;
  long reads;
  void *file; /* what the pack holds */
  size_t file_bytes;
  _Atomic int refuse_background;
} host_state;

static void *count_realloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  host_state *h = user;
  (void)old_bytes;
  if (new_bytes == 0) {
    if (block) h->blocks--;
    free(block);
    return NULL;
  }
  if (!block) h->blocks++;
  return realloc(block, new_bytes);
}

/* Backwards, on the calling thread. */
static void count_parallel(void *user, void (*body)(void *arg, int i), void *arg, int n) {
  host_state *h = user;
  h->parallels++;
  for (int i = n - 1; i >= 0; i--) body(arg, i);
}

typedef struct job {
  void (*body)(void *arg);
  void *arg;
} job;

static void *run_job(void *p) {
  job j = *(job *)p;
  free(p);
  j.body(j.arg);
  return NULL;
}

static bool count_background(void *user, void (*body)(void *arg), void *arg) {
  host_state *h = user;
  pthread_t thread;
  if (h->refuse_background) return false;
  job *j = malloc(sizeof *j);
  if (!j) return false;
  *j = (job){body, arg};
  h->backgrounds++;
  if (pthread_create(&thread, NULL, run_job, j) != 0) return false;
  pthread_detach(thread);
  return true;
}

static int count_read(void *user, const char *path, void *(*block)(void *to, size_t bytes), void *to) {
  host_state *h = user;
  h->reads++;
  if (strcmp(path, "pack:model") != 0) return ENOENT;
  void *data = block(to, h->file_bytes);
  if (!data) return ENOMEM;
  memcpy(data, h->file, h->file_bytes);
  return 0;
}

static double count_clock(void *user) {
  host_state *h = user;
  return (double)h->clocks++; /* a microsecond a look */
}

/* Threads of this process; 0 when the system does not tell. */
static int thread_count(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/task");
  for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) n += e->d_name[0] != '.';
  if (d) closedir(d);
  return n;
}

/* A thread that was joined may be listed for a moment. */
static bool threads_become(int n) {
  const struct timespec pause = {0, 1000000};
  for (int i = 0; i < 2000 && thread_count() != n; i++) nanosleep(&pause, NULL);
  return thread_count() == n;
}

static int fail(const char *what, const moon_context *ctx) {
  printf("failed: %s: %s\n", what, moon_error(ctx));
  return 1;
}

/* w -= 0.1 d/dw sum (tanh (x w))^2 */
static moon_graph *build(moon_context *ctx, moon_variable **w) {
  const int64_t shape[] = {SIZE, SIZE};
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, 2, shape);
  float *data = t ? moon_tensor_data(t) : NULL;
  for (int i = 0; data && i < SIZE * SIZE; i++) data[i] = (float)(i * 7 % 13 - 6) * 0.01f;
  *w = t ? moon_variable_new(ctx, "w", t, true) : NULL;
  moon_tensor_release(t);
  if (!*w) return NULL;
  moon_scope_open(ctx);
  moon_value *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, (moon_dim[]){SIZE, SIZE}), *dw = NULL, *step = NULL;
  moon_value *y = moon_apply1(ctx, "tanh", NULL, moon_apply2(ctx, "matmul", NULL, x, moon_variable_value(ctx, *w)));
  moon_value *loss = moon_apply1(ctx, "sum", NULL, moon_apply1(ctx, "square", NULL, y));
  if (loss && moon_gradients_of(ctx, loss, 1, w, &dw) == MOON_OK)
    step = moon_assign(ctx, *w, moon_apply2(ctx, "sub", NULL, moon_variable_value(ctx, *w),
                                            moon_apply2(ctx, "mul", NULL, dw, moon_scalar(ctx, MOON_DTYPE_f32, 0.1))));
  moon_graph *g = step ? moon_graph_new(ctx, 1, &x, 1, &loss, 1, &step) : NULL;
  moon_scope_close(ctx);
  return g;
}

typedef enum way { WHOLE, SLICED, BEHIND } way;

static bool one_step(moon_context *ctx, moon_program *p, moon_run *run, moon_tensor *x, moon_tensor *loss, way how) {
  moon_tensor *out[] = {loss};
  bool done = false;
  if (how == WHOLE) return moon_program_run(ctx, p, &x, out, 0) == MOON_OK;
  if (how == SLICED && moon_run_start(ctx, run, &x, out, 0) != MOON_OK) return false;
  if (how == BEHIND && moon_run_background(ctx, run, &x, out, 0) != MOON_OK) return false;
  while (!done) {
    if (moon_run_step(ctx, run, 5, &done) != MOON_OK) return false;
  }
  return true;
}

/* Trains STEPS steps in each way; the losses. */
static bool train(moon_context *ctx, float losses[3 * STEPS]) {
  const int64_t shape[] = {SIZE, SIZE};
  moon_variable *w = NULL;
  moon_graph *g = build(ctx, &w);
  moon_program *p = g ? moon_compile(ctx, g, &(moon_type){MOON_DTYPE_f32, {2, 0, {SIZE, SIZE}}},
                                     &(moon_compile_options){.mode = MOON_TRAINING}) : NULL;
  moon_tensor *x = p ? moon_tensor_new(ctx, MOON_DTYPE_f32, 2, shape) : NULL;
  moon_tensor *loss = x ? moon_tensor_new(ctx, MOON_DTYPE_f32, 0, NULL) : NULL;
  moon_run *run = loss ? moon_run_new(ctx, p) : NULL;
  bool ok = run != NULL;
  for (int i = 0; ok && i < SIZE * SIZE; i++) ((float *)moon_tensor_data(x))[i] = (float)(i % 9) * 0.1f;
  for (int i = 0; ok && i < 3 * STEPS; i++) {
    ok = one_step(ctx, p, run, x, loss, (way)(i % 3));
    if (ok) losses[i] = *(float *)moon_tensor_data(loss);
  }
  moon_run_release(run);
  moon_tensor_release(loss);
  moon_tensor_release(x);
  moon_program_release(p);
  moon_graph_release(g);
  moon_variable_release(w);
  return ok;
}

/* The bytes of a file that holds one tensor. */
static bool pack(moon_context *ctx, host_state *h) {
  moon_file *f = moon_file_new(ctx);
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, 1, (const int64_t[]){4});
  bool ok = f && t && moon_file_put(ctx, f, "t", t) == MOON_OK;
  char *data = ok ? moon_file_encode(ctx, f, &h->file_bytes) : NULL;
  h->file = data ? malloc(h->file_bytes) : NULL;
  if (h->file) memcpy(h->file, data, h->file_bytes);
  moon_text_release(ctx, data);
  moon_tensor_release(t);
  moon_file_release(f);
  return h->file != NULL;
}

static int read_pack(moon_context *ctx, host_state *h) {
  if (!pack(ctx, h)) return fail("a file in memory", ctx);
  moon_file *f = moon_file_load(ctx, "pack:model");
  int bad = !f || !moon_file_find(f, "t");
  moon_file_release(f);
  bad |= moon_file_load(ctx, "pack:other") != NULL || moon_error_status(ctx) != MOON_EIO;
  free(h->file);
  if (h->reads != 2) bad = 1;
  return bad ? fail("reading by the host", ctx) : 0;
}

static bool same(const float *a, const float *b) { return memcmp(a, b, 3 * STEPS * sizeof *a) == 0; }

static int all_hooks(const float *expected) {
  host_state h = {0};
  moon_host host = {.user = &h, .realloc = count_realloc, .parallel = count_parallel, .threads = 4,
                    .background = count_background, .read = count_read, .clock_us = count_clock};
  float losses[3 * STEPS];
  int threads = thread_count();
  moon_runtime *runtime = moon_runtime_new(&host);
  moon_context *ctx = moon_context_new(runtime);
  if (!train(ctx, losses)) return fail("training with hooks", ctx);
  if (!same(losses, expected)) return fail("hooks change results", ctx);
  h.refuse_background = 1; /* then it is polled */
  if (!train(ctx, losses) || !same(losses, expected)) return fail("a refused background run", ctx);
  if (!h.parallels || h.backgrounds != STEPS || !h.clocks) return fail("a hook was not used", ctx);
  if (read_pack(ctx, &h)) return 1;
  if (!threads_become(threads)) return fail("a thread was started", ctx);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (h.blocks != 0) return fail("blocks are left", NULL);
  return 0;
}

static int calling_thread_only(const float *expected) {
  float losses[3 * STEPS];
  int threads = thread_count();
  moon_runtime *runtime = moon_runtime_new(&(moon_host){.threads = 1});
  moon_context *ctx = moon_context_new(runtime);
  bool ok = train(ctx, losses) && same(losses, expected);
  if (!ok || thread_count() != threads) return fail("a thread was started, or results differ", ctx);
  moon_threads_set(runtime, 3);
  ok = train(ctx, losses) && same(losses, expected) && moon_threads_get(runtime) == 3;
  if (threads && thread_count() <= threads) ok = false; /* workers, and the background thread */
  moon_threads_set(runtime, 1);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (!ok || !threads_become(threads)) return fail("threads that were set", NULL);
  return 0;
}

int main(void) {
  float expected[3 * STEPS];
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = moon_context_new(runtime);
  if (!train(ctx, expected)) return fail("training", ctx);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (all_hooks(expected) || calling_thread_only(expected)) return 1;
  printf("ok: hooks, and none\n");
  return 0;
}
