/*
** program.c: the Program object. run{ in1, .., out = { t1, .. }, step = n } computes everything and gives the outputs; with
** budget_us it computes for so long and says whether it is done; start{...} gives a Ticket (ticket.c) and computes in the
** background. With all of out given, a run makes no Lua garbage: the names
** of options are kept in the closure of run, and arrays stand on the C stack. Compiling is in compile.c.
*/
#include "program.h"

#include <string.h>

#include "args.h"
#include "profile.h"
#include "tensor.h"
#include "tensor_table.h"
#include "ticket.h"

#define MAX_ARRAYS 256 /* inputs, and outputs, of a program that Lua runs */

enum { UP_BIND = 1, UP_OUT, UP_STEP, UP_BUDGET };

static const char runs_key = 0; /* registry: program -> what its run in slices keeps alive; weak keys */

static moon_lua_program *self(lua_State *L, const moon_bind *b, const char *who) {
  moon__lua_check(L, b, 1, MOON_LUA_PROGRAM, who, "argument 1");
  return lua_touserdata(L, 1);
}

/* ---- arguments of run: the table stands at 2 ---- */

/* Pushes args[name] of the table of arguments at idx, the name being an upvalue. */
static bool push_option(lua_State *L, int idx, int upvalue) {
  lua_pushvalue(L, lua_upvalueindex(upvalue));
  lua_rawget(L, idx);
  return !lua_isnil(L, -1);
}

static int count_keys(lua_State *L, int idx) {
  int keys = 0;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) keys++;
  return keys;
}

static void check_keys(lua_State *L, const moon_bind *b, int expected) {
  static const char *const known[] = {"out", "step", "budget_us", NULL};
  if (count_keys(L, 2) == expected) return;
  moon__lua_known_keys(L, b, 2, "run", known, true);
  moon__lua_fail(L, "run: the entries of the table do not fit: a list without gaps is expected");
}

/* Makes sure that the input on top is a Tensor. */
static void convert_input(lua_State *L, moon_bind *b, const moon_type *type) {
  int idx = lua_gettop(L);
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  if (kind == MOON_LUA_TENSOR) return;
  if (kind == MOON_LUA_OTHER) moon__lua_tensor_from_table(L, b, idx, type->dtype, "run");
  else moon__lua_numbers(L, b, idx, "run");
  lua_replace(L, idx);
}

typedef struct run_args {
  int first_in;  /* the inputs, which stand on the stack, as Tensors */
  int out_idx;   /* the table of outputs, 0: none */
  int first_out; /* the outputs on the stack: Tensors that were given, or blocks */
  uint64_t step;
  double budget_us;
  bool sliced;
} run_args;

static void read_numbers(lua_State *L, const moon_bind *b, run_args *a, int *named) {
  if (push_option(L, 2, UP_STEP)) {
    int64_t step = moon__lua_int(L, b, -1, "run", "step");
    if (step < 0) moon__lua_fail(L, "run: step must be 0 or more, got %s", moon__lua_describe(L, b, -1).s);
    a->step = (uint64_t)step;
    ++*named;
  }
  if (push_option(L, 2, UP_BUDGET)) {
    a->budget_us = moon__lua_num(L, b, -1, "run", "budget_us");
    if (!(a->budget_us >= 0)) moon__lua_fail(L, "run: budget_us must be 0 or more, got %s", moon__lua_describe(L, b, -1).s);
    a->sliced = true;
    ++*named;
  }
  lua_pop(L, 2);
}

static void check_out(lua_State *L, const moon_bind *b, const moon_lua_program *p) {
  moon__lua_want_table(L, b, -1, "run", "out");
  if (moon__lua_rawlen(L, -1) > (size_t)p->nout)
    moon__lua_fail(L, "run: out has %d tensors, the program has %d outputs", (int)moon__lua_rawlen(L, -1), p->nout);
}

