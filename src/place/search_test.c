/* The search against exhaustive ones that share no code with it, on random small clusters. */
#include "place/solve.h"

#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_L = 12, MAX_N = 5, MAX_D = 8, MAX_SPEEDS = 3 };

/* One random cluster and model, small enough to try everything. */
struct world {
    struct need need;
    uint64_t sum[MAX_L + 1], peak[MAX_L];
    int64_t cum[MAX_SPEEDS][MAX_L + 1], cpu_ns[MAX_L + 1];
    struct speed speeds[MAX_SPEEDS];
    struct pnode nodes[MAX_N];
    struct pdev dev[MAX_N][MAX_D], kept[MAX_N][MAX_D]; /* the solver drops useless devices of dev */
    uint32_t n_kept[MAX_N];
    struct net_pair pairs[MAX_N * MAX_N];
    struct problem p;
};

struct best {
    bool feasible;
    uint32_t k, g;
    int64_t ns;
};

static void random_model(struct world *w, struct rng *r, uint32_t n, bool cpu)
{
    uint32_t sizes = 1 + (uint32_t)rng_below(r, 3);
    uint64_t size[3], kv[2] = {rng_below(r, 3), rng_below(r, 3)};
    for (uint32_t i = 0; i < 3; i++)
        size[i] = 4 + rng_below(r, 12);
    w->need = (struct need){.n = n, .sum = w->sum, .peak = w->peak};
    w->need.fixed = rng_below(r, 3);
    w->need.first_extra = cpu ? 0 : (int64_t)rng_below(r, 7) - 3;
    w->need.head = rng_below(r, 20);
    for (uint32_t i = 0; i < n; i++) {
        w->sum[i + 1] = w->sum[i] + size[rng_below(r, sizes)] + kv[rng_below(r, 2)];
        w->peak[i] = 1 + rng_below(r, 4);
    }
    for (uint32_t s = 0; s < MAX_SPEEDS; s++) {
        int64_t rate = 1 + (int64_t)rng_below(r, 9), rate2 = (int64_t)rng_below(r, 3);
        for (uint32_t i = 0; i < n; i++)
            w->cum[s][i + 1] =
                w->cum[s][i] + rate * (int64_t)(w->sum[i + 1] - w->sum[i]) + rate2 * (i % 3);
        w->speeds[s] = (struct speed){w->cum[s], (int64_t)rng_below(r, 30), rate * 3};
    }
    for (uint32_t i = 0; i < n; i++)
        w->cpu_ns[i + 1] = w->cpu_ns[i] + 20 * (int64_t)(w->sum[i + 1] - w->sum[i]);
}

static struct net random_net(struct rng *r)
{
    return (struct net){(int64_t)rng_below(r, 60), (int64_t)rng_below(r, 40),
                        (int64_t)rng_below(r, 9)};
}

