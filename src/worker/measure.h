/* What the engine says it took, collected line by line. Pure; any thread. */
#ifndef WORKER_MEASURE_H
#define WORKER_MEASURE_H

#include "api/messages.h"
#include "engine/engine.h"

enum { MEASURE_HOST_DEVICES = 8 };

struct measure {
    struct api_bytes *parts; /* one per part of the assignment */
    bool *seen;
    uint32_t n_parts;
    struct {
        char device[48];
        uint64_t compute_bytes;
    } host[MEASURE_HOST_DEVICES];
    struct api_bytes host_bytes; /* compute_bytes: sum over host[] */
    bool host_seen;
};
void measure_init(struct measure *m, uint32_t n_parts); /* forgets what was there */
void measure_done(struct measure *m);
/* Weights and KV add up (a device may have several buffers: shards, window and full caches); of the
 * compute buffer the last line holds, because the engine plans anew when it shrinks. True when
 * something changed. */
bool measure_fact(struct measure *m, const struct engine_driver *d, const struct assignment *a,
                  const struct engine_site *site, const struct engine_fact *f);
/* Copies into the report: measured (owned by it) and host_measured. */
void measure_report(const struct measure *m, struct api_report *r);

#endif
