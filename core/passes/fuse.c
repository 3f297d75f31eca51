/*
** fuse.c: chains of elementwise ops, with the reduction at their end, become one `loop` node whose body is the chain. Nodes are taken
** newest first; a producer joins the cluster of its first user when the index spaces are equal. The first user is the one whose
** cluster runs first, so every other user runs later and no cycle can arise: a cluster runs where its last member stood, and that
** place never changes as producers join. A large value that several clusters want, and that follows by a few cheap ops from one that
** is stored anyway, is computed again in each: a gradient then reads what a layer gave instead of all that was in between, and of
** dropout the bytes that were drawn.
*/
#include <string.h>

#include "base/alloc.h"
#include "base/shape.h"
#include "graph/build.h"
#include "ops/attrs.h"
#include "passes/body.h"
#include "plan/loop.h"

#define MAX_INPUTS (MOON_LOOP_MAX_ARGS - 2)
#define MAX_MEMBERS 48
#define MAX_NUMBERS 20
#define MAX_AGAIN 2 /* other clusters that compute a value again */
#define MAX_AGAIN_COST 10    /* ops, from what is stored */
#define LEAST_AGAIN 65536    /* elements: less stays in a near cache, unless casts widen them */

typedef struct cluster {
  int root;          /* index of its last member */
  moon_shape space;  /* the index space of its loop */
  int nmembers, noutputs, ninputs, nnumbers;
  const moon_value *inputs[MAX_INPUTS]; /* from outside, numbers aside */
} cluster;

typedef struct fusing {
  moon_pass_env *env;
  const moon_graph *g;
  moon_map index;     /* node -> its index + 1 */
  int *of;            /* node index -> index of its cluster's root */
  cluster *clusters;  /* of what can be fused, the last root first */
  int nclusters, cluster_capacity;
  int *number;        /* root index -> its cluster's number + 1; 0: it is fused with nothing */
  int *user_start, *users; /* users of node i: users[user_start[i]] .. */
  bool *given;        /* outputs and effects: needed outside */
  int *again;         /* [nnodes][MAX_AGAIN]: roots + 1 of other clusters that hold a copy of the node */
  int *cost;          /* ops that compute a node from what is stored; 0: it is stored itself */
} fusing;

static bool is_reduction(const moon_node *n) {
  switch (n->op->id) {
    case MOON_OP_sum:
    case MOON_OP_prod:
    case MOON_OP_max:
    case MOON_OP_min:
    case MOON_OP_any:
    case MOON_OP_all: return true;
    default: return false;
  }
}

static bool is_fusable(const moon_node *n) {
  int64_t count;
  if (n->op->kind != MOON_ELEMENTWISE && n->op->id != MOON_OP_cast && !is_reduction(n)) return false;
  return moon__shape_count_known(&n->inputs[0]->type.shape, &count) && count > 0;
}

static int index_of(const fusing *f, const moon_node *n) { return (int)(uintptr_t)moon__map_get(&f->index, n) - 1; }
static cluster *cluster_of(const fusing *f, int root) { return f->number[root] ? &f->clusters[f->number[root] - 1] : NULL; }

/* ---- Clusters ---- */

static bool has_input(const cluster *c, const moon_value *v) {
  for (int i = 0; i < c->ninputs; i++) {
    if (c->inputs[i] == v) return true;
  }
  return false;
}

/* Takes node n in; its output leaves the inputs, its inputs come. False: too large, c unchanged. */
static bool take(cluster *c, const moon_node *n, bool needed_outside) {
  cluster next = *c;
  double x;
  next.ninputs = 0;
  for (int i = 0; i < c->ninputs; i++) {
    if (c->inputs[i] != &n->outputs[0]) next.inputs[next.ninputs++] = c->inputs[i];
  }
  for (int i = 0; i < n->ninputs; i++) {
    const moon_value *v = n->inputs[i];
    if (moon__is_number(v, &x)) next.nnumbers++;
    else if (!has_input(&next, v)) {
      if (next.ninputs == MAX_INPUTS) return false;
      next.inputs[next.ninputs++] = v;
    }
  }
  next.nmembers++;
  next.noutputs += needed_outside;
  if (next.nmembers > MAX_MEMBERS || next.nnumbers > MAX_NUMBERS || next.noutputs > MOON_LOOP_MAX_ARGS) return false;
  *c = next;
  return true;
}

