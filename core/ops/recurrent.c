/*
** recurrent.c: one step of a recurrent layer. Gates are computed in one product each with the kernel and the recurrent kernel, and
** cut apart in Keras's order; whole sequences are in sequence.c. Letters: x [b, d], h and c [b, u].
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "ops/rule.h"
#include "ops/sequence.h"

static moon_status check_matrix(moon_context *ctx, const char *who, const char *name, const moon_shape *w, moon_dim rows,
                                moon_dim columns) {
  if (w->ndim == 2 && moon__dim_may_equal(w->dim[0], rows) && moon__dim_may_equal(w->dim[1], columns)) return MOON_OK;
  return moon__fail(ctx, MOON_ESHAPE, "%s: %s must have shape (%s, %s), got %s", who, name, moon__rule_dim_text(ctx, rows).s,
                    moon__rule_dim_text(ctx, columns).s, moon__rule_text(ctx, w).s);
}

/* inputs: x, states.., kernel, recurrent, biases..; every state [b, u]. */
static moon_status infer_cell(moon_context *ctx, moon_infer *f, int nstates, int ngates, const char *const *names) {
  const char *who = f->op->name;
  const moon_shape *x = moon__rule_shape(f, 0), *h = moon__rule_shape(f, 1);
  if (x->ndim != 2 || h->ndim != 2)
    return moon__fail(ctx, MOON_ESHAPE, "%s: needs x [b, d] and h [b, u]: x %s, h %s", who, moon__rule_text(ctx, x).s,
                      moon__rule_text(ctx, h).s);
  moon_dim b = moon__rule_merge(h->dim[0], x->dim[0]), u = h->dim[1], gates = moon_dim_mul(ctx, u, ngates);
  moon_status s = gates == MOON_DIM_ERROR ? ctx->status : MOON_OK;
  for (int i = 1; i <= nstates && s == MOON_OK; i++) {
    s = check_matrix(ctx, who, names[i], &f->in[i].shape, x->dim[0], u);
    f->out[i - 1] = (moon_type){f->in[0].dtype, {.ndim = 2, .dim = {b, u}}};
  }
  int at = nstates + 1;
  if (s == MOON_OK) s = check_matrix(ctx, who, names[at], &f->in[at].shape, x->dim[1], gates);
  if (s == MOON_OK) s = check_matrix(ctx, who, names[at + 1], &f->in[at + 1].shape, u, gates);
  for (int i = at + 2; i < f->ninputs && s == MOON_OK; i++) s = moon__rule_vector(ctx, who, names[i], &f->in[i].shape, gates);
  return s;
}

static moon_status infer_lstm(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "h", "c", "kernel", "recurrent", "bias"};
  return infer_cell(ctx, f, 2, 4, names);
}
static moon_status infer_gru(moon_context *ctx, moon_infer *f) {
  static const char *const names[] = {"x", "h", "kernel", "recurrent", "bias", "recurrent_bias"};
  return infer_cell(ctx, f, 1, 3, names);
}

/* x kernel, plus the bias if it is there. */
static moon_value *project(moon_context *ctx, moon_value *x, moon_value *kernel, moon_value *bias) {
  moon_value *z = moon__matmul(ctx, x, kernel);
  return bias ? moon__add(ctx, z, bias) : z;
}

static moon_status build_lstm(moon_context *ctx, const moon_body *b) {
  moon_value *z = moon__add(ctx, moon__matmul(ctx, b->in[0], b->in[3]), project(ctx, b->in[1], b->in[4], b->n > 5 ? b->in[5] : NULL));
  moon_cell_step s = moon__lstm_step(ctx, z, b->in[2]);
  b->out[0] = s.h;
  b->out[1] = s.c;
  return moon__rule_built(ctx, b);
}

static moon_status build_gru(moon_context *ctx, const moon_body *b) {
  moon_value *xs = project(ctx, b->in[0], b->in[2], b->n > 4 ? b->in[4] : NULL);
  moon_value *hs = project(ctx, b->in[1], b->in[3], b->n > 5 ? b->in[5] : NULL);
  b->out[0] = moon__gru_step(ctx, xs, hs, b->in[1]).h;
  return moon__rule_built(ctx, b);
}

MOON_OP(lstm_cell) = {
    MOON_OP_HEAD(lstm_cell),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 5,
    .max_inputs = 6,
    .noutputs = 2,
    .input_names = "x, h, c, kernel, recurrent, bias",
    .infer = infer_lstm,
    .build = build_lstm,
    .doc = "One LSTM step, gates i f g o: x [b, d], h and c [b, u], kernel [d, 4u], recurrent [u, 4u], bias [4u] (may be left out) "
           "-> h [b, u], c [b, u].",
};

MOON_OP(gru_cell) = {
    MOON_OP_HEAD(gru_cell),
    .kind = MOON_COMPOSITE,
    .inputs = MOON_INPUTS_FLOAT,
    .flags = MOON_OPF_METHOD_OFF,
    .min_inputs = 4,
    .max_inputs = 6,
    .noutputs = 1,
    .input_names = "x, h, kernel, recurrent, bias, recurrent_bias",
    .infer = infer_gru,
    .build = build_gru,
    .doc = "One GRU step, gates z r g, reset after: x [b, d], h [b, u], kernel [d, 3u], recurrent [u, 3u], bias and recurrent_bias "
           "[3u] (may be left out) -> h [b, u].",
};
