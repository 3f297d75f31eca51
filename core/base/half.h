/*
** half.h: bf16 and f16 as bits, to f32 and back. Both are ways to store: arithmetic is f32's. Rounding is to nearest, ties to even;
** what is too large becomes infinite, a NaN stays one. Written without branches, so that loops over them become vectors, and without
** denormal arithmetic in f32, so that a host's FP mode does not matter.
*/
#ifndef MOON_HALF_H
#define MOON_HALF_H
#include <stdint.h>
#include <string.h>

static inline float moon__bits_to_f32(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
static inline uint32_t moon__f32_to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* The upper half of an f32. */
static inline float moon__bf16_to_f32(uint16_t h) { return moon__bits_to_f32((uint32_t)h << 16); }
static inline uint16_t moon__f32_to_bf16(float x) {
  uint32_t u = moon__f32_to_bits(x), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, nan = u >> 16 | 0x40;
  return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* IEEE half precision: 1 sign, 5 exponent, 10 mantissa bits. The exponent's bias is 112 less than that of f32. */
#define MOON_F16_BIAS ((uint32_t)112 << 23)
static inline float moon__f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, a = (uint32_t)(h & 0x7fff) << 13, normal = a + MOON_F16_BIAS;
  uint32_t small = moon__f32_to_bits((float)(int32_t)(h & 0x3ff) * 0x1p-24f), endless = normal + MOON_F16_BIAS;
  return moon__bits_to_f32(sign | ((h & 0x7c00) == 0 ? small : (h & 0x7c00) == 0x7c00 ? endless : normal));
}
static inline uint16_t moon__f32_to_f16(float x) {
  uint32_t u = moon__f32_to_bits(x), a = u & 0x7fffffff, shifted = a - MOON_F16_BIAS;
  uint32_t normal = (shifted + 0xfff + (shifted >> 13 & 1)) >> 13;
  /* 0.5 has steps of 2^-24, which are those of f16's smallest numbers: adding rounds. */
  uint32_t small = moon__f32_to_bits(moon__bits_to_f32(a) + 0.5f) - 0x3f000000;
  uint32_t nan = 0x7e00 | (a >> 13 & 0x1ff);
  uint32_t h = a > 0x7f800000 ? nan : a >= 0x477ff000 ? 0x7c00 : a < 0x38800000 ? small : normal;
  return (uint16_t)((u >> 16 & 0x8000) | h);
}
#endif
