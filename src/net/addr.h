/* Socket addresses as text, and the sockets this project opens: non-blocking, close-on-exec, no
 * delay, and with keep-alive: within a minute the host of a quiet peer is known to have vanished.
 * Names are resolved with a blocking call; numeric addresses never block. I/O; any thread.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include "base/err.h"

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { ADDR_TEXT = 64 }; /* "[v6 with scope]:port" */

/* "host:port", "[::1]:port", ":port" (every IPv4 address; only when passive). The caller frees with
 * freeaddrinfo. NULL with ERR_INVALID (malformed) or ERR_UNREACHABLE (no such name). */
struct addrinfo *addr_resolve(const char *addr, bool passive, struct err *err);
/* Listens; `text` gets the address with its real port. ERR_CONFLICT when the port is taken. */
int addr_listen(const char *addr, char text[ADDR_TEXT], struct err *err);
/* Starts to connect: a socket, or -1 with errno. */
int addr_connect(const struct addrinfo *ai);
/* The error of a connect that has become writable: 0 when it is connected. */
int addr_connect_error(int fd);
/* Accepts one connection; -1 with errno. `peer` may be NULL. */
int addr_accept(int listen_fd, char peer[ADDR_TEXT]);
void addr_text(const struct sockaddr *sa, socklen_t n, char text[ADDR_TEXT]);
/* The port of a bound socket. */
uint16_t addr_port(int fd);

#endif
