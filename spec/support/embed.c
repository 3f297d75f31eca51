/*
** embed.c: a tool of the build. `embed FILE...`, run at the top of the checkout, prints the Lua files of the library as the C data
** that lua/bind/embed.h declares. What only readers need is taken out (comments, spaces; lines keep their numbers), so long strings
** may not be used in these files. Then the texts are packed by pairs (Larsson and Moffat, "Offline dictionary-based compression",
** 1999): the pair of symbols that is met most often becomes a symbol of its own, again and again. So a file is a list of symbols,
** and unpacking it needs the table of pairs and no other file. Frequent symbols have short codes. Many pairs are made in a round: a tenth of the time, 2 % more bytes.
*/
#include "embed.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 1024, MIN_USES = 4, BYTES = 256, MAX_SYMBOLS = BYTES + MOON_EMBED_SYMBOLS };
#define BUCKETS ((size_t)1 << 20)
#define ROUND_SHARE 0.7 /* pairs with this share of the uses of the first are made in its round */

typedef struct text {
  const char *path;
  size_t first, last; /* its symbols; when they are printed, their first bit and their number */
  size_t bytes;       /* unpacked */
} text;

typedef struct pair {
  unsigned left, right;
} pair;

/* A bucket of a table by pairs. */
typedef struct bucket {
  pair of;
  unsigned uses;   /* 0: empty */
  unsigned symbol; /* what the pair became; 0: nothing */
} bucket;

typedef struct packer {
  text texts[MAX_FILES];
  int n_texts;
  unsigned *symbols; /* of all texts */
  size_t length;
  pair pairs[MAX_SYMBOLS]; /* from BYTES on; symbols below are bytes */
  unsigned n_symbols, max_symbols; /* as many as embed.h has room for, and the bytes that are not used */
  unsigned order[MAX_SYMBOLS], n_coded, code[MAX_SYMBOLS]; /* symbols by code, and codes by symbol */
  bucket *table;   /* [BUCKETS] */
  bucket **chosen; /* [BUCKETS] */
} packer;

static void fail(const char *path, const char *why) {
  fprintf(stderr, "embed: %s: %s\n", path, why);
  exit(EXIT_FAILURE);
}

static void *make(size_t n, size_t bytes) {
  void *p = calloc(n, bytes);
  if (!p) fail("memory", "there is not enough");
  return p;
}

static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  long bytes = -1;
  char *data;
  if (f && fseek(f, 0, SEEK_END) == 0) bytes = ftell(f);
  if (bytes < 0) fail(path, "cannot be read");
  rewind(f);
  data = make((size_t)bytes + 1, 1);
  if (fread(data, 1, (size_t)bytes, f) != (size_t)bytes) fail(path, "cannot be read");
  fclose(f);
  return data;
}

/* ---- What only readers need ---- */

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 128; }

/* Whether two tokens would read as others without the space between them. */
static bool needs_space(char before, char after) {
  if (in_word(before) || before == '.') return in_word(after) || after == '.';
  return before == '-' && after == '-';
}

static bool is_long_bracket(const char *p) {
  if (*p++ != '[') return false;
  while (*p == '=') p++;
  return *p == '[';
}

static const char *end_of_string(const char *p) {
  char quote = *p++;
  while (*p && *p != quote) p += *p == '\\' && p[1] ? 2 : 1;
  return *p ? p + 1 : p;
}

/* Strips a Lua file in place. */
static void strip(const char *path, char *source) {
  const char *p = source;
  char *to = source, last = '\n';
  bool space = false;
  while (*p) {
    bool comment = p[0] == '-' && p[1] == '-';
    if (is_long_bracket(comment ? p + 2 : p)) fail(path, "has a long string or comment");
    if (*p == ' ') {
      space = true;
      p++;
    } else if (comment) {
      p += strcspn(p, "\n");
    } else {
      const char *end = *p == '"' || *p == '\'' ? end_of_string(p) : p + 1;
      if (space && needs_space(last, *p)) *to++ = ' ';
      space = false;
      last = end[-1];
      while (p < end) *to++ = *p++;
    }
  }
  *to = '\0';
}

static void add_file(packer *k, const char *path) {
  char *source = read_file(path);
  text *t = &k->texts[k->n_texts++];
  strip(path, source);
  *t = (text){path, k->length, k->length + strlen(source), strlen(source)};
  k->symbols = realloc(k->symbols, (t->last + 1) * sizeof *k->symbols);
  if (!k->symbols) fail("memory", "there is not enough");
  for (const char *p = source; *p; p++) k->symbols[k->length++] = (unsigned char)*p;
  free(source);
}

