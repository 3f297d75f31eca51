/*
** sorting.h: lines of pairs sorted by key, stable, cut by shape into jobs of about 50 us however long a line is. A phase of many
** rounds, one after the other: the jobs of the first fill and sort blocks of each line, those of the rounds after it merge blocks two
** by two, each job a piece of the result, those of the last store. Lines are taken in groups, so that scratch is bounded; each group
** has its rounds.
*/
#ifndef MOON_SORTING_H
#define MOON_SORTING_H
#include "plain.h"

typedef struct moon_sorting {
  int64_t n, lines;              /* length and number of lines */
  int64_t block, blocks, group;  /* pairs a job has, blocks of a line, lines of a group */
  int64_t levels;                /* of merging */
} moon_sorting;
moon_sorting moon__sorting(int64_t lines, int64_t n);
int64_t moon__sorting_jobs(const moon_sorting *s); /* of a round */
int64_t moon__sorting_rounds(const moon_sorting *s);
size_t moon__sorting_scratch(const moon_sorting *s); /* SIZE_MAX: does not fit */

typedef enum moon_sort_stage { MOON_SORT_NOTHING, MOON_SORT_FILL, MOON_SORT_MERGE, MOON_SORT_STORE } moon_sort_stage;
/* What a job does: positions [first, last) of a line. FILL: the caller writes pairs[first..last) and calls moon__sorting_done;
** STORE: the caller reads them, sorted. MERGE is done by moon__sorting_done too. */
typedef struct moon_sort_part {
  moon_sort_stage stage;
  int64_t line, first, last, width;
  moon_pair *pairs, *other; /* of the line */
} moon_sort_part;
moon_sort_part moon__sorting_part(const moon_sorting *s, const moon_call *call, int64_t job);
void moon__sorting_done(const moon_sorting *s, const moon_sort_part *p);
#endif
