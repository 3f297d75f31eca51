/*
** sequence.c: lstm and gru, recurrent layers over whole sequences, and what their parts share. The input's product with the kernel
** is one matmul over all steps; what goes from step to step is lstm_sequence and gru_sequence (files of those names), which keep
** time first. Masked steps leave the state as it is and repeat the output, zeros before the first step that counts, as in Keras.
*/
#include "ops/sequence.h"

#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "graph/graph.h"
#include "ops/control.h"
#include "ops/rule.h"

/* ---- Checks ---- */

moon_status moon__sequence_check(moon_context *ctx, const char *who, const char *name, const moon_shape *shape, int ndim,
                                 const moon_dim *want) {
  moon_shape wanted = moon__shape(ndim, want);
  if (moon__rule_may_equal(shape, &wanted)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: %s must have shape %s, got %s", who, name, moon__rule_text(ctx, &wanted).s,
                    moon__rule_text(ctx, shape).s);
}

moon_status moon__sequence_rules(moon_context *ctx, const moon_infer *f, const moon_sequence_rule *rules, int nfloats) {
  const char *who = f->op->name;
  moon_status s = moon__rule_float(ctx, who, rules[0].name, f->in[0].dtype);
  for (int i = 0; i < f->ninputs && s == MOON_OK; i++) {
    s = moon__sequence_check(ctx, who, rules[i].name, &f->in[i].shape, rules[i].ndim, rules[i].dim);
    if (s != MOON_OK) break;
    if (i < nfloats) s = moon__rule_same_dtype(ctx, who, rules[0].name, f->in[0].dtype, rules[i].name, f->in[i].dtype);
    else if (f->in[i].dtype != MOON_DTYPE_bool)
      s = moon__fail(ctx, MOON_EDTYPE, "%s: %s must be bool, got %s", who, rules[i].name, moon_dtype_name(f->in[i].dtype));
  }
  return s;
}

/* ---- Scan ---- */

static moon_graph *make_body(moon_context *ctx, const moon_scan_attrs *a, int n, moon_value *const *in, int nout,
                             moon_step_fn step) {
  moon_value *formals[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS] = {NULL};
  int eager = ctx->eager_depth;
  bool ok = true;
  ctx->eager_depth = 0;
  moon_scope_open(ctx);
  for (int i = 0; i < n && ok; i++) {
    moon_type type = in[i]->type;
    if (i >= a->ncarry && i < a->ncarry + a->nxs) type.shape = moon__shape(type.shape.ndim - 1, in[i]->type.shape.dim + 1);
    ok = (formals[i] = moon__body_formal(ctx, i < a->ncarry ? "carry" : "x", i, &type)) != NULL;
  }
  ok = ok && step(ctx, n, formals, out) == MOON_OK;
  for (int i = 0; i < nout && ok; i++) ok = out[i] != NULL;
  moon_graph *g = ok ? moon__graph_make(ctx, n, formals, nout, out, 0, NULL) : NULL;
  moon_scope_close(ctx);
  ctx->eager_depth = eager;
  return g;
}

moon_value *moon__sequence_scan(moon_context *ctx, const moon_scan_attrs *a, int n, moon_value *const *in, int nout,
                                moon_step_fn step) {
  for (int i = 0; i < n; i++) {
    if (!in[i]) return NULL;
  }
  moon_graph *body = make_body(ctx, a, n, in, nout, step);
  if (!body) return NULL;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_scan], .attrs = a, .ninputs = n, .inputs = in, .ngraphs = 1, .graphs = &body};
  moon_value *v = moon__node_build(ctx, &spec);
  moon_graph_release(body);
  return v;
}

moon_value *moon__where_rows(moon_context *ctx, moon_value *mask, moon_value *x, moon_value *y) {
  return mask ? moon__where(ctx, moon__expand(ctx, mask, 1), x, y) : x;
}

/* ---- States ---- */

