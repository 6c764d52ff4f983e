/* What the gateway knows: models, their READY endpoints, keys. Replaced whole at each event of the
 * routes watch; the counters of an endpoint live on as long as the endpoint does. Pure but for
 * libsodium's HMAC; the loop's thread. */
#ifndef GATEWAY_TABLE_H
#define GATEWAY_TABLE_H

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

struct table;
struct table *table_new(void);
void table_free(struct table *t);
/* Replaces everything by the routes document; on failure the old content stays. */
int table_update(struct table *t, const json_t *doc, struct err *err);
bool table_loaded(const struct table *t); /* false before the first update */

/* The key with this secret, or NULL. */
const struct api_key *table_key(const struct table *t, struct str secret);
bool table_key_allows(const struct api_key *k, const char *model);

uint32_t table_n_models(const struct table *t);
const struct api_route *table_model_at(const struct table *t, uint32_t i);
const struct api_route *table_model(const struct table *t, const char *name); /* NULL: none */

/* The endpoint of `name` with the fewest outstanding requests per slot that is not in tried[n];
 * suspects last. Takes a reference and counts the request; NULL when none is left. */
struct endpoint *table_pick(struct table *t, const char *name, struct endpoint *const *tried,
                            size_t n, int64_t now_ms);
/* Ends what table_pick began. */
void table_release(struct endpoint *e);

#endif
