/* text.c: text that grows, for kernel sources. Failing to grow is remembered, so that writers need not look each time. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "opencl.h"

static bool make_room(moon_cl_text *t, size_t more) {
  size_t need;
  if (t->failed) return false;
  if (moon__add_size(t->n, more, &need) && moon__add_size(need, 1, &need) && need <= t->capacity) return true;
  size_t capacity = t->capacity ? t->capacity : 1024;
  while (capacity < need && capacity < SIZE_MAX / 2) capacity *= 2;
  char *s = capacity >= need ? moon__realloc(t->runtime, t->s, capacity) : NULL;
  t->failed = !s;
  if (!s) return false;
  t->s = s;
  t->capacity = capacity;
  return true;
}

void moon__cl_put_bytes(moon_cl_text *t, const char *s, size_t n) {
  if (!make_room(t, n)) return;
  memcpy(t->s + t->n, s, n);
  t->n += n;
  t->s[t->n] = '\0';
}

void moon__cl_put(moon_cl_text *t, const char *format, ...) {
  char small[512];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(small, sizeof small, format, args);
  va_end(args);
  if (n < 0) return;
  if ((size_t)n < sizeof small) {
    moon__cl_put_bytes(t, small, (size_t)n);
    return;
  }
  if (!make_room(t, (size_t)n)) return;
  va_start(args, format);
  vsnprintf(t->s + t->n, (size_t)n + 1, format, args);
  va_end(args);
  t->n += (size_t)n;
}
