/*
** leaf.c: ops that carry, hold or hand on values without computing numbers: input, constant, variable and assign; depend, mode,
** stop_gradient, copy and cast; call and loop, whose bodies are graphs. Their numbers and variables are members of the node, not
** attributes. Invariant: outputs of call and loop have the types of their body's outputs.
*/
#include "autodiff.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "graph/graph.h"
#include "ops/attrs.h"

/* Hands the gradient on as it is. */
static moon_status grad_pass(moon_context *ctx, const moon_grad *g) {
  (void)ctx;
  g->dx[0] = g->dy[0];
  return MOON_OK;
}

static moon_status grad_none(moon_context *ctx, const moon_grad *g) {
  (void)ctx, (void)g;
  return MOON_OK;
}

static bool view_same(const moon_node *node, const moon_view *x, moon_view *y) {
  (void)node;
  *y = *x;
  return true;
}

/* ---- Where graphs begin; the builder gives these their types ---- */

MOON_OP(input) = {MOON_OP_HEAD(input), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL, .noutputs = 1,
                  .doc = "What a graph is called with: () -> the type it was made with."};
MOON_OP(constant) = {MOON_OP_HEAD(constant), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL, .noutputs = 1,
                     .doc = "Numbers known when the graph is built: () -> the type of its tensor."};
MOON_OP(variable) = {MOON_OP_HEAD(variable), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL, .noutputs = 1,
                     .doc = "Reads a variable, as the assigns built before left it: () -> the variable's type."};

/* ---- Effects and order ---- */

MOON_OP(assign) = {MOON_OP_HEAD(assign), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL | MOON_OPF_EFFECT,
                   .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x", .infer = moon__infer_same, .grad = grad_pass,
                   .doc = "Writes x into a variable when the run ends: x [..] -> x."};
MOON_OP(depend) = {MOON_OP_HEAD(depend), .kind = MOON_STRUCTURED, .flags = MOON_OPF_INTERNAL | MOON_OPF_VIEW, .min_inputs = 1,
                   .max_inputs = -1, .noutputs = 1, .input_names = "x, effects...", .infer = moon__infer_same, .grad = grad_pass,
                   .view = view_same, .doc = "x, and the effects with it: x [..], effects... -> x."};

/* ---- The same value ---- */

MOON_OP(stop_gradient) = {MOON_OP_HEAD(stop_gradient), .kind = MOON_STRUCTURED, .flags = MOON_OPF_VIEW, .min_inputs = 1,
                          .max_inputs = 1, .noutputs = 1, .input_names = "x", .infer = moon__infer_same, .grad = grad_none,
                          .view = view_same, .doc = "x, taken as a constant by gradients: x [..] -> [..]."};
MOON_OP(copy) = {MOON_OP_HEAD(copy), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL,
                 .min_inputs = 1, .max_inputs = 1, .noutputs = 1, .input_names = "x", .infer = moon__infer_same, .grad = grad_pass,
                 .doc = "x in memory of its own, row after row: x [..] -> [..]."};

/* ---- cast ---- */

static moon_status infer_cast(moon_context *ctx, moon_infer *f) {
  const moon_cast_attrs *a = f->attrs;
  if (a->dtype < 0 || a->dtype >= MOON_DTYPE_COUNT) return moon__fail(ctx, MOON_EDTYPE, "cast: dtype must be given");
  f->out[0] = (moon_type){.dtype = (moon_dtype)a->dtype, .shape = f->in[0].shape};
  return MOON_OK;
}

static moon_status grad_cast(moon_context *ctx, const moon_grad *g) {
  moon_dtype x = g->x[0]->type.dtype;
  if (!g->dy[0] || !moon__dtype_is_float(x) || !moon__dtype_is_float(g->y[0]->type.dtype)) return MOON_OK;
  g->dx[0] = moon__cast(ctx, g->dy[0], x);
  return g->dx[0] ? MOON_OK : moon_error_status(ctx);
}

static const moon_attr cast_rows[] = {MOON_ATTR(moon_cast_attrs, dtype, DTYPE, .number = -1, .required = true)};
MOON_OP(cast) = {MOON_OP_HEAD(cast), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES, .min_inputs = 1, .max_inputs = 1, .noutputs = 1,
                 .input_names = "x", MOON_OP_ATTRS(moon_cast_attrs, cast_rows), .infer = infer_cast, .grad = grad_cast,
                 .doc = "x as another dtype: x [..] -> [..]; floats saturate to integers and NaN becomes 0, integers wrap, bool is "
                        "x != 0."};

/* ---- mode ---- */

static moon_status infer_mode(moon_context *ctx, moon_infer *f) {
  const moon_type *train = &f->in[0], *infer = &f->in[1];
  char a[160], b[160];
  bool fits = train->shape.ndim == infer->shape.ndim && train->dtype == infer->dtype;
  f->out[0] = *train;
  for (int i = 0; fits && i < train->shape.ndim; i++) {
    fits = moon__dim_may_equal(train->shape.dim[i], infer->shape.dim[i]);
    if (moon__dim_known(infer->shape.dim[i])) f->out[0].shape.dim[i] = infer->shape.dim[i];
  }
  if (fits) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "mode: both sides must have one type: train is %s %s, infer is %s %s",
                    moon_dtype_name(train->dtype), moon_shape_text(ctx->runtime, &train->shape, a, sizeof a),
                    moon_dtype_name(infer->dtype), moon_shape_text(ctx->runtime, &infer->shape, b, sizeof b));
}

