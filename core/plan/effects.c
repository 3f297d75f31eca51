/*
** effects.c: how a program's results leave it: buffers that become outputs, and variables that are written, in place where nobody reads
** the old value any more.
*/
#include "plan/planner.h"

#include "base/shape.h"

typedef moon_planner planner;
typedef moon_place place;

/* May the buffer of this operand become an output or a variable itself? */
static bool can_become(const moon_program *p, const moon_operand *o) {
  const moon_plan_buffer *b = &p->buffers[o->buffer];
  const moon_type type = {.dtype = o->dtype, .shape = moon__shape(o->view.ndim, o->view.shape)};
  return b->kind == MOON_BUFFER_ARENA && o->view.offset == 0 && moon__view_is_dense(&o->view) && moon__type_bytes(&type) == b->bytes;
}

static bool is_written_variable(const moon_program *p, const moon_operand *o) {
  const moon_plan_buffer *b = &p->buffers[o->buffer];
  return b->kind == MOON_BUFFER_READ && p->written[b->index];
}

static bool is_late_value(const planner *pl, const moon_value *v) { return moon__map_has(&pl->late, v->node); }

moon_status moon__plan_output(planner *pl, int i) {
  moon_program *p = pl->p;
  moon_value *v = pl->g->outputs[i];
  const place *at = moon__plan_place(pl, v);
  moon_operand copy;
  if (can_become(p, &at->operand)) {
    p->buffers[at->operand.buffer].kind = MOON_BUFFER_OUTPUT;
    p->buffers[at->operand.buffer].index = i;
    return MOON_OK;
  }
  int buffer = moon__plan_buffer(pl, MOON_BUFFER_OUTPUT, i, moon__type_bytes(&v->type));
  if (buffer < 0) return pl->ctx->status;
  return moon__plan_copy(pl, v->node, &at->operand, &copy, false, buffer);
}

/* Effects whose value is a variable that this program writes keep it first: a swap of two variables must not lose one. */
moon_status moon__plan_save_old(planner *pl) {
  for (int i = 0; i < pl->g->neffects; i++) {
    moon_value *x = pl->g->effects[i]->node->inputs[0];
    const place *at = moon__plan_place(pl, x);
    moon_operand copy;
    if (!at || !is_written_variable(pl->p, &at->operand)) continue;
    moon_status s = moon__plan_copy(pl, x->node, &at->operand, &copy, false, -1);
    if (s == MOON_OK) s = moon__plan_put(pl, &pl->places, x, copy, false);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}

/* Does a launch from `first` on, other than `except`, read the old value of the variable in this slot? */
static bool read_after(const moon_program *p, int first, int except, int slot) {
  for (int i = first; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    if (i == except) continue;
    for (int k = 0; k < l->nin; k++) {
      const moon_plan_buffer *b = &p->buffers[p->operands[l->operands + k].buffer];
      if (b->kind == MOON_BUFFER_READ && b->index == slot) return true;
    }
  }
  return false;
}

/* May launch i write the variable while it reads it? */
static bool reads_in_step(const moon_program *p, int i, const moon_operand *out, int slot) {
  const moon_launch *l = &p->launches[i];
  for (int k = 0; k < l->nin; k++) {
    const moon_operand *in = &p->operands[l->operands + k];
    const moon_plan_buffer *b = &p->buffers[in->buffer];
    if (b->kind != MOON_BUFFER_READ || b->index != slot) continue;
    if (!(l->choice.alias_in >> (k < 63 ? k : 63) & 1) || in->view.offset || !moon__view_is_dense(&in->view)) return false;
    if (in->view.ndim != out->view.ndim) return false;
    for (int d = 0; d < in->view.ndim; d++) {
      if (in->view.shape[d] != out->view.shape[d]) return false;
    }
  }
  return true;
}

static int launch_writing(const moon_program *p, int first, int buffer) {
  for (int i = first; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    for (int k = 0; k < l->nout; k++) {
      if (p->operands[l->operands + l->nin + k].buffer == buffer) return i;
    }
  }
  return -1;
}

/* first_late: launches from there on run when nothing can fail any more. */
static moon_status plan_effect(planner *pl, const moon_node *assign, int first_late, int end_late) {
  moon_program *p = pl->p;
  moon_value *x = assign->inputs[0];
  const place *at = moon__plan_place(pl, x);
  int slot = (int)(uintptr_t)moon__map_get(&pl->variables, assign->variable) - 1;
  moon_operand copy;
  if (is_late_value(pl, x) && can_become(p, &at->operand)) {
    int writer = launch_writing(p, first_late, at->operand.buffer);
    if (writer >= 0 && writer < end_late && !moon__plan_is_control(p->launches[writer].node) && !read_after(p, writer, writer, slot) &&
        reads_in_step(p, writer, &at->operand, slot)) {
      p->buffers[at->operand.buffer].kind = MOON_BUFFER_WRITE;
      p->buffers[at->operand.buffer].index = slot;
      return MOON_OK;
    }
  }
  int buffer = moon__plan_buffer(pl, MOON_BUFFER_WRITE, slot, moon__type_bytes(&x->type));
  if (buffer < 0) return pl->ctx->status;
  return moon__plan_copy(pl, x->node, &at->operand, &copy, false, buffer);
}

moon_status moon__plan_effects(planner *pl, int first_late) {
  int end_late = pl->p->nlaunches;
  /* Writes in place first: a copy into a variable is a launch after which nobody may read the old value. */
  for (int i = 0; i < pl->g->neffects; i++) {
    moon_status s = plan_effect(pl, pl->g->effects[i]->node, first_late, end_late);
    if (s != MOON_OK) return s;
  }
  return MOON_OK;
}
