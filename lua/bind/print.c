/*
** print.c: tensors as text, like NumPy's: nested brackets, columns aligned, one format for all numbers shown, and "..." in the
** middle of axes when there are more than 1000 elements. "Tensor f32 (2, 3)" stands in front, so that shape and dtype are
** always seen.
*/
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/shape.h"
#include "tensor.h"
#include "tensor/tensor.h"

#define MANY 1000
#define EDGE 3
#define LINE_CHARS 80

typedef struct printer {
  lua_State *L;
  luaL_Buffer out;
  const moon_tensor *t;
  const char *data;               /* element 0 */
  int64_t strides[MOON_MAX_DIMS]; /* bytes */
  bool abbreviated;
  char format; /* 'i' integer, 'b' bool, 'f' fixed, 'e' exponent */
  int digits, width;
  int column;
} printer;

/* ---- which elements are shown, and how ---- */

/* Where the gap of an axis begins and ends. */
static int64_t gap_first(const printer *p, int64_t n) { return p->abbreviated && n > 2 * EDGE ? EDGE : n; }
static int64_t gap_last(const printer *p, int64_t n) { return p->abbreviated && n > 2 * EDGE ? n - EDGE : n; }

typedef struct printer_range {
  double largest; /* magnitude */
  int digits;     /* after the point, up to MAX_DIGITS */
} printer_range;
#define MAX_DIGITS 4

static double float_at(const printer *p, const char *at) {
  double x;
  moon__convert(&x, MOON_DTYPE_f64, at, moon_tensor_dtype(p->t));
  return x;
}

/* Digits after the point that x needs, at most MAX_DIGITS. */
static int digits_of(double x) {
  double scale = 1;
  for (int digits = 0; digits < MAX_DIGITS; digits++, scale *= 10) {
    if (fabs(x * scale - rint(x * scale)) < 5e-6 * scale) return digits;
  }
  return MAX_DIGITS;
}

/* A long axis is abbreviated even when an axis of size 0 leaves nothing to show. */
static bool is_large(const moon_tensor *t) {
  for (int i = 0; i < moon_tensor_ndim(t); i++) {
    if (moon_tensor_size(t, i) > MANY) return true;
  }
  return moon_tensor_count(t) > MANY;
}

static void note_number(printer_range *r, double x) {
  double magnitude = fabs(x);
  int digits;
  if (!isfinite(x)) return;
  if (magnitude > r->largest) r->largest = magnitude;
  digits = magnitude < 1e8 ? digits_of(x) : 0;
  if (digits > r->digits) r->digits = digits;
}

static int format_element(const printer *p, const char *at, char *text, size_t text_bytes) {
  switch (moon_tensor_dtype(p->t)) {
    case MOON_DTYPE_bool: return snprintf(text, text_bytes, "%s", *(const uint8_t *)at ? "true" : "false");
    case MOON_DTYPE_u8: return snprintf(text, text_bytes, "%d", *(const uint8_t *)at);
    case MOON_DTYPE_i32: return snprintf(text, text_bytes, "%d", *(const int32_t *)(const void *)at);
    case MOON_DTYPE_i64: return snprintf(text, text_bytes, "%lld", (long long)*(const int64_t *)(const void *)at);
    default: break;
  }
  double x = float_at(p, at);
  if (isnan(x)) return snprintf(text, text_bytes, "nan");
  if (isinf(x)) return snprintf(text, text_bytes, x > 0 ? "inf" : "-inf");
  return snprintf(text, text_bytes, p->format == 'e' ? "%.*e" : "%.*f", p->digits, x);
}

/* Calls visit for all elements shown. */
static void visit_shown(printer *p, int axis, const char *at, void (*visit)(printer *p, const char *at, void *arg), void *arg) {
  if (axis == moon_tensor_ndim(p->t)) {
    visit(p, at, arg);
    return;
  }
  int64_t n = moon_tensor_size(p->t, axis);
  for (int64_t i = 0; i < n; i++) {
    if (i == gap_first(p, n)) i = gap_last(p, n);
    visit_shown(p, axis + 1, at + i * p->strides[axis], visit, arg);
  }
}

static void visit_range(printer *p, const char *at, void *range) { note_number(range, float_at(p, at)); }

static void visit_width(printer *p, const char *at, void *arg) {
  char text[64];
  int n = format_element(p, at, text, sizeof text);
  (void)arg;
  if (n > p->width) p->width = n;
}

