/*
** compile.c: graph:program{...}: reads the options of compiling and makes a Program. Running it is in program.c.
*/
#include <string.h>

#include "args.h"
#include "base/shape.h"
#include "program.h"

static const char *const options[] = {"mode", "inputs", "passes_off", "dump", NULL};

/* ---- types of inputs ---- */

static moon_type type_of_table(lua_State *L, const moon_bind *b) {
  static const char *const known[] = {"dtype", "shape", NULL};
  moon_type type = {.dtype = MOON_DTYPE_f32};
  int idx = lua_gettop(L);
  moon__lua_known_keys(L, b, idx, "program: inputs", known, false);
  if (moon__lua_option(L, idx, "dtype")) type.dtype = moon__lua_dtype(L, b, -1, "program: inputs");
  if (!moon__lua_option(L, idx, "shape")) moon__lua_fail(L, "program: inputs: shape is missing");
  moon__lua_shape(L, b, -1, "program: inputs", "shape", false, &type.shape);
  lua_settop(L, idx);
  return type;
}

/* The type of the input that stands on top. */
static moon_type input_type(lua_State *L, const moon_bind *b, int i) {
  switch (moon__lua_kind(L, b, -1)) {
    case MOON_LUA_TENSOR: return moon__tensor_type(moon__lua_check(L, b, -1, MOON_LUA_TENSOR, "program", "an input"));
    case MOON_LUA_VARIABLE: return moon_variable_type(moon__lua_check(L, b, -1, MOON_LUA_VARIABLE, "program", "an input"));
    default: break;
  }
  if (lua_type(L, -1) != LUA_TTABLE)
    moon__lua_fail(L, "program: input %d must be a Tensor or { dtype =, shape = }, got %s", i + 1, moon__lua_describe(L, b, -1).s);
  return type_of_table(L, b);
}

static void given_types(lua_State *L, const moon_bind *b, moon_lua_program *p) {
  moon__lua_want_table(L, b, -1, "program", "inputs");
  if (moon__lua_rawlen(L, -1) != (size_t)p->nin)
    moon__lua_fail(L, "program: the graph takes %d inputs, got %d", p->nin, (int)moon__lua_rawlen(L, -1));
  for (int i = 0; i < p->nin; i++) {
    lua_rawgeti(L, -1, i + 1);
    p->in[i] = input_type(L, b, i);
    lua_pop(L, 1);
  }
}

static void read_types(lua_State *L, const moon_bind *b, moon_lua_program *p) {
  const moon_graph *g = moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "program", "argument 1");
  if (moon__lua_option(L, 2, "inputs")) {
    given_types(L, b, p);
    lua_pop(L, 1);
  } else {
    for (int i = 0; i < p->nin; i++) p->in[i] = moon_graph_input(g, i)->type;
  }
  for (int i = 0; i < p->nin; i++) {
    if (!moon__shape_known(&p->in[i].shape)) moon__lua_fail(L, "program: input %d: every size must be given", i + 1);
  }
}

/* ---- dumping ---- */

typedef struct dump_call {
  lua_State *L;
  int function_idx, error_idx;
  bool raised;
} dump_call;

static void dump(void *user, const char *pass, const char *graph_text) {
  dump_call *c = user;
  lua_State *L = c->L;
  if (c->raised || !lua_checkstack(L, 8)) return;
  lua_pushvalue(L, c->function_idx + 1); /* call_dump */
  lua_pushvalue(L, c->function_idx);
  lua_pushlightuserdata(L, (void *)(uintptr_t)pass);
  lua_pushlightuserdata(L, (void *)(uintptr_t)graph_text);
  if (lua_pcall(L, 3, 0, 0) == LUA_OK) return;
  lua_replace(L, c->error_idx);
  c->raised = true;
}

/* Runs protected: f(pass, text). */
static int call_dump(lua_State *L) {
  const char *pass = lua_touserdata(L, 2), *text = lua_touserdata(L, 3);
  lua_settop(L, 1);
  lua_pushstring(L, pass);
  lua_pushstring(L, text);
  lua_call(L, 2, 0);
  return 0;
}

