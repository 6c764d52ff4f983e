/* Plain data of a cluster: nodes, devices, links, snapshot; and its JSON/YAML form. Pure; any
 * thread.
 *
 * A snapshot is all that placement may know: static facts, live free memory net of claims. Arrays
 * are owned by the snapshot. Ids are server-made; names are for people and unique per cluster. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CLUSTER_ID = 40,
    CLUSTER_NAME = 64,
    CLUSTER_ADDR = 72,
    CLUSTER_LABEL = 80,
    CLUSTER_MAX_NODES = 100000,
    CLUSTER_MAX_DEVICES = 100000,
    CLUSTER_MAX_LABELS = 64,  /* of one node */
    CLUSTER_MAX_FILES = 4096, /* of one node */
    CLUSTER_FILE = 1024,      /* bytes of one's path */
    CLUSTER_MAX_LINKS = 100000,
    CLUSTER_MAX_INSTANCES = 100000,
    CLUSTER_MAX_NODE_DEVICES = 1024,
    /* Devices that one llama.cpp instance spans unless its build says otherwise: the scheduler has
     * 16 back ends, one of them the CPU; every device behind an rpc-server counts. Measured;
     * docs/decisions/0010-engine-devices.md. */
    CLUSTER_ENGINE_DEVICES = 15,
};

enum device_kind { DEVICE_GPU, DEVICE_CPU };
/* How the engine addresses the device. RPC-played devices (cpu on a remote node, fake) are CPU
 * devices of a ggml-rpc-server; cuda and vulkan are addressed by the engine directly. */
enum device_backend { BACKEND_CUDA, BACKEND_VULKAN, BACKEND_CPU, BACKEND_FAKE, BACKEND_COUNT };
const char *device_backend_name(enum device_backend b);
int device_backend_parse(const char *name, enum device_backend *out, struct err *err);
/* Cards whose memory is HBM, by their usual names. */
bool device_name_is_hbm(const char *name);

struct cluster_device {
    char uuid[CLUSTER_NAME]; /* identifies the device for ever; in files and towards engines */
    uint32_t index;          /* for people: node:index, PCI order */
    char name[CLUSTER_NAME]; /* "RTX 3090" */
    enum device_kind kind;
    enum device_backend backend;
    uint64_t total_bytes;
    uint64_t free_bytes; /* in a snapshot: live free minus claims not yet visible; never below 0 */
    uint64_t claimed_bytes;       /* by our own instances (for display) */
    double bandwidth_bytes_per_s; /* 0: unknown */
    bool hbm;
    uint32_t tdp_w;    /* watts at full load; 0: unknown */
    double price;      /* in the unit of the cluster file; 0: unknown */
    bool has_readings; /* utilisation and temperature known */
    uint32_t util_percent, temp_c, power_w;
};

enum node_state { NODE_READY, NODE_DRAINED, NODE_LOST, NODE_STATE_COUNT };
const char *node_state_name(enum node_state s); /* "ready", "drained", "lost" */

struct cluster_node {
    char id[CLUSTER_ID], name[CLUSTER_NAME];
    char addr[CLUSTER_ADDR]; /* host:port where its worker accepts tunnels; "" in a plan file */
    enum node_state state;
    char reason[CLUSTER_NAME];    /* of a drain */
    char version[32], engine[64]; /* stowage version; engine as "llama.cpp b11669 cpu" or "" */
    uint32_t engine_devices;      /* most devices one instance of it can span; 0: not known */
    uint64_t ram_bytes, ram_free_bytes;
    uint32_t n_cpus;
    struct cluster_device
        *devices; /* by index; the CPU of a node is no device here: ram_* stands for it */
    uint32_t n_devices;
    int64_t seen_ms;               /* age of the last heartbeat, ms; -1 when unknown */
    char (*labels)[CLUSTER_LABEL]; /* "key=value"; owned */
    uint32_t n_labels;
    char **files; /* model files it has, absolute paths; owned */
    uint32_t n_files;
};

