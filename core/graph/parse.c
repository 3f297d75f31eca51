/*
** parse.c: reads the text form of graphs (text.h). The text may come from a hostile file: every node goes through the op's own
** rules again, its declared types must be what they give, values are used after they are made, bodies nest to a limit, and nothing
** is allocated that the length of the text does not justify. Messages tell line and column.
*/
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"
#include "base/shape.h"
#include "base/size.h"
#include "graph/build.h"
#include "graph/text.h"
#include "ops/op.h"
#include "tensor/tensor.h"

#define MAX_NAME 256
#define MAX_BODIES 4

typedef struct parser {
  moon_context *ctx;
  const char *start, *at, *end;
  const moon_resolver *resolver;
  moon_origin *origin; /* of the node before: nodes of one line share it */
  int depth;
} parser;

typedef struct values { /* of one graph, by number */
  int n, capacity;
  moon_value **item;
} values;

/* ---- messages ---- */

static void find_place(const parser *p, const char *at, int *line, int *column) {
  *line = *column = 1;
  for (const char *c = p->start; c < at; c++) {
    *column += 1;
    if (*c != '\n') continue;
    *line += 1;
    *column = 1;
  }
}

static moon_status fail_expected(parser *p, const char *expected) {
  int line, column, n = 0;
  find_place(p, p->at, &line, &column);
  while (p->at + n < p->end && n < 20 && isgraph((unsigned char)p->at[n])) n++;
  return moon__fail(p->ctx, MOON_EFORMAT, "graph text: line %d, column %d: %s expected, got '%.*s'", line, column, expected, n, p->at);
}

/* Puts the place in front of the error recorded last. */
static moon_status fail_within(parser *p, const char *at) {
  int line, column;
  find_place(p, at, &line, &column);
  return moon__fail(p->ctx, moon_error_status(p->ctx), "graph text: line %d, column %d: %s", line, column, moon_error(p->ctx));
}

/* ---- words ---- */

static void skip_spaces(parser *p) {
  while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

static bool accept(parser *p, char c) {
  skip_spaces(p);
  if (p->at == p->end || *p->at != c) return false;
  p->at++;
  return true;
}

static moon_status expect(parser *p, char c) {
  char expected[4] = {'\'', c, '\'', '\0'};
  return accept(p, c) ? MOON_OK : fail_expected(p, expected);
}

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static bool accept_word(parser *p, const char *word) {
  size_t n = strlen(word);
  skip_spaces(p);
  if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0) return false;
  if (p->at + n < p->end && is_word(p->at[n])) return false;
  p->at += n;
  return true;
}

