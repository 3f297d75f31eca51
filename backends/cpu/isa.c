/* isa.c: asks the processor, once per question, what it can run. See isa.h. */
#include "isa.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/os.h"

#if defined(__x86_64__)
static moon_isa best_isa(void) {
  __builtin_cpu_init();
  unsigned a, b, c = 0, d;
  bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C); /* Clang has no word for it */
  bool avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!avx2) return MOON_ISA_LEVEL_baseline;
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  return avx512 ? MOON_ISA_LEVEL_avx512 : MOON_ISA_LEVEL_avx2;
}
#else
static moon_isa best_isa(void) { return MOON_ISA_LEVEL_baseline; }
#endif

moon_isa moon__cpu_isa(void) {
  moon_isa best = best_isa(), wanted = best;
  const char *word = moon__env("MOONLET_ISA");
  if (!word) return best;
  if (strcmp(word, "baseline") == 0) wanted = MOON_ISA_LEVEL_baseline;
  else if (strcmp(word, "avx2") == 0) wanted = MOON_ISA_LEVEL_avx2;
  return wanted < best ? wanted : best;
}
