/*
** gru_sequence.c: what a GRU carries from step to step, and its gradient through time; the reset gate acts after the product. Time
** comes first; the input's part of the gates, z, is given for all steps at once. gates [t, b, 4u]: z r g and the recurrent part of
** g; they are an output because the gradient needs them. Letters: b t d as in the field, u units.
*/
#include "autodiff.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "ops/sequence.h"

enum { Z, RECURRENT, BIAS, H, MASK }; /* inputs; mask [t, b] may be left out */
enum { Y, H_LAST, GATES, OUTPUTS };
enum { G_RECURRENT, G_H, G_GATES, G_Y, G_DY, G_DH, G_MASK }; /* of the gradient */

static moon_status check_ranks(moon_context *ctx, const moon_infer *f, int wide, int recurrent) {
  const moon_shape *z = moon__rule_shape(f, wide), *r = moon__rule_shape(f, recurrent);
  if (z->ndim == 3 && r->ndim == 2) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: needs gates [t, b, ..] and recurrent [u, 3u], got %s and %s", f->op->name,
                    moon__rule_text(ctx, z).s, moon__rule_text(ctx, r).s);
}

static moon_status infer(moon_context *ctx, moon_infer *f) {
  moon_status s = check_ranks(ctx, f, Z, RECURRENT);
  if (s != MOON_OK) return s;
  moon_dim t = f->in[Z].shape.dim[0], b = f->in[Z].shape.dim[1], u = f->in[RECURRENT].shape.dim[0];
  moon_dim w = moon_dim_mul(ctx, u, 3), kept = moon_dim_mul(ctx, u, 4);
  if (w == MOON_DIM_ERROR || kept == MOON_DIM_ERROR) return ctx->status;
  const moon_sequence_rule rules[] = {
      {"z", 3, {t, b, w}}, {"recurrent", 2, {u, w}}, {"bias", 2, {2, w}}, {"h", 2, {b, u}}, {"mask", 2, {t, b}}};
  moon_dtype d = f->in[Z].dtype;
  f->out[Y] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, u})};
  f->out[H_LAST] = (moon_type){d, moon__shape(2, (moon_dim[]){b, u})};
  f->out[GATES] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, kept})};
  return moon__sequence_rules(ctx, f, rules, MASK);
}

/* Row i of the bias [2, 3u]: [1, 3u] */
static moon_value *bias_row(moon_context *ctx, moon_value *bias, int i) { return moon__slice(ctx, bias, 0, i, 1, 1); }

/* in: h, z, mask or not, recurrent, bias; out: h, y, gates */
static moon_status step(moon_context *ctx, int n, moon_value *const *in, moon_value **out) {
  moon_value *h = in[0], *mask = n == 5 ? in[2] : NULL, *bias = in[n - 1];
  moon_value *xs = moon__add(ctx, in[1], bias_row(ctx, bias, 0));
  moon_value *hs = moon__add(ctx, moon__matmul(ctx, h, in[n - 2]), bias_row(ctx, bias, 1));
  moon_cell_step s = moon__gru_step(ctx, xs, hs, h);
  out[0] = out[1] = moon__where_rows(ctx, mask, s.h, h);
  out[2] = s.gates;
  return MOON_OK;
}

static moon_status build(moon_context *ctx, const moon_body *b) {
  const moon_sequence_attrs *a = b->attrs;
  moon_scan_attrs scan = {.ncarry = 1, .nxs = b->n > MASK ? 2 : 1, .length = moon__shape_of(b->in[Z])->dim[0],
                          .reverse = a->go_backwards};
  moon_value *in[5];
  int n = 0;
  in[n++] = b->in[H];
  in[n++] = b->in[Z];
  if (b->n > MASK) in[n++] = b->in[MASK];
  in[n++] = b->in[RECURRENT];
  in[n++] = b->in[BIAS];
  static const int from[OUTPUTS] = {1, 0, 2};
  moon_value *v = moon__sequence_scan(ctx, &scan, n, in, OUTPUTS, step);
  for (int i = 0; i < OUTPUTS; i++) b->out[i] = moon__output(v, from[i]);
  return moon__rule_built(ctx, b);
}