moon_value *moon__states_before(moon_context *ctx, moon_value *before, moon_value *states, bool reverse) {
  if (!before || !states) return NULL;
  moon_dim t = moon__shape_of(states)->dim[0];
  moon_value *first = moon__expand(ctx, before, 0);
  moon_value *const parts[] = {reverse ? states : first, reverse ? first : states};
  moon_value *all = moon__concat(ctx, 2, parts, 0);
  return all ? moon__slice(ctx, all, 0, reverse ? 1 : 0, t, 1) : NULL;
}

/* x [a, b, n] -> [a b, n] */
static moon_value *flat(moon_context *ctx, moon_value *x) {
  if (!x) return NULL;
  const moon_shape *s = moon__shape_of(x);
  moon_shape to = moon__shape(2, (moon_dim[]){moon_dim_mul(ctx, s->dim[0], s->dim[1]), s->dim[2]});
  return to.dim[0] == MOON_DIM_ERROR ? NULL : moon__reshape(ctx, x, &to);
}

static bool is_zero(const moon_value *v) {
  return v->node->op->id == MOON_OP_full && ((const moon_full_attrs *)v->node->attrs)->value == 0;
}

moon_value *moon__recurrent_gradient(moon_context *ctx, moon_value *before, moon_value *states, moon_value *dz, bool reverse) {
  if (!before || !states || !dz) return NULL;
  moon_dim t = moon__shape_of(dz)->dim[0];
  if (t > 0 && moon__dim_known(t) && is_zero(before)) { /* that step adds nothing: the others as they lie, without a copy */
    states = moon__slice(ctx, states, 0, reverse ? 1 : 0, t - 1, 1);
    dz = moon__slice(ctx, dz, 0, reverse ? 0 : 1, t - 1, 1);
  } else {
    states = moon__states_before(ctx, before, states, reverse);
  }
  return moon__matmul(ctx, moon__swap_last(ctx, flat(ctx, states)), flat(ctx, dz));
}

/* ---- Gates ---- */

moon_value *moon__gate(moon_context *ctx, moon_value *x, int i, moon_dim u) {
  moon_dim first = moon_dim_mul(ctx, u, i);
  return x && first != MOON_DIM_ERROR ? moon__slice(ctx, x, 1, first, u, 1) : NULL;
}
static moon_value *sigmoid(moon_context *ctx, moon_value *x) { return moon__unary(ctx, MOON_OP_sigmoid, x); }
static moon_value *tanh_of(moon_context *ctx, moon_value *x) { return moon__unary(ctx, MOON_OP_tanh, x); }

moon_value *moon__one_minus(moon_context *ctx, moon_value *y) { return y ? moon__sub(ctx, moon__number(ctx, y, 1), y) : NULL; }
moon_value *moon__sigmoid_back(moon_context *ctx, moon_value *y, moon_value *dy) {
  return moon__mul(ctx, dy, moon__mul(ctx, y, moon__one_minus(ctx, y)));
}
moon_value *moon__tanh_back(moon_context *ctx, moon_value *y, moon_value *dy) {
  return moon__mul(ctx, dy, moon__one_minus(ctx, moon__mul(ctx, y, y)));
}

/* c' = f c + i g, h' = o tanh(c') */
moon_cell_step moon__lstm_step(moon_context *ctx, moon_value *z, moon_value *c) {
  moon_cell_step s = {.h = NULL};
  if (!c) return s;
  moon_dim u = moon__shape_of(c)->dim[1];
  moon_value *i = sigmoid(ctx, moon__gate(ctx, z, 0, u)), *f = sigmoid(ctx, moon__gate(ctx, z, 1, u));
  moon_value *g = tanh_of(ctx, moon__gate(ctx, z, 2, u)), *o = sigmoid(ctx, moon__gate(ctx, z, 3, u));
  s.c = moon__add(ctx, moon__mul(ctx, f, c), moon__mul(ctx, i, g));
  s.h = moon__mul(ctx, o, tanh_of(ctx, s.c));
  if (s.h) s.gates = moon__concat(ctx, 4, (moon_value *[]){i, f, g, o}, 1);
  return s;
}

