/* What must hold between two plans, whatever the planner does inside: a cluster or a spec is
 * changed in one thing, and the plan must stay the same, keep its shape, not get worse, or not get
 * better. Random clusters with unequal nodes, jittered free memory and links of their own; layers
 * of real models. Every plan goes through the validator. */
#include "place/brute_plan.h"
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* What two plans are compared by. */
struct outcome {
    bool feasible, proved, remote_ram;
    enum place_tier tier;
    uint32_t k, g;
    double seconds;
    char *parts; /* who holds what, as text; owned */
    char *doc;   /* all that the plan says; owned */
};

struct world {
    struct rng r;
    struct cluster_snapshot s;
    struct deployment_spec *spec;
    struct estimate_model *m; /* owned */
    struct assignment a;      /* of the first plan, borrowed */
    bool feasible;
    bool kept; /* the first plan keeps the new constraint */
};

enum relation { SAME_BYTES, SAME_PLAN, SAME_SHAPE, NOT_WORSE, STRICTER };

/* ---- changes ---- */

static bool node_used(const struct world *w, uint32_t i)
{
    bool used = strcmp(w->s.nodes[i].id, w->a.main_id) == 0;
    for (uint32_t k = 0; k < w->a.n_parts; k++)
        used = used || strcmp(w->s.nodes[i].id, w->a.parts[k].node_id) == 0;
    return used;
}

static bool device_used(const struct world *w, const struct cluster_device *d)
{
    bool used = false;
    for (uint32_t k = 0; k < w->a.n_parts; k++)
        used = used || strcmp(w->a.parts[k].uuid, d->uuid) == 0;
    return used;
}

/* A random GPU that the plan uses, or does not; NULL when there is none. */
static struct cluster_device *pick_device(struct world *w, bool used)
{
    struct cluster_device *best = NULL;
    uint64_t n = 0;
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        for (uint32_t d = 0; d < w->s.nodes[i].n_devices; d++)
            if (device_used(w, &w->s.nodes[i].devices[d]) == used && rng_below(&w->r, ++n) == 0)
                best = &w->s.nodes[i].devices[d];
    return best;
}

static struct cluster_node *any_node(struct world *w)
{
    return &w->s.nodes[rng_below(&w->r, w->s.n_nodes)];
}

static bool nothing(struct world *w)
{
    return true;
}

/* Nodes in another order: names and ids stay theirs. */
static bool reorder(struct world *w)
{
    uint32_t n = w->s.n_nodes;
    mem_auto uint32_t *at = mem_calloc(n, sizeof *at);
    mem_auto struct cluster_node *old = mem_calloc(n, sizeof *old);
    for (uint32_t i = 0; i < n; i++)
        at[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)rng_below(&w->r, i), x = at[k];
        at[k] = at[i - 1];
        at[i - 1] = x;
    }
    memcpy(old, w->s.nodes, n * sizeof *old);
    for (uint32_t i = 0; i < n; i++)
        w->s.nodes[at[i]] = old[i];
    for (uint32_t i = 0; i < w->s.n_links; i++)
        if (!w->s.links[i].all) {
            w->s.links[i].a = at[w->s.links[i].a];
            w->s.links[i].b = at[w->s.links[i].b];
        }
    return n > 1;
}

/* Other names and ids, in another order of the alphabet. */
static bool rename_all(struct world *w)
{
    for (uint32_t i = 0; i < w->s.n_nodes; i++) {
        struct cluster_node *n = &w->s.nodes[i];
        uint32_t x = (i * 7 + 3) % 10;
        snprintf(n->name, sizeof n->name, "z%u", x);
        snprintf(n->id, sizeof n->id, "other%u", 9 - x);
        for (uint32_t d = 0; d < n->n_devices; d++)
            snprintf(n->devices[d].uuid, sizeof n->devices[d].uuid, "uuid-%u-%u", x, d);
    }
    return true;
}

static void times(uint64_t *x, uint64_t by)
{
    *x *= by;
}

