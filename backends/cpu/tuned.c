/*
** tuned.c: rows of the cost table (core/tune.h) that are shipped for CPUs, in tuned.def: a line an instruction set, op and shape, as
** `make tune` prints them.
*/
#include "cpu.h"

const char moon__cpu_tuned[] =
#define ROW(text) text "\n"
#include "tuned.def"
#undef ROW
    "";
