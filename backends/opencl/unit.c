/*
** unit.c: kernel sources and the programs that are built from them. A unit is the text of one kernel and becomes a program of its own
** when it is first run: what PoCL spends on a kernel grows with all the others of its program. Each is known once a device, and stays
** when its last user has gone, until memory is asked back. What was built is kept on disk (cache.c). A unit that does not build keeps
** its log and is not tried again.
*/
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/map.h"
#include "opencl.h"

struct moon_cl_unit {
  moon_cl_unit *next;
  char *text, *log; /* log: of a build that failed */
  size_t bytes;
  cl_program program; /* NULL: not built yet */
  int users; /* steps of launches */
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
    /* By a minimax fit below 5/8, above by exp: PoCL's own takes several times as long. */
    "#define TANH_FIT(z) fma(fma(fma(fma(z, -0.005717047919f, 0.02065059155f), z, -0.05374349971f), z, 0.133314913f), z, -0.3333328392f)\n"
    "#define TANH_F32(x) copysign(fabs(x) < 0.625f ? fma(TANH_FIT((x) * (x)) * ((x) * (x)), x, x) "
    ": 1.0f - 2.0f / (exp(2.0f * fabs(x)) + 1.0f), x)\n"
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

moon_cl_unit *moon__cl_unit_locked(moon_cl_device *d, const char *text, size_t text_bytes) {
  moon_runtime *runtime = d->device->runtime;
  moon_cl_unit *u;
  for (u = d->first_unit; u; u = u->next) {
    if (u->bytes == text_bytes && memcmp(u->text, text, text_bytes) == 0) break;
  }
  if (!u && (u = moon__alloc(runtime, sizeof *u))) {
    u->text = moon__alloc(runtime, text_bytes + 1);
    if (u->text) {
      memcpy(u->text, text, text_bytes);
      u->bytes = text_bytes;
      u->next = d->first_unit;
      d->first_unit = u;
    } else {
      moon__free(runtime, u);
      u = NULL;
    }
  }
  if (u) u->users++;
  return u;
}

moon_cl_unit *moon__cl_unit(moon_cl_device *d, const char *text, size_t text_bytes) {
  moon__mutex_lock(d->lock);
  moon_cl_unit *u = moon__cl_unit_locked(d, text, text_bytes);
  moon__mutex_unlock(d->lock);
  return u;
}

bool moon__cl_unit_built(const moon_cl_unit *u) { return u->program != NULL; }
bool moon__cl_unit_failed(const moon_cl_unit *u) { return u->log != NULL; }

/* What it defines at the beginning of a line is undone behind it. */
void moon__cl_put_part(moon_cl_text *t, const moon_cl_unit *u, int number) {
  static const char define[] = "#define ";
  moon__cl_put(t, "#define run part%d\n#define params params%d\n", number, number);
  moon__cl_put_bytes(t, u->text, u->bytes);
  moon__cl_put(t, "\n#undef run\n#undef params\n");
  for (const char *line = u->text; line; line = strchr(line, '\n'), line += line != NULL) {
    if (strncmp(line, define, sizeof define - 1) != 0) continue;
    const char *name = line + sizeof define - 1;
    moon__cl_put(t, "#undef %.*s\n", (int)strcspn(name, " (\n"), name);
  }
}

void moon__cl_unit_release(moon_cl_device *d, moon_cl_unit *u) {
  moon__mutex_lock(d->lock);
  if (u) u->users--;
  moon__mutex_unlock(d->lock);
}

static void free_unit(moon_cl_device *d, moon_cl_unit *u) {
  moon_runtime *runtime = d->device->runtime;
  if (u->program) d->cl.clReleaseProgram(u->program);
  moon__free(runtime, u->text);
  moon__free(runtime, u->log);
  moon__free(runtime, u);
}

/* Frees units: all, or those without users. */
static void free_units(moon_cl_device *d, bool all) {
  for (moon_cl_unit **at = &d->first_unit; *at;) {
    moon_cl_unit *u = *at;
    if (all || u->users == 0) {
      *at = u->next;
      free_unit(d, u);
    } else {
      at = &u->next;
    }
  }
}

void moon__cl_units_free(moon_cl_device *d) { free_units(d, true); }

void moon__cl_units_trim(moon_cl_device *d) {
  moon__mutex_lock(d->lock);
  free_units(d, false);
  moon__mutex_unlock(d->lock);
}

/* ---- Building ---- */

static void put_source(const moon_cl_device *d, const moon_cl_unit *u, moon_cl_text *t) {
  moon__cl_put(t, "%s%s%s", d->f64 ? f64_prelude : no_f64_prelude, prelude, d->wide ? wide_prelude : narrow_prelude);
  moon__cl_put_bytes(t, u->text, u->bytes);
}

static void keep_log(moon_cl_device *d, cl_program program, moon_cl_unit *u) {
  size_t bytes = 0;
  if (d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS) return;
  if (bytes > 65536) bytes = 65536;
  u->log = moon__alloc(d->device->runtime, bytes + 1);
  if (u->log && d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, bytes, u->log, NULL) != CL_SUCCESS) u->log[0] = '\0';
}

