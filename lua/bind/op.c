/*
** op.c: one Lua function for every op, generic over the op table: inputs first (variadic ops: one table of them), then
** attributes in the order of their rows; a last table with string keys names attributes and optional inputs instead. Optional
** inputs are taken by position while they are tensors. Without a Symbol among the inputs the numbers are computed at once;
** otherwise nodes are built. Closures hold the bind (upvalue 1) and the op (upvalue 2).
*/
#include "op.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "operand.h"
#include "tensor/variable.h"
#include "tensor_table.h"

#define ATTRS_BYTES 1024
#define MAX_RESULTS 8

typedef struct op_call {
  const moon_op *op;
  int n;           /* inputs */
  int npositional; /* of these at 1, 2, .. of the stack; the others, from options, at named_idx, .. */
  int named_idx;
  int list_idx; /* variadic: where the table of inputs is; else 0 */
  bool symbolic;
  uint64_t given; /* bit i: attribute i came */
  moon_operand in[MOON_MAX_INPUTS];
  _Alignas(16) char attrs[ATTRS_BYTES];
} op_call;

moon_lua_text moon__lua_input_name(const moon_op *op, int i) {
  moon_lua_text name = {"input"};
  const char *at = op->input_names ? op->input_names : "";
  for (; i > 0 && at; i--) {
    at = strchr(at, ',');
    if (at) at++;
  }
  if (!at || !*at) return name;
  at += strspn(at, " ");
  snprintf(name.s, sizeof name.s, "%.*s", (int)strcspn(at, ",. "), at);
  return name;
}

static bool takes_index(const moon_op *op, int i) { return strncmp(moon__lua_input_name(op, i).s, "ind", 3) == 0; }

/* ---- how many inputs there are ---- */

static bool is_tensor_like(lua_State *L, const moon_bind *b, int idx) {
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  return kind == MOON_LUA_TENSOR || kind == MOON_LUA_SYMBOL || kind == MOON_LUA_VARIABLE;
}

static void find_variadic(lua_State *L, const moon_bind *b, op_call *c) {
  size_t n;
  if (lua_type(L, 1) != LUA_TTABLE)
    moon__lua_fail(L, "%s: a table of tensors is expected first, got %s", c->op->name, moon__lua_describe(L, b, 1).s);
  n = moon__lua_rawlen(L, 1);
  if (n > MOON_MAX_INPUTS || n < (size_t)c->op->min_inputs)
    moon__lua_fail(L, "%s: takes %d to %d tensors, got %d", c->op->name, c->op->min_inputs, MOON_MAX_INPUTS, (int)n);
  c->list_idx = 1;
  c->n = c->npositional = (int)n;
}

static void find_positional(lua_State *L, const moon_bind *b, op_call *c, int nargs) {
  int most = c->op->max_inputs < 0 ? MOON_MAX_INPUTS : c->op->max_inputs;
  c->n = c->op->min_inputs;
  while (c->n < most && c->n < nargs && is_tensor_like(L, b, c->n + 1)) c->n++;
  c->npositional = c->n;
  for (int i = 0; i < c->n; i++) {
    if (i < nargs && !lua_isnil(L, i + 1)) continue;
    moon__lua_fail(L, "%s: %s is missing (takes %s)", c->op->name, moon__lua_input_name(c->op, i).s,
                   c->op->input_names ? c->op->input_names : "more inputs");
  }
}

/* Tables of numbers where tensors are expected become tensors. */
static void tables_to_tensors(lua_State *L, moon_bind *b, const op_call *c) {
  if (c->list_idx) return;
  for (int i = 0; i < c->n; i++) {
    if (lua_type(L, i + 1) != LUA_TTABLE) continue;
    moon__lua_tensor_from_table(L, b, i + 1, takes_index(c->op, i) ? MOON_DTYPE_i64 : MOON_DTYPE_COUNT, c->op->name);
    lua_replace(L, i + 1);
  }
}

