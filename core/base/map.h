/* map.h: a small hash map from pointers to pointers, for graph walks. Iteration order is never used. */
#ifndef MOON_MAP_H
#define MOON_MAP_H
#include "moonlet.h"

typedef struct moon_map_entry { const void *key; void *value; } moon_map_entry; /* key NULL: free */
typedef struct moon_map {
  moon_runtime *runtime;
  int n, capacity; /* capacity is a power of two or 0 */
  moon_map_entry *entries;
} moon_map;
void moon__map_init(moon_map *m, moon_runtime *runtime);
void moon__map_free(moon_map *m);
/* Makes room for n keys at once. False: memory is out. */
bool moon__map_reserve(moon_map *m, int n);
/* NULL when key is not there. */
void *moon__map_get(const moon_map *m, const void *key);
bool moon__map_has(const moon_map *m, const void *key);
/* False: memory is out. key is not NULL. */
bool moon__map_put(moon_map *m, const void *key, void *value);
uint64_t moon__hash_bytes(uint64_t seed, const void *data, size_t bytes);
#endif
