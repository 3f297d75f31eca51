/*
** eager.c: see eager.h. The key of a program is the op, its attributes (a random stream aside: it is given when the program runs)
** and the types of its inputs. Nodes with bodies are compiled each time.
*/
#include "eager.h"

#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/shape.h"
#include "graph/graph.h"
#include "ops/attrs.h"
#include "program.h"
#include "tensor/variable.h"

#define SLOTS 1024 /* a power of two; at half full the cache starts again */

typedef struct slot {
  uint64_t hash;
  moon_program *program; /* NULL: free */
  moon_node *node;       /* retained: the op, attributes and types that the program was made for */
} slot;

struct moon_eager_cache {
  int n;
  slot slots[SLOTS];
};

static void empty(moon_eager_cache *c) {
  for (int i = 0; i < SLOTS; i++) {
    if (!c->slots[i].program) continue;
    moon_program_release(c->slots[i].program);
    moon_value_release(&c->slots[i].node->outputs[0]);
    c->slots[i] = (slot){0};
  }
  c->n = 0;
}

void moon__eager_cache_free(moon_context *ctx) {
  if (!ctx->eager_cache) return;
  empty(ctx->eager_cache);
  moon__free(ctx->runtime, ctx->eager_cache);
  ctx->eager_cache = NULL;
}

/* ---- Keys ---- */

static uint64_t hash_node(const moon_node *n, const void *attrs, const moon_device *device) {
  uint64_t h = moon__attrs_hash(n->op, attrs, (uint64_t)n->op->id + 1);
  h = moon__hash_bytes(h, &device, sizeof device);
  for (int i = 0; i < n->ninputs; i++) {
    const moon_type *t = &n->inputs[i]->type;
    h = moon__hash_bytes(h, &t->dtype, sizeof t->dtype);
    h = moon__hash_bytes(h, t->shape.dim, (size_t)t->shape.ndim * sizeof *t->shape.dim);
  }
  return h;
}

static bool same(const slot *s, const moon_node *n, const void *attrs, const moon_device *device) {
  const moon_node *o = s->node;
  if (o->op != n->op || o->ninputs != n->ninputs || s->program->device != device || !moon__attrs_equal(n->op, o->attrs, attrs))
    return false;
  for (int i = 0; i < n->ninputs; i++) {
    const moon_type *a = &o->inputs[i]->type, *b = &n->inputs[i]->type;
    if (a->dtype != b->dtype || !moon__shape_equal(&a->shape, &b->shape)) return false;
  }
  return true;
}

/* ---- Compiling one node ---- */

/* The node over inputs of its own, and the graph around it. */
static moon_graph *graph_of(moon_context *ctx, const moon_node *n, const void *attrs, moon_value **copy) {
  moon_value *in[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS];
  for (int i = 0; i < n->ninputs; i++) {
    moon_type type = n->inputs[i]->type;
    if (!moon__shape_known(&type.shape)) type = moon__tensor_type(n->inputs[i]->tensor);
    moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = "x", .type = &type, .origin = n->origin, .raw = true};
    in[i] = moon__node_build(ctx, &spec);
    if (!in[i]) return NULL;
  }
  moon_node_spec spec = {.op = n->op, .attrs = attrs, .ninputs = n->ninputs, .inputs = in, .ngraphs = n->ngraphs,
                         .graphs = n->graphs, .origin = n->origin, .raw = true};
  *copy = moon__node_build(ctx, &spec);
  if (!*copy) return NULL;
  for (int i = 0; i < n->noutputs; i++) out[i] = moon__output(*copy, i);
  return moon__graph_make(ctx, n->ninputs, in, n->noutputs, out, 0, NULL);
}

static moon_program *compile(moon_context *ctx, const moon_node *n, const void *attrs, moon_value **copy) {
  moon_type types[MOON_MAX_INPUTS];
  moon_graph *g = graph_of(ctx, n, attrs, copy);
  if (!g) return NULL;
  for (int i = 0; i < n->ninputs; i++) types[i] = (*copy)->node->inputs[i]->type;
  /* One node has nothing to fold or merge; folding itself computes nodes this way and must not come back here. */
  const moon_compile_options options = {.passes_off = "fold,cse,dce,layout"};
  moon_program *p = moon__program_make(ctx, g, types, &options);
  moon_graph_release(g);
  return p;
}

