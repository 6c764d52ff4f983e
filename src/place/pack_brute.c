/* Sets of instances by trying everything; see pack_brute.h. */
#include "place/pack_brute.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- models and clusters ---- */

struct estimate_model *pb_model(struct rng *r, uint32_t n)
{
    struct estimate_model *m = mem_calloc(1, sizeof *m);
    uint64_t size[2] = {(200 + rng_below(r, 900)) * MIB, (200 + rng_below(r, 900)) * MIB};
    m->n_layers = m->n_blocks = n;
    m->layers = mem_calloc(n, sizeof *m->layers);
    for (uint32_t i = 0; i < n; i++) {
        struct estimate_layer *l = &m->layers[i];
        l->weights = l->read = size[rng_below(r, 2)] + rng_below(r, 3) * MIB;
        l->kv = (10 + rng_below(r, 2) * 60) * MIB;
        l->peak = l->peak_bare = (20 + rng_below(r, 2) * 30) * MIB;
    }
    m->head = m->head_read = m->head_host = (100 + rng_below(r, 900)) * MIB;
    m->host_embedding = 300 * MIB;
    m->shared = rng_below(r, 2) * MIB;
    m->mask = m->host_mask = 8 * MIB;
    m->act = 16 * MIB;
    m->first_extra = rng_below(r, 2) * 32 * MIB;
    m->n_embd = 4096;
    m->n_vocab = 128000;
    m->opts = (struct estimate_opts){.ctx = 4096, .n_slots = 1, .ubatch = 512};
    return m;
}

uint64_t pb_model_bytes(const struct estimate_model *m)
{
    uint64_t sum = m->head;
    for (uint32_t i = 0; i < m->n_layers; i++)
        sum += m->layers[i].weights + m->layers[i].kv;
    return sum;
}

void pb_cluster(struct rng *r, uint64_t bytes, uint32_t max_dev, struct cluster_snapshot *s)
{
    static const double SPEED[] = {360e9, 936e9, 2039e9};
    snapshot_init(s);
    s->margin_bytes = 64 * MIB;
    s->runtime_bytes = (32 + rng_below(r, 2) * 200) * MIB;
    uint32_t nodes = 1 + (uint32_t)rng_below(r, PB_NODES),
             dev = 1 + (uint32_t)rng_below(r, max_dev);
    uint64_t share = bytes / (1 + rng_below(r, dev)) + 600 * MIB;
    bool alike = rng_below(r, 3) == 0;
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = snapshot_add_node(s);
        snprintf(n->name, sizeof n->name, "n%u", i);
        snprintf(n->id, sizeof n->id, "id%u", i);
        n->ram_bytes = 64 * GIB;
        n->ram_free_bytes = rng_below(r, 3) ? 64 * GIB : (200 + rng_below(r, 1600)) * MIB;
    }
    uint64_t same = share / 2 + rng_below(r, share);
    for (uint32_t i = 0; i < dev; i++) {
        struct cluster_node *n = &s->nodes[rng_below(r, nodes)];
        struct cluster_device *d = node_add_device(n);
        uint32_t kind = (uint32_t)rng_below(r, alike ? 1 : 3);
        snprintf(d->uuid, sizeof d->uuid, "gpu-%u", i);
        snprintf(d->name, sizeof d->name, "card %u", kind);
        d->index = n->n_devices - 1;
        d->backend = BACKEND_FAKE;
        d->bandwidth_bytes_per_s = SPEED[kind];
        d->hbm = kind == 2;
        d->total_bytes = d->free_bytes = alike ? same : share / 2 + rng_below(r, share);
    }
    struct cluster_link *l = snapshot_add_link(s);
    *l = (struct cluster_link){.all = true, .bytes_per_s = 125e6, .rtt_s = 2e-4};
}

/* ---- the ways of one instance ---- */

struct trial {
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    uint32_t node[PB_DEV], dev[PB_DEV], n_dev, main;
    uint32_t order[PB_DEV], counts[PB_DEV];
    uint64_t room[PB_SLOTS];
    struct pb_ways *out;
    size_t cap;
    uint32_t most, most_nodes;
};

uint32_t pb_slot(const struct cluster_snapshot *s, uint32_t node, uint32_t device)
{
    uint32_t at = device;
    if (device == UINT32_MAX)
        return PB_DEV + node;
    for (uint32_t i = 0; i < node; i++)
        at += s->nodes[i].n_devices;
    return at;
}

void pb_room(const struct cluster_snapshot *s, uint64_t room[PB_SLOTS])
{
    memset(room, 0, PB_SLOTS * sizeof *room);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        room[PB_DEV + i] = s->nodes[i].ram_free_bytes;
        for (uint32_t d = 0; d < s->nodes[i].n_devices; d++) {
            uint64_t have = s->nodes[i].devices[d].free_bytes;
            room[pb_slot(s, i, d)] = have > s->margin_bytes ? have - s->margin_bytes : 0;
        }
    }
}

