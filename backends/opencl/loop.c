/*
** loop.c: prints a fused loop as a kernel. The index space is rows (all axes that are kept but the last) times the last axis, along
** which vectors lie; a work-item of the wide family does a block of rows and a piece of the last axis, one of the other family one
** place. Reduced axes are loops inside; where few results come of many numbers, the outermost reduced axis is cut into segments
** whose results a second kernel combines. Sizes and strides are parameters, so one source serves many shapes; only the kinds of
** the strides along the last axis (0, 1, other) are part of it. Everything is cut by shape alone.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"
#include "print.h"

enum { PIECE = 4096, SEGMENTS = 32, MOST_PARAMS = 100, GROUP = 64 };

typedef struct printing {
  moon_cl_device *d;
  moon_cl_text t;
  moon_loop loop;     /* at least one axis */
  int lanes, inner;   /* inner: the last axis */
  bool reduces, inner_reduced, literal; /* literal: numbers stand in the source, there are too many for parameters */
  int split;          /* the axis that is cut into segments; -1: none */
  int64_t rows, piece, block, segments, segment; /* block: rows of a work-item; segment: length along split */
  int64_t count;      /* results of a reduced output */
  int nparams;
  int64_t params[MOST_PARAMS + 1];
  size_t partial[MOON_LOOP_MAX_ARGS], scratch_bytes;
} printing;

static bool is_reduced(const printing *p, int axis) { return p->loop.reduced >> axis & 1; }
static bool is_outer_reduced(const printing *p, int axis) { return axis != p->inner && is_reduced(p, axis); }
static bool combines(const moon_loop_arg *a) { return a->reduce != MOON_OP_COUNT; }

/* ---- Numbers of the shape ---- */

/* Prints a number that differs from shape to shape. */
static void put_param(printing *p, int64_t value) {
  if (p->literal) {
    moon__cl_put(&p->t, "%lldL", (long long)value);
    return;
  }
  /* Equal numbers of one shape differ in another: each has its own place. Beyond the last one the text is thrown away. */
  if (p->nparams <= MOST_PARAMS) p->params[p->nparams] = value;
  moon__cl_put(&p->t, "p.v[%d]", p->nparams++);
}

/* ---- One place of the index space ---- */

/* The offset of an operand, from its row and the reduced axes; inner: the last axis too. */
static void put_offset(printing *p, const moon_loop_arg *a, int k, bool out, bool inner) {
  moon__cl_put(&p->t, "%s%d", out ? "g" : "f", k);
  for (int i = 0; i < p->inner; i++) {
    if (!is_outer_reduced(p, i) || (out && combines(a))) continue;
    moon__cl_put(&p->t, " + e%d * ", i);
    put_param(p, a->strides[i]);
  }
  if (!inner || a->strides[p->inner] == 0) return;
  moon__cl_put(&p->t, " + i");
  if (a->strides[p->inner] == 1) return;
  moon__cl_put(&p->t, " * ");
  put_param(p, a->strides[p->inner]);
}

static void put_load(printing *p, int k, int lanes) {
  const moon_loop_arg *a = &p->loop.in[k];
  const char *one = moon__cl_type(a->dtype, 1), *type = moon__cl_type(a->dtype, lanes);
  int64_t stride = a->strides[p->inner];
  bool truth = a->dtype == MOON_DTYPE_bool;
  if (lanes == 1 || stride == 0) {
    moon__cl_put(&p->t, "const %s r%d = (%s)((%s)(x%d[", type, a->reg, type, one, k);
    put_offset(p, a, k, false, true);
    moon__cl_put(&p->t, truth ? "] != 0));\n" : "]));\n");
    return;
  }
  if (stride == 1) {
    moon__cl_put(&p->t, "const %s v%d = vload16(0, x%d + ", type, a->reg, k);
    put_offset(p, a, k, false, true);
    moon__cl_put(&p->t, ");\n");
  } else {
    moon__cl_put(&p->t, "%s t%d[16]; for (int j = 0; j < 16; j++) t%d[j] = x%d[", one, a->reg, a->reg, k);
    put_offset(p, a, k, false, true);
    moon__cl_put(&p->t, " + j * ");
    put_param(p, stride);
    moon__cl_put(&p->t, "]; const %s v%d = vload16(0, t%d);\n", type, a->reg, a->reg);
  }
  moon__cl_put(&p->t, truth ? "const %s r%d = convert_uchar16(v%d != (uchar16)(0)) & (uchar16)(1);\n" : "const %s r%d = v%d;\n",
               type, a->reg, a->reg);
}

