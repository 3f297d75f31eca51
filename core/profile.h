/*
** profile.h: what launches cost: calls and time of each launch of each program that a context runs while its profile is on, and,
** when asked for, every launch as an event. The executor calls moon__profile_add behind one branch; nothing else knows of it.
*/
#ifndef MOON_PROFILE_H
#define MOON_PROFILE_H
#include "plan/plan.h"

typedef struct moon_profile_launch {
  uint64_t calls;
  double us; /* what its own bodies took is theirs, not the launch's */
} moon_profile_launch;
typedef struct moon_profile_program {
  moon_program *program; /* retained */
  moon_profile_launch *launches;
} moon_profile_program;
typedef struct moon_profile_event {
  double start_us, us; /* bodies included; start counts from the profile's */
  int32_t program, launch;
} moon_profile_event;

struct moon_profile {
  double start_us, wall_us;
  double launches_us; /* of all launches so far */
  bool keep_events;
  int nprograms, program_capacity, nevents, event_capacity;
  moon_profile_program *programs;
  moon_profile_event *events;
  uint64_t lost; /* launches that found no memory to be noted, and events beyond the limit */
};

/* A launch begins: read before it runs. */
typedef struct moon_profile_mark { double us, launches_us; } moon_profile_mark;

/* Starts a fresh profile. Fails: MOON_ESTATE when one is on, MOON_EMEMORY. */
moon_status moon__profile_begin(moon_context *ctx, bool keep_events);
/* Stops it; what it found stays with the context until the next begins. */
void moon__profile_end(moon_context *ctx);
moon_profile_mark moon__profile_mark(const moon_context *ctx);
/* complete: the launch is over (else a slice of it). */
void moon__profile_add(moon_context *ctx, moon_program *p, int launch, moon_profile_mark began, bool complete);

/* Arithmetic of a node, by its op's rule; that of the body for loops and composites without one. Sizes are known. */
double moon__node_flops(moon_context *ctx, const moon_node *n);
/* Adds the arithmetic of a program's launches to by_op [MOON_OP_COUNT]; bodies count as often as a scan runs them, once in cond and
** while_loop. */
void moon__program_flops(moon_context *ctx, const moon_program *p, double times, double *by_op);
/* Arithmetic of a launch, what finishes its product included, bodies not. */
double moon__launch_flops(moon_context *ctx, const moon_launch *l);
/* Bytes that a launch reads and writes: each operand once, what is broadcast in it once. */
double moon__launch_bytes(const moon_program *p, const moon_launch *l);
#endif