/* ---- compiling ---- */

static moon_mode read_mode(lua_State *L, const moon_bind *b) {
  const char *word;
  moon_mode mode;
  if (!moon__lua_option(L, 2, "mode")) return MOON_INFERENCE;
  word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (strcmp(word, "train") != 0 && strcmp(word, "infer") != 0)
    moon__lua_fail(L, "program: mode must be 'train' or 'infer', got %s", moon__lua_describe(L, b, -1).s);
  mode = strcmp(word, "train") == 0 ? MOON_TRAINING : MOON_INFERENCE;
  lua_pop(L, 1);
  return mode;
}

static void check_limit(lua_State *L, const moon_bind *b) {
  uint64_t made = moon_compile_count(b->runtime) - b->compiles_before;
  if (b->compile_limit > 0 && made > b->compile_limit)
    moon__lua_fail(L, "program: compiled for more than %d signatures, which program_cache_limit forbids", (int)b->compile_limit);
}

/* Leaves function, call_dump and room for an error on the stack from function_idx on. */
static void read_dump(lua_State *L, const moon_bind *b, dump_call *c) {
  c->function_idx = lua_gettop(L) + 1;
  c->error_idx = c->function_idx + 2;
  if (moon__lua_option(L, 2, "dump")) moon__lua_want_function(L, b, -1, "program", "dump");
  else lua_pushnil(L);
  lua_pushcfunction(L, call_dump);
  lua_pushnil(L);
}

static const char *read_passes(lua_State *L, const moon_bind *b) {
  if (!moon__lua_option(L, 2, "passes_off")) return NULL;
  return moon__lua_str(L, b, -1, "program", "passes_off"); /* stays on the stack */
}

static moon_lua_program *push_block(lua_State *L, const moon_bind *b) {
  const moon_graph *g = moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "program", "argument 1");
  int nin = moon_graph_input_count(g);
  moon_lua_program *p = moon__lua_newblock(L, sizeof *p + (size_t)nin * sizeof p->in[0]);
  p->head = (moon_object){0};
  p->running = false;
  p->nin = nin;
  return p;
}

/* Script code may run in dump and release the graph: it is held meanwhile. */
static moon_program *compile_held(moon_bind *b, moon_graph *g, const moon_type *types, const moon_compile_options *o) {
  moon_program *program;
  moon_graph_retain(g);
  moon_scope_open(b->ctx);
  program = moon_compile(b->ctx, g, types, o);
  moon_scope_close(b->ctx);
  moon_graph_release(g);
  return program;
}

/*: Graph:program(options) -> Program. Compiles it for inputs of known sizes; equal calls give one program. `inputs` (Tensors,
** or tables of `dtype` and `shape`; default: the types of the placeholders), `mode` ("train" or "infer"), `passes_off` (names
** of passes, "all" for none), `dump` (a function of pass and text, called after each pass). */
int moon__lua_compile(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  dump_call call = {.L = L};
  moon_compile_options o = {.dump_user = &call};
  moon_lua_program *p;
  moon_program *program;
  int block_idx;
  moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "program", "argument 1");
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  moon__lua_want_table(L, b, 2, "program", "argument 2");
  moon__lua_known_keys(L, b, 2, "program", options, false);
  p = push_block(L, b);
  block_idx = lua_gettop(L);
  o.mode = read_mode(L, b);
  o.passes_off = read_passes(L, b);
  read_dump(L, b, &call);
  if (!lua_isnil(L, call.function_idx)) o.dump = dump;
  read_types(L, b, p);
  moon__lua_no_origin(b);
  program = compile_held(b, moon__lua_check(L, b, 1, MOON_LUA_GRAPH, "program", "argument 1"), p->in, &o);
  if (call.raised) {
    moon_program_release(program);
    lua_settop(L, call.error_idx);
    return moon__lua_rethrow(L);
  }
  if (!program) return moon__lua_raise(L, b);
  p->nout = moon_program_output_count(program);
  moon__lua_own(L, b, block_idx, MOON_LUA_PROGRAM, program);
  check_limit(L, b);
  lua_settop(L, block_idx);
  return 1;
}
