/*
** tuner.c: measures, when asked, what the table (tune.h) tells choosers. The heavy nodes of a program are computed alone, on numbers of
** the right shapes: each as a small program, compiled with each answer to the questions that its choosers ask, one dial at a time.
** The programs take turns, and the shortest time of each counts; what wins by more than 5 %, twice, is put on trial as a row. Heavy
** nodes come first, and each has its share of the time. What wins alone may lose among the others, whose caches and clock it shares, or
** have won by chance: at last the whole program runs with the rows and without, by turns, and they stay only if it is faster so.
*/
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/number.h"
#include "base/shape.h"
#include "base/text.h"
#include "explain.h"
#include "graph/build.h"
#include "passes/pass.h"
#include "plan/plan.h"
#include "tensor/variable.h"
#include "tune.h"

#define DEFAULT_SECONDS 2.0
#define LEAST_FLOPS 5e5 /* below, what is won is less than what differs from run to run */
#define WIN 0.95
#define NODES_SHARE 0.6 /* of the time; the rest is for the whole program */
enum { ROUNDS = 30, LEAST_ROUNDS = 2, MOST_PAIRS = 200 };

typedef struct work { const moon_program *program; const moon_launch *launch; double flops; } work;

typedef struct tuner {
  moon_context *ctx;
  moon_device *device;
  moon_mode mode;
  double deadline_us;
  int nwork, work_capacity, ndone, done_capacity;
  work *work;
  moon_tune_key *done; /* keys that were looked at; forms are the choosers' constants */
  moon_text text;
  int better, left; /* rows on trial; questions for which there was no time */
} tuner;

/* One node, what it works on, and room for what it gives. */
typedef struct stage {
  moon_graph *graph;
  int nin;
  moon_value *formal[MOON_MAX_INPUTS];
  moon_tensor *in[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS];
} stage;

/* ---- The node alone ---- */

/* Numbers that are neither zero nor extreme; zeros where they may be positions. */
static moon_tensor *numbers(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape) {
  moon_tensor *t = moon_tensor_new(ctx, dtype, ndim, shape);
  if (!t || (dtype != MOON_DTYPE_f32 && dtype != MOON_DTYPE_f64)) return t;
  int64_t n = moon_tensor_count(t);
  float *x = moon__alloc_array(ctx->runtime, (size_t)n, sizeof *x);
  moon_status s = x ? MOON_OK : moon__fail_memory(ctx);
  for (int64_t i = 0; x && i < n; i++) x[i] = 0.5f + 0.125f * (float)(i % 7);
  if (s == MOON_OK) s = moon_tensor_write(ctx, t, MOON_DTYPE_f32, x, (size_t)n * sizeof *x);
  moon__free(ctx->runtime, x);
  if (s == MOON_OK) return t;
  moon_tensor_release(t);
  return NULL;
}

/* The axes of a dense array that the view turned round, outermost first: false when the view is something else. */
static bool axes_of(const moon_view *v, int *axes) {
  int64_t step = 1;
  for (int n = v->ndim - 1; n >= 0; n--) {
    int found = -1;
    for (int i = v->ndim - 1; i >= 0; i--) {
      bool used = false;
      for (int k = n + 1; k < v->ndim; k++) used |= axes[k] == i;
      if (!used && (v->strides[i] == step || v->shape[i] == 1) && (found < 0 || v->shape[found] == 1)) found = i;
    }
    if (found < 0) return false;
    axes[n] = found;
    step *= v->shape[found];
  }
  return true;
}

