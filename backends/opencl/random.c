/*
** random.c: random numbers: the text below is base/philox.h in OpenCL C, and gives the same bits. normal needs log and cos in f64 to
** agree with the CPU to the last bits; a device without f64 draws it in f32.
*/
#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "base/shape.h"
#include "family.h"
#include "ops/attrs.h"


/* p: count, then bits of a, b - a and top, in the type of y. */
static const char uniform_text[] = CL_(
  KERNEL void run(OPERAND(0), PARAMS, REST, uint4 key) {
    START
    union { long bits; T0 value; } low, span, top;
    low.bits = p.v[1]; span.bits = p.v[2]; top.bits = p.v[3];
    EACH(i, p.v[0], 512) {
      MOON_CL_DRAW
      const T0 u = sizeof(T0) == 4 ? (T0)(c0 >> 8) * (T0)0x1p-24f : (T0)(((ulong)c1 << 32 | c0) >> 11) * (T0)1.1102230246251565e-16;
      AT(T0, 0)[i] = fmin(fma(u, span.value, low.value), top.value);
    }
  }
);

/* p: count, then bits of mean and std in WORK. */
static const char normal_text[] = CL_(
  KERNEL void run(OPERAND(0), PARAMS, REST, uint4 key) {
    START
    union { long bits; WORK value; } mean, std;
    mean.bits = p.v[1]; std.bits = p.v[2];
    EACH(i, p.v[0], 512) {
      MOON_CL_DRAW
      WORK u = (WORK)c0 * (WORK)0x1p-32f + (WORK)0x1p-33f;
      WORK v = (WORK)c1 * (WORK)0x1p-32f;
      if (sizeof(T0) == 8) {
        u = (WORK)(((ulong)c1 << 32 | c0) >> 11) * (WORK)1.1102230246251565e-16 + (WORK)5.5511151231257827e-17;
        v = (WORK)(((ulong)c3 << 32 | c2) >> 11) * (WORK)1.1102230246251565e-16;
      }
      AT(T0, 0)[i] = (T0)(mean.value + std.value * (sqrt(-2 * log(u)) * cos((WORK)6.283185307179586476925 * v)));
    }
  }
);

/* p: count, limit. */
static const char bernoulli_text[] = CL_(
  KERNEL void run(OPERAND(0), PARAMS, REST, uint4 key) {
    START
    EACH(i, p.v[0], 512) {
      MOON_CL_DRAW
      AT(T0, 0)[i] = (T0)((long)c0 < p.v[1]);
    }
  }
);

/* p: count, low, high - low. */
static const char integers_text[] = CL_(
  KERNEL void run(OPERAND(0), PARAMS, REST, uint4 key) {
    START
    EACH(i, p.v[0], 512) {
      MOON_CL_DRAW
      const ulong step = mul_hi((ulong)c1 << 32 | c0, (ulong)p.v[2]);
      AT(T0, 0)[i] = (T0)(long)((ulong)p.v[1] + step);
    }
  }
);

static bool add_uniform(moon_cl_choice *c, int64_t n, const moon_random_attrs *a) {
  moon_dtype dtype = c->out[0].dtype;
  bool rises = a->a < a->b;
  double top = !rises ? (double)INFINITY
               : dtype == MOON_DTYPE_f32 ? (double)nextafterf((float)a->b, (float)a->a) : nextafter(a->b, a->a);
  int64_t p[4] = {n, moon__cl_bits(dtype, a->a), moon__cl_bits(dtype, a->b - a->a), moon__cl_bits(dtype, top)};
  return moon__cl_begin(c, "opencl_uniform", false) && moon__cl_add(c, uniform_text, p, 4, n, 512);
}

static bool add_normal(moon_cl_choice *c, int64_t n, const moon_random_attrs *a) {
  moon_dtype work = c->d->f64 ? MOON_DTYPE_f64 : MOON_DTYPE_f32;
  int64_t p[3] = {n, moon__cl_bits(work, a->a), moon__cl_bits(work, a->b)};
  return moon__cl_begin(c, "opencl_normal", false) && moon__cl_add(c, normal_text, p, 3, n, 512);
}

static bool add_integers(moon_cl_choice *c, int64_t n, const moon_random_attrs *a) {
  int64_t low = moon__cl_bits(MOON_DTYPE_i64, a->a), high = moon__cl_bits(MOON_DTYPE_i64, a->b);
  int64_t p[3] = {n, low, (int64_t)((uint64_t)high - (uint64_t)low)};
  return moon__cl_begin(c, "opencl_integers", false) && moon__cl_add(c, integers_text, p, 3, n, 512);
}

static bool select_random(moon_cl_choice *c, moon_status *s) {
  const moon_random_attrs *a = c->node->attrs;
  int64_t n = moon__cl_count(&c->out[0]);
  bool ok;
  switch (c->node->op->id) {
    case MOON_OP_uniform: ok = add_uniform(c, n, a); break;
    case MOON_OP_normal: ok = add_normal(c, n, a); break;
    case MOON_OP_integers: ok = add_integers(c, n, a); break;
    case MOON_OP_bernoulli: {
      int64_t p[2] = {n, (int64_t)moon__bernoulli_limit(a->a)};
      ok = moon__cl_begin(c, "opencl_bernoulli", false) && moon__cl_add(c, bernoulli_text, p, 2, n, 512);
      break;
    }
    default: return false;
  }
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_random = {select_random};
