/*
** explain.c: what a program is made of, in words: one line for each launch, with the kernel, why it was chosen, what was fused, the
** operands and where the node was built. Nothing here is called while a program runs.
*/
#include "explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* Text in a buffer; n counts what would have been written, like snprintf. */
typedef struct writer {
  char *text; /* NULL: only count */
  size_t n, room;
} writer;

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *w, const char *format, ...) {
  bool fits = w->text && w->n < w->room;
  va_list args;
  va_start(args, format);
  int n = vsnprintf(fits ? w->text + w->n : NULL, fits ? w->room - w->n : 0, format, args);
  va_end(args);
  if (n > 0) w->n += (size_t)n;
}

static void put_operand(writer *w, const moon_program *p, const moon_operand *o) {
  static const char *const kinds[] = {"", "prologue ", "input ", "output ", "constant ", "variable ", "variable' "};
  if (o->buffer < 0) {
    put(w, "-");
    return;
  }
  put(w, "%s%s(", kinds[p->buffers[o->buffer].kind], moon_dtype_name(o->dtype));
  for (int i = 0; i < o->view.ndim; i++) put(w, i ? ", %lld" : "%lld", (long long)o->view.shape[i]);
  put(w, moon__view_is_dense(&o->view) ? ")" : ") strided");
}

static void put_operands(writer *w, const moon_program *p, const moon_launch *l) {
  for (int k = 0; k < l->nin + l->nout; k++) {
    if (k) put(w, k == l->nin ? " -> " : ", ");
    else if (l->nin == 0) put(w, "-> ");
    put_operand(w, p, &p->operands[l->operands + k]);
  }
}

/* The op, and what a loop, or the loop that finishes a product, does: "matmul [add relu]". */
static void put_node(writer *w, const moon_node *n, const moon_node *epilogue) {
  const moon_node *loop = epilogue ? epilogue : n;
  put(w, "%s", n->op->name);
  if (loop->op->id != MOON_OP_loop) return;
  const moon_graph *body = loop->graphs[0];
  put(w, " [");
  for (int i = 0, count = 0; i < body->nnodes; i++) {
    moon_op_id op = body->nodes[i]->op->id;
    if (op == MOON_OP_input || op == MOON_OP_full) continue;
    put(w, count++ ? " %s" : "%s", body->nodes[i]->op->name);
  }
  put(w, "]");
}

/* Of a chain, all products. */
static void put_name(writer *w, const moon_launch *l) {
  for (int i = 0; i < l->nbefore; i++) {
    put_node(w, l->before[i].node, l->before[i].epilogue);
    put(w, ", ");
  }
  put_node(w, l->node, l->epilogue);
}

/* Where its products were built, each place once, after a word. */
static void put_layers(writer *w, const moon_launch *l, const char *word) {
  const char *said = "";
  for (int i = 0; i <= l->nbefore; i++) {
    const char *path = moon__node_path(i < l->nbefore ? l->before[i].node : l->node);
    if (!*path || strcmp(path, said) == 0) continue;
    put(w, "%s%s", *said ? ", " : word, path);
    said = path;
  }
}

static void put_program(writer *w, const moon_program *p, int depth) {
  for (int i = 0; i < p->nlaunches; i++) {
    const moon_launch *l = &p->launches[i];
    const char *line = moon__node_line(l->node);
    put(w, "%*s%3d %s ", depth * 2, "", i + 1, i < p->nprologue ? "once" : "run ");
    put_name(w, l);
    put(w, ": %s", l->choice.kernel ? l->choice.kernel : "?");
    const char *why = l->choice.why, *tuned = l->choice.tuned;
    if (why || tuned) put(w, " (%s%s%s)", why ? why : "", why && tuned ? "; " : "", tuned ? tuned : "");
    put(w, " ");
    put_operands(w, p, l);
    put_layers(w, l, " in ");
    if (*line) put(w, " at %s", line);
    put(w, "\n");
    for (int k = 0; k < 2; k++) {
      if (l->child[k]) put_program(w, l->child[k], depth + 1);
    }
  }
}

void moon__launch_name(const moon_launch *l, char *buf, size_t buf_bytes) {
  writer w = {.text = buf, .room = buf_bytes};
  buf[0] = '\0';
  put_name(&w, l);
}

void moon__launch_layers(const moon_launch *l, char *buf, size_t buf_bytes) {
  writer w = {.text = buf, .room = buf_bytes};
  buf[0] = '\0';
  put_layers(&w, l, "");
}

void moon__launch_operands(const moon_program *p, const moon_launch *l, char *buf, size_t buf_bytes) {
  writer w = {.text = buf, .room = buf_bytes};
  buf[0] = '\0';
  put_operands(&w, p, l);
}

char *moon_program_explain(moon_context *ctx, const moon_program *p) {
  writer count = {0};
  put_program(&count, p, 0);
  writer w = {.text = moon__alloc(ctx->runtime, count.n + 1), .room = count.n + 1};
  if (!w.text) {
    moon__fail_memory(ctx);
    return NULL;
  }
  put_program(&w, p, 0);
  return w.text;
}
