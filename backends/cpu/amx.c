/*
** amx.c: the matrix unit of x86-64 processors (AMX-BF16): whether it may be used, and a block of four tiles. The instructions are
** written out, so that any compiler and any -m flags will do; other machines say that they have none.
*/
#include "amx.h"

#include "base/os.h"

#if defined(__x86_64__)
bool moon__amx_usable(void) { return moon__cpu_has_matrix_unit() && moon__matrix_unit_allow(); }

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

/* Where the core's other hardware thread is at work, the unit's instructions hold each other up, unless others come between them: 14
** loads and 24 products took 518 ns without, 369 ns with these, and 143 ns either way where the core was ours alone. */
#define GAP ".rept 8\nnop\n.endr\n"
#define LOAD(to, p) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #to "\n" GAP : : "r"(p), "r"((int64_t)64) : "memory");
/* Tiles 4 and 5 are of a, 6 and 7 of b. */
#define LOAD_A(p) LOAD(4, p) LOAD(5, (p) + a_step)
#define LOAD_B(p) LOAD(6, p) LOAD(7, (p) + b_step)
#define MULTIPLY                                     \
  __asm__ volatile(                                  \
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n" GAP       \
      "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n" GAP       \
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n" GAP       \
      "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n" GAP : : : "memory");

static void multiply(const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t ntiles) {
  for (; ntiles > 0; ntiles--, a += MOON_AMX_TILE, b += MOON_AMX_TILE) {
    LOAD_B(b)
    LOAD_A(a)
    MULTIPLY
  }
}

/* Six of the nine products of parts, in an order that loads few tiles. The other three are below 2^-23 of the product of two numbers. */
static void multiply_parts(const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t ntiles) {
  const int second = MOON_AMX_TILE, third = 2 * MOON_AMX_TILE;
  for (; ntiles > 0; ntiles--, a += MOON_AMX_PARTS * MOON_AMX_TILE, b += MOON_AMX_PARTS * MOON_AMX_TILE) {
    LOAD_A(a)
    LOAD_B(b + third)
    MULTIPLY
    LOAD_B(b + second)
    MULTIPLY
    LOAD_A(a + second)
    MULTIPLY
    LOAD_B(b)
    MULTIPLY
    LOAD_A(a + third)
    MULTIPLY
    LOAD_A(a)
    MULTIPLY
  }
}

/* The four tiles of c. */
#define EACH(word)                                                                                                          \
  __asm__ volatile(word(0, "%0") word(1, "%1") word(2, "%2") word(3, "%3")                                                  \
                   : : "r"(c), "r"(c + 16), "r"(c + 16 * c_step), "r"(c + 16 * c_step + 16), "r"(c_step * 4) : "memory");
#define FETCH(tile, at) "tileloadd (" at ",%4,1), %%tmm" #tile "\n"
#define STORE(tile, at) "tilestored %%tmm" #tile ", (" at ",%4,1)\n"
#define CLEAR(tile, at) "tilezero %%tmm" #tile "\n"

void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t ntiles,
                     bool of_f32, bool add) {
  if (add) EACH(FETCH)
  else EACH(CLEAR)
  if (of_f32) multiply_parts(a, a_step, b, b_step, ntiles);
  else multiply(a, a_step, b, b_step, ntiles);
  EACH(STORE)
}
#else
bool moon__amx_usable(void) { return false; }
void moon__amx_begin(void) {}
void moon__amx_end(void) {}
void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t ntiles,
                     bool of_f32, bool add) {
  (void)c, (void)c_step, (void)a, (void)a_step, (void)b, (void)b_step, (void)ntiles, (void)of_f32, (void)add;
}
#endif
