/* The server's own objects, shared by its files; private to the folder. One loop's thread owns all
 * of it; other threads (work.h) only ever see copies.
 *
 * Memory mirrors the store: an object is changed by committing its new documents first and keeping
 * the change only when that succeeded. Readings and progress live in memory alone. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include "api/messages.h"
#include "api/routes.h"
#include "arch/arch.h"
#include "base/map.h"
#include "net/http.h"
#include "os/loop.h"
#include "server/server.h"
#include "store/store.h"

enum {
    SERVER_LOST_AFTER_MS = 10000, /* of silence */
    SERVER_DRAIN_MS = 5000,       /* from routes dropped to engines stopped */
    SERVER_SWEEP_MS = 5000,       /* the scheduler's safety net */
    SERVER_TICK_MS = 1000,
    SERVER_STABLE_MS = 60000,  /* a replica that was ready so long starts its back-off anew */
    SERVER_MAX_BODY = 1 << 20, /* of a request to the API; inventories of 1024 devices fit */
    SERVER_MAX_WATCH_BYTES = 64 << 20, /* unsent bytes after which a slow reader is cut off */
    SERVER_HEARTBEAT_MS = 15000,       /* comments on quiet streams */
};

/* ---- objects ---- */

struct node {
    struct cluster_node info; /* last inventory; id and name are ours */
    int64_t revision;
    bool drained, lost;
    bool reported;   /* since this server started: readings are live */
    int64_t seen_ms; /* loop's clock; at start-up everybody counts as just seen */
    char drain_reason[CLUSTER_NAME];
    struct cluster_node given; /* its labels only: set by people, above those of the worker */
    int64_t joined_at;         /* Unix ms */
};

/* Facts of a model, shared by a deployment and the jobs that plan for it; counted on the loop. */
struct facts {
    struct arch_facts *facts;
    unsigned refs;
};
void facts_unref(struct facts *f); /* NULL allowed */

struct replica;
struct deployment {
    char id[CLUSTER_ID];
    int64_t revision;
    struct deployment_spec *spec; /* ctx resolved */
    struct api_model model;
    json_t *summary;    /* of the facts, for people */
    int64_t created_at; /* Unix ms */
    bool deleting;
    struct facts *facts;      /* NULL until read (again) */
    bool facts_wanted;        /* a job reads them */
    struct replica *replicas; /* its own, linked by `sibling`, oldest first */
    json_t *place;            /* where its first generation is tried first, by replica from
                                 place_from; memory only, may be NULL */
    uint32_t place_from;
    uint32_t pass_index; /* in the reconciler\'s pass that is being made */
};

struct member {
    char node_id[CLUSTER_ID], node[CLUSTER_NAME];
    enum api_role role;
    enum member_state state;
    uint32_t percent;
    char code[32], message[240];
    uint64_t pid, rss_bytes;
};

struct replica {
    char id[CLUSTER_ID];
    struct deployment *d;
    struct replica *sibling; /* the next of the same deployment */
    int64_t revision;
    /* desired (the store's spec) */
    uint32_t index, generation;
    bool has_assignment, claimed;
    struct assignment a;
    char secret[API_HEX];
    json_t *plan;       /* stowage.plan/1 of the last decision, or NULL */
    int64_t decided_at; /* Unix ms */
    /* observed (the store's status) */
    enum replica_state state;
    char code[32], message[240];
    uint32_t failures, restarts;
    struct member *members; /* of this generation; the main first */
    uint32_t n_members;
    struct api_report main_report; /* measured, load_ms, tok_s of this generation */
    /* memory only */
    int64_t since_ms, ready_ms; /* loop's clock; ready_ms 0: not in this generation */
    int64_t backoff_until_ms;
    bool stopping;        /* members are told to stop */
    bool noted;           /* that it takes too long to stop */
    bool written;         /* by the transaction that is being made */
    uint64_t tried_epoch; /* of the scheduler; 0: never */
    int64_t full_plan_ms; /* when `plan` was last made with its changes */
};

struct log_stream {
    char id[CLUSTER_ID];
    struct http_req *req;
    struct replica *replica; /* NULL once it is gone */
    char node[CLUSTER_NAME]; /* "" all members */
    bool follow;
    uint32_t tail;
    char (*ended)[CLUSTER_ID]; /* nodes that sent their end */
    uint32_t n_ended;
    uint64_t dropped;
    int64_t opened_ms;
    struct server *server;
    struct log_stream *next;
};

