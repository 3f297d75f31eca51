/*
** random.c: plain kernels of random numbers. Which bits element i gets, and what each op makes of them, is said in base/philox.h;
** this draws them in any order, as the jobs come.
*/
#include "random_fast.h"
#include "sorting.h"

enum { DRAW_WORK = 32 };

static int64_t jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), DRAW_WORK); }

/* Stores what d makes element `at` of y. */
typedef void (*draw_fn)(const moon_random_attrs *a, moon_draw d, const moon_array *y, int64_t at);

static void run_draws(const moon_call *call, draw_fn draw, int64_t first, int64_t last) {
  const moon_array *y = &call->out[0];
  moon_philox r = moon__call_philox(call);
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), DRAW_WORK, first, last, &lo, &hi);
  for (; lo < hi; lo++) draw(call->attrs, moon__draw(&r, lo), y, lo);
}

static void draw_uniform(const moon_random_attrs *a, moon_draw d, const moon_array *y, int64_t at) {
  if (y->dtype == MOON_DTYPE_f32) {
    float low = (float)a->a, span = (float)(a->b - a->a), top = a->a < a->b ? nextafterf((float)a->b, low) : INFINITY;
    ((float *)(void *)y->data)[at] = fminf(fmaf(moon__draw_unit_f32(d), span, low), top);
  } else {
    double top = a->a < a->b ? nextafter(a->b, a->a) : (double)INFINITY;
    moon__store_f64(y->data, y->dtype, at, fmin(fma(moon__draw_unit_f64(d), a->b - a->a, a->a), top));
  }
}

static void draw_normal(const moon_random_attrs *a, moon_draw d, const moon_array *y, int64_t at) {
  double z = y->dtype == MOON_DTYPE_f32 ? moon__draw_normal_f32(d) : moon__draw_normal_f64(d);
  moon__store_f64(y->data, y->dtype, at, a->a + a->b * z);
}

static void draw_bernoulli(const moon_random_attrs *a, moon_draw d, const moon_array *y, int64_t at) {
  moon__store_i64(y->data, y->dtype, at, d.w[0] < moon__bernoulli_limit(a->a));
}

static void draw_integers(const moon_random_attrs *a, moon_draw d, const moon_array *y, int64_t at) {
  int64_t low, high;
  moon__convert(&low, MOON_DTYPE_i64, &a->a, MOON_DTYPE_f64);
  moon__convert(&high, MOON_DTYPE_i64, &a->b, MOON_DTYPE_f64);
  uint64_t step = moon__mulhi_u64(moon__draw_u64(d), (uint64_t)high - (uint64_t)low);
  moon__store_i64(y->data, y->dtype, at, (int64_t)((uint64_t)low + step));
}

static void uniform_run(const moon_call *call, int64_t first, int64_t last) { run_draws(call, draw_uniform, first, last); }
static void normal_run(const moon_call *call, int64_t first, int64_t last) { run_draws(call, draw_normal, first, last); }
static void bernoulli_run(const moon_call *call, int64_t first, int64_t last) { run_draws(call, draw_bernoulli, first, last); }
static void integers_run(const moon_call *call, int64_t first, int64_t last) { run_draws(call, draw_integers, first, last); }

/* ---- permutation: positions sorted by a random key ---- */

static moon_sorting sorting_of(const moon_node *node) { return moon__sorting(1, moon__output_count(node)); }
static int64_t permutation_jobs(const moon_node *node) {
  moon_sorting s = sorting_of(node);
  return moon__sorting_jobs(&s);
}
static int64_t permutation_rounds(const moon_node *node) {
  moon_sorting s = sorting_of(node);
  return moon__sorting_rounds(&s);
}
static size_t permutation_scratch(const moon_node *node) {
  moon_sorting s = sorting_of(node);
  return moon__sorting_scratch(&s);
}

static void permutation_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *y = &call->out[0];
  moon_sorting s = sorting_of(call->node);
  moon_philox r = moon__call_philox(call);
  for (int64_t job = first; job < last; job++) {
    moon_sort_part p = moon__sorting_part(&s, call, job);
    if (p.stage == MOON_SORT_STORE) {
      for (int64_t i = p.first; i < p.last; i++) moon__store_i64(y->data, y->dtype, i, p.pairs[i].index);
      continue;
    }
    if (p.stage == MOON_SORT_FILL) {
      for (int64_t i = p.first; i < p.last; i++) p.pairs[i] = (moon_pair){moon__draw_u64(moon__draw(&r, i)), i};
    }
    moon__sorting_done(&s, &p);
  }
}

MOON_CPU_KERNEL(uniform) = {.name = "cpu_uniform_plain", .jobs = jobs, .run = uniform_run};
MOON_CPU_KERNEL(normal) = {.name = "cpu_normal_plain", .jobs = jobs, .run = normal_run};
MOON_CPU_KERNEL(bernoulli) = {.name = "cpu_bernoulli_plain", .jobs = jobs, .run = bernoulli_run};
MOON_CPU_KERNEL(integers) = {.name = "cpu_integers_plain", .jobs = jobs, .run = integers_run};
MOON_CPU_KERNEL(permutation) = {.name = "cpu_permutation_plain", .jobs = permutation_jobs,
                                .rounds = permutation_rounds, .scratch = permutation_scratch, .run = permutation_run};