static bool holds(const fusing *f, int root, int i) {
  bool is = f->of[i] == root;
  for (int k = 0; k < MAX_AGAIN; k++) is |= f->again[i * MAX_AGAIN + k] == root + 1;
  return is;
}

/* The clusters that use node i: at most `room` roots, the one that runs first in front. Gives their number. */
static int user_clusters(const fusing *f, int i, int *roots, int room) {
  int n = 0;
  for (int k = f->user_start[i]; k < f->user_start[i + 1]; k++) {
    for (int c = -1; c < MAX_AGAIN; c++) {
      int user = f->users[k], root = c < 0 ? f->of[user] : f->again[user * MAX_AGAIN + c] - 1, at = 0;
      if (root < 0) continue;
      while (at < n && at < room && roots[at] != root) at++;
      if (at < n && at < room) continue;
      if (n < room) roots[n] = root;
      n++;
      if (root >= roots[0]) continue;
      if (n <= room) roots[n - 1] = roots[0];
      roots[0] = root;
    }
  }
  return n;
}

/* Puts copies of n into all the clusters that use it, if all can take one. */
static bool compute_again(fusing *f, int i, const int *roots, int n) {
  cluster next[MAX_AGAIN + 1];
  const moon_node *node = f->g->nodes[i];
  if (f->given[i] || f->cost[i] == 0) return false;
  for (int k = 0; k < n; k++) {
    const cluster *c = cluster_of(f, roots[k]);
    if (!c || !moon__shape_equal(&c->space, &node->outputs[0].type.shape)) return false;
    next[k] = *c;
    if (!take(&next[k], node, false)) return false;
  }
  for (int k = 0; k < n; k++) *cluster_of(f, roots[k]) = next[k];
  f->of[i] = roots[0];
  for (int k = 1; k < n; k++) f->again[i * MAX_AGAIN + k - 1] = roots[k] + 1;
  return true;
}

/* False: memory is out. */
static bool place_node(fusing *f, int i) {
  const moon_node *n = f->g->nodes[i];
  int roots[MAX_AGAIN + 1];
  f->of[i] = i;
  if (!is_fusable(n)) return true;
  int users = user_clusters(f, i, roots, MAX_AGAIN + 1);
  if (users > 0 && !is_reduction(n)) {
    cluster *c = cluster_of(f, roots[0]);
    if (users > 1 && users <= MAX_AGAIN + 1 && compute_again(f, i, roots, users)) return true;
    if (c && moon__shape_equal(&c->space, &n->outputs[0].type.shape) && take(c, n, users > 1 || f->given[i])) {
      f->of[i] = roots[0];
      return true;
    }
  }
  if (!MOON_RESERVE(f->env->ctx->runtime, f->clusters, f->cluster_capacity, f->nclusters + 1)) return false;
  cluster *own = &f->clusters[f->nclusters++];
  *own = (cluster){.root = i, .space = n->inputs[0]->type.shape};
  f->number[i] = f->nclusters;
  take(own, n, true);
  return true;
}

/* ---- What may be computed again ---- */

static bool is_product(const moon_value *v) {
  while (v->node->op->id == MOON_OP_reshape) v = v->node->inputs[0];
  return v->node->op->flags & MOON_OPF_PRODUCT;
}

/* Is v stored whatever is fused, for a user that is in no loop? */
static bool is_stored(const fusing *f, const moon_value *v) {
  int i = index_of(f, v->node);
  bool stored = false;
  for (int k = f->user_start[i]; k < f->user_start[i + 1]; k++) {
    const moon_node *user = f->g->nodes[f->users[k]];
    stored |= user->op->id != MOON_OP_reshape && !is_fusable(user);
  }
  return stored;
}

/* Storing what a cast widens takes more memory than storing what it came from, however few the numbers. */
static bool is_widened(const moon_node *n) {
  return n->op->id == MOON_OP_cast && moon_dtype_bytes(n->inputs[0]->type.dtype) < moon_dtype_bytes(n->outputs[0].type.dtype);
}

