/*
** pool.c: pooling and its gradients, an element of the result at a time, or on CPU devices a vector of channels. Gradients gather: an
** element of dx adds what every window that sees it gives, in the order of the taps, so equal runs give equal bits.
*/
#include "base/shape.h"
#include "tile.h"
#include "window.h"

/* The place of an element of y, or of x, from its number `at`. */
#define PLACE_Y                                                                                       \
  long left = at; const long c = left % cx; left /= cx; const long o2 = left % o2n; left /= o2n;       \
  const long o1 = left % o1n; left /= o1n; const long o0 = left % o0n; const long b = left / o0n;
#define PLACE_X                                                                                       \
  long left = at; const long c = left % cx; left /= cx; const long i2 = left % i2n; left /= i2n;       \
  const long i1 = left % i1n; left /= i1n; const long i0 = left % i0n; const long b = left / i0n;
#define AT_X (((b * i0n + i0) * i1n + i1) * i2n + i2) * cx + c
#define AT_Y (((b * o0n + o0) * o1n + o1) * o2n + o2) * cx + c

/* y, index: positions in the flattened spatial axes. */
static const char max_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 256) {
      PLACE_Y
      T0 best = 0; long where = -1;
      MOON_CL_TAPS(MOON_CL_SEES)
        const T0 v = AT(const T0, 0)[AT_X];
        if (where < 0 || v > best || (v != v && best == best)) { best = v; where = (i0 * i1n + i1) * i2n + i2; }
      } } }
      if (where < 0) best = (T0)LOWEST;
      if (mem1) AT(T1, 1)[at] = best;
      if (mem2) AT(T2, 2)[at] = where;
    }
  }
);

/* (index, dy) -> dx */
static const char max_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 256) {
      PLACE_X
      const long here = (i0 * i1n + i1) * i2n + i2; const long area = i0n * i1n * i2n;
      SUM sum = 0;
      MOON_CL_WINDOWS
        const long position = AT(const T0, 0)[AT_Y];
        if (position < 0 || position >= area) BAD_INDEX(position, area);
        if (position == here) sum += (SUM)AT(const T1, 1)[AT_Y];
      } } }
      AT(T2, 2)[at] = (T2)sum;
    }
  }
);

/* (index, x) -> y */
static const char pick_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 256) {
      PLACE_Y
      const long position = AT(const T0, 0)[at]; const long area = i0n * i1n * i2n;
      const bool good = position >= 0 && position < area;
      if (!good) BAD_INDEX(position, area);
      AT(T2, 2)[at] = good ? AT(const T1, 1)[(b * area + position) * cx + c] : 0;
    }
  }
);

static const char avg_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 256) {
      PLACE_Y
      SUM sum = 0; long seen = 0;
      MOON_CL_TAPS(MOON_CL_SEES)
        sum += (SUM)AT(const T0, 0)[AT_X];
        seen++;
      } } }
      AT(T1, 1)[at] = (T1)(seen ? sum / (SUM)seen : 0);
    }
  }
);

/* How many taps of a window see x, on one axis. */
#define SEEN(axis) (min(o##axis * s##axis - l##axis + k##axis##n, i##axis##n) - max(o##axis * s##axis - l##axis, 0L))
/* dy -> dx */
static const char avg_grad_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 256) {
      PLACE_X
      SUM sum = 0;
      MOON_CL_WINDOWS
        sum += (SUM)AT(const T0, 0)[AT_Y] / (SUM)(SEEN(0) * SEEN(1) * SEEN(2));
      } } }
      AT(T1, 1)[at] = (T1)sum;
    }
  }
);

/* ---- CPU devices: a vector of f32 channels at a place; positions are i32. p.v[0]: vectors of the result ---- */

#define CHANNELS(n)                                                                                    \
  long left = at; const long c = left % (cx / L) * L; left /= cx / L; const long n##2 = left % n##2n; left /= n##2n; \
  const long n##1 = left % n##1n; left /= n##1n; const long n##0 = left % n##0n; const long b = left / n##0n;

static const char max_wide_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 64) {
      CHANNELS(o)
      V best = (V)(LOWEST); int16 where = (int16)(-1);
      MOON_CL_TAPS(MOON_CL_SEES)
        const V v = VLOAD(0, AT(const T, 0) + AT_X);
        const int16 better = where < 0 | v > best | (isnan(v) & !isnan(best));
        best = select(best, v, better);
        where = select(where, (int16)((i0 * i1n + i1) * i2n + i2), better);
      } } }
      if (mem1) VSTORE(best, 0, AT(T, 1) + at * L);
      if (mem2) vstore16(where, 0, AT(int, 2) + at * L);
    }
  }
);

