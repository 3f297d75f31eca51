/* openblas.h: OpenBLAS of the machine, opened when a product first wants it. */
#ifndef MOON_OPENBLAS_H
#define MOON_OPENBLAS_H
#include <stdatomic.h>

typedef void (*moon_sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int a_row,
                              const float *b, int b_row, float beta, float *c, int c_row);
typedef void (*moon_dgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int a_row,
                              const double *b, int b_row, double beta, double *c, int c_row);

/* Lives in the device. Opening it twice gives the same functions, so states may race for it. */
typedef struct moon_openblas {
  _Atomic int state; /* 0: not asked for yet, 1: open, 2: none */
  _Atomic int busy;  /* a serial build is not for two threads at once */
  moon_sgemm_fn sgemm;
  moon_dgemm_fn dgemm;
} moon_openblas;
#endif
