/*
** opencl_shim.c: a loader of OpenCL for specs: every function goes to the real loader, but the n-th call gives an error code, as a
** failing device would. shim_arm sets n (0: never) and the code; shim_calls tells the calls since then, shim_calls_of those of one
** function. What cannot fail in a way that a caller sees (releasing) is passed on and not counted.
*/
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cl.h"

void shim_arm(long n, int32_t code);
long shim_calls(void);
long shim_calls_of(const char *name);

static moon_cl real;
static long calls, fail_at;
static int32_t fail_code;
#define ROW(result, name, parameters) {#name, 0},
static struct { const char *name; long calls; } functions[] = {MOON_CL_FUNCTIONS(ROW)};
#undef ROW
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static long *calls_of(const char *name) {
  for (int i = 0; i < FUNCTIONS; i++)
    if (strcmp(functions[i].name, name) == 0) return &functions[i].calls;
  abort(); /* no row of cl.h */
}

void shim_arm(long n, int32_t code) {
  calls = 0;
  for (int i = 0; i < FUNCTIONS; i++) functions[i].calls = 0;
  fail_at = n;
  fail_code = code;
}
long shim_calls(void) { return calls; }
long shim_calls_of(const char *name) { return *calls_of(name); }

static void load(void) {
  void *library = real.clFinish ? NULL : dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
  if (real.clFinish) return;
  if (!library) exit(77);
#define ROW(result, name, parameters) *(void **)&real.name = dlsym(library, #name);
  MOON_CL_FUNCTIONS(ROW)
#undef ROW
}

static int32_t failure(const char *name) {
  load();
  ++*calls_of(name);
  return ++calls == fail_at ? fail_code : 0;
}

#define STATUS(name, parameters, arguments)                      \
  int32_t name parameters;                                       \
  int32_t name parameters {                                      \
    int32_t code = failure(#name);                               \
    return code ? code : real.name arguments;                    \
  }
#define OBJECT(type, name, parameters, arguments)                \
  type name parameters;                                          \
  type name parameters {                                         \
    int32_t code = failure(#name);                               \
    if (!code) return real.name arguments;                       \
    if (error) *error = code;                                    \
    return NULL;                                                 \
  }
#define RELEASE(type, name)                                      \
  int32_t name(type object);                                     \
  int32_t name(type object) { return load(), real.name(object); }

STATUS(clGetPlatformIDs, (uint32_t n, cl_platform *list, uint32_t *count), (n, list, count))
STATUS(clGetPlatformInfo, (cl_platform p, uint32_t what, size_t n, void *to, size_t *size), (p, what, n, to, size))
STATUS(clGetDeviceIDs, (cl_platform p, uint64_t type, uint32_t n, cl_device *list, uint32_t *count), (p, type, n, list, count))
STATUS(clGetDeviceInfo, (cl_device d, uint32_t what, size_t n, void *to, size_t *size), (d, what, n, to, size))
OBJECT(cl_context, clCreateContext,
       (const cl_property *p, uint32_t n, const cl_device *d, void (*f)(const char *, const void *, size_t, void *), void *u, int32_t *error),
       (p, n, d, f, u, error))
OBJECT(cl_queue, clCreateCommandQueue, (cl_context c, cl_device d, uint64_t p, int32_t *error), (c, d, p, error))
OBJECT(cl_mem, clCreateBuffer, (cl_context c, uint64_t flags, size_t n, void *host, int32_t *error), (c, flags, n, host, error))
OBJECT(cl_program, clCreateProgramWithSource, (cl_context c, uint32_t n, const char **s, const size_t *bytes, int32_t *error),
       (c, n, s, bytes, error))
OBJECT(cl_program, clCreateProgramWithBinary,
       (cl_context c, uint32_t n, const cl_device *d, const size_t *bytes, const unsigned char **data, int32_t *status, int32_t *error),
       (c, n, d, bytes, data, status, error))
STATUS(clBuildProgram, (cl_program p, uint32_t n, const cl_device *d, const char *options, void (*f)(cl_program, void *), void *u),
       (p, n, d, options, f, u))
STATUS(clGetProgramBuildInfo, (cl_program p, cl_device d, uint32_t what, size_t n, void *to, size_t *size), (p, d, what, n, to, size))
STATUS(clGetProgramInfo, (cl_program p, uint32_t what, size_t n, void *to, size_t *size), (p, what, n, to, size))
OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char *name, int32_t *error), (p, name, error))
STATUS(clSetKernelArg, (cl_kernel k, uint32_t i, size_t n, const void *x), (k, i, n, x))
STATUS(clEnqueueNDRangeKernel,
       (cl_queue q, cl_kernel k, uint32_t n, const size_t *at, const size_t *global, const size_t *local, uint32_t w, const cl_event *l,
        cl_event *e),
       (q, k, n, at, global, local, w, l, e))
STATUS(clEnqueueReadBuffer,
       (cl_queue q, cl_mem m, uint32_t wait, size_t at, size_t n, void *to, uint32_t w, const cl_event *l, cl_event *e),
       (q, m, wait, at, n, to, w, l, e))
STATUS(clEnqueueWriteBuffer,
       (cl_queue q, cl_mem m, uint32_t wait, size_t at, size_t n, const void *from, uint32_t w, const cl_event *l, cl_event *e),
       (q, m, wait, at, n, from, w, l, e))
STATUS(clEnqueueCopyBuffer,
       (cl_queue q, cl_mem a, cl_mem b, size_t i, size_t k, size_t n, uint32_t w, const cl_event *l, cl_event *e),
       (q, a, b, i, k, n, w, l, e))
STATUS(clEnqueueMarkerWithWaitList, (cl_queue q, uint32_t n, const cl_event *l, cl_event *e), (q, n, l, e))
STATUS(clGetEventInfo, (cl_event e, uint32_t what, size_t n, void *to, size_t *size), (e, what, n, to, size))
RELEASE(cl_event, clReleaseEvent)
STATUS(clFlush, (cl_queue q), (q))
STATUS(clFinish, (cl_queue q), (q))
RELEASE(cl_context, clReleaseContext)
RELEASE(cl_queue, clReleaseCommandQueue)
RELEASE(cl_mem, clReleaseMemObject)
RELEASE(cl_program, clReleaseProgram)
RELEASE(cl_kernel, clReleaseKernel)