static const char max_grad_wide_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), OPERAND(2), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    const int area = i0n * i1n * i2n;
    EACH(at, p.v[0], 64) {
      CHANNELS(i)
      const int here = (i0 * i1n + i1) * i2n + i2;
      V sum = (V)(0);
      MOON_CL_WINDOWS
        const int16 position = vload16(0, AT(const int, 0) + AT_Y);
        if (any(position < 0 | position >= area)) {
          int list[16];
          vstore16(position, 0, list);
          for (int j = 0; j < 16; j++) if (list[j] < 0 || list[j] >= area) BAD_INDEX(list[j], area);
        }
        sum += select((V)(0), VLOAD(0, AT(const T, 1) + AT_Y), position == here);
      } } }
      VSTORE(sum, 0, AT(T, 2) + at * L);
    }
  }
);

static const char avg_wide_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 64) {
      CHANNELS(o)
      V sum = (V)(0); int seen = 0;
      MOON_CL_TAPS(MOON_CL_SEES)
        sum += VLOAD(0, AT(const T, 0) + AT_X);
        seen++;
      } } }
      VSTORE(seen ? sum / (T)seen : sum, 0, AT(T, 1) + at * L);
    }
  }
);

static const char avg_grad_wide_text[] = CL_(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    MOON_CL_WINDOW
    EACH(at, p.v[0], 64) {
      CHANNELS(i)
      V sum = (V)(0);
      MOON_CL_WINDOWS
        sum += VLOAD(0, AT(const T, 0) + AT_Y) / (T)(SEEN(0) * SEEN(1) * SEEN(2));
      } } }
      VSTORE(sum, 0, AT(T, 1) + at * L);
    }
  }
);

/* The text for vectors of channels; NULL: there is none. */
static const char *wide_text(const moon_cl_choice *c, const moon_geometry *g) {
  bool f32 = c->fast && c->d->wide && g->c_in % 16 == 0 && moon__cl_count(&c->out[0]) > 0;
  for (int i = 0; i < c->nin + c->nout; i++) {
    const moon_array *a = i < c->nin ? &c->in[i] : &c->out[i - c->nin];
    f32 &= a->dtype == MOON_DTYPE_f32 || a->dtype == MOON_DTYPE_i32;
  }
  f32 &= c->out[0].dtype == MOON_DTYPE_f32 && g->in[0] * g->in[1] * g->in[2] <= INT32_MAX;
  if (!f32) return NULL;
  switch (c->node->op->id) {
    case MOON_OP_max_pool: return max_wide_text;
    case MOON_OP_max_pool_grad: return max_grad_wide_text;
    case MOON_OP_avg_pool: return avg_wide_text;
    case MOON_OP_avg_pool_grad: return avg_grad_wide_text;
    default: return NULL;
  }
}

static bool add_wide(moon_cl_choice *c, const char *text, const int64_t *p) {
  const moon_cl_tile t = {.rows = 1, .vectors = 1, .lanes = 16};
  const int operands[3] = {0, 1, 2};
  moon_cl_step_spec s = {.noperands = c->nin + c->nout, .operands = operands, .nparams = 1 + MOON_CL_GEOMETRY, .params = p};
  moon__cl_spread(c->d, &s, p[0], 64);
  return moon__cl_add_tile(c, &t, MOON_DTYPE_f32, text, &s);
}

static bool select_pool(moon_cl_choice *c, moon_status *s) {
  const char *text, *name;
  switch (c->node->op->id) {
    case MOON_OP_max_pool: name = "opencl_max_pool", text = max_text; break;
    case MOON_OP_max_pool_grad: name = "opencl_max_pool_grad", text = max_grad_text; break;
    case MOON_OP_max_pool_pick: name = "opencl_max_pool_pick", text = pick_text; break;
    case MOON_OP_avg_pool: name = "opencl_avg_pool", text = avg_text; break;
    case MOON_OP_avg_pool_grad: name = "opencl_avg_pool_grad", text = avg_grad_text; break;
    default: return false;
  }
  moon_geometry g = moon__pool_geometry(c->node);
  const char *wide = wide_text(c, &g);
  int64_t p[1 + MOON_CL_GEOMETRY] = {moon__cl_count(&c->out[0]) / (wide ? 16 : 1)};
  moon__cl_geometry(&g, p + 1);
  bool ok = moon__cl_begin(c, name, false) && (wide ? add_wide(c, wide, p) : moon__cl_add(c, text, p, 1 + MOON_CL_GEOMETRY, p[0], 256));
  c->choice->may_fault = text == max_grad_text || text == pick_text;
  *s = moon__cl_end(c, ok);
  return true;
}

const moon_cl_family moon__cl_pool = {select_pool};
