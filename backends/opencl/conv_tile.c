/*
** conv_tile.c: convolution and its gradients on CPU devices: register tiles over filters packed in panels. A tile of the result is
** MR places times NB channels; through each tap it reads a row of channels of each place where it lies, or zeros where the tap sees
** padding. The gradient of the filters sums over places instead: its rows are channels of x, its panels those of dy; few results of
** many places are summed in segments, which a last kernel adds in order. Letters as in window.h; K is taps times channels.
*/
#include "conv.h"

#include "base/shape.h"
#include "base/size.h"
#include "tile.h"

enum { EXTRA = 1 + MOON_CL_GEOMETRY, ITEMS = 32, PLACES = 8192 };

/* p: geometry; from EXTRA on: panels, places, byte of the zeros in scratch. PLACE(i): what the tap sees of place i, as a position
** and whether it is inside. rows: of the result, with n0 n1 n2 places of `cn` channels; source has m0 m1 m2 and `cm`. */
#define TILE_TEXT(N, M, CN, CM, FIND)                                                                                     \
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {                                                    \
    START                                                                                                                 \
    MOON_CL_WINDOW                                                                                                        \
    const long gn = CN / groups; const long gm = CM / groups; const long places = p.v[24];                                \
    const long panel = get_global_id(1); const long group = get_global_id(2); const long first = get_global_id(0) * MR;   \
    __global const T *w = AT(const T, 2) + (group * p.v[23] + panel) * (k0n * k1n * k2n * gm) * NB;                       \
    __global const T *zeros = (__global const T *)(mem2 + off2 + p.v[25]);                                                \
    __global const T *x = AT(const T, 0) + group * gm;                                                                    \
    long b_[MR]; long n0_[MR]; long n1_[MR]; long n2_[MR];                                                                \
    for (int i = 0; i < MR; i++) {                                                                                        \
      long left = min(first + i, places - 1);                                                                             \
      n2_[i] = left % N##2n; left /= N##2n; n1_[i] = left % N##1n; left /= N##1n;                                         \
      n0_[i] = left % N##0n; b_[i] = left / N##0n;                                                                        \
    }                                                                                                                     \
    MOON_CL_TILE_BEGIN                                                                                                    \
    for (long k0 = 0; k0 < k0n; k0++) for (long k1 = 0; k1 < k1n; k1++) for (long k2 = 0; k2 < k2n; k2++) {               \
      __global const T *q[MR];                                                                                            \
      UNROLL for (int i = 0; i < MR; i++) {                                                                               \
        FIND(i)                                                                                                           \
        q[i] = inside ? x + (((b_[i] * M##0n + m0) * M##1n + m1) * M##2n + m2) * CM : zeros;                              \
      }                                                                                                                   \
      for (long c = 0; c < gm; c++) { MOON_CL_TILE_STEP(q[i][c]) }                                                        \
    }                                                                                                                     \
    __global T *y = AT(T, 1) + first * CN + group * gn + panel * NB;                                                      \
    MOON_CL_TILE_STORE(places - first, y + i * CN, gn - panel * NB, false)                                                       \
  }
static const char conv_text[] = CL_(TILE_TEXT(o, i, cy, cx, MOON_CL_FIND_INPUT));
static const char input_grad_text[] = CL_(TILE_TEXT(i, o, cx, cy, MOON_CL_FIND_OUTPUT));

/* p: bytes of zeros, where. */
static const char zeros_text[] = CL(
  KERNEL void run(OPERAND(0), PARAMS, REST) {
    START
    EACH(i, p.v[0], 4096) mem0[off0 + p.v[1] + i] = 0;
  }
);

/* (x, panels of dy) -> dw, or partial sums of it. p: geometry; panels, tiles of channels, segments, images of a segment, byte of the
** partial sums in scratch, whether they are wanted. */
static const char filter_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    const long gc = cx / groups; const long gf = cy / groups; const long segments = p.v[25];
    const long tap = get_global_id(0) / p.v[24]; const long c0 = get_global_id(0) % p.v[24] * MR;
    const long k0 = tap / (k1n * k2n); const long k1 = tap / k2n % k1n; const long k2 = tap % k2n;
    const long panel = get_global_id(1); const long group = get_global_id(2) / segments; const long segment = get_global_id(2) % segments;
    __global const T *columns = AT(const T, 2) + (group * p.v[23] + panel) * (batch * o0n * o1n * o2n) * NB;
    __global const T *x = AT(const T, 0) + group * gc;
    long at[MR];
    for (int i = 0; i < MR; i++) at[i] = min(c0 + i, gc - 1);
    const long shift = k2 * d2 - l2;
    const long low = shift < 0 ? (s2 - 1 - shift) / s2 : 0; const long high = min(o2n, i2n - 1 - shift < 0 ? 0 : (i2n - 1 - shift) / s2 + 1);
    MOON_CL_TILE_BEGIN
    for (long b = segment * p.v[26]; b < min(batch, (segment + 1) * p.v[26]); b++)
      for (long o0 = 0; o0 < o0n; o0++) { MOON_CL_SEES(0)
        for (long o1 = 0; o1 < o1n; o1++) { MOON_CL_SEES(1)
          __global const T *w = columns + (((b * o0n + o0) * o1n + o1) * o2n + low) * NB;
          __global const T *q = x + (((b * i0n + i0) * i1n + i1) * i2n + low * s2 + shift) * cx;
          for (long o2 = low; o2 < high; o2++) {
            MOON_CL_TILE_STEP(q[at[i]])
            q += s2 * cx;
          }
        } }
    __global T *y = p.v[28] ? (__global T *)(mem2 + off2 + p.v[27]) + segment * (k0n * k1n * k2n * gc * cy) : AT(T, 1);
    y += (tap * gc + c0) * cy + group * gf + panel * NB;
    MOON_CL_TILE_STORE(gc - c0, y + i * cy, gf - panel * NB, false)
  }
);

static int64_t count3(const int64_t *n) { return n[0] * n[1] * n[2]; }

static bool add_zeros(moon_cl_choice *c, int64_t bytes, size_t at) {
  const int operands[1] = {MOON_CL_SCRATCH};
  const moon_dtype types[1] = {MOON_DTYPE_u8};
  int64_t p[2] = {bytes, (int64_t)at};
  moon_cl_step_spec s = {.noperands = 1, .operands = operands, .nparams = 2, .params = p};
  moon__cl_spread(c->d, &s, bytes, 4096);
  return moon__cl_add_spec(c, zeros_text, types, &s);
}

bool moon__cl_conv_tiles(moon_cl_choice *c, const moon_geometry *g, bool input_grad) {
  moon_dtype dtype = c->out[0].dtype;
  int64_t gc = g->c_in / g->groups, gf = g->c_out / g->groups, taps = count3(g->window);
  int64_t n = input_grad ? gc : gf, m = input_grad ? gf : gc, places = g->batch * count3(input_grad ? g->in : g->out);
  moon_cl_tile t = moon__cl_tile(c->d, dtype, places, n);
  moon_cl_columns w = {.k1 = input_grad ? taps : 1, .k2 = input_grad ? gf : taps * gc, .n = n, .k1_step = gc * g->c_out,
                       .k2_step = input_grad ? 1 : g->c_out, .column_step = input_grad ? g->c_out : 1, .batch = g->groups,
                       .batch_step = gf};
  size_t panel_bytes, zero_bytes = ((size_t)m * moon_dtype_bytes(dtype) + 63) & ~(size_t)63;
  if (!moon__cl_begin(c, input_grad ? "opencl_conv_input_grad_tiles" : "opencl_conv_tiles", false) ||
      !moon__cl_panel_bytes(&t, &w, dtype, &panel_bytes) || !moon__add_size(panel_bytes, zero_bytes, &c->choice->scratch_bytes))
    return false;
  int64_t panels = moon__ceildiv_i64(n, moon__cl_tile_columns(&t)), p[EXTRA + 3] = {0};
  moon__cl_geometry(g, p + 1);
  p[EXTRA] = panels;
  p[EXTRA + 1] = places;
  p[EXTRA + 2] = (int64_t)panel_bytes;
  const int operands[3] = {0, 2, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = EXTRA + 3, .params = p,
                         .global = {(size_t)moon__ceildiv_i64(places, t.rows), (size_t)panels, (size_t)g->groups}};
  return moon__cl_pack(c, &t, &w, 1, dtype, 0) && add_zeros(c, (int64_t)zero_bytes, panel_bytes) &&
         moon__cl_add_tile(c, &t, dtype, input_grad ? input_grad_text : conv_text, &s);
}

bool moon__cl_filter_grad_tiles(moon_cl_choice *c, const moon_geometry *g) {
  moon_dtype dtype = c->out[0].dtype;
  int64_t gc = g->c_in / g->groups, gf = g->c_out / g->groups, taps = count3(g->window), area = count3(g->out);
  moon_cl_tile t = moon__cl_tile(c->d, dtype, gc, gf);
  moon_cl_columns dy = {.k1 = 1, .k2 = g->batch * area, .n = gf, .k2_step = g->c_out, .column_step = 1, .batch = g->groups,
                        .batch_step = gf};
  int64_t panels = moon__ceildiv_i64(gf, moon__cl_tile_columns(&t)), tiles = moon__ceildiv_i64(gc, t.rows);
  int64_t items = taps * tiles * panels * g->groups;
  int64_t segments = moon__max_i64(moon__ceildiv_i64(ITEMS, items), moon__ceildiv_i64(g->batch * area, PLACES));
  int64_t images = moon__ceildiv_i64(g->batch, moon__min_i64(segments, g->batch)), count = moon__cl_count(&c->out[0]);
  segments = moon__ceildiv_i64(g->batch, images);
  size_t panel_bytes, sum_bytes = 0;
  if (!moon__cl_begin(c, "opencl_conv_filter_grad_tiles", false) || !moon__cl_panel_bytes(&t, &dy, dtype, &panel_bytes) ||
      (segments > 1 && !moon__mul_size((size_t)count, moon_dtype_bytes(dtype) * (size_t)segments, &sum_bytes)) ||
      !moon__add_size(panel_bytes, sum_bytes, &c->choice->scratch_bytes))
    return false;
  int64_t p[EXTRA + 6] = {0};
  moon__cl_geometry(g, p + 1);
  const int64_t extra[6] = {panels, tiles, segments, images, (int64_t)panel_bytes, segments > 1};
  for (int i = 0; i < 6; i++) p[EXTRA + i] = extra[i];
  const int operands[3] = {0, 2, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = EXTRA + 6, .params = p,
                         .global = {(size_t)(taps * tiles), (size_t)panels, (size_t)(g->groups * segments)}};
  return moon__cl_pack(c, &t, &dy, 1, dtype, 0) && moon__cl_add_tile(c, &t, dtype, filter_grad_text, &s) &&
         (segments == 1 || moon__cl_add_sum(c, 0, count, segments, panel_bytes));
}
