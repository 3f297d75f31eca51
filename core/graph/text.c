/*
** text.c: prints graphs. The form is shown in text.h; parse.c reads it back, and prints the same again. Nothing is left out that
** computing needs: ops, attributes, types, variables by name, random streams, and script line and path for messages.
*/
#include "graph/text.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"
#include "base/shape.h"
#include "base/size.h"
#include "ops/op.h"
#include "tensor/tensor.h"

typedef struct printer {
  moon_context *ctx;
  moon_text text;
  moon_constants *constants;
  moon_status status;
  int depth;
} printer;

void moon_text_release(moon_context *ctx, char *text) { moon__free(ctx->runtime, text); }

const char *moon__constant_name(int i, char buf[MOON_CONSTANT_NAME_BYTES]) {
  snprintf(buf, MOON_CONSTANT_NAME_BYTES, "constant/%d", i + 1);
  return buf;
}

void moon__constants_free(moon_runtime *runtime, moon_constants *constants) {
  moon__free(runtime, constants->tensor);
  memset(constants, 0, sizeof *constants);
}

static void indent(printer *p) {
  for (int i = 0; i < p->depth; i++) moon__text_put(&p->text, "  ");
}

/* ---- constants ---- */

static void put_element(moon_text *t, moon_dtype dtype, const char *element) {
  char buf[MOON_NUMBER_BYTES];
  int64_t whole;
  double number;
  float single;
  if (dtype == MOON_DTYPE_f64) {
    memcpy(&number, element, sizeof number);
    moon__text_put(t, moon__number_write(number, buf));
  } else if (moon__dtype_is_float(dtype)) {
    moon__convert(&single, MOON_DTYPE_f32, element, dtype);
    moon__text_put(t, moon__number_write_f32(single, buf));
  } else {
    moon__convert(&whole, MOON_DTYPE_i64, element, dtype);
    moon__text_format(t, "%lld", (long long)whole);
  }
}

static moon_status put_elements(printer *p, const moon_tensor *c) {
  char data[MOON_TEXT_INLINE * sizeof(double)];
  size_t step = moon_dtype_bytes(c->dtype), n = (size_t)moon_tensor_count(c);
  moon_status status = moon_tensor_read(p->ctx, c, c->dtype, data, sizeof data);
  if (status != MOON_OK) return status;
  moon__text_put(&p->text, c->ndim > 0 ? " [" : " ");
  for (size_t i = 0; i < n; i++) {
    if (i > 0) moon__text_put(&p->text, ",");
    put_element(&p->text, c->dtype, data + i * step);
  }
  if (c->ndim > 0) moon__text_put(&p->text, "]");
  return MOON_OK;
}

/* Position in the list of large constants, -1 after an error. */
static int list_constant(printer *p, moon_tensor *c) {
  moon_constants *list = p->constants;
  for (int i = 0; i < list->n; i++) {
    if (list->tensor[i] == c) return i;
  }
  if (!MOON_RESERVE(p->ctx->runtime, list->tensor, list->capacity, list->n + 1)) return -1;
  list->tensor[list->n] = c;
  return list->n++;
}

static moon_status put_constant(printer *p, moon_tensor *c) {
  char name[MOON_CONSTANT_NAME_BYTES];
  int i;
  if (moon_tensor_count(c) <= MOON_TEXT_INLINE) return put_elements(p, c);
  i = list_constant(p, c);
  if (i < 0) return moon__fail_memory(p->ctx);
  moon__text_put(&p->text, " ");
  moon__text_quote(&p->text, moon__constant_name(i, name));
  return MOON_OK;
}

/* ---- nodes ---- */

/* Numbers of values are found by their node: the map holds the number of output 0, plus 1. */
static bool number_node(moon_map *numbers, const moon_node *n, uintptr_t *next) {
  if (!moon__map_put(numbers, n, (void *)(*next + 1))) return false;
  *next += (uintptr_t)n->noutputs;
  return true;
}

static void put_values(moon_text *t, const moon_map *numbers, moon_value *const *values, int n) {
  for (int i = 0; i < n; i++) {
    uintptr_t first = (uintptr_t)moon__map_get(numbers, values[i]->node) - 1;
    moon__text_format(t, "%s%%%llu", i ? ", " : "", (unsigned long long)(first + (uintptr_t)values[i]->index));
  }
}

