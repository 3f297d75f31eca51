/* peak.h: loops that do nothing but multiply-adds, reads, or copies: what no kernel can beat. Compiled once per instruction set. */
#ifndef MOON_PEAK_H
#define MOON_PEAK_H
#include "isa.h"

#include <stdint.h>

typedef struct moon_peak_set {
  int64_t flops;                                       /* of one round of fma */
  float (*fma)(int64_t rounds);                        /* registers only; gives something that depends on all of them */
  int32_t (*read)(const float *x, int64_t n);          /* x aligned to 64 bytes, n a multiple of 128 */
  void (*copy)(float *y, const float *x, int64_t n);   /* the same for both, past the caches where the machine can */
} moon_peak_set;
MOON_ISA_DECLARE(const moon_peak_set, moon__peak_set)
#endif
