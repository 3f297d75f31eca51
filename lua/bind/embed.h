/*
** embed.h: our Lua files inside the library, as source text that is packed by pairs. A symbol is a byte, or stands for a pair of
** symbols. In a text it is two bits that say how many follow, and those: 6, 8, 10 or 12, the most frequent symbols the fewest. The
** data is made by the build (spec/support/embed.c), and is a little more than a quarter of the text.
*/
#ifndef MOON_LUA_EMBED_H
#define MOON_LUA_EMBED_H
#include <stddef.h>
#include <stdint.h>

enum {
  MOON_EMBED_SYMBOLS = 4095,
  MOON_EMBED_BYTE = 4095, /* in place of the left symbol of a pair: the right one is a byte */
  MOON_EMBED_DEPTH = 64   /* pairs within pairs */
};
#define MOON_EMBED_CODE_BITS(length) (6 + 2 * (length))                       /* length from 0 to 3 */
#define MOON_EMBED_FIRST_CODE(length) (((1u << (2 * (length))) - 1) / 3 * 64) /* symbols with shorter codes: 0, 64, 320, 1344 */

typedef struct moon_embed {
  const char *module; /* "moonlet.nn.dense" */
  const char *suffix; /* ".lua" or "/init.lua": what follows the module's name in its path */
  uint32_t first;     /* the bit of moon__embed_texts where its text begins */
  uint32_t symbols;   /* of its text */
  uint32_t bytes;     /* of its text, unpacked */
} moon_embed;

extern const moon_embed moon__embed[];          /* ends with a NULL module */
extern const unsigned char moon__embed_pairs[]; /* of all symbols; two of 12 bits are three bytes */
extern const unsigned char moon__embed_texts[];

/* Unpacks the text of e into out, e->bytes long. */
void moon__embed_unpack(const moon_embed *e, char *out);
#endif
