/*
** plan.c: a graph becomes launches. Views turn into strides, every other node into a launch of the kernel that the backend selects
** over its final operands. Launches that write variables come last, after everything that can fail (effects.c); what depends on
** unchanging variables and constants alone goes to the prologue. Offsets are memory.c's.
*/
#include "plan/planner.h"

#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "base/size.h"
#include "ops/attrs.h"
#include "passes/pass.h"
#include "tune.h"

typedef moon_planner planner;
typedef moon_place place;

bool moon__view_is_dense(const moon_view *v) {
  int64_t step = 1;
  for (int i = v->ndim - 1; i >= 0; i--) {
    if (v->shape[i] == 0) return true;
    if (v->shape[i] != 1 && v->strides[i] != step) return false;
    step *= v->shape[i];
  }
  return true;
}

size_t moon__type_bytes(const moon_type *t) {
  size_t n = moon_dtype_bytes(t->dtype);
  for (int i = 0; i < t->shape.ndim; i++) n *= (size_t)t->shape.dim[i];
  return n;
}

/* ---- Buffers, operands, launches ---- */

int moon__plan_buffer(planner *pl, moon_buffer_kind kind, int index, size_t bytes) {
  moon_program *p = pl->p;
  if (!MOON_RESERVE(p->runtime, p->buffers, p->buffer_capacity, p->nbuffers + 1)) {
    moon__fail_memory(pl->ctx);
    return -1;
  }
  p->buffers[p->nbuffers] = (moon_plan_buffer){.kind = kind, .index = index, .same_as = -1, .first = -1, .last = -1, .bytes = bytes};
  return p->nbuffers++;
}

static moon_operand dense_operand(int buffer, const moon_type *type) {
  moon_operand o = {.buffer = buffer, .dtype = type->dtype};
  o.view.ndim = type->shape.ndim;
  memcpy(o.view.shape, type->shape.dim, sizeof o.view.shape);
  moon__dense_strides(o.view.ndim, o.view.shape, o.view.strides);
  return o;
}

moon_status moon__plan_put(planner *pl, moon_map *map, const moon_value *v, moon_operand o, bool lasting) {
  int slot = pl->nplaces++ % MOON_BLOCK_PLACES;
  if (slot == 0) {
    moon_place_block *fresh = moon__alloc(pl->ctx->runtime, sizeof *fresh);
    if (!fresh) return moon__fail_memory(pl->ctx);
    fresh->next = pl->blocks;
    pl->blocks = fresh;
  }
  place *at = &pl->blocks->places[slot];
  *at = (place){.operand = o, .lasting = lasting};
  return moon__map_put(map, v, at) ? MOON_OK : moon__fail_memory(pl->ctx);
}

static moon_array array_of(const moon_operand *o) {
  moon_array a = {.dtype = o->dtype, .ndim = o->view.ndim};
  memcpy(a.shape, o->view.shape, sizeof a.shape);
  memcpy(a.strides, o->view.strides, sizeof a.strides);
  return a;
}

static moon_launch *add_launch(planner *pl, moon_node *node, int nin, const moon_operand *in, int nout, const moon_operand *out) {
  moon_program *p = pl->p;
  if (!MOON_RESERVE(p->runtime, p->launches, p->launch_capacity, p->nlaunches + 1) ||
      !MOON_RESERVE(p->runtime, p->operands, p->operand_capacity, p->noperands + nin + nout)) {
    moon__fail_memory(pl->ctx);
    return NULL;
  }
  moon_launch *l = &p->launches[p->nlaunches++];
  *l = (moon_launch){.node = node, .nin = nin, .nout = nout, .operands = p->noperands, .scratch = -1};
  moon_value_retain(&node->outputs[0]);
  if (nin) memcpy(p->operands + p->noperands, in, (size_t)nin * sizeof *in);
  if (nout) memcpy(p->operands + p->noperands + nin, out, (size_t)nout * sizeof *out);
  p->noperands += nin + nout;
  return l;
}

/* ---- Choosing kernels ---- */

static moon_status choose(planner *pl, moon_node *n, int nin, const moon_operand *in, int nout, const moon_operand *out,
                          moon_choice *choice) {
  moon_array a[MOON_MAX_INPUTS], b[MOON_MAX_OUTPUTS];
  const moon_backend *backend = pl->p->device->backend;
  memset(choice, 0, sizeof *choice);
  for (int i = 0; i < nin; i++) a[i] = array_of(&in[i]);
  for (int i = 0; i < nout; i++) b[i] = array_of(&out[i]);
  moon_origin *before = moon__origin_swap(pl->ctx, n->origin);
  moon_status s;
  if (n->op->id == MOON_OP_loop) {
    moon_loop loop;
    s = moon__loop_make(pl->ctx, n, a, &loop);
    if (s == MOON_OK) s = backend->select_loop(pl->ctx, pl->p->device, &loop, choice);
    /* A loop without reductions loads a tile of everything before it stores one. */
    for (int i = 0; s == MOON_OK && i < loop.nout; i++) {
      if (loop.out[i].reduce != MOON_OP_COUNT) choice->alias_in = 0;
    }
  } else {
    s = backend->select(pl->ctx, pl->p->device, n, a, nin, b, nout, pl->fast, choice);
  }
  pl->ctx->borrowed = before;
  return s;
}

