/*
** dim.c: the Dim object: a size that is known when data comes, with + - * and floordiv, made of named unknowns. Results that
** turn out to be known are plain numbers. Equal expressions are equal (==).
*/
#include "args.h"
#include "dim.h"

static moon_dim operand(lua_State *L, const moon_bind *b, int idx) {
  const moon_lua_dim *dim = moon__lua_test(L, b, idx, MOON_LUA_DIM);
  return dim ? dim->dim : moon__lua_int(L, b, idx, "dim", "an operand");
}

typedef moon_dim (*dim_operator)(moon_context *ctx, moon_dim a, moon_dim b);

/* A negative number is not a dim: a + -2 is a - 2. */
static moon_dim apply(moon_bind *b, dim_operator f, moon_dim x, bool x_dim, moon_dim y, bool y_dim) {
  if (f == moon_dim_add && !y_dim && y < 0) return moon_dim_sub(b->ctx, x, -y);
  if (f == moon_dim_add && !x_dim && x < 0) return moon_dim_sub(b->ctx, y, -x);
  if (f == moon_dim_sub && !y_dim && y < 0) return moon_dim_add(b->ctx, x, -y);
  if ((!x_dim && x < 0) || (!y_dim && y < 0)) {
    moon__fail(b->ctx, MOON_ESIZE, "dim: a negative number does not go with this operator");
    return MOON_DIM_ERROR;
  }
  return f(b->ctx, x, y);
}

static int arithmetic(lua_State *L, dim_operator f) {
  moon_bind *b = moon__lua_bind(L);
  moon_dim x = operand(L, b, 1), y = operand(L, b, 2), r;
  bool x_dim = moon__lua_kind(L, b, 1) == MOON_LUA_DIM, y_dim = moon__lua_kind(L, b, 2) == MOON_LUA_DIM;
  moon__lua_no_origin(b);
  if ((!x_dim && x == INT64_MIN) || (!y_dim && y == INT64_MIN)) return moon__lua_fail(L, "dim: an operand is out of range");
  r = apply(b, f, x, x_dim, y, y_dim);
  if (r == MOON_DIM_ERROR) return moon__lua_raise(L, b);
  moon__lua_push_dim(L, b, r);
  return 1;
}

static int add(lua_State *L) { return arithmetic(L, moon_dim_add); }
static int sub(lua_State *L) { return arithmetic(L, moon_dim_sub); }
static int mul(lua_State *L) { return arithmetic(L, moon_dim_mul); }
/*: Dim:max(n) -> Dim. The larger of two sizes. */
static int max(lua_State *L) { return arithmetic(L, moon_dim_max); }

/*: Dim:floordiv(n) -> Dim. Quotient rounded down; also the operator `//` of Lua 5.3 and later. `+`, `-` and `*` work on Dims
** too. */
static int floordiv(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (lua_type(L, 2) == LUA_TNUMBER && moon__lua_int(L, b, 2, "floordiv", "divisor") <= 0)
    return moon__lua_fail(L, "floordiv: the divisor must be 1 or more, got %s", moon__lua_describe(L, b, 2).s);
  return arithmetic(L, moon_dim_floordiv);
}

static int equal(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_lua_dim *x = moon__lua_test(L, b, 1, MOON_LUA_DIM), *y = moon__lua_test(L, b, 2, MOON_LUA_DIM);
  lua_pushboolean(L, x && y && x->dim == y->dim);
  return 1;
}

static int to_text(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  char text[256];
  const moon_object *o = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) == MOON_LUA_DIM && !o->ptr) lua_pushliteral(L, "Dim (released)");
  else
    lua_pushstring(L, moon_dim_text(b->runtime,
                                    ((moon_lua_dim *)moon__lua_check(L, b, 1, MOON_LUA_DIM, "tostring", "argument 1"))->dim, text,
                                    sizeof text));
  return 1;
}

/* core.dim(name) -> the unknown of that name. */
static int make_dim(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const char *name = moon__lua_str(L, b, 1, "dim", "name");
  moon_dim d;
  moon__lua_no_origin(b);
  d = moon_dim_named(b->ctx, name);
  if (d == MOON_DIM_ERROR) return moon__lua_raise(L, b);
  moon__lua_push_dim(L, b, d);
  return 1;
}

const luaL_Reg moon__lua_dim_functions[] = {{"dim", make_dim}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"floordiv", floordiv}, {"max", max}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__add", add},  {"__sub", sub},          {"__mul", mul}, {"__idiv", floordiv},
                                       {"__eq", equal}, {"__tostring", to_text}, {NULL, NULL}};

const moon_lua_class moon__lua_dim_class = {.kind = MOON_LUA_DIM, .methods = methods, .metamethods = metamethods};
