/* window.c: the geometry of convolution and pooling as numbers of a kernel. See window.h. */
#include "window.h"

void moon__cl_geometry(const moon_geometry *g, int64_t *p) {
  const int64_t *const lists[6] = {g->in, g->out, g->window, g->stride, g->dilation, g->pad_lo};
  p[0] = g->batch;
  p[1] = g->groups;
  p[2] = g->c_in;
  p[3] = g->c_out;
  for (int i = 0; i < 6; i++)
    for (int d = 0; d < 3; d++) p[4 + 3 * i + d] = lists[i][d];
}
