/*
** profiler.c: starts and stops the profile of the state's context and hands it to Lua, where moonlet.profile makes tables and traces
** of it. The context owns the profile, so a raise loses nothing.
*/
#include "profiler.h"

#include "args.h"
#include "backend.h"
#include "explain.h"
#include "profile.h"

static void set_string(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text ? text : "");
  lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double x) {
  lua_pushnumber(L, (lua_Number)x);
  lua_setfield(L, -2, name);
}

/* core.profile_begin(events): notes from now on what launches cost; events: and when each ran. */
static int begin(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon__lua_no_origin(b);
  if (moon__profile_begin(b->ctx, lua_toboolean(L, 1)) != MOON_OK) return moon__lua_raise(L, b);
  return 0;
}

static void push_launch(lua_State *L, moon_context *ctx, const moon_profile_program *e, int i) {
  const moon_launch *l = &e->program->launches[i];
  char text[1024];
  lua_createtable(L, 0, 12);
  set_string(L, "op", l->node->op->name);
  moon__launch_name(l, text, sizeof text);
  set_string(L, "name", text);
  moon__launch_operands(e->program, l, text, sizeof text);
  set_string(L, "operands", text);
  set_string(L, "kernel", l->choice.kernel);
  set_string(L, "why", l->choice.why);
  moon__launch_layers(l, text, sizeof text);
  set_string(L, "layer", text);
  set_string(L, "line", moon__node_line(l->node));
  set_number(L, "calls", (double)e->launches[i].calls);
  set_number(L, "us", e->launches[i].us);
  set_number(L, "flops", moon__launch_flops(ctx, l));
  set_number(L, "bytes", l->child[0] ? 0 : moon__launch_bytes(e->program, l));
}

/* Pushes the list of launches that ran; index [program][launch] -> its number in the list stands in the table below. */
static void push_launches(lua_State *L, moon_context *ctx, const moon_profile *f) {
  int n = 0;
  lua_newtable(L);
  for (int p = 0; p < f->nprograms; p++) {
    lua_newtable(L);
    for (int i = 0; i < f->programs[p].program->nlaunches; i++) {
      if (f->programs[p].launches[i].us <= 0 && f->programs[p].launches[i].calls == 0) continue;
      push_launch(L, ctx, &f->programs[p], i);
      lua_rawseti(L, -3, ++n);
      lua_pushinteger(L, n);
      lua_rawseti(L, -2, i + 1);
    }
    lua_rawseti(L, -3, p + 1);
  }
}

/* Pushes { number of the launch, start_us, us, ... }; the index stands at idx. */
static void push_events(lua_State *L, const moon_profile *f, int idx) {
  lua_createtable(L, 3 * f->nevents, 0);
  for (int i = 0; i < f->nevents; i++) {
    const moon_profile_event *e = &f->events[i];
    lua_rawgeti(L, idx, e->program + 1);
    lua_rawgeti(L, -1, e->launch + 1);
    lua_rawseti(L, -3, 3 * i + 1);
    lua_pop(L, 1);
    lua_pushnumber(L, (lua_Number)e->start_us);
    lua_rawseti(L, -2, 3 * i + 2);
    lua_pushnumber(L, (lua_Number)e->us);
    lua_rawseti(L, -2, 3 * i + 3);
  }
}

/* core.profile_end() -> { wall_us, launches_us, lost, launches = { {...}, .. }, events = { launch, start_us, us, .. } } */
static int end(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  const moon_profile *f;
  lua_settop(L, 0);
  moon__profile_end(b->ctx);
  f = b->ctx->profile;
  if (!f) return moon__lua_fail(L, "profile_end: no profile has begun");
  lua_createtable(L, 0, 5); /* 1 */
  lua_newtable(L);          /* 2: the index */
  push_launches(L, b->ctx, f);
  lua_setfield(L, 1, "launches");
  push_events(L, f, 2);
  lua_setfield(L, 1, "events");
  lua_settop(L, 1);
  set_number(L, "wall_us", f->wall_us);
  set_number(L, "launches_us", f->launches_us);
  set_number(L, "lost", (double)f->lost);
  return 1;
}

/* core.profile_clear(): the programs that a profile held may go. */
static int clear(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  if (!b->ctx->profiling) moon__profile_free(b->ctx);
  return 0;
}

/* core.limits() -> { gflops, read_gbps, copy_gbps, threads } of the device, measured now; nil where nobody knows. */
static int limits(lua_State *L) {
  moon_bind *b = moon__lua_bind(L);
  moon_limits m = {0};
  moon_device *device;
  moon__lua_no_origin(b);
  device = moon_device_get(b->ctx);
  if (!device) return moon__lua_raise(L, b);
  if (!device->backend->limits) return 0;
  if (device->backend->limits(b->ctx, device, &m) != MOON_OK) return moon__lua_raise(L, b);
  lua_createtable(L, 0, 4);
  set_number(L, "gflops", m.gflops);
  set_number(L, "read_gbps", m.read_gbps);
  set_number(L, "copy_gbps", m.copy_gbps);
  set_number(L, "threads", m.threads);
  return 1;
}

const luaL_Reg moon__lua_profiler_functions[] = {
    {"profile_begin", begin}, {"profile_end", end}, {"profile_clear", clear}, {"limits", limits}, {NULL, NULL}};
