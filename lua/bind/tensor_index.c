/*
** tensor_index.c: subscripts and slices, counted from 1, negative from the end. On concrete tensors they are views that share
** memory; on symbols they are nodes; sizes that are not known yet are handled as Dims.
*/
#include "args.h"
#include "base/shape.h"
#include "graph/build.h"
#include "operand.h"
#include "tensor.h"
#include "variable.h"

/* ---- t[i] ---- */

/* The position at idx of an axis of n entries, from 0. */
static int64_t position(lua_State *L, const moon_bind *b, int idx, int64_t n, const char *who) {
  int64_t i = moon__lua_int(L, b, idx, who, "a subscript");
  if (i == 0 || i > n || i < -n)
    moon__lua_fail(L, "%s: index %s is out of range: the first axis has %s entries (counted from 1)", who,
                   moon__lua_describe(L, b, idx).s, moon__lua_count(n).s);
  return i > 0 ? i - 1 : i + n;
}

static int tensor_at(lua_State *L, moon_bind *b) {
  moon_tensor *t = moon__lua_check(L, b, 1, MOON_LUA_TENSOR, "[]", "argument 1");
  int64_t i;
  if (moon_tensor_ndim(t) == 0) return moon__lua_fail(L, "[]: a tensor of rank 0 has no entries; its number is t:item()");
  i = position(L, b, 2, moon_tensor_size(t, 0), "[]");
  moon__lua_block(L);
  moon__lua_no_origin(b);
  t = moon_tensor_at(b->ctx, moon__lua_check(L, b, 1, MOON_LUA_TENSOR, "[]", "argument 1"), i);
  moon__lua_push_tensor(L, b, -1, t, 0);
  return 1;
}

/* v[i] as nodes: a slice of one entry without its axis. */
static moon_value *value_at(moon_context *ctx, moon_value *v, int64_t i) {
  v = moon__slice(ctx, v, 0, i, 1, 1);
  return v ? moon__squeeze(ctx, v, 0) : NULL;
}

static int push_symbol(lua_State *L, moon_bind *b, moon_value *v) {
  if (!v) return moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_SYMBOL, v);
  moon__lua_account(L, b, MOON_LUA_SYMBOL_BYTES);
  return 1;
}

static int symbol_at(lua_State *L, moon_bind *b) {
  moon_value *v = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "[]", "argument 1");
  const moon_shape *shape = moon_value_shape(v);
  int64_t i;
  if (shape->ndim == 0) return moon__lua_fail(L, "[]: a tensor of rank 0 has no entries");
  if (shape->dim[0] < 0) return moon__lua_fail(L, "[]: the first size of the Symbol is not known yet");
  i = position(L, b, 2, shape->dim[0], "[]");
  moon__lua_block(L);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  v = moon_value_retain(value_at(b->ctx, moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "[]", "argument 1"), i));
  moon_scope_close(b->ctx);
  return push_symbol(L, b, v);
}

int moon__lua_index_at(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  switch (moon__lua_kind(L, b, 1)) {
    case MOON_LUA_SYMBOL: return symbol_at(L, b);
    case MOON_LUA_VARIABLE: moon__lua_read(L, b); return moon__lua_index_at(L);
    default: return tensor_at(L, b);
  }
}

/* Entry i of a tensor that has elements. The view owns nothing: it is good while t is, so nothing that can free t may run. */
static moon_tensor entry_of(const moon_tensor *t, int64_t i) {
  moon_tensor view = {.refs = 1, .runtime = t->runtime, .storage = t->storage, .dtype = t->dtype, .ndim = t->ndim - 1};
  view.offset = t->offset + i * t->strides[0];
  for (int k = 0; k < view.ndim; k++) {
    view.shape[k] = t->shape[k + 1];
    view.strides[k] = t->strides[k + 1];
  }
  return view;
}

