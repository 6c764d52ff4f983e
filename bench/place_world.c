/* Families of clusters; see place_world.h. Memory, bandwidth and power are those of data sheets,
 * prices about those at launch, in dollars. */
#include "place_world.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

#include <stdio.h>

static const struct card {
    const char *name;
    uint64_t gib;
    double bandwidth;
    bool hbm;
    uint32_t tdp_w;
    double price;
} CARDS[] = {{"RTX 3060", 12, 360e9, false, 170, 329},  {"RTX 3090", 24, 936e9, false, 350, 1499},
             {"A40", 48, 696e9, false, 300, 4500},      {"A100", 80, 2039e9, true, 400, 15000},
             {"RTX 4080", 16, 717e9, false, 320, 1199}, {"T4", 16, 320e9, false, 70, 2299},
             {"RTX 3080", 10, 760e9, false, 320, 699},  {"RTX 3070", 8, 448e9, false, 220, 499}};

static const uint32_t ONE_KIND[] = {1}, SIX_KINDS[] = {0, 1, 2, 3, 4, 5},
                      SMALL_KINDS[] = {0, 4, 5, 6, 7};
#define KINDS(list) .cards = (list), .n_cards = ARRAY_LEN(list)

static const struct family FAMILIES[] = {
    {.name = "uniform", .what = "RTX 3090, eight per node", KINDS(ONE_KIND), .per_node = 8},
    {.name = "kinds", .what = "eight per node, a kind per node", KINDS(SIX_KINDS), .per_node = 8},
    {.name = "jitter",
     .what = "as kinds, up to half of each card in use",
     KINDS(SIX_KINDS),
     .per_node = 8,
     .in_use = true},
    {.name = "mixed",
     .what = "eight per node, kinds mixed inside it, in use",
     KINDS(SIX_KINDS),
     .per_node = 8,
     .mixed = true,
     .in_use = true},
    {.name = "singles",
     .what = "one card per node, all different",
     KINDS(SIX_KINDS),
     .per_node = 1,
     .in_use = true},
    {.name = "small",
     .what = "four cards of 8 to 16 GiB per node, mixed, in use",
     KINDS(SMALL_KINDS),
     .per_node = 4,
     .mixed = true,
     .in_use = true},
    {.name = "small-any",
     .what = "as small, for an engine that spans any number of devices",
     KINDS(SMALL_KINDS),
     .per_node = 4,
     .mixed = true,
     .in_use = true,
     .free_span = true},
};

const struct family *world_family(uint32_t n)
{
    return n < ARRAY_LEN(FAMILIES) ? &FAMILIES[n] : NULL;
}

static const struct card *draw(const struct family *f, struct rng *r)
{
    return &CARDS[f->cards[rng_below(r, f->n_cards)]];
}

static void add_card(struct cluster_node *node, const struct card *c, uint32_t id, bool in_use,
                     struct rng *r)
{
    struct cluster_device *d = node_add_device(node);
    snprintf(d->uuid, sizeof d->uuid, "gpu-%06u", id);
    snprintf(d->name, sizeof d->name, "%s", c->name);
    d->index = node->n_devices - 1;
    d->total_bytes = d->free_bytes = c->gib * GIB - 400 * MIB;
    d->bandwidth_bytes_per_s = c->bandwidth;
    d->tdp_w = c->tdp_w;
    d->price = c->price;
    d->hbm = c->hbm;
    if (in_use)
        d->free_bytes -= rng_below(r, d->free_bytes / 2);
}

void world_make(struct cluster_snapshot *s, const struct family *f, uint32_t n_gpus, uint64_t seed)
{
    static const uint64_t RAM_GIB[] = {64, 128, 256, 512, 1024};
    struct rng r = {seed};
    snapshot_init(s);
    if (f->free_span)
        s->engine_devices = 0;
    for (uint32_t i = 0; i < n_gpus; i += f->per_node) {
        struct cluster_node *node = snapshot_add_node(s);
        const struct card *c = draw(f, &r);
        snprintf(node->name, sizeof node->name, "node%06u", i / f->per_node);
        snprintf(node->id, sizeof node->id, "node%06u", i / f->per_node);
        node->ram_bytes = node->ram_free_bytes = RAM_GIB[rng_below(&r, ARRAY_LEN(RAM_GIB))] * GIB;
        for (uint32_t k = 0; k < f->per_node && i + k < n_gpus; k++)
            add_card(node, f->mixed ? draw(f, &r) : c, i + k, f->in_use, &r);
    }
    *snapshot_add_link(s) =
        (struct cluster_link){.all = true, .bytes_per_s = 1.25e9, .rtt_s = 1e-4};
}
