/*
** opencl_failures.c: every call of OpenCL fails once; and a steady step makes none but launches. With a loader that fails on demand
** (opencl_shim.c) a program opens the device, trains a small model for two steps and reads its weights; the n-th call gives an error
** code, for n = 1, 2, ... until none is left. Each time the library must say so (with the code's name), give back all memory, leave
** weights of a complete step readable, and the same context must go on computing on the CPU. Then a program runs again and again over
** the same tensors: it sets no argument, makes no object and waits for nothing. Arguments: the shim, a folder for built programs, the
** stride between the n tried. Exits with 77 when there is no OpenCL device.
*/
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moonlet.h"

typedef void (*arm_fn)(long n, int32_t code);
typedef long (*calls_fn)(void);
typedef long (*calls_of_fn)(const char *name);

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

/* loss = mean (gather (tanh (x w)) - y)^2; w -= 0.1 dw. Without the gather no kernel can find fault with the data. */
static bool build(moon_context *ctx, model *m, bool gathers) {
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
  if (gathers) h = moon_apply2(ctx, "gather", "axis=0", h, i);
  moon_value *loss = moon_apply1(ctx, "mean", NULL, moon_apply1(ctx, "square", NULL, moon_apply2(ctx, "sub", NULL, h, y)));
  if (!loss || moon_gradients_of(ctx, loss, 1, &m->w, &dw) != MOON_OK) return false;
  moon_value *step = moon_apply2(ctx, "mul", NULL, dw, moon_scalar(ctx, MOON_DTYPE_f32, 0.1));
  moon_value *set = moon_assign(ctx, m->w, moon_apply2(ctx, "sub", NULL, moon_variable_value(ctx, m->w), step));
  moon_value *const in[] = {x, y, i}, *const out[] = {loss}, *const effects[] = {set};
  m->graph = set ? moon_graph_new(ctx, 3, in, 1, out, 1, effects) : NULL;
  return m->graph != NULL;
}

/* The model's program on a device, with tensors for it. */
typedef struct training {
  moon_program *program;
  moon_tensor *in[3];
} training;

static void end_training(training *t) {
  moon_program_release(t->program);
  for (int k = 0; k < 3; k++) moon_tensor_release(t->in[k]);
}

static bool begin_training(moon_context *ctx, model *m, const char *word, training *t) {
  const float x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 1}, y[8] = {1, 0, 0, 1, 1, 0, 0, 1};
  const int32_t i[4] = {3, 1, 0, 1};
  const int64_t x_shape[] = {4, 3}, y_shape[] = {4, 2}, i_shape[] = {4};
  moon_device *device = moon_device_find(ctx, word);
  memset(t, 0, sizeof *t);
  if (!device || moon_device_set(ctx, device) != MOON_OK) return false;
  t->in[0] = moon_tensor_from(ctx, MOON_DTYPE_f32, 2, x_shape, x);
  t->in[1] = moon_tensor_from(ctx, MOON_DTYPE_f32, 2, y_shape, y);
  t->in[2] = moon_tensor_from(ctx, MOON_DTYPE_i32, 1, i_shape, i);
  moon_type types[3];
  memset(types, 0, sizeof types);
  for (int k = 0; k < 3; k++) {
    if (!t->in[k]) return false;
    types[k].dtype = moon_tensor_dtype(t->in[k]);
    types[k].shape.ndim = moon_tensor_ndim(t->in[k]);
    for (int a = 0; a < types[k].shape.ndim; a++) types[k].shape.dim[a] = moon_tensor_size(t->in[k], a);
  }
  const moon_compile_options options = {.mode = MOON_TRAINING};
  t->program = moon_compile(ctx, m->graph, types, &options);
  return t->program != NULL;
}

enum { WEIGHTS = 6, TRAINED = 2 };
static bool read_weights(moon_context *ctx, const model *m, float *w) {
  moon_tensor *t = moon_variable_read(ctx, m->w);
  bool ok = t && moon_tensor_read(ctx, t, MOON_DTYPE_f32, w, WEIGHTS * sizeof *w) == MOON_OK;
  moon_tensor_release(t);
  return ok;
}

/* TRAINED steps on a device; w: the weights before, and after each [TRAINED + 1]; NULL: nobody asks. */
static bool train(moon_context *ctx, model *m, const char *word, float *loss, float (*w)[WEIGHTS]) {
  training t;
  bool ok = begin_training(ctx, m, word, &t) && (!w || read_weights(ctx, m, w[0]));
  for (uint64_t step = 0; ok && step < TRAINED; step++) {
    moon_tensor *out[1] = {NULL};
    ok = moon_program_run(ctx, t.program, t.in, out, step) == MOON_OK && moon_tensor_read(ctx, out[0], MOON_DTYPE_f32, loss, 4) == MOON_OK;
    moon_tensor_release(out[0]);
    ok = ok && (!w || read_weights(ctx, m, w[step + 1]));
  }
  end_training(&t);
  return ok;
}

/* What a device that failed had done: the weights are those of a step that was complete. */
static bool complete_step(moon_context *ctx, const model *m, float (*good)[WEIGHTS]) {
  float w[WEIGHTS];
  if (!read_weights(ctx, m, w)) return false;
  for (int i = 0; i <= TRAINED; i++)
    if (memcmp(w, good[i], sizeof w) == 0) return true;
  return false;
}

static int complain(const char *what, long n, const char *code, const char *message) {
  fprintf(stderr, "call %ld, %s: %s (%s)\n", n, code, what, message);
  return 1;
}

