/* body.c: see body.h. */
#include "passes/body.h"

#include "ops/attrs.h"
#include "tensor/tensor.h"

moon_status moon__pass_bodies(moon_pass_env *env, moon_graph *(*pass)(moon_pass_env *, moon_graph *), const moon_node *node,
                              moon_value *const *in, moon_value **out) {
  moon_graph *graphs[4] = {NULL};
  bool changed = false;
  moon_status s = MOON_OK;
  if (!node->ngraphs || node->op->id == MOON_OP_loop) return MOON_OK;
  if (node->ngraphs > 4) return moon__fail_node(env->ctx, node, MOON_EINTERNAL, "has %d bodies", node->ngraphs);
  for (int i = 0; s == MOON_OK && i < node->ngraphs; i++) {
    graphs[i] = pass(env, node->graphs[i]);
    if (!graphs[i]) s = env->ctx->status;
    changed |= graphs[i] != node->graphs[i];
  }
  if (s == MOON_OK && changed) {
    moon_node_spec spec = {.op = node->op, .attrs = node->attrs, .ninputs = node->ninputs, .inputs = in, .ngraphs = node->ngraphs,
                           .graphs = graphs, .origin = node->origin, .raw = true};
    moon_value *v = moon__node_build(env->ctx, &spec);
    if (!v) s = env->ctx->status;
    for (int i = 0; v && i < node->noutputs; i++) out[i] = moon__output(v, i);
  }
  for (int i = 0; i < node->ngraphs; i++) moon_graph_release(graphs[i]);
  return s;
}

bool moon__is_number(const moon_value *v, double *x) {
  while (v->node->op->id == MOON_OP_broadcast_to || v->node->op->id == MOON_OP_reshape) v = v->node->inputs[0];
  if (v->node->op->id == MOON_OP_full) {
    *x = ((const moon_full_attrs *)v->node->attrs)->value;
    return true;
  }
  const moon_tensor *t = v->node->op->id == MOON_OP_constant ? v->tensor : NULL;
  if (!t || moon_tensor_count(t) != 1 || !t->storage->data) return false;
  const int64_t zero[MOON_MAX_DIMS] = {0};
  if (t->dtype == MOON_DTYPE_i64) {
    int64_t i = moon__element_get_i64(t, zero);
    if (i > ((int64_t)1 << 53) || i < -((int64_t)1 << 53)) return false;
  }
  *x = moon__element_get(t, zero);
  return true;
}
