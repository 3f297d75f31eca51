/*
** opencl_failures.c: every call of OpenCL fails once. With a loader that fails on demand (opencl_shim.c) a program opens the device,
** trains a small model for two steps and reads its weights; the n-th call gives an error code, for n = 1, 2, ... until none is left.
** Each time the library must say so (with the code's name), give back all memory, leave the weights readable, and the same context
** must go on computing on the CPU. Arguments: the shim, a folder for built programs, the stride between the n tried.
** Exits with 77 when there is no OpenCL device.
*/
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moonlet.h"

typedef void (*arm_fn)(long n, int32_t code);
typedef long (*calls_fn)(void);

static const struct { int32_t code; const char *name; } codes[] = {
    {-5, "CL_OUT_OF_RESOURCES"}, {-4, "out of memory"}, {-6, "CL_OUT_OF_HOST_MEMORY"}, {-11, "CL_BUILD_PROGRAM_FAILURE"},
    {-2, "CL_DEVICE_NOT_AVAILABLE"}, {-36, "CL_INVALID_COMMAND_QUEUE"}, {-9999, "CL error"},
};
enum { CODES = sizeof codes / sizeof *codes };

static long live;
static void *counted(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  (void)user, (void)old_bytes;
  live += (new_bytes != 0) - (block != NULL);
  if (new_bytes) return realloc(block, new_bytes);
  free(block);
  return NULL;
}

typedef struct model {
  moon_variable *w;
  moon_graph *graph;
} model;

/* loss = mean (gather (tanh (x w)) - y)^2; w -= 0.1 dw */
static bool build(moon_context *ctx, model *m) {
  const float w[6] = {0.1f, -0.2f, 0.3f, 0.4f, -0.5f, 0.6f};
  const int64_t shape[] = {3, 2};
  const moon_dim x_shape[] = {4, 3}, y_shape[] = {4, 2}, i_shape[] = {4};
  moon_tensor *t = moon_tensor_from(ctx, MOON_DTYPE_f32, 2, shape, w);
  m->w = t ? moon_variable_new(ctx, "w", t, true) : NULL;
  moon_tensor_release(t);
  if (!m->w) return false;
  moon_value *dw = NULL, *x = moon_input(ctx, "x", MOON_DTYPE_f32, 2, x_shape), *y = moon_input(ctx, "y", MOON_DTYPE_f32, 2, y_shape);
  moon_value *i = moon_input(ctx, "i", MOON_DTYPE_i32, 1, i_shape);
  moon_value *h = moon_apply1(ctx, "tanh", NULL, moon_apply2(ctx, "matmul", NULL, x, moon_variable_value(ctx, m->w)));
  moon_value *loss = moon_apply1(ctx, "mean", NULL, moon_apply1(ctx, "square", NULL, moon_apply2(ctx, "sub", NULL, moon_apply2(ctx, "gather", "axis=0", h, i), y)));
  if (!loss || moon_gradients_of(ctx, loss, 1, &m->w, &dw) != MOON_OK) return false;
  moon_value *step = moon_apply2(ctx, "mul", NULL, dw, moon_scalar(ctx, MOON_DTYPE_f32, 0.1));
  moon_value *set = moon_assign(ctx, m->w, moon_apply2(ctx, "sub", NULL, moon_variable_value(ctx, m->w), step));
  moon_value *const in[] = {x, y, i}, *const out[] = {loss}, *const effects[] = {set};
  m->graph = set ? moon_graph_new(ctx, 3, in, 1, out, 1, effects) : NULL;
  return m->graph != NULL;
}