static int64_t time_of(const struct trial *t, uint32_t g)
{
    struct estimate_device_speed v[PB_DEV];
    struct estimate_split split = {.n_devices = g, .counts = t->counts};
    for (uint32_t i = 0; i < g; i++) {
        uint32_t at = t->order[i];
        const struct cluster_device *x = &t->s->nodes[t->node[at]].devices[t->dev[at]];
        bool remote = t->node[at] != t->main;
        v[i] = (struct estimate_device_speed){.bandwidth_bytes_per_s = x->bandwidth_bytes_per_s,
                                              .hbm = x->hbm,
                                              .remote = remote,
                                              .net_bytes_per_s = remote ? 125e6 : 0,
                                              .net_rtt_s = remote ? 2e-4 : 0};
    }
    return llround(estimate_token_seconds(t->m, &split, v, NULL) * 1e9);
}

static void offer(struct trial *t, uint32_t g)
{
    struct pb_way w = {.g = g, .nodes = 1u << t->main};
    struct estimate_bytes b[PB_DEV], host;
    struct estimate_split split = {.n_devices = g, .counts = t->counts};
    estimate_split_bytes(t->m, &split, b, &host);
    for (uint32_t i = 0; i < g; i++) {
        w.use[t->order[i]] = b[i].weights + b[i].kv + b[i].compute + t->s->runtime_bytes;
        w.nodes |= 1u << t->node[t->order[i]];
    }
    w.use[PB_DEV + t->main] = host.weights + host.kv + host.compute;
    for (uint32_t i = 0; i < PB_SLOTS; i++)
        if (w.use[i] > t->room[i])
            return;
    w.k = (uint32_t)__builtin_popcount(w.nodes);
    if (w.k > t->most_nodes)
        return;
    w.ns = time_of(t, g);
    mem_grow(&t->out->items, &t->cap, (size_t)t->out->n + 1, sizeof w);
    t->out->items[t->out->n++] = w;
}

static void extend(struct trial *t, uint32_t mask, uint32_t g, uint32_t at)
{
    uint32_t n = t->m->n_layers;
    if (at == n)
        offer(t, g);
    for (uint32_t i = 0; i < t->n_dev && at < n && g < t->most; i++) {
        if (mask >> i & 1)
            continue;
        t->order[g] = i;
        for (uint32_t e = at + 1; e <= n; e++) {
            t->counts[g] = e - at;
            extend(t, mask | 1u << i, g + 1, e);
        }
    }
}

static int dearer(const struct pb_way *a, const struct pb_way *b, bool fastest)
{
    if (fastest && a->ns != b->ns)
        return a->ns < b->ns ? -1 : 1;
    if (a->k != b->k)
        return a->k < b->k ? -1 : 1;
    if (a->g != b->g)
        return a->g < b->g ? -1 : 1;
    return (a->ns > b->ns) - (a->ns < b->ns);
}

static int by_cost(const void *a, const void *b, void *fastest)
{
    int c = dearer(a, b, *(const bool *)fastest);
    return c ? c
             : memcmp(((const struct pb_way *)a)->use, ((const struct pb_way *)b)->use,
                      sizeof((const struct pb_way *)a)->use);
}

static bool beaten(const struct pb_way *w, const struct pb_way *by)
{
    for (uint32_t i = 0; i < PB_SLOTS; i++)
        if (by->use[i] > w->use[i])
            return false;
    return (by->nodes & ~w->nodes) == 0;
}

void pb_ways(const struct cluster_snapshot *s, const struct deployment_spec *spec,
             const struct estimate_model *m, struct pb_ways *out)
{
    struct trial t = {.s = s, .m = m, .out = out, .most = PB_DEV};
    t.most_nodes = spec->want.max_nodes ? spec->want.max_nodes : PB_NODES;
    *out = (struct pb_ways){0};
    if (spec->want.max_gpus && spec->want.max_gpus < t.most)
        t.most = spec->want.max_gpus;
    pb_room(s, t.room);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t d = 0; d < s->nodes[i].n_devices; d++) {
            t.node[t.n_dev] = i;
            t.dev[t.n_dev++] = d;
        }
    for (t.main = 0; t.main < s->n_nodes; t.main++)
        extend(&t, 0, 0, 0);
    if (!out->n)
        return;
    bool fastest = strcmp(spec->policy.name, "fastest") == 0;
    qsort_r(out->items, out->n, sizeof *out->items, by_cost, &fastest);
    uint32_t n = 0;
    for (uint32_t i = 0; i < out->n; i++) {
        bool keep = true;
        for (uint32_t k = 0; k < n && keep; k++)
            keep = !beaten(&out->items[i], &out->items[k]);
        if (keep)
            out->items[n++] = out->items[i];
    }
    out->n = n;
}

