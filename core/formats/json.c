/*
** json.c: reads strings, sizes and arrays of sizes, skips everything else, quotes strings. Invariant: `at` never passes `end`, and
** nothing is allocated beyond the length of the text.
*/
#include "formats/json.h"

#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/number.h"

#define MAX_DEPTH 32

moon_status moon__json_fail(moon_json *j, const char *expected) {
  return moon__fail(j->ctx, MOON_EFORMAT, "%s: malformed header: %s expected at byte %lld", j->who, expected,
                    (long long)(j->at - j->start));
}

static void skip_spaces(moon_json *j) {
  while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

bool moon__json_accept(moon_json *j, char c) {
  skip_spaces(j);
  if (j->at == j->end || *j->at != c) return false;
  j->at++;
  return true;
}

moon_status moon__json_expect(moon_json *j, char c) {
  char expected[4] = {'\'', c, '\'', '\0'};
  return moon__json_accept(j, c) ? MOON_OK : moon__json_fail(j, expected);
}

/* ---- strings ---- */

/* Bytes of the UTF-8 character at p, 0: none. */
static size_t utf8_length(const unsigned char *p, size_t room) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
  uint32_t code;
  if (n == 0 || n > room) return 0;
  if (n == 1) return 1;
  code = p[0] & (0x7fu >> n);
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (p[i] & 0x3fu);
  }
  return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

bool moon__is_utf8(const char *text, size_t bytes) {
  size_t at = 0;
  while (at < bytes) {
    size_t n = utf8_length((const unsigned char *)text + at, bytes - at);
    if (n == 0) return false;
    at += n;
  }
  return true;
}

static size_t put_utf8(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 63));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 63));
    out[2] = (char)(0x80 | (code & 63));
    return 3;
  }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 63));
  out[2] = (char)(0x80 | (code >> 6 & 63));
  out[3] = (char)(0x80 | (code & 63));
  return 4;
}

/* Four hexadecimal digits. */
static bool read_hex(moon_json *j, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++, j->at++) {
    char c = j->at < j->end ? *j->at : '\0';
    uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                   : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10 : 16;
    if (digit == 16) return false;
    *code = *code << 4 | digit;
  }
  return true;
}

/* What follows a backslash. An escape is never shorter than what it stands for. */
static bool read_escape(moon_json *j, char *out, size_t *n) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *plain;
  uint32_t code, low;
  if (j->at == j->end) return false;
  plain = *j->at ? strchr(from, *j->at) : NULL;
  if (plain) {
    out[(*n)++] = to[plain - from];
    j->at++;
    return true;
  }
  if (*j->at++ != 'u' || !read_hex(j, &code) || (code >= 0xdc00 && code < 0xe000)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u') return false;
    j->at += 2;
    if (!read_hex(j, &low) || low < 0xdc00 || low >= 0xe000) return false;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *n += put_utf8(code, out + *n);
  return true;
}

/* The length of the raw string up to its closing quote; false when there is none. */
static bool find_quote(const moon_json *j, size_t *n) {
  const char *p = j->at;
  while (p < j->end && *p != '"') p += *p == '\\' && p + 1 < j->end ? 2 : 1;
  *n = (size_t)(p - j->at);
  return p < j->end;
}

moon_status moon__json_string(moon_json *j, char **text, size_t *bytes) {
  moon_runtime *runtime = j->ctx->runtime;
  size_t n;
  char *out;
  *text = NULL;
  *bytes = 0;
  if (!moon__json_accept(j, '"')) return moon__json_fail(j, "a string");
  if (!find_quote(j, &n)) return moon__json_fail(j, "the end of a string");
  out = moon__alloc(runtime, n + 1);
  if (!out) return moon__fail_memory(j->ctx);
  for (n = 0; *j->at != '"';) {
    unsigned char c = (unsigned char)*j->at;
    size_t length = c < 0x20 ? 0 : utf8_length((const unsigned char *)j->at, (size_t)(j->end - j->at));
    if (c == '\\') {
      j->at++;
      length = read_escape(j, out, &n) ? 1 : 0;
      if (length) continue;
    }
    if (length == 0) {
      moon__free(runtime, out);
      return moon__json_fail(j, "a valid character");
    }
    memcpy(out + n, j->at, length);
    n += length;
    j->at += length;
  }
  j->at++;
  out[n] = '\0';
  *text = out;
  *bytes = n;
  return MOON_OK;
}

