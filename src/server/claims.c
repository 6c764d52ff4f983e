/* Claims and the snapshot that placement sees.
 *
 * Free memory of a device for a new plan is the smaller of
 *     what its worker reads as free, minus claims that this reading does not show yet, and
 *     what it has in all, minus all claims,
 * so that neither somebody else's use nor a promise of ours is given away twice. A claim shows in
 * the readings once its replica was READY before the reading was taken, and the device is a real
 * one: the readings of fake devices never show what runs on them. In RAM, weights that the main
 * process maps from the file never show (the kernel calls them available), everything else does. */
#include "server/claims.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/hold.h"

#include <string.h>

void claims_device(char *dst, size_t cap, const char *node_id, const char *uuid)
{
    str_copyf(dst, cap, "%s/%s", node_id, uuid[0] ? uuid : "ram");
}

static uint64_t capacity_of(const struct node *n, const char *uuid)
{
    for (uint32_t i = 0; n && i < n->info.n_devices; i++)
        if (strcmp(n->info.devices[i].uuid, uuid) == 0)
            return n->info.devices[i].total_bytes;
    return n && !uuid[0] ? n->info.ram_bytes : 0;
}

static uint64_t host_bytes(const struct assignment *a)
{
    return num_add_sat(a->host_weights_bytes, num_add_sat(a->host_kv_bytes, a->host_compute_bytes));
}

void claims_of_assignment(const struct server *s, const char *replica, const struct assignment *a,
                          struct ops *o)
{
    char device[CLUSTER_ID + CLUSTER_NAME];
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        claims_device(device, sizeof device, p->node_id, p->uuid);
        ops_claim(o, replica, device, assignment_part_bytes(p),
                  capacity_of(state_node(s, p->node_id), p->uuid));
    }
    if (!host_bytes(a))
        return;
    claims_device(device, sizeof device, a->main_id, "");
    ops_claim(o, replica, device, host_bytes(a), capacity_of(state_node(s, a->main_id), ""));
}

static void take(struct claim_sums *c, uint64_t bytes, bool hidden)
{
    c->all = num_add_sat(c->all, bytes);
    if (hidden)
        c->hidden = num_add_sat(c->hidden, bytes);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t free_of(uint64_t live, uint64_t total, const struct claim_sums *c)
{
    uint64_t by_reading = minus(live, c->hidden), by_books = minus(total, c->all);
    return by_reading < by_books ? by_reading : by_books;
}

/* The sums of one node: items[i] belong to its i-th device, the last to its RAM. */
struct node_sums {
    const struct node *n;
    struct claim_sums *items;
};

static struct claim_sums *sums_of(const struct node_sums *x, const char *uuid, bool *fake)
{
    uint32_t n = x->n->info.n_devices;
    *fake = false;
    for (uint32_t i = 0; i < n && uuid[0]; i++)
        if (strcmp(x->n->info.devices[i].uuid, uuid) == 0) {
            *fake = x->n->info.devices[i].backend == BACKEND_FAKE;
            return &x->items[i];
        }
    return uuid[0] ? NULL : &x->items[n];
}

static bool shown(const struct node *n, const struct replica *r)
{
    return r->ready_ms && n->seen_ms > r->ready_ms;
}

static void add_replica(const struct map *nodes, const struct replica *r)
{
    const struct node_sums *x;
    struct claim_sums *c;
    bool fake;
    for (uint32_t i = 0; i < r->a.n_parts; i++) {
        const struct assignment_part *p = &r->a.parts[i];
        if ((x = map_get(nodes, p->node_id)) && (c = sums_of(x, p->uuid, &fake)))
            take(c, assignment_part_bytes(p), fake || !shown(x->n, r));
    }
    if (!(x = map_get(nodes, r->a.main_id)))
        return;
    c = sums_of(x, "", &fake);
    take(c, r->a.host_weights_bytes, true);
    take(c, num_add_sat(r->a.host_kv_bytes, r->a.host_compute_bytes), !shown(x->n, r));
}

/* A copy of the node as placement may use it. */
static void add_node(const struct server *s, const struct node_sums *sums,
                     struct cluster_snapshot *out)
{
    const struct node *n = sums->n;
    struct cluster_node *x = snapshot_add_node(out);
    const struct cluster_node *from = &n->info;
    *x = *from;
    x->devices = NULL;
    x->labels = NULL;
    x->files = NULL;
    x->n_devices = x->n_labels = x->n_files = 0;
    node_labels(n, x);
    for (uint32_t i = 0; i < from->n_devices; i++) {
        struct cluster_device *d = node_add_device(x);
        *d = from->devices[i];
        d->claimed_bytes = sums->items[i].all;
        d->free_bytes = free_of(d->free_bytes, d->total_bytes, &sums->items[i]);
    }
    x->ram_free_bytes =
        free_of(from->ram_free_bytes, from->ram_bytes, &sums->items[from->n_devices]);
    x->state = node_state_of(n);
    STR_COPY(x->reason, n->drained ? n->drain_reason : "");
    x->seen_ms = loop_now_ms(s->loop) - n->seen_ms;
    if (x->state == NODE_READY && x->engine_devices && x->engine_devices < out->engine_devices)
        out->engine_devices = x->engine_devices;
    if (x->state == NODE_READY && !x->engine[0]) {
        x->state = NODE_DRAINED; /* nothing can run there; said with the other reasons */
        STR_COPY(x->reason, "no engine: stowage engine install llama.cpp");
    }
}

/* What runs or starts, so that placement sees whom it may stand beside. A part on a node that has
 * not reported yet is not in the snapshot, and so neither is its instance: what it holds elsewhere
 * stays claimed. */
static void add_instances(const struct server *s, struct cluster_snapshot *out)
{
    void *value;
    struct map *nodes = hold_nodes(out);
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);) {
        const struct replica *r = value;
        struct cluster_instance x = {0};
        if (!r->claimed || hold_of(out, nodes, &r->a, &x, NULL))
            continue;
        STR_COPY(x.id, r->id);
        STR_COPY(x.deployment, r->d->spec->name);
        x.index = r->index;
        *snapshot_add_instance(out) = x;
    }
    map_free(nodes);
}

void sched_snapshot(const struct server *s, struct cluster_snapshot *out)
{
    void *value;
    size_t n = 0;
    struct map *nodes = map_new(0);
    struct node_sums *sums = mem_calloc(map_count(s->nodes), sizeof *sums);
    snapshot_init(out);
    out->engine_devices = UINT32_MAX; /* the least that an engine here says */
    out->revision = s->store->driver->revision(s->store);
    for (size_t i = 0; map_next(s->nodes, &i, NULL, &value);) {
        const struct node *x = value;
        if (!x->reported)
            continue;
        sums[n] =
            (struct node_sums){x, mem_calloc((size_t)x->info.n_devices + 1, sizeof *sums[n].items)};
        map_set(nodes, x->info.id, &sums[n++]);
    }
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);)
        if (((struct replica *)value)->claimed)
            add_replica(nodes, value);
    for (size_t i = 0; i < n; i++) {
        add_node(s, &sums[i], out);
        free(sums[i].items);
    }
    add_instances(s, out);
    if (out->engine_devices == UINT32_MAX)
        out->engine_devices = CLUSTER_ENGINE_DEVICES;
    free(sums);
    map_free(nodes);
}

void sched_snapshot_specs(const struct server *s, struct cluster_snapshot *out)
{
    sched_snapshot(s, out);
    for (uint32_t i = 0; i < out->n_instances; i++)
        out->instances[i].spec = spec_to_json(state_replica(s, out->instances[i].id)->d->spec);
}
