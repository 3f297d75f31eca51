/*
** model.c: saved models. A model is a safetensors file whose texts hold graphs (moonlet.graph.predict, moonlet.graph.train), the
** format's version and the training step; its tensors are variables and large constants by name. Loading parses and checks all
** of it; saving writes the same file with the variables' current numbers. Variables of both graphs are shared.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/shape.h"
#include "formats/file.h"
#include "tensor/variable.h"

#define GRAPH_PREFIX "moonlet.graph."
#define VERSION_TEXT "moonlet.version"
#define STEP_TEXT "moonlet.step"
#define PLACE_TEXT "moonlet.place" /* where in its data Lua's fit was: not true any more once C has trained */
#define OPTIMIZER_PREFIX "optimizer/"

typedef struct named_graph {
  const char *name; /* borrowed from the file's texts */
  moon_graph *graph;
} named_graph;

struct moon_model {
  moon_runtime *runtime;
  moon_file *file;           /* entries that became variables have no tensor any more */
  moon_variable **variables; /* [tensors of file]; NULL: a constant, or not used by a graph */
  int ngraphs, graph_capacity;
  named_graph *graphs;
  uint64_t step;
};

void moon_model_release(moon_model *m) {
  moon_runtime *runtime;
  if (!m) return;
  runtime = m->runtime;
  for (int i = 0; i < m->ngraphs; i++) moon_graph_release(m->graphs[i].graph);
  for (int i = 0; m->variables && i < m->file->ntensors; i++) moon_variable_release(m->variables[i]);
  moon__free(runtime, m->graphs);
  moon__free(runtime, m->variables);
  moon_file_release(m->file);
  moon__free(runtime, m);
  moon_runtime_release(runtime);
}

/* ---- texts ---- */

static bool starts_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

/* "1.20.3" as a number that compares; false: malformed. */
static bool read_version(const char *text, uint64_t *version) {
  *version = 0;
  for (int part = 0; part < 3; part++) {
    uint64_t n = 0;
    const char *first = text;
    for (; *text >= '0' && *text <= '9' && n < 100000; text++) n = n * 10 + (uint64_t)(*text - '0');
    if (text == first || n > 65535 || *text != (part < 2 ? '.' : '\0')) return false;
    *version = *version << 16 | n;
    text++;
  }
  return true;
}

static moon_status check_version(moon_context *ctx, const moon_file *f, const char *path) {
  const char *text = moon_file_find_text(f, VERSION_TEXT, NULL);
  uint64_t theirs, ours;
  if (!text) return moon__fail(ctx, MOON_EFORMAT, "%s: not a saved model: it has tensors, but no graph", path);
  if (!read_version(text, &theirs) || !read_version(MOON_VERSION, &ours)) {
    return moon__fail(ctx, MOON_EFORMAT, "%s: '%.40s' is not a version", path, text);
  }
  if (theirs <= ours) return MOON_OK;
  return moon__fail(ctx, MOON_EUNSUPPORTED, "%s: saved by Moonlet %.40s, this is the older %s", path, text, MOON_VERSION);
}

static moon_status read_step(moon_context *ctx, const moon_file *f, const char *path, uint64_t *step) {
  const char *text = moon_file_find_text(f, STEP_TEXT, NULL);
  uint64_t n = 0;
  bool good = true;
  for (const char *p = text; p && good && (*p || p == text); p++) {
    good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(n, 10, &n) && !__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n);
  }
  *step = n;
  return good ? MOON_OK : moon__fail(ctx, MOON_EFORMAT, "%s: step '%.40s' is not a whole number", path, text);
}

/* ---- loading ---- */

typedef struct loader {
  moon_context *ctx;
  moon_model *model;
} loader;

static moon_variable *find_variable(void *user, const char *name, const moon_type *type) {
  loader *l = user;
  moon_file *f = l->model->file;
  int i = moon__file_position(f, name);
  bool trainable;
  if (i < 0) return NULL;
  if (l->model->variables[i]) return l->model->variables[i];
  trainable = moon__dtype_is_float(type->dtype) && !starts_with(name, OPTIMIZER_PREFIX);
  l->model->variables[i] = moon_variable_new(l->ctx, name, f->tensors[i].tensor, trainable);
  return l->model->variables[i];
}

static moon_tensor *find_constant(void *user, const char *name, const moon_type *type) {
  const loader *l = user;
  (void)type; /* the parser checks it */
  return moon_file_find(l->model->file, name);
}

static moon_status load_graph(loader *l, const char *path, const moon_named_text *text) {
  moon_resolver resolver = {l, find_variable, find_constant};
  moon_model *m = l->model;
  moon_graph *g;
  if (!MOON_RESERVE(m->runtime, m->graphs, m->graph_capacity, m->ngraphs + 1)) return moon__fail_memory(l->ctx);
  g = moon_graph_parse(l->ctx, text->text, text->bytes, &resolver);
  if (!g) return moon__fail(l->ctx, moon_error_status(l->ctx), "%s: %s: %s", path, text->name, moon_error(l->ctx));
  m->graphs[m->ngraphs].name = text->name + strlen(GRAPH_PREFIX);
  m->graphs[m->ngraphs++].graph = g;
  return MOON_OK;
}

