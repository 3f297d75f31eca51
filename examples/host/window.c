/*
** window.c: a host with a window, in whose frames a network learns. Everything that the library needs of a system comes from the
** host: memory (counted), threads (SDL's), log (SDL's), clock (SDL's). The script beside it says what is learned.
**
**   apt install libsdl2-dev; make && make build/examples/host/window && build/examples/host/window examples/host/window.lua
**
** SDL_VIDEODRIVER=dummy runs it without a display; a second argument is the number of frames after which it ends.
*/
#include <SDL.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <moonlet.h>
#include <stdlib.h>

int luaopen_moonlet(lua_State *L);

enum { WIDTH = 640, HEIGHT = 360, HELPERS = 2, POINTS = 64, BUDGET_US = 1000 };

/* ---- memory: what the library has, in bytes ---- */

static void *reallocate(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  SDL_atomic_t *held = user;
  void *made = new_bytes > 0 ? SDL_realloc(block, new_bytes) : NULL;
  if (new_bytes > 0 && !made) return NULL; /* the library says "out of memory", and all stays as it was */
  if (new_bytes == 0) SDL_free(block);
  SDL_AtomicAdd(held, (int)new_bytes - (int)old_bytes);
  return made;
}

/* ---- threads: the game's job system. The caller takes jobs too. ---- */

typedef struct jobs {
  SDL_mutex *turn, *lock; /* turn: one set of jobs at a time */
  SDL_cond *begun, *ended;
  SDL_Thread *helpers[HELPERS];
  void (*body)(void *arg, int i);
  void *arg;
  int n, next, left;
  bool quit;
} jobs;

/* Does one job, if there is one left; the lock is held before and after. */
static bool do_job(jobs *j) {
  if (j->next >= j->n) return false;
  int i = j->next++;
  SDL_UnlockMutex(j->lock);
  j->body(j->arg, i);
  SDL_LockMutex(j->lock);
  if (--j->left == 0) SDL_CondBroadcast(j->ended);
  return true;
}

static int help(void *arg) {
  jobs *j = arg;
  SDL_LockMutex(j->lock);
  while (!j->quit) {
    if (!do_job(j)) SDL_CondWait(j->begun, j->lock);
  }
  SDL_UnlockMutex(j->lock);
  return 0;
}

static void parallel(jobs *j, void (*body)(void *arg, int i), void *arg, int n) {
  SDL_LockMutex(j->turn);
  SDL_LockMutex(j->lock);
  j->body = body;
  j->arg = arg;
  j->next = 0;
  j->n = j->left = n;
  SDL_CondBroadcast(j->begun);
  while (do_job(j)) {}
  while (j->left > 0) SDL_CondWait(j->ended, j->lock);
  j->n = 0;
  SDL_UnlockMutex(j->lock);
  SDL_UnlockMutex(j->turn);
}

static void jobs_begin(jobs *j) {
  j->turn = SDL_CreateMutex();
  j->lock = SDL_CreateMutex();
  j->begun = SDL_CreateCond();
  j->ended = SDL_CreateCond();
  for (int i = 0; i < HELPERS; i++) j->helpers[i] = SDL_CreateThread(help, "helper", j);
}

static void jobs_end(jobs *j) {
  SDL_LockMutex(j->lock);
  j->quit = true;
  SDL_CondBroadcast(j->begun);
  SDL_UnlockMutex(j->lock);
  for (int i = 0; i < HELPERS; i++) SDL_WaitThread(j->helpers[i], NULL);
  SDL_DestroyCond(j->begun);
  SDL_DestroyCond(j->ended);
  SDL_DestroyMutex(j->lock);
  SDL_DestroyMutex(j->turn);
}

/* ---- what the library is given ---- */

typedef struct host {
  SDL_atomic_t held_bytes;
  jobs jobs;
  int lines; /* of log */
} host;

static void *host_realloc(void *user, void *block, size_t old_bytes, size_t new_bytes) {
  host *h = user;
  return reallocate(&h->held_bytes, block, old_bytes, new_bytes);
}
static void host_parallel(void *user, void (*body)(void *arg, int i), void *arg, int n) {
  host *h = user;
  parallel(&h->jobs, body, arg, n);
}
static void host_log(void *user, const char *line) {
  host *h = user;
  h->lines++;
  SDL_Log("%s", line);
}
static double host_clock_us(void *user) {
  (void)user;
  return (double)SDL_GetPerformanceCounter() * 1e6 / (double)SDL_GetPerformanceFrequency();
}

/* ---- the script ---- */

