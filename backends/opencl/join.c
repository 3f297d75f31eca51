/*
** join.c: small steps that follow each other in a run of a program, run as one kernel: asking for a kernel takes some microseconds,
** as long as the work of many a step. Steps are kept until the run asks for what is not small, or ends; then their sequence becomes
** a "join": a kernel in which each unit is a function, and one work-item calls the functions for the steps in turn, and for each step's
** work-items. Which function, its numbers and its operands stand in a table, so that the source depends on the units alone. A step
** gives the bits that it gives by itself.
**
** A join belongs to the first step of its sequence. It knows which operands lie in the same buffer and how far from each other;
** where that changes, another one is made. Sequences that are cut short by chance (a read between the slices of a run) run step by step.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"
#include "family.h"
#include "step.h"

/* SLOTS: buffers; two arguments each, of the 1024 bytes that every device takes. JOINS: of sequences that begin with the same step. */
enum { SLOTS = 56, JOINS = 4 };

struct moon_cl_join {
  moon_cl_join *next;
  int nsteps, nunits, nslots;
  moon_cl_step *steps[MOON_CL_WAITING];
  moon_cl_unit *units[MOON_CL_WAITING]; /* of the steps; the join's own is `unit` */
  moon_cl_unit *unit;
  cl_kernel kernel; /* NULL: not made yet */
  cl_mem table;
  moon_cl_bound set[SLOTS + 1]; /* what the arguments say; slot i lies where its first operand does; the last is the status block */
  int32_t *slot;                /* of each operand of each step; -1: nobody uses it */
  size_t *distance;             /* of the operand from the first of its slot */
  bool seen, apart;             /* seen: it has run before, step by step; apart: its kernel does not build */
};

void moon__cl_joins_free(moon_runtime *runtime, moon_cl_device *d, moon_cl_join *j) {
  for (moon_cl_join *next; j; j = next) {
    next = j->next;
    if (j->kernel) d->cl.clReleaseKernel(j->kernel);
    if (j->table) d->cl.clReleaseMemObject(j->table);
    moon__cl_unit_release(d, j->unit);
    moon__free(runtime, j->slot);
    moon__free(runtime, j->distance);
    moon__free(runtime, j);
  }
}

/* ---- Where operands lie ---- */

/* Gives each operand of a step a slot, new ones for buffers that are not known yet; false: there are too many. */
static bool give_slots(moon_cl_join *j, const moon_cl_step *s, size_t at) {
  for (int i = 0; i < s->noperands; i++) {
    int slot = 0;
    j->slot[at + (size_t)i] = -1;
    if (!s->now[i].buffer) continue;
    while (slot < j->nslots && j->set[slot].buffer != s->now[i].buffer) slot++;
    if (slot == SLOTS) return false;
    if (slot == j->nslots) j->set[j->nslots++] = s->now[i];
    j->slot[at + (size_t)i] = slot;
    j->distance[at + (size_t)i] = s->now[i].offset - j->set[slot].offset;
  }
  return true;
}

/* Finds where the slots lie in this run. False: operands lie otherwise to each other than when the join was made. */
static bool find_slots(const moon_cl_join *j, moon_cl_bound *place) {
  size_t at = 0;
  int known = 0;
  for (int k = 0; k < j->nsteps; k++) {
    const moon_cl_step *s = j->steps[k];
    for (int i = 0; i < s->noperands; i++, at++) {
      int slot = j->slot[at];
      if (slot == known) place[known++] = s->now[i];
      const moon_cl_buffer *buffer = slot < 0 ? NULL : place[slot].buffer;
      if (s->now[i].buffer != buffer || (buffer && s->now[i].offset - place[slot].offset != j->distance[at])) return false;
    }
  }
  place[j->nslots] = j->steps[0]->now[j->steps[0]->noperands];
  return true;
}

/* ---- Source ---- */

