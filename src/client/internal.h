/* Shared inside client/: the client itself and the reading of error answers. */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "client/client.h"
#include "net/http.h"

struct client_call;
struct client_watch;
struct client {
    struct loop *loop;
    bool own_loop; /* blocking face: nobody else runs it */
    char *url, *addr, *prefix, *headers;
    uint64_t seed; /* of the reconnect jitter */
    struct client_call *calls;
    struct client_watch *watches;
};

/* The error of a non-2xx answer: code and message of its body, or the status alone. `hint` takes
 * the answer's hint (240 bytes) or may be NULL. */
void client_read_error(const struct client *c, int status, struct str body, char *hint,
                       struct err *err);
/* Turns the transport's error into one that names the server and says what to do. */
void client_explain(const struct client *c, const struct err *from, struct err *err);
char *client_path(const struct client *c, const char *path);

void client_watch_unlink_all(struct client *c); /* frees every watch */

#endif
