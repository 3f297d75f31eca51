/*
** tune.c: the cost table and the tuner, without measuring anything: the clock is ours, and a device of our own, which is the CPU but
** for the choice of a matrix product with two dials (and plain kernels), lets it pass by what their values are said to cost.
**   tune            all checks but those of files
**   tune write DIR  tunes with the cache folder DIR; tune read DIR  then finds what was tuned, in another process
**   tune put DIR ROW..  writes a file of these rows
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/map.h"
#include "check.h"
#include "tune.h"

#define SIZE 64

/* ---- The device ---- */

static double clock_now;
static double cost[4][2]; /* us of a run by the values of the dials */
static double among_others; /* us more of a run that is not a program's first, with a=3 */
static int runs;
static int32_t chosen[4096][2]; /* values of the dials, the state of a choice */
static int nchosen;

static double read_clock(void *user) {
  (void)user;
  return clock_now;
}

static moon_status select_kernel(moon_context *ctx, moon_device *device, const moon_node *node, const moon_array *in, int nin,
                                 const moon_array *out, int nout, bool fast, moon_choice *choice) {
  static const moon_dial dials[2] = {{"a", 3, {1, 2, 3}}, {"b", 2, {0, 1}}};
  int32_t v[2] = {1, 0};
  const char *words = NULL;
  if (node->op->id == MOON_OP_matmul) {
    moon_tune_key key = {.op = MOON_OP_matmul, .dtype = out->dtype, .form = "two", .nsizes = 3,
                         .size = {in[0].shape[0], in[0].shape[1], in[1].shape[1]}};
    words = moon__tune_ask(ctx, device, &key, 2, dials, v);
  }
  (void)fast;
  moon_status s = moon__cpu_backend.select(ctx, device, node, in, nin, out, nout, false, choice);
  if (node->op->id != MOON_OP_matmul || s != MOON_OK) return s;
  choice->tuned = words;
  CHECK(nchosen < 4096 && v[0] >= 1 && v[0] <= 3 && v[1] >= 0 && v[1] <= 1);
  memcpy(chosen[nchosen], v, sizeof v);
  choice->state = chosen[nchosen++];
  return s;
}

static moon_status run(moon_context *ctx, moon_device *device, moon_kernel_fn kernel, const moon_call *call, int64_t first, int64_t last,
                       bool threads) {
  const int32_t *v = call->state;
  if (v) {
    clock_now += (cost[v[0]][v[1]] + (v[0] == 3 && call->launch > 0 ? among_others : 0)) * (double)(last - first);
    runs++;
  }
  return moon__cpu_backend.run(ctx, device, kernel, call, first, last, threads);
}

static const char *target(const moon_device *device) { return (void)device, "test"; }

typedef struct machine {
  moon_runtime *runtime;
  moon_context *ctx;
  moon_device *device;
  moon_backend backend;
} machine;

static void open_machine(machine *m, const char *folder) {
  m->runtime = moon_runtime_new(&(moon_host){.clock_us = read_clock, .threads = 1});
  m->ctx = moon_context_new(m->runtime);
  CHECK(m->ctx && moon_cache_folder_set(m->ctx, folder) == MOON_OK);
  m->backend = moon__cpu_backend;
  m->backend.select = select_kernel;
  m->backend.select_product = NULL;
  m->backend.run = run;
  m->backend.target = target;
  m->backend.device_free = NULL;
  m->device = moon__device_add(m->ctx, &m->backend, "test", moon_device_find(m->ctx, "cpu")->data);
  CHECK(m->device);
}

static void close_machine(machine *m) {
  moon_context_release(m->ctx);
  moon_runtime_release(m->runtime);
}

/* ---- Programs ---- */

