/*
** pty.c: runs a program on a terminal of its own and talks to it, for what programs do only there (history, completion):
** `pty PROGRAM EXPECT SEND EXPECT SEND ...` waits until what the program has written since the last SEND holds EXPECT, then types
** SEND; then waits for the end. Prints all that was written.
*/
#define _XOPEN_SOURCE 600
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 1 << 16, PATIENCE_MS = 60000, TURN_MS = 5 };

typedef struct terminal {
  int fd;
  pid_t program;
  char output[OUTPUT_BYTES];
  size_t n, sent; /* bytes of output, and how many there were at the last SEND */
} terminal;

static int start(terminal *t, char *program) {
  char *const argv[] = {program, NULL};
  t->fd = posix_openpt(O_RDWR | O_NOCTTY);
  if (t->fd < 0 || grantpt(t->fd) != 0 || unlockpt(t->fd) != 0) return 1;
  t->program = fork();
  if (t->program < 0) return 1;
  if (t->program > 0) return 0;
  setsid(); /* the first terminal opened from here on is the one that controls the program */
  int slave = open(ptsname(t->fd), O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(slave, fd);
  close(t->fd);
  execv(program, argv);
  _exit(127);
}

/* Reads what there is. 0: the program closed its end, or wrote nothing for too long. */
static int listen_on(terminal *t) {
  struct pollfd ready = {.fd = t->fd, .events = POLLIN};
  ssize_t got;
  if (poll(&ready, 1, PATIENCE_MS) <= 0) return 0;
  got = read(t->fd, t->output + t->n, OUTPUT_BYTES - 1 - t->n);
  if (got <= 0) return 0;
  t->n += (size_t)got;
  t->output[t->n] = '\0';
  return 1;
}

/* Types when the program takes keys one by one: what comes before that, the terminal would keep for a whole line. */
static int say(terminal *t, const char *text) {
  struct termios mode;
  for (int ms = 0; tcgetattr(t->fd, &mode) == 0 && (mode.c_lflag & ICANON); ms += TURN_MS) {
    if (ms > PATIENCE_MS) return 0;
    poll(NULL, 0, TURN_MS);
  }
  t->sent = t->n;
  return write(t->fd, text, strlen(text)) == (ssize_t)strlen(text);
}

int main(int argc, char **argv) {
  static terminal t;
  int status = 0;
  if (argc < 2 || start(&t, argv[1]) != 0) return 1;
  for (int i = 2; i + 1 < argc; i += 2) {
    while (!strstr(t.output + t.sent, argv[i])) {
      if (listen_on(&t)) continue;
      printf("%s\npty: '%s' did not come\n", t.output, argv[i]);
      kill(t.program, SIGKILL);
      return 1;
    }
    if (!say(&t, argv[i + 1])) return 1;
  }
  while (listen_on(&t)) continue;
  for (int ms = 0; waitpid(t.program, &status, WNOHANG) == 0; ms += TURN_MS) {
    if (ms > PATIENCE_MS) kill(t.program, SIGKILL);
    poll(NULL, 0, TURN_MS);
  }
  printf("%s\nended with %d\n", t.output, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 0;
}
