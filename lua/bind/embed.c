/*
** embed.c: unpacks the Lua files inside the library; how they are packed is told in embed.h. Nothing here knows about Lua.
*/
#include "embed.h"

/* Symbol i of a list: two are three bytes. */
static unsigned symbol_at(const unsigned char *list, uint32_t i) {
  const unsigned char *two = list + (size_t)(i / 2) * 3;
  return i % 2 == 0 ? two[0] | (two[1] & 15u) << 8 : two[1] >> 4 | (unsigned)two[2] << 4;
}

void moon__embed_unpack(const moon_embed *e, char *out) {
  unsigned waiting[MOON_EMBED_DEPTH];
  for (uint32_t i = 0; i < e->symbols; i++) {
    int n = 0;
    waiting[n++] = symbol_at(moon__embed_texts, e->first + i);
    while (n > 0) {
      unsigned s = waiting[--n];
      for (; s >= MOON_EMBED_BYTES; s = symbol_at(moon__embed_pairs, 2 * (s - MOON_EMBED_BYTES))) {
        waiting[n++] = symbol_at(moon__embed_pairs, 2 * (s - MOON_EMBED_BYTES) + 1);
      }
      *out++ = (char)s;
    }
  }
}
