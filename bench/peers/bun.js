/** `Bun.listen`. */
Bun.listen({
  hostname: "127.0.0.1",
  port: Number(Bun.argv[2]),
  socket: {
    data(socket) {
      socket.write("+PONG\r\n");
    },
  },
});
