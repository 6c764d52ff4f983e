/* Stored and wire forms of the server's objects. */
#include "server/internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- nodes ---- */

json_t *node_spec_doc(const struct node *n)
{
    json_t *o = json_object();
    json_object_set_new(o, "node", node_to_json(&n->info));
    json_put_bool(o, "drained", n->drained);
    json_put_str(o, "drain_reason", n->drain_reason);
    if (n->given.n_labels)
        json_object_set_new(o, "labels", labels_to_json(&n->given));
    json_put_u64(o, "joined_at", (uint64_t)n->joined_at);
    return o;
}

/* What our replicas hold on a device, for display. */
static uint64_t claimed_on(const struct server *s, const char *node_id, const char *uuid)
{
    uint64_t sum = 0;
    void *value;
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);) {
        const struct replica *r = value;
        for (uint32_t p = 0; r->claimed && p < r->a.n_parts; p++)
            if (strcmp(r->a.parts[p].uuid, uuid) == 0 &&
                strcmp(r->a.parts[p].node_id, node_id) == 0)
                sum += assignment_part_bytes(&r->a.parts[p]);
    }
    return sum;
}

json_t *node_doc(const struct server *s, const struct node *n)
{
    struct cluster_node x = n->info; /* shares the devices */
    struct cluster_node labels = {0};
    node_labels(n, &labels);
    x.labels = labels.labels;
    x.n_labels = labels.n_labels;
    x.state = node_state_of(n);
    STR_COPY(x.reason, n->drained ? n->drain_reason : "");
    x.seen_ms = loop_now_ms(s->loop) - n->seen_ms;
    json_t *o = node_to_json(&x);
    node_done(&labels);
    json_t *devices = json_object_get(o, "devices");
    for (uint32_t i = 0; i < x.n_devices; i++)
        json_put_u64(json_array_get(devices, i), "claimed_bytes",
                     claimed_on(s, x.id, x.devices[i].uuid));
    json_put_u64(o, "joined_at", (uint64_t)n->joined_at);
    return o;
}

/* ---- deployments ---- */

json_t *facts_summary(const struct arch_facts *f, const struct api_model *m)
{
    json_t *o = json_object();
    json_put_str(o, "path", m->path);
    json_put_u64(o, "bytes", m->bytes);
    json_put_str(o, "header_sha256", m->header_sha256);
    json_put_str(o, "arch", f->arch);
    json_put_str(o, "name", f->name);
    json_put_str(o, "quant", f->quant);
    json_put_u64(o, "n_params", f->n_params);
    json_put_u64(o, "n_layers", f->n_layers);
    json_put_u64(o, "n_expert", f->n_expert);
    json_put_u64(o, "ctx_train", f->ctx_train);
    json_put_u64(o, "n_files", f->n_files);
    json_put_bool(o, "has_chat_template", f->has_chat_template);
    if (f->warning[0])
        json_put_str(o, "warning", f->warning);
    return o;
}

json_t *deployment_spec_doc(const struct deployment *d)
{
    json_t *o = json_object();
    json_put_str(o, "id", d->id);
    json_object_set_new(o, "spec", spec_to_json(d->spec));
    json_object_set(o, "model", d->summary);
    json_put_u64(o, "created_at", (uint64_t)d->created_at);
    json_put_bool(o, "deleting", d->deleting);
    return o;
}

int deployment_from_docs(struct deployment *d, const json_t *doc, struct err *err)
{
    uint64_t created = 0;
    json_t *model = json_object_get(doc, "model");
    if (JSON_COPY(doc, "id", true, d->id, err) ||
        spec_from_json(d->spec, json_object_get(doc, "spec"), err) ||
        json_get_u64(doc, "created_at", true, INT64_MAX, &created, err) ||
        json_get_bool(doc, "deleting", true, &d->deleting, err) ||
        JSON_COPY(model, "path", true, d->model.path, err) ||
        json_get_u64(model, "bytes", true, INT64_MAX, &d->model.bytes, err) ||
        JSON_COPY(model, "header_sha256", true, d->model.header_sha256, err))
        return -1;
    d->created_at = (int64_t)created;
    d->summary = json_incref(model);
    return 0;
}