/* t[i] = v. From numbers and tables into memory that the host sees nothing is made; else finalizers may run, so the view is an
** object of Lua's. */
int moon__lua_newindex(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (lua_type(L, 2) != LUA_TNUMBER)
    return moon__lua_fail(L, "a Tensor has no field %s that could be set", moon__lua_describe(L, b, 2).s);
  lua_settop(L, 3);
  moon_tensor *t = moon__lua_check(L, b, 1, MOON_LUA_TENSOR, "[]", "argument 1");
  bool has_rows = moon_tensor_ndim(t) > 0 && moon_tensor_count(t) > 0 && moon_tensor_data(t);
  if (has_rows && moon__lua_kind(L, b, 3) == MOON_LUA_OTHER) {
    moon_tensor view = entry_of(t, position(L, b, 2, moon_tensor_size(t, 0), "[]"));
    moon__lua_set(L, b, &view, 3, "[]");
    return 0;
  }
  tensor_at(L, b);
  moon__lua_set(L, b, moon__lua_check(L, b, -1, MOON_LUA_TENSOR, "[]", "view"), 3, "[]");
  return 0;
}

/* ---- slice(x, axis, first, last, step): both ends included ---- */

typedef struct slice_spec {
  int axis;
  int64_t step;
  moon_dim first, size; /* first from 0 */
} slice_spec;

#define FAR ((int64_t)1 << 60) /* beyond any size; sums with a size do not overflow */

static int slice_axis(lua_State *L, const moon_bind *b, const moon_shape *shape) {
  int axis = 0;
  int64_t given = moon__lua_axis(L, b, 2, "slice", "axis");
  if (!moon__axis_resolve(given, shape->ndim, &axis))
    moon__lua_fail(L, "slice: axis %s is out of range for %d axes", moon__lua_describe(L, b, 2).s, shape->ndim);
  return axis;
}

/* An end of a slice from 0: a plain position (-1: before the first entry), or a dim where sizes are not known. */
typedef struct slice_end {
  bool symbolic;
  int64_t at;
  moon_dim dim;
} slice_end;

static slice_end plain_end(int64_t at) { return (slice_end){.at = at, .dim = at}; }
static slice_end dim_end(moon_dim d) { return moon__dim_known(d) ? plain_end(d) : (slice_end){.symbolic = true, .dim = d}; }

/* The end at idx of an axis of size n. */
static slice_end read_end(lua_State *L, moon_bind *b, int idx, moon_dim n, const char *what) {
  const moon_lua_dim *dim = moon__lua_test(L, b, idx, MOON_LUA_DIM);
  int64_t i;
  if (dim) return dim_end(moon_dim_sub(b->ctx, dim->dim, 1));
  i = moon__lua_int(L, b, idx, "slice", what);
  if (i > FAR || i < -FAR) moon__lua_fail(L, "slice: %s %s is out of range", what, moon__lua_describe(L, b, idx).s);
  if (i >= 0) return plain_end(i - 1);
  return moon__dim_known(n) ? plain_end(n + i) : dim_end(moon_dim_sub(b->ctx, n, -i));
}

static slice_end last_of(moon_bind *b, moon_dim n) {
  return moon__dim_known(n) ? plain_end(n - 1) : dim_end(moon_dim_sub(b->ctx, n, 1));
}

static void slice_known(lua_State *L, slice_spec *s, int64_t n, int64_t first, int64_t last) {
  int64_t way = s->step > 0 ? last - first : first - last;
  bool inside = first >= 0 && last >= 0 && first < n && last < n;
  bool beside = first >= -1 && last >= -1 && first <= n && last <= n; /* an empty slice may touch both borders */
  s->size = way < 0 ? 0 : way / (s->step > 0 ? s->step : -s->step) + 1;
  s->first = s->size == 0 ? 0 : first;
  if (s->size == 0 ? beside : inside) return;
  moon__lua_fail(L, "slice: positions %s to %s are out of range: axis %d has %s entries (counted from 1)",
                 moon__lua_count(first + 1).s, moon__lua_count(last + 1).s, s->axis + 1, moon__lua_count(n).s);
}

/* size = floor((last - first) / step) + 1 in Dims; checked when sizes are bound. */
static void slice_unknown(lua_State *L, moon_bind *b, slice_spec *s, slice_end first, slice_end last) {
  moon_dim way;
  if ((!first.symbolic && first.at < 0) || (!last.symbolic && last.at < 0))
    moon__lua_fail(L, "slice: an empty slice of an axis whose size is not known yet");
  way = s->step > 0 ? moon_dim_sub(b->ctx, last.dim, first.dim) : moon_dim_sub(b->ctx, first.dim, last.dim);
  way = moon_dim_floordiv(b->ctx, way, s->step > 0 ? s->step : -s->step);
  s->first = first.dim;
  s->size = moon_dim_add(b->ctx, way, 1);
  if (s->size == MOON_DIM_ERROR || s->first == MOON_DIM_ERROR) moon__lua_raise(L, b);
}