/* Ops that lead from what is stored to node i: all from one large value, whose node goes to *from. 0: it is to be stored. What comes
** from a product is, unless that is stored itself: so the product is finished by the one loop that uses it. */
static int cost_of(const fusing *f, int i, const moon_value **from) {
  const moon_node *n = f->g->nodes[i];
  int64_t count;
  int cost = 1;
  *from = NULL;
  if (!is_fusable(n) || is_reduction(n) || n->outputs[0].type.dtype != MOON_DTYPE_f32) return 0;
  if (!moon__shape_count_known(&n->outputs[0].type.shape, &count) || (count < LEAST_AGAIN && !is_widened(n))) return 0;
  for (int k = 0; k < n->ninputs; k++) {
    const moon_value *v = n->inputs[k], *source = v;
    double x;
    if (moon__is_number(v, &x) || v->node->op->id == MOON_OP_broadcast_to) continue;
    if (is_product(v) && !is_stored(f, v)) return 0;
    int p = index_of(f, v->node);
    if (f->cost[p] > 0) cost += cost_of(f, p, &source);
    if (source && (source->node->op->id == MOON_OP_constant || source->node->op->id == MOON_OP_variable)) return 0;
    if (source && *from && *from != source) return 0;
    if (source) *from = source;
  }
  return *from && cost <= MAX_AGAIN_COST ? cost : 0;
}

/* ---- Building loops ---- */

typedef struct making {
  fusing *f;
  moon_map *map;    /* outer value -> its replacement */
  moon_map inner;   /* outer value -> value in the body */
  moon_value *formals[MOON_LOOP_MAX_ARGS], *actuals[MOON_LOOP_MAX_ARGS], *outputs[MOON_LOOP_MAX_ARGS];
  const moon_node *members[MOON_LOOP_MAX_ARGS]; /* whose output is given out */
  int nformals, noutputs;
} making;

static moon_value *mapped(const moon_map *map, moon_value *v) {
  moon_value *r = moon__map_get(map, v);
  return r ? r : v;
}

/* The value inside the body for an input of a member. */
static moon_value *body_value(making *m, const cluster *c, moon_value *v) {
  moon_context *ctx = m->f->env->ctx;
  moon_value *inside = moon__map_get(&m->inner, v);
  double x;
  if (inside) return inside;
  if (moon__is_number(v, &x)) {
    moon_full_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = c->space;
    a.value = x;
    a.dtype = (int32_t)v->type.dtype;
    moon_node_spec spec = {.op = moon__ops[MOON_OP_full], .attrs = &a, .raw = true};
    inside = moon__node_build(ctx, &spec);
  } else {
    moon_node_spec spec = {.op = moon__ops[MOON_OP_input], .name = "x", .type = &v->type, .raw = true};
    inside = moon__node_build(ctx, &spec);
    if (inside) {
      m->formals[m->nformals] = inside;
      m->actuals[m->nformals++] = mapped(m->map, v);
    }
  }
  if (inside && !moon__map_put(&m->inner, v, inside)) {
    moon__fail_memory(ctx);
    return NULL;
  }
  return inside;
}

/* Sums of small integers are i64: the loop casts before it adds, so that a reduction never changes dtype. */
static moon_value *cast_for_reduction(moon_context *ctx, const moon_node *n, moon_value *x) {
  moon_cast_attrs a = {.dtype = (int32_t)n->outputs[0].type.dtype};
  if (!x || !is_reduction(n) || x->type.dtype == n->outputs[0].type.dtype) return x;
  moon_node_spec spec = {.op = moon__ops[MOON_OP_cast], .attrs = &a, .ninputs = 1, .inputs = &x, .raw = true};
  return moon__node_build(ctx, &spec);
}

