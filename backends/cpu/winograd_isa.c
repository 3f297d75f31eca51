/* winograd_isa.c: the transforms of Winograd convolution. See winograd.h. */
#include "winograd.h"

#include "vector.h"

#if VL == 4 && defined(__x86_64__) /* every x86-64 that is in a hurry has more */
const moon_winograd_set MOON_ISA_NAME(moon__winograd_set) = {.source = {0}};
#else

/* A transform of one line: n numbers at x, xs apart, become numbers at y, ys apart. That of a square is that of its columns, then
** of its rows. Points: 0, 1, -1, infinity, and 2, -2 for m = 4. */
#define X(i) x[(i) * xs]
#define Y(i) y[(i) * ys]
#define LINE(name) MOON_INLINE void name(const vf *x, const int xs, vf *y, const int ys)

LINE(source_2) {
  Y(0) = X(0) - X(2);
  Y(1) = X(1) + X(2);
  Y(2) = X(2) - X(1);
  Y(3) = X(1) - X(3);
}
LINE(source_4) {
  const vf four = vsplat(4), five = vsplat(5);
  vf even = X(4) - four * X(2), odd = X(3) - four * X(1), d = X(4) - X(2), e = X(3) - X(1);
  e += e;
  Y(0) = four * X(0) - five * X(2) + X(4);
  Y(1) = even + odd;
  Y(2) = even - odd;
  Y(3) = d + e;
  Y(4) = d - e;
  Y(5) = four * X(1) - five * X(3) + X(5);
}
LINE(filter_2) {
  const vf half = vsplat(0.5f);
  vf even = half * (X(0) + X(2)), odd = half * X(1);
  Y(0) = X(0);
  Y(1) = even + odd;
  Y(2) = even - odd;
  Y(3) = X(2);
}
LINE(filter_4) {
  const vf sixth = vsplat(-1.0f / 6), part = vsplat(1.0f / 24);
  vf even = sixth * (X(0) + X(2)), odd = sixth * X(1), more = part * (X(0) + vsplat(4) * X(2)), twice = vsplat(1.0f / 12) * X(1);
  Y(0) = vsplat(0.25f) * X(0);
  Y(1) = even + odd;
  Y(2) = even - odd;
  Y(3) = more + twice;
  Y(4) = more - twice;
  Y(5) = X(2);
}
LINE(target_2) {
  Y(0) = X(0) + X(1) + X(2);
  Y(1) = X(1) - X(2) - X(3);
}
LINE(target_4) {
  vf a = X(1) + X(2), b = X(1) - X(2), c = X(3) + X(4), d = X(3) - X(4);
  Y(0) = X(0) + a + c;
  Y(1) = b + vsplat(2) * d;
  Y(2) = a + vsplat(4) * c;
  Y(3) = b + vsplat(8) * d + X(5);
}
LINE(target_grad_2) {
  Y(0) = X(0);
  Y(1) = X(0) + X(1);
  Y(2) = X(0) - X(1);
  Y(3) = -X(1);
}
LINE(target_grad_4) {
  vf a = X(0) + X(2), b = X(1) + X(3), c = X(0) + vsplat(4) * X(2), d = vsplat(2) * X(1) + vsplat(8) * X(3);
  Y(0) = X(0);
  Y(1) = a + b;
  Y(2) = a - b;
  Y(3) = c + d;
  Y(4) = c - d;
  Y(5) = X(3);
}
LINE(filter_grad_2) {
  const vf half = vsplat(0.5f);
  vf sum = half * (X(1) + X(2));
  Y(0) = X(0) + sum;
  Y(1) = half * (X(1) - X(2));
  Y(2) = sum + X(3);
}
LINE(filter_grad_4) {
  const vf sixth = vsplat(1.0f / 6);
  vf sum = sixth * (X(1) + X(2)), more = X(3) + X(4);
  Y(0) = vsplat(0.25f) * X(0) - sum + vsplat(1.0f / 24) * more;
  Y(1) = sixth * (X(2) - X(1)) + vsplat(1.0f / 12) * (X(3) - X(4));
  Y(2) = sixth * more - sum + X(5);
}

/* The square: size_in x size_in -> size_out x size_out. */
#define SQUARE(line, size_in, size_out)                                                                      \
  static void square_##line(const float *const *x, float *const *y, int64_t channels) {                      \
    for (int64_t j = 0; j < channels; j += VL) {                                                             \
      vf half[size_out * size_in];                                                                           \
      MOON_UNROLL(6) for (int c = 0; c < size_in; c++) {                                                     \
        vf column[size_in];                                                                                  \
        MOON_UNROLL(6) for (int r = 0; r < size_in; r++) column[r] = vload(x[r * size_in + c] + j);          \
        line(column, 1, half + c, size_in);                                                                  \
      }                                                                                                      \
      MOON_UNROLL(6) for (int r = 0; r < size_out; r++) {                                                    \
        vf row[size_out];                                                                                    \
        line(half + r * size_in, 1, row, 1);                                                                 \
        MOON_UNROLL(6) for (int c = 0; c < size_out; c++) vstore(y[r * size_out + c] + j, row[c]);           \
      }                                                                                                      \
    }                                                                                                        \
  }
SQUARE(source_2, 4, 4)
SQUARE(source_4, 6, 6)
SQUARE(filter_2, 3, 4)
SQUARE(filter_4, 3, 6)
SQUARE(target_2, 4, 2)
SQUARE(target_4, 6, 4)
SQUARE(target_grad_2, 2, 4)
SQUARE(target_grad_4, 4, 6)
SQUARE(filter_grad_2, 4, 3)
SQUARE(filter_grad_4, 6, 3)

const moon_winograd_set MOON_ISA_NAME(moon__winograd_set) = {
    .source = {square_source_2, square_source_4},
    .filter = {square_filter_2, square_filter_4},
    .target = {square_target_2, square_target_4},
    .target_grad = {square_target_grad_2, square_target_grad_4},
    .filter_grad = {square_filter_grad_2, square_filter_grad_4},
};
#endif
