/*
** vector.h: vectors of the compiler's own kind (GCC and Clang vector extensions), as wide as the instruction set this file is
** compiled for. What the extensions lack, a multiply-add in one rounding and loads and stores of part of a vector, is here too.
** Only *_isa.c files include it; nothing in here is exported.
*/
#ifndef MOON_VECTOR_H
#define MOON_VECTOR_H
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE__)
#include <xmmintrin.h>
#endif

#if defined(__AVX512F__)
#define VL 16
#elif defined(__AVX2__)
#define VL 8
#else
#define VL 4
#endif

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef float vfu __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t viu __attribute__((vector_size(4 * VL), aligned(4), may_alias));

#define MOON_INLINE static inline __attribute__((always_inline, unused))
#define MOON_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define MOON_UNROLL(n) MOON_PRAGMA(clang loop unroll(full))
#define MOON_IVDEP MOON_PRAGMA(clang loop vectorize(assume_safety))
#else
#define MOON_UNROLL(n) MOON_PRAGMA(GCC unroll n)
#define MOON_IVDEP MOON_PRAGMA(GCC ivdep)
#endif

MOON_INLINE vf vload(const float *p) { return *(const vfu *)p; }
MOON_INLINE void vstore(float *p, vf v) { *(vfu *)p = v; }
/* Past the caches, to a place aligned like a vector; whoever stored so calls vstream_end before others may read it. */
MOON_INLINE void vstream(float *p, vf v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__SSE__)
  _mm_stream_ps(p, (__m128)v);
#else
  vstore(p, v);
#endif
}
MOON_INLINE void vstream_end(void) {
#if defined(__SSE__)
  _mm_sfence();
#endif
}
MOON_INLINE vf vsplat(float x) { return x - (vf){0}; }
MOON_INLINE vf vfma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
/* The first n < VL lanes; the others are 0 and their memory is not touched. */
#if defined(__AVX2__) && !defined(__AVX512F__)
MOON_INLINE __m256i vpart_mask(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif
MOON_INLINE vf vload_part(const float *p, int64_t n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps(p, vpart_mask(n));
#else
  vf v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
#endif
}
MOON_INLINE void vstore_part(float *p, vf v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, vpart_mask(n), (__m256)v);
#else
  memcpy(p, &v, (size_t)n * sizeof *p);
#endif
}
/* a where the mask's lane is -1, else b. */
MOON_INLINE vf vselect(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
/* The larger; b where either is NaN. */
MOON_INLINE vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE__)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
  return vselect(a > b, a, b);
#endif
}
/* NaN when either is NaN. */
MOON_INLINE vf vmax_nan(vf a, vf b) { return vselect((a > b) | (a != a), a, b); }
MOON_INLINE vf vmin_nan(vf a, vf b) { return vselect((a < b) | (a != a), a, b); }

/* The first n < VL lanes; the others hold fill. */
MOON_INLINE vf vload_filled(const float *p, int64_t n, float fill) {
  vf v = vsplat(fill);
#if defined(__AVX512F__)
  return (vf)_mm512_mask_loadu_ps((__m512)v, (__mmask16)((1u << n) - 1), p);
#else
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
#endif
}

/* VL numbers stored as bf16, and as f16 where the processor converts them. Rounded as base/half.h does. */
typedef uint16_t vh __attribute__((vector_size(2 * VL)));
typedef uint16_t vhu __attribute__((vector_size(2 * VL), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * VL)));
MOON_INLINE vu vwiden(const uint16_t *p) { /* what compilers make of __builtin_convertvector is slower */
#if defined(__AVX512F__)
  return (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__AVX2__)
  return (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
  return __builtin_convertvector((vh) * (const vhu *)p, vu);
#endif
}
MOON_INLINE vf vload_bf16(const uint16_t *p) { return (vf)(vwiden(p) << 16); }
MOON_INLINE void vstore_bf16(uint16_t *p, vf v) {
  vu u = (vu)v, rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, nan = u >> 16 | 0x40;
  vi is_nan = v != v;
  *(vhu *)p = (vhu)__builtin_convertvector(((vu)is_nan & nan) | (~(vu)is_nan & rounded), vh);
}
#if defined(__AVX512F__)
#define MOON_HAS_F16
MOON_INLINE vf vload_f16(const uint16_t *p) { return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
MOON_INLINE void vstore_f16(uint16_t *p, vf v) {
  _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif defined(__F16C__)
#define MOON_HAS_F16
MOON_INLINE vf vload_f16(const uint16_t *p) { return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
MOON_INLINE void vstore_f16(uint16_t *p, vf v) {
  _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#endif

/* Combines the lanes by halves, a fixed tree: v op= v turned by VL / 2, VL / 4, .. lanes. */
#if VL == 16
#define MOON_TURN_8(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define MOON_TURN_4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define MOON_TURN_2(v) __builtin_shufflevector(v, v, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define MOON_TURN_1(v) __builtin_shufflevector(v, v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
#define MOON_TURNS(STEP) STEP(MOON_TURN_8) STEP(MOON_TURN_4) STEP(MOON_TURN_2) STEP(MOON_TURN_1)
#elif VL == 8
#define MOON_TURN_4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3)
#define MOON_TURN_2(v) __builtin_shufflevector(v, v, 2, 3, 4, 5, 6, 7, 0, 1)
#define MOON_TURN_1(v) __builtin_shufflevector(v, v, 1, 2, 3, 4, 5, 6, 7, 0)
#define MOON_TURNS(STEP) STEP(MOON_TURN_4) STEP(MOON_TURN_2) STEP(MOON_TURN_1)
#else
#define MOON_TURN_2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1)
#define MOON_TURN_1(v) __builtin_shufflevector(v, v, 1, 2, 3, 0)
#define MOON_TURNS(STEP) STEP(MOON_TURN_2) STEP(MOON_TURN_1)
#endif
MOON_INLINE float vsum(vf v) {
#define MOON_STEP(turn) v += turn(v);
  MOON_TURNS(MOON_STEP)
#undef MOON_STEP
  return v[0];
}
/* The largest that is not NaN. */
MOON_INLINE float vmost(vf v) {
#define MOON_STEP(turn) v = vmax(v, turn(v));
  MOON_TURNS(MOON_STEP)
#undef MOON_STEP
  return v[0];
}
MOON_INLINE float vmax_lanes(vf v) {
#define MOON_STEP(turn) v = vmax_nan(v, turn(v));
  MOON_TURNS(MOON_STEP)
#undef MOON_STEP
  return v[0];
}
MOON_INLINE float vmin_lanes(vf v) {
#define MOON_STEP(turn) v = vmin_nan(v, turn(v));
  MOON_TURNS(MOON_STEP)
#undef MOON_STEP
  return v[0];
}
#endif