static void drop_choice(planner *pl, moon_choice *c) {
  if (c->free_state) c->free_state(pl->p->runtime, c->state);
  memset(c, 0, sizeof *c);
}

moon_status moon__plan_copy(planner *pl, moon_node *like, const moon_operand *o, moon_operand *copy, bool lasting, int buffer) {
  moon_context *ctx = pl->ctx;
  moon_type type = {.dtype = o->dtype, .shape = moon__shape(o->view.ndim, o->view.shape)};
  moon_choice choice;
  moon_node_spec formal = {.op = moon__ops[MOON_OP_input], .name = "x", .type = &type, .raw = true, .origin = like->origin};
  moon_value *x = moon__node_build(ctx, &formal);
  moon_node_spec spec = {.op = moon__ops[MOON_OP_copy], .ninputs = 1, .inputs = &x, .raw = true, .origin = like->origin};
  moon_value *y = x ? moon__node_build(ctx, &spec) : NULL;
  if (!y) return ctx->status;
  if (buffer < 0) buffer = moon__plan_buffer(pl, lasting ? MOON_BUFFER_PERSISTENT : MOON_BUFFER_ARENA, -1, moon__type_bytes(&type));
  if (buffer < 0) return ctx->status;
  *copy = dense_operand(buffer, &type);
  moon_status s = choose(pl, y->node, 1, o, 1, copy, &choice);
  if (s != MOON_OK) return s;
  moon_launch *l = add_launch(pl, y->node, 1, o, 1, copy);
  if (!l) {
    drop_choice(pl, &choice);
    return ctx->status;
  }
  l->choice = choice;
  return MOON_OK;
}

static bool wants_dense(const moon_choice *c, int i) { return c->dense_in >> (i < 63 ? i : 63) & 1; }

/* Replaces the operand *o, value v, of n by its dense copy, made once for all who want it. */
static moon_status make_dense(planner *pl, moon_node *n, const moon_value *v, moon_operand *o) {
  const place *known = moon__map_get(&pl->copies, v);
  const place *from = moon__plan_place(pl, v);
  if (known) {
    *o = known->operand;
    return MOON_OK;
  }
  moon_operand strided = *o;
  moon_status s = moon__plan_copy(pl, n, &strided, o, from->lasting, -1);
  return s == MOON_OK ? moon__plan_put(pl, &pl->copies, v, *o, from->lasting) : s;
}

/* A product, the loop that finishes it (NULL: none), and which input of the loop it is. */
typedef struct linked { moon_node *node, *epilogue; int product; } linked;

/* A launch to be: a node, or a product with the loop that finishes it, or a chain of these. It has room for the largest node and is
** filled as far as this one goes. */
typedef struct step {
  moon_node *node, *epilogue;
  int product; /* which input of the loop it is */
  linked before[MOON_MAX_LINKS - 1];
  int nbefore;
  int nin, nout;
  moon_value *value[MOON_MAX_INPUTS];
  moon_operand in[MOON_MAX_INPUTS], out[MOON_MAX_OUTPUTS];
  bool lasting;
} step;

static void begin_step(step *st, moon_node *node, moon_node *epilogue, bool lasting) {
  st->node = node;
  st->epilogue = epilogue;
  st->product = -1;
  st->nbefore = 0;
  st->nin = 0;
  st->nout = (epilogue ? epilogue : node)->noutputs;
  st->lasting = lasting;
}

static void add_input(const planner *pl, step *st, moon_value *v) {
  const place *at = moon__plan_place(pl, v);
  st->value[st->nin] = v;
  st->in[st->nin++] = at->operand;
  st->lasting &= at->lasting;
}

