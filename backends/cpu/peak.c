/*
** peak.c: measures what the cores in use can do at most: multiply-adds per second from registers, bytes per second read from and
** copied through memory that no cache holds. Takes about 0.2 s; called only when somebody asks (profiles, benchmarks).
*/
#include "base/alloc.h"
#include "base/pool.h"
#include "cpu.h"
#include "peak.h"

#define BUFFER_FLOATS (INT64_C(32) << 20) /* 128 MiB */
#define JOB_FLOATS (INT64_C(64) << 10)
#define FMA_ROUNDS 20000
#define FMA_JOBS 32 /* for each thread */

typedef struct trial {
  const moon_peak_set *set;
  float *buffer;
  _Atomic int32_t sink; /* takes what the loops give, so that they are not left out */
} trial;

static void run_fma(void *arg, int64_t first, int64_t last) {
  trial *t = arg;
  for (int64_t i = first; i < last; i++) t->sink ^= (int32_t)t->set->fma(FMA_ROUNDS);
}

static void run_read(void *arg, int64_t first, int64_t last) {
  trial *t = arg;
  t->sink ^= t->set->read(t->buffer + first * JOB_FLOATS, (last - first) * JOB_FLOATS);
}

/* Memory that nobody wrote to may not be there: each page gets a number first. */
static void run_touch(void *arg, int64_t first, int64_t last) {
  trial *t = arg;
  for (int64_t i = first * JOB_FLOATS; i < last * JOB_FLOATS; i++) t->buffer[i] = (float)i;
}

/* The lower half goes to the upper. */
static void run_copy(void *arg, int64_t first, int64_t last) {
  trial *t = arg;
  t->set->copy(t->buffer + BUFFER_FLOATS / 2 + first * JOB_FLOATS, t->buffer + first * JOB_FLOATS, (last - first) * JOB_FLOATS);
}

/* Shortest of n runs, in us. Short runs need many: a system may take a while to spread threads that just woke. */
static double shortest(moon_runtime *runtime, void (*body)(void *arg, int64_t first, int64_t last), trial *t, int64_t njobs,
                       int n) {
  double best = 0;
  for (int i = 0; i < n; i++) {
    double start = moon__clock_us();
    moon__pool_run(runtime, body, t, njobs);
    double us = moon__clock_us() - start;
    if (i == 0 || us < best) best = us;
  }
  return best > 0.001 ? best : 0.001;
}

moon_status moon__cpu_limits(moon_context *ctx, moon_device *device, moon_limits *limits) {
  moon_runtime *r = device->runtime;
  trial t = {.set = MOON_ISA_PICK(moon__cpu_isa(), moon__peak_set)};
  limits->threads = moon__pool_threads(r);
  t.buffer = moon__alloc_array(r, (size_t)BUFFER_FLOATS, sizeof *t.buffer);
  if (!t.buffer) return moon__fail_memory(ctx);
  int64_t jobs = (int64_t)FMA_JOBS * limits->threads;
  limits->gflops = (double)(jobs * FMA_ROUNDS * t.set->flops) / shortest(r, run_fma, &t, jobs, 20) / 1e3;
  jobs = BUFFER_FLOATS / JOB_FLOATS;
  moon__pool_run(r, run_touch, &t, jobs);
  double bytes = (double)BUFFER_FLOATS * sizeof *t.buffer;
  limits->read_gbps = bytes / shortest(r, run_read, &t, jobs, 8) / 1e3;
  limits->copy_gbps = bytes / shortest(r, run_copy, &t, jobs / 2, 8) / 1e3;
  moon__free(r, t.buffer);
  return MOON_OK;
}
