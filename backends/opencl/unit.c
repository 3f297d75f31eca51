/*
** unit.c: kernel sources and the programs that are built from them. A unit is the text of one kernel; each is known once a device.
** Units wait until one of them is run: then all that wait are built together as one program, for a compiler costs far more to start
** than to go on. What was built is kept on disk (cache.c). When a batch does not build, its units are built alone, so that only
** the guilty one fails; it keeps its log and is not tried again.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/map.h"
#include "opencl.h"

enum { NAME_BYTES = 24 };

typedef enum unit_state { PENDING, BUILT, FAILED } unit_state;

struct moon_cl_unit {
  moon_cl_unit *next, *next_pending;
  char *text, *log; /* log: of a build that failed */
  size_t bytes;
  char name[NAME_BYTES]; /* of its kernel, from the hash of its text */
  unit_state state;
  cl_program program; /* shared by the units of a batch; the first of them owns it */
  bool owns_program;
};

/* What every source begins with. */
static const char prelude[] =
    "#define JOIN_(a, b) a##b\n"
    "#define JOIN(a, b) JOIN_(a, b)\n"
    "#define OPERAND(i) __global char *mem##i, ulong off##i\n"
    "#define REST __global char *status_base, ulong status_offset, int launch\n"
    "#define AT(type, i) ((__global type *)(mem##i + off##i))\n"
    "#define STATUS ((__global int *)(status_base + status_offset))\n"
    "#define START if (STATUS[0]) return;\n"
    /* The first bad index of a run is kept, and stops all kernels that come after it. */
    "inline void report(__global int *status, int launch, long value, long limit) {\n"
    "  if (atomic_cmpxchg((volatile __global int *)status, 0, 1) != 0) return;\n"
    "  status[1] = launch; ((__global long *)status)[1] = value; ((__global long *)status)[2] = limit;\n"
    "}\n"
    "#define BAD_INDEX(value, limit) report(STATUS, launch, value, limit)\n"
    "typedef struct { long v[64]; } params64;\n"
    "#define PARAMS params64 p\n"
    /* Comparisons and logic are the same for numbers and vectors of them. */
    "#define EQ(a, b) ((a) == (b))\n#define NE(a, b) ((a) != (b))\n#define LT(a, b) ((a) < (b))\n"
    "#define LE(a, b) ((a) <= (b))\n#define GT(a, b) ((a) > (b))\n#define GE(a, b) ((a) >= (b))\n"
    "#define LOWEST (-INFINITY)\n#define WHERE(p, a, b) ((p) ? (a) : (b))\n"
    "#define NOT(p) (!(p))\n#define AND(p, q) ((p) && (q))\n#define OR(p, q) ((p) || (q))\n#define XOR(p, q) (!(p) != !(q))\n"
    "#define CAST_uchar(x) ((x) != (x) ? (uchar)0 : convert_uchar_sat(x))\n#define CAST_int(x) ((x) != (x) ? 0 : convert_int_sat(x))\n"
    "#define CAST_long(x) ((x) != (x) ? 0 : convert_long_sat(x))\n"
    "#define MAX(a, b) (((a) != (a) || (a) > (b)) ? (a) : (b))\n#define MIN(a, b) (((a) != (a) || (a) < (b)) ? (a) : (b))\n";
/* A work-item of the wide family does a piece of the work alone; in the other, neighbours do neighbouring elements. */
static const char wide_prelude[] =
    "#define KERNEL __kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
    "#define WIDE 1\n"
    "#define EACH(i, n, block) for (long i = get_global_id(0) * (long)(block), i##_end = min((long)(n), i + (long)(block)); i < i##_end; i++)\n";
static const char narrow_prelude[] =
    "#define KERNEL __kernel __attribute__((reqd_work_group_size(64, 1, 1)))\n"
    "#define WIDE 0\n"
    "#define EACH(i, n, block) for (long i = get_global_id(0); i < (long)(n); i += get_global_size(0))\n";
static const char f64_prelude[] = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n#define F64 1\n#define WORK double\n";
static const char no_f64_prelude[] = "#define F64 0\n#define WORK float\n";
static const char options[] = "-cl-std=CL1.2";

/* ---- Units ---- */

moon_cl_unit *moon__cl_unit(moon_cl_device *d, const char *text, size_t text_bytes) {
  moon_runtime *runtime = d->device->runtime;
  moon_cl_unit *u;
  moon__mutex_lock(d->lock);
  for (u = d->first_unit; u; u = u->next) {
    if (u->bytes == text_bytes && memcmp(u->text, text, text_bytes) == 0) break;
  }
  if (!u && (u = moon__alloc(runtime, sizeof *u))) {
    u->text = moon__alloc(runtime, text_bytes + 1);
    if (u->text) {
      memcpy(u->text, text, text_bytes);
      u->bytes = text_bytes;
      snprintf(u->name, sizeof u->name, "k%016llx", (unsigned long long)moon__hash_bytes(1, text, text_bytes));
      u->next = d->first_unit;
      u->next_pending = d->pending;
      d->first_unit = d->pending = u;
    } else {
      moon__free(runtime, u);
      u = NULL;
    }
  }
  moon__mutex_unlock(d->lock);
  return u;
}

bool moon__cl_unit_failed(const moon_cl_unit *u) { return u->state == FAILED; }

