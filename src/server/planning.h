/* One plan, made on a thread: inputs are owned copies, so that nothing is shared but the facts,
 * which are read-only and counted by the loop. */
#ifndef SERVER_PLANNING_H
#define SERVER_PLANNING_H

#include "place/place.h"
#include "server/internal.h"

struct planning {
    struct deployment_spec *spec;
    struct facts *facts;              /* a reference */
    struct cluster_snapshot snapshot; /* filled by the caller before planning_run */
    struct constraints *wish;         /* GPUs and split to try first, owned; NULL: none */
    char known_refusal[240]; /* a refusal that says this needs no changes worked out again */
    int64_t spec_revision;
    /* outputs */
    struct place_plan *plan;
    bool as_wished;
    json_t *doc;
    char refusal[240]; /* the summary of a plan that is not feasible, for people */
    bool full;         /* doc holds the changes of a refusal */
    struct err err;    /* set when plan is NULL */
    struct err wrong;  /* the plan did not pass place_validate: it must not be committed */
};
struct planning *planning_new(const struct deployment_spec *spec, struct facts *facts);
void planning_run(struct planning *p);  /* any thread */
void planning_free(struct planning *p); /* the loop's */

#endif
