/*
** dim.h: the inside of symbolic sizes, shared by dim.c (table, arithmetic), dim_text.c and dim_eval.c. An expression is a sum of
** terms k * atom * atom ..., highest term first, no two terms alike, no k zero; an atom is an unknown, a floor division or a max
** of two sizes. Atoms and expressions are interned: equal ones have equal numbers. The table has a lock of its own; functions
** below whose name holds "poly" or "atom" run with it held.
*/
#ifndef MOON_DIM_H
#define MOON_DIM_H
#include "base/context.h"

#define MOON_DIM_TERMS 24
#define MOON_DIM_DEGREE 8
#define MOON_DIM_DEPTH 16   /* of floor divisions and maxima in each other */
#define MOON_DIM_WEIGHT 512 /* atoms met when walking an expression: bounds evaluation and text */
#define MOON_DIM_FIRST (-((int64_t)1 << 32)) /* handles count down from here, so small negative numbers are never handles */

typedef enum moon_atom_kind { MOON_ATOM_NAME, MOON_ATOM_FLOOR, MOON_ATOM_MAX } moon_atom_kind;
typedef struct moon_atom {
  moon_atom_kind kind;
  char *name;    /* NAME */
  moon_dim a, b; /* floor(a / b), max(a, b) */
  int depth, weight;
  bool nonnegative; /* for all sizes of the unknowns */
  uint64_t hash;
} moon_atom;

typedef struct moon_term {
  int64_t k;
  int32_t n;
  int32_t atom[MOON_DIM_DEGREE]; /* [n], in the order of moon__atom_compare */
} moon_term;

typedef struct moon_poly {
  int n;
  moon_term term[MOON_DIM_TERMS];
} moon_poly;

typedef struct moon_expr {
  int n, depth, weight;
  uint64_t hash;
  moon_term *term; /* [n] */
} moon_expr;

typedef struct moon_slots {
  int n, capacity; /* capacity is a power of two or 0 */
  int32_t *slot;   /* index + 1, 0: empty */
} moon_slots;

struct moon_dims {
  moon_mutex *lock;
  int natoms, atom_capacity, nexprs, expr_capacity;
  moon_atom *atoms;
  moon_expr *exprs;
  moon_slots atom_slots, expr_slots;
};

bool moon__dims_new(moon_runtime *runtime);
void moon__dims_free(moon_runtime *runtime);
static inline void moon__dims_lock(const moon_runtime *runtime) { moon__mutex_lock(runtime->dims->lock); }
static inline void moon__dims_unlock(const moon_runtime *runtime) { moon__mutex_unlock(runtime->dims->lock); }

/* The expression of a handle; NULL when d is none. */
const moon_expr *moon__dim_expr(const moon_dims *dims, moon_dim d);
/* All of these record an error and give false (or MOON_DIM_ERROR) when something does not fit. out may be an input. */
bool moon__poly_of(moon_context *ctx, moon_dim d, moon_poly *out);
bool moon__poly_name(moon_context *ctx, const char *name, size_t bytes, moon_poly *out);
void moon__poly_number(int64_t k, moon_poly *out);
/* a + sign * b */
bool moon__poly_add(moon_context *ctx, const moon_poly *a, const moon_poly *b, int sign, moon_poly *out);
bool moon__poly_mul(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out);
bool moon__poly_floordiv(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out);
bool moon__poly_max(moon_context *ctx, const moon_poly *a, const moon_poly *b, moon_poly *out);
moon_dim moon__poly_dim(moon_context *ctx, const moon_poly *p);
#endif
