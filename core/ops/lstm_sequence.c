/*
** lstm_sequence.c: what an LSTM carries from step to step, and its gradient through time. Time comes first; the input's part of the
** gates, z, is given for all steps at once. The activated gates and the states c of all steps are outputs because the gradient
** needs them; where nobody does they are not kept. Letters: b t d as in the field, u units; gates in the order i f g o.
*/
#include "autodiff.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "ops/sequence.h"

enum { Z, RECURRENT, BIAS, H, C, MASK }; /* inputs; mask [t, b] may be left out */
enum { Y, H_LAST, C_LAST, GATES, STATES, OUTPUTS };
enum { G_RECURRENT, G_C, G_GATES, G_STATES, G_DY, G_DH, G_DC, G_MASK }; /* of the gradient */

static moon_status check_ranks(moon_context *ctx, const moon_infer *f, int wide, int recurrent) {
  const moon_shape *z = moon__rule_shape(f, wide), *r = moon__rule_shape(f, recurrent);
  if (z->ndim == 3 && r->ndim == 2) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: needs gates [t, b, 4u] and recurrent [u, 4u], got %s and %s", f->op->name,
                    moon__rule_text(ctx, z).s, moon__rule_text(ctx, r).s);
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  moon_status s = check_ranks(ctx, f, Z, RECURRENT);
  if (s != MOON_OK) return s;
  moon_dim t = f->in[Z].shape.dim[0], b = f->in[Z].shape.dim[1], u = f->in[RECURRENT].shape.dim[0], w = moon_dim_mul(ctx, u, 4);
  if (w == MOON_DIM_ERROR) return ctx->status;
  const moon_sequence_rule rules[] = {{"z", 3, {t, b, w}}, {"recurrent", 2, {u, w}}, {"bias", 1, {w}},
                                      {"h", 2, {b, u}},    {"c", 2, {b, u}},         {"mask", 2, {t, b}}};
  moon_dtype d = f->in[Z].dtype;
  f->out[Y] = f->out[STATES] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, u})};
  f->out[H_LAST] = f->out[C_LAST] = (moon_type){d, moon__shape(2, (moon_dim[]){b, u})};
  f->out[GATES] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, w})};
  return moon__sequence_rules(ctx, f, rules, MASK);
}

/* in: h, c, z, mask or not, recurrent, bias; out: h, c, y, gates, state */
static moon_status step(moon_context *ctx, int n, moon_value *const *in, moon_value **out) {
  moon_value *h = in[0], *c = in[1], *mask = n == 6 ? in[3] : NULL;
  moon_value *z = moon__add(ctx, moon__add(ctx, in[2], in[n - 1]), moon__matmul(ctx, h, in[n - 2]));
  moon_cell_step s = moon__lstm_step(ctx, z, c);
  out[0] = out[2] = moon__where_rows(ctx, mask, s.h, h);
  out[1] = out[4] = moon__where_rows(ctx, mask, s.c, c);
  out[3] = s.gates;
  return MOON_OK;
}

static moon_status build(moon_context *ctx, const moon_body *b) {
  const moon_sequence_attrs *a = b->attrs;
  moon_scan_attrs scan = {.ncarry = 2, .nxs = b->n > MASK ? 2 : 1, .length = moon__shape_of(b->in[Z])->dim[0],
                          .reverse = a->go_backwards};
  moon_value *in[6];
  int n = 0;
  in[n++] = b->in[H];
  in[n++] = b->in[C];
  in[n++] = b->in[Z];
  if (b->n > MASK) in[n++] = b->in[MASK];
  in[n++] = b->in[RECURRENT];
  in[n++] = b->in[BIAS];
  static const int from[OUTPUTS] = {2, 0, 1, 3, 4};
  moon_value *v = moon__sequence_scan(ctx, &scan, n, in, OUTPUTS, step);
  for (int i = 0; i < OUTPUTS; i++) b->out[i] = moon__output(v, from[i]);
  return moon__rule_built(ctx, b);
}

