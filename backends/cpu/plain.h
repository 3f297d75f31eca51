/*
** plain.h: what plain kernels share: how outputs are cut into jobs, walks over strided arrays, and elements as numbers. Of it, fast
** kernels use shapes and single elements only.
*/
#ifndef MOON_PLAIN_H
#define MOON_PLAIN_H
#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "base/size.h"
#include "cpu.h"
#include "ops/attrs.h"

/* Kernels of one family are written once and made for each element type: ROW(dtype, C type). */
#define MOON_FLOAT_TYPES(ROW) ROW(f32, float) ROW(f64, double)
#define MOON_INTEGER_TYPES(ROW) ROW(bool, uint8_t) ROW(u8, uint8_t) ROW(i32, int32_t) ROW(i64, int64_t)
#define MOON_ALL_TYPES(ROW) MOON_INTEGER_TYPES(ROW) MOON_FLOAT_TYPES(ROW)

/* ---- Jobs: n things that cost `work` elementary operations each, cut into blocks of about MOON_JOB_WORK operations. ---- */
enum { MOON_JOB_WORK = 16384 };
static inline int64_t moon__job_block(int64_t work) { return work >= MOON_JOB_WORK ? 1 : MOON_JOB_WORK / (work < 1 ? 1 : work); }
static inline int64_t moon__job_count(int64_t n, int64_t work) { return moon__ceildiv_i64(n, moon__job_block(work)); }
/* The things [*lo, *hi) that jobs [first, last) hold. */
static inline void moon__job_range(int64_t n, int64_t work, int64_t first, int64_t last, int64_t *lo, int64_t *hi) {
  int64_t block = moon__job_block(work);
  *lo = moon__min_i64(n, first * block);
  *hi = last > n / block ? n : moon__min_i64(n, last * block);
}
/* a * b for estimates of work: stays at the largest number. */
static inline int64_t moon__work_mul(int64_t a, int64_t b) {
  int64_t r;
  return moon__mul_i64(a, b, &r) ? r : INT64_MAX;
}

/* ---- Shapes ---- */
/* Product of sizes; 0 when one of them is 0. */
int64_t moon__sizes_count(int ndim, const int64_t *sizes);
static inline int64_t moon__array_count(const moon_array *a) { return moon__sizes_count(a->ndim, a->shape); }
/* The same for a node's value. */
static inline int64_t moon__value_count(const moon_value *v) { return moon__sizes_count(v->type.shape.ndim, v->type.shape.dim); }
static inline int64_t moon__output_count(const moon_node *n) { return moon__value_count(&n->outputs[0]); }
/* The jobs of a node whose output elements cost about one operation each. */
int64_t moon__jobs_by_output(const moon_node *node);
/* Product of the sizes of axes [from, to). */
static inline int64_t moon__count_between(const int64_t *shape, int from, int to) {
  return from < to ? moon__sizes_count(to - from, shape + from) : 1;
}
/* Sum of index * stride for the element at a linear, row-major position. */
int64_t moon__offset_at(int ndim, const int64_t *shape, const int64_t *strides, int64_t at);
/* The index of that element on each axis. */
void moon__index_at(int ndim, const int64_t *shape, int64_t at, int64_t *index);
/* An axis attribute, resolved again: kernels do not rely on infer having made it positive. */
static inline int moon__axis_at(int64_t axis, int ndim) { return (int)(axis < 0 ? axis + ndim : axis); }
/* Address of an element. */
static inline char *moon__at(const moon_array *a, int64_t offset) { return a->data + offset * (int64_t)moon_dtype_bytes(a->dtype); }

/* ---- Walks: several arrays of one shape, visited together in row-major order, in runs along a line of constant strides. ---- */
enum { MOON_WALK_ARRAYS = 3 };
typedef struct moon_walk {
  int n, ndim;
  int64_t shape[MOON_MAX_DIMS], strides[MOON_WALK_ARRAYS][MOON_MAX_DIMS]; /* axes merged where strides allow it */
  const char *base[MOON_WALK_ARRAYS];  /* element 0; may be moved between walks */
  int64_t bytes[MOON_WALK_ARRAYS];     /* of an element */
  int64_t next, last;                  /* what is left */
  int64_t at, run;                     /* this run: its first element's linear position, its length */
  const char *p[MOON_WALK_ARRAYS];     /* this run: first elements */
  int64_t step[MOON_WALK_ARRAYS];      /* this run: strides, in elements */
} moon_walk;
/* arrays [n], n <= MOON_WALK_ARRAYS, all of the shape of arrays[0]. */
void moon__walk_init(moon_walk *w, int n, const moon_array *arrays);
static inline void moon__walk_set(moon_walk *w, int64_t first, int64_t last) { w->next = first, w->last = last; }
/* Moves to the next run; false at the end. */
bool moon__walk_next(moon_walk *w);
/* Copies elements [first, last) of x, in row-major order, to the dense place out. */
void moon__copy_elements(const moon_array *x, int64_t first, int64_t last, char *out);

/* ---- Lines: an array along one axis, for each place on the other axes. An array of rank 0 is one line of one element. ---- */
typedef struct moon_lines {
  int ndim;                /* of the other axes */
  int64_t n, step, count;  /* length of a line, its stride; number of lines */
  int64_t shape[MOON_MAX_DIMS], strides[MOON_MAX_DIMS]; /* the other axes */
} moon_lines;
moon_lines moon__lines_of(const moon_array *x, int64_t axis);
static inline int64_t moon__line_offset(const moon_lines *l, int64_t line) {
  return moon__offset_at(l->ndim, l->shape, l->strides, line);
}
/* Length and number of lines of a node's input 0. */
int64_t moon__line_length(const moon_node *node, int64_t axis);
int64_t moon__line_count(const moon_node *node, int64_t axis);

