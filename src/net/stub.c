/* Placeholders that let callers link while the module is being written. */
#include "net/http.h"
#include "net/sse.h"
#include "net/tunnel.h"
#include "net/download.h"

#include <stdlib.h>

struct tunnel_dial *tunnel_dial_new(struct loop *l, const char *addr, const struct tunnel_target *t,
                                    int64_t timeout_ms,
                                    void (*on_done)(void *arg, int fd, const struct err *err),
                                    void *arg)
{
    abort();
}
void tunnel_dial_cancel(struct tunnel_dial *d)
{
    abort();
}
struct tunnel_listener *tunnel_listen(struct loop *l, const struct tunnel_listener_opts *o,
                                      struct err *err)
{
    abort();
}
const char *tunnel_listener_addr(const struct tunnel_listener *t)
{
    abort();
}
void tunnel_drop(struct tunnel_listener *t, const char *replica)
{
    abort();
}
void tunnel_listener_free(struct tunnel_listener *t)
{
    abort();
}
struct tunnel_port *tunnel_port_new(struct loop *l, const char *peer_addr,
                                    const struct tunnel_target *t, uint16_t *port, struct err *err)
{
    abort();
}
void tunnel_port_free(struct tunnel_port *p)
{
    abort();
}
struct splice *splice_new(struct loop *l, int a, int b, void (*on_end)(void *arg), void *arg)
{
    abort();
}
void splice_free(struct splice *s)
{
    abort();
}
int net_free_port(uint16_t lo, uint16_t hi, uint16_t *port, struct err *err)
{
    abort();
}
int net_download(const struct download_opts *o, struct err *err)
{
    abort();
}
int net_sha256_file(const char *path, char hex[65], struct err *err)
{
    abort();
}