/* Each side gets dy in its mode and zeros in the other. */
static moon_status grad_mode(moon_context *ctx, const moon_grad *g) {
  if (!g->dy[0]) return MOON_OK;
  moon_value *zeros = moon__zeros_like(ctx, g->dy[0]);
  for (int i = 0; i < 2; i++) {
    if (!g->need[i]) continue;
    moon_value *sides[2] = {i == 0 ? g->dy[0] : zeros, i == 0 ? zeros : g->dy[0]};
    g->dx[i] = moon__apply(ctx, MOON_OP_mode, NULL, 2, sides);
    if (!g->dx[i]) return moon_error_status(ctx);
  }
  return MOON_OK;
}

MOON_OP(mode) = {MOON_OP_HEAD(mode), .kind = MOON_STRUCTURED, .inputs = MOON_INPUTS_PROMOTE, .flags = MOON_OPF_MOVES | MOON_OPF_METHOD_OFF,
                 .min_inputs = 2, .max_inputs = 2, .noutputs = 1, .input_names = "train, infer", .infer = infer_mode,
                 .grad = grad_mode, .doc = "The side that the program is compiled for: train [..], infer [..] -> [..]."};

/* ---- call and loop ---- */

static moon_status infer_body(moon_context *ctx, moon_infer *f) {
  if (f->ngraphs < 1) return moon__fail(ctx, MOON_EARGUMENT, "%s: has no body", f->op->name);
  const moon_graph *g = f->graphs[0];
  if (g->ninputs != f->ninputs)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: the body takes %d inputs, got %d", f->op->name, g->ninputs, f->ninputs);
  if (g->noutputs > MOON_MAX_OUTPUTS)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: the body has %d outputs, at most %d can be", f->op->name, g->noutputs,
                      MOON_MAX_OUTPUTS);
  for (int i = 0; i < f->ninputs; i++) {
    const moon_type *want = &g->inputs[i]->type, *have = &f->in[i];
    char a[160], b[160];
    bool fits = want->dtype == have->dtype && want->shape.ndim == have->shape.ndim;
    for (int k = 0; fits && k < want->shape.ndim; k++) fits = moon__dim_may_equal(want->shape.dim[k], have->shape.dim[k]);
    if (!fits)
      return moon__fail(ctx, MOON_ESHAPE, "%s: input %d of the body is %s %s, got %s %s", f->op->name, i + ctx->index_base,
                        moon_dtype_name(want->dtype), moon_shape_text(ctx->runtime, &want->shape, a, sizeof a),
                        moon_dtype_name(have->dtype), moon_shape_text(ctx->runtime, &have->shape, b, sizeof b));
  }
  f->noutputs = g->noutputs;
  for (int i = 0; i < g->noutputs; i++) f->out[i] = g->outputs[i]->type;
  return MOON_OK;
}

static moon_status fail_many(moon_context *ctx, int n, int limit) {
  return moon__fail(ctx, MOON_EGRADIENT, "call: %d values are too many for its gradient, at most %d can be", n, limit);
}

/* The caller's gradient: a call of graphs[1] on x..., y..., dy.... */
static moon_status grad_call_given(moon_context *ctx, const moon_grad *g) {
  moon_value *in[MOON_MAX_INPUTS];
  int n = 0;
  if (g->nx + 2 * g->ny > MOON_MAX_INPUTS) return fail_many(ctx, g->nx + 2 * g->ny, MOON_MAX_INPUTS);
  for (int i = 0; i < g->nx; i++) in[n++] = g->x[i];
  for (int i = 0; i < g->ny; i++) in[n++] = g->y[i];
  for (int i = 0; i < g->ny; i++) in[n++] = g->dy[i] ? g->dy[i] : moon__zeros_like(ctx, g->y[i]);
  moon_node_spec spec = {.op = g->node->op, .ninputs = n, .inputs = in, .ngraphs = 1, .graphs = &g->node->graphs[1]};
  moon_value *call = moon__node_build(ctx, &spec);
  if (!call) return moon_error_status(ctx);
  for (int i = 0; i < g->nx; i++) g->dx[i] = moon_value_output(call, i);
  return MOON_OK;
}

/* The body's own gradient: the body again, on names of the inputs that no other input shares. */
static moon_status grad_call_body(moon_context *ctx, const moon_grad *g) {
  moon_value *x[MOON_MAX_INPUTS], *y[MOON_MAX_OUTPUTS];
  for (int i = 0; i < g->nx; i++) {
    x[i] = moon__apply(ctx, MOON_OP_depend, NULL, 1, &g->x[i]);
    if (!x[i]) return moon_error_status(ctx);
  }
  moon_status s = moon_graph_call(ctx, g->node->graphs[0], x, y);
  return s == MOON_OK ? moon__vjp(ctx, g->ny, y, g->dy, g->nx, x, true, g->dx) : s;
}

static moon_status grad_call(moon_context *ctx, const moon_grad *g) {
  return g->node->ngraphs > 1 ? grad_call_given(ctx, g) : grad_call_body(ctx, g);
}

MOON_OP(call) = {MOON_OP_HEAD(call), .kind = MOON_STRUCTURED, .flags = MOON_OPF_MOVES | MOON_OPF_INTERNAL, .max_inputs = -1,
                 .input_names = "x...", .infer = infer_body, .grad = grad_call,
                 .doc = "A graph applied to values, with a gradient of its own: x... -> outputs of the graph."};
MOON_OP(loop) = {MOON_OP_HEAD(loop), .kind = MOON_STRUCTURED, .flags = MOON_OPF_INTERNAL, .max_inputs = -1,
                 .input_names = "x...", .infer = infer_body,
                 .doc = "A fused loop over a body of elementwise ops and reductions: x... -> outputs of the body."};