static void scale_model(struct estimate_model *m, uint64_t by)
{
    uint64_t *all[] = {&m->head,           &m->head_read, &m->head_host, &m->expert_peak,
                       &m->host_embedding, &m->shared,    &m->mask,      &m->act,
                       &m->host_mask,      &m->big,       &m->logits,    &m->first_extra};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        times(all[i], by);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        struct estimate_layer *l = &m->layers[i];
        uint64_t *of[] = {&l->weights, &l->experts, &l->kv, &l->peak, &l->peak_bare, &l->read};
        for (size_t k = 0; k < ARRAY_LEN(of); k++)
            times(of[k], by);
    }
}

/* All bytes times a power of two, and bandwidths with them. Speed of RAM is an assumption of
 * estimate/ that does not scale, so plans that may use it are left out. */
static bool scale(struct world *w)
{
    uint64_t by = (uint64_t)2 << rng_below(&w->r, 3);
    bool known = w->spec->want.no_ram;
    for (uint32_t i = 0; i < w->s.n_nodes; i++) {
        times(&w->s.nodes[i].ram_free_bytes, by);
        for (uint32_t d = 0; d < w->s.nodes[i].n_devices; d++) {
            struct cluster_device *x = &w->s.nodes[i].devices[d];
            times(&x->free_bytes, by);
            known = known && x->bandwidth_bytes_per_s > 0;
            x->bandwidth_bytes_per_s *= (double)by;
        }
    }
    times(&w->s.margin_bytes, by);
    times(&w->s.runtime_bytes, by);
    scale_model(w->m, by);
    return known;
}

/* Which of several equal nodes is taken goes by their size, so here the shape stays, not the names.
 */
static bool drop_unused(struct world *w)
{
    struct cluster_device *d = pick_device(w, false);
    for (uint32_t i = 0; i < w->s.n_nodes && d; i++) {
        struct cluster_node *n = &w->s.nodes[i];
        if (d < n->devices || d >= n->devices + n->n_devices)
            continue;
        memmove(d, d + 1, (size_t)(n->devices + n->n_devices - (d + 1)) * sizeof *d);
        n->n_devices--;
        return w->feasible;
    }
    return false;
}

static bool lose_unused_node(struct world *w)
{
    struct cluster_node *n = any_node(w);
    n->state = NODE_LOST;
    return w->feasible && !node_used(w, (uint32_t)(n - w->s.nodes));
}

static bool add_gpu(struct world *w)
{
    struct cluster_node *n = any_node(w);
    const struct cluster_device *like = n->n_devices ? &n->devices[0] : NULL;
    struct cluster_device copy = {.free_bytes = (1 + rng_below(&w->r, 24)) * GIB,
                                  .bandwidth_bytes_per_s = 936e9};
    if (like && rng_below(&w->r, 2))
        copy = *like;
    copy.index = n->n_devices;
    copy.backend = BACKEND_FAKE;
    snprintf(copy.uuid, sizeof copy.uuid, "added");
    *node_add_device(n) = copy;
    return true;
}

static bool larger_gpu(struct world *w)
{
    struct cluster_device *d = pick_device(w, true);
    if (d)
        d->free_bytes += rng_below(&w->r, d->free_bytes);
    return d != NULL;
}

static bool faster_gpu(struct world *w)
{
    struct cluster_device *d = pick_device(w, true);
    if (d)
        d->bandwidth_bytes_per_s =
            (d->bandwidth_bytes_per_s > 0 ? d->bandwidth_bytes_per_s : 200e9) *
            (1.01 + rng_unit(&w->r));
    return d != NULL;
}

static bool more_ram(struct world *w)
{
    any_node(w)->ram_free_bytes += rng_below(&w->r, 64 * GIB);
    return true;
}

static bool faster_link(struct world *w)
{
    struct cluster_link *l = &w->s.links[rng_below(&w->r, w->s.n_links)];
    l->rtt_s /= 2;
    l->bytes_per_s *= 1 + rng_unit(&w->r);
    return w->s.n_nodes > 1;
}

/* ---- stricter constraints ---- */

static void add_name(struct name_list *l, const char *fmt, const char *a, uint32_t b)
{
    snprintf(l->items[l->n], sizeof l->items[l->n], fmt, a, b);
    l->n++;
}

