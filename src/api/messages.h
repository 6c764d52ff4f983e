/* Messages that two roles share: the worker's tasks, its reports, the gateway's routes, log lines;
 * as structs with their JSON form (docs/api.md). Pure; any thread.
 *
 * Foreign JSON is bounded before anything is allocated. Senders write every field; readers skip
 * keys they do not know inside these documents, so that a newer peer can be understood. `*_to_json`
 * gives a tree the caller owns; `*_from_json` fills a zeroed struct, leaves it empty on failure,
 * and its contents are freed with `*_done` (safe on a zeroed struct). */
#ifndef API_MESSAGES_H
#define API_MESSAGES_H

#include "cluster/deployment.h"

enum {
    API_MAX_TASKS = 4096,
    API_MAX_PEERS = 1024,
    API_MAX_LOG_STREAMS = 64,
    API_MAX_MEASURED = 4096,
    API_MAX_ROUTES = 10000,
    API_MAX_ENDPOINTS = 10000,
    API_MAX_KEYS = 100000,
    API_MAX_LOG_LINES = 4096,
    API_MAX_LOG_LINE = 16 << 10,
    API_HEX = 65, /* 32 bytes in hex and a NUL */
};

/* ---- tasks: what one node shall run; the whole list at each change ---- */
enum api_role { API_MAIN, API_RPC };
const char *api_role_name(enum api_role r); /* "main", "rpc" */

struct api_model {
    char path[SPEC_MODEL_PATH];
    uint64_t bytes;              /* of all files of the set */
    char header_sha256[API_HEX]; /* of the first file's bytes up to its data section; "" unknown */
};
struct api_peer { /* a node whose rpc member the main connects to */
    char node_id[CLUSTER_ID], node[CLUSTER_NAME], addr[CLUSTER_ADDR];
};
struct api_log_stream { /* somebody reads this replica's log: POST lines to /api/v1/logs/{stream} */
    char stream[CLUSTER_ID];
    bool follow;
    uint32_t tail;
};
struct api_task {
    char replica[CLUSTER_ID], deployment[CLUSTER_NAME]; /* deployment by name */
    uint32_t index, generation;
    enum api_role role;
    bool run;             /* desired: run, or stop and report `stopped` (also when nothing runs) */
    bool peers_up;        /* the barrier: the main may start llama-server */
    char secret[API_HEX]; /* of the group's tunnels */
    char alias[CLUSTER_NAME]; /* model name the engine reports */
    struct assignment assignment;
    struct api_model model;
    struct api_peer
        *peers; /* main only: nodes of the rpc members, in order of the assignment's parts */
    uint32_t n_peers;
    struct api_log_stream *log_streams;
    uint32_t n_log_streams;
};
struct api_tasks {
    struct api_task *items;
    uint32_t n;
};
json_t *api_task_to_json(const struct api_task *t);
int api_task_from_json(struct api_task *t, const json_t *doc, struct err *err);
void api_task_done(struct api_task *t);
json_t *api_tasks_to_json(const struct api_tasks *t); /* {"items":[...]} */
int api_tasks_from_json(struct api_tasks *t, const json_t *doc, struct err *err);
void api_tasks_done(struct api_tasks *t);

/* ---- member report ---- */
enum member_state {
    MEMBER_WAITING, /* the server's word: no report of this generation yet; never on the wire to it
                     */
    MEMBER_FETCHING,
    MEMBER_STARTING,
    MEMBER_UP,
    MEMBER_LOADING,
    MEMBER_READY,
    MEMBER_FAILED,
    MEMBER_STOPPED,
    MEMBER_STATE_COUNT,
};
const char *member_state_name(enum member_state s); /* "waiting", "fetching", ... */
int member_state_parse(const char *name, enum member_state *out, struct err *err);

struct api_bytes {
    uint64_t weights_bytes, kv_bytes, compute_bytes;
};
struct api_measured { /* what the engine said it took for one part of the assignment */
    uint32_t part;    /* index into assignment.parts */
    struct api_bytes bytes;
};
struct api_report {
    uint32_t generation;
    enum member_state state;
    uint32_t percent; /* 0 to 100 of the state's own work */
    char code[32];    /* failed: name of an error code, "" otherwise */
    char message[240];
    uint64_t pid, rss_bytes; /* 0: unknown */
    struct api_measured *measured;
    uint32_t n_measured;
    bool has_host_measured;
    struct api_bytes host_measured;
    uint64_t load_ms, first_token_ms; /* 0: unknown */
    double tok_s;                     /* 0: unknown */
};
json_t *api_report_to_json(const struct api_report *r);
int api_report_from_json(struct api_report *r, const json_t *doc, struct err *err);
void api_report_done(struct api_report *r);

/* ---- routes: what the gateway may send where, and the keys it checks itself ---- */
struct api_endpoint {
    char replica[CLUSTER_ID];
    uint32_t generation;
    char node_id[CLUSTER_ID], addr[CLUSTER_ADDR]; /* where the main's worker accepts tunnels */
    char secret[API_HEX];
    uint32_t slots;
};
/* state: "ready" (an endpoint serves), "starting", "pending" (nothing fits yet), "degraded" (its
 * replicas failed or are lost and will be tried again), "stopped" (no replica wanted). */
struct api_route {
    char name[CLUSTER_NAME], state[16];
    uint32_t ctx, n_slots; /* per slot; slots of one replica */
    int64_t created_at;    /* Unix ms */
    struct api_endpoint *endpoints;
    uint32_t n_endpoints;
};
struct api_key {
    char id[CLUSTER_ID], hash[API_HEX], scope[16]; /* "api" or "admin" */
    struct name_list *models;                      /* NULL: every model */
};
struct api_routes {
    char key_salt[API_HEX]; /* hash = hex(HMAC-SHA256(secret = 32 bytes of key_salt, key)) */
    struct api_route *models;
    uint32_t n_models;
    struct api_key *keys;
    uint32_t n_keys;
};
json_t *api_routes_to_json(const struct api_routes *r);
int api_routes_from_json(struct api_routes *r, const json_t *doc, struct err *err);
void api_routes_done(struct api_routes *r);

/* ---- log lines, worker to server ---- */
struct api_log_line {
    char role[16]; /* "main" or "rpc" */
    char *text;    /* without a newline */
};
struct api_log {
    struct api_log_line *lines;
    uint32_t n_lines;
    bool end; /* nothing follows from this member */
};
json_t *api_log_to_json(const struct api_log *l);
int api_log_from_json(struct api_log *l, const json_t *doc, struct err *err);
void api_log_done(struct api_log *l);

#endif
