/*
** winograd.c: 3x3 convolutions and their gradients by Winograd's algorithm F(4, 3) on CPU devices (core/ops/winograd.c tells what
** the nodes mean). A work-item has a place of its own in scratch and takes block after block of tiles through all three steps:
** the source transformed, multiplied position by position, transformed back; so what lies between stays in a near cache. The
** gradient of the filter adds up the products of a segment of blocks, whose results a last kernel adds in order. Work is cut by shape
** alone: which work-item takes a block changes no bit. Letters: source [n, s, c] to target [n, s', f]; u as winograd_filter makes it.
*/
#include "base/shape.h"
#include "base/size.h"
#include "conv.h"
#include "tile.h"

enum { POSITIONS = 36, PANEL = 32, BLOCK = 24, SEGMENTS = 16, CACHED_SUMS = 600000, GRID = 10 };

/* ---- Transforms of a line: n numbers X(0), X(1), .. become Y(0), Y(1), ..; points 0, 1, -1, 2, -2, infinity ---- */
#define SOURCE(X, Y)                                                                                       \
  const V even = X(4) - 4.0f * X(2); const V odd = X(3) - 4.0f * X(1); const V e0 = X(4) - X(2); const V e1 = 2.0f * (X(3) - X(1)); \
  Y(0) = 4.0f * X(0) - 5.0f * X(2) + X(4); Y(1) = even + odd; Y(2) = even - odd; Y(3) = e0 + e1; Y(4) = e0 - e1; \
  Y(5) = 4.0f * X(1) - 5.0f * X(3) + X(5);
#define FILTER(X, Y)                                                                                       \
  const V even = (X(0) + X(2)) * (-1.0f / 6); const V odd = X(1) * (-1.0f / 6);                               \
  const V more = (X(0) + 4.0f * X(2)) * (1.0f / 24); const V twice = X(1) * (1.0f / 12);                      \
  Y(0) = 0.25f * X(0); Y(1) = even + odd; Y(2) = even - odd; Y(3) = more + twice; Y(4) = more - twice; Y(5) = X(2);
#define TARGET(X, Y)                                                                                       \
  const V e0 = X(1) + X(2); const V e1 = X(1) - X(2); const V e2 = X(3) + X(4); const V e3 = X(3) - X(4);       \
  Y(0) = X(0) + e0 + e2; Y(1) = e1 + 2.0f * e3; Y(2) = e0 + 4.0f * e2; Y(3) = e1 + 8.0f * e3 + X(5);
#define TARGET_GRAD(X, Y)                                                                                  \
  const V e0 = X(0) + X(2); const V e1 = X(1) + X(3); const V e2 = X(0) + 4.0f * X(2); const V e3 = 2.0f * X(1) + 8.0f * X(3); \
  Y(0) = X(0); Y(1) = e0 + e1; Y(2) = e0 - e1; Y(3) = e2 + e3; Y(4) = e2 - e3; Y(5) = X(3);
#define FILTER_GRAD(X, Y)                                                                                  \
  const V sum = (X(1) + X(2)) * (1.0f / 6); const V more = X(3) + X(4);                                        \
  Y(0) = 0.25f * X(0) - sum + more * (1.0f / 24); Y(1) = (X(2) - X(1)) * (1.0f / 6) + (X(3) - X(4)) * (1.0f / 12); \
  Y(2) = more * (1.0f / 6) - sum + X(5);

#define COLUMN_X(i) column_[i]
#define COLUMN_Y(i) half_[(i) * IN_ + k_]
#define ROW_X(i) half_[r_ * IN_ + (i)]
#define ROW_Y(i) row_[i]
/* The transform of a square, `in` x `in` to `out` x `out`: of its columns, then of its rows. LOAD(i) is number i that comes in,
** STORE(i, v) takes number i of the results. */
#define SQUARE(line, in, out, LOAD, STORE)                                                                 \
  {                                                                                                        \
    enum { IN_ = in }; V half_[out * in];                                                                  \
    UNROLL for (int k_ = 0; k_ < in; k_++) {                                                               \
      V column_[in];                                                                                       \
      UNROLL for (int r_ = 0; r_ < in; r_++) column_[r_] = LOAD(r_ * in + k_);                              \
      line(COLUMN_X, COLUMN_Y)                                                                             \
    }                                                                                                      \
    UNROLL for (int r_ = 0; r_ < out; r_++) {                                                              \
      V row_[out];                                                                                         \
      line(ROW_X, ROW_Y)                                                                                   \
      UNROLL for (int i_ = 0; i_ < out; i_++) { STORE(r_ * out + i_, row_[i_]) }                            \
    }                                                                                                      \
  }

