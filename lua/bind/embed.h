/* embed.h: our Lua files inside the library, as source text. The table is made by the build. */
#ifndef MOON_LUA_EMBED_H
#define MOON_LUA_EMBED_H
#include <stddef.h>

typedef struct moon_embed {
  const char *module; /* "moonlet.nn.dense" */
  const char *chunk;  /* "=moonlet/nn/dense.lua" */
  const unsigned char *data;
  size_t bytes;
} moon_embed;
extern const moon_embed moon__embed[]; /* sorted by module; ends with a NULL module */
#endif
