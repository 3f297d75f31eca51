/*
** pool.c: every job of a parallel run is done once and by its end, whatever the threads do: more of them than cores, jobs that take
** long, workers that come when a run is over, numbers of threads that change. Argument: the runs.
*/
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 300 };

typedef struct work {
  int done[MOST]; /* plain: a sanitizer sees who does not wait for whom */
  int slow; /* the job that sleeps; -1: none */
} work;

static void run_jobs(void *arg, int64_t first, int64_t last) {
  work *w = arg;
  for (int64_t i = first; i < last; i++) {
    if (i == w->slow) nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    w->done[i]++;
  }
}

static bool run_is_right(moon_runtime *runtime, work *w, uint32_t random) {
  int njobs = (int)(random >> 8) % MOST;
  w->slow = random % 8 == 0 ? (int)(random >> 20) % MOST : -1;
  for (int i = 0; i < MOST; i++) w->done[i] = 0;
  moon__pool_run(runtime, run_jobs, w, njobs);
  for (int i = 0; i < MOST; i++) {
    if (w->done[i] != (i < njobs)) return false;
  }
  return true;
}

int main(int argc, char **argv) {
  static work w;
  int runs = argc > 1 ? atoi(argv[1]) : 1000;
  uint32_t random = 1;
  moon_runtime *runtime = moon_runtime_new(NULL);
  if (!runtime) return EXIT_FAILURE;
  alarm(200); /* jobs that nobody does are waited for */
  for (int i = 0; i < runs; i++) {
    if (i % (runs / 5 + 1) == 0) moon_threads_set(runtime, 2 + i / (runs / 5 + 1) * 2);
    random = random * 1664525 + 1013904223;
    if (run_is_right(runtime, &w, random)) continue;
    printf("run %d of %d: a job was not done once\n", i, runs);
    return EXIT_FAILURE;
  }
  moon_runtime_release(runtime);
  printf("ok: %d runs\n", runs);
  return EXIT_SUCCESS;
}
