/*
** recurrent.c: lstm_sequence and its gradient on CPU devices (core/ops/lstm_sequence.c tells what they mean). Rows of the batch know
** nothing of each other, so a work-item takes some of them through all steps alone: the recurrent kernel, packed once, stays in its
** cache, and the cell is computed on the sums of a register tile. Where that does not pay, and on other devices, the scan of the
** op's body runs. Letters: t b u as there; L numbers a vector.
*/
#include "base/shape.h"
#include "base/size.h"
#include "ops/attrs.h"
#include "tile.h"

enum { Z, RECURRENT, BIAS, H, C, MASK }; /* inputs; outputs come behind the mask, where there is one */
enum { Y, H_LAST, C_LAST, GATES, STATES };
enum { G_RECURRENT, G_C, G_GATES, G_STATES, G_DY, G_DH, G_DC, G_MASK };
enum { DZ, DH, DC, DBIAS };

/* The recurrent kernel [u, 4u] as panels [u / L][u][4][L]: gates of L units beside each other. p: rows of all panels, u. */
static const char pack_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long u = p.v[1];
    EACH(at, p.v[0], 64) {
      __global const T *x = AT(const T, 0) + at % u * 4 * u + at / u * L;
      __global T *y = AT(T, 1) + at * NB;
      UNROLL for (int g = 0; g < 4; g++) VSTORE(VLOAD(0, x + g * u), g, y);
    }
  }
);

#define SIGMOID(x) (1 / (1 + exp(-(x))))
/* What both ways have: operands; t, b, u; the rows of the work-item. */
#define SEQUENCE_KERNEL                                                                                                       \
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), OPERAND(4), OPERAND(5), OPERAND(6), OPERAND(7), OPERAND(8), \
                  OPERAND(9), OPERAND(10), PARAMS, REST)
#define SEQUENCE_SIZES                                                     \
  const long t = p.v[0]; const long b = p.v[1]; const long u = p.v[2];     \
  const long first = get_global_id(0) * p.v[4]; const long end = min(b, first + p.v[4]);
/* Operands: z, bias, h, c, mask, y, last h and c, gates, states, panels. p: t, b, u, from the end, rows of a work-item, a mask is there. */
static const char forward_text[] = CL_(
  SEQUENCE_KERNEL {
    START
    SEQUENCE_SIZES
    __global T *c = AT(T, 7); __global const T *before = AT(const T, 2);
    for (long i = first * u; i < end * u; i++) c[i] = AT(const T, 3)[i];
    for (long s = 0; s < t; s++) {
      const long at = (p.v[3] ? t - 1 - s : s) * b; /* the step's first row */
      __global T *y = AT(T, 5) + at * u;
      for (long unit = 0; unit < u; unit += L)
        for (long row = first; row < end; row += MR) {
          __global const T *w = AT(const T, 10) + unit * 4 * u; __global const T *a[MR];
          V acc[MR][NV];
          UNROLL for (int i = 0; i < MR; i++) {
            const long r = min(row + i, end - 1);
            a[i] = before + r * u;
            UNROLL for (int g = 0; g < 4; g++)
              acc[i][g] = VLOAD(0, AT(const T, 0) + ((at + r) * 4 + g) * u + unit) + VLOAD(0, AT(const T, 1) + g * u + unit);
          }
          for (long k = 0; k < u; k++) MOON_CL_TILE_STEP(a[i][k])
          T sums[MR * NB];
          UNROLL for (int i = 0; i < MR; i++) { UNROLL for (int g = 0; g < 4; g++) VSTORE(acc[i][g], i * 4 + g, sums); }
          for (long r = row; r < min(row + MR, end); r++) {
            const long place = r * u + unit; const T *sum = sums + (r - row) * NB;
            const V c0 = VLOAD(0, c + place);
            const V in = SIGMOID(VLOAD(0, sum)); const V keep = SIGMOID(VLOAD(1, sum)); const V x = VLOAD(2, sum); const V g = TANH(x);
            const V out = SIGMOID(VLOAD(3, sum));
            V c1 = keep * c0 + in * g; V h1 = out * TANH(c1);
            if (p.v[5] && !AT(const uchar, 4)[at + r]) { c1 = c0; h1 = VLOAD(0, before + place); }
            VSTORE(c1, 0, c + place);
            VSTORE(h1, 0, y + place);
            if (mem9) VSTORE(c1, 0, AT(T, 9) + at * u + place);
            if (mem8) {
              __global T *gates = AT(T, 8) + (at + r) * 4 * u + unit;
              VSTORE(in, 0, gates); VSTORE(keep, 0, gates + u); VSTORE(g, 0, gates + 2 * u); VSTORE(out, 0, gates + 3 * u);
            }
          }
        }
      before = y;
    }
    for (long i = first * u; mem6 && i < end * u; i++) AT(T, 6)[i] = before[i];
  }
);