/* What the words of a unit's text mean in a join. Of a step the table holds: function, numbers until the next step, launch, work-items
** along three axes; slot and distance of each operand; parameters. */
static const char head[] = "#undef KERNEL\n#define KERNEL static\n"
                           "#undef REST\n#define REST __global char *status_base, ulong status_offset, int launch, long item0, "
                           "long item1, long item2, long items0\n"
                           "#undef get_global_id\n#define get_global_id(axis) ((axis) == 0 ? item0 : (axis) == 1 ? item1 : item2)\n"
                           "#undef get_global_size\n#define get_global_size(axis) items0\n";
static const char middle[] =
    "#define MEMORY(i) base[t[6 + 2 * i]], offset[t[6 + 2 * i]] + t[7 + 2 * i], \n"
    "#define WITH_REST status_base, status_offset, (int)t[2], x, y, z, t[3]\n"
    "#define ITEMS for (long z = 0; z < t[5]; z++) for (long y = 0; y < t[4]; y++) for (long x = 0; x < t[3]; x++)\n"
    "__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void run(";
enum { HEADER = 6 };

static void put_call(moon_cl_text *t, const moon_cl_step *s, int number) {
  moon__cl_put(t, "case %d: ITEMS part%d(", number, number);
  for (int i = 0; i < s->noperands; i++) moon__cl_put(t, "MEMORY(%d)", i);
  int at = HEADER + 2 * s->noperands;
  if (s->exact && s->nparams) moon__cl_put(t, "*(__global const params%d *)(t + %d), ", number, at);
  else if (s->nparams) moon__cl_put(t, "*(__global const params64 *)(t + %d), ", at);
  moon__cl_put(t, "WITH_REST); break;\n");
}

static void put_source(const moon_cl_join *j, moon_cl_text *t) {
  moon__cl_put(t, "%s", head);
  for (int i = 0; i < j->nunits; i++) moon__cl_put_part(t, j->units[i], i);
  moon__cl_put(t, "%s", middle);
  for (int i = 0; i < j->nslots; i++) moon__cl_put(t, "OPERAND(%d), ", i);
  moon__cl_put(
      t, "__global const long *t, int steps, __global char *status_base, ulong status_offset) {\n__global char *const base[] = {");
  for (int i = 0; i < j->nslots; i++) moon__cl_put(t, "mem%d, ", i);
  moon__cl_put(t, "0}; const ulong offset[] = {");
  for (int i = 0; i < j->nslots; i++) moon__cl_put(t, "off%d, ", i);
  moon__cl_put(t, "0};\nfor (int i = 0; i < steps; i++, t += t[1]) switch (t[0]) {\n");
  for (int i = 0, known = 0; i < j->nsteps; i++) {
    if (j->steps[i]->unit == j->units[known]) put_call(t, j->steps[i], known++);
    if (known == j->nunits) break;
  }
  moon__cl_put(t, "}\n}\n");
}

/* ---- Making ---- */

static size_t table_numbers(const moon_cl_step *s) { return HEADER + 2 * (size_t)s->noperands + (size_t)s->nparams; }

static int unit_number(const moon_cl_join *j, const moon_cl_unit *u) {
  int i = 0;
  while (i < j->nunits && j->units[i] != u) i++;
  return i;
}

static void fill_table(const moon_cl_join *j, int64_t *t) {
  size_t at = 0;
  for (int k = 0; k < j->nsteps; k++) {
    const moon_cl_step *s = j->steps[k];
    const int64_t header[HEADER] = {unit_number(j, s->unit), (int64_t)table_numbers(s), s->launch,
                                    (int64_t)s->global[0],   (int64_t)s->global[1],     (int64_t)s->global[2]};
    memcpy(t, header, sizeof header);
    t += HEADER;
    for (int i = 0; i < s->noperands; i++, at++, t += 2) {
      t[0] = j->slot[at] < 0 ? j->nslots : j->slot[at];
      t[1] = (int64_t)j->distance[at];
    }
    if (s->nparams) memcpy(t, s->params, (size_t)s->nparams * sizeof *t);
    t += s->nparams;
  }
}