/* ---- The filter: w [3, 3, c, f] -> u [panels, positions, c, 32]. A row of a panel at a time. p: rows in all, c, f, turned ---- */

#define LOAD_TAP(i) w[i]
#define STORE_TAP(i, v) VSTORE(v, 0, y + (i) * c * 32);
static const char filter_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long c = p.v[1]; const long f = p.v[2]; const bool turned = p.v[3];
    EACH(at, p.v[0], 16) {
      const long row = at % c; const long panel = at / c;
      for (long j = 0; j < 32; j += L) {
        const long column = panel * 32 + j;
        V w[9];
        UNROLL for (int t = 0; t < 9; t++) {
          T square[L];
          for (int i = 0; turned && column < f && i < L; i++) square[i] = AT(const T, 0)[((8 - t) * f + column + i) * c + row];
          w[t] = column >= f ? (V)(0) : turned ? VLOAD(0, square) : VLOAD(0, AT(const T, 0) + (t * c + row) * f + column);
        }
        __global T *y = AT(T, 1) + (panel * 36 * c + row) * 32 + j;
        SQUARE(FILTER, 3, 6, LOAD_TAP, STORE_TAP)
      }
    }
  }
);

/* ---- Tiles: where they lie in images, and their transforms ---- */

/* p: grid from `first` on: tiles in all, down and along an image, first row and place of the source, sizes of source and target. */
#define GRID_WORDS                                                                                         \
  const long count = p.v[0]; const long down = p.v[1]; const long along = p.v[2]; const long start0 = p.v[3]; const long start1 = p.v[4]; \
  const long s0 = p.v[5]; const long s1 = p.v[6]; const long t0 = p.v[7]; const long t1 = p.v[8];
/* at[i]: place i of the square of tile t, -1 outside of its image. */
#define PLACES(size, begin0, begin1, n0, n1)                                                               \
  long at[size * size];                                                                                    \
  {                                                                                                        \
    const long image = t / (down * along); const long row = t / along % down * 4 + begin0; const long place = t % along * 4 + begin1; \
    for (int i = 0; i < size; i++) for (int k = 0; k < size; k++) {                                        \
      const bool inside = row + i >= 0 && row + i < n0 && place + k >= 0 && place + k < n1;                \
      at[i * size + k] = inside ? (image * n0 + row + i) * n1 + place + k : -1;                            \
    }                                                                                                      \
  }
#define LOAD_SOURCE(i) (at[i] < 0 ? (V)(0) : VLOAD(0, x + at[i] * c + j))
#define STORE_SOURCE(i, y) VSTORE(y, 0, v + (i) * v_step + (t - from) * c + j);
/* v [positions][tiles][c] */
#define TRANSFORM_SOURCE                                                                                   \
  for (long t = from; t < to; t++) {                                                                       \
    PLACES(6, start0, start1, s0, s1)                                                                      \
    for (long j = 0; j < c; j += L) SQUARE(SOURCE, 6, 6, LOAD_SOURCE, STORE_SOURCE)                        \
  }

/* ---- (source, u) -> target. p: grid; c, f, panels, blocks, numbers of v and of m from position to position ---- */

