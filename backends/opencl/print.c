/*
** print.c: scalar instructions as OpenCL C. The value of an elementwise row is text over macros (elementwise.def); its words are
** replaced by what they mean for a dtype: a register for a, b, c, an OpenCL function or operator for the rest. What has no vector
** form is a function of one number at the end of this file, and a loop that uses it runs number by number.
*/
#include "print.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/shape.h"

typedef struct type_names {
  const char *one, *many;      /* the type */
  const char *back, *wrap;     /* reinterpreting an unsigned number as it, and it as unsigned: integers wrap */
  const char *back_many, *wrap_many;
  const char *condition;       /* what comparing vectors of it gives */
} type_names;
static const type_names types[MOON_DTYPE_COUNT] = {
    [MOON_DTYPE_bool] = {"uchar", "uchar16", "(uchar)", "", "", "", "char16"},
    [MOON_DTYPE_u8] = {"uchar", "uchar16", "(uchar)", "", "", "", "char16"},
    [MOON_DTYPE_i32] = {"int", "int16", "as_int", "as_uint", "as_int16", "as_uint16", "int16"},
    [MOON_DTYPE_i64] = {"long", "long16", "as_long", "as_ulong", "as_long16", "as_ulong16", "long16"},
    [MOON_DTYPE_bf16] = {"ushort", "ushort16", "", "", "", "", ""}, /* halves: their bits; only casts look into them */
    [MOON_DTYPE_f16] = {"ushort", "ushort16", "", "", "", "", ""},
    [MOON_DTYPE_f32] = {"float", "float16", "", "", "", "", "int16"},
    [MOON_DTYPE_f64] = {"double", "double16", "", "", "", "", "long16"},
};

const char *moon__cl_type(moon_dtype dtype, int lanes) { return lanes == 1 ? types[dtype].one : types[dtype].many; }

/* ---- Words of a value ---- */

typedef enum word_kind {
  AS_IS,    /* the prelude's macro, or an OpenCL function of the name below */
  QUICK,    /* the function, but for f32 the prelude's macro NAME_F32 */
  OPERATOR, /* an arithmetic operator: integers wrap */
  PREFIX,
  IDENTITY, /* of integers: the number itself */
  FUNCTION, /* one number at a time: moon_NAME_type */
} word_kind;

typedef struct word {
  const char *name;
  word_kind floats, integers;
  const char *text; /* the function's name or the operator */
} word;
static const word words[] = {
    {"ADD", OPERATOR, OPERATOR, "+"},   {"SUB", OPERATOR, OPERATOR, "-"},   {"MUL", OPERATOR, OPERATOR, "*"},
    {"DIV", OPERATOR, OPERATOR, "/"},   {"NEG", PREFIX, PREFIX, "-"},       {"ABS", AS_IS, FUNCTION, "fabs"},
    {"FLOOR", AS_IS, IDENTITY, "floor"}, {"CEIL", AS_IS, IDENTITY, "ceil"}, {"TRUNC", AS_IS, IDENTITY, "trunc"},
    {"ROUND", AS_IS, IDENTITY, "rint"}, {"FLOORDIV", FUNCTION, FUNCTION, ""}, {"REM", FUNCTION, FUNCTION, ""},
    {"POW", AS_IS, FUNCTION, "pow"},    {"SQRT", AS_IS, AS_IS, "sqrt"},     {"EXP", AS_IS, AS_IS, "exp"},
    {"EXP2", AS_IS, AS_IS, "exp2"},     {"EXPM1", AS_IS, AS_IS, "expm1"},   {"LOG", AS_IS, AS_IS, "log"},
    {"LOG2", AS_IS, AS_IS, "log2"},     {"LOG10", AS_IS, AS_IS, "log10"},   {"LOG1P", AS_IS, AS_IS, "log1p"},
    {"SIN", AS_IS, AS_IS, "sin"},       {"COS", AS_IS, AS_IS, "cos"},       {"TAN", AS_IS, AS_IS, "tan"},
    {"ASIN", AS_IS, AS_IS, "asin"},     {"ACOS", AS_IS, AS_IS, "acos"},     {"ATAN", AS_IS, AS_IS, "atan"},
    {"SINH", AS_IS, AS_IS, "sinh"},     {"COSH", AS_IS, AS_IS, "cosh"},     {"TANH", QUICK, AS_IS, "tanh"},
    {"ASINH", AS_IS, AS_IS, "asinh"},   {"ACOSH", AS_IS, AS_IS, "acosh"},   {"ATANH", AS_IS, AS_IS, "atanh"},
    {"ERF", AS_IS, AS_IS, "erf"},       {"ERFC", AS_IS, AS_IS, "erfc"},     {"ATAN2", AS_IS, AS_IS, "atan2"},
    {"HYPOT", AS_IS, AS_IS, "hypot"},
};

