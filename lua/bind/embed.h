/*
** embed.h: our Lua files inside the library, as source text that is packed by pairs: a symbol below MOON_EMBED_BYTES is a byte, any
** other stands for the two symbols of its pair. Two symbols of 12 bits are three bytes. The data is made by the build
** (spec/support/embed.c), and is a third of the text.
*/
#ifndef MOON_LUA_EMBED_H
#define MOON_LUA_EMBED_H
#include <stddef.h>
#include <stdint.h>

enum {
  MOON_EMBED_BYTES = 256,
  MOON_EMBED_SYMBOLS = 4096,
  MOON_EMBED_DEPTH = 64 /* pairs within pairs */
};

typedef struct moon_embed {
  const char *module; /* "moonlet.nn.dense" */
  const char *suffix; /* ".lua" or "/init.lua": what follows the module's name in its path */
  uint32_t first, symbols; /* where its text is in moon__embed_texts */
  uint32_t bytes;          /* of the text, unpacked */
} moon_embed;

extern const moon_embed moon__embed[];          /* ends with a NULL module */
extern const unsigned char moon__embed_pairs[]; /* of the symbols from MOON_EMBED_BYTES on */
extern const unsigned char moon__embed_texts[];

/* Unpacks the text of e into out, e->bytes long. */
void moon__embed_unpack(const moon_embed *e, char *out);
#endif
