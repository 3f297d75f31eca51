/* tune.c: the table of tuned choices: its text, its file, the nearest row. See tune.h. */
#include "tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/number.h"
#include "base/text.h"

/* A file is this line, rows, and the sum of all before it. */
static const char head[] = "moonlet tune 1\n";
enum { SUM_BYTES = 21, MOST_BYTES = 1 << 20, ROW_BYTES = 640, WORDS_BYTES = 192, NOTE_BYTES = 216 };
enum { SHIPPED, FROM_FILE, SET_HERE, ON_TRIAL, REPLACED };
/* Rows farther away say nothing: a sum of squares of binary logarithms, so that one size may be twice another. */
#define FAR 1.0

typedef struct moon_tune_row row;
struct moon_tune_row {
  row *next;
  int from; /* REPLACED: nobody's answer any more, but programs hold its words */
  const moon_context *tried_by; /* ON_TRIAL: for whom it counts */
  moon_tune_key key; /* its form is `form` */
  int ndials;
  int32_t value[MOON_TUNE_DIALS];
  char target[MOON_TUNE_WORD], form[MOON_TUNE_WORD], name[MOON_TUNE_DIALS][16];
  char text[ROW_BYTES], exact[NOTE_BYTES], near[NOTE_BYTES]; /* as it stands in a file; for explain */
};

static void free_rows(moon_runtime *runtime, row *r) {
  for (row *next; r; r = next) {
    next = r->next;
    moon__free(runtime, r);
  }
}

void moon__tune_free(moon_runtime *runtime) { free_rows(runtime, runtime->tune_rows); }

/* ---- Text ---- */

typedef struct reader { const char *at, *end; } reader;

static bool take(reader *r, char c) {
  if (r->at >= r->end || *r->at != c) return false;
  r->at++;
  return true;
}

/* A word, up to a space or '=', and the character behind it. */
static bool read_word(reader *r, char *to, size_t room, char behind) {
  size_t n = 0;
  for (; r->at < r->end && *r->at > ' ' && *r->at < 127 && *r->at != '='; r->at++) {
    if (n + 1 >= room) return false;
    to[n++] = *r->at;
  }
  to[n] = '\0';
  return n > 0 && take(r, behind);
}

static bool read_number(reader *r, int64_t low, int64_t high, int64_t *x) {
  const char *behind = moon__integer_read(r->at, r->end, x);
  if (!behind || *x < low || *x > high) return false;
  r->at = behind;
  return true;
}

static bool read_key(reader *r, row *w) {
  char op[MOON_TUNE_WORD], dtype[MOON_TUNE_WORD];
  moon_tune_key *k = &w->key;
  if (!read_word(r, w->target, sizeof w->target, ' ') || !read_word(r, op, sizeof op, ' ') ||
      !read_word(r, w->form, sizeof w->form, ' ') || !read_word(r, dtype, sizeof dtype, ' '))
    return false;
  const moon_op *known = moon__op_find(op);
  k->dtype = moon_dtype_find(dtype);
  if (!known || k->dtype == MOON_DTYPE_COUNT) return false;
  k->op = known->id;
  k->form = w->form;
  do {
    if (k->nsizes == MOON_TUNE_SIZES || !read_number(r, 1, INT64_C(1) << 48, &k->size[k->nsizes])) return false;
    k->nsizes++;
  } while (take(r, 'x'));
  return true;
}

static bool read_row(reader *r, row *w) {
  if (!read_key(r, w)) return false;
  while (take(r, ' ')) {
    int64_t x;
    if (w->ndials == MOON_TUNE_DIALS || !read_word(r, w->name[w->ndials], sizeof w->name[0], '=') || !read_number(r, 0, INT32_MAX, &x))
      return false;
    w->value[w->ndials++] = (int32_t)x;
  }
  return w->ndials > 0 && take(r, '\n');
}

