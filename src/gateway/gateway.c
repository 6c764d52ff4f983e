/* Stub. */
#include "gateway/gateway.h"

#include "base/mem.h"

struct gateway {
    int unused;
};
struct gateway *gateway_new(const struct gateway_opts *o, struct err *err)
{
    return mem_calloc(1, sizeof(struct gateway));
}
void gateway_free(struct gateway *g)
{
    free(g);
}
void gateway_handle(struct gateway *g, struct http_req *r)
{
    struct err e = {0};
    err_fill(&e, ERR_UNSUPPORTED, "the gateway is not here yet");
    http_reply_err(r, &e, NULL);
}
