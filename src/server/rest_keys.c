/* API keys and join tokens. */
#include "server/internal.h"

#include "base/mem.h"
#include "os/file.h"
#include "server/auth.h"

#include <string.h>

enum { MAX_TOKEN_USES = 10000, MAX_TTL_S = 30 * 86400, DEFAULT_TTL_S = 3600 };

/* Stores the key; false after an error reply. */
static bool store_key(const struct call *c, const struct auth_key *k)
{
    struct err err = {0};
    struct ops o = {0};
    auth_ops_put(&o, k);
    if (ops_commit(c->s, &o, NULL, &err)) {
        call_fail(c, &err);
        return false;
    }
    auth_added(c->s->auth, k);
    return true;
}

static int read_key(struct auth_key *k, const json_t *doc, struct err *err)
{
    const char *scope = "api";
    if (JSON_COPY(doc, "name", true, k->name, err) ||
        json_get_str(doc, "scope", false, &scope, err))
        return -1;
    if (!k->name[0])
        return err_set(err, ERR_INVALID, "'name' is empty; say what the key is for");
    for (const char *p = k->name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(err, ERR_INVALID, "'name' holds a control character");
    k->scope = strcmp(scope, "admin") == 0 ? AUTH_ADMIN : AUTH_API;
    if (k->scope == AUTH_API && strcmp(scope, "api") != 0)
        return err_set(err, ERR_INVALID, "scope '%.40s' is none of api, admin", scope);
    return 0;
}

void rest_key_create(const struct call *c)
{
    static const char *const KEYS[] = {"name", "scope"};
    struct err err = {0};
    struct auth_key k = {0};
    char text[AUTH_KEY_TEXT];
    json_auto_t *doc = call_body(c, "a key", KEYS, ARRAY_LEN(KEYS));
    if (!doc)
        return;
    if (read_key(&k, doc, &err) == 0 && auth_count(c->s->auth) >= AUTH_MAX_KEYS)
        err_fill(&err, ERR_LIMIT, "%d keys are the most; delete some", AUTH_MAX_KEYS);
    if (err.code) {
        call_fail(c, &err);
        return;
    }
    auth_make(c->s->auth, &k, text);
    if (!store_key(c, &k))
        return;
    json_t *o = json_object();
    json_put_str(o, "id", k.id);
    json_put_str(o, "name", k.name);
    json_put_str(o, "scope", auth_scope_name(k.scope));
    json_put_str(o, "key", text);
    http_reply_json(c->req, 201, o);
}

void rest_keys(const struct call *c)
{
    json_t *o = json_object();
    json_object_set_new(o, "items", auth_list(c->s->auth));
    http_reply_json(c->req, 200, o);
}

static int may_delete(const struct call *c, const struct auth_key *k, struct err *err)
{
    if (!k || k->in_memory || k->scope == AUTH_TOKEN)
        return err_set(err, ERR_NOT_FOUND, "no key '%s'", c->params[0]);
    if (strcmp(k->id, "admin") == 0)
        return err_set(err, ERR_CONFLICT,
                       "the first admin key is the file admin.key: remove it and start the server "
                       "again to get another");
    if (k->scope == AUTH_WORKER && state_node(c->s, k->node_id))
        return err_set(err, ERR_CONFLICT, "key of node '%s': remove the node instead", k->name);
    return 0;
}

void rest_key_delete(const struct call *c)
{
    struct err err = {0};
    struct ops o = {0};
    const struct auth_key *k = auth_by_id(c->s->auth, c->params[0]);
    if (may_delete(c, k, &err)) {
        call_fail(c, &err);
        return;
    }
    auth_ops_delete(&o, k);
    if (ops_commit(c->s, &o, NULL, &err)) {
        call_fail(c, &err);
        return;
    }
    auth_removed(c->s->auth, c->params[0]);
    http_reply_json(c->req, 200, json_object());
}

static int read_token(struct auth_key *k, const json_t *doc, struct err *err)
{
    uint64_t ttl_s = DEFAULT_TTL_S;
    k->uses = 1;
    if (json_get_u32(doc, "uses", false, MAX_TOKEN_USES, &k->uses, err) ||
        json_get_u64(doc, "ttl_s", false, MAX_TTL_S, &ttl_s, err))
        return -1;
    if (!k->uses || !ttl_s)
        return err_set(err, ERR_INVALID, "'uses' and 'ttl_s' must be 1 or more");
    k->expires_at = os_wall_ms() + (int64_t)ttl_s * 1000;
    return 0;
}

/* The address by which the caller reached us is the best guess at what reaches us from elsewhere,
 * unless the caller sits on this machine. */
static char *own_url(const struct call *c)
{
    static const char *const HOST_CHARS =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-[]";
    struct str host = http_req_header(c->req, "host");
    size_t ok = 0;
    while (ok < host.n && host.p[ok] && strchr(HOST_CHARS, host.p[ok]))
        ok++;
    bool here = str_starts(host, STR("127.")) || str_starts(host, STR("localhost")) ||
                str_starts(host, STR("[::1]"));
    return ok && ok == host.n && !here ? mem_printf("http://%.*s", (int)host.n, host.p)
                                       : mem_strdup(c->s->url);
}

void rest_token_create(const struct call *c)
{
    static const char *const KEYS[] = {"uses", "ttl_s"};
    struct err err = {0};
    struct auth_key k = {.name = "join token", .scope = AUTH_TOKEN};
    char text[AUTH_KEY_TEXT];
    json_auto_t *doc =
        http_req_body(c->req).n ? call_body(c, "a token", KEYS, ARRAY_LEN(KEYS)) : json_object();
    if (!doc)
        return;
    if (read_token(&k, doc, &err) == 0 && auth_count(c->s->auth) >= AUTH_MAX_KEYS)
        err_fill(&err, ERR_LIMIT, "%d keys and tokens are the most; delete some", AUTH_MAX_KEYS);
    if (err.code) {
        call_fail(c, &err);
        return;
    }
    auth_make(c->s->auth, &k, text);
    if (!store_key(c, &k))
        return;
    mem_auto char *url = own_url(c);
    mem_auto char *command = mem_printf("stowage worker --join %s --token %s", url, text);
    json_t *o = json_object();
    json_put_str(o, "token", text);
    json_put_str(o, "command", command);
    http_reply_json(c->req, 201, o);
}
