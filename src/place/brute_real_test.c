/* Instances with the layers of real models; see brute_case.h. */
#include "place/brute_case.h"

#include "base/mem.h"
#include "base/num.h"
#include "model/model.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* ---- models ---- */

enum { MAX_HEADERS = 64 };
static const uint32_t CTX[] = {4096, 16384, 131072};
static const enum kv_type KV[] = {KV_F16, KV_Q8_0};
enum { VARIANTS = ARRAY_LEN(CTX) * ARRAY_LEN(KV) };

struct brute_models {
    char *name[MAX_HEADERS];
    struct arch_facts *facts[MAX_HEADERS];
    struct estimate_model *m[MAX_HEADERS][VARIANTS]; /* made when first asked for */
    uint32_t n;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct brute_models *brute_models_new(const char *folder, struct err *err)
{
    struct brute_models *all = mem_calloc(1, sizeof *all);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) && all->n < MAX_HEADERS;)
        if (strstr(e->d_name, ".ggufh"))
            all->name[all->n++] = mem_strdup(e->d_name);
    if (d)
        closedir(d);
    qsort(all->name, all->n, sizeof *all->name, by_text); /* folders have no order of their own */
    bool ok = all->n > 0;
    if (!ok)
        (void)err_set(err, ERR_NOT_FOUND, "no .ggufh in %s", folder);
    for (uint32_t i = 0; i < all->n && ok; i++) {
        mem_auto char *path = mem_printf("%s/%s", folder, all->name[i]);
        all->facts[i] = model_facts(path, NULL, err);
        ok = all->facts[i] != NULL;
    }
    if (ok)
        return all;
    brute_models_free(all);
    return NULL;
}

void brute_models_free(struct brute_models *all)
{
    for (uint32_t i = 0; all && i < all->n; i++) {
        free(all->name[i]);
        arch_free(all->facts[i]);
        for (uint32_t k = 0; k < VARIANTS; k++)
            estimate_free(all->m[i][k]);
    }
    free(all);
}

static const struct estimate_model *whole_model(struct brute_models *all, uint32_t i, uint32_t k)
{
    if (!all->m[i][k]) {
        struct estimate_opts o = {.ctx = CTX[k % ARRAY_LEN(CTX)], .n_slots = 1, .ubatch = 512};
        o.kv_k = o.kv_v = KV[k / ARRAY_LEN(CTX)];
        all->m[i][k] = estimate_new(all->facts[i], &o, NULL);
    }
    return all->m[i][k];
}

struct estimate_model *brute_cut(struct brute_models *all, struct rng *r, uint32_t n, char what[96])
{
    uint32_t i = (uint32_t)rng_below(r, all->n), k = (uint32_t)rng_below(r, VARIANTS);
    const struct estimate_model *from = whole_model(all, i, k);
    struct estimate_model *m = mem_calloc(1, sizeof *m);
    *m = *from;
    n = n < from->n_layers ? n : from->n_layers;
    m->n_layers = m->n_blocks = n;
    m->layers = mem_calloc(n, sizeof *m->layers);
    bool thin = rng_below(r, 2);
    uint32_t at = (uint32_t)rng_below(r, from->n_layers - n + 1);
    for (uint32_t l = 0, left = from->n_layers, taken = 0; thin && left > 0; l++, left--)
        if (rng_below(r, left) < n - taken) /* every choice of n layers is as likely */
            m->layers[taken++] = from->layers[l];
    if (!thin)
        memcpy(m->layers, from->layers + at, n * sizeof *m->layers);
    if (rng_below(r, 8) == 0) { /* an output layer larger than several layers */
        m->head *= 4;
        m->head_read *= 4;
        m->head_host *= 4;
    }
    snprintf(what, 96, "%.60s ctx %u kv %s %s %u", all->name[i], m->opts.ctx,
             kv_type_name(m->opts.kv_k), thin ? "thinned to" : "cut to", n);
    return m;
}

void brute_cut_free(struct estimate_model *m)
{
    if (m)
        free(m->layers);
    free(m);
}

/* ---- clusters ---- */

static const struct kind {
    const char *name;
    double bandwidth;
    bool hbm;
} KINDS[] = {
    {"card of 360 GB/s", 360e9, false},
    {"card of 936 GB/s", 936e9, false},
    {"card of 2039 GB/s", 2039e9, true},
    {"unknown card", 0, false},
};

static uint64_t sum_of(const struct estimate_model *m)
{
    uint64_t sum = m->head;
    for (uint32_t i = 0; i < m->n_layers; i++)
        sum += m->layers[i].weights + m->layers[i].kv;
    return sum;
}

/* What a device takes besides layers: buffers of a middle one, margin, runtime. */
static uint64_t beside(const struct estimate_model *m, const struct cluster_snapshot *s)
{
    uint32_t n = m->n_layers, counts[3] = {1, n > 2 ? n - 2 : 1, 1};
    struct estimate_bytes out[3], host;
    struct estimate_split split = {.n_devices = n < 3 ? n : 3, .counts = counts};
    estimate_split_bytes(m, &split, out, &host);
    return out[split.n_devices - 1].compute + m->shared + s->margin_bytes + s->runtime_bytes;
}

