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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