static moon_status add_member(making *m, const cluster *c, int i) {
  moon_context *ctx = m->f->env->ctx;
  const moon_node *n = m->f->g->nodes[i];
  moon_value *in[3];
  bool needed = i == c->root || m->f->given[i], copy_of_it = m->f->of[i] != c->root;
  for (int k = 0; k < n->ninputs; k++) {
    in[k] = cast_for_reduction(ctx, n, body_value(m, c, n->inputs[k]));
    if (!in[k]) return ctx->status;
  }
  moon_value *copy = moon__node_with_inputs(ctx, n, in);
  if (!copy) return ctx->status;
  if (!moon__map_put(&m->inner, &n->outputs[0], copy)) return moon__fail_memory(ctx);
  int roots[MAX_MEMBERS], users = user_clusters(m->f, i, roots, MAX_MEMBERS);
  for (int k = 0; k < users && k < MAX_MEMBERS; k++) needed |= !holds(m->f, roots[k], i);
  if (copy_of_it || !(needed || users > MAX_MEMBERS)) return MOON_OK;
  m->members[m->noutputs] = n;
  m->outputs[m->noutputs++] = copy;
  return MOON_OK;
}

/* first: index of the cluster's first member. */
static moon_status make_loop(fusing *f, moon_map *map, const cluster *c, int first) {
  moon_context *ctx = f->env->ctx;
  making m = {.f = f, .map = map};
  moon_status s = MOON_OK;
  moon_graph *body = NULL;
  moon__map_init(&m.inner, ctx->runtime);
  for (int i = first; s == MOON_OK && i <= c->root; i++) {
    if (holds(f, c->root, i)) s = add_member(&m, c, i);
  }
  if (s == MOON_OK) body = moon__graph_make(ctx, m.nformals, m.formals, m.noutputs, m.outputs, 0, NULL);
  if (body) {
    moon_node_spec spec = {.op = moon__ops[MOON_OP_loop], .ninputs = m.nformals, .inputs = m.actuals, .ngraphs = 1, .graphs = &body,
                           .origin = f->g->nodes[c->root]->origin, .raw = true};
    moon_value *v = moon__node_build(ctx, &spec);
    for (int i = 0; v && s == MOON_OK && i < m.noutputs; i++) {
      if (!moon__map_put(map, &m.members[i]->outputs[0], moon__output(v, i))) s = moon__fail_memory(ctx);
    }
    if (!v) s = ctx->status;
  } else if (s == MOON_OK) {
    s = ctx->status;
  }
  moon_graph_release(body);
  moon__map_free(&m.inner);
  return s;
}

static moon_status keep_node(fusing *f, moon_map *map, moon_node *n) {
  moon_context *ctx = f->env->ctx;
  moon_rewriter r = {.ctx = ctx, .own = f->env->own};
  moon_value *in[MOON_MAX_INPUTS], *out[MOON_MAX_OUTPUTS];
  in[0] = NULL;
  memset(out, 0, (size_t)n->noutputs * sizeof *out);
  for (int i = 0; i < n->ninputs; i++) in[i] = mapped(map, n->inputs[i]);
  moon_status s = moon__pass_bodies(f->env, moon__pass_fuse, n, in, out);
  if (s != MOON_OK) return s;
  moon_node *made = out[0] ? out[0]->node : moon__rewrite_inputs(&r, n, in);
  if (!made) return ctx->status;
  for (int i = 0; made != n && i < n->noutputs; i++) {
    if (!moon__map_put(map, &n->outputs[i], &made->outputs[i])) return moon__fail_memory(ctx);
  }
  return MOON_OK;
}

static moon_graph *rebuild(fusing *f, const int *first) {
  moon_context *ctx = f->env->ctx;
  const moon_graph *g = f->g;
  moon_map map;
  moon_status s = MOON_OK;
  moon_graph *made = NULL;
  int n = g->noutputs + g->neffects;
  moon_value **v = moon__alloc_array(ctx->runtime, (size_t)n, sizeof *v);
  moon__map_init(&map, ctx->runtime);
  if (!v) s = moon__fail_memory(ctx);
  for (int i = 0; s == MOON_OK && i < g->nnodes; i++) {
    const cluster *c = cluster_of(f, f->of[i]);
    if (!c) s = keep_node(f, &map, g->nodes[i]);
    else if (c->root == i) s = make_loop(f, &map, c, first[i]);
  }
  if (s == MOON_OK) {
    for (int i = 0; i < g->noutputs; i++) v[i] = mapped(&map, g->outputs[i]);
    for (int i = 0; i < g->neffects; i++) v[g->noutputs + i] = mapped(&map, g->effects[i]);
    made = moon__graph_make(ctx, g->ninputs, g->inputs, g->noutputs, v, g->neffects, v + g->noutputs);
  }
  moon__map_free(&map);
  moon__free(ctx->runtime, v);
  return made;
}