static bool only_nodes(struct world *w)
{
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        if (rng_below(&w->r, 3))
            add_name(&w->spec->want.nodes, "%s", w->s.nodes[i].name, 0);
    return w->spec->want.nodes.n > 0;
}

static bool without_node(struct world *w)
{
    add_name(&w->spec->want.exclude_nodes, "%s", any_node(w)->id, 0);
    return true;
}

static bool only_gpus(struct world *w)
{
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        for (uint32_t d = 0; d < w->s.nodes[i].n_devices; d++)
            if (rng_below(&w->r, 3)) {
                const struct cluster_device *x = &w->s.nodes[i].devices[d];
                bool uuid = rng_below(&w->r, 2);
                add_name(&w->spec->want.gpus, uuid ? "%s" : "%s:%u",
                         uuid ? x->uuid : w->s.nodes[i].name, x->index);
            }
    return w->spec->want.gpus.n > 0;
}

static bool fewer_nodes(struct world *w)
{
    uint32_t *most = &w->spec->want.max_nodes;
    *most = 1 + (uint32_t)rng_below(&w->r, *most ? *most : 3);
    return true;
}

static bool fewer_gpus(struct world *w)
{
    uint32_t *most = &w->spec->want.max_gpus;
    *most = 1 + (uint32_t)rng_below(&w->r, *most ? *most : 5);
    return true;
}

static bool no_ram(struct world *w)
{
    bool was = w->spec->want.no_ram;
    w->spec->want.no_ram = true;
    return !was;
}

static bool shorter_engine(struct world *w)
{
    w->s.engine_devices = 1 + (uint32_t)rng_below(&w->r, 5);
    return true;
}

static bool one_node(struct world *w)
{
    w->spec->want.no_network = true;
    return true;
}

static bool exactly(struct world *w)
{
    w->spec->want.gpus_per_replica = 1 + (uint32_t)rng_below(&w->r, 4);
    return !w->spec->want.max_gpus;
}

static bool least_speed(struct world *w)
{
    w->spec->want.min_tok_s = w->a.tok_s * (0.5 + rng_unit(&w->r));
    return w->feasible;
}

static bool with_label(struct world *w)
{
    add_name(&w->spec->want.labels, "%s", any_node(w)->labels[rng_below(&w->r, 2)], 0);
    return true;
}

static bool kept_apart(struct world *w)
{
    add_name(&w->spec->want.anti_affinity, "%s", rng_below(&w->r, 2) ? "chat" : "embed", 0);
    return true;
}

static bool of_type(struct world *w)
{
    const struct cluster_node *n = any_node(w);
    if (n->n_devices)
        add_name(&w->spec->want.gpu_types, "%s", n->devices[0].name, 0);
    return n->n_devices > 0;
}

static bool whole_node(struct world *w)
{
    add_name(&w->spec->want.keep_whole, "%s", any_node(w)->name, 0);
    return true;
}

static bool whole_gpu(struct world *w)
{
    struct cluster_device *d = pick_device(w, true);
    if (d)
        add_name(&w->spec->want.keep_whole, "%s", rng_below(&w->r, 2) ? d->name : d->uuid, 0);
    return d != NULL;
}

/* ---- running ---- */

#define LAW(f, relation)                                                                           \
    {                                                                                              \
#f, f, relation                                                                            \
    }
static const struct law {
    const char *name;
    bool (*change)(struct world *w); /* false: says nothing here */
    enum relation relation;
} LAWS[] = {
    LAW(nothing, SAME_BYTES),    LAW(reorder, SAME_PLAN),       LAW(rename_all, SAME_SHAPE),
    LAW(scale, SAME_PLAN),       LAW(drop_unused, SAME_SHAPE),  LAW(lose_unused_node, SAME_SHAPE),
    LAW(add_gpu, NOT_WORSE),     LAW(larger_gpu, NOT_WORSE),    LAW(faster_gpu, NOT_WORSE),
    LAW(more_ram, NOT_WORSE),    LAW(faster_link, NOT_WORSE),   LAW(only_nodes, STRICTER),
    LAW(without_node, STRICTER), LAW(only_gpus, STRICTER),      LAW(fewer_nodes, STRICTER),
    LAW(fewer_gpus, STRICTER),   LAW(no_ram, STRICTER),         LAW(one_node, STRICTER),
    LAW(exactly, STRICTER),      LAW(least_speed, STRICTER),    LAW(with_label, STRICTER),
    LAW(kept_apart, STRICTER),   LAW(of_type, STRICTER),        LAW(whole_node, STRICTER),
    LAW(whole_gpu, STRICTER),    LAW(shorter_engine, STRICTER),
};