/* A value like the operand o: a variable where it stays the same from run to run, else an input; dense but for turned axes. */
static moon_value *operand(moon_context *ctx, const moon_program *p, const moon_operand *o, stage *st) {
  int axes[MOON_MAX_DIMS], back[MOON_MAX_DIMS];
  int64_t shape[MOON_MAX_DIMS];
  const moon_plan_buffer *b = &p->buffers[o->buffer];
  bool lasting = b->kind == MOON_BUFFER_PERSISTENT || b->kind == MOON_BUFFER_CONSTANT ||
                 (b->kind == MOON_BUFFER_READ && !p->written[b->index]);
  bool turned = axes_of(&o->view, axes);
  for (int i = 0; i < o->view.ndim; i++) {
    if (!turned) axes[i] = i;
    shape[i] = o->view.shape[axes[i]];
    back[axes[i]] = i;
  }
  moon_tensor *t = numbers(ctx, o->dtype, o->view.ndim, shape);
  if (!t) return NULL;
  moon_value *v;
  if (lasting) {
    moon_variable *variable = moon_variable_new(ctx, "w", t, false);
    v = variable ? moon_variable_value(ctx, variable) : NULL;
    moon_variable_release(variable);
    moon_tensor_release(t);
  } else {
    v = moon_input(ctx, "x", o->dtype, o->view.ndim, shape);
    st->formal[st->nin] = v;
    st->in[st->nin++] = t;
  }
  for (int i = 0; i < o->view.ndim; i++)
    if (axes[i] != i) return v ? moon__transpose(ctx, v, back) : NULL;
  return v;
}

/* The node as it was before passes chose a form for it. */
static moon_value *plain_node(moon_context *ctx, const moon_node *n, moon_value *const *in) {
  moon_value *out[MOON_MAX_OUTPUTS] = {NULL};
  moon_body body = {.attrs = n->attrs, .n = n->ninputs, .noutputs = n->noutputs, .in = in, .out = out};
  moon_node_spec spec = {.op = n->op, .attrs = n->attrs, .ninputs = n->ninputs, .inputs = in, .origin = n->origin, .raw = true};
  if (n->op->kind != MOON_COMPOSITE) return moon__node_build(ctx, &spec);
  return n->op->build(ctx, &body) == MOON_OK ? out[0] : NULL;
}

static moon_value *whole_node(moon_context *ctx, const work *w, stage *st) {
  const moon_launch *l = w->launch;
  const moon_operand *o = &w->program->operands[l->operands];
  moon_value *in[MOON_MAX_INPUTS];
  int k = 0;
  for (; k < l->node->ninputs; k++)
    if (!(in[k] = operand(ctx, w->program, &o[k], st))) return NULL;
  moon_value *y = plain_node(ctx, l->node, in);
  const moon_node *loop = l->epilogue;
  if (!y || !loop) return y;
  for (int i = 0; i < loop->ninputs; i++) {
    in[i] = loop->inputs[i]->node == l->node ? y : operand(ctx, w->program, &o[k++], st);
    if (!in[i]) return NULL;
  }
  moon_node_spec spec = {.op = loop->op, .ninputs = loop->ninputs, .inputs = in, .ngraphs = 1, .graphs = loop->graphs,
                         .origin = loop->origin, .raw = true};
  return moon__node_build(ctx, &spec);
}

static void stage_free(stage *st) {
  moon_graph_release(st->graph);
  for (int i = 0; i < st->nin; i++) moon_tensor_release(st->in[i]);
  for (int i = 0; i < MOON_MAX_OUTPUTS; i++) moon_tensor_release(st->out[i]);
}

static moon_status stage_make(moon_context *ctx, const work *w, stage *st) {
  memset(st, 0, sizeof *st);
  moon_scope_open(ctx);
  moon_value *y = whole_node(ctx, w, st);
  if (y) {
    moon_value *outputs[MOON_MAX_OUTPUTS];
    for (int i = 0; i < y->node->noutputs; i++) outputs[i] = moon__output(y, i);
    st->graph = moon_graph_new(ctx, st->nin, st->formal, y->node->noutputs, outputs, 0, NULL);
  }
  moon_scope_close(ctx);
  return st->graph ? MOON_OK : ctx->status;
}

