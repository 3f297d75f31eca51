/*
** worker.h: the background thread of a runtime: long jobs, one after the other, at a priority below the host's own threads. Started
** at the first job. What a job is, and when it stops early, is the sender's.
*/
#ifndef MOON_WORKER_H
#define MOON_WORKER_H
#include <stdatomic.h>

#include "moonlet.h"

typedef enum moon_job_state { MOON_JOB_NONE, MOON_JOB_WAITING, MOON_JOB_RUNNING, MOON_JOB_OVER, MOON_JOB_LOST } moon_job_state;

typedef struct moon_job {
  struct moon_job *next;
  moon_runtime *runtime;
  void (*body)(struct moon_job *job);
  _Atomic uint32_t state;
  uint32_t life; /* of the worker that has it */
} moon_job;

/* Hands a job over. False: nobody may, or can, run it in the background. */
bool moon__worker_send(moon_runtime *runtime, moon_job *job);
/* MOON_JOB_LOST: the process forked meanwhile, the job stayed with the parent. */
moon_job_state moon__worker_state(moon_job *job);
/* Takes the job back when it has not begun, else sleeps until it is over. */
void moon__worker_withdraw(moon_job *job);
void moon__worker_wait(moon_job *job);
/* Joins the thread; called when the runtime's last reference goes. */
void moon__worker_free(moon_runtime *runtime);
#endif
