/*
** variable.c: the Variable object. Used in an op it is read; assign writes at once on concrete numbers outside traces, else it
** builds the effect, which the innermost trace records (trace.c). Invariant: while a function is traced its numbers are not to be
** had: they would be those of the trace in every run.
*/
#include "variable.h"

#include "args.h"
#include "base/shape.h"
#include "op.h"
#include "operand.h"
#include "symbol.h"
#include "tensor.h"
#include "tensor_table.h"
#include "tensor/tensor.h"
#include "tensor/variable.h"
#include "trace.h"

static moon_variable *self(lua_State *L, const moon_bind *b, const char *who) {
  return moon__lua_check(L, b, 1, MOON_LUA_VARIABLE, who, "argument 1");
}

/* core.variable(tensor, name, trainable) -> Variable */
static int make_variable(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_tensor *t;
  moon_variable *v;
  const char *name = lua_isnoneornil(L, 2) ? "variable" : moon__lua_str(L, b, 2, "variable", "name");
  bool trainable = lua_isnoneornil(L, 3) ? true : moon__lua_flag(L, b, 3, "variable", "trainable");
  if (moon__lua_kind(L, b, 1) == MOON_LUA_OTHER) {
    moon__lua_tensor_from_table(L, b, 1, MOON_DTYPE_COUNT, "variable");
    lua_replace(L, 1);
  }
  t = moon__lua_numbers_now(L, b, 1, "variable");
  moon__lua_block(L);
  moon__lua_no_origin(b);
  v = moon_variable_new(b->ctx, name, t, trainable);
  if (!v) return moon__lua_raise(L, b);
  moon__lua_own(L, b, -1, MOON_LUA_VARIABLE, v);
  moon__lua_account(L, b, moon_tensor_bytes(t));
  return 1;
}

/* ---- reading and writing ---- */

void moon__lua_read(lua_State *L, moon_bind *b) {
  if (moon__lua_in_trace(b)) moon__lua_want_symbol(L, b, 1, "read", "argument 1");
  else moon__lua_numbers(L, b, 1, "read");
  lua_replace(L, 1);
}

/*: Variable:read() -> Tensor. A copy of its numbers. While a function is traced a Symbol: the numbers that each run finds. */
static int read(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  self(L, b, "read");
  lua_settop(L, 1);
  moon__lua_read(L, b);
  return 1;
}

/* What stands at 2, a Tensor; or pushes one made of it: a table, a number, a tensor. */
static const moon_tensor *numbers_given(lua_State *L, moon_bind *b, const char *who) {
  const moon_tensor *t = moon__lua_test(L, b, 2, MOON_LUA_TENSOR);
  if (t) return t;
  if (moon__lua_kind(L, b, 2) == MOON_LUA_OTHER) {
    moon__lua_tensor_from_table(L, b, 2, moon_variable_type(self(L, b, who)).dtype, who);
    return moon__lua_check(L, b, -1, MOON_LUA_TENSOR, who, "value");
  }
  return moon__lua_numbers(L, b, 2, who);
}

static void want_shape_of(lua_State *L, const moon_bind *b, const moon_variable *v, const moon_tensor *t, const char *who) {
  moon_type want = moon_variable_type(v), got = moon__tensor_type(t);
  char expected[256], came[256];
  if (moon__shape_equal(&want.shape, &got.shape)) return;
  moon__lua_fail(L, "%s: variable '%s' has shape %s, got values of shape %s", who, moon_variable_name(v),
                 moon_shape_text(b->runtime, &want.shape, expected, sizeof expected),
                 moon_shape_text(b->runtime, &got.shape, came, sizeof came));
}

/* v:write(x); x stands at 2. */
static int write_given(lua_State *L, moon_bind *b, const char *who) {
  const moon_tensor *t = numbers_given(L, b, who);
  want_shape_of(L, b, self(L, b, who), t, who);
  moon__lua_no_origin(b);
  if (moon_variable_write(b->ctx, self(L, b, who), t) != MOON_OK) return moon__lua_raise(L, b);
  lua_settop(L, 1);
  return 1;
}

/*: Variable:write(values) -> Variable. Writes a tensor, a table or a number at once. An error while a function is traced: see
** assign. */
static int write(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_variable *v = self(L, b, "write");
  if (moon__lua_is_building(b))
    return moon__lua_fail(L, "write: variable '%s' would be written once, while the function is traced; assign writes in each run",
                          moon_variable_name(v));
  return write_given(L, b, "write");
}

