/* Several instances on one snapshot: against trying everything, under changes that must not worsen,
 * and by hand. */
#include "place/many.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/hold.h"
#include "place/pack_brute.h"
#include "place/replicas.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct cluster_snapshot s;
    struct estimate_model *m[PB_WISHES];
    struct deployment_spec *spec[PB_WISHES];
    struct place_wish wish[PB_WISHES];
    uint32_t n;
};

static void world_done(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        estimate_free(w->m[i]);
        free(w->spec[i]);
    }
    snapshot_done(&w->s);
}

static void add_wish(struct world *w, struct estimate_model *m, const char *policy,
                     uint32_t replicas)
{
    struct deployment_spec *d = w->spec[w->n] = mem_calloc(1, sizeof *d);
    assert_int_equal(policy_preset(&d->policy, policy, NULL), 0);
    snprintf(d->name, sizeof d->name, "m%u", w->n);
    d->want.no_ram = true;
    w->m[w->n] = m;
    w->wish[w->n] = (struct place_wish){.d = {.spec = d}, .m = m, .replicas = replicas};
    w->n++;
}

static void random_world(struct world *w, struct rng *r, uint32_t items)
{
    uint64_t bytes = 0;
    memset(w, 0, sizeof *w);
    uint32_t n = 1 + (uint32_t)rng_below(r, 3), left = items;
    const char *policy = rng_below(r, 4) ? "tiered" : "fastest";
    for (uint32_t i = 0; i < n && left; i++) {
        uint32_t count = i + 1 == n ? 1 + (uint32_t)rng_below(r, left) : 1;
        add_wish(w, pb_model(r, 2 + (uint32_t)rng_below(r, 3)), policy, count);
        bytes += count * pb_model_bytes(w->m[i]);
        left -= count;
        if (rng_below(r, 5) == 0)
            w->spec[i]->want.max_gpus = 1 + (uint32_t)rng_below(r, 2);
        w->spec[i]->want.max_nodes = rng_below(r, 5) == 0;
        if (rng_below(r, 6) == 0)
            snprintf(w->spec[i]->want.anti_affinity.items[w->spec[i]->want.anti_affinity.n++],
                     CONSTRAINT_NAME, "m%u", (uint32_t)rng_below(r, i + 1));
    }
    pb_cluster(r, bytes, 6, &w->s);
}

/* Every plan is good on the snapshot as the others leave it. */
static void check_together(const struct world *w, const struct place_set *p)
{
    struct cluster_snapshot s;
    struct err err = {0};
    snapshot_copy(&s, &w->s);
    uint32_t placed = 0;
    for (int turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < p->n_items; i++) {
            const struct place_plan *x = p->items[i].plan;
            const struct place_wish *wish = &w->wish[p->items[i].wish];
            struct cluster_instance held = {0};
            if (!x->feasible)
                continue;
            assert_int_equal(hold_of(&s, NULL, &x->a, &held, &err), 0);
            if (turn == 0) {
                if (hold_take(&s, &held, &err))
                    fail_msg("item %u: %s", i, err.msg);
                placed++;
            } else {
                hold_give(&s, &held);
                if (place_validate_model(&s, wish->d.spec, wish->m, &x->a, &err))
                    fail_msg("item %u: %s", i, err.msg);
                assert_int_equal(hold_take(&s, &held, NULL), 0);
            }
            hold_done(&held);
        }
    assert_int_equal(placed, p->n_placed);
    snapshot_done(&s);
}

static uint32_t nodes_of(const struct assignment *a)
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

static void cost_of(const struct place_set *p, struct pb_cost *c)
{
    memset(c, 0, sizeof *c);
    for (uint32_t i = 0; i < p->n_items; i++) {
        const struct place_plan *x = p->items[i].plan;
        if (!x->feasible) {
            c->dropped++;
            c->by_wish[p->items[i].wish]++;
            continue;
        }
        c->k += nodes_of(&x->a);
        c->g += x->a.n_parts;
        c->ns += (int64_t)(1e9 / x->a.tok_s + 0.5);
    }
}

