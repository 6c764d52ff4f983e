/* Makes what runs here equal to the server's list of tasks. I/O; the worker's loop.
 *
 * The list is the whole truth: a member that is not in it, or is there with another generation, is
 * stopped and forgotten; a new generation begins only when the old one has left nothing behind. */
#ifndef WORKER_TASKS_H
#define WORKER_TASKS_H

#include "client/client.h"
#include "worker/member.h"

struct tasks;
/* Borrows all; env's callbacks are set here. */
struct tasks *tasks_new(const struct member_env *env, struct client *c);
void tasks_free(struct tasks *t); /* kills what is left */
/* Takes what the tasks own. Engine not known yet: they wait (tasks_kick). */
void tasks_apply(struct tasks *t, struct api_tasks *list);
/* The engine may be known now, or something ended: begin what waits, forget what is gone. */
void tasks_kick(struct tasks *t);
/* Reports everything again (after the server was away). */
void tasks_report_all(struct tasks *t);
/* Ends every member with this reason; fn is called once when no process is left and the reports are
 * out, or after a short while without the server. */
void tasks_stop(struct tasks *t, const struct err *why, void (*fn)(void *arg), void *arg);

/* For the tunnel listener. */
bool tasks_lookup(const struct tasks *t, const char *replica, uint32_t generation,
                  enum tunnel_service service, char secret[TUNNEL_SECRET_HEX + 1], uint16_t *port);
uint64_t tasks_rss(const struct tasks *t); /* RAM that our engines hold */
/* Called with the replica's id when a member is gone: its tunnels can be dropped. */
void tasks_on_gone(struct tasks *t, void (*fn)(void *arg, const char *replica), void *arg);

#endif
