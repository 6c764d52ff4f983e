/* Codecs of the messages: lists and the small documents; the task has its own file. */
#include "api/messages.h"

#include "base/mem.h"

#include <string.h>

static const char *const STATES[] = {"waiting", "fetching", "starting", "up",
                                     "loading", "ready",    "failed",   "stopped"};
_Static_assert(ARRAY_LEN(STATES) == MEMBER_STATE_COUNT, "one name per member state");

const char *member_state_name(enum member_state s)
{
    return (unsigned)s < MEMBER_STATE_COUNT ? STATES[s] : "unknown";
}

int member_state_parse(const char *name, enum member_state *out, struct err *err)
{
    for (size_t i = 0; i < MEMBER_STATE_COUNT; i++)
        if (strcmp(STATES[i], name) == 0) {
            *out = (enum member_state)i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "'%.40s' is no state of a member", name);
}

static void put_bytes(json_t *o, const struct api_bytes *b)
{
    json_put_u64(o, "weights_bytes", b->weights_bytes);
    json_put_u64(o, "kv_bytes", b->kv_bytes);
    json_put_u64(o, "compute_bytes", b->compute_bytes);
}

static int get_bytes(const json_t *o, struct api_bytes *b, struct err *err)
{
    return json_get_u64(o, "weights_bytes", false, INT64_MAX, &b->weights_bytes, err) ||
                   json_get_u64(o, "kv_bytes", false, INT64_MAX, &b->kv_bytes, err) ||
                   json_get_u64(o, "compute_bytes", false, INT64_MAX, &b->compute_bytes, err)
               ? -1
               : 0;
}

/* The list `what` of doc with at most `max` elements: its length, and zeroed room for them. */
static int list_of(const json_t *doc, const char *what, bool required, size_t max, size_t size,
                   const json_t **list, void **items, uint32_t *n, struct err *err)
{
    struct err e = {0};
    *list = json_get_array(doc, what, required, &e);
    if (e.code)
        return err_set(err, e.code, "%.200s", e.msg);
    size_t len = json_array_size(*list);
    if (len > max)
        return err_set(err, ERR_LIMIT, "'%s' has %zu entries; at most %zu are read", what, len,
                       max);
    *items = len ? mem_calloc(len, size) : NULL;
    *n = (uint32_t)len;
    return 0;
}

/* ---- report ---- */

json_t *api_report_to_json(const struct api_report *r)
{
    json_t *o = json_object();
    json_put_u64(o, "generation", r->generation);
    json_put_str(o, "state", member_state_name(r->state));
    json_put_u64(o, "percent", r->percent);
    json_put_str(o, "code", r->code);
    json_put_str(o, "message", r->message);
    json_put_u64(o, "pid", r->pid);
    json_put_u64(o, "rss_bytes", r->rss_bytes);
    json_t *list = json_put_array(o, "measured");
    for (uint32_t i = 0; i < r->n_measured; i++) {
        json_t *m = json_add_object(list);
        json_put_u64(m, "part", r->measured[i].part);
        put_bytes(m, &r->measured[i].bytes);
    }
    if (r->has_host_measured)
        put_bytes(json_put_object(o, "host_measured"), &r->host_measured);
    json_put_u64(o, "load_ms", r->load_ms);
    json_put_u64(o, "first_token_ms", r->first_token_ms);
    json_put_double(o, "tok_s", r->tok_s);
    return o;
}

static int report_measured(struct api_report *r, const json_t *doc, struct err *err)
{
    const json_t *list;
    if (list_of(doc, "measured", false, API_MAX_MEASURED, sizeof *r->measured, &list,
                (void **)&r->measured, &r->n_measured, err))
        return -1;
    for (uint32_t i = 0; i < r->n_measured; i++) {
        const json_t *m = json_array_get(list, i);
        if (json_get_u32(m, "part", true, UINT32_MAX, &r->measured[i].part, err) ||
            get_bytes(m, &r->measured[i].bytes, err))
            return -1;
    }
    struct err e = {0};
    const json_t *host = json_get_object(doc, "host_measured", false, &e);
    if (e.code)
        return err_set(err, e.code, "%.200s", e.msg);
    r->has_host_measured = host != NULL;
    return host ? get_bytes(host, &r->host_measured, err) : 0;
}

