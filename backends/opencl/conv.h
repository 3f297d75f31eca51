/* conv.h: the kernels of conv_local.c: f32 on GPUs, nothing empty; and those of conv_tile.c, for conv.c and winograd.c: floats on CPU devices, nothing empty. */
#ifndef MOON_CL_CONV_H
#define MOON_CL_CONV_H
#include "window.h"

bool moon__cl_conv_local(moon_cl_choice *c, const moon_geometry *g);
bool moon__cl_conv_tiles(moon_cl_choice *c, const moon_geometry *g, bool input_grad);
bool moon__cl_filter_grad_tiles(moon_cl_choice *c, const moon_geometry *g);
/* In conv_depthwise.c, for CPU devices. */
bool moon__cl_is_depthwise(const moon_cl_choice *c, const moon_geometry *g);
bool moon__cl_depthwise(moon_cl_choice *c, const moon_geometry *g);
#endif
