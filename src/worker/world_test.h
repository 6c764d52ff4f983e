/* The world of the worker's tests: a scripted server, a worker, a stand-in for the engine, in a
 * folder of its own. I/O; everything on one loop. Failures end the test. */
#ifndef WORKER_WORLD_TEST_H
#define WORKER_WORLD_TEST_H

#include "api/messages.h"
#include "net/http.h"
#include "net/tunnel.h"
#include "os/loop.h"
#include "worker/worker.h"

enum { LIMIT_MS = 20000, MAX_REPORTS = 256, SECRET_DIGITS = 64 };

/* One test's world: server, worker, a folder. */
struct world {
    struct loop *loop;
    struct http_server *http;
    char addr[64];
    struct worker *worker;
    char dir[64], model[128], engines[128], state[128];
    struct http_req *watch; /* the open stream of tasks */
    struct api_task task;   /* what the server wants, when has_task */
    bool has_task, refuse_key, stopped;
    int joins, heartbeats;
    char node_id[CLUSTER_ID];
    char tunnel[CLUSTER_ADDR], engine[64];
    struct api_report reports[MAX_REPORTS];
    int n_reports;
    struct buf log; /* uploaded lines */
    bool log_ended;
    /* what loop_until waits for */
    bool (*want)(struct world *w);
    bool timed_out;
    struct loop_timer *limit;
};

int world_setup(void **state);
int world_teardown(void **state);
void world_request(void *ctx, struct http_req *r); /* the server's handler */
void world_listen(struct world *w, const char *addr);
void world_start(struct world *w, bool with_token); /* the worker */
void world_stop(struct world *w);
/* Runs the loop until want(w), or fails saying `what`. */
void world_until(struct world *w, bool (*want)(struct world *w), const char *what);
void world_for(struct world *w, int64_t ms);
void world_send_tasks(struct world *w);
/* Makes w->task a new generation: all in RAM of this node, unless parts are added. */
void world_want(struct world *w, enum api_role role, uint32_t n_cpu);
struct assignment_part *world_part(struct assignment *a, const char *node, uint32_t n_layers,
                                   enum device_backend backend);

#endif
