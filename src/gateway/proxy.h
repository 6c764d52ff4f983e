/* One proxied request: choose an endpoint, dial its worker, relay the answer. The loop's thread.
 *
 * Until the client has a byte, a failed attempt is followed by one on another endpoint, never twice
 * on the same. After that a death upstream becomes an SSE error event and the stream ends without
 * [DONE]. Only whole events are passed on, so that what a client reads is never a torn one; an
 * event is passed on in the call that brings its last byte. */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H

#include "gateway/routes.h"
#include "net/http.h"

enum outcome {
    OUTCOME_COMPLETE,       /* the engine's answer, whole */
    OUTCOME_ERROR_RESPONSE, /* an error with its status */
    OUTCOME_ERROR_EVENT,    /* an error after the first byte of a stream */
    OUTCOME_CLIENT_ABORT,   /* the client left first */
    OUTCOME_COUNT,
};

struct proxy;
/* What all requests of a gateway share. */
struct proxy_pool {
    struct loop *loop;
    struct routes *routes;
    uint64_t outcomes[OUTCOME_COUNT]; /* each request in exactly one */
    uint64_t retries;
    struct proxy *first;
};
/* Takes over the request; upstream_path is the engine's ("/v1/chat/completions"). */
void proxy_start(struct proxy_pool *pool, struct http_req *r, const char *model,
                 const char *upstream_path);
/* Drops every request in flight without a word to its client. */
void proxy_drop_all(struct proxy_pool *pool);

#endif
