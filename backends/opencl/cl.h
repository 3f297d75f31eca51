/*
** cl.h: as much of the OpenCL API as the backend calls, declared here: no header of OpenCL is needed to build. The functions come
** from the ICD loader, which cl.c opens when first asked. Codes and names are those of the OpenCL 1.2 specification.
*/
#ifndef MOON_CL_H
#define MOON_CL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cl_platform_object *cl_platform;
typedef struct cl_device_object *cl_device;
typedef struct cl_context_object *cl_context;
typedef struct cl_queue_object *cl_queue;
typedef struct cl_mem_object *cl_mem;
typedef struct cl_program_object *cl_program;
typedef struct cl_kernel_object *cl_kernel;
typedef struct cl_event_object *cl_event;
typedef intptr_t cl_property;

/* ROW(result, name, parameters) for every function that is called. */
#define MOON_CL_FUNCTIONS(ROW)                                                                                              \
  ROW(int32_t, clGetPlatformIDs, (uint32_t, cl_platform *, uint32_t *))                                                     \
  ROW(int32_t, clGetPlatformInfo, (cl_platform, uint32_t, size_t, void *, size_t *))                                        \
  ROW(int32_t, clGetDeviceIDs, (cl_platform, uint64_t, uint32_t, cl_device *, uint32_t *))                                  \
  ROW(int32_t, clGetDeviceInfo, (cl_device, uint32_t, size_t, void *, size_t *))                                            \
  ROW(cl_context, clCreateContext,                                                                                          \
      (const cl_property *, uint32_t, const cl_device *, void (*)(const char *, const void *, size_t, void *), void *, int32_t *)) \
  ROW(int32_t, clReleaseContext, (cl_context))                                                                              \
  ROW(cl_queue, clCreateCommandQueue, (cl_context, cl_device, uint64_t, int32_t *))                                         \
  ROW(int32_t, clReleaseCommandQueue, (cl_queue))                                                                           \
  ROW(cl_mem, clCreateBuffer, (cl_context, uint64_t, size_t, void *, int32_t *))                                            \
  ROW(int32_t, clReleaseMemObject, (cl_mem))                                                                                \
  ROW(cl_program, clCreateProgramWithSource, (cl_context, uint32_t, const char **, const size_t *, int32_t *))              \
  ROW(cl_program, clCreateProgramWithBinary,                                                                                \
      (cl_context, uint32_t, const cl_device *, const size_t *, const unsigned char **, int32_t *, int32_t *))              \
  ROW(int32_t, clBuildProgram, (cl_program, uint32_t, const cl_device *, const char *, void (*)(cl_program, void *), void *)) \
  ROW(int32_t, clGetProgramBuildInfo, (cl_program, cl_device, uint32_t, size_t, void *, size_t *))                          \
  ROW(int32_t, clGetProgramInfo, (cl_program, uint32_t, size_t, void *, size_t *))                                          \
  ROW(int32_t, clReleaseProgram, (cl_program))                                                                              \
  ROW(cl_kernel, clCreateKernel, (cl_program, const char *, int32_t *))                                                     \
  ROW(int32_t, clReleaseKernel, (cl_kernel))                                                                                \
  ROW(int32_t, clSetKernelArg, (cl_kernel, uint32_t, size_t, const void *))                                                 \
  ROW(int32_t, clEnqueueNDRangeKernel,                                                                                      \
      (cl_queue, cl_kernel, uint32_t, const size_t *, const size_t *, const size_t *, uint32_t, const cl_event *, cl_event *)) \
  ROW(int32_t, clEnqueueReadBuffer,                                                                                         \
      (cl_queue, cl_mem, uint32_t, size_t, size_t, void *, uint32_t, const cl_event *, cl_event *))                         \
  ROW(int32_t, clEnqueueWriteBuffer,                                                                                        \
      (cl_queue, cl_mem, uint32_t, size_t, size_t, const void *, uint32_t, const cl_event *, cl_event *))                   \
  ROW(int32_t, clEnqueueCopyBuffer,                                                                                         \
      (cl_queue, cl_mem, cl_mem, size_t, size_t, size_t, uint32_t, const cl_event *, cl_event *))                           \
  ROW(int32_t, clEnqueueMarkerWithWaitList, (cl_queue, uint32_t, const cl_event *, cl_event *))                              \
  ROW(int32_t, clGetEventInfo, (cl_event, uint32_t, size_t, void *, size_t *))                                              \
  ROW(int32_t, clReleaseEvent, (cl_event))                                                                                  \
  ROW(int32_t, clFlush, (cl_queue))                                                                                         \
  ROW(int32_t, clFinish, (cl_queue))

typedef struct moon_cl {
#define ROW(result, name, parameters) result(*name) parameters;
  MOON_CL_FUNCTIONS(ROW)
#undef ROW
} moon_cl;

enum {
  CL_SUCCESS = 0,
  CL_COMPLETE = 0,
  CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11D3,
  CL_DEVICE_NOT_FOUND = -1,
  CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
  CL_OUT_OF_RESOURCES = -5,
  CL_OUT_OF_HOST_MEMORY = -6,
  CL_BUILD_PROGRAM_FAILURE = -11,
  CL_INVALID_BUFFER_SIZE = -61,
  CL_PLATFORM_NOT_FOUND_KHR = -1001,
  CL_PLATFORM_NAME = 0x0902,
  CL_PLATFORM_VERSION = 0x0901,
  CL_DEVICE_TYPE = 0x1000,
  CL_DEVICE_MAX_COMPUTE_UNITS = 0x1002,
  CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
  CL_DEVICE_GLOBAL_MEM_SIZE = 0x101F,
  CL_DEVICE_AVAILABLE = 0x1027,
  CL_DEVICE_COMPILER_AVAILABLE = 0x1028,
  CL_DEVICE_NAME = 0x102B,
  CL_DRIVER_VERSION = 0x102D,
  CL_DEVICE_VERSION = 0x102F,
  CL_DEVICE_DOUBLE_FP_CONFIG = 0x1032,
  CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT = 0x103A,
  CL_DEVICE_ENDIAN_LITTLE = 0x1026,
  CL_DEVICE_TYPE_CPU = 2,
  CL_DEVICE_TYPE_GPU = 4,
  CL_DEVICE_TYPE_ACCELERATOR = 8,
  CL_MEM_READ_WRITE = 1,
  CL_MEM_READ_ONLY = 4,
  CL_MEM_COPY_HOST_PTR = 32,
  CL_PROGRAM_BUILD_LOG = 0x1183,
  CL_PROGRAM_BINARY_SIZES = 0x1165,
  CL_PROGRAM_BINARIES = 0x1166,
};
#define CL_DEVICE_TYPE_ALL UINT64_C(0xFFFFFFFF)

/* Opens the loader and finds every function. Gives NULL, or what is missing: a library's or a function's name. */
const char *moon__cl_load(const char *library, moon_cl *cl);
/* "CL_OUT_OF_RESOURCES"; codes without a name give "CL error". */
const char *moon__cl_error(int32_t code);
#endif
