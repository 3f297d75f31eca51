/*
** conv_depthwise.c: convolution of each channel by itself, and its gradients, on CPU devices: a work-item takes a vector of channels
** along a row of the result, some places at once, or sums it over all rows for a tap of the filter. Letters as in window.h.
*/
#include "base/shape.h"
#include "conv.h"
#include "tile.h"

/* p.v[0]: rows of the result times vectors of channels. NEAR(axis) finds the row m of the source for a tap k, or goes on; INSIDE(i)
** the place m2 in it for place n2 + i. */
#define ROW_TEXT(N, M, NEAR, INSIDE)                                                                     \
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {                                    \
    START                                                                                                \
    MOON_CL_WINDOW                                                                                       \
    EACH(at, p.v[0], 4) {                                                                                \
      const long c = at % (cx / L) * L; long left = at / (cx / L);                                        \
      const long N##1 = left % N##1n; left /= N##1n; const long N##0 = left % N##0n; const long b = left / N##0n; \
      __global T *y = AT(T, 2) + ((b * N##0n + N##0) * N##1n + N##1) * N##2n * cx + c;                      \
      for (long n2 = 0; n2 < N##2n; n2 += MR) {                                                           \
        V sum[MR];                                                                                       \
        UNROLL for (int i = 0; i < MR; i++) sum[i] = (V)(0);                                              \
        for (long k0 = 0; k0 < k0n; k0++) { NEAR(0)                                                       \
          for (long k1 = 0; k1 < k1n; k1++) { NEAR(1)                                                     \
            __global const T *x = AT(const T, 0) + ((b * M##0n + M##0) * M##1n + M##1) * M##2n * cx + c;    \
            for (long k2 = 0; k2 < k2n; k2++) {                                                           \
              const V w = VLOAD(0, AT(const T, 1) + ((k0 * k1n + k1) * k2n + k2) * cx + c);                \
              UNROLL for (int i = 0; i < MR; i++) {                                                       \
                INSIDE(i)                                                                                \
                if (inside) sum[i] = fma(w, VLOAD(0, x + m2 * cx), sum[i]);                                \
              }                                                                                          \
            } } }                                                                                        \
        UNROLL for (int i = 0; i < MR; i++) if (n2 + i < N##2n) VSTORE(sum[i], 0, y + (n2 + i) * cx);       \
      }                                                                                                  \
    }                                                                                                    \
  }
#define SEEN_INSIDE(i) const long m2 = (n2 + i) * s2 + k2 * d2 - l2; const bool inside = m2 >= 0 && m2 < i2n;
#define SEEING_INSIDE(i)                                                                                 \
  const long t2 = n2 + i + l2 - k2 * d2; const long m2 = t2 / s2; const bool inside = t2 >= 0 && m2 * s2 == t2 && m2 < o2n;
static const char conv_text[] = CL_(ROW_TEXT(o, i, MOON_CL_SEES, SEEN_INSIDE));
static const char input_grad_text[] = CL_(ROW_TEXT(i, o, MOON_CL_SEEING, SEEING_INSIDE));

/* (x, dy) -> dw. p.v[0]: taps times vectors of channels. A row is summed by itself: long sums of small numbers lose fewer bits. */
static const char filter_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 1) {
      const long c = at % (cx / L) * L; const long tap = at / (cx / L);
      const long k2 = tap % k2n; const long k1 = tap / k2n % k1n; const long k0 = tap / (k2n * k1n);
      V sum = (V)(0);
      for (long b = 0; b < batch; b++)
        for (long o0 = 0; o0 < o0n; o0++) { MOON_CL_SEES(0)
          for (long o1 = 0; o1 < o1n; o1++) { MOON_CL_SEES(1)
            V row = (V)(0);
            for (long o2 = 0; o2 < o2n; o2++) { MOON_CL_SEES(2)
              row = fma(VLOAD(0, AT(const T, 0) + (((b * i0n + i0) * i1n + i1) * i2n + i2) * cx + c),
                        VLOAD(0, AT(const T, 1) + (((b * o0n + o0) * o1n + o1) * o2n + o2) * cx + c), row);
            }
            sum += row;
          } }
      VSTORE(sum, 0, AT(T, 2) + tap * cx + c);
    }
  }
);

bool moon__cl_is_depthwise(const moon_cl_choice *c, const moon_geometry *g) {
  return c->out[0].dtype == MOON_DTYPE_f32 && g->groups == g->c_in && g->c_out == g->c_in && g->c_in % 16 == 0;
}

bool moon__cl_depthwise(moon_cl_choice *c, const moon_geometry *g) {
  bool filter = c->node->op->id == MOON_OP_conv_filter_grad, input = c->node->op->id == MOON_OP_conv_input_grad;
  const moon_array *y = &c->out[0];
  const moon_cl_tile t = {.rows = 4, .vectors = 1, .lanes = 16};
  int64_t vectors = moon__cl_count(y) / t.lanes, p[1 + MOON_CL_GEOMETRY] = {filter ? vectors : vectors / y->shape[y->ndim - 2]};
  const int operands[3] = {0, 1, 2};
  moon__cl_geometry(g, p + 1);
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = 1 + MOON_CL_GEOMETRY, .params = p};
  moon__cl_spread(c->d, &s, p[0], filter ? 1 : 4);
  return moon__cl_begin(c, "opencl_conv_depthwise", false) &&
         moon__cl_add_tile(c, &t, MOON_DTYPE_f32, filter ? filter_grad_text : input ? input_grad_text : conv_text, &s);
}
