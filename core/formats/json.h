/*
** json.h: the JSON that safetensors headers need, read piece by piece without building a tree. Strings are UTF-8 and are checked;
** nesting of skipped values is limited.
*/
#ifndef MOON_JSON_H
#define MOON_JSON_H
#include "moonlet.h"

typedef struct moon_json {
  moon_context *ctx;
  const char *who; /* goes in front of messages */
  const char *start, *at, *end;
} moon_json;

/* Records "who: expected ..., byte n" and gives MOON_EFORMAT. */
moon_status moon__json_fail(moon_json *j, const char *expected);
/* Steps over c after spaces, if it is there. */
bool moon__json_accept(moon_json *j, char c);
moon_status moon__json_expect(moon_json *j, char c);
/* A string, decoded; the caller frees *text, which has a zero behind its bytes. */
moon_status moon__json_string(moon_json *j, char **text, size_t *bytes);
/* The same for a name: no zero byte in it. */
moon_status moon__json_name(moon_json *j, char **name);
/* A whole number >= 0. */
moon_status moon__json_size(moon_json *j, int64_t *x);
/* An array of up to max of them. */
moon_status moon__json_sizes(moon_json *j, int max, int *n, int64_t *x);
/* Any value. */
moon_status moon__json_skip(moon_json *j);
/* Is it UTF-8, as Unicode defines it? */
bool moon__is_utf8(const char *text, size_t bytes);
/* Writes text as a JSON string with quotes to out (NULL: counts only); gives the bytes. text must be UTF-8. */
size_t moon__json_quote(const char *text, size_t bytes, char *out);
#endif