static moon_graph *product(const machine *m, int64_t rows, int64_t inner, int64_t columns) {
  moon_scope_open(m->ctx);
  moon_value *in[2] = {moon_input(m->ctx, "a", MOON_DTYPE_f32, 2, (moon_dim[]){rows, inner}),
                       moon_input(m->ctx, "b", MOON_DTYPE_f32, 2, (moon_dim[]){inner, columns})};
  moon_value *y = moon_apply2(m->ctx, "matmul", NULL, in[0], in[1]);
  moon_graph *g = moon_graph_new(m->ctx, 2, in, 1, &y, 0, NULL);
  moon_scope_close(m->ctx);
  CHECK(g);
  return g;
}

static moon_program *compile(const machine *m, moon_graph *g) {
  moon_type types[2] = {*(moon_type[]){{MOON_DTYPE_f32, *moon_value_shape(moon_graph_input(g, 0))}},
                        *(moon_type[]){{MOON_DTYPE_f32, *moon_value_shape(moon_graph_input(g, 1))}}};
  moon_program *p = moon_compile(m->ctx, g, types, &(moon_compile_options){.device = m->device});
  CHECK(p);
  return p;
}

static bool explains(const machine *m, int64_t rows, int64_t inner, int64_t columns, const char *words) {
  moon_graph *g = product(m, rows, inner, columns);
  moon_program *p = compile(m, g);
  char *text = moon_program_explain(m->ctx, p);
  bool found = text && strstr(text, words) != NULL;
  moon_text_release(m->ctx, text);
  moon_program_release(p);
  moon_graph_release(g);
  return found;
}

static void compute(const machine *m, moon_program *p, float *y) {
  const int64_t shape[2] = {SIZE, SIZE};
  moon_device *before = moon_device_get(m->ctx);
  CHECK(moon_device_set(m->ctx, m->device) == MOON_OK);
  moon_tensor *in[2] = {moon_tensor_new(m->ctx, MOON_DTYPE_f32, 2, shape), moon_tensor_new(m->ctx, MOON_DTYPE_f32, 2, shape)}, *out = NULL;
  for (int i = 0; i < SIZE * SIZE; i++)
    for (int k = 0; k < 2; k++) ((float *)moon_tensor_data(in[k]))[i] = (float)((i * (k + 3)) % 17) * 0.1f;
  CHECK(moon_program_run(m->ctx, p, in, &out, 0) == MOON_OK);
  memcpy(y, moon_tensor_data(out), SIZE * SIZE * sizeof *y);
  moon_tensor_release(in[0]);
  moon_tensor_release(in[1]);
  moon_tensor_release(out);
  CHECK(moon_device_set(m->ctx, before) == MOON_OK);
}

static void set_costs(double plain, double a3, double b1, double both) {
  for (int a = 1; a <= 3; a++) {
    cost[a][0] = a == 3 ? a3 : plain;
    cost[a][1] = a == 3 ? both : b1;
  }
}

/* Tunes a product and gives the text; *better: the program compiled after it. */
static char *tuned_text(const machine *m, double seconds, moon_graph *g, moon_program **better) {
  moon_program *p = compile(m, g);
  char *text = moon_tune(m->ctx, p, &(moon_tune_options){.seconds = seconds});
  CHECK(text);
  *better = compile(m, g);
  moon_program_release(p);
  return text;
}

/* ---- Checks ---- */

static bool reads(const machine *m, const char *text) {
  bool memory;
  return moon__tune_read(m->runtime, text, strlen(text), false, &memory);
}