static void random_world(struct world *w, struct rng *r, bool cpu)
{
    memset(w, 0, sizeof *w);
    uint32_t n = 3 + (uint32_t)rng_below(r, MAX_L - 2), nodes = 1 + (uint32_t)rng_below(r, MAX_N);
    uint32_t n_dev = 1 + (uint32_t)rng_below(r, MAX_D),
             speeds = 1 + (uint32_t)rng_below(r, MAX_SPEEDS);
    random_model(w, r, n, cpu);
    /* Rooms around a share of the model, so that the answer is often close. */
    uint64_t room[4], share = w->sum[n] / (1 + rng_below(r, n_dev)) + 8;
    for (uint32_t i = 0; i < 4; i++)
        room[i] = share / 2 + rng_below(r, share);
    for (uint32_t i = 0; i < nodes; i++) {
        w->nodes[i] = (struct pnode){.dev = w->dev[i], .tag = i};
        w->nodes[i].n_cpu_max = cpu ? (uint32_t)rng_below(r, n) : 0;
        w->nodes[i].main_ok = cpu ? w->nodes[i].n_cpu_max > 0 : rng_below(r, 4) > 0;
    }
    for (uint32_t i = 0; i < n_dev; i++) {
        struct pnode *d = &w->nodes[rng_below(r, nodes)];
        d->dev[d->n_dev++] = (struct pdev){.room = room[rng_below(r, 4)] + rng_below(r, 3),
                                           .speed = (uint32_t)rng_below(r, speeds),
                                           .id = i};
    }
    for (uint32_t i = 0; i < nodes; i++) {
        memcpy(w->kept[i], w->dev[i], sizeof w->kept[i]);
        w->n_kept[i] = w->nodes[i].n_dev;
    }
    w->p = (struct problem){.need = &w->need,
                            .speeds = w->speeds,
                            .n_speeds = MAX_SPEEDS,
                            .nodes = w->nodes,
                            .n_nodes = nodes,
                            .cpu_ns = cpu ? w->cpu_ns : NULL,
                            .base_ns = -7,
                            .remote_only = PLACE_NO_SPEED,
                            .net_all = random_net(r),
                            .pairs = w->pairs};
    if (rng_below(r, 4) == 0)
        w->p.max_devices = 1 + (uint32_t)rng_below(r, n_dev);
}

/* Needs of a range, written out from the definition. */
static bool fits(const struct world *w, uint64_t room, uint32_t s, uint32_t e, bool first,
                 bool last)
{
    uint64_t need = w->need.fixed, peak = 0;
    for (uint32_t i = s; i < e; i++) {
        need += w->sum[i + 1] - w->sum[i];
        peak = w->peak[i] > peak ? w->peak[i] : peak;
    }
    need += peak + (first ? (uint64_t)w->need.first_extra : 0) + (last ? w->need.head : 0);
    return need <= room;
}

struct flat {
    uint32_t node;
    struct pdev d;
};

struct trial {
    const struct world *w;
    bool tiered; /* fewest devices before time */
    struct flat dev[MAX_D];
    uint32_t n_dev, main;
    struct best best;
};

static void offer(struct trial *t, uint32_t mask, int64_t ns)
{
    uint32_t nodes = 1u << t->main, g = (uint32_t)__builtin_popcount(mask);
    for (uint32_t i = 0; i < t->n_dev; i++)
        if (mask >> i & 1)
            nodes |= 1u << t->dev[i].node;
    struct best b = {true, (uint32_t)__builtin_popcount(nodes), g, ns}, *o = &t->best;
    uint32_t most = t->w->p.max_devices ? t->w->p.max_devices : MAX_D;
    if (g > most || (t->tiered && g < 2))
        return;
    bool better = !o->feasible || b.k < o->k;
    if (!better && b.k == o->k)
        better = t->tiered ? b.g < o->g || (b.g == o->g && ns < o->ns)
                           : ns < o->ns || (ns == o->ns && b.g < o->g);
    if (better)
        *o = b;
}

/* Tries every next device with every count. */
static void extend(struct trial *t, uint32_t mask, uint32_t at, int64_t ns, bool any_remote)
{
    const struct world *w = t->w;
    uint32_t n = w->need.n;
    for (uint32_t i = 0; i < t->n_dev; i++) {
        if (mask >> i & 1)
            continue;
        const struct flat *d = &t->dev[i];
        const struct speed *s = &w->speeds[d->d.speed];
        bool remote = d->node != t->main, first = mask == 0 && !w->p.cpu_ns;
        int64_t net = remote ? w->p.net_all.fixed + (any_remote ? 0 : w->p.net_all.once) : 0;
        for (uint32_t e = at + 1; e <= n; e++) {
            int64_t time = ns + s->cum[e] - s->cum[at] + s->fixed + net;
            if (e < n && fits(w, d->d.room, at, e, first, false))
                extend(t, mask | 1u << i, e, time, any_remote || remote);
            if (e == n && fits(w, d->d.room, at, n, first, true))
                offer(t, mask | 1u << i,
                      time + s->tail + (remote ? w->p.net_all.tail : 0) + w->p.base_ns);
        }
    }
}