json_t *deployment_doc(const struct server *s, const struct deployment *d, bool with_replicas)
{
    json_t *o = json_object();
    json_put_str(o, "name", d->spec->name);
    json_put_str(o, "id", d->id);
    json_put_u64(o, "revision", (uint64_t)d->revision);
    json_put_u64(o, "created_at", (uint64_t)d->created_at);
    json_put_bool(o, "deleting", d->deleting);
    json_object_set_new(o, "spec", spec_to_json(d->spec));
    json_object_set(o, "model", d->summary);
    if (!with_replicas)
        return o;
    json_t *list = json_put_array(o, "replicas");
    for (const struct replica *r = d->replicas; r; r = r->sibling)
        json_array_append_new(list, replica_doc(s, r));
    return o;
}

/* ---- replicas ---- */

json_t *replica_spec_doc(const struct replica *r)
{
    json_t *o = json_object();
    json_put_str(o, "deployment", r->d->spec->name);
    json_put_u64(o, "index", r->index);
    json_put_u64(o, "generation", r->generation);
    json_put_bool(o, "claimed", r->claimed);
    if (r->has_assignment) {
        json_put_str(o, "secret", r->secret);
        json_object_set_new(o, "assignment", assignment_to_json(&r->a));
    }
    if (r->plan)
        json_object_set(o, "plan", r->plan);
    json_put_u64(o, "decided_at", (uint64_t)r->decided_at);
    return o;
}

static json_t *members_doc(const struct replica *r, bool live)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->n_members; i++) {
        const struct member *m = &r->members[i];
        json_t *x = json_add_object(list);
        json_put_str(x, "node_id", m->node_id);
        json_put_str(x, "node", m->node);
        json_put_str(x, "role", api_role_name(m->role));
        json_put_str(x, "state", member_state_name(m->state));
        json_put_str(x, "code", m->code);
        json_put_str(x, "message", m->message);
        if (!live)
            continue;
        json_put_u64(x, "percent", m->percent);
        json_put_u64(x, "pid", m->pid);
        json_put_u64(x, "rss_bytes", m->rss_bytes);
    }
    return list;
}

json_t *replica_status_doc(const struct replica *r)
{
    json_t *o = json_object();
    json_put_str(o, "state", replica_state_name(r->state));
    json_put_str(o, "code", r->code);
    json_put_str(o, "message", r->message);
    json_put_u64(o, "failures", r->failures);
    json_put_u64(o, "restarts", r->restarts);
    json_object_set_new(o, "members", members_doc(r, false));
    if (r->main_report.state == MEMBER_READY)
        json_object_set_new(o, "report", api_report_to_json(&r->main_report));
    return o;
}

static int members_from_doc(struct replica *r, const json_t *list, struct err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        const char *id = "", *state = "";
        if (json_get_str(x, "node_id", true, &id, err) ||
            json_get_str(x, "state", true, &state, err))
            return -1;
        struct member *m = replica_member(r, id);
        if (!m)
            return err_set(err, ERR_CORRUPT, "member '%.40s' has no part in the assignment", id);
        if (member_state_parse(state, &m->state, err) ||
            JSON_COPY(x, "code", false, m->code, err) ||
            JSON_COPY(x, "message", false, m->message, err))
            return -1;
    }
    return 0;
}

