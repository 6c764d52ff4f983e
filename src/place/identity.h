/* A plan's name: a hash of everything that the answer depends on. Pure; any thread. */
#ifndef PLACE_IDENTITY_H
#define PLACE_IDENTITY_H

#include "place/scene.h"

/* "p-7c1f0a9b3d42"; the same inputs give the same, on every machine of one byte order. What the
 * policy and the constraints do not look at is left out: another price is no other plan where
 * nothing counts prices. */
void identity_set(const struct scene *c, const uint64_t *nodes, char dst[24]);
/* What a node adds to it. `nodes` above are these of all nodes, for a caller that keeps them; NULL:
 * they are made. */
uint64_t identity_node(const struct scene *c, uint32_t node);

#endif
