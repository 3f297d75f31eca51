/* amx_pack.c: brings matrices into the tiles of the matrix unit, however they lie. See amx.h. */
#include <string.h>

#include "amx.h"
#include "base/size.h"
#include "gemm.h"

typedef struct packer {
  const moon_amx_set *set;
  const moon_gemm_set *gemm; /* it knows how to transpose */
} packer;

/* A tile of bf16 whose numbers come one by one: at ends, and from odd strides. */
static void pack_slowly(uint16_t *out, const uint16_t *x, const moon_amx_side *s, int64_t depth, int64_t width) {
  memset(out, 0, MOON_AMX_TILE * sizeof *out);
  for (int64_t i = 0; i < width; i++)
    for (int64_t k = 0; k < depth; k++) out[s->is_a ? i * 32 + k : k / 2 * 32 + i * 2 + k % 2] = x[k * s->along + i * s->across];
}

static void pack_bf16(const packer *p, const moon_amx_side *s, uint16_t *out, const uint16_t *x, int64_t depth, int64_t width) {
  uint32_t pairs[MOON_AMX_TILE / 2];
  float *out_pairs = (float *)(void *)out;
  bool whole = depth == MOON_AMX_K && width == MOON_AMX_ROWS;
  if (whole && s->is_a && s->along == 1) {
    for (int i = 0; i < MOON_AMX_ROWS; i++) memcpy(out + i * MOON_AMX_K, x + i * s->across, MOON_AMX_K * sizeof *x);
  } else if (whole && s->across == 1) {
    uint32_t *to = s->is_a ? pairs : (uint32_t *)(void *)out;
    for (int k = 0; k < MOON_AMX_K / 2; k++) p->set->interleave(to + k * 16, x + 2 * k * s->along, x + (2 * k + 1) * s->along);
    if (s->is_a) p->gemm->pack(out_pairs, (const float *)(const void *)pairs, 16, 16, 1, 16, 16);
  } else if (whole && s->along == 1 && s->across % 2 == 0) {
    p->gemm->pack(out_pairs, (const float *)(const void *)x, 16, 16, 1, s->across / 2, 16);
  } else {
    pack_slowly(out, x, s, depth, width);
  }
}

/* Numbers that do not lie as the tile's do, and those at ends, are copied to where they do. True: one of them is infinite. */
static bool pack_f32(const packer *p, const moon_amx_side *s, uint16_t *out, const float *x, int64_t depth, int64_t width) {
  _Alignas(64) float copy[MOON_AMX_TILE];
  bool whole = depth == MOON_AMX_K && width == MOON_AMX_ROWS;
  int64_t step = s->is_a ? s->across : s->along, side_by_side = s->is_a ? s->along : s->across;
  if (!whole || side_by_side != 1) {
    if (!whole) memset(copy, 0, sizeof copy);
    if (s->is_a) p->gemm->pack(copy, x, width, depth, s->across, s->along, MOON_AMX_K);
    else p->gemm->pack(copy, x, depth, width, s->along, s->across, MOON_AMX_ROWS);
    x = copy;
    step = s->is_a ? MOON_AMX_K : MOON_AMX_ROWS;
  }
  return (s->is_a ? p->set->split_a : p->set->split_b)(out, x, step);
}

bool moon__amx_pack(moon_isa isa, const moon_amx_side *s, const char *x, int64_t first, int64_t n, int64_t t, int64_t depth,
                    uint16_t *out, int64_t out_step) {
  const packer p = {MOON_ISA_PICK(isa, moon__amx_set), MOON_ISA_PICK(isa, moon__gemm_set)};
  int64_t size = moon__amx_tile(s->of_f32);
  bool infinite = false;
  for (int64_t i = 0; i < depth; i++, t++)
    for (int64_t j = 0; j < n; j++) {
      int64_t k = t * MOON_AMX_K, at = (first + j) * MOON_AMX_ROWS, from = k * s->along + at * s->across;
      int64_t deep = moon__min_i64(MOON_AMX_K, s->k - k), width = moon__min_i64(MOON_AMX_ROWS, s->size - at);
      uint16_t *tile = out + j * out_step + i * size;
      if (width <= 0) memset(tile, 0, (size_t)size * sizeof *tile);
      else if (s->of_f32) infinite |= pack_f32(&p, s, tile, (const float *)(const void *)x + from, deep, width);
      else pack_bf16(&p, s, tile, (const uint16_t *)(const void *)x + from, deep, width);
    }
  return infinite;
}

void moon__amx_mend(float *c, int64_t c_step, const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                    int64_t b_column, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      float *sum = c + i * c_step + j;
      if (*sum == *sum) continue;
      *sum = 0;
      for (int64_t l = 0; l < k && *sum == *sum; l++) *sum += a[i * a_row + l * a_column] * b[j * b_column + l * b_row];
    }
}