static const word *find_word(const char *s, size_t n) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strlen(words[i].name) == n && memcmp(words[i].name, s, n) == 0) return &words[i];
  }
  return NULL;
}

static word_kind kind_of(const word *w, moon_dtype dtype) { return moon__dtype_is_float(dtype) ? w->floats : w->integers; }

bool moon__cl_is_vector_op(const moon_loop_ins *ins) {
  if (ins->op == MOON_OP_cast) return ins->dtype != MOON_DTYPE_f16 && ins->out_dtype != MOON_DTYPE_f16;
  const char *s = moon__ops[ins->op]->value;
  while (*s) {
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
    const word *w = n ? find_word(s, n) : NULL;
    if (w && kind_of(w, (moon_dtype)ins->dtype) == FUNCTION) return false;
    s += n ? n : 1;
  }
  return true;
}

/* ---- Printing a value: text over a, b, c with nested calls ---- */

typedef struct printer {
  moon_cl_text *t;
  const moon_loop_ins *ins;
  const char *s; /* what is left */
  int lanes;
  bool truths;   /* a and b are conditions */
} printer;

static void print_expression(printer *p);

static void print_truth(printer *p, int reg, moon_dtype of) {
  if (p->lanes == 1) moon__cl_put(p->t, "(r%d != 0)", reg);
  else moon__cl_put(p->t, "(convert_%s(r%d) != (%s)(0))", types[of].condition, reg, types[of].condition);
}

static void print_register(printer *p, int i) {
  const moon_loop_ins *ins = p->ins;
  bool condition = p->truths || (ins->src[2] >= 0 && i == 0);
  if (condition) print_truth(p, ins->src[i], p->truths ? MOON_DTYPE_bool : (moon_dtype)ins->dtype);
  else moon__cl_put(p->t, "r%d", ins->src[i]);
}

static void skip(printer *p, char c) {
  while (*p->s == ' ') p->s++;
  if (*p->s == c) p->s++;
  while (*p->s == ' ') p->s++;
}

/* Arguments up to the closing parenthesis, with `between` in place of the commas. */
static void print_arguments(printer *p, const char *between, const char *open, const char *close) {
  skip(p, '(');
  for (bool first = true; *p->s && *p->s != ')'; first = false) {
    if (!first) moon__cl_put(p->t, "%s", between);
    moon__cl_put(p->t, "%s", open);
    print_expression(p);
    moon__cl_put(p->t, "%s", close);
    skip(p, ',');
  }
  skip(p, ')');
}

static void print_word(printer *p, const word *w) {
  moon_dtype dtype = (moon_dtype)p->ins->dtype;
  const type_names *n = &types[dtype];
  bool many = p->lanes > 1;
  char open[24], between[8];
  switch (kind_of(w, dtype)) {
    case QUICK:
    case AS_IS:
      if (kind_of(w, dtype) == QUICK && dtype == MOON_DTYPE_f32) moon__cl_put(p->t, "%s_F32(", w->name);
      else moon__cl_put(p->t, "%s(", w->text);
      print_arguments(p, ", ", "", "");
      moon__cl_put(p->t, ")");
      return;
    case OPERATOR:
    case PREFIX:
      snprintf(open, sizeof open, "%s%s(", w->floats == PREFIX ? w->text : "", many ? n->wrap_many : n->wrap);
      snprintf(between, sizeof between, " %s ", w->text);
      moon__cl_put(p->t, "%s(", many ? n->back_many : n->back);
      print_arguments(p, between, open, ")");
      moon__cl_put(p->t, ")");
      return;
    case IDENTITY:
      print_arguments(p, "", "(", ")");
      return;
    case FUNCTION:
      moon__cl_put(p->t, "moon_%s_%s(", w->name, n->one);
      print_arguments(p, ", ", "", "");
      moon__cl_put(p->t, ")");
      return;
  }
}

/* A literal K(x) as a number of the type. */
static void print_literal(printer *p) {
  skip(p, '(');
  size_t n = strcspn(p->s, ")");
  bool f32 = p->ins->dtype == MOON_DTYPE_f32, whole = memchr(p->s, '.', n) == NULL;
  moon__cl_put(p->t, "(%s)(%.*s%s)", moon__cl_type((moon_dtype)p->ins->dtype, p->lanes), (int)n, p->s, f32 && !whole ? "f" : "");
  p->s += n;
  skip(p, ')');
}

static void print_expression(printer *p) {
  size_t n = 0;
  while (isalnum((unsigned char)p->s[n]) || p->s[n] == '_') n++;
  const char *name = p->s;
  const word *w = find_word(name, n);
  p->s += n;
  if (n == 1 && name[0] >= 'a' && name[0] <= 'c') {
    print_register(p, name[0] - 'a');
  } else if (n == 1 && name[0] == 'K') {
    print_literal(p);
  } else if (w) {
    print_word(p, w);
  } else { /* a macro of the prelude */
    moon__cl_put(p->t, "%.*s(", (int)n, name);
    print_arguments(p, ", ", "", "");
    moon__cl_put(p->t, ")");
  }
}