/* A state whose library uses the host's runtime; the script has been run. NULL after a message. */
static lua_State *open_script(moon_runtime *runtime, const char *path) {
  lua_State *L = luaL_newstate();
  if (!L) return NULL;
  luaL_openlibs(L);
  lua_pushlightuserdata(L, runtime);
  lua_setfield(L, LUA_REGISTRYINDEX, "moonlet.runtime");
  luaL_requiref(L, "moonlet", luaopen_moonlet, 0);
  lua_pop(L, 1);
  if (luaL_dofile(L, path) == LUA_OK) return L;
  SDL_Log("%s", lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

static void read_curve(lua_State *L, int idx, SDL_Point *points) {
  for (int i = 0; i < POINTS; i++) {
    lua_rawgeti(L, idx, i + 1);
    points[i].x = i * (WIDTH - 1) / (POINTS - 1);
    points[i].y = (int)((1 - lua_tonumber(L, -1)) * HEIGHT / 2);
    lua_pop(L, 1);
  }
}

/* One frame of learning; the curves are drawn. False after an error of the script. */
static bool show_frame(lua_State *L, SDL_Renderer *r, int *steps, double *loss) {
  SDL_Point wanted[POINTS], drawn[POINTS];
  lua_getglobal(L, "frame");
  lua_pushinteger(L, BUDGET_US);
  if (lua_pcall(L, 1, 4, 0) != LUA_OK) {
    SDL_Log("%s", lua_tostring(L, -1));
    return false;
  }
  read_curve(L, -4, wanted);
  read_curve(L, -3, drawn);
  *steps = (int)lua_tointeger(L, -2);
  *loss = lua_tonumber(L, -1);
  lua_settop(L, 0);
  SDL_SetRenderDrawColor(r, 16, 18, 24, 255);
  SDL_RenderClear(r);
  SDL_SetRenderDrawColor(r, 90, 96, 110, 255);
  SDL_RenderDrawLines(r, wanted, POINTS);
  SDL_SetRenderDrawColor(r, 255, 180, 60, 255);
  SDL_RenderDrawLines(r, drawn, POINTS);
  SDL_RenderPresent(r);
  return true;
}

static bool wants_to_quit(void) {
  SDL_Event event;
  bool quit = false;
  while (SDL_PollEvent(&event)) quit |= event.type == SDL_QUIT || (event.type == SDL_KEYDOWN && event.key.keysym.sym == SDLK_ESCAPE);
  return quit;
}

/* True: the frames were shown and the network learned something. */
static bool play(lua_State *L, SDL_Renderer *r, long frames) {
  double loss = 0, first = -1;
  int steps = 0;
  for (long i = 0; (frames == 0 || i < frames) && !wants_to_quit(); i++) {
    if (!show_frame(L, r, &steps, &loss)) return false;
    if (steps > 0 && first < 0) first = loss;
    if (frames == 0) SDL_Delay(15);
  }
  printf("%d steps, loss %.4f to %.4f\n", steps, first, loss);
  return steps > 0 && loss <= first;
}

int main(int argc, char **argv) {
  host h = {0};
  moon_host hooks = {.user = &h, .realloc = host_realloc, .parallel = host_parallel, .threads = HELPERS + 1, .log = host_log,
                     .clock_us = host_clock_us};
  const char *script = argc > 1 ? argv[1] : "examples/host/window.lua";
  SDL_Window *window = NULL;
  SDL_Renderer *renderer = NULL;
  bool good = false;
  if (SDL_Init(SDL_INIT_VIDEO) != 0 || SDL_CreateWindowAndRenderer(WIDTH, HEIGHT, 0, &window, &renderer) != 0) {
    fprintf(stderr, "window: %s\n", SDL_GetError());
    return EXIT_FAILURE;
  }
  SDL_SetWindowTitle(window, "a network learns a curve");
  jobs_begin(&h.jobs);
  moon_runtime *runtime = moon_runtime_new(&hooks);
  lua_State *L = runtime ? open_script(runtime, script) : NULL;
  if (L) {
    good = play(L, renderer, argc > 2 ? strtol(argv[2], NULL, 10) : 0);
    printf("the library holds %d bytes and wrote %d lines\n", SDL_AtomicGet(&h.held_bytes), h.lines);
    lua_close(L);
  }
  moon_runtime_release(runtime);
  printf("%d bytes are left\n", SDL_AtomicGet(&h.held_bytes));
  jobs_end(&h.jobs);
  SDL_DestroyRenderer(renderer);
  SDL_DestroyWindow(window);
  SDL_Quit();
  return good && SDL_AtomicGet(&h.held_bytes) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
