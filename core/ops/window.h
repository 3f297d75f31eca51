/*
** window.h: what convolution and pooling share: windows that slide over the spatial axes of x [n, s.., c]. One entry of each list
** a spatial axis; a list of one entry serves all axes. Letters: k window, s stride, d dilation, n input size, o output size:
**   o = floor((n + lo + hi - ((k - 1) d + 1)) / s) + 1, and ceil(n / s) with padding same.
*/
#ifndef MOON_WINDOW_H
#define MOON_WINDOW_H
#include "ops/attrs.h"

#define MOON_MAX_SPATIAL 3

/* The windows of one node. The lists belong to its attributes. dilation NULL: 1. */
typedef struct moon_windows {
  const char *who;
  const moon_shape *x; /* [n, s.., c] */
  int naxes;           /* spatial axes, 1 to 3 */
  moon_ints *window, *strides, *pad_lo, *pad_hi, *dilation;
  int32_t padding; /* moon_padding */
} moon_windows;

/* Fills a list of 0 or 1 entries up to n entries; checks that each is at least `least`. Fails: MOON_EARGUMENT. */
moon_status moon__window_list(moon_context *ctx, const char *who, const char *name, moon_ints *list, int n, int64_t missing,
                              int64_t least);
/* Completes strides (missing: `stride`, or the window where it is 0), pads and dilation, and checks all but the sizes of x.
** w->window is complete. */
moon_status moon__window_complete(moon_context *ctx, moon_windows *w, int64_t stride);
/* The output size along spatial axis i; MOON_DIM_ERROR with an error when the window is larger than the padded input. */
moon_dim moon__window_out(moon_context *ctx, const moon_windows *w, int i);
/* The geometry of spatial axes, those that are not there with size 1; lists complete, sizes known. */
void moon__window_geometry(const moon_windows *w, const moon_shape *y, moon_geometry *g);
#endif
