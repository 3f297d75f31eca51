/* attention_fast.h: what attention_isa.c brings: work on rows of scores in the near cache. */
#ifndef MOON_ATTENTION_FAST_H
#define MOON_ATTENTION_FAST_H
#include "fast.h"

/* s, dp and p have room for whole vectors; scores beyond n up to there are not seen either. */
typedef struct moon_attention_set {
  /* s [n] = exp(s scale - new maximum); takes the row into its running maximum *most and sum *sum of all before; gives what
  ** results so far are to be multiplied with. -INFINITY in s: not seen. */
  float (*weigh)(float *s, int64_t n, float scale, float *most, float *sum);
  /* s [n] = exp(s scale - shift): the row's weights when shift is its maximum plus the logarithm of its sum. */
  void (*repeat)(float *s, int64_t n, float scale, float shift);
  /* dp [n] = p (dp - sum) scale. */
  void (*slope)(float *dp, const float *p, int64_t n, float sum, float scale);
  /* y [n] *= by. */
  void (*multiply)(float *y, int64_t n, float by);
  float (*log)(float x);
} moon_attention_set;
MOON_ISA_DECLARE(const moon_attention_set, moon__attention_set)
#endif
