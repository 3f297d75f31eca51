/*
** rows.c: composites that work row by row, on CPU devices: softmax, log_softmax, softmax_cross_entropy and its gradient, layer_norm,
** rms_norm and their gradients, along the last axes. A work-item takes some rows, each while it is in a near cache. What they mean
** stands in core/ops; the body is used where these do not fit, and on other devices. Letters: x [rows, n].
*/
#include "base/shape.h"
#include "base/size.h"
#include "ops/attrs.h"
#include "tile.h"

/* WORK: numbers of a work-item. LONGEST: a row that is not better cut. */
enum { WORK = 16384, LONGEST = 65536 };

/* A vector at x, of which `left` numbers are there; the others are fill. Storing one. The sum of its lanes. They bear the name of the
** kernel, as several of them may be joined. */
#define GET JOIN(get_, run)
#define PUT JOIN(put_, run)
#define TOTAL JOIN(total_, run)
#define ROW_PARTS                                                                                   \
  static V GET(__global const T *x, long left, T fill) {                                            \
    if (left >= L) return VLOAD(0, x);                                                              \
    T t[L];                                                                                         \
    for (int l = 0; l < L; l++) t[l] = l < left ? x[l] : fill;                                      \
    return VLOAD(0, t);                                                                             \
  }                                                                                                 \
  static void PUT(__global T *y, long left, V v) {                                                  \
    if (left >= L) { VSTORE(v, 0, y); return; }                                                     \
    T t[L];                                                                                         \
    VSTORE(v, 0, t);                                                                                \
    for (int l = 0; l < left; l++) y[l] = t[l];                                                     \
  }                                                                                                 \
  static T TOTAL(V v) {                                                                             \
    T t[L];                                                                                         \
    VSTORE(v, 0, t);                                                                                \
    for (int h = L / 2; h > 0; h /= 2) { UNROLL for (int l = 0; l < h; l++) t[l] += t[l + h]; }     \
    return t[0];                                                                                    \
  }
#define ALONG for (long i = 0; i < n; i += L)
#define NUMBER(name, at) union { long bits; T number; } name; name.bits = p.v[at];

enum { SOFTMAX, LOG_SOFTMAX, CROSS_ENTROPY, CROSS_ENTROPY_GRAD };
/* Operands: x, labels, dy, y. p: rows, n, rows of a work-item, which of the four, bytes of a label. */
static const char softmax_text[] = CL_(
  ROW_PARTS
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {
    START
    const long n = p.v[1]; const long op = p.v[3];
    const bool keeps = op == 0 || op == 3; const bool labels = op >= 2;
    EACH(row, p.v[0], p.v[2]) {
      __global const T *x = AT(const T, 0) + row * n; __global T *y = AT(T, 3) + (op == 2 ? row : row * n);
      V high = (V)(LOWEST); V sum = (V)(0); T t[L]; long label = 0;
      if (labels) label = p.v[4] == 8 ? AT(const long, 1)[row] : AT(const int, 1)[row];
      if (label < 0 || label >= n) { BAD_INDEX(label, n); continue; }
      ALONG { const V v = GET(x + i, n - i, LOWEST); high = MAX(high, v); }
      VSTORE(high, 0, t);
      T top = t[0];
      for (int l = 1; l < L; l++) top = MAX(top, t[l]);
      const T picked = x[label] - top;
      ALONG {
        const V v = exp(GET(x + i, n - i, LOWEST) - top);
        if (keeps) PUT(y + i, n - i, v);
        sum += v;
      }
      const T all = TOTAL(sum); const T by = (op == 3 ? AT(const T, 2)[row] : 1) / all;
      if (keeps) ALONG PUT(y + i, n - i, GET(y + i, n - i, 0) * by);
      if (op == 1) ALONG PUT(y + i, n - i, GET(x + i, n - i, 0) - top - log(all));
      if (op == 2) y[0] = log(all) - picked;
      if (op == 3) y[label] -= AT(const T, 2)[row];
    }
  }
);

/* Operands: x, gamma, beta, y. p: rows, n, rows of a work-item, bits of epsilon, whether x is centred, gamma and beta are there. */
static const char norm_text[] = CL_(
  ROW_PARTS
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {
    START
    const long n = p.v[1]; NUMBER(epsilon, 3)
    EACH(row, p.v[0], p.v[2]) {
      __global const T *x = AT(const T, 0) + row * n; __global T *y = AT(T, 3) + row * n;
      V sum = (V)(0); V square = (V)(0);
      if (p.v[4]) ALONG sum += GET(x + i, n - i, 0);
      const T mean = TOTAL(sum) / n;
      ALONG { const V v = GET(x + i, n - i, mean) - mean; square = fma(v, v, square); }
      const T by = 1 / sqrt(TOTAL(square) / n + epsilon.number);
      ALONG {
        V v = (GET(x + i, n - i, 0) - mean) * by;
        if (p.v[5]) v *= GET(AT(const T, 1) + i, n - i, 0);
        if (p.v[6]) v += GET(AT(const T, 2) + i, n - i, 0);
        PUT(y + i, n - i, v);
      }
    }
  }
);

