/*
** reduce.c: plain kernels of reductions (sum, mean, prod, max, min, any, all), of argmax and argmin, and of cumsum. Letters: x is
** seen as [kept.., reduced..]; an output element folds the reduced part in row-major order. Float sums and products are kept in
** f64, as are all means; those of integers in 64 bits that wrap. NaN passes through max and min, and is the first maximum and minimum.
*/
#include "plain.h"

/* ---- The part of x that one output element folds ---- */

typedef struct parts {
  moon_array kept, reduced; /* views of x over the axes of each kind */
} parts;

static bool is_reduced(const moon_ints *axes, int axis, int ndim) {
  for (int i = 0; i < axes->n; i++)
    if (moon__axis_at(axes->v[i], ndim) == axis) return true;
  return axes->n == 0;
}

static parts split_axes(const moon_array *x, const moon_ints *axes) {
  parts p = {.kept = *x, .reduced = *x};
  p.kept.ndim = p.reduced.ndim = 0;
  for (int i = 0; i < x->ndim; i++) {
    moon_array *to = is_reduced(axes, i, x->ndim) ? &p.reduced : &p.kept;
    to->shape[to->ndim] = x->shape[i];
    to->strides[to->ndim++] = x->strides[i];
  }
  return p;
}

static int64_t reduced_count(const moon_node *node) {
  const moon_reduce_attrs *a = node->attrs;
  const moon_shape *x = moon__shape_of(node->inputs[0]);
  int64_t n = 1;
  for (int i = 0; i < x->ndim; i++)
    if (is_reduced(&a->axes, i, x->ndim)) n = moon__work_mul(n, x->dim[i]);
  return n;
}

static int64_t reduce_jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), reduced_count(node)); }

/* ---- Folding: a starting value, and a step over a run of elements ---- */

typedef union fold { double f; int64_t i; uint64_t u; } fold;
typedef void (*step_fn)(fold *v, const char *p, int64_t step, int64_t n);

#define STEP(name, dtype, type, statement)                                               \
  static void name##_##dtype##_step(fold *v, const char *p, int64_t step, int64_t n) {   \
    for (int64_t j = 0; j < n; j++) {                                                    \
      const type x = ((const type *)(const void *)p)[j * step];                          \
      statement;                                                                         \
    }                                                                                    \
  }
#define FLOAT_STEPS(dtype, type)                                                                   \
  STEP(sum, dtype, type, v->f += (double)x)                                                        \
  STEP(prod, dtype, type, v->f *= (double)x)                                                       \
  STEP(max, dtype, type, if (x != x || (double)x > v->f) v->f = v->f != v->f ? v->f : (double)x)   \
  STEP(min, dtype, type, if (x != x || (double)x < v->f) v->f = v->f != v->f ? v->f : (double)x)
#define INTEGER_STEPS(dtype, type)                                                                 \
  STEP(sum, dtype, type, v->u += (uint64_t)x)                                                      \
  STEP(prod, dtype, type, v->u *= (uint64_t)x)                                                     \
  STEP(max, dtype, type, if ((int64_t)x > v->i) v->i = (int64_t)x)                                 \
  STEP(min, dtype, type, if ((int64_t)x < v->i) v->i = (int64_t)x)
#define MEAN_STEPS(dtype, type) STEP(mean, dtype, type, v->f += (double)x)
#define TRUTH_STEPS(dtype, type)                                                                   \
  STEP(any, dtype, type, v->i |= x != 0)                                                           \
  STEP(all, dtype, type, v->i &= x != 0)
FLOAT_STEPS(f32, float)
FLOAT_STEPS(f64, double)
INTEGER_STEPS(u8, uint8_t)
INTEGER_STEPS(i32, int32_t)
INTEGER_STEPS(i64, int64_t)
MEAN_STEPS(u8, uint8_t)
MEAN_STEPS(i32, int32_t)
MEAN_STEPS(i64, int64_t)
MEAN_STEPS(f32, float)
MEAN_STEPS(f64, double)
TRUTH_STEPS(u8, uint8_t)
TRUTH_STEPS(i32, int32_t)
TRUTH_STEPS(i64, int64_t)
TRUTH_STEPS(f32, float)
TRUTH_STEPS(f64, double)
/* bool is the bytes 0 and 1. */
#define STEPS(name)                                                                                      \
  {                                                                                                      \
    [MOON_DTYPE_bool] = name##_u8_step, [MOON_DTYPE_u8] = name##_u8_step, [MOON_DTYPE_i32] = name##_i32_step, \
    [MOON_DTYPE_i64] = name##_i64_step, [MOON_DTYPE_f32] = name##_f32_step, [MOON_DTYPE_f64] = name##_f64_step, \
  }

