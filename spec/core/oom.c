/*
** oom.c: every allocation fails once. A program builds, differentiates, compiles, trains, saves and loads a small model with an
** allocator that fails at the n-th call, for n = 1, 2, ... until nothing fails any more. Each time the library must report it,
** leak nothing, and the same context must then train on to the same result. An argument gives the stride between the n tried.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moonlet.h"

typedef struct hostile {
  long calls, fail_at; /* 0: never */
  bool for_good;       /* every call from fail_at on fails */
} hostile;

static void *hostile_realloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  hostile *h = user;
  (void)old_bytes;
  if (new_bytes == 0) {
    free(block);
    return NULL;
  }
  h->calls++;
  if (h->fail_at && (h->for_good ? h->calls >= h->fail_at : h->calls == h->fail_at)) return NULL;
  return realloc(block, new_bytes);
}

typedef struct model {
  moon_variable *w, *b, *m, *v;
  moon_graph *graph;
} model;

static void release_model(model *m) {
  moon_graph_release(m->graph);
  moon_variable_release(m->w);
  moon_variable_release(m->b);
  moon_variable_release(m->m);
  moon_variable_release(m->v);
  memset(m, 0, sizeof *m);
}

static moon_variable *variable(moon_context *ctx, const char *name, int ndim, const int64_t *shape, float x) {
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, ndim, shape);
  moon_variable *v = NULL;
  if (t) {
    float *data = moon_tensor_data(t);
    for (int64_t i = 0; i < moon_tensor_count(t); i++) data[i] = x * (float)(i % 5 + 1);
    v = moon_variable_new(ctx, name, t, true);
  }
  moon_tensor_release(t);
  return v;
}

/* loss = mean (tanh (x w + b) - y)^2, w by Adam, b by plain descent. */
static bool build(moon_context *ctx, model *m) {
  const int64_t w_shape[] = {3, 2}, b_shape[] = {2};
  m->w = variable(ctx, "w", 2, w_shape, 0.1f);
  m->b = m->w ? variable(ctx, "b", 1, b_shape, 0.0f) : NULL;
  m->m = m->b ? variable(ctx, "m", 2, w_shape, 0.0f) : NULL;
  m->v = m->m ? variable(ctx, "v", 2, w_shape, 0.0f) : NULL;
  if (!m->v) return false;
  moon_dim batch = moon_dim_named(ctx, "batch");
  if (batch == MOON_DIM_ERROR) return false;
  moon_value *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, (moon_dim[]){batch, 3});
  moon_value *y = moon_input(ctx, "y", MOON_DTYPE_f32, 2, (moon_dim[]){batch, 2});
  moon_value *h = moon_apply2(ctx, "add", NULL, moon_apply2(ctx, "matmul", NULL, x, moon_variable_value(ctx, m->w)),
                           moon_variable_value(ctx, m->b));
  moon_value *error = moon_apply2(ctx, "sub", NULL, moon_apply1(ctx, "tanh", NULL, h), y);
  moon_value *loss = moon_apply1(ctx, "mean", NULL, moon_apply1(ctx, "square", NULL, error));
  moon_value *dw[2], *rate = moon_scalar(ctx, MOON_DTYPE_f32, 0.05), *t = moon_scalar(ctx, MOON_DTYPE_f32, 3);
  moon_variable *trained[] = {m->w, m->b};
  if (!loss || !rate || !t || moon_gradients_of(ctx, loss, 2, trained, dw) != MOON_OK) return false;
  moon_value *in[] = {moon_variable_value(ctx, m->w), dw[0], moon_variable_value(ctx, m->m), moon_variable_value(ctx, m->v), rate, t};
  for (int i = 0; i < 6; i++) {
    if (!in[i]) return false;
  }
  moon_value *adam = moon_apply(ctx, "adam_update", NULL, 6, in);
  moon_value *effects[] = {moon_assign(ctx, m->w, adam), moon_assign(ctx, m->m, moon_value_output(adam, 1)),
                           moon_assign(ctx, m->v, moon_value_output(adam, 2)),
                           moon_assign(ctx, m->b, moon_apply2(ctx, "sub", NULL, moon_variable_value(ctx, m->b),
                                                           moon_apply2(ctx, "mul", NULL, dw[1], rate)))};
  moon_value *inputs[] = {x, y};
  m->graph = moon_graph_new(ctx, 2, inputs, 1, &loss, 4, effects);
  return m->graph != NULL;
}

