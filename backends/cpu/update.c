/*
** update.c: f32 optimizer updates of one weight or of many, and the sum of squares of many gradients: one launch over all tensors,
** whose elements are numbered through and cut into jobs of one size. What updates mean stands in core/ops/optimizer.c.
*/
#include "update.h"

#include <math.h>

#include "base/size.h"
#include "fast.h"
#include "ops/attrs.h"
#include "ops/optimizer.h"

enum { BLOCK = 16384 }; /* elements of a job */

typedef struct update_plan {
  const moon_update_set *set;
  const moon_update *update; /* NULL: sum of squares */
  int sets;
  size_t partial;            /* in scratch: sums of jobs */
  int64_t njobs;
  int64_t first[];           /* [sets + 1]: number of each set's first element */
} update_plan;

static const float *input(const moon_call *call, int i) { return (const float *)(const void *)call->in[i].data; }
static float *output(const moon_call *call, int i) { return (float *)(void *)call->out[i].data; }

static double number_of(const moon_array *a) {
  double x = 0;
  moon__convert(&x, MOON_DTYPE_f64, a->data, a->dtype);
  return x;
}

static moon_update_fn step_of(const update_plan *p, const moon_call *call, moon_update_numbers *k) {
  const moon_array *numbers = call->in + p->sets * p->update->tensors;
  double lr = number_of(&numbers[0]);
  bool scaled = call->nin > p->sets * p->update->tensors + p->update->numbers;
  k->scale = scaled ? (float)number_of(&call->in[call->nin - 1]) : 1.0f;
  k->rate = (float)lr;
  if (p->update->one == MOON_OP_sgd_update) {
    const moon_sgd_attrs *a = call->attrs;
    k->momentum = (float)a->momentum;
    k->nesterov = a->nesterov;
    return p->set->sgd;
  }
  if (p->update->one == MOON_OP_rmsprop_update) {
    const moon_rmsprop_attrs *a = call->attrs;
    k->keep_2 = (float)(1 - a->rho);
    k->epsilon = (float)a->epsilon;
    k->momentum = (float)a->momentum;
    return p->set->rmsprop;
  }
  const moon_adam_attrs *a = call->attrs;
  double t = number_of(&numbers[1]);
  k->keep_1 = (float)(1 - a->beta_1);
  k->keep_2 = (float)(1 - a->beta_2);
  k->epsilon = (float)a->epsilon;
  k->rate = (float)(lr * sqrt(1 - pow(a->beta_2, t)) / (1 - pow(a->beta_1, t)));
  k->decay = (float)(lr * a->weight_decay);
  return p->set->adam;
}

/* Elements [lo, hi) of all, which are in set i. */
static void step_set(const update_plan *p, const moon_call *call, moon_update_fn step, const moon_update_numbers *k, int i, int64_t lo,
                     int64_t hi) {
  const float *in[4] = {NULL};
  float *out[3] = {NULL};
  int tensors = p->update->tensors;
  for (int t = 0; t < tensors; t++) in[t] = input(call, i * tensors + t) + (lo - p->first[i]);
  for (int t = 0; t < tensors - 1; t++) {
    float *y = output(call, i * (tensors - 1) + t);
    out[t] = y ? y + (lo - p->first[i]) : NULL;
  }
  step(k, in, out, hi - lo);
}

static void run_update(const moon_call *call, int64_t first, int64_t last) {
  const update_plan *p = call->state;
  moon_update_numbers k = {0};
  if (first >= last) return;
  moon_update_fn step = step_of(p, call, &k);
  int64_t lo = first * BLOCK, end = moon__min_i64(last * BLOCK, p->first[p->sets]);
  for (int i = 0; i < p->sets && lo < end; i++) {
    int64_t hi = moon__min_i64(end, p->first[i + 1]);
    if (lo >= hi) continue;
    step_set(p, call, step, &k, i, lo, hi);
    lo = hi;
  }
}

/* ---- Sum of squares ---- */