/* Operands: c, gates, states, dy, dh, dc, mask, dz, first dh and dc, panels and sums of dz of each row. p: as above; byte where
** the sums are; what lies between dy's steps, and its rows. */
static const char back_text[] = CL_(
  SEQUENCE_KERNEL {
    START
    SEQUENCE_SIZES
    __global T *dh = AT(T, 8); __global T *dc = AT(T, 9); __global T *sums = (__global T *)(mem10 + off10 + p.v[6]);
    for (long i = first * u; i < end * u; i++) { dh[i] = AT(const T, 4)[i]; dc[i] = AT(const T, 5)[i]; }
    for (long i = first * 4 * u; i < end * 4 * u; i++) sums[i] = 0;
    for (long s = t - 1; s >= 0; s--) {
      const long at = (p.v[3] ? t - 1 - s : s) * b; const long last = p.v[3] ? at + b : at - b;
      __global const T *before = s == 0 ? AT(const T, 0) : AT(const T, 2) + last * u;
      for (long row = first; row < end; row++) {
        const bool counts = !p.v[5] || AT(const uchar, 6)[at + row];
        for (long unit = 0; unit < u; unit += L) {
          const long place = row * u + unit; const long wide = row * 4 * u + unit;
          __global const T *gates = AT(const T, 1) + at * 4 * u + wide; __global T *dz = AT(T, 7) + at * 4 * u + wide;
          const V in = VLOAD(0, gates); const V keep = VLOAD(0, gates + u); const V g = VLOAD(0, gates + 2 * u);
          const V out = VLOAD(0, gates + 3 * u); const V c1 = VLOAD(0, AT(const T, 2) + at * u + place); const V c = TANH(c1);
          const V dh1 = VLOAD(0, dh + place) + VLOAD(0, AT(const T, 3) + at / b * p.v[7] + row * p.v[8] + unit);
          const V dc0 = VLOAD(0, dc + place); const V dc1 = dc0 + dh1 * out * (1 - c * c);
          V d[4];
          d[0] = dc1 * g * in * (1 - in); d[1] = dc1 * VLOAD(0, before + place) * keep * (1 - keep);
          d[2] = dc1 * in * (1 - g * g); d[3] = dh1 * c * out * (1 - out);
          UNROLL for (int i = 0; i < 4; i++) {
            if (!counts) d[i] = 0;
            VSTORE(d[i], 0, dz + i * u);
            VSTORE(VLOAD(0, sums + wide + i * u) + d[i], 0, sums + wide + i * u);
          }
          VSTORE(counts ? dc1 * keep : dc0, 0, dc + place);
          VSTORE(counts ? (V)(0) : dh1, 0, dh + place);
        }
      }
      for (long column = 0; column < u; column += NB)
        for (long row = first; row < end; row += MR) {
          __global const T *w = AT(const T, 10) + column * 4 * u; __global const T *a[MR];
          UNROLL for (int i = 0; i < MR; i++) a[i] = AT(const T, 7) + (at + min(row + i, end - 1)) * 4 * u;
          MOON_CL_TILE_BEGIN
          for (long k = 0; k < 4 * u; k++) MOON_CL_TILE_STEP(a[i][k])
          __global T *y = dh + row * u + column;
          MOON_CL_TILE_STORE(end - row, y + i * u, u - column, true)
        }
    }
  }
);

