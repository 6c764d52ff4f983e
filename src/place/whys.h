/* All reasons for which nodes and GPUs take no part, where a scene keeps but the first. Pure; any
 * thread. */
#ifndef PLACE_WHYS_H
#define PLACE_WHYS_H

#include "place/scene.h"

struct whys {       /* sets of 1 << enum scene_why; 0: takes part */
    uint32_t *node; /* by node of the snapshot */
    uint32_t *dev;  /* by device of the scene: those of its node too */
};
void whys_init(struct whys *w, const struct scene *c);
void whys_done(struct whys *w);

#endif
