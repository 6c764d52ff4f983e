/* Who this node is to the server: id and key in STATE/node.json (0600). I/O; the worker's thread.
 */
#ifndef WORKER_IDENTITY_H
#define WORKER_IDENTITY_H

#include "base/err.h"
#include "cluster/cluster.h"

struct identity {
    char id[CLUSTER_ID];
    char key[128];
};
/* ERR_NOT_FOUND when this node never joined; ERR_CORRUPT, naming the file, when it cannot be
 * understood. */
int identity_load(struct identity *i, const char *state_dir, struct err *err);
int identity_save(const struct identity *i, const char *state_dir, struct err *err);

/* Our address on the way to the server of `url` (no packet is sent), as text; ERR_UNREACHABLE names
 * the host. */
int identity_own_host(const char *url, char *dst, size_t cap, struct err *err);
/* "host:port" by which other nodes reach what we listen on: `advertise` when given, else our
 * address on the way to the server; when the server is on this machine and we listen everywhere, an
 * address others can use. */
int identity_address(const char *url, const char *advertise, const char *listen, char *dst,
                     size_t cap, struct err *err);

#endif