/* ---- attributes ---- */

static void fail_count(lua_State *L, const op_call *c, int nargs) {
  char known[256] = "";
  size_t n = 0;
  for (int i = 0; i < c->op->nattrs && n < sizeof known; i++) {
    int used = c->op->attrs[i].hidden ? 0 : snprintf(known + n, sizeof known - n, ", %s", c->op->attrs[i].name);
    n += used < 0 ? 0 : (size_t)used;
  }
  moon__lua_fail(L, "%s: too many arguments: takes (%s%s), got %d", c->op->name,
                 c->op->input_names ? c->op->input_names : (c->op->max_inputs ? "inputs" : ""),
                 c->op->max_inputs || !*known ? known : known + 2, nargs);
}

static void read_attr(lua_State *L, const moon_bind *b, op_call *c, int row, int idx) {
  moon__lua_attr(L, b, c->op, &c->op->attrs[row], idx, c->attrs, &c->symbolic);
  c->given |= (uint64_t)1 << row;
}

static void read_positional(lua_State *L, const moon_bind *b, op_call *c, int idx, int nargs) {
  for (int row = 0; row < c->op->nattrs && idx <= nargs; row++) {
    if (c->op->attrs[row].hidden) continue;
    if (!lua_isnil(L, idx)) read_attr(L, b, c, row, idx);
    idx++;
  }
  for (; idx <= nargs; idx++) {
    if (!lua_isnil(L, idx)) fail_count(L, c, nargs);
  }
}

/* Name number i that options may have: attributes, then optional inputs; "" at the end. */
static moon_lua_text option_name(const op_call *c, int i) {
  moon_lua_text text = {""};
  for (int row = 0; row < c->op->nattrs; row++) {
    if (c->op->attrs[row].hidden || i-- > 0) continue;
    snprintf(text.s, sizeof text.s, "%s", c->op->attrs[row].name);
    return text;
  }
  if (!c->list_idx && c->op->min_inputs + i < c->op->max_inputs) return moon__lua_input_name(c->op, c->op->min_inputs + i);
  return text;
}

static void check_option_names(lua_State *L, const moon_bind *b, const op_call *c, int idx) {
  enum { MOST = 32 };
  moon_lua_text text[MOST];
  const char *names[MOST + 1];
  int n = 0;
  for (; n < MOST; n++) {
    text[n] = option_name(c, n);
    if (!text[n].s[0]) break;
    names[n] = text[n].s;
  }
  names[n] = NULL;
  moon__lua_known_keys(L, b, idx, c->op->name, names, false);
}

static void read_options(lua_State *L, moon_bind *b, op_call *c, int idx) {
  check_option_names(L, b, c, idx);
  for (int row = 0; row < c->op->nattrs; row++) {
    if (c->op->attrs[row].hidden || !moon__lua_option(L, idx, c->op->attrs[row].name)) continue;
    if (c->given >> row & 1) moon__lua_fail(L, "%s: %s is given twice", c->op->name, c->op->attrs[row].name);
    read_attr(L, b, c, row, -1);
    lua_pop(L, 1);
  }
  if (c->list_idx) return;
  c->named_idx = lua_gettop(L) + 1;
  for (int i = c->op->min_inputs; i < c->op->max_inputs; i++) {
    moon_lua_text name = moon__lua_input_name(c->op, i);
    if (!moon__lua_option(L, idx, name.s)) continue;
    if (i != c->n) moon__lua_fail(L, "%s: %s cannot be given without the inputs before it, or twice", c->op->name, name.s);
    if (lua_type(L, -1) == LUA_TTABLE) {
      moon__lua_tensor_from_table(L, b, lua_gettop(L), MOON_DTYPE_COUNT, c->op->name);
      lua_remove(L, -2);
    }
    c->n++;
  }
}

