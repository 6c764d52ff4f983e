/* What the two ends of a tunnel say before the bytes. Pure; any thread.
 *
 *   acceptor → dialer   nonce[32]
 *   dialer → acceptor   hello[128]: magic[8] replica[40] generation[4, big endian] member[40]
 * service[1] zero[3] mac[32] acceptor → dialer   status[1] mac = HMAC-SHA256(secret, nonce ‖ hello
 * without mac). The nonce is new for every connection, so a hello that was listened to is worth
 * nothing; nothing has a length of its own, so nothing can lie. */
#ifndef NET_TUNNEL_HELLO_H
#define NET_TUNNEL_HELLO_H

#include "net/tunnel.h"

enum { HELLO_NONCE = 32, HELLO_BYTES = 128 };
enum hello_status { HELLO_OK, HELLO_REFUSED, HELLO_UNKNOWN, HELLO_NO_SERVICE };

/* ERR_INVALID: a name or the secret is malformed. */
int hello_write(const struct tunnel_target *t, const unsigned char nonce[HELLO_NONCE],
                unsigned char out[HELLO_BYTES], struct err *err);
/* Everything but the secret; -1 when malformed. */
int hello_read(const unsigned char in[HELLO_BYTES], struct tunnel_target *t);
/* In constant time. */
bool hello_verify(const unsigned char in[HELLO_BYTES], const unsigned char nonce[HELLO_NONCE],
                  const char *secret);

#endif
