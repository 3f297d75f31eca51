/*
** family.h: what select.c and the files of kernels share: the operands that a kernel is asked for, and the making of a launch from
** kernel texts. A text is one kernel in OpenCL C, written inside CL(..) so that it needs no quotes; T0, T1, .. are the types of its
** operands (inputs, then outputs), TO0(x), .. casts to them by the rules of cast, SUM what terms are added in, p.v[..] its numbers. For every element type there is a unit of its own.
*/
#ifndef MOON_CL_FAMILY_H
#define MOON_CL_FAMILY_H
#include "opencl.h"

#define CL(...) #__VA_ARGS__
#define CL_(...) CL(__VA_ARGS__) /* with macros of ours in it */
/* The four random words c0 .. c3 of element i: base/philox.h in OpenCL C. key: key low, key high, step, stream. */
#define MOON_CL_DRAW                                                                                                           \
  uint c0 = (uint)i; uint c1 = (uint)(i >> 32); uint c2 = key.s2; uint c3 = key.s3; uint k0 = key.s0; uint k1 = key.s1; \
  for (int round = 0; round < 10; round++) {                                                                           \
    const uint p_high = mul_hi(0xD2511F53u, c0), p_low = 0xD2511F53u * c0;                                             \
    const uint q_high = mul_hi(0xCD9E8D57u, c2), q_low = 0xCD9E8D57u * c2;                                             \
    c0 = q_high ^ c1 ^ k0; c1 = q_low; c2 = p_high ^ c3 ^ k1; c3 = p_low;                                              \
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;                                                                              \
  }

typedef struct moon_cl_choice {
  moon_context *ctx;
  moon_cl_device *d;
  const moon_node *node;
  const moon_array *in, *out; /* data is NULL; shapes and strides are final; outputs are dense */
  int nin, nout;
  bool fast;
  moon_choice *choice;
  moon_cl_launch *launch;     /* set by moon__cl_begin */
} moon_cl_choice;

typedef struct moon_cl_family {
  /* Fills the choice for a node that the family knows, *s telling how that went; false: not its node. */
  bool (*select)(moon_cl_choice *c, moon_status *s);
} moon_cl_family;
extern const moon_cl_family moon__cl_matmul, moon__cl_conv, moon__cl_pool, moon__cl_gather, moon__cl_movement, moon__cl_lines,
    moon__cl_create, moon__cl_random, moon__cl_winograd, moon__cl_recurrent, moon__cl_attention, moon__cl_rows;
/* Is there a kernel for this node of Winograd convolution, and does it pay? */
bool moon__cl_winograd_has(const moon_cl_device *d, const moon_node *node);
/* The same for sequences of recurrent layers. */
bool moon__cl_recurrent_has(const moon_cl_device *d, const moon_node *node);
/* For attention; for what works row by row. */
bool moon__cl_attention_has(const moon_cl_device *d, const moon_node *node);
bool moon__cl_rows_has(const moon_cl_device *d, const moon_node *node);

/* Product of the sizes of axes [from, to) of an operand, whose size is checked. */
int64_t moon__cl_sizes(const moon_array *a, int from, int to);
/* Elements of an operand. */
int64_t moon__cl_count(const moon_array *a);
/* The number x of a dtype, as the bits that a kernel finds in p.v. */
int64_t moon__cl_bits(moon_dtype dtype, double x);
/* Starts the launch; false: memory is out. All inputs must be dense unless `strided`. */
bool moon__cl_begin(moon_cl_choice *c, const char *kernel, bool strided);
/* Adds the kernel `text` over all operands (and scratch, last, when the choice has any) for n elements, block at a time. */
bool moon__cl_add(moon_cl_choice *c, const char *text, const int64_t *params, int nparams, int64_t n, int64_t block);
/* The same with everything said in spec but the unit; types [noperands] are T0, T1, ... */
bool moon__cl_add_spec(moon_cl_choice *c, const char *text, const moon_dtype *types, moon_cl_step_spec *spec);
/* Adds the step that makes an output, `count` numbers, the sum of as many in each segment at this byte of scratch, in order. */
bool moon__cl_add_sum(moon_cl_choice *c, int output, int64_t count, int64_t segments, size_t at);
/* Ends it: MOON_OK, or what `ok` false means: memory is out. */
moon_status moon__cl_end(moon_cl_choice *c, bool ok);
#endif
