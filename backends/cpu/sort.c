/*
** sort.c: plain kernels of sort and topk: lines of x along an axis are sorted as pairs (key, position), see sorting.h. A key is a 64-bit number in the order of the elements; NaN counts as the largest, so it comes last, or first when
** descending; equal elements keep their order either way.
*/
#include "sorting.h"

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

static moon_sorting sorting_along(const moon_node *node, int64_t axis) {
  return moon__sorting(moon__line_count(node, axis), moon__line_length(node, axis));
}

static void fill_part(const moon_array *x, const moon_lines *l, const moon_sort_part *part, bool descending) {
  const char *p = moon__at(x, moon__line_offset(l, part->line));
  for (int64_t j = part->first; j < part->last; j++) {
    uint64_t key = key_of(p, x->dtype, j * l->step);
    part->pairs[j] = (moon_pair){descending ? ~key : key, j};
  }
}

/* Stores what of the sorted positions the outputs have: their elements and their positions. */
static void store_part(const moon_call *call, const moon_lines *l, int64_t axis, const moon_sort_part *part) {
  const moon_array *x = &call->in[0];
  size_t bytes = moon_dtype_bytes(x->dtype);
  int64_t from = moon__line_offset(l, part->line);
  for (int o = 0; o < call->nout; o++) {
    const moon_array *y = &call->out[o];
    moon_lines ly = moon__lines_of(y, axis);
    if (!y->data) continue;
    for (int64_t j = part->first, to = moon__line_offset(&ly, part->line), n = moon__min_i64(part->last, ly.n); j < n; j++) {
      int64_t index = part->pairs[j].index;
      if (o == 0) memcpy(moon__at(y, to + j * ly.step), moon__at(x, from + index * l->step), bytes);
      else moon__store_i64(y->data, y->dtype, to + j * ly.step, index);
    }
  }
}

static void run_lines(const moon_call *call, int64_t axis, bool descending, int64_t first, int64_t last) {
  moon_lines l = moon__lines_of(&call->in[0], axis);
  moon_sorting s = moon__sorting(l.count, l.n);
  for (int64_t job = first; job < last; job++) {
    moon_sort_part part = moon__sorting_part(&s, call, job);
    if (part.stage == MOON_SORT_FILL) fill_part(&call->in[0], &l, &part, descending);
    if (part.stage == MOON_SORT_STORE) store_part(call, &l, axis, &part);
    else moon__sorting_done(&s, &part);
  }
}

#define CUT(op, axis)                                                  \
  static int64_t op##_jobs(const moon_node *node) {                    \
    moon_sorting s = sorting_along(node, axis);                        \
    return moon__sorting_jobs(&s);                                     \
  }                                                                    \
  static int64_t op##_rounds(const moon_node *node) {                  \
    moon_sorting s = sorting_along(node, axis);                        \
    return moon__sorting_rounds(&s);                                   \
  }                                                                    \
  static size_t op##_scratch(const moon_node *node) {                  \
    moon_sorting s = sorting_along(node, axis);                        \
    return moon__sorting_scratch(&s);                                  \
  }
CUT(sort, ((const moon_sort_attrs *)node->attrs)->axis)
CUT(topk, -1)

static void sort_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_sort_attrs *a = call->attrs;
  run_lines(call, a->axis, a->descending, first, last);
}

static void topk_run(const moon_call *call, int64_t first, int64_t last) { run_lines(call, -1, true, first, last); }

#define SORTED(op) \
  {.name = "cpu_" #op "_plain", .jobs = op##_jobs, .rounds = op##_rounds, .scratch = op##_scratch, .run = op##_run}
MOON_CPU_KERNEL(sort) = SORTED(sort);
MOON_CPU_KERNEL(topk) = SORTED(topk);