static moon_status read_word(parser *p, const char *expected, char word[MAX_NAME]) {
  size_t n = 0;
  skip_spaces(p);
  while (p->at + n < p->end && is_word(p->at[n]) && n + 1 < MAX_NAME) n++;
  if (n == 0) return fail_expected(p, expected);
  memcpy(word, p->at, n);
  word[n] = '\0';
  p->at += n;
  return MOON_OK;
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character after a backslash, -1: none. */
static int read_escape(parser *p) {
  char c = p->at < p->end ? *p->at++ : '\0';
  int high, low;
  if (c == '"' || c == '\\') return (unsigned char)c;
  if (c == 'n') return '\n';
  if (c != 'x' || p->end - p->at < 2) return -1;
  high = hex_digit(*p->at++);
  low = hex_digit(*p->at++);
  return high < 0 || low < 0 || high + low == 0 ? -1 : high * 16 + low;
}

/* A quoted string of any length; the caller frees it. NULL with an error. */
static char *read_string(parser *p) {
  const char *close;
  char *out;
  size_t n = 0;
  if (expect(p, '"') != MOON_OK) return NULL;
  for (close = p->at; close < p->end && *close != '"' && *close != '\n'; close++) close += *close == '\\' && close + 1 < p->end;
  out = moon__alloc(p->ctx->runtime, (size_t)(close - p->at) + 1);
  if (!out) {
    moon__fail_memory(p->ctx);
    return NULL;
  }
  while (p->at < close) {
    bool escaped = *p->at == '\\';
    int c = (unsigned char)*p->at++;
    if (escaped) c = read_escape(p);
    if (c < (escaped ? 1 : ' ')) {
      moon__free(p->ctx->runtime, out);
      fail_expected(p, "a printable character or an escape");
      return NULL;
    }
    out[n++] = (char)c;
  }
  out[n] = '\0';
  if (p->at < p->end && *p->at == '"') {
    p->at++;
    return out;
  }
  moon__free(p->ctx->runtime, out);
  fail_expected(p, "'\"'");
  return NULL;
}

/* ---- types ---- */

static moon_status read_dim(parser *p, moon_dim *d) {
  const char *first = p->at;
  int depth = 0;
  for (; p->at < p->end; p->at++) {
    if (*p->at == '(') depth++;
    if (*p->at == ')') depth--;
    if (*p->at == ']' || *p->at == '\n' || (*p->at == ',' && depth <= 0)) break;
  }
  *d = moon__dim_parse(p->ctx, first, p->at);
  return *d == MOON_DIM_ERROR ? fail_within(p, first) : MOON_OK;
}

static moon_status read_type(parser *p, moon_type *type) {
  char word[MAX_NAME];
  const char *first;
  moon_status status;
  memset(type, 0, sizeof *type);
  skip_spaces(p);
  first = p->at;
  status = read_word(p, "a dtype", word);
  if (status != MOON_OK) return status;
  type->dtype = moon_dtype_find(word);
  if (type->dtype == MOON_DTYPE_COUNT) {
    p->at = first;
    return fail_expected(p, "a dtype");
  }
  status = expect(p, '[');
  if (status != MOON_OK || accept(p, ']')) return status;
  do {
    if (type->shape.ndim == MOON_MAX_DIMS) return fail_expected(p, "']' after 8 sizes");
    status = read_dim(p, &type->shape.dim[type->shape.ndim++]);
    if (status != MOON_OK) return status;
  } while (accept(p, ','));
  return expect(p, ']');
}

/* ---- values ---- */

static moon_status read_number(parser *p, int64_t *x) {
  const char *stop;
  moon_status status = expect(p, '%');
  if (status != MOON_OK) return status;
  stop = moon__integer_read(p->at, p->end, x);
  if (!stop || *x < 0) return fail_expected(p, "the number of a value");
  p->at = stop;
  return MOON_OK;
}

static moon_status read_value(parser *p, const values *v, moon_value **out) {
  const char *first = p->at;
  int64_t i;
  moon_status status = read_number(p, &i);
  if (status != MOON_OK) return status;
  if (i < v->n) {
    *out = v->item[i];
    return MOON_OK;
  }
  p->at = first;
  return fail_expected(p, "a value that was made before");
}

/* A list after a word ("inputs %0, %1"); the caller frees *list. */
static moon_status read_list(parser *p, const values *v, moon_value ***list, int *n) {
  int capacity = 0;
  skip_spaces(p);
  if (p->at == p->end || *p->at != '%') return MOON_OK;
  do {
    moon_status status;
    if (!MOON_RESERVE(p->ctx->runtime, *list, capacity, *n + 1)) return moon__fail_memory(p->ctx);
    status = read_value(p, v, &(*list)[*n]);
    if (status != MOON_OK) return status;
    *n += 1;
  } while (accept(p, ','));
  return MOON_OK;
}

/* ---- one node ---- */

typedef struct node_text { /* the parts of a node's line */
  const char *at;
  int nresults;
  const moon_op *op;
  char *name;
  const char *numbers, *numbers_end; /* of a constant */
  int ninputs;
  moon_value *inputs[MOON_MAX_INPUTS];
  _Alignas(16) char attrs[1024];
  moon_type types[MOON_MAX_OUTPUTS];
  int ngraphs;
  moon_graph *graphs[MAX_BODIES];
} node_text;

/* "%4, %5 =": numbers must go on where the values so far end. */
static moon_status read_results(parser *p, const values *v, node_text *t) {
  do {
    int64_t i;
    const char *first;
    moon_status status;
    skip_spaces(p);
    first = p->at;
    status = read_number(p, &i);
    if (status != MOON_OK) return status;
    if (i != v->n + t->nresults || t->nresults == MOON_MAX_OUTPUTS) {
      p->at = first;
      return fail_expected(p, "the next number");
    }
    t->nresults++;
  } while (accept(p, ','));
  return expect(p, '=');
}

static moon_status read_op(parser *p, node_text *t) {
  char word[MAX_NAME];
  const char *first;
  moon_status status;
  skip_spaces(p);
  first = p->at;
  status = read_word(p, "an op", word);
  if (status != MOON_OK) return status;
  t->op = moon__op_find(word);
  if (t->op && t->op->kind != MOON_INLINE && t->op->attrs_bytes <= sizeof t->attrs) return MOON_OK;
  p->at = first;
  return fail_expected(p, "an op");
}

static moon_status read_inputs(parser *p, const values *v, node_text *t) {
  if (!accept(p, '(')) return MOON_OK;
  do {
    moon_status status;
    if (t->ninputs == MOON_MAX_INPUTS) return fail_expected(p, "')' after 256 inputs");
    status = read_value(p, v, &t->inputs[t->ninputs++]);
    if (status != MOON_OK) return status;
  } while (accept(p, ','));
  return expect(p, ')');
}

/* Everything up to the colon before the types. */
static moon_status read_attrs(parser *p, node_text *t) {
  const char *first = p->at;
  while (p->at < p->end && *p->at != ':' && *p->at != '\n') p->at++;
  if (p->at == p->end || *p->at != ':') return fail_expected(p, "':'");
  moon__attrs_default(t->op, t->attrs);
  if (t->op->id == MOON_OP_constant) {
    t->numbers = first;
    t->numbers_end = p->at;
  } else if (moon__attrs_parse(p->ctx, t->op, first, (size_t)(p->at - first), t->attrs) != MOON_OK) {
    return fail_within(p, first);
  }
  p->at++;
  return MOON_OK;
}

static moon_status read_types(parser *p, node_text *t) {
  for (int i = 0; i < t->nresults; i++) {
    moon_status status = i ? expect(p, ',') : MOON_OK;
    if (status == MOON_OK) status = read_type(p, &t->types[i]);
    if (status != MOON_OK) return status;
  }
  return MOON_OK;
}

/* '@ "line" "path"' into p->origin. */
static moon_status read_origin(parser *p) {
  moon_runtime *runtime = p->ctx->runtime;
  char *line = NULL, *path = NULL;
  moon_origin *origin = NULL;
  bool given = accept(p, '@');
  if (given && !(line = read_string(p))) return moon_error_status(p->ctx);
  skip_spaces(p);
  if (given && p->at < p->end && *p->at == '"' && !(path = read_string(p))) {
    moon__free(runtime, line);
    return moon_error_status(p->ctx);
  }
  if (p->origin && strcmp(p->origin->line, line ? line : "") == 0 && strcmp(p->origin->path, path ? path : "") == 0) {
    origin = p->origin;
  } else {
    origin = moon__origin_new(p->ctx, line ? line : "", path ? path : "");
    if (origin) {
      moon__origin_release(runtime, p->origin);
      p->origin = origin;
    }
  }
  moon__free(runtime, line);
  moon__free(runtime, path);
  return origin ? MOON_OK : moon_error_status(p->ctx);
}

static moon_graph *read_graph(parser *p);

static moon_status read_bodies(parser *p, node_text *t) {
  skip_spaces(p);
  while (p->at < p->end && *p->at == '{') {
    if (t->ngraphs == MAX_BODIES) return fail_expected(p, "no more bodies");
    t->graphs[t->ngraphs] = read_graph(p);
    if (!t->graphs[t->ngraphs]) return moon_error_status(p->ctx);
    t->ngraphs++;
    skip_spaces(p);
  }
  return MOON_OK;
}

static moon_status read_node_text(parser *p, const values *v, node_text *t) {
  moon_status status = read_results(p, v, t);
  if (status == MOON_OK) status = read_op(p, t);
  skip_spaces(p);
  if (status == MOON_OK && p->at < p->end && *p->at == '"' && !(t->name = read_string(p))) status = moon_error_status(p->ctx);
  if (status == MOON_OK) status = read_inputs(p, v, t);
  if (status == MOON_OK) status = read_attrs(p, t);
  if (status == MOON_OK) status = read_types(p, t);
  if (status == MOON_OK) status = read_origin(p);
  return status;
}

/* ---- constants and variables ---- */

static bool types_equal(const moon_type *a, const moon_type *b) {
  return a->dtype == b->dtype && moon__shape_equal(&a->shape, &b->shape);
}

/* May a value of type x be assigned to a variable of type v? */
static bool type_fits(const moon_type *x, const moon_type *v) {
  if (x->dtype != v->dtype || x->shape.ndim != v->shape.ndim) return false;
  for (int i = 0; i < v->shape.ndim; i++) {
    if (!moon__dim_may_equal(x->shape.dim[i], v->shape.dim[i])) return false;
  }
  return true;
}

/* May a variable of type v be read where the graph has type x? Its numbers may be kept as halves, or as f32 where they were. */
static bool reads_as(const moon_type *x, const moon_type *v) {
  bool half = moon__dtype_is_half(x->dtype) || moon__dtype_is_half(v->dtype);
  return half && moon__dtype_is_float(x->dtype) && moon__dtype_is_float(v->dtype) && moon__shape_equal(&x->shape, &v->shape);
}

static moon_status fail_type(parser *p, const char *what, const char *name, const moon_type *have, const moon_type *want) {
  char a[256], b[256];
  moon_runtime *runtime = p->ctx->runtime;
  return moon__fail(p->ctx, MOON_EFORMAT, "%s '%s' is %s %s, the graph has it as %s %s", what, name, moon_dtype_name(have->dtype),
                    moon_shape_text(runtime, &have->shape, a, sizeof a), moon_dtype_name(want->dtype),
                    moon_shape_text(runtime, &want->shape, b, sizeof b));
}

static moon_status find_variable(parser *p, const node_text *t, moon_variable **variable) {
  const moon_resolver *r = p->resolver;
  moon_type type;
  *variable = t->name && r && r->variable ? r->variable(r->user, t->name, &t->types[0]) : NULL;
  if (!*variable) {
    if (moon_error_status(p->ctx) != MOON_OK) return moon_error_status(p->ctx); /* the resolver told why */
    return moon__fail(p->ctx, MOON_EFORMAT, "there is no variable '%s'", t->name ? t->name : "");
  }
  type = moon_variable_type(*variable);
  if (t->op->id == MOON_OP_assign ? type_fits(&t->types[0], &type) : types_equal(&t->types[0], &type)) return MOON_OK;
  if (t->op->id == MOON_OP_variable && reads_as(&t->types[0], &type)) return MOON_OK;
  return fail_type(p, "variable", t->name, &type, &t->types[0]);
}

static moon_status find_constant(parser *p, const node_text *t, moon_tensor **tensor) {
  const moon_resolver *r = p->resolver;
  moon_type type;
  *tensor = r && r->constant ? moon_tensor_retain(r->constant(r->user, t->name, &t->types[0])) : NULL;
  if (!*tensor) {
    if (moon_error_status(p->ctx) != MOON_OK) return moon_error_status(p->ctx);
    return moon__fail(p->ctx, MOON_EFORMAT, "there is no constant '%s'", t->name);
  }
  type = moon__tensor_type(*tensor);
  return types_equal(&type, &t->types[0]) ? MOON_OK : fail_type(p, "constant", t->name, &type, &t->types[0]);
}

/* One element of dtype at `at` into dst; gives the place behind it, NULL: none. */
static const char *read_element(const char *at, const char *end, moon_dtype dtype, char *dst) {
  double number;
  int64_t whole;
  const char *stop;
  while (at < end && *at == ' ') at++;
  if (moon__dtype_is_float(dtype)) {
    stop = moon__number_read(at, end, &number);
    if (stop) moon__convert(dst, dtype, &number, MOON_DTYPE_f64);
  } else {
    stop = moon__integer_read(at, end, &whole);
    if (stop) moon__convert(dst, dtype, &whole, MOON_DTYPE_i64);
  }
  while (stop && stop < end && *stop == ' ') stop++;
  return stop;
}

static moon_status read_constant(parser *p, const node_text *t, moon_tensor **tensor) {
  char data[MOON_TEXT_INLINE * sizeof(double)];
  const moon_type *type = &t->types[0];
  const char *at = t->numbers, *end = t->numbers_end;
  size_t step = moon_dtype_bytes(type->dtype);
  int64_t count = 0;
  bool list = type->shape.ndim > 0, known = moon__shape_count_known(&type->shape, &count);
  while (at < end && *at == ' ') at++;
  if (!known || count > MOON_TEXT_INLINE || (list && (at == end || *at != '['))) {
    return moon__fail(p->ctx, MOON_EFORMAT, "constant: up to %d numbers that fill its type are expected", MOON_TEXT_INLINE);
  }
  at += list;
  for (int64_t i = 0; at && i < count; i++) {
    if (i > 0) at = at < end && *at == ',' ? at + 1 : NULL;
    if (at) at = read_element(at, end, type->dtype, data + (size_t)i * step);
  }
  if (at && list) at = at < end && *at == ']' ? at + 1 : NULL;
  while (at && at < end && *at == ' ') at++;
  if (at != end) return moon__fail(p->ctx, MOON_EFORMAT, "constant: %lld numbers are expected", (long long)count);
  *tensor = moon_tensor_from(p->ctx, type->dtype, type->shape.ndim, type->shape.dim, data);
  return *tensor ? MOON_OK : moon_error_status(p->ctx);
}

/* ---- building ---- */

/* Fills what op's own kind needs in spec. tensor gets a reference that the caller releases. */
static moon_status fill_leaf(parser *p, const node_text *t, moon_node_spec *spec, moon_tensor **tensor) {
  moon_status status = MOON_OK;
  bool named = false;
  if (t->op->id == MOON_OP_input) {
    named = t->name && *t->name && strlen(t->name) < MAX_NAME;
    if (!named) return moon__fail(p->ctx, MOON_EFORMAT, "input: a name of 1 to %d characters is expected", MAX_NAME - 1);
    spec->name = t->name;
    spec->type = &t->types[0];
  } else if (t->op->id == MOON_OP_constant) {
    named = t->name != NULL;
    status = named ? find_constant(p, t, tensor) : read_constant(p, t, tensor);
    if (status == MOON_OK) (*tensor)->storage->frozen = true;
    spec->tensor = *tensor;
  } else if (t->op->id == MOON_OP_variable || t->op->id == MOON_OP_assign) {
    named = true;
    status = find_variable(p, t, &spec->variable);
  }
  if (status == MOON_OK && t->name && !named) return moon__fail(p->ctx, MOON_EFORMAT, "%s: has no name of its own", t->op->name);
  return status;
}

static moon_status check_types(parser *p, const node_text *t, const moon_value *v) {
  if (v->node->noutputs != t->nresults) {
    return moon__fail(p->ctx, MOON_EFORMAT, "%s: gives %d values, the text has %d", t->op->name, v->node->noutputs, t->nresults);
  }
  for (int i = 0; i < t->nresults; i++) {
    const moon_type *have = &v->node->outputs[i].type;
    if (!types_equal(have, &t->types[i])) return fail_type(p, "the result of", t->op->name, have, &t->types[i]);
  }
  return MOON_OK;
}

static bool takes_bodies(moon_op_id op) {
  return op == MOON_OP_scan || op == MOON_OP_cond || op == MOON_OP_while_loop || op == MOON_OP_call || op == MOON_OP_loop;
}

static moon_status build_node(parser *p, const node_text *t, values *v) {
  moon_tensor *tensor = NULL;
  moon_value *value = NULL;
  moon_node_spec spec = {.op = t->op, .attrs = t->attrs, .ninputs = t->ninputs, .inputs = t->inputs, .ngraphs = t->ngraphs,
                         .graphs = t->graphs, .origin = p->origin, .raw = true};
  moon_status status = fill_leaf(p, t, &spec, &tensor);
  if (status == MOON_OK && t->ngraphs > 0 && !takes_bodies(t->op->id)) {
    status = moon__fail(p->ctx, MOON_EFORMAT, "%s: has no bodies", t->op->name);
  }
  if (status == MOON_OK) {
    value = moon__node_build(p->ctx, &spec);
    if (t->op->id == MOON_OP_variable) value = moon__cast(p->ctx, value, t->types[0].dtype);
    status = value ? check_types(p, t, value) : moon_error_status(p->ctx);
  }
  moon_tensor_release(tensor);
  if (status != MOON_OK) return fail_within(p, t->at);
  for (int i = 0; i < t->nresults; i++) v->item[v->n++] = &value->node->outputs[i];
  return MOON_OK;
}

static moon_status read_node(parser *p, values *v) {
  moon_runtime *runtime = p->ctx->runtime;
  node_text *t = moon__alloc(runtime, sizeof *t); /* too large for the stack of a nested parse */
  moon_status status;
  if (!t) return moon__fail_memory(p->ctx);
  t->at = p->at;
  status = read_node_text(p, v, t);
  if (status == MOON_OK) {
    moon_origin *own = moon__origin_retain(p->origin);
    status = read_bodies(p, t);
    moon__origin_release(runtime, p->origin);
    p->origin = own;
  }
  if (status == MOON_OK && !MOON_RESERVE(runtime, v->item, v->capacity, v->n + t->nresults)) status = moon__fail_memory(p->ctx);
  if (status == MOON_OK) status = build_node(p, t, v);
  for (int i = 0; i < t->ngraphs; i++) moon_graph_release(t->graphs[i]);
  moon__free(runtime, t->name);
  moon__free(runtime, t);
  return status;
}

/* ---- graphs ---- */

typedef struct lists {
  moon_value **inputs, **outputs, **effects;
  int ninputs, noutputs, neffects;
} lists;

static moon_status read_lists(parser *p, const values *v, lists *l) {
  moon_status status;
  if (!accept_word(p, "inputs")) return fail_expected(p, "a value or 'inputs'");
  status = read_list(p, v, &l->inputs, &l->ninputs);
  if (status == MOON_OK && !accept_word(p, "outputs")) return fail_expected(p, "'outputs'");
  if (status == MOON_OK) status = read_list(p, v, &l->outputs, &l->noutputs);
  if (status == MOON_OK && accept_word(p, "effects")) status = read_list(p, v, &l->effects, &l->neffects);
  return status == MOON_OK ? expect(p, '}') : status;
}

/* Effects must be assigns: anything else would be dropped without a word. */
static moon_status check_effects(parser *p, const lists *l) {
  for (int i = 0; i < l->neffects; i++) {
    if (l->effects[i]->node->op->flags & MOON_OPF_EFFECT) continue;
    return moon__fail(p->ctx, MOON_EFORMAT, "effect %d is no assign but %s", i + p->ctx->index_base, l->effects[i]->node->op->name);
  }
  return MOON_OK;
}

/* The inputs listed must be input nodes, each once. */
static moon_status check_inputs(parser *p, const lists *l) {
  moon_map listed;
  moon_status status = MOON_OK;
  moon__map_init(&listed, p->ctx->runtime);
  for (int i = 0; status == MOON_OK && i < l->ninputs; i++) {
    const moon_node *n = l->inputs[i]->node;
    if (n->op->id != MOON_OP_input || moon__map_has(&listed, n)) {
      status = moon__fail(p->ctx, MOON_EFORMAT, "input %d must be an input listed once, got %s", i + p->ctx->index_base, n->op->name);
    } else if (!moon__map_put(&listed, n, p)) {
      status = moon__fail_memory(p->ctx);
    }
  }
  moon__map_free(&listed);
  return status;
}

/* Reads of variables stand in the text as a graph has them: resolved against the assigns before them. */
static moon_graph *make_graph(parser *p, const lists *l, const char *at) {
  moon_graph *g = NULL;
  if (check_effects(p, l) == MOON_OK && check_inputs(p, l) == MOON_OK) {
    g = moon__graph_make(p->ctx, l->ninputs, l->inputs, l->noutputs, l->outputs, l->neffects, l->effects);
  }
  if (!g) fail_within(p, at);
  return g;
}

/* "{ nodes lists }" */
static moon_graph *read_graph(parser *p) {
  moon_runtime *runtime = p->ctx->runtime;
  values v = {0};
  lists l = {0};
  const char *first = p->at;
  moon_graph *g = NULL;
  moon_status status = p->depth < MOON_TEXT_DEPTH ? expect(p, '{') : fail_expected(p, "less nesting");
  p->depth++;
  for (skip_spaces(p); status == MOON_OK && p->at < p->end && *p->at == '%'; skip_spaces(p)) status = read_node(p, &v);
  if (status == MOON_OK) status = read_lists(p, &v, &l);
  if (status == MOON_OK) g = make_graph(p, &l, first);
  p->depth--;
  moon__free(runtime, v.item);
  moon__free(runtime, l.inputs);
  moon__free(runtime, l.outputs);
  moon__free(runtime, l.effects);
  return g;
}

moon_graph *moon_graph_parse(moon_context *ctx, const char *text, size_t text_bytes, const moon_resolver *resolver) {
  parser p = {.ctx = ctx, .start = text, .at = text, .end = text + text_bytes, .resolver = resolver};
  moon_graph *g = NULL;
  moon_scope_open(ctx);
  moon_error_clear(ctx);
  if (accept_word(&p, "graph")) {
    g = read_graph(&p);
  } else {
    fail_expected(&p, "'graph'");
  }
  skip_spaces(&p);
  if (g && p.at < p.end) {
    fail_expected(&p, "the end of the text");
    moon_graph_release(g);
    g = NULL;
  }
  moon__origin_release(ctx->runtime, p.origin);
  moon_scope_close(ctx);
  return g;
}
