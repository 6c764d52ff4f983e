/* Shared by the parts of the cluster file's reader; nobody else includes it. */
#ifndef CLUSTER_CLUSTER_FILE_H
#define CLUSTER_CLUSTER_FILE_H

#include "base/doc.h"
#include "base/map.h"
#include "cluster/cluster.h"

#define CLUSTER_SCHEMA "stowage.cluster/1"

struct cluster_reader {
    struct cluster_snapshot *s;
    struct doc_at root, nodes; /* the document and its list of nodes */
    struct map *by_name;       /* node name -> its index + 1 */
    struct map *by_id;         /* node id -> its index + 1 */
    struct map *by_uuid;       /* device uuid -> its place in `gpus` + 1 */
    struct cluster_gpu_at {
        uint32_t node, device;
    } * gpus;
    size_t n_gpus, cap_gpus;
    uint64_t *ram_held; /* by instances, per node */
};

/* The node that a text value names; a fault names the nearest. */
int cluster_find_node(const struct cluster_reader *r, const struct doc_at *at, uint32_t *out,
                      struct err *err);
/* Reads `instances`; adds what they hold to claimed_bytes of devices and to ram_held. */
int cluster_read_instances(struct cluster_reader *r, struct err *err);
void cluster_write_instances(const struct cluster_snapshot *s, json_t *doc);

#endif