/* Reads everything that may raise or allocate; leaves the table of outputs and the inputs on the stack. */
static run_args read_args(lua_State *L, moon_bind *b, const moon_lua_program *p) {
  run_args a = {.step = 0};
  int named = 0;
  moon__lua_want_table(L, b, 2, "run", "argument 1");
  if (moon__lua_rawlen(L, 2) != (size_t)p->nin)
    moon__lua_fail(L, "run: the program takes %d inputs, got %d", p->nin, (int)moon__lua_rawlen(L, 2));
  if (p->nin > MAX_ARRAYS || p->nout > MAX_ARRAYS) moon__lua_fail(L, "run: more than %d inputs or outputs", MAX_ARRAYS);
  read_numbers(L, b, &a, &named);
  if (push_option(L, 2, UP_OUT)) {
    check_out(L, b, p);
    a.out_idx = lua_gettop(L);
    named++;
  }
  check_keys(L, b, p->nin + named);
  luaL_checkstack(L, p->nin + p->nout + 8, "too many tensors");
  a.first_in = lua_gettop(L) + 1;
  for (int i = 0; i < p->nin; i++) {
    lua_rawgeti(L, 2, i + 1);
    convert_input(L, b, &p->in[i]);
  }
  return a;
}

static void read_inputs(lua_State *L, const moon_bind *b, const moon_lua_program *p, const run_args *a, moon_tensor **in) {
  for (int i = 0; i < p->nin; i++) in[i] = moon__lua_check(L, b, a->first_in + i, MOON_LUA_TENSOR, "run", "an input");
}

/* Pushes for each output the tensor given, or an empty block; given[i]: which of them. */
static void push_outputs(lua_State *L, const moon_lua_program *p, run_args *a, bool *given) {
  a->first_out = lua_gettop(L) + 1;
  for (int i = 0; i < p->nout; i++) {
    if (a->out_idx) lua_rawgeti(L, a->out_idx, i + 1);
    given[i] = a->out_idx && !lua_isnil(L, -1);
    if (a->out_idx && !given[i]) lua_pop(L, 1);
    if (!given[i]) moon__lua_block(L);
  }
}

/* NULL: not given. */
static void read_outputs(lua_State *L, const moon_bind *b, const moon_lua_program *p, const run_args *a, const bool *given,
                         moon_tensor **out) {
  for (int i = 0; i < p->nout; i++)
    out[i] = given[i] ? moon__lua_check(L, b, a->first_out + i, MOON_LUA_TENSOR, "run", "an entry of out") : NULL;
}

/* ---- whole runs ---- */

static int run_whole(lua_State *L, moon_bind *b, const moon_lua_program *p, run_args *a) {
  moon_tensor *in[MAX_ARRAYS], *out[MAX_ARRAYS];
  bool given[MAX_ARRAYS], all = true;
  size_t bytes = 0;
  moon_status status;
  push_outputs(L, p, a, given);
  read_inputs(L, b, p, a, in);
  read_outputs(L, b, p, a, given, out);
  moon__lua_no_origin(b);
  status = moon_program_run(b->ctx, self(L, b, "run")->head.ptr, in, out, a->step);
  for (int i = 0; i < p->nout; i++) {
    if (given[i] || !out[i]) continue;
    bytes += moon_tensor_bytes(out[i]);
    all = moon__lua_take(L, b, a->first_out + i, MOON_LUA_TENSOR, out[i]) && all;
  }
  if (status != MOON_OK || !all) return moon__lua_raise(L, b);
  if (bytes > 0) moon__lua_account(L, b, bytes);
  return p->nout;
}

/* ---- runs in slices ---- */

