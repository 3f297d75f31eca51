/*
** fast.c: which fast kernel a node gets: a table of candidates per op, of which the first that fits the operands wins. What does
** not fit any keeps its plain kernel.
*/
#include "fast.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

typedef struct candidate {
  moon_op_id op;
  bool (*fits)(const moon_fast *f);
  moon_status (*plan)(const moon_fast *f, moon_choice *c);
  bool finishes; /* plan heeds f->epilogue */
} candidate;

static const candidate candidates[] = {
    {MOON_OP_matmul, moon__cpu_matmul_amx_fits, moon__cpu_matmul_amx_plan, true},
    {MOON_OP_matmul, moon__cpu_matmul_bf16_fits, moon__cpu_matmul_bf16_plan, true},
    {MOON_OP_matmul, moon__cpu_openblas_fits, moon__cpu_openblas_plan, true},
    {MOON_OP_matmul, moon__cpu_matmul_fits, moon__cpu_matmul_plan, true},
    {MOON_OP_matmul, moon__cpu_matmul_f64_fits, moon__cpu_matmul_f64_plan, false},
    {MOON_OP_conv_filter_grad, moon__cpu_filter_amx_fits, moon__cpu_filter_amx_plan, false},
    {MOON_OP_conv, moon__cpu_conv_fits, moon__cpu_conv_plan, true},
    {MOON_OP_conv_input_grad, moon__cpu_conv_fits, moon__cpu_conv_input_grad_plan, true},
    {MOON_OP_conv_filter_grad, moon__cpu_depthwise_filter_fits, moon__cpu_depthwise_filter_plan, false},
    {MOON_OP_conv_filter_grad, moon__cpu_conv_fits, moon__cpu_conv_filter_grad_plan, false},
    {MOON_OP_pack_filter, moon__cpu_pack_filter_fits, moon__cpu_pack_filter_plan, false},
    {MOON_OP_conv_packed, moon__cpu_conv_packed_fits, moon__cpu_conv_plan, true},
    {MOON_OP_winograd_filter, moon__cpu_winograd_filter_fits, moon__cpu_winograd_filter_plan, false},
    {MOON_OP_winograd_conv, moon__cpu_winograd_conv_fits, moon__cpu_winograd_conv_plan, true},
    {MOON_OP_winograd_input_grad, moon__cpu_winograd_conv_fits, moon__cpu_winograd_conv_plan, true},
    {MOON_OP_winograd_filter_grad, moon__cpu_winograd_grad_fits, moon__cpu_winograd_grad_plan, false},
    {MOON_OP_max_pool, moon__cpu_pool_fits, moon__cpu_max_pool_plan, false},
    {MOON_OP_max_pool_grad, moon__cpu_pool_fits, moon__cpu_max_pool_grad_plan, false},
    {MOON_OP_avg_pool, moon__cpu_pool_fits, moon__cpu_avg_pool_plan, false},
    {MOON_OP_avg_pool_grad, moon__cpu_pool_fits, moon__cpu_avg_pool_grad_plan, false},
    {MOON_OP_batch_moments, moon__cpu_batch_fits, moon__cpu_batch_plan, false},
    {MOON_OP_batch_sums, moon__cpu_batch_fits, moon__cpu_batch_plan, false},
    {MOON_OP_attention, moon__cpu_attention_fits, moon__cpu_attention_plan, false},
    {MOON_OP_attention_grad, moon__cpu_attention_fits, moon__cpu_attention_plan, false},
    {MOON_OP_softmax, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_log_softmax, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_layer_norm, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_rms_norm, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_layer_norm_grad, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_rms_norm_grad, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_softmax_cross_entropy, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_softmax_cross_entropy_grad, moon__cpu_rows_fits, moon__cpu_rows_plan, false},
    {MOON_OP_gather, moon__cpu_gather_fits, moon__cpu_gather_plan, false},
    {MOON_OP_scatter_add, moon__cpu_scatter_add_fits, moon__cpu_scatter_add_plan, false},
    {MOON_OP_sgd_update, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_sgd_updates, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_adam_update, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_adam_updates, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_rmsprop_update, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_rmsprop_updates, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_sum_squares, moon__cpu_update_fits, moon__cpu_update_plan, false},
    {MOON_OP_uniform, moon__cpu_random_fits, moon__cpu_random_plan, false},
    {MOON_OP_normal, moon__cpu_random_fits, moon__cpu_random_plan, false},
    {MOON_OP_bernoulli, moon__cpu_random_fits, moon__cpu_random_plan, false},
    {MOON_OP_lstm_sequence, moon__cpu_recurrent_fits, moon__cpu_recurrent_plan, false},
    {MOON_OP_lstm_sequence_grad, moon__cpu_recurrent_fits, moon__cpu_recurrent_plan, false},
    {MOON_OP_gru_sequence, moon__cpu_recurrent_fits, moon__cpu_recurrent_plan, false},
    {MOON_OP_gru_sequence_grad, moon__cpu_recurrent_fits, moon__cpu_recurrent_plan, false},
};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

static void free_state(moon_runtime *runtime, void *state) { moon__free(runtime, state); }

