/* A plan's name: a hash of everything that the answer depends on. Pure; any thread. */
#ifndef PLACE_IDENTITY_H
#define PLACE_IDENTITY_H

#include "place/scene.h"

/* "p-7c1f0a9b3d42"; the same inputs give the same, on every machine of one byte order. What the
 * policy and the constraints do not look at is left out: another price is no other plan where
 * nothing counts prices. */
void identity_set(const struct scene *c, char dst[24]);

#endif
