/*
** random_isa.c: philox for a vector of counters, and what the ops make of the words. Words stay in the low halves of 64-bit lanes,
** even and odd elements apart, because that is where the machine multiplies 32 by 32 bits; the high halves hold whatever came.
** Invariant: uniform and bernoulli are equal to the plain kernels in every bit; normal within a few ulp of its scale.
*/
#include "random_fast.h"

#if defined(__FMA__)
#include "vecmath.h"
#include "vector.h"

enum { BLOCK = 16 * VL };
typedef uint64_t vq __attribute__((vector_size(4 * VL)));
typedef uint64_t vqu __attribute__((vector_size(4 * VL), aligned(4), may_alias));

MOON_INLINE vq splat(uint64_t x) { return x - (vq){0}; }
/* Low halves multiplied, in 64 bits. */
MOON_INLINE vq multiply(vq a, vq b) {
#if defined(__AVX512F__)
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#else
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#endif
}

MOON_INLINE void rounds(vq *c0, vq *c1, vq *c2, vq *c3, uint32_t k0, uint32_t k1) {
  vq p = multiply(*c0, splat(0xD2511F53u)), q = multiply(*c2, splat(0xCD9E8D57u));
  *c0 = (q >> 32) ^ *c1 ^ splat(k0);
  *c1 = q;
  *c2 = (p >> 32) ^ *c3 ^ splat(k1);
  *c3 = p;
}

MOON_INLINE void store_words(uint32_t *w, vq even, vq odd) { *(vqu *)w = (even & splat(0xffffffffu)) | (odd << 32); }

/* Words 0 and 1 of BLOCK elements from first on. */
static __attribute__((noinline)) void draw_block(const moon_philox *r, int64_t first, uint32_t *w0, uint32_t *w1) {
  vq lane = {0};
  for (int i = 0; i < VL / 2; i++) lane[i] = 2 * (uint64_t)i;
  for (int i = 0; i < BLOCK; i += VL) {
    vq even = splat((uint64_t)first + (uint64_t)i) + lane, odd = even + splat(1);
    vq a0 = even, a1 = even >> 32, a2 = splat(r->step), a3 = splat(r->stream);
    vq b0 = odd, b1 = odd >> 32, b2 = a2, b3 = a3;
    uint32_t k0 = r->key[0], k1 = r->key[1];
    MOON_UNROLL(10)
    for (int round = 0; round < 10; round++) {
      rounds(&a0, &a1, &a2, &a3, k0, k1);
      rounds(&b0, &b1, &b2, &b3, k0, k1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    store_words(w0 + i, a0, b0);
    store_words(w1 + i, a1, b1);
  }
}

/* body over i of each block of at most BLOCK elements; w0 and w1 hold their words. */
#define DRAWS(type, body)                                            \
  do {                                                               \
    uint32_t w0[BLOCK], w1[BLOCK];                                   \
    type made[BLOCK];                                                \
    for (; n > 0; first += BLOCK, y += BLOCK, n -= BLOCK) {          \
      draw_block(r, first, w0, w1);                                  \
      for (int i = 0; i < BLOCK; i++) made[i] = body;                \
      memcpy(y, made, (size_t)(n < BLOCK ? n : BLOCK) * sizeof *y);  \
    }                                                                \
  } while (0)

static void uniform(const moon_philox *r, float low, float span, float top, int64_t first, int64_t n, float *y) {
#define UNIFORM(w) moon__fma((float)(int32_t)((w) >> 8) * 0x1p-24f, span, low)
  DRAWS(float, UNIFORM(w0[i]) < top ? UNIFORM(w0[i]) : top);
}

/* The logarithm needs f64 where u is near 1; the angle is reduced to an eighth of a turn while it is still whole. */
MOON_INLINE float box_muller(uint32_t w0, uint32_t w1) {
  double u = ((double)(int32_t)(w0 ^ 0x80000000u) + 2147483648.5) * 0x1p-32;
  uint32_t quadrant = (w1 + 0x20000000u) >> 30;
  float angle = (float)(int32_t)(w1 - (quadrant << 30)) * 1.46291807926715968e-9f;
  return __builtin_sqrtf((float)(-2.0 * moon__log_f64(u))) * moon__sin_from(angle, (int32_t)quadrant + 1);
}
static void normal(const moon_philox *r, float mean, float std, int64_t first, int64_t n, float *y) {
  DRAWS(float, moon__fma(std, box_muller(w0[i], w1[i]), mean));
}

static void bernoulli_f32(const moon_philox *r, uint32_t limit, int64_t first, int64_t n, float *y) {
  DRAWS(float, w0[i] < limit ? 1.0f : 0.0f);
}
static void bernoulli_u8(const moon_philox *r, uint32_t limit, int64_t first, int64_t n, uint8_t *y) {
  DRAWS(uint8_t, w0[i] < limit);
}

const moon_random_set MOON_ISA_NAME(moon__random_set) = {uniform, normal, bernoulli_f32, bernoulli_u8};
#else
const moon_random_set MOON_ISA_NAME(moon__random_set) = {0};
#endif
