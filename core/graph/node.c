/*
** node.c: building and freeing nodes. The one place where inputs are promoted and broadcast, types inferred, inline composites
** expanded and eager mode honoured. Nothing else allocates a node. A node is one block: itself, outputs, inputs, graphs, attrs.
*/
#include "graph/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "base/size.h"
#include "eager.h"
#include "graph/build.h"
#include "graph/graph.h"
#include "ops/attrs.h"
#include "tensor/tensor.h"

/* ---- Lifetime ---- */

moon_value *moon_value_retain(moon_value *v) {
  if (v) v->node->refs++;
  return v;
}

static void drop(moon_node *n, moon_node **dead) {
  if (n && --n->refs == 0) {
    n->next_dead = *dead;
    *dead = n;
  }
}

void moon_value_release(moon_value *v) {
  moon_node *dead = NULL;
  if (v) drop(v->node, &dead);
  while (dead) {
    moon_node *n = dead;
    moon_runtime *runtime = n->runtime;
    dead = n->next_dead;
    for (int i = 0; i < n->ninputs; i++) drop(n->inputs[i]->node, &dead);
    for (int i = 0; i < n->ngraphs; i++) moon_graph_release(n->graphs[i]);
    for (int i = 0; i < n->noutputs; i++) moon_tensor_release(n->outputs[i].tensor);
    moon_variable_release(n->variable);
    moon__free(runtime, n->name);
    moon__origin_release(runtime, n->origin);
    moon__free(runtime, n);
  }
}

/* ---- Looking at values ---- */

moon_dtype moon_value_dtype(const moon_value *v) { return v->type.dtype; }
const moon_shape *moon_value_shape(const moon_value *v) { return &v->type.shape; }
const char *moon_value_name(const moon_value *v) { return v->node->name ? v->node->name : ""; }
int moon_value_output_count(const moon_value *v) { return v->node->noutputs; }
moon_tensor *moon_value_tensor(const moon_value *v) { return v ? v->tensor : NULL; }
const char *moon__node_line(const moon_node *n) { return n->origin ? n->origin->line : ""; }
const char *moon__node_path(const moon_node *n) { return n->origin ? n->origin->path : ""; }

moon_value *moon_value_output(moon_value *v, int index) {
  return v && index >= 0 && index < v->node->noutputs ? &v->node->outputs[index] : NULL;
}

