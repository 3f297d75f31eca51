/*
** attrs.h: the attribute structs of structured and composite ops, one a family, because kernels, gradient rules and passes read
** them. The rows that describe them (names, defaults) stand in the op's own file. Every struct is plain bytes; unused members 0.
** The comment beside each struct names its ops with inputs -> outputs; n h w c, b t d, m k n as in the field.
*/
#ifndef MOON_ATTRS_H
#define MOON_ATTRS_H
#include "ops/op.h"

/* ---- leaf.c: input, constant, variable (no attrs; node->name, ->variable, outputs[0].tensor) ----
** assign (x) -> x, EFFECT, node->variable. depend (x, effects...) -> x. stop_gradient (x) -> x.
** mode (train, infer) -> the side compiled for. call (x...) -> outputs of graphs[0]; graphs[1], when there, is the gradient:
** inputs x..., y..., dy... -> dx.... copy (x) -> dense copy, INTERNAL. cast (x): moon_cast_attrs. */
typedef struct moon_cast_attrs { int32_t dtype; } moon_cast_attrs;

/* ---- movement.c ---- */
/* reshape (x): may hold one -1 before infer. broadcast_to (x). Views. full () with value and dtype; size () -> rank 0. */
typedef struct moon_shape_attrs { moon_shape shape; } moon_shape_attrs;
typedef struct moon_full_attrs { moon_shape shape; double value; int32_t dtype; } moon_full_attrs; /* full; zeros, ones (inline) */
typedef struct moon_size_attrs { moon_dim size; int32_t dtype; } moon_size_attrs;                  /* size () -> rank 0 */
/* transpose (x): perm empty = reverse. View. flip (x): axes. View. squeeze, expand_dims (x): inline. */
typedef struct moon_axes_only_attrs { moon_ints axes; } moon_axes_only_attrs;
/* pad (x): lo, hi [ndim] >= 0; mode constant|reflect|edge. unpad (dy): the adjoint, for reflect and edge. */
typedef enum moon_pad_mode { MOON_PAD_CONSTANT, MOON_PAD_REFLECT, MOON_PAD_EDGE } moon_pad_mode;
typedef struct moon_pad_attrs { moon_ints lo, hi; int32_t mode; double value; } moon_pad_attrs;
/* slice (x): per axis first (0-based, known or symbolic), size, step != 0; view. unslice (dy) -> shape, zeros elsewhere. */
typedef struct moon_slice_attrs { moon_shape first, size; moon_ints step; } moon_slice_attrs;
typedef struct moon_unslice_attrs { moon_shape shape, first; moon_ints step; } moon_unslice_attrs;
/* concat (x...) axis. stack (x...) axis: inline. split (x) -> parts: axis, sizes (n = 1 entry k with parts > 1 means equal
** parts: sizes.n == 0 and parts given). tile (x) reps: inline. */
typedef struct moon_axis_attrs { int64_t axis; } moon_axis_attrs;
typedef struct moon_split_attrs { int64_t parts; int64_t axis; moon_ints sizes; } moon_split_attrs;
typedef struct moon_tile_attrs { moon_ints reps; } moon_tile_attrs;

/* ---- reduce.c: sum, mean, prod, max, min, any, all (structured); logsumexp, var, std (composite or inline); axes empty = all.
** mean is structured. argmax, argmin (x) -> i64: axis. cumsum (x): axis, exclusive, reverse. ---- */
typedef struct moon_reduce_attrs { moon_ints axes; bool keepdims; } moon_reduce_attrs;
typedef struct moon_arg_attrs { int64_t axis; bool keepdims; } moon_arg_attrs;
typedef struct moon_cumsum_attrs { int64_t axis; bool exclusive, reverse; } moon_cumsum_attrs;

/* ---- matmul.c: matmul (a [.., m, k], b [.., k, n]) -> [.., m, n]; batch dims broadcast by the builder hook; rank 1 as NumPy.
** einsum (x...) equation: not a node, see moon__einsum. ---- */

/* ---- conv.c: conv (x [n, s.., c], w [k.., c/groups, f]) -> [n, o.., f]; 1 to 3 spatial axes.
** conv_input_grad (dy, w) -> x of input shape; conv_filter_grad (x, dy) -> w of filter shape; conv_transpose (x, w [k.., f, c]):
** inline over conv_input_grad. The lists hold one entry a spatial axis; empty = 1 (strides, dilation) or 0 (pads). ---- */
typedef enum moon_padding { MOON_PADDING_EXPLICIT, MOON_PADDING_VALID, MOON_PADDING_SAME } moon_padding;
typedef struct moon_conv_attrs {
  moon_ints strides;
  int32_t padding; /* moon_padding; explicit|valid|same, explicit uses the lists */
  moon_ints pad_lo, pad_hi, dilation;
  int64_t groups;
  moon_shape shape;         /* conv_input_grad: shape of x; conv_filter_grad: shape of w; else unused */
  moon_ints output_padding; /* conv_transpose */
} moon_conv_attrs;
/* winograd.c: winograd_filter (w): tile 2 or 4; turned: for the gradient by x; fresh: made anew in each run. winograd_conv (x, w, u),
** winograd_input_grad (dy, w, u), winograd_filter_grad (x, dy): moon_conv_attrs. */
typedef struct moon_winograd_attrs { int64_t tile; bool turned, fresh; } moon_winograd_attrs;

