/* What a model file says about a spec: header read, facts, defaults resolved, options checked. Runs
 * on a thread; touches nothing but itself. */
#ifndef SERVER_PROBE_H
#define SERVER_PROBE_H

#include "server/internal.h"

struct probe {
    struct deployment_spec *spec; /* owned; ctx is resolved by the probe */
    bool to_run;                  /* a deployment: header-only and unknown models are refused */
    /* outputs */
    struct arch_facts *facts;
    struct api_model model;
    struct err err;
    char hint[240];
};
void probe_run(struct probe *p); /* any thread */
void probe_done(struct probe *p);

#endif
