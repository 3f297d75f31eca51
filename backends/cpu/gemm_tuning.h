/*
** gemm_tuning.h: how a product of f32 matrices is made: every number that a product's plan can choose, in one struct, so that a
** table of measured rows can take the place of the cost model. Results depend on these numbers, so they may depend on shapes and on
** what is fixed for the life of a process, never on the number of threads.
** Shape letters: a [m, k], b [k, n], c [m, n], each times a batch.
*/
#ifndef MOON_GEMM_TUNING_H
#define MOON_GEMM_TUNING_H
#include "cpu.h"
#include "gemm.h"

/* Floats of a part of a panel of b that a job packs for itself, and of sums that stay with a job until a loop finishes them. */
enum { MOON_GEMM_PANEL_FLOATS = 16384, MOON_GEMM_SUM_FLOATS = 16384 };

typedef struct moon_product {
  int64_t m, n, k, batch;
  int64_t a_row, a_column, b_row, b_column; /* elements from row to row, from column to column */
  bool finished; /* a loop runs over each block of c (epilogue.h) */
} moon_product;

/* Its axes of batch, outermost first; steps in elements. */
typedef struct moon_product_axes {
  int n;
  int64_t size[MOON_MAX_DIMS], a[MOON_MAX_DIMS], b[MOON_MAX_DIMS];
} moon_product_axes;

/* Reads a product's operands: axes of a batch that has one b become rows of a, where they lie so. False: these are no matrices. */
bool moon__product_read(moon_product *p, moon_product_axes *axes, const moon_array *a, const moon_array *b);
/* Do matrices of a, of b, differ along the batch? */
bool moon__product_a_varies(const moon_product_axes *axes);
bool moon__product_b_varies(const moon_product_axes *axes);

/* TILES: register tiles. DOTS: rows of a times rows of b', both along k. STREAM: b passes by once, c stays in the first-level cache. */
typedef enum moon_gemm_way { MOON_GEMM_TILES, MOON_GEMM_DOTS, MOON_GEMM_STREAM } moon_gemm_way;
/* NEVER: b is read where it lies. ONCE: a phase of its own packs all of it. JOBS: each job packs what it needs, a panel k_block deep
** at a time, which its tiles then find in the first-level cache. */
typedef enum moon_gemm_packing { MOON_GEMM_PACK_NEVER, MOON_GEMM_PACK_ONCE, MOON_GEMM_PACK_JOBS } moon_gemm_packing;

typedef struct moon_gemm_tuning {
  moon_gemm_way way;
  bool turned; /* c' = b' a' is computed, and turned back block by block; the numbers below are that product's */
  bool pack_a; /* once, tile by tile */
  moon_gemm_packing pack_b;
  int width, height;        /* of a tile: vectors (1, 2, 4) and rows */
  int64_t m_block, n_block; /* of a job: whole tiles, whole panels */
  int64_t k_block;          /* terms that a tile adds before the next tile has its turn */
  int64_t segments;         /* parts of k that are summed by jobs of their own and added up in a last phase; 1: none */
} moon_gemm_tuning;

/* Fills t by a cost model. */
void moon__gemm_choose(const moon_gemm_set *set, const moon_product *p, moon_gemm_tuning *t);
/* Makes numbers that came from elsewhere ones that a plan can use for this product. False: they are of another kind of product. */
bool moon__gemm_fit(const moon_gemm_set *set, const moon_product *p, moon_gemm_tuning *t);
/* The product as tiles see it: turned round where t says so. */
moon_product moon__gemm_seen(const moon_product *p, const moon_gemm_tuning *t);
#endif
