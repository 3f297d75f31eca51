/*
** variable.h: a variable owns storage that programs bind through slots when a run starts. Host access always sees the plain,
** dense form. version grows with every write; prologues compare it.
*/
#ifndef MOON_VARIABLE_H
#define MOON_VARIABLE_H
#include <stdatomic.h>

#include "tensor/tensor.h"

struct moon_variable {
  moon_tensor *tensor; /* dense, current numbers; replaced rather than written while somebody else holds it */
  _Atomic uint64_t version; /* beside it: a run looks at both, and at nothing else */
  _Atomic int refs;
  bool trainable;
  moon_runtime *runtime;
  char *name;
  moon_type type;
};

/* Its numbers are others now. Whoever writes is alone, so no locked instruction is needed, of which a step would make hundreds. */
static inline void moon__variable_changed(moon_variable *v) {
  atomic_store_explicit(&v->version, atomic_load_explicit(&v->version, memory_order_relaxed) + 1, memory_order_release);
}

/* Does somebody else (an eager read, a graph) hold the numbers, so that they must not change in place? */
bool moon__variable_is_shared(const moon_variable *v);
#endif
