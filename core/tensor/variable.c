/*
** variable.c: state that lives between runs: a name, a type and a dense tensor. Host access copies; programs bind the storage when
** a run starts. Every write raises the version.
*/
#include "tensor/variable.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/context.h"

static moon_tensor *copy_dense(moon_context *ctx, const moon_tensor *t) {
  moon_tensor *copy = moon__tensor_empty(ctx, t->dtype, t->ndim, t->shape);
  if (copy && moon_tensor_copy(ctx, copy, t) != MOON_OK) {
    moon_tensor_release(copy);
    return NULL;
  }
  return copy;
}

moon_variable *moon_variable_new(moon_context *ctx, const char *name, const moon_tensor *initial, bool trainable) {
  moon_variable *v;
  if (!name || !initial) {
    moon__fail(ctx, MOON_EARGUMENT, "variable: a name and a tensor are expected, got %s", name ? "no tensor" : "no name");
    return NULL;
  }
  v = moon__alloc(ctx->runtime, sizeof *v);
  if (!v) {
    moon__fail_memory(ctx);
    return NULL;
  }
  v->refs = 1;
  v->runtime = moon_runtime_retain(ctx->runtime);
  v->trainable = trainable;
  v->version = 1;
  v->type = moon__tensor_type(initial);
  v->name = moon__strdup(ctx->runtime, name);
  if (!v->name) moon__fail_memory(ctx);
  v->tensor = v->name ? copy_dense(ctx, initial) : NULL;
  if (v->tensor) return v;
  moon_variable_release(v);
  return NULL;
}

moon_variable *moon_variable_retain(moon_variable *v) {
  if (v) atomic_fetch_add(&v->refs, 1);
  return v;
}

void moon_variable_release(moon_variable *v) {
  moon_runtime *runtime;
  if (!v || atomic_fetch_sub(&v->refs, 1) != 1) return;
  runtime = v->runtime;
  moon_tensor_release(v->tensor);
  moon__free(runtime, v->name);
  moon__free(runtime, v);
  moon_runtime_release(runtime);
}

const char *moon_variable_name(const moon_variable *v) { return v->name; }
bool moon_variable_trainable(const moon_variable *v) { return v->trainable; }
void moon_variable_trainable_set(moon_variable *v, bool trainable) { v->trainable = trainable; }
moon_type moon_variable_type(const moon_variable *v) { return v->type; }
uint64_t moon_variable_version(const moon_variable *v) { return v->version; }

moon_status moon_variable_rename(moon_context *ctx, moon_variable *v, const char *name) {
  char *copy;
  if (!name) return moon__fail(ctx, MOON_EARGUMENT, "variable: a name is expected, got NULL");
  copy = moon__strdup(v->runtime, name);
  if (!copy) return moon__fail_memory(ctx);
  moon__free(v->runtime, v->name);
  v->name = copy;
  return MOON_OK;
}

moon_tensor *moon_variable_read(moon_context *ctx, moon_variable *v) { return copy_dense(ctx, v->tensor); }

bool moon__variable_is_shared(const moon_variable *v) { return v->tensor->refs > 1 || v->tensor->storage->refs > 1; }

moon_status moon_variables_write(moon_context *ctx, int n, moon_variable *const *v, moon_tensor *const *t) {
  moon_tensor **fresh = moon__alloc_array(ctx->runtime, (size_t)(n > 0 ? n : 0), sizeof *fresh);
  moon_status status = fresh ? MOON_OK : moon__fail_memory(ctx);
  for (int i = 0; status == MOON_OK && i < n; i++) {
    if (!v[i] || !t[i]) status = moon__fail(ctx, MOON_EARGUMENT, "variables: entry %d is missing", i + ctx->index_base);
    else fresh[i] = moon__tensor_empty(ctx, v[i]->type.dtype, v[i]->tensor->ndim, v[i]->tensor->shape);
    if (status == MOON_OK) status = fresh[i] ? moon_tensor_copy(ctx, fresh[i], t[i]) : ctx->status;
  }
  for (int i = 0; status == MOON_OK && i < n; i++) {
    moon_tensor *old = v[i]->tensor;
    v[i]->tensor = fresh[i];
    fresh[i] = old;
    moon__variable_changed(v[i]);
  }
  for (int i = 0; fresh && i < n; i++) moon_tensor_release(fresh[i]);
  moon__free(ctx->runtime, fresh);
  return status;
}

moon_status moon_variable_write(moon_context *ctx, moon_variable *v, const moon_tensor *t) {
  moon_status status;
  if (!t) return moon__fail(ctx, MOON_EARGUMENT, "variable '%s': a tensor is expected, got none", v->name);
  if (moon__variable_is_shared(v)) {
    moon_tensor *fresh = moon__tensor_empty(ctx, v->type.dtype, v->tensor->ndim, v->tensor->shape);
    status = fresh ? moon_tensor_copy(ctx, fresh, t) : ctx->status;
    if (status != MOON_OK) {
      moon_tensor_release(fresh);
      return status;
    }
    moon_tensor_release(v->tensor);
    v->tensor = fresh;
  } else {
    status = moon_tensor_copy(ctx, v->tensor, t);
  }
  moon__variable_changed(v);
  return status;
}