static void put_store(printing *p, int k, int lanes) {
  const moon_loop_arg *a = &p->loop.out[k];
  if (combines(a)) return;
  if (k > 0) moon__cl_put(&p->t, "if (y%d) ", k);
  if (lanes > 1) {
    moon__cl_put(&p->t, "vstore16(r%d, 0, y%d + ", a->reg, k);
    put_offset(p, a, k, true, true);
    moon__cl_put(&p->t, ");\n");
  } else {
    moon__cl_put(&p->t, "y%d[", k);
    put_offset(p, a, k, true, true);
    moon__cl_put(&p->t, "] = r%d;\n", a->reg);
  }
}

/* Loads, computes, stores, and takes what is reduced into the accumulators named a<lanes>_<output>. */
static void put_body(printing *p, int lanes) {
  const moon_loop *l = &p->loop;
  char acc[24], x[64];
  for (int i = 0; i < l->nin; i++) put_load(p, i, lanes);
  for (int i = 0; i < l->nnumbers; i++) {
    moon__cl_put(&p->t, "const %s r%d = ", moon__cl_type(l->number[i].dtype, lanes), l->number[i].reg);
    moon__cl_print_number(&p->t, l->number[i].dtype, l->number[i].f, l->number[i].i, lanes);
    moon__cl_put(&p->t, ";\n");
  }
  for (int i = 0; i < l->nins; i++) moon__cl_print_ins(&p->t, &l->ins[i], lanes);
  for (int i = 0; i < l->nout; i++) {
    const moon_loop_arg *a = &l->out[i];
    put_store(p, i, lanes);
    if (!combines(a)) continue;
    snprintf(acc, sizeof acc, "a%d_%d", lanes, i);
    if ((moon_dtype)l->reg_dtype[a->reg] == a->dtype) snprintf(x, sizeof x, "r%d", a->reg);
    else snprintf(x, sizeof x, "convert_%s(r%d)", moon__cl_type(a->dtype, lanes), a->reg);
    moon__cl_print_combine(&p->t, a->reduce, a->dtype, lanes, acc, x);
  }
}

static void put_accumulators(printing *p, int lanes) {
  for (int i = 0; i < p->loop.nout; i++) {
    const moon_loop_arg *a = &p->loop.out[i];
    if (!combines(a)) continue;
    moon__cl_put(&p->t, "%s a%d_%d = ", moon__cl_type(a->dtype, lanes), lanes, i);
    moon__cl_print_identity(&p->t, a->reduce, a->dtype, lanes);
    moon__cl_put(&p->t, ";\n");
  }
}

/* Opens a loop over each reduced axis but the last; gives their number. */
static int put_reduced_loops(printing *p) {
  int n = 0;
  for (int i = 0; i < p->inner; i++) {
    if (!is_outer_reduced(p, i)) continue;
    if (i == p->split) moon__cl_put(&p->t, "for (long e%d = s0; e%d < s1; e%d++) {\n", i, i, i);
    else {
      moon__cl_put(&p->t, "for (long e%d = 0; e%d < ", i, i);
      put_param(p, p->loop.size[i]);
      moon__cl_put(&p->t, "; e%d++) {\n", i);
    }
    n++;
  }
  return n;
}

static void put_closing(printing *p, int n) {
  while (n-- > 0) moon__cl_put(&p->t, "}\n");
}