static int report_fields(struct api_report *r, const json_t *doc, struct err *err)
{
    const char *state = "";
    if (!json_is_object(doc))
        return err_set(err, ERR_INVALID, "a member report must be an object");
    if (json_get_u32(doc, "generation", true, UINT32_MAX, &r->generation, err) ||
        json_get_str(doc, "state", true, &state, err) ||
        member_state_parse(state, &r->state, err) ||
        json_get_u32(doc, "percent", false, 100, &r->percent, err) ||
        JSON_COPY(doc, "code", false, r->code, err) ||
        JSON_COPY(doc, "message", false, r->message, err) ||
        json_get_u64(doc, "pid", false, INT32_MAX, &r->pid, err) ||
        json_get_u64(doc, "rss_bytes", false, INT64_MAX, &r->rss_bytes, err) ||
        json_get_u64(doc, "load_ms", false, INT64_MAX, &r->load_ms, err) ||
        json_get_u64(doc, "first_token_ms", false, INT64_MAX, &r->first_token_ms, err) ||
        json_get_double(doc, "tok_s", false, &r->tok_s, err))
        return -1;
    if (r->state == MEMBER_WAITING)
        return err_set(err, ERR_INVALID, "a member never reports 'waiting'");
    return report_measured(r, doc, err);
}

int api_report_from_json(struct api_report *r, const json_t *doc, struct err *err)
{
    if (!report_fields(r, doc, err))
        return 0;
    api_report_done(r);
    return -1;
}

void api_report_done(struct api_report *r)
{
    free(r->measured);
    *r = (struct api_report){0};
}

/* ---- routes ---- */

json_t *api_routes_to_json(const struct api_routes *r)
{
    json_t *o = json_object();
    json_put_str(o, "key_salt", r->key_salt);
    json_t *models = json_put_array(o, "models");
    for (uint32_t i = 0; i < r->n_models; i++) {
        const struct api_route *m = &r->models[i];
        json_t *x = json_add_object(models);
        json_put_str(x, "name", m->name);
        json_put_u64(x, "ctx", m->ctx);
        json_put_u64(x, "n_slots", m->n_slots);
        json_put_str(x, "state", m->state);
        json_put_u64(x, "created_at", m->created_at > 0 ? (uint64_t)m->created_at : 0);
        json_t *list = json_put_array(x, "endpoints");
        for (uint32_t j = 0; j < m->n_endpoints; j++) {
            const struct api_endpoint *e = &m->endpoints[j];
            json_t *y = json_add_object(list);
            json_put_str(y, "replica", e->replica);
            json_put_u64(y, "generation", e->generation);
            json_put_str(y, "node_id", e->node_id);
            json_put_str(y, "addr", e->addr);
            json_put_str(y, "secret", e->secret);
            json_put_u64(y, "slots", e->slots);
        }
    }
    json_t *keys = json_put_array(o, "keys");
    for (uint32_t i = 0; i < r->n_keys; i++) {
        const struct api_key *k = &r->keys[i];
        json_t *x = json_add_object(keys);
        json_put_str(x, "id", k->id);
        json_put_str(x, "hash", k->hash);
        json_put_str(x, "scope", k->scope);
        if (!k->models)
            continue;
        json_t *list = json_put_array(x, "models");
        for (uint32_t j = 0; j < k->models->n; j++)
            json_array_append_new(list, json_string(k->models->items[j]));
    }
    return o;
}

static int endpoint_from(struct api_endpoint *e, const json_t *doc, struct err *err)
{
    return JSON_COPY(doc, "replica", true, e->replica, err) ||
                   json_get_u32(doc, "generation", true, UINT32_MAX, &e->generation, err) ||
                   JSON_COPY(doc, "node_id", true, e->node_id, err) ||
                   JSON_COPY(doc, "addr", true, e->addr, err) ||
                   JSON_COPY(doc, "secret", true, e->secret, err) ||
                   json_get_u32(doc, "slots", false, SPEC_MAX_SLOTS, &e->slots, err)
               ? -1
               : 0;
}

static int route_from(struct api_route *m, const json_t *doc, struct err *err)
{
    uint64_t created = 0;
    const json_t *list;
    if (JSON_COPY(doc, "name", true, m->name, err) ||
        JSON_COPY(doc, "state", true, m->state, err) ||
        json_get_u32(doc, "ctx", false, UINT32_MAX, &m->ctx, err) ||
        json_get_u32(doc, "n_slots", false, UINT32_MAX, &m->n_slots, err) ||
        json_get_u64(doc, "created_at", false, INT64_MAX, &created, err) ||
        list_of(doc, "endpoints", false, API_MAX_ENDPOINTS, sizeof *m->endpoints, &list,
                (void **)&m->endpoints, &m->n_endpoints, err))
        return -1;
    m->created_at = (int64_t)created;
    for (uint32_t i = 0; i < m->n_endpoints; i++)
        if (endpoint_from(&m->endpoints[i], json_array_get(list, i), err))
            return -1;
    return 0;
}

