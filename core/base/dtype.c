/* dtype.c: names, sizes and promotion of element types, all from the one map in moonlet.h. */
#include <string.h>

#include "base/shape.h"

static const struct {
  const char *name;
  size_t bytes;
} dtypes[MOON_DTYPE_COUNT] = {
#define MOON_DTYPE_ROW(name, ctype, bytes) {#name, bytes},
    MOON_DTYPE_MAP(MOON_DTYPE_ROW)
#undef MOON_DTYPE_ROW
};

static bool is_dtype(moon_dtype dtype) { return (unsigned)dtype < MOON_DTYPE_COUNT; }

const char *moon_dtype_name(moon_dtype dtype) { return is_dtype(dtype) ? dtypes[dtype].name : "none"; }
size_t moon_dtype_bytes(moon_dtype dtype) { return is_dtype(dtype) ? dtypes[dtype].bytes : 0; }

moon_dtype moon_dtype_find(const char *name) {
  for (int i = 0; name && i < (int)MOON_DTYPE_COUNT; i++) {
    if (strcmp(dtypes[i].name, name) == 0) return (moon_dtype)i;
  }
  return MOON_DTYPE_COUNT;
}

/* Neither half holds all that the other does. */
moon_dtype moon_dtype_promote(moon_dtype a, moon_dtype b) {
  if (a != b && moon__dtype_is_half(a) && moon__dtype_is_half(b)) return MOON_DTYPE_f32;
  return a > b ? a : b;
}
