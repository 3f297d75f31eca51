/*
** alloc.c: counted memory over the host's realloc. A block is [raw .. header | bytes of the caller]: the caller's part begins at a
** multiple of 64, the header just before it keeps the size and the way back to the raw block. Large blocks of our own begin where a
** large page does. Nothing else calls malloc.
*/
#include "base/alloc.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "base/os.h"
#include "base/size.h"

#define ALIGNMENT 64
#define LARGE ((size_t)4 << 20) /* bytes of a block that is worth large pages */

typedef struct block_header {
  size_t bytes; /* of the caller's part */
  size_t shift; /* from the raw block to the caller's part */
} block_header;
#define OVERHEAD (ALIGNMENT + sizeof(block_header))

static block_header *header_of(void *block) { return (block_header *)(void *)((char *)block - sizeof(block_header)); }

static void count_new(moon_runtime *runtime, size_t bytes) {
  size_t live = atomic_fetch_add(&runtime->live_bytes, bytes) + bytes;
  size_t peak = atomic_load(&runtime->peak_bytes);
  atomic_fetch_add(&runtime->live_blocks, 1);
  while (live > peak && !atomic_compare_exchange_weak(&runtime->peak_bytes, &peak, live)) {}
}

/* Zeroed raw memory: calloc leaves large blocks untouched until they are used. */
static char *raw_new(moon_runtime *runtime, size_t bytes) {
  char *raw;
  atomic_fetch_add(&runtime->alloc_calls, 1);
  if (!runtime->host.realloc) return calloc(1, bytes);
  raw = runtime->host.realloc(runtime->host.user, NULL, 0, bytes);
  if (raw) memset(raw, 0, bytes);
  return raw;
}

void *moon__alloc(moon_runtime *runtime, size_t bytes) {
  bool large = bytes >= LARGE && !runtime->host.realloc;
  size_t alignment = large ? MOON_LARGE_PAGE : ALIGNMENT, total;
  char *raw, *block;
  if (!moon__add_size(bytes, alignment + sizeof(block_header), &total) || total > PTRDIFF_MAX) return NULL;
  raw = raw_new(runtime, total);
  if (!raw) return NULL;
  block = raw + sizeof(block_header);
  block += (alignment - (uintptr_t)block % alignment) % alignment;
  header_of(block)->bytes = bytes;
  header_of(block)->shift = (size_t)(block - raw);
  if (large) moon__large_pages(block, bytes);
  count_new(runtime, bytes + OVERHEAD);
  return block;
}

void *moon__alloc_array(moon_runtime *runtime, size_t count, size_t bytes) {
  size_t total;
  return moon__mul_size(count, bytes, &total) ? moon__alloc(runtime, total) : NULL;
}

void *moon__realloc(moon_runtime *runtime, void *block, size_t bytes) {
  void *fresh = moon__alloc(runtime, bytes);
  if (!fresh || !block) return fresh;
  memcpy(fresh, block, header_of(block)->bytes < bytes ? header_of(block)->bytes : bytes);
  moon__free(runtime, block);
  return fresh;
}

void moon__free(moon_runtime *runtime, void *block) {
  block_header *header;
  char *raw;
  size_t total;
  if (!block) return;
  header = header_of(block);
  raw = (char *)block - header->shift;
  total = header->bytes + OVERHEAD;
  atomic_fetch_sub(&runtime->live_bytes, total);
  atomic_fetch_sub(&runtime->live_blocks, 1);
  if (runtime->host.realloc) {
    runtime->host.realloc(runtime->host.user, raw, total, 0);
  } else {
    free(raw);
  }
}

char *moon__strdup(moon_runtime *runtime, const char *text) {
  size_t bytes = strlen(text) + 1;
  char *copy = moon__alloc(runtime, bytes);
  if (copy) memcpy(copy, text, bytes);
  return copy;
}

bool moon__reserve(moon_runtime *runtime, void **items, int *capacity, int need, size_t item_bytes) {
  int grown = *capacity < 8 ? 8 : *capacity > INT_MAX / 2 ? INT_MAX : *capacity * 2;
  size_t total;
  void *fresh;
  if (need <= *capacity) return true;
  if (grown < need) grown = need;
  if (!moon__mul_size((size_t)grown, item_bytes, &total)) return false;
  fresh = moon__realloc(runtime, *items, total);
  if (!fresh) return false;
  *items = fresh;
  *capacity = grown;
  return true;
}
