/*
** file.h: the inside of moon_file, named tensors and texts, and reading files whole; shared by the formats. The public face is in
** moonlet.h.
*/
#ifndef MOON_FILE_H
#define MOON_FILE_H
#include "moonlet.h"

typedef struct moon_names { /* a hash index from names to positions */
  int n, capacity;
  int32_t *slot; /* position + 1; 0: empty */
} moon_names;

typedef struct moon_named_tensor {
  char *name;
  moon_tensor *tensor;
} moon_named_tensor;
typedef struct moon_named_text {
  char *name, *text; /* text has a zero behind its bytes */
  size_t bytes;
} moon_named_text;

struct moon_file {
  moon_runtime *runtime;
  int ntensors, tensor_capacity, ntexts, text_capacity;
  moon_named_tensor *tensors;
  moon_named_text *texts;
  moon_names tensor_names, text_names;
};

/* Position of name, -1: none. */
int moon__file_position(const moon_file *f, const char *name);
/* Reads a whole file; a zero follows. The caller frees *data. who goes in front of messages. */
moon_status moon__file_bytes(moon_context *ctx, const char *who, const char *path, char **data, size_t *bytes);
/* Writes a whole file by way of a temporary beside it. */
moon_status moon__file_write(moon_context *ctx, const char *who, const char *path, const void *data, size_t bytes);
#endif
