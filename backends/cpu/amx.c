/*
** amx.c: the matrix unit of x86-64 processors (AMX-BF16): whether it may be used, and a block of four tiles. The instructions are
** written out, so that any compiler and any -m flags will do; other machines say that they have none.
*/
#include "gemm_bf16.h"

#include "base/os.h"

#if defined(__x86_64__)
#include <cpuid.h>

bool moon__amx_usable(moon_isa isa) {
  unsigned a, b, c, d;
  const unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  if (isa != MOON_ISA_LEVEL_avx512 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return (d & amx_bf16) && (d & amx_tile) && moon__matrix_unit_allow();
}

/* All eight tiles are 16 rows of 64 bytes. */
void moon__amx_begin(void) {
  static const struct {
    uint8_t palette, row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } shape = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  __asm__ volatile("ldtilecfg %0" : : "m"(shape));
}

void moon__amx_end(void) { __asm__ volatile("tilerelease" : : : "memory"); }

void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_strip, const uint16_t *b, int64_t b_strip, int64_t ntiles) {
  int64_t row = 64, c_row = c_step * 4;
  __asm__ volatile("tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3" : : : "memory");
  for (int64_t t = 0; t < ntiles; t++, a += MOON_AMX_TILE, b += MOON_AMX_TILE) {
    __asm__ volatile(
        "tileloadd (%2,%4,1), %%tmm6\n"
        "tileloadd (%0,%4,1), %%tmm4\n"
        "tileloadd (%1,%4,1), %%tmm5\n"
        "tileloadd (%3,%4,1), %%tmm7\n"
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
        "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n"
        : : "r"(a), "r"(a + a_strip), "r"(b), "r"(b + b_strip), "r"(row) : "memory");
  }
  __asm__ volatile(
      "tilestored %%tmm0, (%0,%4,1)\n"
      "tilestored %%tmm1, (%1,%4,1)\n"
      "tilestored %%tmm2, (%2,%4,1)\n"
      "tilestored %%tmm3, (%3,%4,1)\n"
      : : "r"(c), "r"(c + 16), "r"(c + 16 * c_step), "r"(c + 16 * c_step + 16), "r"(c_row) : "memory");
}
#else
bool moon__amx_usable(moon_isa isa) { return (void)isa, false; }
void moon__amx_begin(void) {}
void moon__amx_end(void) {}
void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_strip, const uint16_t *b, int64_t b_strip, int64_t ntiles) {
  (void)c, (void)c_step, (void)a, (void)a_strip, (void)b, (void)b_strip, (void)ntiles;
}
#endif
