/*
** op.c: the op table, search by name and the shape rules that many ops share. Rows come from gen/ops.def, which the build
** collects; no op is named here. Work on attributes is in attrs.c.
*/
#include "ops/op.h"

#include <string.h>

#define MOON_OP_ROW(name) extern MOON_OP(name);
#include "gen/ops.def"
#undef MOON_OP_ROW

const moon_op *const moon__ops[MOON_OP_COUNT] = {
#define MOON_OP_ROW(name) [MOON_OP_##name] = &moon__op_##name,
#include "gen/ops.def"
#undef MOON_OP_ROW
};

/* Lengths of the names, so that a search compares a byte before it compares text. */
static const uint8_t name_lengths[MOON_OP_COUNT] = {
#define MOON_OP_ROW(name) [MOON_OP_##name] = sizeof #name - 1,
#include "gen/ops.def"
#undef MOON_OP_ROW
};

const moon_op *moon__op_find(const char *name) {
  size_t n = strlen(name);
  for (int i = 0; i < MOON_OP_COUNT; i++) {
    if (name_lengths[i] == n && memcmp(moon__ops[i]->name, name, n) == 0) return moon__ops[i];
  }
  return NULL;
}

moon_status moon__infer_same(moon_context *ctx, moon_infer *f) {
  (void)ctx;
  f->out[0] = f->in[0];
  return MOON_OK;
}
