/*
 * Many clients at once: begins COUNT connects before it finishes any, sends a
 * PING on each, and waits for the answers. Prints a line for each client: the ms from
 * connect() to the answer, and how often its SYN was sent again. It is written in C,
 * because Deno needs as long to connect as the servers to accept.
 *
 *   burst PORT COUNT
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PING "*1\r\n$4\r\nPING\r\n"
#define PATIENCE 30000 /* ms */

struct client {
  int fd;
  int asked;
  int again; /* SYNs sent again */
  double begun;
  double took;
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void begin(int epoll, struct client *client, int port) {
  struct sockaddr_in addr = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (client->fd < 0) fail("socket");
  client->begun = now();
  connect(client->fd, (struct sockaddr *)&addr, sizeof addr);
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event)) fail("epoll_ctl");
}

/* How much a socket has sent again: nothing but SYNs as long as it has only connected. */
static int sent_again(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length)) fail("TCP_INFO");
  return info.tcpi_total_retrans;
}

/* Asks once it is connected; 1 when the answer is there. */
static int go_on(int epoll, struct client *client) {
  char answer[64];
  if (client->asked) {
    if (read(client->fd, answer, sizeof answer) <= 0) fail("no answer");
    client->took = now() - client->begun;
    close(client->fd);
    return 1;
  }
  client->again = sent_again(client->fd);
  if (write(client->fd, PING, strlen(PING)) < 0) fail("no connection");
  client->asked = 1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event)) fail("epoll_ctl");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3) return 1;
  int port = atoi(argv[1]), count = atoi(argv[2]), epoll = epoll_create1(0);
  struct client *clients = calloc(count, sizeof *clients);
  double end = now() + PATIENCE;
  for (int i = 0; i < count; i++) begin(epoll, &clients[i], port);
  for (int left = count; left > 0;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, 1000);
    if (now() > end) {
      fprintf(stderr, "error: %d clients got no answer\n", left);
      return 1;
    }
    for (int i = 0; i < ready; i++) left -= go_on(epoll, events[i].data.ptr);
  }
  for (int i = 0; i < count; i++)
    printf("%.3f %d\n", clients[i].took, clients[i].again);
  return 0;
}
