/* The gateway role: OpenAI API over READY replicas, routes from a watch of the server. I/O; one
 * loop's thread. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "base/err.h"
#include "net/http.h"

struct gateway;
struct gateway_opts {
    struct loop *loop;
    const char *server_url, *key; /* control API and a key of scope `gateway` */
};
struct gateway *gateway_new(const struct gateway_opts *o, struct err *err);
void gateway_free(struct gateway *g);
/* Handles every path under /v1/. */
void gateway_handle(struct gateway *g, struct http_req *r);

#endif