/* ---- Compiling and timing it ---- */

/* Compiled with this answer to its question (NULL: what the table says); questions are noted in *trial. trial NULL: as if nothing were
** tried. */
static moon_program *compile(tuner *t, const stage *st, moon_trial *trial, const moon_question *answer) {
  moon_pass_env env = {.ctx = t->ctx, .device = t->device, .mode = t->mode, .fast_kernels = true};
  moon_program *p = NULL;
  t->ctx->trial = trial;
  if (trial) trial->answer = answer;
  moon_scope_open(t->ctx);
  moon_graph *g = moon__pass_winograd(&env, st->graph), *ready = g ? moon__pass_select(&env, g) : NULL;
  if (ready) p = moon__plan(t->ctx, t->device, ready, t->mode, true);
  moon_scope_close(t->ctx);
  moon_graph_release(g);
  moon_graph_release(ready);
  t->ctx->trial = NULL;
  return p;
}

static double now(const tuner *t) { return moon__now_us(t->ctx->runtime); }

/* One run, until the device is through with it. */
static moon_status time_run(tuner *t, moon_program *p, stage *st, double *us) {
  char some[4];
  double start = now(t);
  moon_status s = moon_program_run(t->ctx, p, st->in, st->out, 0);
  const moon_storage *y = s == MOON_OK ? st->out[0]->storage : NULL;
  if (y && y->bytes >= sizeof some) s = t->device->backend->buffer_read(t->ctx, t->device, y->handle, 0, some, sizeof some);
  *us = now(t) - start;
  return s;
}

/* Shortest times of n programs, by turns until end_us, but some rounds in any case; zeros: the time of all was out before that. */
static moon_status time_all(tuner *t, stage *st, int n, moon_program *const *p, double end_us, double *best) {
  memset(best, 0, (size_t)n * sizeof *best);
  for (int round = -1; round < ROUNDS; round++) { /* the first does what is done once: packing, building, touching memory */
    if (round >= LEAST_ROUNDS && now(t) >= (end_us < t->deadline_us ? end_us : t->deadline_us)) break;
    for (int i = 0; i < n; i++) {
      double us;
      if (now(t) >= t->deadline_us && round < LEAST_ROUNDS) {
        memset(best, 0, (size_t)n * sizeof *best);
        return MOON_OK;
      }
      moon_status s = time_run(t, p[i], st, &us);
      if (s != MOON_OK) return s;
      if (round == 0 || (round > 0 && us < best[i])) best[i] = us;
    }
  }
  return MOON_OK;
}

/* ---- Answers ---- */

enum { MOST_ANSWERS = MOON_TUNE_VALUES + 2 };

/* Answers that differ in dial d; before the first, what the kernel's own rule says too. Their number. */
static int list_answers(const moon_question *best, int d, moon_question *q) {
  int n = 0;
  q[n++] = *best;
  if (d == 0 && memcmp(best->value, best->own, sizeof best->own) != 0) {
    q[n] = *best;
    memcpy(q[n++].value, best->own, sizeof best->own);
  }
  for (int i = 0; i < best->dial[d].nvalues; i++) {
    if (best->dial[d].value[i] == best->value[d]) continue;
    q[n] = *best;
    q[n++].value[d] = best->dial[d].value[i];
  }
  return n;
}

/* Tries the values of dial d; best keeps the fastest. *tried counts programs. */
static moon_status turn_dial(tuner *t, stage *st, int d, double end_us, moon_question *best, int *tried) {
  moon_question q[MOST_ANSWERS];
  moon_program *p[MOST_ANSWERS];
  double us[MOST_ANSWERS];
  moon_trial trial = {0};
  int n = 0, least = 0;
  for (int i = 0, answers = list_answers(best, d, q); i < answers; i++) {
    q[n] = q[i];
    p[n] = compile(t, st, &trial, &q[n]);
    if (p[n]) n++;
    else if (i == 0 || t->ctx->status == MOON_EMEMORY) break;
    else moon_error_clear(t->ctx); /* a value that does not fit this node */
  }
  moon_status s = n > 1 ? time_all(t, st, n, p, end_us, us) : n ? MOON_OK : t->ctx->status;
  if (s == MOON_OK && n > 1 && us[0] > 0) {
    *tried += n - 1;
    for (int i = 1; i < n; i++)
      if (us[i] < us[least]) least = i;
    if (us[least] < WIN * us[0]) *best = q[least];
  }
  for (int i = 0; i < n; i++) moon_program_release(p[i]);
  return s;
}

