/*
** csv.c: a table of numbers as text: commas between columns, one row a line, as f32 [rows, columns]. Blank lines are passed over; a
** first line whose first column is no number is taken for words and skipped. Lines and columns count from 1 in messages.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/number.h"
#include "formats/file.h"

typedef struct table {
  moon_context *ctx;
  const char *path, *at, *end;
  int64_t line, rows, columns;
  float *numbers;
  size_t n;
} table;

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void skip_blanks(table *t) {
  while (t->at < t->end && is_blank(*t->at)) t->at++;
}

static bool at_line_end(const table *t) { return t->at == t->end || *t->at == '\n'; }

/* A number, in quotes or not, up to the comma or the end of the line. */
static bool read_number(table *t, double *x) {
  const char *stop;
  bool quoted;
  skip_blanks(t);
  quoted = t->at < t->end && *t->at == '"';
  stop = moon__number_read(t->at + quoted, t->end, x);
  if (!stop || (quoted && (stop == t->end || *stop != '"'))) return false;
  t->at = stop + quoted;
  skip_blanks(t);
  return at_line_end(t) || *t->at == ',';
}

static moon_status fail_number(table *t, const char *field, int64_t column) {
  size_t n = 0;
  while (field + n < t->end && field[n] != ',' && field[n] != '\n' && field[n] != '\r' && n < 40) n++;
  return moon__fail(t->ctx, MOON_EFORMAT, "%s: line %lld, column %lld: a number is expected, got '%.*s'", t->path,
                    (long long)t->line, (long long)column, (int)n, field);
}

static moon_status read_row(table *t) {
  int64_t columns = 0;
  for (;;) {
    const char *field = t->at;
    double x;
    if (!read_number(t, &x)) return fail_number(t, field, columns + 1);
    t->numbers[t->n++] = (float)x;
    columns++;
    if (at_line_end(t)) break;
    t->at++;
  }
  if (t->rows == 0) t->columns = columns;
  if (columns != t->columns) {
    return moon__fail(t->ctx, MOON_EFORMAT, "%s: line %lld has %lld columns, the rows before have %lld", t->path,
                      (long long)t->line, (long long)columns, (long long)t->columns);
  }
  t->rows++;
  return MOON_OK;
}

/* Are there words in the first line? Then it is passed over. */
static void skip_words(table *t) {
  table probe = *t;
  double x;
  if (read_number(&probe, &x)) return;
  while (!at_line_end(t)) t->at++;
}

static moon_status read_table(table *t) {
  static const char mark[3] = {'\xef', '\xbb', '\xbf'}; /* UTF-8's byte order mark */
  if (t->end - t->at >= 3 && memcmp(t->at, mark, sizeof mark) == 0) t->at += 3;
  for (t->line = 1; t->at < t->end; t->line++) {
    moon_status status = MOON_OK;
    if (t->line == 1) skip_words(t);
    skip_blanks(t);
    if (!at_line_end(t)) status = read_row(t);
    if (status != MOON_OK) return status;
    if (t->at < t->end) t->at++;
  }
  return t->rows > 0 ? MOON_OK : moon__fail(t->ctx, MOON_EFORMAT, "%s: there are no numbers", t->path);
}

/* Numbers that the text can hold at most. */
static size_t count_fields(const char *data, size_t bytes) {
  size_t n = 1;
  for (size_t i = 0; i < bytes; i++) n += data[i] == ',' || data[i] == '\n';
  return n;
}

moon_tensor *moon_csv_load(moon_context *ctx, const char *path) {
  table t = {.ctx = ctx, .path = path};
  char *data;
  size_t bytes;
  moon_tensor *result = NULL;
  if (moon__file_bytes(ctx, "csv", path, &data, &bytes) == MOON_OK) {
    t.at = data;
    t.end = data + bytes;
    t.numbers = moon__alloc_array(ctx->runtime, count_fields(data, bytes), sizeof *t.numbers);
    if (!t.numbers) moon__fail_memory(ctx);
    if (t.numbers && read_table(&t) == MOON_OK) {
      int64_t shape[2] = {t.rows, t.columns};
      result = moon_tensor_from(ctx, MOON_DTYPE_f32, 2, shape, t.numbers);
    }
  }
  moon__free(ctx->runtime, t.numbers);
  moon__free(ctx->runtime, data);
  return result;
}
