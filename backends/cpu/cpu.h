/*
** cpu.h: what the files of the CPU backend share: the plain kernels, and where the fast ones are asked for. Helpers for arrays
** of any strides are in plain.h.
**
** A plain kernel is declared once, in the file of its op family, by a line
**   MOON_CPU_KERNEL(name) = { .name = "cpu_name_plain", .jobs = ..., .scratch = ..., .run = ... };
** which the build collects into gen/cpu_kernels.def; elementwise rows get theirs from elementwise.def. Plain kernels are the
** oracle: they take inputs of any strides (0 and negative too), any rank, any size (0 too), and write dense outputs. They add up
** f32 in f64 and, where terms are added, in row-major order, so results do not depend on how jobs are spread.
*/
#ifndef MOON_CPU_H
#define MOON_CPU_H
#include "backend.h"

/* Outputs of so many floats (32 MB) do not wait in caches for who reads them next: kernels store them past the caches, which saves
** reading what is going to be overwritten. */
enum { MOON_STREAM_FLOATS = 8 << 20 };

typedef struct moon_cpu_kernel {
  const char *name;
  moon_kernel_fn before;                    /* one job that runs before all others (it prepares scratch); NULL: none */
  int64_t (*before_jobs)(const moon_node *node); /* pieces of it, one after the other; NULL: 1 */
  int64_t (*jobs)(const moon_node *node);   /* number of jobs, from shapes alone; NULL: 1 */
  int64_t (*rounds)(const moon_node *node); /* groups of that many jobs, one after the other; NULL: 1 */
  size_t (*scratch)(const moon_node *node); /* scratch bytes of the launch; NULL: 0. SIZE_MAX: does not fit */
  moon_kernel_fn run;
  bool in_place; /* element i of output 0 needs element i of each input and no other */
} moon_cpu_kernel;
#define MOON_CPU_KERNEL(op) const moon_cpu_kernel moon__cpu_plain_##op

/* The plain loop of an elementwise op over elements of a dtype (values of where), in elementwise.c; NULL where a row has none:
** y[i] = value(p[0][i * step[0]], ..) for i in [0, n), dense y, steps in elements. In place: element i is written after it was
** read. */
typedef void (*moon_cpu_loop_fn)(char *y, const char *const *p, const int64_t *step, int64_t n);
extern const moon_cpu_loop_fn moon__cpu_loops[MOON_ELEMENTWISE_COUNT][MOON_DTYPE_COUNT];

/* Fast kernels (fast.c, loop.c). Sets *found and fills choice when there is one for these operands. */
moon_status moon__cpu_fast_select(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                  const moon_array *out, int nout, moon_choice *choice, bool *found);
/* backend.h: select_product. */
moon_status moon__cpu_select_product(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                     const moon_array *product, const moon_epilogue *epilogue, const moon_array *out, int nout,
                                     moon_choice *choice);
/* backend.h: chains, select_chain. */
bool moon__cpu_chains(const moon_device *device, moon_node *const *products, int n);
moon_status moon__cpu_select_chain(moon_context *ctx, moon_device *device, const moon_link *links, int n, const moon_array *out,
                                   int nout, moon_choice *choice);
/* Is there a kernel for this composite as a whole? */
bool moon__cpu_fast_has(moon_device *device, const moon_node *node);
/* Could there be, whether or not it pays? */
bool moon__cpu_fast_can(moon_device *device, const moon_node *node);
extern const char moon__cpu_tuned[];                     /* rows that are shipped */
/* Measures, for about 0.2 s; in peak.c. */
moon_status moon__cpu_limits(moon_context *ctx, moon_device *device, moon_limits *limits);
moon_status moon__cpu_loop_select(moon_context *ctx, moon_device *device, const moon_loop *loop, moon_choice *choice);
#endif