static cl_program load(const moon_cl_device *d, const unsigned char *binary, size_t bytes) {
  int32_t status = CL_SUCCESS, code = CL_SUCCESS;
  cl_program p = d->cl.clCreateProgramWithBinary(d->context, 1, &d->id, &bytes, &binary, &status, &code);
  if (code != CL_SUCCESS) return NULL;
  if (status == CL_SUCCESS && d->cl.clBuildProgram(p, 1, &d->id, options, NULL, NULL) == CL_SUCCESS) return p;
  d->cl.clReleaseProgram(p);
  return NULL;
}

/* A program from what the disk holds; NULL: nothing, or nothing that the device still takes, or (*log set) it did not build. */
static cl_program load_kept(moon_cl_device *d, const moon_cl_text *source, char **log) {
  void *data;
  size_t bytes;
  bool failed;
  if (!moon__cl_cache_read(d, source, &data, &bytes, &failed)) return NULL;
  if (failed) {
    *log = data;
    return NULL;
  }
  cl_program p = load(d, data, bytes);
  moon__free(d->device->runtime, data);
  return p;
}

/* Keeps the binary of a program and gives a program made of it, which takes its place: PoCL would compile the first a second time,
** for the launch. */
static cl_program keep(moon_cl_device *d, const moon_cl_text *source, cl_program p) {
  size_t bytes = 0;
  if (!d->cache_folder) return p;
  if (d->cl.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) != CL_SUCCESS || bytes == 0) return p;
  unsigned char *binary = moon__alloc(d->device->runtime, bytes);
  unsigned char *list[1] = {binary};
  cl_program loaded = NULL;
  if (binary && d->cl.clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof list, list, NULL) == CL_SUCCESS) {
    moon__cl_cache_write(d, source, binary, bytes, false);
    loaded = load(d, binary, bytes);
  }
  moon__free(d->device->runtime, binary);
  if (loaded) d->cl.clReleaseProgram(p);
  return loaded ? loaded : p;
}

/* Builds a unit's source; *code tells what failed, u->log why. */
static cl_program build(moon_cl_device *d, const moon_cl_text *source, moon_cl_unit *u, int32_t *code) {
  cl_program p = load_kept(d, source, &u->log);
  *code = u->log ? CL_BUILD_PROGRAM_FAILURE : CL_SUCCESS;
  d->kept += p != NULL;
  if (p || u->log) return p;
  const char *text = source->s;
  p = d->cl.clCreateProgramWithSource(d->context, 1, &text, &source->n, code);
  if (*code != CL_SUCCESS) return NULL;
  *code = d->cl.clBuildProgram(p, 1, &d->id, options, NULL, NULL);
  if (*code == CL_SUCCESS) {
    d->built++;
    return keep(d, source, p);
  }
  keep_log(d, p, u);
  if (u->log && *code == CL_BUILD_PROGRAM_FAILURE) moon__cl_cache_write(d, source, u->log, strlen(u->log) + 1, true);
  d->cl.clReleaseProgram(p);
  return NULL;
}

/* A failure that left no log is not the source's fault: it may be tried again. */
static moon_status build_unit(moon_context *ctx, moon_cl_device *d, moon_cl_unit *u) {
  moon_cl_text source = {.runtime = ctx->runtime};
  int32_t code = CL_SUCCESS;
  put_source(d, u, &source);
  if (!source.failed) u->program = build(d, &source, u, &code);
  moon__free(ctx->runtime, source.s);
  if (source.failed) return moon__fail_memory(ctx);
  return u->program || u->log ? MOON_OK : moon__cl_fail(ctx, d, code, "building kernels");
}

static moon_status make_kernel(moon_context *ctx, moon_cl_device *d, moon_cl_unit *u, const char *what, cl_kernel *kernel) {
  int32_t code = CL_SUCCESS;
  moon_status s = u->program || u->log ? MOON_OK : build_unit(ctx, d, u);
  if (s != MOON_OK) return s;
  if (u->log) return moon__fail(ctx, MOON_EDEVICE, "opencl: kernel for '%s' did not build on '%s': %s", what, d->model, u->log);
  *kernel = d->cl.clCreateKernel(u->program, "run", &code);
  return code == CL_SUCCESS ? MOON_OK : moon__cl_fail(ctx, d, code, "making the kernel of '%s'", what);
}

moon_status moon__cl_kernel(moon_context *ctx, moon_cl_device *d, moon_cl_unit *u, const char *what, cl_kernel *kernel) {
  double began = moon__clock_us();
  moon_status s = make_kernel(ctx, d, u, what, kernel);
  d->build_us += moon__clock_us() - began;
  return s;
}