moon_status moon__fail_node(moon_context *ctx, const moon_node *n, moon_status status, const char *format, ...) {
  char text[MOON_ERROR_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return moon__fail_at(ctx, moon__node_line(n), status, "%s: %s", n->op->name, text);
}

moon_origin *moon__origin_swap(moon_context *ctx, moon_origin *origin) {
  moon_origin *before = ctx->borrowed;
  if (origin) ctx->borrowed = origin;
  return before;
}

/* ---- Preparing inputs ---- */

static moon_dtype raise_to_class(moon_dtype d, moon_dtype_class c) {
  switch (c) {
    case MOON_CLASS_FLOAT: return moon__dtype_is_float(d) ? d : MOON_DTYPE_f32;
    case MOON_CLASS_NUMBER: return d == MOON_DTYPE_bool ? MOON_DTYPE_i32 : d;
    case MOON_CLASS_BOOL: return MOON_DTYPE_bool;
    case MOON_CLASS_ANY: break;
  }
  return d;
}

/* Casts inputs [first, n) to their common dtype, raised to the class. */
static void promote(moon_context *ctx, moon_value **in, int first, int n, moon_dtype_class class_) {
  if (first >= n) return;
  moon_dtype d = in[first]->type.dtype;
  for (int i = first + 1; i < n; i++) d = moon_dtype_promote(d, in[i]->type.dtype);
  d = raise_to_class(d, class_);
  for (int i = first; i < n; i++) in[i] = moon__cast(ctx, in[i], d);
}

static moon_status broadcast(moon_context *ctx, const moon_op *op, moon_value **in, int n) {
  moon_shape shape = in[0]->type.shape;
  for (int i = 1; i < n; i++) {
    moon_status s = moon__shape_broadcast(ctx, op->name, &shape, &in[i]->type.shape, &shape);
    if (s != MOON_OK) return s;
  }
  for (int i = 0; i < n; i++) {
    /* A size that could not be compared is taken as equal and checked when it is bound: no node for it. */
    const moon_shape *a = &in[i]->type.shape;
    bool same = a->ndim == shape.ndim;
    for (int k = 0; same && k < a->ndim; k++) same = a->dim[k] == shape.dim[k] || (a->dim[k] != 1 && a->dim[k] != shape.dim[k]);
    if (!same) in[i] = moon__broadcast_to(ctx, in[i], &shape);
    if (!in[i]) return ctx->status;
  }
  return MOON_OK;
}

/* Promotion and broadcasting as the op's row says. in [n] is changed in place. */
static moon_status prepare(moon_context *ctx, const moon_op *op, moon_value **in, int n) {
  bool condition = op->kind == MOON_ELEMENTWISE && n == 3;
  if (op->kind == MOON_ELEMENTWISE) {
    if (condition) promote(ctx, in, 0, 1, MOON_CLASS_BOOL);
    promote(ctx, in, condition ? 1 : 0, n, (moon_dtype_class)op->dtype_class);
  } else if (op->inputs == MOON_INPUTS_PROMOTE) {
    promote(ctx, in, 0, n, MOON_CLASS_ANY);
  } else if (op->inputs == MOON_INPUTS_FLOAT) {
    promote(ctx, in, 0, n, MOON_CLASS_FLOAT);
  }
  for (int i = 0; i < n; i++) {
    if (!in[i]) return ctx->status;
  }
  return n > 1 && (op->kind == MOON_ELEMENTWISE || (op->flags & MOON_OPF_BROADCAST)) ? broadcast(ctx, op, in, n) : MOON_OK;
}

bool moon__trace_is_open(const moon_context *ctx, uint64_t trace) {
  bool open = trace == 0;
  for (int k = 0; !open && k < ctx->ntraces; k++) open = ctx->traces[k].id == trace;
  return open;
}

static moon_status check_inputs(moon_context *ctx, const moon_node_spec *spec) {
  const moon_op *op = spec->op;
  if (spec->ninputs < op->min_inputs || (op->max_inputs >= 0 && spec->ninputs > op->max_inputs) || spec->ninputs > MOON_MAX_INPUTS)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: takes %d%s inputs (%s), got %d", op->name, op->min_inputs,
                      op->max_inputs < 0 ? " or more" : op->max_inputs > op->min_inputs ? " or more optional" : "",
                      op->input_names ? op->input_names : "", spec->ninputs);
  for (int i = 0; i < spec->ninputs; i++) {
    bool open = spec->raw || ctx->compile_depth > 0 || moon__trace_is_open(ctx, spec->inputs[i]->node->trace);
    if (!open)
      return moon__fail(ctx, MOON_ESTATE,
                        "%s: input %d is a symbol of a trace that has ended; return it from the traced function, or keep numbers "
                        "in a variable (ml.variable)",
                        op->name, i + ctx->index_base);
  }
  return MOON_OK;
}

/* ---- Making the block ---- */

static size_t round_up(size_t n) { return (n + 15) & ~(size_t)15; }

static moon_node *allocate(moon_context *ctx, const moon_node_spec *spec, int noutputs) {
  const moon_op *op = spec->op;
  size_t head = round_up(sizeof(moon_node));
  size_t outputs = round_up((size_t)noutputs * sizeof(moon_value)); /* bounded by MOON_MAX_OUTPUTS */
  size_t inputs = round_up((size_t)spec->ninputs * sizeof(moon_value *));
  size_t graphs = round_up((size_t)spec->ngraphs * sizeof(moon_graph *));
  char *block = moon__alloc(ctx->runtime, head + outputs + inputs + graphs + op->attrs_bytes);
  if (!block) {
    moon__fail_memory(ctx);
    return NULL;
  }
  moon_node *n = (moon_node *)(void *)block;
  n->refs = 1;
  n->runtime = ctx->runtime;
  n->op = op;
  n->noutputs = noutputs;
  n->outputs = (moon_value *)(void *)(block + head);
  n->inputs = (moon_value **)(void *)(block + head + outputs);
  n->graphs = (moon_graph **)(void *)(block + head + outputs + inputs);
  n->attrs = op->attrs_bytes ? block + head + outputs + inputs + graphs : NULL;
  return n;
}