static void check_required(lua_State *L, const op_call *c) {
  for (int row = 0; row < c->op->nattrs; row++) {
    const moon_attr *a = &c->op->attrs[row];
    if (a->required && !a->hidden && !(c->given >> row & 1)) moon__lua_fail(L, "%s: %s is missing", c->op->name, a->name);
  }
}

/* Is the table at idx empty, and not what an attribute there would take: a list of sizes, axes or numbers? */
static bool is_empty_options(lua_State *L, const op_call *c, int first, int idx) {
  int at = first;
  if (lua_type(L, idx) != LUA_TTABLE) return false;
  lua_pushnil(L);
  if (lua_next(L, idx)) {
    lua_pop(L, 2);
    return false;
  }
  for (int row = 0; row < c->op->nattrs; row++) {
    moon_attr_kind kind = c->op->attrs[row].kind;
    bool list = kind == MOON_ATTR_SHAPE || kind == MOON_ATTR_INTS || kind == MOON_ATTR_AXES;
    if (!c->op->attrs[row].hidden && at++ == idx) return !list;
  }
  return true;
}

static void read_attrs(lua_State *L, moon_bind *b, op_call *c, int nargs) {
  int first = c->list_idx ? 2 : c->npositional + 1;
  bool options = nargs >= first && (moon__lua_is_options(L, nargs) || is_empty_options(L, c, first, nargs));
  if (c->op->attrs_bytes > sizeof c->attrs || c->op->nattrs > 64) moon__lua_fail(L, "%s: too many attributes", c->op->name);
  moon__attrs_default(c->op, c->attrs);
  read_positional(L, b, c, first, options ? nargs - 1 : nargs);
  if (options) read_options(L, b, c, nargs);
  check_required(L, c);
}

/* ---- inputs ---- */

/* Does the op turn integers into floats, so that a fraction beside them is fine? */
static bool makes_float(const moon_op *op) {
  return op->kind == MOON_ELEMENTWISE ? op->dtype_class == MOON_CLASS_FLOAT : op->inputs == MOON_INPUTS_FLOAT;
}

/* Dtype that numbers take: that of the tensors beside them (not of a condition); MOON_DTYPE_COUNT when there are none. */
static moon_dtype dtype_beside(const op_call *c) {
  moon_dtype d = MOON_DTYPE_COUNT;
  bool ternary = c->op->kind == MOON_ELEMENTWISE && c->op->max_inputs == 3;
  for (int i = ternary ? 1 : 0; i < c->n; i++) {
    if (c->in[i].kind == MOON_OPERAND_NUMBER) continue;
    d = d == MOON_DTYPE_COUNT ? c->in[i].dtype : moon_dtype_promote(d, c->in[i].dtype);
  }
  if (d < MOON_DTYPE_bf16 && makes_float(c->op)) d = MOON_DTYPE_f32;
  return d;
}

static void read_operands(lua_State *L, const moon_bind *b, op_call *c) {
  bool numbers = false;
  moon_dtype beside;
  for (int i = 0; i < c->n; i++) {
    int idx = i < c->npositional ? i + 1 : c->named_idx + i - c->npositional;
    if (c->list_idx) lua_rawgeti(L, c->list_idx, i + 1);
    if (!moon__lua_operand(L, b, c->list_idx ? -1 : idx, &c->in[i]))
      moon__lua_want_operand(L, b, c->list_idx ? -1 : idx, c->op->name, moon__lua_input_name(c->op, i).s, &c->in[i]);
    if (c->list_idx) lua_pop(L, 1);
    if (moon__lua_is_symbolic(b, &c->in[i])) c->symbolic = true;
    if (c->in[i].kind == MOON_OPERAND_NUMBER) numbers = true;
  }
  if ((c->op->flags & MOON_OPF_RANDOM) && moon__lua_in_trace(b)) c->symbolic = true;
  if (!numbers) return;
  beside = dtype_beside(c);
  for (int i = 0; i < c->n; i++) moon__lua_number_dtype(L, c->op->name, &c->in[i], takes_index(c->op, i) ? MOON_DTYPE_i64 : beside);
}

