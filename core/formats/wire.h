/*
** wire.h: the number formats of files, ours and others', and their way into our dtypes: the smallest that holds all values of the
** format. npy has no bf16. Shared by safetensors and npy.
*/
#ifndef MOON_WIRE_H
#define MOON_WIRE_H
#include "moonlet.h"

/* ROW(name, safetensors' word, npy's letter, bytes, our dtype) */
#define MOON_WIRE_MAP(ROW)           \
  ROW(bool, "BOOL", 'b', 1, bool)    \
  ROW(u8, "U8", 'u', 1, u8)          \
  ROW(i8, "I8", 'i', 1, i32)         \
  ROW(u16, "U16", 'u', 2, i32)       \
  ROW(i16, "I16", 'i', 2, i32)       \
  ROW(u32, "U32", 'u', 4, i64)       \
  ROW(i32, "I32", 'i', 4, i32)       \
  ROW(u64, "U64", 'u', 8, i64)       \
  ROW(i64, "I64", 'i', 8, i64)       \
  ROW(f16, "F16", 'f', 2, f16)       \
  ROW(bf16, "BF16", 0, 2, bf16)       \
  ROW(f32, "F32", 'f', 4, f32)       \
  ROW(f64, "F64", 'f', 8, f64)
typedef enum moon_wire {
#define MOON_WIRE_ROW(name, word, letter, bytes, dtype) MOON_WIRE_##name,
  MOON_WIRE_MAP(MOON_WIRE_ROW)
#undef MOON_WIRE_ROW
      MOON_WIRE_COUNT
} moon_wire;

typedef struct moon_wire_format {
  const char *word;
  char letter;
  size_t bytes;
  moon_dtype dtype;
} moon_wire_format;
extern const moon_wire_format moon__wire[MOON_WIRE_COUNT];

/* The format of a safetensors word, of an npy letter and size, of our dtype; MOON_WIRE_COUNT: none. */
moon_wire moon__wire_find(const char *word);
moon_wire moon__wire_find_npy(char letter, int64_t bytes);
moon_wire moon__wire_of(moon_dtype dtype);
/* A new tensor [shape] of the count numbers at data, packed, big endian when big is set. who goes in front of messages. Fails also
** for a u64 that i64 cannot hold. data must have count * bytes bytes, which the caller has checked. */
moon_tensor *moon__wire_tensor(moon_context *ctx, const char *who, moon_wire wire, bool big, int ndim, const int64_t *shape,
                               const void *data);
#endif