/* ---- Gradient ---- */

static moon_value *or_zeros(moon_context *ctx, moon_value *d, moon_value *like) { return d ? d : moon__zeros_like(ctx, like); }

static moon_status grad(moon_context *ctx, const moon_grad *g) {
  const moon_sequence_attrs *a = g->node->attrs;
  if (g->dy[GATES] || g->dy[STATES]) return moon__grad_through_body(ctx, g); /* somebody looks into the steps */
  moon_value *in[] = {g->x[RECURRENT], g->x[C], g->y[GATES], g->y[STATES], or_zeros(ctx, g->dy[Y], g->y[Y]),
                      or_zeros(ctx, g->dy[H_LAST], g->x[H]), or_zeros(ctx, g->dy[C_LAST], g->x[C]),
                      g->nx > MASK ? g->x[MASK] : NULL};
  for (int i = G_DY; i <= G_DC; i++) {
    if (!in[i]) return ctx->status;
  }
  moon_value *v = moon__apply(ctx, MOON_OP_lstm_sequence_grad, a, g->nx > MASK ? G_MASK + 1 : G_MASK, in);
  if (!v) return ctx->status;
  g->dx[Z] = v;
  g->dx[H] = moon__output(v, 1);
  g->dx[C] = moon__output(v, 2);
  g->dx[BIAS] = moon__output(v, 3);
  if (!g->need[RECURRENT]) return MOON_OK;
  g->dx[RECURRENT] = moon__recurrent_gradient(ctx, g->x[H], g->y[Y], v, a->go_backwards);
  return g->dx[RECURRENT] ? MOON_OK : ctx->status;
}

static moon_status infer_grad(moon_context *ctx, moon_infer *f) {
  moon_status s = check_ranks(ctx, f, G_GATES, G_RECURRENT);
  if (s != MOON_OK) return s;
  moon_dim t = f->in[G_GATES].shape.dim[0], b = f->in[G_GATES].shape.dim[1], u = f->in[G_RECURRENT].shape.dim[0];
  moon_dim w = moon_dim_mul(ctx, u, 4);
  if (w == MOON_DIM_ERROR) return ctx->status;
  const moon_sequence_rule rules[] = {{"recurrent", 2, {u, w}}, {"c", 2, {b, u}},  {"gates", 3, {t, b, w}}, {"states", 3, {t, b, u}},
                                      {"dy", 3, {t, b, u}},     {"dh", 2, {b, u}}, {"dc", 2, {b, u}},       {"mask", 2, {t, b}}};
  moon_dtype d = f->in[0].dtype;
  f->out[0] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, w})};
  f->out[1] = f->out[2] = (moon_type){d, moon__shape(2, (moon_dim[]){b, u})};
  f->out[3] = (moon_type){d, moon__shape(1, &w)};
  return moon__sequence_rules(ctx, f, rules, G_MASK);
}

/* in: dh, dc, gates, c, c before, dy, mask or not, recurrent; out: dh, dc, dz */
static moon_status step_back(moon_context *ctx, int n, moon_value *const *in, moon_value **out) {
  moon_value *c = in[3], *before = in[4], *mask = n == 8 ? in[6] : NULL, *gate[4], *d[4];
  moon_dim u = moon__shape_of(c)->dim[1];
  for (int i = 0; i < 4; i++) gate[i] = moon__gate(ctx, in[2], i, u);
  moon_value *dh = moon__add(ctx, in[0], in[5]), *th = moon__unary(ctx, MOON_OP_tanh, c);
  moon_value *dc = moon__add(ctx, in[1], moon__tanh_back(ctx, th, moon__mul(ctx, dh, gate[3])));
  d[0] = moon__sigmoid_back(ctx, gate[0], moon__mul(ctx, dc, gate[2]));
  d[1] = moon__sigmoid_back(ctx, gate[1], moon__mul(ctx, dc, before));
  d[2] = moon__tanh_back(ctx, gate[2], moon__mul(ctx, dc, gate[0]));
  d[3] = moon__sigmoid_back(ctx, gate[3], moon__mul(ctx, dh, th));
  if (!d[0] || !d[1] || !d[2] || !d[3]) return ctx->status;
  moon_value *dz = moon__concat(ctx, 4, d, 1);
  if (mask && dz) dz = moon__where_rows(ctx, mask, dz, moon__zeros_like(ctx, dz));
  out[0] = moon__where_rows(ctx, mask, moon__matmul(ctx, dz, moon__swap_last(ctx, in[n - 1])), dh);
  out[1] = moon__where_rows(ctx, mask, moon__mul(ctx, dc, gate[1]), in[1]);
  out[2] = dz;
  return MOON_OK;
}