/* Writes a row's texts; each has room for the longest. */
static void describe(row *w) {
  char sizes[WORDS_BYTES], dials[WORDS_BYTES];
  size_t n = 0;
  for (int i = 0; i < w->key.nsizes; i++)
    n += (size_t)snprintf(sizes + n, sizeof sizes - n, i ? "x%lld" : "%lld", (long long)w->key.size[i]);
  n = 0;
  for (int i = 0; i < w->ndials; i++) n += (size_t)snprintf(dials + n, sizeof dials - n, " %s=%d", w->name[i], (int)w->value[i]);
  const char *source = w->from == SHIPPED ? "table" : "tuned";
  snprintf(w->text, sizeof w->text, "%s %s %s %s %s%s", w->target, moon__ops[w->key.op]->name, w->form,
           moon_dtype_name(w->key.dtype), sizes, dials);
  snprintf(w->exact, sizeof w->exact, "%s:%s", source, dials);
  snprintf(w->near, sizeof w->near, "%s: nearest %s", source, sizes);
}

/* ---- The table ---- */

/* How far sizes are apart; INFINITY for keys that have nothing to do with each other. */
static double distance(const moon_tune_key *a, const moon_tune_key *b) {
  double sum = 0;
  if (a->op != b->op || a->dtype != b->dtype || a->nsizes != b->nsizes || strcmp(a->form, b->form) != 0) return INFINITY;
  for (int i = 0; i < a->nsizes; i++) {
    double r = log2((double)a->size[i] / (double)b->size[i]);
    sum += r * r;
  }
  return sum;
}

bool moon__tune_same(const moon_tune_key *a, const moon_tune_key *b) {
  return a->op == b->op && a->dtype == b->dtype && a->nsizes == b->nsizes && strcmp(a->form, b->form) == 0 &&
         memcmp(a->size, b->size, (size_t)a->nsizes * sizeof *a->size) == 0;
}

static bool replaces(const row *a, const row *b) {
  return b->from < ON_TRIAL && (a->from == SHIPPED) == (b->from == SHIPPED) && strcmp(a->target, b->target) == 0 &&
         moon__tune_same(&a->key, &b->key);
}

static void replace_others(row *list, const row *w) {
  for (row *r = list; r; r = r->next)
    if (r != w && replaces(w, r)) r->from = REPLACED;
}

static void add_row(row **list, row *w) {
  w->key.form = w->form;
  if (w->from != ON_TRIAL) replace_others(*list, w);
  describe(w);
  w->next = *list;
  *list = w;
}

static void add_rows(moon_runtime *runtime, row **list, row *more) {
  for (row *w = more, *next; w; w = next) {
    next = w->next;
    if (w->from != REPLACED) add_row(list, w);
    else moon__free(runtime, w);
  }
}

static bool read_rows(moon_runtime *runtime, reader *r, int from, row **list, bool *memory) {
  while (r->at < r->end) {
    row *w = moon__alloc(runtime, sizeof *w);
    *memory = !w;
    if (!w) return false;
    w->from = from;
    if (!read_row(r, w)) {
      moon__free(runtime, w);
      return false;
    }
    add_row(list, w);
  }
  return true;
}

static void sum_text(const char *text, size_t bytes, char sum[SUM_BYTES + 1]) {
  snprintf(sum, SUM_BYTES + 1, "sum %016llx\n", (unsigned long long)moon__hash_bytes(4, text, bytes));
}

static bool read_list(moon_runtime *runtime, const char *text, size_t bytes, bool whole, row **list, bool *memory) {
  reader r = {text, text + bytes};
  size_t head_bytes = sizeof head - 1;
  *memory = false;
  if (whole) {
    char sum[SUM_BYTES + 1];
    if (bytes < head_bytes + SUM_BYTES || bytes > MOST_BYTES || memcmp(text, head, head_bytes) != 0) return false;
    sum_text(text, bytes - SUM_BYTES, sum);
    if (memcmp(text + bytes - SUM_BYTES, sum, SUM_BYTES) != 0) return false;
    r = (reader){text + head_bytes, text + bytes - SUM_BYTES};
  }
  if (read_rows(runtime, &r, whole ? FROM_FILE : SHIPPED, list, memory)) return true;
  free_rows(runtime, *list);
  *list = NULL;
  return false;
}

bool moon__tune_read(moon_runtime *runtime, const char *text, size_t bytes, bool whole, bool *memory) {
  row *list = NULL;
  if (!read_list(runtime, text, bytes, whole, &list, memory)) return false;
  add_rows(runtime, &runtime->tune_rows, list);
  return true;
}

