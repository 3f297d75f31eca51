/* print.h: values of scalar instructions as OpenCL C, for one number or for vectors of MOON_CL_LANES. In print.c. */
#ifndef MOON_CL_PRINT_H
#define MOON_CL_PRINT_H
#include "opencl.h"

enum { MOON_CL_LANES = 16 };
/* "float", "uchar" for bool and u8 ...; with lanes 16 "float16". */
const char *moon__cl_type(moon_dtype dtype, int lanes);
/* Can all instructions of the loop be printed for vectors? */
bool moon__cl_is_vector_op(const moon_loop_ins *ins);
/* "rD = value;" with registers r0, r1, .. declared here when `declare`. */
void moon__cl_print_ins(moon_cl_text *t, const moon_loop_ins *ins, int lanes);
/* The number as an expression of its dtype. */
void moon__cl_print_number(moon_cl_text *t, moon_dtype dtype, double f, int64_t i, int lanes);
/* "acc = acc and x combined" for a reduction over dtype; and what it starts from. */
void moon__cl_print_combine(moon_cl_text *t, moon_op_id reduce, moon_dtype dtype, int lanes, const char *acc, const char *x);
void moon__cl_print_identity(moon_cl_text *t, moon_op_id reduce, moon_dtype dtype, int lanes);
/* Functions of numbers that the values use; part of every unit of a loop with such instructions. */
void moon__cl_print_functions(moon_cl_text *t, const moon_loop *loop);
#endif
