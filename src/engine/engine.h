/* Engine drivers: an assignment becomes programs to start, arguments, environment, ports, probes,
 * and log lines become facts. Pure, golden-tested; any thread. Drivers: llama.cpp. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/err.h"
#include "cluster/deployment.h"

enum { ENGINE_MAX_ARGV = 96, ENGINE_MAX_ENV = 32, ENGINE_MAX_LAUNCH = 4 };

/* One process to start on one node for one replica. Strings are owned by it. */
struct engine_launch {
    char role[16];               /* "main" or "rpc" */
    char *argv[ENGINE_MAX_ARGV]; /* NULL-terminated */
    char *env[ENGINE_MAX_ENV];   /* "NAME=VALUE", NULL-terminated */
    uint16_t port;               /* loopback port it will listen on */
};
void engine_launch_done(struct engine_launch *l);

/* What the worker of one node knows when it asks. Ports are loopback ports below 32768. */
struct engine_site {
    const char *node_id;
    const char *bin_dir;     /* folder with llama-server and ggml-rpc-server */
    const char *rpc_program; /* file name of the rpc-server there; NULL: "ggml-rpc-server" */
    uint16_t main_port;      /* of llama-server (main only) */
    uint16_t rpc_port; /* of this node's own ggml-rpc-server (members, and a main whose own devices
                          are fake) */
    const uint16_t
        *peer_ports;    /* main only: local port per remote member, in engine_members order */
    uint32_t n_threads; /* CPU threads for an engine that computes on the CPU */
    const char *const
        *extra_env;    /* "NAME=VALUE" of the worker's --engine-env; NULL-terminated or NULL */
    const char *alias; /* model name the engine reports */
    const char *model; /* path here */
};

enum engine_fact_kind {
    ENGINE_WEIGHTS,
    ENGINE_KV,
    ENGINE_COMPUTE,   /* device, bytes (MiB with two decimals in the log) */
    ENGINE_LAYER,     /* layer -> device */
    ENGINE_PROGRESS,  /* percent loaded */
    ENGINE_LISTENING, /* an rpc-server that is ready */
    ENGINE_ERROR,     /* code + text for people */
};
struct engine_fact {
    enum engine_fact_kind kind;
    char device[48]; /* "RPC0[127.0.0.1:20001]", "CPU_Mapped", "CUDA0"; of a layer "RPC2" */
    uint64_t bytes;
    uint32_t layer, percent;
    enum err_code code; /* ENGINE_ERROR: ERR_LIMIT for memory, ERR_CORRUPT for the file,
                           ERR_CONFLICT for a port... */
    char text[160];
};

enum { ENGINE_PART_HOST = -1, ENGINE_PART_UNKNOWN = -2 };

struct engine_driver {
    const char *name;
    /* Node ids that must run an RPC member, in --rpc order (remote ones; a main with fake devices
     * is included as itself). Returns the count, at most max. */
    uint32_t (*members)(const struct assignment *a, const char *out[], uint32_t max);
    /* The process of this node with this role ("main" or "rpc"). ERR_INVALID/ERR_UNSUPPORTED when
     * the engine cannot express the assignment. */
    int (*launch)(const struct assignment *a, const struct engine_site *site, const char *role,
                  struct engine_launch *out, struct err *err);
    /* One line of engine output: fills *fact when it says something. */
    bool (*read_line)(const char *line, struct engine_fact *fact);
    /* The part of the assignment that a fact's device is, ENGINE_PART_HOST for the RAM of the main,
     * or ENGINE_PART_UNKNOWN. `site` is the one that the main was launched with. */
    int (*part_of)(const struct assignment *a, const struct engine_site *site, const char *device);
    /* Longest start-up, ms, from bytes that must be read and sent. */
    int64_t (*startup_ms)(const struct assignment *a);
};
extern const struct engine_driver *const ENGINE_DRIVERS[]; /* NULL-terminated */
const struct engine_driver *engine_find(const char *name); /* NULL when unknown */

/* The engine's own name of part i ("RPC2", "CUDA0") as --device takes it and layer lines print it.
 * (Buffer lines number the devices of each endpoint from 0: "RPC0[127.0.0.1:20002]"; see part_of.)
 */
void engine_device_name(const struct assignment *a, uint32_t part, char *dst, size_t cap);

#endif