/* g = tanh(x_g + r h_g), h' = z h + (1 - z) g, the reset gate after the product (Keras's reset_after) */
moon_cell_step moon__gru_step(moon_context *ctx, moon_value *xs, moon_value *hs, moon_value *h) {
  moon_cell_step s = {.h = NULL};
  if (!h) return s;
  moon_dim u = moon__shape_of(h)->dim[1];
  moon_value *z = sigmoid(ctx, moon__add(ctx, moon__gate(ctx, xs, 0, u), moon__gate(ctx, hs, 0, u)));
  moon_value *r = sigmoid(ctx, moon__add(ctx, moon__gate(ctx, xs, 1, u), moon__gate(ctx, hs, 1, u)));
  moon_value *part = moon__gate(ctx, hs, 2, u);
  moon_value *g = tanh_of(ctx, moon__add(ctx, moon__gate(ctx, xs, 2, u), moon__mul(ctx, r, part)));
  s.h = moon__add(ctx, g, moon__mul(ctx, z, moon__sub(ctx, h, g)));
  if (s.h) s.gates = moon__concat(ctx, 4, (moon_value *[]){z, r, g, part}, 1);
  return s;
}

/* ---- lstm and gru: inputs x, kernel, recurrent, bias, states.., mask ---- */

static moon_status infer_layer(moon_context *ctx, moon_infer *f, int nstates, int ngates, const char *const *names) {
  const char *who = f->op->name;
  const moon_shape *x = moon__rule_shape(f, 0), *r = moon__rule_shape(f, 2);
  if (x->ndim != 3 || r->ndim != 2)
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs x [b, t, d] and recurrent [u, %du]: x %s, recurrent %s", who, ngates,
                      moon__rule_text(ctx, x).s, moon__rule_text(ctx, r).s);
  if (f->ninputs > 4 && f->ninputs < 4 + nstates)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: all %d states or none must be given", who, nstates);
  moon_dim b = x->dim[0], t = x->dim[1], u = r->dim[0], width = moon_dim_mul(ctx, u, ngates);
  if (width == MOON_DIM_ERROR) return ctx->status;
  moon_sequence_rule rules[7] = {{names[0], 3, {b, t, x->dim[2]}}, {names[1], 2, {x->dim[2], width}}, {names[2], 2, {u, width}},
                                 {names[3], nstates == 1 ? 2 : 1, {nstates == 1 ? 2 : width, width}}};
  for (int i = 0; i < nstates; i++) rules[4 + i] = (moon_sequence_rule){names[4 + i], 2, {b, u}};
  rules[4 + nstates] = (moon_sequence_rule){names[4 + nstates], 2, {b, t}};
  moon_status s = moon__sequence_rules(ctx, f, rules, f->ninputs);
  f->out[0] = (moon_type){f->in[0].dtype, moon__shape(3, (moon_dim[]){b, t, u})};
  for (int i = 1; i <= nstates; i++) f->out[i] = (moon_type){f->in[0].dtype, moon__shape(2, (moon_dim[]){b, u})};
  return s;
}

static moon_status infer_lstm(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "kernel", "recurrent", "bias", "h", "c", "mask"};
  return infer_layer(ctx, f, 2, 4, names);
}
static moon_status infer_gru(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "kernel", "recurrent", "bias", "h", "mask"};
  return infer_layer(ctx, f, 1, 3, names);
}

static moon_value *time_first(moon_context *ctx, moon_value *x) { /* and back */
  static const int perm[] = {1, 0, 2};
  return moon__transpose(ctx, x, perm);
}