/* p: b, 4u, place of the sums of each row. */
static const char bias_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    if (!mem0) return;
    EACH(j, p.v[1], 1024) {
      T sum = 0;
      for (long row = 0; row < p.v[0]; row++) sum += ((__global const T *)(mem1 + off1 + p.v[2]))[row * p.v[1] + j];
      AT(T, 0)[j] = sum;
    }
  }
);

/* A batch too small for all processors is left to the body, which shares every step among them, where steps are long. */
bool moon__cl_recurrent_has(const moon_cl_device *d, const moon_node *n) {
  bool back = n->op->id == MOON_OP_lstm_sequence_grad;
  if (!d->wide || (!back && n->op->id != MOON_OP_lstm_sequence)) return false;
  const moon_type *gates = &n->inputs[back ? G_GATES : Z]->type;
  int64_t b = gates->shape.dim[1], u = gates->shape.dim[2] / 4, lanes = gates->dtype == MOON_DTYPE_f64 ? 8 : 16;
  bool known = moon__shape_known(&gates->shape) && !moon__dtype_is_half(gates->dtype);
  return known && b > 0 && u > 0 && u % lanes == 0 && (b >= d->units || u <= 256);
}

/* Rows of a work-item: the batch over all processors, no more than stay in a near cache. */
static int64_t rows_of(const moon_cl_device *d, int64_t b, int64_t u) {
  return moon__max_i64(1, moon__min_i64(moon__ceildiv_i64(b, d->units), 32768 / u));
}

/* Makes p of a text: t, b, u, from the end, rows, mask. */
static void put_sizes(const moon_cl_choice *c, const moon_array *gates, const moon_array *mask, int64_t *p) {
  const moon_sequence_attrs *a = c->node->attrs;
  int64_t b = gates->shape[1], u = gates->shape[2] / 4;
  const int64_t first[6] = {gates->shape[0], b, u, a->go_backwards, rows_of(c->d, b, u), mask != NULL};
  for (int i = 0; i < 6; i++) p[i] = first[i];
}

static size_t items_of(const int64_t *p) { return (size_t)moon__ceildiv_i64(p[1], p[4]); }

