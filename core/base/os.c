/*
** os.c: every call to the operating system. This is the Linux version: POSIX, futex, MADV_WIPEONFORK. Signals, locale, FP mode and
** working directory of the process are never changed; worker threads start with all signals blocked, so the host keeps its own.
*/
#define _GNU_SOURCE
#include "base/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define YIELDING_NICE 10

/* ---- threads ---- */

struct moon_mutex { pthread_mutex_t mutex; };
size_t moon__mutex_bytes(void) { return sizeof(moon_mutex); }
bool moon__mutex_init(moon_mutex *m) { return pthread_mutex_init(&m->mutex, NULL) == 0; }
void moon__mutex_destroy(moon_mutex *m) { pthread_mutex_destroy(&m->mutex); }
void moon__mutex_lock(moon_mutex *m) { pthread_mutex_lock(&m->mutex); }
void moon__mutex_unlock(moon_mutex *m) { pthread_mutex_unlock(&m->mutex); }

struct moon_thread {
  pthread_t thread;
  void (*body)(void *arg);
  void *arg;
};
size_t moon__thread_bytes(void) { return sizeof(moon_thread); }

static void *thread_main(void *p) {
  moon_thread *t = p;
  t->body(t->arg);
  return NULL;
}

bool moon__thread_start(moon_thread *t, void (*body)(void *arg), void *arg) {
  sigset_t all, before;
  int failed;
  t->body = body;
  t->arg = arg;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  failed = pthread_create(&t->thread, NULL, thread_main, t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return !failed;
}

void moon__thread_join(moon_thread *t) { pthread_join(t->thread, NULL); }

/* On Linux a thread has a niceness of its own. */
void moon__thread_yields(void) { setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), YIELDING_NICE); }

/* The futex sleeps on a count of wakes of its own: a wake between the look at *word and the sleep changes it. */
struct moon_signal { _Atomic uint32_t wakes; };
size_t moon__signal_bytes(void) { return sizeof(moon_signal); }
bool moon__signal_init(moon_signal *s) {
  atomic_init(&s->wakes, 0);
  return true;
}
void moon__signal_destroy(moon_signal *s) { (void)s; }

void moon__signal_wait(moon_signal *s, const _Atomic uint32_t *word, uint32_t seen) {
  for (;;) {
    uint32_t wakes = atomic_load(&s->wakes);
    if (atomic_load(word) != seen) return;
    syscall(SYS_futex, &s->wakes, FUTEX_WAIT_PRIVATE, wakes, NULL, NULL, 0);
  }
}