/* ---- Gradient ---- */

static moon_value *or_zeros(moon_context *ctx, moon_value *d, moon_value *like) { return d ? d : moon__zeros_like(ctx, like); }

static moon_status grad(moon_context *ctx, const moon_grad *g) {
  const moon_sequence_attrs *a = g->node->attrs;
  if (g->dy[GATES]) return moon__grad_through_body(ctx, g); /* somebody looks into the steps */
  moon_value *in[] = {g->x[RECURRENT], g->x[H], g->y[GATES], g->y[Y], or_zeros(ctx, g->dy[Y], g->y[Y]),
                      or_zeros(ctx, g->dy[H_LAST], g->x[H]), g->nx > MASK ? g->x[MASK] : NULL};
  if (!in[G_DY] || !in[G_DH]) return ctx->status;
  moon_value *v = moon__apply(ctx, MOON_OP_gru_sequence_grad, a, g->nx > MASK ? G_MASK + 1 : G_MASK, in);
  if (!v) return ctx->status;
  g->dx[Z] = v;
  g->dx[H] = moon__output(v, 2);
  g->dx[BIAS] = moon__output(v, 3);
  if (!g->need[RECURRENT]) return MOON_OK;
  g->dx[RECURRENT] = moon__recurrent_gradient(ctx, g->x[H], g->y[Y], moon__output(v, 1), a->go_backwards);
  return g->dx[RECURRENT] ? MOON_OK : ctx->status;
}

static moon_status infer_grad(moon_context *ctx, moon_infer *f) {
  moon_status s = check_ranks(ctx, f, G_GATES, G_RECURRENT);
  if (s != MOON_OK) return s;
  moon_dim t = f->in[G_GATES].shape.dim[0], b = f->in[G_GATES].shape.dim[1], u = f->in[G_RECURRENT].shape.dim[0];
  moon_dim w = moon_dim_mul(ctx, u, 3), kept = moon_dim_mul(ctx, u, 4);
  if (w == MOON_DIM_ERROR || kept == MOON_DIM_ERROR) return ctx->status;
  const moon_sequence_rule rules[] = {{"recurrent", 2, {u, w}}, {"h", 2, {b, u}},  {"gates", 3, {t, b, kept}}, {"y", 3, {t, b, u}},
                                      {"dy", 3, {t, b, u}},     {"dh", 2, {b, u}}, {"mask", 2, {t, b}}};
  moon_dtype d = f->in[0].dtype;
  f->out[0] = f->out[1] = (moon_type){d, moon__shape(3, (moon_dim[]){t, b, w})};
  f->out[2] = (moon_type){d, moon__shape(2, (moon_dim[]){b, u})};
  f->out[3] = (moon_type){d, moon__shape(2, (moon_dim[]){2, w})};
  return moon__sequence_rules(ctx, f, rules, G_MASK);
}

/* in: dh, gates, h before, dy, mask or not, recurrent; out: dh, dz, what goes to the recurrent product */
static moon_status step_back(moon_context *ctx, int n, moon_value *const *in, moon_value **out) {
  moon_value *h = in[2], *mask = n == 6 ? in[4] : NULL, *gate[4];
  moon_dim u = moon__shape_of(h)->dim[1];
  for (int i = 0; i < 4; i++) gate[i] = moon__gate(ctx, in[1], i, u);
  moon_value *dh = moon__add(ctx, in[0], in[3]);
  moon_value *dg = moon__tanh_back(ctx, gate[2], moon__mul(ctx, dh, moon__one_minus(ctx, gate[0])));
  moon_value *dz = moon__sigmoid_back(ctx, gate[0], moon__mul(ctx, dh, moon__sub(ctx, h, gate[2])));
  moon_value *dr = moon__sigmoid_back(ctx, gate[1], moon__mul(ctx, dg, gate[3])), *dq = moon__mul(ctx, dg, gate[1]);
  if (!dz || !dr || !dq) return ctx->status;
  out[1] = moon__concat(ctx, 3, (moon_value *[]){dz, dr, dg}, 1);
  out[2] = moon__concat(ctx, 3, (moon_value *[]){dz, dr, dq}, 1);
  for (int i = 1; i < 3 && mask && out[i]; i++) out[i] = moon__where_rows(ctx, mask, out[i], moon__zeros_like(ctx, out[i]));
  moon_value *back = moon__matmul(ctx, out[2], moon__swap_last(ctx, in[n - 1]));
  out[0] = moon__where_rows(ctx, mask, moon__add(ctx, back, moon__mul(ctx, dh, gate[0])), dh);
  return MOON_OK;
}

