/*
** moonlet.h: the public C API of Moonlet, a deep learning framework for Lua written in C.
**
** This is all that an embedder reads and all that is installed. Everything here is opaque and reference counted.
** Life of a model in C:
**   runtime -> context -> values (a symbolic graph) -> graph -> program -> run.
**
** Rules that hold everywhere:
** - A function that can fail returns moon_status, or a pointer that is NULL after a failure; moon_error(ctx) then tells what
**   was wrong, what came and what was expected. Nothing in here prints, aborts, exits or sets signals, locale or FP mode.
** - Builders (functions that return moon_value *) accept NULL values and pass them on, so an expression may be nested and
**   checked once at its end.
** - Values made between moon_scope_open and moon_scope_close die at the close unless something retains them (a graph retains
**   what its outputs reach). Everything else has one owner: whoever got it from a *_new, *_load, *_compile or *_retain call
**   releases it with the matching *_release.
** - Axes and positions count from 0 in C. Sizes are int64_t and count elements; byte counts say so in their name.
** - A context serves one thread at a time. A runtime may be shared by contexts on different threads.
*/
#ifndef MOONLET_H
#define MOONLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOON_API __attribute__((visibility("default")))
#else
#define MOON_API
#endif

#define MOON_VERSION "0.1.0"
#define MOON_MAX_DIMS 8

/* ---- Status: one map of codes and texts. ---- */
#define MOON_STATUS_MAP(ROW)                                                                                                   \
  ROW(OK, "ok")                                                                                                                \
  ROW(EMEMORY, "out of memory")                                                                                                \
  ROW(EARGUMENT, "bad argument")                                                                                               \
  ROW(ESHAPE, "shapes do not fit")                                                                                             \
  ROW(EDTYPE, "dtype does not fit")                                                                                            \
  ROW(EAXIS, "axis out of range")                                                                                              \
  ROW(EINDEX, "index out of range")                                                                                            \
  ROW(ESIZE, "size out of range")                                                                                              \
  ROW(EGRADIENT, "no gradient")                                                                                                \
  ROW(ESTATE, "not possible in this state")                                                                                    \
  ROW(EFORMAT, "malformed data")                                                                                               \
  ROW(EIO, "file could not be read or written")                                                                                \
  ROW(EDEVICE, "device failed")                                                                                                \
  ROW(EUNSUPPORTED, "not supported by this device")                                                                            \
  ROW(EINTERNAL, "internal error")
typedef enum moon_status {
#define MOON_STATUS_ROW(code, text) MOON_##code,
  MOON_STATUS_MAP(MOON_STATUS_ROW)
#undef MOON_STATUS_ROW
      MOON_STATUS_COUNT
} moon_status;

/* ---- Element types, in promotion order (bf16 with f16 gives f32). ROW(name, C type, bytes). bf16 (an f32 without its lower half) and
** f16 (IEEE half precision) are ways to store: an op over them computes in f32 and rounds each of its results once. ---- */
#define MOON_DTYPE_MAP(ROW)                                                                                                    \
  ROW(bool, uint8_t, 1)                                                                                                        \
  ROW(u8, uint8_t, 1)                                                                                                          \
  ROW(i32, int32_t, 4)                                                                                                         \
  ROW(i64, int64_t, 8)                                                                                                         \
  ROW(bf16, uint16_t, 2)                                                                                                       \
  ROW(f16, uint16_t, 2)                                                                                                        \
  ROW(f32, float, 4)                                                                                                           \
  ROW(f64, double, 8)
typedef enum moon_dtype {
#define MOON_DTYPE_ROW(name, ctype, bytes) MOON_DTYPE_##name,
  MOON_DTYPE_MAP(MOON_DTYPE_ROW)
#undef MOON_DTYPE_ROW
      MOON_DTYPE_COUNT
} moon_dtype;

typedef struct moon_runtime moon_runtime;   /* allocator, devices, threads, caches; thread-safe */
typedef struct moon_context moon_context;   /* last error, RNG, default device, traces; one thread at a time */
typedef struct moon_device moon_device;     /* where numbers live and are computed */
typedef struct moon_tensor moon_tensor;     /* numbers: dtype, shape, strides over shared storage */
typedef struct moon_variable moon_variable; /* state that lives between runs */
typedef struct moon_value moon_value;       /* symbolic tensor: one output of a graph node */
typedef struct moon_graph moon_graph;       /* inputs, outputs and effects */
typedef struct moon_program moon_program;   /* a graph compiled for one signature; immutable */
typedef struct moon_run moon_run;           /* arena, bindings and position of a running program */