/* Below 0: a is better; times that differ by rounding only are the same. */
static int compare(const struct pb_cost *a, const struct pb_cost *b, bool fastest)
{
    int64_t d = a->ns - b->ns, little = a->ns / 10000000 + 8;
    int time = d < -little ? -1 : d > little;
    if (a->dropped != b->dropped)
        return a->dropped < b->dropped ? -1 : 1;
    int c = 0;
    for (uint32_t i = 0; i < PB_WISHES && !c; i++)
        c = (a->by_wish[i] > b->by_wish[i]) - (a->by_wish[i] < b->by_wish[i]);
    if (c || (fastest && time))
        return c ? c : time;
    if (a->k != b->k)
        return a->k < b->k ? -1 : 1;
    if (a->g != b->g)
        return a->g < b->g ? -1 : 1;
    return time;
}

static void test_exhaustive(void **state)
{
    const char *times = getenv("PLACE_TEST_TIMES");
    uint32_t n = 200 * (times ? (uint32_t)strtoul(times, NULL, 10) : 1);
    uint32_t optimal = 0, some_dropped = 0, crowded = 0, met = 0;
    struct rng r = {11};
    for (uint32_t i = 0; i < n; i++) {
        struct world w;
        struct err err = {0};
        random_world(&w, &r, 4);
        struct pb_cost best = {0}, got;
        pb_best(&w.s, w.wish, w.n, &best);
        struct place_budget budget = {.bare = i % 2 == 0};
        struct place_set *p = place_many(&w.s, w.wish, w.n, &budget, &err);
        if (!p)
            fail_msg("case %u: %s", i, err.msg);
        check_together(&w, p);
        cost_of(p, &got);
        int c = compare(&got, &best, strcmp(w.spec[0]->policy.name, "fastest") == 0);
        if (c < 0 || (p->optimal && c > 0) || p->bound_placed < p->n_items - best.dropped)
            fail_msg("case %u: %s, placed %u of %u (at most %u): %lu nodes %lu gpus %ld; want %u: "
                     "%lu %lu %ld",
                     i, p->optimal ? "optimal" : "open", p->n_placed, p->n_items, p->bound_placed,
                     got.k, got.g, got.ns, p->n_items - best.dropped, best.k, best.g, best.ns);
        optimal += p->optimal;
        met += c == 0;
        some_dropped += best.dropped > 0;
        crowded += p->n_items > 1 && best.dropped < p->n_items;
        place_set_free(p);
        world_done(&w);
    }
    printf("# %u instances: %u proved, %u best, %u with some left out\n", n, optimal, met,
           some_dropped);
    assert_true(optimal * 100 >= n * 90);
    assert_true(some_dropped > n / 10 && crowded > n / 4);
}

/* ---- changes that must not worsen ---- */

static void test_another_gpu(void **state)
{
    struct rng r = {23};
    uint32_t compared = 0, more = 0;
    for (uint32_t i = 0; i < 150; i++) {
        struct world w;
        struct place_budget budget = {.bare = true};
        random_world(&w, &r, 4);
        struct place_set *before = place_many(&w.s, w.wish, w.n, &budget, NULL);
        struct cluster_node *n = &w.s.nodes[rng_below(&r, w.s.n_nodes)];
        struct cluster_device *d = node_add_device(n);
        *d = n->n_devices > 1 ? n->devices[0] : (struct cluster_device){.free_bytes = 3 * GIB};
        d->index = n->n_devices - 1;
        snprintf(d->uuid, sizeof d->uuid, "gpu-new");
        struct place_set *after = place_many(&w.s, w.wish, w.n, &budget, NULL);
        if (before->optimal && after->optimal) {
            compared++;
            more += after->n_placed > before->n_placed;
            if (after->n_placed < before->n_placed)
                fail_msg("case %u: %u placed, with another GPU %u", i, before->n_placed,
                         after->n_placed);
        }
        assert_true(after->bound_placed >= before->n_placed);
        place_set_free(before);
        place_set_free(after);
        world_done(&w);
    }
    assert_true(compared > 120 && more > 10);
}

