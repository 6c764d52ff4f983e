/* Figures of the terms; see figures.h. */
#include "place/figures.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/objective.h"
#include "place/times.h"

#include <math.h>
#include <string.h>

#define MAX_FIGURE ((int64_t)1 << 50)

static const struct {
    enum figure_of of;
    bool gpus_only;
    double resolution;
} KINDS[TERM_COUNT] = {
    [TERM_OFFLOAD] = {FIGURE_OF_PLAN, false, 1},
    [TERM_NODES] = {FIGURE_OF_NODE, false, 1},
    [TERM_GPUS] = {FIGURE_OF_DEVICE, true, 1},
    [TERM_TOKEN_TIME] = {FIGURE_OF_PLAN, false, 1e6},
    [TERM_STREAM_TIME] = {FIGURE_OF_PLAN, false, 1e6},
    [TERM_HOPS] = {FIGURE_OF_PLAN, false, 1},
    [TERM_LEFTOVER] = {FIGURE_OF_DEVICE, true, 1},
    [TERM_WHOLE] = {FIGURE_OF_DEVICE, true, 1},
    [TERM_SPREAD] = {FIGURE_OF_NODE, false, 1},
    [TERM_LOAD] = {FIGURE_OF_NODE, false, 1},
    [TERM_LOCALITY] = {FIGURE_OF_MAIN, false, 1},
    [TERM_POWER] = {FIGURE_OF_DEVICE, false, 1},
    [TERM_PRICE] = {FIGURE_OF_DEVICE, false, 100},
};

enum figure_of figure_kind(enum policy_term t)
{
    return KINDS[t].of;
}

bool figure_gpus_only(enum policy_term t)
{
    return KINDS[t].gpus_only;
}

double figure_resolution(enum policy_term t)
{
    return KINDS[t].resolution;
}

/* ---- what runs already ---- */

static bool uses(const struct policy *p, enum policy_term t)
{
    for (uint32_t i = 0; i < p->n_terms; i++)
        if (p->terms[i].term == t)
            return true;
    return false;
}

/* The failure domain of a node: the value of the label, or the node itself. */
static const char *domain_of(const struct cluster_node *n, const char *key)
{
    size_t len = strlen(key);
    for (uint32_t i = 0; len && i < n->n_labels; i++)
        if (strncmp(n->labels[i], key, len) == 0 && n->labels[i][len] == '=')
            return n->labels[i] + len + 1;
    return NULL;
}

static bool same_domain(const struct cluster_snapshot *s, uint32_t a, uint32_t b, const char *key)
{
    const char *x = domain_of(&s->nodes[a], key), *y = domain_of(&s->nodes[b], key);
    return a == b || (x && y && strcmp(x, y) == 0);
}

static bool touches(const struct cluster_snapshot *s, const struct cluster_instance *x,
                    uint32_t node, const char *key)
{
    if (x->main < s->n_nodes && same_domain(s, x->main, node, key))
        return true;
    for (uint32_t k = 0; k < x->n_parts; k++)
        if (x->parts[k].node < s->n_nodes && same_domain(s, x->parts[k].node, node, key))
            return true;
    return false;
}

static uint32_t *count_replicas(const struct scene *c, const char *key)
{
    const struct cluster_snapshot *s = c->s;
    uint32_t *out = mem_calloc((size_t)s->n_nodes + 1, sizeof *out);
    for (uint32_t i = 0; i < s->n_instances && c->spec->name[0]; i++) {
        const struct cluster_instance *x = &s->instances[i];
        if (strcmp(x->deployment, c->spec->name) != 0)
            continue;
        for (uint32_t n = 0; n < s->n_nodes; n++)
            out[n] += touches(s, x, n, key);
    }
    return out;
}

static void mark_ours(const struct scene *c, bool *ours, uint32_t node, uint32_t index)
{
    if (node >= c->s->n_nodes)
        return;
    const struct scene_node *n = &c->nodes[node];
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++)
        ours[i] = ours[i] || c->dev[i].index == index;
}

static bool *find_ours(const struct scene *c)
{
    bool *ours = mem_calloc((size_t)c->n_dev + 1, sizeof *ours);
    for (uint32_t i = 0; i < c->n_dev; i++)
        ours[i] = c->s->nodes[c->dev[i].node].devices[c->dev[i].index].claimed_bytes > 0;
    for (uint32_t i = 0; i < c->s->n_instances; i++) {
        const struct cluster_instance *x = &c->s->instances[i];
        for (uint32_t k = 0; k < x->n_parts; k++)
            mark_ours(c, ours, x->parts[k].node, x->parts[k].device);
    }
    return ours;
}

void figures_init(struct figures *f, const struct scene *c, const struct policy *p)
{
    *f = (struct figures){0};
    if (uses(p, TERM_SPREAD))
        f->replicas = count_replicas(c, p->domain);
    if (uses(p, TERM_WHOLE))
        f->ours = find_ours(c);
}

void figures_done(struct figures *f)
{
    free(f->replicas);
    free(f->ours);
}

/* ---- devices and nodes ---- */

static int64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (int64_t)(bytes / unit + (bytes % unit != 0));
}

