/*
** repeat_wrap.c: linked with an example in C, whose calls of moon_program_run come here instead (--wrap). The first step is run a
** thousand times more, with what the example gives it; the library must hold as many bytes and blocks afterwards as before.
*/
#include <moonlet.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 1000 };

moon_status __real_moon_program_run(moon_context *ctx, moon_program *p, moon_tensor *const *in, moon_tensor **out, uint64_t step);
moon_status __wrap_moon_program_run(moon_context *ctx, moon_program *p, moon_tensor *const *in, moon_tensor **out, uint64_t step);

static void check(const moon_memory *before, const moon_memory *after) {
  printf("memory before and after %d steps: %zu and %zu bytes in %zu and %zu blocks\n", STEPS, before->live_bytes, after->live_bytes,
         before->live_blocks, after->live_blocks);
  if (after->live_bytes != before->live_bytes || after->live_blocks != before->live_blocks) exit(EXIT_FAILURE);
}

moon_status __wrap_moon_program_run(moon_context *ctx, moon_program *p, moon_tensor *const *in, moon_tensor **out, uint64_t step) {
  static bool repeated;
  moon_status status = __real_moon_program_run(ctx, p, in, out, step);
  if (repeated || status != MOON_OK) return status;
  repeated = true;
  moon_memory before = moon_runtime_memory(moon_context_runtime(ctx));
  for (int i = 0; status == MOON_OK && i < STEPS; i++) status = __real_moon_program_run(ctx, p, in, out, step);
  moon_memory after = moon_runtime_memory(moon_context_runtime(ctx));
  check(&before, &after);
  return status;
}
