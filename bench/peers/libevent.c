/* evconnlistener itself, with a bufferevent for each connection. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>

static void on_read(struct bufferevent *bev, void *arg) {
  struct evbuffer *input = bufferevent_get_input(bev);
  evbuffer_drain(input, evbuffer_get_length(input));
  bufferevent_write(bev, "+PONG\r\n", 7);
}

static void on_event(struct bufferevent *bev, short events, void *arg) {
  if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *addr, int len, void *base) {
  struct bufferevent *bev =
      bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
  bufferevent_setcb(bev, on_read, NULL, on_event, NULL);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
}

int main(int argc, char **argv) {
  if (argc != 2) return 1;
  struct sockaddr_in addr = {.sin_family = AF_INET,
                             .sin_port = htons(atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct event_base *base = event_base_new();
  signal(SIGPIPE, SIG_IGN);
  if (!evconnlistener_new_bind(
          base, on_accept, base, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
          511, (struct sockaddr *)&addr, sizeof addr))
    return 1;
  return event_base_dispatch(base);
}