/* What the device is told of a product: in: its operands, then those of its loop. */
static moon_status describe(planner *pl, const linked *f, const moon_array *in, moon_link *link, moon_epilogue *epilogue) {
  const moon_node *n = f->node, *loop_node = f->epilogue;
  moon_array loop_in[MOON_LOOP_MAX_ARGS];
  moon_operand result = dense_operand(-1, &n->outputs[0].type);
  moon_loop loop;
  *link = (moon_link){.node = n, .in = in, .nin = n->ninputs, .product = array_of(&result)};
  if (!loop_node) return MOON_OK;
  for (int i = 0; i < loop_node->ninputs; i++)
    loop_in[i] = i == f->product ? array_of(&moon__plan_place(pl, loop_node->inputs[i])->operand) : in[link->nin++];
  moon_status s = moon__loop_make(pl->ctx, loop_node, loop_in, &loop);
  if (s != MOON_OK) return s;
  int64_t columns = link->product.ndim > 0 ? link->product.shape[link->product.ndim - 1] : 1;
  if (!moon__loop_epilogue(&loop, f->product, columns, epilogue)) return MOON_EUNSUPPORTED;
  link->epilogue = epilogue;
  return MOON_OK;
}

static moon_status choose_products(planner *pl, const step *st, moon_choice *choice) {
  moon_device *device = pl->p->device;
  moon_array in[MOON_MAX_INPUTS], out[MOON_MAX_OUTPUTS], *at = in;
  moon_link link[MOON_MAX_LINKS];
  moon_epilogue epilogue[MOON_MAX_LINKS];
  for (int i = 0; i < st->nin; i++) in[i] = array_of(&st->in[i]);
  for (int i = 0; i < st->nout; i++) out[i] = array_of(&st->out[i]);
  for (int i = 0; i <= st->nbefore; i++) {
    linked f = i < st->nbefore ? st->before[i] : (linked){st->node, st->epilogue, st->product};
    moon_status s = describe(pl, &f, at, &link[i], &epilogue[i]);
    if (s != MOON_OK) return s;
    at += link[i].nin - 1; /* the next one's first operand is no operand of the launch */
  }
  if (st->nbefore) return device->backend->select_chain(pl->ctx, device, link, st->nbefore + 1, out, st->nout, choice);
  return device->backend->select_product(pl->ctx, device, st->node, in, st->nin, &link->product, epilogue, out, st->nout, choice);
}

static moon_status choose_step(planner *pl, const step *st, moon_choice *choice) {
  if (!st->epilogue && !st->nbefore) return choose(pl, st->node, st->nin, st->in, st->nout, st->out, choice);
  memset(choice, 0, sizeof *choice);
  moon_origin *before = moon__origin_swap(pl->ctx, st->node->origin);
  moon_status s = choose_products(pl, st, choice);
  pl->ctx->borrowed = before;
  return s;
}

static moon_status select_kernel(planner *pl, step *st, moon_choice *choice) {
  moon_status s = choose_step(pl, st, choice);
  bool changed = false;
  for (int i = 0; s == MOON_OK && i < st->nin; i++) {
    if (!wants_dense(choice, i) || moon__view_is_dense(&st->in[i].view)) continue;
    s = make_dense(pl, st->node, st->value[i], &st->in[i]);
    changed = true;
  }
  if (s == MOON_OK && !changed) return MOON_OK;
  drop_choice(pl, choice);
  return s == MOON_OK ? choose_step(pl, st, choice) : s;
}

/* ---- Nodes ---- */

bool moon__plan_is_control(const moon_node *n) {
  return n->op->id == MOON_OP_scan || n->op->id == MOON_OP_cond || n->op->id == MOON_OP_while_loop;
}

/* Bytes for carries that take turns: two sets. */
static size_t carry_bytes(const moon_node *n) {
  int64_t ncarry = n->op->id == MOON_OP_scan ? ((const moon_scan_attrs *)n->attrs)->ncarry
                   : n->op->id == MOON_OP_while_loop ? ((const moon_while_attrs *)n->attrs)->ncarry : 0;
  size_t bytes = 64; /* the predicate of while_loop */
  for (int64_t i = 0; i < ncarry; i++) bytes += 2 * ((moon__type_bytes(&n->outputs[i].type) + 63) & ~(size_t)63);
  return bytes;
}

static moon_status plan_control(planner *pl, step *st) {
  moon_context *ctx = pl->ctx;
  moon_node *n = st->node;
  moon_program *child[2] = {NULL, NULL};
  moon_status s = MOON_OK;
  for (int i = 0; s == MOON_OK && i < st->nin; i++) {
    if (!moon__view_is_dense(&st->in[i].view)) s = make_dense(pl, n, st->value[i], &st->in[i]);
  }
  for (int i = 0; s == MOON_OK && i < n->ngraphs && i < 2; i++) {
    child[i] = moon__plan(ctx, pl->p->device, n->graphs[i], pl->p->mode, pl->fast);
    if (!child[i]) s = ctx->status;
  }
  int scratch = s == MOON_OK ? moon__plan_buffer(pl, MOON_BUFFER_ARENA, -1, carry_bytes(n)) : -1;
  moon_launch *l = scratch >= 0 ? add_launch(pl, n, st->nin, st->in, st->nout, st->out) : NULL;
  if (!l) {
    moon_program_release(child[0]);
    moon_program_release(child[1]);
    return ctx->status;
  }
  l->scratch = scratch;
  l->choice.kernel = n->op->name;
  l->choice.why = "runs its bodies";
  memcpy(l->child, child, sizeof child);
  return MOON_OK;
}