static void add_nodes(const struct estimate_model *m, struct rng *r, uint32_t nodes,
                      struct cluster_snapshot *s)
{
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = snapshot_add_node(s);
        snprintf(n->name, sizeof n->name, "n%u", i);
        snprintf(n->id, sizeof n->id, "id%u", i);
        n->ram_free_bytes = rng_below(r, 3) ? rng_below(r, sum_of(m) * 2) : 4096 * GIB;
        n->ram_bytes = n->ram_free_bytes;
    }
}

static void add_cards(const struct estimate_model *m, struct rng *r, uint32_t dev,
                      struct cluster_snapshot *s)
{
    uint32_t kinds = 1 + (uint32_t)rng_below(r, ARRAY_LEN(KINDS));
    uint32_t at = (uint32_t)rng_below(r, ARRAY_LEN(KINDS));
    uint64_t more = beside(m, s), whole = sum_of(m) / 100, sum = 0;
    uint32_t room[ARRAY_LEN(KINDS)], kind[BRUTE_DEV];
    for (uint32_t i = 0; i < kinds; i++)
        room[i] = 20 + (uint32_t)rng_below(r, 80);
    for (uint32_t i = 0; i < dev; i++)
        sum += room[kind[i] = (uint32_t)rng_below(r, kinds)];
    /* As in brute_make.c: 0.9 to 1.5 times the model together, or up to five times. */
    uint64_t percent = rng_below(r, 3) ? 90 + rng_below(r, 60) : 80 + rng_below(r, 400);
    static const uint32_t JITTER[] = {0, 30, 3};
    uint32_t part = JITTER[rng_below(r, 3)];
    for (uint32_t i = 0; i < dev; i++) {
        struct cluster_device *d = node_add_device(&s->nodes[rng_below(r, s->n_nodes)]);
        const struct kind *k = &KINDS[(at + kind[i]) % ARRAY_LEN(KINDS)];
        snprintf(d->uuid, sizeof d->uuid, "gpu-%u", i);
        snprintf(d->name, sizeof d->name, "%s", k->name);
        d->backend = BACKEND_FAKE;
        d->bandwidth_bytes_per_s = k->bandwidth;
        d->hbm = k->hbm;
        uint64_t share = whole * room[kind[i]] / sum * percent;
        d->total_bytes = d->free_bytes = more + share + (part ? rng_below(r, share / part + 1) : 0);
    }
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            s->nodes[i].devices[k].index = k;
}

static struct cluster_link some_link(struct rng *r)
{
    static const double RATE[] = {118e6, 1180e6, 12e9};
    return (struct cluster_link){.bytes_per_s = RATE[rng_below(r, 3)],
                                 .rtt_s = 1e-5 * (double)(1 + rng_below(r, 60))};
}

void brute_cluster(const struct estimate_model *m, struct rng *r, const struct brute_shape *o,
                   struct cluster_snapshot *s)
{
    snapshot_init(s);
    s->margin_bytes = rng_below(r, 128) * MIB;
    s->runtime_bytes = rng_below(r, 128) * MIB;
    add_nodes(m, r, 1 + (uint32_t)rng_below(r, o->max_nodes), s);
    add_cards(m, r, 1 + (uint32_t)rng_below(r, o->max_dev), s);
    *snapshot_add_link(s) = some_link(r);
    s->links[0].all = true;
    for (uint32_t i = 0; o->links && i < s->n_nodes; i++)
        for (uint32_t k = i + 1; k < s->n_nodes; k++)
            if (rng_below(r, 3) == 0) {
                struct cluster_link l = some_link(r);
                l.a = i;
                l.b = k;
                *snapshot_add_link(s) = l;
            }
}

/* ---- one mode as a table ---- */

/* The bytes of layers s..e-1 in their place in the pipeline. */
static uint64_t range_bytes(const struct estimate_model *m, const struct mode_opts *o, uint32_t s,
                            uint32_t e)
{
    uint32_t counts[3], n = 0, at = 0;
    struct estimate_bytes out[3], host;
    struct estimate_split split = {.counts = counts};
    if (o->mode == MODE_CPU)
        split.n_cpu_layers = s;
    else if (s > 0)
        counts[n++] = s;
    at = n;
    counts[n++] = e - s;
    if (e < m->n_layers)
        counts[n++] = m->n_layers - e;
    split.n_devices = n;
    split.n_cpu_moe = o->mode == MODE_MOE ? o->n_moe : 0;
    /* All on devices means several; layers on the CPU mean at least one. */
    if ((o->mode == MODE_FULL && n == 1) || (o->mode == MODE_CPU && s == 0))
        return BRUTE_FULL;
    estimate_split_bytes(m, &split, out, &host);
    return out[at].weights + out[at].kv + out[at].compute;
}