static void put_number(moon_text *text, double x) {
  char buf[MOON_NUMBER_BYTES];
  moon__text_format(text, "\t%s", moon__number_write(x, buf));
}

/* name, kernel, before, after, programs tried, row. */
static void report(tuner *t, const work *w, const moon_program *p, const double *us, int tried, const char *row) {
  char name[256], operands[512];
  const moon_launch *l = &p->launches[0];
  for (int i = 1; i < p->nlaunches; i++)
    if (p->launches[i].node->op->flops) l = &p->launches[i];
  moon__launch_name(w->launch, name, sizeof name);
  moon__launch_operands(w->program, w->launch, operands, sizeof operands);
  moon__text_format(&t->text, "%s %s\t%s (%s)", name, operands, l->choice.kernel, l->choice.why ? l->choice.why : "");
  put_number(&t->text, us[0]);
  put_number(&t->text, us[1]);
  moon__text_format(&t->text, "\t%d\t%s\n", tried, row ? row : "-");
}

/* What came out, against what was: it must win once more. */
static moon_status settle(tuner *t, const work *w, stage *st, const moon_question *first, const moon_question *best, double end_us,
                          int tried) {
  moon_trial trial = {0};
  moon_program *p[2] = {compile(t, st, &trial, first), NULL};
  bool other = memcmp(first->value, best->value, sizeof first->value) != 0;
  if (p[0]) p[1] = other ? compile(t, st, &trial, best) : moon_program_retain(p[0]);
  double us[2] = {0, 0};
  const char *row = NULL;
  moon_status s = p[1] ? time_all(t, st, other ? 2 : 1, p, end_us, us) : t->ctx->status;
  bool wins = s == MOON_OK && other && us[1] > 0 && us[1] < WIN * us[0];
  if (!wins) us[1] = us[0];
  if (wins && !(row = moon__tune_set(t->ctx, t->device, best))) s = t->ctx->status;
  t->better += row != NULL;
  if (s == MOON_OK && us[0] > 0) report(t, w, p[wins], us, tried, row);
  else t->left++;
  moon_program_release(p[0]);
  moon_program_release(p[1]);
  return s;
}

static bool is_done(tuner *t, const moon_tune_key *key, moon_status *s) {
  for (int i = 0; i < t->ndone; i++)
    if (moon__tune_same(&t->done[i], key)) return true;
  if (MOON_RESERVE(t->ctx->runtime, t->done, t->done_capacity, t->ndone + 1)) t->done[t->ndone++] = *key;
  else *s = moon__fail_memory(t->ctx);
  return false;
}

static moon_status tune_question(tuner *t, const work *w, stage *st, const moon_question *first, double share_us) {
  moon_question best = *first;
  moon_status s = MOON_OK;
  int tried = 1;
  share_us /= first->ndials + 1;
  for (int d = 0; s == MOON_OK && d < first->ndials; d++) s = turn_dial(t, st, d, now(t) + share_us, &best, &tried);
  return s == MOON_OK ? settle(t, w, st, first, &best, now(t) + share_us, tried) : s;
}

