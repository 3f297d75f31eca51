/* family.c: launches from kernel texts. See family.h. */
#include "family.h"

#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/shape.h"
#include "base/size.h"
#include "print.h"

int64_t moon__cl_sizes(const moon_array *a, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; i++)
    if (a->shape[i] == 0) return 0;
  for (int i = from; i < to; i++) /* beside a size of 0 elsewhere they may be too large to multiply; then there is nothing to do */
    if (!moon__mul_i64(n, a->shape[i], &n)) return INT64_MAX;
  return n;
}

int64_t moon__cl_count(const moon_array *a) { return moon__cl_sizes(a, 0, a->ndim); }

int64_t moon__cl_bits(moon_dtype dtype, double x) {
  int64_t bits = 0;
  moon__convert(&bits, dtype, &x, MOON_DTYPE_f64);
  return bits;
}

bool moon__cl_begin(moon_cl_choice *c, const char *kernel, bool strided) {
  c->launch = moon__cl_launch(c->d, c->choice, kernel, c->d->wide ? "CPU device" : "GPU device");
  c->choice->dense_in = strided ? 0 : UINT64_MAX;
  return c->launch != NULL;
}

/* The types of a step's operands stand before the text. */
static moon_cl_unit *unit_of(const moon_cl_choice *c, const char *text, const moon_dtype *types, const moon_cl_step_spec *spec) {
  moon_cl_text t = {.runtime = c->ctx->runtime};
  for (int i = 0; i < spec->noperands; i++) {
    const char *type = spec->operands[i] == MOON_CL_SCRATCH ? "char" : moon__cl_type(types[i], 1);
    bool scratch = spec->operands[i] == MOON_CL_SCRATCH, floats = scratch || moon__dtype_is_float(types[i]);
    moon__cl_put(&t, "#define T%d %s\n", i, type);
    if (types[i] == MOON_DTYPE_bool) moon__cl_put(&t, "#define TO%d(x) ((uchar)((x) != 0))\n", i);
    else if (floats) moon__cl_put(&t, "#define TO%d(x) ((%s)(x))\n", i, type);
    else moon__cl_put(&t, "#define TO%d(x) CAST_%s(x)\n", i, type);
  }
  moon_dtype sum = c->out[0].dtype;
  moon__cl_put(&t, "#define SUM %s\n", !moon__dtype_is_float(sum) ? "ulong" : sum == MOON_DTYPE_f64 ? "double" : "WORK");
  moon__cl_put_bytes(&t, text, strlen(text));
  moon_cl_unit *u = t.failed ? NULL : moon__cl_unit(c->d, t.s, t.n);
  moon__free(t.runtime, t.s);
  return u;
}

bool moon__cl_add_spec(moon_cl_choice *c, const char *text, const moon_dtype *types, moon_cl_step_spec *spec) {
  spec->unit = unit_of(c, text, types, spec);
  return moon__cl_step(c->launch, spec);
}

bool moon__cl_add(moon_cl_choice *c, const char *text, const int64_t *params, int nparams, int64_t n, int64_t block) {
  enum { MOST = 8 };
  int operands[MOST + 1];
  moon_dtype types[MOST + 1] = {MOON_DTYPE_u8};
  moon_cl_step_spec spec = {.operands = operands, .nparams = nparams, .params = params};
  for (int i = 0; i < c->nin + c->nout; i++) {
    types[i] = i < c->nin ? c->in[i].dtype : c->out[i - c->nin].dtype;
    operands[spec.noperands++] = i;
  }
  if (c->choice->scratch_bytes) operands[spec.noperands++] = MOON_CL_SCRATCH;
  spec.rng = c->node->op->flags & MOON_OPF_RANDOM;
  moon__cl_spread(c->d, &spec, n, block);
  return moon__cl_add_spec(c, text, types, &spec);
}

/* p: count, segments, byte of the partial sums. */
static const char sum_text[] = CL(
  KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {
    START
    if (!mem0) return;
    __global const T0 *x = (__global const T0 *)(mem1 + off1 + p.v[2]);
    EACH(i, p.v[0], 1024) {
      T0 sum = x[i];
      for (long s = 1; s < p.v[1]; s++) sum += x[s * p.v[0] + i];
      AT(T0, 0)[i] = sum;
    }
  }
);

bool moon__cl_add_sum(moon_cl_choice *c, int output, int64_t count, int64_t segments, size_t at) {
  const int operands[2] = {c->nin + output, MOON_CL_SCRATCH};
  const moon_dtype types[2] = {c->out[output].dtype, MOON_DTYPE_u8};
  int64_t p[3] = {count, segments, (int64_t)at};
  moon_cl_step_spec s = {.noperands = 2, .operands = operands, .nparams = 3, .params = p};
  moon__cl_spread(c->d, &s, count, 1024);
  return moon__cl_add_spec(c, sum_text, types, &s);
}

moon_status moon__cl_end(moon_cl_choice *c, bool ok) {
  if (ok) return MOON_OK;
  moon__cl_launch_free(c->ctx->runtime, c->launch);
  memset(c->choice, 0, sizeof *c->choice);
  return moon__fail_memory(c->ctx);
}