/* ---- by hand ---- */

enum { LAYERS = 10 };

/* Ten equal layers of 1 GiB; nodes of one card each that hold so many of them. */
static struct estimate_model *even_model(void)
{
    struct rng r = {1};
    struct estimate_model *m = pb_model(&r, LAYERS);
    for (uint32_t i = 0; i < LAYERS; i++) {
        m->layers[i] = (struct estimate_layer){.weights = 1000 * MIB, .read = 1000 * MIB};
        m->layers[i].kv = 24 * MIB;
        m->layers[i].peak = m->layers[i].peak_bare = 10 * MIB;
    }
    m->head = m->head_read = m->head_host = 10 * MIB;
    m->first_extra = m->shared = 0;
    return m;
}

static void add_card(struct cluster_node *n, uint32_t layers, double bandwidth)
{
    struct cluster_device *d = node_add_device(n);
    d->index = n->n_devices - 1;
    snprintf(d->uuid, sizeof d->uuid, "%.8s-%u", n->name, d->index);
    snprintf(d->name, sizeof d->name, "card");
    d->total_bytes = d->free_bytes = layers * GIB + 600 * MIB;
    d->bandwidth_bytes_per_s = bandwidth;
}

static struct cluster_node *add_node(struct world *w)
{
    struct cluster_node *n = snapshot_add_node(&w->s);
    snprintf(n->name, sizeof n->name, "n%03u", w->s.n_nodes);
    snprintf(n->id, sizeof n->id, "n%03u", w->s.n_nodes);
    n->ram_bytes = n->ram_free_bytes = 64 * GIB;
    return n;
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    snapshot_init(&w->s);
    w->s.margin_bytes = 64 * MIB;
    w->s.runtime_bytes = 64 * MIB;
    *snapshot_add_link(&w->s) =
        (struct cluster_link){.all = true, .bytes_per_s = 1.25e9, .rtt_s = 1e-4};
}

static bool said(const struct place_set *p, enum note_code code)
{
    return notes_find(&p->proof, code) != NULL;
}

/* The fastest cards together hold it, but then the others do not: larger ones go with smaller ones.
 * Too many for the exact search, which must not be needed. */
static void test_covers(void **state)
{
    static const struct {
        uint32_t n, layers;
        double bandwidth;
    } KINDS[] = {{40, 6, 936e9}, {20, 5, 360e9}, {40, 4, 360e9}};
    struct world w;
    world_init(&w);
    for (uint32_t k = 0; k < ARRAY_LEN(KINDS); k++)
        for (uint32_t i = 0; i < KINDS[k].n; i++)
            add_card(add_node(&w), KINDS[k].layers, KINDS[k].bandwidth);
    add_wish(&w, even_model(), "tiered", 66);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    assert_non_null(p);
    check_together(&w, p);
    assert_int_equal(p->n_placed, 50);
    assert_int_equal(p->bound_placed, 50);
    assert_true(said(p, NOTE_TOGETHER_MOST));
    place_set_free(p);
    world_done(&w);
}

static void test_one_per_node(void **state)
{
    struct world w;
    world_init(&w);
    for (uint32_t i = 0; i < 3; i++) {
        struct cluster_node *n = add_node(&w);
        for (uint32_t k = 0; k < 3; k++)
            add_card(n, 12, 936e9);
    }
    add_wish(&w, even_model(), "tiered", 5);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    assert_int_equal(p->n_placed, 5);
    assert_true(p->optimal);
    place_set_free(p);
    w.spec[0]->want.anti_affinity.n = 1;
    snprintf(w.spec[0]->want.anti_affinity.items[0], CONSTRAINT_NAME, "m0");
    p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    check_together(&w, p);
    assert_int_equal(p->n_placed, 3);
    assert_int_equal(p->bound_placed, 3);
    assert_true(p->optimal);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t k = 0; k < i; k++)
            assert_string_not_equal(p->items[i].plan->a.main_id, p->items[k].plan->a.main_id);
    assert_int_equal(p->items[3].plan->tier, TIER_NONE);
    assert_true(p->items[3].plan->summary.code != NOTE_NONE);
    place_set_free(p);
    world_done(&w);
}

