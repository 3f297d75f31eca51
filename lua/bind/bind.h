/*
** bind.h: what the files of the binding share. The binding is the only C that sees lua.h; core never sees a lua_State.
**
** Rules that keep a longjmp harmless:
** - Results are made first (a block of Lua memory that owns nothing), then arguments are read, then core is called; between reading
**   a pointer out of a userdata and the end of its use no Lua memory is allocated, so no finalizer can release it meanwhile.
** - Whatever core hands over goes at once into a block that exists already.
** - A lifetime scope of core is opened and closed without a call that can raise in between: status first, then close, then raise.
** All state hangs on the moon_bind of the lua_State: a userdata that is upvalue 1 of every function and stands in the registry.
*/
#ifndef MOON_LUA_BIND_H
#define MOON_LUA_BIND_H
#include "base/context.h"
#include "compat.h"
#include "graph/node.h"
#include "moonlet.h"
#include "ops/op.h"
#include "tensor/tensor.h"

typedef enum moon_lua_kind {
  MOON_LUA_TENSOR,
  MOON_LUA_SYMBOL,
  MOON_LUA_VARIABLE,
  MOON_LUA_DIM,
  MOON_LUA_GRAPH,
  MOON_LUA_PROGRAM,
  MOON_LUA_TICKET,
  MOON_LUA_FILE, /* the last three are never seen by a script */
  MOON_LUA_TEXT, /* text of core on its way to becoming a string */
  MOON_LUA_LIST, /* results until they have userdata of their own */
  MOON_LUA_KINDS,
  MOON_LUA_OTHER = -1,
} moon_lua_kind;

/* What a userdata owns. It lies apart, since a userdata can vanish unseen: where memory is out Lua drops a finalizer that it cannot
** call. All are in a list of the bind, so that a closing state lets go of them, also of those that finalizers made while it closed. */
typedef struct moon_lua_holding {
  struct moon_lua_holding *before, *after;
  moon_lua_kind kind;
  void *ptr;
  moon_run *run;   /* Program: for runs in slices, made when the first one starts. Ticket: its own; NULL once it is over */
  moon_run *spare; /* Program: of a ticket that is over, for the next start */
} moon_lua_holding;

/* How every userdata of ours begins. ptr NULL: released, or not filled yet. */
typedef struct moon_object {
  void *ptr;
  moon_lua_holding *holding; /* NULL: it owns nothing */
} moon_object;
typedef struct moon_lua_dim {
  moon_object head; /* ptr is set, to nothing in particular */
  moon_dim dim;
} moon_lua_dim;

#define MOON_LUA_LINE_BYTES (LUA_IDSIZE + 24)

typedef struct moon_bind {
  moon_context *ctx; /* NULL once closed */
  moon_runtime *runtime;
  moon_lua_holding *holdings;
  lua_Alloc alloc; /* the state's own: it paid for userdata, too */
  void *alloc_user;
  const void *metatable[MOON_LUA_KINDS];
  int metatable_ref[MOON_LUA_KINDS];
  bool origin_on;                          /* the context's origin is not empty */
  enum { MOON_LUA_BOTH, MOON_LUA_INFER, MOON_LUA_TRAIN } side; /* what layers being called build: see trace.c */
  int bodies;                              /* functions of control flow being traced */
  int inside;                              /* the same, without those that a script opened by hand: nothing may be assigned there */
  bool realtime;                           /* the collector is stepped, never run whole */
  bool was_generational;                   /* before realtime mode */
  bool has_reader;                         /* a function of the script brings the bytes of files */
  size_t debt_bytes;                       /* made since the collector was last told */
  size_t base_bytes;                       /* alive after the collector's last cycle */
  uint64_t compile_limit, compiles_before; /* limit 0: none */
} moon_bind;

/* ---- module.c ---- */
/* The state of the running C function; raises when it was closed. */
moon_bind *moon__lua_bind(lua_State *L);

