/*
** number.h: numbers as text and back, exact to the last bit and the same in every locale. Integers of sizes are read where they
** are needed; this is for values.
*/
#ifndef MOON_NUMBER_H
#define MOON_NUMBER_H
#include <stdint.h>

/* The shortest of 15 to 17 digits that reads back equal: "0.1", "-3", "1e+300", "inf", "nan". */
#define MOON_NUMBER_BYTES 40
const char *moon__number_write(double x, char buf[MOON_NUMBER_BYTES]);
/* The same for a float, of 6 to 9 digits. */
const char *moon__number_write_f32(float x, char buf[MOON_NUMBER_BYTES]);
/* Reads a number at the start of [text, end): decimal, inf or nan, with a sign. Gives the place behind it, NULL when there is none
** (or one of more than 300 characters). */
const char *moon__number_read(const char *text, const char *end, double *x);
/* The same for whole numbers of 64 bits; NULL also when it does not fit. */
const char *moon__integer_read(const char *text, const char *end, int64_t *x);
#endif