typedef struct folding {
  step_fn step[MOON_DTYPE_COUNT];
  bool truth, mean;                /* truth: folded as an integer; mean: as a float, then divided by the count */
  double start_f;                  /* of what is folded as a float */
  int64_t start_i[MOON_DTYPE_COUNT]; /* of what is folded as an integer */
} folding;

static void run_folding(const folding *how, const moon_call *call, int64_t first, int64_t last) {
  const moon_reduce_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *y = &call->out[0];
  bool as_float = how->mean || (!how->truth && moon__dtype_is_float(x->dtype));
  parts p = split_axes(x, &a->axes);
  int64_t count = moon__array_count(&p.reduced), lo, hi;
  moon__job_range(moon__array_count(y), reduced_count(call->node), first, last, &lo, &hi);
  moon_walk w;
  moon__walk_init(&w, 1, &p.reduced);
  for (int64_t at = lo; at < hi; at++) {
    fold v;
    if (as_float) v.f = how->start_f;
    else v.i = how->start_i[x->dtype];
    w.base[0] = moon__at(x, moon__offset_at(p.kept.ndim, p.kept.shape, p.kept.strides, at));
    moon__walk_set(&w, 0, count);
    while (moon__walk_next(&w)) how->step[x->dtype](&v, w.p[0], w.step[0], w.run);
    if (how->mean) v.f /= (double)count;
    if (as_float) moon__store_f64(y->data, y->dtype, at, v.f);
    else moon__store_i64(y->data, y->dtype, at, v.i);
  }
}

#define FOLDING(op, ...)                                                                    \
  static void op##_run(const moon_call *call, int64_t first, int64_t last) {                \
    static const folding how = {__VA_ARGS__};                                               \
    run_folding(&how, call, first, last);                                                   \
  }
FOLDING(sum, .step = STEPS(sum))
FOLDING(mean, .step = STEPS(mean), .mean = true)
FOLDING(prod, .step = STEPS(prod), .start_f = 1, .start_i = {1, 1, 1, 1, 1, 1})
FOLDING(max, .step = STEPS(max), .start_f = -INFINITY, .start_i = {0, 0, INT32_MIN, INT64_MIN})
FOLDING(min, .step = STEPS(min), .start_f = INFINITY, .start_i = {1, UINT8_MAX, INT32_MAX, INT64_MAX})
FOLDING(any, .step = STEPS(any), .truth = true)
FOLDING(all, .step = STEPS(all), .truth = true, .start_i = {1, 1, 1, 1, 1, 1})

MOON_CPU_KERNEL(sum) = {.name = "cpu_sum_plain", .jobs = reduce_jobs, .run = sum_run};
MOON_CPU_KERNEL(mean) = {.name = "cpu_mean_plain", .jobs = reduce_jobs, .run = mean_run};
MOON_CPU_KERNEL(prod) = {.name = "cpu_prod_plain", .jobs = reduce_jobs, .run = prod_run};
MOON_CPU_KERNEL(max) = {.name = "cpu_max_plain", .jobs = reduce_jobs, .run = max_run};
MOON_CPU_KERNEL(min) = {.name = "cpu_min_plain", .jobs = reduce_jobs, .run = min_run};
MOON_CPU_KERNEL(any) = {.name = "cpu_any_plain", .jobs = reduce_jobs, .run = any_run};
MOON_CPU_KERNEL(all) = {.name = "cpu_all_plain", .jobs = reduce_jobs, .run = all_run};

/* ---- argmax, argmin ---- */

/* Is element b better than the best so far, a? sign is 1 for the largest, -1 for the smallest. */
static bool is_better(const char *p, moon_dtype dtype, int64_t a, int64_t b, int sign) {
  if (moon__dtype_is_float(dtype)) {
    double va = moon__load_f64(p, dtype, a), vb = moon__load_f64(p, dtype, b);
    return va == va && (vb != vb || (sign > 0 ? vb > va : vb < va));
  }
  int64_t va = moon__load_i64(p, dtype, a), vb = moon__load_i64(p, dtype, b);
  return sign > 0 ? vb > va : vb < va;
}

/* Lines longer than this are worked through in rounds. */
enum { PIECE = 8192 };
static int64_t rounds_along(const moon_node *node, int64_t axis) {
  return moon__max_i64(1, moon__ceildiv_i64(moon__line_length(node, axis), PIECE));
}
/* The lines [*lo, *hi) of jobs that are all of one round; gives the round. */
static int64_t lines_of_jobs(const moon_lines *l, int64_t first, int64_t last, int64_t *lo, int64_t *hi) {
  int64_t jobs = moon__max_i64(1, moon__job_count(l->count, 2 * l->n)), round = first / jobs;
  moon__job_range(l->count, 2 * l->n, first - round * jobs, last - round * jobs, lo, hi);
  return round;
}

