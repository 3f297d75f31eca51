/*
** body.h: script functions traced into graphs: the bodies of cond, scan, while_loop and call_custom. A function gets Symbols
** that stand for the values it will be given, in the form (one, or a table) that the script used, and gives Symbols back.
*/
#ifndef MOON_LUA_BODY_H
#define MOON_LUA_BODY_H
#include "bind.h"
#include "graph/graph.h"

/* Values that a script gave as one or as a table of them. idx: the list's userdata on the stack. */
typedef struct moon_pack {
  moon_lua_list *list;
  bool single, absent; /* absent: nil */
} moon_pack;

/* Reads the value at idx as values; leaves the list on the stack. */
moon_pack moon__lua_pack(lua_State *L, moon_bind *b, int idx, const char *who, const char *what);
/* Pushes items [first, first + n) of list as Symbols in the form of form; nil when it was absent. The list keeps its references. */
void moon__lua_unpack(lua_State *L, moon_bind *b, const moon_lua_list *list, int first, int n, const moon_pack *form);
/* A list of formals for the types of values [n]; step: their first axis is taken away. Leaves it on the stack. */
moon_lua_list *moon__lua_formals(lua_State *L, moon_bind *b, const char *who, int n, void *const *values, bool step);

/* A traced function. */
typedef struct moon_body_graph {
  moon_pack results[2];
  uint64_t first_id;
  moon_object *graph;      /* userdata that owns it */
  moon_lua_list *captures; /* outer values behind the formals */
} moon_body_graph;
/* Calls the function at f_idx with the nargs values on top (popped), with eager mode off, and reads nresults (1 or 2) of what it
** gives. Everything stays on the stack. Must be preceded by moon__lua_body_begin before the formals are made. */
void moon__lua_body_begin(moon_bind *b, moon_body_graph *body);
void moon__lua_body_call(lua_State *L, moon_bind *b, moon_body_graph *body, const char *who, int f_idx, int nargs, int nresults);
/* Closes it over formals, with all results as outputs. */
void moon__lua_body_close(lua_State *L, moon_bind *b, moon_body_graph *body, const moon_lua_list *formals);
/* Gives the graph unused inputs for the captures of another: before its own captures or after them. */
void moon__lua_body_widen(lua_State *L, moon_bind *b, moon_body_graph *body, int nformals, const moon_lua_list *other, bool before);
static inline moon_graph *moon__lua_body_graph(const moon_body_graph *body) { return body->graph->ptr; }

/* Must a construct over these be a node (true), or can its functions run as they are, on numbers? */
bool moon__lua_must_trace(lua_State *L, moon_bind *b, int idx);
/* Builds a node from lists of inputs and pushes a list of its outputs. */
moon_lua_list *moon__lua_body_node(lua_State *L, moon_bind *b, const moon_node_spec *spec, int nlists,
                                   const moon_lua_list *const *lists);
#endif
