/* Which nodes go together, for replicas that one node does not hold. Pure; any thread.
 *
 * Nodes that are alike are one class. A cover is a choice of nodes by class on which the model fits
 * and on no part of which it does; covers of few nodes are found with the single solver. As many of
 * them as possible, no node twice, are chosen by a search between bounds of capacity. */
#ifndef PLACE_COVERS_H
#define PLACE_COVERS_H

#include "place/many_job.h"

enum { COVER_NODES = 4, COVER_CLASSES = 12, COVER_TRIES = 512 };

struct cover {
    uint32_t node[COVER_NODES], n; /* of the snapshot */
};
/* Covers for the replicas of the only wish; *out is the caller's to free, *n 0 when nodes are too
 * many or too different for this. ERR_* as of place_plan. */
int covers_find(struct job *j, struct cover **out, uint32_t *n, struct err *err);
/* Plans a replica on these nodes alone. */
struct place_plan *cover_plan(struct job *j, struct cluster_snapshot *now, const struct cover *c,
                              struct err *err);

#endif
