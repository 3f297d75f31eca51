/*
** shape.h: shapes and dims. A dim is a known size (>= 0) or the handle of an interned expression over named unknowns: equal
** expressions are equal handles, so == compares. The table lives in the runtime, is append-only and guarded by its lock.
** Expressions are kept as a canonical sum of products over atoms (an unknown, a floor division, a max); arithmetic on known
** sizes is checked for overflow.
*/
#ifndef MOON_SHAPE_H
#define MOON_SHAPE_H
#include "moonlet.h"

static inline bool moon__dim_known(moon_dim d) { return d >= 0; }
/* (a + b - 1) / b */
moon_dim moon__dim_ceildiv(moon_context *ctx, moon_dim a, moon_dim b);
/* a / b where b must divide a; for symbolic a and b cancels common factors (2*batch*6 / batch = 12), else a floor division. */
moon_dim moon__dim_divexact(moon_context *ctx, moon_dim a, moon_dim b);

/* What unknowns are bound to while a graph is compiled for concrete sizes; while it is called, sizes may be dims (substitute). */
typedef struct moon_bindings {
  int n, capacity;
  struct { moon_dim unknown; int64_t size; } *item;
} moon_bindings;
/* The value of d under the bindings; MOON_DIM_ERROR with an error when an unknown is not bound or arithmetic overflows. */
int64_t moon__dim_eval(moon_context *ctx, moon_dim d, const moon_bindings *b);
/* Matches the dim expression d of an input against a size that came: binds an unknown, or checks the value of an expression.
** Returns false when they disagree (no error recorded), and records MOON_EMEMORY only when memory is out. */
bool moon__dim_match(moon_context *ctx, moon_dim d, int64_t size, moon_bindings *b);
/* d with bound unknowns replaced by what they are bound to, dims included; others stay. MOON_DIM_ERROR with an error. */
moon_dim moon__dim_substitute(moon_context *ctx, moon_dim d, const moon_bindings *b);
/* Matches the dim expression d of a called graph against a size or dim that came, as moon__dim_match: an unknown is bound to it;
** what cannot be compared is checked when sizes are bound. */
bool moon__dim_match_call(moon_context *ctx, moon_dim d, moon_dim came, moon_bindings *b);
/* Reads the text form back ("2*time+1"); text ends at text_end. MOON_DIM_ERROR with an error. */
moon_dim moon__dim_parse(moon_context *ctx, const char *text, const char *text_end);
void moon__bindings_free(moon_runtime *runtime, moon_bindings *b);

bool moon__shape_equal(const moon_shape *a, const moon_shape *b);
bool moon__shape_known(const moon_shape *s);
moon_shape moon__shape(int ndim, const moon_dim *dims);
/* Product of all dims (symbolic when needed), MOON_DIM_ERROR with an error on overflow. */
moon_dim moon__shape_count(moon_context *ctx, const moon_shape *s);
/* Known shapes only: product, false on overflow. */
bool moon__shape_count_known(const moon_shape *s, int64_t *count);
/* NumPy broadcast of two shapes into out; unknown dims pair with equal ones or 1; two that cannot be compared are taken as
** equal (a known one wins) and are checked when sizes are bound. Fails: MOON_ESHAPE naming who. */
moon_status moon__shape_broadcast(moon_context *ctx, const char *who, const moon_shape *a, const moon_shape *b, moon_shape *out);
/* Can the two sizes be equal? Known sizes: ==. Otherwise true (checked again when bound). */
static inline bool moon__dim_may_equal(moon_dim a, moon_dim b) { return a == b || !moon__dim_known(a) || !moon__dim_known(b); }
/* Negative axes count from the end. false when out of range. */
static inline bool moon__axis_resolve(int64_t axis, int ndim, int *out) {
  if (axis < -(int64_t)ndim || axis >= ndim) return false;
  *out = (int)(axis < 0 ? axis + ndim : axis);
  return true;
}
static inline bool moon__dtype_is_float(moon_dtype d) { return d >= MOON_DTYPE_bf16; }
/* Stored in 16 bits, computed in f32. */
static inline bool moon__dtype_is_half(moon_dtype d) { return d == MOON_DTYPE_bf16 || d == MOON_DTYPE_f16; }
/* What is computed in for numbers stored in d. */
static inline moon_dtype moon__dtype_wide(moon_dtype d) { return moon__dtype_is_half(d) ? MOON_DTYPE_f32 : d; }
#endif
