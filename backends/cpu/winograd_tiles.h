/*
** winograd_tiles.h: where the tiles of Winograd convolution lie in images: the grid is that of the target, m x m places a tile; each
** tile's source is the n x n places that these see. What lies outside reads from zeros, or is written to a place nobody reads.
*/
#ifndef MOON_WINOGRAD_TILES_H
#define MOON_WINOGRAD_TILES_H
#include "graph/node.h"
#include "ops/attrs.h"
#include "winograd.h"

typedef struct moon_winograd_tiles {
  int size;                 /* of a tile, along both axes */
  int step;                 /* from tile to tile: m */
  int64_t start[2];         /* of the first tile */
  int64_t image[2];         /* rows and places of an image */
  int64_t channels, wide;   /* of them `wide` are transformed */
  int64_t rows, columns, count; /* tiles: down an image, along it, of all images */
} moon_winograd_tiles;

/* Is it a 3x3 convolution of f32 over two axes that the kernels take, on this machine? */
bool moon__winograd_fits(const moon_node *node, const moon_geometry *g);
/* Tiles of m x m places of the target, and of what they see of the source; backward: from dy to x. */
void moon__winograd_tiles_of(const moon_geometry *g, int m, bool backward, moon_winograd_tiles *source, moon_winograd_tiles *target);
/* Tiles [from, to) of x, transformed by fn: tile by tile one row of channels at each of the positions, `step` apart in out. zeros
** has all channels. */
void moon__winograd_gather(const moon_winograd_tiles *s, moon_winograd_fn fn, int positions, const float *x, const float *zeros,
                           float *out, int64_t step, int64_t from, int64_t to);
/* So many tiles of a block are transformed by one job, of `channels` in all. */
int64_t moon__winograd_grain(int64_t block, int64_t channels);
/* Pointers to the places of tile t, row by row, channel 0. */
void moon__winograd_targets(const moon_winograd_tiles *s, int64_t t, float *y, float *unused, float **at);
#endif
