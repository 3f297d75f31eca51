/*
** backends.c: the backends that are compiled in, in the order in which a runtime opens them. Nothing else belongs here; each
** backend lives in its own folder.
*/
#include "backend.h"

#ifdef MOON_HAVE_OPENCL
extern const moon_backend moon__opencl_backend;
#endif

const moon_backend *const moon__backends[] = {
    &moon__cpu_backend,
#ifdef MOON_HAVE_OPENCL
    &moon__opencl_backend,
#endif
    NULL,
};
