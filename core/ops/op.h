/*
** op.h: the op table. An op lives in one place: a row of elementwise.def, or a file in this folder holding
**   MOON_OP(name) = { MOON_OP_HEAD(name), ... };
** The build collects those lines into build/gen/ops.def, from which the enum and the table follow; nothing is listed by hand.
** Three kinds: elementwise (a row), structured (shape rule, gradient rule, a kernel per backend) and composite (defined by other
** ops; one node until the lower pass, so that a backend may have a kernel for it). Composites marked inline expand when built.
*/
#ifndef MOON_OP_H
#define MOON_OP_H
#include "moonlet.h"

typedef enum moon_op_id {
#define MOON_OP_ROW(name) MOON_OP_##name,
#include "gen/ops.def"
#undef MOON_OP_ROW
  MOON_OP_COUNT
} moon_op_id;
/* Rows of elementwise.def come first, so tables about them alone are this long. */
enum {
  MOON_ELEMENTWISE_COUNT = 0
#define UNARY(...) +1
#define BINARY(...) +1
#define TERNARY(...) +1
#include "ops/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
};

typedef enum moon_op_kind { MOON_ELEMENTWISE, MOON_STRUCTURED, MOON_COMPOSITE, MOON_INLINE } moon_op_kind;

/* How the builder prepares inputs before infer. */
typedef enum moon_op_inputs {
  MOON_INPUTS_AS_THEY_ARE,
  MOON_INPUTS_PROMOTE, /* all to one dtype */
  MOON_INPUTS_FLOAT,   /* all to one float dtype (integers become f32) */
} moon_op_inputs;

enum {
  MOON_OPF_RANDOM = 1,       /* draws; attrs begin with moon_random_attrs; never merged */
  MOON_OPF_EFFECT = 2,       /* never dropped or merged */
  MOON_OPF_VIEW = 4,         /* moves no data: the plan turns it into strides (moon_op.view) */
  MOON_OPF_COMMUTATIVE = 8,
  MOON_OPF_BROADCAST = 16,   /* inputs are broadcast to one shape */
  MOON_OPF_VARIADIC = 32,    /* from Lua: the first argument is a table of tensors */
  MOON_OPF_INTERNAL = 64,    /* no Lua function of its own */
  MOON_OPF_METHOD_OFF = 128, /* a Lua function, but no tensor method */
  MOON_OPF_MOVES = 1024,     /* no arithmetic: elements are handed on or written as they are, whatever their dtype (views imply it) */
  MOON_OPF_PRODUCT = 512,    /* its result may be finished by a loop where it is computed (backend.h: select_product) */
  MOON_OPF_NOT_DIFFERENTIABLE = 256, /* gradient is zero everywhere (floor, comparisons, argmax) */
};

/* Attributes: a plain struct (ops/attrs.h) described by rows, so that text, hashing, comparing and Lua arguments are generic.
** Integer lists and shapes are moon_ints / moon_shape. */
typedef enum moon_attr_kind {
  MOON_ATTR_I64,
  MOON_ATTR_F64,
  MOON_ATTR_BOOL,  /* bool */
  MOON_ATTR_DTYPE, /* moon_dtype; in Lua and text a name. -1 (default) may mean "as the input" */
  MOON_ATTR_ENUM,  /* int32_t; words separated by '|' in `words` */
  MOON_ATTR_INTS,  /* moon_ints */
  MOON_ATTR_SHAPE, /* moon_shape */
  MOON_ATTR_AXIS,  /* int64_t, counts from 1 in Lua; negative from the end */
  MOON_ATTR_AXES,  /* moon_ints, likewise; in Lua a number or a table */
  MOON_ATTR_DIM,   /* moon_dim */
} moon_attr_kind;

typedef struct moon_ints {
  int32_t n;
  int32_t reserved; /* 0 */
  int64_t v[MOON_MAX_DIMS];
} moon_ints;

typedef struct moon_attr {
  const char *name;
  moon_attr_kind kind;
  size_t offset;
  double number;      /* default of numbers, booleans, enums (position), dtypes (-1: none) */
  const char *words;  /* ENUM */
  bool required;      /* from Lua and text it must be given */
  bool hidden;        /* set by the library (random streams): printed in text, not offered in Lua */
} moon_attr;
#define MOON_ATTR(type, field, kind, ...) {#field, MOON_ATTR_##kind, offsetof(type, field), __VA_ARGS__}

typedef struct moon_op moon_op;

