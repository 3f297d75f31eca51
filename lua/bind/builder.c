/*
** builder.c: einsum and depend: functions that build from several values but are no op with attributes of its own. Ops are in op.c.
*/
#include "builder.h"

#include "args.h"
#include "operand.h"
#include "ops/einsum.h"
#include "symbol.h"
#include "tensor.h"

typedef struct builder_call {
  int n;
  bool symbolic;
  moon_operand in[MOON_MAX_INPUTS];
} builder_call;

/* Reads the table at idx; numbers take the dtype of the tensors. */
static void read_list(lua_State *L, const moon_bind *b, int idx, const char *who, builder_call *c) {
  size_t n = moon__lua_rawlen(L, idx);
  moon_dtype beside = MOON_DTYPE_COUNT;
  if (n < 1 || n > MOON_MAX_INPUTS) moon__lua_fail(L, "%s: takes 1 to %d tensors, got %d", who, MOON_MAX_INPUTS, (int)n);
  c->n = (int)n;
  c->symbolic = false;
  for (int i = 0; i < c->n; i++) {
    lua_rawgeti(L, idx, i + 1);
    moon__lua_want_operand(L, b, -1, who, "an input", &c->in[i]);
    lua_pop(L, 1);
    if (moon__lua_is_symbolic(b, &c->in[i])) c->symbolic = true;
    if (c->in[i].kind != MOON_OPERAND_NUMBER && (beside == MOON_DTYPE_COUNT || c->in[i].dtype > beside)) beside = c->in[i].dtype;
  }
  for (int i = 0; i < c->n; i++) moon__lua_number_dtype(L, who, &c->in[i], beside);
}

/* The values of all operands; false after an error. */
static bool make_values(moon_bind *b, const builder_call *c, moon_value **in) {
  for (int i = 0; i < c->n; i++) {
    in[i] = moon__lua_value(b, &c->in[i], c->symbolic && moon__lua_freezes(b));
    if (!in[i]) return false;
  }
  return true;
}

static void *build_einsum(moon_bind *b, const builder_call *c, const char *equation) {
  moon_value *in[MOON_MAX_INPUTS], *v = NULL;
  void *result;
  moon_scope_open(b->ctx);
  if (!c->symbolic) moon_eager_push(b->ctx);
  if (make_values(b, c, in)) v = moon__einsum(b->ctx, equation, c->n, in);
  if (!c->symbolic) moon_eager_pop(b->ctx);
  result = c->symbolic ? (void *)moon_value_retain(v) : (void *)moon_tensor_retain(moon_value_tensor(v));
  moon_scope_close(b->ctx);
  return result;
}

/* The tensors may also follow one by one: they are put into a table at idx. */
static void gather_list(lua_State *L, int idx) {
  int n = lua_gettop(L) - idx + 1;
  if (lua_type(L, idx) == LUA_TTABLE) {
    lua_settop(L, idx);
    return;
  }
  lua_createtable(L, n > 0 ? n : 0, 0);
  lua_insert(L, idx);
  for (int i = n; i >= 1; i--) lua_rawseti(L, idx, i);
  lua_settop(L, idx);
}

/* core.einsum(equation, { tensors }) */
static int einsum(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  builder_call c;
  void *result;
  moon__lua_str(L, b, 1, "einsum", "equation");
  if (lua_gettop(L) < 2) return moon__lua_fail(L, "einsum: tensors are missing");
  gather_list(L, 2);
  moon__lua_block(L);
  read_list(L, b, 2, "einsum", &c);
  if (c.symbolic) moon__lua_origin(L, b);
  else moon__lua_no_origin(b);
  result = build_einsum(b, &c, lua_tostring(L, 1));
  if (c.symbolic) moon__lua_fill_symbol(L, b, -1, result);
  else moon__lua_push_tensor(L, b, -1, result, result ? moon_tensor_bytes(result) : 0);
  return 1;
}

/* core.depend(x, { effects }) -> x, and the effects with it. */
static int depend(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  builder_call c;
  moon_value *in[MOON_MAX_INPUTS], *v = NULL;
  if (lua_gettop(L) < 2) return moon__lua_fail(L, "depend: effects are missing");
  gather_list(L, 2);
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 3, 1);
  for (int i = 1; i <= (int)moon__lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    lua_rawseti(L, 3, i + 1);
  }
  moon__lua_block(L);
  read_list(L, b, 3, "depend", &c);
  if (!c.symbolic) {
    lua_settop(L, 1);
    return 1;
  }
  moon__lua_origin(L, b);
  moon_scope_open(b->ctx);
  if (make_values(b, &c, in)) v = moon_value_retain(moon__apply(b->ctx, MOON_OP_depend, NULL, c.n, in));
  moon_scope_close(b->ctx);
  moon__lua_fill_symbol(L, b, -1, v);
  return 1;
}

const luaL_Reg moon__lua_builder_functions[] = {{"einsum", einsum}, {"depend", depend}, {NULL, NULL}};
