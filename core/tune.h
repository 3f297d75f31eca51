/*
** tune.h: the cost table: what measurements say about choices that a rule of thumb makes poorly. A chooser (in a backend or a pass)
** that can compute a node in several ways asks with a key (op, form, dtype, sizes) and its dials: a few small numbers, each with the
** values worth trying. The answer is the row of the device's target with this key, else the row of the nearest sizes.
**
** Rows come from what backends ship (moon_backend.tuned), from the file "tuned" in the cache folder, which is read before the first
** program of a runtime is compiled and not again, and from moon_tune (tuner.c). Nothing else adds rows, so what is compiled does not
** depend on a clock. Text of a row: target, op, form, dtype, sizes, dials: "cpu_avx512_32K_1024K matmul nn f32 64x512x784 width=4 pack=0".
*/
#ifndef MOON_TUNE_H
#define MOON_TUNE_H
#include "graph/node.h"

enum { MOON_TUNE_DIALS = 6, MOON_TUNE_VALUES = 8, MOON_TUNE_SIZES = 8, MOON_TUNE_WORD = 64 };

/* sizes are 1 or more, in an order that the op's chooser defines; form: one word for what else tells nodes apart. */
typedef struct moon_tune_key {
  moon_op_id op;
  moon_dtype dtype;
  const char *form;
  int nsizes;
  int64_t size[MOON_TUNE_SIZES];
} moon_tune_key;

typedef struct moon_dial {
  const char *name;
  int nvalues;
  int32_t value[MOON_TUNE_VALUES];
} moon_dial;

/* Before a program is compiled: the table is read if it was not. Fails: MOON_EMEMORY. */
moon_status moon__tune_load(moon_context *ctx);
void moon__tune_free(moon_runtime *runtime);
/* Replaces value [ndials], which holds what the chooser takes by itself, by what the table says: values of the dials, or value itself.
** Gives words for moon_choice.tuned, which live as long as the runtime; NULL: the table says nothing. */
const char *moon__tune_ask(moon_context *ctx, const moon_device *device, const moon_tune_key *key, int ndials, const moon_dial *dial,
                           int32_t *value);

/* ---- For the tuner ---- */
typedef struct moon_question {
  moon_tune_key key;
  int ndials;
  moon_dial dial[MOON_TUNE_DIALS];
  int32_t value[MOON_TUNE_DIALS]; /* the answer it got first */
  int32_t own[MOON_TUNE_DIALS];   /* what the chooser would take without a table */
} moon_question;
enum { MOON_TRIAL_QUESTIONS = 4 };
/* While a context has one, the questions of its compiles are noted, that of `answer` gets its values, and rows on trial count. */
typedef struct moon_trial {
  int nasked;
  moon_question asked[MOON_TRIAL_QUESTIONS];
  const moon_question *answer; /* NULL: the table answers all */
} moon_trial;

bool moon__tune_same(const moon_tune_key *a, const moon_tune_key *b);
/* Puts the question's values on trial as the row of its key. Gives the row's text, NULL with an error. */
const char *moon__tune_set(moon_context *ctx, const moon_device *device, const moon_question *q);
/* Ends the trial of this context's rows: they are the rows of their keys in this process from now on, or never were. */
void moon__tune_settle(moon_context *ctx, bool keep);
/* Writes the rows of the file and those set here to the file. False: there is no folder, or it cannot be written. */
bool moon__tune_save(moon_context *ctx);
/* Rows in text [bytes]: the rows alone, or (whole) those of a file. Adds them to the table, or none of them when anything is
** malformed: false. *memory: for want of memory. */
bool moon__tune_read(moon_runtime *runtime, const char *text, size_t bytes, bool whole, bool *memory);
#endif
