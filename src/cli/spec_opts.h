/* The options that say how a model is to be placed, one table for deploy and plan. Pure. */
#ifndef CLI_SPEC_OPTS_H
#define CLI_SPEC_OPTS_H

#include "base/json.h"
#include "base/opt.h"
#include "cluster/deployment.h"

struct spec_opts {
    uint64_t ctx, parallel, max_nodes, max_gpus;
    const char *kv, *policy;
    bool no_ram;
    struct opt_list nodes, exclude_nodes, gpus;
};
#define SPEC_OPTS_DEFAULT ((struct spec_opts){.parallel = 1, .kv = "f16", .policy = "tiered"})

/* Rows of an option table that fill the struct spec_opts `o`. */
/* clang-format off */
#define SPEC_OPTS_ROWS(o)                                                                          \
    {"ctx", 'c', OPT_U64, &(o).ctx, "N", "context per request (trained, at most 8192)", 0,         \
     SPEC_MAX_CTX},                                                                                \
    {"parallel", 'p', OPT_U64, &(o).parallel, "N", "requests at a time per replica (1)", 1,        \
     SPEC_MAX_SLOTS},                                                                              \
    {"kv", 0, OPT_STR, &(o).kv, "TYPE", "KV cache: f16, q8_0 or q4_0 (f16)"},                      \
    {"policy", 0, OPT_STR, &(o).policy, "POLICY", "tiered or fastest (tiered)"},                   \
    {"nodes", 0, OPT_LIST, &(o).nodes, "A,B", "only these nodes"},                                 \
    {"exclude-nodes", 0, OPT_LIST, &(o).exclude_nodes, "A,B", "not these nodes"},                  \
    {"gpus", 0, OPT_LIST, &(o).gpus, "A:0,B:1", "only these GPUs (node:index or UUID)"},           \
    {"max-nodes", 0, OPT_U64, &(o).max_nodes, "N", "at most N nodes", 1, CLUSTER_MAX_NODES},       \
    {"max-gpus", 0, OPT_U64, &(o).max_gpus, "N", "at most N GPUs", 1, CLUSTER_MAX_DEVICES},        \
    {"no-ram", 0, OPT_FLAG, &(o).no_ram, NULL, "no layers in RAM"}
/* clang-format on */

/* The spec document of these options (one replica); the caller owns it. */
json_t *spec_opts_doc(const struct spec_opts *o, const char *name, const char *model);

#endif