/* ---- The file ---- */

static void *alloc_file(void *user, size_t bytes) { return bytes > MOST_BYTES + 1 ? NULL : moon__alloc(user, bytes); }

static bool file_name(moon_context *ctx, char *name, size_t bytes) {
  moon__mutex_lock(ctx->runtime->lock);
  const char *folder = ctx->runtime->cache_folder;
  int n = folder ? snprintf(name, bytes, "%s/tuned", folder) : -1;
  moon__mutex_unlock(ctx->runtime->lock);
  return n > 0 && (size_t)n < bytes;
}

/* Whatever is wrong with the file, it is as if it were not there. False: memory is out. */
static bool read_file(moon_runtime *runtime, const char *name, row **list) {
  void *data = NULL;
  size_t bytes = 0;
  bool memory = false;
  if (moon__file_read(name, alloc_file, runtime, &data, &bytes) == 0) (void)read_list(runtime, data, bytes, true, list, &memory);
  moon__free(runtime, data);
  return !memory;
}

bool moon__tune_save(moon_context *ctx) {
  moon_runtime *runtime = ctx->runtime;
  moon_text t = {.runtime = runtime};
  char name[1024], folder[1024], sum[SUM_BYTES + 1];
  row *list = NULL;
  if (!file_name(ctx, name, sizeof name)) return false;
  snprintf(folder, sizeof folder, "%.*s", (int)(strlen(name) - strlen("/tuned")), name);
  bool ok = read_file(runtime, name, &list); /* another process may have written meanwhile */
  moon__mutex_lock(runtime->lock);
  for (const row *r = runtime->tune_rows; ok && r; r = r->next) {
    row *copy = r->from == SET_HERE ? moon__alloc(runtime, sizeof *copy) : NULL;
    if (r->from != SET_HERE || !(ok = copy != NULL)) continue;
    *copy = *r;
    add_row(&list, copy);
  }
  moon__mutex_unlock(runtime->lock);
  moon__text_put(&t, head);
  for (const row *r = list; r; r = r->next)
    if (r->from != REPLACED) moon__text_format(&t, "%s\n", r->text);
  sum_text(t.text, t.n, sum);
  moon__text_put(&t, sum);
  free_rows(runtime, list);
  ok = ok && !t.failed && moon__folder_make(folder) == 0 && moon__file_replace(name, t.text, t.n) == 0;
  moon__free(runtime, t.text);
  return ok;
}

static bool load(moon_runtime *runtime, const char *name) {
  row *list = NULL;
  bool memory = false;
  for (int i = 0; moon__backends[i] && !memory; i++) {
    const char *shipped = moon__backends[i]->tuned;
    if (shipped) (void)moon__tune_read(runtime, shipped, strlen(shipped), false, &memory);
  }
  if (memory || (name && !read_file(runtime, name, &list))) return false;
  add_rows(runtime, &runtime->tune_rows, list);
  return true;
}

moon_status moon__tune_load(moon_context *ctx) {
  moon_runtime *runtime = ctx->runtime;
  char name[1024];
  if (runtime->tune_loaded) return MOON_OK;
  bool named = file_name(ctx, name, sizeof name), ok = true;
  moon__mutex_lock(runtime->lock);
  if (!runtime->tune_loaded) runtime->tune_loaded = ok = load(runtime, named ? name : NULL);
  moon__mutex_unlock(runtime->lock);
  return ok ? MOON_OK : moon__fail_memory(ctx);
}

/* ---- Asking ---- */

static bool has_value(const moon_dial *d, int32_t x) {
  for (int i = 0; i < d->nvalues; i++)
    if (d->value[i] == x) return true;
  return false;
}

/* Does the row set the dials of the question? Rows may be older than the chooser, or written by anybody. */
static bool answers(const row *r, const moon_question *q) {
  if (r->ndials != q->ndials) return false;
  for (int i = 0; i < q->ndials; i++)
    if (strcmp(r->name[i], q->dial[i].name) != 0 || (r->value[i] != q->own[i] && !has_value(&q->dial[i], r->value[i]))) return false;
  return true;
}