/* Stores the accumulators of one place (lanes of them) on the last axis, or of a row when that is reduced. */
static void put_results(printing *p, int lanes, bool inner) {
  for (int i = 0; i < p->loop.nout; i++) {
    const moon_loop_arg *a = &p->loop.out[i];
    if (!combines(a)) continue;
    if (i > 0) moon__cl_put(&p->t, "if (y%d) ", i);
    if (lanes > 1) moon__cl_put(&p->t, "vstore16(a16_%d, 0, y%d + ", i, i);
    else moon__cl_put(&p->t, "y%d[", i);
    put_offset(p, a, i, true, inner);
    if (lanes > 1) moon__cl_put(&p->t, ");\n");
    else moon__cl_put(&p->t, "] = a1_%d;\n", i);
  }
}

/* ---- Rows ---- */

/* One place on the last axis: everything, or a loop over the reduced axes. */
static void put_place(printing *p, int lanes) {
  put_accumulators(p, lanes);
  int n = put_reduced_loops(p);
  put_body(p, lanes);
  put_closing(p, n);
  put_results(p, lanes, true);
}

/* Folds the lanes of the wide accumulators into the narrow ones, by halves. */
static void put_fold(printing *p) {
  char x[32];
  for (int i = 0; i < p->loop.nout; i++) {
    const moon_loop_arg *a = &p->loop.out[i];
    if (!combines(a)) continue;
    moon__cl_put(&p->t, "{ %s t[16]; vstore16(a16_%d, 0, t);\nfor (int s = 8; s > 0; s /= 2) for (int j = 0; j < s; j++) ",
                 moon__cl_type(a->dtype, 1), i);
    moon__cl_print_combine(&p->t, a->reduce, a->dtype, 1, "t[j]", "t[j + s]");
    snprintf(x, sizeof x, "a1_%d", i);
    moon__cl_print_combine(&p->t, a->reduce, a->dtype, 1, x, "t[0]");
    moon__cl_put(&p->t, "}\n");
  }
}

/* The same across the work-items of a group. */
static void put_group_fold(printing *p) {
  for (int i = 0; i < p->loop.nout; i++) {
    const moon_loop_arg *a = &p->loop.out[i];
    if (!combines(a)) continue;
    moon__cl_put(&p->t, "l%d[lid] = a1_%d; barrier(CLK_LOCAL_MEM_FENCE);\nfor (int s = 32; s > 0; s /= 2) { if (lid < s) { ", i, i);
    char to[24], from[32];
    snprintf(to, sizeof to, "l%d[lid]", i);
    snprintf(from, sizeof from, "l%d[lid + s]", i);
    moon__cl_print_combine(&p->t, a->reduce, a->dtype, 1, to, from);
    moon__cl_put(&p->t, "} barrier(CLK_LOCAL_MEM_FENCE); }\na1_%d = l%d[0]; barrier(CLK_LOCAL_MEM_FENCE);\n", i, i);
  }
}

static void put_reduced_row(printing *p) {
  if (p->lanes > 1) put_accumulators(p, p->lanes);
  put_accumulators(p, 1);
  int n = put_reduced_loops(p);
  if (p->d->wide) {
    moon__cl_put(&p->t, "long i = c0;\n");
    if (p->lanes > 1) {
      moon__cl_put(&p->t, "for (; i + 16 <= c1; i += 16) {\n");
      put_body(p, p->lanes);
      moon__cl_put(&p->t, "}\n");
    }
    moon__cl_put(&p->t, "for (; i < c1; i++) {\n");
  } else {
    moon__cl_put(&p->t, "for (long i = c0 + lid; i < c1; i += 64) {\n");
  }
  put_body(p, 1);
  put_closing(p, n + 1);
  if (p->lanes > 1) put_fold(p);
  if (!p->d->wide) put_group_fold(p);
  if (!p->d->wide) moon__cl_put(&p->t, "if (lid == 0) {\n");
  put_results(p, 1, false);
  if (!p->d->wide) moon__cl_put(&p->t, "}\n");
}

