/*
** wire.c: decodes numbers of files. Values that are already ours are copied; others go through bytes, so neither alignment nor byte
** order of the machine matters.
*/
#include "formats/wire.h"

#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/size.h"
#include "tensor/tensor.h"

const moon_wire_format moon__wire[MOON_WIRE_COUNT] = {
#define MOON_WIRE_ROW(name, word, letter, bytes, dtype) {word, letter, bytes, MOON_DTYPE_##dtype},
    MOON_WIRE_MAP(MOON_WIRE_ROW)
#undef MOON_WIRE_ROW
};

moon_wire moon__wire_find(const char *word) {
  int i = 0;
  while (i < (int)MOON_WIRE_COUNT && strcmp(moon__wire[i].word, word) != 0) i++;
  return (moon_wire)i;
}

moon_wire moon__wire_find_npy(char letter, int64_t bytes) {
  int i = 0;
  while (i < (int)MOON_WIRE_COUNT && (moon__wire[i].letter != letter || moon__wire[i].bytes != (uint64_t)bytes)) i++;
  return (moon_wire)i;
}

moon_wire moon__wire_of(moon_dtype dtype) {
  static const moon_wire wire[MOON_DTYPE_COUNT] = {[MOON_DTYPE_bool] = MOON_WIRE_bool, [MOON_DTYPE_u8] = MOON_WIRE_u8,
                                                   [MOON_DTYPE_i32] = MOON_WIRE_i32,   [MOON_DTYPE_i64] = MOON_WIRE_i64,
                                                   [MOON_DTYPE_bf16] = MOON_WIRE_bf16, [MOON_DTYPE_f16] = MOON_WIRE_f16,
                                                   [MOON_DTYPE_f32] = MOON_WIRE_f32,   [MOON_DTYPE_f64] = MOON_WIRE_f64};
  return wire[dtype];
}

static uint64_t load_bits(const unsigned char *p, size_t bytes, bool big) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes; i++) bits = bits << 8 | p[big ? i : bytes - 1 - i];
  return bits;
}

/* One number; false when it does not fit. */
static bool store_number(moon_wire wire, uint64_t bits, char *dst) {
  int64_t whole = 0;
  switch (wire) {
    case MOON_WIRE_bool: *dst = bits != 0; return true;
    case MOON_WIRE_i8: whole = (int8_t)bits; break;
    case MOON_WIRE_i16: whole = (int16_t)bits; break;
    case MOON_WIRE_i32: whole = (int32_t)bits; break;
    case MOON_WIRE_f64: memcpy(dst, &bits, sizeof bits); return true;
    case MOON_WIRE_f16:
    case MOON_WIRE_bf16: memcpy(dst, &(uint16_t){(uint16_t)bits}, 2); return true;
    case MOON_WIRE_f32: memcpy(dst, &(uint32_t){(uint32_t)bits}, 4); return true;
    default: whole = (int64_t)bits; break;
  }
  moon__convert(dst, moon__wire[wire].dtype, &whole, MOON_DTYPE_i64);
  return wire != MOON_WIRE_u64 || whole >= 0;
}

static bool is_native(moon_wire wire, bool big) {
  bool ours = moon__wire_of(moon__wire[wire].dtype) == wire;
  return ours && (moon__wire[wire].bytes == 1 || big == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__));
}

static moon_status write_converted(moon_context *ctx, const char *who, moon_wire wire, bool big, const unsigned char *data,
                                   moon_tensor *t) {
  const moon_wire_format *format = &moon__wire[wire];
  size_t n = (size_t)moon_tensor_count(t), step = moon_dtype_bytes(format->dtype);
  char *numbers = moon__alloc_array(ctx->runtime, n, step);
  moon_status status = numbers ? MOON_OK : moon__fail_memory(ctx);
  for (size_t i = 0; status == MOON_OK && i < n; i++) {
    uint64_t bits = load_bits(data + i * format->bytes, format->bytes, big);
    if (store_number(wire, bits, numbers + i * step)) continue;
    status = moon__fail(ctx, MOON_EFORMAT, "%s: %llu is beyond what i64 holds", who, (unsigned long long)bits);
  }
  if (status == MOON_OK) status = moon_tensor_write(ctx, t, format->dtype, numbers, n * step);
  moon__free(ctx->runtime, numbers);
  return status;
}

moon_tensor *moon__wire_tensor(moon_context *ctx, const char *who, moon_wire wire, bool big, int ndim, const int64_t *shape,
                               const void *data) {
  moon_dtype dtype = moon__wire[wire].dtype;
  moon_tensor *t = moon__tensor_empty(ctx, dtype, ndim, shape);
  moon_status status;
  if (!t) return NULL;
  status = is_native(wire, big) ? moon_tensor_write(ctx, t, dtype, data, moon_tensor_bytes(t))
                                : write_converted(ctx, who, wire, big, data, t);
  if (status == MOON_OK) return t;
  moon_tensor_release(t);
  return NULL;
}