static uint64_t current_trace(const moon_context *ctx, const moon_node_spec *spec) {
  uint64_t trace = 0;
  if (!spec->raw) return ctx->ntraces ? ctx->traces[ctx->ntraces - 1].id : 0;
  for (int i = 0; i < spec->ninputs; i++) { /* passes: the youngest trace among the inputs */
    if (spec->inputs[i]->node->trace > trace) trace = spec->inputs[i]->node->trace;
  }
  return trace;
}

/* Fills a fresh node; from here on releasing it frees everything. */
static moon_status fill(moon_context *ctx, moon_node *n, const moon_node_spec *spec, const void *attrs, const moon_type *types) {
  for (int i = 0; i < n->noutputs; i++) n->outputs[i] = (moon_value){.node = n, .index = i, .type = types[i]};
  for (int i = 0; i < spec->ninputs; i++) n->inputs[i] = moon_value_retain(spec->inputs[i]);
  n->ninputs = spec->ninputs;
  for (int i = 0; i < spec->ngraphs; i++) n->graphs[i] = moon_graph_retain(spec->graphs[i]);
  n->ngraphs = spec->ngraphs;
  if (n->attrs) memcpy(n->attrs, attrs, n->op->attrs_bytes);
  if (spec->variable) n->variable = moon_variable_retain(spec->variable);
  if (spec->tensor) n->outputs[0].tensor = moon_tensor_retain(spec->tensor);
  if (spec->name && !(n->name = moon__strdup(ctx->runtime, spec->name))) return moon__fail_memory(ctx);
  n->origin = spec->origin ? moon__origin_retain(spec->origin) : moon__origin_current(ctx);
  if (!n->origin) return ctx->status;
  n->trace = current_trace(ctx, spec);
  n->id = moon__next_id(ctx->runtime);
  return MOON_OK;
}

/* ---- Inference ---- */

/* Types of a composite that has no rule of its own: those of its body. */
static moon_status infer_by_body(moon_context *ctx, moon_infer *f, moon_value *const *inputs) {
  moon_value *out[MOON_MAX_OUTPUTS] = {NULL};
  moon_body body = {.attrs = f->attrs, .n = f->ninputs, .noutputs = f->noutputs, .in = inputs, .out = out};
  int eager = ctx->eager_depth;
  ctx->eager_depth = 0; /* types only */
  moon_scope_open(ctx);
  moon_status s = f->op->build(ctx, &body);
  for (int i = 0; s == MOON_OK && i < f->noutputs; i++) {
    if (out[i]) f->out[i] = out[i]->type;
    else s = ctx->status != MOON_OK ? ctx->status : moon__fail(ctx, MOON_EINTERNAL, "%s: body left output %d out", f->op->name, i);
  }
  moon_scope_close(ctx);
  ctx->eager_depth = eager;
  return s;
}

/* May a value of type x be written to the variable? Sizes that are not known yet are checked again when they are. */
static moon_status check_assign(moon_context *ctx, const moon_variable *variable, const moon_type *x) {
  moon_type type = moon_variable_type(variable);
  char have[128], want[128];
  bool fits = x->shape.ndim == type.shape.ndim;
  for (int i = 0; fits && i < type.shape.ndim; i++) fits = moon__dim_may_equal(x->shape.dim[i], type.shape.dim[i]);
  if (fits && (!moon__dtype_is_float(x->dtype) || moon__dtype_is_float(type.dtype))) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "assign: variable '%s' is %s %s, got %s %s", moon_variable_name(variable),
                    moon_dtype_name(type.dtype), moon_shape_text(ctx->runtime, &type.shape, want, sizeof want),
                    moon_dtype_name(x->dtype), moon_shape_text(ctx->runtime, &x->shape, have, sizeof have));
}