static void put_kept_row(printing *p) {
  if (!p->d->wide) {
    moon__cl_put(&p->t, "const long i = get_global_id(0);\nif (i < c1) {\n");
    put_place(p, 1);
    moon__cl_put(&p->t, "}\n");
    return;
  }
  moon__cl_put(&p->t, "long i = c0;\n");
  if (p->lanes > 1) {
    moon__cl_put(&p->t, "for (; i + 16 <= c1; i += 16) {\n");
    put_place(p, p->lanes);
    moon__cl_put(&p->t, "}\n");
  }
  moon__cl_put(&p->t, "for (; i < c1; i++) {\n");
  put_place(p, 1);
  moon__cl_put(&p->t, "}\n");
}

/* Offsets of all operands at a row: f of inputs, g of outputs. */
static void put_row_offsets(printing *p) {
  moon__cl_put(&p->t, "long q = row;\n");
  for (int i = p->inner - 1; i >= 0; i--) {
    if (is_reduced(p, i)) continue;
    moon__cl_put(&p->t, "const long n%d = ", i);
    put_param(p, p->loop.size[i]);
    moon__cl_put(&p->t, ", i%d = q %% n%d; q /= n%d;\n", i, i, i);
  }
  for (int k = 0; k < p->loop.nin + p->loop.nout; k++) {
    bool out = k >= p->loop.nin;
    const moon_loop_arg *a = out ? &p->loop.out[k - p->loop.nin] : &p->loop.in[k];
    moon__cl_put(&p->t, "const long %s%d = 0", out ? "g" : "f", out ? k - p->loop.nin : k);
    for (int i = 0; i < p->inner; i++) {
      if (is_reduced(p, i) || a->strides[i] == 0) continue;
      moon__cl_put(&p->t, " + i%d * ", i);
      put_param(p, a->strides[i]);
    }
    moon__cl_put(&p->t, ";\n");
  }
}

/* ---- The kernel ---- */

static void put_pointers(printing *p) {
  for (int i = 0; i < p->loop.nin; i++) {
    const char *type = moon__cl_type(p->loop.in[i].dtype, 1);
    moon__cl_put(&p->t, "__global const %s *x%d = AT(const %s, %d);\n", type, i, type, i);
  }
  for (int i = 0; i < p->loop.nout; i++) {
    const moon_loop_arg *a = &p->loop.out[i];
    const char *type = moon__cl_type(a->dtype, 1);
    int operand = p->loop.nin + i;
    if (combines(a) && p->segments > 1) {
      moon__cl_put(&p->t, "__global %s *y%d = (__global %s *)(mem%d + off%d + ", type, i, type, p->loop.nin + p->loop.nout,
                   p->loop.nin + p->loop.nout);
      put_param(p, (int64_t)p->partial[i]);
      moon__cl_put(&p->t, ") + get_global_id(2) * ");
      put_param(p, p->count);
      moon__cl_put(&p->t, ";\n");
    } else {
      moon__cl_put(&p->t, "__global %s *y%d = mem%d ? AT(%s, %d) : 0;\n", type, i, operand, type, operand);
    }
    if (combines(a) && !p->d->wide && p->inner_reduced) moon__cl_put(&p->t, "__local %s l%d[64];\n", type, i);
  }
}

/* c0, c1: this work-item's part of the last axis; s0, s1: of the split axis. */
static void put_ranges(printing *p) {
  moon__cl_put(&p->t, "const long n_last = ");
  put_param(p, p->loop.size[p->inner]);
  if (p->split >= 0) {
    moon__cl_put(&p->t, ", seg = ");
    put_param(p, p->segment);
    moon__cl_put(&p->t, ", s0 = get_global_id(2) * seg, s1 = min(s0 + seg, ");
    put_param(p, p->loop.size[p->split]);
    moon__cl_put(&p->t, ")");
  }
  if (p->split == p->inner) moon__cl_put(&p->t, ", c0 = s0, c1 = s1;\n");
  else if (p->inner_reduced || !p->d->wide) moon__cl_put(&p->t, ", c0 = 0, c1 = n_last;\n");
  else {
    moon__cl_put(&p->t, ", piece = ");
    put_param(p, p->piece);
    moon__cl_put(&p->t, ", c0 = get_global_id(0) * piece, c1 = min(c0 + piece, n_last);\n");
  }
  if (!p->d->wide && p->inner_reduced) moon__cl_put(&p->t, "const int lid = get_local_id(0);\n");
}

