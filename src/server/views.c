/* What the watches send: a node's tasks, the gateway's routes, everything for people. */
#include "server/internal.h"

#include "base/mem.h"
#include "server/auth.h"

#include <string.h>

static bool wants_running(const struct replica *r)
{
    return !r->stopping && r->state != REPLICA_FAILED && r->state != REPLICA_LOST &&
           r->state != REPLICA_GONE;
}

static bool peers_up(const struct replica *r)
{
    for (uint32_t i = 0; i < r->n_members; i++) {
        const struct member *m = &r->members[i];
        if (m->role == API_RPC && (m->state < MEMBER_UP || m->state > MEMBER_READY))
            return false;
    }
    return true;
}

static void task_peers(const struct server *s, const struct replica *r, struct api_task *t)
{
    t->peers = mem_calloc(r->n_members, sizeof *t->peers);
    for (uint32_t i = 0; i < r->n_members; i++) {
        const struct member *m = &r->members[i];
        const struct node *n = state_node(s, m->node_id);
        if (m->role != API_RPC)
            continue;
        struct api_peer *p = &t->peers[t->n_peers++];
        STR_COPY(p->node_id, m->node_id);
        STR_COPY(p->node, m->node);
        STR_COPY(p->addr, n ? n->info.addr : "");
    }
}

static void task_streams(const struct server *s, const struct replica *r, const char *node,
                         struct api_task *t)
{
    t->log_streams = mem_calloc(API_MAX_LOG_STREAMS, sizeof *t->log_streams);
    for (const struct log_stream *l = s->logs; l && t->n_log_streams < API_MAX_LOG_STREAMS;
         l = l->next) {
        if (l->replica != r || (l->node[0] && strcmp(l->node, node) != 0))
            continue;
        struct api_log_stream *x = &t->log_streams[t->n_log_streams++];
        STR_COPY(x->stream, l->id);
        x->follow = l->follow;
        x->tail = l->tail;
    }
}

static json_t *task_doc(const struct server *s, const struct replica *r, const struct member *m)
{
    struct api_task t = {.index = r->index,
                         .generation = r->generation,
                         .role = m->role,
                         .run = wants_running(r),
                         .peers_up = peers_up(r),
                         .assignment = r->a, /* shares the parts */
                         .model = r->d->model};
    STR_COPY(t.replica, r->id);
    STR_COPY(t.deployment, r->d->spec->name);
    STR_COPY(t.alias, r->d->spec->name);
    STR_COPY(t.secret, r->secret);
    if (m->role == API_MAIN)
        task_peers(s, r, &t);
    task_streams(s, r, m->node, &t);
    json_t *o = api_task_to_json(&t);
    free(t.peers);
    free(t.log_streams);
    return o;
}

json_t *view_tasks(const struct server *s, const char *node_id)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "items");
    void *value;
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);) {
        const struct replica *r = value;
        const struct member *m = replica_member(r, node_id);
        if (m && r->has_assignment && r->state != REPLICA_PENDING)
            json_array_append_new(list, task_doc(s, r, m));
    }
    return o;
}

/* The best that any replica can say of the model. */
static const char *route_state(const struct deployment *d)
{
    bool starting = false, pending = false, failed = false;
    for (const struct replica *r = d->replicas; r; r = r->sibling) {
        if (r->state == REPLICA_READY)
            return "ready";
        starting = starting || (r->state >= REPLICA_ASSIGNED && r->state <= REPLICA_STARTING);
        failed = failed || r->state == REPLICA_FAILED || r->state == REPLICA_LOST || r->failures;
        pending = pending || r->state == REPLICA_PENDING;
    }
    if (d->deleting || !d->spec->replicas)
        return "stopped";
    return failed ? "degraded" : starting ? "starting" : pending ? "pending" : "starting";
}

static void route_fill(const struct server *s, const struct deployment *d, struct api_route *m)
{
    STR_COPY(m->name, d->spec->name);
    STR_COPY(m->state, route_state(d));
    m->ctx = d->spec->ctx;
    m->n_slots = d->spec->n_slots;
    m->created_at = d->created_at;
    size_t n_replicas = 0;
    for (const struct replica *r = d->replicas; r; r = r->sibling)
        n_replicas++;
    m->endpoints = mem_calloc(n_replicas, sizeof *m->endpoints);
    for (const struct replica *r = d->replicas; r; r = r->sibling) {
        const struct node *n = state_node(s, r->a.main_id);
        if (r->state != REPLICA_READY || !n)
            continue;
        struct api_endpoint *e = &m->endpoints[m->n_endpoints++];
        STR_COPY(e->replica, r->id);
        e->generation = r->generation;
        STR_COPY(e->node_id, n->info.id);
        STR_COPY(e->addr, n->info.addr);
        STR_COPY(e->secret, r->secret);
        e->slots = d->spec->n_slots;
    }
}

json_t *view_routes(const struct server *s)
{
    struct api_routes r = {0};
    void *value;
    r.models = mem_calloc(map_count(s->deployments), sizeof *r.models);
    for (size_t i = 0; map_next(s->deployments, &i, NULL, &value);) {
        const struct deployment *d = value;
        if (!d->deleting)
            route_fill(s, d, &r.models[r.n_models++]);
    }
    auth_fill_routes(s->auth, &r);
    json_t *o = api_routes_to_json(&r);
    api_routes_done(&r);
    return o;
}

json_t *view_snapshot(const struct server *s)
{
    json_t *o = json_object();
    void *value;
    json_t *list = json_put_array(o, "nodes");
    for (size_t i = 0; map_next(s->nodes, &i, NULL, &value);)
        json_array_append_new(list, node_doc(s, value));
    list = json_put_array(o, "deployments");
    for (size_t i = 0; map_next(s->deployments, &i, NULL, &value);)
        json_array_append_new(list, deployment_doc(s, value, false));
    list = json_put_array(o, "replicas");
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);)
        json_array_append_new(list, replica_doc(s, value));
    return o;
}
