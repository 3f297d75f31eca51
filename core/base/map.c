/*
** map.c: open addressing with linear probes, at most half full. Keys are never removed. Hashing mixes the address, but no caller
** can see an order.
*/
#include "base/map.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"

static uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

/* The slot of key, or the empty slot where it belongs. capacity > 0. */
static int find_slot(const void *const *keys, int capacity, const void *key) {
  int mask = capacity - 1;
  int i = (int)(mix((uint64_t)(uintptr_t)key) & (uint64_t)mask);
  while (keys[i] && keys[i] != key) i = (i + 1) & mask;
  return i;
}

void moon__map_init(moon_map *m, moon_runtime *runtime) {
  memset(m, 0, sizeof *m);
  m->runtime = runtime;
}

void moon__map_free(moon_map *m) {
  if (m->keys) moon__free(m->runtime, (void *)m->keys);
  if (m->values) moon__free(m->runtime, m->values);
  m->keys = NULL;
  m->values = NULL;
  m->n = m->capacity = 0;
}

bool moon__map_has(const moon_map *m, const void *key) {
  return m->capacity > 0 && m->keys[find_slot(m->keys, m->capacity, key)] == key;
}

void *moon__map_get(const moon_map *m, const void *key) {
  int i;
  if (m->capacity == 0) return NULL;
  i = find_slot(m->keys, m->capacity, key);
  return m->keys[i] ? m->values[i] : NULL;
}

static bool grow(moon_map *m) {
  moon_map fresh = *m;
  if (m->capacity > INT_MAX / 4) return false;
  fresh.capacity = m->capacity ? m->capacity * 2 : 16;
  fresh.keys = moon__alloc_array(m->runtime, (size_t)fresh.capacity, sizeof *fresh.keys);
  fresh.values = moon__alloc_array(m->runtime, (size_t)fresh.capacity, sizeof *fresh.values);
  if (!fresh.keys || !fresh.values) {
    moon__map_free(&fresh);
    return false;
  }
  for (int i = 0; i < m->capacity; i++) {
    if (!m->keys[i]) continue;
    int slot = find_slot(fresh.keys, fresh.capacity, m->keys[i]);
    fresh.keys[slot] = m->keys[i];
    fresh.values[slot] = m->values[i];
  }
  moon__map_free(m);
  *m = fresh;
  return true;
}

bool moon__map_put(moon_map *m, const void *key, void *value) {
  int i;
  if (m->n >= m->capacity / 2 && !grow(m)) return false;
  i = find_slot(m->keys, m->capacity, key);
  if (!m->keys[i]) m->n++;
  m->keys[i] = key;
  m->values[i] = value;
  return true;
}

/* FNV-1a, finished by a mixer. */
uint64_t moon__hash_bytes(uint64_t seed, const void *data, size_t bytes) {
  const unsigned char *p = data;
  uint64_t h = 0xcbf29ce484222325ULL ^ seed;
  for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 0x100000001b3ULL;
  return mix(h);
}
