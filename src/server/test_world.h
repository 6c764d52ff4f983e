/* The server's tests: a server behind a real socket, requests that wait for their answer, and
 * workers that follow a script. One loop. */
#ifndef SERVER_TEST_WORLD_H
#define SERVER_TEST_WORLD_H

#include "server/internal.h"

#include "net/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct loop *loop;
    struct server *s;
    struct http_server *http;
    char dir[64], model[96], addr[64];
    const char *driver;
    struct fake_worker *workers;
};

/* Starts a server with a fresh state folder (a model file lies in it) and short times. */
void world_open(struct world *w, const char *driver);
void world_restart(struct world *w); /* the same state; workers come back by themselves */
void world_close(struct world *w);

/* One request; the answer's status, its document in *out (NULL: not wanted; free it). key NULL:
 * none. */
int ask(struct world *w, const char *method, const char *path, const char *key, const char *body,
        json_t **out);
/* The same with the admin key; fails the test on another status. */
json_t *want(struct world *w, int status, const char *method, const char *path, const char *fmt,
             ...) __attribute__((format(printf, 5, 6)));
/* Runs the loop until cond is true; fails the test after 10 s. */
void until(struct world *w, bool (*cond)(struct world *w, void *arg), void *arg, const char *what);
void run_ms(struct world *w, int64_t ms);

/* A text at a path of a document such as "replicas.0.state"; "" when absent. Numbers as text. */
const char *at(const json_t *doc, const char *path, char buf[64]);

/* ---- events (SSE) ---- */
struct watch {
    struct world *w;
    struct http_call *call;
    struct sse_parser sse;
    char event[32];
    json_t *last; /* data of the last event */
    int n, n_nodes, n_deployments, n_replicas, n_deleted;
    int status;
    bool done;
    void (*on_event)(struct watch *x);
    void *arg;
};
void watch_open(struct watch *x, struct world *w, const char *path, const char *key);
void watch_close(struct watch *x);

/* ---- workers ---- */
struct fake_worker {
    struct world *w;
    char name[32], node_id[CLUSTER_ID], key[64];
    uint32_t n_devices;
    uint64_t total_bytes, free_bytes;
    bool silent;        /* no heartbeat, no report, no watch */
    bool hold;          /* takes tasks, reports nothing */
    bool fail;          /* every member here fails at its start */
    struct put *report; /* on its way, or NULL */
    struct watch tasks;
    struct loop_timer *beat, *retry;
    struct api_tasks list;
    int n_stops;
    struct fake_run {
        char replica[CLUSTER_ID];
        uint32_t generation;
        enum member_state state;
    } runs[32];
    int n_runs;
    struct fake_worker *next;
};
struct fake_worker *worker_join(struct world *w, const char *name, uint32_t n_devices,
                                uint64_t total_bytes);
void worker_free(struct fake_worker *f);
void worker_silence(struct fake_worker *f);
void worker_speak(struct fake_worker *f);
/* Reports a state for the worker's current task of this replica. Returns the HTTP status. */
int worker_report(struct fake_worker *f, const char *replica, enum member_state state,
                  const char *message);

#endif
