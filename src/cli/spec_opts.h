/* The options that say how a model is to be placed, one table for plan, deploy, whatif, size and
 * defrag. Reads the policy file; else pure. */
#ifndef CLI_SPEC_OPTS_H
#define CLI_SPEC_OPTS_H

#include "base/json.h"
#include "base/opt.h"
#include "cluster/deployment.h"

struct spec_opts {
    uint64_t ctx, parallel, streams, gpus_per_replica, max_nodes, max_gpus, min_ctx;
    double min_tok_s;
    const char *kv, *policy, *policy_file, *tensor_split;
    bool no_ram, no_network;
    struct opt_list nodes, exclude_nodes, gpus, gpu_types, labels, anti_affinity, keep_whole;
};
#define SPEC_OPTS_DEFAULT ((struct spec_opts){.parallel = 1, .kv = "f16"})

/* Rows of an option table that fill the struct spec_opts `o`. */
/* clang-format off */
#define SPEC_OPTS_ROWS(o)                                                                          \
    {"ctx", 'c', OPT_U64, &(o).ctx, "N", "context per request (trained, at most 8192)", 0,         \
     SPEC_MAX_CTX},                                                                                \
    {"parallel", 'p', OPT_U64, &(o).parallel, "N", "requests at a time per replica (1)", 1,        \
     SPEC_MAX_SLOTS},                                                                              \
    {"kv", 0, OPT_STR, &(o).kv, "TYPE", "KV cache: f16, q8_0 or q4_0 (f16)"},                      \
    {"policy", 0, OPT_STR, &(o).policy, "NAME",                                                    \
     "tiered, fastest, throughput, binpack, spread, cheapest (tiered)"},                           \
    {"policy-file", 0, OPT_STR, &(o).policy_file, "FILE", "a policy of your own (YAML)"},          \
    {"streams", 0, OPT_U64, &(o).streams, "N", "requests that the policy has in mind", 1,          \
     POLICY_MAX_STREAMS},                                                                          \
    {"nodes", 0, OPT_LIST, &(o).nodes, "A,B", "only these nodes"},                                 \
    {"exclude-nodes", 0, OPT_LIST, &(o).exclude_nodes, "A,B", "not these nodes"},                  \
    {"labels", 0, OPT_LIST, &(o).labels, "K=V", "only nodes with all these labels"},               \
    {"gpus", 0, OPT_LIST, &(o).gpus, "A:0,B:1", "only these GPUs (node:index or UUID)"},           \
    {"gpu-types", 0, OPT_LIST, &(o).gpu_types, "TYPE", "only GPUs of these names"},                \
    {"gpus-per-replica", 0, OPT_U64, &(o).gpus_per_replica, "N", "exactly N GPUs", 1,              \
     CLUSTER_MAX_DEVICES},                                                                         \
    {"max-nodes", 0, OPT_U64, &(o).max_nodes, "N", "at most N nodes", 1, CLUSTER_MAX_NODES},       \
    {"max-gpus", 0, OPT_U64, &(o).max_gpus, "N", "at most N GPUs", 1, CLUSTER_MAX_DEVICES},        \
    {"min-ctx", 0, OPT_U64, &(o).min_ctx, "N", "a smaller context will do, down to N", 16,         \
     SPEC_MAX_CTX},                                                                                \
    {"min-tok-s", 0, OPT_NUMBER, &(o).min_tok_s, "N", "no slower than N tokens/s, one stream"},    \
    {"no-ram", 0, OPT_FLAG, &(o).no_ram, NULL, "no layers in RAM"},                                \
    {"no-network", 0, OPT_FLAG, &(o).no_network, NULL, "one node only"},                           \
    {"anti-affinity", 0, OPT_LIST, &(o).anti_affinity, "MODEL", "not on nodes that run these"},    \
    {"keep-whole", 0, OPT_LIST, &(o).keep_whole, "A,B:0",                                          \
     "nodes: all of their GPUs or none; GPUs: never for a part"},                                  \
    {"tensor-split", 0, OPT_STR, &(o).tensor_split, "3,39,39",                                     \
     "layers of each GPU of --gpus, in that order"}
/* clang-format on */

/* The spec document of these options, which the caller owns. NULL with err: a bad policy (its file
 * and line are named), a bad split, or what spec_from_json refuses. */
json_t *spec_opts_doc(const struct spec_opts *o, const char *name, const char *model,
                      uint64_t replicas, struct err *err);
/* A model's name from its file's: no folder, no .gguf, no shard number, only characters of names.
 */
void spec_name_of_file(const char *path, char *dst, size_t cap);

#endif
