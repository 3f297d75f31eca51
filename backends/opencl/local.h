/*
** local.h: products for GPUs: blocks of 64 x 64 of the result, 16 terms at a time in local memory, 4 x 4 numbers a work-item of a
** group of 16 x 16. matmul.c and conv_local.c say what the terms are.
*/
#ifndef MOON_CL_LOCAL_H
#define MOON_CL_LOCAL_H
#include "base/size.h"
#include "family.h"

/* Inside a kernel that MOON_CL_LOCAL_KERNEL begins. rows, columns, terms: words of the text. A_PLACE names which of 64 x 16 numbers of
** the left operand number e of a work-group is: `ai`, `ak`; A_LOAD gives number (row, term) of it to `value`, q telling which of the
** work-item's four it is. B likewise: `bj`, `bk`, (term, column). Y(row, column): where a result goes. */
#define MOON_CL_LOCAL_KERNEL __kernel __attribute__((reqd_work_group_size(16, 16, 1)))
#define MOON_CL_LOCAL_IDS                                                                              \
  const int tx = get_local_id(0); const int ty = get_local_id(1); const int id = ty * 16 + tx;          \
  const long row0 = get_group_id(1) * 64; const long column0 = get_group_id(0) * 64;
#define MOON_CL_LOCAL_PRODUCT(A_PLACE, A_LOAD, B_PLACE, B_LOAD, Y)                                     \
  __local float as[16][64]; __local float bs[16][64];                                                  \
  const int bad = STATUS[0]; /* every work-item reaches the barriers */                                \
  float sum[4][4];                                                                                     \
  for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) sum[i][j] = 0;                               \
  for (long at = 0; at < (bad ? 0 : terms); at += 16) {                                                \
    for (int q = 0; q < 4; q++) {                                                                      \
      const int e = id + 256 * q;                                                                      \
      { A_PLACE const long row = row0 + ai; const long term = at + ak; float value = 0;                \
        if (row < rows && term < terms) { A_LOAD }                                                     \
        as[ak][ai] = value; }                                                                          \
      { B_PLACE const long column = column0 + bj; const long term = at + bk; float value = 0;          \
        if (column < columns && term < terms) { B_LOAD }                                               \
        bs[bk][bj] = value; }                                                                          \
    }                                                                                                  \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                      \
    for (int t = 0; t < 16; t++)                                                                       \
      for (int i = 0; i < 4; i++)                                                                      \
        for (int j = 0; j < 4; j++) sum[i][j] = fma(as[t][ty + 16 * i], bs[t][tx + 16 * j], sum[i][j]); \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                      \
  }                                                                                                    \
  if (bad) return;                                                                                     \
  for (int i = 0; i < 4; i++)                                                                          \
    for (int j = 0; j < 4; j++) {                                                                      \
      const long row = row0 + ty + 16 * i; const long column = column0 + tx + 16 * j;                  \
      if (row < rows && column < columns) Y = sum[i][j];                                               \
    }
/* Neighbours take neighbouring terms, or rows (of the right operand: columns). */
#define MOON_CL_A_TERMS const int ai = e / 16; const int ak = e % 16;
#define MOON_CL_B_TERMS const int bj = e / 16; const int bk = e % 16;
#define MOON_CL_B_COLUMNS const int bj = e % 64; const int bk = e / 64;

/* Adds the step of such a text, of operands 0, 1 and 2, all f32. */
static inline bool moon__cl_add_local(moon_cl_choice *c, const char *text, const int64_t *p, int n, int64_t rows, int64_t columns,
                                      int64_t batch) {
  static const int operands[3] = {0, 1, 2};
  const moon_dtype types[3] = {MOON_DTYPE_f32, MOON_DTYPE_f32, MOON_DTYPE_f32};
  moon_cl_step_spec s = {.noperands = 3, .operands = operands, .nparams = n, .params = p, .local = {16, 16, 1}};
  s.global[0] = (size_t)(moon__ceildiv_i64(columns, 64) * 16);
  s.global[1] = (size_t)(moon__ceildiv_i64(rows, 64) * 16);
  s.global[2] = (size_t)batch;
  return moon__cl_add_spec(c, text, types, &s);
}
#endif
