/* The routes table. */
#include "gateway/routes.h"

#include "base/map.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>

struct routes {
    bool loaded;
    struct api_routes doc;
    struct map *models;          /* name -> struct api_route in doc */
    struct map *keys;            /* hash -> struct api_key in doc */
    struct map *endpoints;       /* "replica/generation" -> struct endpoint */
    struct endpoint ***by_model; /* [model][i], in the order of doc */
    unsigned char salt[32];
    uint64_t uses;
    uint64_t seed; /* of the maps, whose keys strangers choose */
};

void endpoint_unref(struct endpoint *e)
{
    if (e && --e->refs == 0) {
        sodium_memzero(e->api.secret, sizeof e->api.secret);
        free(e);
    }
}

struct routes *routes_new(void)
{
    struct routes *t = mem_calloc(1, sizeof *t);
    randombytes_buf(&t->seed, sizeof t->seed);
    t->models = map_new(t->seed);
    t->keys = map_new(t->seed);
    t->endpoints = map_new(t->seed);
    return t;
}

static void clear(struct routes *t)
{
    const char *name;
    void *e;
    for (size_t i = 0; map_next(t->endpoints, &i, &name, &e);)
        endpoint_unref(e);
    for (uint32_t i = 0; t->by_model && i < t->doc.n_models; i++)
        free(t->by_model[i]);
    free(t->by_model);
    map_free(t->models);
    map_free(t->keys);
    map_free(t->endpoints);
    api_routes_done(&t->doc);
}

void routes_free(struct routes *t)
{
    if (!t)
        return;
    clear(t);
    sodium_memzero(t, sizeof *t);
    free(t);
}

static struct endpoint *keep_or_make(const struct routes *old, const struct api_endpoint *api,
                                     const char *name)
{
    struct endpoint *e = map_get(old->endpoints, name);
    if (!e)
        e = mem_calloc(1, sizeof *e);
    e->api = *api;
    e->refs++;
    return e;
}

int routes_update(struct routes *t, const json_t *doc, struct err *err)
{
    struct routes new = {.loaded = true, .uses = t->uses, .seed = t->seed};
    size_t n;
    if (api_routes_from_json(&new.doc, doc, err))
        return -1;
    if (sodium_hex2bin(new.salt, sizeof new.salt, new.doc.key_salt, strlen(new.doc.key_salt), NULL,
                       &n, NULL) ||
        n != sizeof new.salt) {
        api_routes_done(&new.doc);
        return err_set(err, ERR_INVALID, "key_salt is not 32 bytes in hex");
    }
    new.models = map_new(t->seed);
    new.keys = map_new(t->seed);
    new.endpoints = map_new(t->seed);
    new.by_model = mem_calloc(new.doc.n_models + 1, sizeof *new.by_model);
    for (uint32_t i = 0; i < new.doc.n_keys; i++)
        map_set(new.keys, new.doc.keys[i].hash, &new.doc.keys[i]);
    for (uint32_t i = 0; i < new.doc.n_models; i++) {
        struct api_route *r = &new.doc.models[i];
        map_set(new.models, r->name, r);
        new.by_model[i] = mem_calloc(r->n_endpoints + 1, sizeof **new.by_model);
        for (uint32_t k = 0; k < r->n_endpoints; k++) {
            char name[CLUSTER_ID + 16];
            str_copyf(name, sizeof name, "%s/%u", r->endpoints[k].replica,
                      r->endpoints[k].generation);
            struct endpoint *e = map_get(new.endpoints, name);
            if (!e) {
                e = keep_or_make(t, &r->endpoints[k], name);
                map_set(new.endpoints, name, e);
            }
            new.by_model[i][k] = e;
        }
    }
    clear(t);
    *t = new;
    return 0;
}

bool routes_loaded(const struct routes *t)
{
    return t->loaded;
}

const struct api_key *routes_key(const struct routes *t, struct str secret)
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof mac + 1];
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, t->salt, sizeof t->salt);
    crypto_auth_hmacsha256_update(&st, (const unsigned char *)secret.p, secret.n);
    crypto_auth_hmacsha256_final(&st, mac);
    sodium_bin2hex(hex, sizeof hex, mac, sizeof mac);
    /* The look-up's time may depend on the MAC, which tells nothing about any key without the salt.
     */
    return map_get(t->keys, hex);
}

bool routes_key_allows(const struct api_key *k, const char *model)
{
    for (uint32_t i = 0; k->models && i < k->models->n; i++)
        if (strcmp(k->models->items[i], model) == 0)
            return true;
    return !k->models;
}

uint32_t routes_n_models(const struct routes *t)
{
    return t->doc.n_models;
}

const struct api_route *routes_model_at(const struct routes *t, uint32_t i)
{
    return &t->doc.models[i];
}

const struct api_route *routes_model(const struct routes *t, const char *name)
{
    return map_get(t->models, name);
}

static bool is_tried(const struct endpoint *e, struct endpoint *const *tried, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tried[i] == e)
            return true;
    return false;
}

/* Is a better than b: not suspect, fewer requests per slot, longer unused. */
static bool better(const struct endpoint *a, const struct endpoint *b, int64_t now_ms)
{
    bool bad_a = a->suspect_until > now_ms, bad_b = b->suspect_until > now_ms;
    if (bad_a != bad_b)
        return bad_b;
    uint64_t slots_a = a->api.slots ? a->api.slots : 1, slots_b = b->api.slots ? b->api.slots : 1;
    uint64_t load_a = a->outstanding * slots_b, load_b = b->outstanding * slots_a;
    return load_a != load_b ? load_a < load_b : a->last_use < b->last_use;
}

struct endpoint *routes_pick(struct routes *t, const char *name, struct endpoint *const *tried,
                             size_t n, int64_t now_ms)
{
    const struct api_route *r = routes_model(t, name);
    if (!r)
        return NULL;
    struct endpoint **list = t->by_model[r - t->doc.models], *best = NULL;
    for (uint32_t i = 0; i < r->n_endpoints; i++)
        if (!is_tried(list[i], tried, n) && (!best || better(list[i], best, now_ms)))
            best = list[i];
    if (!best)
        return NULL;
    best->refs++;
    best->outstanding++;
    best->last_use = ++t->uses;
    return best;
}

void routes_release(struct endpoint *e)
{
    if (!e)
        return;
    e->outstanding--;
    endpoint_unref(e);
}
