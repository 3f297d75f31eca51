/*
** elementwise.c: the table entries of the rows of elementwise.def: one shape rule for all of them, and gradients from the rows.
** Values are computed in the backends. Invariant: inputs of an elementwise node have one shape and, but for the condition of a
** ternary, one dtype; the builder has seen to it, and the rule here checks it again when sizes become known.
*/
#include "base/error.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/op.h"

/* ---- Types ---- */

static const char *const class_words[] = {"bf16, f16, f32 or f64", "a number", "any dtype", "bool"};

static bool dtype_fits(moon_dtype d, uint8_t class_) {
  switch ((moon_dtype_class)class_) {
    case MOON_CLASS_FLOAT: return moon__dtype_is_float(d);
    case MOON_CLASS_NUMBER: return d != MOON_DTYPE_bool;
    case MOON_CLASS_BOOL: return d == MOON_DTYPE_bool;
    case MOON_CLASS_ANY: break;
  }
  return true;
}

static moon_status check_dtypes(moon_context *ctx, const moon_infer *f) {
  int first = f->ninputs == 3; /* the first input of a ternary is its condition */
  if (first && f->in[0].dtype != MOON_DTYPE_bool)
    return moon__fail(ctx, MOON_EDTYPE, "%s: the condition must be bool, got %s", f->op->name, moon_dtype_name(f->in[0].dtype));
  for (int i = first; i < f->ninputs; i++) {
    if (!dtype_fits(f->in[i].dtype, f->op->dtype_class))
      return moon__fail(ctx, MOON_EDTYPE, "%s: takes %s, got %s", f->op->name, class_words[f->op->dtype_class],
                        moon_dtype_name(f->in[i].dtype));
    if (f->in[i].dtype != f->in[first].dtype)
      return moon__fail(ctx, MOON_EDTYPE, "%s: dtypes differ: %s and %s", f->op->name, moon_dtype_name(f->in[first].dtype),
                        moon_dtype_name(f->in[i].dtype));
  }
  return MOON_OK;
}

/* Takes the sizes of b over into a where they tell more; false when the two cannot be equal. */
static bool merge_shapes(moon_shape *a, const moon_shape *b) {
  if (a->ndim != b->ndim) return false;
  for (int i = 0; i < a->ndim; i++) {
    if (!moon__dim_may_equal(a->dim[i], b->dim[i])) return false;
    if (moon__dim_known(b->dim[i])) a->dim[i] = b->dim[i];
  }
  return true;
}

static moon_status infer_elementwise(moon_context *ctx, moon_infer *f) {
  moon_status s = check_dtypes(ctx, f);
  if (s != MOON_OK) return s;
  moon_type *y = f->out;
  y->shape = f->in[0].shape;
  for (int i = 1; i < f->ninputs; i++) {
    char a[160], b[160];
    if (!merge_shapes(&y->shape, &f->in[i].shape))
      return moon__fail(ctx, MOON_ESHAPE, "%s: shapes differ: %s and %s", f->op->name,
                        moon_shape_text(ctx->runtime, &y->shape, a, sizeof a),
                        moon_shape_text(ctx->runtime, &f->in[i].shape, b, sizeof b));
  }
  y->dtype = f->op->result_class == MOON_RESULT_BOOL ? MOON_DTYPE_bool : f->in[f->ninputs - 1].dtype;
  return MOON_OK;
}

/* ---- Gradients: what the expressions of the rows are made of ---- */

typedef struct rule_in {
  moon_context *ctx;
  moon_value *a, *b, *c, *y, *dy;
  bool none;
} rule_in;
typedef moon_value *(*rule_fn)(rule_in *r);

/* The number that v is everywhere, when it is a constant of rank 0 under broadcasts and casts. */
static bool constant_number(const moon_value *v, double *x) {
  while (v->node->op->id == MOON_OP_broadcast_to || v->node->op->id == MOON_OP_cast) v = v->node->inputs[0];
  if (v->node->op->id != MOON_OP_constant || !v->tensor || moon_tensor_ndim(v->tensor) != 0) return false;
  const void *data = moon_tensor_data(v->tensor);
  switch (moon_tensor_dtype(v->tensor)) {
    case MOON_DTYPE_f32: *x = data ? (double)*(const float *)data : 0; break;
    case MOON_DTYPE_f64: *x = data ? *(const double *)data : 0; break;
    case MOON_DTYPE_i32: *x = data ? (double)*(const int32_t *)data : 0; break;
    default: return false;
  }
  return data != NULL;
}

/* Half of d goes to each side of a tie, all of it where a `op` b. */
static moon_value *part_of(rule_in *r, moon_op_id op, moon_value *d) {
  moon_value *zero = moon__number(r->ctx, d, 0);
  moon_value *tie = moon__where(r->ctx, moon__binary(r->ctx, MOON_OP_eq, r->a, r->b), moon__scale(r->ctx, d, 0.5), zero);
  return moon__where(r->ctx, moon__binary(r->ctx, op, r->a, r->b), d, tie);
}

