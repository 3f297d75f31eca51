/* plain.c: walks, copies, sums and sorting for the plain kernels. See plain.h. */
#include "plain.h"

int64_t moon__sizes_count(int ndim, const int64_t *sizes) {
  int64_t n = 1;
  for (int i = 0; i < ndim; i++)
    if (sizes[i] == 0) return 0;
  for (int i = 0; i < ndim; i++) n *= sizes[i];
  return n;
}

int64_t moon__jobs_by_output(const moon_node *node) { return moon__job_count(moon__output_count(node), 1); }

int64_t moon__offset_at(int ndim, const int64_t *shape, const int64_t *strides, int64_t at) {
  int64_t offset = 0;
  for (int i = ndim - 1; i >= 0; i--) {
    offset += at % shape[i] * strides[i];
    at /= shape[i];
  }
  return offset;
}

void moon__index_at(int ndim, const int64_t *shape, int64_t at, int64_t *index) {
  for (int i = ndim - 1; i >= 0; i--) {
    index[i] = at % shape[i];
    at /= shape[i];
  }
}

/* Can axis i be one with the axis behind it, d, in every array? */
static bool can_merge(const moon_walk *w, const moon_array *arrays, int i, int d) {
  for (int k = 0; k < w->n; k++)
    if (arrays[k].strides[i] != w->strides[k][d] * w->shape[d]) return false;
  return true;
}

/* Axes are collected from the last to the first, then turned round. */
void moon__walk_init(moon_walk *w, int n, const moon_array *arrays) {
  memset(w, 0, sizeof *w);
  w->n = n;
  for (int k = 0; k < n; k++) {
    w->base[k] = arrays[k].data;
    w->bytes[k] = (int64_t)moon_dtype_bytes(arrays[k].dtype);
  }
  w->ndim = 1; /* nothing to visit: sizes beside a 0 may be too large to multiply */
  if (moon__array_count(arrays) == 0) return;
  int d = -1;
  for (int i = arrays[0].ndim - 1; i >= 0; i--) {
    if (arrays[0].shape[i] == 1) continue;
    if (d >= 0 && can_merge(w, arrays, i, d)) {
      w->shape[d] *= arrays[0].shape[i];
      continue;
    }
    w->shape[++d] = arrays[0].shape[i];
    for (int k = 0; k < n; k++) w->strides[k][d] = arrays[k].strides[i];
  }
  if (d < 0) w->shape[++d] = 1;
  w->ndim = d + 1;
  for (int i = 0, j = d; i < j; i++, j--) {
    int64_t t = w->shape[i];
    w->shape[i] = w->shape[j], w->shape[j] = t;
    for (int k = 0; k < n; k++) t = w->strides[k][i], w->strides[k][i] = w->strides[k][j], w->strides[k][j] = t;
  }
}

bool moon__walk_next(moon_walk *w) {
  if (w->next >= w->last) return false;
  int d = w->ndim - 1;
  w->at = w->next;
  w->run = moon__min_i64(w->shape[d] - w->at % w->shape[d], w->last - w->at);
  w->next += w->run;
  for (int k = 0; k < w->n; k++) {
    w->p[k] = w->base[k] + moon__offset_at(w->ndim, w->shape, w->strides[k], w->at) * w->bytes[k];
    w->step[k] = w->strides[k][d];
  }
  return true;
}

static void copy_run(char *out, const char *x, int64_t step, int64_t n, int64_t bytes) {
  if (step == 1) {
    memcpy(out, x, (size_t)(n * bytes));
  } else if (bytes == 1) {
    for (int64_t i = 0; i < n; i++) out[i] = x[i * step];
  } else if (bytes == 2) {
    for (int64_t i = 0; i < n; i++) ((uint16_t *)(void *)out)[i] = ((const uint16_t *)(const void *)x)[i * step];
  } else if (bytes == 4) {
    for (int64_t i = 0; i < n; i++) ((uint32_t *)(void *)out)[i] = ((const uint32_t *)(const void *)x)[i * step];
  } else {
    for (int64_t i = 0; i < n; i++) ((uint64_t *)(void *)out)[i] = ((const uint64_t *)(const void *)x)[i * step];
  }
}

enum { SQUARE = 16 }; /* elements of 4 bytes of a cache line */

/* Copies rows [rows, n] densely; row r begins r elements behind x, its elements lie step apart. */
static void copy_turned(char *out, const char *x, int64_t step, int64_t n, int64_t rows, int64_t bytes) {
  for (int64_t i = 0; i < n; i += SQUARE) {
    for (int64_t r = 0; r < rows; r++)
      copy_run(out + (r * n + i) * bytes, x + (r + i * step) * bytes, step, moon__min_i64(SQUARE, n - i), bytes);
  }
}

