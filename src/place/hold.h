/* What placed instances hold in a snapshot: taken from it and given back. Pure; any thread.
 *
 * An instance holds bytes of devices and of RAM. Each instance has its own process per device, so
 * the driver's share is in its bytes however many run there; the margin of a device is nobody's. */
#ifndef PLACE_HOLD_H
#define PLACE_HOLD_H

#include "base/map.h"
#include "cluster/deployment.h"

/* Nodes by id, for many look-ups; value is index + 1. Freed with map_free. */
struct map *hold_nodes(const struct cluster_snapshot *s);
/* Fills the main node, its bytes and the parts (owned, freed with hold_done) of *out with what the
 * assignment holds. `nodes` may be NULL. ERR_NOT_FOUND: the snapshot has no such node or device. */
int hold_of(const struct cluster_snapshot *s, const struct map *nodes, const struct assignment *a,
            struct cluster_instance *out, struct err *err);
void hold_done(struct cluster_instance *i);
/* Takes the bytes from what is free. ERR_NO_PLACEMENT: less is free somewhere; then nothing is
 * taken. */
int hold_take(struct cluster_snapshot *s, const struct cluster_instance *i, struct err *err);
void hold_give(struct cluster_snapshot *s, const struct cluster_instance *i);

#endif