void moon__text_attrs(moon_text *t, const moon_node *n) {
  size_t bytes;
  char *room;
  if (n->op->nattrs == 0) return;
  bytes = moon__attrs_text(t->runtime, n->op, n->attrs, NULL, 0);
  room = bytes ? moon__text_room(t, bytes) : NULL;
  if (!room) return;
  moon__attrs_text(t->runtime, n->op, n->attrs, room, bytes + 1);
  t->n += bytes;
}

static void put_types(moon_text *t, const moon_node *n) {
  for (int i = 0; i < n->noutputs; i++) {
    moon__text_put(t, i ? ", " : "");
    moon__text_type(t, &n->outputs[i].type);
  }
}

static void put_origin(moon_text *t, const moon_node *n) {
  const char *line = moon__node_line(n), *path = moon__node_path(n);
  if (!*line && !*path) return;
  moon__text_put(t, " @ ");
  moon__text_quote(t, line);
  if (!*path) return;
  moon__text_put(t, " ");
  moon__text_quote(t, path);
}

static void put_graph(printer *p, const moon_graph *g);

static void put_node(printer *p, const moon_node *n, const moon_map *numbers) {
  moon_text *t = &p->text;
  size_t before;
  indent(p);
  for (int i = 0; i < n->noutputs; i++) {
    moon_value *v = &n->outputs[i];
    moon__text_put(t, i ? ", " : "");
    put_values(t, numbers, &v, 1);
  }
  moon__text_format(t, " = %s", n->op->name);
  if (n->name || n->variable) {
    moon__text_put(t, " ");
    moon__text_quote(t, n->name ? n->name : moon_variable_name(n->variable));
  }
  if (n->op->id == MOON_OP_constant && p->status == MOON_OK) p->status = put_constant(p, n->outputs[0].tensor);
  if (n->ninputs > 0) {
    moon__text_put(t, "(");
    put_values(t, numbers, n->inputs, n->ninputs);
    moon__text_put(t, ")");
  }
  moon__text_put(t, " ");
  before = t->n;
  moon__text_attrs(t, n);
  moon__text_put(t, t->n > before ? " : " : ": ");
  put_types(t, n);
  put_origin(t, n);
  for (int i = 0; i < n->ngraphs; i++) {
    moon__text_put(t, " ");
    put_graph(p, n->graphs[i]);
  }
  moon__text_put(t, "\n");
}

static void put_list(printer *p, const char *word, const moon_map *numbers, moon_value *const *values, int n) {
  indent(p);
  moon__text_put(&p->text, word);
  if (n > 0) moon__text_put(&p->text, " ");
  put_values(&p->text, numbers, values, n);
  moon__text_put(&p->text, "\n");
}

/* "{ ... }", without a newline at the end. */
static void put_graph(printer *p, const moon_graph *g) {
  moon_map numbers;
  uintptr_t next = 0;
  bool ok = true;
  if (p->depth == MOON_TEXT_DEPTH) {
    p->status = moon__fail(p->ctx, MOON_ESIZE, "graph text: bodies are nested more than %d deep", MOON_TEXT_DEPTH);
    return;
  }
  moon__map_init(&numbers, p->ctx->runtime);
  for (int i = 0; ok && i < g->nnodes; i++) ok = number_node(&numbers, g->nodes[i], &next);
  if (!ok) p->text.failed = true;
  moon__text_put(&p->text, "{\n");
  p->depth++;
  for (int i = 0; i < g->nnodes && !p->text.failed && p->status == MOON_OK; i++) put_node(p, g->nodes[i], &numbers);
  if (ok) {
    put_list(p, "inputs", &numbers, g->inputs, g->ninputs);
    put_list(p, "outputs", &numbers, g->outputs, g->noutputs);
    if (g->neffects > 0) put_list(p, "effects", &numbers, g->effects, g->neffects);
  }
  p->depth--;
  indent(p);
  moon__text_put(&p->text, "}");
  moon__map_free(&numbers);
}

char *moon__graph_text_with(moon_context *ctx, const moon_graph *g, moon_constants *constants) {
  printer p = {.ctx = ctx, .text = {.runtime = ctx->runtime}, .constants = constants};
  moon__text_put(&p.text, "graph ");
  put_graph(&p, g);
  moon__text_put(&p.text, "\n");
  if (p.status == MOON_OK) return moon__text_end(ctx, &p.text);
  moon__free(ctx->runtime, p.text.text);
  return NULL;
}

char *moon_graph_text(moon_context *ctx, const moon_graph *g) {
  moon_constants constants = {0};
  char *text = moon__graph_text_with(ctx, g, &constants);
  moon__constants_free(ctx->runtime, &constants);
  return text;
}