/* No tensor is larger than an address space: plans add sizes of many without looking for overflow. */
#define MAX_BYTES ((int64_t)1 << 48)

static moon_status check_size(moon_context *ctx, const moon_op *op, const moon_type *type) {
  char text[256];
  int64_t count;
  if (!moon__shape_known(&type->shape)) return MOON_OK;
  if (moon__shape_count_known(&type->shape, &count) && count <= MAX_BYTES / (int64_t)moon_dtype_bytes(type->dtype)) return MOON_OK;
  return moon__fail(ctx, MOON_ESIZE, "%s: shape %s is too large", op->name,
                    moon_shape_text(ctx->runtime, &type->shape, text, sizeof text));
}

static moon_status infer(moon_context *ctx, const moon_node_spec *spec, void *attrs, moon_type *types, int *noutputs) {
  const moon_op *op = spec->op;
  if (spec->like) {
    *noutputs = spec->like->noutputs;
    for (int i = 0; i < *noutputs; i++) types[i] = spec->like->outputs[i].type;
    return MOON_OK;
  }
  moon_type in[MOON_MAX_INPUTS];
  for (int i = 0; i < spec->ninputs; i++) in[i] = spec->inputs[i]->type;
  moon_infer f = {.op = op, .ninputs = spec->ninputs, .in = in, .attrs = attrs, .ngraphs = spec->ngraphs, .graphs = spec->graphs,
                  .noutputs = op->noutputs, .out = types};
  if (spec->type) types[0] = *spec->type;
  else if (spec->tensor) types[0] = moon__tensor_type(spec->tensor);
  else if (spec->variable && spec->ninputs == 0) types[0] = moon_variable_type(spec->variable);
  else if (op->infer) {
    moon_status s = spec->variable ? check_assign(ctx, spec->variable, &in[0]) : MOON_OK;
    if (s == MOON_OK) s = op->infer(ctx, &f);
    if (s != MOON_OK) return s;
  }
  if (op->kind == MOON_COMPOSITE && !op->infer) {
    moon_status s = infer_by_body(ctx, &f, spec->inputs);
    if (s != MOON_OK) return s;
  }
  *noutputs = f.noutputs;
  for (int i = 0; i < f.noutputs; i++) {
    moon_status s = check_size(ctx, op, &types[i]);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}

/* ---- Building ---- */

static moon_value *expand_inline(moon_context *ctx, const moon_node_spec *spec, const void *attrs) {
  moon_value *out[MOON_MAX_OUTPUTS] = {NULL};
  moon_body body = {.attrs = attrs, .n = spec->ninputs, .noutputs = spec->op->noutputs, .in = spec->inputs, .out = out};
  return spec->op->build(ctx, &body) == MOON_OK ? out[0] : NULL;
}

static moon_value *build(moon_context *ctx, const moon_node_spec *spec, void *attrs) {
  const moon_op *op = spec->op;
  moon_type types[MOON_MAX_OUTPUTS];
  int noutputs = 0;
  if (!spec->like) memset(types, 0, (size_t)(op->noutputs > 0 ? op->noutputs : MOON_MAX_OUTPUTS) * sizeof *types);
  if (op->kind == MOON_INLINE) {
    moon_infer f = {.op = op, .ninputs = spec->ninputs, .attrs = attrs, .noutputs = op->noutputs, .out = types};
    moon_type in[MOON_MAX_INPUTS];
    for (int i = 0; i < spec->ninputs; i++) in[i] = spec->inputs[i]->type;
    f.in = in;
    if (op->infer && op->infer(ctx, &f) != MOON_OK) return NULL;
    return expand_inline(ctx, spec, attrs);
  }
  if (op->kind == MOON_STRUCTURED && op->build && !spec->raw) {
    moon_status earlier = ctx->status;
    ctx->status = MOON_OK;
    moon_value *adapted = expand_inline(ctx, spec, attrs);
    if (adapted) return adapted;
    if (ctx->status != MOON_OK) return NULL;
    ctx->status = earlier;
  }
  if (infer(ctx, spec, attrs, types, &noutputs) != MOON_OK) return NULL;
  if ((op->flags & MOON_OPF_RANDOM) && !spec->raw) {
    moon_random_attrs *random = attrs;
    if (random->stream == 0) random->stream = moon__next_stream(ctx);
  }
  moon_node *n = allocate(ctx, spec, noutputs);
  if (!n) return NULL;
  moon_status s = fill(ctx, n, spec, attrs, types);
  if (s == MOON_OK && ctx->eager_depth > 0 && ctx->compile_depth == 0 && !spec->raw) s = moon__eager_compute(ctx, n);
  if (s == MOON_OK && !moon__scope_add(ctx, &n->outputs[0])) s = moon__fail_memory(ctx);
  if (s != MOON_OK) {
    moon_value_release(&n->outputs[0]);
    return NULL;
  }
  return &n->outputs[0];
}

moon_value *moon__node_build(moon_context *ctx, const moon_node_spec *spec) {
  const moon_op *op = spec->op;
  /* Attributes are at most a few hundred bytes: the structs of attrs.h. */
  _Alignas(16) char attrs[1024];
  moon_value *in[MOON_MAX_INPUTS];
  moon_node_spec ready = *spec;
  for (int i = 0; i < spec->ninputs; i++) {
    if (!spec->inputs[i]) return NULL;
  }
  if (op->attrs_bytes > sizeof attrs) {
    moon__fail(ctx, MOON_EINTERNAL, "%s: attributes too large", op->name);
    return NULL;
  }
  if (spec->attrs && op->attrs_bytes) memcpy(attrs, spec->attrs, op->attrs_bytes);
  else moon__attrs_default(op, attrs);
  moon_origin *before = moon__origin_swap(ctx, spec->origin);
  moon_value *v = NULL;
  if (check_inputs(ctx, spec) == MOON_OK) {
    if (spec->ninputs) memcpy(in, spec->inputs, (size_t)spec->ninputs * sizeof *in);
    ready.inputs = in;
    if (spec->raw || prepare(ctx, op, in, spec->ninputs) == MOON_OK) v = build(ctx, &ready, attrs);
  }
  ctx->borrowed = before;
  return v;
}

moon_value *moon__apply(moon_context *ctx, moon_op_id op, const void *attrs, int ninputs, moon_value *const *inputs) {
  moon_node_spec spec = {.op = moon__ops[op], .attrs = attrs, .ninputs = ninputs, .inputs = inputs};
  return moon__node_build(ctx, &spec);
}

/* ---- The public builders ---- */

static bool good_name(const char *name) { return name && *name && strlen(name) < 256; }

moon_value *moon_input(moon_context *ctx, const char *name, moon_dtype dtype, int ndim, const moon_dim *shape) {
  if (!good_name(name) || ndim < 0 || ndim > MOON_MAX_DIMS || (ndim && !shape) || (unsigned)dtype >= MOON_DTYPE_COUNT) {
    moon__fail(ctx, MOON_EARGUMENT, "input: needs a name, a dtype and 0 to %d sizes", MOON_MAX_DIMS);
    return NULL;
  }
  for (int i = 0; i < ndim; i++) {
    char text[64];
    if (shape[i] == MOON_DIM_ERROR || (shape[i] < 0 && shape[i] >= -MOON_MAX_DIMS)) {
      moon__fail(ctx, MOON_ESIZE, "input '%s': size of axis %d must be 0 or more, or an unknown, got %s", name, i + ctx->index_base,
                 shape[i] == MOON_DIM_ERROR ? "an error" : (snprintf(text, sizeof text, "%lld", (long long)shape[i]), text));
      return NULL;
    }
  }
  moon_type type = {.dtype = dtype, .shape = moon__shape(ndim, shape)};
  moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = name, .type = &type};
  return moon__node_build(ctx, &spec);
}

