/*
** elementwise.c: the plain kernels of all rows of elementwise.def: for each dtype of a row's class one loop over a run of strided
** elements, and one kernel that walks the operands and calls it. Adding a row needs nothing here unless it brings a new macro.
** The kernels run in place: element i is written after it was read, and nothing is read at i again.
*/
#include "numbers.h"
#include "plain.h"

/* ---- Value macros: NUM is set to a dtype's name (bool, itself a macro, is called truth), T to its C type, before the rows are
** read. ---- */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define F(name) JOIN(num_##name##_, NUM)
#define K(x) ((T)(x))
#define NEG(a) F(neg)(a)
#define ADD(a, b) F(add)(a, b)
#define SUB(a, b) F(sub)(a, b)
#define MUL(a, b) F(mul)(a, b)
#define DIV(a, b) F(div)(a, b)
#define ABS(a) F(abs)(a)
#define FLOOR(a) F(floor)(a)
#define CEIL(a) F(ceil)(a)
#define TRUNC(a) F(trunc)(a)
#define ROUND(a) F(round)(a)
#define MAX(a, b) F(max)(a, b)
#define MIN(a, b) F(min)(a, b)
#define FLOORDIV(a, b) F(floordiv)(a, b)
#define REM(a, b) F(rem)(a, b)
#define POW(a, b) F(pow)(a, b)
#define WHERE(p, a, b) ((p) ? (a) : (b))
#define SQRT(a) F(sqrt)(a)
#define EXP(a) F(exp)(a)
#define EXP2(a) F(exp2)(a)
#define EXPM1(a) F(expm1)(a)
#define LOG(a) F(log)(a)
#define LOG2(a) F(log2)(a)
#define LOG10(a) F(log10)(a)
#define LOG1P(a) F(log1p)(a)
#define SIN(a) F(sin)(a)
#define COS(a) F(cos)(a)
#define TAN(a) F(tan)(a)
#define ASIN(a) F(asin)(a)
#define ACOS(a) F(acos)(a)
#define ATAN(a) F(atan)(a)
#define SINH(a) F(sinh)(a)
#define COSH(a) F(cosh)(a)
#define TANH(a) F(tanh)(a)
#define ASINH(a) F(asinh)(a)
#define ACOSH(a) F(acosh)(a)
#define ATANH(a) F(atanh)(a)
#define ERF(a) F(erf)(a)
#define ERFC(a) F(erfc)(a)
#define ATAN2(a, b) F(atan2)(a, b)
#define HYPOT(a, b) F(hypot)(a, b)
#define EQ(a, b) F(eq)(a, b)
#define NE(a, b) F(ne)(a, b)
#define LT(a, b) F(lt)(a, b)
#define LE(a, b) F(le)(a, b)
#define GT(a, b) F(gt)(a, b)
#define GE(a, b) F(ge)(a, b)
#define NOT(p) (!(p))
#define AND(p, q) ((p) && (q))
#define OR(p, q) ((p) || (q))
#define XOR(p, q) (!(p) != !(q))

/* ---- Loops: a row makes one for the dtype at hand if its class holds that dtype. IF_FLOAT and so on keep or drop it. ---- */
#define LOOP(name) JOIN(name##_, NUM)
#define GET(k) LOAD(((const T *)(const void *)p[k])[i * step[k]])
#define PUT_SAME(value) ((T *)(void *)y)[i] = (T)(value)
#define PUT_BOOL(value) ((uint8_t *)(void *)y)[i] = (value) ? 1 : 0
#define KEEP(...) __VA_ARGS__
#define DROP(...)
#define UNARY(name, CLASS, RESULT, value, ...)                                                   \
  IF_##CLASS(static void LOOP(name)(char *y, const char *const *p, const int64_t *step, int64_t n) { \
    for (int64_t i = 0; i < n; i++) {                                                            \
      const T a = GET(0);                                                                        \
      PUT_##RESULT(value);                                                                       \
    }                                                                                            \
  })
#define BINARY(name, CLASS, RESULT, value, ...)                                                  \
  IF_##CLASS(static void LOOP(name)(char *y, const char *const *p, const int64_t *step, int64_t n) { \
    for (int64_t i = 0; i < n; i++) {                                                            \
      const T a = GET(0), b = GET(1);                                                            \
      PUT_##RESULT(value);                                                                       \
    }                                                                                            \
  })
