/*
** embed.c: runs a model that Lua trained, without Lua. It loads what examples/digits.lua saved, reads one image of the CSV file
** and prints the class that the model sees in it.
**
**   cc examples/embed.c -Icore build/libmoonlet.a -lm -ldl -pthread -o build/embed
**   build/embed build/digits.moon examples/data/digits.csv 17
*/
#include <moonlet.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10 };

/* Reads line `row` (from 0) of the file: 64 pixels from 0 to 16, scaled to [0, 1], and the label. */
static int read_image(const char *path, long row, float *pixels, int *label) {
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  char line[1024];
  long i = -1;
  while (i < row && fgets(line, sizeof line, file)) i++;
  fclose(file);
  if (i != row || row < 0) return 0;
  char *at = line;
  for (int k = 0; k < PIXELS; k++) {
    pixels[k] = strtof(at, &at) / 16;
    if (*at++ != ',') return 0;
  }
  *label = (int)strtol(at, NULL, 10);
  return 1;
}

/* The model's graph, compiled for one image [1, 8, 8, 1]; NULL with the error in ctx. */
static moon_program *compile_predict(moon_context *ctx, const moon_model *model) {
  moon_type type = {MOON_DTYPE_f32, {4, 0, {1, SIDE, SIDE, 1}}};
  return moon_compile(ctx, moon_model_graph(model, "predict"), &type, NULL);
}

static int largest(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

int main(int argc, char **argv) {
  const char *model_path = argc > 1 ? argv[1] : "build/digits.moon";
  const char *csv_path = argc > 2 ? argv[2] : "examples/data/digits.csv";
  long row = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
  float pixels[PIXELS], scores[CLASSES];
  int label = 0, result = EXIT_FAILURE;
  if (!read_image(csv_path, row, pixels, &label)) {
    fprintf(stderr, "embed: no image at row %ld of %s\n", row, csv_path);
    return EXIT_FAILURE;
  }

  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = runtime ? moon_context_new(runtime) : NULL;
  if (!ctx) return EXIT_FAILURE;
  const int64_t shape[] = {1, SIDE, SIDE, 1};
  moon_model *model = moon_model_load(ctx, model_path);
  moon_program *program = model ? compile_predict(ctx, model) : NULL;
  moon_tensor *image = program ? moon_tensor_from(ctx, MOON_DTYPE_f32, 4, shape, pixels) : NULL;
  moon_tensor *output = NULL; /* made by the first run, written in place by later ones */

  if (image && moon_program_run(ctx, program, &image, &output, 0) == MOON_OK &&
      moon_tensor_read(ctx, output, MOON_DTYPE_f32, scores, sizeof scores) == MOON_OK) {
    printf("row %ld: the model reads %d, the label is %d\n", row, largest(scores, CLASSES), label);
    result = EXIT_SUCCESS;
  } else {
    fprintf(stderr, "embed: %s\n", moon_error(ctx));
  }

  moon_tensor_release(output);
  moon_tensor_release(image);
  moon_program_release(program);
  moon_model_release(model);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return result;
}