moon_value *moon_constant(moon_context *ctx, moon_tensor *t) {
  if (!t) return NULL;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_constant], .tensor = t};
  moon_value *v = moon__node_build(ctx, &spec);
  if (v) t->storage->frozen = true;
  return v;
}

moon_value *moon_scalar(moon_context *ctx, moon_dtype dtype, double x) {
  moon_tensor *t = moon_tensor_new(ctx, dtype, 0, NULL);
  if (!t) return NULL;
  moon_value *v = NULL;
  if (moon_tensor_write(ctx, t, MOON_DTYPE_f64, &x, sizeof x) == MOON_OK) v = moon_constant(ctx, t);
  moon_tensor_release(t);
  return v;
}

moon_value *moon_variable_value(moon_context *ctx, moon_variable *variable) {
  if (!variable) return NULL;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_variable], .variable = variable};
  return moon__node_build(ctx, &spec);
}

moon_value *moon_assign(moon_context *ctx, moon_variable *variable, moon_value *x) {
  if (!variable || !x) return NULL;
  if (check_assign(ctx, variable, &x->type) != MOON_OK) return NULL;
  x = moon__cast(ctx, x, moon_variable_type(variable).dtype);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_assign], .ninputs = 1, .inputs = &x, .variable = variable};
  return moon__node_build(ctx, &spec);
}