/* Four vectors of gates by as many rows as registers allow, none of them idle. */
static moon_cl_tile cell_tile(const moon_cl_device *d, moon_dtype dtype, int64_t rows) {
  int64_t most = d->vector_bytes >= 64 ? 6 : 2, tiles = moon__ceildiv_i64(rows, most);
  return (moon_cl_tile){.rows = (int)moon__ceildiv_i64(rows, tiles), .vectors = 4, .lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
}

static bool add_forward(moon_cl_choice *c) {
  const moon_array *z = &c->in[Z];
  bool masked = c->nin > MASK;
  int64_t p[6];
  put_sizes(c, z, masked ? &c->in[MASK] : NULL, p);
  moon_cl_tile t = cell_tile(c->d, z->dtype, p[4]);
  const moon_cl_columns columns = {.k1 = 1, .k2 = p[2], .n = 4 * p[2], .batch = 1};
  if (!moon__cl_begin(c, "opencl_lstm_sequence", false) ||
      !moon__cl_panel_bytes(&t, &columns, z->dtype, &c->choice->scratch_bytes))
    return false;
  c->choice->needs_out = 1u << Y | 1u << C_LAST;
  int y = c->nin;
  int64_t pack[2] = {p[2] / t.lanes * p[2], p[2]};
  const int of_pack[2] = {RECURRENT, MOON_CL_SCRATCH};
  const int operands[11] = {Z, BIAS, H, C, masked ? MASK : H, y + Y, y + H_LAST, y + C_LAST, y + GATES, y + STATES, MOON_CL_SCRATCH};
  moon_cl_step_spec s = {.noperands = 2, .operands = of_pack, .nparams = 2, .params = pack};
  moon__cl_spread(c->d, &s, pack[0], 64);
  if (!moon__cl_add_tile(c, &t, z->dtype, pack_text, &s)) return false;
  s = (moon_cl_step_spec){.noperands = 11, .operands = operands, .nparams = 6, .params = p, .global = {items_of(p), 1, 1},
                         .large = true};
  return moon__cl_add_tile(c, &t, z->dtype, forward_text, &s);
}

/* The steps back; then the sums of each row, at byte `sums` of scratch, become the gradient of the bias. */
static bool add_back_steps(moon_cl_choice *c, const moon_cl_tile *t, const int64_t *p, int np) {
  int dz = c->nin, mask = c->nin > G_MASK ? G_MASK : G_C;
  moon_dtype dtype = c->in[G_GATES].dtype;
  const int operands[11] = {G_C, G_GATES, G_STATES, G_DY, G_DH, G_DC, mask, dz + DZ, dz + DH, dz + DC, MOON_CL_SCRATCH};
  const int of_bias[2] = {dz + DBIAS, MOON_CL_SCRATCH};
  int64_t bias[3] = {p[1], 4 * p[2], p[6]};
  moon_cl_step_spec s = {.noperands = 11, .operands = operands, .nparams = np, .params = p, .global = {items_of(p), 1, 1},
                         .large = true};
  if (!moon__cl_add_tile(c, t, dtype, back_text, &s)) return false;
  s = (moon_cl_step_spec){.noperands = 2, .operands = of_bias, .nparams = 3, .params = bias};
  moon__cl_spread(c->d, &s, bias[1], 1024);
  return moon__cl_add_tile(c, t, dtype, bias_text, &s);
}

static bool add_back(moon_cl_choice *c) {
  const moon_array *gates = &c->in[G_GATES], *dy = &c->in[G_DY];
  moon_dtype dtype = gates->dtype;
  int64_t p[9], u = gates->shape[2] / 4;
  size_t panels, sums;
  put_sizes(c, gates, c->nin > G_MASK ? &c->in[G_MASK] : NULL, p);
  moon_cl_tile t = moon__cl_tile(c->d, dtype, p[4], u);
  const moon_cl_columns columns = {.k1 = 1, .k2 = 4 * u, .n = u, .k2_step = 1, .column_step = 4 * u, .batch = 1};
  if (!moon__cl_begin(c, "opencl_lstm_sequence_grad", false) || !moon__cl_panel_bytes(&t, &columns, dtype, &panels) ||
      !moon__mul_size((size_t)(4 * u), (size_t)p[1] * moon_dtype_bytes(dtype), &sums) ||
      !moon__add_size(panels, sums, &c->choice->scratch_bytes))
    return false;
  if (dy->strides[2] == 1) c->choice->dense_in &= ~((uint64_t)1 << G_DY); /* it may lie with rows first */
  c->choice->needs_out = 1u << DZ | 1u << DH | 1u << DC;
  p[6] = (int64_t)panels;
  p[7] = dy->strides[0];
  p[8] = dy->strides[1];
  return moon__cl_pack(c, &t, &columns, G_RECURRENT, dtype, 0) && add_back_steps(c, &t, p, 9);
}

static bool select_recurrent(moon_cl_choice *c, moon_status *s) {
  if (!moon__cl_recurrent_has(c->d, c->node)) return false;
  *s = moon__cl_end(c, c->node->op->id == MOON_OP_lstm_sequence ? add_forward(c) : add_back(c));
  return true;
}

const moon_cl_family moon__cl_recurrent = {select_recurrent};
