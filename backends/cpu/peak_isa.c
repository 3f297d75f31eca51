/* peak_isa.c: see peak.h. */
#include "peak.h"

#include "vector.h"

/* Chains enough to hide the latency of a multiply-add, few enough to stay in registers. */
#if defined(__AVX512F__)
#define CHAINS 24
#else
#define CHAINS 12
#endif

static float fma_rounds(int64_t rounds) {
  vf sum[CHAINS], a = vsplat(0.5f), b = vsplat(0.25f), total = {0};
  for (int i = 0; i < CHAINS; i++) sum[i] = vsplat((float)i);
  for (int64_t r = 0; r < rounds; r++) {
    MOON_UNROLL(24)
    for (int i = 0; i < CHAINS; i++) sum[i] = vfma(sum[i], a, b);
  }
  for (int i = 0; i < CHAINS; i++) total += sum[i];
  return vsum(total);
}

static int32_t read_all(const float *x, int64_t n) {
  vi s[8] = {{0}}, total = {0};
  int32_t sum = 0;
  for (int64_t i = 0; i < n; i += 8 * VL) {
    MOON_UNROLL(8)
    for (int k = 0; k < 8; k++) s[k] ^= *(const vi *)(const void *)(x + i + k * VL);
  }
  for (int k = 0; k < 8; k++) total ^= s[k];
  for (int k = 0; k < VL; k++) sum ^= total[k];
  return sum;
}

static void copy_all(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i += 4 * VL) {
    MOON_UNROLL(4)
    for (int k = 0; k < 4; k++) vstream(y + i + k * VL, vload(x + i + k * VL));
  }
  vstream_end();
}

const moon_peak_set MOON_ISA_NAME(moon__peak_set) = {.flops = 2 * CHAINS * VL, .fma = fma_rounds, .read = read_all, .copy = copy_all};