/* Between a half and f32, as base/half.h does. */
static void print_half(moon_cl_text *t, moon_dtype from, moon_dtype to, int r, int lanes) {
  const char *n = lanes > 1 ? "16" : "";
  if (from == to) moon__cl_put(t, "r%d", r);
  else if (from == MOON_DTYPE_bf16) moon__cl_put(t, "as_float%s(convert_uint%s(r%d) << 16)", n, n, r);
  else if (to == MOON_DTYPE_bf16)
    moon__cl_put(t, "convert_ushort%s(select((as_uint%s(r%d) + 0x7fffu + ((as_uint%s(r%d) >> 16) & 1u)) >> 16, "
                 "(as_uint%s(r%d) >> 16) | 0x40u, r%d != r%d))", n, n, r, n, r, n, r, r, r);
  else moon__cl_put(t, to == MOON_DTYPE_f16 ? "moon_to_f16(r%d)" : "moon_from_f16(r%d)", r);
}

static void print_cast(moon_cl_text *t, const moon_loop_ins *ins, int lanes) {
  moon_dtype from = (moon_dtype)ins->dtype, to = (moon_dtype)ins->out_dtype;
  if (moon__dtype_is_half(from) || moon__dtype_is_half(to)) {
    print_half(t, from, to, ins->src[0], lanes);
    return;
  }
  const char *type = moon__cl_type(to, lanes);
  bool saturate = moon__dtype_is_float(from) && !moon__dtype_is_float(to);
  if (to == MOON_DTYPE_bool && lanes == 1) moon__cl_put(t, "(uchar)(r%d != 0)", ins->src[0]);
  else if (to == MOON_DTYPE_bool) moon__cl_put(t, "convert_uchar16(r%d != (%s)(0)) & (uchar16)(1)", ins->src[0], types[from].many);
  else if (saturate) moon__cl_put(t, "convert_%s_sat(WHERE(r%d != r%d, (%s)(0), r%d))", type, ins->src[0], ins->src[0], moon__cl_type(from, lanes), ins->src[0]);
  else moon__cl_put(t, "convert_%s(r%d)", type, ins->src[0]);
}

void moon__cl_print_ins(moon_cl_text *t, const moon_loop_ins *ins, int lanes) {
  const moon_op *op = moon__ops[ins->op];
  moon__cl_put(t, "const %s r%d = ", moon__cl_type((moon_dtype)ins->out_dtype, lanes), ins->dst);
  if (ins->op == MOON_OP_cast) {
    print_cast(t, ins, lanes);
  } else {
    printer p = {.t = t, .ins = ins, .s = op->value, .lanes = lanes, .truths = op->dtype_class == MOON_CLASS_BOOL};
    bool condition = op->result_class == MOON_RESULT_BOOL;
    if (condition) moon__cl_put(t, lanes == 1 ? "(uchar)(" : "convert_uchar16(");
    print_expression(&p);
    if (condition) moon__cl_put(t, lanes == 1 ? ")" : ") & (uchar16)(1)");
  }
  moon__cl_put(t, ";\n");
}

/* ---- Numbers ---- */

static void print_float(moon_cl_text *t, moon_dtype dtype, double f) {
  const char *sign = signbit(f) ? "-" : "";
  if (f != f) moon__cl_put(t, "NAN");
  else if (isinf(f)) moon__cl_put(t, "%sINFINITY", sign);
  else moon__cl_put(t, "%a%s", f, dtype == MOON_DTYPE_f32 ? "f" : "");
}

void moon__cl_print_number(moon_cl_text *t, moon_dtype dtype, double f, int64_t i, int lanes) {
  moon__cl_put(t, "(%s)(", moon__cl_type(dtype, lanes));
  if (dtype == MOON_DTYPE_f32) print_float(t, dtype, (double)(float)f);
  else if (dtype == MOON_DTYPE_f64) print_float(t, dtype, f);
  else if (i == INT64_MIN) moon__cl_put(t, "(-9223372036854775807L - 1)");
  else moon__cl_put(t, "%lldL", (long long)(dtype == MOON_DTYPE_bool ? i != 0 : i));
  moon__cl_put(t, ")");
}

/* ---- Reductions ---- */

