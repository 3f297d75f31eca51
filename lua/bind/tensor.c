/*
** tensor.c: the Tensor object: making it from Lua values, reading its numbers, writing them. Views and subscripts are in
** tensor_index.c, nested tables in tensor_table.c, printing in print.c, ops in op.c.
*/
#include "tensor.h"

#include "args.h"
#include "operand.h"
#include "tensor_table.h"
#include "variable.h"

void moon__lua_push_tensor(lua_State *L, moon_bind *b, int block_idx, moon_tensor *t, size_t bytes) {
  if (!t) moon__lua_raise(L, b);
  moon__lua_own(L, b, block_idx, MOON_LUA_TENSOR, t);
  moon__lua_account(L, b, bytes);
}

moon_tensor *moon__lua_numbers(lua_State *L, moon_bind *b, int idx, const char *who) {
  if (moon__lua_is_building(b) && moon__lua_kind(L, b, idx) == MOON_LUA_VARIABLE)
    moon__lua_fail(L, "%s: variable '%s' has no numbers while a function is traced, they come with each run: use it in ops, return "
                   "it, read it outside of the function, or switch ml.eager on", who,
                   moon_variable_name(moon__lua_check(L, b, idx, MOON_LUA_VARIABLE, who, "argument 1")));
  return moon__lua_numbers_now(L, b, idx, who);
}

moon_tensor *moon__lua_numbers_now(lua_State *L, moon_bind *b, int idx, const char *who) {
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  moon_tensor *t = NULL;
  idx = moon__lua_absindex(L, idx);
  moon__lua_block(L);
  moon__lua_no_origin(b);
  if (kind == MOON_LUA_SYMBOL) {
    t = moon_tensor_retain(moon_value_tensor(moon__lua_check(L, b, idx, kind, who, "argument 1")));
    if (!t) moon__lua_fail(L, "%s: the Symbol has no numbers: they exist while its program runs, or in eager mode", who);
  } else if (kind == MOON_LUA_VARIABLE) {
    t = moon_variable_read(b->ctx, moon__lua_check(L, b, idx, kind, who, "argument 1"));
  } else {
    t = moon_tensor_retain(moon__lua_check(L, b, idx, MOON_LUA_TENSOR, who, "argument 1"));
  }
  moon__lua_push_tensor(L, b, -1, t, kind == MOON_LUA_VARIABLE && t ? moon_tensor_bytes(t) : 0);
  return t;
}

static moon_tensor *self(lua_State *L, const moon_bind *b, const char *who) {
  return moon__lua_check(L, b, 1, MOON_LUA_TENSOR, who, "argument 1");
}

/* ---- making ---- */

/* The dtype given at idx: nil, a name, or a table with dtype = name. MOON_DTYPE_COUNT: none. */
static moon_dtype optional_dtype(lua_State *L, const moon_bind *b, int idx, const char *who) {
  static const char *const known[] = {"dtype", NULL};
  moon_dtype d;
  if (lua_isnoneornil(L, idx)) return MOON_DTYPE_COUNT;
  if (lua_type(L, idx) != LUA_TTABLE) return moon__lua_dtype(L, b, idx, who);
  moon__lua_known_keys(L, b, idx, who, known, false);
  if (!moon__lua_option(L, idx, "dtype")) return MOON_DTYPE_COUNT;
  d = moon__lua_dtype(L, b, -1, who);
  lua_pop(L, 1);
  return d;
}

/* A dense copy of t with dtype; NULL with an error. */
static moon_tensor *copy_as(moon_bind *b, const moon_tensor *t, moon_dtype dtype) {
  moon_tensor *copy = moon__tensor_empty(b->ctx, dtype, moon_tensor_ndim(t), t->shape);
  if (copy && moon_tensor_copy(b->ctx, copy, t) != MOON_OK) {
    moon_tensor_release(copy);
    return NULL;
  }
  return copy;
}

static int push_copy(lua_State *L, moon_bind *b, const moon_tensor *t, moon_dtype dtype) {
  moon_tensor *copy;
  moon__lua_block(L);
  moon__lua_no_origin(b);
  copy = copy_as(b, t, dtype);
  moon__lua_push_tensor(L, b, -1, copy, copy ? moon_tensor_bytes(copy) : 0);
  return 1;
}

