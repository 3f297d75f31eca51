/*
** os.h: every call to the operating system that the core needs: threads, clock, files, dynamic libraries. Linux is tested;
** a port changes os.c alone.
*/
#ifndef MOON_OS_H
#define MOON_OS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct moon_mutex moon_mutex;
typedef struct moon_thread moon_thread;
typedef struct moon_signal moon_signal; /* a counter that threads sleep on (futex or condition variable) */

/* Memory for these comes from the caller's functions so that the runtime's allocator counts it. */
size_t moon__mutex_bytes(void);
bool moon__mutex_init(moon_mutex *m);
void moon__mutex_destroy(moon_mutex *m);
void moon__mutex_lock(moon_mutex *m);
void moon__mutex_unlock(moon_mutex *m);

size_t moon__thread_bytes(void);
bool moon__thread_start(moon_thread *t, void (*body)(void *arg), void *arg);
void moon__thread_join(moon_thread *t);
void moon__thread_yields(void); /* the calling thread gets less time than others from now on */
size_t moon__signal_bytes(void);
bool moon__signal_init(moon_signal *s);
void moon__signal_destroy(moon_signal *s);
/* Sleeps while *word == seen; wakes are sent after *word changed. */
void moon__signal_wait(moon_signal *s, const _Atomic uint32_t *word, uint32_t seen);
void moon__signal_wake_all(moon_signal *s);

/* Wishes that the whole large pages of a block, which begins at a multiple of MOON_LARGE_PAGE and was not touched yet, be that. */
#define MOON_LARGE_PAGE ((size_t)2 << 20)
void moon__large_pages(void *block, size_t bytes);

int moon__cpu_count(void);      /* cores this process may use */
int64_t moon__cache_bytes(int level); /* of a core's first (data) or second level; a usual size where the system does not tell */
double moon__clock_us(void);    /* monotonic */
uint64_t moon__process_id(void);

/* A word that is 0 in a new process: whoever finds 0 was forked (or is first). NULL: not offered here, compare process ids. */
_Atomic uint32_t *moon__fork_word_new(void);
void moon__fork_word_free(_Atomic uint32_t *word);
void moon__pause(void); /* one turn of a spin loop */
/* Asks the system that this process may use the processor's matrix unit (AMX), which has registers of its own to save; asking again
** is fine. False: it may not, or there is no such question. */
bool moon__matrix_unit_allow(void);

/* Whole files. Data comes from alloc(user, bytes); errors are returned as errno values (0: fine), -1: allocation failed.
** The caller frees *data in every case; one zero byte follows the data. */
int moon__file_read(const char *path, void *(*alloc)(void *user, size_t bytes), void *user, void **data, size_t *bytes);
/* Temporary in the same folder, write, fsync, rename, fsync of the folder. */
int moon__file_replace(const char *path, const void *data, size_t bytes);
/* Makes a folder, and those it lies in, readable by its owner alone; one that is there is fine. 0 or an errno value. */
int moon__folder_make(const char *path);
const char *moon__os_error(int code, char *buf, size_t buf_bytes);

void *moon__library_open(const char *name);
void *moon__library_symbol(void *library, const char *name);
const char *moon__env(const char *name); /* "" counts as not set: NULL */
/* The file that holds the code or constant at address: the library's own path. False: not known, or path is too short. */
bool moon__library_path(const void *address, char *path, size_t path_bytes);
bool moon__file_exists(const char *path); /* and can be read */

bool moon__terminal_is(int descriptor);
int moon__terminal_width(void); /* columns of standard output; 80 when it is no terminal */
#endif