/* Who must not be beside another one is not, whichever of them says so. */
static void test_averse(void **state)
{
    for (uint32_t who = 0; who < 2; who++) {
        struct world w;
        world_init(&w);
        struct cluster_node *n = add_node(&w);
        add_card(n, 12, 936e9);
        add_card(n, 12, 936e9);
        add_card(add_node(&w), 12, 360e9);
        add_wish(&w, even_model(), "tiered", 1);
        add_wish(&w, even_model(), "tiered", 1);
        w.spec[who]->want.anti_affinity.n = 1;
        snprintf(w.spec[who]->want.anti_affinity.items[0], CONSTRAINT_NAME, "m%u", 1 - who);
        struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
        assert_int_equal(p->n_placed, 2);
        assert_string_equal(p->items[0].plan->a.main_id, "n001");
        assert_string_not_equal(p->items[0].plan->a.main_id, p->items[1].plan->a.main_id);
        place_set_free(p);
        world_done(&w);
    }
}

/* Replicas of one call see each other. */
static void test_spread(void **state)
{
    struct world w;
    world_init(&w);
    for (uint32_t i = 0; i < 3; i++) {
        struct cluster_node *n = add_node(&w);
        add_card(n, 12, 936e9);
        add_card(n, 12, 936e9);
    }
    add_wish(&w, even_model(), "spread", 3);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    assert_int_equal(p->n_placed, 3);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t k = 0; k < i; k++)
            assert_string_not_equal(p->items[i].plan->a.main_id, p->items[k].plan->a.main_id);
    place_set_free(p);
    world_done(&w);
}

/* Room for two of three: the first ones given. As many as possible come before that. */
static void test_priority(void **state)
{
    struct world w;
    world_init(&w);
    struct cluster_node *n = add_node(&w);
    add_card(n, 12, 936e9);
    add_card(n, 12, 360e9);
    for (uint32_t i = 0; i < 3; i++)
        add_wish(&w, even_model(), "tiered", 1);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    assert_int_equal(p->n_placed, 2);
    assert_true(p->items[0].plan->feasible && p->items[1].plan->feasible);
    assert_true(p->optimal && said(p, NOTE_TOGETHER_MOST));
    place_set_free(p);
    /* One that takes both cards leaves none for the two others. */
    w.spec[0]->want.gpus_per_replica = 2;
    n->devices[0].free_bytes = n->devices[1].free_bytes = 11 * GIB;
    for (uint32_t i = 0; i < LAYERS; i++)
        w.m[0]->layers[i].weights += 800 * MIB;
    p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    assert_int_equal(p->n_placed, 2);
    assert_false(p->items[0].plan->feasible);
    assert_true(p->optimal);
    place_set_free(p);
    world_done(&w);
}

static void test_bounds(void **state)
{
    struct world w;
    struct replicas_bound b;
    world_init(&w);
    for (uint32_t i = 0; i < 6; i++) {
        struct cluster_node *n = add_node(&w);
        for (uint32_t k = 0; k < 3; k++)
            add_card(n, 6, 936e9);
    }
    add_wish(&w, even_model(), "tiered", 9);
    assert_int_equal(replicas_bound(&w.s, w.spec[0], w.m[0], 20, &b, NULL), 0);
    /* 18 cards of six layers: ten replicas, one in each node, none on one card. */
    assert_int_equal(b.most, 10);
    assert_int_equal(b.one_node, 6);
    assert_int_equal(b.one_gpu, 0);
    assert_int_equal(b.gpus, 2);
    assert_int_equal(b.nodes, 1);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    check_together(&w, p);
    assert_int_equal(p->n_placed, 9);
    assert_true(p->optimal && said(p, NOTE_TOGETHER_BY_SIZE));
    place_set_free(p);
    world_done(&w);
}

