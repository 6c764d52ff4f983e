/* Changes of a cluster that are asked about and not made: GPUs and nodes added or taken away, nodes
 * drained, deployments stopped. Pure; any thread.
 *
 * One grammar for the command line and the API:
 *   add       NODE: GPUS[, GPUS]         "hill: 2x RTX 3090 24GiB 936GB/s"
 *   add_node  NAME: ram SIZE[, GPUS]...  "elm: ram 64GiB, 2x RTX 3090"
 *   remove    NODE | NODE:INDEX | UUID   what runs there ends
 *   drain, undrain  NODE
 *   release   DEPLOYMENT                 what it holds is free again
 * GPUS is [COUNTx] NAME [MEMORY] [BANDWIDTH]; figures that are left out are those of a GPU of that
 * name in the cluster. */
#ifndef PLACE_EDIT_H
#define PLACE_EDIT_H

#include "cluster/cluster.h"

enum edit_op {
    EDIT_ADD,
    EDIT_ADD_NODE,
    EDIT_REMOVE,
    EDIT_DRAIN,
    EDIT_UNDRAIN,
    EDIT_RELEASE,
    EDIT_OP_COUNT,
};
const char *edit_op_name(enum edit_op op); /* "add_node" */

enum { EDIT_TEXT = 512, EDIT_MAX_GPUS = 1024 /* added by one edit */ };

struct edit {
    enum edit_op op;
    char what[EDIT_TEXT];
};
/* {"op": "add", "what": "hill: 2x RTX 3090"}; strict. */
int edit_from_json(struct edit *e, const json_t *doc, struct err *err);
json_t *edit_to_json(const struct edit *e);

/* Makes the change. ERR_NOT_FOUND: a node, GPU or deployment that the cluster does not have;
 * ERR_INVALID: what the text cannot mean. On failure *s may hold a part of it: throw it away. */
int edit_apply(struct cluster_snapshot *s, const struct edit *e, struct err *err);

/* A GPU by name, with what is left out (memory 0, bandwidth 0) taken from one of that name in the
 * cluster. ERR_INVALID when there is none. */
int edit_complete_gpu(const struct cluster_snapshot *s, struct cluster_device *d, struct err *err);
/* Adds a card like *d to a node: next free index, a uuid of its own, all of its memory free. */
void edit_add_gpu(struct cluster_node *n, const struct cluster_device *d);
/* The node of this name or id; UINT32_MAX with ERR_NOT_FOUND and the nearest name. */
uint32_t edit_find_node(const struct cluster_snapshot *s, const char *name, struct err *err);
/* The GPU "node:index" or uuid. -1 with ERR_NOT_FOUND and what there is. */
int edit_find_gpu(const struct cluster_snapshot *s, const char *name, uint32_t *node,
                  uint32_t *device, struct err *err);

#endif
