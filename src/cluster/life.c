/* The life of a replica: states, legal steps, deadlines, back-off. */
#include "cluster/deployment.h"

#include <string.h>

#define TO(s) (1u << REPLICA_##s)

/* DRAINING is reachable from everything that may hold memory; FAILED and LOST end a generation and
 * lead back to PENDING once every member has stopped. */
static const struct {
    const char *name;
    unsigned next;
    int64_t deadline_ms;
} LIFE[] = {
    [REPLICA_PENDING] = {"pending", TO(ASSIGNED) | TO(GONE), 0},
    [REPLICA_ASSIGNED] = {"assigned",
                          TO(FETCHING) | TO(STARTING) | TO(FAILED) | TO(LOST) | TO(DRAINING),
                          30000},
    [REPLICA_FETCHING] = {"fetching",
                          TO(STARTING) | TO(READY) | TO(FAILED) | TO(LOST) | TO(DRAINING), 0},
    [REPLICA_STARTING] = {"starting", TO(READY) | TO(FAILED) | TO(LOST) | TO(DRAINING), 120000},
    [REPLICA_READY] = {"ready", TO(FAILED) | TO(LOST) | TO(DRAINING), 0},
    [REPLICA_DRAINING] = {"draining", TO(GONE) | TO(LOST), 120000},
    [REPLICA_GONE] = {"gone", 0, 0},
    [REPLICA_FAILED] = {"failed", TO(PENDING) | TO(DRAINING) | TO(GONE), 0},
    [REPLICA_LOST] = {"lost", TO(PENDING) | TO(DRAINING) | TO(GONE), 0},
};
_Static_assert(sizeof LIFE / sizeof *LIFE == REPLICA_STATE_COUNT, "one row per replica state");

const char *replica_state_name(enum replica_state s)
{
    return (unsigned)s < REPLICA_STATE_COUNT ? LIFE[s].name : "?";
}

int replica_state_parse(const char *name, enum replica_state *out, struct err *err)
{
    for (int i = 0; i < REPLICA_STATE_COUNT; i++) {
        if (strcmp(LIFE[i].name, name) == 0) {
            *out = (enum replica_state)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "'%.40s' is no state of a replica", name);
}

bool replica_may(enum replica_state from, enum replica_state to)
{
    return (unsigned)from < REPLICA_STATE_COUNT && (unsigned)to < REPLICA_STATE_COUNT &&
           (LIFE[from].next >> to & 1);
}

int64_t replica_deadline_ms(enum replica_state s, uint64_t bytes_to_send)
{
    if ((unsigned)s >= REPLICA_STATE_COUNT || !LIFE[s].deadline_ms)
        return 0;
    /* Loading is given 20 MB/s: a sixth of what 1 Gbit/s carries. */
    int64_t load = s == REPLICA_STARTING ? (int64_t)(bytes_to_send / 20000) : 0;
    return LIFE[s].deadline_ms + load;
}

int64_t replica_backoff_ms(uint32_t n_failures)
{
    int64_t ms = 1000;
    for (uint32_t i = 1; i < n_failures && ms < 300000; i++)
        ms *= 2;
    return n_failures ? (ms < 300000 ? ms : 300000) : 0;
}
