/*
** buffer.c: the memory of buffers. A driver spends time in each launch on every memory object that it works on, and more to make
** one, so small buffers share objects: a "slab" is cut into UNITS pieces, and a buffer takes as many neighbours as it needs. What was
** asked for before a buffer was freed still runs before what its memory is used for next, as the queue is in order.
*/
#include "base/alloc.h"
#include "base/context.h"
#include "step.h"

enum { UNIT = 2048, UNITS = 64, MOST_UNITS = 8 }; /* bytes; of a slab; of a small buffer */

struct moon_cl_slab {
  moon_cl_slab *next;
  cl_mem memory;
  uint64_t used; /* bit i: unit i */
};

static uint64_t bits_of(int units, int at) { return (((uint64_t)1 << units) - 1) << at; }

/* Where so many free units lie; -1: nowhere. */
static int find_units(const moon_cl_slab *slab, int units) {
  for (int at = 0; at + units <= UNITS; at++)
    if (!(slab->used & bits_of(units, at))) return at;
  return -1;
}

static cl_mem make_memory(moon_cl_device *d, size_t bytes) {
  int32_t code = CL_SUCCESS;
  cl_mem memory = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
  return code == CL_SUCCESS ? memory : NULL;
}

static moon_cl_slab *add_slab(moon_cl_device *d) {
  moon_cl_slab *slab = moon__alloc(d->device->runtime, sizeof *slab);
  if (slab) slab->memory = make_memory(d, (size_t)UNIT * UNITS);
  if (!slab || !slab->memory) {
    moon__free(d->device->runtime, slab);
    return NULL;
  }
  slab->next = d->first_slab;
  d->first_slab = slab;
  return slab;
}

static bool take_units(moon_cl_device *d, moon_cl_buffer *b) {
  int at = -1;
  moon_cl_slab *slab;
  for (slab = d->first_slab; slab && (at = find_units(slab, b->units)) < 0;) slab = slab->next;
  if (!slab && (slab = add_slab(d))) at = 0;
  if (!slab) return false;
  slab->used |= bits_of(b->units, at);
  b->slab = slab;
  b->memory = slab->memory;
  b->offset = (size_t)at * UNIT;
  return true;
}

/* A slab without buffers goes. */
static void give_units(moon_cl_device *d, const moon_cl_buffer *b) {
  b->slab->used &= ~bits_of(b->units, (int)(b->offset / UNIT));
  if (b->slab->used) return;
  moon_cl_slab **at = &d->first_slab;
  while (*at != b->slab) at = &(*at)->next;
  *at = b->slab->next;
  d->cl.clReleaseMemObject(b->memory);
  moon__free(d->device->runtime, b->slab);
}

void *moon__cl_buffer_new(moon_device *device, size_t bytes, char **host_data) {
  moon_cl_device *d = device->data;
  moon_cl_buffer *b = moon__alloc(device->runtime, sizeof *b);
  *host_data = NULL;
  if (!b) return NULL;
  moon__mutex_lock(d->lock);
  if (bytes > (size_t)UNIT * MOST_UNITS) b->memory = make_memory(d, bytes);
  else {
    b->units = bytes ? (int)((bytes - 1) / UNIT) + 1 : 1;
    if (!take_units(d, b)) b->memory = NULL;
  }
  moon__mutex_unlock(d->lock);
  if (b->memory) return b;
  moon__free(device->runtime, b);
  return NULL;
}

void moon__cl_buffer_free(moon_device *device, void *handle) {
  moon_cl_device *d = device->data;
  moon_cl_buffer *b = handle;
  if (!b) return;
  moon__cl_forget(d, NULL, b);
  moon__mutex_lock(d->lock);
  if (b->slab) give_units(d, b);
  else d->cl.clReleaseMemObject(b->memory);
  moon__mutex_unlock(d->lock);
  moon__free(device->runtime, b);
}