#define TERNARY(name, CLASS, RESULT, value, ...)                                                 \
  IF_##CLASS(static void LOOP(name)(char *y, const char *const *p, const int64_t *step, int64_t n) { \
    for (int64_t i = 0; i < n; i++) {                                                            \
      const int a = ((const uint8_t *)(const void *)p[0])[i * step[0]] != 0;                     \
      const T b = GET(1), c = GET(2);                                                            \
      PUT_##RESULT(value);                                                                       \
    }                                                                                            \
  })

#define IF_FLOAT KEEP
#define IF_NUMBER KEEP
#define IF_ANY KEEP
#define IF_BOOL DROP
#define LOAD(x) (x)
#define NUM f32
#define T float
#include "ops/elementwise.def"
#undef NUM
#undef T
#define NUM f64
#define T double
#include "ops/elementwise.def"
#undef NUM
#undef T
#undef IF_FLOAT
#define IF_FLOAT DROP
#define NUM u8
#define T uint8_t
#include "ops/elementwise.def"
#undef NUM
#undef T
#define NUM i32
#define T int32_t
#include "ops/elementwise.def"
#undef NUM
#undef T
#define NUM i64
#define T int64_t
#include "ops/elementwise.def"
#undef NUM
#undef T
#undef IF_NUMBER
#undef IF_BOOL
#undef LOAD
#define IF_NUMBER DROP
#define IF_BOOL KEEP
#define LOAD(x) ((x) != 0)
#define NUM truth
#define T uint8_t
#include "ops/elementwise.def"
#undef NUM
#undef T
#undef LOAD
#undef IF_FLOAT
#undef IF_NUMBER
#undef IF_ANY
#undef IF_BOOL
#undef UNARY
#undef BINARY
#undef TERNARY

/* ---- The table of loops, and the kernels. ---- */
#define AT(name, dtype) [MOON_DTYPE_##dtype] = name##_##dtype
#define AT_BOOL(name) [MOON_DTYPE_bool] = name##_truth
#define LOOPS_FLOAT(name) AT(name, f32), AT(name, f64)
#define LOOPS_NUMBER(name) AT(name, u8), AT(name, i32), AT(name, i64), LOOPS_FLOAT(name)
#define LOOPS_ANY(name) AT_BOOL(name), LOOPS_NUMBER(name)
#define LOOPS_BOOL(name) AT_BOOL(name)
#define ROW_OF(name, CLASS) [MOON_OP_##name] = {LOOPS_##CLASS(name)},
#define UNARY(name, CLASS, ...) ROW_OF(name, CLASS)
#define BINARY(name, CLASS, ...) ROW_OF(name, CLASS)
#define TERNARY(name, CLASS, ...) ROW_OF(name, CLASS)
const moon_cpu_loop_fn moon__cpu_loops[MOON_ELEMENTWISE_COUNT][MOON_DTYPE_COUNT] = {
#include "ops/elementwise.def"
};
#undef UNARY
#undef BINARY
#undef TERNARY

enum { ELEMENT_WORK = 8 }; /* a row is a function of libm at worst */

static int64_t jobs(const moon_node *node) { return moon__job_count(moon__output_count(node), ELEMENT_WORK); }

static void run(const moon_call *call, int64_t first, int64_t last) {
  const moon_array *y = &call->out[0];
  moon_cpu_loop_fn loop = moon__cpu_loops[call->node->op->id][call->in[call->nin - 1].dtype];
  int64_t y_bytes = (int64_t)moon_dtype_bytes(y->dtype), lo, hi;
  moon__job_range(moon__array_count(y), ELEMENT_WORK, first, last, &lo, &hi);
  moon_walk w;
  moon__walk_init(&w, call->nin, call->in);
  moon__walk_set(&w, lo, hi);
  while (moon__walk_next(&w)) loop(y->data + w.at * y_bytes, w.p, w.step, w.run);
}

#define KERNEL(op) \
  extern const moon_cpu_kernel moon__cpu_plain_##op; \
  const moon_cpu_kernel moon__cpu_plain_##op = {.name = "cpu_" #op "_plain", .jobs = jobs, .run = run, .in_place = true};
#define UNARY(name, ...) KERNEL(name)
#define BINARY(name, ...) KERNEL(name)
#define TERNARY(name, ...) KERNEL(name)
#include "ops/elementwise.def"
