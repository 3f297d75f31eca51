/*
** window.c: sliding windows over spatial axes: attribute lists, output sizes, padding. Convolution and pooling add channels and
** their own checks. After moon__window_complete every list has one entry a spatial axis, all within 32 bits, so that products of
** two of them fit.
*/
#include "ops/window.h"

#include "base/error.h"
#include "base/shape.h"
#include "base/size.h"
#include "ops/rule.h"

moon_status moon__window_list(moon_context *ctx, const char *who, const char *name, moon_ints *list, int n, int64_t missing,
                              int64_t least) {
  if (list->n != 0 && list->n != 1 && list->n != n)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: %s needs 1 or %d entries, one a spatial axis, got %d", who, name, n, (int)list->n);
  int64_t fill = list->n ? list->v[0] : missing;
  for (int i = list->n > 1 ? n : 0; i < n; i++) list->v[i] = fill;
  for (int i = n; i < MOON_MAX_DIMS; i++) list->v[i] = 0;
  list->n = n;
  for (int i = 0; i < n; i++) {
    if (list->v[i] < least || list->v[i] > INT32_MAX)
      return moon__fail(ctx, MOON_EARGUMENT, "%s: %s must be at least %lld, got %lld", who, name, (long long)least,
                        (long long)list->v[i]);
  }
  return MOON_OK;
}

static moon_status check_pads(moon_context *ctx, const moon_windows *w) {
  if (w->padding < MOON_PADDING_EXPLICIT || w->padding > MOON_PADDING_SAME)
    return moon__fail(ctx, MOON_EARGUMENT, "%s: padding must be explicit, valid or same", w->who);
  for (int i = 0; i < w->naxes; i++) {
    if (w->padding != MOON_PADDING_EXPLICIT && (w->pad_lo->v[i] || w->pad_hi->v[i]))
      return moon__fail(ctx, MOON_EARGUMENT, "%s: pad_lo and pad_hi go with padding explicit, not with %s", w->who,
                        w->padding == MOON_PADDING_SAME ? "same" : "valid");
  }
  return MOON_OK;
}

moon_status moon__window_complete(moon_context *ctx, moon_windows *w, int64_t stride) {
  moon_status s = MOON_OK;
  if (stride == 0 && w->strides->n == 0) *w->strides = *w->window;
  if ((s = moon__window_list(ctx, w->who, "strides", w->strides, w->naxes, stride, 1)) != MOON_OK) return s;
  if ((s = moon__window_list(ctx, w->who, "pad_lo", w->pad_lo, w->naxes, 0, 0)) != MOON_OK) return s;
  if ((s = moon__window_list(ctx, w->who, "pad_hi", w->pad_hi, w->naxes, 0, 0)) != MOON_OK) return s;
  if (w->dilation && (s = moon__window_list(ctx, w->who, "dilation", w->dilation, w->naxes, 1, 1)) != MOON_OK) return s;
  return check_pads(ctx, w);
}

/* Entries are below 2^31, so this cannot overflow. */
static int64_t reach(const moon_windows *w, int i) { return (w->window->v[i] - 1) * (w->dilation ? w->dilation->v[i] : 1) + 1; }

static moon_dim fail_too_large(moon_context *ctx, const moon_windows *w, int i) {
  moon__fail(ctx, MOON_ESHAPE, "%s: the window spans %lld along axis %lld, more than the padded input: x %s", w->who,
             (long long)reach(w, i), moon__rule_axis_shown(ctx, i + 1), moon__rule_text(ctx, w->x).s);
  return MOON_DIM_ERROR;
}

moon_dim moon__window_out(moon_context *ctx, const moon_windows *w, int i) {
  moon_dim n = w->x->dim[i + 1];
  if (w->padding == MOON_PADDING_SAME) return moon__dim_ceildiv(ctx, n, w->strides->v[i]);
  int64_t extra = w->pad_lo->v[i] + w->pad_hi->v[i] - reach(w, i);
  int64_t room = 0;
  if (moon__dim_known(n) && (!moon__add_i64(n, extra, &room) || room < 0)) return fail_too_large(ctx, w, i);
  moon_dim span = extra >= 0 ? moon_dim_add(ctx, n, extra) : moon_dim_sub(ctx, n, -extra);
  if (span == MOON_DIM_ERROR) return span;
  return moon_dim_add(ctx, moon_dim_floordiv(ctx, span, w->strides->v[i]), 1);
}

void moon__window_geometry(const moon_windows *w, const moon_shape *y, moon_geometry *g) {
  int skip = MOON_MAX_SPATIAL - w->naxes;
  for (int i = 0; i < skip; i++) {
    g->in[i] = g->out[i] = g->window[i] = g->stride[i] = g->dilation[i] = 1;
    g->pad_lo[i] = 0;
  }
  for (int i = 0; i < w->naxes; i++) {
    int k = skip + i;
    int64_t total = 0;
    g->in[k] = w->x->dim[i + 1];
    g->out[k] = y->dim[i + 1];
    g->window[k] = w->window->v[i];
    g->stride[k] = w->strides->v[i];
    g->dilation[k] = w->dilation ? w->dilation->v[i] : 1;
    if (w->padding == MOON_PADDING_SAME) total = moon__max_i64((g->out[k] - 1) * g->stride[k] + reach(w, i) - g->in[k], 0);
    g->pad_lo[k] = w->padding == MOON_PADDING_SAME ? total / 2 : w->pad_lo->v[i];
  }
}