static void check_rows(void) {
  static const char *const bad[] = {
      "\n", "test\n", "test matmul two f32 1x2x3\n", "test matmul two f32 1x2x3 a=1", "test matmul two f32 1x2x3 a=1 \n",
      "test matmul two f32 1x2x a=1\n", "test matmul two f32 0x2x3 a=1\n", "test matmul two f32 -1x2x3 a=1\n",
      "test matmul two f99 1x2x3 a=1\n", "test nothing two f32 1x2x3 a=1\n", "test matmul two f32 1x2x3 a=-1\n",
      "test matmul two f32 1x2x3 a=4294967296\n", "test matmul two f32 1x2x3 a=1 b\n", "test matmul two f32 1x2x3 =1\n",
      "test matmul two f32 99999999999999999999x2x3 a=1\n", "test matmul two f32 1x2x3x4x5x6x7x8x9 a=1\n",
      "test matmul two f32 1x2x3 a=1 b=1 c=1 d=1 e=1 f=1 g=1\n", "test matmul two f32 1x2x3 anameofmorethan15=1\n",
      "test matmul\ttwo f32 1x2x3 a=1\n", "test  matmul two f32 1x2x3 a=1\n",
      "0123456789012345678901234567890123456789012345678901234567890123 matmul two f32 1x2x3 a=1\n"};
  machine m;
  open_machine(&m, NULL);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[512];
    CHECK(!reads(&m, bad[i]));
    snprintf(text, sizeof text, "test matmul two f32 64x64x64 a=2 b=1\n%s", bad[i]);
    CHECK(!reads(&m, text)); /* all or nothing */
  }
  CHECK(explains(&m, 64, 64, 64, "cpu_matmul_plain") && !explains(&m, 64, 64, 64, "tuned"));
  /* The table that the library ships is no row of these; ours count as shipped. */
  CHECK(reads(&m, "") && reads(&m, "test matmul two f32 64x64x64 a=2 b=1\ntest matmul two f32 64x64x100 a=3 b=1\n"));
  CHECK(explains(&m, 64, 64, 64, "table: a=2 b=1)") && explains(&m, 64, 64, 100, "table: a=3 b=1)"));
  CHECK(explains(&m, 65, 64, 64, "table: nearest 64x64x64)") && explains(&m, 64, 64, 99, "table: nearest 64x64x100)"));
  CHECK(reads(&m, "test matmul two f32 7x7x64 a=2 b=1\ntest matmul two f32 7x7x256 a=3 b=1\n"));
  CHECK(explains(&m, 7, 7, 128, "table: nearest 7x7x64)")); /* as far from both: the smaller */
  CHECK(explains(&m, 128, 64, 64, "table: nearest 64x64x64)") && !explains(&m, 129, 64, 64, "table:"));
  CHECK(!explains(&m, 128, 128, 64, "table:") && !explains(&m, 32, 32, 32, "table:"));
  /* A value that is no dial's, dials of another name, another number of them, another target, form, dtype: no answers. */
  CHECK(reads(&m, "test matmul two f32 9x9x9 a=4 b=1\ntest matmul two f32 500x9x9 c=1 b=1\ntest matmul two f32 999x9x9 a=1\n"
                  "other matmul two f32 9x500x9 a=2 b=1\ntest matmul one f32 9x9x500 a=2 b=1\ntest matmul two f64 9x9x999 a=2 b=1\n"));
  CHECK(!explains(&m, 9, 9, 9, "table:") && !explains(&m, 500, 9, 9, "table:") && !explains(&m, 999, 9, 9, "table:"));
  CHECK(!explains(&m, 9, 500, 9, "table:") && !explains(&m, 9, 9, 500, "table:") && !explains(&m, 9, 9, 999, "table:"));
  close_machine(&m);
}

