/*
** number.c: numbers as text. libc rounds correctly but uses the locale's decimal mark, so the mark is exchanged on the way in and
** out. The locale itself is never touched.
*/
#include "base/number.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define MAX_CHARACTERS 300

static bool is_plain(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+'; }

/* Prints with ever more digits until the text reads back as x (as float when single is set). */
static const char *write_shortest(double x, int least, int most, bool single, char *buf) {
  char text[MOON_NUMBER_BYTES];
  size_t n = 0;
  if (x != x) return strcpy(buf, signbit(x) ? "-nan" : "nan");
  for (int digits = least; digits <= most; digits++) {
    double back;
    snprintf(text, sizeof text, "%.*g", digits, x);
    back = strtod(text, NULL);
    if (single ? (float)back == (float)x : back == x) break;
  }
  for (const char *p = text; *p; p++) {
    if (is_plain(*p)) {
      buf[n++] = *p;
    } else if (n == 0 || buf[n - 1] != '.') { /* the mark may be several bytes */
      buf[n++] = '.';
    }
  }
  buf[n] = '\0';
  return buf;
}

const char *moon__number_write(double x, char buf[MOON_NUMBER_BYTES]) { return write_shortest(x, 15, 17, false, buf); }
const char *moon__number_write_f32(float x, char buf[MOON_NUMBER_BYTES]) { return write_shortest((double)x, 6, 9, true, buf); }

static const char *skip_digits(const char *p, const char *end) {
  while (p < end && *p >= '0' && *p <= '9') p++;
  return p;
}

static bool starts_with(const char *p, const char *end, const char *word) {
  for (; *word; word++, p++) {
    if (p == end || tolower((unsigned char)*p) != *word) return false;
  }
  return true;
}

/* The end of digits [. digits] [e [sign] digits], NULL when there are no digits. *mark is the point's place. */
static const char *find_end(const char *p, const char *end, const char **mark) {
  const char *digits = skip_digits(p, end), *stop = digits, *exponent;
  size_t count = (size_t)(digits - p);
  if (digits < end && *digits == '.') {
    *mark = digits;
    stop = skip_digits(digits + 1, end);
    count += (size_t)(stop - digits) - 1;
  }
  if (count == 0) return NULL;
  if (stop == end || (*stop != 'e' && *stop != 'E')) return stop;
  exponent = stop + 1;
  if (exponent < end && (*exponent == '+' || *exponent == '-')) exponent++;
  digits = skip_digits(exponent, end);
  return digits > exponent ? digits : stop;
}

const char *moon__number_read(const char *text, const char *end, double *x) {
  char copy[MAX_CHARACTERS + 16], sample[16];
  const char *p = text, *mark = NULL, *stop;
  size_t n = 0, mark_bytes;
  if (p < end && (*p == '-' || *p == '+')) p++;
  if (starts_with(p, end, "nan") || starts_with(p, end, "inf")) {
    stop = p + (starts_with(p, end, "infinity") ? 8 : 3);
  } else {
    stop = find_end(p, end, &mark);
  }
  if (!stop || stop - text > MAX_CHARACTERS) return NULL;
  snprintf(sample, sizeof sample, "%.1f", 0.5); /* 0, the mark, 5 */
  mark_bytes = strlen(sample) - 2;
  for (p = text; p < stop; p++) {
    if (p == mark && mark_bytes < 8) {
      memcpy(copy + n, sample + 1, mark_bytes);
      n += mark_bytes;
    } else {
      copy[n++] = *p;
    }
  }
  copy[n] = '\0';
  *x = strtod(copy, NULL);
  return stop;
}

const char *moon__integer_read(const char *text, const char *end, int64_t *x) {
  bool negative = text < end && *text == '-';
  const char *first = text + negative, *p = first;
  int64_t value = 0;
  for (; p < end && *p >= '0' && *p <= '9'; p++) {
    if (!moon__mul_i64(value, 10, &value) || !moon__sub_i64(value, *p - '0', &value)) return NULL;
  }
  if (p == first || (!negative && value == INT64_MIN)) return NULL;
  *x = negative ? value : -value;
  return p;
}