static void put_kernel(printing *p) {
  int n = p->loop.nin + p->loop.nout + (p->segments > 1);
  moon__cl_print_functions(&p->t, &p->loop);
  moon__cl_put(&p->t, "KERNEL void run(");
  for (int i = 0; i < n; i++) moon__cl_put(&p->t, "OPERAND(%d), ", i);
  moon__cl_put(&p->t, p->literal ? "REST) {\nSTART\n" : "params p, REST) {\nSTART\n");
  put_pointers(p);
  put_ranges(p);
  moon__cl_put(&p->t, "const long rows = ");
  put_param(p, p->rows);
  if (p->d->wide) {
    moon__cl_put(&p->t, ", block = ");
    put_param(p, p->block);
    moon__cl_put(&p->t, ";\nfor (long row = get_global_id(1) * block, row_end = min(row + block, rows); row < row_end; row++) {\n");
  } else {
    moon__cl_put(&p->t, ";\nfor (long row = get_global_id(1); row < rows; row += get_global_size(1)) {\n");
  }
  put_row_offsets(p);
  if (p->inner_reduced) put_reduced_row(p);
  else put_kept_row(p);
  moon__cl_put(&p->t, "}\n}\n");
}

/* ---- Cutting ---- */

static int64_t times(int64_t a, int64_t b) {
  int64_t r;
  return moon__mul_i64(a, b, &r) ? r : INT64_MAX;
}

static void cut(printing *p) {
  const moon_loop *l = &p->loop;
  int64_t reduced = 1, last = l->size[p->inner];
  p->rows = 1;
  p->split = -1;
  p->segments = 1;
  for (int i = 0; i < l->ndim; i++) {
    if (is_reduced(p, i)) {
      reduced = times(reduced, l->size[i]);
      if (p->split < 0) p->split = i;
    } else if (i != p->inner) {
      p->rows = times(p->rows, l->size[i]);
    }
  }
  p->count = p->inner_reduced ? p->rows : times(p->rows, last);
  p->piece = p->reduces ? moon__max_i64(64, moon__min_i64(PIECE, 2 * PIECE / reduced) / 16 * 16) : PIECE;
  int64_t of_row = p->inner_reduced ? reduced : times(moon__min_i64(last, p->piece), reduced);
  p->block = moon__max_i64(1, PIECE / moon__max_i64(1, of_row));
  int64_t items = times(moon__ceildiv_i64(p->rows, p->block), p->inner_reduced ? 1 : moon__ceildiv_i64(last, p->piece));
  int64_t want = moon__min_i64(moon__ceildiv_i64(SEGMENTS, items), times(p->count, reduced) / (4 * PIECE));
  if (p->split < 0 || want < 2) {
    p->split = -1;
    return;
  }
  p->segment = moon__ceildiv_i64(l->size[p->split], want);
  p->segments = moon__ceildiv_i64(l->size[p->split], p->segment);
  if (p->segments < 2) p->split = -1;
}

static bool place_partials(printing *p) {
  for (int i = 0; p->segments > 1 && i < p->loop.nout; i++) {
    size_t bytes;
    if (!combines(&p->loop.out[i])) continue;
    p->partial[i] = p->scratch_bytes;
    if (!moon__mul_size((size_t)p->count, moon_dtype_bytes(p->loop.out[i].dtype) * (size_t)p->segments, &bytes) ||
        !moon__align_size(bytes, 64, &bytes) || !moon__add_size(p->scratch_bytes, bytes, &p->scratch_bytes))
      return false;
  }
  return true;
}

