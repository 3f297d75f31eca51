/*
** sys.c: seeds, devices, memory, clock, terminal, errors raised by our Lua files, and the op table as Lua data for specs and docs.
*/
#include "sys.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "backend.h"
#include "eager.h"
#include "op.h"

static int seed(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_seed(b->ctx, (uint64_t)moon__lua_int(L, b, 1, "seed", "seed"));
  return 0;
}

static int seed_get(lua_State *L) {
  moon__lua_pushint64(L, (int64_t)moon_seed_get(moon__lua_bind(L)->ctx));
  return 1;
}

/* core.random_state() -> seed, and the counters of draws outside of traces. */
static int random_state(lua_State *L) {
  const moon_bind *b = moon__lua_bind(L);
  moon__lua_pushint64(L, (int64_t)moon_seed_get(b->ctx));
  moon__lua_pushint64(L, b->ctx->next_stream);
  return 2;
}

static int random_state_set(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int64_t seed_given = moon__lua_int(L, b, 1, "random_state_set", "seed");
  int64_t stream = moon__lua_int(L, b, 2, "random_state_set", "stream");
  if (stream < 1) return moon__lua_fail(L, "random_state_set: stream must be 1 or more, got %s", moon__lua_describe(L, b, 2).s);
  moon_seed(b->ctx, (uint64_t)seed_given);
  b->ctx->next_stream = stream;
  return 0;
}

/* ---- fields of the table on top ---- */

static void set_integer(lua_State *L, const char *name, int64_t x) {
  moon__lua_pushint64(L, x);
  lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *text) {
  if (!text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool on) {
  lua_pushboolean(L, on);
  lua_setfield(L, -2, name);
}

/* ---- devices ---- */

/* core.device([word]) -> name */
static int device(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_device *d;
  moon__lua_no_origin(b);
  if (!lua_isnoneornil(L, 1)) {
    d = moon_device_find(b->ctx, moon__lua_str(L, b, 1, "device", "name"));
    if (!d || moon_device_set(b->ctx, d) != MOON_OK) return moon__lua_raise(L, b);
  }
  d = moon_device_get(b->ctx);
  if (!d) return moon__lua_raise(L, b);
  lua_pushstring(L, moon_device_name(d));
  return 1;
}

/* core.devices() -> { { name =, backend =, kind =, model =, platform =, driver =, memory =, units =, f64 =, built =, kept =, build_us = }, .. } */
static void push_device(lua_State *L, const moon_device_info *info) {
  lua_createtable(L, 0, 12);
  set_string(L, "name", info->name);
  set_string(L, "backend", info->backend);
  set_string(L, "kind", info->kind);
  set_string(L, "model", info->model);
  set_string(L, "platform", info->platform);
  set_string(L, "driver", info->driver);
  set_integer(L, "memory", (int64_t)info->memory_bytes);
  set_integer(L, "units", info->units);
  set_integer(L, "built", info->built);
  set_integer(L, "kept", info->kept);
  lua_pushnumber(L, info->build_us);
  lua_setfield(L, -2, "build_us");
  set_flag(L, "f64", info->f64);
}

static int devices(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int n = moon_device_count(b->ctx);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    moon_device_info info = moon_device_describe(moon_device_at(b->ctx, i));
    push_device(L, &info);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* ---- the host ---- */

/* core.threads([n]) -> threads that runs use; n 0: as the environment or the machine says. */
static int threads(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (!lua_isnoneornil(L, 1)) {
    int64_t n = moon__lua_int(L, b, 1, "threads", "the number");
    if (n < 0 || n > INT16_MAX)
      return moon__lua_fail(L, "threads: the number must be 0 or more, got %s", moon__lua_describe(L, b, 1).s);
    moon_threads_set(b->runtime, (int)n);
  }
  lua_pushinteger(L, moon_threads_get(b->runtime));
  return 1;
}

/* core.host_log(text) -> true when the host takes such texts. */
static int host_log(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_host *host = &b->runtime->host;
  if (host->log && !lua_isnoneornil(L, 1)) host->log(host->user, moon__lua_str(L, b, 1, "host_log", "text"));
  lua_pushboolean(L, host->log != NULL);
  return 1;
}

/* core.realtime([on]) -> boolean */
static int realtime(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (!lua_isnoneornil(L, 1)) moon__lua_realtime(L, b, moon__lua_flag(L, b, 1, "realtime", "the argument"));
  lua_pushboolean(L, b->realtime);
  return 1;
}

/* ---- counters ---- */

static int memory(lua_State *L) {
  moon_memory m = moon_runtime_memory(moon__lua_bind(L)->runtime);
  lua_createtable(L, 0, 4);
  set_integer(L, "live_bytes", (int64_t)m.live_bytes);
  set_integer(L, "live_blocks", (int64_t)m.live_blocks);
  set_integer(L, "peak_bytes", (int64_t)m.peak_bytes);
  set_integer(L, "calls", (int64_t)m.calls);
  return 1;
}

/* core.empty_caches(): drops the programs that ops on concrete tensors keep; they are compiled again when they are needed. */
static int empty_caches(lua_State *L) {
  moon__eager_cache_free(moon__lua_bind(L)->ctx);
  moon_devices_trim(moon__lua_bind(L)->ctx);
  return 0;
}

static int compile_count(lua_State *L) {
  moon__lua_pushint64(L, (int64_t)moon_compile_count(moon__lua_bind(L)->runtime));
  return 1;
}

static int clock_us(lua_State *L) {
  lua_pushnumber(L, (lua_Number)moon__now_us(moon__lua_bind(L)->runtime));
  return 1;
}

static int is_terminal(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  int64_t fd = lua_isnoneornil(L, 1) ? 1 : moon__lua_int(L, b, 1, "is_terminal", "descriptor");
  lua_pushboolean(L, fd >= 0 && fd < 1024 && moon__terminal_is((int)fd));
  return 1;
}

static int terminal_width(lua_State *L) {
  lua_pushinteger(L, moon__terminal_width());
  return 1;
}

/* ---- kinds and errors ---- */

static int kind(lua_State *L) {
  static const char *const words[] = {"tensor", "symbol", "variable", "dim", "graph", "program", "ticket"};
  moon_lua_kind k = moon__lua_kind(L, moon__lua_bind(L), 1);
  if (k >= MOON_LUA_TENSOR && k <= MOON_LUA_TICKET) lua_pushstring(L, words[k]);
  else lua_pushnil(L);
  return 1;
}

/* core.fail(format, ...): an error with the script's line in front. */
static int fail(lua_State *L) {
  moon__lua_str(L, moon__lua_bind(L), 1, "fail", "format");
  if (lua_gettop(L) > 1) {
    lua_getglobal(L, LUA_STRLIBNAME);
    if (lua_istable(L, -1)) lua_getfield(L, -1, "format");
    if (lua_isfunction(L, -1)) {
      lua_insert(L, 1);
      lua_pop(L, 1);
      lua_call(L, lua_gettop(L) - 1, 1);
      return moon__lua_throw(L);
    }
  }
  lua_settop(L, 1);
  return moon__lua_throw(L);
}

/* core.script_line() -> "train.lua:14": the script line running now. */
static int script_line(lua_State *L) {
  char line[MOON_LUA_LINE_BYTES];
  moon__lua_where(L, line, sizeof line);
  lua_pushstring(L, line);
  return 1;
}

/* ---- the op table ---- */

static void push_attr(lua_State *L, const moon_attr *a) {
  static const char *const kinds[] = {"i64", "f64", "bool", "dtype", "enum", "ints", "shape", "axis", "axes", "dim"};
  lua_createtable(L, 0, 6);
  set_string(L, "name", a->name);
  set_string(L, "kind", kinds[a->kind]);
  set_string(L, "words", a->words);
  lua_pushnumber(L, (lua_Number)a->number);
  lua_setfield(L, -2, "default");
  set_flag(L, "required", a->required);
  set_flag(L, "hidden", a->hidden);
}

static void push_input_names(lua_State *L, const moon_op *op) {
  int n = op->max_inputs > 0 && op->max_inputs < 32 ? op->max_inputs : op->min_inputs;
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, moon__lua_input_name(op, i).s);
    lua_rawseti(L, -2, i + 1);
  }
}