static void check_tuning(void) {
  machine m;
  moon_program *better;
  float before[SIZE * SIZE], after[SIZE * SIZE];
  open_machine(&m, NULL);
  moon_graph *g = product(&m, SIZE, SIZE, SIZE);
  moon_program *p = compile(&m, g);
  set_costs(100, 80, 90, 70);
  compute(&m, p, before);
  uint64_t made = moon_compile_count(m.runtime);
  char *text = tuned_text(&m, 1, g, &better);
  CHECK(strstr(text, "test matmul two f32 64x64x64 a=3 b=1\nleft\t0\nwhole\t") && strstr(text, "\nkept\t1\nsaved\t0\n"));
  CHECK(strstr(text, "\t4\ttest")); /* what it was, two values of a, one of b */
  CHECK(better != p && moon_compile_count(m.runtime) == made + 1);
  CHECK(explains(&m, SIZE, SIZE, SIZE, "tuned: a=3 b=1)") && explains(&m, 80, SIZE, SIZE, "tuned: nearest 64x64x64)"));
  compute(&m, p, after);
  CHECK(memcmp(before, after, sizeof before) == 0);
  compute(&m, better, after);
  CHECK(memcmp(before, after, sizeof before) == 0);
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  /* Less than 5 % is no win; what was fastest before is left alone, and its program too. */
  set_costs(68, 80, 67, 70);
  text = tuned_text(&m, 1, g, &better);
  CHECK(strstr(text, "\t-\nleft\t0\nkept\t0\n"));
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  /* The kernel's own rule is tried too, though the table says something else: it is the fastest again. */
  set_costs(40, 80, 90, 70);
  text = tuned_text(&m, 1, g, &better);
  CHECK(strstr(text, " a=1 b=0\nleft"));
  CHECK(explains(&m, SIZE, SIZE, SIZE, "tuned: a=1 b=0)"));
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  moon_program_release(p);
  moon_graph_release(g);
  close_machine(&m);
}

