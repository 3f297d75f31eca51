/*
** text.h: a text that grows while it is written. A failed allocation is remembered and reported once, at the end. Formatting is
** for names and whole numbers; values go through number.h, because printf's are the locale's.
*/
#ifndef MOON_TEXT_H
#define MOON_TEXT_H
#include "moonlet.h"

typedef struct moon_text {
  moon_runtime *runtime;
  char *text;
  size_t n, capacity;
  bool failed;
} moon_text;

void moon__text_put(moon_text *t, const char *words);
void moon__text_put_bytes(moon_text *t, const char *bytes, size_t n);
void moon__text_format(moon_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In double quotes, with \" \\ \n and \xHH for other control characters. */
void moon__text_quote(moon_text *t, const char *words);
void moon__text_dim(moon_text *t, moon_dim d);
/* "f32 [batch,3]" */
void moon__text_type(moon_text *t, const moon_type *type);
/* Room for n bytes more at text + n; NULL: memory is out. The caller adds to n what it wrote. */
char *moon__text_room(moon_text *t, size_t n);
/* Ends the text: the caller owns it and frees it with moon__free. NULL with an error when memory was out. */
char *moon__text_end(moon_context *ctx, moon_text *t);
#endif
