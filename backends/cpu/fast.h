/*
** fast.h: what the files of fast kernels offer to fast.c: for each kernel a predicate that tells whether it fits some operands, and
** a planner that fills a choice for operands that fit.
*/
#ifndef MOON_FAST_H
#define MOON_FAST_H
#include "cpu.h"
#include "isa.h"

/* The operands a kernel is asked for. */
typedef struct moon_fast {
  moon_context *ctx;
  moon_device *device;
  const moon_node *node;
  const moon_array *in, *out; /* data is NULL; shapes and strides are final; outputs are dense unless a choice offered to order them */
  int nin, nout;
  moon_isa isa;
  const moon_epilogue *epilogue; /* a product that a loop finishes (epilogue.h); `out` is the product's result then. Else NULL */
} moon_fast;

/* Gives the choice a zeroed state, freed with it. NULL: memory is out. */
void *moon__fast_state(const moon_fast *f, moon_choice *c, size_t bytes);
/* Appends a phase. */
void moon__fast_phase(moon_choice *c, moon_kernel_fn run, int64_t njobs);
/* Adds count * each bytes, from *at on, to the scratch memory. False: larger than the address space. */
bool moon__fast_scratch(moon_choice *c, size_t *at, int64_t count, int64_t each);
/* y[i] = parts[0][i] + parts[1][i] + ..., in order, for i in [lo, hi); parts [n][count]. */
void moon__sum_parts(float *y, const float *parts, int64_t n, int64_t count, int64_t lo, int64_t hi);

/* Planners give MOON_OK, MOON_EMEMORY, or MOON_ESIZE when scratch memory is larger than the address space, or
** MOON_EUNSUPPORTED for an epilogue they cannot run; a choice without phases
** has nothing to compute. */
bool moon__cpu_openblas_fits(const moon_fast *f); /* f32 and f64 */
moon_status moon__cpu_openblas_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_matmul_fits(const moon_fast *f);
moon_status moon__cpu_matmul_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_matmul_amx_pays(int64_t m, int64_t n, int64_t k); /* and the machine can */
bool moon__cpu_matmul_amx_fits(const moon_fast *f);              /* f32, and bf16 with f32 sums; many rows */
moon_status moon__cpu_matmul_amx_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_matmul_bf16_has(const moon_node *node);
bool moon__cpu_matmul_bf16_fits(const moon_fast *f); /* few rows, with f32 sums */
moon_status moon__cpu_matmul_bf16_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_matmul_f64_fits(const moon_fast *f);
moon_status moon__cpu_matmul_f64_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_conv_amx_wins(const moon_node *node); /* a conv whose window is one place, as the matmul that core/passes makes of it */
bool moon__cpu_filter_amx_fits(const moon_fast *f);  /* and the gradient of its filter */
moon_status moon__cpu_filter_amx_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_conv_fits(const moon_fast *f); /* all three of them */
moon_status moon__cpu_conv_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_conv_input_grad_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_conv_filter_grad_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_chain_plan(moon_fast *f, const moon_link *links, int n, moon_choice *c); /* f: without operands */
bool moon__cpu_depthwise_filter_fits(const moon_fast *f);
moon_status moon__cpu_depthwise_filter_plan(const moon_fast *f, moon_choice *c);
/* Composites that stay nodes where it pays. has: without looking at strides. */
bool moon__cpu_pack_filter_has(const moon_node *node);
bool moon__cpu_pack_filter_fits(const moon_fast *f);
moon_status moon__cpu_pack_filter_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_conv_packed_has(const moon_node *node);
bool moon__cpu_conv_packed_fits(const moon_fast *f);
bool moon__cpu_winograd_filter_has(const moon_node *node);
bool moon__cpu_winograd_filter_fits(const moon_fast *f);
moon_status moon__cpu_winograd_filter_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_winograd_conv_has(const moon_node *node); /* and winograd_input_grad */
bool moon__cpu_winograd_conv_can(const moon_node *node); /* whether or not it pays */
bool moon__cpu_winograd_conv_fits(const moon_fast *f);
moon_status moon__cpu_winograd_conv_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_winograd_grad_has(const moon_node *node);
bool moon__cpu_winograd_grad_can(const moon_node *node);
bool moon__cpu_winograd_grad_fits(const moon_fast *f);
moon_status moon__cpu_winograd_grad_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_batch_has(const moon_node *node); /* batch_moments and batch_sums */
bool moon__cpu_batch_fits(const moon_fast *f);
moon_status moon__cpu_batch_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_pool_fits(const moon_fast *f); /* all four of them */
moon_status moon__cpu_max_pool_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_max_pool_grad_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_avg_pool_plan(const moon_fast *f, moon_choice *c);
moon_status moon__cpu_avg_pool_grad_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_attention_has(const moon_node *node);
bool moon__cpu_attention_fits(const moon_fast *f); /* and its gradient */
moon_status moon__cpu_attention_plan(const moon_fast *f, moon_choice *c);
/* Composites that work row by row. has: without looking at strides, which do not matter. */
bool moon__cpu_rows_has(const moon_node *node);
bool moon__cpu_rows_fits(const moon_fast *f);
moon_status moon__cpu_rows_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_random_fits(const moon_fast *f);
moon_status moon__cpu_random_plan(const moon_fast *f, moon_choice *c);
/* Rows of a table: gather and scatter_add along the first axis. */
bool moon__cpu_gather_fits(const moon_fast *f);
moon_status moon__cpu_gather_plan(const moon_fast *f, moon_choice *c);
bool moon__cpu_scatter_add_fits(const moon_fast *f);
moon_status moon__cpu_scatter_add_plan(const moon_fast *f, moon_choice *c);
/* Optimizer updates, of one weight or many, and the sum of squares of many tensors. */
bool moon__cpu_update_has(const moon_node *node);
bool moon__cpu_update_fits(const moon_fast *f);
moon_status moon__cpu_update_plan(const moon_fast *f, moon_choice *c);
/* Sequences of LSTM and GRU, forward and back. */
bool moon__cpu_recurrent_has(const moon_node *node);
bool moon__cpu_recurrent_fits(const moon_fast *f);
moon_status moon__cpu_recurrent_plan(const moon_fast *f, moon_choice *c);
#endif
