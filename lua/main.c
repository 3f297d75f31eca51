/*
** main.c: the program `moonlet`: Lua 5.4 with the library inside. It runs a script with its arguments, or a prompt with history and
** completion (libedit, when it was there at compile time). The prompt knows `ml`; Ctrl-C there stops the line that runs, or forgets
** the one being written. Nothing of the library's work happens here.
*/
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef MOON_HAVE_EDIT
#include <histedit.h>
#endif

int luaopen_moonlet(lua_State *L);
int luaopen_moonlet_core(lua_State *L);

#define LINE_BYTES 4096

static const char usage[] = "usage: moonlet [options] [script [arguments]]\n"
                            "  -e code   run code\n"
                            "  -i        prompt after the script\n"
                            "  -v        show the versions\n"
                            "  -         run standard input\n"
                            "Without a script: a prompt, where ml is the library.\n";

/* ---- running code ---- */

static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (!message) {
    if (luaL_callmeta(L, 1, "__tostring")) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

/* Calls the function below nargs arguments. */
static int call(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs, status;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  status = lua_pcall(L, nargs, nresults, base);
  lua_remove(L, base);
  return status;
}

static bool report(lua_State *L, int status) {
  if (status == LUA_OK) return true;
  fprintf(stderr, "moonlet: %s\n", lua_tostring(L, -1));
  lua_pop(L, 1);
  return false;
}

static bool run_text(lua_State *L, const char *text, const char *name) {
  int status = luaL_loadbufferx(L, text, strlen(text), name, "t");
  if (status == LUA_OK) status = call(L, 0, 0);
  return report(L, status);
}

/* arg[0] is the script, arg[1].. its arguments, arg[-1] and below the rest. */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static bool run_script(lua_State *L, const char *path, int nargs, char **args) {
  int status = luaL_loadfilex(L, strcmp(path, "-") == 0 ? NULL : path, "bt");
  if (status != LUA_OK) return report(L, status);
  luaL_checkstack(L, nargs + 8, "too many arguments");
  for (int i = 0; i < nargs; i++) lua_pushstring(L, args[i]);
  return report(L, call(L, nargs, 0));
}

/* ---- Ctrl-C at the prompt. A signal handler knows of nothing but statics; this is a program, not the library. ---- */

static lua_State *volatile running; /* whose line is running; NULL while one is read */

static void stop(lua_State *L, lua_Debug *record) {
  (void)record;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted");
}

/* The first one stops the line as soon as Lua runs again, the second one the program. */
static void on_interrupt(int number) {
  if (!running) return;
  signal(number, SIG_DFL);
  lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void catch_interrupts(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt; /* without SA_RESTART: reading a line ends too */
  sigaction(SIGINT, &action, NULL);
}

static int call_interruptible(lua_State *L, int nargs, int nresults) {
  int status;
  running = L;
  status = call(L, nargs, nresults);
  running = NULL;
  lua_sethook(L, NULL, 0, 0);
  catch_interrupts();
  return status;
}

typedef enum got { GOT_LINE, GOT_INTERRUPT, GOT_END } got;

/* What it means that nothing was read. */
static got nothing_read(void) {
  if (errno != EINTR) return GOT_END;
  clearerr(stdin);
  putchar('\n');
  return GOT_INTERRUPT;
}

static got read_plainly(const char *prompt, char *line) {
  if (isatty(0)) fputs(prompt, stdout), fflush(stdout);
  errno = 0;
  return fgets(line, LINE_BYTES, stdin) ? GOT_LINE : nothing_read();
}

/* ---- completion: names after the last separator, looked up in the value before it ---- */

static bool is_name_char(char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Pushes the table of names that the value at idx has and makes when they are first used, or nil: __names of its metatable, a table or
** a function that gives one. Our own files have it, so what runs here is ours. */
static void push_names(lua_State *L, int idx) {
  int type = luaL_getmetafield(L, idx, "__names");
  if (type == LUA_TNIL) lua_pushnil(L);
  if (type == LUA_TFUNCTION) lua_call(L, 0, 1);
}

/* part(table, key) -> value or nil: raw, so that no code of the user runs, but for such names. */
static int get_part(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 1) != LUA_TNIL) return 1;
  push_names(L, 1);
  if (!lua_istable(L, -1)) return 0;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) == LUA_TNIL) return 0;
  lua_pushvalue(L, 2);
  lua_gettable(L, 1);
  return 1;
}

