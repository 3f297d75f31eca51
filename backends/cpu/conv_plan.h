/*
** conv_plan.h: what a direct convolution (or its gradient by x) does, made by conv_plan.c and run by conv_fast.c. Letters: the target
** (y, or x backward) is computed from the source (x, or dy backward).
*/
#ifndef MOON_CONV_PLAN_H
#define MOON_CONV_PLAN_H
#include "conv_fast.h"
#include "epilogue.h"
#include "fast.h"
#include "gemm.h"
#include "span.h"

enum { MOON_CONV_PANEL = 32 };

/* Everything about a convolution that is a matter of speed alone: how it is cut into jobs, and how its loops are blocked. */
typedef struct moon_conv_cut {
  int64_t image_block, block1, block2, column_block; /* of a job: images, places along two axes, columns */
  int64_t depth;     /* terms of a sum that are taken at once, of one tap's */
  int64_t row_block; /* places between two visits of the same weights; of a depthwise one, a stretch of a line */
  int64_t channels;  /* depthwise: channels that are taken at once */
  bool by_taps;      /* taps are the outer loop */
  int64_t panel;     /* weights of a group lie [panels][taps][source_group][panel], the last padded; 0: as w */
} moon_conv_cut;

typedef struct moon_conv_plan {
  const moon_gemm_set *set;
  const moon_conv_set *conv;
  moon_geometry g;
  bool backward, depthwise, merged; /* merged: taps along the last axis and channels are one segment */
  int64_t source_size[3], target_size[3], source_channels, target_channels, source_group, target_group, taps;
  moon_conv_cut cut;
  int64_t image_blocks, blocks1, blocks2, column_blocks;
  int64_t panels;
  bool pack;     /* into panels, first */
  size_t packed; /* then: where, in scratch */
  int nspans[3];
  moon_span *spans[3]; /* behind the plan */
  moon_finish *finish; /* likewise; NULL: none */
  int place;           /* output that holds the target */
  bool clamp;          /* what finishes the target, brings it into bounds, is done as soon as a tile is there */
} moon_conv_plan;

/* A part of the result: places [from, to) of images, some columns of a group. part: which of those that a loop reduces. */
typedef struct moon_conv_block {
  int64_t first_image, last_image, group, part, column, columns;
  int64_t from[3], to[3];
} moon_conv_block;
/* Makes the sums of a block from x, whose first source_skip numbers lie before source, into y, likewise. */
void moon__conv_make(const moon_conv_plan *p, const moon_call *call, const moon_conv_block *b, const float *source, int64_t source_skip,
                     float *target, int64_t target_skip);
/* The loop that finishes what moon__conv_make made in its place. */
void moon__conv_finish(const moon_conv_plan *p, moon_finishing *r, const moon_conv_block *b);

/* For chains. A convolution of one, without phases: its state is a moon_conv_plan. */
moon_status moon__conv_plan_link(const moon_fast *f, moon_choice *c);
double moon__conv_work_us(const moon_conv_plan *p, double places, double columns); /* about, at best */
double moon__conv_most_us(double all_us);                                          /* of a job, when all take so long */
/* Blocks of at most `most` of an axis, in steps: those with which the busier of two threads is done first. us: of a step. */
int64_t moon__conv_block_for(int64_t size, int64_t step, double most, double us);

/* Phases: packing, the sums, the sums and the loop that finishes them, what that loop reduces. */
void moon__conv_pack(const moon_call *call, int64_t first, int64_t last);
void moon__conv_run(const moon_call *call, int64_t first, int64_t last);
void moon__conv_run_finished(const moon_call *call, int64_t first, int64_t last);
void moon__conv_combine(const moon_call *call, int64_t first, int64_t last);
#endif
