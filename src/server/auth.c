/* Keys: making, storing, checking. */
#include "server/auth.h"

#include "base/mem.h"
#include "os/file.h"

#include <sodium.h>
#include <string.h>

struct auth {
    struct server *s;
    unsigned char secret[crypto_auth_hmacsha256_KEYBYTES];
    char admin_key[AUTH_KEY_TEXT];
    struct map *keys; /* struct auth_key by hash, owned */
};

static const char *const SCOPES[] = {"admin", "api", "worker", "gateway", "token"};
_Static_assert(ARRAY_LEN(SCOPES) == AUTH_SCOPE_COUNT, "one name per scope");

const char *auth_scope_name(enum auth_scope s)
{
    return (unsigned)s < AUTH_SCOPE_COUNT ? SCOPES[s] : "?";
}

static void hash_of(const struct auth *a, struct str key, char out[API_HEX])
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256(mac, (const unsigned char *)key.p, key.n, a->secret);
    sodium_bin2hex(out, API_HEX, mac, sizeof mac);
}

static void make_text(const char *prefix, char text[AUTH_KEY_TEXT])
{
    unsigned char raw[32];
    os_random(raw, sizeof raw);
    str_copy(text, AUTH_KEY_TEXT, prefix);
    sodium_bin2base64(text + 3, AUTH_KEY_TEXT - 3, raw, sizeof raw,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
}

void auth_make(struct auth *a, struct auth_key *k, char text[AUTH_KEY_TEXT])
{
    char random[13];
    os_random_hex(random, 6);
    make_text(k->scope == AUTH_TOKEN ? "jt-" : "sk-", text);
    if (!k->id[0])
        str_copyf(k->id, sizeof k->id, "%s-%s", k->scope == AUTH_TOKEN ? "t" : "k", random);
    k->created_at = os_wall_ms();
    hash_of(a, str_of(text), k->hash);
}

/* ---- the stored rows ---- */

static json_t *key_doc(const struct auth_key *k)
{
    json_t *o = json_object();
    json_put_str(o, "name", k->name);
    json_put_str(o, "hash", k->hash);
    json_put_str(o, "scope", auth_scope_name(k->scope));
    json_put_str(o, "node_id", k->node_id);
    json_put_u64(o, "uses", k->uses);
    json_put_u64(o, "created_at", (uint64_t)k->created_at);
    json_put_u64(o, "expires_at", (uint64_t)k->expires_at);
    return o;
}

static int key_from_doc(struct auth_key *k, const json_t *doc, struct err *err)
{
    const char *scope = "";
    uint64_t created = 0, expires = 0;
    if (JSON_COPY(doc, "name", true, k->name, err) || JSON_COPY(doc, "hash", true, k->hash, err) ||
        json_get_str(doc, "scope", true, &scope, err) ||
        JSON_COPY(doc, "node_id", true, k->node_id, err) ||
        json_get_u32(doc, "uses", true, UINT32_MAX, &k->uses, err) ||
        json_get_u64(doc, "created_at", true, INT64_MAX, &created, err) ||
        json_get_u64(doc, "expires_at", true, INT64_MAX, &expires, err))
        return -1;
    k->created_at = (int64_t)created;
    k->expires_at = (int64_t)expires;
    for (int i = 0; i < AUTH_SCOPE_COUNT; i++)
        if (strcmp(SCOPES[i], scope) == 0) {
            k->scope = (enum auth_scope)i;
            return 0;
        }
    return err_set(err, ERR_CORRUPT, "'%.40s' is no scope", scope);
}

void auth_ops_put(struct ops *o, const struct auth_key *k)
{
    if (!k->in_memory)
        ops_put_spec(o, "key", k->id, key_doc(k), -1);
}

void auth_ops_delete(struct ops *o, const struct auth_key *k)
{
    if (!k->in_memory)
        ops_delete(o, "key", k->id);
}

void auth_added(struct auth *a, const struct auth_key *k)
{
    struct auth_key *copy = mem_calloc(1, sizeof *copy);
    *copy = *k;
    auth_removed(a, k->id);
    free(map_set(a->keys, copy->hash, copy));
    feed_touch_routes(a->s);
}

const struct auth_key *auth_by_id(const struct auth *a, const char *id)
{
    void *value;
    for (size_t i = 0; map_next(a->keys, &i, NULL, &value);)
        if (strcmp(((struct auth_key *)value)->id, id) == 0)
            return value;
    return NULL;
}

const struct auth_key *auth_of_node(const struct auth *a, const char *node_id)
{
    void *value;
    for (size_t i = 0; map_next(a->keys, &i, NULL, &value);) {
        const struct auth_key *k = value;
        if (k->scope == AUTH_WORKER && strcmp(k->node_id, node_id) == 0)
            return k;
    }
    return NULL;
}

void auth_removed(struct auth *a, const char *id)
{
    const struct auth_key *k = auth_by_id(a, id);
    if (!k)
        return;
    char hash[API_HEX];
    STR_COPY(hash, k->hash);
    free(map_del(a->keys, hash));
    feed_touch_routes(a->s);
}

void auth_ops_use(const struct auth_key *k, struct ops *o)
{
    struct auth_key after = *k;
    if (k->scope != AUTH_TOKEN)
        return;
    if (--after.uses)
        auth_ops_put(o, &after);
    else
        auth_ops_delete(o, &after);
}

void auth_used(struct auth *a, const char *id)
{
    const struct auth_key *k = auth_by_id(a, id);
    struct auth_key *own = k ? map_get(a->keys, k->hash) : NULL;
    if (own && own->scope == AUTH_TOKEN && !--own->uses)
        auth_removed(a, id);
}

size_t auth_count(const struct auth *a)
{
    return map_count(a->keys);
}

json_t *auth_list(const struct auth *a)
{
    json_t *list = json_array();
    void *value;
    for (size_t i = 0; map_next(a->keys, &i, NULL, &value);) {
        const struct auth_key *k = value;
        if (k->in_memory || k->scope == AUTH_TOKEN)
            continue;
        json_t *x = json_add_object(list);
        json_put_str(x, "id", k->id);
        json_put_str(x, "name", k->name);
        json_put_str(x, "scope", auth_scope_name(k->scope));
        if (k->node_id[0])
            json_put_str(x, "node_id", k->node_id);
        json_put_u64(x, "created_at", (uint64_t)k->created_at);
    }
    return list;
}

void auth_fill_routes(const struct auth *a, struct api_routes *r)
{
    void *value;
    sodium_bin2hex(r->key_salt, sizeof r->key_salt, a->secret, sizeof a->secret);
    r->keys = mem_calloc(map_count(a->keys), sizeof *r->keys);
    for (size_t i = 0; map_next(a->keys, &i, NULL, &value);) {
        const struct auth_key *k = value;
        if (k->scope != AUTH_API && k->scope != AUTH_ADMIN)
            continue;
        struct api_key *x = &r->keys[r->n_keys++];
        STR_COPY(x->id, k->id);
        STR_COPY(x->hash, k->hash);
        STR_COPY(x->scope, auth_scope_name(k->scope));
    }
}

/* ---- checking ---- */

const struct auth_key *auth_find(struct auth *a, const struct http_req *r)
{
    static const struct str BEARER = {"bearer ", 7};
    struct str h = http_req_header(r, "authorization");
    if (h.n <= BEARER.n || !str_eq_nocase((struct str){h.p, BEARER.n}, BEARER))
        return NULL;
    struct str key = str_trim((struct str){h.p + BEARER.n, h.n - BEARER.n});
    char hash[API_HEX];
    hash_of(a, key, hash);
    /* The map is keyed by the HMAC, whose bits a caller can neither choose nor learn from time. */
    const struct auth_key *k = map_get(a->keys, hash);
    if (!k || sodium_memcmp(k->hash, hash, sizeof hash) != 0)
        return NULL;
    if (k->scope == AUTH_TOKEN && !k->uses)
        return NULL;
    return k->expires_at && os_wall_ms() > k->expires_at ? NULL : k;
}

bool auth_may(const struct auth_key *k, enum api_policy policy, const char *own)
{
    if (policy == POLICY_PUBLIC)
        return true;
    if (!k)
        return false;
    switch (k->scope) {
    case AUTH_ADMIN:
        return policy != POLICY_UNSET;
    case AUTH_TOKEN:
        return policy == POLICY_TOKEN;
    case AUTH_GATEWAY:
        return policy == POLICY_GATEWAY;
    case AUTH_WORKER:
        return policy == POLICY_WORKER_OWN && own && strcmp(k->node_id, own) == 0;
    case AUTH_API:
    case AUTH_SCOPE_COUNT:
        break;
    }
    return false;
}

/* ---- files ---- */

/* The text of a key file without its newline, or "" when there is none. */
static int read_key_file(const char *path, char *dst, size_t cap, struct err *err)
{
    mem_auto char *text = NULL;
    size_t n;
    struct err e = {0};
    dst[0] = 0;
    if (file_read(path, 256, &text, &n, &e)) {
        if (e.code == ERR_NOT_FOUND)
            return 0;
        return err_set(err, e.code, "%.239s", e.msg);
    }
    text[strcspn(text, "\r\n")] = 0;
    if (!str_copy(dst, cap, text))
        return err_set(err, ERR_CORRUPT, "%.150s does not hold a key of this server", path);
    return 0;
}

static int load_secret(struct auth *a, struct err *err)
{
    mem_auto char *path = mem_printf("%s/secret.key", a->s->state_dir);
    char hex[API_HEX];
    size_t n = 0;
    if (read_key_file(path, hex, sizeof hex, err))
        return -1;
    if (hex[0]) {
        if (sodium_hex2bin(a->secret, sizeof a->secret, hex, strlen(hex), NULL, &n, NULL) ||
            n != sizeof a->secret)
            return err_set(err, ERR_CORRUPT, "%.150s does not hold %zu hex bytes", path,
                           sizeof a->secret);
        return 0;
    }
    os_random(a->secret, sizeof a->secret);
    sodium_bin2hex(hex, sizeof hex, a->secret, sizeof a->secret);
    return file_write(path, hex, strlen(hex), 0600, err);
}

/* The file is what proves the administrator: whoever may read it owns the server's state anyway. A
 * removed file is answered by a new key, and the old one is void. */
static int load_admin(struct auth *a, struct err *err)
{
    mem_auto char *path = mem_printf("%s/admin.key", a->s->state_dir);
    struct auth_key k = {.id = "admin", .name = "admin", .scope = AUTH_ADMIN};
    char hash[API_HEX];
    if (read_key_file(path, a->admin_key, sizeof a->admin_key, err))
        return -1;
    bool fresh = !a->admin_key[0];
    if (!fresh) {
        hash_of(a, str_of(a->admin_key), hash);
        if (map_get(a->keys, hash))
            return 0;
        if (strlen(a->admin_key) != AUTH_KEY_TEXT - 1)
            return err_set(err, ERR_CORRUPT, "%.150s does not hold a key of this server", path);
    }
    char text[AUTH_KEY_TEXT];
    auth_make(a, &k, text);
    if (fresh) {
        STR_COPY(a->admin_key, text);
        mem_auto char *line = mem_printf("%s\n", text);
        if (file_write(path, line, strlen(line), 0600, err))
            return -1;
    } else {
        STR_COPY(k.hash, hash); /* a store that was emptied while the file stayed */
    }
    struct ops o = {0};
    auth_ops_put(&o, &k);
    if (ops_commit(a->s, &o, NULL, err))
        return -1;
    auth_added(a, &k);
    return 0;
}

struct loading {
    struct auth *a;
    struct err err;
};

static bool load_key(void *arg, const struct store_object *o)
{
    struct loading *l = arg;
    struct auth_key *k = mem_calloc(1, sizeof *k);
    STR_COPY(k->id, o->id);
    if (key_from_doc(k, o->spec, &l->err)) {
        err_wrap(&l->err, "stored key '%.40s'", o->id);
        free(k);
        return false;
    }
    free(map_set(l->a->keys, k->hash, k));
    return true;
}

struct auth *auth_new(struct server *s, struct err *err)
{
    if (sodium_init() < 0)
        return err_null(err, ERR_INTERNAL, "libsodium cannot start");
    struct auth *a = mem_calloc(1, sizeof *a);
    struct loading l = {.a = a};
    uint64_t seed;
    os_random(&seed, sizeof seed);
    a->s = s;
    a->keys = map_new(seed);
    int rc = s->store->driver->list(s->store, "key", load_key, &l, err);
    if (!rc && l.err.code)
        rc = err_set(err, l.err.code, "%.239s", l.err.msg);
    if (rc || load_secret(a, err) || load_admin(a, err)) {
        auth_free(a);
        return NULL;
    }
    return a;
}

void auth_free(struct auth *a)
{
    void *value;
    if (!a)
        return;
    for (size_t i = 0; map_next(a->keys, &i, NULL, &value);)
        free(value);
    map_free(a->keys);
    sodium_memzero(a->secret, sizeof a->secret);
    sodium_memzero(a->admin_key, sizeof a->admin_key);
    free(a);
}

const char *auth_admin_key(const struct auth *a)
{
    return a->admin_key;
}