/* A dim is a size >= 0, or (negative) a handle of an expression over named unknowns, valid in its runtime. */
typedef int64_t moon_dim;
typedef struct moon_shape {
  int32_t ndim;
  int32_t reserved; /* 0 */
  moon_dim dim[MOON_MAX_DIMS];
} moon_shape;
typedef struct moon_type {
  moon_dtype dtype;
  moon_shape shape;
} moon_type;

/* ---- Runtime and context ---- */

/* What the host may supply; every member may be NULL (then libc and our own threads serve). Nothing is started, printed, opened or
** locked behind its back: with realloc, parallel or threads = 1, read and clock_us given, computing makes no system call. */
typedef struct moon_host {
  void *user;
  /* Like realloc: bytes 0 frees and returns NULL. Must return memory aligned to 16 bytes. */
  void *(*realloc)(void *user, void *block, size_t old_bytes, size_t new_bytes);
  /* Runs body(arg, i) for i in [0, n), in any order, on any threads; returns when all are done. */
  void (*parallel)(void *user, void (*body)(void *arg, int i), void *arg, int n);
  int threads; /* number of threads to compute with; 0: as MOONLET_THREADS or the machine says; 1: calling thread only */
  /* Text that the library would otherwise show on a terminal (progress of the Lua module's fit); C code shows nothing. */
  void (*log)(void *user, const char *line);
  /* Runs body(arg) once, soon, on a thread that may be busy with it for a while; false: not now. Each body that was accepted must
  ** be run. NULL: a thread of ours, at a low priority, when threads is not 1 and parallel is NULL; else nobody. */
  bool (*background)(void *user, void (*body)(void *arg), void *arg);
  /* Reads the file called path whole (an asset in a pack, say) into block(to, bytes), which gives NULL when memory is out. 0, or
  ** an error number of errno.h. NULL: the system's files. */
  int (*read)(void *user, const char *path, void *(*block)(void *to, size_t bytes), void *to);
  double (*clock_us)(void *user); /* microseconds that never go back, from any thread; NULL: the system's */
} moon_host;

/* Makes a runtime; host may be NULL. NULL only when memory is out. No thread is started before the first parallel run. */
MOON_API moon_runtime *moon_runtime_new(const moon_host *host);
MOON_API moon_runtime *moon_runtime_retain(moon_runtime *runtime);
MOON_API void moon_runtime_release(moon_runtime *runtime);
/* Counters for hosts and specs: live bytes and blocks, allocator calls so far, peak bytes. */
typedef struct moon_memory {
  size_t live_bytes, live_blocks, peak_bytes;
  uint64_t calls;
} moon_memory;
MOON_API moon_memory moon_runtime_memory(const moon_runtime *runtime);
/* Where devices opened from now on keep programs that they built; made when it is not there. NULL or "" (default): nowhere.
** "usual": MOONLET_CACHE_DIR ("off": nowhere), else moonlet in the user's folder for caches. */
MOON_API moon_status moon_cache_folder_set(moon_context *ctx, const char *folder);

/* Threads that runs use from now on, the calling one included; the old ones are joined. 0: as MOONLET_THREADS or the machine says. */
MOON_API void moon_threads_set(moon_runtime *runtime, int threads);
MOON_API int moon_threads_get(const moon_runtime *runtime);

MOON_API moon_context *moon_context_new(moon_runtime *runtime);
MOON_API void moon_context_release(moon_context *ctx);
MOON_API moon_runtime *moon_context_runtime(const moon_context *ctx);
/* Text of the last failure ("" when there was none), and its code. Valid until the next failing call. */
MOON_API const char *moon_error(const moon_context *ctx);
MOON_API moon_status moon_error_status(const moon_context *ctx);
MOON_API void moon_error_clear(moon_context *ctx);
MOON_API const char *moon_status_text(moon_status status);
/* Seeds the random numbers of this context and starts its streams again. */
MOON_API void moon_seed(moon_context *ctx, uint64_t seed);
MOON_API uint64_t moon_seed_get(const moon_context *ctx);
/* What messages and new nodes say about their origin ("train.lua:14"); NULL or "" for none. The text is copied. */
MOON_API moon_status moon_origin_set(moon_context *ctx, const char *line);
/* Names of the layers being called, joined by '/', recorded in new nodes. */
MOON_API moon_status moon_path_push(moon_context *ctx, const char *name);
MOON_API void moon_path_pop(moon_context *ctx);
/* 0 (default) or 1: how axes and positions are counted in messages. */
MOON_API void moon_index_base_set(moon_context *ctx, int base);
/* Lifetime scopes of values; they nest. */
MOON_API void moon_scope_open(moon_context *ctx);
MOON_API void moon_scope_close(moon_context *ctx);