static moon_status load_graphs(loader *l, const char *path) {
  moon_file *f = l->model->file;
  moon_status status = MOON_OK;
  for (int i = 0; status == MOON_OK && i < f->ntexts; i++) {
    if (starts_with(f->texts[i].name, GRAPH_PREFIX)) status = load_graph(l, path, &f->texts[i]);
  }
  if (status == MOON_OK && !moon_model_graph(l->model, "predict")) {
    status = moon__fail(l->ctx, MOON_EFORMAT, "%s: not a saved model: there is no text " GRAPH_PREFIX "predict", path);
  }
  return status;
}

/* The numbers of variables live in the variables from now on; a tensor that also is a constant stays with its graph. */
static void drop_copies(moon_model *m) {
  for (int i = 0; i < m->file->ntensors; i++) {
    if (!m->variables[i]) continue;
    moon_tensor_release(m->file->tensors[i].tensor);
    m->file->tensors[i].tensor = NULL;
  }
}

/* Takes over file, which may be NULL after a failure. */
static moon_model *make(moon_context *ctx, moon_file *file, const char *path) {
  moon_model *m = file ? moon__alloc(ctx->runtime, sizeof *m) : NULL;
  loader l = {ctx, m};
  moon_status status;
  if (!m) {
    if (file) moon__fail_memory(ctx);
    moon_file_release(file);
    return NULL;
  }
  m->runtime = moon_runtime_retain(ctx->runtime);
  m->file = file;
  status = m->file ? check_version(ctx, m->file, path) : moon_error_status(ctx);
  if (status == MOON_OK) status = read_step(ctx, m->file, path, &m->step);
  if (status == MOON_OK) {
    m->variables = moon__alloc_array(ctx->runtime, (size_t)m->file->ntensors, sizeof *m->variables);
    status = m->variables ? load_graphs(&l, path) : moon__fail_memory(ctx);
  }
  if (status == MOON_OK) {
    drop_copies(m);
    return m;
  }
  moon_model_release(m);
  return NULL;
}

moon_model *moon_model_load(moon_context *ctx, const char *path) { return make(ctx, moon_file_load(ctx, path), path); }
moon_model *moon_model_decode(moon_context *ctx, const void *data, size_t bytes) {
  return make(ctx, moon_file_decode(ctx, data, bytes), "model");
}

/* ---- looking ---- */

moon_graph *moon_model_graph(const moon_model *m, const char *name) {
  for (int i = 0; i < m->ngraphs; i++) {
    if (strcmp(m->graphs[i].name, name) == 0) return m->graphs[i].graph;
  }
  return NULL;
}

int moon_model_variable_count(const moon_model *m) {
  int n = 0;
  for (int i = 0; i < m->file->ntensors; i++) n += m->variables[i] != NULL;
  return n;
}

moon_variable *moon_model_variable(const moon_model *m, int i) {
  for (int k = 0; i >= 0 && k < m->file->ntensors; k++) {
    if (m->variables[k] && i-- == 0) return m->variables[k];
  }
  return NULL;
}

const char *moon_model_text(const moon_model *m, const char *name) { return moon_file_find_text(m->file, name, NULL); }
uint64_t moon_model_step(const moon_model *m) { return m->step; }

/* ---- saving ---- */

static void write_step(uint64_t step, char text[24]) {
  char digits[24];
  int n = 0, i = 0;
  do {
    digits[n++] = (char)('0' + step % 10);
    step /= 10;
  } while (step > 0);
  while (n > 0) text[i++] = digits[--n];
  text[i] = '\0';
}

static moon_status put_all(moon_context *ctx, const moon_model *m, uint64_t step, moon_file *f) {
  char digits[24];
  moon_status status = MOON_OK;
  write_step(step, digits);
  for (int i = 0; status == MOON_OK && i < m->file->ntensors; i++) {
    const moon_named_tensor *e = &m->file->tensors[i];
    status = moon_file_put(ctx, f, e->name, m->variables[i] ? m->variables[i]->tensor : e->tensor);
  }
  for (int i = 0; status == MOON_OK && i < m->file->ntexts; i++) {
    const moon_named_text *e = &m->file->texts[i];
    if (strcmp(e->name, PLACE_TEXT) == 0 && step != m->step) continue;
    if (strcmp(e->name, STEP_TEXT) != 0) status = moon_file_put_text(ctx, f, e->name, e->text, e->bytes);
  }
  return status == MOON_OK ? moon_file_put_text(ctx, f, STEP_TEXT, digits, strlen(digits)) : status;
}

moon_status moon_model_save(moon_context *ctx, moon_model *m, const char *path, uint64_t step) {
  moon_file *f = moon_file_new(ctx);
  moon_status status = f ? put_all(ctx, m, step, f) : MOON_EMEMORY;
  if (status == MOON_OK) status = moon_file_save(ctx, f, path);
  if (status == MOON_OK) m->step = step;
  moon_file_release(f);
  return status;
}

char *moon_model_encode(moon_context *ctx, const moon_model *m, uint64_t step, size_t *bytes) {
  moon_file *f = moon_file_new(ctx);
  char *data = f && put_all(ctx, m, step, f) == MOON_OK ? moon_file_encode(ctx, f, bytes) : NULL;
  moon_file_release(f);
  return data;
}
