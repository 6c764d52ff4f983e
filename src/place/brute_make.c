/* Made up instances; see brute_case.h. Units are of no matter: bytes and ns are small numbers. */
#include "place/brute_case.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct brute_store {
    struct problem p;
    struct need need;
    uint64_t sum[BRUTE_LAYERS + 1], peak[BRUTE_LAYERS];
    struct speed speeds[BRUTE_SPEEDS];
    int64_t cum[BRUTE_SPEEDS][BRUTE_LAYERS + 1];
    struct pnode nodes[BRUTE_NODES];
    struct pdev dev[BRUTE_NODES][BRUTE_DEV];
    struct net_pair pairs[BRUTE_NODES * BRUTE_NODES];
};

enum pattern { ALIKE, TWO_ALTERNATE, FEW_FIRST, EVERY_FOURTH, ANY_OF_THREE, PATTERNS };
static const char *const PATTERN_NAMES[] = {"alike", "two sizes in turn", "small ones first",
                                            "hybrid of four", "three sizes"};

static uint32_t size_of(enum pattern p, uint32_t l, uint32_t dense, struct rng *r)
{
    switch (p) {
    case TWO_ALTERNATE:
        return (l / (1 + dense)) % 2;
    case FEW_FIRST:
        return l >= dense;
    case EVERY_FOURTH:
        return l % 4 == 3 ? 1 : l % 4 == 1 ? 2 : 0;
    case ANY_OF_THREE:
        return (uint32_t)rng_below(r, 3);
    default:
        return 0;
    }
}

static void add_layers(struct brute_case *c, struct rng *r, bool uniform)
{
    struct brute_store *x = c->store;
    enum pattern p = uniform ? ALIKE : (enum pattern)rng_below(r, PATTERNS);
    uint32_t dense = 1 + (uint32_t)rng_below(r, 3), window = 1 + (uint32_t)rng_below(r, 6);
    uint64_t size[3], kv[2] = {rng_below(r, 6), rng_below(r, 2)}, scale = 4 + rng_below(r, 60);
    uint64_t wide = 1 + rng_below(r, 4);
    for (uint32_t i = 0; i < 3; i++)
        size[i] = scale / 2 + rng_below(r, scale);
    for (uint32_t l = 0; l < c->b.n_layers; l++) {
        bool near = !uniform && l % window != 0; /* a sliding window, or a recurrent state */
        x->sum[l + 1] = x->sum[l] + size[size_of(p, l, dense, r)] + kv[near];
        x->peak[l] = uniform ? wide : 1 + rng_below(r, wide);
    }
    x->need = (struct need){.n = c->b.n_layers, .sum = x->sum, .peak = x->peak};
    x->need.fixed = rng_below(r, 3);
    x->need.first_extra = c->b.cpu || rng_below(r, 2) ? 0 : (int64_t)rng_below(r, 7) - 3;
    x->need.head = rng_below(r, 4) ? rng_below(r, scale + 1) : scale * (1 + rng_below(r, 4));
    snprintf(c->what, sizeof c->what, "%s, head %llu", PATTERN_NAMES[p],
             (unsigned long long)x->need.head);
}

static void add_needs(struct brute_case *c)
{
    const struct need *n = &c->store->need;
    for (uint32_t s = 0; s < n->n; s++) {
        uint64_t peak = 0, sum = n->fixed;
        for (uint32_t e = s + 1; e <= n->n; e++) {
            peak = n->peak[e - 1] > peak ? n->peak[e - 1] : peak;
            sum += n->sum[e] - n->sum[e - 1];
            int64_t first = s == 0 ? n->first_extra : 0;
            c->b.bytes[s][e] = sum + peak + (uint64_t)first + (e == n->n ? n->head : 0);
        }
    }
}

