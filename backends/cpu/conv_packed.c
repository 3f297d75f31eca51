/*
** conv_packed.c: where filters are packed for direct convolution, and the f32 kernel that packs them: rows of weights that lie a
** power of two apart fall onto the same cache sets and each onto its own page; in blocks of 32 they follow one another. The
** convolution itself is in conv_fast.c.
*/
#include <string.h>

#include "base/size.h"
#include "fast.h"
#include "ops/attrs.h"

enum { PANEL = 32, LEAST_FILTERS = 256, LEAST_CHANNELS = 32 }; /* the latter of windows of more than one place */
enum { LEAST_COLUMNS = 8 };

typedef struct pack_plan { int64_t rows, f; } pack_plan;

static void run_pack(const moon_call *call, int64_t first, int64_t last) {
  const pack_plan *p = call->state;
  for (int64_t panel = first; panel < last; panel++) {
    const float *w = (const float *)(const void *)call->in[0].data + panel * PANEL;
    float *out = (float *)(void *)call->out[0].data + panel * p->rows * PANEL;
    int64_t columns = moon__min_i64(PANEL, p->f - panel * PANEL);
    for (int64_t i = 0; i < p->rows; i++, out += PANEL, w += p->f) {
      memcpy(out, w, (size_t)columns * sizeof *out);
      memset(out + columns, 0, (size_t)(PANEL - columns) * sizeof *out);
    }
  }
}

bool moon__cpu_pack_filter_fits(const moon_fast *f) { return f->in[0].dtype == MOON_DTYPE_f32; }
bool moon__cpu_pack_filter_has(const moon_node *node) { return node->inputs[0]->type.dtype == MOON_DTYPE_f32; }

moon_status moon__cpu_pack_filter_plan(const moon_fast *f, moon_choice *c) {
  const moon_array *w = &f->in[0];
  pack_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  p->f = w->shape[w->ndim - 1];
  p->rows = 1;
  for (int i = 0; i + 1 < w->ndim; i++) p->rows *= w->shape[i];
  c->kernel = "cpu_pack_filter_f32";
  c->why = "blocks of 32";
  c->dense_in = 1;
  moon__fast_phase(c, run_pack, moon__ceildiv_i64(p->f, PANEL));
  return MOON_OK;
}

bool moon__cpu_conv_packed_has(const moon_node *node) {
  if (moon__cpu_conv_amx_wins(node)) return false;
  moon_geometry g = moon__conv_geometry(node);
  const moon_shape *p = &node->inputs[2]->type.shape;
  for (int i = 0; i < node->ninputs; i++)
    if (node->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  int64_t taps = g.window[0] * g.window[1] * g.window[2];
  if (g.groups != 1 || g.c_out < LEAST_COLUMNS || p->ndim != 4) return false;
  if (taps > 1 && (g.c_out < LEAST_FILTERS || g.c_in < LEAST_CHANNELS)) return false;
  return p->dim[0] == moon__ceildiv_i64(g.c_out, PANEL) && p->dim[1] == taps && p->dim[2] == g.c_in &&
         p->dim[3] == PANEL;
}
bool moon__cpu_conv_packed_fits(const moon_fast *f) { return moon__cpu_conv_packed_has(f->node); }