static int key_from(struct api_key *k, const json_t *doc, struct err *err)
{
    struct err e = {0};
    if (JSON_COPY(doc, "id", true, k->id, err) || JSON_COPY(doc, "hash", true, k->hash, err) ||
        JSON_COPY(doc, "scope", true, k->scope, err))
        return -1;
    const json_t *list = json_get_array(doc, "models", false, &e);
    if (e.code)
        return err_set(err, e.code, "%.200s", e.msg);
    if (!list)
        return 0;
    if (json_array_size(list) > CONSTRAINT_MAX_NAMES)
        return err_set(err, ERR_LIMIT, "a key names %zu models; at most %d are read",
                       json_array_size(list), CONSTRAINT_MAX_NAMES);
    k->models = mem_calloc(1, sizeof *k->models);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s || !STR_COPY(k->models->items[k->models->n++], s))
            return err_set(err, ERR_INVALID, "'models' of a key must be a list of model names");
    }
    return 0;
}

static int routes_fields(struct api_routes *r, const json_t *doc, struct err *err)
{
    const json_t *list;
    if (JSON_COPY(doc, "key_salt", true, r->key_salt, err) ||
        list_of(doc, "models", true, API_MAX_ROUTES, sizeof *r->models, &list, (void **)&r->models,
                &r->n_models, err))
        return -1;
    for (uint32_t i = 0; i < r->n_models; i++)
        if (route_from(&r->models[i], json_array_get(list, i), err))
            return -1;
    if (list_of(doc, "keys", true, API_MAX_KEYS, sizeof *r->keys, &list, (void **)&r->keys,
                &r->n_keys, err))
        return -1;
    for (uint32_t i = 0; i < r->n_keys; i++)
        if (key_from(&r->keys[i], json_array_get(list, i), err))
            return -1;
    return 0;
}

int api_routes_from_json(struct api_routes *r, const json_t *doc, struct err *err)
{
    if (!routes_fields(r, doc, err))
        return 0;
    api_routes_done(r);
    return -1;
}

void api_routes_done(struct api_routes *r)
{
    for (uint32_t i = 0; r->models && i < r->n_models; i++)
        free(r->models[i].endpoints);
    for (uint32_t i = 0; r->keys && i < r->n_keys; i++)
        free(r->keys[i].models);
    free(r->models);
    free(r->keys);
    *r = (struct api_routes){0};
}

/* ---- log lines ---- */

json_t *api_log_to_json(const struct api_log *l)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "lines");
    for (uint32_t i = 0; i < l->n_lines; i++) {
        json_t *x = json_add_object(list);
        json_put_str(x, "role", l->lines[i].role);
        json_put_str(x, "text", l->lines[i].text ? l->lines[i].text : "");
    }
    json_put_bool(o, "end", l->end);
    return o;
}

static int log_fields(struct api_log *l, const json_t *doc, struct err *err)
{
    const json_t *list;
    if (json_get_bool(doc, "end", false, &l->end, err) ||
        list_of(doc, "lines", true, API_MAX_LOG_LINES, sizeof *l->lines, &list, (void **)&l->lines,
                &l->n_lines, err))
        return -1;
    for (uint32_t i = 0; i < l->n_lines; i++) {
        const json_t *x = json_array_get(list, i);
        const char *text = "";
        if (JSON_COPY(x, "role", true, l->lines[i].role, err) ||
            json_get_str(x, "text", true, &text, err))
            return -1;
        if (strlen(text) > API_MAX_LOG_LINE)
            return err_set(err, ERR_LIMIT, "a log line of %zu bytes; at most %d are read",
                           strlen(text), API_MAX_LOG_LINE);
        l->lines[i].text = mem_strdup(text);
    }
    return 0;
}

int api_log_from_json(struct api_log *l, const json_t *doc, struct err *err)
{
    if (!log_fields(l, doc, err))
        return 0;
    api_log_done(l);
    return -1;
}

void api_log_done(struct api_log *l)
{
    for (uint32_t i = 0; l->lines && i < l->n_lines; i++)
        free(l->lines[i].text);
    free(l->lines);
    *l = (struct api_log){0};
}
