/* Nodes: join, inventory, list, drain; their tasks and their members' reports. */
#include "server/internal.h"

#include "base/mem.h"
#include "os/file.h"
#include "server/auth.h"

#include <string.h>

#ifndef STOWAGE_VERSION
#define STOWAGE_VERSION "0.1.0"
#endif

void rest_health(const struct call *c)
{
    json_t *o = json_object();
    json_put_str(o, "status", c->s->broken ? "degraded" : "ok");
    json_put_str(o, "version", STOWAGE_VERSION);
    http_reply_json(c->req, 200, o);
}

/* A node by id, or by name when a person asks. */
static struct node *find_node(const struct call *c)
{
    struct node *n = state_node(c->s, c->params[0]);
    if (!n)
        n = state_node_by_name(c->s, c->params[0]);
    if (n)
        return n;
    struct err err;
    err_fill(&err, ERR_NOT_FOUND, "no node '%s'", c->params[0]);
    call_fail(c, &err);
    return NULL;
}

/* A document of a newer worker may hold more than we know: its body is parsed, not checked for
 * keys. */
static json_t *parse_body(const struct call *c)
{
    struct err err = {0};
    struct str body = http_req_body(c->req);
    json_t *doc = json_parse(body.p, body.n, &err);
    if (!doc)
        call_fail(c, &err);
    return doc;
}

static void joined(const struct call *c, struct node *n, const char *key)
{
    map_set(c->s->nodes, n->info.id, n);
    log_line(LOG_INFO, "node_joined node=%s id=%s addr=%s devices=%u", n->info.name, n->info.id,
             n->info.addr, n->info.n_devices);
    feed_touch(c->s, FEED_NODE, n->info.id);
    sched_retry(c->s);
    server_wake(c->s);
    json_t *o = json_object();
    json_put_str(o, "node_id", n->info.id);
    json_put_str(o, "key", key);
    http_reply_json(c->req, 201, o);
}

/* Node, its key and the token's use are one transaction. */
void rest_join(const struct call *c)
{
    struct err err = {0};
    struct ops ops = {0};
    struct node *n = NULL;
    json_auto_t *doc = parse_body(c);
    if (!doc)
        return;
    if (node_join(c->s, doc, http_req_peer(c->req), &n, &ops, &err)) {
        call_fail(c, &err);
        return;
    }
    struct auth_key k = {.scope = AUTH_WORKER};
    char text[AUTH_KEY_TEXT], token[CLUSTER_ID];
    STR_COPY(k.name, n->info.name);
    STR_COPY(k.node_id, n->info.id);
    STR_COPY(token, c->key->id);
    auth_make(c->s->auth, &k, text);
    auth_ops_put(&ops, &k);
    auth_ops_use(c->key, &ops);
    if (ops_commit(c->s, &ops, &n->revision, &err)) {
        node_done(&n->info);
        free(n);
        call_fail(c, &err);
        return;
    }
    auth_used(c->s->auth, token);
    auth_added(c->s->auth, &k);
    joined(c, n, text);
}

void rest_node_inventory(const struct call *c)
{
    struct err err = {0};
    struct node *n = state_node(c->s, c->params[0]);
    json_auto_t *doc = parse_body(c);
    if (!doc)
        return;
    if (!n)
        err_fill(&err, ERR_NOT_FOUND, "no node '%s': join again", c->params[0]);
    if (err.code || node_inventory(c->s, n, doc, http_req_peer(c->req), &err)) {
        call_fail(c, &err);
        return;
    }
    json_t *o = json_object();
    json_put_u64(o, "lost_after_ms", (uint64_t)c->s->lost_after_ms);
    http_reply_json(c->req, 200, o);
}

void rest_nodes(const struct call *c)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "items");
    void *value;
    for (size_t i = 0; map_next(c->s->nodes, &i, NULL, &value);)
        json_array_append_new(list, node_doc(c->s, value));
    json_put_bool(o, "eviction_brake", c->s->frozen);
    http_reply_json(c->req, 200, o);
}

static void set_drained(const struct call *c, struct node *n, bool drained, const char *reason)
{
    struct err err = {0};
    if (node_set_drained(c->s, n, drained, reason, &err))
        call_fail(c, &err);
    else
        http_reply_json(c->req, 200, node_doc(c->s, n));
}

void rest_node_drain(const struct call *c)
{
    static const char *const KEYS[] = {"reason"};
    struct err err = {0};
    char reason[CLUSTER_NAME] = "";
    struct node *n = find_node(c);
    if (!n)
        return;
    json_auto_t *doc =
        http_req_body(c->req).n ? call_body(c, "a drain", KEYS, ARRAY_LEN(KEYS)) : json_object();
    if (!doc)
        return;
    if (JSON_COPY(doc, "reason", false, reason, &err)) {
        call_fail(c, &err);
        return;
    }
    set_drained(c, n, true, reason);
}

void rest_node_undrain(const struct call *c)
{
    struct node *n = find_node(c);
    if (n)
        set_drained(c, n, false, "");
}

void rest_node_label(const struct call *c)
{
    static const char *const KEYS[] = {"labels"};
    struct err err = {0};
    struct node *n = find_node(c);
    json_auto_t *doc = n ? call_body(c, "a change of labels", KEYS, ARRAY_LEN(KEYS)) : NULL;
    if (!doc)
        return;
    const json_t *labels = json_get_object(doc, "labels", true, &err);
    if (!labels || node_label(c->s, n, labels, &err))
        call_fail(c, &err);
    else
        http_reply_json(c->req, 200, node_doc(c->s, n));
}

void rest_node_delete(const struct call *c)
{
    struct err err = {0};
    struct node *n = find_node(c);
    if (!n)
        return;
    if (node_forget(c->s, n, &err))
        call_fail(c, &err);
    else
        http_reply_json(c->req, 200, json_object());
}

static bool wants_watch(const struct call *c)
{
    char watch[8];
    return http_req_query(c->req, "watch", watch, sizeof watch) && strcmp(watch, "1") == 0;
}

void rest_node_tasks(const struct call *c)
{
    struct err err = {0};
    if (!state_node(c->s, c->params[0])) {
        err_fill(&err, ERR_NOT_FOUND, "no node '%s': join again", c->params[0]);
        call_fail(c, &err);
        return;
    }
    if (wants_watch(c))
        feed_watch_tasks(c->s, c->req, c->params[0]);
    else
        http_reply_json(c->req, 200, view_tasks(c->s, c->params[0]));
}

void rest_routes(const struct call *c)
{
    if (wants_watch(c))
        feed_watch_routes(c->s, c->req);
    else
        http_reply_json(c->req, 200, view_routes(c->s));
}

void rest_events(const struct call *c)
{
    feed_watch_events(c->s, c->req);
}

void rest_member_report(const struct call *c)
{
    struct err err = {0};
    struct api_report report = {0};
    struct replica *r = state_replica(c->s, c->params[0]);
    struct member *m = r ? replica_member(r, c->params[1]) : NULL;
    json_auto_t *doc = parse_body(c);
    if (!doc)
        return;
    if (!m)
        err_fill(&err, ERR_NOT_FOUND, "no member '%s' of a replica '%s'", c->params[1],
                 c->params[0]);
    if (err.code || api_report_from_json(&report, doc, &err) ||
        group_report(c->s, r, m, &report, &err))
        call_fail(c, &err);
    else
        http_reply_json(c->req, 200, json_object());
    api_report_done(&report);
}