/* Rows of a transposed array are copied some at a time, so that each line of x is read once. */
void moon__copy_elements(const moon_array *x, int64_t first, int64_t last, char *out) {
  moon_walk w;
  moon__walk_init(&w, 1, x);
  moon__walk_set(&w, first, last);
  int64_t row = w.shape[w.ndim - 1], beside = w.ndim > 1 && w.strides[0][w.ndim - 2] == 1 ? w.shape[w.ndim - 2] : 1;
  while (moon__walk_next(&w)) {
    char *y = out + (w.at - first) * w.bytes[0];
    int64_t rows = 1;
    if (beside > 1 && w.run == row) rows = moon__min_i64(moon__min_i64(SQUARE, beside - w.at / row % beside), (last - w.at) / row);
    if (rows > 1) copy_turned(y, w.p[0], w.step[0], row, rows, w.bytes[0]);
    else copy_run(y, w.p[0], w.step[0], w.run, w.bytes[0]);
    w.next = w.at + rows * w.run;
  }
}

/* ---- Lines ---- */

moon_lines moon__lines_of(const moon_array *x, int64_t axis) {
  moon_lines l = {.n = 1};
  for (int i = 0, a = moon__axis_at(axis, x->ndim); i < x->ndim; i++) {
    if (i == a) {
      l.n = x->shape[i];
      l.step = x->strides[i];
    } else {
      l.shape[l.ndim] = x->shape[i];
      l.strides[l.ndim++] = x->strides[i];
    }
  }
  l.count = moon__sizes_count(l.ndim, l.shape);
  return l;
}

int64_t moon__line_length(const moon_node *node, int64_t axis) {
  const moon_shape *x = moon__shape_of(node->inputs[0]);
  return x->ndim ? x->dim[moon__axis_at(axis, x->ndim)] : 1;
}

int64_t moon__line_count(const moon_node *node, int64_t axis) {
  const moon_shape *x = moon__shape_of(node->inputs[0]);
  int a = moon__axis_at(axis, x->ndim);
  int64_t before = moon__count_between(x->dim, 0, a), after = moon__count_between(x->dim, a + 1, x->ndim);
  return moon__work_mul(before, after);
}

/* ---- Windows ---- */

moon_spatial moon__spatial_strides(const moon_array *x) {
  moon_spatial r = {.n = x->strides[0], .c = x->strides[x->ndim - 1]};
  for (int i = 1; i < x->ndim - 1; i++) r.s[i + 4 - x->ndim] = x->strides[i];
  return r;
}

moon_spatial moon__filter_strides(const moon_array *w) {
  moon_spatial r = {.n = w->strides[w->ndim - 2], .c = w->strides[w->ndim - 1]};
  for (int i = 0; i < w->ndim - 2; i++) r.s[i + 5 - w->ndim] = w->strides[i];
  return r;
}

bool moon__window_sees(const moon_geometry *g, const int64_t *o, const int64_t *k, int64_t *i) {
  for (int d = 0; d < 3; d++) {
    i[d] = o[d] * g->stride[d] + k[d] * g->dilation[d] - g->pad_lo[d];
    if (i[d] < 0 || i[d] >= g->in[d]) return false;
  }
  return true;
}

bool moon__window_seeing(const moon_geometry *g, const int64_t *i, const int64_t *k, int64_t *o) {
  for (int d = 0; d < 3; d++) {
    int64_t t = i[d] + g->pad_lo[d] - k[d] * g->dilation[d];
    if (t < 0 || t % g->stride[d] != 0) return false;
    o[d] = t / g->stride[d];
    if (o[d] >= g->out[d]) return false;
  }
  return true;
}

moon_stretch moon__stretch(const int64_t *s, int64_t c, int64_t block, int64_t at, int64_t last) {
  int64_t row = at / c, area = moon__count3(s);
  moon_stretch r = {.at = at, .b = row / area, .c = at % c};
  moon__index_at(3, s, row % area, r.s);
  r.n = moon__min_i64(moon__min_i64(block - r.c % block, MOON_STRETCH), last - at);
  return r;
}

/* ---- Sums ---- */