/* A replica that runs or is being started: what it holds is no longer free in the snapshot. */
struct cluster_instance {
    char id[CLUSTER_ID];           /* of the replica; "" in a file */
    char deployment[CLUSTER_NAME]; /* the model's name */
    uint32_t index;                /* of the replica in its deployment */
    bool pinned;                   /* must not be moved */
    uint32_t main;                 /* node index */
    uint64_t main_ram_bytes;       /* on the main node */
    struct cluster_instance_part {
        uint32_t node;   /* index into the snapshot's nodes */
        uint32_t device; /* index into the node's devices; UINT32_MAX: its RAM */
        uint64_t bytes;  /* held there, the driver's share included */
    } * parts;           /* owned */
    uint32_t n_parts;
    json_t *spec; /* the deployment's spec, for planning it again; NULL: it cannot be moved; owned
                   */
};

struct cluster_link { /* both directions; node indexes into the snapshot, or all pairs */
    uint32_t a, b;
    bool all;
    double bytes_per_s, rtt_s;
};

struct cluster_snapshot {
    struct cluster_node *nodes;
    uint32_t n_nodes;
    struct cluster_link *links;
    uint32_t n_links;
    struct cluster_instance *instances; /* of replicas; owned */
    uint32_t n_instances;
    uint64_t margin_bytes;   /* kept free on every device */
    uint64_t runtime_bytes;  /* of a GPU's driver and engine context, per used GPU */
    uint32_t engine_devices; /* most devices one instance can span; 0: no limit */
    int64_t revision;        /* of the store; 0 for a file */
};

void snapshot_init(struct cluster_snapshot *s); /* empty, default reserve (512 MiB, 600 MiB) */
void snapshot_done(struct cluster_snapshot *s);
/* Appends a node and returns it (zeroed, owned by s; the pointer lives until the next append). */
struct cluster_node *snapshot_add_node(struct cluster_snapshot *s);
struct cluster_device *node_add_device(struct cluster_node *n);
struct cluster_link *snapshot_add_link(struct cluster_snapshot *s);
struct cluster_instance *snapshot_add_instance(struct cluster_snapshot *s);
/* A deep copy into *to, which is overwritten. */
void snapshot_copy(struct cluster_snapshot *to, const struct cluster_snapshot *from);
/* The best link between two nodes: the specific one, else `all`, else 1 Gbit/s and 0.2 ms. */
struct cluster_link snapshot_link(const struct cluster_snapshot *s, uint32_t a, uint32_t b);

/* Reads a cluster file (schema stowage.cluster/1, as in docs/cluster-file.md): strict, whatever is
 * unknown, out of range, given twice or contradicts itself is an ERR_INVALID with line and place.
 * *s must be initialised; untouched on failure. */
struct doc;
int snapshot_from_doc(struct cluster_snapshot *s, const struct doc *doc, struct err *err);
/* The same from a tree whose lines are not known. */
int snapshot_from_json(struct cluster_snapshot *s, const json_t *tree, struct err *err);
json_t *snapshot_to_json(const struct cluster_snapshot *s); /* a file that plans the same */

/* The wire form of one node with its devices (inventory and readings), both ways. */
json_t *node_to_json(const struct cluster_node *n);
int node_from_json(struct cluster_node *n, const json_t *doc,
                   struct err *err); /* n zeroed by caller */
void node_done(struct cluster_node *n);
/* ERR_INVALID unless it is "key=value", of printable text, in less than CLUSTER_LABEL bytes. */
int label_check(const char *label, struct err *err);
/* Sets a label that passed label_check; one of the same key is replaced. ERR_LIMIT: too many. */
int node_set_label(struct cluster_node *n, const char *label, struct err *err);
/* Labels as a list of texts, both ways; n->labels must be empty before reading. */
json_t *labels_to_json(const struct cluster_node *n);
int labels_from_json(struct cluster_node *n, const json_t *list, struct err *err);

#endif
