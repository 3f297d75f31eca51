/* check.h: for C specs: what does not hold is printed with its line, and ends the program. */
#ifndef MOON_SPEC_CHECK_H
#define MOON_SPEC_CHECK_H
#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                     \
  do {                                               \
    if (!(x)) {                                      \
      printf("failed: line %d: %s\n", __LINE__, #x); \
      exit(1);                                       \
    }                                                \
  } while (0)
#endif