/* ---- Steps ---- */

static bool add_loop_step(printing *p, moon_cl_launch *launch) {
  int operands[2 * MOON_LOOP_MAX_ARGS + 1], n = p->loop.nin + p->loop.nout;
  moon_cl_text head = {.runtime = p->t.runtime};
  if (!p->literal) moon__cl_put(&head, "typedef struct { long v[%d]; } params;\n", p->nparams);
  moon__cl_put_bytes(&head, p->t.s, p->t.n);
  moon_cl_unit *u = head.failed || p->t.failed ? NULL : moon__cl_unit(p->d, head.s, head.n);
  moon__free(head.runtime, head.s);
  for (int i = 0; i < n; i++) operands[i] = i;
  if (p->segments > 1) operands[n++] = MOON_CL_SCRATCH;
  int64_t last = p->loop.size[p->inner];
  moon_cl_step_spec s = {.unit = u, .noperands = n, .operands = operands, .nparams = p->literal ? 0 : p->nparams, .params = p->params,
                         .exact = true, .local = {1, 1, 1}, .global = {1, 1, (size_t)p->segments}};
  if (p->d->wide) {
    if (!p->inner_reduced) s.global[0] = (size_t)moon__ceildiv_i64(last, p->piece);
    s.global[1] = (size_t)moon__ceildiv_i64(p->rows, p->block);
  } else {
    s.local[0] = GROUP;
    s.global[0] = p->inner_reduced ? GROUP : (size_t)(moon__ceildiv_i64(last, GROUP) * GROUP);
    s.global[1] = (size_t)moon__min_i64(p->rows, 65535);
  }
  return moon__cl_step(launch, &s);
}

/* y[i] = the segments' results combined, in order; with x NULL, what combining nothing gives. */
static bool add_combine_step(printing *p, moon_cl_launch *launch, int k, bool nothing) {
  const moon_loop_arg *a = &p->loop.out[k];
  const char *type = moon__cl_type(a->dtype, 1);
  moon_cl_text t = {.runtime = p->t.runtime};
  moon__cl_put(&t, "KERNEL void run(OPERAND(0), OPERAND(1), PARAMS, REST) {\nSTART\n__global %s *y = AT(%s, 0);\n", type, type);
  if (!nothing) moon__cl_put(&t, "__global const %s *x = (__global const %s *)(mem1 + off1 + p.v[2]);\n", type, type);
  moon__cl_put(&t, "EACH(i, p.v[0], 1024) {\n%s a = ", type);
  moon__cl_print_identity(&t, a->reduce, a->dtype, 1);
  moon__cl_put(&t, ";\n");
  if (!nothing) moon__cl_put(&t, "for (long s = 0; s < p.v[1]; s++) ");
  if (!nothing) moon__cl_print_combine(&t, a->reduce, a->dtype, 1, "a", "x[s * p.v[0] + i]");
  moon__cl_put(&t, "y[i] = a;\n}\n}\n");
  moon_cl_unit *u = t.failed ? NULL : moon__cl_unit(p->d, t.s, t.n);
  moon__free(t.runtime, t.s);
  int operands[2] = {p->loop.nin + k, nothing ? p->loop.nin + k : MOON_CL_SCRATCH};
  int64_t params[3] = {p->count, p->segments, (int64_t)p->partial[k]};
  moon_cl_step_spec s = {.unit = u, .noperands = 2, .operands = operands, .nparams = 3, .params = params};
  moon__cl_spread(p->d, &s, p->count, 1024);
  return moon__cl_step(launch, &s);
}

static bool add_steps(printing *p, moon_cl_launch *launch, bool empty) {
  if (!empty && !add_loop_step(p, launch)) return false;
  for (int i = 0; i < p->loop.nout; i++) {
    if (combines(&p->loop.out[i]) && (empty || p->segments > 1) && !add_combine_step(p, launch, i, empty)) return false;
  }
  return true;
}