/* ---- views: reshape, transpose and their like on concrete tensors share memory ---- */

/* Does the op move no data? Inline ops may come down to such ops. Repeating elements is left out: writes would show many times. */
static bool may_be_view(const op_call *c) {
  if (c->symbolic || c->n != 1 || c->in[0].kind != MOON_OPERAND_TENSOR || c->op->id == MOON_OP_broadcast_to) return false;
  return (c->op->flags & MOON_OPF_VIEW) ||
         (c->op->kind == MOON_INLINE && !(c->op->flags & MOON_OPF_RANDOM) && c->op->noutputs == 1);
}

static moon_view view_of_tensor(const moon_tensor *t) {
  moon_view v = {.ndim = t->ndim, .offset = t->offset};
  for (int i = 0; i < t->ndim; i++) {
    v.shape[i] = t->shape[i];
    v.strides[i] = t->strides[i];
  }
  return v;
}

/* The tensor that v, a chain of view ops over t, is; NULL when it is not one, or needs a copy. At most a few nodes deep. */
static bool follow_views(const moon_value *v, const moon_tensor *t, moon_view *view) {
  moon_view x;
  if (v->node->op->id == MOON_OP_constant) {
    *view = view_of_tensor(t);
    return v->tensor == t;
  }
  if (!v->node->op->view || v->node->op->id == MOON_OP_broadcast_to || !follow_views(v->node->inputs[0], t, &x)) return false;
  return v->node->op->view(v->node, &x, view);
}

static moon_tensor *make_view(moon_bind *b, const moon_value *v, const moon_tensor *t) {
  moon_view view;
  if (!follow_views(v, t, &view)) return NULL;
  return moon__tensor_over(b->ctx, t->storage, t->dtype, view.ndim, view.shape, view.strides, view.offset);
}

/* ---- building ---- */

static moon_value *build(moon_bind *b, const op_call *c) {
  moon_value *in[MOON_MAX_INPUTS];
  moon_node_spec spec = {.op = c->op, .attrs = c->op->attrs_bytes ? c->attrs : NULL, .ninputs = c->n, .inputs = in};
  bool frozen = c->symbolic && moon__lua_freezes(b);
  for (int i = 0; i < c->n; i++) {
    in[i] = moon__lua_value(b, &c->in[i], frozen);
    if (!in[i]) return NULL;
  }
  return moon__node_build(b->ctx, &spec);
}

/* A result that is the numbers of a variable itself (mode, stop_gradient) becomes a copy: writing it must not write that. */
static moon_tensor *unshare(moon_bind *b, const op_call *c, moon_tensor *t) {
  bool shared = false;
  moon_tensor *copy;
  for (int i = 0; t && i < c->n; i++)
    shared |= c->in[i].kind == MOON_OPERAND_VARIABLE && ((const moon_variable *)c->in[i].ptr)->tensor->storage == t->storage;
  if (!shared) return moon_tensor_retain(t);
  copy = moon__tensor_empty(b->ctx, t->dtype, t->ndim, t->shape);
  if (!copy || moon_tensor_copy(b->ctx, copy, t) == MOON_OK) return copy;
  moon_tensor_release(copy);
  return NULL;
}

/* Retains result i of the op whose first result is v. */
static void *take(moon_bind *b, const op_call *c, moon_value *v, int i) {
  moon_value *y = c->op->noutputs == 1 ? v : moon_value_output(v, i);
  if (!y || (!c->symbolic && !moon_value_tensor(y))) {
    moon__fail(b->ctx, MOON_EINTERNAL, "%s: no result", c->op->name);
    return NULL;
  }
  return c->symbolic ? (void *)moon_value_retain(y) : (void *)unshare(b, c, moon_value_tensor(y));
}