/* core.tensor(table | number | boolean | tensor [, dtype]) */
static int make_tensor(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_dtype dtype = optional_dtype(L, b, 2, "tensor");
  if (moon__lua_kind(L, b, 1) != MOON_LUA_OTHER) {
    const moon_tensor *t = moon__lua_numbers(L, b, 1, "tensor");
    return push_copy(L, b, t, dtype == MOON_DTYPE_COUNT ? moon_tensor_dtype(t) : dtype);
  }
  moon__lua_tensor_from_table(L, b, 1, dtype, "tensor");
  return 1;
}

static void concrete_shape(lua_State *L, const moon_bind *b, int idx, const char *who, moon_shape *shape) {
  moon__lua_shape(L, b, idx, who, "shape", false, shape);
  for (int i = 0; i < shape->ndim; i++) {
    if (shape->dim[i] < 0) moon__lua_fail(L, "%s: shape[%d] must be a number, got a Dim", who, i + 1);
  }
}

/* core.from_string(bytes, shape, dtype) */
static int from_string(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_shape shape;
  moon_dtype dtype;
  moon_tensor *t;
  size_t bytes;
  const char *data;
  moon__lua_str(L, b, 1, "from_string", "bytes");
  concrete_shape(L, b, 2, "from_string", &shape);
  dtype = lua_isnoneornil(L, 3) ? MOON_DTYPE_f32 : moon__lua_dtype(L, b, 3, "from_string");
  moon__lua_block(L);
  moon__lua_no_origin(b);
  data = lua_tolstring(L, 1, &bytes);
  t = moon__tensor_empty(b->ctx, dtype, shape.ndim, shape.dim);
  moon__lua_push_tensor(L, b, -1, t, t ? moon_tensor_bytes(t) : 0);
  if (moon_tensor_bytes(t) != bytes)
    return moon__lua_fail(L, "from_string: %s needs %s bytes, got %s", moon__lua_describe(L, b, -1).s,
                          moon__lua_count((int64_t)moon_tensor_bytes(t)).s, moon__lua_count((int64_t)bytes).s);
  if (bytes > 0 && moon_tensor_write(b->ctx, t, dtype, data, bytes) != MOON_OK) return moon__lua_raise(L, b);
  return 1;
}

/* core.tostring(t): the bytes of its elements, row-major. */
static int to_string(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *t = moon__lua_numbers(L, b, 1, "tostring");
  size_t bytes = moon_tensor_bytes(t);
  char *data = moon__lua_newblock(L, bytes > 0 ? bytes : 1);
  if (moon_tensor_read(b->ctx, t, moon_tensor_dtype(t), data, bytes) != MOON_OK) return moon__lua_raise(L, b);
  lua_pushlstring(L, data, bytes);
  return 1;
}

/* ---- reading ---- */

/*: Tensor, Symbol, Variable:item() -> number|boolean. The one element as a Lua value; a Symbol has one in eager mode. */
int moon__lua_item(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_tensor *t = moon__lua_test(L, b, 1, MOON_LUA_TENSOR);
  moon_lua_element element;
  if (!t) t = moon__lua_numbers(L, b, 1, "item");
  if (moon_tensor_count(t) != 1)
    return moon__lua_fail(L, "item: exactly one element is expected, got %s", moon__lua_describe(L, b, 1).s);
  moon__lua_no_origin(b);
  if (moon_tensor_read(b->ctx, t, moon_tensor_dtype(t), &element, moon_tensor_bytes(t)) != MOON_OK) return moon__lua_raise(L, b);
  moon__lua_push_element(L, moon_tensor_dtype(t), &element);
  return 1;
}

/*: Tensor, Symbol, Variable:totable([into]) -> table. All numbers in nested tables, or the number itself at rank 0; into:
** tables of that structure to fill in place of new ones. */
int moon__lua_totable(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) moon__lua_want_table(L, b, 2, "totable", "argument 2");
  bool made = moon__lua_kind(L, b, 1) != MOON_LUA_TENSOR; /* the numbers of a Variable or Symbol */
  const moon_tensor *t = made ? moon__lua_numbers(L, b, 1, "totable") : self(L, b, "totable");
  if (lua_isnil(L, 2) || moon_tensor_ndim(t) == 0) {
    moon__lua_push_table(L, b, t);
    return 1;
  }
  lua_pushvalue(L, 2);
  moon__lua_fill_table(L, b, t);
  return 1;
}