/* Two steps on a device; weights are read at the end. */
static bool train(moon_context *ctx, model *m, const char *word, float *loss, float *w) {
  const float x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 1}, y[8] = {1, 0, 0, 1, 1, 0, 0, 1};
  const int32_t i[4] = {3, 1, 0, 1};
  const int64_t x_shape[] = {4, 3}, y_shape[] = {4, 2}, i_shape[] = {4};
  moon_device *device = moon_device_find(ctx, word);
  if (!device || moon_device_set(ctx, device) != MOON_OK) return false;
  moon_tensor *in[3] = {moon_tensor_from(ctx, MOON_DTYPE_f32, 2, x_shape, x), moon_tensor_from(ctx, MOON_DTYPE_f32, 2, y_shape, y),
                        moon_tensor_from(ctx, MOON_DTYPE_i32, 1, i_shape, i)};
  bool ok = in[0] && in[1] && in[2];
  moon_type types[3];
  memset(types, 0, sizeof types);
  for (int k = 0; ok && k < 3; k++) {
    types[k].dtype = moon_tensor_dtype(in[k]);
    types[k].shape.ndim = moon_tensor_ndim(in[k]);
    for (int a = 0; a < types[k].shape.ndim; a++) types[k].shape.dim[a] = moon_tensor_size(in[k], a);
  }
  const moon_compile_options options = {.mode = MOON_TRAINING};
  moon_program *p = ok ? moon_compile(ctx, m->graph, types, &options) : NULL;
  ok = p != NULL;
  for (uint64_t step = 0; ok && step < 2; step++) {
    moon_tensor *out[1] = {NULL};
    ok = moon_program_run(ctx, p, in, out, step) == MOON_OK && moon_tensor_read(ctx, out[0], MOON_DTYPE_f32, loss, 4) == MOON_OK;
    moon_tensor_release(out[0]);
  }
  moon_program_release(p);
  for (int k = 0; k < 3; k++) moon_tensor_release(in[k]);
  moon_tensor *weights = ok ? moon_variable_read(ctx, m->w) : NULL;
  ok = weights && moon_tensor_read(ctx, weights, MOON_DTYPE_f32, w, 24) == MOON_OK;
  moon_tensor_release(weights);
  return ok;
}

static int complain(const char *what, long n, const char *code, const char *message) {
  fprintf(stderr, "call %ld, %s: %s (%s)\n", n, code, what, message);
  return 1;
}

/* One run in which call n gives the code; *calls: those it made. */
static int attempt(arm_fn arm, calls_fn count, const char *folder, long n, int which, long *calls) {
  moon_host host = {.realloc = counted, .threads = 1};
  moon_runtime *runtime = moon_runtime_new(&host);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  model m = {NULL, NULL};
  float loss = 0, w[6] = {0}, cpu_loss = 0, cpu_w[6] = {0};
  int bad = 0;
  if (!ctx || moon_cache_folder_set(ctx, folder) != MOON_OK || !build(ctx, &m)) return complain("no model", n, "", ctx ? moon_error(ctx) : "");
  arm(n, codes[which].code);
  bool trained = train(ctx, &m, "opencl", &loss, w);
  *calls = count();
  arm(0, 0);
  if (!trained && n == 0) bad = 77;
  const char *message = moon_error(ctx);
  if (!trained && n > 0) {
    bool named = strstr(message, codes[which].name) || strstr(message, "out of memory") || strstr(message, "opencl: ");
    if (!*message || !named) bad = complain("no message of use", n, codes[which].name, message);
    /* The device may be lost; what was on it must be readable again once calls work, and the CPU must go on. */
    if (!bad && !train(ctx, &m, "cpu", &cpu_loss, cpu_w)) bad = complain("the CPU cannot go on", n, codes[which].name, moon_error(ctx));
    if (!bad && !(cpu_loss > 0 && cpu_loss < 10)) bad = complain("a strange loss", n, codes[which].name, "");
  }
  moon_graph_release(m.graph);
  moon_variable_release(m.w);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (!bad && live != 0) bad = complain("memory is left", n, codes[which].name, "");
  return bad;
}

int main(int argc, char **argv) {
  long calls = 0, all = 0, tried = 0, stride = argc > 3 ? strtol(argv[3], NULL, 10) : 1;
  void *shim = argc > 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  arm_fn arm = NULL;
  calls_fn count = NULL;
  if (shim) *(void **)&arm = dlsym(shim, "shim_arm"), *(void **)&count = dlsym(shim, "shim_calls");
  if (!arm || !count) return 2;
  setenv("MOONLET_OPENCL_LIBRARY", argv[1], 1);
  for (int i = 0; i < 2; i++) { /* twice: the second finds what the first has built */
    int bad = attempt(arm, count, argv[2], 0, 0, &all);
    if (bad) return bad;
  }
  for (int which = 0; which < CODES; which++) {
    for (long n = 1 + which % stride; n <= all; n += which == 0 ? 1 : stride, tried++) {
      int bad = attempt(arm, count, argv[2], n, which, &calls);
      if (bad) return 1;
    }
  }
  printf("%ld calls, %ld failures\n", all, tried);
  return 0;
}