static void set_flags(lua_State *L, uint32_t flags) {
  set_flag(L, "random", flags & MOON_OPF_RANDOM);
  set_flag(L, "effect", flags & MOON_OPF_EFFECT);
  set_flag(L, "view", flags & MOON_OPF_VIEW);
  set_flag(L, "commutative", flags & MOON_OPF_COMMUTATIVE);
  set_flag(L, "broadcast", flags & MOON_OPF_BROADCAST);
  set_flag(L, "variadic", flags & MOON_OPF_VARIADIC);
  set_flag(L, "internal", flags & MOON_OPF_INTERNAL);
  set_flag(L, "method", !(flags & (MOON_OPF_METHOD_OFF | MOON_OPF_INTERNAL | MOON_OPF_VARIADIC)));
  set_flag(L, "differentiable", !(flags & MOON_OPF_NOT_DIFFERENTIABLE));
}

static void push_op_row(lua_State *L, const moon_op *op) {
  static const char *const kinds[] = {"elementwise", "structured", "composite", "inline"};
  static const char *const inputs[] = {"as_they_are", "promote", "float"};
  static const char *const classes[] = {"float", "number", "any", "bool"};
  static const char *const results[] = {"same", "bool"};
  lua_createtable(L, 0, 24);
  set_string(L, "name", op->name);
  set_string(L, "kind", kinds[op->kind]);
  set_string(L, "inputs", inputs[op->inputs]);
  set_integer(L, "min_inputs", op->min_inputs);
  set_integer(L, "max_inputs", op->max_inputs);
  set_integer(L, "outputs", op->noutputs);
  set_flags(L, op->flags);
  set_flag(L, "gradient", op->grad != NULL);
  set_string(L, "doc", op->doc);
  push_input_names(L, op);
  lua_setfield(L, -2, "input_names");
  if (op->kind == MOON_ELEMENTWISE) {
    set_string(L, "dtype_class", classes[op->dtype_class]);
    set_string(L, "result_class", results[op->result_class]);
    set_string(L, "value", op->value);
  }
  lua_createtable(L, op->nattrs, 0);
  for (int i = 0; i < op->nattrs; i++) {
    push_attr(L, &op->attrs[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "attrs");
}

static int ops(lua_State *L) {
  moon__lua_bind(L);
  lua_createtable(L, MOON_OP_COUNT, 0);
  for (int i = 0; i < MOON_OP_COUNT; i++) {
    push_op_row(L, moon__ops[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

const luaL_Reg moon__lua_sys_functions[] = {{"seed", seed},
                                            {"seed_get", seed_get},
                                            {"random_state", random_state},
                                            {"random_state_set", random_state_set},
                                            {"device", device},
                                            {"devices", devices},
                                            {"memory", memory},
                                            {"empty_caches", empty_caches},
                                            {"compile_count", compile_count},
                                            {"clock_us", clock_us},
                                            {"threads", threads},
                                            {"host_log", host_log},
                                            {"realtime", realtime},
                                            {"is_terminal", is_terminal},
                                            {"terminal_width", terminal_width},
                                            {"kind", kind},
                                            {"fail", fail},
                                            {"script_line", script_line},
                                            {"ops", ops},
                                            {NULL, NULL}};
