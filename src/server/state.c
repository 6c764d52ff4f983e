/* The mirror of the store: objects by name, loaded at start, dropped when their rows are gone. */
#include "server/internal.h"

#include "base/mem.h"
#include "os/file.h"

#include <string.h>

struct node *state_node(const struct server *s, const char *id)
{
    return map_get(s->nodes, id);
}

struct node *state_node_by_name(const struct server *s, const char *name)
{
    void *value;
    for (size_t i = 0; map_next(s->nodes, &i, NULL, &value);)
        if (strcmp(((struct node *)value)->info.name, name) == 0)
            return value;
    return NULL;
}

struct deployment *state_deployment(const struct server *s, const char *name)
{
    return map_get(s->deployments, name);
}

struct replica *state_replica(const struct server *s, const char *id)
{
    return map_get(s->replicas, id);
}

struct member *replica_member(const struct replica *r, const char *node_id)
{
    for (uint32_t i = 0; i < r->n_members; i++)
        if (strcmp(r->members[i].node_id, node_id) == 0)
            return &r->members[i];
    return NULL;
}

void facts_unref(struct facts *f)
{
    if (!f || --f->refs)
        return;
    arch_free(f->facts);
    free(f);
}

static void node_free(struct node *n)
{
    node_done(&n->info);
    node_done(&n->given);
    free(n);
}

static void deployment_free(struct deployment *d)
{
    facts_unref(d->facts);
    json_decref(d->summary);
    json_decref(d->place);
    free(d->spec);
    free(d);
}

static void replica_free(struct replica *r)
{
    assignment_done(&r->a);
    api_report_done(&r->main_report);
    json_decref(r->plan);
    free(r->members);
    free(r);
}

void state_drop_replica(struct server *s, struct replica *r)
{
    struct replica **at = &r->d->replicas;
    while (*at != r)
        at = &(*at)->sibling;
    *at = r->sibling;
    map_del(s->replicas, r->id);
    replica_free(r);
}

void state_drop_deployment(struct server *s, struct deployment *d)
{
    map_del(s->deployments, d->spec->name);
    deployment_free(d);
}

void state_drop_node(struct server *s, struct node *n)
{
    map_del(s->nodes, n->info.id);
    node_free(n);
}

struct replica *state_add_replica(struct server *s, struct deployment *d, const char *id,
                                  uint32_t index)
{
    struct replica *r = mem_calloc(1, sizeof *r);
    STR_COPY(r->id, id);
    r->d = d;
    r->index = index;
    r->since_ms = loop_now_ms(s->loop);
    struct replica **at = &d->replicas;
    while (*at)
        at = &(*at)->sibling;
    *at = r;
    map_set(s->replicas, r->id, r);
    return r;
}

static void add_member(struct replica *r, const char *node_id, const char *node, enum api_role role)
{
    if (!node_id[0] || replica_member(r, node_id))
        return;
    struct member *m = &r->members[r->n_members++];
    STR_COPY(m->node_id, node_id);
    STR_COPY(m->node, node);
    m->role = role;
}

void replica_make_members(struct replica *r)
{
    free(r->members);
    r->n_members = 0;
    r->members = mem_calloc((size_t)r->a.n_parts + 1, sizeof *r->members);
    add_member(r, r->a.main_id, r->a.main_node, API_MAIN);
    for (uint32_t i = 0; i < r->a.n_parts; i++)
        add_member(r, r->a.parts[i].node_id, r->a.parts[i].node, API_RPC);
}

/* ---- loading ---- */

struct loading {
    struct server *s;
    struct err err;
};

static bool load_node(void *arg, const struct store_object *o)
{
    struct loading *l = arg;
    struct node *n = mem_calloc(1, sizeof *n);
    uint64_t joined = 0;
    const json_t *info = json_object_get(o->spec, "node");
    if (node_from_json(&n->info, info, &l->err) ||
        json_get_bool(o->spec, "drained", false, &n->drained, &l->err) ||
        JSON_COPY(o->spec, "drain_reason", false, n->drain_reason, &l->err) ||
        labels_from_json(&n->given, json_object_get(o->spec, "labels"), &l->err) ||
        json_get_u64(o->spec, "joined_at", false, INT64_MAX, &joined, &l->err)) {
        err_wrap(&l->err, "stored node '%.40s'", o->id);
        node_free(n);
        return false;
    }
    STR_COPY(n->info.id, o->id);
    n->joined_at = (int64_t)joined;
    n->revision = o->revision;
    n->seen_ms = loop_now_ms(l->s->loop); /* silence before we ran is not held against anybody */
    map_set(l->s->nodes, n->info.id, n);
    return true;
}

static bool load_deployment(void *arg, const struct store_object *o)
{
    struct loading *l = arg;
    struct deployment *d = mem_calloc(1, sizeof *d);
    d->spec = mem_calloc(1, sizeof *d->spec);
    d->revision = o->revision;
    if (deployment_from_docs(d, o->spec, &l->err)) {
        err_wrap(&l->err, "stored deployment '%.63s'", o->id);
        deployment_free(d);
        return false;
    }
    map_set(l->s->deployments, d->spec->name, d);
    return true;
}

static bool load_replica(void *arg, const struct store_object *o)
{
    struct loading *l = arg;
    const char *name = "";
    if (json_get_str(o->spec, "deployment", true, &name, &l->err))
        return false;
    struct deployment *d = state_deployment(l->s, name);
    if (!d) {
        err_fill(&l->err, ERR_CORRUPT, "stored replica '%.40s' belongs to no deployment", o->id);
        return false;
    }
    struct replica *r = state_add_replica(l->s, d, o->id, 0);
    r->revision = o->revision;
    if (replica_from_docs(r, o->spec, o->status, &l->err)) {
        err_wrap(&l->err, "stored replica '%.40s'", o->id);
        return false;
    }
    int64_t now = loop_now_ms(l->s->loop);
    r->ready_ms = r->state == REPLICA_READY ? now : 0;
    r->stopping = r->state == REPLICA_FAILED || r->state == REPLICA_LOST;
    r->backoff_until_ms = now + replica_backoff_ms(r->failures);
    return true;
}

int state_load(struct server *s, struct err *err)
{
    static const struct {
        const char *kind;
        bool (*fn)(void *arg, const struct store_object *o);
    } KINDS[] = {{"node", load_node}, {"deployment", load_deployment}, {"replica", load_replica}};
    struct loading l = {.s = s};
    uint64_t seed;
    os_random(&seed, sizeof seed);
    s->nodes = map_new(seed);
    s->deployments = map_new(seed);
    s->replicas = map_new(seed);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        if (s->store->driver->list(s->store, KINDS[i].kind, KINDS[i].fn, &l, err))
            return -1;
        if (l.err.code)
            return err_set(err, ERR_CORRUPT, "%.239s", l.err.msg);
    }
    return 0;
}

void state_free(struct server *s)
{
    void *value;
    for (size_t i = 0; s->replicas && map_next(s->replicas, &i, NULL, &value);)
        replica_free(value);
    for (size_t i = 0; s->deployments && map_next(s->deployments, &i, NULL, &value);)
        deployment_free(value);
    for (size_t i = 0; s->nodes && map_next(s->nodes, &i, NULL, &value);)
        node_free(value);
    map_free(s->replicas);
    map_free(s->deployments);
    map_free(s->nodes);
    s->replicas = s->deployments = s->nodes = NULL;
}
