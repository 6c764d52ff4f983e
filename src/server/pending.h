/* A request that is answered later. The client may go away meanwhile; then there is nobody to
 * answer. */
#ifndef SERVER_PENDING_H
#define SERVER_PENDING_H

#include "server/internal.h"

struct pending {
    struct http_req *req; /* NULL: the client went away */
};
static inline void pending_gone_(void *arg)
{
    ((struct pending *)arg)->req = NULL;
}
/* p must live until pending_end. */
static inline void pending_begin(struct pending *p, struct http_req *r)
{
    p->req = r;
    http_req_on_close(r, pending_gone_, p);
}
/* The request to answer now, or NULL. */
static inline struct http_req *pending_end(struct pending *p)
{
    if (p->req)
        http_req_on_close(p->req, NULL, NULL);
    return p->req;
}

#endif
