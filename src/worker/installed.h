/* The engine installed on this node: where it is, its version and which GPUs it can use and how
 * many devices at once, found by asking it. I/O; the worker's loop.
 *
 * Looked for in the engine folder itself, in its bin/, then in current/bin and in the newest
 * NAME/bin, as `stowage engine install` lays them out. Looked for again every INSTALLED_RETRY_MS
 * while there is none, so that an engine installed later is found without a restart. */
#ifndef WORKER_INSTALLED_H
#define WORKER_INSTALLED_H

#include "base/err.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum { INSTALLED_RETRY_MS = 10000, INSTALLED_MAX_DEVICES = 64, INSTALLED_NAME = 96 };

struct installed_info {
    bool found, looking; /* looking: not known yet, ask again soon */
    char bin_dir[1024];
    char rpc_program[32]; /* "ggml-rpc-server" or "rpc-server" */
    char label[64];       /* "llama.cpp b11669 cpu"; "" while unknown */
    char reason[200];     /* why there is none */
    /* What `--list-devices` names: "CUDA0", "RTX 3090". */
    struct {
        char id[16], name[INSTALLED_NAME];
        uint32_t total_mib;
    } devices[INSTALLED_MAX_DEVICES];
    uint32_t n_devices;
    uint32_t max_devices; /* one instance can span; 0: it did not say */
};

struct installed;
/* on_change: what installed_get says is another thing now. `env` is borrowed. */
struct installed *installed_new(struct loop *l, const char *engine_dir, const char *const *env,
                                void (*on_change)(void *arg), void *arg);
const struct installed_info *installed_get(const struct installed *i);
void installed_free(struct installed *i);

/* Looks on disk only; fills bin_dir and rpc_program, or reason. */
bool installed_find(const char *engine_dir, struct installed_info *out);
/* One line of `--version` or `--list-devices`. */
void installed_line(struct installed_info *out, const char *line);

#endif
