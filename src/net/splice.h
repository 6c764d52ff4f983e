/* Splicing two streams, for tunnel.c; plain sockets go by splice_new in tunnel.h. */
#ifndef NET_SPLICE_H
#define NET_SPLICE_H

#include "net/stream.h"
#include "net/tunnel.h"

/* Both streams are taken over, past their handshake. on_end is called once from the loop when both
 * directions have ended or one has failed (the sockets are closed by then); splice_free may be
 * called in it. */
struct splice *splice_streams(struct loop *l, struct stream a, struct stream b,
                              void (*on_end)(void *arg), void *arg);

#endif
