/*
** isa.h: which instruction sets kernels are compiled for, and which one this machine runs. Files named *_isa.c are compiled once
** per set, with -DMOON_ISA=baseline, avx2 or avx512 and the compiler's flags for it; every symbol they export goes through
** MOON_ISA_NAME, so that the sets live side by side. Only baseline exists where the machine is not x86-64.
*/
#ifndef MOON_ISA_H
#define MOON_ISA_H
#include <stdbool.h>

typedef enum moon_isa { MOON_ISA_LEVEL_baseline, MOON_ISA_LEVEL_avx2, MOON_ISA_LEVEL_avx512 } moon_isa;

/* The best set that the processor and the system have; MOONLET_ISA can only lower it: baseline, avx2, avx512, amx (with the matrix unit). */
moon_isa moon__cpu_isa(void);
/* Tiles of bf16 (AMX), beside AVX-512. */
bool moon__cpu_has_matrix_unit(void);

#define MOON_ISA_PASTE_TOKENS(a, b) a##_##b
#define MOON_ISA_PASTE(a, b) MOON_ISA_PASTE_TOKENS(a, b)
/* In a *_isa.c: the name of an exported symbol. */
#define MOON_ISA_NAME(name) MOON_ISA_PASTE(name, MOON_ISA)
/* "avx512": the set this file is being compiled for. */
#define MOON_ISA_QUOTE_TOKEN(a) #a
#define MOON_ISA_QUOTE(a) MOON_ISA_QUOTE_TOKEN(a)

#if defined(__x86_64__)
/* Declares a symbol of every set, and picks the one of a set. */
#define MOON_ISA_DECLARE(type, name) extern type name##_baseline, name##_avx2, name##_avx512;
#define MOON_ISA_PICK(isa, name) \
  ((isa) == MOON_ISA_LEVEL_avx512 ? &name##_avx512 : (isa) == MOON_ISA_LEVEL_avx2 ? &name##_avx2 : &name##_baseline)
/* A kernel's name, by set: cpu_matmul_f32_avx512. */
#define MOON_ISA_TEXT(isa, stem) \
  ((isa) == MOON_ISA_LEVEL_avx512 ? stem "_avx512" : (isa) == MOON_ISA_LEVEL_avx2 ? stem "_avx2" : stem "_baseline")
#else
#define MOON_ISA_DECLARE(type, name) extern type name##_baseline;
#define MOON_ISA_PICK(isa, name) ((void)(isa), &name##_baseline)
#define MOON_ISA_TEXT(isa, stem) ((void)(isa), stem "_baseline")
#endif
#endif
