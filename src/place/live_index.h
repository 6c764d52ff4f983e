/* What one demand would get on a changing snapshot, kept up to date node by node. Pure; one owner,
 * one thread. live.h is the interface; nobody else includes this.
 *
 * For policies that count nodes, then GPUs, before anything else (tiered and its like): the best
 * GPU that holds the model alone is the winner of a tournament over nodes, and so is the best node
 * of those that hold it on several GPUs, each of which is solved by itself when it may be the
 * winner and has changed since. Everything else is searched in full, on a scene that is kept. */
#ifndef PLACE_LIVE_INDEX_H
#define PLACE_LIVE_INDEX_H

#include "place/place.h"

struct live_index;
/* Whether what a demand costs and may use stays the same while instances come and go. */
bool live_index_follows(const struct deployment_spec *spec);
/* Borrows all three. Errors as of place_plan. */
struct live_index *live_index_new(const struct cluster_snapshot *s,
                                  const struct deployment_spec *spec,
                                  const struct estimate_model *m, struct err *err);
void live_index_free(struct live_index *x);
/* What is free on this node has changed. */
void live_index_touch(struct live_index *x, uint32_t node);

enum live_how { LIVE_BY_GPU, LIVE_BY_NODE, LIVE_BY_SEARCH };
/* The plan of place_plan, but for reasons and steps. Errors as of place_plan. */
struct place_plan *live_index_place(struct live_index *x, enum live_how *how, struct err *err);
/* The same without an index. */
struct place_plan *live_index_scratch(const struct cluster_snapshot *s,
                                      const struct deployment_spec *spec,
                                      const struct estimate_model *m, struct err *err);

#endif