/* b * a^(b - 1), where the power is taken as 1 for b = 0, so that a = 0 makes no NaN, in derivatives of this either. */
static moon_value *pow_base(rule_in *r) {
  moon_context *ctx = r->ctx;
  double k;
  if (constant_number(r->b, &k)) {
    if (k == 2) return moon__mul(ctx, r->dy, moon__scale(ctx, r->a, 2));
    moon_value *power = moon__binary(ctx, MOON_OP_pow, r->a, moon__number(ctx, r->a, k == 0 ? 0 : k - 1));
    return moon__mul(ctx, r->dy, moon__scale(ctx, power, k));
  }
  moon_value *zero = moon__number(ctx, r->b, 0), *one = moon__number(ctx, r->b, 1);
  moon_value *less = moon__where(ctx, moon__binary(ctx, MOON_OP_eq, r->b, zero), zero, moon__sub(ctx, r->b, one));
  return moon__mul(ctx, r->dy, moon__mul(ctx, r->b, moon__binary(ctx, MOON_OP_pow, r->a, less)));
}

/* y * log(a) where a > 0, else 0; the logarithm never sees another a. */
static moon_value *pow_exponent(rule_in *r) {
  moon_context *ctx = r->ctx;
  moon_value *zero = moon__number(ctx, r->a, 0), *one = moon__number(ctx, r->a, 1);
  moon_value *positive = moon__binary(ctx, MOON_OP_gt, r->a, zero);
  moon_value *log = moon__unary(ctx, MOON_OP_log, moon__where(ctx, positive, r->a, one));
  return moon__where(ctx, positive, moon__mul(ctx, r->dy, moon__mul(ctx, r->y, log)), zero);
}

/* dy times the second derivative of gelu_tanh. With z = a (p + q a^2) and s = sigmoid(z), of a s, it is s (1 - s) (2 z' + a z'' + a z'^2
** (1 - 2 s)), for a from -30 to 30: beyond, it is 0. */
static moon_value *gelu_bend(rule_in *r) {
  moon_context *ctx = r->ctx;
  moon_value *low = moon__number(ctx, r->a, -30), *high = moon__number(ctx, r->a, 30), *one = moon__number(ctx, r->a, 1);
  moon_value *a = moon__binary(ctx, MOON_OP_minimum, moon__binary(ctx, MOON_OP_maximum, r->a, low), high);
  moon_value *p = moon__number(ctx, a, 1.5957691216057308), *square = moon__scale(ctx, moon__mul(ctx, a, a), 0.07135481627260025);
  moon_value *s = moon__unary(ctx, MOON_OP_sigmoid, moon__mul(ctx, a, moon__add(ctx, p, square)));
  moon_value *slope = moon__add(ctx, p, moon__scale(ctx, square, 3));
  moon_value *steep = moon__mul(ctx, moon__mul(ctx, a, moon__mul(ctx, slope, slope)), moon__sub(ctx, one, moon__scale(ctx, s, 2)));
  moon_value *bent = moon__scale(ctx, moon__add(ctx, slope, moon__scale(ctx, square, 3)), 2);
  moon_value *gate = moon__mul(ctx, s, moon__sub(ctx, one, s));
  return moon__mul(ctx, r->dy, moon__mul(ctx, gate, moon__add(ctx, bent, steep)));
}

#define NONE (r->none = true, (moon_value *)NULL)
#define K(x) moon__number(r->ctx, dy, x)
#define NEG(p) moon__neg(r->ctx, p)
#define ADD(p, q) moon__add(r->ctx, p, q)
#define SUB(p, q) moon__sub(r->ctx, p, q)
#define MUL(p, q) moon__mul(r->ctx, p, q)
#define DIV(p, q) moon__div(r->ctx, p, q)
#define WHERE(p, q, s) moon__where(r->ctx, p, q, s)
#define GT(p, q) moon__binary(r->ctx, MOON_OP_gt, p, q)
#define FLOORDIV(p, q) moon__binary(r->ctx, MOON_OP_floor_divide, p, q)
#define SIGN(p) moon__unary(r->ctx, MOON_OP_sign, p)
#define RSQRT(p) moon__unary(r->ctx, MOON_OP_rsqrt, p)
#define EXP(p) moon__unary(r->ctx, MOON_OP_exp, p)
#define SIN(p) moon__unary(r->ctx, MOON_OP_sin, p)
#define COS(p) moon__unary(r->ctx, MOON_OP_cos, p)
#define SINH(p) moon__unary(r->ctx, MOON_OP_sinh, p)
#define COSH(p) moon__unary(r->ctx, MOON_OP_cosh, p)
#define SIGMOID(p) moon__unary(r->ctx, MOON_OP_sigmoid, p)
#define GELU_SLOPE(p) moon__unary(r->ctx, MOON_OP_gelu_tanh_slope, p)
#define GELU_BEND gelu_bend(r)
#define SUM2 ADD(MUL(a, a), MUL(b, b))
#define PART(op, p) part_of(r, PART_##op, p)
#define PART_GT MOON_OP_gt
#define PART_LT MOON_OP_lt
#define POW_DA pow_base(r)
#define POW_DB pow_exponent(r)