moon_status moon__json_name(moon_json *j, char **name) {
  size_t bytes;
  moon_status status = moon__json_string(j, name, &bytes);
  if (status == MOON_OK && strlen(*name) != bytes) {
    moon__free(j->ctx->runtime, *name);
    *name = NULL;
    status = moon__json_fail(j, "a name without zero bytes");
  }
  return status;
}

size_t moon__json_quote(const char *text, size_t bytes, char *out) {
  static const char hex[] = "0123456789abcdef";
  size_t n = 0;
  if (out) out[n] = '"';
  n++;
  for (size_t i = 0; i < bytes; i++) {
    unsigned char c = (unsigned char)text[i];
    char escape[7] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0'};
    size_t length = c < 0x20 ? 6 : c == '"' || c == '\\' ? 2 : 1;
    if (c == '\n') {
      escape[1] = 'n';
      length = 2;
    } else if (length == 2) {
      escape[1] = (char)c;
    }
    if (out) memcpy(out + n, length == 1 ? text + i : escape, length);
    n += length;
  }
  if (out) out[n] = '"';
  return n + 1;
}

/* ---- numbers ---- */

moon_status moon__json_size(moon_json *j, int64_t *x) {
  const char *stop;
  skip_spaces(j);
  stop = moon__integer_read(j->at, j->end, x);
  if (!stop || *x < 0) return moon__json_fail(j, "a whole number from 0 to 2^63 - 1");
  if (stop < j->end && (*stop == '.' || *stop == 'e' || *stop == 'E')) return moon__json_fail(j, "a whole number");
  j->at = stop;
  return MOON_OK;
}

moon_status moon__json_sizes(moon_json *j, int max, int *n, int64_t *x) {
  moon_status status = moon__json_expect(j, '[');
  *n = 0;
  if (status != MOON_OK || moon__json_accept(j, ']')) return status;
  for (;;) {
    if (*n == max) return moon__json_fail(j, "']', the list is too long,");
    status = moon__json_size(j, &x[(*n)++]);
    if (status != MOON_OK) return status;
    if (moon__json_accept(j, ']')) return MOON_OK;
    status = moon__json_expect(j, ',');
    if (status != MOON_OK) return status;
  }
}

/* ---- everything else ---- */

static moon_status skip_word(moon_json *j) {
  static const char *const words[] = {"true", "false", "null"};
  double number;
  const char *stop = moon__number_read(j->at, j->end, &number);
  for (size_t i = 0; i < 3; i++) {
    size_t n = strlen(words[i]);
    if ((size_t)(j->end - j->at) >= n && memcmp(j->at, words[i], n) == 0) stop = j->at + n;
  }
  if (!stop) return moon__json_fail(j, "a value");
  j->at = stop;
  return MOON_OK;
}

static moon_status skip_string(moon_json *j) {
  char *text;
  size_t bytes;
  moon_status status = moon__json_string(j, &text, &bytes);
  moon__free(j->ctx->runtime, text);
  return status;
}

/* One value is behind `depth` opened brackets; each turn reads one piece. */
moon_status moon__json_skip(moon_json *j) {
  char open[MAX_DEPTH];
  int depth = 0;
  moon_status status = MOON_OK;
  do {
    bool starts = true;
    skip_spaces(j);
    if (j->at < j->end && (*j->at == '{' || *j->at == '[')) {
      if (depth == MAX_DEPTH) return moon__json_fail(j, "less nesting");
      open[depth++] = *j->at++ == '{' ? '}' : ']';
      if (!moon__json_accept(j, open[depth - 1])) {
        if (open[depth - 1] == '}' && ((status = skip_string(j)) != MOON_OK || (status = moon__json_expect(j, ':')) != MOON_OK)) {
          return status;
        }
        continue;
      }
      depth--;
    } else {
      status = j->at < j->end && *j->at == '"' ? skip_string(j) : skip_word(j);
    }
    while (status == MOON_OK && starts && depth > 0) {
      if (moon__json_accept(j, open[depth - 1])) {
        depth--;
        continue;
      }
      status = moon__json_expect(j, ',');
      if (status == MOON_OK && open[depth - 1] == '}' && (status = skip_string(j)) == MOON_OK) status = moon__json_expect(j, ':');
      starts = false;
    }
  } while (status == MOON_OK && depth > 0);
  return status;
}
