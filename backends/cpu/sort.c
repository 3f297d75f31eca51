/*
** sort.c: plain kernels of sort and topk: lines of x along an axis are sorted as pairs (key, position) by a stable merge sort in
** scratch. A key is a 64-bit number in the order of the elements; NaN counts as the largest, so it comes last, or first when
** descending; equal elements keep their order either way.
*/
#include "plain.h"

enum { MOST_JOBS = 64 }; /* each job has scratch of its own for one line */

static uint64_t float_key(double v) {
  uint64_t bits, sign = (uint64_t)1 << 63;
  if (v != v) return UINT64_MAX;
  if (v == 0) v = 0; /* -0 is equal to 0 */
  memcpy(&bits, &v, sizeof bits);
  return bits & sign ? ~bits : bits | sign;
}

static uint64_t key_of(const char *p, moon_dtype dtype, int64_t i) {
  if (moon__dtype_is_float(dtype)) return float_key(moon__load_f64(p, dtype, i));
  return (uint64_t)moon__load_i64(p, dtype, i) ^ (uint64_t)1 << 63;
}

/* ---- Jobs: lines, cut so that there are at most MOST_JOBS of them ---- */

static int64_t lines_a_job(int64_t lines, int64_t n) {
  return moon__max_i64(moon__job_block(moon__work_mul(n, 16)), moon__ceildiv_i64(lines, MOST_JOBS));
}

static int64_t jobs_along(const moon_node *node, int64_t axis) {
  int64_t lines = moon__line_count(node, axis), n = moon__line_length(node, axis);
  return n ? moon__ceildiv_i64(lines, lines_a_job(lines, n)) : 0;
}

static size_t scratch_along(const moon_node *node, int64_t axis) {
  size_t bytes;
  bool fits = moon__mul_size((size_t)moon__line_length(node, axis), 2 * sizeof(moon_pair), &bytes);
  return fits && moon__mul_size((size_t)jobs_along(node, axis), bytes, &bytes) ? bytes : SIZE_MAX;
}

static void sort_line(const moon_array *x, const moon_lines *l, int64_t line, bool descending, moon_pair *pairs) {
  const char *p = moon__at(x, moon__line_offset(l, line));
  for (int64_t j = 0; j < l->n; j++) {
    uint64_t key = key_of(p, x->dtype, j * l->step);
    pairs[j] = (moon_pair){descending ? ~key : key, j};
  }
  moon__sort_pairs(pairs, pairs + l->n, l->n);
}

/* Stores the first n of a sorted line: their elements and their positions. */
static void store_line(const moon_call *call, const moon_lines *l, int64_t line, int64_t axis, const moon_pair *pairs) {
  const moon_array *x = &call->in[0];
  size_t bytes = moon_dtype_bytes(x->dtype);
  int64_t from = moon__line_offset(l, line);
  for (int o = 0; o < call->nout; o++) {
    const moon_array *y = &call->out[o];
    moon_lines ly = moon__lines_of(y, axis);
    if (!y->data) continue;
    for (int64_t j = 0, to = moon__line_offset(&ly, line); j < ly.n; j++) {
      if (o == 0) memcpy(moon__at(y, to + j * ly.step), moon__at(x, from + pairs[j].index * l->step), bytes);
      else moon__store_i64(y->data, y->dtype, to + j * ly.step, pairs[j].index);
    }
  }
}

static void run_lines(const moon_call *call, int64_t axis, bool descending, int64_t first, int64_t last) {
  moon_lines l = moon__lines_of(&call->in[0], axis);
  int64_t block = lines_a_job(l.count, l.n);
  for (int64_t job = first; job < last; job++) {
    moon_pair *pairs = (moon_pair *)(void *)call->scratch + 2 * l.n * job;
    int64_t end = moon__min_i64(l.count, (job + 1) * block);
    for (int64_t line = job * block; line < end; line++) {
      sort_line(&call->in[0], &l, line, descending, pairs);
      store_line(call, &l, line, axis, pairs);
    }
  }
}

static int64_t axis_of(const moon_node *node) { return ((const moon_sort_attrs *)node->attrs)->axis; }
static int64_t sort_jobs(const moon_node *node) { return jobs_along(node, axis_of(node)); }
static size_t sort_scratch(const moon_node *node) { return scratch_along(node, axis_of(node)); }
static void sort_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_sort_attrs *a = call->attrs;
  run_lines(call, a->axis, a->descending, first, last);
}

static int64_t topk_jobs(const moon_node *node) { return jobs_along(node, -1); }
static size_t topk_scratch(const moon_node *node) { return scratch_along(node, -1); }
static void topk_run(const moon_call *call, int64_t first, int64_t last) { run_lines(call, -1, true, first, last); }

MOON_CPU_KERNEL(sort) = {.name = "cpu_sort_plain", .jobs = sort_jobs, .scratch = sort_scratch, .run = sort_run};
MOON_CPU_KERNEL(topk) = {.name = "cpu_topk_plain", .jobs = topk_jobs, .scratch = topk_scratch, .run = topk_run};
