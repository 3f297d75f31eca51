/*
** window.h: what kernels of convolution and pooling share: the geometry as parameters and as words of their texts. x [n, i.., c],
** y [n, o.., f], w [k.., c / groups, f]; always three spatial axes. p.v[0]: work-items' elements; geometry from p.v[1] on.
*/
#ifndef MOON_CL_WINDOW_H
#define MOON_CL_WINDOW_H
#include "family.h"
#include "ops/attrs.h"

enum { MOON_CL_GEOMETRY = 22 };
/* Writes the geometry to p [MOON_CL_GEOMETRY]. */
void moon__cl_geometry(const moon_geometry *g, int64_t *p);

#define MOON_CL_WINDOW                                                                                              \
  const long batch = p.v[1]; const long groups = p.v[2]; const long cx = p.v[3]; const long cy = p.v[4];             \
  const long i0n = p.v[5]; const long i1n = p.v[6]; const long i2n = p.v[7];                                         \
  const long o0n = p.v[8]; const long o1n = p.v[9]; const long o2n = p.v[10];                                        \
  const long k0n = p.v[11]; const long k1n = p.v[12]; const long k2n = p.v[13];                                      \
  const long s0 = p.v[14]; const long s1 = p.v[15]; const long s2 = p.v[16];                                         \
  const long d0 = p.v[17]; const long d1 = p.v[18]; const long d2 = p.v[19];                                         \
  const long l0 = p.v[20]; const long l1 = p.v[21]; const long l2 = p.v[22];
/* Position i of x that the window at o sees through tap k, on one axis. */
#define MOON_CL_SEES(axis) \
  const long i##axis = o##axis * s##axis + k##axis * d##axis - l##axis; if (i##axis < 0 || i##axis >= i##axis##n) continue;
/* The window o whose tap k sees position i. */
#define MOON_CL_SEEING(axis)                                                             \
  const long t##axis = i##axis + l##axis - k##axis * d##axis; if (t##axis < 0 || t##axis % s##axis) continue; \
  const long o##axis = t##axis / s##axis; if (o##axis >= o##axis##n) continue;
/* Loops over the taps. */
#define MOON_CL_TAPS(check)                                       \
  for (long k0 = 0; k0 < k0n; k0++) { check(0)                     \
    for (long k1 = 0; k1 < k1n; k1++) { check(1)                   \
      for (long k2 = 0; k2 < k2n; k2++) { check(2)
/* Loops over the windows o0, o1, o2 that see position i0, i1, i2, in the order of their taps. */
#define MOON_CL_SEEN_BY(axis)                                                            \
  for (long o##axis = min(o##axis##n - 1, (i##axis + l##axis) / s##axis); o##axis >= 0; o##axis--) { \
    const long t##axis = i##axis + l##axis - o##axis * s##axis;                            \
    if (t##axis > (k##axis##n - 1) * d##axis) break;                                       \
    if (d##axis != 1 && t##axis % d##axis) continue;
#define MOON_CL_WINDOWS MOON_CL_SEEN_BY(0) MOON_CL_SEEN_BY(1) MOON_CL_SEEN_BY(2)
/* What tap k0, k1, k2 multiplies for place n0_[at], n1_[at], n2_[at] of the result: m0, m1, m2, and whether it is inside. */
#define MOON_CL_FIND_INPUT(at)                                                                                 \
  const long m0 = n0_[at] * s0 + k0 * d0 - l0; const long m1 = n1_[at] * s1 + k1 * d1 - l1;                      \
  const long m2 = n2_[at] * s2 + k2 * d2 - l2;                                                                  \
  const bool inside = m0 >= 0 && m0 < i0n && m1 >= 0 && m1 < i1n && m2 >= 0 && m2 < i2n;
#define MOON_CL_FIND_OUTPUT(at)                                                                                \
  const long t0 = n0_[at] + l0 - k0 * d0; const long t1 = n1_[at] + l1 - k1 * d1; const long t2 = n2_[at] + l2 - k2 * d2; \
  const long m0 = t0 / s0; const long m1 = t1 / s1; const long m2 = t2 / s2;                                    \
  const bool inside = t0 >= 0 && t0 % s0 == 0 && m0 < o0n && t1 >= 0 && t1 % s1 == 0 && m1 < o1n &&              \
                      t2 >= 0 && t2 % s2 == 0 && m2 < o2n;
#endif
