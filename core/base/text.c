/* text.c: a growing text; it doubles, and has a zero behind its end from the first write on. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"

char *moon__text_room(moon_text *t, size_t n) {
  size_t need, grown = t->capacity < 256 ? 256 : t->capacity;
  char *fresh;
  if (t->failed || !moon__add_size(t->n, n, &need) || !moon__add_size(need, 1, &need)) t->failed = true;
  if (t->failed || need <= t->capacity) return t->failed ? NULL : t->text + t->n;
  while (grown < need && moon__mul_size(grown, 2, &grown)) {}
  fresh = grown < need ? NULL : moon__realloc(t->runtime, t->text, grown);
  if (!fresh) {
    t->failed = true;
    return NULL;
  }
  t->text = fresh;
  t->capacity = grown;
  return t->text + t->n;
}

void moon__text_put_bytes(moon_text *t, const char *bytes, size_t n) {
  char *room = moon__text_room(t, n);
  if (!room) return;
  if (n > 0) memcpy(room, bytes, n);
  room[n] = '\0';
  t->n += n;
}

void moon__text_put(moon_text *t, const char *words) { moon__text_put_bytes(t, words, strlen(words)); }

void moon__text_format(moon_text *t, const char *format, ...) {
  va_list args, again;
  int n;
  char *room;
  va_start(args, format);
  va_copy(again, args);
  n = vsnprintf(NULL, 0, format, args);
  room = n < 0 ? NULL : moon__text_room(t, (size_t)n);
  if (room) {
    vsnprintf(room, (size_t)n + 1, format, again);
    t->n += (size_t)n;
  }
  va_end(again);
  va_end(args);
}

void moon__text_quote(moon_text *t, const char *words) {
  static const char hex[] = "0123456789abcdef";
  moon__text_put(t, "\"");
  for (; *words; words++) {
    unsigned char c = (unsigned char)*words;
    char escape[5] = {'\\', 'x', hex[c >> 4], hex[c & 15], '\0'};
    if (c == '\n') {
      moon__text_put(t, "\\n");
    } else if (c == '"' || c == '\\') {
      escape[1] = (char)c;
      moon__text_put_bytes(t, escape, 2);
    } else if (c < 0x20 || c == 0x7f) {
      moon__text_put(t, escape);
    } else {
      moon__text_put_bytes(t, words, 1);
    }
  }
  moon__text_put(t, "\"");
}

void moon__text_dim(moon_text *t, moon_dim d) {
  size_t room_bytes = 64, n;
  char *room;
  do {
    if (!moon__mul_size(room_bytes, 4, &room_bytes)) return;
    room = moon__text_room(t, room_bytes);
    if (!room) return;
    n = strlen(moon_dim_text(t->runtime, d, room, room_bytes));
  } while (n + 1 == room_bytes);
  t->n += n;
}

void moon__text_type(moon_text *t, const moon_type *type) {
  moon__text_put(t, moon_dtype_name(type->dtype));
  moon__text_put(t, " [");
  for (int i = 0; i < type->shape.ndim; i++) {
    if (i > 0) moon__text_put(t, ",");
    moon__text_dim(t, type->shape.dim[i]);
  }
  moon__text_put(t, "]");
}

char *moon__text_end(moon_context *ctx, moon_text *t) {
  moon__text_put(t, "");
  if (!t->failed) return t->text;
  moon__free(t->runtime, t->text);
  t->text = NULL;
  moon__fail_memory(ctx);
  return NULL;
}