/* With v = x - mean, r = 1 / sqrt(mean(v v) + epsilon), g = dy gamma: dx = r (g - mean(g)) - v r^3 mean(g v). Operands: x, dy, gamma,
** dx, scratch, where each work-item has its sums for dgamma, and behind all of these for dbeta. p as above; work-items. */
static const char norm_grad_text[] = CL_(
  ROW_PARTS
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), OPERAND(4), PARAMS, REST) {
    START
    const long n = p.v[1]; NUMBER(epsilon, 3)
    __global T *dgamma = AT(T, 4) + get_global_id(0) * n; __global T *dbeta = dgamma + p.v[7] * n;
    ALONG { PUT(dgamma + i, n - i, (V)(0)); PUT(dbeta + i, n - i, (V)(0)); }
    EACH(row, p.v[0], p.v[2]) {
      __global const T *x = AT(const T, 0) + row * n; __global const T *dy = AT(const T, 1) + row * n;
      V sum = (V)(0); V square = (V)(0); V sum_g = (V)(0); V sum_gv = (V)(0);
      if (p.v[4]) ALONG sum += GET(x + i, n - i, 0);
      const T mean = TOTAL(sum) / n;
      ALONG {
        const V v = GET(x + i, n - i, mean) - mean; V g = GET(dy + i, n - i, 0);
        if (p.v[5]) g *= GET(AT(const T, 2) + i, n - i, 0);
        square = fma(v, v, square); sum_g += g; sum_gv = fma(g, v, sum_gv);
      }
      const T r = 1 / sqrt(TOTAL(square) / n + epsilon.number);
      const T low = p.v[4] ? TOTAL(sum_g) / n : 0; const T along = r * r * r * (TOTAL(sum_gv) / n);
      ALONG {
        const V v = GET(x + i, n - i, mean) - mean; const V d = GET(dy + i, n - i, 0); V g = d;
        if (p.v[5]) g *= GET(AT(const T, 2) + i, n - i, 0);
        PUT(dgamma + i, n - i, GET(dgamma + i, n - i, 0) + d * v * r);
        PUT(dbeta + i, n - i, GET(dbeta + i, n - i, 0) + d);
        if (mem3) PUT(AT(T, 3) + row * n + i, n - i, r * (g - low) - v * along);
      }
    }
  }
);

/* ---- Which nodes ---- */

typedef struct row_sizes { int64_t rows, n; } row_sizes;

/* Sizes of x around axis, if they are known, and its dtype is one of tiles. */
static bool read_sizes(const moon_type *x, int axis, row_sizes *z) {
  const moon_shape *s = &x->shape;
  if (x->dtype != MOON_DTYPE_f32 && x->dtype != MOON_DTYPE_f64) return false;
  z->rows = z->n = 1;
  for (int i = 0; i < s->ndim; i++) {
    int64_t *side = i < axis ? &z->rows : &z->n;
    if (s->dim[i] <= 0 || !moon__mul_i64(*side, s->dim[i], side)) return false;
  }
  return z->n <= LONGEST;
}

/* The axes are the last ones, in order. */
static bool fits_norm(const moon_node *node, row_sizes *z) {
  const moon_norm_attrs *a = node->attrs;
  const moon_type *x = &node->inputs[0]->type;
  for (int i = 0; i < a->axes.n; i++)
    if (a->axes.v[i] != x->shape.ndim - a->axes.n + i) return false;
  for (int i = 1; i < node->ninputs; i++)
    if (node->inputs[i]->type.dtype != x->dtype) return false;
  return a->axes.n > 0 && read_sizes(x, x->shape.ndim - (int)a->axes.n, z);
}

static bool fits_softmax(const moon_node *node, row_sizes *z) {
  const moon_axis_attrs *a = node->attrs;
  const moon_type *x = &node->inputs[0]->type;
  return x->shape.ndim > 0 && (a->axis == -1 || a->axis == x->shape.ndim - 1) && read_sizes(x, x->shape.ndim - 1, z);
}

static bool fits_cross_entropy(const moon_node *node, row_sizes *z) {
  const moon_type *x = &node->inputs[0]->type;
  moon_dtype label = node->inputs[1]->type.dtype;
  if (label != MOON_DTYPE_i32 && label != MOON_DTYPE_i64) return false;
  return (node->ninputs < 3 || node->inputs[2]->type.dtype == x->dtype) && read_sizes(x, x->shape.ndim - 1, z);
}

static bool fits(const moon_node *node, row_sizes *z) {
  switch (node->op->id) {
    case MOON_OP_softmax:
    case MOON_OP_log_softmax: return fits_softmax(node, z);
    case MOON_OP_softmax_cross_entropy:
    case MOON_OP_softmax_cross_entropy_grad: return fits_cross_entropy(node, z);
    case MOON_OP_layer_norm:
    case MOON_OP_rms_norm:
    case MOON_OP_layer_norm_grad:
    case MOON_OP_rms_norm_grad: return fits_norm(node, z);
    default: return false;
  }
}