/* ---- Windows: x and y [n, s0, s1, s2, c] of convolution and pooling, w [k0, k1, k2, c, f]; spatial axes missing in front have
** size 1. Letters: o position in y, i position in x, k position in the window, tap its linear number. ---- */
typedef struct moon_spatial { int64_t n, s[3], c; } moon_spatial; /* strides; of w: n that of c, c that of f */
moon_spatial moon__spatial_strides(const moon_array *x);
moon_spatial moon__filter_strides(const moon_array *w);
static inline int64_t moon__spatial_offset(const moon_spatial *x, const int64_t *i) {
  return i[0] * x->s[0] + i[1] * x->s[1] + i[2] * x->s[2];
}
static inline int64_t moon__count3(const int64_t *size) { return moon__sizes_count(3, size); }
/* What the window at o sees through a tap: its position in x. False: padding. */
bool moon__window_sees(const moon_geometry *g, const int64_t *o, const int64_t *k, int64_t *i);
/* The window whose tap k sees position i of x. False: there is none. */
bool moon__window_seeing(const moon_geometry *g, const int64_t *i, const int64_t *k, int64_t *o);
/* A stretch of one row of channels of an output [n, s.., c] (or of filters of w: then n is the channel and s the tap). */
enum { MOON_STRETCH = 64 };
typedef struct moon_stretch {
  int64_t at, n;   /* first element's linear position, and length: at most MOON_STRETCH, and within one block of channels */
  int64_t b, s[3]; /* batch and position */
  int64_t c;       /* first channel */
} moon_stretch;
/* The stretch from `at` on, before `last`, of an array [.., s0, s1, s2, c] cut at multiples of block channels. */
moon_stretch moon__stretch(const int64_t *s, int64_t c, int64_t block, int64_t at, int64_t last);

/* ---- Elements as numbers ---- */
static inline double moon__load_f64(const char *p, moon_dtype dtype, int64_t i) {
  switch (dtype) {
#define ROW(name, type) case MOON_DTYPE_##name: return (double)((const type *)(const void *)p)[i];
    MOON_ALL_TYPES(ROW)
#undef ROW
    default: break; /* halves are widened before */
  }
  return 0;
}
static inline int64_t moon__load_i64(const char *p, moon_dtype dtype, int64_t i) { /* integer and bool dtypes */
  switch (dtype) {
#define ROW(name, type) case MOON_DTYPE_##name: return (int64_t)((const type *)(const void *)p)[i];
    MOON_INTEGER_TYPES(ROW)
#undef ROW
    default: return 0;
  }
}
/* A float dtype rounds; integers wrap; bool is != 0. */
static inline void moon__store_f64(char *p, moon_dtype dtype, int64_t i, double v) {
  if (dtype == MOON_DTYPE_f32) ((float *)(void *)p)[i] = (float)v;
  else if (dtype == MOON_DTYPE_f64) ((double *)(void *)p)[i] = v;
  else moon__convert(p + i * (int64_t)moon_dtype_bytes(dtype), dtype, &v, MOON_DTYPE_f64);
}
static inline void moon__store_i64(char *p, moon_dtype dtype, int64_t i, int64_t v) {
  switch (dtype) {
    case MOON_DTYPE_bool: ((uint8_t *)(void *)p)[i] = v != 0; break;
    case MOON_DTYPE_u8: ((uint8_t *)(void *)p)[i] = (uint8_t)v; break;
    case MOON_DTYPE_i32: ((int32_t *)(void *)p)[i] = (int32_t)(uint32_t)(uint64_t)v; break;
    case MOON_DTYPE_i64: ((int64_t *)(void *)p)[i] = v; break;
    default: moon__store_f64(p, dtype, i, (double)v); break;
  }
}

/* ---- Sums: float terms are added in f64, integer ones in 64 bits that wrap. ---- */
typedef union moon_sum { double f; uint64_t i; } moon_sum;
/* sums[j] += row[j * stride], j in [0, n). */
void moon__sums_add(moon_sum *sums, const char *row, moon_dtype dtype, int64_t stride, int64_t n);
/* sums[j] += a[0] * row[j * stride]; a and row of one dtype. */
void moon__sums_add_scaled(moon_sum *sums, const char *a, const char *row, moon_dtype dtype, int64_t stride, int64_t n);
/* *sum += a[j * a_stride] * b[j * b_stride] over j in [0, n). */
void moon__sum_add_dot(moon_sum *sum, const char *a, int64_t a_stride, const char *b, int64_t b_stride, moon_dtype dtype,
                       int64_t n);
/* Stores sums of elements of dtype `of` as n elements of out_dtype from position i on. */
void moon__sums_store(const moon_sum *sums, moon_dtype of, char *out, moon_dtype out_dtype, int64_t i, int64_t n);

/* ---- Sorting ---- */
typedef struct moon_pair { uint64_t key; int64_t index; } moon_pair;
/* Stable; a [n] by key; tmp [n]. */
void moon__sort_pairs(moon_pair *a, moon_pair *tmp, int64_t n);
#endif
