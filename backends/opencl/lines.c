/*
** lines.c: kernels that go along one axis: argmax, argmin, cumsum, mean of integers, sort, topk, permutation. Letters: x [p, n, q]
** with n on the axis; a line is one place of p and q. NaN is the largest number, and the first maximum and minimum.
*/
#include "base/size.h"
#include "family.h"
#include "ops/attrs.h"

/* y[line]: the position of the best. p: lines, n, q, 1 for argmax and 0 for argmin. */
static const char arg_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long n = p.v[1]; const long q = p.v[2];
    EACH(line, p.v[0], max(1L, 1024 / n)) {
      __global const T0 *x = AT(const T0, 0) + line / q * n * q + line % q;
      T0 best = x[0]; long at = 0;
      for (long j = 1; j < n; j++) {
        const T0 v = x[j * q];
        const bool better = best == best && (v != v || (p.v[3] ? v > best : v < best));
        if (better) { best = v; at = j; }
      }
      AT(T1, 1)[line] = at;
    }
  }
);

/* p: lines, n, q, exclusive, reverse. */
static const char cumsum_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    const long n = p.v[1]; const long q = p.v[2];
    EACH(line, p.v[0], max(1L, 1024 / n)) {
      const long from = line / q * n * q + line % q;
      SUM sum = 0;
      for (long k = 0; k < n; k++) {
        const long j = from + (p.v[4] ? n - 1 - k : k) * q;
        const SUM x = (SUM)AT(const T0, 0)[j];
        if (p.v[3]) AT(T1, 1)[j] = (T1)sum;
        sum += x;
        if (!p.v[3]) AT(T1, 1)[j] = (T1)sum;
      }
    }
  }
);

/* Stable merge sort of the n pairs (key, position) at a, with b as room; the result is where the kernel says. A slot of scratch
** holds 4 n numbers of 64 bits: keys, positions, and the room for both. */
#define SORT                                                                                                    \
  inline __global ulong *sort_pairs(__global ulong *a, long n) {                                         \
    __global ulong *from = a; __global ulong *to = a + 2 * n;                                                   \
    for (long width = 1; width < n; width *= 2) {                                                               \
      for (long i = 0; i < n; i += 2 * width) {                                                                 \
        const long mid = min(i + width, n); const long end = min(i + 2 * width, n);                             \
        long l = i; long r = mid;                                                                               \
        for (long o = i; o < end; o++) {                                                                        \
          const bool right = l >= mid || (r < end && from[r] < from[l]);                                        \
          const long s = right ? r++ : l++;                                                                     \
          to[o] = from[s];                                                                                      \
          to[n + o] = from[n + s];                                                                              \
        }                                                                                                       \
      }                                                                                                         \
      __global ulong *t = from; from = to; to = t;                                                              \
    }                                                                                                           \
    return from;                                                                                                \
  }

/* A key in the order of the elements, for each kind of them. */
#define KEY_INTEGER "#define KEY(x) ((ulong)(long)(x) ^ 0x8000000000000000UL)\n"
#define KEY_F32                                                                                            \
  "#define KEY_BITS(b) ((b) & 0x80000000u ? ~(b) : (b) | 0x80000000u)\n"                         \
  "#define KEY(x) ((x) != (x) ? 0xFFFFFFFFFFFFFFFFUL : (ulong)KEY_BITS(as_uint((x) == 0 ? 0.0f : (x))))\n"
#define KEY_F64                                                                                                         \
  "#define KEY_BITS64(b) ((b) & 0x8000000000000000UL ? ~(b) : (b) | 0x8000000000000000UL)\n"                \
  "#define KEY(x) ((x) != (x) ? 0xFFFFFFFFFFFFFFFFUL : KEY_BITS64(as_ulong((x) == 0 ? 0.0 : (x))))\n"

/* y, index [p, m, q]: the first m of the sorted lines of x [p, n, q]. p: lines, n, q, m, descending, slots. */
#define SORT_TEXT                                                                                                           \
  CL_(SORT KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), OPERAND(3), PARAMS, REST) {                                 \
    START                                                                                                                   \
    const long n = p.v[1]; const long q = p.v[2]; const long m = p.v[3]; const long slot = get_global_id(0);                 \
    if (slot >= p.v[5]) return;                                                                                             \
    __global ulong *a = AT(ulong, 3) + slot * 4 * n;                                                                        \
    for (long line = slot; line < p.v[0]; line += p.v[5]) {                                                                 \
      __global const T0 *x = AT(const T0, 0) + line / q * n * q + line % q;                                                 \
      for (long j = 0; j < n; j++) {                                                                                        \
        const T0 v = x[j * q];                                                                                              \
        const ulong key = KEY(v);                                                                                           \
        a[j] = p.v[4] ? ~key : key;                                                                                         \
        a[n + j] = j;                                                                                                       \
      }                                                                                                                     \
      __global const ulong *sorted = sort_pairs(a, n);                                                               \
      const long to = line / q * m * q + line % q;                                                                          \
      for (long j = 0; mem1 && j < m; j++) AT(T1, 1)[to + j * q] = x[(long)sorted[n + j] * q];                                 \
      for (long j = 0; mem2 && j < m; j++) AT(T2, 2)[to + j * q] = (T2)sorted[n + j];                                         \
    }                                                                                                                       \
  })
