/* Sends a member's report until the server has the newest one: at once when its state changed, at
 * most once a second otherwise, one request at a time, again after a lost connection. I/O; the
 * worker's loop. */
#ifndef WORKER_REPORTER_H
#define WORKER_REPORTER_H

#include "client/client.h"
#include "worker/member.h"

enum { REPORT_EVERY_MS = 1000, REPORT_TIMEOUT_MS = 10000 };

struct reporter;
/* `m` is borrowed; the client too. */
struct reporter *reporter_new(struct loop *l, struct client *c, const char *node_id,
                              const struct member *m);
void reporter_free(struct reporter *r);
void reporter_poke(struct reporter *r, bool now);
/* The newest report has been accepted (or refused for good). */
bool reporter_idle(const struct reporter *r);

#endif