moon_value *moon_assign_training(moon_context *ctx, moon_variable *variable, moon_value *x) {
  if (!variable || !x || check_assign(ctx, variable, &x->type) != MOON_OK) return NULL;
  moon_value *sides[] = {moon__cast(ctx, x, moon_variable_type(variable).dtype), moon_variable_value(ctx, variable)};
  return moon_assign(ctx, variable, sides[0] && sides[1] ? moon__apply(ctx, MOON_OP_mode, NULL, 2, sides) : NULL);
}

moon_value *moon_apply(moon_context *ctx, const char *name, const char *attrs_text, int ninputs, moon_value *const *inputs) {
  const moon_op *op = name ? moon__op_find(name) : NULL;
  _Alignas(16) char attrs[1024];
  if (!op || ninputs < 0) {
    moon__fail(ctx, MOON_EARGUMENT, "op: there is no op '%s'", name ? name : "(null)");
    return NULL;
  }
  if (op->id == MOON_OP_input || op->id == MOON_OP_constant || op->id == MOON_OP_variable || op->id == MOON_OP_assign) {
    moon__fail(ctx, MOON_EARGUMENT, "op: '%s' has a function of its own (moon_%s)", name,
               op->id == MOON_OP_variable ? "variable_value" : name);
    return NULL;
  }
  if (op->attrs_bytes > sizeof attrs) return NULL;
  moon__attrs_default(op, attrs);
  if (attrs_text && moon__attrs_parse(ctx, op, attrs_text, strlen(attrs_text), attrs) != MOON_OK) return NULL;
  return moon__apply(ctx, op->id, attrs, ninputs, inputs);
}

moon_value *moon_apply1(moon_context *ctx, const char *name, const char *attrs, moon_value *a) {
  return a ? moon_apply(ctx, name, attrs, 1, &a) : NULL;
}
moon_value *moon_apply2(moon_context *ctx, const char *name, const char *attrs, moon_value *a, moon_value *b) {
  moon_value *in[] = {a, b};
  return moon_apply(ctx, name, attrs, 2, in);
}
moon_value *moon_apply3(moon_context *ctx, const char *name, const char *attrs, moon_value *a, moon_value *b, moon_value *c) {
  moon_value *in[] = {a, b, c};
  return moon_apply(ctx, name, attrs, 3, in);
}

/* ---- Traces and eager mode ---- */

moon_status moon_trace_begin(moon_context *ctx) {
  if (!MOON_RESERVE(ctx->runtime, ctx->traces, ctx->trace_capacity, ctx->ntraces + 1)) return moon__fail_memory(ctx);
  uint64_t id = moon__next_id(ctx->runtime);
  ctx->traces[ctx->ntraces++] = (moon_trace){.id = id, .first_node_id = id + 1, .next_stream = 1};
  return MOON_OK;
}

void moon_trace_end(moon_context *ctx) {
  if (ctx->ntraces) ctx->ntraces--;
}

void moon_eager_push(moon_context *ctx) { ctx->eager_depth++; }
void moon_eager_pop(moon_context *ctx) {
  if (ctx->eager_depth) ctx->eager_depth--;
}