/* What an infer rule sees. It checks input types, may complete attrs (resolve axes, fill defaults), and sets outputs. */
typedef struct moon_infer {
  const moon_op *op;
  int ninputs;
  const moon_type *in;    /* [ninputs] */
  void *attrs;            /* op->attrs_bytes, writable */
  int ngraphs;
  moon_graph *const *graphs;
  int noutputs;           /* set by the builder from op->noutputs; a rule with op->noutputs 0 sets it first */
  moon_type *out;         /* room for MOON_MAX_OUTPUTS */
} moon_infer;
#define MOON_MAX_OUTPUTS 64
#define MOON_MAX_INPUTS 256

/* What a gradient rule sees: dy[i] is the gradient of output i (NULL: zero), it sets dx[j] (NULL: zero); need[j] tells whether
** anyone wants dx[j]. x, y are the node's own inputs and outputs. */
typedef struct moon_grad {
  const struct moon_node *node;
  int nx, ny;
  moon_value *const *x, *const *y, *const *dy;
  const bool *need;
  moon_value **dx;
} moon_grad;

/* What a composite's body sees: attrs and inputs [n] (absent optional inputs are beyond n), outputs to set. */
typedef struct moon_body {
  const void *attrs;
  int n, noutputs;
  moon_value *const *in;
  moon_value **out; /* [noutputs] */
} moon_body;

/* What a view op does to strides: set y's shape, strides and offset from x's (elements). False: this view needs a copy (reshape
** of strides that do not allow it). */
typedef struct moon_view {
  int ndim;
  int64_t shape[MOON_MAX_DIMS], strides[MOON_MAX_DIMS], offset;
} moon_view;

struct moon_op {
  moon_op_id id;
  const char *name;
  moon_op_kind kind;
  moon_op_inputs inputs;
  uint32_t flags;
  int min_inputs, max_inputs; /* max -1: any number */
  int noutputs;               /* 0: infer says */
  const char *input_names;    /* "x, weight, bias": for messages and docs */
  size_t attrs_bytes;
  int nattrs;
  const moon_attr *attrs;
  /* Fails by moon__fail(ctx, ..., "%s: ...", op->name, ...). A composite without one is inferred through its body. */
  moon_status (*infer)(moon_context *ctx, moon_infer *f);
  moon_status (*grad)(moon_context *ctx, const moon_grad *g); /* NULL: MOON_EGRADIENT, or the body's for composites */
  moon_status (*build)(moon_context *ctx, const moon_body *b); /* composites */
  bool (*view)(const struct moon_node *node, const moon_view *x, moon_view *y); /* MOON_OPF_VIEW */
  double (*flops)(const struct moon_node *node);              /* NULL: one per output element */
  const char *doc; /* one sentence; shapes in brackets */
  /* Elementwise rows only: */
  const char *value;    /* expression text over a, b, c: also OpenCL C; NULL where that is left out */
  uint8_t dtype_class;  /* moon_dtype_class: what inputs are cast to */
  uint8_t result_class; /* moon_result_class */
};
/* FLOAT: integers become f32. NUMBER: bool becomes i32. */
typedef enum moon_dtype_class { MOON_CLASS_FLOAT, MOON_CLASS_NUMBER, MOON_CLASS_ANY, MOON_CLASS_BOOL } moon_dtype_class;
typedef enum moon_result_class { MOON_RESULT_SAME, MOON_RESULT_BOOL } moon_result_class;

#define MOON_OP(name) const moon_op moon__op_##name
#define MOON_OP_HEAD(op_name) .id = MOON_OP_##op_name, .name = #op_name
#define MOON_OP_ATTRS(type, rows) .attrs_bytes = sizeof(type), .nattrs = (int)(sizeof(rows) / sizeof *(rows)), .attrs = (rows)

/* The table, by id; and by name (NULL: none). */
extern const moon_op *const moon__ops[MOON_OP_COUNT];
const moon_op *moon__op_find(const char *name);

/* Generic work on attributes. */
void moon__attrs_default(const moon_op *op, void *attrs);
bool moon__attrs_equal(const moon_op *op, const void *a, const void *b);
uint64_t moon__attrs_hash(const moon_op *op, const void *attrs, uint64_t seed);
/* Writes "axis=1 keepdims=true" (attributes at their default are left out); returns the length without the 0, like snprintf. */
size_t moon__attrs_text(const moon_runtime *runtime, const moon_op *op, const void *attrs, char *buf, size_t buf_bytes);
/* Reads the same form over defaults; text [text_bytes] may hold commas or spaces between attributes. */
moon_status moon__attrs_parse(moon_context *ctx, const moon_op *op, const char *text, size_t text_bytes, void *attrs);

/* Rules that many ops share. */
moon_status moon__infer_same(moon_context *ctx, moon_infer *f); /* output 0 has the type of input 0 */
#endif
