/* conv.h: the kernels of conv_tile.c, for conv.c: floats on CPU devices, nothing empty. */
#ifndef MOON_CL_CONV_H
#define MOON_CL_CONV_H
#include "window.h"

bool moon__cl_conv_tiles(moon_cl_choice *c, const moon_geometry *g, bool input_grad);
bool moon__cl_filter_grad_tiles(moon_cl_choice *c, const moon_geometry *g);
#endif
