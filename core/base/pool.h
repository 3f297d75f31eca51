/*
** pool.h: the worker threads of a runtime. Started at the first parallel run, never at require; each has a part of the jobs and takes
** over what others have not begun; workers spin briefly, then sleep; a forked child finds an empty pool and starts its own. With
** host.parallel set no thread is ours.
*/
#ifndef MOON_POOL_H
#define MOON_POOL_H
#include "moonlet.h"

/* Threads that a parallel run uses, the calling one included. */
int moon__pool_threads(moon_runtime *runtime);
/* Runs body(arg, first, last) over ranges that make up [0, njobs), the caller taking part; returns when all are done. Serial
** when njobs < 2, with one thread, inside a worker, or while another thread's run holds the pool. Cannot fail: a thread that
** does not start only makes it slower. */
void moon__pool_run(moon_runtime *runtime, void (*body)(void *arg, int64_t first, int64_t last), void *arg, int64_t njobs);
/* Makes the pool, without threads; false: memory is out. */
bool moon__pool_new(moon_runtime *runtime);
/* Joins the workers; called when the runtime's last reference goes. */
void moon__pool_free(moon_runtime *runtime);
#endif