/* y where any step up to here (from here, when reversed) counted, else 0: the state may have been given. */
static moon_value *zeros_at_first(moon_context *ctx, moon_value *y, moon_value *mask, bool reverse) {
  moon_cumsum_attrs a = {.axis = 0, .reverse = reverse};
  moon_value *counted = moon__cast(ctx, mask, MOON_DTYPE_i32);
  if (!counted || !(counted = moon__apply(ctx, MOON_OP_cumsum, &a, 1, &counted))) return NULL;
  moon_value *any = moon__binary(ctx, MOON_OP_gt, counted, moon__number(ctx, counted, 0));
  return moon__where(ctx, moon__expand(ctx, any, 2), y, moon__number(ctx, y, 0));
}

static moon_status build_layer(moon_context *ctx, const moon_body *b, moon_op_id op, int nstates, int ngates) {
  const moon_sequence_attrs *a = b->attrs;
  moon_value *x = b->in[0], *in[6];
  moon_dtype dtype = x->type.dtype;
  moon_dim u = moon__shape_of(b->in[2])->dim[0], width = moon_dim_mul(ctx, u, ngates);
  moon_shape state = moon__shape(2, (moon_dim[]){moon__shape_of(x)->dim[0], u});
  moon_shape bias = nstates == 1 ? moon__shape(2, (moon_dim[]){2, width}) : moon__shape(1, &width);
  int n = 0;
  in[n++] = moon__matmul(ctx, time_first(ctx, x), b->in[1]);
  in[n++] = b->in[2];
  in[n++] = b->n > 3 ? b->in[3] : moon__full(ctx, dtype, &bias, 0);
  for (int i = 0; i < nstates; i++) in[n++] = b->n > 4 ? b->in[4 + i] : moon__full(ctx, dtype, &state, 0);
  moon_value *mask = b->n > 4 + nstates ? moon__swap_last(ctx, b->in[4 + nstates]) : NULL;
  if (b->n > 4 + nstates) in[n++] = mask = moon__cast(ctx, mask, MOON_DTYPE_bool);
  for (int i = 0; i < n; i++) {
    if (!in[i]) return ctx->status;
  }
  moon_value *v = moon__apply(ctx, op, a, n, in), *y = v;
  if (mask && !is_zero(b->in[4])) y = zeros_at_first(ctx, y, mask, a->go_backwards);
  b->out[0] = time_first(ctx, y);
  for (int i = 1; i <= nstates; i++) b->out[i] = moon__output(v, i);
  return moon__rule_built(ctx, b);
}

static moon_status build_lstm(moon_context *ctx, const moon_body *b) {
  return build_layer(ctx, b, MOON_OP_lstm_sequence, 2, 4);
}
static moon_status build_gru(moon_context *ctx, const moon_body *b) { return build_layer(ctx, b, MOON_OP_gru_sequence, 1, 3); }

static const moon_attr rows[] = {MOON_ATTR(moon_sequence_attrs, go_backwards, BOOL, .number = 0)};

MOON_OP(lstm) = {
    MOON_OP_HEAD(lstm),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 3,
    .max_inputs = 7,
    .noutputs = 3,
    .input_names = "x, kernel, recurrent, bias, h, c, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer_lstm,
    .build = build_lstm,
    .doc = "LSTM over a sequence, gates i f g o: x [b, t, d], kernel [d, 4u], recurrent [u, 4u], and, from the right, what may be "
           "left out: bias [4u], first states h and c [b, u], mask [b, t] (0: the step does not count) -> y [b, t, u], last states "
           "h and c [b, u]. go_backwards reads from the end; y stands where x stood.",
};

MOON_OP(gru) = {
    MOON_OP_HEAD(gru),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 3,
    .max_inputs = 6,
    .noutputs = 2,
    .input_names = "x, kernel, recurrent, bias, h, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer_gru,
    .build = build_gru,
    .doc = "GRU over a sequence, gates z r g, reset after: x [b, t, d], kernel [d, 3u], recurrent [u, 3u], and, from the right, what "
           "may be left out: bias [2, 3u] (of the input and of the state), first state h [b, u], mask [b, t] (0: the step does not "
           "count) -> y [b, t, u], last state h [b, u]. go_backwards reads from the end; y stands where x stood.",
};