/* Which of two rows at the same distance: what was measured here, else the one of the smaller sizes. */
static bool goes_before(const row *a, const row *b) {
  if ((a->from == SHIPPED) != (b->from == SHIPPED)) return b->from == SHIPPED;
  if ((a->from == ON_TRIAL) != (b->from == ON_TRIAL)) return a->from == ON_TRIAL;
  for (int i = 0; i < a->key.nsizes; i++)
    if (a->key.size[i] != b->key.size[i]) return a->key.size[i] < b->key.size[i];
  return false;
}

static bool counts(const row *r, const moon_context *ctx) {
  return r->from < ON_TRIAL || (r->from == ON_TRIAL && ctx->trial && r->tried_by == ctx);
}

static const row *nearest(const moon_context *ctx, const char *target, const moon_question *q, double *far) {
  const row *best = NULL;
  *far = FAR;
  for (const row *r = ctx->runtime->tune_rows; r; r = r->next) {
    double d = distance(&r->key, &q->key);
    if (d > *far || !counts(r, ctx) || strcmp(r->target, target) != 0 || !answers(r, q)) continue;
    if (best && d == *far && !goes_before(r, best)) continue;
    best = r;
    *far = d;
  }
  return best;
}

/* Notes the question; gives the answer that is being tried, if it is the one. */
static bool try_answer(moon_trial *t, const moon_question *q, int32_t *value) {
  bool known = false;
  for (int i = 0; i < t->nasked; i++) known |= moon__tune_same(&t->asked[i].key, &q->key);
  if (!known && t->nasked < MOON_TRIAL_QUESTIONS) t->asked[t->nasked++] = *q;
  if (!t->answer || !moon__tune_same(&t->answer->key, &q->key)) return false;
  memcpy(value, t->answer->value, (size_t)q->ndials * sizeof *value);
  return true;
}

const char *moon__tune_ask(moon_context *ctx, const moon_device *device, const moon_tune_key *key, int ndials, const moon_dial *dial,
                           int32_t *value) {
  moon_question q = {.key = *key, .ndials = ndials};
  const char *target = device->backend->target ? device->backend->target(device) : NULL, *words = NULL;
  double far;
  if (!target) return NULL;
  for (int i = 0; i < key->nsizes; i++)
    if (key->size[i] < 1) return NULL;
  memcpy(q.dial, dial, (size_t)ndials * sizeof *dial);
  memcpy(q.own, value, (size_t)ndials * sizeof *value);
  moon__mutex_lock(ctx->runtime->lock);
  const row *r = nearest(ctx, target, &q, &far);
  if (r) {
    memcpy(value, r->value, (size_t)ndials * sizeof *value);
    words = far == 0 ? r->exact : r->near;
  }
  moon__mutex_unlock(ctx->runtime->lock);
  if (!ctx->trial) return words;
  memcpy(q.value, value, (size_t)ndials * sizeof *value);
  return try_answer(ctx->trial, &q, value) ? "being tuned" : words;
}

const char *moon__tune_set(moon_context *ctx, const moon_device *device, const moon_question *q) {
  row *w = moon__alloc(ctx->runtime, sizeof *w);
  if (!w) {
    moon__fail_memory(ctx);
    return NULL;
  }
  w->from = ON_TRIAL;
  w->tried_by = ctx;
  w->key = q->key;
  w->ndials = q->ndials;
  snprintf(w->target, sizeof w->target, "%s", device->backend->target(device));
  snprintf(w->form, sizeof w->form, "%s", q->key.form);
  for (int i = 0; i < q->ndials; i++) {
    w->value[i] = q->value[i];
    snprintf(w->name[i], sizeof w->name[i], "%s", q->dial[i].name);
  }
  moon__mutex_lock(ctx->runtime->lock);
  add_row(&ctx->runtime->tune_rows, w);
  moon__mutex_unlock(ctx->runtime->lock);
  return w->text;
}

void moon__tune_settle(moon_context *ctx, bool keep) {
  moon__mutex_lock(ctx->runtime->lock);
  for (row *r = ctx->runtime->tune_rows; r; r = r->next) {
    if (r->from != ON_TRIAL || r->tried_by != ctx) continue;
    r->from = keep ? SET_HERE : REPLACED;
    if (keep) replace_others(ctx->runtime->tune_rows, r);
  }
  moon__mutex_unlock(ctx->runtime->lock);
}