void moon__sums_add(moon_sum *sums, const char *row, moon_dtype dtype, int64_t stride, int64_t n) {
  switch (dtype) {
#define FLOAT_ROW(name, type)                                                                     \
  case MOON_DTYPE_##name:                                                                         \
    for (int64_t j = 0; j < n; j++) sums[j].f += (double)((const type *)(const void *)row)[j * stride]; \
    break;
#define INTEGER_ROW(name, type)                                                                   \
  case MOON_DTYPE_##name:                                                                         \
    for (int64_t j = 0; j < n; j++) sums[j].i += (uint64_t)((const type *)(const void *)row)[j * stride]; \
    break;
    MOON_FLOAT_TYPES(FLOAT_ROW)
    MOON_INTEGER_TYPES(INTEGER_ROW)
#undef FLOAT_ROW
#undef INTEGER_ROW
    default: break; /* halves are widened before */
  }
}

void moon__sums_add_scaled(moon_sum *sums, const char *a, const char *row, moon_dtype dtype, int64_t stride, int64_t n) {
  switch (dtype) {
#define FLOAT_ROW(name, type)                                                                          \
  case MOON_DTYPE_##name: {                                                                            \
    double scale = (double)*(const type *)(const void *)a;                                             \
    for (int64_t j = 0; j < n; j++) sums[j].f += scale * (double)((const type *)(const void *)row)[j * stride]; \
    break;                                                                                             \
  }
#define INTEGER_ROW(name, type)                                                                        \
  case MOON_DTYPE_##name: {                                                                            \
    uint64_t scale = (uint64_t)*(const type *)(const void *)a;                                         \
    for (int64_t j = 0; j < n; j++) sums[j].i += scale * (uint64_t)((const type *)(const void *)row)[j * stride]; \
    break;                                                                                             \
  }
    MOON_FLOAT_TYPES(FLOAT_ROW)
    MOON_INTEGER_TYPES(INTEGER_ROW)
#undef FLOAT_ROW
#undef INTEGER_ROW
    default: break; /* halves are widened before */
  }
}

void moon__sum_add_dot(moon_sum *sum, const char *a, int64_t a_stride, const char *b, int64_t b_stride, moon_dtype dtype,
                       int64_t n) {
  switch (dtype) {
#define FLOAT_ROW(name, type)                                                                     \
  case MOON_DTYPE_##name: {                                                                       \
    const type *p = (const void *)a, *q = (const void *)b;                                        \
    double s = sum->f;                                                                            \
    for (int64_t j = 0; j < n; j++) s += (double)p[j * a_stride] * (double)q[j * b_stride];       \
    sum->f = s;                                                                                   \
    break;                                                                                        \
  }
#define INTEGER_ROW(name, type)                                                                   \
  case MOON_DTYPE_##name: {                                                                       \
    const type *p = (const void *)a, *q = (const void *)b;                                        \
    for (int64_t j = 0; j < n; j++) sum->i += (uint64_t)p[j * a_stride] * (uint64_t)q[j * b_stride]; \
    break;                                                                                        \
  }
    MOON_FLOAT_TYPES(FLOAT_ROW)
    MOON_INTEGER_TYPES(INTEGER_ROW)
#undef FLOAT_ROW
#undef INTEGER_ROW
    default: break; /* halves are widened before */
  }
}

void moon__sums_store(const moon_sum *sums, moon_dtype of, char *out, moon_dtype out_dtype, int64_t i, int64_t n) {
  if (moon__dtype_is_float(of)) {
    for (int64_t j = 0; j < n; j++) moon__store_f64(out, out_dtype, i + j, sums[j].f);
  } else {
    for (int64_t j = 0; j < n; j++) moon__store_i64(out, out_dtype, i + j, (int64_t)sums[j].i);
  }
}

/* ---- Sorting ---- */

static void merge_pairs(const moon_pair *a, int64_t na, const moon_pair *b, int64_t nb, moon_pair *out) {
  int64_t i = 0, j = 0;
  while (i < na && j < nb) *out++ = b[j].key < a[i].key ? b[j++] : a[i++];
  while (i < na) *out++ = a[i++];
  while (j < nb) *out++ = b[j++];
}

void moon__sort_pairs(moon_pair *a, moon_pair *tmp, int64_t n) {
  moon_pair *from = a, *to = tmp;
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t i = 0; i < n; i += 2 * width) {
      int64_t na = moon__min_i64(width, n - i), nb = moon__min_i64(width, n - i - na);
      merge_pairs(from + i, na, from + i + na, nb, to + i);
    }
    moon_pair *t = from;
    from = to, to = t;
  }
  if (from != a) memcpy(a, from, (size_t)n * sizeof *a);
}