static char *parts_text(const struct assignment *a)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_addf(&b, "%s cpu %u moe %u", a->main_node, a->n_cpu_layers, a->n_cpu_moe);
    for (uint32_t i = 0; i < a->n_parts; i++)
        buf_addf(&b, ", %s %s:%u %u", a->parts[i].node, a->parts[i].uuid, a->parts[i].index,
                 a->parts[i].n_layers);
    return buf_take(&b);
}

static void outcome_done(struct outcome *o)
{
    free(o->parts);
    free(o->doc);
}

static struct place_plan *plan_of(const struct world *w, struct outcome *o)
{
    struct err err = {0};
    struct place_budget budget = {.no_changes = true};
    struct place_plan *p = place_model(&w->s, w->spec, w->m, &budget, &err);
    if (!p)
        fail_msg("%s", err.msg);
    if (p->feasible && place_validate_model(&w->s, w->spec, w->m, &p->a, &err))
        fail_msg("validator: %s", err.msg);
    *o = (struct outcome){.feasible = p->feasible, .proved = p->optimal, .tier = p->tier};
    o->k = p->feasible ? brute_nodes_of(&p->a) : 0;
    o->g = brute_gpus_of(&p->a);
    o->remote_ram = o->g < p->a.n_parts;
    o->seconds = p->a.tok_s > 0 ? 1 / p->a.tok_s : 0;
    o->parts = parts_text(&p->a);
    json_auto_t *doc = place_to_json(p);
    o->doc = json_text(doc);
    return p;
}

/* Below 0: a is better. Seconds are sums of rounded parts. */
static int compare(const struct world *w, const struct outcome *a, const struct outcome *b)
{
    bool fastest = strcmp(w->spec->policy.name, "fastest") == 0;
    int time = fabs(a->seconds - b->seconds) <= 1e-7 * a->seconds ? 0
               : a->seconds < b->seconds                          ? -1
                                                                  : 1;
    if (a->feasible != b->feasible || !a->feasible)
        return b->feasible - a->feasible;
    if (fastest && time)
        return time;
    if (!fastest && a->tier != b->tier)
        return a->tier < b->tier ? -1 : 1;
    if (a->k != b->k)
        return a->k < b->k ? -1 : 1;
    if (a->tier < TIER_RAM && b->tier < TIER_RAM && a->g != b->g)
        return a->g < b->g ? -1 : 1;
    return time;
}

static const char *broken(const struct law *l, const struct world *w, const struct outcome *a,
                          const struct outcome *b)
{
    int c = compare(w, a, b);
    if (l->relation == SAME_BYTES && strcmp(a->doc, b->doc) != 0)
        return "another document";
    if (l->relation == SAME_PLAN && strcmp(a->parts, b->parts) != 0)
        return "another plan";
    if (l->relation == SAME_SHAPE && c)
        return "another shape";
    if (l->relation == NOT_WORSE && c < 0)
        return "worse";
    if (l->relation == STRICTER && c > 0)
        return "better";
    if (l->relation == STRICTER && w->kept && c)
        return "another shape, though the first plan kept it";
    return NULL;
}

static void copy_world(const struct world *from, struct world *to)
{
    *to = *from;
    snapshot_copy(&to->s, &from->s);
    to->spec = mem_calloc(1, sizeof *to->spec);
    *to->spec = *from->spec;
    to->m = mem_calloc(1, sizeof *to->m);
    *to->m = *from->m;
    to->m->layers = mem_calloc(from->m->n_layers, sizeof *to->m->layers);
    memcpy(to->m->layers, from->m->layers, from->m->n_layers * sizeof *to->m->layers);
}

