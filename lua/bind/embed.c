/*
** embed.c: unpacks the Lua files inside the library; how they are packed is told in embed.h. Nothing here knows about Lua.
*/
#include "embed.h"

/* The next n bits of the texts; bits that come first are the lowest. */
static unsigned take(uint32_t *at, unsigned n) {
  const unsigned char *p = moon__embed_texts + *at / 8;
  uint32_t bits = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
  bits = bits >> *at % 8 & ((1u << n) - 1);
  *at += n;
  return bits;
}

void moon__embed_unpack(const moon_embed *e, char *out) {
  unsigned waiting[MOON_EMBED_DEPTH];
  uint32_t at = e->first;
  for (uint32_t i = 0; i < e->symbols; i++) {
    unsigned length = take(&at, 2);
    int n = 0;
    waiting[n++] = MOON_EMBED_FIRST_CODE(length) + take(&at, MOON_EMBED_CODE_BITS(length));
    while (n > 0) {
      const unsigned char *pair = moon__embed_pairs + (size_t)waiting[--n] * 3;
      unsigned left = pair[0] | (pair[1] & 15u) << 8, right = pair[1] >> 4 | (unsigned)pair[2] << 4;
      if (left == MOON_EMBED_BYTE) {
        *out++ = (char)right;
      } else {
        waiting[n++] = right;
        waiting[n++] = left;
      }
    }
  }
}