/* ---- dtypes and dims ---- */
MOON_API const char *moon_dtype_name(moon_dtype dtype);
MOON_API size_t moon_dtype_bytes(moon_dtype dtype);
/* MOON_DTYPE_COUNT when there is none of that name. */
MOON_API moon_dtype moon_dtype_find(const char *name);
MOON_API moon_dtype moon_dtype_promote(moon_dtype a, moon_dtype b);
/* The unknown of that name (letters, digits, _ and .). MOON_DIM_ERROR and an error when the name is bad or memory is out. */
#define MOON_DIM_ERROR INT64_MIN
MOON_API moon_dim moon_dim_named(moon_context *ctx, const char *name);
MOON_API bool moon_dim_is_known(moon_dim d);
MOON_API moon_dim moon_dim_add(moon_context *ctx, moon_dim a, moon_dim b);
MOON_API moon_dim moon_dim_sub(moon_context *ctx, moon_dim a, moon_dim b);
MOON_API moon_dim moon_dim_mul(moon_context *ctx, moon_dim a, moon_dim b);
MOON_API moon_dim moon_dim_floordiv(moon_context *ctx, moon_dim a, moon_dim b);
MOON_API moon_dim moon_dim_max(moon_context *ctx, moon_dim a, moon_dim b);
/* Writes the dim as text ("batch", "2*time+1", "32") into buf, always terminated; returns buf. */
MOON_API const char *moon_dim_text(const moon_runtime *runtime, moon_dim d, char *buf, size_t buf_bytes);
MOON_API const char *moon_shape_text(const moon_runtime *runtime, const moon_shape *shape, char *buf, size_t buf_bytes);

/* ---- Devices ---- */
/* The device a word names: "cpu", "opencl", "opencl:2", "opencl:gpu" (its kind), "opencl:rtx" (part of its model), or "auto"
** (the first that is not a CPU, else "cpu"); borrowed from the runtime. NULL with an error when there is none. */
MOON_API moon_device *moon_device_find(moon_context *ctx, const char *word);
MOON_API const char *moon_device_name(const moon_device *device);
MOON_API moon_status moon_device_set(moon_context *ctx, moon_device *device);
MOON_API moon_device *moon_device_get(moon_context *ctx);
/* All devices: opens every backend that is there. Their number; and device i, NULL when there is none. */
MOON_API int moon_device_count(moon_context *ctx);
MOON_API moon_device *moon_device_at(moon_context *ctx, int i);
/* What is known of a device; texts live as long as it, "" for unknown. */
typedef struct moon_device_info {
  const char *name, *backend;
  const char *kind;   /* cpu, gpu, accelerator or other */
  const char *model, *platform, *driver;
  uint64_t memory_bytes; /* 0: unknown */
  int units;             /* compute units; 0: unknown */
  bool f64;
  int built, kept;       /* programs of kernels so far: built from their sources, and found in the cache folder */
  double build_us;       /* what both took */
} moon_device_info;
MOON_API moon_device_info moon_device_describe(const moon_device *device);
/* Frees what the devices that were opened keep for later: kernels that no program uses any more. */
MOON_API void moon_devices_trim(moon_context *ctx);

