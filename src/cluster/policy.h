/* What a user wants of a placement beside the model itself: policies (what is better) and
 * constraints (what is allowed). Plain data; pure; any thread.
 *
 * A policy is an ordered list of terms, compared one after the other, or a weighted sum of them.
 * Presets are rows of a table; a user's own come from a file (schema stowage.policy/1,
 * docs/policies.md). */
#ifndef CLUSTER_POLICY_H
#define CLUSTER_POLICY_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

/* Every term is a cost: less is better. A weight is per unit; what is compared are whole numbers of
 * the resolution. docs/policies.md says where each figure comes from. */
enum policy_term {
    TERM_OFFLOAD,     /* 0 all on GPUs, 1 part in RAM, 2 CPU only */
    TERM_NODES,       /* nodes that take part, the main one included */
    TERM_GPUS,        /* GPUs used by plans that are all on GPUs; of others 0, as fewest GPUs would
                         mean as much RAM as possible */
    TERM_TOKEN_TIME,  /* predicted ms per generated token, one stream; resolution 1 ns */
    TERM_STREAM_TIME, /* predicted ms per token over `streams` streams: max(total / streams, slowest
                         stage); resolution 1 ns */
    TERM_HOPS,        /* devices reached over the network */
    TERM_LEFTOVER,    /* usable GiB of used GPUs, each rounded up, all on GPUs; else 0. The model
                         takes the same of them in every plan: the least sum is the best fit */
    TERM_WHOLE,       /* GiB of used GPUs on which nothing of ours runs yet, each rounded up, all on
                         GPUs; else 0: large ones stay whole */
    TERM_SPREAD,   /* replicas of the same deployment that the failure domains of used nodes have */
    TERM_LOAD,     /* per cent of GPU memory in use before this plan, summed over used nodes */
    TERM_LOCALITY, /* MiB of the model file that the main node does not have yet */
    TERM_POWER,    /* watts of used GPUs */
    TERM_PRICE,    /* price of used GPUs, in the unit of the cluster file; resolution 0.01 */
    TERM_COUNT,
};
const char *policy_term_name(enum policy_term t); /* "token_time" */
const char *policy_term_unit(enum policy_term t); /* "ms"; "" for numbers of things */

enum {
    POLICY_NAME = 32,
    POLICY_MAX_STREAMS = 4096,
    CONSTRAINT_MAX_NAMES = 64,
    CONSTRAINT_NAME = 80,
};

struct policy {
    char name[POLICY_NAME];
    bool weighted; /* else lexicographic */
    uint32_t n_terms;
    struct {
        enum policy_term term;
        double weight; /* weighted only: above 0 */
    } terms[TERM_COUNT];
    uint32_t streams;             /* of TERM_STREAM_TIME; 0: 1 */
    char domain[CONSTRAINT_NAME]; /* key of the label that names failure domains; "": the node */
};
/* Fills *p with the preset; ERR_INVALID names the nearest preset. */
int policy_preset(struct policy *p, const char *name, struct err *err);
/* The i-th preset's name; NULL at the end. */
const char *policy_preset_name(uint32_t i);
/* The same order of terms, whatever the names. */
bool policy_same(const struct policy *a, const struct policy *b);
/* A text (preset) or a mapping (terms), as in a spec; strict. */
struct doc;
struct doc_at;
int policy_read(struct policy *p, const struct doc_at *at, struct err *err);
int policy_from_json(struct policy *p, const json_t *tree, struct err *err);
json_t *policy_to_json(const struct policy *p); /* a string when it is a preset */

struct name_list {
    char items[CONSTRAINT_MAX_NAMES][CONSTRAINT_NAME];
    uint32_t n;
};

/* Empty lists and zeros bind nothing. */
struct constraints {
    struct name_list nodes, exclude_nodes; /* names or ids */
    struct name_list gpus;                 /* only these: node:index or uuid */
    struct name_list gpu_types; /* only GPUs whose name is or begins with one of these, any case */
    struct name_list labels;    /* "key=value", all of which a node must have */
    struct name_list anti_affinity; /* deployments; their nodes are left out. The own name: one
                                       replica per node */
    struct name_list keep_whole;    /* nodes: all of their GPUs or none; GPUs (node:index, uuid or
                                       type): never for a part of a model */
    uint32_t gpus_per_replica;      /* exactly */
    uint32_t max_nodes, max_gpus;
    uint32_t min_ctx; /* per slot: the context may be lowered so far when the asked one does not
                         fit; 0: not at all */
    double min_tok_s; /* predicted, one stream, the pessimistic end */
    bool no_ram;      /* no layers or experts in RAM */
    bool no_network;  /* one node */
    uint32_t split[CONSTRAINT_MAX_NAMES]; /* layers of each entry of gpus, in that order; checked as
                                             it is, nothing is searched */
    uint32_t n_split;
};
/* Reads the keys of a mapping into *c, which keeps what is not named; unknown keys are refused
 * unless they are among `other` (keys of the document around them). */
int constraints_read(struct constraints *c, const struct doc_at *at, const char *const *other,
                     size_t n_other, struct err *err);
void constraints_to_json(const struct constraints *c, json_t *doc); /* only what binds */
int constraints_validate(const struct constraints *c, struct err *err);
bool name_list_has(const struct name_list *l, const char *name);

/* A policy file, schema stowage.policy/1: the policy, and its constraints into *c, which keeps what
 * the file does not name. ERR_INVALID with file and line; then *p is untouched. */
int policy_file_read(struct policy *p, struct constraints *c, const struct doc *d, struct err *err);
json_t *policy_file_to_json(const struct policy *p, const struct constraints *c);

#endif