/* ---- sets ---- */

struct pick {
    const struct place_wish *wishes;
    uint32_t n_items, wish[PB_ITEMS];
    struct pb_ways ways[PB_WISHES];
    uint64_t room[PB_SLOTS];
    uint32_t taken[PB_ITEMS]; /* nodes */
    struct pb_cost now, *best;
    bool found, fastest;
};

static int compare(const struct pb_cost *a, const struct pb_cost *b, bool fastest)
{
    if (a->dropped != b->dropped)
        return a->dropped < b->dropped ? -1 : 1;
    for (uint32_t i = 0; i < PB_WISHES; i++)
        if (a->by_wish[i] != b->by_wish[i])
            return a->by_wish[i] < b->by_wish[i] ? -1 : 1;
    if (fastest && a->ns != b->ns)
        return a->ns < b->ns ? -1 : 1;
    if (a->k != b->k)
        return a->k < b->k ? -1 : 1;
    if (a->g != b->g)
        return a->g < b->g ? -1 : 1;
    return (a->ns > b->ns) - (a->ns < b->ns);
}

static bool averse(const struct pick *p, uint32_t a, uint32_t b)
{
    const struct deployment_spec *x = p->wishes[a].d.spec, *y = p->wishes[b].d.spec;
    return (y->name[0] && name_list_has(&x->want.anti_affinity, y->name)) ||
           (x->name[0] && name_list_has(&y->want.anti_affinity, x->name));
}

static bool may(const struct pick *p, uint32_t item, const struct pb_way *w)
{
    for (uint32_t i = 0; i < PB_SLOTS; i++)
        if (w->use[i] > p->room[i])
            return false;
    for (uint32_t i = 0; i < item; i++)
        if ((p->taken[i] & w->nodes) && averse(p, p->wish[item], p->wish[i]))
            return false;
    return true;
}

/* No better than this whatever follows: the rest all placed, at the best way of each. */
static bool hopeless(const struct pick *p, uint32_t item)
{
    struct pb_cost c = p->now;
    for (uint32_t i = item; i < p->n_items; i++) {
        const struct pb_ways *w = &p->ways[p->wish[i]];
        if (w->n) {
            c.k += w->items[0].k;
            c.g += w->items[0].g;
            c.ns += w->items[0].ns;
        } else {
            c.dropped++;
            c.by_wish[p->wish[i]]++;
        }
    }
    return p->found && compare(&c, p->best, p->fastest) >= 0;
}

static void pick(struct pick *p, uint32_t item, uint32_t from)
{
    if (hopeless(p, item))
        return;
    if (item == p->n_items) {
        *p->best = p->now;
        p->found = true;
        return;
    }
    uint32_t wish = p->wish[item];
    bool next_alike = item + 1 < p->n_items && p->wish[item + 1] == wish;
    struct pb_cost was = p->now;
    for (uint32_t i = from; i < p->ways[wish].n; i++) {
        const struct pb_way *w = &p->ways[wish].items[i];
        if (!may(p, item, w))
            continue;
        for (uint32_t k = 0; k < PB_SLOTS; k++)
            p->room[k] -= w->use[k];
        p->taken[item] = w->nodes;
        p->now.k += w->k;
        p->now.g += w->g;
        p->now.ns += w->ns;
        pick(p, item + 1, next_alike ? i : 0);
        p->now = was;
        p->taken[item] = 0;
        for (uint32_t k = 0; k < PB_SLOTS; k++)
            p->room[k] += w->use[k];
    }
    uint32_t end = item + 1; /* replicas are alike: those left out are the last ones */
    while (end < p->n_items && p->wish[end] == wish)
        end++;
    p->now.dropped += end - item;
    p->now.by_wish[wish] += end - item;
    pick(p, end, 0);
    p->now = was;
}

void pb_best(const struct cluster_snapshot *s, const struct place_wish *wishes, uint32_t n,
             struct pb_cost *best)
{
    struct pick p = {.wishes = wishes, .best = best};
    p.fastest = n && strcmp(wishes[0].d.spec->policy.name, "fastest") == 0;
    pb_room(s, p.room);
    for (uint32_t i = 0; i < n; i++) {
        pb_ways(s, wishes[i].d.spec, wishes[i].m, &p.ways[i]);
        for (uint32_t r = 0; r < wishes[i].replicas; r++)
            p.wish[p.n_items++] = i;
    }
    pick(&p, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        free(p.ways[i].items);
}