static int iterate(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int64_t i = moon__lua_int(L, b, 2, "iter", "position");
  moon_lua_kind kind = moon__lua_kind(L, b, 1);
  int64_t n;
  if (kind == MOON_LUA_SYMBOL) n = ((moon_value *)moon__lua_check(L, b, 1, kind, "iter", "argument 1"))->type.shape.dim[0];
  else n = moon_tensor_size(self(L, b, "iter"), 0);
  if (i < 0 || i >= n) return 0;
  lua_settop(L, 1);
  moon__lua_pushint64(L, i + 1);
  moon__lua_index_at(L);
  moon__lua_pushint64(L, i + 1);
  lua_insert(L, -2);
  return 2;
}

/*: Tensor, Symbol, Variable:iter(). For loops: `for i, row in t:iter() do`, where row is `t[i]`. */
int moon__lua_iter(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int ndim;
  if (moon__lua_kind(L, b, 1) == MOON_LUA_VARIABLE) moon__lua_read(L, b);
  if (moon__lua_kind(L, b, 1) == MOON_LUA_SYMBOL) {
    const moon_value *v = moon__lua_check(L, b, 1, MOON_LUA_SYMBOL, "iter", "argument 1");
    ndim = v->type.shape.ndim;
    if (ndim > 0 && v->type.shape.dim[0] < 0) return moon__lua_fail(L, "iter: the first size is not known yet");
  } else {
    ndim = moon_tensor_ndim(self(L, b, "iter"));
  }
  if (ndim == 0) return moon__lua_fail(L, "iter: a tensor of rank 0 has no rows");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, iterate, 1);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

/*: Tensor:pointer() -> lightuserdata. Address of the first element, for LuaJIT's FFI and other C libraries; nil when the host
** cannot see it. It is good as long as the Tensor, or a view of it, is alive and not released. A program that wrote to it as `out`
** wrote there; nothing moves a Tensor's numbers. */
static int pointer(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  void *data = moon_tensor_data(self(L, b, "pointer"));
  if (data) lua_pushlightuserdata(L, data);
  else lua_pushnil(L);
  return 1;
}

/* ---- writing ---- */

static void write_tensor(lua_State *L, moon_bind *b, moon_tensor *t, const moon_tensor *from) {
  moon__lua_no_origin(b);
  if (moon_tensor_copy(b->ctx, t, from) != MOON_OK) moon__lua_raise(L, b);
}

/* One element everywhere: a view of it with strides 0 is copied. */
static void write_number(lua_State *L, moon_bind *b, moon_tensor *t, int idx, const char *who) {
  static const int64_t strides[MOON_MAX_DIMS] = {0};
  moon_lua_element element = moon__lua_element(L, b, idx, moon_tensor_dtype(t), who);
  moon_tensor *one, *all = NULL;
  moon_status status = MOON_EMEMORY;
  moon__lua_no_origin(b);
  if (moon_tensor_data(t)) {
    if (moon__tensor_writable(b->ctx, who, t) != MOON_OK) moon__lua_raise(L, b);
    moon__convert_array(moon_tensor_data(t), t->dtype, t->strides, &element, t->dtype, strides, t->ndim, t->shape);
    return;
  }
  one = moon_tensor_from(b->ctx, moon_tensor_dtype(t), 0, NULL, &element);
  if (one) all = moon__tensor_over(b->ctx, one->storage, one->dtype, t->ndim, t->shape, strides, 0);
  if (all) status = moon_tensor_copy(b->ctx, t, all);
  moon_tensor_release(all);
  moon_tensor_release(one);
  if (status != MOON_OK) moon__lua_raise(L, b);
}

void moon__lua_set(lua_State *L, moon_bind *b, moon_tensor *t, int idx, const char *who) {
  if (lua_type(L, idx) == LUA_TTABLE) {
    moon__lua_write_table(L, b, t, idx, who);
  } else if (moon__lua_kind(L, b, idx) == MOON_LUA_TENSOR) {
    write_tensor(L, b, t, moon__lua_check(L, b, idx, MOON_LUA_TENSOR, who, "value"));
  } else if (moon__lua_kind(L, b, idx) != MOON_LUA_OTHER) {
    write_tensor(L, b, t, moon__lua_numbers(L, b, idx, who));
    lua_pop(L, 1);
  } else {
    write_number(L, b, t, idx, who);
  }
}

/*: Tensor:set(values) -> Tensor. Writes a table, a tensor of its shape or one number in place, in its own dtype, and gives it
** back. */
static int set(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_settop(L, 2);
  moon__lua_set(L, b, self(L, b, "set"), 2, "set");
  lua_settop(L, 1);
  return 1;
}

