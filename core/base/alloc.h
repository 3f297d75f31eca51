/*
** alloc.h: all memory of the library comes from here, through the host's hook, counted. Blocks remember their size, so callers
** free with the pointer alone. The hostile allocator of the specs (fail the n-th call) is a host hook, not code in here.
*/
#ifndef MOON_ALLOC_H
#define MOON_ALLOC_H
#include "moonlet.h"

/* Zeroed block aligned to 64 bytes; NULL when memory is out or bytes does not fit. bytes 0 gives a valid block. */
void *moon__alloc(moon_runtime *runtime, size_t bytes);
/* Zeroed array; NULL also when count * bytes overflows. */
void *moon__alloc_array(moon_runtime *runtime, size_t count, size_t bytes);
/* Grows or shrinks; new bytes are zero; NULL leaves the old block as it was. block may be NULL. */
void *moon__realloc(moon_runtime *runtime, void *block, size_t bytes);
void moon__free(moon_runtime *runtime, void *block); /* NULL is fine */
char *moon__strdup(moon_runtime *runtime, const char *text);

/* Grows an array held as (items, capacity) so that it holds need items. false: memory is out, array unchanged. */
bool moon__reserve(moon_runtime *runtime, void **items, int *capacity, int need, size_t item_bytes);
#define MOON_RESERVE(runtime, items, capacity, need) \
  moon__reserve((runtime), (void **)&(items), &(capacity), (need), sizeof *(items))
#endif