void *moon__fast_state(const moon_fast *f, moon_choice *c, size_t bytes) {
  c->state = moon__alloc(f->device->runtime, bytes);
  c->free_state = free_state;
  return c->state;
}

void moon__fast_phase(moon_choice *c, moon_kernel_fn run, int64_t njobs) {
  c->phase[c->nphases].run = run;
  c->phase[c->nphases++].njobs = njobs;
}

bool moon__fast_scratch(moon_choice *c, size_t *at, int64_t count, int64_t each) {
  int64_t bytes;
  size_t whole;
  *at = c->scratch_bytes;
  return moon__mul_i64(count, each, &bytes) && moon__align_size((size_t)bytes, 64, &whole) &&
         moon__add_size(c->scratch_bytes, whole, &c->scratch_bytes);
}

void moon__sum_parts(float *y, const float *parts, int64_t n, int64_t count, int64_t lo, int64_t hi) {
  if (lo >= hi) return;
  memcpy(y + lo, parts + lo, (size_t)(hi - lo) * sizeof *y);
  for (int64_t p = 1; p < n; p++) {
    const float *x = parts + p * count;
    for (int64_t i = lo; i < hi; i++) y[i] += x[i];
  }
}

static void run_nothing(const moon_call *call, int64_t first, int64_t last) { (void)call, (void)first, (void)last; }

static moon_status fail(const moon_fast *f, moon_choice *c, moon_status status) {
  if (c->state) c->free_state(f->device->runtime, c->state);
  memset(c, 0, sizeof *c);
  if (status == MOON_EMEMORY) return moon__fail_memory(f->ctx);
  if (status == MOON_EUNSUPPORTED) return status;
  return moon__fail_node(f->ctx, f->node, status, "its scratch memory is larger than the address space");
}

static moon_status plan(moon_fast *f, moon_choice *choice, bool *found) {
  *found = false;
  for (int i = 0; i < CANDIDATES; i++) {
    if (candidates[i].op != f->node->op->id || (f->epilogue && !candidates[i].finishes)) continue;
    if (!f->isa) f->isa = moon__cpu_isa();
    if (!candidates[i].fits(f)) continue;
    memset(choice, 0, sizeof *choice);
    moon_status status = candidates[i].plan(f, choice);
    if (status != MOON_OK) return fail(f, choice, status);
    if (choice->nphases == 0) moon__fast_phase(choice, run_nothing, 0);
    *found = true;
    return MOON_OK;
  }
  return MOON_OK;
}

moon_status moon__cpu_fast_select(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                  const moon_array *out, int nout, moon_choice *choice, bool *found) {
  moon_fast f = {.ctx = ctx, .device = device, .node = node, .in = in, .out = out, .nin = nin, .nout = nout};
  return plan(&f, choice, found);
}

moon_status moon__cpu_select_product(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                     const moon_array *product, const moon_epilogue *epilogue, const moon_array *out, int nout,
                                     moon_choice *choice) {
  moon_fast f = {.ctx = ctx, .device = device, .node = node, .in = in, .out = product, .nin = nin, .nout = 1, .epilogue = epilogue};
  bool found = false;
  (void)out, (void)nout; /* dense, as the loop's strides say */
  moon_status status = plan(&f, choice, &found);
  return status == MOON_OK && !found ? MOON_EUNSUPPORTED : status;
}

moon_status moon__cpu_select_chain(moon_context *ctx, moon_device *device, const moon_link *links, int n, const moon_array *out,
                                   int nout, moon_choice *choice) {
  moon_fast f = {.ctx = ctx, .device = device, .isa = moon__cpu_isa()};
  (void)out, (void)nout; /* dense, as the last loop's strides say */
  moon_status status = moon__cpu_chain_plan(&f, links, n, choice);
  f.node = links[n - 1].node;
  return status == MOON_OK ? MOON_OK : fail(&f, choice, status);
}

bool moon__cpu_fast_can(moon_device *device, const moon_node *node) {
  switch (node->op->id) {
    case MOON_OP_winograd_conv:
    case MOON_OP_winograd_input_grad: return moon__cpu_winograd_conv_can(node);
    case MOON_OP_winograd_filter_grad: return moon__cpu_winograd_grad_can(node);
    default: return moon__cpu_fast_has(device, node);
  }
}

bool moon__cpu_fast_has(moon_device *device, const moon_node *node) {
  (void)device;
  switch (node->op->id) {
    case MOON_OP_batch_moments:
    case MOON_OP_batch_sums: return moon__cpu_batch_has(node);
    case MOON_OP_matmul: return moon__cpu_matmul_bf16_has(node);
    case MOON_OP_pack_filter: return moon__cpu_pack_filter_has(node);
    case MOON_OP_conv_packed: return moon__cpu_conv_packed_has(node);
    case MOON_OP_winograd_filter: return moon__cpu_winograd_filter_has(node);
    case MOON_OP_winograd_conv:
    case MOON_OP_winograd_input_grad: return moon__cpu_winograd_conv_has(node);
    case MOON_OP_winograd_filter_grad: return moon__cpu_winograd_grad_has(node);
    default:
      return moon__cpu_rows_has(node) || moon__cpu_attention_has(node) || moon__cpu_recurrent_has(node) || moon__cpu_update_has(node);
  }
}