/* The questions of a node, in the order in which they are asked; its form first, then the numbers of the kernel. */
static moon_status tune_node(tuner *t, const work *w, double share_us) {
  stage st;
  moon_trial trial = {0};
  moon_status s = stage_make(t->ctx, w, &st);
  for (int i = 0; s == MOON_OK && (i == 0 || i < trial.nasked); i++) {
    moon_program *p = compile(t, &st, &trial, NULL); /* again for each: a row that was set may ask for more */
    if (!p) s = t->ctx->status;
    moon_program_release(p);
    if (s != MOON_OK || i >= trial.nasked || is_done(t, &trial.asked[i].key, &s)) continue;
    if (s == MOON_OK) s = tune_question(t, w, &st, &trial.asked[i], share_us);
  }
  stage_free(&st);
  return s;
}

/* ---- The program ---- */

/* Heaviest first; equal ones stay in order. */
static moon_status list_work(tuner *t, const moon_program *p) {
  moon_status s = MOON_OK;
  for (int i = 0; s == MOON_OK && i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    for (int k = 0; s == MOON_OK && k < 2; k++)
      if (l->child[k]) s = list_work(t, l->child[k]);
    double flops = l->node->op->flops ? l->node->op->flops(l->node) : 0;
    if (s != MOON_OK || flops < LEAST_FLOPS || l->nbefore > 0) continue; /* a chain has nothing to tune */
    if (!MOON_RESERVE(t->ctx->runtime, t->work, t->work_capacity, t->nwork + 1)) return moon__fail_memory(t->ctx);
    int at = t->nwork++;
    for (; at > 0 && t->work[at - 1].flops < flops; at--) t->work[at] = t->work[at - 1];
    t->work[at] = (work){p, l, flops};
  }
  return s;
}

static moon_status tune_all(tuner *t) {
  double flops = 0;
  moon_status s = MOON_OK;
  int i = 0;
  for (int k = 0; k < t->nwork; k++) flops += t->work[k].flops;
  for (; s == MOON_OK && i < t->nwork; i++) {
    double left = t->deadline_us - now(t);
    if (left <= 0) break;
    s = tune_node(t, &t->work[i], left * t->work[i].flops / flops);
    flops -= t->work[i].flops;
  }
  moon__text_format(&t->text, "left\t%d\n", t->nwork - i + t->left);
  return s;
}

/* ---- With the rows and without ---- */

static moon_status forget_form(moon_rewriter *r, const moon_node *n, moon_value *const *in, moon_value **out) {
  bool form = n->op->id == MOON_OP_winograd_conv || n->op->id == MOON_OP_winograd_input_grad ||
              n->op->id == MOON_OP_winograd_filter_grad || n->op->id == MOON_OP_conv_packed;
  if (form) out[0] = plain_node(r->ctx, n, in);
  return form && !out[0] ? r->ctx->status : MOON_OK;
}

/* The program as it was before passes chose forms, and numbers for its inputs. MOON_EUNSUPPORTED: it has too many. */
static moon_status stage_whole(moon_context *ctx, const moon_program *p, stage *st) {
  const moon_graph *g = p->graph;
  moon_rewriter r = {.ctx = ctx, .visit = forget_form};
  memset(st, 0, sizeof *st);
  if (g->ninputs > MOON_MAX_INPUTS || g->noutputs > MOON_MAX_OUTPUTS) return MOON_EUNSUPPORTED;
  for (int i = 0; i < g->ninputs; i++) {
    const moon_type *type = &g->inputs[i]->type;
    if (!(st->in[i] = numbers(ctx, type->dtype, type->shape.ndim, type->shape.dim))) return ctx->status;
    st->nin++;
  }
  st->graph = moon__rewrite(&r, g);
  return st->graph ? MOON_OK : ctx->status;
}