/* ---- error.c: the one place that raises ---- */
typedef struct moon_lua_text {
  char s[160];
} moon_lua_text;
/* "file.lua:14" of the nearest script frame, or "". */
void moon__lua_where(lua_State *L, char *line, size_t line_bytes);
/* Nodes built from now on come from the script line running now; or from nowhere (cheap). */
void moon__lua_origin(lua_State *L, moon_bind *b);
void moon__lua_no_origin(moon_bind *b);
/* Each raises and does not return; the int is for "return moon__lua_fail(...)". The script line is put in front unless the message
** begins with one. Formats: %s %d %f %%. */
int moon__lua_throw(lua_State *L); /* the message is on top */
int moon__lua_fail(lua_State *L, const char *format, ...);
int moon__lua_raise(lua_State *L, const moon_bind *b); /* core's last error */
int moon__lua_rethrow(lua_State *L);                   /* what a protected call left on top, as it is */
/* What came, for messages: "nil", "number 3.5", "string 'abc'", "Tensor f32 (2, 3)". */
moon_lua_text moon__lua_describe(lua_State *L, const moon_bind *b, int idx);
/* A number of any size for messages, whose %d is an int. */
moon_lua_text moon__lua_count(int64_t n);
const char *moon__lua_kind_name(moon_lua_kind kind);

/* ---- object.c ---- */
/* Pushes a block for one object, without metatable, owning nothing. */
moon_object *moon__lua_block(lua_State *L);
/* Gives the block at idx its metatable and ptr; when memory is out it lets go of ptr, and gives false with core's error, or raises. */
bool moon__lua_take(lua_State *L, moon_bind *b, int idx, moon_lua_kind kind, void *ptr);
void moon__lua_own(lua_State *L, moon_bind *b, int idx, moon_lua_kind kind, void *ptr);
moon_lua_kind moon__lua_kind(lua_State *L, const moon_bind *b, int idx);
/* NULL when the value at idx is not of that kind; raises when it was released. */
void *moon__lua_test(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind);
/* Raises "who: what must be a Tensor, got ..." when it is not. */
void *moon__lua_check(lua_State *L, const moon_bind *b, int idx, moon_lua_kind kind, const char *who, const char *what);
void moon__lua_release(moon_bind *b, moon_object *o);
/* What o owns is ptr from now on; what it owned is the caller's. */
void moon__lua_exchange(moon_object *o, void *ptr);
int moon__lua_bind_gc(lua_State *L); /* __gc of the moon_bind */
/* What the metatable of a kind is made of. Upvalue 1 of all functions is the bind. */
typedef struct moon_lua_class {
  moon_lua_kind kind;
  bool ops;                              /* all ops are methods too */
  const luaL_Reg *methods, *metamethods; /* may be NULL */
  const char *const *properties;         /* ended by NULL */
  lua_CFunction property;                /* gets (object, key, position of key in properties from 1, or 0: not a string) */
} moon_lua_class;
void moon__lua_class_open(lua_State *L, moon_bind *b, int bind_idx, const moon_lua_class *c);

/* A list, which a userdata owns: room for up to n results; moves them into userdata of kind, pushed one by one into a table or on the
** stack. */
typedef struct moon_lua_list {
  moon_bind *bind;
  moon_lua_kind kind;
  int n, room;
  void *item[];
} moon_lua_list;
#define MOON_LUA_LIST_MAX 65536
moon_lua_list *moon__lua_list(lua_State *L, moon_bind *b, moon_lua_kind kind, int n); /* pushes the userdata */
moon_lua_list *moon__lua_list_at(lua_State *L, int idx); /* NULL: no userdata */
/* Pushes item i as userdata of its own; the list no longer owns it. */
void moon__lua_list_push(lua_State *L, moon_lua_list *list, int i);
/* Pushes a table of all items. */
void moon__lua_list_table(lua_State *L, moon_lua_list *list);

/* Pushes text of core as a string and releases it; raises core's error when text is NULL. block_idx: a block made before. */
int moon__lua_push_text(lua_State *L, moon_bind *b, int block_idx, char *text, size_t bytes);

/* ---- collect.c ---- */
/* Tells the collector about bytes of native memory made for the userdata just pushed. May run finalizers, which may raise. */
void moon__lua_account(lua_State *L, moon_bind *b, size_t bytes);
/* A full collection, for when memory is out; nothing in realtime mode. */
void moon__lua_collect(lua_State *L, moon_bind *b);
/* Realtime mode on or off. A generational collector, which collects whole when it likes, is made incremental meanwhile. */
void moon__lua_realtime(lua_State *L, moon_bind *b, bool on);
#define MOON_LUA_SYMBOL_BYTES 512
#endif
