/* A live snapshot against planning from scratch, on thousands of random placements and releases. */
#include "place/live.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "place/pack_brute.h"
#include "place/place_int.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { DEMANDS = 5, CLAIMS = 16 };

struct world {
    struct cluster_snapshot s;
    struct live *l;
    struct estimate_model *m[DEMANDS];
    struct deployment_spec *spec[DEMANDS];
    uint32_t id[DEMANDS];
    uint32_t claim[CLAIMS], n_claims;
};

/* Nodes of cards of up to three kinds: alike, a little different, or of any size. */
static void random_cluster(struct rng *r, struct cluster_snapshot *s)
{
    static const double SPEED[] = {360e9, 936e9, 2039e9};
    snapshot_init(s);
    s->margin_bytes = 64 * MIB;
    s->runtime_bytes = 100 * MIB;
    s->engine_devices = rng_below(r, 3) ? 15 : 3;
    uint32_t nodes = 2 + (uint32_t)rng_below(r, 12), jitter = (uint32_t)rng_below(r, 3);
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = snapshot_add_node(s);
        snprintf(n->name, sizeof n->name, "n%02u", (i * 7) % 16); /* not in order of names */
        snprintf(n->id, sizeof n->id, "id%u", i);
        n->ram_bytes = 64 * GIB;
        n->ram_free_bytes = rng_below(r, 8) ? 64 * GIB : rng_below(r, 4) * GIB;
        n->state = rng_below(r, 16) ? NODE_READY : NODE_DRAINED;
        uint32_t kind = (uint32_t)rng_below(r, 3), cards = 1 + (uint32_t)rng_below(r, 6);
        for (uint32_t k = 0; k < cards; k++) {
            struct cluster_device *d = node_add_device(n);
            snprintf(d->uuid, sizeof d->uuid, "gpu-%u-%u", i, k);
            snprintf(d->name, sizeof d->name, "card %u", kind);
            d->index = k;
            d->backend = BACKEND_FAKE;
            d->bandwidth_bytes_per_s = SPEED[kind];
            d->hbm = kind == 2;
            d->tdp_w = 170 + 90 * kind;
            d->total_bytes = d->free_bytes = (6 + 3 * kind) * GIB;
            d->free_bytes -= jitter ? rng_below(r, jitter * 2 * GIB) : 0;
            kind = rng_below(r, 4) ? kind : (uint32_t)rng_below(r, 3);
        }
    }
    struct cluster_link *l = snapshot_add_link(s);
    *l = (struct cluster_link){.all = true, .bytes_per_s = 1.25e9, .rtt_s = 1e-4};
    if (rng_below(r, 6) == 0)
        *snapshot_add_link(s) =
            (struct cluster_link){.a = 0, .b = 1, .bytes_per_s = 1.25e10, .rtt_s = 2e-5};
}

static void random_demand(struct world *w, struct rng *r, uint32_t i)
{
    static const char *const POLICIES[] = {"tiered", "tiered",  "tiered", "tiered",
                                           "tiered", "fastest", "binpack"};
    struct deployment_spec *d = w->spec[i] = mem_calloc(1, sizeof *d);
    struct place_demand demand = {.spec = d};
    struct err err = {0};
    assert_int_equal(policy_preset(&d->policy, POLICIES[rng_below(r, ARRAY_LEN(POLICIES))], &err),
                     0);
    snprintf(d->name, sizeof d->name, "m%u", i);
    d->want.no_ram = rng_below(r, 4) == 0;
    d->want.max_nodes = rng_below(r, 4) == 0;
    d->want.max_gpus = rng_below(r, 4) == 0 ? 2 : 0;
    d->want.gpus_per_replica = rng_below(r, 8) == 0 ? 2 : 0;
    if (rng_below(r, 8) == 0)
        snprintf(d->want.anti_affinity.items[d->want.anti_affinity.n++], CONSTRAINT_NAME, "m%u",
                 (uint32_t)rng_below(r, DEMANDS));
    if (rng_below(r, 8) == 0)
        snprintf(d->want.keep_whole.items[d->want.keep_whole.n++], CONSTRAINT_NAME, "n00");
    if (rng_below(r, 8) == 0)
        snprintf(d->want.exclude_nodes.items[d->want.exclude_nodes.n++], CONSTRAINT_NAME, "n00");
    d->want.min_tok_s = rng_below(r, 8) == 0 ? 40 : 0;
    w->m[i] = pb_model(r, 3 + (uint32_t)rng_below(r, 30));
    if (live_demand(w->l, &demand, w->m[i], &w->id[i], &err))
        fail_msg("demand: %s", err.msg);
}

static void world_init(struct world *w, struct rng *r)
{
    memset(w, 0, sizeof *w);
    random_cluster(r, &w->s);
    w->l = live_new(&w->s);
    for (uint32_t i = 0; i < DEMANDS; i++)
        random_demand(w, r, i);
}

static void world_done(struct world *w)
{
    live_free(w->l);
    for (uint32_t i = 0; i < DEMANDS; i++) {
        estimate_free(w->m[i]);
        free(w->spec[i]);
    }
    snapshot_done(&w->s);
}

