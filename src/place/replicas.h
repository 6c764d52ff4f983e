/* Replicas of one model: how many there can be at most, and what they cost at least. Pure; any
 * thread.
 *
 * Capacities (need.h) of devices, summed: of all devices, of each node for replicas within one, and
 * single GPUs for replicas on one. Several processes on a device share what a second driver's share
 * leaves, at the best measure per byte that any range has. */
#ifndef PLACE_REPLICAS_H
#define PLACE_REPLICAS_H

#include "place/need.h"
#include "place/place.h"

struct replicas_bound {
    uint32_t most;        /* no more fit together */
    uint32_t on_gpus;     /* of those, all on GPUs */
    uint32_t one_node;    /* of those, within one node */
    uint32_t one_gpu;     /* of those on GPUs, on one, wherever the main process is */
    uint32_t nodes, gpus; /* that any other one has at least; gpus: 2 or more */
};
/* `want`: no more are asked for. ERR_* of place_plan. */
int replicas_bound(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                   const struct estimate_model *m, uint32_t want, struct replicas_bound *out,
                   struct err *err);
/* What every node holds of each measure at most, all processes together, and the whole model:
 * want[CAP_COUNT], node[n_nodes][CAP_COUNT]. */
int replicas_caps(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                  const struct estimate_model *m, uint64_t *want, uint64_t (*node)[CAP_COUNT],
                  struct err *err);
/* No plan all on n_gpus GPUs of n_nodes nodes is faster, ns per token. */
int64_t replicas_least_ns(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                          const struct estimate_model *m, uint32_t n_nodes, uint32_t n_gpus);

#endif
