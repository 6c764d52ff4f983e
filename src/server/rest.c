/* From a request to its handler: route, key, policy, handler; and what handlers share. */
#include "server/internal.h"

#include "base/mem.h"
#include "server/auth.h"

#include <string.h>

static const call_handler HANDLERS[] = {
    [ROUTE_HEALTH] = rest_health,
    [ROUTE_JOIN] = rest_join,
    [ROUTE_NODE_INVENTORY] = rest_node_inventory,
    [ROUTE_NODES] = rest_nodes,
    [ROUTE_NODE_DRAIN] = rest_node_drain,
    [ROUTE_NODE_UNDRAIN] = rest_node_undrain,
    [ROUTE_NODE_LABEL] = rest_node_label,
    [ROUTE_NODE_DELETE] = rest_node_delete,
    [ROUTE_NODE_TASKS] = rest_node_tasks,
    [ROUTE_MEMBER_REPORT] = rest_member_report,
    [ROUTE_DEPLOY] = rest_deploy,
    [ROUTE_DEPLOYMENTS] = rest_deployments,
    [ROUTE_DEPLOYMENT] = rest_deployment,
    [ROUTE_SCALE] = rest_scale,
    [ROUTE_UNDEPLOY] = rest_undeploy,
    [ROUTE_REPLICAS] = rest_replicas,
    [ROUTE_REPLICA_LOG] = rest_replica_log,
    [ROUTE_LOG_LINES] = rest_log_lines,
    [ROUTE_EXPLAIN] = rest_explain,
    [ROUTE_PLAN] = rest_plan,
    [ROUTE_EVENTS] = rest_events,
    [ROUTE_ROUTES] = rest_routes,
    [ROUTE_KEY_CREATE] = rest_key_create,
    [ROUTE_KEYS] = rest_keys,
    [ROUTE_KEY_DELETE] = rest_key_delete,
    [ROUTE_TOKEN_CREATE] = rest_token_create,
    [ROUTE_SNAPSHOT] = rest_snapshot,
};
_Static_assert(ARRAY_LEN(HANDLERS) == ROUTE_COUNT, "one handler per route");

void call_fail(const struct call *c, const struct err *err)
{
    http_reply_err(c->req, err, NULL);
}

json_t *call_body(const struct call *c, const char *what, const char *const *keys, size_t n)
{
    struct err err = {0};
    struct str body = http_req_body(c->req);
    json_t *doc = json_parse(body.p, body.n, &err);
    if (doc && json_known_keys(doc, what, keys, n, &err) == 0)
        return doc;
    json_decref(doc);
    call_fail(c, &err);
    return NULL;
}

/* The node whose own row a worker's route touches; NULL when the route names none. */
static const char *owner(const struct call *c, enum api_route_id id)
{
    switch (id) {
    case ROUTE_NODE_INVENTORY:
    case ROUTE_NODE_TASKS:
        return c->params[0];
    case ROUTE_MEMBER_REPORT:
        return c->params[1];
    case ROUTE_LOG_LINES: /* of a stream: the handler knows whose log it is */
        return c->key ? c->key->node_id : NULL;
    default:
        return NULL;
    }
}

static int check_key(struct call *c, const struct api_route_row *row, struct err *err)
{
    c->key = auth_find(c->s->auth, c->req);
    if (auth_may(c->key, row->policy, owner(c, row->id)))
        return 0;
    if (!c->key)
        return err_set(err, ERR_AUTH,
                       "no key, or not a valid one: send 'Authorization: Bearer KEY'");
    return err_set(err, ERR_FORBIDDEN, "a key of scope '%s' may not do this; it needs '%s'%s",
                   auth_scope_name(c->key->scope), api_policy_name(row->policy),
                   row->policy == POLICY_WORKER_OWN ? " and its own rows" : "");
}

static int no_route(const struct call *c, bool path_known, struct err *err)
{
    struct str path = http_req_path(c->req), method = http_req_method(c->req);
    int n = path.n < 100 ? (int)path.n : 100;
    if (!auth_find(c->s->auth, c->req))
        return err_set(err, ERR_AUTH,
                       "no key, or not a valid one: send 'Authorization: Bearer KEY'");
    if (path_known)
        return err_set(err, ERR_NOT_FOUND, "%.*s does not take %.*s", n, path.p,
                       (int)(method.n < 20 ? method.n : 20), method.p);
    return err_set(err, ERR_NOT_FOUND, "no such path: %.*s", n, path.p);
}

static int route(struct call *c, call_handler *out, struct err *err)
{
    struct api_match m = api_route_match(http_req_method(c->req), http_req_path(c->req));
    if (!m.row)
        return no_route(c, m.path_known, err);
    for (int i = 0; i < API_ROUTE_PARAMS; i++) {
        struct str p = m.params[i];
        if (p.n >= sizeof c->params[i])
            return err_set(err, ERR_NOT_FOUND, "'%.20s...' is too long for a name", p.p);
        if (p.n)
            memcpy(c->params[i], p.p, p.n);
    }
    if (check_key(c, m.row, err))
        return -1;
    if (http_req_body(c->req).n > SERVER_MAX_BODY)
        return err_set(err, ERR_LIMIT, "a body of %zu bytes; at most %d are read",
                       http_req_body(c->req).n, SERVER_MAX_BODY);
    *out = HANDLERS[m.row->id];
    return 0;
}

void server_handle(struct server *s, struct http_req *r)
{
    struct call c = {.s = s, .req = r};
    struct err err = {0};
    call_handler handler = NULL;
    if (!route(&c, &handler, &err)) {
        handler(&c);
        return;
    }
    if (err.code == ERR_AUTH)
        http_add_header(r, "www-authenticate", "Bearer");
    call_fail(&c, &err);
}