static struct best exhaustive(const struct world *w, bool tiered)
{
    struct trial t = {.w = w, .tiered = tiered};
    for (uint32_t i = 0; i < w->p.n_nodes; i++)
        for (uint32_t k = 0; k < w->n_kept[i]; k++)
            t.dev[t.n_dev++] = (struct flat){i, w->kept[i][k]};
    for (t.main = 0; t.main < w->p.n_nodes; t.main++) {
        const struct pnode *m = &w->nodes[t.main];
        if (!m->main_ok)
            continue;
        if (!w->p.cpu_ns)
            extend(&t, 0, 0, 0, false);
        for (uint32_t x = 1; w->p.cpu_ns && x <= m->n_cpu_max && x < w->need.n; x++)
            extend(&t, 0, x, w->cpu_ns[x], false);
    }
    return t.best;
}

/* The same by subsets: least time of (set of devices, layers done), for more devices. */
static struct best subsets(const struct world *w, bool tiered)
{
    struct trial t = {.w = w, .tiered = tiered};
    static const int64_t inf = INT64_MAX / 2;
    uint32_t n = w->need.n;
    for (uint32_t i = 0; i < w->p.n_nodes; i++)
        for (uint32_t k = 0; k < w->n_kept[i]; k++)
            t.dev[t.n_dev++] = (struct flat){i, w->kept[i][k]};
    int64_t(*best)[MAX_L + 1] = mem_calloc((size_t)1 << t.n_dev, sizeof *best);
    for (t.main = 0; t.main < w->p.n_nodes; t.main++) {
        const struct pnode *m = &w->nodes[t.main];
        if (!m->main_ok)
            continue;
        for (uint32_t mask = 0; mask < 1u << t.n_dev; mask++)
            for (uint32_t l = 0; l <= n; l++)
                best[mask][l] =
                    mask || l < 1 || l > m->n_cpu_max || !w->p.cpu_ns ? inf : w->cpu_ns[l];
        if (!w->p.cpu_ns)
            best[0][0] = 0;
        for (uint32_t mask = 0; mask < 1u << t.n_dev; mask++) {
            bool any = false;
            for (uint32_t i = 0; i < t.n_dev; i++)
                any = any || ((mask >> i & 1) && t.dev[i].node != t.main);
            for (uint32_t at = 0; at < n; at++)
                for (uint32_t i = 0; i < t.n_dev && best[mask][at] < inf; i++) {
                    if (mask >> i & 1)
                        continue;
                    const struct flat *d = &t.dev[i];
                    const struct speed *s = &w->speeds[d->d.speed];
                    bool remote = d->node != t.main, first = mask == 0 && !w->p.cpu_ns;
                    int64_t net = remote ? w->p.net_all.fixed + (any ? 0 : w->p.net_all.once) : 0;
                    for (uint32_t e = at + 1; e <= n; e++) {
                        int64_t ns = best[mask][at] + s->cum[e] - s->cum[at] + s->fixed + net;
                        int64_t *to = &best[mask | 1u << i][e];
                        if (e < n && ns < *to && fits(w, d->d.room, at, e, first, false))
                            *to = ns;
                        if (e == n && fits(w, d->d.room, at, n, first, true))
                            offer(&t, mask | 1u << i,
                                  ns + s->tail + (remote ? w->p.net_all.tail : 0) + w->p.base_ns);
                    }
                }
        }
    }
    free(best);
    return t.best;
}