/* Pushes the value that "a.b.c" names. False (and nothing pushed): there is none. */
static bool push_path(lua_State *L, const char *path, size_t n) {
  lua_pushglobaltable(L);
  while (n > 0) {
    size_t part = 0;
    while (part < n && path[part] != '.' && path[part] != ':') part++;
    if (!lua_istable(L, -1)) {
      lua_pop(L, 1);
      return false;
    }
    lua_pushcfunction(L, get_part);
    lua_insert(L, -2);
    lua_pushlstring(L, path, part);
    lua_call(L, 2, 1);
    path += part < n ? part + 1 : part;
    n -= part < n ? part + 1 : part;
  }
  return true;
}

static bool has_entry(lua_State *L, int idx, const char *text) {
  bool same = false;
  for (lua_Integer i = 1; !same && i <= (lua_Integer)lua_rawlen(L, idx); i++) {
    lua_rawgeti(L, idx, i);
    same = strcmp(lua_tostring(L, -1), text) == 0;
    lua_pop(L, 1);
  }
  return same;
}

/* Adds the string keys of the table on top that begin with word to the list at idx, each once; pops the table. */
static void add_matches(lua_State *L, int idx, const char *word, size_t n) {
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    if (!key || strncmp(key, word, n) != 0 || has_entry(L, idx, key)) continue;
    lua_pushvalue(L, -2);
    lua_rawseti(L, idx, (lua_Integer)lua_rawlen(L, idx) + 1);
  }
  lua_pop(L, 1);
}

/* Names that the value on top has: its own keys, and those of its metatable's __names or __index; pops it. */
static void collect(lua_State *L, int idx, const char *word, size_t n) {
  for (int depth = 0; depth < 4; depth++) {
    if (lua_istable(L, -1)) {
      lua_pushvalue(L, -1);
      add_matches(L, idx, word, n);
    }
    push_names(L, lua_gettop(L));
    if (lua_istable(L, -1)) add_matches(L, idx, word, n);
    else lua_pop(L, 1);
    if (!luaL_getmetafield(L, -1, "__index")) break;
    lua_remove(L, -2);
    if (!lua_istable(L, -1)) break;
  }
  lua_pop(L, 1);
}

/* complete(line) -> list of completions of its last name, and how many characters of that are there. */
static int find_completions(lua_State *L) {
  size_t n, word, path;
  const char *line = lua_tolstring(L, 1, &n);
  word = n;
  while (word > 0 && is_name_char(line[word - 1])) word--;
  path = word;
  while (path > 0 && (is_name_char(line[path - 1]) || line[path - 1] == '.' || line[path - 1] == ':')) path--;
  lua_newtable(L);
  if (push_path(L, line + path, word > path ? word - path - 1 : 0)) collect(L, 2, line + word, n - word);
  lua_pushinteger(L, (lua_Integer)(n - word));
  return 2;
}

/* Pushes the list; *word_bytes is how much of the name is there. An error on the way is no completion. */
static void push_completions(lua_State *L, const char *line, size_t n, size_t *word_bytes) {
  lua_pushcfunction(L, find_completions);
  lua_pushlstring(L, line, n);
  if (lua_pcall(L, 1, 2, 0) == LUA_OK) {
    *word_bytes = (size_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
  } else {
    lua_pop(L, 1);
    lua_newtable(L);
  }
}

#ifdef MOON_HAVE_EDIT
/* ---- the line editor ---- */

typedef struct editor {
  lua_State *L;
  EditLine *edit;
  History *history;
  const char *prompt;
} editor;

static char *show_prompt(EditLine *edit) {
  editor *e;
  el_get(edit, EL_CLIENTDATA, &e);
  return (char *)(uintptr_t)e->prompt;
}

/* Characters that all entries of the list on top share. */
static size_t common_length(lua_State *L) {
  size_t shared = 0;
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, i);
    const char *a = lua_tostring(L, -2), *b = lua_tostring(L, -1);
    size_t k = 0;
    while (a[k] && a[k] == b[k] && (i == 1 || k < shared)) k++;
    shared = k;
    lua_pop(L, 2);
  }
  return shared;
}

