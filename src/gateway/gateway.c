/* The gateway: routes watch, keys, the paths under /v1/. */
#include "gateway/gateway.h"

#include "base/mem.h"
#include "client/client.h"
#include "gateway/answer.h"
#include "gateway/proxy.h"
#include "gateway/scan.h"
#include "gateway/routes.h"
#include "os/file.h"

#include <string.h>

struct gateway {
    struct client *client;
    struct client_watch *watch;
    struct routes *routes;
    struct proxy_pool pool;
};

/* Passed on to the engine under the same path. */
static const char *const PROXIED[] = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"};

/* ---- routes ---- */

static void on_routes(void *arg, const char *event, const json_t *data)
{
    struct gateway *g = arg;
    struct err err = {0};
    if (strcmp(event, "routes") != 0)
        return;
    if (routes_update(g->routes, data, &err))
        log_line(LOG_ERROR, "routes refused, the last ones stay in use error=\"%s\"", err.msg);
}

static void on_watch(void *arg, bool up, const struct err *err)
{
    if (up)
        log_line(LOG_INFO, "gateway watches routes");
    else
        log_line(LOG_WARN, "gateway lost the server, serves by the last routes error=\"%s\"",
                 err->msg);
}

struct gateway *gateway_new(const struct gateway_opts *o, struct err *err)
{
    struct gateway *g = mem_calloc(1, sizeof *g);
    g->routes = routes_new();
    g->pool = (struct proxy_pool){.loop = o->loop, .routes = g->routes};
    g->client = client_new(o->loop, o->server_url, o->key, err);
    if (!g->client) {
        gateway_free(g);
        return NULL;
    }
    g->watch = client_watch_new(g->client, "/api/v1/routes?watch=1", on_routes, on_watch, g);
    return g;
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    proxy_drop_all(&g->pool);
    client_watch_free(g->watch);
    client_free(g->client);
    routes_free(g->routes);
    free(g);
}

/* ---- requests ---- */

static void refuse(struct gateway *g, struct http_req *r, const struct answer *a)
{
    g->pool.outcomes[OUTCOME_ERROR_RESPONSE]++;
    answer_send(r, a);
}

static void complete(struct gateway *g, struct http_req *r, json_t *doc)
{
    g->pool.outcomes[OUTCOME_COMPLETE]++;
    http_reply_json(r, 200, doc);
}

/* The key's bytes: bearer token, or x-api-key. */
static struct str secret_of(const struct http_req *r)
{
    struct str v = http_req_header(r, "authorization");
    if (!v.p)
        return str_trim(http_req_header(r, "x-api-key"));
    static const char bearer[] = "bearer ";
    size_t n = sizeof bearer - 1;
    if (v.n <= n || !str_eq_nocase((struct str){v.p, n}, (struct str){bearer, n}))
        return (struct str){NULL, 0};
    return str_trim((struct str){v.p + n, v.n - n});
}

static const struct api_key *authenticate(struct gateway *g, struct http_req *r)
{
    struct answer a = {.status = 401, .code = "invalid_api_key"};
    struct str secret = secret_of(r);
    if (!routes_loaded(g->routes)) {
        a = (struct answer){.status = 503, .code = "gateway_starting", .retry_s = 1};
        str_copyf(a.message, sizeof a.message, "The gateway has not heard from its server yet");
        refuse(g, r, &a);
        return NULL;
    }
    const struct api_key *k = secret.n ? routes_key(g->routes, secret) : NULL;
    if (k && (strcmp(k->scope, "api") == 0 || strcmp(k->scope, "admin") == 0))
        return k;
    str_copyf(a.message, sizeof a.message, "%s",
              secret.n ? "Incorrect API key: create one with `stowage key create`"
                       : "No API key: send `Authorization: Bearer KEY`");
    refuse(g, r, &a);
    return NULL;
}

static void proxied(struct gateway *g, struct http_req *r, const struct api_key *k,
                    const char *path)
{
    struct scan_body body;
    struct err err = {0};
    struct answer a = {.status = 400};
    struct str text = http_req_body(r);
    if (scan_body(text.p, text.n, &body, &err)) {
        str_copyf(a.message, sizeof a.message, "%s", err.msg);
        refuse(g, r, &a);
        return;
    }
    if (!body.has_model || !body.model[0]) {
        a.param = "model";
        a.code = "missing_model";
        str_copyf(a.message, sizeof a.message, "The body must name a \"model\"");
        refuse(g, r, &a);
        return;
    }
    if (!routes_model(g->routes, body.model) || !routes_key_allows(k, body.model)) {
        answer_no_model(g->routes, k, body.model, &a);
        refuse(g, r, &a);
        return;
    }
    proxy_start(&g->pool, r, body.model, path);
}

static void models(struct gateway *g, struct http_req *r, const struct api_key *k, struct str path)
{
    static const char list[] = "/v1/models";
    if (path.n <= sizeof list) { /* with or without a slash at the end */
        complete(g, r, answer_models(g->routes, k));
        return;
    }
    mem_auto char *name = mem_strndup(path.p + sizeof list, path.n - sizeof list);
    const struct api_route *m = routes_model(g->routes, name);
    if (m && routes_key_allows(k, name)) {
        complete(g, r, answer_model(m));
        return;
    }
    struct answer a;
    answer_no_model(g->routes, k, name, &a);
    refuse(g, r, &a);
}

static void wrong_method(struct gateway *g, struct http_req *r, const char *allowed)
{
    struct answer a = {.status = 405, .code = "method_not_allowed"};
    str_copyf(a.message, sizeof a.message, "This path takes %s", allowed);
    http_add_header(r, "allow", allowed);
    refuse(g, r, &a);
}

void gateway_handle(struct gateway *g, struct http_req *r)
{
    struct str path = http_req_path(r), method = http_req_method(r);
    const struct api_key *k = authenticate(g, r);
    if (!k)
        return;
    for (size_t i = 0; i < ARRAY_LEN(PROXIED); i++) {
        if (!str_eq(path, str_of(PROXIED[i])))
            continue;
        if (str_eq(method, STR("POST")))
            proxied(g, r, k, PROXIED[i]);
        else
            wrong_method(g, r, "POST");
        return;
    }
    if (str_eq(path, STR("/v1/models")) || str_starts(path, STR("/v1/models/"))) {
        if (str_eq(method, STR("GET")))
            models(g, r, k, path);
        else
            wrong_method(g, r, "GET");
        return;
    }
    struct answer a = {.status = 404, .code = "unknown_path"};
    str_copyf(a.message, sizeof a.message,
              "Nothing is at %.*s; there are /v1/chat/completions, /v1/completions, /v1/embeddings "
              "and /v1/models",
              (int)(path.n > 200 ? 200 : path.n), path.p);
    refuse(g, r, &a);
}
