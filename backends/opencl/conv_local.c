/*
** conv_local.c: f32 convolution and its gradients on GPUs as products that no matrix is written out for: rows are places of the
** result, terms are channels through each tap; for the gradient of the filter, rows are channels of x through each tap and terms
** are places. Letters as in window.h.
*/
#include "conv.h"
#include "local.h"

#define TAP(of) const long k0 = (of) / (k1n * k2n); const long k1 = (of) / k2n % k1n; const long k2 = (of) % k2n;

/* Sums over taps and channels. N: places of the result, CN channels; M, CM: of the source. WEIGHT(tap, c, column): of a group's. */
#define SUMS_TEXT(N, M, CN, CM, FIND, B_PLACE, WEIGHT)                                                         \
  MOON_CL_LOCAL_KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {                           \
    MOON_CL_WINDOW                                                                                             \
    MOON_CL_LOCAL_IDS                                                                                          \
    const long group = get_global_id(2); const long gc = cx / groups; const long gf = cy / groups;             \
    const long columns = CN / groups; const long channels = CM / groups;                                       \
    const long rows = batch * N##0n * N##1n * N##2n; const long terms = k0n * k1n * k2n * channels;            \
    __global const float *x = AT(const float, 0) + group * channels;                                           \
    __global const float *w = AT(const float, 1) + group * gf;                                                 \
    __global float *y = AT(float, 2) + group * columns;                                                        \
    long b_[4]; long n0_[4]; long n1_[4]; long n2_[4];                                                         \
    for (int q = 0; q < 4; q++) {                                                                              \
      long left = min(row0 + (id + 256 * q) / 16, rows - 1);                                                   \
      n2_[q] = left % N##2n; left /= N##2n; n1_[q] = left % N##1n; left /= N##1n;                              \
      n0_[q] = left % N##0n; b_[q] = left / N##0n;                                                             \
    }                                                                                                          \
    MOON_CL_LOCAL_PRODUCT(MOON_CL_A_TERMS,                                                                     \
      TAP(term / channels) FIND(q)                                                                             \
      if (inside) value = x[(((b_[q] * M##0n + m0) * M##1n + m1) * M##2n + m2) * CM + term % channels];,       \
      B_PLACE, value = WEIGHT(term / channels, term % channels, column);, y[row * CN + column])                \
  }
#define FORWARD_WEIGHT(tap, c, column) w[((tap) * gc + (c)) * cy + (column)]
#define BACKWARD_WEIGHT(tap, c, column) w[((tap) * gc + (column)) * cy + (c)]
static const char conv_text[] = CL_(SUMS_TEXT(o, i, cy, cx, MOON_CL_FIND_INPUT, MOON_CL_B_COLUMNS, FORWARD_WEIGHT));
static const char input_grad_text[] = CL_(SUMS_TEXT(i, o, cx, cy, MOON_CL_FIND_OUTPUT, MOON_CL_B_TERMS, BACKWARD_WEIGHT));

/* (x, dy) -> dw */
static const char filter_grad_text[] = CL_(
  MOON_CL_LOCAL_KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    MOON_CL_WINDOW
    MOON_CL_LOCAL_IDS
    const long group = get_global_id(2); const long gc = cx / groups; const long columns = cy / groups;
    const long rows = k0n * k1n * k2n * gc; const long terms = batch * o0n * o1n * o2n;
    __global const float *x = AT(const float, 0) + group * gc;
    __global const float *dy = AT(const float, 1) + group * columns;
    __global float *dw = AT(float, 2) + group * columns;
    MOON_CL_LOCAL_PRODUCT(const int ai = e % 64; const int ak = e / 64;,
      TAP(row / gc)
      const long i0 = term / (o1n * o2n) % o0n * s0 + k0 * d0 - l0; const long i1 = term / o2n % o1n * s1 + k1 * d1 - l1;
      const long i2 = term % o2n * s2 + k2 * d2 - l2; const long b = term / (o0n * o1n * o2n);
      const bool inside = i0 >= 0 && i0 < i0n && i1 >= 0 && i1 < i1n && i2 >= 0 && i2 < i2n;
      if (inside) value = x[(((b * i0n + i0) * i1n + i1) * i2n + i2) * cx + row % gc];,
      MOON_CL_B_COLUMNS, value = dy[term * cy + column];, dw[row * cy + column])
  }
);

bool moon__cl_conv_local(moon_cl_choice *c, const moon_geometry *g) {
  int64_t gc = g->c_in / g->groups, gf = g->c_out / g->groups, taps = g->window[0] * g->window[1] * g->window[2];
  int64_t inputs = g->batch * g->in[0] * g->in[1] * g->in[2], outputs = g->batch * g->out[0] * g->out[1] * g->out[2];
  int64_t p[1 + MOON_CL_GEOMETRY] = {0};
  moon__cl_geometry(g, p + 1);
  enum { N = 1 + MOON_CL_GEOMETRY };
  switch (c->node->op->id) {
    case MOON_OP_conv:
      return moon__cl_begin(c, "opencl_conv_local", false) && moon__cl_add_local(c, conv_text, p, N, outputs, gf, g->groups);
    case MOON_OP_conv_input_grad:
      return moon__cl_begin(c, "opencl_conv_input_grad_local", false) &&
             moon__cl_add_local(c, input_grad_text, p, N, inputs, gc, g->groups);
    default:
      return moon__cl_begin(c, "opencl_conv_filter_grad_local", false) &&
             moon__cl_add_local(c, filter_grad_text, p, N, taps * gc, gf, g->groups);
  }
}
