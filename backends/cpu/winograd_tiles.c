/* winograd_tiles.c: see winograd_tiles.h. */
#include "winograd_tiles.h"

#include "base/size.h"

enum { TRANSFORM_FLOATS = 4096 }; /* of one position, about 50 us */

bool moon__winograd_fits(const moon_node *node, const moon_geometry *g) {
  if (!MOON_ISA_PICK(moon__cpu_isa(), moon__winograd_set)->source[0]) return false;
  for (int i = 0; i < node->ninputs; i++)
    if (node->inputs[i]->type.dtype != MOON_DTYPE_f32) return false;
  for (int i = 1; i < 3; i++)
    if (g->window[i] != 3 || g->stride[i] != 1 || g->dilation[i] != 1 || g->in[i] == 0 || g->out[i] == 0) return false;
  return g->window[0] == 1 && g->in[0] == 1 && g->out[0] == 1 && g->groups == 1 && g->batch > 0 && g->c_in > 0 && g->c_out > 0 &&
         g->c_in % 16 == 0 && g->c_out % 16 == 0;
}

void moon__winograd_tiles_of(const moon_geometry *g, int m, bool backward, moon_winograd_tiles *source, moon_winograd_tiles *target) {
  moon_winograd_tiles s = {.size = m + 2, .step = m}, t = {.size = m, .step = m};
  for (int i = 0; i < 2; i++) {
    s.image[i] = backward ? g->out[i + 1] : g->in[i + 1];
    t.image[i] = backward ? g->in[i + 1] : g->out[i + 1];
    s.start[i] = backward ? g->pad_lo[i + 1] - 2 : -g->pad_lo[i + 1];
  }
  s.channels = s.wide = backward ? g->c_out : g->c_in;
  t.channels = t.wide = backward ? g->c_in : g->c_out;
  s.rows = t.rows = moon__ceildiv_i64(t.image[0], m);
  s.columns = t.columns = moon__ceildiv_i64(t.image[1], m);
  s.count = t.count = g->batch * t.rows * t.columns;
  *source = s;
  *target = t;
}

/* Offsets of the places of tile t, -1 outside. */
static void list_places(const moon_winograd_tiles *s, int64_t t, int64_t *at) {
  int64_t column = s->start[1] + t % s->columns * s->step, rest = t / s->columns;
  int64_t row = s->start[0] + rest % s->rows * s->step, image = rest / s->rows;
  for (int i = 0; i < s->size; i++)
    for (int j = 0; j < s->size; j++) {
      bool inside = row + i >= 0 && row + i < s->image[0] && column + j >= 0 && column + j < s->image[1];
      *at++ = inside ? ((image * s->image[0] + row + i) * s->image[1] + column + j) * s->channels : -1;
    }
}

void moon__winograd_gather(const moon_winograd_tiles *s, moon_winograd_fn fn, int positions, const float *x, const float *zeros,
                           float *out, int64_t step, int64_t from, int64_t to) {
  int64_t place[MOON_WINOGRAD_MAX];
  const float *in[MOON_WINOGRAD_MAX];
  float *y[MOON_WINOGRAD_MAX];
  for (int k = 0; k < positions; k++) y[k] = out + k * step;
  for (int64_t t = from; t < to; t++) {
    list_places(s, t, place);
    for (int i = 0; i < s->size * s->size; i++) in[i] = place[i] < 0 ? zeros : x + place[i];
    fn(in, y, s->wide);
    for (int k = 0; k < positions; k++) y[k] += s->channels;
  }
}

int64_t moon__winograd_grain(int64_t block, int64_t channels) {
  int64_t parts = moon__ceildiv_i64(block * channels, TRANSFORM_FLOATS);
  return moon__ceildiv_i64(block, moon__min_i64(block, parts));
}

void moon__winograd_targets(const moon_winograd_tiles *s, int64_t t, float *y, float *unused, float **at) {
  int64_t place[MOON_WINOGRAD_MAX];
  list_places(s, t, place);
  for (int i = 0; i < s->size * s->size; i++) at[i] = place[i] < 0 ? unused : y + place[i];
}
