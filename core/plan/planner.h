/*
** planner.h: what a program is planned with, shared by plan.c, which makes launches of nodes, and effects.c, which ties results to
** outputs and variables.
*/
#ifndef MOON_PLANNER_H
#define MOON_PLANNER_H
#include "base/map.h"
#include "plan/plan.h"

/* Where a value is: operand in a buffer, and whether it stays the same from run to run. */
typedef struct moon_place {
  moon_operand operand;
  bool lasting;
} moon_place;

enum { MOON_BLOCK_PLACES = 64 };
typedef struct moon_place_block {
  struct moon_place_block *next;
  moon_place places[MOON_BLOCK_PLACES];
} moon_place_block;

typedef struct moon_planner {
  moon_context *ctx;
  moon_program *p;
  const moon_graph *g;
  bool fast;
  moon_map places; /* value -> place * */
  moon_place_block *blocks; /* the newest first; addresses are stable */
  int nplaces;
  moon_map late;   /* nodes whose results only go to variables */
  moon_map copies; /* value -> place *: its dense copy */
  moon_map variables; /* variable -> slot + 1 */
  moon_node **order;  /* [g->nnodes]: as they are computed */
  moon_map partners;  /* product -> the loop that may finish it, and back */
  moon_chains chains;
  moon_map turned;    /* value -> a transpose of it */
} moon_planner;

static inline const moon_place *moon__plan_place(const moon_planner *pl, const moon_value *v) { return moon__map_get(&pl->places, v); }
moon_status moon__plan_put(moon_planner *pl, moon_map *map, const moon_value *v, moon_operand o, bool lasting);
int moon__plan_buffer(moon_planner *pl, moon_buffer_kind kind, int index, size_t bytes); /* -1: out of memory */
bool moon__plan_is_control(const moon_node *n);
/* A launch that copies o densely into a buffer, a new one if that is -1; *copy: the operand that it makes. */
moon_status moon__plan_copy(moon_planner *pl, moon_node *like, const moon_operand *o, moon_operand *copy, bool lasting, int buffer);

/* effects.c: output i of the graph; old values that a variable's new one is made of; writes, whose launches are [first_late, ..). */
moon_status moon__plan_output(moon_planner *pl, int i);
moon_status moon__plan_save_old(moon_planner *pl);
moon_status moon__plan_effects(moon_planner *pl, int first_late);
#endif