static void add_times(struct brute_case *c, struct rng *r, bool uniform)
{
    struct brute_store *x = c->store;
    struct brute *b = &c->b;
    uint32_t n = b->n_layers;
    for (uint32_t s = 0; s < BRUTE_SPEEDS; s++) {
        int64_t rate = 1 + (int64_t)rng_below(r, 9);
        int64_t odd = uniform ? 0 : (int64_t)rng_below(r, 3);
        for (uint32_t l = 0; l < n; l++) {
            b->ns[s][l] = rate * (int64_t)(x->sum[l + 1] - x->sum[l]) + odd * (l % 3);
            x->cum[s][l + 1] = x->cum[s][l] + b->ns[s][l];
        }
        b->fixed[s] = (int64_t)rng_below(r, 30);
        b->tail[s] = rate * (int64_t)rng_below(r, 12);
        x->speeds[s] = (struct speed){x->cum[s], b->fixed[s], b->tail[s]};
    }
    for (uint32_t l = 0; l < n; l++)
        b->cpu_ns[l + 1] = b->cpu_ns[l] + 20 * (int64_t)(x->sum[l + 1] - x->sum[l]);
    b->base_ns = -7;
    b->scale = 1;
}

static struct net some_net(struct rng *r)
{
    return (struct net){(int64_t)rng_below(r, 60), (int64_t)rng_below(r, 40),
                        (int64_t)rng_below(r, 9)};
}

static void add_links(struct brute_case *c, struct rng *r, bool own)
{
    struct brute_store *x = c->store;
    struct net all = some_net(r);
    x->p.net_all = all;
    x->p.pairs = x->pairs;
    for (uint32_t i = 0; i < c->b.n_nodes; i++)
        for (uint32_t k = i + 1; k < c->b.n_nodes; k++) {
            struct net n = all;
            if (own && rng_below(r, 3) == 0) {
                n = some_net(r);
                x->pairs[x->p.n_pairs++] = (struct net_pair){i, k, n};
                x->nodes[i].special = x->nodes[k].special = true;
            }
            c->b.net[i][k] = c->b.net[k][i] = (struct brute_net){n.fixed, n.tail, n.once};
        }
}

/* Cards of one to four kinds; free memory of a kind differs by nothing, a little or a lot. */
static void add_devices(struct brute_case *c, struct rng *r, const struct brute_shape *o)
{
    struct brute_store *x = c->store;
    struct brute *b = &c->b;
    uint64_t room[4], whole = x->sum[b->n_layers] + x->need.head, sum = 0;
    uint32_t kinds = 1 + (uint32_t)rng_below(r, 4), speeds = 1 + (uint32_t)rng_below(r, 4);
    uint32_t kind[BRUTE_DEV];
    for (uint32_t i = 0; i < kinds; i++)
        room[i] = 20 + rng_below(r, 80);
    for (uint32_t i = 0; i < b->n_dev; i++)
        sum += room[kind[i] = (uint32_t)rng_below(r, kinds)];
    /* All together hold 0.9 to 1.5 times the model, or up to five times. */
    uint64_t percent = rng_below(r, 3) ? 90 + rng_below(r, 60) : 80 + rng_below(r, 400);
    static const uint32_t JITTER[] = {0, 30, 3};
    uint32_t part = JITTER[rng_below(r, 3)];
    for (uint32_t i = 0; i < b->n_dev; i++) {
        struct brute_dev *d = &b->dev[i];
        *d = (struct brute_dev){.node = (uint32_t)rng_below(r, b->n_nodes), .id = i};
        d->speed = kind[i] % speeds;
        d->room = room[kind[i]] * whole * percent / (100 * sum) + x->need.fixed + x->peak[0];
        d->room += part ? rng_below(r, d->room / part + 1) : 0;
        struct pnode *n = &x->nodes[d->node];
        n->dev[n->n_dev++] = (struct pdev){.room = d->room, .speed = d->speed, .id = i};
    }
}

/* Often the same, so that ties and kinds of nodes occur. */
static int64_t some_cost(struct rng *r, int64_t more)
{
    return rng_below(r, 2) ? (int64_t)rng_below(r, 4) * (more / 16) + (int64_t)rng_below(r, 2) : 0;
}

