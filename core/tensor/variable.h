/*
** variable.h: a variable owns storage that programs bind through slots when a run starts. Host access always sees the plain,
** dense form. version grows with every write; prologues compare it.
*/
#ifndef MOON_VARIABLE_H
#define MOON_VARIABLE_H
#include "tensor/tensor.h"

struct moon_variable {
  _Atomic int refs;
  moon_runtime *runtime;
  char *name;
  moon_type type;
  bool trainable;
  _Atomic uint64_t version;
  moon_tensor *tensor; /* dense, current numbers; replaced rather than written while somebody else holds it */
};

/* Does somebody else (an eager read, a graph) hold the numbers, so that they must not change in place? */
bool moon__variable_is_shared(const moon_variable *v);
#endif