static void run_squares(const moon_call *call, int64_t first, int64_t last) {
  const update_plan *p = call->state;
  double *partial = (double *)(void *)(call->scratch + p->partial);
  for (int64_t job = first; job < last; job++) {
    int64_t lo = job * BLOCK, end = moon__min_i64(lo + BLOCK, p->first[p->sets]);
    partial[job] = 0;
    for (int i = 0; i < p->sets && lo < end; i++) {
      int64_t hi = moon__min_i64(end, p->first[i + 1]);
      if (lo >= hi) continue;
      partial[job] += (double)p->set->squares(input(call, i) + (lo - p->first[i]), hi - lo);
      lo = hi;
    }
  }
}

static void run_squares_sum(const moon_call *call, int64_t first, int64_t last) {
  const update_plan *p = call->state;
  const double *partial = (const double *)(const void *)(call->scratch + p->partial);
  double sum = 0;
  if (first >= last) return;
  for (int64_t job = 0; job < p->njobs; job++) sum += partial[job];
  output(call, 0)[0] = (float)sum;
}

/* ---- Plan ---- */

bool moon__cpu_update_has(const moon_node *n) {
  const moon_update *u = moon__update_of(n->op->id);
  int tensors = u ? n->ninputs / u->tensors * u->tensors : n->ninputs;
  if (!u && n->op->id != MOON_OP_sum_squares) return false;
  if (u) tensors = (n->ninputs - u->numbers) / u->tensors * u->tensors;
  for (int i = 0; i < tensors; i++)
    if (n->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  return true;
}

bool moon__cpu_update_fits(const moon_fast *f) { return moon__cpu_update_has(f->node); }

static bool count_elements(update_plan *p, const moon_fast *f, int tensors) {
  for (int i = 0; i < p->sets; i++) {
    const moon_array *x = &f->in[i * tensors];
    int64_t n = 1;
    for (int d = 0; d < x->ndim; d++)
      if (!moon__mul_i64(n, x->shape[d], &n)) return false;
    if (!moon__add_i64(p->first[i], n, &p->first[i + 1])) return false;
  }
  return true;
}

moon_status moon__cpu_update_plan(const moon_fast *f, moon_choice *c) {
  const moon_update *u = moon__update_of(f->node->op->id);
  int tensors = u ? u->tensors : 1, sets = u ? (f->nin - u->numbers) / tensors : f->nin;
  update_plan *p = moon__fast_state(f, c, sizeof *p + ((size_t)sets + 1) * sizeof p->first[0]);
  if (!p) return MOON_EMEMORY;
  p->set = MOON_ISA_PICK(f->isa, moon__update_set);
  p->update = u;
  p->sets = sets;
  if (!count_elements(p, f, tensors)) return MOON_ESIZE;
  p->njobs = moon__ceildiv_i64(p->first[sets], BLOCK);
  c->dense_in = ~(uint64_t)0;
  c->why = sets > 1 ? "one pass over all tensors" : "one pass";
  if (!u) {
    c->kernel = MOON_ISA_TEXT(f->isa, "cpu_sum_squares_f32");
    if (!moon__fast_scratch(c, &p->partial, p->njobs, (int64_t)sizeof(double))) return MOON_ESIZE;
    moon__fast_phase(c, run_squares, p->njobs);
    moon__fast_phase(c, run_squares_sum, 1);
    return MOON_OK;
  }
  c->kernel = u->one == MOON_OP_sgd_update    ? MOON_ISA_TEXT(f->isa, "cpu_sgd_update_f32")
              : u->one == MOON_OP_adam_update ? MOON_ISA_TEXT(f->isa, "cpu_adam_update_f32")
                                              : MOON_ISA_TEXT(f->isa, "cpu_rmsprop_update_f32");
  /* Of many, an output may only take the place of an input of its own set: of the variable that it writes, as the pass join sees to.
  ** A gradient's memory might go to another set. */
  c->alias_in = sets > 1 ? ~(uint64_t)0 : ((uint64_t)1 << tensors) - 1;
  for (int i = 0; i < sets && i * tensors + 1 < 64 && sets > 1; i++) c->alias_in &= ~((uint64_t)1 << (i * tensors + 1));
  moon__fast_phase(c, run_update, p->njobs);
  return MOON_OK;
}