static slice_spec read_slice(lua_State *L, moon_bind *b, const moon_shape *shape) {
  slice_spec s = {.step = 1};
  slice_end first, last;
  moon_dim n;
  s.axis = slice_axis(L, b, shape);
  n = shape->dim[s.axis];
  if (!lua_isnoneornil(L, 5)) s.step = moon__lua_int(L, b, 5, "slice", "step");
  if (s.step == 0 || s.step > FAR || s.step < -FAR)
    moon__lua_fail(L, "slice: step must be a whole number but 0, got %s", moon__lua_describe(L, b, 5).s);
  first = s.step > 0 ? plain_end(0) : last_of(b, n);
  last = s.step > 0 ? last_of(b, n) : plain_end(0);
  if (!lua_isnoneornil(L, 3)) first = read_end(L, b, 3, n, "first");
  if (!lua_isnoneornil(L, 4)) last = read_end(L, b, 4, n, "last");
  if (moon__dim_known(n) && !first.symbolic && !last.symbolic) slice_known(L, &s, n, first.at, last.at);
  else slice_unknown(L, b, &s, first, last);
  return s;
}

static int slice_tensor(lua_State *L, moon_bind *b, int idx) {
  moon_tensor *t = moon__lua_check(L, b, idx, MOON_LUA_TENSOR, "slice", "argument 1");
  moon_type type = moon__tensor_type(t);
  slice_spec s = read_slice(L, b, &type.shape);
  int64_t start[MOON_MAX_DIMS] = {0}, step[MOON_MAX_DIMS];
  if (!moon__dim_known(s.size) || !moon__dim_known(s.first)) return moon__lua_fail(L, "slice: a Tensor cannot be cut at a Dim");
  for (int i = 0; i < type.shape.ndim; i++) step[i] = 1;
  start[s.axis] = s.first;
  step[s.axis] = s.step;
  type.shape.dim[s.axis] = s.size;
  moon__lua_block(L);
  moon__lua_no_origin(b);
  t = moon_tensor_view(b->ctx, moon__lua_check(L, b, idx, MOON_LUA_TENSOR, "slice", "argument 1"), start, type.shape.dim, step);
  moon__lua_push_tensor(L, b, -1, t, 0);
  return 1;
}

static int slice_symbol(lua_State *L, moon_bind *b, const moon_shape *shape) {
  moon_operand o;
  moon_value *v;
  slice_spec s;
  moon__lua_origin(L, b);
  s = read_slice(L, b, shape);
  moon__lua_block(L);
  moon__lua_want_operand(L, b, 1, "slice", "argument 1", &o);
  moon_scope_open(b->ctx);
  v = moon__lua_value(b, &o, false);
  v = moon_value_retain(v ? moon__slice(b->ctx, v, s.axis, s.first, s.size, s.step) : NULL);
  moon_scope_close(b->ctx);
  return push_symbol(L, b, v);
}

/*: Tensor, Symbol, Variable:slice(axis, first, last, step) -> Tensor. Positions first to last (both included; default 1 and -1)
** of an axis, every step-th; a negative step goes backwards. Of numbers it is a view. */
int moon__lua_slice(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_kind kind = moon__lua_kind(L, b, 1);
  lua_settop(L, 5);
  if (kind == MOON_LUA_SYMBOL) {
    moon_shape shape = *moon_value_shape(moon__lua_check(L, b, 1, kind, "slice", "argument 1"));
    return slice_symbol(L, b, &shape);
  }
  if (kind == MOON_LUA_VARIABLE && moon__lua_in_trace(b)) {
    moon_type type = moon_variable_type(moon__lua_check(L, b, 1, kind, "slice", "argument 1"));
    return slice_symbol(L, b, &type.shape);
  }
  moon__lua_numbers(L, b, 1, "slice");
  return slice_tensor(L, b, lua_gettop(L));
}
