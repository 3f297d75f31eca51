/*
** error.c: records a failure in a context, and the texts of the status codes. Raising it in Lua is done in lua/bind. The message
** is built aside first, so an older message of the same context may be among the arguments.
*/
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"

static void record(moon_context *ctx, const char *origin, moon_status status, const char *format, va_list args) {
  char text[MOON_ERROR_BYTES];
  size_t n = 0;
  if (origin && *origin) {
    int used = snprintf(text, sizeof text, "%s: ", origin);
    n = used < 0 ? 0 : (size_t)used < sizeof text ? (size_t)used : sizeof text - 1;
  }
  text[n] = '\0';
  vsnprintf(text + n, sizeof text - n, format, args);
  memcpy(ctx->message, text, sizeof text);
  ctx->status = status;
}

moon_status moon__fail(moon_context *ctx, moon_status status, const char *format, ...) {
  va_list args;
  if (!ctx) return status;
  va_start(args, format);
  record(ctx, ctx->borrowed ? ctx->borrowed->line : ctx->line, status, format, args);
  va_end(args);
  return status;
}

moon_status moon__fail_at(moon_context *ctx, const char *origin, moon_status status, const char *format, ...) {
  va_list args;
  if (!ctx) return status;
  va_start(args, format);
  record(ctx, origin, status, format, args);
  va_end(args);
  return status;
}

moon_status moon__fail_memory(moon_context *ctx) { return moon__fail(ctx, MOON_EMEMORY, "out of memory"); }

const char *moon_error(const moon_context *ctx) { return ctx ? ctx->message : ""; }
moon_status moon_error_status(const moon_context *ctx) { return ctx ? ctx->status : MOON_OK; }

void moon_error_clear(moon_context *ctx) {
  if (!ctx) return;
  ctx->status = MOON_OK;
  ctx->message[0] = '\0';
}

const char *moon_status_text(moon_status status) {
  static const char *const text[MOON_STATUS_COUNT] = {
#define MOON_STATUS_ROW(code, words) [MOON_##code] = words,
      MOON_STATUS_MAP(MOON_STATUS_ROW)
#undef MOON_STATUS_ROW
  };
  return (unsigned)status < MOON_STATUS_COUNT ? text[status] : "unknown status";
}
