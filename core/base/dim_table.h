/* dim_table.h: what dim.c needs of the table of atoms and expressions. Everything here runs with the table's lock held. */
#ifndef MOON_DIM_TABLE_H
#define MOON_DIM_TABLE_H
#include "base/dim.h"

/* Negative, 0 or positive. Terms are compared without their k. */
int moon__atom_compare(const moon_dims *dims, int32_t i, int32_t j);
int moon__term_compare(const moon_dims *dims, const moon_term *a, const moon_term *b);
int moon__dim_compare(const moon_dims *dims, moon_dim a, moon_dim b);
/* The number of an atom, made when it is new (a name is copied); -1 after an error. */
int32_t moon__atom_intern(moon_context *ctx, const moon_atom *atom, size_t name_bytes);
/* The handle of a sum with at least one term that is not a number. */
moon_dim moon__expr_intern(moon_context *ctx, const moon_poly *p);
#endif