static bool train(moon_context *ctx, model *m, int steps, float *last) {
  const int64_t x_shape[] = {4, 3}, y_shape[] = {4, 2};
  const moon_type types[] = {{MOON_DTYPE_f32, {2, 0, {4, 3}}}, {MOON_DTYPE_f32, {2, 0, {4, 2}}}};
  const moon_compile_options options = {.mode = MOON_TRAINING};
  float x[12], y[8];
  for (int i = 0; i < 12; i++) x[i] = (float)(i % 5) * 0.3f - 0.5f;
  for (int i = 0; i < 8; i++) y[i] = (float)(i % 3) * 0.2f - 0.1f;
  moon_tensor *in[2] = {moon_tensor_from(ctx, MOON_DTYPE_f32, 2, x_shape, x), moon_tensor_from(ctx, MOON_DTYPE_f32, 2, y_shape, y)};
  moon_tensor *out[1] = {NULL};
  moon_program *p = in[0] && in[1] ? moon_compile(ctx, m->graph, types, &options) : NULL;
  bool ok = p != NULL;
  for (int i = 0; ok && i < steps; i++) ok = moon_program_run(ctx, p, in, out, (uint64_t)i) == MOON_OK;
  if (ok) moon_tensor_read(ctx, out[0], MOON_DTYPE_f32, last, sizeof *last);
  moon_program_release(p);
  for (int i = 0; i < 2; i++) moon_tensor_release(in[i]);
  moon_tensor_release(out[0]);
  return ok;
}

static bool save_and_load(moon_context *ctx, model *m) {
  moon_file *f = moon_file_new(ctx);
  moon_tensor *t = f ? moon_variable_read(ctx, m->w) : NULL;
  bool ok = t && moon_file_put(ctx, f, "w", t) == MOON_OK && moon_file_put_text(ctx, f, "note", "x", 1) == MOON_OK;
  size_t bytes = 0;
  char *data = ok ? moon_file_encode(ctx, f, &bytes) : NULL;
  moon_file *back = data ? moon_file_decode(ctx, data, bytes) : NULL;
  ok = back && moon_file_find(back, "w") && moon_variable_write(ctx, m->w, moon_file_find(back, "w")) == MOON_OK;
  moon_file_release(back);
  moon_text_release(ctx, data);
  moon_file_release(f);
  moon_tensor_release(t);
  return ok;
}

static bool whole(moon_context *ctx, float *loss) {
  model m = {0};
  moon_scope_open(ctx);
  bool ok = build(ctx, &m);
  moon_scope_close(ctx);
  ok = ok && train(ctx, &m, 5, loss) && save_and_load(ctx, &m) && train(ctx, &m, 5, loss);
  release_model(&m);
  return ok;
}

static int fail(const char *what, long n) {
  printf("failed: %s at allocation %ld\n", what, n);
  return 1;
}

/* Tries one point of failure. 1: failed, 0: fine, -1: nothing failed any more. */
static int try_at(long n, bool for_good, float expected) {
  hostile h = {.fail_at = n, .for_good = for_good};
  moon_host host = {.user = &h, .realloc = hostile_realloc, .threads = 1};
  moon_runtime *runtime = moon_runtime_new(&host);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  int result = 0;
  if (ctx) {
    float loss = 0;
    bool ok = whole(ctx, &loss);
    if (ok && h.calls < n) result = -1;
    if (!ok && moon_error_status(ctx) != MOON_EMEMORY) result = fail(moon_error(ctx), n);
    h.fail_at = 0;
    moon_error_clear(ctx);
    if (result == 0 && (!whole(ctx, &loss) || loss != expected)) result = fail("the state does not go on", n);
  }
  moon_context_release(ctx);
  /* What is left belongs to the runtime alone; the sanitizer run sees whether its release frees that too. */
  moon_runtime_release(runtime);
  return result;
}

int main(int argc, char **argv) {
  long stride = argc > 1 ? strtol(argv[1], NULL, 10) : 1, tried = 0;
  float expected = 0;
  hostile calm = {0};
  moon_host host = {.user = &calm, .realloc = hostile_realloc, .threads = 1};
  moon_runtime *runtime = moon_runtime_new(&host);
  moon_context *ctx = moon_context_new(runtime);
  if (!whole(ctx, &expected)) return fail(moon_error(ctx), 0);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  for (int for_good = 0; for_good < 2; for_good++) {
    for (long n = 1;; n += stride > 0 ? stride : 1) {
      int r = try_at(n, for_good, expected);
      if (r > 0) return 1;
      if (r < 0) break;
      tried++;
    }
  }
  printf("ok: %ld points of failure, %ld allocations\n", tried, calm.calls);
  return 0;
}
