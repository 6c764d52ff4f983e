/* What the gateway knows: models, their READY endpoints, keys. Replaced whole at each event of the
 * routes watch; the counters of an endpoint live on as long as the endpoint does. Pure but for
 * libsodium's HMAC; the loop's thread. */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "api/messages.h"

/* One engine that serves: (replica, generation). Held by the table and by each request that uses
 * it, so a request outlives the table it was routed by. */
struct endpoint {
    struct api_endpoint api;
    int refs;
    uint32_t outstanding;  /* requests of ours in flight */
    uint64_t last_use;     /* order of use, for ties */
    int64_t suspect_until; /* after a failed attempt: others first until then (loop time, ms) */
};
void endpoint_unref(struct endpoint *e); /* NULL allowed */

struct routes;
struct routes *routes_new(void);
void routes_free(struct routes *t);
/* Replaces everything by the routes document; on failure the old content stays. */
int routes_update(struct routes *t, const json_t *doc, struct err *err);
bool routes_loaded(const struct routes *t); /* false before the first update */

/* The key with this secret, or NULL. */
const struct api_key *routes_key(const struct routes *t, struct str secret);
bool routes_key_allows(const struct api_key *k, const char *model);

uint32_t routes_n_models(const struct routes *t);
const struct api_route *routes_model_at(const struct routes *t, uint32_t i);
const struct api_route *routes_model(const struct routes *t, const char *name); /* NULL: none */

/* The endpoint of `name` with the fewest outstanding requests per slot that is not in tried[n];
 * suspects last. Takes a reference and counts the request; NULL when none is left. */
struct endpoint *routes_pick(struct routes *t, const char *name, struct endpoint *const *tried,
                             size_t n, int64_t now_ms);
/* Ends what routes_pick began. */
void routes_release(struct endpoint *e);

#endif
