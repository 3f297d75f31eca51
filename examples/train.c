/*
** train.c: builds and trains a small network in C alone. A step is one graph: forward, loss, gradients and the update of the
** weights; compiled once, it is run with the caller's buffers.
**
**   cc examples/train.c -Icore build/libmoonlet.a -lm -ldl -pthread -o build/train
**   build/train
*/
#include <math.h>
#include <moonlet.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 64, HIDDEN = 16, WEIGHTS = 4, STEPS = 2000 };

/* A variable of small numbers that are the same in every run. */
static moon_variable *new_weight(moon_context *ctx, const char *name, int ndim, const int64_t *shape, double scale) {
  moon_tensor *t = moon_tensor_new(ctx, MOON_DTYPE_f32, ndim, shape);
  float *x = t ? moon_tensor_data(t) : NULL;
  for (int64_t i = 0; x && i < moon_tensor_count(t); i++) x[i] = (float)(scale * sin(12.9898 * (double)(i + 1)));
  moon_variable *v = t ? moon_variable_new(ctx, name, t, true) : NULL;
  moon_tensor_release(t);
  return v;
}

/* tanh(x w0 + w1) w2 + w3: x [n, 1] -> [n, 1] */
static moon_value *network(moon_context *ctx, moon_value *x, moon_variable *const *w) {
  moon_value *v[WEIGHTS];
  for (int i = 0; i < WEIGHTS; i++) v[i] = moon_variable_value(ctx, w[i]);
  moon_value *h = moon_apply2(ctx, "add", NULL, moon_apply2(ctx, "matmul", NULL, x, v[0]), v[1]);
  h = moon_apply1(ctx, "tanh", NULL, h);
  return moon_apply2(ctx, "add", NULL, moon_apply2(ctx, "matmul", NULL, h, v[2]), v[3]);
}

/* One step of gradient descent as a graph: inputs x [n, 1] and y [n, 1], output the loss. */
static moon_graph *training_graph(moon_context *ctx, moon_variable *const *w) {
  moon_dim shape[] = {moon_dim_named(ctx, "batch"), 1};
  moon_value *in[] = {moon_input(ctx, "x", MOON_DTYPE_f32, 2, shape), moon_input(ctx, "y", MOON_DTYPE_f32, 2, shape)};
  moon_value *error = moon_apply2(ctx, "sub", NULL, network(ctx, in[0], w), in[1]);
  moon_value *loss = moon_apply1(ctx, "mean", NULL, moon_apply1(ctx, "square", NULL, error));
  moon_value *grads[WEIGHTS], *effects[WEIGHTS];
  if (moon_gradients_of(ctx, loss, WEIGHTS, w, grads) != MOON_OK) return NULL;
  moon_value *rate = moon_scalar(ctx, MOON_DTYPE_f32, 0.1);
  for (int i = 0; i < WEIGHTS; i++) {
    moon_value *change = moon_apply2(ctx, "mul", NULL, rate, grads[i]);
    effects[i] = moon_assign(ctx, w[i], moon_apply2(ctx, "sub", NULL, moon_variable_value(ctx, w[i]), change));
  }
  return moon_graph_new(ctx, 2, in, 1, &loss, WEIGHTS, effects);
}

static moon_program *compile_training(moon_context *ctx, moon_variable *const *w) {
  moon_scope_open(ctx); /* the values of the graph live on in it; all others end here */
  moon_graph *graph = training_graph(ctx, w);
  moon_type types[] = {{MOON_DTYPE_f32, {2, 0, {POINTS, 1}}}, {MOON_DTYPE_f32, {2, 0, {POINTS, 1}}}};
  moon_compile_options options = {.mode = MOON_TRAINING};
  moon_program *program = graph ? moon_compile(ctx, graph, types, &options) : NULL;
  moon_graph_release(graph);
  moon_scope_close(ctx);
  return program;
}

/* Runs the program STEPS times; the loss tensor is made by the first run and written in place by the others. */
static moon_status train(moon_context *ctx, moon_program *program, moon_tensor *const *data, float *last_loss) {
  moon_tensor *loss = NULL;
  moon_status status = MOON_OK;
  for (uint64_t step = 0; step < STEPS && status == MOON_OK; step++) {
    status = moon_program_run(ctx, program, data, &loss, step);
    if (status == MOON_OK) status = moon_tensor_read(ctx, loss, MOON_DTYPE_f32, last_loss, sizeof *last_loss);
    if (status == MOON_OK && step % 500 == 0) printf("step %4d  loss %.5f\n", (int)step, (double)*last_loss);
  }
  moon_tensor_release(loss);
  return status;
}

int main(void) {
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  if (!ctx) return EXIT_FAILURE;

  float x[POINTS], y[POINTS], loss = 0;
  for (int i = 0; i < POINTS; i++) {
    x[i] = -3 + 6 * (float)i / (POINTS - 1);
    y[i] = sinf(x[i]);
  }
  const int64_t points[] = {POINTS, 1}, in[] = {1, HIDDEN}, hidden[] = {HIDDEN}, out[] = {HIDDEN, 1}, one[] = {1};
  moon_tensor *data[] = {moon_tensor_from(ctx, MOON_DTYPE_f32, 2, points, x), moon_tensor_from(ctx, MOON_DTYPE_f32, 2, points, y)};
  moon_variable *w[WEIGHTS] = {new_weight(ctx, "w0", 2, in, 1), new_weight(ctx, "w1", 1, hidden, 1),
                               new_weight(ctx, "w2", 2, out, 0.3), new_weight(ctx, "w3", 1, one, 0)};
  bool made = data[0] && data[1] && w[0] && w[1] && w[2] && w[3];

  moon_program *program = made ? compile_training(ctx, w) : NULL;
  bool trained = program && train(ctx, program, data, &loss) == MOON_OK;
  if (trained) printf("step %4d  loss %.5f\n", STEPS, (double)loss);
  else fprintf(stderr, "train: %s\n", moon_error(ctx));

  moon_program_release(program);
  for (int i = 0; i < WEIGHTS; i++) moon_variable_release(w[i]);
  for (int i = 0; i < 2; i++) moon_tensor_release(data[i]);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return trained ? EXIT_SUCCESS : EXIT_FAILURE;
}