/* The answer's own claims: distinct devices, exact needs, layers in order, time. */
static void check_solution(const struct world *w, const struct solution *s)
{
    uint32_t at = s->n_cpu, nodes = 1u << s->main;
    int64_t ns = w->p.base_ns + (w->p.cpu_ns ? w->cpu_ns[at] : 0);
    bool any = false;
    for (uint32_t i = 0; i < s->n_dev; i++) {
        const struct pdev *d = &w->nodes[s->node[i]].dev[s->dev[i]];
        const struct speed *sp = &w->speeds[d->speed];
        bool last = i == s->n_dev - 1, remote = s->node[i] != s->main;
        uint32_t e = at + s->counts[i];
        assert_true(s->counts[i] > 0);
        assert_true(fits(w, d->room, at, e, i == 0 && !w->p.cpu_ns, last));
        ns += sp->cum[e] - sp->cum[at] + sp->fixed + (last ? sp->tail : 0);
        if (remote)
            ns +=
                w->p.net_all.fixed + (any ? 0 : w->p.net_all.once) + (last ? w->p.net_all.tail : 0);
        any = any || remote;
        nodes |= 1u << s->node[i];
        at = e;
        for (uint32_t k = 0; k < i; k++)
            assert_false(s->node[k] == s->node[i] && s->dev[k] == s->dev[i]);
    }
    assert_int_equal(at, w->need.n);
    assert_int_equal(ns, s->ns);
    assert_int_equal(__builtin_popcount(nodes), s->n_nodes);
}

static void run(uint32_t cases, uint64_t seed, bool cpu, bool tiered, uint32_t max_dev,
                struct best (*truth)(const struct world *, bool))
{
    struct rng r = {seed};
    struct world *w = mem_calloc(1, sizeof *w);
    uint32_t feasible = 0, several = 0;
    const char *times =
        getenv("PLACE_TEST_TIMES"); /* a longer run by hand: 25 is a million cases */
    cases *= times ? (uint32_t)strtoul(times, NULL, 10) : 1;
    for (uint32_t c = 0; c < cases; c++) {
        random_world(w, &r, cpu);
        uint32_t n = 0;
        for (uint32_t i = 0; i < w->p.n_nodes; i++)
            n += w->n_kept[i];
        if (n > max_dev)
            continue;
        struct best b = truth(w, tiered);
        struct solver *v = solver_new(&w->p, (uint64_t)1 << 40);
        struct solution s;
        if (tiered)
            solve_tiered(v, 1, MAX_N, &s);
        else
            solve_fastest(v, 1, MAX_N, &s);
        if (s.feasible != b.feasible || !s.proved ||
            (b.feasible && (s.n_nodes != b.k || s.ns != b.ns || (tiered && s.n_dev != b.g))))
            fail_msg("case %u of seed %llu: got %d proved %d k %u g %u ns %lld; want %d k %u g %u "
                     "ns %lld",
                     c, (unsigned long long)seed, s.feasible, s.proved, s.n_nodes, s.n_dev,
                     (long long)s.ns, b.feasible, b.k, b.g, (long long)b.ns);
        if (s.feasible)
            check_solution(w, &s);
        feasible += b.feasible;
        several += b.feasible && b.k > 1;
        solution_done(&s);
        solver_free(v);
    }
    /* The test must not pass because nothing ever fits, or everything fits one node. */
    assert_true(feasible > cases / 8 && several > cases / 50);
    free(w);
}

static void test_orders_full(void **state)
{
    run(6000, 1, false, true, 5, exhaustive);
}
static void test_orders_cpu(void **state)
{
    run(6000, 2, true, false, 5, exhaustive);
}
static void test_orders_fast(void **state)
{
    run(6000, 3, false, false, 5, exhaustive);
}
static void test_subsets_full(void **state)
{
    run(12000, 4, false, true, MAX_D, subsets);
}
static void test_subsets_cpu(void **state)
{
    run(6000, 5, true, false, MAX_D, subsets);
}
static void test_subsets_fast(void **state)
{
    run(6000, 6, false, false, MAX_D, subsets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_full), cmocka_unit_test(test_orders_cpu),
        cmocka_unit_test(test_orders_fast), cmocka_unit_test(test_subsets_full),
        cmocka_unit_test(test_subsets_cpu), cmocka_unit_test(test_subsets_fast),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