/* ---- Pairs ---- */

static bucket *find_bucket(packer *k, pair of) {
  size_t i = (of.left * (size_t)2654435761u + of.right * (size_t)40503u) % BUCKETS;
  while (k->table[i].uses > 0 && (k->table[i].of.left != of.left || k->table[i].of.right != of.right)) i = (i + 1) % BUCKETS;
  return &k->table[i];
}

static void count_pairs(packer *k) {
  memset(k->table, 0, BUCKETS * sizeof *k->table);
  for (int f = 0; f < k->n_texts; f++) {
    for (size_t i = k->texts[f].first; i + 1 < k->texts[f].last; i++) {
      pair of = {k->symbols[i], k->symbols[i + 1]};
      bucket *b = find_bucket(k, of);
      b->of = of;
      b->uses++;
    }
  }
}

/* Most uses first; the order of the rest is fixed too, so that equal files give equal bytes. */
static int by_uses(const void *a, const void *b) {
  const bucket *x = *(bucket *const *)a, *y = *(bucket *const *)b;
  if (x->uses != y->uses) return x->uses < y->uses ? 1 : -1;
  if (x->of.left != y->of.left) return x->of.left < y->of.left ? -1 : 1;
  return x->of.right < y->of.right ? -1 : 1;
}

/* Makes symbols of the pairs that are met most. False: none is worth its place, or there is no symbol left. */
static bool choose_pairs(packer *k) {
  unsigned before = k->n_symbols;
  size_t n = 0;
  for (size_t i = 0; i < BUCKETS; i++) {
    if (k->table[i].uses >= MIN_USES) k->chosen[n++] = &k->table[i];
  }
  qsort(k->chosen, n, sizeof *k->chosen, by_uses);
  for (size_t i = 0; i < n && k->n_symbols < k->max_symbols && k->chosen[i]->uses >= ROUND_SHARE * k->chosen[0]->uses; i++) {
    k->pairs[k->n_symbols] = k->chosen[i]->of;
    k->chosen[i]->symbol = k->n_symbols++;
  }
  return k->n_symbols > before;
}

static void replace_pairs(packer *k) {
  size_t to = 0;
  for (int f = 0; f < k->n_texts; f++) {
    text *t = &k->texts[f];
    size_t i = t->first;
    t->first = to;
    while (i < t->last) {
      unsigned symbol = i + 1 < t->last ? find_bucket(k, (pair){k->symbols[i], k->symbols[i + 1]})->symbol : 0;
      k->symbols[to++] = symbol ? symbol : k->symbols[i];
      i += symbol ? 2 : 1;
    }
    t->last = to;
  }
  k->length = to;
}

/* As many symbols wait while one is unpacked as its pairs are deep. */
static void check_depth(const packer *k) {
  unsigned depth[MAX_SYMBOLS] = {0};
  for (unsigned s = BYTES; s < k->n_symbols; s++) {
    unsigned left = depth[k->pairs[s].left], right = depth[k->pairs[s].right];
    depth[s] = 1 + (left > right ? left : right);
    if (depth[s] >= MOON_EMBED_DEPTH) fail("pairs", "deeper than MOON_EMBED_DEPTH");
  }
}

/* ---- Codes ---- */

static unsigned count_bytes(const packer *k) {
  bool used[BYTES] = {false};
  unsigned n = 0;
  for (size_t i = 0; i < k->length; i++) used[k->symbols[i]] = true;
  for (int i = 0; i < BYTES; i++) n += used[i];
  return n;
}

/* Numbers the symbols, those met most often in the texts first. A byte that occurs in a pair only has its code too. */
static void number_symbols(packer *k) {
  unsigned uses[MAX_SYMBOLS] = {0};
  bool needed[BYTES] = {false};
  for (size_t i = 0; i < k->length; i++) uses[k->symbols[i]]++;
  for (unsigned s = BYTES; s < k->n_symbols; s++) {
    if (k->pairs[s].left < BYTES) needed[k->pairs[s].left] = true;
    if (k->pairs[s].right < BYTES) needed[k->pairs[s].right] = true;
  }
  for (unsigned s = 0; s < k->n_symbols; s++) {
    unsigned at;
    if (s < BYTES && !needed[s] && uses[s] == 0) continue;
    for (at = k->n_coded++; at > 0 && uses[k->order[at - 1]] < uses[s]; at--) k->order[at] = k->order[at - 1];
    k->order[at] = s;
  }
  for (unsigned i = 0; i < k->n_coded; i++) k->code[k->order[i]] = i;
}

