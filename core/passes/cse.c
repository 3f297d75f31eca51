/*
** cse.c: nodes that compute the same from the same become one. Random nodes and effects never merge; nor do nodes with bodies,
** unless they share them. Constants merge when they are small and equal in every byte.
*/
#include <string.h>

#include "base/alloc.h"
#include "passes/body.h"
#include "tensor/tensor.h"

#define CONSTANT_BYTES 256

typedef struct table {
  moon_pass_env *env;
  uint64_t *hashes;
  moon_value **values; /* [capacity], NULL: free */
  int capacity;        /* a power of two, never full */
} table;

static bool mergeable(const moon_node *n) {
  if (n->op->flags & (MOON_OPF_RANDOM | MOON_OPF_EFFECT)) return false;
  if (n->op->id == MOON_OP_input || n->op->id == MOON_OP_call) return false;
  if (n->op->id != MOON_OP_constant) return true;
  const moon_tensor *t = n->outputs[0].tensor;
  return t && moon_tensor_is_dense(t) && t->storage->data && moon_tensor_bytes(t) <= CONSTANT_BYTES;
}

static uint64_t hash_node(const moon_node *n, moon_value *const *in) {
  uint64_t h = moon__attrs_hash(n->op, n->attrs, (uint64_t)n->op->id + 1);
  if (n->ninputs) h = moon__hash_bytes(h, in, (size_t)n->ninputs * sizeof *in);
  h = moon__hash_bytes(h, &n->variable, sizeof n->variable);
  if (n->op->id == MOON_OP_constant)
    h = moon__hash_bytes(h, moon_tensor_data(n->outputs[0].tensor), moon_tensor_bytes(n->outputs[0].tensor));
  return h;
}

static bool same_types(const moon_node *a, const moon_node *b) {
  if (a->noutputs != b->noutputs) return false;
  for (int i = 0; i < a->noutputs; i++) {
    const moon_type *x = &a->outputs[i].type, *y = &b->outputs[i].type;
    if (x->dtype != y->dtype || x->shape.ndim != y->shape.ndim) return false;
    if (memcmp(x->shape.dim, y->shape.dim, (size_t)x->shape.ndim * sizeof *x->shape.dim) != 0) return false;
  }
  return true;
}

static bool same(const moon_node *a, const moon_node *b, moon_value *const *b_in) {
  if (a->op != b->op || a->ninputs != b->ninputs || a->variable != b->variable || a->ngraphs != b->ngraphs) return false;
  for (int i = 0; i < a->ninputs; i++) {
    if (a->inputs[i] != b_in[i]) return false;
  }
  for (int i = 0; i < a->ngraphs; i++) {
    if (a->graphs[i] != b->graphs[i]) return false;
  }
  if (!same_types(a, b) || !moon__attrs_equal(a->op, a->attrs, b->attrs)) return false;
  if (a->op->id != MOON_OP_constant) return true;
  return memcmp(moon_tensor_data(a->outputs[0].tensor), moon_tensor_data(b->outputs[0].tensor),
                moon_tensor_bytes(a->outputs[0].tensor)) == 0;
}

static moon_status visit(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  table *t = r->user;
  moon_status s = moon__pass_bodies(t->env, moon__pass_cse, n, in, out);
  if (s != MOON_OK || out[0] || !mergeable(n)) return s;
  uint64_t h = hash_node(n, in);
  int at = (int)(h & (uint64_t)(t->capacity - 1));
  for (; t->values[at]; at = (at + 1) & (t->capacity - 1)) {
    moon_node *seen = t->values[at]->node;
    if (t->hashes[at] != h || !same(seen, n, in)) continue;
    for (int i = 0; i < n->noutputs; i++) out[i] = &seen->outputs[i];
    return MOON_OK;
  }
  /* The node as it will stand in the new graph: with its replaced inputs. */
  moon_node *made = moon__rewrite_inputs(r, (moon_node *)(uintptr_t)n, in);
  if (!made) return r->ctx->status;
  for (int i = 0; i < n->noutputs; i++) out[i] = &made->outputs[i];
  t->hashes[at] = h;
  t->values[at] = made->outputs;
  return MOON_OK;
}

moon_graph *moon__pass_cse(moon_pass_env *env, moon_graph *g) {
  table t = {.env = env, .capacity = 16};
  while (t.capacity < 2 * g->nnodes + 2) t.capacity *= 2;
  t.hashes = moon__alloc_array(env->ctx->runtime, (size_t)t.capacity, sizeof *t.hashes);
  t.values = moon__alloc_array(env->ctx->runtime, (size_t)t.capacity, sizeof *t.values);
  moon_rewriter r = {.ctx = env->ctx, .visit = visit, .user = &t, .own = env->own};
  moon_graph *made = NULL;
  if (t.hashes && t.values) made = moon__rewrite(&r, g);
  else moon__fail_memory(env->ctx);
  moon__free(env->ctx->runtime, t.hashes);
  moon__free(env->ctx->runtime, t.values);
  return made;
}