struct server {
    struct loop *loop;
    struct store *store;
    struct auth *auth;
    struct work *work;
    struct feed *feed;
    struct sched *sched;
    char *state_dir, *url;
    int lock_fd;
    struct map *nodes;       /* by id */
    struct map *deployments; /* by name */
    struct map *replicas;    /* by id */
    struct log_stream *logs;
    struct loop_timer *tick, *pump;
    int64_t lost_after_ms, drain_ms, tick_every_ms; /* as named above; tests shorten them */
    int64_t tick_ms, pump_ms; /* when the last tick ran; when the pump is due */
    bool frozen;              /* the mass-staleness brake holds */
    bool broken;              /* memory must be read from the store again */
};

void server_start_ticks(struct server *s); /* (again) with tick_every_ms */

/* ---- transactions (ops.c) ---- */
struct ops {
    struct store_op *items;
    size_t n, cap;
};
void ops_put_spec(struct ops *o, const char *kind, const char *id, json_t *doc /* taken */,
                  int64_t expect);
void ops_put_status(struct ops *o, const char *kind, const char *id, json_t *doc /* taken */,
                    int64_t expect);
void ops_delete(struct ops *o, const char *kind, const char *id);
void ops_claim(struct ops *o, const char *replica, const char *device, uint64_t bytes,
               uint64_t capacity);
void ops_unclaim(struct ops *o, const char *replica);
void ops_drop(struct ops *o); /* empties it */
/* Commits and empties o in any case. */
int ops_commit(struct server *s, struct ops *o, int64_t *revision, struct err *err);

/* ---- state.c: the mirror ---- */
int state_load(struct server *s, struct err *err);
void state_free(struct server *s);
struct node *state_node(const struct server *s, const char *id);
struct node *state_node_by_name(const struct server *s, const char *name);
struct deployment *state_deployment(const struct server *s, const char *name);
struct replica *state_replica(const struct server *s, const char *id);
struct member *replica_member(const struct replica *r, const char *node_id);
/* Removes from memory what the store no longer has; frees. */
void state_drop_replica(struct server *s, struct replica *r);
void state_drop_deployment(struct server *s, struct deployment *d);
void state_drop_node(struct server *s, struct node *n);
struct replica *state_add_replica(struct server *s, struct deployment *d, const char *id,
                                  uint32_t index);
/* The members of r's assignment, all waiting: the main, then the other nodes in order of the parts.
 */
void replica_make_members(struct replica *r);

/* ---- docs.c: stored and wire forms ---- */
json_t *node_spec_doc(const struct node *n);
json_t *deployment_spec_doc(const struct deployment *d);
json_t *replica_spec_doc(const struct replica *r);
json_t *replica_status_doc(const struct replica *r);
int deployment_from_docs(struct deployment *d, const json_t *spec, struct err *err);
int replica_from_docs(struct replica *r, const json_t *spec, const json_t *status, struct err *err);
json_t *node_doc(const struct server *s, const struct node *n);
json_t *deployment_doc(const struct server *s, const struct deployment *d, bool with_replicas);
json_t *replica_doc(const struct server *s, const struct replica *r);
json_t *facts_summary(const struct arch_facts *f, const struct api_model *m);
json_t *measured_doc(const struct api_report *r);

/* ---- feed.c: watches ---- */
struct feed *feed_new(struct server *s);
void feed_free(struct feed *f);
enum feed_kind { FEED_NODE, FEED_DEPLOYMENT, FEED_REPLICA, FEED_KIND_COUNT };
/* Something about the object changed; sent soon, at most 4 times a second. `name` of a deployment,
 * id of the others. */
void feed_touch(struct server *s, enum feed_kind kind, const char *id);
void feed_touch_replica(struct server *s,
                        const struct replica *r); /* and its nodes' tasks, routes */
void feed_touch_tasks(struct server *s, const char *node_id);
void feed_touch_routes(struct server *s);
void feed_tick(struct server *s); /* once a second: comments on quiet streams */
void feed_watch_tasks(struct server *s, struct http_req *r, const char *node_id);
void feed_watch_routes(struct server *s, struct http_req *r);
void feed_watch_events(struct server *s, struct http_req *r);
/* What the watches send (views.c). */
json_t *view_tasks(const struct server *s, const char *node_id);
json_t *view_routes(const struct server *s);
json_t *view_snapshot(const struct server *s);

