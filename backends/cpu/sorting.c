/* sorting.c: see sorting.h. The merge of two neighbouring runs is cut at equal pieces of its result ("merge path"). */
#include "sorting.h"

enum { BLOCK = 1024, LEAST_JOBS = 64, GROUP_PAIRS = 65536 };

moon_sorting moon__sorting(int64_t lines, int64_t n) {
  moon_sorting s = {.n = n, .lines = lines, .block = BLOCK};
  s.blocks = moon__ceildiv_i64(n, BLOCK);
  if (s.blocks < 1) return (moon_sorting){.block = BLOCK};
  s.group = moon__min_i64(lines, moon__max_i64(moon__ceildiv_i64(LEAST_JOBS, s.blocks), GROUP_PAIRS / n));
  for (int64_t width = BLOCK; width < n; width *= 2) s.levels++;
  return s;
}

int64_t moon__sorting_jobs(const moon_sorting *s) { return moon__work_mul(s->group, s->blocks); }

int64_t moon__sorting_rounds(const moon_sorting *s) {
  return s->group ? moon__work_mul(moon__ceildiv_i64(s->lines, s->group), s->levels + 2) : 1;
}

size_t moon__sorting_scratch(const moon_sorting *s) {
  size_t bytes;
  bool fits = moon__mul_size((size_t)s->n, 2 * sizeof(moon_pair), &bytes) && moon__mul_size(bytes, (size_t)s->group, &bytes);
  return fits ? bytes : SIZE_MAX;
}

moon_sort_part moon__sorting_part(const moon_sorting *s, const moon_call *call, int64_t job) {
  int64_t jobs = s->group * s->blocks, round = job / jobs, stages = s->levels + 2, stage = round % stages;
  int64_t at = job % jobs / s->blocks, block = job % s->blocks;
  moon_sort_part p = {.line = round / stages * s->group + at, .first = block * s->block};
  if (p.line >= s->lines) return p;
  p.last = moon__min_i64(s->n, p.first + s->block);
  p.pairs = (moon_pair *)(void *)call->scratch + 2 * s->n * at;
  p.other = p.pairs + s->n;
  if (stage > 0 && (stage - 1) % 2 == 1) { /* every level moves the pairs to the other half */
    moon_pair *t = p.pairs;
    p.pairs = p.other, p.other = t;
  }
  p.stage = stage == 0 ? MOON_SORT_FILL : stage == stages - 1 ? MOON_SORT_STORE : MOON_SORT_MERGE;
  p.width = p.stage == MOON_SORT_MERGE ? s->block << (stage - 1) : 0;
  return p;
}

/* How many of the first k pairs of the merge of a and b are a's; a's go first where keys are equal. */
static int64_t split(const moon_pair *a, int64_t na, const moon_pair *b, int64_t nb, int64_t k) {
  int64_t low = moon__max_i64(0, k - nb), high = moon__min_i64(k, na);
  while (low < high) {
    int64_t i = low + (high - low) / 2;
    if (a[i].key <= b[k - i - 1].key) low = i + 1;
    else high = i;
  }
  return low;
}

static void merge_piece(const moon_sorting *s, const moon_sort_part *p) {
  int64_t start = p->first / (2 * p->width) * (2 * p->width);
  int64_t na = moon__min_i64(p->width, s->n - start), nb = moon__min_i64(p->width, s->n - start - na);
  const moon_pair *a = p->pairs + start, *b = a + na;
  int64_t i = split(a, na, b, nb, p->first - start), j = p->first - start - i;
  for (int64_t k = p->first; k < p->last; k++) p->other[k] = i < na && (j == nb || a[i].key <= b[j].key) ? a[i++] : b[j++];
}

void moon__sorting_done(const moon_sorting *s, const moon_sort_part *p) {
  if (p->stage == MOON_SORT_FILL) moon__sort_pairs(p->pairs + p->first, p->other + p->first, p->last - p->first);
  else if (p->stage == MOON_SORT_MERGE) merge_piece(s, p);
}