/* The view that the op is; NULL when it must be computed (also when it is wrong: then computing says why). */
static moon_tensor *evaluate_view(moon_bind *b, const op_call *c) {
  moon_context *ctx = b->ctx;
  int eager = ctx->eager_depth;
  moon_tensor *t = NULL;
  moon_value *v;
  moon_scope_open(ctx);
  ctx->eager_depth = 0;
  v = build(b, c);
  ctx->eager_depth = eager;
  if (v) t = make_view(b, v, c->in[0].ptr);
  moon_scope_close(ctx);
  return t;
}

/* Computes or builds, and puts up to room results into out; returns how many, 0 after an error. Cannot raise. */
static int evaluate(moon_bind *b, const op_call *c, void **out, int room) {
  moon_context *ctx = b->ctx;
  int n = 0, made = 0;
  moon_value *v;
  if (may_be_view(c) && (out[0] = evaluate_view(b, c)) != NULL) return 1;
  moon_scope_open(ctx);
  if (!c->symbolic) moon_eager_push(ctx);
  v = build(b, c);
  if (!c->symbolic) moon_eager_pop(ctx);
  if (v) n = c->op->noutputs ? c->op->noutputs : moon_value_output_count(v);
  if (n > room) n = room;
  while (made < n && (out[made] = take(b, c, v, made)) != NULL) made++;
  moon_scope_close(ctx);
  if (made == n) return n;
  while (made > 0) {
    if (c->symbolic) moon_value_release(out[--made]);
    else moon_tensor_release(out[--made]);
  }
  return 0;
}

/* The counter that numbers random nodes built now. */
static int64_t *next_stream(moon_context *ctx) {
  return ctx->ntraces > 0 ? &ctx->traces[ctx->ntraces - 1].next_stream : &ctx->next_stream;
}

static int evaluate_or_raise(lua_State *L, moon_bind *b, op_call *c, void **out, int room) {
  int n;
  int64_t stream = *next_stream(b->ctx);
  if (c->symbolic) moon__lua_origin(L, b);
  else moon__lua_no_origin(b);
  n = evaluate(b, c, out, room);
  if (n == 0 && moon_error_status(b->ctx) == MOON_EMEMORY) {
    moon__lua_collect(L, b);
    read_operands(L, b, c); /* finalizers have run */
    *next_stream(b->ctx) = stream; /* the same draws as if there had been memory */
    n = evaluate(b, c, out, room);
  }
  return n > 0 ? n : moon__lua_raise(L, b);
}

static size_t result_bytes(const op_call *c, const void *result) {
  const moon_tensor *t = result;
  if (c->symbolic) return MOON_LUA_SYMBOL_BYTES;
  return t->storage->refs > 1 ? 0 : moon_tensor_bytes(t);
}

/* As many results as the op has outputs. */
static int call_fixed(lua_State *L, moon_bind *b, op_call *c, int nresults) {
  void *out[MAX_RESULTS];
  moon_lua_kind kind;
  size_t bytes = 0;
  bool all = true;
  int first = lua_gettop(L) + 1;
  luaL_checkstack(L, nresults + 8, "too many results");
  for (int i = 0; i < nresults; i++) moon__lua_block(L);
  read_operands(L, b, c);
  evaluate_or_raise(L, b, c, out, nresults);
  kind = c->symbolic ? MOON_LUA_SYMBOL : MOON_LUA_TENSOR;
  for (int i = 0; i < nresults; i++) {
    bytes += result_bytes(c, out[i]);
    all = moon__lua_take(L, b, first + i, kind, out[i]) && all;
  }
  if (!all) moon__lua_raise(L, b);
  moon__lua_account(L, b, bytes);
  return nresults;
}