/* ---- Tensors ---- */
/* A tensor of zeros [shape]. NULL: bad shape (negative, unknown or too large), out of memory. */
MOON_API moon_tensor *moon_tensor_new(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape);
/* Copies count = product(shape) elements of dtype from data. */
MOON_API moon_tensor *moon_tensor_from(moon_context *ctx, moon_dtype dtype, int ndim, const int64_t *shape, const void *data);
MOON_API moon_tensor *moon_tensor_retain(moon_tensor *t);
MOON_API void moon_tensor_release(moon_tensor *t);
MOON_API moon_dtype moon_tensor_dtype(const moon_tensor *t);
MOON_API int moon_tensor_ndim(const moon_tensor *t);
MOON_API int64_t moon_tensor_size(const moon_tensor *t, int axis);
MOON_API int64_t moon_tensor_stride(const moon_tensor *t, int axis); /* in elements; may be 0 or negative */
MOON_API int64_t moon_tensor_count(const moon_tensor *t);            /* number of elements */
MOON_API size_t moon_tensor_bytes(const moon_tensor *t);             /* bytes of its elements */
MOON_API bool moon_tensor_is_dense(const moon_tensor *t);            /* row-major without gaps */
/* First element in host memory, or NULL when the tensor lives on another device (then use read and write). */
MOON_API void *moon_tensor_data(const moon_tensor *t);
/* Copies all elements in row-major order, converting dtype with the rules of cast. */
MOON_API moon_status moon_tensor_read(moon_context *ctx, const moon_tensor *t, moon_dtype dtype, void *out, size_t out_bytes);
MOON_API moon_status moon_tensor_write(moon_context *ctx, moon_tensor *t, moon_dtype dtype, const void *in, size_t in_bytes);
/* dst = src, with the rules of cast; shapes must be equal. */
MOON_API moon_status moon_tensor_copy(moon_context *ctx, moon_tensor *dst, const moon_tensor *src);
/* Views: share storage with t. start and size are per axis; step may be negative. */
MOON_API moon_tensor *moon_tensor_view(moon_context *ctx, moon_tensor *t, const int64_t *start, const int64_t *size,
                                       const int64_t *step);
MOON_API moon_tensor *moon_tensor_at(moon_context *ctx, moon_tensor *t, int64_t index); /* t[index], one axis less */
MOON_API moon_tensor *moon_tensor_transpose(moon_context *ctx, moon_tensor *t, const int *perm);
/* A view where strides allow it, else a copy. */
MOON_API moon_tensor *moon_tensor_reshape(moon_context *ctx, moon_tensor *t, int ndim, const int64_t *shape);

/* ---- Variables ---- */
/* State that lives between runs, named by path ("dense_1/kernel"); takes a copy of initial. */
MOON_API moon_variable *moon_variable_new(moon_context *ctx, const char *name, const moon_tensor *initial, bool trainable);
MOON_API moon_variable *moon_variable_retain(moon_variable *v);
MOON_API void moon_variable_release(moon_variable *v);
MOON_API const char *moon_variable_name(const moon_variable *v);
MOON_API moon_status moon_variable_rename(moon_context *ctx, moon_variable *v, const char *name);
MOON_API bool moon_variable_trainable(const moon_variable *v);
MOON_API void moon_variable_trainable_set(moon_variable *v, bool trainable);
MOON_API moon_type moon_variable_type(const moon_variable *v);
MOON_API uint64_t moon_variable_version(const moon_variable *v); /* grows with every write */
/* A copy of the current numbers; caller owns it. */
MOON_API moon_tensor *moon_variable_read(moon_context *ctx, moon_variable *v);
MOON_API moon_status moon_variable_write(moon_context *ctx, moon_variable *v, const moon_tensor *t);
/* Writes n variables at once: all of them, or after a failure none. Runs that have begun go on with the old numbers. */
MOON_API moon_status moon_variables_write(moon_context *ctx, int n, moon_variable *const *v, moon_tensor *const *t);

