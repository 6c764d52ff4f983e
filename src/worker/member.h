/* One member of one replica on this node: from its task to running engines and back to nothing.
 * I/O; the worker's loop.
 *
 * The life is one table in member.c. A member ends by itself only in failure; it leaves when its
 * owner stops and then frees it. */
#ifndef WORKER_MEMBER_H
#define WORKER_MEMBER_H

#include "api/messages.h"
#include "net/tunnel.h"
#include "os/loop.h"
#include "worker/installed.h"

struct member;

/* What a member needs of its worker; outlives every member. */
struct member_env {
    struct loop *loop;
    const char *node_id, *node_name, *log_root;
    const struct installed *engine;
    const char *const *engine_env;
    uint32_t n_threads;
    /* Something of the report changed; `state` says that it did in kind (to be sent at once). */
    void (*on_change)(void *arg, struct member *m, bool state);
    void (*on_line)(void *arg, struct member *m, const char *role, const char *line);
    void *arg;
};

/* Takes what task owns (it is left empty). Nothing starts before member_begin. */
struct member *member_new(const struct member_env *env, struct api_task *task);
/* Starts the life, once: the engine is known and no older generation of the replica is left here.
 */
void member_begin(struct member *m);
bool member_begun(const struct member *m);
/* A newer word of the server for the same generation; takes what task owns. */
void member_update(struct member *m, struct api_task *task);
/* Ends what runs; reports `stopped` when nothing is left, or, with `why`, `failed` at once. */
void member_stop(struct member *m, const struct err *why);
bool member_gone(const struct member *m); /* no process, no port */
void member_free(struct member *m);       /* kills what is left */

const struct api_task *member_task(const struct member *m);
/* The present report; the caller frees it with api_report_done. */
void member_report(const struct member *m, struct api_report *out);
/* For the tunnel listener: the port of a service that runs. */
bool member_port(const struct member *m, enum tunnel_service service, uint16_t *port);
/* RAM that its engines hold, as of the last look. */
uint64_t member_rss(const struct member *m);

#endif