static void test_limits(void **state)
{
    struct world w;
    struct err err = {0};
    world_init(&w);
    add_card(add_node(&w), 12, 936e9);
    struct place_set *p = place_many(&w.s, w.wish, 0, NULL, &err);
    assert_non_null(p);
    assert_true(p->optimal && p->n_items == 0);
    place_set_free(p);
    add_wish(&w, even_model(), "tiered", PLACE_MANY_INSTANCES + 1);
    assert_null(place_many(&w.s, w.wish, 1, NULL, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "10001 instances; at most 256 models and 10000"));
    w.wish[0].replicas = PLACE_MANY_INSTANCES;
    struct place_budget budget = {.no_changes = true};
    p = place_many(&w.s, w.wish, 1, &budget, &err);
    assert_int_equal(p->n_items, PLACE_MANY_INSTANCES);
    assert_int_equal(p->n_placed, 1);
    assert_int_equal(p->bound_placed, 1);
    place_set_free(p);
    snprintf(w.spec[0]->want.nodes.items[0], CONSTRAINT_NAME, "nowhere");
    w.spec[0]->want.nodes.n = 1;
    err = (struct err){0};
    assert_null(place_many(&w.s, w.wish, 1, &budget, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    world_done(&w);
}

/* A search that ends on its budget says what it has not excluded. */
static void test_budget(void **state)
{
    struct rng r = {11};
    uint32_t open = 0;
    for (uint32_t i = 0; i < 60; i++) {
        struct world w;
        struct place_budget budget = {.steps = 1, .bare = true};
        random_world(&w, &r, 4);
        struct place_set *p = place_many(&w.s, w.wish, w.n, &budget, NULL);
        check_together(&w, p);
        assert_true(p->optimal !=
                    (said(p, NOTE_TOGETHER_OPEN) || said(p, NOTE_TOGETHER_OPEN_COST)));
        assert_true(p->optimal || p->gap_percent > 0);
        open += !p->optimal;
        place_set_free(p);
        world_done(&w);
    }
    assert_true(open > 5);
}

static void test_document(void **state)
{
    struct world w;
    world_init(&w);
    add_card(add_node(&w), 12, 936e9);
    add_wish(&w, even_model(), "tiered", 2);
    struct place_set *p = place_many(&w.s, w.wish, w.n, NULL, NULL);
    json_auto_t *doc = place_set_to_json(p, w.wish);
    assert_string_equal(json_string_value(json_object_get(doc, "schema")), "stowage.plans/1");
    assert_false(json_is_true(json_object_get(doc, "feasible")));
    assert_true(json_is_true(json_object_get(doc, "optimal")));
    assert_int_equal(json_integer_value(json_object_get(doc, "wanted")), 2);
    assert_int_equal(json_integer_value(json_object_get(doc, "placed")), 1);
    assert_int_equal(json_integer_value(json_object_get(doc, "most")), 1);
    json_t *plans = json_object_get(doc, "plans"), *one = json_array_get(plans, 1);
    assert_int_equal(json_array_size(plans), 2);
    assert_string_equal(json_string_value(json_object_get(one, "name")), "m0");
    assert_int_equal(json_integer_value(json_object_get(one, "replica")), 1);
    json_t *plan = json_object_get(one, "plan");
    assert_string_equal(json_string_value(json_object_get(plan, "schema")), "stowage.plan/1");
    assert_true(json_is_false(json_object_get(plan, "feasible")));
    json_t *proof = json_array_get(json_object_get(doc, "proof"), 0);
    assert_non_null(json_string_value(json_object_get(proof, "code")));
    place_set_free(p);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_another_gpu),
        cmocka_unit_test(test_covers),     cmocka_unit_test(test_one_per_node),
        cmocka_unit_test(test_averse),     cmocka_unit_test(test_spread),
        cmocka_unit_test(test_priority),   cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_budget),
        cmocka_unit_test(test_document),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
