/*
** gemm_tuning.c: chooses how a product of f32 matrices is made, by what the parts of it cost on a middling machine of its kind. The
** sizes of its caches are the machine's own; speeds are the same for all, since only their ratios matter: of the machines measured,
** a core multiplies and adds at 130 to 260 GFLOP/s with AVX-512, its second-level cache gives 90 to 190 GB/s, the third 20 to 100.
** The design is Goto's and van de Geijn's (Anatomy of High-Performance Matrix Multiplication, 2008), with the second level's block
** of a left where it lies.
*/
#include "gemm_tuning.h"

#include "base/os.h"
#include "base/size.h"

/* Bytes a microsecond that a core gets from each level, and what there is besides. */
#define NEAR_BYTES 80e3 /* from the second level to the first */
#define FAR_BYTES 40e3
#define JOB_US 0.15   /* to begin a job */
#define PHASE_US 2.0  /* until all cores see that a phase has ended */
#define MOST_JOB_US 60
#define MANY_TILES 40 /* one after the other: a small b is packed for them */
/* Where b passes by once: columns whose sums stay near, bytes of a job, and fewer where there would be less than four. */
#define STREAM_COLUMNS 2048
#define STREAM_BYTES 393216
#define LEAST_STREAM_BYTES 65536

typedef struct model {
  const moon_gemm_set *set;
  moon_product p; /* as tiles see it */
  double near_bytes; /* of the second-level cache, which a block may take */
  int64_t tiles, panels, wide;
} model;

static double flops_us(const moon_gemm_set *set) { return set->lanes == 16 ? 220e3 : set->lanes == 8 ? 110e3 : 25e3; }

/* A job: operations at the speed of the tiles, or bytes of b. */
static double job_us(const model *x, double m, double n, double k) {
  double flops = 2 * m * n * k / flops_us(x->set), bytes = 4 * n * k / FAR_BYTES;
  return flops > bytes ? flops : bytes;
}

/* What the busier of two cores computes: whole jobs. */
static double longest_us(double jobs, double us) {
  return jobs > 1 ? (jobs / 2 + (jobs < 16 ? 0.5 : 0)) * us + PHASE_US : us;
}

/* Operands that pass by, c's partial sums, and packing. */
static double traffic_us(const model *x, const moon_gemm_tuning *t, double m_blocks, double n_blocks) {
  const moon_product *p = &x->p;
  double a = 4.0 * (double)p->m * (double)p->k, b = 4.0 * (double)p->n * (double)p->k, c = 4.0 * (double)p->m * (double)p->n;
  double b_us = b / (b < x->near_bytes ? NEAR_BYTES : FAR_BYTES), us = a / FAR_BYTES;
  if (4.0 * (double)t->m_block * (double)p->k / (double)t->segments > x->near_bytes) us = n_blocks * a / FAR_BYTES;
  switch (t->pack_b) {
    case MOON_GEMM_PACK_NEVER: us += m_blocks * b_us; break;
    case MOON_GEMM_PACK_JOBS: us += m_blocks * (b_us * (t->n_block > x->wide ? 1 : 1.5) + b / NEAR_BYTES); break; /* short runs of rows come slowly */
    case MOON_GEMM_PACK_ONCE: us += 4 * b_us + m_blocks * b_us / 2 + PHASE_US; break; /* read and written; panels are fetched ahead */
  }
  if (t->segments > 1) us += 3 * c * (double)t->segments / FAR_BYTES + PHASE_US;
  return us * (double)p->batch / 2;
}

static double cost_us(const model *x, const moon_gemm_tuning *t) {
  double m_blocks = (double)moon__ceildiv_i64(x->p.m, t->m_block), n_blocks = (double)moon__ceildiv_i64(x->p.n, t->n_block);
  double jobs = m_blocks * n_blocks * (double)x->p.batch * (double)t->segments;
  double us = job_us(x, (double)t->m_block, (double)t->n_block, (double)x->p.k / (double)t->segments);
  if (us > MOST_JOB_US) return 1e18 * us;
  double whole = job_us(x, (double)x->p.m, (double)x->p.n, (double)x->p.k) * (double)x->p.batch / 2, most = longest_us(jobs, us);
  return (jobs > 1 && whole > most ? whole : most) + traffic_us(x, t, m_blocks, n_blocks) + jobs * JOB_US;
}

/* ---- Tiles ---- */

moon_product moon__gemm_seen(const moon_product *p, const moon_gemm_tuning *t) {
  moon_product q = *p;
  if (!t->turned) return q;
  q.m = p->n, q.n = p->m;
  q.a_row = p->b_column, q.a_column = p->b_row;
  q.b_row = p->a_column, q.b_column = p->a_row;
  return q;
}