/* a b b: what wins alone is tried in the whole, where the second product pays for it. */
static void check_whole(void) {
  for (int fast = 0; fast < 2; fast++) {
    machine m;
    moon_program *better;
    float before[SIZE * SIZE], after[SIZE * SIZE];
    open_machine(&m, NULL);
    moon_scope_open(m.ctx);
    moon_value *in[2];
    for (int i = 0; i < 2; i++) in[i] = moon_input(m.ctx, i ? "b" : "a", MOON_DTYPE_f32, 2, (moon_dim[]){SIZE, SIZE});
    moon_value *y = moon_apply2(m.ctx, "matmul", NULL, moon_apply2(m.ctx, "matmul", NULL, in[0], in[1]), in[1]);
    moon_graph *g = moon_graph_new(m.ctx, 2, in, 1, &y, 0, NULL);
    moon_scope_close(m.ctx);
    CHECK(g);
    set_costs(100, 80, 90, 70);
    among_others = fast ? 10 : 100;
    moon_program *p = compile(&m, g);
    compute(&m, p, before);
    char *text = tuned_text(&m, 1, g, &better);
    CHECK(strstr(text, "test matmul two f32 64x64x64 a=3 b=1\nleft\t0\nwhole\t"));
    CHECK(strstr(text, fast ? "\nkept\t1\n" : "\nkept\t0\n"));
    CHECK((better != p) == fast && explains(&m, SIZE, SIZE, SIZE, "tuned:") == fast);
    compute(&m, better, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    moon_text_release(m.ctx, text);
    moon_program_release(better);
    moon_program_release(p);
    moon_graph_release(g);
    close_machine(&m);
  }
  among_others = 0;
}

static void check_budget(void) {
  machine m;
  moon_program *better;
  open_machine(&m, NULL);
  moon_graph *g = product(&m, SIZE, SIZE, SIZE);
  set_costs(1e6, 1e5, 1e6, 1e5);
  moon_program *p = compile(&m, g);
  runs = 0;
  char *text = tuned_text(&m, 2, g, &better);
  CHECK(better == p && runs > 0 && runs <= 64); /* a job of each at most before the time is seen to be over */
  CHECK(!strstr(text, "test matmul"));
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  runs = 0;
  double start = clock_now;
  text = tuned_text(&m, 1e-300, g, &better); /* no time at all: nothing runs */
  CHECK(runs == 0 && clock_now == start && strcmp(text, "left\t1\nkept\t0\nsaved\t0\n") == 0);
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  moon_program_release(p);
  moon_graph_release(g);
  close_machine(&m);
}

/* ---- Files ---- */

static size_t file_of(const char *folder, char *data, size_t room) {
  char name[512];
  snprintf(name, sizeof name, "%s/tuned", folder);
  FILE *f = fopen(name, "rb");
  size_t n = f ? fread(data, 1, room, f) : 0;
  if (f) fclose(f);
  return n;
}

static void put_file(const char *folder, const char *data, size_t n) {
  char name[512];
  snprintf(name, sizeof name, "%s/tuned", folder);
  FILE *f = fopen(name, "wb");
  CHECK(f && fwrite(data, 1, n, f) == n);
  fclose(f);
}

static bool is_tuned(const char *folder) {
  machine m;
  open_machine(&m, folder);
  bool tuned = explains(&m, SIZE, SIZE, SIZE, "tuned: a=3 b=1)");
  close_machine(&m);
  return tuned;
}

static void tune_into(const char *folder, int64_t rows) {
  machine m;
  moon_program *better;
  open_machine(&m, folder);
  moon_graph *g = product(&m, rows, SIZE, SIZE);
  set_costs(100, 80, 90, 70);
  char *text = tuned_text(&m, 1, g, &better);
  CHECK(strstr(text, " a=3 b=1\nleft\t0\nwhole\t") && strstr(text, "\nkept\t1\nsaved\t1\n"));
  moon_text_release(m.ctx, text);
  moon_program_release(better);
  moon_graph_release(g);
  close_machine(&m);
}

static void check_write(const char *folder) {
  static char data[4096], broken[4096];
  CHECK(!is_tuned(folder) && file_of(folder, data, sizeof data) == 0); /* compiling writes nothing */
  tune_into(folder, SIZE);
  CHECK(is_tuned(folder));
  size_t n = file_of(folder, data, sizeof data);
  CHECK(n > 0 && n < sizeof data);
  /* Cut anywhere, or with one bit changed, it is as if it were not there. */
  for (size_t i = 0; i < n; i++) {
    put_file(folder, data, i);
    CHECK(!is_tuned(folder));
    memcpy(broken, data, n);
    broken[i] ^= 4;
    put_file(folder, broken, n);
    CHECK(!is_tuned(folder));
  }
  tune_into(folder, SIZE); /* made anew */
  CHECK(is_tuned(folder));
  tune_into(folder, 16 * SIZE); /* another row beside it, by a machine that has both */
  CHECK(is_tuned(folder));
}

static void check_read(const char *folder) {
  machine m;
  open_machine(&m, folder);
  CHECK(explains(&m, SIZE, SIZE, SIZE, "tuned: a=3 b=1)") && explains(&m, 16 * SIZE, SIZE, SIZE, "tuned: a=3 b=1)"));
  /* It was read; what is written later is for later processes. */
  put_file(folder, "", 0);
  CHECK(explains(&m, SIZE, SIZE, SIZE, "tuned: a=3 b=1)"));
  close_machine(&m);
  CHECK(!is_tuned(folder));
}

/* TARGET: the CPU of this machine. */
static void put_rows(const char *folder, int n, char **rows) {
  static char text[4096];
  machine m;
  open_machine(&m, NULL);
  const moon_device *cpu = moon_device_find(m.ctx, "cpu");
  size_t at = (size_t)snprintf(text, sizeof text, "moonlet tune 1\n");
  for (int i = 0; i < n; i++) {
    bool here = strncmp(rows[i], "TARGET", 6) == 0;
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s\n", here ? moon__cpu_backend.target(cpu) : "", rows[i] + (here ? 6 : 0));
  }
  close_machine(&m);
  uint64_t sum = moon__hash_bytes(4, text, at);
  at += (size_t)snprintf(text + at, sizeof text - at, "sum %016llx\n", (unsigned long long)sum);
  CHECK(at < sizeof text);
  put_file(folder, text, at);
}

int main(int argc, char **argv) {
  if (argc > 3 && strcmp(argv[1], "put") == 0) put_rows(argv[2], argc - 3, argv + 3);
  else if (argc > 2 && strcmp(argv[1], "write") == 0) check_write(argv[2]);
  else if (argc > 2 && strcmp(argv[1], "read") == 0) check_read(argv[2]);
  else {
    check_rows();
    check_tuning();
    check_whole();
    check_budget();
  }
  printf("ok\n");
  return 0;
}