/* The best so far stands in y. */
static void run_arg(const moon_call *call, int64_t first, int64_t last, int sign) {
  const moon_arg_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *y = &call->out[0];
  moon_lines l = moon__lines_of(x, a->axis);
  int64_t lo, hi, from = lines_of_jobs(&l, first, last, &lo, &hi) * PIECE, end = moon__min_i64(l.n, from + PIECE);
  for (int64_t at = lo; at < hi; at++) {
    const char *p = moon__at(x, moon__line_offset(&l, at));
    int64_t best = from == 0 ? 0 : moon__load_i64(y->data, y->dtype, at);
    for (int64_t j = from; j < end; j++)
      if (is_better(p, x->dtype, best * l.step, j * l.step, sign)) best = j;
    moon__store_i64(y->data, y->dtype, at, best);
  }
}

static void argmax_run(const moon_call *call, int64_t first, int64_t last) { run_arg(call, first, last, 1); }
static void argmin_run(const moon_call *call, int64_t first, int64_t last) { run_arg(call, first, last, -1); }

static int64_t arg_jobs(const moon_node *node) {
  const moon_arg_attrs *a = node->attrs;
  return moon__job_count(moon__output_count(node), 2 * moon__line_length(node, a->axis));
}
static int64_t arg_rounds(const moon_node *node) { return rounds_along(node, ((const moon_arg_attrs *)node->attrs)->axis); }

MOON_CPU_KERNEL(argmax) = {.name = "cpu_argmax_plain", .jobs = arg_jobs, .rounds = arg_rounds, .run = argmax_run};
MOON_CPU_KERNEL(argmin) = {.name = "cpu_argmin_plain", .jobs = arg_jobs, .rounds = arg_rounds, .run = argmin_run};

/* ---- cumsum ---- */

/* A piece of one line of x at p into y from position `at` on; *sum is what came before. */
static void cumsum_piece(moon_sum *sum, int64_t from, const char *p, moon_dtype dtype, const moon_lines *l, const moon_array *y,
                         int64_t at, int64_t y_step, const moon_cumsum_attrs *a) {
  for (int64_t k = from, end = moon__min_i64(l->n, from + PIECE); k < end; k++) {
    int64_t j = a->reverse ? l->n - 1 - k : k;
    if (a->exclusive) moon__sums_store(sum, dtype, y->data, y->dtype, at + j * y_step, 1);
    moon__sums_add(sum, p + j * l->step * (int64_t)moon_dtype_bytes(dtype), dtype, 0, 1);
    if (!a->exclusive) moon__sums_store(sum, dtype, y->data, y->dtype, at + j * y_step, 1);
  }
}

static void cumsum_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_cumsum_attrs *a = call->attrs;
  const moon_array *x = &call->in[0], *y = &call->out[0];
  moon_lines l = moon__lines_of(x, a->axis), to = moon__lines_of(y, a->axis);
  int64_t lo, hi, round = lines_of_jobs(&l, first, last, &lo, &hi);
  for (int64_t at = lo; at < hi; at++) {
    moon_sum *sum = (moon_sum *)(void *)call->scratch + at;
    if (round == 0) memset(sum, 0, sizeof *sum);
    cumsum_piece(sum, round * PIECE, moon__at(x, moon__line_offset(&l, at)), x->dtype, &l, y, moon__line_offset(&to, at),
                 to.step, a);
  }
}

static int64_t cumsum_jobs(const moon_node *node) {
  const moon_cumsum_attrs *a = node->attrs;
  return moon__job_count(moon__line_count(node, a->axis), 2 * moon__line_length(node, a->axis));
}
static int64_t cumsum_rounds(const moon_node *node) { return rounds_along(node, ((const moon_cumsum_attrs *)node->attrs)->axis); }
static size_t cumsum_scratch(const moon_node *node) { /* a sum a line */
  const moon_cumsum_attrs *a = node->attrs;
  size_t bytes;
  return moon__mul_size((size_t)moon__line_count(node, a->axis), sizeof(moon_sum), &bytes) ? bytes : SIZE_MAX;
}

MOON_CPU_KERNEL(cumsum) = {.name = "cpu_cumsum_plain", .jobs = cumsum_jobs, .rounds = cumsum_rounds, .scratch = cumsum_scratch,
                           .run = cumsum_run};
