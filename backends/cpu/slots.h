/*
** slots.h: scratch memory that a thread has for itself while it runs some jobs of a launch: slots, as many as threads can run at
** once, and a word of bits that says which are taken. A phase of one job clears the word; after that whoever runs jobs takes a slot
** and gives it back. Which slot it is never changes a result.
*/
#ifndef MOON_SLOTS_H
#define MOON_SLOTS_H
#include <stdatomic.h>

#include "base/pool.h"
#include "base/size.h"
#include "cpu.h"

enum { MOON_SLOT_WORDS = 4, MOON_SLOTS_BYTES = 64 }; /* the words, before the first slot */

/* Slots for a phase of that many jobs. */
static inline int64_t moon__slots_needed(const moon_device *device, int64_t njobs) {
  return moon__min_i64(njobs, moon__pool_threads(device->runtime));
}
static inline void moon__slots_clear(void *words) {
  _Atomic uint64_t *w = words;
  for (int i = 0; i < MOON_SLOT_WORDS; i++) atomic_init(&w[i], 0);
}
static inline int moon__slot_take(void *words) {
  _Atomic uint64_t *w = words;
  for (int i = 0;; i = (i + 1) % MOON_SLOT_WORDS) {
    uint64_t taken = atomic_load(&w[i]);
    while (~taken) {
      int bit = __builtin_ctzll(~taken);
      if (atomic_compare_exchange_weak(&w[i], &taken, taken | (uint64_t)1 << bit)) return i * 64 + bit;
    }
  }
}
static inline void moon__slot_give(void *words, int slot) {
  _Atomic uint64_t *w = words;
  atomic_fetch_and(&w[slot / 64], ~((uint64_t)1 << slot % 64));
}
#endif