static const char sort_integer_text[] = KEY_INTEGER SORT_TEXT;
static const char sort_f32_text[] = KEY_F32 SORT_TEXT;
static const char sort_f64_text[] = KEY_F64 SORT_TEXT;

/* Positions in the order of random keys: one work-item. p: n. */
static const char permutation_text[] = CL_(
  SORT
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST, uint4 key) {
    START
    const long n = p.v[0];
    __global ulong *a = AT(ulong, 1);
    if (get_global_id(0) > 0) return;
    for (long i = 0; i < n; i++) {
      MOON_CL_DRAW
      a[i] = (ulong)c1 << 32 | c0;
      a[n + i] = i;
    }
    __global const ulong *sorted = sort_pairs(a, n);
    for (long i = 0; i < n; i++) AT(T0, 0)[i] = (T0)sorted[n + i];
  }
);

static int64_t axis_of(int64_t axis, const moon_array *x) { return axis < 0 ? axis + x->ndim : axis; }

/* p[0..2] = lines, n, q of x along the axis; a number is one line of one. */
static void put_lines(const moon_array *x, int64_t axis, int64_t *p) {
  int a = (int)axis_of(axis, x);
  p[1] = x->ndim ? x->shape[a] : 1;
  p[2] = x->ndim ? moon__cl_sizes(x, a + 1, x->ndim) : 1;
  p[0] = (x->ndim ? moon__cl_sizes(x, 0, a) : 1) * p[2];
}

static int64_t block_of(int64_t n) { return moon__max_i64(1, 1024 / moon__max_i64(1, n)); }

static bool add_arg(moon_cl_choice *c, bool largest) {
  int64_t p[4] = {0, 0, 0, largest};
  put_lines(&c->in[0], ((const moon_arg_attrs *)c->node->attrs)->axis, p);
  return moon__cl_begin(c, largest ? "opencl_argmax" : "opencl_argmin", false) && moon__cl_add(c, arg_text, p, 4, p[0], block_of(p[1]));
}

static bool add_cumsum(moon_cl_choice *c) {
  const moon_cumsum_attrs *a = c->node->attrs;
  int64_t p[5] = {0, 0, 0, a->exclusive, a->reverse};
  put_lines(&c->in[0], a->axis, p);
  return moon__cl_begin(c, "opencl_cumsum", false) && moon__cl_add(c, cumsum_text, p, 5, p[1] ? p[0] : 0, block_of(p[1]));
}

static bool add_sort(moon_cl_choice *c, int64_t axis, bool descending) {
  const moon_array *x = &c->in[0];
  moon_dtype dtype = x->dtype;
  const char *text = dtype == MOON_DTYPE_f32 ? sort_f32_text : dtype == MOON_DTYPE_f64 ? sort_f64_text : sort_integer_text;
  int64_t p[6] = {0, 0, 0, 0, descending, 0};
  put_lines(x, axis, p);
  p[3] = x->ndim ? c->out[0].shape[axis_of(axis, x)] : 1;
  p[5] = moon__min_i64(p[0], c->d->wide ? 64 : 1024);
  size_t bytes;
  if (!moon__cl_begin(c, "opencl_sort", false)) return false;
  if (!moon__mul_size((size_t)p[1], 32, &bytes) || !moon__mul_size(bytes, (size_t)p[5], &bytes)) return false;
  if (bytes == 0) return true;
  c->choice->scratch_bytes = bytes;
  const int operands[4] = {0, 1, c->nout > 1 ? 2 : 1, MOON_CL_SCRATCH};
  const moon_dtype types[4] = {dtype, c->out[0].dtype, c->nout > 1 ? c->out[1].dtype : MOON_DTYPE_i64, MOON_DTYPE_u8};
  moon_cl_step_spec s = {.noperands = 4, .operands = operands, .nparams = 6, .params = p};
  moon__cl_spread(c->d, &s, p[5], 1);
  return moon__cl_add_spec(c, text, types, &s);
}

static bool add_permutation(moon_cl_choice *c) {
  int64_t n = moon__cl_count(&c->out[0]), p[1] = {n};
  size_t bytes;
  if (!moon__cl_begin(c, "opencl_permutation", false) || !moon__mul_size((size_t)n, 32, &bytes)) return false;
  c->choice->scratch_bytes = bytes;
  return moon__cl_add(c, permutation_text, p, 1, n ? 1 : 0, 1);
}

static bool select_lines(moon_cl_choice *c, moon_status *s) {
  bool ok;
  const moon_sort_attrs *a = c->node->attrs;
  switch (c->node->op->id) {
    case MOON_OP_argmax: ok = add_arg(c, true); break;
    case MOON_OP_argmin: ok = add_arg(c, false); break;
    case MOON_OP_cumsum: ok = add_cumsum(c); break;
    case MOON_OP_sort: ok = add_sort(c, a->axis, a->descending); break;
    case MOON_OP_permutation: ok = add_permutation(c); break;
    case MOON_OP_topk: ok = add_sort(c, -1, true); break;
    default: return false;
  }
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_lines = {select_lines};