/* ---- nodes.c ---- */
int node_join(struct server *s, const json_t *doc, const char *peer, struct node **out,
              struct ops *ops, struct err *err);
int node_inventory(struct server *s, struct node *n, const json_t *doc, const char *peer,
                   struct err *err);
int node_set_drained(struct server *s, struct node *n, bool drained, const char *reason,
                     struct err *err);
int node_forget(struct server *s, struct node *n, struct err *err);
/* Once a second: who fell silent. */
void nodes_tick(struct server *s, int64_t lag_ms);
enum node_state node_state_of(const struct node *n);
/* Adds the node's labels to *out: the worker's, and above them those that people set. */
void node_labels(const struct node *n, struct cluster_node *out);
/* {"zone": "a", "old": null}: sets and removes labels that people set. ERR_INVALID, ERR_LIMIT. */
int node_label(struct server *s, struct node *n, const json_t *labels, struct err *err);

/* ---- group.c: reports in, decisions of the reconciler out ---- */
int group_report(struct server *s, struct replica *r, struct member *m, struct api_report *report,
                 struct err *err);
/* Reconciles until nothing is left to do now, and sets the timer for what is due later. */
void group_pump(struct server *s);
void server_wake(struct server *s); /* the pump runs soon */
int server_save_replica(struct server *s, struct replica *r, struct err *err);

/* ---- sched.c ---- */
struct sched *sched_new(struct server *s);
void sched_free(struct sched *c);
/* An answer may have changed: refused replicas are tried again. */
void sched_retry(struct server *s);
void sched_kick(struct server *s);
/* The cluster as placement sees it: free memory is net of what our instances will still take. */
void sched_snapshot(const struct server *s, struct cluster_snapshot *out);
/* The same with the spec of every instance: what could be moved, and a file that says all. */
void sched_snapshot_specs(const struct server *s, struct cluster_snapshot *out);
/* Device's (or "ram") claims in bytes: all of them, and those that no reading shows yet. */
struct claim_sums {
    uint64_t all, hidden;
};

/* The `place` of a request: a list with {"gpus": [...], "tensor_split": [...]} or null for each new
 * replica. Taken out of doc into *out; NULL when there is none. ERR_INVALID, ERR_LIMIT. */
int sched_take_wishes(json_t *doc, json_t **out, struct err *err);

/* ---- rest_*.c: one handler per route ---- */
struct auth_key;
struct call {
    struct server *s;
    struct http_req *req;
    const struct auth_key *key; /* NULL on public routes */
    char params[API_ROUTE_PARAMS][CLUSTER_NAME + 1];
};
/* Parses the body as an object with these keys only; NULL after an error reply. The caller frees.
 */
json_t *call_body(const struct call *c, const char *what, const char *const *keys, size_t n);
void call_fail(const struct call *c, const struct err *err); /* replies */
typedef void (*call_handler)(const struct call *c);
void rest_health(const struct call *c);
void rest_join(const struct call *c);
void rest_node_inventory(const struct call *c);
void rest_nodes(const struct call *c);
void rest_node_drain(const struct call *c);
void rest_node_undrain(const struct call *c);
void rest_node_label(const struct call *c);
void rest_node_delete(const struct call *c);
void rest_node_tasks(const struct call *c);
void rest_member_report(const struct call *c);
void rest_deploy(const struct call *c);
void rest_deployments(const struct call *c);
void rest_deployment(const struct call *c);
void rest_scale(const struct call *c);
void rest_undeploy(const struct call *c);
void rest_replicas(const struct call *c);
void rest_replica_log(const struct call *c);
void rest_log_lines(const struct call *c);
void rest_explain(const struct call *c);
void rest_plan(const struct call *c);
void rest_events(const struct call *c);
void rest_routes(const struct call *c);
void rest_key_create(const struct call *c);
void rest_keys(const struct call *c);
void rest_key_delete(const struct call *c);
void rest_token_create(const struct call *c);
void rest_snapshot(const struct call *c);
/* Log readers of a replica end when it goes. */
void logs_replica_gone(struct server *s, const struct replica *r);
void logs_tick(struct server *s);
void logs_free(struct server *s);

#endif
