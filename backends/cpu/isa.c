/* isa.c: asks the processor what it can run; once, when the library is loaded, as an answer takes microseconds in a virtual machine.
** See isa.h. */
#include "isa.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/os.h"

#if defined(__x86_64__)
/* What the system saves of a thread's registers: bits of XCR0. */
static unsigned saved_registers(void) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/* Written before anybody can read it. (What the compiler has for this, __builtin_cpu_supports, does the same, and brings 4 KB of tables
** along.) */
static moon_isa best;
static bool matrix_unit;

static moon_isa find_best(void) {
  const unsigned first = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C, vectors = 0x06, masks_and_wide = 0xe6, tiles = 0x60000;
  const unsigned amx = 1u << 24 | 1u << 22; /* AMX-TILE, AMX-BF16 */
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & first) != first) return MOON_ISA_LEVEL_baseline;
  const unsigned saved = saved_registers();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & vectors) != vectors) return MOON_ISA_LEVEL_baseline;
  matrix_unit = (d & amx) == amx && (saved & tiles) == tiles;
  return (b & avx512) == avx512 && (saved & masks_and_wide) == masks_and_wide ? MOON_ISA_LEVEL_avx512 : MOON_ISA_LEVEL_avx2;
}

__attribute__((constructor)) static void keep_best(void) { best = find_best(); }
#else
static const moon_isa best = MOON_ISA_LEVEL_baseline;
static const bool matrix_unit = false;
#endif

bool moon__cpu_has_matrix_unit(void) {
  const char *word = moon__env("MOONLET_ISA");
  return matrix_unit && moon__cpu_isa() == MOON_ISA_LEVEL_avx512 && (!word || strcmp(word, "avx512") != 0);
}

moon_isa moon__cpu_isa(void) {
  moon_isa wanted = best;
  const char *word = moon__env("MOONLET_ISA");
  if (!word) return best;
  if (strcmp(word, "baseline") == 0) wanted = MOON_ISA_LEVEL_baseline;
  else if (strcmp(word, "avx2") == 0) wanted = MOON_ISA_LEVEL_avx2;
  return wanted < best ? wanted : best;
}