#define MIRRORED mirrored(r, first)

/* The rule of a, seen from b. */
static moon_value *mirrored(rule_in *r, rule_fn first) {
  rule_in swapped = *r;
  swapped.a = r->b;
  swapped.b = r->a;
  moon_value *v = first(&swapped);
  r->none = swapped.none;
  return v;
}

/* first: the rule of a, for MIRRORED. */
#define RULE(name, which, expression, first_rule)                          \
  static moon_value *name##_##which(rule_in *r) {                          \
    moon_value *a = r->a, *b = r->b, *c = r->c, *y = r->y, *dy = r->dy;    \
    const rule_fn first = first_rule;                                      \
    (void)a, (void)b, (void)c, (void)y, (void)dy, (void)first;             \
    return expression;                                                     \
  }
#define UNARY(name, class_, result, value, a_, doc) RULE(name, da, a_, NULL)
#define BINARY(name, class_, result, value, a_, b_, doc) RULE(name, da, a_, NULL) RULE(name, db, b_, name##_da)
#define TERNARY(name, class_, result, value, a_, b_, c_, doc) \
  RULE(name, da, a_, NULL) RULE(name, db, b_, NULL) RULE(name, dc, c_, NULL)
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY

static const rule_fn rules[MOON_ELEMENTWISE_COUNT][3] = {
#define UNARY(name, class_, result, value, a_, doc) [MOON_OP_##name] = {name##_da},
#define BINARY(name, class_, result, value, a_, b_, doc) [MOON_OP_##name] = {name##_da, name##_db},
#define TERNARY(name, class_, result, value, a_, b_, c_, doc) [MOON_OP_##name] = {name##_da, name##_db, name##_dc},
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
};

static moon_status grad_elementwise(moon_context *ctx, const moon_grad *g) {
  rule_in r = {.ctx = ctx, .a = g->x[0], .b = g->nx > 1 ? g->x[1] : NULL, .c = g->nx > 2 ? g->x[2] : NULL, .y = g->y[0],
               .dy = g->dy[0]};
  if (!r.dy) return MOON_OK;
  for (int i = 0; i < g->nx; i++) {
    if (!g->need[i] || !moon__dtype_is_float(g->x[i]->type.dtype)) continue;
    r.none = false;
    g->dx[i] = rules[g->node->op->id][i](&r);
    if (!g->dx[i] && !r.none) return moon_error_status(ctx);
  }
  return MOON_OK;
}

/* ---- Table entries ---- */

/* Words of a row, told by their length: no other gradient expression has it. */
#define IS_NONE(text) (sizeof(text) == sizeof "NONE")
#define IS_MIRRORED(text) (sizeof(text) == sizeof "MIRRORED")
#define ZERO_IF(flag) ((flag) ? MOON_OPF_NOT_DIFFERENTIABLE : 0)

/* value and gradients come as text: their words are macros here. Only OpenCL reads the value's. */
#ifdef MOON_HAVE_OPENCL
#define VALUE(text) (text)
#else
#define VALUE(text) NULL
#endif
#define ROW(op_name, arity, names, class_, result, text, more, sentence)                                                   \
  MOON_OP(op_name) = {MOON_OP_HEAD(op_name), .kind = MOON_ELEMENTWISE, .flags = (more), .min_inputs = (arity),             \
                      .max_inputs = (arity), .noutputs = 1, .input_names = (names), .infer = infer_elementwise,           \
                      .grad = grad_elementwise, .doc = (sentence), .value = VALUE(text), .dtype_class = MOON_CLASS_##class_,    \
                      .result_class = MOON_RESULT_##result};
#define UNARY(name, class_, result, value, da, doc) ROW(name, 1, "a", class_, result, #value, ZERO_IF(IS_NONE(#da)), doc)
#define BINARY(name, class_, result, value, da, db, doc)                                                                   \
  ROW(name, 2, "a, b", class_, result, #value,                                                                             \
      MOON_OPF_BROADCAST | (IS_MIRRORED(#db) ? MOON_OPF_COMMUTATIVE : 0) |                                                 \
          ZERO_IF(IS_NONE(#da) && (IS_NONE(#db) || IS_MIRRORED(#db))), doc)
#define TERNARY(name, class_, result, value, da, db, dc, doc) \
  ROW(name, 3, "condition, a, b", class_, result, #value, MOON_OPF_BROADCAST, doc)
#include "ops/elementwise.def"