int64_t figure_device(const struct scene *c, enum policy_term t, uint32_t dev)
{
    const struct scene_device *x = &c->dev[dev];
    const struct cluster_device *d = &c->s->nodes[x->node].devices[x->index];
    switch (t) {
    case TERM_GPUS:
        return 1;
    case TERM_LEFTOVER:
        return round_up(scene_clamp(x->room), GIB);
    case TERM_WHOLE:
        return c->goal->figures.ours[dev] ? 0 : round_up(scene_clamp(d->total_bytes), GIB);
    case TERM_POWER:
        return d->tdp_w;
    case TERM_PRICE: {
        double cents = d->price * KINDS[t].resolution;
        return cents < (double)MAX_FIGURE ? llround(cents) : MAX_FIGURE;
    }
    default:
        return 0;
    }
}

static int64_t load_of(const struct cluster_node *n)
{
    uint64_t total = 0, used = 0;
    for (uint32_t i = 0; i < n->n_devices; i++) {
        const struct cluster_device *d = &n->devices[i];
        if (d->kind != DEVICE_GPU)
            continue;
        total += scene_clamp(d->total_bytes);
        if (d->free_bytes < d->total_bytes)
            used += scene_clamp(d->total_bytes - d->free_bytes);
    }
    return total ? (int64_t)(((__int128)used * 100 + total - 1) / total) : 0;
}

/* The file counts as there when its whole path is: shards travel together. */
static int64_t bytes_to_move(const struct scene *c, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < n->n_files; i++)
        if (strcmp(n->files[i], c->spec->model) == 0)
            return 0;
    return round_up(scene_clamp(c->m->file_bytes), MIB);
}

int64_t figure_node(const struct scene *c, enum policy_term t, uint32_t node)
{
    switch (t) {
    case TERM_NODES:
        return 1;
    case TERM_SPREAD:
        return c->goal->figures.replicas[node];
    case TERM_LOAD:
        return load_of(&c->s->nodes[node]);
    case TERM_LOCALITY:
        return bytes_to_move(c, &c->s->nodes[node]);
    default:
        return 0;
    }
}

/* ---- plans ---- */

static bool seen(const struct answer *a, uint32_t n)
{
    bool found = a->parts[n].node == a->main;
    for (uint32_t i = 0; i < n && !found; i++)
        found = a->parts[i].node == a->parts[n].node;
    return found;
}

static int64_t sum_nodes(const struct scene *c, const struct answer *a, enum policy_term t)
{
    int64_t sum = figure_node(c, t, a->main);
    for (uint32_t i = 0; i < a->n_parts; i++)
        sum += seen(a, i) ? 0 : figure_node(c, t, a->parts[i].node);
    return sum;
}

static int64_t sum_devices(const struct scene *c, const struct answer *a, enum policy_term t)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct scene_node *n = &c->nodes[a->parts[i].node];
        for (uint32_t k = n->first; k < n->first + n->n_dev; k++)
            if (c->dev[k].index == a->parts[i].index)
                sum += figure_device(c, t, k);
    }
    return sum;
}

static int64_t hops(const struct answer *a)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        n += a->parts[i].node != a->main;
    return n;
}

static int64_t stream_ns(const struct scene *c, const struct answer *a)
{
    int64_t streams = c->goal->streams, share = (a->ns + streams - 1) / streams;
    int64_t stage = figure_stage_ns(c, a);
    return share > stage ? share : stage;
}

int64_t figure_answer(const struct scene *c, const struct answer *a, enum policy_term t)
{
    if (t == TERM_OFFLOAD)
        return a->tier == TIER_CPU ? 2 : a->tier == TIER_RAM;
    if (t == TERM_TOKEN_TIME)
        return a->ns;
    if (t == TERM_STREAM_TIME)
        return stream_ns(c, a);
    if (t == TERM_HOPS)
        return hops(a);
    if (KINDS[t].of == FIGURE_OF_MAIN)
        return figure_node(c, t, a->main);
    if (KINDS[t].of == FIGURE_OF_NODE)
        return sum_nodes(c, a, t);
    return KINDS[t].gpus_only && a->tier > TIER_NODES ? 0 : sum_devices(c, a, t);
}

/* Layers from `from` on, rounded as in the search. */
static int64_t layers_ns(const struct scene *c, const struct estimate_device_speed *d,
                         uint32_t from, uint32_t n, uint32_t n_moe)
{
    int64_t sum = 0;
    for (uint32_t l = from; l < from + n; l++)
        sum += times_ns(times_layer(c->m, l, d, l < n_moe));
    return sum;
}

int64_t figure_stage_ns(const struct scene *c, const struct answer *a)
{
    int64_t most = a->n_cpu ? layers_ns(c, NULL, 0, a->n_cpu, 0) : 0;
    int64_t experts = a->n_moe ? scene_moe_ns(c, a->n_moe) : 0;
    uint32_t at = a->n_cpu;
    most = experts > most ? experts : most;
    for (uint32_t i = 0; i < a->n_parts; at += a->parts[i++].n_layers) {
        const struct answer_part *p = &a->parts[i];
        const struct cluster_node *n = &c->s->nodes[p->node];
        struct estimate_device_speed d =
            scene_speed(c, p->node, p->node, p->index == UINT32_MAX ? NULL : &n->devices[p->index]);
        int64_t ns = layers_ns(c, &d, at, p->n_layers, a->n_moe);
        struct net net = {0};
        if (p->node != a->main)
            net = scene_net(c, a->main, p->node);
        ns += net.fixed;
        if (i == a->n_parts - 1)
            ns += net.tail + times_ns(times_output(c->m, &d));
        most = ns > most ? ns : most;
    }
    return a->n_parts ? most : a->ns; /* on the CPU alone there is one stage */
}