static void show_choices(lua_State *L) {
  putchar('\n');
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    printf("%s  ", lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  putchar('\n');
}

static unsigned char complete(EditLine *edit, int key) {
  editor *e;
  const LineInfo *line = el_line(edit);
  size_t have = 0, shared;
  unsigned char result = CC_ERROR;
  (void)key;
  el_get(edit, EL_CLIENTDATA, &e);
  push_completions(e->L, line->buffer, (size_t)(line->cursor - line->buffer), &have);
  shared = common_length(e->L);
  if (shared > have) {
    char more[256];
    lua_rawgeti(e->L, -1, 1);
    snprintf(more, sizeof more, "%.*s", (int)(shared - have), lua_tostring(e->L, -1) + have);
    lua_pop(e->L, 1);
    if (el_insertstr(edit, more) == 0) result = CC_REFRESH;
  } else if (lua_rawlen(e->L, -1) > 1) {
    show_choices(e->L);
    result = CC_REDISPLAY;
  }
  lua_pop(e->L, 1);
  return result;
}

static bool editor_open(editor *e, lua_State *L) {
  HistEvent event;
  e->L = L;
  e->prompt = "";
  e->history = NULL;
  e->edit = isatty(0) ? el_init("moonlet", stdin, stdout, stderr) : NULL;
  if (!e->edit) return false;
  e->history = history_init();
  if (e->history) {
    history(e->history, &event, H_SETSIZE, 1000);
    history(e->history, &event, H_SETUNIQUE, 1);
    el_set(e->edit, EL_HIST, history, e->history);
  }
  el_set(e->edit, EL_CLIENTDATA, e);
  el_set(e->edit, EL_PROMPT, show_prompt);
  el_set(e->edit, EL_EDITOR, "emacs");
  el_set(e->edit, EL_SIGNAL, 1);
  el_set(e->edit, EL_ADDFN, "complete", "complete a name", complete);
  el_set(e->edit, EL_BIND, "^I", "complete", NULL);
  return true;
}

static void editor_close(editor *e) {
  if (e->edit) el_end(e->edit);
  if (e->history) history_end(e->history);
}

static got read_line(editor *e, const char *prompt, char *line) {
  int n = 0;
  const char *text;
  HistEvent event;
  if (!e->edit) return read_plainly(prompt, line);
  e->prompt = prompt;
  errno = 0;
  text = el_gets(e->edit, &n);
  if (!text || n <= 0) return nothing_read();
  snprintf(line, LINE_BYTES, "%s", text);
  if (e->history && line[0] != '\n') history(e->history, &event, H_ENTER, line);
  return GOT_LINE;
}
#else
typedef struct editor {
  lua_State *L;
} editor;

static bool editor_open(editor *e, lua_State *L) {
  e->L = L;
  return false;
}
static void editor_close(editor *e) { (void)e; }
static got read_line(editor *e, const char *prompt, char *line) {
  (void)e;
  return read_plainly(prompt, line);
}
#endif

/* ---- the prompt ---- */

/* Loads the string on top as "return ..." or as it is, and replaces it by the function or a message. */
static int load_line(lua_State *L) {
  const char *line = lua_tostring(L, -1);
  const char *expression = lua_pushfstring(L, "return %s", line);
  int status = luaL_loadbufferx(L, expression, strlen(expression), "=prompt", "t");
  lua_remove(L, -2);
  if (status == LUA_OK) {
    lua_remove(L, -2);
    return status;
  }
  lua_pop(L, 1);
  status = luaL_loadbufferx(L, line, strlen(line), "=prompt", "t");
  lua_remove(L, -2);
  return status;
}

/* Is the message on top about code that is not finished? */
static bool is_incomplete(lua_State *L) {
  size_t n;
  const char *message = lua_tolstring(L, -1, &n);
  return message && n >= 5 && strcmp(message + n - 5, "<eof>") == 0;
}

/* Reads lines until they are a chunk; pushes the function or a message, as *status tells. */
static got read_chunk(lua_State *L, editor *e, int *status) {
  char line[LINE_BYTES];
  got more = read_line(e, "> ", line);
  if (more != GOT_LINE) return more;
  lua_pushstring(L, line);
  for (;;) {
    lua_pushvalue(L, -1);
    *status = load_line(L);
    if (*status != LUA_ERRSYNTAX || !is_incomplete(L)) break;
    more = read_line(e, ">> ", line);
    if (more == GOT_INTERRUPT) return more;
    if (more == GOT_END) break; /* the message says what is missing */
    lua_pop(L, 1);
    lua_pushstring(L, line);
    lua_concat(L, 2);
  }
  lua_remove(L, -2);
  return GOT_LINE;
}

static bool print_results(lua_State *L) {
  int n = lua_gettop(L);
  if (n == 0) return true;
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  return report(L, call_interruptible(L, n, 0));
}

static void prompt(lua_State *L) {
  editor e;
  int status = LUA_OK;
  editor_open(&e, L);
  catch_interrupts();
  lua_settop(L, 0);
  for (got what; (what = read_chunk(L, &e, &status)) != GOT_END; lua_settop(L, 0)) {
    if (what == GOT_INTERRUPT) continue;
    if (status == LUA_OK) status = call_interruptible(L, 0, LUA_MULTRET);
    if (report(L, status)) print_results(L);
  }
  editor_close(&e);
  if (isatty(0)) putchar('\n');
}

/* ---- the program ---- */

static void show_version(void) { printf("Moonlet on %s\n", LUA_RELEASE); }

static void preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_moonlet);
  lua_setfield(L, -2, "moonlet");
  lua_pushcfunction(L, luaopen_moonlet_core);
  lua_setfield(L, -2, "moonlet.core");
  lua_pop(L, 1);
}

