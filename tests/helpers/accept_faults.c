/*
 * accept4(2) that fails as it is told, the first times that it is called on each
 * listening socket. Preloaded (LD_PRELOAD) into a program:
 *
 *   ACCEPT_ERRNO     the error's name, such as EMFILE
 *   ACCEPT_FAILURES  how often it fails
 *
 * A connection that waits stays in the queue: the call after the failures takes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_SOCKETS 1024

#define NAME(code) { #code, code }

static const struct {
  const char *name;
  int number;
} ERRORS[] = {
  NAME(EACCES), NAME(EBADF), NAME(ECONNABORTED), NAME(ECONNRESET),
  NAME(EHOSTDOWN), NAME(EHOSTUNREACH), NAME(EINTR), NAME(EINVAL),
  NAME(EIO), NAME(EMFILE), NAME(ENETDOWN), NAME(ENETUNREACH),
  NAME(ENFILE), NAME(ENOBUFS), NAME(ENOMEM), NAME(ENONET),
  NAME(ENOPROTOOPT), NAME(ENOSR), NAME(ENOTCONN), NAME(EOPNOTSUPP),
  NAME(EPERM), NAME(EPROTO), NAME(ETIMEDOUT),
};

/* By the socket's descriptor. */
static int failures[MAX_SOCKETS];

static int number_of(const char *name) {
  for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++) {
    if (strcmp(ERRORS[i].name, name) == 0) return ERRORS[i].number;
  }
  fprintf(stderr, "There is no such error here: %s\n", name);
  abort();
}

int accept4(int fd, struct sockaddr *addr, socklen_t *length, int flags) {
  static int (*real)(int, struct sockaddr *, socklen_t *, int);
  if (real == NULL) real = dlsym(RTLD_NEXT, "accept4");
  const char *name = getenv("ACCEPT_ERRNO");
  const char *most = getenv("ACCEPT_FAILURES");
  if (name == NULL || most == NULL || fd >= MAX_SOCKETS ||
      failures[fd] >= atoi(most)) {
    return real(fd, addr, length, flags);
  }
  failures[fd]++;
  errno = number_of(name);
  return -1;
}
