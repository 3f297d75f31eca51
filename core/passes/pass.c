/*
** pass.c: the ordered table of passes and what runs it.
*/
#include "passes/pass.h"

#include <string.h>

const moon_pass moon__passes[] = {
    {"lower", moon__pass_lower}, {"fold", moon__pass_fold},         {"simplify", moon__pass_simplify}, {"cse", moon__pass_cse},
    {"dce", moon__pass_dce},     {"place", moon__pass_place},       {"join", moon__pass_join},         {"scale", moon__pass_scale},
    {"winograd", moon__pass_winograd}, {"select", moon__pass_select}, {"layout", moon__pass_layout}, {"fuse", moon__pass_fuse},
};
const int moon__pass_count = (int)(sizeof moon__passes / sizeof *moon__passes);

bool moon__pass_is_off(const char *off, const char *name) {
  size_t n = strlen(name);
  if (!off) return false;
  if (strcmp(off, "all") == 0) return true;
  for (const char *at = off; *at;) {
    size_t word = strcspn(at, ", ");
    if (word == n && memcmp(at, name, n) == 0) return true;
    at += word + strspn(at + word, ", ");
  }
  return false;
}

moon_graph *moon__passes_run(moon_pass_env *env, moon_graph *g, const moon_compile_options *options) {
  const char *off = options ? options->passes_off : NULL;
  g = moon_graph_retain(g);
  for (int i = 0; g && i < moon__pass_count; i++) {
    if (moon__pass_is_off(off, moon__passes[i].name)) continue;
    moon_scope_open(env->ctx);
    moon_graph *next = moon__passes[i].run(env, g);
    moon_scope_close(env->ctx);
    moon_graph_release(g);
    g = next;
    if (!g || !options || !options->dump) continue;
    char *text = moon_graph_text(env->ctx, g);
    if (!text) {
      moon_graph_release(g);
      return NULL;
    }
    options->dump(options->dump_user, moon__passes[i].name, text);
    moon_text_release(env->ctx, text);
  }
  return g;
}