typedef struct options {
  int script; /* position of the script in argv; argc: none */
  bool prompt, version, code;
} options;

/* False: not understood. */
static bool read_options(int argc, char **argv, options *o) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
    if (strcmp(argv[i], "-i") == 0) o->prompt = true;
    else if (strcmp(argv[i], "-v") == 0) o->version = true;
    else if (strcmp(argv[i], "-e") == 0 && i + 1 < argc) o->code = true, i++;
    else return false;
  }
  o->script = i;
  return true;
}

static bool run_options(lua_State *L, char **argv, const options *o) {
  for (int i = 1; i < o->script; i++) {
    if (strcmp(argv[i], "-e") == 0 && !run_text(L, argv[++i], "=(command line)")) return false;
  }
  return true;
}

static int protected_main(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  options o = {0};
  bool ok = read_options(argc, argv, &o);
  lua_settop(L, 0);
  if (!ok) {
    fputs(usage, stderr);
    return 0;
  }
  luaL_openlibs(L);
  preload(L);
  set_arg(L, argc, argv, o.script < argc ? o.script : 0);
  if (o.version) show_version();
  ok = run_options(L, argv, &o);
  if (ok && o.script < argc) ok = run_script(L, argv[o.script], argc - o.script - 1, argv + o.script + 1);
  if (ok && (o.prompt || (o.script == argc && !o.code && !o.version))) {
    if (isatty(0)) show_version();
    ok = run_text(L, "ml = require 'moonlet'", "=(start)");
    prompt(L);
  }
  lua_pushboolean(L, ok);
  return 1;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  bool ok;
  if (!L) {
    fputs("moonlet: out of memory\n", stderr);
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, protected_main);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  ok = report(L, lua_pcall(L, 2, 1, 0)) && lua_toboolean(L, -1);
  lua_close(L);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