/* What a sliced run needs until it is done: runs[program] = { args, outputs.., inputs.. }; the table is used again. Pushes it. */
static void push_kept(lua_State *L, int idx) {
  moon__lua_getkey(L, &runs_key);
  lua_pushvalue(L, idx);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

static void push_room(lua_State *L, int n) {
  push_kept(L, 1);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_createtable(L, n, 0);
  moon__lua_getkey(L, &runs_key);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static void keep(lua_State *L, const moon_lua_program *p, const run_args *a) {
  push_room(L, p->nout + p->nin + 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, 1);
  for (int i = 0; i < p->nout + p->nin; i++) {
    lua_pushvalue(L, i < p->nout ? a->first_out + i : a->first_in + i - p->nout);
    lua_rawseti(L, -2, i + 2);
  }
  lua_pop(L, 1);
}

void moon__lua_program_forget(lua_State *L, int idx) {
  moon_lua_program *p = lua_touserdata(L, idx);
  if (!p->running) return;
  push_kept(L, idx);
  if (lua_istable(L, -1)) {
    for (int i = (int)moon__lua_rawlen(L, -1); i >= 1; i--) {
      lua_pushnil(L);
      lua_rawseti(L, -2, i);
    }
  }
  lua_pop(L, 1);
  p->running = false;
}

/* Outputs that were not given are made before the run starts. */
static void fill_blocks(lua_State *L, moon_bind *b, const moon_lua_program *p, const run_args *a, const bool *given) {
  for (int i = 0; i < p->nout; i++) {
    moon_type type = moon_program_output_type(self(L, b, "run")->head.ptr, i);
    moon_tensor *t;
    if (given[i]) continue;
    t = moon__tensor_empty(b->ctx, type.dtype, type.shape.ndim, type.shape.dim);
    moon__lua_push_tensor(L, b, a->first_out + i, t, t ? moon_tensor_bytes(t) : 0);
  }
}

static void start(lua_State *L, moon_bind *b, moon_lua_program *p, run_args *a) {
  moon_tensor *in[MAX_ARRAYS], *out[MAX_ARRAYS];
  bool given[MAX_ARRAYS];
  moon__lua_no_origin(b);
  if (p->running) moon_run_cancel(b->ctx, p->head.holding->run);
  p->running = false;
  if (!p->head.holding->run) p->head.holding->run = moon_run_new(b->ctx, p->head.ptr);
  if (!p->head.holding->run) moon__lua_raise(L, b);
  push_outputs(L, p, a, given);
  read_outputs(L, b, p, a, given, out);
  fill_blocks(L, b, p, a, given);
  keep(L, p, a);
  self(L, b, "run"); /* finalizers may have run */
  read_inputs(L, b, p, a, in);
  for (int i = 0; i < p->nout; i++) out[i] = moon__lua_check(L, b, a->first_out + i, MOON_LUA_TENSOR, "run", "an output");
  if (moon_run_start(b->ctx, p->head.holding->run, in, out, a->step) != MOON_OK) moon__lua_raise(L, b);
  p->running = true;
}

/* Goes on; the table that keep stored is on top. */
static int go_on(lua_State *L, moon_bind *b, moon_lua_program *p, double budget_us) {
  bool done = false;
  int kept = lua_gettop(L);
  moon_status status;
  moon__lua_no_origin(b);
  status = moon_run_step(b->ctx, p->head.holding->run, budget_us, &done);
  lua_pushboolean(L, done);
  if (status == MOON_OK && !done) return 1;
  luaL_checkstack(L, p->nout + 8, "too many outputs");
  for (int i = 0; i < p->nout; i++) lua_rawgeti(L, kept, i + 2);
  moon__lua_program_forget(L, 1);
  return status == MOON_OK ? 1 + p->nout : moon__lua_raise(L, b);
}

/* With the arguments of a run that has begun, or none: goes on. The kept table is on top. */
static int resume(lua_State *L, moon_bind *b, moon_lua_program *p) {
  int kept = lua_gettop(L);
  double budget_us = 0;
  if (lua_isnil(L, 2)) {
    lua_rawgeti(L, kept, 1);
    lua_replace(L, 2);
  }
  if (push_option(L, 2, UP_BUDGET)) budget_us = moon__lua_num(L, b, -1, "run", "budget_us");
  lua_settop(L, kept);
  return go_on(L, b, p, budget_us);
}

/* Are entries [1, n] of two tables the same? */
static bool same_entries(lua_State *L, int x, int y, int n) {
  bool same = true;
  for (int i = 1; same && i <= n; i++) {
    lua_rawgeti(L, x, i);
    lua_rawgeti(L, y, i);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  return same;
}

/* Do the tables at 2 and y have the same step, and the same tensors for the outputs? */
static bool same_options(lua_State *L, int y, const moon_lua_program *p) {
  int top = lua_gettop(L);
  push_option(L, 2, UP_STEP);
  push_option(L, y, UP_STEP);
  push_option(L, 2, UP_OUT);
  push_option(L, y, UP_OUT);
  bool same = lua_rawequal(L, top + 1, top + 2);
  if (same && !lua_rawequal(L, top + 3, top + 4))
    same = lua_istable(L, top + 3) && lua_istable(L, top + 4) && same_entries(L, top + 3, top + 4, p->nout);
  lua_settop(L, top);
  return same;
}

/* Is it the run that has begun? A script may write the same arguments into a new table each frame. The kept table is on top. */
static bool is_resume(lua_State *L, const moon_lua_program *p) {
  if (lua_isnil(L, 2)) return true;
  luaL_checkstack(L, 8, "run");
  lua_rawgeti(L, -1, 1);
  int begun = lua_gettop(L);
  bool same = lua_rawequal(L, 2, begun);
  if (!same && lua_istable(L, 2) && push_option(L, 2, UP_BUDGET))
    same = count_keys(L, 2) == count_keys(L, begun) && same_entries(L, 2, begun, p->nin) && same_options(L, begun, p);
  lua_settop(L, begun - 1);
  return same;
}

/*: Program:run(arguments) -> Tensor. Runs it: `{ x, y, out = { loss }, step = n, budget_us = n }`. Inputs in order; `out`:
** Tensors that take the outputs, so that a run makes nothing; `step` numbers the run for random numbers. With `budget_us` it
** works for so many microseconds and gives false, or true and the outputs once it is done; call it again, with the same arguments
** or none, to go on. Other tensors begin another run; `cancel` gives this one up. */
static int run(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_program *p = self(L, b, "run");
  run_args a;
  lua_settop(L, 2);
  if (p->running) {
    push_kept(L, 1);
    if (lua_istable(L, -1) && is_resume(L, p)) return resume(L, b, p);
    lua_pop(L, 1);
  } else if (lua_isnil(L, 2)) {
    return moon__lua_fail(L, "run: a table of inputs is expected: no run in slices has begun");
  }
  a = read_args(L, b, p);
  if (!a.sliced) return run_whole(L, b, p, &a);
  start(L, b, p, &a);
  push_kept(L, 1);
  return go_on(L, b, p, a.budget_us);
}

/* ---- runs in the background ---- */

/* Pushes { program, an entry per output }. */
static void push_kept_of_ticket(lua_State *L, const moon_lua_program *p, const run_args *a) {
  lua_createtable(L, p->nout + 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  for (int i = 0; i < p->nout; i++) {
    lua_pushvalue(L, a->first_out + i);
    lua_rawseti(L, -2, i + 2);
  }
}

/*: Program:start(arguments) -> Ticket. Runs it in the background, with the arguments of `run`; other programs see its effects when
** it is complete. */
static int start_ticket(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_program *p = self(L, b, "start");
  moon_tensor *in[MAX_ARRAYS], *out[MAX_ARRAYS];
  bool given[MAX_ARRAYS];
  lua_settop(L, 2);
  run_args a = read_args(L, b, p);
  if (a.sliced) return moon__lua_fail(L, "start: budget_us goes with run, not with start");
  push_outputs(L, p, &a, given);
  read_outputs(L, b, p, &a, given, out);
  push_kept_of_ticket(L, p, &a);
  moon_lua_ticket *t = moon__lua_ticket_push(L, p->nout);
  self(L, b, "start"); /* finalizers may have run */
  moon__lua_own(L, b, -1, MOON_LUA_TICKET, t);
  moon_lua_holding *own = p->head.holding, *of_ticket = t->head.holding;
  of_ticket->run = own->spare ? own->spare : moon_run_new(b->ctx, p->head.ptr);
  own->spare = NULL;
  if (!of_ticket->run) return moon__lua_raise(L, b);
  read_inputs(L, b, p, &a, in);
  read_outputs(L, b, p, &a, given, out);
  moon__lua_no_origin(b);
  if (moon_run_background(b->ctx, of_ticket->run, in, out, a.step) == MOON_OK) return 1;
  own->spare = of_ticket->run;
  of_ticket->run = NULL;
  return moon__lua_raise(L, b);
}

/*: Program:cancel(). Forgets a run in slices; nothing of it has happened. */
static int cancel(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_lua_program *p = self(L, b, "cancel");
  if (p->running) moon_run_cancel(b->ctx, p->head.holding->run);
  moon__lua_program_forget(L, 1);
  return 0;
}

/* ---- looking ---- */

static void set_number(lua_State *L, const char *name, double x) {
  lua_pushnumber(L, (lua_Number)x);
  lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t x) {
  moon__lua_pushint64(L, x);
  lua_setfield(L, -2, name);
}

/*: Program:stats() -> table. Counts of `launches`, `prologue_launches`, `nodes` and `loops`, `arena_bytes`, `constant_bytes`,
** `compile_us`. */
static int stats(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_program_stats s = moon_program_stats_get(self(L, b, "stats")->head.ptr);
  lua_createtable(L, 0, 7);
  set_integer(L, "launches", s.launches);
  set_integer(L, "prologue_launches", s.prologue_launches);
  set_integer(L, "nodes", s.nodes);
  set_integer(L, "loops", s.loops);
  set_integer(L, "arena_bytes", (int64_t)s.arena_bytes);
  set_integer(L, "constant_bytes", (int64_t)s.constant_bytes);
  set_number(L, "compile_us", s.compile_us);
  return 1;
}

/*: Program:explain() -> string. One line a launch: node, kernel and why it was chosen, shapes, script line. */
static int explain(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  char *text;
  moon__lua_block(L);
  moon__lua_no_origin(b);
  text = moon_program_explain(b->ctx, self(L, b, "explain")->head.ptr);
  return moon__lua_push_text(L, b, -1, text, text ? strlen(text) : 0);
}

/*: Program:flops() -> table. Arithmetic of a run by op, `{ matmul = n, .. }`, and as second result the sum of all. */
static int flops(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  double by_op[MOON_OP_COUNT] = {0}, total = 0;
  moon__lua_no_origin(b);
  lua_newtable(L);
  moon__program_flops(b->ctx, self(L, b, "flops")->head.ptr, 1, by_op);
  for (int i = 0; i < MOON_OP_COUNT; i++) {
    if (by_op[i] > 0) set_number(L, moon__ops[i]->name, by_op[i]);
    total += by_op[i];
  }
  lua_pushnumber(L, (lua_Number)total);
  return 2;
}

/*: Program:tune(seconds, here_only) -> string. Measures how its heavy nodes are computed fastest and notes it, see `ml.tune`: a line a
** node, with tabs between its parts. */
static int tune(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_tune_options o = {.seconds = moon__lua_num(L, b, 2, "tune", "seconds"), .here_only = lua_toboolean(L, 3)};
  if (!(o.seconds > 0)) return moon__lua_fail(L, "tune: seconds must be more than 0, got %s", moon__lua_describe(L, b, 2).s);
  moon__lua_block(L);
  moon__lua_no_origin(b);
  char *text = moon_tune(b->ctx, self(L, b, "tune")->head.ptr, &o);
  return moon__lua_push_text(L, b, -1, text, text ? strlen(text) : 0);
}

/*: Program:outputs() -> table. Types of the outputs: tables of `dtype` and `shape`. */
static int outputs(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_lua_program *p = self(L, b, "outputs");
  lua_createtable(L, p->nout, 0);
  for (int i = 0; i < p->nout; i++) {
    moon_type type = moon_program_output_type(self(L, b, "outputs")->head.ptr, i);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, moon_dtype_name(type.dtype));
    lua_setfield(L, -2, "dtype");
    moon__lua_push_shape(L, b, &type.shape);
    lua_setfield(L, -2, "shape");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int to_text(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_lua_program *p = lua_touserdata(L, 1);
  if (moon__lua_kind(L, b, 1) != MOON_LUA_PROGRAM || !p->head.ptr) lua_pushliteral(L, "Program (released)");
  else
    lua_pushfstring(L, "Program (%d inputs, %d outputs, %d launches)", p->nin, p->nout,
                    moon_program_stats_get(p->head.ptr).launches);
  return 1;
}

/* core.program_cache_limit(n): from now on compiling more than n programs is an error; nil: no limit. */
static int cache_limit(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int64_t n = lua_isnoneornil(L, 1) ? 0 : moon__lua_int(L, b, 1, "program_cache_limit", "limit");
  if (n < 0 || n > INT32_MAX)
    return moon__lua_fail(L, "program_cache_limit: limit must be 0 or more, got %s", moon__lua_describe(L, b, 1).s);
  b->compile_limit = (uint64_t)n;
  b->compiles_before = moon_compile_count(b->runtime);
  return 0;
}

const luaL_Reg moon__lua_program_functions[] = {{"program_cache_limit", cache_limit}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"cancel", cancel}, {"stats", stats},     {"explain", explain},
                                   {"flops", flops},   {"outputs", outputs}, {"tune", tune},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", to_text}, {NULL, NULL}};

static void make_runs(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  moon__lua_setkey(L, &runs_key);
}

static void add_method(lua_State *L, int bind_idx, const char *name, lua_CFunction f) {
  lua_pushvalue(L, bind_idx);
  lua_pushliteral(L, "out");
  lua_pushliteral(L, "step");
  lua_pushliteral(L, "budget_us");
  lua_pushcclosure(L, f, UP_BUDGET);
  lua_setfield(L, -2, name);
}

void moon__lua_program_methods(lua_State *L, int bind_idx) {
  make_runs(L);
  add_method(L, bind_idx, "run", run);
  add_method(L, bind_idx, "start", start_ticket);
}

const moon_lua_class moon__lua_program_class = {.kind = MOON_LUA_PROGRAM, .methods = methods, .metamethods = metamethods};