static moon_status make_table(moon_context *ctx, moon_cl_device *d, moon_cl_join *j) {
  size_t numbers = 0;
  int32_t code = CL_SUCCESS;
  for (int k = 0; k < j->nsteps; k++) numbers += table_numbers(j->steps[k]);
  int64_t *t = moon__alloc_array(ctx->runtime, numbers, sizeof *t);
  if (!t) return moon__fail_memory(ctx);
  fill_table(j, t);
  j->table = d->cl.clCreateBuffer(d->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, numbers * sizeof *t, t, &code);
  moon__free(ctx->runtime, t);
  return code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "making the table of kernels");
}

static moon_status make_unit(moon_context *ctx, moon_cl_device *d, moon_cl_join *j) {
  moon_cl_text t = {.runtime = ctx->runtime};
  put_source(j, &t);
  j->unit = t.failed ? NULL : moon__cl_unit_locked(d, t.s, t.n);
  moon__free(t.runtime, t.s);
  return j->unit ? MOON_OK : moon__fail_memory(ctx);
}

/* A join of as many of these steps as one can take. NULL: memory is out; then they run by themselves. */
static moon_cl_join *make_join(moon_context *ctx, moon_cl_step **steps, int n) {
  size_t operands = 0, at = 0;
  for (int i = 0; i < n; i++) operands += (size_t)steps[i]->noperands;
  moon_cl_join *j = moon__alloc(ctx->runtime, sizeof *j);
  if (j) j->slot = moon__alloc_array(ctx->runtime, operands, sizeof *j->slot);
  if (j) j->distance = moon__alloc_array(ctx->runtime, operands, sizeof *j->distance);
  if (!j || !j->slot || !j->distance) {
    if (j) moon__free(ctx->runtime, j->slot);
    moon__free(ctx->runtime, j);
    return NULL;
  }
  for (int i = 0; i < n; i++) {
    int slots = j->nslots;
    if (!give_slots(j, steps[i], at)) {
      j->nslots = slots;
      break;
    }
    at += (size_t)steps[i]->noperands;
    j->steps[j->nsteps++] = steps[i];
    int number = unit_number(j, steps[i]->unit);
    if (number == j->nunits) j->units[j->nunits++] = steps[i]->unit;
  }
  j->next = steps[0]->joins;
  steps[0]->joins = j;
  return j;
}

/* ---- Running ---- */

static int32_t set_arguments(const moon_cl *cl, moon_cl_join *j, const moon_cl_bound *place, bool fresh) {
  int32_t code = CL_SUCCESS;
  uint32_t at = 0;
  for (int i = 0; code == CL_SUCCESS && i <= j->nslots; i++, at += 2) {
    if (i == j->nslots) {
      if (fresh) code = cl->clSetKernelArg(j->kernel, at, sizeof j->table, &j->table);
      if (fresh && code == CL_SUCCESS) code = cl->clSetKernelArg(j->kernel, at + 1, sizeof j->nsteps, &j->nsteps);
      at += 2;
    }
    if (code == CL_SUCCESS && (fresh || !moon__cl_same_bound(place[i], j->set[i])))
      code = moon__cl_set_place(cl, j->kernel, at, place[i]);
    j->set[i] = place[i];
  }
  return code;
}

static moon_status run_join(moon_context *ctx, moon_cl_device *d, moon_cl_join *j, const moon_cl_bound *place) {
  static const size_t one[3] = {1, 1, 1};
  const char *what = j->steps[0]->what;
  moon_status s = j->unit ? MOON_OK : make_unit(ctx, d, j);
  bool fresh = !j->kernel;
  if (s == MOON_OK && fresh) s = moon__cl_kernel(ctx, d, j->unit, what, &j->kernel);
  j->apart = s != MOON_OK && j->unit && moon__cl_unit_failed(j->unit);
  if (s == MOON_OK && !j->table) s = make_table(ctx, d, j);
  if (s != MOON_OK) return s;
  int32_t code = set_arguments(&d->cl, j, place, fresh);
  if (code == CL_SUCCESS) code = d->cl.clEnqueueNDRangeKernel(d->queue, j->kernel, 3, NULL, one, one, 0, NULL, NULL);
  if (code == CL_SUCCESS) return MOON_OK;
  d->cl.clReleaseKernel(j->kernel); /* its arguments may be half set */
  j->kernel = NULL;
  return moon__cl_fail(ctx, d, code, "running '%s' and what follows it", what);
}