/* A program for n, from the cache if it can be there. Caller releases it. */
static moon_program *program_of(moon_context *ctx, const moon_node *n, const void *attrs) {
  moon_device *device = moon_device_get(ctx);
  moon_eager_cache *c = ctx->eager_cache;
  moon_value *copy = NULL;
  if (!device) return NULL;
  if (!c && !(c = ctx->eager_cache = moon__alloc(ctx->runtime, sizeof *c))) {
    moon__fail_memory(ctx);
    return NULL;
  }
  if (n->ngraphs) return compile(ctx, n, attrs, &copy);
  uint64_t h = hash_node(n, attrs, device);
  int at = (int)(h & (SLOTS - 1));
  for (; c->slots[at].program; at = (at + 1) & (SLOTS - 1)) {
    if (c->slots[at].hash == h && same(&c->slots[at], n, attrs, device)) return moon_program_retain(c->slots[at].program);
  }
  moon_program *p = compile(ctx, n, attrs, &copy);
  if (!p) return NULL;
  if (c->n >= SLOTS / 2) {
    empty(c);
    at = (int)(h & (SLOTS - 1));
  }
  while (c->slots[at].program) at = (at + 1) & (SLOTS - 1); /* compiling may have added others */
  c->slots[at] = (slot){.hash = h, .program = moon_program_retain(p), .node = copy->node};
  moon_value_retain(copy);
  c->n++;
  return p;
}

/* ---- Computing ---- */

/* Values that pass through, leaves, and effects need no program. true: done (or failed). */
static bool compute_simple(moon_context *ctx, moon_node *n, moon_status *s) {
  moon_value *y = &n->outputs[0];
  *s = MOON_OK;
  switch (n->op->id) {
    case MOON_OP_input: return true;
    case MOON_OP_constant: return true;
    case MOON_OP_variable:
      y->tensor = moon_tensor_retain(n->variable->tensor); /* writing a variable that someone holds makes a copy first */
      return true;
    case MOON_OP_assign:
      *s = moon_variable_write(ctx, n->variable, n->inputs[0]->tensor);
      y->tensor = moon_tensor_retain(n->inputs[0]->tensor);
      return true;
    case MOON_OP_mode: /* outside a program there is no training */
      y->tensor = moon_tensor_retain(n->inputs[1]->tensor);
      return true;
    case MOON_OP_depend:
    case MOON_OP_stop_gradient: y->tensor = moon_tensor_retain(n->inputs[0]->tensor); return true;
    default: return false;
  }
}

static moon_status compute(moon_context *ctx, moon_node *n) {
  _Alignas(16) char attrs[1024];
  moon_tensor *in[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS] = {NULL};
  int64_t stream = 0;
  if (n->attrs) memcpy(attrs, n->attrs, n->op->attrs_bytes);
  if (n->op->flags & MOON_OPF_RANDOM) {
    stream = ((moon_random_attrs *)(void *)attrs)->stream;
    ((moon_random_attrs *)(void *)attrs)->stream = 0;
  }
  for (int i = 0; i < n->ninputs; i++) in[i] = n->inputs[i]->tensor;
  moon_program *p = program_of(ctx, n, attrs);
  if (!p) return ctx->status;
  moon_status s = moon__program_run(ctx, p, in, out, ctx->eager_step, stream);
  moon_program_release(p);
  for (int i = 0; i < n->noutputs; i++) n->outputs[i].tensor = out[i];
  return s;
}

moon_status moon__eager_compute(moon_context *ctx, moon_node *n) {
  moon_status s;
  for (int i = 0; i < n->ninputs; i++) {
    if (!n->inputs[i]->tensor) return MOON_OK;
  }
  if (compute_simple(ctx, n, &s)) return s;
  for (int i = 0; i < n->noutputs; i++) {
    if (!moon__shape_known(&n->outputs[i].type.shape)) return MOON_OK; /* made of unknown sizes: stays symbolic */
  }
  moon_scope_open(ctx);
  s = compute(ctx, n);
  moon_scope_close(ctx);
  return s;
}
