/* Every tier by trying everything; see brute_plan.h. */
#include "place/brute_plan.h"

#include "base/mem.h"
#include "place/place_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct tally {
    const struct scene *c;
    bool fastest;
    uint32_t max_nodes;
    struct brute_outcome best;
};

/* Tier, nodes, GPUs, time; with RAM time before GPUs; "fastest" is time before everything. */
static bool better(const struct tally *t, const struct brute_outcome *a)
{
    const struct brute_outcome *b = &t->best;
    if (!b->feasible)
        return true;
    if (t->fastest && a->ns != b->ns)
        return a->ns < b->ns;
    if (!t->fastest && a->tier != b->tier)
        return a->tier < b->tier;
    if (a->k != b->k)
        return a->k < b->k;
    if (a->tier < TIER_RAM && a->g != b->g)
        return a->g < b->g;
    return a->ns < b->ns;
}

static void offer(struct tally *t, enum place_tier tier, uint32_t k, uint32_t g, int64_t ns)
{
    struct brute_outcome a = {true, tier, k, g, ns};
    if (k <= t->max_nodes && better(t, &a))
        t->best = a;
}

/* ---- one GPU, here or with the main process elsewhere ---- */

static void host_and_device(const struct estimate_model *m, uint64_t *host, uint64_t *dev)
{
    struct estimate_bytes b, h;
    struct estimate_split split = {.n_devices = 1, .counts = &m->n_layers};
    estimate_split_bytes(m, &split, &b, &h);
    *host = h.weights + h.kv + h.compute;
    *dev = b.weights + b.kv + b.compute;
}

static void singles(struct tally *t)
{
    const struct scene *c = t->c;
    const struct cluster_snapshot *s = c->s;
    uint64_t host, dev;
    host_and_device(c->m, &host, &dev);
    for (uint32_t i = 0; i < c->n_dev; i++)
        for (uint32_t main = 0; main < s->n_nodes; main++) {
            const struct scene_device *d = &c->dev[i];
            uint64_t taken = s->margin_bytes + s->runtime_bytes;
            bool fits = s->nodes[d->node].devices[d->index].free_bytes >= taken + dev &&
                        s->nodes[main].ram_free_bytes >= host;
            int64_t ns = c->single_ns[d->speed];
            struct net n = c->net_all;
            uint32_t a = c->nodes[main].tag, b = c->nodes[d->node].tag;
            for (uint32_t p = 0; p < c->n_pairs; p++)
                if ((c->pairs[p].a == a && c->pairs[p].b == b) ||
                    (c->pairs[p].a == b && c->pairs[p].b == a))
                    n = c->pairs[p].net;
            if (!fits || d->why || c->nodes[main].why)
                continue;
            if (main == d->node)
                offer(t, TIER_ONE_GPU, 1, 1, ns);
            else
                offer(t, TIER_NODES, 2, 1, ns + n.fixed + n.tail + n.once);
        }
}

/* ---- the modes of several devices ---- */

static void mode_best(struct tally *t, const struct mode_opts *o)
{
    struct mode_problem *p = mode_new(t->c, o);
    mem_auto struct brute *b = mem_calloc(1, sizeof *b);
    struct brute_best best;
    brute_table(t->c, o, &p->p, p->node_of, b);
    brute_subsets(b, t->fastest || o->mode != MODE_FULL, &best);
    mode_free(p);
    for (uint32_t k = 1; k <= BRUTE_NODES; k++)
        for (uint32_t g = 1; g <= BRUTE_DEV; g++) {
            enum place_tier tier = o->mode != MODE_FULL || o->remote_ram ? TIER_RAM
                                   : k > 1                               ? TIER_NODES
                                                                         : TIER_ONE_NODE;
            if (o->remote_ram && !o->gpus)
                tier = TIER_CPU;
            if (best.value[k][g] < BRUTE_NEVER)
                offer(t, tier, k, o->gpus ? g : 0, best.value[k][g]);
        }
}

static void with_ram(struct tally *t)
{
    const struct estimate_model *m = t->c->m;
    struct mode_opts o = {.mode = MODE_CPU, .gpus = true};
    if (t->c->n_usable == 0)
        return;
    if (m->n_layers > 1)
        mode_best(t, &o);
    o.mode = MODE_MOE;
    for (o.n_moe = 1; o.n_moe <= m->n_layers; o.n_moe++)
        if (m->layers[o.n_moe - 1].experts)
            mode_best(t, &o);
}

/* All layers on the CPU of one node. */
static void one_cpu(struct tally *t)
{
    const struct scene *c = t->c;
    struct estimate_bytes host;
    struct estimate_split split = {.n_cpu_layers = c->m->n_layers};
    estimate_split_bytes(c->m, &split, NULL, &host);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why &&
            host.weights + host.kv + host.compute <= c->s->nodes[i].ram_free_bytes)
            offer(t, TIER_CPU, 1, 0, c->single_ns[c->n_speeds - 1]);
}