void moon__signal_wake_all(moon_signal *s) {
  atomic_fetch_add(&s->wakes, 1);
  syscall(SYS_futex, &s->wakes, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void moon__pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), since Linux 5.16: the numbers are the kernel's. */
bool moon__matrix_unit_allow(void) {
#if defined(SYS_arch_prctl)
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return false;
#endif
}

_Atomic uint32_t *moon__fork_word_new(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (madvise(p, page, MADV_WIPEONFORK) != 0) {
    munmap(p, page);
    return NULL;
  }
  return p;
}

void moon__fork_word_free(_Atomic uint32_t *word) {
  if (word) munmap((void *)word, (size_t)sysconf(_SC_PAGESIZE));
}

void moon__large_pages(void *block, size_t bytes) { madvise(block, bytes & ~(MOON_LARGE_PAGE - 1), MADV_HUGEPAGE); }

/* ---- machine ---- */

int moon__cpu_count(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return n < 1 ? 1 : n;
}

int64_t moon__cache_bytes(int level) {
  long bytes = -1;
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
  bytes = sysconf(level == 1 ? _SC_LEVEL1_DCACHE_SIZE : _SC_LEVEL2_CACHE_SIZE);
#endif
  return bytes > 0 ? bytes : level == 1 ? 32 << 10 : 512 << 10;
}

double moon__clock_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

uint64_t moon__process_id(void) { return (uint64_t)getpid(); }

const char *moon__env(const char *name) {
  const char *text = getenv(name);
  return text && *text ? text : NULL;
}

void *moon__library_open(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
void *moon__library_symbol(void *library, const char *name) { return dlsym(library, name); }

bool moon__library_path(const void *address, char *path, size_t path_bytes) {
  Dl_info info;
  size_t n;
  if (!dladdr(address, &info) || !info.dli_fname) return false;
  n = strlen(info.dli_fname);
  if (n + 1 > path_bytes) return false;
  memcpy(path, info.dli_fname, n + 1);
  return true;
}

bool moon__file_exists(const char *path) { return access(path, R_OK) == 0; }

bool moon__terminal_is(int descriptor) { return isatty(descriptor) == 1; }

int moon__terminal_width(void) {
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

const char *moon__os_error(int code, char *buf, size_t buf_bytes) {
  return code == -1 ? "out of memory" : strerror_r(code, buf, buf_bytes);
}

/* ---- files ---- */

static int open_retry(const char *path, int flags, mode_t mode) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

/* Reads up to size bytes; *got tells how many there were. */
static int read_all(int fd, char *data, size_t size, size_t *got) {
  *got = 0;
  while (*got < size) {
    ssize_t n = read(fd, data + *got, size - *got < (1u << 30) ? size - *got : (1u << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    *got += (size_t)n;
  }
  return 0;
}

static int read_regular(int fd, void *(*alloc)(void *, size_t), void *user, void **data, size_t *bytes) {
  struct stat st;
  if (fstat(fd, &st) != 0) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (!S_ISREG(st.st_mode)) return EINVAL;
  if (st.st_size < 0 || (uint64_t)st.st_size >= PTRDIFF_MAX) return EFBIG;
  *data = alloc(user, (size_t)st.st_size + 1);
  if (!*data) return -1;
  return read_all(fd, *data, (size_t)st.st_size, bytes);
}

int moon__file_read(const char *path, void *(*alloc)(void *user, size_t bytes), void *user, void **data, size_t *bytes) {
  int fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0), code;
  *data = NULL;
  *bytes = 0;
  if (fd < 0) return errno;
  code = read_regular(fd, alloc, user, data, bytes);
  close(fd);
  return code;
}

static int write_all(int fd, const char *data, size_t bytes) {
  while (bytes > 0) {
    ssize_t n = write(fd, data, bytes < (1u << 30) ? bytes : (1u << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    bytes -= (size_t)n;
  }
  while (fsync(fd) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

/* Opens a new file beside path; its name is left in temp. */
static int open_temporary(const char *path, char *temp, size_t temp_bytes, size_t folder_bytes, int *fd) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  for (unsigned attempt = 0; attempt < 100; attempt++) {
    int n = snprintf(temp, temp_bytes, "%.*s.moonlet-%ld-%lx-%u.tmp", (int)folder_bytes, path, (long)getpid(),
                     (unsigned long)now.tv_nsec, attempt);
    if (n < 0 || (size_t)n >= temp_bytes) return ENAMETOOLONG;
    *fd = open_retry(temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (*fd >= 0) return 0;
    if (errno != EEXIST) return errno;
  }
  return EEXIST;
}

static int sync_folder(const char *path, size_t folder_bytes) {
  char folder[PATH_MAX];
  int fd, code = 0;
  snprintf(folder, sizeof folder, "%.*s", (int)folder_bytes, path);
  fd = open_retry(folder_bytes ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return 0; /* a folder that may be written but not read: the file itself is safe */
  if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) code = errno;
  close(fd);
  return code;
}

int moon__file_replace(const char *path, const void *data, size_t bytes) {
  char temp[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t folder_bytes = slash ? (size_t)(slash - path) + 1 : 0;
  struct stat old;
  int fd, code;
  if (folder_bytes >= PATH_MAX) return ENAMETOOLONG;
  if (!path[folder_bytes]) return EISDIR;
  code = open_temporary(path, temp, sizeof temp, folder_bytes, &fd);
  if (code) return code;
  if (stat(path, &old) == 0 && S_ISREG(old.st_mode)) (void)!fchmod(fd, old.st_mode & 0777);
  code = write_all(fd, data, bytes);
  if (close(fd) != 0 && !code && errno != EINTR) code = errno;
  if (!code && rename(temp, path) != 0) code = errno;
  if (code) unlink(temp);
  return code ? code : sync_folder(path, folder_bytes);
}

int moon__folder_make(const char *path) {
  char part[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof part) return n ? ENAMETOOLONG : ENOENT;
  for (size_t i = 1; i <= n; i++) {
    if (path[i] != '/' && path[i] != '\0') continue;
    memcpy(part, path, i);
    part[i] = '\0';
    if (mkdir(part, 0700) != 0 && errno != EEXIST && errno != EISDIR) return errno;
  }
  return 0;
}