void moon__cl_print_combine(moon_cl_text *t, moon_op_id reduce, moon_dtype dtype, int lanes, const char *acc, const char *x) {
  const type_names *n = &types[dtype];
  bool truth = dtype == MOON_DTYPE_bool, many = lanes > 1;
  const char *back = many ? n->back_many : n->back, *wrap = many ? n->wrap_many : n->wrap;
  if (reduce == MOON_OP_sum || reduce == MOON_OP_prod)
    moon__cl_put(t, "%s = %s(%s(%s) %s %s(%s));\n", acc, back, wrap, acc, reduce == MOON_OP_sum ? "+" : "*", wrap, x);
  else if (reduce == MOON_OP_any || (truth && reduce == MOON_OP_max))
    moon__cl_put(t, "%s = %s | %s;\n", acc, acc, x);
  else if (reduce == MOON_OP_all || (truth && reduce == MOON_OP_min))
    moon__cl_put(t, "%s = %s & %s;\n", acc, acc, x);
  else
    moon__cl_put(t, "%s = %s(%s, %s);\n", acc, reduce == MOON_OP_max ? "MAX" : "MIN", acc, x);
}

void moon__cl_print_identity(moon_cl_text *t, moon_op_id reduce, moon_dtype dtype, int lanes) {
  bool high = reduce == MOON_OP_min, low = reduce == MOON_OP_max;
  int64_t i = reduce == MOON_OP_prod || reduce == MOON_OP_all;
  double f = low ? (double)-INFINITY : high ? (double)INFINITY : (double)i;
  if (low) i = dtype == MOON_DTYPE_i32 ? INT32_MIN : dtype == MOON_DTYPE_i64 ? INT64_MIN : 0;
  if (high) i = dtype == MOON_DTYPE_i32 ? INT32_MAX : dtype == MOON_DTYPE_i64 ? INT64_MAX : dtype == MOON_DTYPE_bool ? 1 : 255;
  moon__cl_print_number(t, dtype, f, i, lanes);
}

/* ---- Functions of one number ---- */

static const char float_functions[] =
    "inline T JOIN(moon_FLOORDIV_, T)(T a, T b) {\n"
    "  if (b == 0) return a / b;\n"
    "  T r = fmod(a, b), q = (a - r) / b;\n"
    "  if (r != 0 && (r < 0) != (b < 0)) q -= 1;\n"
    "  T whole = floor(q);\n"
    "  return q - whole > (T)0.5f ? whole + 1 : whole;\n"
    "}\n"
    "inline T JOIN(moon_REM_, T)(T a, T b) {\n"
    "  T r = fmod(a, b);\n"
    "  if (r == 0) return copysign(r, b);\n"
    "  return (r < 0) != (b < 0) ? r + b : r;\n"
    "}\n";
static const char integer_functions[] =
    "inline T JOIN(moon_ABS_, T)(T a) { return a > 0 ? a : (T)(0 - (ulong)a); }\n"
    "inline T JOIN(moon_FLOORDIV_, T)(T a, T b) {\n"
    "  long x = a, y = b;\n"
    "  if (y == 0) return 0;\n"
    "  if (y == -1) return (T)(0 - (ulong)x);\n"
    "  return (T)(x / y - (x % y != 0 && (x < 0) != (y < 0)));\n"
    "}\n"
    "inline T JOIN(moon_REM_, T)(T a, T b) {\n"
    "  long x = a, y = b;\n"
    "  return y == 0 || y == -1 ? 0 : (T)(x % y + (x % y != 0 && (x < 0) != (y < 0) ? y : 0));\n"
    "}\n"
    "inline T JOIN(moon_POW_, T)(T a, T b) {\n"
    "  long e = b;\n"
    "  if (e < 0) return a == 1 ? 1 : (long)a == -1 ? (T)(e % 2 ? -1 : 1) : 0;\n"
    "  ulong y = 1;\n"
    "  for (ulong x = (ulong)(long)a; e; e >>= 1, x *= x) if (e & 1) y *= x;\n"
    "  return (T)y;\n"
    "}\n";

static const char half_functions[] =
    "inline float moon_from_f16(ushort h) { return vload_half(0, (const half *)&h); }\n"
    "inline ushort moon_to_f16(float x) { ushort h; vstore_half_rte(x, 0, (half *)&h); return h; }\n";

void moon__cl_print_functions(moon_cl_text *t, const moon_loop *loop) {
  bool done[MOON_DTYPE_COUNT] = {false}, halves = false;
  for (int i = 0; i < loop->nins; i++) {
    moon_dtype dtype = (moon_dtype)loop->ins[i].dtype;
    bool cast = loop->ins[i].op == MOON_OP_cast, *known = cast ? &halves : &done[dtype];
    if (moon__cl_is_vector_op(&loop->ins[i]) || *known) continue;
    *known = true;
    const char *type = cast ? "half" : types[dtype].one;
    const char *functions = cast ? half_functions : moon__dtype_is_float(dtype) ? float_functions : integer_functions;
    moon__cl_put(t, "#ifndef KNOWS_%s\n# define KNOWS_%s\n#define T %s\n%s#undef T\n#endif\n", type, type, type, functions);
  }
}
