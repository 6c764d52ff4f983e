/* The server's context. */
#include "server/server.h"

struct server *server_new(const struct server_opts *o, struct err *err)
{
    return err_null(err, ERR_UNSUPPORTED, "the server is not built yet");
}

void server_free(struct server *s)
{
}

void server_handle(struct server *s, struct http_req *r)
{
}

const char *server_admin_key(const struct server *s)
{
    return "";
}

void server_local_token(struct server *s, char token[96])
{
    token[0] = 0;
}

void server_gateway_key(struct server *s, char key[96])
{
    key[0] = 0;
}