int replica_from_docs(struct replica *r, const json_t *spec, const json_t *status, struct err *err)
{
    uint64_t decided = 0;
    const char *state = "";
    const json_t *a = json_object_get(spec, "assignment");
    if (json_get_u32(spec, "index", true, SPEC_MAX_REPLICAS, &r->index, err) ||
        json_get_u32(spec, "generation", true, UINT32_MAX, &r->generation, err) ||
        json_get_bool(spec, "claimed", true, &r->claimed, err) ||
        JSON_COPY(spec, "secret", a != NULL, r->secret, err) ||
        json_get_u64(spec, "decided_at", true, INT64_MAX, &decided, err) ||
        (a && assignment_from_json(&r->a, a, err)) ||
        json_get_str(status, "state", true, &state, err) ||
        replica_state_parse(state, &r->state, err) ||
        JSON_COPY(status, "code", false, r->code, err) ||
        JSON_COPY(status, "message", false, r->message, err) ||
        json_get_u32(status, "failures", true, UINT32_MAX, &r->failures, err) ||
        json_get_u32(status, "restarts", true, UINT32_MAX, &r->restarts, err))
        return -1;
    r->decided_at = (int64_t)decided;
    r->has_assignment = a != NULL;
    r->plan = json_incref(json_object_get(spec, "plan"));
    const json_t *report = json_object_get(status, "report");
    if (report && api_report_from_json(&r->main_report, report, err))
        return -1;
    if (!a)
        return 0;
    replica_make_members(r);
    return members_from_doc(r, json_object_get(status, "members"), err);
}

static void put_measured(json_t *x, const struct api_bytes *b)
{
    json_put_u64(x, "weights_bytes", b->weights_bytes);
    json_put_u64(x, "kv_bytes", b->kv_bytes);
    json_put_u64(x, "compute_bytes", b->compute_bytes);
}

json_t *measured_doc(const struct api_report *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->n_measured; i++) {
        json_t *x = json_add_object(list);
        json_put_u64(x, "part", r->measured[i].part);
        put_measured(x, &r->measured[i].bytes);
    }
    return list;
}

json_t *replica_doc(const struct server *s, const struct replica *r)
{
    int64_t now = loop_now_ms(s->loop);
    char name[CLUSTER_NAME + 16];
    json_t *o = json_object();
    STR_COPY(name, r->d->spec->name);
    size_t n = strlen(name);
    str_copyf(name + n, sizeof name - n, "/%u", r->index);
    json_put_str(o, "id", r->id);
    json_put_str(o, "deployment", r->d->spec->name);
    json_put_str(o, "name", name);
    json_put_u64(o, "index", r->index);
    json_put_u64(o, "generation", r->generation);
    json_put_str(o, "state", replica_state_name(r->state));
    json_t *reason = json_put_object(o, "reason");
    json_put_str(reason, "code", r->code);
    json_put_str(reason, "message", r->message);
    json_put_u64(o, "since_ms", now > r->since_ms ? (uint64_t)(now - r->since_ms) : 0);
    json_put_u64(o, "restarts", r->restarts);
    bool waits = r->state == REPLICA_FAILED || r->state == REPLICA_LOST;
    json_put_u64(o, "backoff_ms",
                 waits && r->backoff_until_ms > now ? (uint64_t)(r->backoff_until_ms - now) : 0);
    json_put_u64(o, "ctx", r->d->spec->ctx);
    json_put_u64(o, "n_slots", r->d->spec->n_slots);
    if (r->claimed)
        json_object_set_new(o, "assignment", assignment_to_json(&r->a));
    json_object_set_new(o, "members", r->claimed ? members_doc(r, true) : json_array());
    const struct api_report *m = &r->main_report;
    json_object_set_new(o, "measured", measured_doc(m));
    if (m->has_host_measured)
        put_measured(json_put_object(o, "host_measured"), &m->host_measured);
    if (m->load_ms)
        json_put_u64(o, "load_ms", m->load_ms);
    if (m->first_token_ms)
        json_put_u64(o, "first_token_ms", m->first_token_ms);
    if (m->tok_s > 0)
        json_put_double(o, "tok_s", m->tok_s);
    return o;
}
