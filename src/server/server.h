/* The server role: control API, desired state, reconcilers, scheduler. I/O; one loop's thread. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/err.h"
#include "net/http.h"

struct server;
struct server_opts {
    struct loop *loop;
    const char *state_dir;    /* state.db and admin.key live here; made with mode 0700 */
    const char *store_driver; /* "sqlite" or "memory" */
    const char *url;          /* our address as other machines type it, for join lines */
};
struct server *server_new(const struct server_opts *o, struct err *err);
void server_free(struct server *s);
/* Handles every path under /api/v1/ (auth included). */
void server_handle(struct server *s, struct http_req *r);
/* The admin key (also in state_dir/admin.key, 0600), and a fresh single-use join token / gateway
 * key for the roles in this process; valid until the process ends. */
const char *server_admin_key(const struct server *s);
void server_local_token(struct server *s, char token[96]);
void server_gateway_key(struct server *s, char key[96]);
#endif
