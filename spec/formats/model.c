/* model.c: a saved model from memory and back: the bytes that are encoded are those that saving writes, and hostile bytes are
** refused. Arguments: a file that model:save wrote, and a path to write to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moonlet.h"

static char *read_file(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  char *data = malloc(1 << 20);
  *bytes = f && data ? fread(data, 1, 1 << 20, f) : 0;
  if (f) fclose(f);
  return data;
}

static int fail(const char *what, const moon_context *ctx) {
  printf("failed: %s: %s\n", what, moon_error(ctx));
  return 1;
}

int main(int argc, char **argv) {
  size_t bytes, encoded_bytes = 0, saved_bytes;
  char *data = argc > 2 ? read_file(argv[1], &bytes) : NULL;
  moon_runtime *runtime = moon_runtime_new(NULL);
  moon_context *ctx = moon_context_new(runtime);
  if (!data || !bytes) return fail("no file", ctx);
  moon_model *m = moon_model_decode(ctx, data, bytes);
  if (!m || !moon_model_graph(m, "predict") || moon_model_variable_count(m) == 0) return fail("decode", ctx);
  char *encoded = moon_model_encode(ctx, m, 7, &encoded_bytes);
  if (!encoded || moon_model_save(ctx, m, argv[2], 7) != MOON_OK) return fail("encode", ctx);
  char *saved = read_file(argv[2], &saved_bytes);
  if (saved_bytes != encoded_bytes || memcmp(saved, encoded, saved_bytes) != 0) return fail("other bytes", ctx);
  moon_model *back = moon_model_decode(ctx, encoded, encoded_bytes);
  if (!back || moon_model_step(back) != 7) return fail("decode again", ctx);
  if (moon_model_decode(ctx, data, bytes - 1) || moon_error_status(ctx) != MOON_EFORMAT) return fail("a cut file", ctx);
  if (moon_model_decode(ctx, NULL, 0) || moon_error_status(ctx) != MOON_EFORMAT) return fail("nothing", ctx);
  free(data);
  free(saved);
  moon_text_release(ctx, encoded);
  moon_model_release(back);
  moon_model_release(m);
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  printf("ok\n");
  return 0;
}