/* ---- Users ---- */

static bool list_users(fusing *f) {
  const moon_graph *g = f->g;
  moon_runtime *runtime = f->env->ctx->runtime;
  int total = 0;
  if (!moon__map_reserve(&f->index, g->nnodes)) return false;
  for (int i = 0; i < g->nnodes; i++) {
    if (!moon__map_put(&f->index, g->nodes[i], (void *)(uintptr_t)(i + 1))) return false;
    total += g->nodes[i]->ninputs;
  }
  f->user_start = moon__alloc_array(runtime, (size_t)g->nnodes + 2, sizeof *f->user_start);
  f->users = moon__alloc_array(runtime, (size_t)total, sizeof *f->users);
  if (!f->user_start || !f->users) return false;
  int *count = f->user_start + 1; /* becomes the end of each list, shifted by one */
  for (int i = 0; i < g->nnodes; i++) {
    for (int k = 0; k < g->nodes[i]->ninputs; k++) count[index_of(f, g->nodes[i]->inputs[k]->node) + 1]++;
  }
  for (int i = 0; i < g->nnodes; i++) count[i + 1] += count[i];
  /* count[i] is now where list i starts; filling moves it to where it ends, which is where list i + 1 starts. */
  for (int i = 0; i < g->nnodes; i++) {
    for (int k = 0; k < g->nodes[i]->ninputs; k++) f->users[count[index_of(f, g->nodes[i]->inputs[k]->node)]++] = i;
  }
  return true;
}

static moon_graph *fuse(fusing *f) {
  const moon_graph *g = f->g;
  moon_runtime *runtime = f->env->ctx->runtime;
  size_t n = (size_t)g->nnodes;
  moon_graph *made = NULL;
  f->of = moon__alloc_array(runtime, n, sizeof *f->of);
  f->number = moon__alloc_array(runtime, n, sizeof *f->number);
  f->given = moon__alloc_array(runtime, n, sizeof *f->given);
  f->again = moon__alloc_array(runtime, n, MAX_AGAIN * sizeof *f->again);
  f->cost = moon__alloc_array(runtime, n, sizeof *f->cost);
  int *first = moon__alloc_array(runtime, n, sizeof *first);
  bool ok = false;
  if (f->of && f->number && f->given && f->again && f->cost && first && list_users(f)) {
    const moon_value *from;
    for (int i = 0; i < g->nnodes; i++) f->cost[i] = cost_of(f, i, &from);
    for (int i = 0; i < g->noutputs; i++) f->given[index_of(f, g->outputs[i]->node)] = true;
    for (int i = 0; i < g->neffects; i++) f->given[index_of(f, g->effects[i]->node)] = true;
    ok = true;
    for (int i = g->nnodes - 1; ok && i >= 0; i--) {
      ok = place_node(f, i);
      first[f->of[i]] = i;
      for (int k = 0; k < MAX_AGAIN; k++)
        if (f->again[i * MAX_AGAIN + k]) first[f->again[i * MAX_AGAIN + k] - 1] = i;
    }
  }
  if (ok) made = rebuild(f, first);
  else moon__fail_memory(f->env->ctx);
  moon__free(runtime, first);
  moon__free(runtime, f->cost);
  moon__free(runtime, f->again);
  moon__free(runtime, f->given);
  moon__free(runtime, f->clusters);
  moon__free(runtime, f->number);
  moon__free(runtime, f->of);
  moon__free(runtime, f->users);
  moon__free(runtime, f->user_start);
  return made;
}

moon_graph *moon__pass_fuse(moon_pass_env *env, moon_graph *g) {
  fusing f = {.env = env, .g = g};
  moon__map_init(&f.index, env->ctx->runtime);
  moon_graph *made = fuse(&f);
  moon__map_free(&f.index);
  return made;
}
