/* Authenticated byte tunnels between worker and worker, and gateway and worker. I/O; loop's thread.
 *
 * Engines bind loopback only; whoever needs one dials the worker of its host and names the service.
 * Handshake: the acceptor sends a 32-byte nonce, the dialer answers with a fixed-size hello
 * (replica, generation, member, service, HMAC-SHA256 over all of it with the group's secret), the
 * acceptor answers one status byte. After that the socket carries raw bytes. The byte transport is
 * a seam: plain TCP now, mutual TLS 1.3 behind the same struct later
 * (docs/decisions/0007-tunnel.md). */
#ifndef NET_TUNNEL_H
#define NET_TUNNEL_H

#include "base/err.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum tunnel_service { TUNNEL_RPC = 1, TUNNEL_HTTP = 2 };
enum { TUNNEL_SECRET_HEX = 64, TUNNEL_HANDSHAKE_MS = 5000, TUNNEL_DEFAULT_PORT = 10151 };

struct tunnel_target {
    char replica[40];
    uint32_t generation;
    char member[40]; /* node id of the accepting side */
    enum tunnel_service service;
    char secret[TUNNEL_SECRET_HEX + 1];
};

/* Dials addr ("host:port"), shakes hands; on_done gets a connected non-blocking fd (the callee owns
 * it) or -1 and why (ERR_UNREACHABLE, ERR_AUTH, ERR_NOT_FOUND, ERR_TIMEOUT). */
struct tunnel_dial;
struct tunnel_dial *tunnel_dial_new(struct loop *l, const char *addr, const struct tunnel_target *t,
                                    int64_t timeout_ms,
                                    void (*on_done)(void *arg, int fd, const struct err *err),
                                    void *arg);
void tunnel_dial_cancel(struct tunnel_dial *d);

/* Accepts tunnels. `lookup` says the secret for (replica, generation, service) of this node and the
 * local port to connect to; false: refused. After the handshake bytes are spliced both ways until
 * one side ends. */
struct tunnel_listener;
struct tunnel_listener_opts {
    const char *addr;   /* "0.0.0.0:10151" */
    const char *member; /* our node id */
    bool (*lookup)(void *arg, const char *replica, uint32_t generation, enum tunnel_service service,
                   char secret[TUNNEL_SECRET_HEX + 1], uint16_t *loopback_port);
    void *arg;
};
struct tunnel_listener *tunnel_listen(struct loop *l, const struct tunnel_listener_opts *o,
                                      struct err *err);
const char *tunnel_listener_addr(const struct tunnel_listener *t);
/* Drops every tunnel of a replica (generation ended). */
void tunnel_drop(struct tunnel_listener *t, const char *replica);
void tunnel_listener_free(struct tunnel_listener *t);

/* The other end for an engine: a loopback port (chosen below 32768) that dials the peer per
 * connection. */
struct tunnel_port;
struct tunnel_port *tunnel_port_new(struct loop *l, const char *peer_addr,
                                    const struct tunnel_target *t, uint16_t *port, struct err *err);
void tunnel_port_free(struct tunnel_port *p);
/* Bytes that came in by the port so far, all connections: how far weights have been sent. */
uint64_t tunnel_port_sent(const struct tunnel_port *p);

/* Splices two connected sockets (both owned) until one side ends. */
struct splice;
struct splice *splice_new(struct loop *l, int a, int b, void (*on_end)(void *arg), void *arg);
void splice_free(struct splice *s);
uint64_t splice_read_a(const struct splice *s); /* bytes that came from a so far */

/* A free loopback TCP port in [lo, hi), both below 32768, not handed out in the last minute by us.
 */
int net_free_port(uint16_t lo, uint16_t hi, uint16_t *port, struct err *err);

#endif
