/*
** random_fast.c: uniform, normal and bernoulli by vectors. What is drawn is said in base/philox.h; what these do not fit (f64, other
** dtypes, machines without fused multiply-adds) is drawn by the plain kernels of random.c.
*/
#include "random_fast.h"

#include "fast.h"
#include "plain.h"

enum { PER_JOB = 16384 };

typedef struct random_plan {
  const moon_random_set *set;
  int64_t count;
} random_plan;

/* Elements of jobs [first, last). */
static int64_t begin(const moon_call *call, int64_t first, int64_t last, int64_t *n) {
  const random_plan *p = call->state;
  int64_t lo = first * PER_JOB, hi = moon__min_i64(last * PER_JOB, p->count);
  *n = hi - lo;
  return lo;
}

static void run_uniform(const moon_call *call, int64_t first, int64_t last) {
  const random_plan *p = call->state;
  const moon_random_attrs *a = call->attrs;
  moon_philox r = moon__call_philox(call);
  int64_t n, lo = begin(call, first, last, &n);
  float low = (float)a->a, top = a->a < a->b ? nextafterf((float)a->b, low) : INFINITY;
  p->set->uniform(&r, low, (float)(a->b - a->a), top, lo, n, (float *)(void *)call->out[0].data + lo);
}

static void run_normal(const moon_call *call, int64_t first, int64_t last) {
  const random_plan *p = call->state;
  const moon_random_attrs *a = call->attrs;
  moon_philox r = moon__call_philox(call);
  int64_t n, lo = begin(call, first, last, &n);
  p->set->normal(&r, (float)a->a, (float)a->b, lo, n, (float *)(void *)call->out[0].data + lo);
}

static void run_bernoulli(const moon_call *call, int64_t first, int64_t last) {
  const random_plan *p = call->state;
  const moon_random_attrs *a = call->attrs;
  moon_philox r = moon__call_philox(call);
  int64_t n, lo = begin(call, first, last, &n);
  uint32_t limit = (uint32_t)moon__bernoulli_limit(a->a);
  char *y = call->out[0].data;
  if (call->out[0].dtype == MOON_DTYPE_f32) p->set->bernoulli_f32(&r, limit, lo, n, (float *)(void *)y + lo);
  else p->set->bernoulli_u8(&r, limit, lo, n, (uint8_t *)y + lo);
}

/* A probability of 1 needs a limit of 33 bits. */
bool moon__cpu_random_fits(const moon_fast *f) {
  const moon_random_attrs *a = f->node->attrs;
  moon_dtype dtype = f->out[0].dtype;
  if (!MOON_ISA_PICK(f->isa, moon__random_set)->uniform) return false;
  if (f->node->op->id != MOON_OP_bernoulli) return dtype == MOON_DTYPE_f32;
  return (dtype == MOON_DTYPE_f32 || dtype == MOON_DTYPE_u8 || dtype == MOON_DTYPE_bool) &&
         moon__bernoulli_limit(a->a) <= UINT32_MAX;
}

moon_status moon__cpu_random_plan(const moon_fast *f, moon_choice *c) {
  random_plan *p = moon__fast_state(f, c, sizeof *p);
  if (!p) return MOON_EMEMORY;
  moon_op_id op = f->node->op->id;
  p->set = MOON_ISA_PICK(f->isa, moon__random_set);
  p->count = moon__array_count(&f->out[0]);
  c->kernel = op == MOON_OP_uniform  ? MOON_ISA_TEXT(f->isa, "cpu_uniform_f32")
              : op == MOON_OP_normal ? MOON_ISA_TEXT(f->isa, "cpu_normal_f32")
                                     : MOON_ISA_TEXT(f->isa, "cpu_bernoulli");
  c->why = "counters by vectors";
  if (p->count == 0) return MOON_OK;
  moon__fast_phase(c, op == MOON_OP_uniform ? run_uniform : op == MOON_OP_normal ? run_normal : run_bernoulli,
                   moon__ceildiv_i64(p->count, PER_JOB));
  return MOON_OK;
}