#define LOAD_PRODUCT(i) VLOAD(0, m + (i) * m_step + (t - from) * (panels * 32) + j)
#define STORE_TARGET(i, y) if (at[i] >= 0) VSTORE(y, 0, AT(T, 2) + at[i] * f + j);
static const char conv_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {
    START
    GRID_WORDS
    const long c = p.v[9]; const long f = p.v[10]; const long panels = p.v[11]; const long blocks = p.v[12];
    const long v_step = p.v[13]; const long m_step = p.v[14];
    __global const T *x = AT(const T, 0);
    __global T *v = AT(T, 3) + get_global_id(0) * (v_step + m_step) * 36; __global T *m = v + 36 * v_step;
    for (long block = get_global_id(0); block < blocks; block += get_global_size(0)) {
      const long from = block * 24; const long to = min(from + 24, count);
      TRANSFORM_SOURCE
      for (int k = 0; k < 36; k++)
        for (long panel = 0; panel < panels; panel++)
          for (long row = 0; row < to - from; row += MR) {
            __global const T *w = AT(const T, 1) + (panel * 36 + k) * c * 32;
            __global const T *a = v + k * v_step + row * c;
            MOON_CL_TILE_BEGIN
            for (long j = 0; j < c; j++) { MOON_CL_TILE_STEP(a[i * c + j]) }
            __global T *z = m + k * m_step + row * (panels * 32) + panel * 32;
            UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int j = 0; j < NV; j++) VSTORE(acc[i][j], j, z + i * (panels * 32)); }
          }
      for (long t = from; t < to; t++) {
        PLACES(4, 0, 0, t0, t1)
        for (long j = 0; j < f; j += L) SQUARE(TARGET, 6, 4, LOAD_PRODUCT, STORE_TARGET)
      }
    }
  }
);

/* ---- (x, dy) -> partial sums of dw. p: grid; c, f, blocks, blocks of a segment, segments, numbers of v and d from position to
** position, byte of the partial sums. The products of x and dy are m [positions][c][f]; d [positions][panels][tiles][NB] ---- */

#define LOAD_DY(i) (at[i] < 0 ? (V)(0) : VLOAD(0, AT(const T, 1) + at[i] * f + j))
#define STORE_DY(i, y) VSTORE(y, 0, d + (i) * d_step + (j / NB * 24 + t - from) * NB + j % NB);
#define LOAD_SUM(i) VLOAD(0, m + ((i) * c + row) * f + j)
#define STORE_TAPS(i, y) VSTORE(y, 0, dw + ((i) * c + row) * f + j);
static const char filter_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    GRID_WORDS
    const long c = p.v[9]; const long f = p.v[10]; const long blocks = p.v[11]; const long v_step = p.v[14]; const long d_step = p.v[15];
    const long segment = get_global_id(0);
    __global const T *x = AT(const T, 0);
    __global T *m = AT(T, 2) + segment * (c * f + v_step + d_step) * 36; __global T *v = m + c * f * 36; __global T *d = v + v_step * 36;
    __global T *dw = (__global T *)(mem2 + off2 + p.v[16]) + segment * 9 * c * f;
    for (long block = segment * p.v[12]; block < min(blocks, (segment + 1) * p.v[12]); block++) {
      const long from = block * 24; const long to = min(from + 24, count); const bool more = block > segment * p.v[12];
      TRANSFORM_SOURCE
      for (long t = from; t < to; t++) {
        PLACES(4, 0, 0, t0, t1)
        for (long j = 0; j < f; j += L) SQUARE(TARGET_GRAD, 4, 6, LOAD_DY, STORE_DY)
      }
      for (int k = 0; k < 36; k++)
        for (long column = 0; column < f; column += NB)
          for (long row = 0; row < c; row += MR) {
            __global const T *w = d + k * d_step + column * 24;
            __global const T *a = v + k * v_step + row;
            __global T *z = m + (k * c + row) * f + column;
            V acc[MR][NV];
            UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int j = 0; j < NV; j++) acc[i][j] = more ? VLOAD(j, z + i * f) : (V)(0); }
            for (long t = from; t < to; t++) { MOON_CL_TILE_STEP(a[i]) a += c; }
            UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int j = 0; j < NV; j++) VSTORE(acc[i][j], j, z + i * f); }
          }
    }
    for (long row = 0; row < c; row++)
      for (long j = 0; j < f; j += L) SQUARE(FILTER_GRAD, 6, 3, LOAD_SUM, STORE_TAPS)
  }
);

/* ---- Choice ---- */

static int64_t tiles_of(const moon_geometry *g, const int64_t *target) {
  return g->batch * moon__ceildiv_i64(target[1], 4) * moon__ceildiv_i64(target[2], 4);
}

