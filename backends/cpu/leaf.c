/* leaf.c: plain kernels of copy and cast. The other leaves move no data: the planner aliases them. */
#include "plain.h"

static void copy_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *x = &call->in[0], *y = &call->out[0];
  int64_t lo, hi;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  moon__copy_elements(x, lo, hi, moon__at(y, lo));
}

static void cast_run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *x = &call->in[0], *y = &call->out[0];
  int64_t lo, hi;
  moon_walk w;
  moon__job_range(moon__array_count(y), 1, first, last, &lo, &hi);
  moon__walk_init(&w, 1, x);
  moon__walk_set(&w, lo, hi);
  while (moon__walk_next(&w)) moon__convert_many(moon__at(y, w.at), y->dtype, 1, w.p[0], x->dtype, w.step[0], w.run);
}

MOON_CPU_KERNEL(copy) = {.name = "cpu_copy_plain", .jobs = moon__jobs_by_output, .run = copy_run, .in_place = true};
MOON_CPU_KERNEL(cast) = {.name = "cpu_cast_plain", .jobs = moon__jobs_by_output, .run = cast_run, .in_place = true};