static void copy_done(struct world *w)
{
    snapshot_done(&w->s);
    free(w->spec);
    brute_cut_free(w->m);
}

/* RAM of further nodes is taken when nothing else fits, and not compared with what else would. */
static bool comparable(const struct law *l, const struct outcome *a, const struct outcome *b)
{
    return a->proved && b->proved &&
           (l->relation < NOT_WORSE || (!a->remote_ram && !b->remote_ram));
}

static bool try_law(const struct law *l, const struct world *from, const struct outcome *before,
                    uint32_t at, const char *what)
{
    struct world w;
    struct outcome after = {0};
    bool tried = false;
    copy_world(from, &w);
    if (l->change(&w)) {
        w.kept = l->relation == STRICTER && w.feasible &&
                 place_validate_model(&w.s, w.spec, w.m, &w.a, NULL) == 0;
        place_free(plan_of(&w, &after));
        tried = comparable(l, before, &after);
        const char *fault = tried ? broken(l, &w, before, &after) : NULL;
        if (fault)
            fail_msg("world %u, %s, policy %s: %s gives %s: %s %u nodes %u GPUs %.9f s (%s) after "
                     "%s %u %u %.9f (%s)",
                     at, what, w.spec->policy.name, l->name, fault, place_tier_name(after.tier),
                     after.k, after.g, after.seconds, after.parts, place_tier_name(before->tier),
                     before->k, before->g, before->seconds, before->parts);
        outcome_done(&after);
    }
    copy_done(&w);
    return tried;
}

static void random_wants(struct world *w)
{
    struct constraints *c = &w->spec->want;
    policy_preset(&w->spec->policy, rng_below(&w->r, 4) ? "tiered" : "fastest", NULL);
    c->no_ram = rng_below(&w->r, 2);
    c->max_gpus = rng_below(&w->r, 5) ? 0 : 1 + (uint32_t)rng_below(&w->r, 6);
    c->max_nodes = rng_below(&w->r, 5) ? 0 : 1 + (uint32_t)rng_below(&w->r, 3);
}

static void test_laws(void **state)
{
    const char *root = getenv("STOWAGE_SOURCE"), *more = getenv("PLACE_TEST_TIMES");
    mem_auto char *folder = mem_printf("%s/tests/data/models", root ? root : "..");
    uint32_t tried[ARRAY_LEN(LAWS)] = {0}, tiers[TIER_NONE + 1] = {0};
    uint32_t worlds = 250 * (more ? (uint32_t)strtoul(more, NULL, 10) : 1);
    struct err err = {0};
    struct brute_models *all = brute_models_new(folder, &err);
    if (!all)
        fail_msg("%s", err.msg);
    for (uint32_t at = 0; at < worlds; at++) {
        struct world w = {.r = {at}, .spec = mem_calloc(1, sizeof *w.spec)};
        struct brute_shape o = {.max_layers = 30, .max_dev = 12, .max_nodes = 5};
        struct outcome before;
        char what[96];
        o.links = rng_below(&w.r, 3) == 0;
        w.m = brute_cut(all, &w.r, 2 + (uint32_t)rng_below(&w.r, o.max_layers - 1), what);
        brute_cluster(w.m, &w.r, &o, &w.s);
        brute_dress(&w.s, &w.r);
        random_wants(&w);
        struct place_plan *p = plan_of(&w, &before);
        w.a = p->a;
        w.feasible = p->feasible;
        tiers[before.tier]++;
        for (size_t i = 0; i < ARRAY_LEN(LAWS); i++)
            tried[i] += try_law(&LAWS[i], &w, &before, at, what);
        outcome_done(&before);
        place_free(p);
        copy_done(&w);
    }
    for (size_t i = 0; i < ARRAY_LEN(LAWS); i++)
        if (tried[i] < worlds / 20)
            fail_msg("%s was tried %u times", LAWS[i].name, tried[i]);
    for (uint32_t t = 0; t <= TIER_NONE; t++)
        if (tiers[t] < worlds / 60)
            fail_msg("tier %s came %u times", place_tier_name((enum place_tier)t), tiers[t]);
    brute_models_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_laws)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