/* Outputs nobody looks at have no memory; control nodes write all of theirs. */
static moon_status make_outputs(planner *pl, const moon_node *n, const moon_map *used, bool lasting, moon_operand *out) {
  for (int i = 0; i < n->noutputs; i++) {
    const moon_value *v = &n->outputs[i];
    int buffer = -1;
    if (i == 0 || moon__plan_is_control(n) || moon__map_has(used, v)) {
      buffer = moon__plan_buffer(pl, lasting ? MOON_BUFFER_PERSISTENT : MOON_BUFFER_ARENA, -1, moon__type_bytes(&v->type));
      if (buffer < 0) return pl->ctx->status;
    }
    out[i] = dense_operand(buffer, &v->type);
    moon_status s = moon__plan_put(pl, &pl->places, v, out[i], lasting);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}

/* Numbers that are only made to be given out: keeping them as well would hold their memory twice. */
static bool is_generated_output(const planner *pl, const moon_node *n) {
  bool output = false;
  if (n->ninputs > 0) return false;
  for (int i = 0; !output && i < pl->g->noutputs; i++) output = pl->g->outputs[i]->node == n;
  return output;
}

/* Outputs of the step; those that nobody uses but the kernel does get memory. */
static bool give_outputs(planner *pl, const step *st, const moon_choice *choice, moon_operand *out) {
  bool ok = true;
  memcpy(out, st->out, (size_t)st->nout * sizeof *out);
  for (int i = 0; ok && i < st->nout; i++) {
    if (out[i].buffer >= 0 || !(choice->needs_out >> i & 1)) continue;
    out[i].buffer = moon__plan_buffer(pl, MOON_BUFFER_ARENA, -1, moon__type_bytes(&st->node->outputs[i].type));
    ok = out[i].buffer >= 0;
  }
  return ok;
}

/* A node may be what it is because the table said so when its pass ran. */
static void note_form(planner *pl, const moon_node *n, moon_choice *choice) {
  bool direct = n->op->kind == MOON_STRUCTURED;
  int32_t tile = direct ? 0 : 4;
  moon_trial *trial = pl->ctx->trial; /* this is no question of a chooser */
  if (choice->tuned) return;
  pl->ctx->trial = NULL;
  const char *words = moon__winograd_tuned(pl->ctx, pl->p->device, n, pl->p->mode, &tile);
  pl->ctx->trial = trial;
  if (words && (tile == 0) == direct) choice->tuned = words;
}

/* A launch of the step by this kernel; owns the choice from here on. */
static moon_status launch(planner *pl, const step *st, moon_choice *choice) {
  moon_operand out[MOON_MAX_OUTPUTS];
  int scratch = -1;
  if (choice->scratch_bytes) scratch = moon__plan_buffer(pl, MOON_BUFFER_ARENA, -1, choice->scratch_bytes);
  bool room = (!choice->scratch_bytes || scratch >= 0) && give_outputs(pl, st, choice, out);
  moon_launch *l = room ? add_launch(pl, st->node, st->nin, st->in, st->nout, out) : NULL;
  if (!l) {
    drop_choice(pl, choice);
    return pl->ctx->status;
  }
  l->choice = *choice;
  if (pl->fast) note_form(pl, st->node, &l->choice);
  l->scratch = scratch;
  l->epilogue = st->epilogue;
  if (st->epilogue) moon_value_retain(&st->epilogue->outputs[0]);
  for (; l->nbefore < st->nbefore; l->nbefore++) {
    const linked *f = &st->before[l->nbefore];
    l->before[l->nbefore] = (moon_finished){f->node, f->epilogue};
    moon_value_retain(&f->node->outputs[0]);
    if (f->epilogue) moon_value_retain(&f->epilogue->outputs[0]);
  }
  return MOON_OK;
}

/* Operands of a product and its loop; first: with the one that the product before makes. Gives which of the loop's inputs the product
** is. */
static int add_finished(const planner *pl, step *st, const moon_node *product, const moon_node *loop, bool first) {
  int at = -1, buffer = moon__plan_place(pl, &product->outputs[0])->operand.buffer;
  for (int i = first ? 0 : 1; i < product->ninputs; i++) add_input(pl, st, product->inputs[i]);
  for (int i = 0; loop && i < loop->ninputs; i++) {
    if (moon__plan_place(pl, loop->inputs[i])->operand.buffer == buffer) at = i;
    else add_input(pl, st, loop->inputs[i]);
  }
  return at;
}

static void forget(planner *pl, const moon_node *n) {
  if (n) pl->p->buffers[moon__plan_place(pl, &n->outputs[0])->operand.buffer].bytes = 0; /* nobody writes it */
}

/* The loop of st with the product that it finishes, if the device can; *finished tells. Planned once the loop's outputs have places. */
static moon_status plan_finished(planner *pl, const step *loop, moon_node *product, bool *finished) {
  step st;
  moon_choice choice;
  begin_step(&st, product, loop->node, true);
  st.product = add_finished(pl, &st, product, loop->node, true);
  if (moon__plan_place(pl, &product->outputs[0])->lasting && !st.lasting) return MOON_OK; /* the prologue computes the product once */
  memcpy(st.out, loop->out, (size_t)loop->nout * sizeof *loop->out);
  moon_status s = select_kernel(pl, &st, &choice);
  if (s == MOON_EUNSUPPORTED) return MOON_OK;
  if (s != MOON_OK) return s;
  forget(pl, product);
  *finished = true;
  return launch(pl, &st, &choice);
}

static void list_inputs(const planner *pl, step *st) {
  for (int i = 0; i < st->node->ninputs; i++) add_input(pl, st, st->node->inputs[i]);
}

/* Outputs that are transposed lie as their transpose wants them, where the kernel can write them so: it need not be copied then. */
static moon_status order_outputs(planner *pl, step *st, moon_choice *choice) {
  bool ordered = false;
  for (int i = 0; i < st->nout; i++) {
    const moon_value *v = &st->node->outputs[i];
    const moon_node *transpose = choice->ordered_out >> i & 1 ? moon__map_get(&pl->turned, v) : NULL;
    const moon_ints *perm = transpose ? &((const moon_axes_only_attrs *)transpose->attrs)->axes : NULL;
    if (!perm || perm->v[perm->n - 1] != perm->n - 1) continue;
    int64_t strides[MOON_MAX_DIMS];
    moon__dense_strides(perm->n, transpose->outputs[0].type.shape.dim, strides);
    for (int k = 0; k < perm->n; k++) st->out[i].view.strides[perm->v[k]] = strides[k];
    moon_status s = moon__plan_put(pl, &pl->places, v, st->out[i], st->lasting);
    if (s != MOON_OK) return s;
    ordered = true;
  }
  if (!ordered) return MOON_OK;
  drop_choice(pl, choice);
  return choose_step(pl, st, choice);
}

/* A node whose outputs have places; product: what it may finish, or NULL. */
static moon_status plan_placed(planner *pl, step *st, moon_node *product);

/* The same for a node that was put off when its turn came. */
static moon_status plan_put_off(planner *pl, moon_node *n) {
  step st;
  const place *at = moon__plan_place(pl, &n->outputs[0]);
  begin_step(&st, n, NULL, at->lasting);
  list_inputs(pl, &st);
  for (int i = 0; i < n->noutputs; i++) st.out[i] = moon__plan_place(pl, &n->outputs[i])->operand;
  return plan_placed(pl, &st, n->op->id == MOON_OP_loop ? moon__map_get(&pl->partners, n) : NULL);
}

static moon_status plan_placed(planner *pl, step *st, moon_node *product) {
  moon_choice choice;
  bool finished = false;
  moon_status s = product ? plan_finished(pl, st, product, &finished) : MOON_OK;
  if (s != MOON_OK || finished) return s;
  if (product) s = plan_put_off(pl, product);
  if (s == MOON_OK) s = select_kernel(pl, st, &choice);
  if (s == MOON_OK) s = order_outputs(pl, st, &choice);
  return s == MOON_OK ? launch(pl, st, &choice) : s;
}

/* The products before one in its chain, first to last. Gives their number. */
static int list_before(const planner *pl, const moon_node *product, linked *before) {
  int n = 0;
  for (moon_node *p; (p = moon__map_get(&pl->chains.before, product)); product = p) {
    memmove(before + 1, before, (size_t)n++ * sizeof *before);
    before[0] = (linked){p, moon__map_get(&pl->partners, p), -1};
  }
  return n;
}

/* The chain that ends with a product, finished by the node of `end` if that is a loop, whose outputs have places. *chained: the device
** can run it. */
static moon_status plan_chain(planner *pl, const step *end, moon_node *product, bool *chained) {
  step st;
  moon_choice choice;
  begin_step(&st, product, end->node == product ? NULL : end->node, false);
  st.nbefore = list_before(pl, product, st.before);
  for (int i = 0; i < st.nbefore; i++) st.before[i].product = add_finished(pl, &st, st.before[i].node, st.before[i].epilogue, i == 0);
  st.product = add_finished(pl, &st, product, st.epilogue, false);
  if (moon__plan_place(pl, &st.before[0].node->outputs[0])->lasting) return MOON_OK; /* the prologue computes it once */
  memcpy(st.out, end->out, (size_t)end->nout * sizeof *end->out);
  moon_status s = select_kernel(pl, &st, &choice);
  if (s == MOON_EUNSUPPORTED) return MOON_OK;
  if (s != MOON_OK) return s;
  for (int i = 0; i < st.nbefore; i++) forget(pl, st.before[i].node), forget(pl, st.before[i].epilogue);
  if (st.epilogue) forget(pl, product);
  *chained = true;
  return launch(pl, &st, &choice);
}

static moon_status plan_links_alone(planner *pl, const moon_node *last) {
  linked before[MOON_MAX_LINKS - 1];
  moon_status s = MOON_OK;
  int n = list_before(pl, last, before);
  for (int i = 0; s == MOON_OK && i < n; i++) s = plan_put_off(pl, before[i].epilogue ? before[i].epilogue : before[i].node);
  return s;
}

static moon_status plan_kernel(planner *pl, moon_node *n, const moon_map *used) {
  step st;
  bool loop = n->op->id == MOON_OP_loop, chained = false;
  moon_node *partner = moon__map_get(&pl->partners, n), *product = loop ? partner : n;
  begin_step(&st, n, NULL, !(n->op->flags & MOON_OPF_RANDOM) && !moon__plan_is_control(n) && !is_generated_output(pl, n));
  list_inputs(pl, &st);
  moon_status s = make_outputs(pl, n, used, st.lasting, st.out);
  if (s != MOON_OK) return s;
  if (moon__plan_is_control(n)) return plan_control(pl, &st);
  if (partner && !loop) return MOON_OK; /* it is planned with the loop */
  if (product && moon__map_has(&pl->chains.after, product)) return MOON_OK; /* with the last of its chain */
  if (product && moon__map_has(&pl->chains.before, product)) s = plan_chain(pl, &st, product, &chained);
  if (s != MOON_OK || chained) return s;
  if (product) s = plan_links_alone(pl, product);
  return s == MOON_OK ? plan_placed(pl, &st, partner) : s;
}

static moon_status plan_view(planner *pl, moon_node *n, bool *done) {
  const place *at = moon__plan_place(pl, n->inputs[0]);
  moon_operand o = at->operand;
  o.dtype = n->outputs[0].type.dtype;
  *done = n->op->view(n, &at->operand.view, &o.view);
  return *done ? moon__plan_put(pl, &pl->places, &n->outputs[0], o, at->lasting) : MOON_OK;
}

static moon_status plan_constant(planner *pl, moon_node *n) {
  moon_program *p = pl->p;
  moon_tensor *t = n->outputs[0].tensor;
  if (!MOON_RESERVE(p->runtime, p->constants, p->constant_capacity, p->nconstants + 1)) return moon__fail_memory(pl->ctx);
  p->constants[p->nconstants] = moon_tensor_retain(t);
  p->constant_bytes += moon_tensor_bytes(t);
  int buffer = moon__plan_buffer(pl, MOON_BUFFER_CONSTANT, p->nconstants++, t->storage->bytes);
  if (buffer < 0) return pl->ctx->status;
  moon_operand o = {.buffer = buffer, .dtype = t->dtype, .view = {.ndim = t->ndim, .offset = t->offset}};
  memcpy(o.view.shape, t->shape, sizeof o.view.shape);
  memcpy(o.view.strides, t->strides, sizeof o.view.strides);
  return moon__plan_put(pl, &pl->places, &n->outputs[0], o, true);
}

static moon_status plan_variable(planner *pl, moon_node *n) {
  int slot = (int)(uintptr_t)moon__map_get(&pl->variables, n->variable) - 1;
  int buffer = moon__plan_buffer(pl, MOON_BUFFER_READ, slot, moon__type_bytes(&n->outputs[0].type));
  if (buffer < 0) return pl->ctx->status;
  return moon__plan_put(pl, &pl->places, &n->outputs[0], dense_operand(buffer, &n->outputs[0].type), !pl->p->written[slot]);
}

static moon_status plan_node(planner *pl, moon_node *n, const moon_map *used) {
  bool done = false;
  switch (n->op->id) {
    case MOON_OP_input: return MOON_OK; /* placed first, in the order of the graph's inputs */
    case MOON_OP_assign: return MOON_OK; /* an effect: see plan_effects */
    case MOON_OP_constant: return plan_constant(pl, n);
    case MOON_OP_variable: return plan_variable(pl, n);
    default: break;
  }
  if (n->op->flags & MOON_OPF_VIEW) {
    moon_status s = plan_view(pl, n, &done);
    if (s != MOON_OK || done) return s;
  }
  return plan_kernel(pl, n, used);
}

/* ---- Order ---- */

/* A node is late when all its users are late or effects: then it may write variables directly. */
static moon_status mark_late(planner *pl) {
  const moon_graph *g = pl->g;
  moon_map needed;
  bool ok = true;
  moon__map_init(&needed, pl->ctx->runtime);
  for (int i = 0; ok && i < g->noutputs; i++) ok = moon__map_put(&needed, g->outputs[i]->node, pl);
  for (int i = g->nnodes - 1; ok && i >= 0; i--) {
    moon_node *n = g->nodes[i];
    bool late = n->op->id != MOON_OP_input && !(n->op->flags & MOON_OPF_VIEW) && !moon__map_has(&needed, n);
    if (late) {
      ok = moon__map_put(&pl->late, n, pl);
      /* Only what feeds an effect directly is late; what it needs runs with the rest. */
      if (n->op->id == MOON_OP_assign) continue;
    }
    for (int k = 0; ok && k < n->ninputs; k++) ok = moon__map_put(&needed, n->inputs[k]->node, pl);
  }
  moon__map_free(&needed);
  return ok ? MOON_OK : moon__fail_memory(pl->ctx);
}

static moon_status list_used(planner *pl, moon_map *used) {
  const moon_graph *g = pl->g;
  bool ok = true;
  for (int i = 0; ok && i < g->noutputs; i++) ok = moon__map_put(used, g->outputs[i], pl);
  for (int i = 0; ok && i < g->nnodes; i++) {
    moon_node *n = g->nodes[i];
    for (int k = 0; ok && k < n->ninputs; k++) ok = moon__map_put(used, n->inputs[k], pl);
    if (ok && n->op->id == MOON_OP_transpose) ok = moon__map_put(&pl->turned, n->inputs[0], n);
  }
  return ok ? MOON_OK : moon__fail_memory(pl->ctx);
}

static moon_status plan_inputs(planner *pl) {
  const moon_graph *g = pl->g;
  for (int i = 0; i < g->ninputs; i++) {
    int buffer = moon__plan_buffer(pl, MOON_BUFFER_INPUT, i, moon__type_bytes(&g->inputs[i]->type));
    if (buffer < 0) return pl->ctx->status;
    moon_status s = moon__plan_put(pl, &pl->places, g->inputs[i], dense_operand(buffer, &g->inputs[i]->type), false);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}

/* ---- The whole ---- */

static moon_status list_variables(planner *pl) {
  moon_program *p = pl->p;
  const moon_graph *g = pl->g;
  p->variables = moon__alloc_array(p->runtime, (size_t)g->nvariables, sizeof *p->variables);
  p->written = moon__alloc_array(p->runtime, (size_t)g->nvariables, sizeof *p->written);
  if (!p->variables || !p->written) return moon__fail_memory(pl->ctx);
  for (int i = 0; i < g->nvariables; i++) {
    p->variables[i] = moon_variable_retain(g->variables[i]);
    p->nvariables = i + 1;
    if (!moon__map_put(&pl->variables, g->variables[i], (void *)(uintptr_t)(i + 1))) return moon__fail_memory(pl->ctx);
  }
  for (int i = 0; i < g->neffects; i++)
    p->written[(uintptr_t)moon__map_get(&pl->variables, g->effects[i]->node->variable) - 1] = true;
  return MOON_OK;
}

/* Room for what the nodes will need, but for copies: growing step by step touches twice the memory. */
static bool reserve(planner *pl) {
  moon_program *p = pl->p;
  const moon_graph *g = pl->g;
  int nlaunches = 0, noperands = 0;
  for (int i = 0; i < g->nnodes; i++) {
    const moon_node *n = g->nodes[i];
    if (n->ninputs == 0 || (n->op->flags & MOON_OPF_VIEW)) continue;
    nlaunches++;
    noperands += n->ninputs + n->noutputs;
  }
  return MOON_RESERVE(p->runtime, p->launches, p->launch_capacity, nlaunches) && moon__map_reserve(&pl->places, g->nnodes) &&
         MOON_RESERVE(p->runtime, p->operands, p->operand_capacity, noperands);
}

static void free_places(planner *pl) {
  for (moon_place_block *b = pl->blocks, *next; b; b = next) {
    next = b->next;
    moon__free(pl->ctx->runtime, b);
  }
}

static bool is_prologue(const moon_program *p, const moon_launch *l) {
  int out = l->nout ? p->operands[l->operands + l->nin].buffer : -1;
  return out >= 0 && p->buffers[out].kind == MOON_BUFFER_PERSISTENT;
}

/* Moves the launches that only use what lasts to the front, keeping their order. */
static moon_status split_prologue(planner *pl) {
  moon_program *p = pl->p;
  moon_launch *l = p->launches;
  int n = p->nlaunches, at = n;
  for (int i = 0; i < n; i++) p->nprologue += is_prologue(p, &l[i]);
  moon_launch *first = moon__alloc_array(p->runtime, (size_t)p->nprologue, sizeof *first);
  if (!first) return moon__fail_memory(pl->ctx);
  for (int i = n - 1, k = p->nprologue; i >= 0; i--) *(is_prologue(p, &l[i]) ? &first[--k] : &l[--at]) = l[i];
  if (p->nprologue) memcpy(l, first, (size_t)p->nprologue * sizeof *l);
  moon__free(p->runtime, first);
  return MOON_OK;
}

static moon_status plan_all(planner *pl, moon_map *used) {
  const moon_graph *g = pl->g;
  pl->order = moon__alloc_array(pl->ctx->runtime, (size_t)g->nnodes, sizeof *pl->order);
  moon_status s = pl->order ? moon__plan_order(pl->ctx, g, pl->order) : moon__fail_memory(pl->ctx);
  if (s == MOON_OK && !reserve(pl)) s = moon__fail_memory(pl->ctx);
  if (s == MOON_OK) s = list_variables(pl);
  if (s == MOON_OK) s = list_used(pl, used);
  if (s == MOON_OK) s = mark_late(pl);
  const moon_device *device = pl->p->device;
  if (s == MOON_OK && pl->fast && device->backend->select_product) s = moon__plan_epilogues(pl->ctx, g, &pl->partners);
  if (s == MOON_OK && pl->fast && device->backend->chains) s = moon__plan_chains(pl->ctx, device, g, &pl->partners, &pl->chains);
  if (s == MOON_OK) s = plan_inputs(pl);
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) {
    if (!moon__map_has(&pl->late, pl->order[i]) || pl->order[i]->op->id == MOON_OP_variable) s = plan_node(pl, pl->order[i], used);
  }
  for (int i = 0; s == MOON_OK && i < g->noutputs; i++) s = moon__plan_output(pl, i);
  if (s == MOON_OK) s = moon__plan_save_old(pl);
  int first_late = pl->p->nlaunches;
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) {
    if (moon__map_has(&pl->late, g->nodes[i]) && g->nodes[i]->op->id != MOON_OP_variable) s = plan_node(pl, g->nodes[i], used);
  }
  if (s == MOON_OK) s = moon__plan_effects(pl, first_late);
  if (s == MOON_OK) s = split_prologue(pl);
  return s == MOON_OK ? moon__plan_memory(pl->ctx, pl->p) : s;
}

