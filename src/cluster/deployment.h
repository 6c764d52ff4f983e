/* What a user asks for (spec), what the scheduler answers (assignment), and the life of a replica.
 * Plain data with its JSON form. Pure; any thread. */
#ifndef CLUSTER_DEPLOYMENT_H
#define CLUSTER_DEPLOYMENT_H

#include "cluster/cluster.h"
#include "cluster/policy.h"

enum {
    SPEC_MODEL_PATH = 1024,
    SPEC_MAX_CTX = 1 << 24,
    SPEC_MAX_SLOTS = 256,
    SPEC_MAX_REPLICAS = 1000,
};

/* Desired state; sole writer is the API. */
struct deployment_spec {
    char name[CLUSTER_NAME];     /* the model name of the gateway; [A-Za-z0-9._:/-], unique */
    char model[SPEC_MODEL_PATH]; /* absolute path of the GGUF file (first shard of a set) */
    uint32_t ctx;            /* per slot; 0 = min(trained, 8192), resolved at deploy and printed */
    uint32_t n_slots;        /* 0 = 1 */
    char kv[8];              /* "f16" (default), "q8_0", "q4_0" */
    uint32_t replicas;       /* 0 is allowed: nothing runs */
    struct policy policy;    /* preset "tiered" by default */
    struct constraints want; /* their keys stand beside the others in the document */
};
/* Strict: unknown keys refused; fills defaults; the same call in CLI and server. A spec without a
 * name gets `name`, unless that is NULL. */
struct doc_at;
int spec_read(struct deployment_spec *spec, const struct doc_at *at, const char *name,
              struct err *err);
int spec_from_json(struct deployment_spec *spec, const json_t *doc, struct err *err);
json_t *spec_to_json(const struct deployment_spec *spec);
int spec_validate(const struct deployment_spec *spec, struct err *err);

/* One device's share of a placement, in pipeline order. */
struct assignment_part {
    char node_id[CLUSTER_ID], node[CLUSTER_NAME];
    char uuid[CLUSTER_NAME]; /* "" for the RAM of a remote CPU-only node */
    uint32_t index;
    char device_name[CLUSTER_NAME];
    enum device_backend backend;
    uint32_t first_layer, n_layers;
    bool output;         /* carries the output layer */
    uint64_t free_bytes; /* seen when planned */
    uint64_t weights_bytes, kv_bytes, compute_bytes, runtime_bytes;
};

/* Sole writer is the scheduler. An engine can be started from this alone. */
struct assignment {
    char plan_id[24];                                  /* hash of the inputs, "p-7c1f..." */
    char engine[16];                                   /* "llama.cpp" */
    char main_id[CLUSTER_ID], main_node[CLUSTER_NAME]; /* node that runs llama-server */
    uint32_t n_layers, n_blocks; /* of the model; n_blocks is what -ngl and -ts count */
    uint32_t n_cpu_layers;       /* the first ones, on the main node's CPU */
    uint32_t n_cpu_moe;          /* routed experts of the first n blocks in the main node's RAM */
    uint32_t ctx;                /* whole, as -c: per slot times slots */
    uint32_t n_slots, ubatch;
    char kv[8];
    uint64_t host_weights_bytes, host_kv_bytes, host_compute_bytes; /* RAM of the main node */
    double tok_s; /* predicted, one stream; 0 unknown */
    struct assignment_part *parts;
    uint32_t n_parts;
};
void assignment_done(struct assignment *a);
json_t *assignment_to_json(const struct assignment *a);
int assignment_from_json(struct assignment *a, const json_t *doc, struct err *err);
uint64_t assignment_part_bytes(const struct assignment_part *p); /* sum of the four */

/* The life of a replica: one transition table for server, worker and UI. */
enum replica_state {
    REPLICA_PENDING,
    REPLICA_ASSIGNED,
    REPLICA_FETCHING,
    REPLICA_STARTING,
    REPLICA_READY,
    REPLICA_DRAINING,
    REPLICA_GONE,
    REPLICA_FAILED,
    REPLICA_LOST,
    REPLICA_STATE_COUNT,
};
const char *replica_state_name(enum replica_state s); /* "pending" */
int replica_state_parse(const char *name, enum replica_state *out, struct err *err);
bool replica_may(enum replica_state from, enum replica_state to);
/* Longest stay in a state before it counts as failed, ms; 0: no bound. STARTING also grows with
 * bytes. */
int64_t replica_deadline_ms(enum replica_state s, uint64_t bytes_to_send);
/* Wait before the n-th restart (n from 1), ms: 1 s doubling to 5 min. */
int64_t replica_backoff_ms(uint32_t n_failures);

#endif
