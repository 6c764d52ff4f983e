/* Which nodes and GPUs of a snapshot may take part, by constraints. Pure; any thread.
 *
 * Names are checked first, so that a misspelt one is an error and never an empty choice. */
#ifndef PLACE_ALLOW_H
#define PLACE_ALLOW_H

#include "cluster/cluster.h"
#include "cluster/policy.h"

/* Why a node or a device takes no part. */
enum scene_why {
    SCENE_OK,
    SCENE_NODE_EXCLUDED,   /* named by exclude_nodes */
    SCENE_NODE_NOT_LISTED, /* not among `nodes` */
    SCENE_NOT_LISTED,      /* not among `gpus` */
    SCENE_DRAINED,
    SCENE_LOST,
    SCENE_TYPE,          /* not of a type of `gpu_types` */
    SCENE_LABEL,         /* the node lacks one of `labels` */
    SCENE_ANTI_AFFINITY, /* a deployment of `anti_affinity` runs there */
    SCENE_KEPT_NODE,     /* its node is kept whole, and another GPU there is left out */
    SCENE_WHY_COUNT,
};

/* ERR_NOT_FOUND for a node, GPU, type or label that the cluster does not have, with the nearest
 * one. Deployments of anti_affinity need not exist: none of theirs runs. */
int allow_check(const struct cluster_snapshot *s, const struct constraints *w, struct err *err);

/* Fills why[n_nodes] for every node. */
void allow_nodes(const struct cluster_snapshot *s, const struct constraints *w,
                 enum scene_why *why);
/* Of a GPU whose node takes part. */
enum scene_why allow_gpu(const struct constraints *w, const struct cluster_node *n,
                         const struct cluster_device *d);
/* Is it kept whole by its own name or type, so that it takes no part of a model? */
bool allow_gpu_kept(const struct constraints *w, const struct cluster_node *n,
                    const struct cluster_device *d);
/* All of its GPUs or none? */
bool allow_node_kept(const struct constraints *w, const struct cluster_node *n);

/* "node:index" or the uuid. */
bool allow_gpu_is(const char *item, const struct cluster_node *n, const struct cluster_device *d);

#endif