/* core.write_variables({ v1, .. }, { t1, .. }): all or none. */
static int write_variables(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  lua_settop(L, 2);
  moon__lua_want_table(L, b, 1, "write_variables", "argument 1");
  moon__lua_want_table(L, b, 2, "write_variables", "argument 2");
  int n = (int)moon__lua_rawlen(L, 1);
  if (n > MOON_LUA_LIST_MAX || moon__lua_rawlen(L, 2) != (size_t)n)
    return moon__lua_fail(L, "write_variables: %d variables, %d tensors", n, (int)moon__lua_rawlen(L, 2));
  void **list = moon__lua_newblock(L, 2 * (size_t)(n > 0 ? n : 1) * sizeof *list);
  moon_variable **v = (moon_variable **)list;
  moon_tensor **t = (moon_tensor **)(list + n);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 1, i + 1);
    lua_rawgeti(L, 2, i + 1);
    v[i] = moon__lua_check(L, b, -2, MOON_LUA_VARIABLE, "write_variables", "an entry of argument 1");
    t[i] = moon__lua_check(L, b, -1, MOON_LUA_TENSOR, "write_variables", "an entry of argument 2");
    lua_pop(L, 2);
  }
  moon__lua_no_origin(b);
  if (moon_variables_write(b->ctx, n, v, t) != MOON_OK) return moon__lua_raise(L, b);
  return 0;
}

/* Builds the effect v = x, x at idx; leaves its Symbol on top, which the trace keeps too. */
static int assign_symbol(lua_State *L, moon_bind *b, int idx, bool in_training) {
  moon_operand x;
  moon_value *effect;
  moon_variable *v;
  moon__lua_block(L);
  v = self(L, b, "assign");
  if (b->inside)
    return moon__lua_fail(L,
                          "assign: variable '%s' is assigned inside a body of cond, scan or while_loop; return the value from the "
                          "body and assign it outside",
                          moon_variable_name(v));
  moon__lua_want_operand(L, b, idx, "assign", "value", &x);
  moon__lua_number_dtype(L, "assign", &x, moon_variable_type(v).dtype);
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  effect = moon__lua_value(b, &x, moon__lua_freezes(b));
  if (effect) effect = in_training ? moon_assign_training(b->ctx, v, effect) : moon_assign(b->ctx, v, effect);
  moon_value_retain(effect);
  moon_scope_close(b->ctx);
  moon__lua_fill_symbol(L, b, -1, effect);
  moon__lua_record_effect(L, b);
  return 1;
}

/* The table of options at 3: { training = true }. */
static bool reads_training(lua_State *L, const moon_bind *b) {
  static const char *const known[] = {"training", NULL};
  bool training = false;
  if (lua_isnil(L, 3)) return false;
  moon__lua_want_table(L, b, 3, "assign", "argument 2");
  moon__lua_known_keys(L, b, 3, "assign", known, false);
  if (moon__lua_option(L, 3, "training")) training = moon__lua_flag(L, b, -1, "assign", "training");
  lua_settop(L, 3);
  return training;
}

/* v:assign(x, options); x stands at 2, options or nil at 3. */
static int assign_given(lua_State *L, moon_bind *b) {
  bool traced = moon__lua_kind(L, b, 2) == MOON_LUA_SYMBOL || moon__lua_in_trace(b);
  bool both = traced && b->side == MOON_LUA_BOTH && b->ctx->eager_depth == 0, in_training = reads_training(L, b);
  if (in_training && !both && b->side != MOON_LUA_TRAIN) {
    if (traced) moon__lua_want_symbol(L, b, 1, "assign", "argument 1");
    else lua_settop(L, 1);
    return 1;
  }
  if (!traced) return write_given(L, b, "assign");
  if (lua_type(L, 2) == LUA_TTABLE) {
    moon__lua_tensor_from_table(L, b, 2, moon_variable_type(self(L, b, "assign")).dtype, "assign");
    lua_replace(L, 2);
  }
  return assign_symbol(L, b, 2, in_training && both);
}

/*: Variable:assign(values, options) -> Variable. Inside `ml.fn` or a layer an effect: each run writes, and later reads see it.
** With `{ training = true }` only in training. On numbers, outside, it is write. */
static int assign(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  self(L, b, "assign");
  lua_settop(L, 3);
  return assign_given(L, b);
}