/*: Tensor:fill(number) -> Tensor. Writes one number everywhere, in place. */
static int fill(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_tensor *t = self(L, b, "fill");
  write_number(L, b, t, 2, "fill");
  lua_settop(L, 1);
  return 1;
}

/*: Tensor:copy_from(other) -> Tensor. Writes the numbers of another tensor of its shape in place, with the rules of cast. */
static int copy_from(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *from;
  self(L, b, "copy_from");
  bool made = moon__lua_kind(L, b, 2) != MOON_LUA_TENSOR;
  from = made ? moon__lua_numbers(L, b, 2, "copy_from") : moon__lua_check(L, b, 2, MOON_LUA_TENSOR, "copy_from", "argument 2");
  write_tensor(L, b, self(L, b, "copy_from"), from);
  lua_settop(L, 1);
  return 1;
}

/*: Tensor:copy() -> Tensor. A dense copy with memory of its own; also `clone`. */
static int copy(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *t = moon__lua_numbers(L, b, 1, "copy");
  return push_copy(L, b, t, moon_tensor_dtype(t));
}

/*: Tensor:contiguous() -> Tensor. Itself where its elements lie row after row without gaps, else a copy where they do. */
static int contiguous(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *t = self(L, b, "contiguous");
  lua_settop(L, 1);
  return moon_tensor_is_dense(t) ? 1 : copy(L);
}

/* ---- properties ---- */

static int length(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *t = self(L, b, "#");
  if (moon_tensor_ndim(t) == 0) return moon__lua_fail(L, "#: a tensor of rank 0 has no length");
  moon__lua_pushint64(L, moon_tensor_size(t, 0));
  return 1;
}

/*: Tensor, Symbol, Variable.shape -> table. Its sizes; those of a Symbol may be Dims. */
/*: Tensor, Symbol, Variable.dtype -> string. "bool", "u8", "i32", "i64", "f32" or "f64". */
/*: Tensor, Symbol, Variable.ndim -> integer. Number of axes. */
/*: Tensor, Variable.nbytes -> integer. Bytes of its elements. */
/*: Tensor.count -> integer. Number of elements. */
static const char *const properties[] = {"shape", "dtype", "ndim", "nbytes", "count", NULL};

static int property(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int which = (int)lua_tointeger(L, 3);
  const moon_tensor *t = self(L, b, "tensor");
  moon_type type = moon__tensor_type(t);
  switch (which) {
    case 1: moon__lua_push_shape(L, b, &type.shape); break;
    case 2: lua_pushstring(L, moon_dtype_name(type.dtype)); break;
    case 3: lua_pushinteger(L, type.shape.ndim); break;
    case 4: moon__lua_pushint64(L, (int64_t)moon_tensor_bytes(t)); break;
    case 5: moon__lua_pushint64(L, moon_tensor_count(t)); break;
    default: lua_settop(L, 2); return moon__lua_index_at(L);
  }
  return 1;
}

int moon__lua_tensor_tostring(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_object *o = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) == MOON_LUA_TENSOR && !o->ptr) lua_pushliteral(L, "Tensor (released)");
  else moon__lua_push_print(L, b, moon__lua_numbers(L, b, 1, "tostring"), "Tensor");
  return 1;
}

const luaL_Reg moon__lua_tensor_functions[] = {
    {"tensor", make_tensor}, {"from_string", from_string}, {"tostring", to_string}, {"slice", moon__lua_slice}, {NULL, NULL}};
/* Of Tensors, Symbols and Variables. */
const luaL_Reg moon__lua_shared_methods[] = {
    {"item", moon__lua_item}, {"totable", moon__lua_totable}, {"iter", moon__lua_iter}, {"slice", moon__lua_slice}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"set", set},   {"fill", fill},  {"copy_from", copy_from}, {"contiguous", contiguous},
                                   {"copy", copy}, {"clone", copy}, {"pointer", pointer},     {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__tostring", moon__lua_tensor_tostring}, {"__len", length}, {"__newindex", moon__lua_newindex}, {NULL, NULL}};

const moon_lua_class moon__lua_tensor_class = {
    .kind = MOON_LUA_TENSOR,
    .ops = true,
    .methods = methods,
    .metamethods = metamethods,
    .properties = properties,
    .property = property,
};