/* Inputs whose memory outputs may take: those that lie as every output does. */
static uint64_t alias_inputs(const moon_loop *l) {
  uint64_t bits = 0;
  for (int i = 0; i < l->nin; i++) {
    bool same = true;
    for (int k = 0; k < l->nout; k++) {
      same &= !combines(&l->out[k]);
      for (int a = 0; a < l->ndim; a++) same &= l->size[a] <= 1 || l->in[i].strides[a] == l->out[k].strides[a];
    }
    if (same) bits |= (uint64_t)1 << i;
  }
  return bits;
}

static bool is_empty(const moon_loop *l) {
  for (int i = 0; i < l->ndim; i++)
    if (l->size[i] == 0) return true;
  return false;
}

static void prepare(printing *p, const moon_loop *loop) {
  p->loop = *loop;
  if (p->loop.ndim == 0) {
    p->loop.ndim = 1;
    p->loop.size[0] = 1;
    p->loop.reduced = 0;
    for (int i = 0; i < loop->nin; i++) p->loop.in[i].strides[0] = 0;
    for (int i = 0; i < loop->nout; i++) p->loop.out[i].strides[0] = 0;
  }
  p->inner = p->loop.ndim - 1;
  p->inner_reduced = is_reduced(p, p->inner);
  for (int i = 0; i < loop->nout; i++) p->reduces |= combines(&loop->out[i]);
  p->lanes = p->d->wide && p->loop.size[p->inner] >= MOON_CL_LANES ? MOON_CL_LANES : 1;
  for (int i = 0; i < loop->nins; i++)
    if (!moon__cl_is_vector_op(&loop->ins[i])) p->lanes = 1;
}

static bool needs_f64(const moon_loop *l) {
  for (int i = 0; i < l->nregs; i++)
    if (l->reg_dtype[i] == MOON_DTYPE_f64) return true;
  return false;
}

static moon_status select_printed(moon_context *ctx, printing *p, const moon_loop *loop, moon_choice *choice) {
  prepare(p, loop);
  bool empty = is_empty(loop);
  if (empty) {
    p->count = p->segments = 1;
    for (int i = 0; i < loop->ndim; i++)
      if (!is_reduced(p, i)) p->count *= loop->size[i];
  } else {
    cut(p);
    if (!place_partials(p)) return moon__fail(ctx, MOON_ESIZE, "loop: partial results are larger than the address space");
    put_kernel(p);
    if (p->nparams > MOST_PARAMS) { /* more than a kernel may be given: once more, with the numbers in the text */
      p->literal = true;
      p->t.n = 0;
      put_kernel(p);
    }
  }
  moon_cl_launch *launch = moon__cl_launch(p->d, choice, p->lanes > 1 ? "opencl_loop_wide" : "opencl_loop", "printed");
  if (!launch || !add_steps(p, launch, empty)) {
    moon__cl_launch_free(ctx->runtime, launch);
    memset(choice, 0, sizeof *choice);
    return moon__fail_memory(ctx);
  }
  choice->scratch_bytes = p->scratch_bytes;
  choice->alias_in = alias_inputs(loop);
  return MOON_OK;
}

moon_status moon__cl_select_loop(moon_context *ctx, moon_device *device, const moon_loop *loop, moon_choice *choice) {
  moon_cl_device *d = device->data;
  if (needs_f64(loop) && !d->f64) return moon__fail(ctx, MOON_EUNSUPPORTED, "opencl: '%s' has no f64", d->model);
  printing *p = moon__alloc(ctx->runtime, sizeof *p);
  if (!p) return moon__fail_memory(ctx);
  p->d = d;
  p->t.runtime = ctx->runtime;
  moon_status s = select_printed(ctx, p, loop, choice);
  moon__free(ctx->runtime, p->t.s);
  moon__free(ctx->runtime, p);
  return s;
}