static bool rows_lie_dense(const moon_product *p) { return p->b_column == 1 || p->n == 1; }

/* Terms of a pass: a panel of b, or what of it a job packs, takes two thirds of the first-level cache. Columns of a that are far
** apart fall onto the same sets: fewer of them. */
static int64_t depth_of(const model *x) {
  int64_t bytes = moon__cache_bytes(1), most = moon__min_i64(bytes * 2 / 3 / 4, MOON_GEMM_PANEL_FLOATS) / x->wide / 8 * 8;
  if (x->p.a_column != 1 && x->p.a_column >= 512) most /= 2;
  if (most < 64) most = 64;
  int64_t k = moon__max_i64(x->p.k, 1);
  return moon__ceildiv_i64(k, moon__ceildiv_i64(k, most));
}

static void choose_tiles(model *x, moon_gemm_tuning *t) {
  const moon_gemm_set *set = x->set;
  const moon_product *p = &x->p;
  t->width = p->n <= set->lanes ? 1 : p->m <= set->rows[4] && p->n > 2 * set->lanes ? 4 : 2;
  /* Rows that fall onto the same sets of the first-level cache: no more of them than it has ways to spare. */
  bool same_sets = p->a_column == 1 && p->a_row % 512 == 0 && set->rows[t->width] > 8;
  t->height = moon__gemm_height(p->m, same_sets ? 8 : set->rows[t->width]);
  t->pack_a = t->way == MOON_GEMM_TILES && p->a_row != 1 && p->a_column != 1;
  x->wide = (int64_t)t->width * set->lanes;
  x->tiles = moon__ceildiv_i64(p->m, t->height);
  x->panels = moon__ceildiv_i64(p->n, x->wide);
}

static void choose_way(const moon_gemm_set *set, const moon_product *p, moon_gemm_tuning *t) {
  bool dense = rows_lie_dense(p);
  if (p->a_column == 1 && p->b_row == 1 && (p->n == 1 || (p->m <= 3 && !dense))) t->way = MOON_GEMM_DOTS;
  else if (p->m <= MOON_GEMM_STREAM_ROWS && dense && p->k > 1) t->way = MOON_GEMM_STREAM;
  /* Rows of b that lie along k are read in place as the rows of the product turned round; a, the smaller, is packed instead. */
  else t->turned = !dense && p->b_row == 1 && p->m < p->n / 2 && p->m <= 4 * set->rows[2];
}

/* ---- Blocks ---- */

/* One more, then half as many more. */
static int64_t next_count(int64_t count, int64_t most) { return moon__min_i64(most, count < 4 ? count + 1 : count + count / 2); }

static void try_blocks(const model *x, moon_gemm_tuning t, double *best, moon_gemm_tuning *found) {
  int64_t most = !x->p.finished ? INT64_MAX : t.turned ? MOON_GEMM_SUM_FLOATS / 2 : MOON_GEMM_SUM_FLOATS;
  for (int64_t tiles = 1;; tiles = next_count(tiles, x->tiles)) {
    for (int64_t panels = 1;; panels = next_count(panels, x->panels)) {
      t.m_block = tiles * t.height;
      t.n_block = panels * x->wide;
      double us = cost_us(x, &t);
      if (t.m_block * t.n_block > most) us *= 1e9;
      if (*best < 0 || us < *best) {
        *best = us;
        *found = t;
      }
      if (panels == x->panels) break;
    }
    if (tiles == x->tiles) break;
  }
}

/* Segments only where k is long for the blocks that there are. */
static void try_segments(const model *x, moon_gemm_tuning t, double *best, moon_gemm_tuning *found) {
  bool can = t.way == MOON_GEMM_TILES && !t.turned && !(x->p.finished && x->p.n > MOON_GEMM_SUM_FLOATS);
  int64_t most = can ? moon__min_i64(64, x->p.k / (2 * t.k_block)) : 1;
  for (t.segments = 1;; t.segments *= 2) {
    try_blocks(x, t, best, found);
    if (2 * t.segments > most) return;
  }
}

