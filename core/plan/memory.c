/*
** memory.c: offsets of buffers in the arena. Results first take the memory of an operand that dies in the same launch, where the
** kernel allows it; the rest is placed largest first at the lowest offset that is free during its life.
*/
#include <stdlib.h>

#include "base/alloc.h"
#include "base/size.h"
#include "plan/plan.h"

#define ALIGNMENT 64

static int root_of(const moon_program *p, int b) {
  while (p->buffers[b].same_as >= 0) b = p->buffers[b].same_as;
  return b;
}

static void set_lives(moon_program *p) {
  for (int i = 0; i < p->nbuffers; i++) p->buffers[i].first = p->buffers[i].last = -1;
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    for (int k = 0; k < l->nin + l->nout + 1; k++) {
      int b = k < l->nin + l->nout ? p->operands[l->operands + k].buffer : l->scratch;
      if (b < 0) continue;
      if (p->buffers[b].first < 0) p->buffers[b].first = i;
      p->buffers[b].last = i;
    }
  }
}

static bool whole(const moon_program *p, const moon_operand *o) {
  return o->view.offset == 0 && moon__view_is_dense(&o->view) &&
         p->buffers[o->buffer].bytes == p->buffers[root_of(p, o->buffer)].bytes;
}

static bool same_shape(const moon_operand *a, const moon_operand *b) {
  if (a->dtype != b->dtype || a->view.ndim != b->view.ndim) return false;
  for (int i = 0; i < a->view.ndim; i++) {
    if (a->view.shape[i] != b->view.shape[i]) return false;
  }
  return true;
}

/* Is any other operand of the launch in the memory of buffer root? */
static bool used_otherwise(const moon_program *p, const moon_launch *l, int except, int root) {
  for (int k = 0; k < l->nin + l->nout; k++) {
    int b = p->operands[l->operands + k].buffer;
    if (k != except && b >= 0 && root_of(p, b) == root) return true;
  }
  return false;
}

/* Output o of launch i takes over the memory of an input that dies there. */
static void reuse_input(moon_program *p, int i, const moon_operand *o) {
  const moon_launch *l = &p->launches[i];
  moon_plan_buffer *out = &p->buffers[o->buffer];
  if (out->kind != MOON_BUFFER_ARENA || out->first != i || out->same_as >= 0) return;
  for (int k = 0; k < l->nin && k < 63; k++) {
    const moon_operand *in = &p->operands[l->operands + k];
    int root = root_of(p, in->buffer);
    moon_plan_buffer *b = &p->buffers[root];
    if (!(l->choice.alias_in >> k & 1) || b->kind != MOON_BUFFER_ARENA || b->last != i || b->bytes != out->bytes) continue;
    if (!same_shape(in, o) || !whole(p, in) || used_otherwise(p, l, k, root)) continue;
    out->same_as = root;
    b->last = out->last;
    return;
  }
}

static void reuse_in_place(moon_program *p) {
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    for (int k = 0; l->choice.alias_in && k < l->nout; k++) {
      const moon_operand *o = &p->operands[l->operands + l->nin + k];
      if (o->buffer >= 0) reuse_input(p, i, o);
    }
  }
}

/* Lowest offset where bytes fit beside the placed buffers that are alive at the same time. placed is ordered by offset. */
static bool lowest_offset(const moon_program *p, const int *placed, int n, const moon_plan_buffer *b, size_t bytes, size_t *offset) {
  size_t at = 0, end;
  for (int i = 0; i < n; i++) {
    const moon_plan_buffer *o = &p->buffers[placed[i]];
    if (o->last < b->first || o->first > b->last) continue;
    if (!moon__add_size(at, bytes, &end)) return false;
    if (end <= o->offset) break;
    size_t o_end = o->offset + ((o->bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1)); /* was checked when it was placed */
    if (o_end > at) at = o_end;
  }
  *offset = at;
  return moon__add_size(at, bytes, &end);
}

typedef struct by_bytes { size_t bytes; int buffer; } by_bytes;
static int larger_first(const void *a, const void *b) {
  const by_bytes *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
  return x->buffer - y->buffer;
}

static bool place_arena(moon_program *p, by_bytes *order, int n, int *placed) {
  for (int i = 0; i < n; i++) {
    moon_plan_buffer *b = &p->buffers[order[i].buffer];
    size_t bytes, end;
    if (!moon__align_size(b->bytes, ALIGNMENT, &bytes) || !lowest_offset(p, placed, i, b, bytes, &b->offset)) return false;
    int at = i;
    for (; at > 0 && p->buffers[placed[at - 1]].offset > b->offset; at--) placed[at] = placed[at - 1];
    placed[at] = order[i].buffer;
    end = b->offset + bytes;
    if (end > p->arena_bytes) p->arena_bytes = end;
  }
  return true;
}

static bool place_persistent(moon_program *p) {
  for (int i = 0; i < p->nbuffers; i++) {
    moon_plan_buffer *b = &p->buffers[i];
    size_t bytes;
    if (b->kind != MOON_BUFFER_PERSISTENT) continue;
    b->offset = p->persistent_bytes;
    if (!moon__align_size(b->bytes, ALIGNMENT, &bytes) || !moon__add_size(p->persistent_bytes, bytes, &p->persistent_bytes))
      return false;
  }
  return true;
}

moon_status moon__plan_memory(moon_context *ctx, moon_program *p) {
  by_bytes *order = moon__alloc_array(ctx->runtime, (size_t)p->nbuffers, sizeof *order);
  int *placed = moon__alloc_array(ctx->runtime, (size_t)p->nbuffers, sizeof *placed), n = 0;
  moon_status s = MOON_OK;
  if (!order || !placed) {
    s = moon__fail_memory(ctx);
  } else {
    set_lives(p);
    reuse_in_place(p);
    for (int i = 0; i < p->nbuffers; i++) {
      const moon_plan_buffer *b = &p->buffers[i];
      if (b->kind == MOON_BUFFER_ARENA && b->same_as < 0 && b->first >= 0) order[n++] = (by_bytes){b->bytes, i};
    }
    qsort(order, (size_t)n, sizeof *order, larger_first);
    if (!place_arena(p, order, n, placed) || !place_persistent(p))
      s = moon__fail(ctx, MOON_ESIZE, "compile: the program needs more memory than can be addressed");
    for (int i = 0; i < p->nbuffers; i++) {
      moon_plan_buffer *b = &p->buffers[i];
      if (b->kind == MOON_BUFFER_ARENA) b->offset = p->buffers[root_of(p, i)].offset;
    }
  }
  moon__free(ctx->runtime, order);
  moon__free(ctx->runtime, placed);
  return s;
}
