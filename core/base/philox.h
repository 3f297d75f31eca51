/*
** philox.h: the random numbers of Moonlet: which bits element i of a random node gets. Every backend prints or compiles the same
** text; nothing here keeps state. The generator is Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
** SC 2011), checked against the known answers of Random123.
**
** One draw of four 32-bit words w0..w3 belongs to each logical element:
**   counter = { index low, index high, step low ^ low(mix(fold)), stream low }
**   stream  = that of the node + that of the run (0 but for single ops computed at once)
**   key     = mix(seed + GOLDEN) ^ mix(step high << 32 | stream high), low word first
** mix is a bijection of 64 bits with mix(0) = 0. What ops make of the words, over their bounds a and b:
**   uniform f32    u = (w0 >> 8) * 2^-24 in [0, 1);          min(fma(u, f32(b - a), f32(a)), top)
**   uniform f64    u = ((w1:w0) >> 11) * 2^-53 in [0, 1);    min(fma(u, b - a, a), top)
**                  top: the number before b seen from a when a < b, else +infinity: rounding never reaches b
**   normal f32     u = w0 * 2^-32 + 2^-33 in (0, 1), v = w1 * 2^-32;  a + b * sqrt(-2 log u) * cos(2 pi v)
**   normal f64     u = ((w1:w0) >> 11) * 2^-53 + 2^-54, v = ((w3:w2) >> 11) * 2^-53; the same formula
**   bernoulli      w0 < round(a * 2^32), in 64 bits (a = 1 is always true)
**   integers       a + high 64 bits of (w1:w0) * (b - a)
**   permutation    positions 0..n-1 in the order of the pairs (w1:w0 of the position, position)
** (wj:wi) is the 64-bit number with high word wj. uniform, bernoulli, integers and permutation are equal to the bit everywhere;
** normal is as exact as a device's log, sqrt and cos.
*/
#ifndef MOON_PHILOX_H
#define MOON_PHILOX_H
#include <math.h>
#include <stdint.h>

/* What is the same for all elements of a launch. */
typedef struct moon_philox { uint32_t key[2], step, stream; } moon_philox;
typedef struct moon_draw { uint32_t w[4]; } moon_draw;

/* The finaliser of SplitMix64. */
static inline uint64_t moon__mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* Ten rounds over counter c with key k. */
static inline moon_draw moon__philox_rounds(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    uint64_t p = (uint64_t)0xD2511F53u * c0, q = (uint64_t)0xCD9E8D57u * c2;
    c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)q;
    c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (moon_draw){{c0, c1, c2, c3}};
}

static inline moon_philox moon__philox(uint64_t seed, uint64_t step, uint64_t fold, int64_t stream) {
  uint64_t s = (uint64_t)stream;
  uint64_t key = moon__mix64(seed + UINT64_C(0x9E3779B97F4A7C15)) ^ moon__mix64((step >> 32 << 32) | s >> 32);
  return (moon_philox){{(uint32_t)key, (uint32_t)(key >> 32)}, (uint32_t)step ^ (uint32_t)moon__mix64(fold), (uint32_t)s};
}
static inline moon_draw moon__draw(const moon_philox *r, int64_t index) {
  uint64_t i = (uint64_t)index;
  return moon__philox_rounds((uint32_t)i, (uint32_t)(i >> 32), r->step, r->stream, r->key[0], r->key[1]);
}

static inline uint64_t moon__draw_u64(moon_draw d) { return (uint64_t)d.w[1] << 32 | d.w[0]; }
static inline float moon__draw_unit_f32(moon_draw d) { return (float)(d.w[0] >> 8) * 0x1p-24f; }
static inline double moon__draw_unit_f64(moon_draw d) { return (double)(moon__draw_u64(d) >> 11) * 0x1p-53; }

/* Standard normal numbers by Box and Muller's transform; only one of each pair is used, so that any element stands alone. */
static inline double moon__box_muller(double u, double v) { return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v); }
static inline double moon__draw_normal_f32(moon_draw d) { /* before it is scaled and rounded to f32 */
  return moon__box_muller((double)d.w[0] * 0x1p-32 + 0x1p-33, (double)d.w[1] * 0x1p-32);
}
static inline double moon__draw_normal_f64(moon_draw d) {
  uint64_t high = (uint64_t)d.w[3] << 32 | d.w[2];
  return moon__box_muller(moon__draw_unit_f64(d) + 0x1p-54, (double)(high >> 11) * 0x1p-53);
}

/* round(p * 2^32) for a probability p; below 0 and NaN count as 0, above 1 as 1. */
static inline uint64_t moon__bernoulli_limit(double p) {
  return !(p > 0) ? 0 : p >= 1 ? (uint64_t)1 << 32 : (uint64_t)(p * 0x1p32 + 0.5);
}
/* High 64 bits of a * b. */
static inline uint64_t moon__mulhi_u64(uint64_t a, uint64_t b) {
  uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
  uint64_t mid = ah * bl + (al * bl >> 32), cross = al * bh + (uint32_t)mid;
  return ah * bh + (mid >> 32) + (cross >> 32);
}
#endif