static void add_costs(struct brute_case *c, struct rng *r, int64_t more)
{
    c->b.scale = c->p->time_scale = 1 + (int64_t)rng_below(r, 3);
    c->b.hop_cost = c->p->hop_cost = some_cost(r, more);
    for (uint32_t i = 0; i < c->b.n_nodes; i++) {
        c->b.node[i].cost = c->p->nodes[i].cost = some_cost(r, more);
        c->b.node[i].main_cost = c->p->nodes[i].main_cost = some_cost(r, more);
        for (uint32_t k = 0; k < c->p->nodes[i].n_dev; k++) {
            struct pdev *d = &c->p->nodes[i].dev[k];
            d->cost = some_cost(r, more);
            for (uint32_t x = 0; x < c->b.n_dev; x++)
                if (c->b.dev[x].id == d->id)
                    c->b.dev[x].cost = d->cost;
        }
    }
}

void brute_wants(struct brute_case *c, struct rng *r, int64_t more)
{
    struct brute *b = &c->b;
    struct problem *p = c->p;
    uint64_t which = rng_below(r, 64); /* any of six */
    if (which & 1)
        add_costs(c, r, more);
    if (which & 2)
        b->limit_ns = p->limit_ns = more / 3 + (int64_t)rng_below(r, (uint64_t)more * 3);
    if (which & 4)
        b->stage_ns = p->stage_ns = more / 8 + (int64_t)rng_below(r, (uint64_t)more);
    if (which & 8)
        b->limit_value = p->limit_value =
            b->scale * (more / 3 + (int64_t)rng_below(r, (uint64_t)more * 4));
    if (which & 16) {
        b->min_dev = p->min_devices = 1 + (uint32_t)rng_below(r, b->n_dev);
        b->max_dev = p->max_devices = b->min_dev + (uint32_t)rng_below(r, 2);
    }
    for (uint32_t i = 0; which & 32 && i < b->n_nodes; i++)
        b->node[i].all_or_none = p->nodes[i].all_or_none = rng_below(r, 2);
}

void brute_make(struct brute_case *c, struct rng *r, const struct brute_shape *o)
{
    *c = (struct brute_case){.store = mem_calloc(1, sizeof *c->store)};
    struct brute_store *x = c->store;
    struct brute *b = &c->b;
    b->cpu = o->cpu;
    b->n_layers = 2 + (uint32_t)rng_below(r, o->max_layers - 1);
    b->n_nodes = 1 + (uint32_t)rng_below(r, o->max_nodes);
    b->n_dev = 1 + (uint32_t)rng_below(r, o->max_dev);
    b->max_dev = rng_below(r, 4) ? 0 : 1 + (uint32_t)rng_below(r, b->n_dev);
    c->tiered = !o->cpu && (o->uniform || rng_below(r, 2));
    for (uint32_t i = 0; i < b->n_nodes; i++) {
        struct brute_node *n = &b->node[i];
        n->n_cpu_max = o->cpu ? (uint32_t)rng_below(r, b->n_layers) : 0;
        n->main_ok = o->cpu ? n->n_cpu_max > 0 : rng_below(r, 4) > 0;
        x->nodes[i] = (struct pnode){
            .dev = x->dev[i], .tag = i, .main_ok = n->main_ok, .n_cpu_max = n->n_cpu_max};
    }
    add_layers(c, r, o->uniform);
    add_needs(c);
    add_times(c, r, o->uniform);
    add_devices(c, r, o);
    x->p = (struct problem){.need = &x->need,
                            .speeds = x->speeds,
                            .n_speeds = BRUTE_SPEEDS,
                            .nodes = x->nodes,
                            .n_nodes = b->n_nodes,
                            .cpu_ns = o->cpu ? b->cpu_ns : NULL,
                            .base_ns = b->base_ns,
                            .max_devices = b->max_dev,
                            .remote_only = PLACE_NO_SPEED};
    add_links(c, r, o->links && !o->uniform);
    c->p = &x->p;
    if (o->wants)
        brute_wants(c, r, x->cum[0][b->n_layers]);
}

void brute_case_done(struct brute_case *c)
{
    mode_free(c->mode);
    scene_free(c->scene);
    if (c->m)
        snapshot_done(&c->s);
    brute_cut_free(c->m);
    free(c->spec);
    free(c->store);
    *c = (struct brute_case){0};
}
