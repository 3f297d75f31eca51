/*
** cells_isa.c: one step of recurrent cells, a vector of units at a time. See cells.h; what they compute stands in core/ops. All
** of a unit's numbers are loaded before any is stored, so that gradients may take the place of gates.
*/
#include "cells.h"

#include "vmath.h"

MOON_INLINE vf get(const float *p, int64_t n) { return n >= VL ? vload(p) : vload_part(p, n); }
MOON_INLINE void put(float *p, vf v, int64_t n) {
  if (n >= VL) vstore(p, v);
  else vstore_part(p, v, n);
}
MOON_INLINE vf one_minus(vf y) { return 1.0f - y; }

/* Rows of the block from outside in: body sees r, j and n, the number of columns from j on. */
#define EACH_UNIT(p)                              \
  for (int64_t r = 0; r < (p)->rows; r++)         \
    for (int64_t j = 0, n; n = (p)->columns - j, n > 0; j += VL)

/* The sum of all that goes into gate g. */
MOON_INLINE vf gate_in(const moon_cell *p, int64_t r, int64_t j, int64_t n, int g) {
  vf x = get(p->z + r * p->z_step + g * p->units + j, n) + get(p->bias + g * p->units + j, n);
  return x + get(p->product + r * p->product_step + g * p->product_gate + j, n);
}

static void lstm(const moon_cell *p) {
  const int64_t u = p->units;
  EACH_UNIT(p) {
    vf i = vsigmoid(gate_in(p, r, j, n, 0)), f = vsigmoid(gate_in(p, r, j, n, 1));
    vf g = vtanh(gate_in(p, r, j, n, 2)), o = vsigmoid(gate_in(p, r, j, n, 3));
    vf before = get(p->c_before + r * p->c_before_step + j, n), c = vfma(f, before, i * g), h = o * vtanh(c);
    if (p->mask && !p->mask[r]) {
      c = before;
      h = get(p->before + r * p->before_step + j, n);
    }
    put(p->c + r * u + j, c, n);
    put(p->h + r * u + j, h, n);
    if (!p->gates) continue;
    float *gates = p->gates + r * 4 * u + j;
    put(gates, i, n);
    put(gates + u, f, n);
    put(gates + 2 * u, g, n);
    put(gates + 3 * u, o, n);
  }
}

static void gru(const moon_cell *p) {
  const int64_t u = p->units;
  const float *bias = p->bias + 3 * u; /* of the state */
  EACH_UNIT(p) {
    vf z = vsigmoid(gate_in(p, r, j, n, 0) + get(bias + j, n)), s = vsigmoid(gate_in(p, r, j, n, 1) + get(bias + u + j, n));
    vf q = get(p->product + r * p->product_step + 2 * p->product_gate + j, n) + get(bias + 2 * u + j, n);
    vf x = get(p->z + r * p->z_step + 2 * u + j, n) + get(p->bias + 2 * u + j, n);
    vf g = vtanh(vfma(s, q, x)), before = get(p->before + r * p->before_step + j, n), h = vfma(z, before - g, g);
    if (p->mask && !p->mask[r]) h = before;
    put(p->h + r * u + j, h, n);
    if (!p->gates) continue;
    float *gates = p->gates + r * 4 * u + j;
    put(gates, z, n);
    put(gates + u, s, n);
    put(gates + 2 * u, g, n);
    put(gates + 3 * u, q, n);
  }
}

MOON_INLINE vf sigmoid_back(vf y, vf dy) { return dy * (y * one_minus(y)); }
MOON_INLINE vf tanh_back(vf y, vf dy) { return dy * one_minus(y * y); }

/* The gradient of the state after the step. */
MOON_INLINE vf state_gradient(const moon_cell_back *p, int64_t r, int64_t j, int64_t n) {
  vf dh = {0};
  if (p->product) dh = get(p->product + r * p->product_step + j, n);
  if (p->pass) dh += get(p->pass + r * p->units + j, n);
  return dh;
}

MOON_INLINE void store_gates(float *d, float *sums, const vf *x, int ngates, int64_t units, int64_t n) {
  for (int g = 0; g < ngates; g++) {
    put(d + g * units, x[g], n);
    put(sums + g * units, get(sums + g * units, n) + x[g], n);
  }
}

static void lstm_back(const moon_cell_back *p) {
  const int64_t u = p->units;
  EACH_UNIT(p) {
    const float *gates = p->gates + r * 4 * u + j;
    const bool counts = !p->mask || p->mask[r];
    vf i = get(gates, n), f = get(gates + u, n), g = get(gates + 2 * u, n), o = get(gates + 3 * u, n);
    vf dh = state_gradient(p, r, j, n), dc = get(p->dc + r * u + j, n);
    if (p->dy) dh += get(p->dy + r * p->dy_step + j, n);
    if (p->pass) put(p->pass + r * u + j, counts ? (vf){0} : dh, n);
    vf d[4] = {{0}, {0}, {0}, {0}};
    if (counts) {
      vf th = vtanh(get(p->c + r * u + j, n));
      dc += tanh_back(th, dh * o);
      d[0] = sigmoid_back(i, dc * g);
      d[1] = sigmoid_back(f, dc * get(p->before + r * p->before_step + j, n));
      d[2] = tanh_back(g, dc * i);
      d[3] = sigmoid_back(o, dh * th);
      put(p->dc + r * u + j, dc * f, n);
    }
    store_gates(p->dz + r * 4 * u + j, p->dbias + j, d, 4, u, n);
  }
}

static void gru_back(const moon_cell_back *p) {
  const int64_t u = p->units;
  EACH_UNIT(p) {
    const float *gates = p->gates + r * 4 * u + j;
    vf z = get(gates, n), s = get(gates + u, n), g = get(gates + 2 * u, n), q = get(gates + 3 * u, n);
    vf dh = state_gradient(p, r, j, n), d[3] = {{0}, {0}, {0}}, e[3] = {{0}, {0}, {0}}, pass = dh;
    if (p->dy) pass = dh += get(p->dy + r * p->dy_step + j, n);
    if (!p->mask || p->mask[r]) {
      vf before = get(p->before + r * p->before_step + j, n);
      d[0] = e[0] = sigmoid_back(z, dh * (before - g));
      d[2] = tanh_back(g, dh * one_minus(z));
      d[1] = e[1] = sigmoid_back(s, d[2] * q);
      e[2] = d[2] * s;
      pass = dh * z;
    }
    put(p->pass + r * u + j, pass, n);
    store_gates(p->dz + r * 3 * u + j, p->dbias + j, d, 3, u, n);
    store_gates(p->dq + r * 3 * u + j, p->dbias + 3 * u + j, e, 3, u, n);
  }
}

const moon_cells_set MOON_ISA_NAME(moon__cells_set) = {.lstm = lstm, .gru = gru, .lstm_back = lstm_back, .gru_back = gru_back};