static unsigned length_of(unsigned code) {
  unsigned length = 3;
  while (code < MOON_EMBED_FIRST_CODE(length)) length--;
  return length;
}

/* ---- C ---- */

/* Two symbols of 12 bits in three bytes. */
static void print_two(unsigned left, unsigned right) {
  printf("%u,%u,%u,\n", left & 255, left >> 8 | (right & 15) << 4, right >> 4);
}

static void print_pairs(const packer *k) {
  puts("const unsigned char moon__embed_pairs[] = {");
  for (unsigned i = 0; i < k->n_coded; i++) {
    unsigned s = k->order[i];
    if (s < BYTES) print_two(MOON_EMBED_BYTE, s);
    else print_two(k->code[k->pairs[s].left], k->code[k->pairs[s].right]);
  }
  puts("};");
}

typedef struct bit_writer {
  uint32_t bits, at; /* bits that make no byte yet; where the next one goes */
} bit_writer;

static void put(bit_writer *w, unsigned bits, unsigned n) {
  w->bits |= bits << w->at % 8;
  for (unsigned ready = w->at % 8 + n; ready >= 8; ready -= 8, w->bits >>= 8) printf("%u,\n", w->bits & 255);
  w->at += n;
}

/* Also turns the place where each text begins from symbols into bits. */
static void print_texts(packer *k) {
  bit_writer w = {0, 0};
  puts("const unsigned char moon__embed_texts[] = {");
  for (int f = 0; f < k->n_texts; f++) {
    text *t = &k->texts[f];
    uint32_t begin = w.at;
    for (size_t i = t->first; i < t->last; i++) {
      unsigned code = k->code[k->symbols[i]], length = length_of(code);
      put(&w, length, 2);
      put(&w, code - MOON_EMBED_FIRST_CODE(length), MOON_EMBED_CODE_BITS(length));
    }
    t->last -= t->first;
    t->first = begin;
  }
  printf("%u,0,0};\n", w.bits); /* the rest of the last byte; three are read at a time */
}

/* "lua/moonlet/nn/dense.lua" is module "moonlet.nn.dense"; "lua/moonlet/nn/init.lua" is "moonlet.nn", but the first of all keeps
** its whole name, for "moonlet" is the library itself. */
static void print_entry(const text *t) {
  const char *path = strncmp(t->path, "lua/", 4) == 0 ? t->path + 4 : t->path;
  int length = (int)(strlen(path) - strlen(".lua"));
  bool is_folder = length > 5 && strncmp(path + length - 5, "/init", 5) == 0 && strcmp(path, "moonlet/init.lua") != 0;
  if (is_folder) length -= 5;
  printf("  {\"");
  for (int i = 0; i < length; i++) putchar(path[i] == '/' ? '.' : path[i]);
  printf("\", \"%s\", %zu, %zu, %zu},\n", is_folder ? "/init.lua" : ".lua", t->first, t->last, t->bytes);
}

int main(int argc, char **argv) {
  packer *k = make(1, sizeof *k);
  k->table = make(BUCKETS, sizeof *k->table);
  k->chosen = make(BUCKETS, sizeof *k->chosen);
  k->n_symbols = BYTES;
  if (argc - 1 > MAX_FILES) fail("files", "more than MAX_FILES");
  for (int i = 1; i < argc; i++) add_file(k, argv[i]);
  k->max_symbols = MAX_SYMBOLS - count_bytes(k);
  for (count_pairs(k); choose_pairs(k); count_pairs(k)) replace_pairs(k);
  check_depth(k);
  number_symbols(k);
  puts("/* Made by spec/support/embed.c: the Lua files of the library, packed. */\n#include \"embed.h\"");
  print_pairs(k);
  print_texts(k);
  puts("const moon_embed moon__embed[] = {");
  for (int i = 0; i < k->n_texts; i++) print_entry(&k->texts[i]);
  puts("  {0, 0, 0, 0, 0},\n};");
  return EXIT_SUCCESS;
}