/* From now on p works on copies of its variables; copies: variable -> the one that stands for it. */
static moon_status copy_variables(moon_context *ctx, moon_program *p, moon_map *copies) {
  for (int i = 0; i < p->nvariables; i++) {
    moon_variable *v = p->variables[i], *copy = moon_variable_retain(moon__map_get(copies, v));
    if (!copy && !(copy = moon_variable_new(ctx, "w", v->tensor, false))) return ctx->status;
    p->variables[i] = copy;
    bool noted = moon__map_put(copies, v, copy);
    moon_variable_release(v); /* programs are compiled from graphs that have it */
    if (!noted) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

/* Shortest times of two programs that run in turns, each as often first as second. *wins: the second was faster in more pairs than two
** standard deviations of chance would give it. */
static moon_status compare(tuner *t, stage *st, moon_program *const *p, double *best, bool *wins) {
  int n = 0, ahead = 0; /* pairs won less pairs lost */
  for (int round = -1; n < MOST_PAIRS && now(t) < t->deadline_us; round++) { /* the first does what is done once */
    double us[2];
    for (int k = 0; k < 2; k++) {
      int i = (k + round) & 1;
      moon_status s = time_run(t, p[i], st, &us[i]);
      if (s != MOON_OK) return s;
    }
    for (int i = 0; i < 2; i++)
      if (round <= 0 || us[i] < best[i]) best[i] = us[i];
    if (round < 0) continue;
    n++;
    ahead += us[1] < us[0] ? 1 : -1;
  }
  *wins = n > 0 && ahead > 0 && ahead * ahead >= 4 * n && best[1] < best[0];
  return MOON_OK;
}

static moon_status try_whole(tuner *t, const moon_program *p, bool *wins) {
  stage st;
  moon_map copies;
  moon_trial trial = {0};
  moon_program *made[2] = {NULL, NULL};
  double us[2] = {0, 0};
  moon__map_init(&copies, t->ctx->runtime);
  moon_status s = stage_whole(t->ctx, p, &st);
  for (int i = 0; s == MOON_OK && i < 2; i++) {
    made[i] = compile(t, &st, i ? &trial : NULL, NULL);
    s = made[i] ? copy_variables(t->ctx, made[i], &copies) : t->ctx->status;
  }
  if (s == MOON_OK) s = compare(t, &st, made, us, wins);
  for (int i = 0; i < 2; i++) moon_program_release(made[i]);
  stage_free(&st);
  moon__map_free(&copies);
  moon__text_put(&t->text, "whole");
  for (int i = 0; i < 2; i++) put_number(&t->text, us[i]);
  moon__text_put(&t->text, "\n");
  return s == MOON_EUNSUPPORTED ? MOON_OK : s;
}

char *moon_tune(moon_context *ctx, moon_program *p, const moon_tune_options *options) {
  double seconds = options && options->seconds > 0 ? options->seconds : DEFAULT_SECONDS;
  tuner t = {.ctx = ctx, .device = p->device, .mode = p->mode, .text = {.runtime = ctx->runtime}};
  moon_device *before = ctx->device;
  double start = now(&t);
  bool kept = false;
  t.deadline_us = start + NODES_SHARE * seconds * 1e6;
  ctx->device = p->device; /* where numbers are made */
  ctx->compile_depth++;
  moon_status s = moon__tune_load(ctx);
  if (s == MOON_OK) s = list_work(&t, p);
  if (s == MOON_OK) s = tune_all(&t);
  t.deadline_us = start + seconds * 1e6;
  if (s == MOON_OK && t.better > 0) s = try_whole(&t, p, &kept);
  ctx->compile_depth--;
  ctx->device = before;
  moon__tune_settle(ctx, kept);
  if (kept) p->superseded = true;
  bool saved = kept && !(options && options->here_only) && moon__tune_save(ctx);
  moon__text_format(&t.text, "kept\t%d\nsaved\t%d\n", kept, saved);
  moon__free(ctx->runtime, t.work);
  moon__free(ctx->runtime, t.done);
  if (s == MOON_OK) return moon__text_end(ctx, &t.text);
  moon__free(ctx->runtime, t.text.text);
  return NULL;
}
