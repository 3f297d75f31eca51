/*
** map.c: open addressing with linear probes, at most half full. Keys are never removed. Hashing mixes the address, but no caller
** can see an order.
*/
#include "base/map.h"

#include <limits.h>

#include "base/alloc.h"

static uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

/* The entry of key, or the free one where it belongs. capacity > 0. */
static moon_map_entry *find(const moon_map *m, const void *key) {
  /* The upper half of a product depends on all bits of the address. */
  size_t mask = (size_t)m->capacity - 1, i = (size_t)(((uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15ULL) >> 32) & mask;
  while (m->entries[i].key && m->entries[i].key != key) i = (i + 1) & mask;
  return &m->entries[i];
}

void moon__map_init(moon_map *m, moon_runtime *runtime) { *m = (moon_map){.runtime = runtime}; }

void moon__map_free(moon_map *m) {
  moon__free(m->runtime, m->entries);
  moon__map_init(m, m->runtime);
}

bool moon__map_has(const moon_map *m, const void *key) { return m->n > 0 && find(m, key)->key; }

void *moon__map_get(const moon_map *m, const void *key) { return m->n > 0 ? find(m, key)->value : NULL; }

bool moon__map_reserve(moon_map *m, int n) {
  moon_map fresh = *m;
  if (n <= m->capacity / 2) return true;
  for (fresh.capacity = m->capacity ? m->capacity : 16; fresh.capacity / 2 < n; fresh.capacity *= 2) {
    if (fresh.capacity > INT_MAX / 4) return false;
  }
  fresh.entries = moon__alloc_array(m->runtime, (size_t)fresh.capacity, sizeof *fresh.entries);
  if (!fresh.entries) return false;
  for (int i = 0; i < m->capacity; i++) {
    if (m->entries[i].key) *find(&fresh, m->entries[i].key) = m->entries[i];
  }
  moon__free(m->runtime, m->entries);
  *m = fresh;
  return true;
}

bool moon__map_put(moon_map *m, const void *key, void *value) {
  if (m->n >= m->capacity / 2 && !moon__map_reserve(m, m->n + 1)) return false;
  moon_map_entry *e = find(m, key);
  if (!e->key) m->n++;
  *e = (moon_map_entry){key, value};
  return true;
}

/* FNV-1a, finished by a mixer. */
uint64_t moon__hash_bytes(uint64_t seed, const void *data, size_t bytes) {
  const unsigned char *p = data;
  uint64_t h = 0xcbf29ce484222325ULL ^ seed;
  for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 0x100000001b3ULL;
  return mix(h);
}