/* What fits in no other way: RAM of further nodes, if GPUs help there; the CPU of one node; CPUs of
 * several. */
static void last_resorts(struct tally *t)
{
    struct mode_opts far = {.mode = MODE_CPU, .remote_ram = true};
    struct tally bare = *t;
    bool several = t->c->m->n_layers > 1;
    if (several)
        mode_best(&bare, &far);
    far.gpus = true;
    if (several && t->c->n_usable)
        mode_best(t, &far);
    if (t->best.feasible && (t->best.k != bare.best.k || t->best.ns != bare.best.ns))
        return;
    t->best.feasible = false;
    one_cpu(t);
    if (!t->best.feasible)
        t->best = bare.best;
}

void brute_outcome(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                   const struct estimate_model *m, struct brute_outcome *out)
{
    struct scene *c = scene_new(s, spec, m, NULL);
    struct tally t = {.c = c,
                      .max_nodes = spec->want.max_nodes ? spec->want.max_nodes : UINT32_MAX};
    struct mode_opts full = {.mode = MODE_FULL, .gpus = true};
    t.fastest = strcmp(spec->policy.name, "fastest") == 0;
    singles(&t);
    if (m->n_layers > 1)
        mode_best(&t, &full);
    if (!spec->want.no_ram && (t.fastest || !t.best.feasible))
        with_ram(&t);
    if (!spec->want.no_ram && !t.best.feasible)
        last_resorts(&t);
    if (!spec->want.no_ram && t.fastest)
        one_cpu(&t);
    scene_free(c);
    *out = t.best;
}

/* ---- comparing ---- */

uint32_t brute_nodes_of(const struct assignment *a)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        bool seen = strcmp(a->parts[i].node_id, a->main_id) == 0;
        for (uint32_t k = 0; k < i; k++)
            seen = seen || strcmp(a->parts[k].node_id, a->parts[i].node_id) == 0;
        n += !seen;
    }
    return n;
}

uint32_t brute_gpus_of(const struct assignment *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        n += a->parts[i].uuid[0] != 0;
    return n;
}

static int compare(const struct place_plan *p, const struct brute_outcome *b, struct err *err)
{
    uint32_t k = p->feasible ? brute_nodes_of(&p->a) : 0, g = brute_gpus_of(&p->a);
    double ns = p->a.tok_s > 0 ? 1e9 / p->a.tok_s : 0;
    bool ram_tier = p->tier == TIER_RAM || p->tier == TIER_CPU;
    bool same = p->feasible == b->feasible &&
                (!b->feasible || (p->tier == b->tier && k == b->k && (ram_tier || g == b->g)));
    double off = fabs(ns - (double)b->ns), rounding = 64 + 1e-9 * ns;
    if (p->optimal && (!same || (b->feasible && off > rounding)))
        return err_set(err, ERR_INTERNAL, "proved %s, %u nodes, %u GPUs, %.0f ns; is %s %u %u %.0f",
                       place_tier_name(p->tier), k, g, ns,
                       place_tier_name(b->feasible ? b->tier : TIER_NONE), b->k, b->g,
                       (double)b->ns);
    if (p->feasible && !b->feasible)
        return err_set(err, ERR_INTERNAL, "a plan where nothing fits");
    if (same && b->feasible && ns * (1 - p->gap_percent / 100) > (double)b->ns + rounding)
        return err_set(err, ERR_INTERNAL, "%.0f ns less a gap of %.2f %% is above the best, %.0f",
                       ns, p->gap_percent, (double)b->ns);
    return 0;
}

int brute_plan(struct brute_models *all, struct rng *r, const struct brute_shape *o, uint64_t steps,
               struct place_plan **out, struct brute_outcome *best, struct err *err)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_budget budget = {.steps = steps, .no_changes = true};
    struct cluster_snapshot s;
    char what[96];
    struct estimate_model *m =
        brute_cut(all, r, 2 + (uint32_t)rng_below(r, o->max_layers - 1), what);
    brute_cluster(m, r, o, &s);
    spec->want.no_ram = rng_below(r, 4) == 0;
    spec->want.max_gpus = rng_below(r, 4) ? 0 : 1 + (uint32_t)rng_below(r, o->max_dev);
    spec->want.max_nodes = rng_below(r, 8) ? 0 : 1 + (uint32_t)rng_below(r, 2);
    policy_preset(&spec->policy, rng_below(r, 3) ? "tiered" : "fastest", NULL);
    brute_outcome(&s, spec, m, best);
    struct place_plan *p = *out = place_model(&s, spec, m, &budget, err);
    int rc = p ? 0 : -1;
    if (rc == 0 && p->feasible)
        rc = place_validate_model(&s, spec, m, &p->a, err);
    if (rc == 0)
        rc = compare(p, best, err);
    if (rc)
        err_wrap(err, "%s on %u nodes, policy %s", what, s.n_nodes, spec->policy.name);
    snapshot_done(&s);
    brute_cut_free(m);
    return rc;
}