/* ---- Values: building a graph ---- */
MOON_API moon_value *moon_input(moon_context *ctx, const char *name, moon_dtype dtype, int ndim, const moon_dim *shape);
MOON_API moon_value *moon_constant(moon_context *ctx, moon_tensor *t);                        /* retains t */
MOON_API moon_value *moon_scalar(moon_context *ctx, moon_dtype dtype, double x);              /* rank 0 */
MOON_API moon_value *moon_variable_value(moon_context *ctx, moon_variable *v);                /* reads v */
MOON_API moon_value *moon_assign(moon_context *ctx, moon_variable *v, moon_value *x);         /* an effect; gives x */
/* The same in training alone: programs of inference leave v, and what it gives is v as it was. */
MOON_API moon_value *moon_assign_training(moon_context *ctx, moon_variable *v, moon_value *x);
/* Applies the op called name. inputs [ninputs]; attrs is text in the form of the graph text ("stride=[2,2] groups=1"), NULL or
** "" for defaults. Inputs are promoted and broadcast as the op says. Gives output 0; others by moon_value_output. */
MOON_API moon_value *moon_apply(moon_context *ctx, const char *name, const char *attrs, int ninputs, moon_value *const *inputs);
/* The same for up to four inputs given one by one; a is required, the first NULL of b, c, d ends the list. */
MOON_API moon_value *moon_apply1(moon_context *ctx, const char *name, const char *attrs, moon_value *a);
MOON_API moon_value *moon_apply2(moon_context *ctx, const char *name, const char *attrs, moon_value *a, moon_value *b);
MOON_API moon_value *moon_apply3(moon_context *ctx, const char *name, const char *attrs, moon_value *a, moon_value *b, moon_value *c);
MOON_API moon_value *moon_value_output(moon_value *v, int index); /* another output of v's node; NULL when there is none */
MOON_API int moon_value_output_count(const moon_value *v);
MOON_API moon_value *moon_value_retain(moon_value *v);
MOON_API void moon_value_release(moon_value *v);
MOON_API moon_dtype moon_value_dtype(const moon_value *v);
MOON_API const moon_shape *moon_value_shape(const moon_value *v);
MOON_API const char *moon_value_name(const moon_value *v); /* name of an input, else "" */
/* Gradients of the rank-0 float value loss: grads[i] has the type of wrt[i], zeros where loss does not use it. */
MOON_API moon_status moon_gradients(moon_context *ctx, moon_value *loss, int n, moon_value *const *wrt, moon_value **grads);
/* The same for variables: the sum over all reads of each. */
MOON_API moon_status moon_gradients_of(moon_context *ctx, moon_value *loss, int n, moon_variable *const *wrt, moon_value **grads);
/* Traces: nodes made inside belong to the trace and cannot be used after it ends. Random streams count from 1 in each. */
MOON_API moon_status moon_trace_begin(moon_context *ctx);
MOON_API void moon_trace_end(moon_context *ctx);

/* ---- Eager: numbers at once ---- */
/* While on, every node computes when it is built; moon_value_tensor gives its numbers. Calls nest (on +1, off -1). */
MOON_API void moon_eager_push(moon_context *ctx);
MOON_API void moon_eager_pop(moon_context *ctx);
/* The numbers of a value built eagerly or of a constant; borrowed; NULL when it is symbolic. */
MOON_API moon_tensor *moon_value_tensor(const moon_value *v);

/* ---- Graphs ---- */
/* What outputs and effects reach; every input node reached must be listed. effects are values of assign nodes; assigns reached
** from outputs need not be listed. Reads see the assigns built before them. */
MOON_API moon_graph *moon_graph_new(moon_context *ctx, int ninputs, moon_value *const *inputs, int noutputs,
                                    moon_value *const *outputs, int neffects, moon_value *const *effects);
MOON_API moon_graph *moon_graph_retain(moon_graph *g);
MOON_API void moon_graph_release(moon_graph *g);
MOON_API int moon_graph_input_count(const moon_graph *g);
MOON_API moon_value *moon_graph_input(const moon_graph *g, int i);
MOON_API int moon_graph_output_count(const moon_graph *g);
MOON_API moon_value *moon_graph_output(const moon_graph *g, int i);
MOON_API int moon_graph_variable_count(const moon_graph *g);
MOON_API moon_variable *moon_graph_variable(const moon_graph *g, int i);
MOON_API int moon_graph_node_count(const moon_graph *g);
/* Calls a graph on other values (a model as a layer): outputs [noutputs] are new values, effects come along. */
MOON_API moon_status moon_graph_call(moon_context *ctx, const moon_graph *g, moon_value *const *inputs, moon_value **outputs);
/* Text that moon_graph_parse reads back, and DOT for graphviz. Caller frees with moon_text_release. */
MOON_API char *moon_graph_text(moon_context *ctx, const moon_graph *g);
MOON_API char *moon_graph_dot(moon_context *ctx, const moon_graph *g);
MOON_API void moon_text_release(moon_context *ctx, char *text);
/* find(user, name, type) gives the variable of a name (borrowed), or NULL: then parse fails. constants likewise. */
typedef struct moon_resolver {
  void *user;
  moon_variable *(*variable)(void *user, const char *name, const moon_type *type);
  moon_tensor *(*constant)(void *user, const char *name, const moon_type *type);
} moon_resolver;
MOON_API moon_graph *moon_graph_parse(moon_context *ctx, const char *text, size_t text_bytes, const moon_resolver *resolver);

