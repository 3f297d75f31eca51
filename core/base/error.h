/*
** error.h: how a failure is reported. Codes and texts are the map in moonlet.h; this adds the one function that records a
** failure in a context. Raising it in Lua happens in lua/bind, never here.
*/
#ifndef MOON_ERROR_H
#define MOON_ERROR_H
#include "moonlet.h"

#define MOON_ERROR_BYTES 1024

/* Records a failure and gives status back: return moon__fail(ctx, MOON_ESHAPE, "matmul: ..."). The context's origin line (or
** the one set by moon__origin_use) goes in front: "train.lua:14: matmul: ...". */
moon_status moon__fail(moon_context *ctx, moon_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Out of memory, for one place's convenience. */
moon_status moon__fail_memory(moon_context *ctx);
/* Same, with an explicit origin line in front (may be NULL) instead of the context's. */
moon_status moon__fail_at(moon_context *ctx, const char *origin, moon_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
