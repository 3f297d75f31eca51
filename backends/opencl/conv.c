/*
** conv.c: convolution and its two gradients. The kernels here make an element of the result at a time, for any dtype and geometry;
** terms are added in the order of the CPU's plain kernels. CPU devices have tiles (conv_tile.c, conv_depthwise.c), GPUs products in local memory (conv_local.c).
*/
#include "base/shape.h"
#include "conv.h"

static const char conv_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    const long gc = cx / groups; const long gf = cy / groups;
    EACH(at, p.v[0], 64) {
      long left = at; const long f = left % cy; left /= cy; const long o2 = left % o2n; left /= o2n;
      const long o1 = left % o1n; left /= o1n; const long o0 = left % o0n; const long b = left / o0n;
      SUM sum = 0;
      MOON_CL_TAPS(MOON_CL_SEES)
        __global const T0 *x = AT(const T0, 0) + (((b * i0n + i0) * i1n + i1) * i2n + i2) * cx + f / gf * gc;
        __global const T1 *w = AT(const T1, 1) + ((k0 * k1n + k1) * k2n + k2) * gc * cy + f;
        for (long c = 0; c < gc; c++) sum += (SUM)x[c] * (SUM)w[c * cy];
      } } }
      AT(T2, 2)[at] = (T2)sum;
    }
  }
);

/* (dy, w) -> dx */
static const char input_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    const long gc = cx / groups; const long gf = cy / groups;
    EACH(at, p.v[0], 64) {
      long left = at; const long c = left % cx; left /= cx; const long i2 = left % i2n; left /= i2n;
      const long i1 = left % i1n; left /= i1n; const long i0 = left % i0n; const long b = left / i0n;
      SUM sum = 0;
      MOON_CL_TAPS(MOON_CL_SEEING)
        __global const T0 *y = AT(const T0, 0) + (((b * o0n + o0) * o1n + o1) * o2n + o2) * cy + c / gc * gf;
        __global const T1 *w = AT(const T1, 1) + (((k0 * k1n + k1) * k2n + k2) * gc + c % gc) * cy + c / gc * gf;
        for (long f = 0; f < gf; f++) sum += (SUM)y[f] * (SUM)w[f];
      } } }
      AT(T2, 2)[at] = (T2)sum;
    }
  }
);

/* (x, dy) -> dw */
static const char filter_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    const long gc = cx / groups; const long gf = cy / groups;
    EACH(at, p.v[0], 1) {
      long left = at; const long f = left % cy; left /= cy; const long c = left % gc + f / gf * gc; left /= gc;
      const long k2 = left % k2n; left /= k2n; const long k1 = left % k1n; const long k0 = left / k1n;
      SUM sum = 0;
      for (long b = 0; b < batch; b++)
        for (long o0 = 0; o0 < o0n; o0++) { MOON_CL_SEES(0)
          for (long o1 = 0; o1 < o1n; o1++) { MOON_CL_SEES(1)
            for (long o2 = 0; o2 < o2n; o2++) { MOON_CL_SEES(2)
              sum += (SUM)AT(const T0, 0)[(((b * i0n + i0) * i1n + i1) * i2n + i2) * cx + c] *
                     (SUM)AT(const T1, 1)[(((b * o0n + o0) * o1n + o1) * o2n + o2) * cy + f];
            } } }
      AT(T2, 2)[at] = (T2)sum;
    }
  }
);

static bool select_conv(moon_cl_choice *c, moon_status *s) {
  const char *text, *name;
  int64_t block = 64;
  switch (c->node->op->id) {
    case MOON_OP_conv: name = "opencl_conv", text = conv_text; break;
    case MOON_OP_conv_input_grad: name = "opencl_conv_input_grad", text = input_grad_text; break;
    case MOON_OP_conv_filter_grad: name = "opencl_conv_filter_grad", text = filter_grad_text, block = 1; break;
    default: return false;
  }
  moon_geometry g = moon__conv_geometry(c->node);
  bool some = moon__cl_count(&c->in[0]) > 0 && moon__cl_count(&c->in[1]) > 0 && moon__cl_count(&c->out[0]) > 0;
  if (c->fast && c->d->wide && some && moon__dtype_is_float(c->out[0].dtype)) {
    bool filter = c->node->op->id == MOON_OP_conv_filter_grad, input = c->node->op->id == MOON_OP_conv_input_grad;
    *s = moon__cl_end(c, moon__cl_is_depthwise(c, &g) ? moon__cl_depthwise(c, &g)
                         : filter                     ? moon__cl_filter_grad_tiles(c, &g)
                                                      : moon__cl_conv_tiles(c, &g, input));
    return true;
  }
  if (c->fast && !c->d->wide && some && c->out[0].dtype == MOON_DTYPE_f32) {
    *s = moon__cl_end(c, moon__cl_conv_local(c, &g));
    return true;
  }
  int64_t p[1 + MOON_CL_GEOMETRY] = {moon__cl_count(&c->out[0])};
  moon__cl_geometry(&g, p + 1);
  *s = moon__cl_end(c, moon__cl_begin(c, name, false) && moon__cl_add(c, text, p, 1 + MOON_CL_GEOMETRY, p[0], block));
  return true;
}

const moon_cl_family moon__cl_conv = {select_conv};