static moon_status build_grad(moon_context *ctx, const moon_body *b) {
  const moon_sequence_attrs *a = b->attrs;
  moon_scan_attrs scan = {.ncarry = 2, .nxs = b->n > G_MASK ? 5 : 4, .length = moon__shape_of(b->in[G_GATES])->dim[0],
                          .reverse = !a->go_backwards};
  moon_value *in[8];
  int n = 0;
  in[n++] = b->in[G_DH];
  in[n++] = b->in[G_DC];
  in[n++] = b->in[G_GATES];
  in[n++] = b->in[G_STATES];
  in[n++] = moon__states_before(ctx, b->in[G_C], b->in[G_STATES], a->go_backwards);
  in[n++] = b->in[G_DY];
  if (b->n > G_MASK) in[n++] = b->in[G_MASK];
  in[n++] = b->in[G_RECURRENT];
  moon_value *v = moon__sequence_scan(ctx, &scan, n, in, 3, step_back);
  b->out[0] = moon__output(v, 2);
  b->out[1] = moon__output(v, 0);
  b->out[2] = moon__output(v, 1);
  if (v) b->out[3] = moon__reduce(ctx, MOON_OP_sum, b->out[0], 2, (const int[]){0, 1}, false);
  return moon__rule_built(ctx, b);
}

static const moon_attr rows[] = {MOON_ATTR(moon_sequence_attrs, go_backwards, BOOL, .number = 0)};

/* Both: 2 b 4u u operations a step. */
static double flops(const moon_node *n) {
  const moon_shape *gates = moon__shape_of(n->inputs[n->op->id == MOON_OP_lstm_sequence ? Z : G_GATES]);
  return gates->dim[2] > 0 ? (double)gates->dim[0] * (double)gates->dim[1] * (double)gates->dim[2] * (double)gates->dim[2] / 2 : 0;
}

MOON_OP(lstm_sequence) = {
    MOON_OP_HEAD(lstm_sequence),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 5,
    .max_inputs = 6,
    .noutputs = OUTPUTS,
    .input_names = "z, recurrent, bias, h, c, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer,
    .grad = grad,
    .build = build,
    .flops = flops,
    .doc = "The steps of an LSTM: z [t, b, 4u], recurrent [u, 4u], bias [4u], h and c [b, u], mask [t, b] -> y [t, b, u], last h and c "
           "[b, u], gates [t, b, 4u], states c [t, b, u].",
};

MOON_OP(lstm_sequence_grad) = {
    MOON_OP_HEAD(lstm_sequence_grad),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 7,
    .max_inputs = 8,
    .noutputs = 4,
    .input_names = "recurrent, c, gates, states, dy, dh, dc, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer_grad,
    .build = build_grad,
    .flops = flops,
    .doc = "Its gradient through time: recurrent [u, 4u], c [b, u], gates [t, b, 4u], states [t, b, u], dy [t, b, u], dh and dc [b, u], "
           "mask [t, b] -> dz [t, b, 4u], dh and dc [b, u], dbias [4u].",
};