bool moon__cl_rows_has(const moon_cl_device *d, const moon_node *node) {
  row_sizes z;
  return d->wide && fits(node, &z);
}

/* ---- Steps ---- */

/* Adds text over these operands; p[0 .. 2]: rows, n, rows of a work-item. */
static bool add_rows(moon_cl_choice *c, const char *text, const int *operands, int noperands, const int64_t *p, int np) {
  moon_dtype dtype = c->in[0].dtype;
  moon_cl_tile t = {.rows = 1, .vectors = 1, .lanes = dtype == MOON_DTYPE_f64 ? 8 : 16};
  moon_cl_step_spec s = {.noperands = noperands, .operands = operands, .nparams = np, .params = p};
  moon__cl_spread(c->d, &s, p[0], p[2]);
  return moon__cl_add_tile(c, &t, dtype, text, &s);
}

static int64_t block_of(const row_sizes *z) { return moon__max_i64(1, WORK / z->n); }

static bool add_softmax(moon_cl_choice *c, const row_sizes *z, int op, const char *name) {
  bool labels = op >= CROSS_ENTROPY;
  int64_t p[5] = {z->rows, z->n, block_of(z), op, labels ? (int64_t)moon_dtype_bytes(c->in[1].dtype) : 0};
  const int operands[4] = {0, labels ? 1 : 0, op == CROSS_ENTROPY_GRAD ? 2 : 0, c->nin};
  if (!moon__cl_begin(c, name, false)) return false;
  c->choice->alias_in = op == CROSS_ENTROPY ? 0 : 1;
  c->choice->may_fault = labels;
  return add_rows(c, softmax_text, operands, 4, p, 5);
}

static int64_t epsilon_of(const moon_cl_choice *c) {
  return moon__cl_bits(c->in[0].dtype, ((const moon_norm_attrs *)c->node->attrs)->epsilon);
}

static bool add_norm(moon_cl_choice *c, const row_sizes *z, bool centred, const char *name) {
  int64_t p[7] = {z->rows, z->n, block_of(z), epsilon_of(c), centred, c->nin > 1, c->nin > 2};
  const int operands[4] = {0, c->nin > 1 ? 1 : 0, c->nin > 2 ? 2 : 0, c->nin};
  if (!moon__cl_begin(c, name, false)) return false;
  c->choice->alias_in = 1;
  return add_rows(c, norm_text, operands, 4, p, 7);
}

/* As few work-items as processors need: each has sums of its own, which are added up afterwards. */
static bool add_norm_grad(moon_cl_choice *c, const row_sizes *z, bool centred, const char *name) {
  int64_t block = moon__max_i64(block_of(z), moon__ceildiv_i64(z->rows, 4 * (int64_t)c->d->units));
  int64_t items = moon__ceildiv_i64(z->rows, block), p[8] = {z->rows, z->n, block, epsilon_of(c), centred, c->nin > 2, 0, items};
  const int operands[5] = {0, 1, c->nin > 2 ? 2 : 0, c->nin, MOON_CL_SCRATCH};
  size_t sums;
  if (!moon__cl_begin(c, name, false) || !moon__mul_size((size_t)items, (size_t)z->n * moon_dtype_bytes(c->in[0].dtype), &sums) ||
      !moon__mul_size(sums, 2, &c->choice->scratch_bytes))
    return false;
  c->choice->alias_in = 3;
  return add_rows(c, norm_grad_text, operands, 5, p, 8) && moon__cl_add_sum(c, 1, z->n, items, 0) &&
         moon__cl_add_sum(c, 2, z->n, items, sums);
}

static bool add_node(moon_cl_choice *c, const row_sizes *z) {
  switch (c->node->op->id) {
    case MOON_OP_softmax: return add_softmax(c, z, SOFTMAX, "opencl_softmax");
    case MOON_OP_log_softmax: return add_softmax(c, z, LOG_SOFTMAX, "opencl_log_softmax");
    case MOON_OP_softmax_cross_entropy: return add_softmax(c, z, CROSS_ENTROPY, "opencl_softmax_cross_entropy");
    case MOON_OP_softmax_cross_entropy_grad: return add_softmax(c, z, CROSS_ENTROPY_GRAD, "opencl_softmax_cross_entropy_grad");
    case MOON_OP_layer_norm: return add_norm(c, z, true, "opencl_layer_norm");
    case MOON_OP_rms_norm: return add_norm(c, z, false, "opencl_rms_norm");
    case MOON_OP_layer_norm_grad: return add_norm_grad(c, z, true, "opencl_layer_norm_grad");
    default: return add_norm_grad(c, z, false, "opencl_rms_norm_grad");
  }
}

static bool select_rows(moon_cl_choice *c, moon_status *s) {
  row_sizes z;
  if (!c->d->wide || !fits(c->node, &z)) return false;
  *s = moon__cl_end(c, add_node(c, &z));
  return true;
}

const moon_cl_family moon__cl_rows = {select_rows};
