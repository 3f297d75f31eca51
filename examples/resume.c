/*
** resume.c: goes on training a model that Lua saved with its training graph (model:save(path, { training = true })), as
** examples/digits.lua does. Weights, optimizer and step go on where they were; the result is saved to another file.
**
**   cc examples/resume.c -Icore build/libmoonlet.a -lm -ldl -pthread -o build/resume
**   build/resume build/digits.moon examples/data/digits.csv build/resumed.moon
*/
#include <moonlet.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, BATCH = 64, STEPS = 40 };

/* Copies BATCH rows of the table [rows, 65], from `first` on and around: pixels as images [BATCH, 8, 8, 1] and labels [BATCH]. */
static moon_status fill_batch(moon_context *ctx, moon_tensor *table, int64_t first, moon_tensor **batch) {
  float *x = moon_tensor_data(batch[0]), *y = moon_tensor_data(batch[1]);
  const float *rows = moon_tensor_data(table);
  if (!x || !y || !rows) return moon_error_status(ctx);
  for (int64_t i = 0; i < BATCH; i++) {
    const float *row = rows + (first + i) % moon_tensor_size(table, 0) * moon_tensor_size(table, 1);
    for (int64_t k = 0; k < SIDE * SIDE; k++) x[i * SIDE * SIDE + k] = row[k] / 16;
    y[i] = row[SIDE * SIDE];
  }
  return MOON_OK;
}

static moon_program *compile_training(moon_context *ctx, const moon_model *model) {
  moon_graph *graph = moon_model_graph(model, "train");
  if (!graph) {
    fprintf(stderr, "resume: the model was saved without its training graph\n");
    return NULL;
  }
  moon_type types[] = {{MOON_DTYPE_f32, {4, 0, {BATCH, SIDE, SIDE, 1}}}, {MOON_DTYPE_f32, {1, 0, {BATCH}}}};
  moon_compile_options options = {.mode = MOON_TRAINING};
  return moon_compile(ctx, graph, types, &options);
}

/* Trains for STEPS more steps. outputs: the loss, then the metrics; made by the first run, written in place by the others. */
static moon_status train(moon_context *ctx, moon_program *program, moon_tensor *table, moon_tensor **batch, uint64_t first_step) {
  moon_tensor *outputs[8] = {NULL};
  moon_status status = MOON_OK;
  float loss = 0;
  if (moon_program_output_count(program) > 8) return MOON_EARGUMENT;
  for (int64_t i = 0; i < STEPS && status == MOON_OK; i++) {
    status = fill_batch(ctx, table, i * BATCH, batch);
    if (status == MOON_OK) status = moon_program_run(ctx, program, batch, outputs, first_step + (uint64_t)i);
    if (status == MOON_OK) status = moon_tensor_read(ctx, outputs[0], MOON_DTYPE_f32, &loss, sizeof loss);
    if (status == MOON_OK && i % 10 == 9) printf("step %.0f  loss %.4f\n", (double)first_step + (double)i + 1, (double)loss);
  }
  for (int i = 0; i < 8; i++) moon_tensor_release(outputs[i]);
  return status;
}

int main(int argc, char **argv) {
  const char *model_path = argc > 1 ? argv[1] : "build/digits.moon";
  const char *csv_path = argc > 2 ? argv[2] : "examples/data/digits.csv";
  const char *out_path = argc > 3 ? argv[3] : "build/resumed.moon";
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  if (!ctx) return EXIT_FAILURE;

  const int64_t x_shape[] = {BATCH, SIDE, SIDE, 1}, y_shape[] = {BATCH};
  moon_tensor *batch[] = {moon_tensor_new(ctx, MOON_DTYPE_f32, 4, x_shape), moon_tensor_new(ctx, MOON_DTYPE_f32, 1, y_shape)};
  moon_tensor *table = moon_csv_load(ctx, csv_path);
  moon_model *model = table ? moon_model_load(ctx, model_path) : NULL;
  moon_program *program = model ? compile_training(ctx, model) : NULL;
  uint64_t step = model ? moon_model_step(model) : 0;
  bool done = program && batch[0] && batch[1] && train(ctx, program, table, batch, step) == MOON_OK &&
              moon_model_save(ctx, model, out_path, step + STEPS) == MOON_OK;
  if (done) printf("trained from step %.0f on, saved: %s\n", (double)step, out_path);
  else fprintf(stderr, "resume: %s\n", moon_error(ctx));

  moon_program_release(program);
  moon_model_release(model);
  moon_tensor_release(table);
  for (int i = 0; i < 2; i++) moon_tensor_release(batch[i]);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