static moon_status build_grad(moon_context *ctx, const moon_body *b) {
  const moon_sequence_attrs *a = b->attrs;
  moon_scan_attrs scan = {.ncarry = 1, .nxs = b->n > G_MASK ? 4 : 3, .length = moon__shape_of(b->in[G_GATES])->dim[0],
                          .reverse = !a->go_backwards};
  moon_value *in[6], *sums[2];
  int n = 0;
  in[n++] = b->in[G_DH];
  in[n++] = b->in[G_GATES];
  in[n++] = moon__states_before(ctx, b->in[G_H], b->in[G_Y], a->go_backwards);
  in[n++] = b->in[G_DY];
  if (b->n > G_MASK) in[n++] = b->in[G_MASK];
  in[n++] = b->in[G_RECURRENT];
  moon_value *v = moon__sequence_scan(ctx, &scan, n, in, 3, step_back);
  if (!v) return ctx->status;
  b->out[0] = moon__output(v, 1);
  b->out[1] = moon__output(v, 2);
  b->out[2] = v;
  for (int i = 0; i < 2; i++)
    sums[i] = moon__expand(ctx, moon__reduce(ctx, MOON_OP_sum, b->out[i], 2, (const int[]){0, 1}, false), 0);
  if (sums[0] && sums[1]) b->out[3] = moon__concat(ctx, 2, sums, 0);
  return moon__rule_built(ctx, b);
}

static const moon_attr rows[] = {MOON_ATTR(moon_sequence_attrs, go_backwards, BOOL, .number = 0)};

/* Both: 2 b 3u u operations a step. */
static double flops(const moon_node *n) {
  bool back = n->op->id == MOON_OP_gru_sequence_grad;
  const moon_shape *t = moon__shape_of(n->inputs[back ? G_GATES : Z]), *r = moon__shape_of(n->inputs[back ? G_RECURRENT : RECURRENT]);
  return 2 * (double)t->dim[0] * (double)t->dim[1] * (double)r->dim[0] * (double)r->dim[1];
}

MOON_OP(gru_sequence) = {
    MOON_OP_HEAD(gru_sequence),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 4,
    .max_inputs = 5,
    .noutputs = OUTPUTS,
    .input_names = "z, recurrent, bias, h, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer,
    .grad = grad,
    .build = build,
    .flops = flops,
    .doc = "The steps of a GRU: z [t, b, 3u], recurrent [u, 3u], bias [2, 3u], h [b, u], mask [t, b] -> y [t, b, u], last h [b, u], gates "
           "[t, b, 4u].",
};

MOON_OP(gru_sequence_grad) = {
    MOON_OP_HEAD(gru_sequence_grad),
    .kind = MOON_COMPOSITE,
    .flags = MOON_OPF_INTERNAL,
    .min_inputs = 6,
    .max_inputs = 7,
    .noutputs = 4,
    .input_names = "recurrent, h, gates, y, dy, dh, mask",
    MOON_OP_ATTRS(moon_sequence_attrs, rows),
    .infer = infer_grad,
    .build = build_grad,
    .flops = flops,
    .doc = "Its gradient through time: recurrent [u, 3u], h [b, u], gates [t, b, 4u], y and dy [t, b, u], dh [b, u], mask [t, b] -> dz "
           "[t, b, 3u], the same behind the reset gate [t, b, 3u], dh [b, u], dbias [2, 3u].",
};
