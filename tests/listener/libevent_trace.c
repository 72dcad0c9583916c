/*
 * A listener of libevent's that does what lines on stdin say, and prints which
 * callback got which connection. libevent_trace_test.ts compares it with ours.
 *
 *   new FLAGS CB  make a listener; CB is the callback's name, - for none
 *   connect N     connect so many clients, numbered on
 *   enable, disable, free
 *   set CB        evconnlistener_set_cb
 *
 * After each line the event loop runs until nothing is left to do, and a line
 * with the calls is printed: "A1 B2" says that callback A got client 1, and B
 * client 2. The callbacks: A and B do nothing else; P disables the listener, S
 * sets B, F frees the listener.
 */
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 4096

static struct event_base *base;
static struct evconnlistener *listener;
static struct sockaddr_in address;
static int clients[MAX_CLIENTS];
static in_port_t ports[MAX_CLIENTS];
static int client_count;
static const char *names[] = {"A", "B", "P", "S", "F"};

static void on_connection(struct evconnlistener *lev, evutil_socket_t fd,
                          struct sockaddr *peer, int length, void *name) {
  (void)length;
  for (int i = 0; i < client_count; i++)
    if (ports[i] == ((struct sockaddr_in *)peer)->sin_port)
      printf("%s%d ", (const char *)name, i);
  close(fd);
  switch (*(const char *)name) {
  case 'P':
    evconnlistener_disable(lev);
    break;
  case 'S':
    evconnlistener_set_cb(lev, on_connection, (void *)names[1]);
    break;
  case 'F':
    evconnlistener_free(lev);
    listener = NULL;
    break;
  }
}

static evconnlistener_cb callback(const char *name, void **data) {
  *data = NULL;
  for (int i = 0; i < 5; i++)
    if (*names[i] == *name)
      *data = (void *)names[i];
  return *data == NULL ? NULL : on_connection;
}

static void make(unsigned flags, const char *name) {
  void *data;
  evconnlistener_cb cb = callback(name, &data);
  socklen_t length = sizeof address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (listener != NULL)
    evconnlistener_free(listener);
  while (client_count > 0)
    close(clients[--client_count]);
  listener = evconnlistener_new_bind(base, cb, data, flags | LEV_OPT_CLOSE_ON_FREE,
                                     -1, (struct sockaddr *)&address, length);
  if (listener == NULL)
    exit(1);
  getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length);
}

static void connect_one(void) {
  struct sockaddr_in local;
  socklen_t length = sizeof local;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (client_count == MAX_CLIENTS || fd < 0 ||
      connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    exit(1);
  getsockname(fd, (struct sockaddr *)&local, &length);
  ports[client_count] = local.sin_port;
  clients[client_count++] = fd;
}

int main(void) {
  char line[64], name[8];
  unsigned number;
  base = event_base_new();
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "new %u %7s", &number, name) == 2)
      make(number, name);
    else if (listener == NULL)
      ; /* freed: nothing can be done with it any more */
    else if (sscanf(line, "connect %u", &number) == 1)
      while (number-- > 0)
        connect_one();
    else if (sscanf(line, "set %7s", name) == 1) {
      void *data;
      evconnlistener_cb cb = callback(name, &data);
      evconnlistener_set_cb(listener, cb, data);
    } else if (strcmp(line, "enable\n") == 0)
      evconnlistener_enable(listener);
    else if (strcmp(line, "disable\n") == 0)
      evconnlistener_disable(listener);
    else if (strcmp(line, "free\n") == 0) {
      evconnlistener_free(listener);
      listener = NULL;
    }
    for (int i = 0; i < 3; i++)
      event_base_loop(base, EVLOOP_NONBLOCK);
    printf("\n");
  }
  return 0;
}