/* ---- pool.c: max_pool (x [n, s.., c]) -> y, index (i32: position in the flattened spatial axes); max_pool_grad (index, dy) -> x
** of shape; max_pool_pick (index, x) -> y: the adjoint of that. avg_pool (x): padding is not counted; avg_pool_grad (dy). ---- */
typedef struct moon_pool_attrs {
  moon_ints window, strides; /* strides empty = window */
  int32_t padding;
  moon_ints pad_lo, pad_hi;
  moon_shape shape; /* *_grad: shape of x */
} moon_pool_attrs;

/* ---- gather.c: gather (x, index) axis, NumPy's take; scatter_add (x, index, updates) axis: its adjoint added to x.
** take_along_axis (x, index) axis; put_along_axis_add (x, index, updates) axis. one_hot (index) depth, dtype. embedding: inline gather. */
typedef struct moon_one_hot_attrs { int64_t depth; int32_t dtype; } moon_one_hot_attrs;
/* sort.c: sort (x) -> values, index (i64): axis, descending. topk (x) -> values, index: k, along the last axis. argsort inline. */
typedef struct moon_sort_attrs { int64_t axis; bool descending; } moon_sort_attrs;
typedef struct moon_topk_attrs { int64_t k; } moon_topk_attrs;

/* ---- random.c: uniform (lo, hi), normal (mean, std), bernoulli (p), integers (lo, hi exclusive), permutation (n).
** stream 0 means "give me the next" and is set when built. Same struct for all. */
typedef struct moon_random_attrs { int64_t stream; moon_shape shape; double a, b; int32_t dtype; } moon_random_attrs;
/* create.c: arange (start, stop, step), linspace (start, stop, n), eye (n, m, k). */
typedef struct moon_range_attrs { double start, stop, step; int64_t n; int32_t dtype; } moon_range_attrs;
typedef struct moon_eye_attrs { int64_t n, m, k; int32_t dtype; } moon_eye_attrs;

/* ---- control.c: scan (carry..., xs..., captures...) graphs[0]: (carry..., x..., captures...) -> (carry..., y...); outputs: last
** carries, then ys stacked on a new axis 0. xs are scanned along axis 0. cond (p, x...) graphs then, else: (x...) -> outputs.
** while_loop (carry..., captures...) graphs[0] condition -> bool rank 0, graphs[1] body -> carry.... ---- */
typedef struct moon_scan_attrs { int64_t ncarry, nxs; moon_dim length; bool reverse; } moon_scan_attrs;
typedef struct moon_while_attrs { int64_t ncarry; } moon_while_attrs;

/* ---- composites: softmax, log_softmax (x) axis: moon_axis_attrs, default -1. ---- */
typedef struct moon_alpha_attrs { double alpha; } moon_alpha_attrs;             /* leaky_relu 0.3, elu 1.0 */
typedef struct moon_gelu_attrs { bool approximate; } moon_gelu_attrs;           /* gelu, default exact (erf) */
typedef struct moon_norm_attrs { moon_ints axes; double epsilon; } moon_norm_attrs; /* layer_norm, rms_norm: default axes { -1 } */
typedef struct moon_batch_norm_attrs { int64_t axis; double epsilon; } moon_batch_norm_attrs; /* batch_norm_*, batch_*; -1, 1e-3 */
typedef struct moon_attention_attrs { double scale; bool causal; } moon_attention_attrs; /* scale 0: 1/sqrt(d) */
typedef struct moon_clip_attrs { double lo, hi; } moon_clip_attrs;
/* lstm_cell (x [b, d], h [b, u], c [b, u], kernel [d, 4u], recurrent [u, 4u], bias [4u]) -> h, c; gates in Keras's order i f g o.
** gru_cell (x, h, kernel [d, 3u], recurrent [u, 3u], bias [3u], recurrent_bias [3u]) -> h; gates z r h, reset after. */
/* lstm, gru and their sequences: steps are taken from the last to the first; y stands where x stood. */
typedef struct moon_sequence_attrs { bool go_backwards; } moon_sequence_attrs;
/* losses (y, t): one number an example; last axis reduced. from_logits: y are logits. */
typedef struct moon_loss_attrs { bool from_logits; double delta; } moon_loss_attrs; /* delta: huber */
/* sgd_update (w, g, m, lr) -> w, m; adam_update (w, g, m, v, lr, t) -> w, m, v with t the step from 1 (rank 0 f32);
** rmsprop_update (w, g, v, m, lr) -> w, v, m. Epsilon outside the root in adam, inside in rmsprop, as Keras. */
typedef struct moon_sgd_attrs { double momentum; bool nesterov; } moon_sgd_attrs;
typedef struct moon_adam_attrs { double beta_1, beta_2, epsilon, weight_decay; } moon_adam_attrs;
typedef struct moon_rmsprop_attrs { double rho, momentum, epsilon; } moon_rmsprop_attrs;

/* What convolution and pooling come to once sizes are known, for kernels: always three spatial axes (leading ones of size 1). */
typedef struct moon_geometry {
  int64_t batch, groups, c_in, c_out; /* c_in, c_out: all channels; a pool has c_in == c_out */
  int64_t in[3], out[3], window[3], stride[3], dilation[3], pad_lo[3];
} moon_geometry;
/* For conv, conv_input_grad, conv_filter_grad (x, w, y by role) and for pool ops. Shapes must be known. */
moon_geometry moon__conv_geometry(const struct moon_node *node);
moon_geometry moon__pool_geometry(const struct moon_node *node);
/* Does each place of the result see the same place of the input, and nothing else? */
bool moon__conv_is_pointwise(const moon_geometry *g);
double moon__conv_flops(const struct moon_node *node); /* by the direct sum */
#endif