moon_program *moon__plan(moon_context *ctx, moon_device *device, moon_graph *g, moon_mode mode, bool fast) {
  moon_map used;
  planner pl = {.ctx = ctx, .g = g, .fast = fast};
  moon_program *p = moon__alloc(ctx->runtime, sizeof *p);
  if (!p) {
    moon__fail_memory(ctx);
    return NULL;
  }
  p->refs = 1;
  p->runtime = ctx->runtime;
  p->device = device;
  p->mode = mode;
  p->graph = moon_graph_retain(g);
  pl.p = p;
  moon__map_init(&used, ctx->runtime);
  moon__map_init(&pl.places, ctx->runtime);
  moon__map_init(&pl.late, ctx->runtime);
  moon__map_init(&pl.copies, ctx->runtime);
  moon__map_init(&pl.variables, ctx->runtime);
  moon__map_init(&pl.partners, ctx->runtime);
  moon__map_init(&pl.chains.before, ctx->runtime);
  moon__map_init(&pl.chains.after, ctx->runtime);
  moon__map_init(&pl.turned, ctx->runtime);
  moon_scope_open(ctx);
  moon_status s = plan_all(&pl, &used);
  moon_scope_close(ctx);
  moon__map_free(&used);
  moon__map_free(&pl.places);
  moon__map_free(&pl.late);
  moon__map_free(&pl.copies);
  moon__map_free(&pl.variables);
  moon__map_free(&pl.partners);
  moon__map_free(&pl.chains.before);
  moon__map_free(&pl.chains.after);
  moon__map_free(&pl.turned);
  free_places(&pl);
  moon__free(ctx->runtime, pl.order);
  if (s == MOON_OK) return p;
  moon_program_release(p);
  return NULL;
}
