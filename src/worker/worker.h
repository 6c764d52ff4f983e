/* The worker role: registers, reports inventory, runs engines as the server decides. I/O; one
 * loop's thread. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/err.h"
#include "os/loop.h"

struct worker;
struct worker_opts {
    struct loop *loop;
    const char *server_url;    /* "http://10.0.0.1:8080" */
    const char *token;         /* join token; not needed when state_dir holds a key already */
    const char *state_dir;     /* node.json (id, key; 0600), logs/; made with mode 0700 */
    const char *name;          /* NULL: host name */
    const char *tunnel_listen; /* "0.0.0.0:10151" */
    const char *advertise;  /* host that others reach us by; NULL: our side of the connection to the
                               server */
    const char *devices;    /* "auto", "none" or "fake:FILE" */
    const char *engine_dir; /* folder of installed engines, or of a given binary */
    uint64_t ram_limit;     /* 0: what /proc says; else RAM the scheduler may use here */
    const char *const *labels;     /* key=value, NULL-terminated or NULL */
    const char *const *engine_env; /* NAME=VALUE, NULL-terminated or NULL */
    uint32_t threads;              /* 0: number of CPUs, at most 8 */
    /* Optional: the server will never take us (token refused, or none given). Nothing more happens
     * then until the worker is freed; not called from worker_new. */
    void (*on_refused)(void *arg, const struct err *why);
    void *arg;
};
struct worker *worker_new(const struct worker_opts *o, struct err *err);
/* Stops all engines (SIGTERM, then SIGKILL), then calls fn once. */
void worker_stop(struct worker *w, void (*fn)(void *arg), void *arg);
void worker_free(struct worker *w);

#endif