/* ---- Programs and runs ---- */
typedef enum moon_mode { MOON_INFERENCE = 0, MOON_TRAINING = 1 } moon_mode;
typedef struct moon_compile_options {
  moon_mode mode;
  moon_device *device;      /* NULL: the context's */
  const char *passes_off;   /* names separated by commas, "all" for none at all; NULL: none off */
  void (*dump)(void *user, const char *pass, const char *graph_text); /* called after each pass; NULL: never */
  void *dump_user;
} moon_compile_options;
/* The program of g for inputs of these concrete types [input count]; from g's cache when it was compiled before. options may be
** NULL. Caller releases it. */
MOON_API moon_program *moon_compile(moon_context *ctx, moon_graph *g, const moon_type *input_types,
                                    const moon_compile_options *options);
MOON_API moon_program *moon_program_retain(moon_program *p);
MOON_API void moon_program_release(moon_program *p);
typedef struct moon_program_stats {
  int launches, prologue_launches, nodes, loops;
  size_t arena_bytes, constant_bytes;
  double compile_us;
} moon_program_stats;
MOON_API moon_program_stats moon_program_stats_get(const moon_program *p);
/* One line a launch: node, kernel, why it was chosen, shapes, script line. Caller frees with moon_text_release. */
MOON_API char *moon_program_explain(moon_context *ctx, const moon_program *p);
MOON_API int moon_program_output_count(const moon_program *p);
MOON_API moon_type moon_program_output_type(const moon_program *p, int i);
/* Runs a program whole. inputs [input count] of the compiled types; outputs [output count]: entries that are NULL on entry are
** made (caller owns them), others are written in place and must fit. step numbers the run for random nodes. */
MOON_API moon_status moon_program_run(moon_context *ctx, moon_program *p, moon_tensor *const *inputs, moon_tensor **outputs,
                                      uint64_t step);
/* The same in slices: bind once, then call moon_run_step until *done. budget_us 0: to the end. Effects show only when done. A slice
** runs on the calling thread, ends between launches and inside them, waits for nobody and allocates nothing; what all slices
** together give is what one run gives, bit for bit. Variables are read as they were when the run started. */
MOON_API moon_run *moon_run_new(moon_context *ctx, moon_program *p);
MOON_API void moon_run_release(moon_run *run);
MOON_API moon_status moon_run_start(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, moon_tensor **outputs,
                                    uint64_t step);
MOON_API moon_status moon_run_step(moon_context *ctx, moon_run *run, double budget_us, bool *done);
/* Gives the run up: variables and outputs stay as they were. */
MOON_API void moon_run_cancel(moon_context *ctx, moon_run *run);
/* Starts a run on the runtime's background thread, which yields to the host's own; the context stays free. Inputs are copied first.
** moon_run_step then looks whether it is over: budget_us 0 waits for that, else it does not wait. The step that finds it over
** raises its error, or makes outputs and variables show, on the calling thread. Where nobody may run it in the background (see
** moon_host) moon_run_step does a slice instead. */
MOON_API moon_status moon_run_background(moon_context *ctx, moon_run *run, moon_tensor *const *inputs, moon_tensor **outputs,
                                         uint64_t step);
/* Output i of a completed run, if moon_run_start was given none; borrowed until the run starts again or is cancelled. All other
** tensors a run lets go of when it is done. */
MOON_API moon_tensor *moon_run_result(const moon_run *run, int i);
/* Programs compiled and runs made so far in this runtime. */
MOON_API uint64_t moon_compile_count(const moon_runtime *runtime);

/* ---- Tuning ---- */
typedef struct moon_tune_options {
  double seconds;  /* to spend, about; 0: 2 */
  bool here_only;  /* nothing is written */
} moon_tune_options;
/* Measures the heavy nodes of a program alone, each computed in the ways that its kernels offer, on numbers of its own: variables stay
** as they are. What wins by more than 5 % is then tried in the whole program, which runs by turns with it and without; if it is faster
** with it beyond chance, that goes to the runtime's table, and with it to the file "tuned" in the cache folder. Programs that were
** compiled stay as they are, to the bit; what is compiled from then on heeds the table, in this process and in those that
** read the file, which happens before their first compile. moon_compile of p's graph then gives a new program. Without this call
** nothing is measured or written. options may be NULL.
** Gives text, freed with moon_text_release, a line a node, heaviest first, with tabs between: node, kernel, us before, us after, ways
** tried, the row that won or "-"; at last "left", nodes for which there was no time; if a row won, "whole", us of the program before
** and after (0: no time); "kept", 1 when the table has the rows, and "saved", 1 when the file was written. */
MOON_API char *moon_tune(moon_context *ctx, moon_program *p, const moon_tune_options *options);