/* b is as fast as memory gives it: long runs of it, side by side as far as c stays in the first-level cache, and enough jobs. */
static void choose_stream(const moon_product *p, moon_gemm_tuning *t) {
  int64_t blocks = moon__ceildiv_i64(p->n, STREAM_COLUMNS), k = moon__max_i64(p->k, 1);
  t->n_block = moon__ceildiv_i64(p->n, blocks);
  t->m_block = p->m;
  t->k_block = 8;
  if (p->finished && p->n > MOON_GEMM_SUM_FLOATS) return;
  int64_t bytes = 4 * k * t->n_block, parts = bytes / STREAM_BYTES;
  if (blocks * p->batch * parts < 4) parts = moon__min_i64(4, bytes / LEAST_STREAM_BYTES);
  t->segments = moon__max_i64(1, moon__min_i64(parts, k / t->k_block));
}

/* Jobs take parts of long dots, too. */
static void cut_dots(const moon_product *p, moon_gemm_tuning *t) {
  int64_t parts = 4 * (t->m_block + moon__min_i64(p->n, t->n_block)) * p->k / STREAM_BYTES;
  if (parts < 2 || (p->finished && p->n > MOON_GEMM_SUM_FLOATS)) return;
  t->k_block = 1024;
  t->segments = parts;
}

void moon__gemm_choose(const moon_gemm_set *set, const moon_product *p, moon_gemm_tuning *t) {
  model x = {.set = set, .near_bytes = (double)moon__cache_bytes(2) / 2};
  double best = -1;
  *t = (moon_gemm_tuning){.way = MOON_GEMM_TILES, .segments = 1};
  choose_way(set, p, t);
  x.p = moon__gemm_seen(p, t);
  choose_tiles(&x, t);
  bool few = x.p.m <= set->rows[4]; /* b passes by once, row after row */
  bool small = x.p.m <= MANY_TILES * set->rows[2] && 4 * (double)x.p.n * (double)x.p.k <= 2 * (double)moon__cache_bytes(1);
  bool in_place = t->way != MOON_GEMM_TILES || (rows_lie_dense(&x.p) && (few || small));
  t->k_block = t->way == MOON_GEMM_DOTS ? moon__max_i64(1, x.p.k) : few && in_place ? 16 : depth_of(&x);
  if (t->way == MOON_GEMM_STREAM) {
    choose_stream(&x.p, t);
    return;
  }
  moon_gemm_tuning found = *t;
  if (in_place) {
    try_segments(&x, *t, &best, &found);
  } else {
    t->pack_b = MOON_GEMM_PACK_ONCE;
    try_segments(&x, *t, &best, &found);
    t->pack_b = MOON_GEMM_PACK_JOBS;
    try_segments(&x, *t, &best, &found);
  }
  *t = found;
  if (t->way == MOON_GEMM_DOTS) cut_dots(&x.p, t);
}

/* ---- Numbers from elsewhere ---- */

static int64_t clamp_whole(int64_t count, int64_t unit, int64_t most) {
  int64_t units = moon__ceildiv_i64(moon__max_i64(count, 1), unit);
  return moon__min_i64(units, moon__ceildiv_i64(most, unit)) * unit;
}

bool moon__gemm_fit(const moon_gemm_set *set, const moon_product *product, moon_gemm_tuning *t) {
  moon_product p = moon__gemm_seen(product, t);
  bool dense = rows_lie_dense(&p), tiles = t->way == MOON_GEMM_TILES;
  if (t->width != 1 && t->width != 2 && t->width != 4) return false;
  if (t->turned && !tiles) return false;
  if (t->way == MOON_GEMM_DOTS && (p.a_column != 1 || p.b_row != 1)) return false;
  if (t->way == MOON_GEMM_STREAM && (p.m > MOON_GEMM_STREAM_ROWS || !dense)) return false;
  if (tiles && p.a_row != 1 && p.a_column != 1) t->pack_a = true;
  if (!tiles) t->pack_a = false, t->pack_b = MOON_GEMM_PACK_NEVER;
  else if (!dense && t->pack_b == MOON_GEMM_PACK_NEVER) t->pack_b = MOON_GEMM_PACK_ONCE;
  int64_t wide = (int64_t)t->width * set->lanes, k = moon__max_i64(p.k, 1), most = k;
  if (t->pack_b == MOON_GEMM_PACK_JOBS) most = moon__min_i64(k, MOON_GEMM_PANEL_FLOATS / wide);
  t->height = (int)clamp_whole(t->height, 1, moon__min_i64(p.m, set->rows[t->width]));
  t->m_block = clamp_whole(t->m_block, t->height, p.m);
  t->n_block = clamp_whole(t->n_block, wide, p.n);
  t->k_block = clamp_whole(t->k_block, 1, most);
  t->segments = !tiles || t->turned ? 1 : clamp_whole(t->segments, 1, moon__ceildiv_i64(k, t->k_block));
  return true;
}