static void choose_format(printer *p) {
  printer_range r = {.largest = 0, .digits = 0};
  if (moon__dtype_is_float(moon_tensor_dtype(p->t))) {
    visit_shown(p, 0, p->data, visit_range, &r);
    p->format = r.largest >= 1e8 || (r.largest > 0 && r.largest < 1e-3) ? 'e' : 'f';
    p->digits = p->format == 'e' ? MAX_DIGITS : r.digits;
  }
  visit_shown(p, 0, p->data, visit_width, NULL);
}

/* ---- writing ---- */

static void add(printer *p, const char *text, size_t n) {
  luaL_addlstring(&p->out, text, n);
  p->column += (int)n;
}

static void new_line(printer *p, int indent) {
  luaL_addchar(&p->out, '\n');
  for (int i = 0; i < indent; i++) luaL_addchar(&p->out, ' ');
  p->column = indent;
}

static void print_element(printer *p, const char *at) {
  char text[64];
  int n = format_element(p, at, text, sizeof text);
  for (int i = n; i < p->width; i++) add(p, " ", 1);
  add(p, text, (size_t)n);
}

static void print_row(printer *p, const char *at, int64_t n, int64_t stride, int indent) {
  for (int64_t i = 0; i < n; i++) {
    if (i > 0) add(p, "  ", 2);
    if (p->column + p->width > LINE_CHARS) new_line(p, indent);
    if (i == gap_first(p, n)) {
      add(p, "...  ", 5);
      i = gap_last(p, n);
    }
    print_element(p, at + i * stride);
  }
}

static void print_axis(printer *p, int axis, const char *at, int indent) {
  int ndim = moon_tensor_ndim(p->t);
  if (axis == ndim) {
    print_element(p, at);
    return;
  }
  int64_t n = moon_tensor_size(p->t, axis);
  add(p, "[", 1);
  if (axis == ndim - 1) {
    print_row(p, at, n, p->strides[axis], indent + 1);
  } else {
    for (int64_t i = 0; i < n; i++) {
      if (i > 0) new_line(p, indent + 1);
      if (i == gap_first(p, n)) {
        add(p, "...", 3);
        new_line(p, indent + 1);
        i = gap_last(p, n);
      }
      print_axis(p, axis + 1, at + i * p->strides[axis], indent + 1);
    }
  }
  add(p, "]", 1);
}

/* Finds the elements: in place, or through a copy that is left on the stack. */
static void locate(printer *p, moon_bind *b) {
  size_t bytes = moon_tensor_bytes(p->t);
  int64_t dense[MOON_MAX_DIMS];
  const int64_t *strides = p->t->strides;
  p->data = moon_tensor_data(p->t);
  if (!p->data) {
    char *copy = moon__lua_newblock(p->L, bytes > 0 ? bytes : 1);
    if (moon_tensor_read(b->ctx, p->t, moon_tensor_dtype(p->t), copy, bytes) != MOON_OK) moon__lua_raise(p->L, b);
    moon__dense_strides(moon_tensor_ndim(p->t), p->t->shape, dense);
    strides = dense;
    p->data = copy;
  }
  if (bytes == 0) return; /* strides of tensors without elements may be of any size */
  for (int i = 0; i < moon_tensor_ndim(p->t); i++) p->strides[i] = strides[i] * (int64_t)moon_dtype_bytes(moon_tensor_dtype(p->t));
}

void moon__lua_push_print(lua_State *L, moon_bind *b, const moon_tensor *t, const char *header) {
  printer p = {.L = L, .t = t, .abbreviated = is_large(t)};
  char head[160], shape[96];
  moon_type type = moon__tensor_type(t);
  int top = lua_gettop(L);
  locate(&p, b);
  choose_format(&p);
  luaL_buffinit(L, &p.out);
  snprintf(head, sizeof head, "%s %s %s%c", header, moon_dtype_name(type.dtype),
           moon_shape_text(b->runtime, &type.shape, shape, sizeof shape), type.shape.ndim > 1 ? '\n' : ' ');
  add(&p, head, strlen(head));
  if (type.shape.ndim > 1) p.column = 0;
  print_axis(&p, 0, p.data, type.shape.ndim > 1 ? 0 : (int)strlen(head));
  luaL_pushresult(&p.out);
  if (lua_gettop(L) > top + 1) lua_remove(L, top + 1);
}