/* What the main node's RAM must hold, with x layers on its CPU. */
static uint64_t host_bytes(const struct estimate_model *m, const struct mode_opts *o, uint32_t x)
{
    uint32_t counts[2] = {1, m->n_layers - x - 1};
    struct estimate_bytes out[2], host;
    struct estimate_split split = {
        .n_devices = counts[1] ? 2 : 1, .counts = counts, .n_cpu_layers = x};
    split.n_cpu_moe = o->mode == MODE_MOE ? o->n_moe : 0;
    estimate_split_bytes(m, &split, out, &host);
    return host.weights + host.kv + host.compute;
}

static void table_nodes(const struct scene *c, const struct mode_opts *o, const struct problem *p,
                        const uint32_t *node_of, struct brute *b)
{
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct cluster_node *n = &c->s->nodes[node_of[i]];
        struct brute_node *to = &b->node[i];
        for (uint32_t x = 1; b->cpu && x < b->n_layers; x++)
            if (host_bytes(c->m, o, x) <= n->ram_free_bytes)
                to->n_cpu_max = x;
        to->main_ok = b->cpu ? to->n_cpu_max > 0 : host_bytes(c->m, o, 0) <= n->ram_free_bytes;
        for (uint32_t k = 0; k < p->nodes[i].n_dev; k++) {
            const struct pdev *d = &p->nodes[i].dev[k];
            bool ram = d->id >= c->n_dev;
            uint64_t have = n->ram_free_bytes, taken = c->s->margin_bytes;
            if (!ram) {
                have = n->devices[c->dev[d->id].index].free_bytes;
                taken += c->s->runtime_bytes;
            }
            b->dev[b->n_dev++] = (struct brute_dev){.node = i,
                                                    .speed = d->speed,
                                                    .room = have > taken ? have - taken : 0,
                                                    .remote_only = ram,
                                                    .id = d->id};
        }
    }
}

static struct net net_of(const struct problem *p, uint32_t a, uint32_t b)
{
    uint32_t x = p->nodes[a].tag, y = p->nodes[b].tag;
    for (uint32_t i = 0; i < p->n_pairs; i++)
        if ((p->pairs[i].a == x && p->pairs[i].b == y) ||
            (p->pairs[i].a == y && p->pairs[i].b == x))
            return p->pairs[i].net;
    return p->net_all;
}

void brute_table(const struct scene *c, const struct mode_opts *o, const struct problem *p,
                 const uint32_t *node_of, struct brute *b)
{
    uint32_t n = c->m->n_layers;
    *b = (struct brute){.n_layers = n,
                        .n_nodes = p->n_nodes,
                        .max_dev = p->max_devices < BRUTE_DEV ? p->max_devices : 0,
                        .cpu = o->mode == MODE_CPU,
                        .base_ns = p->base_ns,
                        .scale = 1};
    for (uint32_t s = 0; s < n; s++)
        for (uint32_t e = s + 1; e <= n; e++)
            b->bytes[s][e] = range_bytes(c->m, o, s, e);
    for (uint32_t k = 0; k < p->n_speeds; k++) {
        for (uint32_t l = 0; l < n; l++)
            b->ns[k][l] = p->speeds[k].cum[l + 1] - p->speeds[k].cum[l];
        b->fixed[k] = p->speeds[k].fixed;
        b->tail[k] = p->speeds[k].tail;
    }
    for (uint32_t l = 0; b->cpu && l <= n; l++)
        b->cpu_ns[l] = p->cpu_ns[l];
    for (uint32_t i = 0; i < p->n_nodes * p->n_nodes; i++) {
        struct net x = net_of(p, i / p->n_nodes, i % p->n_nodes);
        b->net[i / p->n_nodes][i % p->n_nodes] = (struct brute_net){x.fixed, x.tail, x.once};
    }
    table_nodes(c, o, p, node_of, b);
}

void brute_real(struct brute_case *c, struct brute_models *all, struct rng *r,
                const struct brute_shape *o)
{
    *c = (struct brute_case){.spec = mem_calloc(1, sizeof *c->spec)};
    uint32_t n = 2 + (uint32_t)rng_below(r, o->max_layers - 1);
    struct mode_opts mode = {.mode = o->cpu ? MODE_CPU : MODE_FULL, .gpus = true};
    c->m = brute_cut(all, r, n, c->what);
    brute_cluster(c->m, r, o, &c->s);
    mode.n_moe = 1 + (uint32_t)rng_below(r, c->m->n_layers);
    if (!o->cpu && c->m->layers[mode.n_moe - 1].experts && rng_below(r, 2))
        mode.mode = MODE_MOE;
    c->spec->want.max_gpus = rng_below(r, 4) ? 0 : 1 + (uint32_t)rng_below(r, o->max_dev);
    c->scene = scene_new(&c->s, c->spec, c->m, NULL);
    c->mode = mode_new(c->scene, &mode);
    c->p = &c->mode->p;
    c->tiered = mode.mode == MODE_FULL;
    c->n_moe = mode.mode == MODE_MOE ? mode.n_moe : 0;
    brute_table(c->scene, &mode, c->p, c->mode->node_of, &c->b);
    if (o->wants)
        brute_wants(c, r, c->p->speeds[0].cum[c->m->n_layers]);
}