/* ---- Files ---- */
typedef struct moon_file moon_file; /* named tensors and named strings */
MOON_API moon_file *moon_file_new(moon_context *ctx);
MOON_API void moon_file_release(moon_file *f);
MOON_API moon_status moon_file_put(moon_context *ctx, moon_file *f, const char *name, moon_tensor *t); /* retains t */
MOON_API moon_status moon_file_put_text(moon_context *ctx, moon_file *f, const char *name, const char *text, size_t bytes);
MOON_API int moon_file_count(const moon_file *f);
MOON_API const char *moon_file_name(const moon_file *f, int i);
MOON_API moon_tensor *moon_file_tensor(const moon_file *f, int i);                                /* borrowed */
MOON_API moon_tensor *moon_file_find(const moon_file *f, const char *name);                       /* borrowed; NULL: none */
MOON_API const char *moon_file_find_text(const moon_file *f, const char *name, size_t *bytes);    /* borrowed; NULL: none */
MOON_API int moon_file_text_count(const moon_file *f);
MOON_API const char *moon_file_text_name(const moon_file *f, int i);
/* safetensors, read whole and verified before anything is returned; written to a temporary in the same folder, synced, renamed. */
MOON_API moon_file *moon_file_load(moon_context *ctx, const char *path);
MOON_API moon_status moon_file_save(moon_context *ctx, const moon_file *f, const char *path);
MOON_API moon_file *moon_file_decode(moon_context *ctx, const void *data, size_t bytes);
MOON_API char *moon_file_encode(moon_context *ctx, const moon_file *f, size_t *bytes); /* free with moon_text_release */
MOON_API moon_tensor *moon_npy_load(moon_context *ctx, const char *path);
MOON_API moon_status moon_npy_save(moon_context *ctx, const char *path, const moon_tensor *t);
/* Numbers of a comma separated file as f32 [rows, columns]; an optional first line of words is skipped. */
MOON_API moon_tensor *moon_csv_load(moon_context *ctx, const char *path);

/* ---- Saved models ---- */
typedef struct moon_model moon_model; /* what model:save wrote: graphs, variables, texts */
MOON_API moon_model *moon_model_load(moon_context *ctx, const char *path);
/* The same of the bytes of such a file (from a save game, or what model:serialize() gave). */
MOON_API moon_model *moon_model_decode(moon_context *ctx, const void *data, size_t bytes);
MOON_API void moon_model_release(moon_model *m);
/* "predict" always; "train" when it was saved with its training graph. Borrowed; NULL: none. */
MOON_API moon_graph *moon_model_graph(const moon_model *m, const char *name);
MOON_API int moon_model_variable_count(const moon_model *m);
MOON_API moon_variable *moon_model_variable(const moon_model *m, int i);
MOON_API const char *moon_model_text(const moon_model *m, const char *name); /* metadata, NULL: none */
/* Steps that were trained before the file was saved; give it (plus your own) to moon_program_run. */
MOON_API uint64_t moon_model_step(const moon_model *m);
MOON_API moon_status moon_model_save(moon_context *ctx, moon_model *m, const char *path, uint64_t step);
/* The bytes that moon_model_save would write; free with moon_text_release. */
MOON_API char *moon_model_encode(moon_context *ctx, const moon_model *m, uint64_t step, size_t *bytes);

/* ---- In Lua ---- */
/* A host that opens Lua states gives them its runtime, before they require the module, as light userdata in the registry:
**   lua_pushlightuserdata(L, runtime);
**   lua_setfield(L, LUA_REGISTRYINDEX, MOON_LUA_RUNTIME);
** The state retains it, so all hooks of moon_host hold there too. States that are given one runtime share its memory counters, threads
** and devices, and may run on different threads at once; models go from one to the other as strings (model:serialize). Without it each
** state has a runtime of its own. The runtime must come from the same copy of the library: moonlet.so exports this API as well. */
#define MOON_LUA_RUNTIME "moonlet.runtime"

#ifdef __cplusplus
}
#endif
#endif