void moon__cl_units_free(moon_cl_device *d) {
  for (moon_cl_unit *u = d->first_unit, *next; u; u = next) {
    moon_runtime *runtime = d->device->runtime;
    next = u->next;
    if (u->owns_program) d->cl.clReleaseProgram(u->program);
    moon__free(runtime, u->text);
    moon__free(runtime, u->log);
    moon__free(runtime, u);
  }
  d->first_unit = d->pending = NULL;
}

/* ---- Building ---- */

static void put_source(moon_cl_device *d, const moon_cl_unit *first, bool alone, moon_cl_text *t) {
  moon__cl_put(t, "%s%s%s", d->f64 ? f64_prelude : no_f64_prelude, prelude, d->wide ? wide_prelude : narrow_prelude);
  for (const moon_cl_unit *u = first; u; u = alone ? NULL : u->next_pending) {
    moon__cl_put(t, "#undef NAME\n#define NAME %s\n", u->name);
    moon__cl_put_bytes(t, u->text, u->bytes);
  }
}

static void keep_log(moon_cl_device *d, cl_program program, moon_cl_unit *u) {
  size_t bytes = 0;
  if (d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS) return;
  if (bytes > 65536) bytes = 65536;
  u->log = moon__alloc(d->device->runtime, bytes + 1);
  if (u->log && d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, bytes, u->log, NULL) != CL_SUCCESS) u->log[0] = '\0';
}

/* A program from what the disk holds; NULL: nothing, or nothing that the device still takes. */
static cl_program build_kept(moon_cl_device *d, const moon_cl_text *source) {
  void *binary;
  size_t bytes;
  int32_t status = CL_SUCCESS, code = CL_SUCCESS;
  if (!moon__cl_cache_read(d, source, &binary, &bytes)) return NULL;
  const unsigned char *const data = binary;
  const unsigned char *list[1] = {data};
  cl_program p = d->cl.clCreateProgramWithBinary(d->context, 1, &d->id, &bytes, list, &status, &code);
  moon__free(d->device->runtime, binary);
  if (code != CL_SUCCESS) return NULL;
  if (status == CL_SUCCESS && d->cl.clBuildProgram(p, 1, &d->id, options, NULL, NULL) == CL_SUCCESS) return p;
  d->cl.clReleaseProgram(p);
  return NULL;
}

static void keep_binary(moon_cl_device *d, const moon_cl_text *source, cl_program p) {
  size_t bytes = 0;
  if (!d->cache_folder) return;
  if (d->cl.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) != CL_SUCCESS || bytes == 0) return;
  unsigned char *binary = moon__alloc(d->device->runtime, bytes);
  unsigned char *list[1] = {binary};
  if (binary && d->cl.clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof list, list, NULL) == CL_SUCCESS)
    moon__cl_cache_write(d, source, binary, bytes);
  moon__free(d->device->runtime, binary);
}

/* Builds a source; *code tells what failed. first gets the log. */
static cl_program build(moon_cl_device *d, const moon_cl_text *source, moon_cl_unit *first, int32_t *code) {
  cl_program p = build_kept(d, source);
  *code = CL_SUCCESS;
  if (p) return p;
  const char *text = source->s;
  p = d->cl.clCreateProgramWithSource(d->context, 1, &text, &source->n, code);
  if (*code != CL_SUCCESS) return NULL;
  *code = d->cl.clBuildProgram(p, 1, &d->id, options, NULL, NULL);
  if (*code == CL_SUCCESS) {
    keep_binary(d, source, p);
    return p;
  }
  moon__free(d->device->runtime, first->log);
  first->log = NULL;
  keep_log(d, p, first);
  d->cl.clReleaseProgram(p);
  return NULL;
}

/* Builds `first` and, unless alone, all that wait behind it. */
static moon_status build_units(moon_context *ctx, moon_cl_device *d, moon_cl_unit *first, bool alone) {
  moon_cl_text source = {.runtime = ctx->runtime};
  int32_t code = CL_SUCCESS;
  put_source(d, first, alone, &source);
  cl_program p = source.failed ? NULL : build(d, &source, first, &code);
  bool memory = source.failed;
  moon__free(ctx->runtime, source.s);
  if (memory) return moon__fail_memory(ctx);
  if (!p) return moon__cl_fail(ctx, d, code, "building kernels");
  first->owns_program = true;
  for (moon_cl_unit *u = first; u; u = alone ? NULL : u->next_pending) {
    u->program = p;
    u->state = BUILT;
  }
  return MOON_OK;
}

/* Builds all that wait. Units that do not build become FAILED. */
static void build_pending(moon_context *ctx, moon_cl_device *d) {
  moon_cl_unit *first = d->pending;
  d->pending = NULL;
  if (!first || build_units(ctx, d, first, false) == MOON_OK) return;
  for (moon_cl_unit *u = first, *next; u; u = next) {
    next = u->next_pending;
    if (build_units(ctx, d, u, true) != MOON_OK) u->state = FAILED;
  }
  moon_error_clear(ctx);
}

moon_status moon__cl_kernel(moon_context *ctx, moon_cl_device *d, moon_cl_unit *u, cl_kernel *kernel) {
  int32_t code = CL_SUCCESS;
  if (u->state == PENDING) build_pending(ctx, d);
  if (u->state == FAILED)
    return moon__fail(ctx, MOON_EDEVICE, "opencl: a kernel did not build on '%s': %s", d->model, u->log ? u->log : "no log");
  *kernel = d->cl.clCreateKernel(u->program, u->name, &code);
  return code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "making a kernel");
}
