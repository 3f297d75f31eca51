/*
** error.c: turns a failure into a Lua error: the one place of the binding that raises. Messages read "train.lua:14: matmul: ...",
** where the line is the nearest one of the script (chunks of our own, "=moonlet/...", are skipped). Core puts the line of the node
** in front of failures of symbolic nodes; for everything else it is found here, when it is needed.
*/
#include <stdio.h>
#include <string.h>

#include "bind.h"

static bool is_ours(const char *source) { return strncmp(source, "=moonlet/", 9) == 0; }

void moon__lua_where(lua_State *L, char *line, size_t line_bytes) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0 || is_ours(ar.source)) continue;
    snprintf(line, line_bytes, "%s:%d", ar.short_src, ar.currentline);
    return;
  }
  line[0] = '\0';
}

void moon__lua_origin(lua_State *L, moon_bind *b) {
  char line[MOON_LUA_LINE_BYTES];
  moon__lua_where(L, line, sizeof line);
  b->origin_on = true;
  moon_origin_set(b->ctx, line);
}

void moon__lua_no_origin(moon_bind *b) {
  if (!b->origin_on) return;
  moon_origin_set(b->ctx, NULL);
  b->origin_on = false;
}

/* Does message begin with "name:digits: "? */
static bool has_line(const char *message) {
  const char *colon = message;
  while ((colon = strchr(colon, ':')) != NULL) {
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits > 0) return colon != message && strncmp(colon + 1 + digits, ": ", 2) == 0;
    if (colon[1] == ' ') return false;
    colon++;
  }
  return false;
}

int moon__lua_throw(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  char line[MOON_LUA_LINE_BYTES];
  if (message && !has_line(message)) {
    moon__lua_where(L, line, sizeof line);
    if (line[0]) {
      lua_pushfstring(L, "%s: %s", line, message);
      lua_remove(L, -2);
    }
  }
  return lua_error(L);
}

int moon__lua_fail(lua_State *L, const char *format, ...) {
  va_list args;
  va_start(args, format);
  lua_pushvfstring(L, format, args);
  va_end(args);
  return moon__lua_throw(L);
}

int moon__lua_raise(lua_State *L, const moon_bind *b) {
  const char *message = moon_error(b->ctx);
  lua_pushstring(L, *message ? message : moon_status_text(MOON_EINTERNAL));
  return moon__lua_throw(L);
}

int moon__lua_rethrow(lua_State *L) { return lua_error(L); }

/* ---- what came ---- */

moon_lua_text moon__lua_count(int64_t n) {
  moon_lua_text text;
  snprintf(text.s, sizeof text.s, "%lld", (long long)n);
  return text;
}

static const char *const kind_names[MOON_LUA_KINDS] = {"Tensor",  "Symbol", "Variable", "Dim", "Graph",
                                                       "Program", "Ticket", "File",   "Text",     "List"};

const char *moon__lua_kind_name(moon_lua_kind kind) { return kind == MOON_LUA_OTHER ? "value" : kind_names[kind]; }

static void describe_type(const moon_bind *b, const char *kind, const moon_type *type, moon_lua_text *text) {
  char shape[96];
  snprintf(text->s, sizeof text->s, "%s %s %s", kind, moon_dtype_name(type->dtype),
           moon_shape_text(b->runtime, &type->shape, shape, sizeof shape));
}

static void describe_object(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind, moon_lua_text *text) {
  const moon_object *o = lua_touserdata(L, idx);
  moon_type type;
  if (!o->ptr) {
    snprintf(text->s, sizeof text->s, "a released %s", kind_names[kind]);
  } else if (kind == MOON_LUA_TENSOR) {
    type = moon__tensor_type(o->ptr);
    describe_type(b, "Tensor", &type, text);
  } else if (kind == MOON_LUA_SYMBOL) {
    const moon_value *v = o->ptr;
    describe_type(b, "Symbol", &v->type, text);
  } else if (kind == MOON_LUA_VARIABLE) {
    type = moon_variable_type(o->ptr);
    describe_type(b, "Variable", &type, text);
  } else {
    snprintf(text->s, sizeof text->s, "a %s", kind_names[kind]);
  }
}

static void describe_number(lua_State *L, int idx, moon_lua_text *text) {
  int64_t i;
  if (moon__lua_toint64(L, idx, &i)) snprintf(text->s, sizeof text->s, "%lld", (long long)i);
  else snprintf(text->s, sizeof text->s, "%.14g", (double)lua_tonumber(L, idx));
}

moon_lua_text moon__lua_describe(lua_State *L, const moon_bind *b, int idx) {
  moon_lua_text text;
  moon_lua_kind kind = moon__lua_kind(L, b, idx);
  if (kind != MOON_LUA_OTHER) describe_object(L, b, idx, kind, &text);
  else if (lua_type(L, idx) == LUA_TNUMBER) describe_number(L, idx, &text);
  else if (lua_type(L, idx) == LUA_TSTRING) snprintf(text.s, sizeof text.s, "'%.80s'", lua_tostring(L, idx));
  else if (lua_type(L, idx) == LUA_TBOOLEAN) snprintf(text.s, sizeof text.s, "%s", lua_toboolean(L, idx) ? "true" : "false");
  else if (lua_type(L, idx) == LUA_TNIL || lua_type(L, idx) == LUA_TNONE) snprintf(text.s, sizeof text.s, "nil");
  else snprintf(text.s, sizeof text.s, "a %s", luaL_typename(L, idx));
  return text;
}
