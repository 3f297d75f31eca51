/* size.h: checked arithmetic on sizes. No raw * or + on sizes elsewhere. Each gives false when the result does not fit. */
#ifndef MOON_SIZE_H
#define MOON_SIZE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool moon__add_i64(int64_t a, int64_t b, int64_t *r) { return !__builtin_add_overflow(a, b, r); }
static inline bool moon__sub_i64(int64_t a, int64_t b, int64_t *r) { return !__builtin_sub_overflow(a, b, r); }
static inline bool moon__mul_i64(int64_t a, int64_t b, int64_t *r) { return !__builtin_mul_overflow(a, b, r); }
static inline bool moon__add_size(size_t a, size_t b, size_t *r) { return !__builtin_add_overflow(a, b, r); }
static inline bool moon__mul_size(size_t a, size_t b, size_t *r) { return !__builtin_mul_overflow(a, b, r); }
/* Rounds up to a multiple of step (a power of two). */
static inline bool moon__align_size(size_t a, size_t step, size_t *r) {
  if (!moon__add_size(a, step - 1, r)) return false;
  *r &= ~(step - 1);
  return true;
}
/* a / b rounded towards minus infinity, b > 0. */
static inline int64_t moon__floordiv_i64(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static inline int64_t moon__min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t moon__max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t moon__ceildiv_i64(int64_t a, int64_t b) { return -moon__floordiv_i64(-a, b); }
#endif