static bool fits(const moon_cl_device *d, const moon_node *n, const moon_geometry *g) {
  for (int i = 0; i < n->ninputs; i++)
    if (n->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  for (int i = 1; i < 3; i++)
    if (g->window[i] != 3 || g->stride[i] != 1 || g->dilation[i] != 1 || g->in[i] == 0 || g->out[i] == 0) return false;
  return d->wide && g->window[0] == 1 && g->in[0] == 1 && g->out[0] == 1 && g->groups == 1 && g->batch > 0 && g->c_in >= 32 &&
         g->c_out >= 32 && g->c_in % 16 == 0 && g->c_out % 16 == 0;
}

static bool filter_fits(const moon_cl_device *d, const moon_node *n) {
  const moon_winograd_attrs *a = n->attrs;
  const moon_shape *w = &n->inputs[0]->type.shape;
  return d->wide && n->inputs[0]->type.dtype == MOON_DTYPE_f32 && a->tile == 4 && moon__shape_known(w) && w->dim[2] % 16 == 0 &&
         w->dim[3] % 16 == 0 && w->dim[2] > 0 && w->dim[3] > 0;
}

/* What a pair of channels costs: 9 units a place by the direct sum; here each tile a product at every position, transforming its
** ends 16 units a channel more, and the filter is read once from far away. */
static bool pays(const moon_geometry *g, const int64_t *target, double filter) {
  double tiles = (double)tiles_of(g, target), edges = 16 * (1 / (double)g->c_in + 1 / (double)g->c_out);
  return 9.0 * (double)(g->batch * target[1] * target[2]) > 1.1 * POSITIONS * (tiles * (1 + edges) + filter);
}

static bool conv_fits(const moon_cl_device *d, const moon_node *n, bool backward) {
  moon_geometry g = moon__conv_geometry(n);
  int64_t c = backward ? g.c_out : g.c_in, f = backward ? g.c_in : g.c_out;
  const moon_shape *u = &n->inputs[2]->type.shape;
  return fits(d, n, &g) && u->ndim == 4 && u->dim[0] == moon__ceildiv_i64(f, PANEL) && u->dim[1] == POSITIONS && u->dim[2] == c &&
         u->dim[3] == PANEL && pays(&g, backward ? g.in : g.out, 16);
}

static bool filter_grad_fits(const moon_cl_device *d, const moon_node *n) {
  moon_geometry g = moon__conv_geometry(n);
  return fits(d, n, &g) && POSITIONS * g.c_in * g.c_out <= CACHED_SUMS && pays(&g, g.out, 20);
}

bool moon__cl_winograd_has(const moon_cl_device *d, const moon_node *n) {
  switch (n->op->id) {
    case MOON_OP_winograd_filter: return filter_fits(d, n);
    case MOON_OP_winograd_conv: return conv_fits(d, n, false);
    case MOON_OP_winograd_input_grad: return conv_fits(d, n, true);
    case MOON_OP_winograd_filter_grad: return filter_grad_fits(d, n);
    default: return false;
  }
}

/* ---- Launches ---- */

static moon_cl_tile tile_of(const moon_cl_device *d, int rows512, int rows256) {
  return (moon_cl_tile){.rows = d->vector_bytes >= 64 ? rows512 : rows256, .vectors = 2, .lanes = 16};
}

static void put_grid(const moon_geometry *g, bool backward, int64_t *p) {
  const int64_t *source = backward ? g->out : g->in, *target = backward ? g->in : g->out;
  p[0] = tiles_of(g, target);
  p[1] = moon__ceildiv_i64(target[1], 4);
  p[2] = moon__ceildiv_i64(target[2], 4);
  for (int i = 0; i < 2; i++) {
    p[3 + i] = backward ? g->pad_lo[i + 1] - 2 : -g->pad_lo[i + 1];
    p[5 + i] = source[i + 1];
    p[7 + i] = target[i + 1];
  }
}

static bool add_filter(moon_cl_choice *c) {
  const moon_winograd_attrs *a = c->node->attrs;
  const moon_array *w = &c->in[0];
  moon_cl_tile t = tile_of(c->d, 1, 1);
  int64_t rows = w->shape[a->turned ? 3 : 2], columns = w->shape[a->turned ? 2 : 3];
  int64_t p[4] = {rows * moon__ceildiv_i64(columns, PANEL), rows, columns, a->turned};
  const int operands[2] = {0, 1};
  moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 4, .params = p};
  moon__cl_spread(c->d, &s, p[0], 16);
  return moon__cl_begin(c, "opencl_winograd_filter", false) && moon__cl_add_tile(c, &t, MOON_DTYPE_f32, filter_text, &s);
}