/* v:assign(v op x) */
static int assign_op(lua_State *L, moon_op_id op, const char *who) {
  moon_bind *b = moon__lua_bind(L);
  self(L, b, who);
  lua_settop(L, 3);
  lua_pushvalue(L, lua_upvalueindex(1));
  moon__lua_push_op(L, -1, moon__ops[op]);
  lua_remove(L, -2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 1);
  lua_replace(L, 2);
  return assign_given(L, b);
}

/*: Variable:assign_add(x, options) -> Variable. `v:assign(v + x, options)` */
static int assign_add(lua_State *L) { return assign_op(L, MOON_OP_add, "assign_add"); }
/*: Variable:assign_sub(x, options) -> Variable. `v:assign(v - x, options)` */
static int assign_sub(lua_State *L) { return assign_op(L, MOON_OP_sub, "assign_sub"); }

/* ---- properties ---- */

/*: Variable:rename(name) -> Variable. Gives it another name; files know variables by their names. */
static int set_name(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_variable *v = self(L, b, "rename");
  const char *name = moon__lua_str(L, b, 2, "rename", "name");
  moon__lua_no_origin(b);
  if (moon_variable_rename(b->ctx, v, name) != MOON_OK) return moon__lua_raise(L, b);
  lua_settop(L, 1);
  return 1;
}

/*: Variable.name -> string. Its name, by which files know it. */
/*: Variable.trainable -> boolean. May be set; optimizers of models leave the others alone. */
/*: Variable.version -> integer. Grows with every write. */
static const char *const properties[] = {"shape", "dtype", "ndim", "name", "trainable", "version", "nbytes", NULL};

static int property(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_variable *v = self(L, b, "variable");
  moon_type type = moon_variable_type(v);
  switch ((int)lua_tointeger(L, 3)) {
    case 1: moon__lua_push_shape(L, b, &type.shape); break;
    case 2: lua_pushstring(L, moon_dtype_name(type.dtype)); break;
    case 3: lua_pushinteger(L, type.shape.ndim); break;
    case 4: lua_pushstring(L, moon_variable_name(v)); break;
    case 5: lua_pushboolean(L, moon_variable_trainable(v)); break;
    case 6: moon__lua_pushint64(L, (int64_t)moon_variable_version(v)); break;
    case 7: moon__lua_pushint64(L, (int64_t)moon_tensor_bytes(v->tensor)); break;
    default: lua_settop(L, 2); return moon__lua_index_at(L);
  }
  return 1;
}

static int set_property(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_variable *v = self(L, b, "variable");
  lua_pushliteral(L, "trainable");
  if (!lua_rawequal(L, 2, -1))
    return moon__lua_fail(L, "variable: only .trainable can be set, got %s (numbers are written with :assign or :write)",
                          moon__lua_describe(L, b, 2).s);
  moon_variable_trainable_set(v, moon__lua_flag(L, b, 3, "variable", "trainable"));
  return 0;
}

static int length(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_type type = moon_variable_type(self(L, b, "#"));
  if (type.shape.ndim == 0) return moon__lua_fail(L, "#: a tensor of rank 0 has no length");
  moon__lua_pushint64(L, type.shape.dim[0]);
  return 1;
}

static int to_text(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_object *o = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) == MOON_LUA_VARIABLE && !o->ptr) {
    lua_pushliteral(L, "Variable (released)");
    return 1;
  }
  if (moon__lua_is_building(b)) {
    moon_type type = moon_variable_type(self(L, b, "tostring"));
    char shape[96];
    lua_pushfstring(L, "Variable '%s' %s %s", moon_variable_name(o->ptr), moon_dtype_name(type.dtype),
                    moon_shape_text(b->runtime, &type.shape, shape, sizeof shape));
    return 1;
  }
  lua_pushfstring(L, "Variable '%s'", moon_variable_name(self(L, b, "tostring")));
  moon__lua_push_print(L, b, moon__lua_numbers(L, b, 1, "tostring"), lua_tostring(L, -1));
  return 1;
}

const luaL_Reg moon__lua_variable_functions[] = {
    {"variable", make_variable}, {"write_variables", write_variables}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"assign", assign}, {"assign_add", assign_add}, {"assign_sub", assign_sub},
                                   {"read", read},     {"write", write},           {"rename", set_name},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", to_text}, {"__len", length}, {"__newindex", set_property}, {NULL, NULL}};

const moon_lua_class moon__lua_variable_class = {
    .kind = MOON_LUA_VARIABLE,
    .ops = true,
    .methods = methods,
    .metamethods = metamethods,
    .properties = properties,
    .property = property,
};
