/* Codec of tasks. */
#include "api/messages.h"

#include "base/mem.h"

#include <string.h>

const char *api_role_name(enum api_role r)
{
    return r == API_MAIN ? "main" : "rpc";
}

static void lists_to_json(json_t *o, const struct api_task *t)
{
    json_t *list = json_put_array(o, "peers");
    for (uint32_t i = 0; i < t->n_peers; i++) {
        json_t *x = json_add_object(list);
        json_put_str(x, "node_id", t->peers[i].node_id);
        json_put_str(x, "node", t->peers[i].node);
        json_put_str(x, "addr", t->peers[i].addr);
    }
    list = json_put_array(o, "log_streams");
    for (uint32_t i = 0; i < t->n_log_streams; i++) {
        json_t *x = json_add_object(list);
        json_put_str(x, "stream", t->log_streams[i].stream);
        json_put_bool(x, "follow", t->log_streams[i].follow);
        json_put_u64(x, "tail", t->log_streams[i].tail);
    }
}

json_t *api_task_to_json(const struct api_task *t)
{
    json_t *o = json_object();
    json_put_str(o, "replica", t->replica);
    json_put_str(o, "deployment", t->deployment);
    json_put_u64(o, "index", t->index);
    json_put_u64(o, "generation", t->generation);
    json_put_str(o, "role", api_role_name(t->role));
    json_put_str(o, "desired", t->run ? "run" : "stop");
    json_put_bool(o, "peers_up", t->peers_up);
    json_put_str(o, "secret", t->secret);
    json_put_str(o, "alias", t->alias);
    json_object_set_new(o, "assignment", assignment_to_json(&t->assignment));
    json_t *m = json_put_object(o, "model");
    json_put_str(m, "path", t->model.path);
    json_put_u64(m, "bytes", t->model.bytes);
    json_put_str(m, "header_sha256", t->model.header_sha256);
    lists_to_json(o, t);
    return o;
}

/* One of two words: true for the first. */
static int either(const json_t *doc, const char *what, const char *yes, const char *no, bool *out,
                  struct err *err)
{
    const char *s = "";
    if (json_get_str(doc, what, true, &s, err))
        return -1;
    *out = strcmp(s, yes) == 0;
    if (!*out && strcmp(s, no) != 0)
        return err_set(err, ERR_INVALID, "'%s' is '%.40s'; it must be '%s' or '%s'", what, s, yes,
                       no);
    return 0;
}

static int array_of(const json_t *doc, const char *what, size_t max, json_t **list, struct err *err)
{
    struct err e = {0};
    *list = json_get_array(doc, what, false, &e);
    if (e.code)
        return err_set(err, e.code, "%.200s", e.msg);
    if (json_array_size(*list) > max)
        return err_set(err, ERR_LIMIT, "'%s' has %zu entries; at most %zu are read", what,
                       json_array_size(*list), max);
    return 0;
}

static int lists_from_json(struct api_task *t, const json_t *doc, struct err *err)
{
    json_t *list;
    if (array_of(doc, "peers", API_MAX_PEERS, &list, err))
        return -1;
    t->peers = mem_calloc(json_array_size(list), sizeof *t->peers);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        struct api_peer *p = &t->peers[t->n_peers++];
        if (JSON_COPY(x, "node_id", true, p->node_id, err) ||
            JSON_COPY(x, "node", true, p->node, err) || JSON_COPY(x, "addr", true, p->addr, err))
            return -1;
    }
    if (array_of(doc, "log_streams", API_MAX_LOG_STREAMS, &list, err))
        return -1;
    t->log_streams = mem_calloc(json_array_size(list), sizeof *t->log_streams);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        struct api_log_stream *l = &t->log_streams[t->n_log_streams++];
        if (JSON_COPY(x, "stream", true, l->stream, err) ||
            json_get_bool(x, "follow", true, &l->follow, err) ||
            json_get_u32(x, "tail", true, UINT32_MAX, &l->tail, err))
            return -1;
    }
    return 0;
}

static int task_fields(struct api_task *t, const json_t *doc, struct err *err)
{
    bool is_main = false;
    if (!json_is_object(doc))
        return err_set(err, ERR_INVALID, "a task must be an object");
    if (JSON_COPY(doc, "replica", true, t->replica, err) ||
        JSON_COPY(doc, "deployment", true, t->deployment, err) ||
        json_get_u32(doc, "index", true, UINT32_MAX, &t->index, err) ||
        json_get_u32(doc, "generation", true, UINT32_MAX, &t->generation, err) ||
        either(doc, "role", "main", "rpc", &is_main, err) ||
        either(doc, "desired", "run", "stop", &t->run, err) ||
        json_get_bool(doc, "peers_up", true, &t->peers_up, err) ||
        JSON_COPY(doc, "secret", true, t->secret, err) ||
        JSON_COPY(doc, "alias", true, t->alias, err))
        return -1;
    t->role = is_main ? API_MAIN : API_RPC;
    const json_t *model = json_object_get(doc, "model");
    if (JSON_COPY(model, "path", true, t->model.path, err) ||
        json_get_u64(model, "bytes", true, INT64_MAX, &t->model.bytes, err) ||
        JSON_COPY(model, "header_sha256", false, t->model.header_sha256, err)) {
        err_wrap(err, "model");
        return -1;
    }
    if (assignment_from_json(&t->assignment, json_object_get(doc, "assignment"), err)) {
        err_wrap(err, "assignment");
        return -1;
    }
    return lists_from_json(t, doc, err);
}

int api_task_from_json(struct api_task *t, const json_t *doc, struct err *err)
{
    if (!task_fields(t, doc, err))
        return 0;
    api_task_done(t);
    return -1;
}

void api_task_done(struct api_task *t)
{
    assignment_done(&t->assignment);
    free(t->peers);
    free(t->log_streams);
    *t = (struct api_task){0};
}

json_t *api_tasks_to_json(const struct api_tasks *t)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "items");
    for (uint32_t i = 0; i < t->n; i++)
        json_array_append_new(list, api_task_to_json(&t->items[i]));
    return o;
}

int api_tasks_from_json(struct api_tasks *t, const json_t *doc, struct err *err)
{
    struct err e = {0};
    const json_t *list = json_get_array(doc, "items", true, &e);
    if (!list)
        return err_set(err, e.code, "%.200s", e.msg);
    if (json_array_size(list) > API_MAX_TASKS)
        return err_set(err, ERR_LIMIT, "%zu tasks; at most %d are read", json_array_size(list),
                       API_MAX_TASKS);
    t->items = mem_calloc(json_array_size(list), sizeof *t->items);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (api_task_from_json(&t->items[i], json_array_get(list, i), err)) {
            err_wrap(err, "task %zu", i);
            api_tasks_done(t);
            return -1;
        }
        t->n++;
    }
    return 0;
}

void api_tasks_done(struct api_tasks *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        api_task_done(&t->items[i]);
    free(t->items);
    *t = (struct api_tasks){0};
}