/* One table of all outputs. */
static int call_counted(lua_State *L, moon_bind *b, op_call *c) {
  moon_lua_list *list = moon__lua_list(L, b, MOON_LUA_TENSOR, MOON_MAX_OUTPUTS);
  size_t bytes = 0;
  list->n = 0;
  read_operands(L, b, c);
  list->kind = c->symbolic ? MOON_LUA_SYMBOL : MOON_LUA_TENSOR;
  list->n = evaluate_or_raise(L, b, c, list->item, MOON_MAX_OUTPUTS);
  for (int i = 0; i < list->n; i++) bytes += result_bytes(c, list->item[i]);
  moon__lua_list_table(L, list);
  moon__lua_account(L, b, bytes);
  return 1;
}

/* How many results a script sees; 0: a table. The positions that max_pool gives are for its gradient only. */
static int visible_results(const moon_op *op) { return op->id == MOON_OP_max_pool ? 1 : op->noutputs; }

static int call_op(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  op_call c; /* large: members are set one by one */
  int nargs = lua_gettop(L), nresults;
  c.op = lua_touserdata(L, lua_upvalueindex(2));
  c.list_idx = c.named_idx = 0;
  c.symbolic = false;
  c.given = 0;
  if (c.op->flags & MOON_OPF_VARIADIC) find_variadic(L, b, &c);
  else find_positional(L, b, &c, nargs);
  tables_to_tensors(L, b, &c);
  read_attrs(L, b, &c, nargs);
  nresults = visible_results(c.op);
  return nresults > 0 && nresults <= MAX_RESULTS ? call_fixed(L, b, &c, nresults) : call_counted(L, b, &c);
}

/* Lua calls __unm with its operand twice. */
static int call_negative(lua_State *L) {
  lua_settop(L, 1);
  return call_op(L);
}

static int refuse_compare(lua_State *L) {
  return moon__lua_fail(L, "tensors are compared with x:lt(y), x:le(y), x:gt(y), x:ge(y): < and <= can only give one boolean");
}

/* ---- registering ---- */

static void push_op(lua_State *L, int bind_idx, const moon_op *op, lua_CFunction f) {
  lua_pushvalue(L, bind_idx);
  lua_pushlightuserdata(L, (void *)(uintptr_t)op);
  lua_pushcclosure(L, f, 2);
}

void moon__lua_push_op(lua_State *L, int bind_idx, const moon_op *op) { push_op(L, bind_idx, op, call_op); }

void moon__lua_op_functions(lua_State *L, int bind_idx) {
  for (int i = 0; i < MOON_OP_COUNT; i++) {
    if (moon__ops[i]->flags & MOON_OPF_INTERNAL) continue;
    push_op(L, bind_idx, moon__ops[i], call_op);
    lua_setfield(L, -2, moon__ops[i]->name);
  }
}

void moon__lua_op_methods(lua_State *L, int bind_idx) {
  const uint32_t off = MOON_OPF_INTERNAL | MOON_OPF_METHOD_OFF | MOON_OPF_VARIADIC;
  for (int i = 0; i < MOON_OP_COUNT; i++) {
    if ((moon__ops[i]->flags & off) || moon__ops[i]->min_inputs < 1) continue;
    push_op(L, bind_idx, moon__ops[i], call_op);
    lua_setfield(L, -2, moon__ops[i]->name);
  }
}

void moon__lua_op_metamethods(lua_State *L, int bind_idx) {
  static const struct {
    const char *event;
    moon_op_id op;
  } operators[] = {
      {"__add", MOON_OP_add}, {"__sub", MOON_OP_sub},       {"__mul", MOON_OP_mul},           {"__div", MOON_OP_div},
      {"__pow", MOON_OP_pow}, {"__mod", MOON_OP_remainder}, {"__idiv", MOON_OP_floor_divide}, {"__unm", MOON_OP_neg},
  };
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
    push_op(L, bind_idx, moon__ops[operators[i].op], operators[i].op == MOON_OP_neg ? call_negative : call_op);
    lua_setfield(L, -2, operators[i].event);
  }
  lua_pushcfunction(L, refuse_compare);
  lua_setfield(L, -2, "__lt");
  lua_pushcfunction(L, refuse_compare);
  lua_setfield(L, -2, "__le");
}