/* Plans as text: name, terms and every byte of the assignment. */
static char *text_of(const struct place_plan *p)
{
    json_auto_t *doc = json_object();
    json_put_bool(doc, "feasible", p->feasible);
    json_put_bool(doc, "optimal", p->optimal);
    json_put_double(doc, "gap", p->gap_percent);
    json_put_str(doc, "tier", place_tier_name(p->tier));
    json_t *terms = json_put_array(doc, "terms");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        json_t *o = json_add_object(terms);
        json_put_str(o, "term", policy_term_name(p->terms[i].term));
        json_put_double(o, "amount", p->terms[i].amount);
        json_put_double(o, "bound", p->terms[i].bound);
        json_put_bool(o, "proved", p->terms[i].proved);
    }
    json_put_str(doc, "id", p->a.plan_id);
    if (p->feasible)
        json_object_set_new(doc, "a", assignment_to_json(&p->a));
    return json_text(doc);
}

static void step(struct world *w, struct rng *r, uint32_t world, uint32_t at)
{
    struct err err = {0};
    struct place_budget budget = {.no_changes = true};
    uint32_t i = (uint32_t)rng_below(r, DEMANDS);
    bool release = w->n_claims && (w->n_claims == CLAIMS || rng_below(r, 5) < 2);
    if (release) {
        uint32_t k = (uint32_t)rng_below(r, w->n_claims);
        live_release(w->l, w->claim[k]);
        w->claim[k] = w->claim[--w->n_claims];
    }
    struct place_plan *p = live_place(w->l, w->id[i], &err);
    struct place_plan *q = place_model(live_snapshot(w->l), w->spec[i], w->m[i], &budget, &err);
    if (!p || !q)
        fail_msg("world %u step %u: %s", world, at, err.msg);
    mem_auto char *live = text_of(p), *scratch = text_of(q);
    if (strcmp(live, scratch) != 0)
        fail_msg("world %u step %u, %s:\n%s\nfrom scratch\n%s", world, at, w->spec[i]->policy.name,
                 live, scratch);
    if (p->feasible && w->n_claims < CLAIMS &&
        live_claim(w->l, &p->a, w->spec[i]->name, 0, &w->claim[w->n_claims++], &err))
        fail_msg("world %u step %u: %s", world, at, err.msg);
    place_free(p);
    place_free(q);
}

static void test_steps(void **state)
{
    const char *times = getenv("PLACE_TEST_TIMES");
    uint32_t worlds = 40 * (times ? (uint32_t)strtoul(times, NULL, 10) : 1);
    struct live_counts sum = {0};
    struct rng r = {3};
    for (uint32_t i = 0; i < worlds; i++) {
        struct world w;
        world_init(&w, &r);
        for (uint32_t k = 0; k < 100; k++)
            step(&w, &r, i, k);
        struct live_counts n = live_counts(w.l);
        sum.by_gpu += n.by_gpu;
        sum.by_node += n.by_node;
        sum.full += n.full;
        world_done(&w);
    }
    printf("# %u steps: %llu by GPU, %llu by node, %llu in full\n", worlds * 100,
           (unsigned long long)sum.by_gpu, (unsigned long long)sum.by_node,
           (unsigned long long)sum.full);
    assert_true(sum.by_gpu > worlds * 10 && sum.by_node > worlds * 2 && sum.full > worlds * 2);
}

static void test_errors(void **state)
{
    struct rng r = {9};
    struct world w;
    struct err err = {0};
    uint32_t id;
    do {
        world_init(&w, &r);
        struct place_plan *p = live_place(w.l, w.id[0], &err);
        bool fits = p && p->feasible && p->a.parts[0].uuid[0];
        if (!fits) {
            place_free(p);
            world_done(&w);
            continue;
        }
        const struct cluster_snapshot *s = live_snapshot(w.l);
        uint32_t n = s->n_instances;
        assert_int_equal(live_claim(w.l, &p->a, "m0", 0, &id, &err), 0);
        assert_int_equal(s->n_instances, n + 1);
        assert_string_equal(s->instances[n].deployment, "m0");
        /* What is not free is not given, and nothing of it is taken. */
        p->a.host_weights_bytes = UINT64_MAX;
        assert_int_equal(live_claim(w.l, &p->a, "m0", 1, &id, &err), -1);
        assert_int_equal(err.code, ERR_NO_PLACEMENT);
        assert_int_equal(s->n_instances, n + 1);
        snprintf(p->a.parts[0].uuid, sizeof p->a.parts[0].uuid, "gpu-of-another-cluster");
        assert_int_equal(live_claim(w.l, &p->a, "m0", 1, &id, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        live_release(w.l, id);
        for (uint32_t i = 0; i < s->n_nodes; i++)
            for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
                assert_int_equal(s->nodes[i].devices[k].free_bytes,
                                 w.s.nodes[i].devices[k].free_bytes);
        place_free(p);
        break;
    } while (true);
    struct place_demand d = {.spec = w.spec[0]};
    for (uint32_t i = DEMANDS; i < LIVE_MAX_DEMANDS; i++)
        assert_int_equal(live_demand(w.l, &d, w.m[0], &id, &err), 0);
    assert_int_equal(live_demand(w.l, &d, w.m[0], &id, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_errors),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