/* Bytes of `count` places of `numbers` floats. */
static bool place_bytes(int64_t count, int64_t numbers, size_t *bytes) {
  int64_t n;
  return moon__mul_i64(count, numbers, &n) && moon__mul_size((size_t)n, sizeof(float), bytes) && moon__align_size(*bytes, 64, bytes);
}

static bool add_conv(moon_cl_choice *c, bool backward) {
  moon_geometry g = moon__conv_geometry(c->node);
  moon_cl_tile t = tile_of(c->d, 12, 3);
  int64_t p[15];
  put_grid(&g, backward, p);
  int64_t from = backward ? g.c_out : g.c_in, to = backward ? g.c_in : g.c_out, panels = moon__ceildiv_i64(to, PANEL);
  int64_t blocks = moon__ceildiv_i64(p[0], BLOCK), v_step = BLOCK * from + 16, m_step = BLOCK * panels * PANEL + 16;
  int64_t items = moon__min_i64(blocks, 4 * (int64_t)c->d->units);
  const int64_t extra[6] = {from, to, panels, blocks, v_step, m_step};
  for (int i = 0; i < 6; i++) p[9 + i] = extra[i];
  if (!moon__cl_begin(c, backward ? "opencl_winograd_input_grad" : "opencl_winograd_conv", false) ||
      !place_bytes(items, POSITIONS * (v_step + m_step), &c->choice->scratch_bytes))
    return false;
  const int operands[4] = {0, 2, 3, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 4, .operands = operands, .nparams = 15, .params = p, .global = {(size_t)items, 1, 1}};
  return moon__cl_add_tile(c, &t, MOON_DTYPE_f32, conv_text, &s);
}

static bool add_filter_grad(moon_cl_choice *c) {
  moon_geometry g = moon__conv_geometry(c->node);
  moon_cl_tile t = tile_of(c->d, 8, 2);
  if (g.c_out % PANEL != 0) t.vectors = 1;
  int64_t p[17], count = 9 * g.c_in * g.c_out;
  put_grid(&g, false, p);
  int64_t blocks = moon__ceildiv_i64(p[0], BLOCK), segment = moon__ceildiv_i64(blocks, moon__min_i64(blocks, SEGMENTS));
  int64_t segments = moon__ceildiv_i64(blocks, segment), v_step = BLOCK * g.c_in + 16, d_step = BLOCK * g.c_out + 16;
  size_t sums, places;
  if (!moon__cl_begin(c, "opencl_winograd_filter_grad", false) ||
      !place_bytes(segments, POSITIONS * (g.c_in * g.c_out + v_step + d_step), &places) || !place_bytes(segments, count, &sums) ||
      !moon__add_size(places, sums, &c->choice->scratch_bytes))
    return false;
  const int64_t extra[8] = {g.c_in, g.c_out, blocks, segment, segments, v_step, d_step, (int64_t)places};
  for (int i = 0; i < 8; i++) p[9 + i] = extra[i];
  const int operands[3] = {0, 1, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 17, .params = p, .global = {(size_t)segments, 1, 1}};
  return moon__cl_add_tile(c, &t, MOON_DTYPE_f32, filter_grad_text, &s) && moon__cl_add_sum(c, 0, count, segments, places);
}

static bool select_winograd(moon_cl_choice *c, moon_status *s) {
  if (!moon__cl_winograd_has(c->d, c->node)) return false;
  moon_op_id op = c->node->op->id;
  *s = moon__cl_end(c, op == MOON_OP_winograd_filter        ? add_filter(c)
                       : op == MOON_OP_winograd_filter_grad ? add_filter_grad(c)
                                                            : add_conv(c, op == MOON_OP_winograd_input_grad));
  return true;
}

const moon_cl_family moon__cl_winograd = {select_winograd};
