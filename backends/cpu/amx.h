/*
** amx.h: tiles of the processor's matrix unit (AMX-BF16). A tile of a is [16 rows][32 k], one of b [16 pairs of k][16 columns][2], both
** of bf16; a strip is the tiles of 16 rows, or of 16 columns, along k. Sums are f32; the unit takes denormals as 0.
** Numbers of f32 are three tiles, one behind the other: the first eight bits of each mantissa, the next eight, the last eight.
*/
#ifndef MOON_AMX_H
#define MOON_AMX_H
#include <stdbool.h>
#include <stdint.h>

#include "isa.h"

enum { MOON_AMX_ROWS = 16, MOON_AMX_K = 32, MOON_AMX_TILE = 16 * 32, MOON_AMX_PARTS = 3 };

/* Packing, with the widest vectors: whole tiles, their numbers side by side along k (of a) or along columns (of b). */
typedef struct moon_amx_set {
  /* out[i] = pair (x[i], y[i]), x in the lower half; i in [0, 16). */
  void (*interleave)(uint32_t *out, const uint16_t *x, const uint16_t *y);
  /* The three tiles of a's x [16][32], and of b's x [32][16], rows `step` apart. True: one of them is infinite. */
  bool (*split_a)(uint16_t *out, const float *x, int64_t step);
  bool (*split_b)(uint16_t *out, const float *x, int64_t step);
} moon_amx_set;
MOON_ISA_DECLARE(const moon_amx_set, moon__amx_set)

/* An operand that is packed: rows of a [size, k] or columns of b [k, size], of f32 or bf16; elements from k to k + 1, and across. */
typedef struct moon_amx_side {
  bool is_a, of_f32;
  int64_t size, k, along, across;
} moon_amx_side;

/* Packs tiles [t, t + depth) of strips [first, first + n) of x, out_step numbers from strip to strip, zeros beyond the ends. True: one of
** the numbers is infinite. */
bool moon__amx_pack(moon_isa isa, const moon_amx_side *s, const char *x, int64_t first, int64_t n, int64_t t, int64_t depth,
                    uint16_t *out, int64_t out_step);
/* An infinity times 0 is NaN, and so are its parts: sums c [m, n] that are NaN are made again, number by number, of a [m, k], b [k, n]. */
void moon__amx_mend(float *c, int64_t c_step, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                    int64_t b_column, int64_t m, int64_t n, int64_t k);
/* Numbers of a tile, or of the three of f32. */
static inline int64_t moon__amx_tile(bool of_f32) { return of_f32 ? MOON_AMX_PARTS * MOON_AMX_TILE : MOON_AMX_TILE; }

/* Does this machine have the matrix unit, and does the system let this process use it? Asks the system for it. */
bool moon__amx_usable(void);
/* Between these two a thread may call the others: they load and drop the shape of the tiles. */
void moon__amx_begin(void);
void moon__amx_end(void);
/* c [32, 32], rows c_step apart, = (add: +=) two strips of a by two of b, each strip ntiles along k, the other one a_step, b_step numbers
** on. of_f32: three tiles each time. */
void moon__amx_block(float *c, int64_t c_step, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, int64_t ntiles,
                     bool of_f32, bool add);
#endif