/* One run in which call n gives the code; *calls: those it made. With n 0 nothing fails, and *good gets the weights of each step. */
static int attempt(arm_fn arm, calls_fn count, const char *folder, long n, int which, long *calls, float (*good)[WEIGHTS]) {
  moon_host host = {.realloc = counted, .threads = 1};
  moon_runtime *runtime = moon_runtime_new(&host);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  model m = {NULL, NULL};
  float loss = 0, cpu_loss = 0;
  int bad = 0;
  if (!ctx || moon_cache_folder_set(ctx, folder) != MOON_OK || !build(ctx, &m, true)) return complain("no model", n, "", ctx ? moon_error(ctx) : "");
  arm(n, codes[which].code);
  bool trained = train(ctx, &m, "opencl", &loss, n == 0 ? good : NULL);
  *calls = count();
  arm(0, 0);
  if (!trained && n == 0) bad = 77;
  const char *message = moon_error(ctx);
  if (!trained && n > 0) {
    bool named = strstr(message, codes[which].name) || strstr(message, "out of memory") || strstr(message, "opencl: ");
    if (!*message || !named) bad = complain("no message of use", n, codes[which].name, message);
    /* The device may be lost; what was on it must be readable again once calls work, and the CPU must go on. */
    if (!bad && !complete_step(ctx, &m, good)) bad = complain("the weights are of no step", n, codes[which].name, moon_error(ctx));
    if (!bad && !train(ctx, &m, "cpu", &cpu_loss, NULL)) bad = complain("the CPU cannot go on", n, codes[which].name, moon_error(ctx));
    if (!bad && !(cpu_loss > 0 && cpu_loss < 10)) bad = complain("a strange loss", n, codes[which].name, "");
  }
  moon_graph_release(m.graph);
  moon_variable_release(m.w);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  if (!bad && live != 0) bad = complain("memory is left", n, codes[which].name, "");
  return bad;
}

/* ---- Steady steps ---- */

enum { STEPS = 10 };

/* Calls of a function in STEPS steps that are not launches: as many as `want`. */
static int expect(calls_of_fn calls_of, const char *name, long want) {
  long got = calls_of(name);
  if (got != want) fprintf(stderr, "%d steady steps call %s %ld times, expected %ld\n", STEPS, name, got, want);
  return got != want;
}

static int count_steady(moon_context *ctx, training *t, arm_fn arm, calls_of_fn calls_of, long reads) {
  static const char *const none[] = {"clSetKernelArg", "clCreateKernel", "clCreateBuffer", "clCreateProgramWithSource",
                                     "clBuildProgram", "clEnqueueWriteBuffer", "clEnqueueCopyBuffer", "clFinish"};
  moon_tensor *out[1] = {NULL};
  int bad = 0;
  for (uint64_t step = 0; step < 2 + STEPS; step++) {
    if (step == 2) arm(0, 0);
    if (moon_program_run(ctx, t->program, t->in, out, step) != MOON_OK) bad = complain("a step", (long)step, "", moon_error(ctx));
  }
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) bad |= expect(calls_of, none[i], 0);
  bad |= expect(calls_of, "clEnqueueReadBuffer", reads);
  const moon_device *device = moon_device_find(ctx, "opencl");
  bool joins = device && strcmp(moon_device_describe(device).kind, "cpu") == 0; /* small kernels run as one */
  long launches = calls_of("clEnqueueNDRangeKernel");
  if (joins ? launches != STEPS : launches < STEPS) bad = complain("so many launches", launches, "", "");
  moon_tensor_release(out[0]);
  return bad;
}

/* Only what may find fault with its data is asked after the run; nothing else waits or touches the device but launches. */
static int steady(arm_fn arm, calls_of_fn calls_of, const char *folder, bool gathers) {
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  model m = {NULL, NULL};
  training t = {NULL, {NULL}};
  bool ok = ctx && moon_cache_folder_set(ctx, folder) == MOON_OK && build(ctx, &m, gathers) && begin_training(ctx, &m, "opencl", &t);
  int bad = ok ? count_steady(ctx, &t, arm, calls_of, gathers ? STEPS : 0) : complain("no program", 0, "", ctx ? moon_error(ctx) : "");
  end_training(&t);
  moon_graph_release(m.graph);
  moon_variable_release(m.w);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return bad;
}

int main(int argc, char **argv) {
  float good[TRAINED + 1][WEIGHTS];
  long calls = 0, all = 0, tried = 0, stride = argc > 3 ? strtol(argv[3], NULL, 10) : 1;
  void *shim = argc > 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  arm_fn arm = NULL;
  calls_fn count = NULL;
  calls_of_fn calls_of = NULL;
  if (shim) *(void **)&arm = dlsym(shim, "shim_arm"), *(void **)&count = dlsym(shim, "shim_calls");
  if (shim) *(void **)&calls_of = dlsym(shim, "shim_calls_of");
  if (!arm || !count || !calls_of) return 2;
  setenv("MOONLET_OPENCL_LIBRARY", argv[1], 1);
  for (int i = 0; i < 2; i++) { /* twice: the second finds what the first has built */
    int bad = attempt(arm, count, argv[2], 0, 0, &all, good);
    if (bad) return bad;
  }
  if (steady(arm, calls_of, argv[2], true) || steady(arm, calls_of, argv[2], false)) return 1;
  for (int which = 0; which < CODES; which++) {
    for (long n = 1 + which % stride; n <= all; n += which == 0 ? 1 : stride, tried++) {
      int bad = attempt(arm, count, argv[2], n, which, &calls, good);
      if (bad) return 1;
    }
  }
  printf("%ld calls, %ld failures\n", all, tried);
  return 0;
}
