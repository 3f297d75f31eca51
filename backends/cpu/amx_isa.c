/*
** amx_isa.c: packing for the matrix unit (amx.h), compiled once per instruction set; only processors with 512-bit vectors have the
** unit.
*/
#include "amx.h"

#include "vector.h"

#if VL == 16
/* A number's parts, each in the upper half of its lane; what is cut off a part is the next one, exactly. */
MOON_INLINE void split(vf x, vu part[MOON_AMX_PARTS], vi *infinite) {
  *infinite |= ((vu)x & 0x7fffffffu) == 0x7f800000u;
  for (int i = 0; i < MOON_AMX_PARTS; i++) {
    part[i] = (vu)x & 0xffff0000u;
    x -= (vf)part[i];
  }
}

static bool any(vi lanes) {
  int32_t bits = 0;
  for (int i = 0; i < VL; i++) bits |= lanes[i];
  return bits != 0;
}

/* Pairs of neighbours: the even ones of two vectors, and the odd ones, come together by a permutation. */
static bool split_a(uint16_t *out, const float *x, int64_t step) {
  vi infinite = {0};
  for (int i = 0; i < MOON_AMX_ROWS; i++, x += step, out += MOON_AMX_K) {
    vu low[MOON_AMX_PARTS], high[MOON_AMX_PARTS];
    split(vload(x), low, &infinite);
    split(vload(x + VL), high, &infinite);
    for (int p = 0; p < MOON_AMX_PARTS; p++) {
      vu even = __builtin_shufflevector(low[p], high[p], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      vu uneven = __builtin_shufflevector(low[p], high[p], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
      vstore((float *)(void *)(out + p * MOON_AMX_TILE), (vf)(even >> 16 | uneven));
    }
  }
  return any(infinite);
}

static bool split_b(uint16_t *out, const float *x, int64_t step) {
  vi infinite = {0};
  for (int k = 0; k < MOON_AMX_K; k += 2, x += 2 * step, out += 2 * MOON_AMX_ROWS) {
    vu even[MOON_AMX_PARTS], uneven[MOON_AMX_PARTS];
    __builtin_prefetch(x + MOON_AMX_K * step);
    __builtin_prefetch(x + (MOON_AMX_K + 1) * step);
    split(vload(x), even, &infinite);
    split(vload(x + step), uneven, &infinite);
    for (int p = 0; p < MOON_AMX_PARTS; p++) vstore((float *)(void *)(out + p * MOON_AMX_TILE), (vf)(even[p] >> 16 | uneven[p]));
  }
  return any(infinite);
}

static void interleave(uint32_t *out, const uint16_t *x, const uint16_t *y) {
  vstore((float *)(void *)out, (vf)(vwiden(x) | vwiden(y) << 16));
}

const moon_amx_set MOON_ISA_NAME(moon__amx_set) = {.interleave = interleave, .split_a = split_a, .split_b = split_b};
#else
const moon_amx_set MOON_ISA_NAME(moon__amx_set) = {0};
#endif