/* The join of a sequence that begins like this, which the steps' places suit; *nknown: of how many sequences there are joins. */
static moon_cl_join *find_join(moon_cl_step **steps, int n, moon_cl_bound *place, int *nknown) {
  *nknown = 0;
  for (moon_cl_join *j = steps[0]->joins; j; j = j->next, ++*nknown) {
    if (j->nsteps <= n && memcmp(j->steps, steps, (size_t)j->nsteps * sizeof *steps) == 0 && find_slots(j, place)) return j;
  }
  return NULL;
}

/* A kernel for all pays for a sequence that comes again. It pays at once when most units are not built yet: one program is built
** faster than several. */
static bool pays(moon_cl_join *j) {
  int missing = 0;
  for (int i = 0; i < j->nunits; i++) missing += !moon__cl_unit_built(j->units[i]);
  bool again = j->seen;
  j->seen = true;
  return j->nsteps > 1 && !j->apart && (j->kernel || again || 2 * missing > j->nunits + 1);
}

/* The join that these steps begin with; NULL: they do not, or memory is out. */
static moon_cl_join *join_of(moon_context *ctx, moon_cl_step **steps, int n, bool regular, moon_cl_bound *place) {
  int known = 0;
  if (n < 2) return NULL;
  moon_cl_join *j = find_join(steps, n, place, &known);
  if (j || !regular || known == JOINS) return j;
  j = make_join(ctx, steps, n);
  if (j) (void)find_slots(j, place);
  return j;
}

/* Runs some of these steps, at least one, and gives their number. */
static int run_some(moon_context *ctx, moon_cl_device *d, moon_cl_step **steps, int n, bool regular, moon_status *s) {
  moon_cl_bound place[SLOTS + 1];
  moon_cl_join *j = join_of(ctx, steps, n, regular, place);
  int some = j ? j->nsteps : 1;
  if (j && pays(j)) {
    *s = run_join(ctx, d, j, place);
    if (!j->apart) return some;
  }
  *s = MOON_OK;
  for (int i = 0; *s == MOON_OK && i < some; i++) *s = moon__cl_step_run(ctx, d, steps[i]);
  return some;
}

moon_status moon__cl_submit(moon_context *ctx, moon_cl_device *d, bool regular) {
  moon_status s = MOON_OK;
  int n = d->nwaiting;
  d->nwaiting = 0;
  for (int i = 0; s == MOON_OK && i < n;) i += run_some(ctx, d, d->waiting + i, n - i, regular, &s);
  return s;
}

moon_status moon__cl_defer(moon_context *ctx, moon_cl_device *d, moon_cl_step *step, const void *run) {
  moon_status s = MOON_OK;
  if (d->nwaiting > 0) {
    const moon_cl_step *last = d->waiting[d->nwaiting - 1];
    bool follows = d->waiting_run == run && (step->launch > last->launch || last->next == step);
    if (!follows || d->nwaiting == MOON_CL_WAITING) s = moon__cl_submit(ctx, d, follows);
  }
  d->waiting[d->nwaiting++] = step;
  d->waiting_run = run;
  return s;
}

static bool works_on(const moon_cl_step *s, const moon_cl_buffer *buffer) {
  for (int i = 0; i <= s->noperands; i++)
    if (s->now[i].buffer == buffer) return true;
  return false;
}

void moon__cl_forget(moon_cl_device *d, const moon_cl_step *s, const moon_cl_buffer *buffer) {
  moon__mutex_lock(d->lock);
  for (int i = 0; i < d->nwaiting; i++)
    if (d->waiting[i] == s || (buffer && works_on(d->waiting[i], buffer))) d->nwaiting = 0;
  moon__mutex_unlock(d->lock);
}
