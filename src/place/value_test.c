/* The search by value, with costs, limits on time and on stages, exact numbers of devices and nodes
 * that are used whole, against a program over subsets that shares no code with it. */
#include "place/solve.h"

#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_L = 10, MAX_N = 4, MAX_D = 7, MAX_SPEEDS = 3 };

static const int64_t none = INT64_MAX / 2;

/* What a family of cases asks beside sizes and time. */
struct family {
    const char *name;
    bool cpu, tiered, costs, limit, stage, exact, whole, ram, value;
};

struct world {
    struct need need;
    uint64_t sum[MAX_L + 1], peak[MAX_L];
    int64_t cum[MAX_SPEEDS][MAX_L + 1], cpu_ns[MAX_L + 1];
    struct speed speeds[MAX_SPEEDS];
    struct pnode nodes[MAX_N];
    struct pdev dev[MAX_N][MAX_D], all[MAX_D]; /* the solver drops useless devices of dev */
    uint32_t node_of[MAX_D], n_all;
    struct problem p;
};

struct best {
    bool feasible;
    uint32_t k, g;
    int64_t value;
};

static void random_model(struct world *w, struct rng *r, uint32_t n, bool cpu)
{
    uint64_t size[2] = {4 + rng_below(r, 12), 4 + rng_below(r, 12)};
    w->need = (struct need){.n = n, .sum = w->sum, .peak = w->peak};
    w->need.fixed = rng_below(r, 3);
    w->need.first_extra = cpu ? 0 : (int64_t)rng_below(r, 7) - 3;
    w->need.head = rng_below(r, 20);
    for (uint32_t i = 0; i < n; i++) {
        w->sum[i + 1] = w->sum[i] + size[rng_below(r, 2)];
        w->peak[i] = 1 + rng_below(r, 4);
        w->cpu_ns[i + 1] = w->cpu_ns[i] + 20 * (int64_t)(w->sum[i + 1] - w->sum[i]);
    }
    for (uint32_t s = 0; s < MAX_SPEEDS; s++) {
        int64_t rate = 1 + (int64_t)rng_below(r, 9), odd = (int64_t)rng_below(r, 3);
        for (uint32_t i = 0; i < n; i++)
            w->cum[s][i + 1] =
                w->cum[s][i] + rate * (int64_t)(w->sum[i + 1] - w->sum[i]) + odd * (i % 3);
        w->speeds[s] = (struct speed){w->cum[s], (int64_t)rng_below(r, 30), rate * 3};
    }
}

static int64_t random_cost(struct rng *r, bool costs)
{
    return costs && rng_below(r, 2) ? (int64_t)(rng_below(r, 3) * 40 + rng_below(r, 2)) : 0;
}

static void random_nodes(struct world *w, struct rng *r, const struct family *f, uint64_t share)
{
    uint32_t nodes = 1 + (uint32_t)rng_below(r, MAX_N), n_dev = 1 + (uint32_t)rng_below(r, MAX_D);
    uint64_t room[3];
    share = share / (1 + rng_below(r, n_dev)) + 8;
    for (uint32_t i = 0; i < 3; i++)
        room[i] = share / 2 + rng_below(r, share);
    for (uint32_t i = 0; i < nodes; i++) {
        struct pnode *d = &w->nodes[i];
        *d = (struct pnode){.dev = w->dev[i], .tag = i};
        d->n_cpu_max = f->cpu ? (uint32_t)rng_below(r, w->need.n) : 0;
        d->main_ok = f->cpu ? d->n_cpu_max > 0 : rng_below(r, 4) > 0;
        d->all_or_none = f->whole && rng_below(r, 2);
        d->cost = random_cost(r, f->costs);
        d->main_cost = random_cost(r, f->costs);
    }
    for (uint32_t i = 0; i < n_dev; i++) {
        uint32_t at = (uint32_t)rng_below(r, nodes);
        struct pnode *d = &w->nodes[at];
        w->node_of[i] = at;
        w->all[i] = (struct pdev){.room = room[rng_below(r, 3)] + rng_below(r, 3),
                                  .speed = (uint32_t)rng_below(r, MAX_SPEEDS),
                                  .cost = random_cost(r, f->costs),
                                  .id = i};
        d->dev[d->n_dev++] = w->all[i];
    }
    w->n_all = n_dev;
    w->p.n_nodes = nodes;
}

static void random_world(struct world *w, struct rng *r, const struct family *f)
{
    memset(w, 0, sizeof *w);
    uint32_t n = 3 + (uint32_t)rng_below(r, MAX_L - 2);
    random_model(w, r, n, f->cpu);
    w->p = (struct problem){.need = &w->need,
                            .speeds = w->speeds,
                            .n_speeds = MAX_SPEEDS,
                            .nodes = w->nodes,
                            .cpu_ns = f->cpu ? w->cpu_ns : NULL,
                            .base_ns = -7,
                            .remote_only = f->ram ? MAX_SPEEDS - 1 : PLACE_NO_SPEED};
    w->p.net_all = (struct net){(int64_t)rng_below(r, 60), (int64_t)rng_below(r, 40),
                                (int64_t)rng_below(r, 9)};
    random_nodes(w, r, f, w->sum[n]);
    int64_t scale = (int64_t)w->sum[n];
    w->p.time_scale = f->costs ? (int64_t)rng_below(r, 4) : 0;
    w->p.hop_cost = random_cost(r, f->costs);
    w->p.limit_value = f->value ? scale + (int64_t)rng_below(r, (uint64_t)scale * 10) : 0;
    w->p.limit_ns = f->limit ? scale + (int64_t)rng_below(r, (uint64_t)scale * 10) : 0;
    w->p.stage_ns = f->stage ? scale / 2 + (int64_t)rng_below(r, (uint64_t)scale * 4) : 0;
    if (f->exact) {
        w->p.min_devices = 1 + (uint32_t)rng_below(r, w->n_all);
        w->p.max_devices = w->p.min_devices + (uint32_t)rng_below(r, 2);
    }
}

/* ---- the truth ---- */

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

/* A set of devices is allowed with this main node: numbers and whole nodes. */
static bool allowed(const struct world *w, const struct family *f, uint32_t main, uint32_t mask)
{
    uint32_t used[MAX_N] = {0}, have[MAX_N] = {0}, g = (uint32_t)__builtin_popcount(mask);
    for (uint32_t i = 0; i < w->n_all; i++) {
        bool ram = w->all[i].speed == w->p.remote_only;
        if (ram && w->node_of[i] == main && (mask >> i & 1))
            return false;
        have[w->node_of[i]] += !ram;
        used[w->node_of[i]] += !ram && (mask >> i & 1);
    }
    for (uint32_t i = 0; i < w->p.n_nodes; i++)
        if (w->nodes[i].all_or_none && used[i] && used[i] != have[i])
            return false;
    return g >= (f->tiered ? 2 : 1) && g >= w->p.min_devices &&
           (!w->p.max_devices || g <= w->p.max_devices);
}

static void offer(const struct world *w, const struct family *f, uint32_t main, uint32_t mask,
                  int64_t ns, struct best *o)
{
    uint32_t nodes = 1u << main;
    int64_t value = ns * (w->p.time_scale ? w->p.time_scale : 1) + w->nodes[main].main_cost;
    for (uint32_t i = 0; i < w->n_all; i++)
        if (mask >> i & 1) {
            nodes |= 1u << w->node_of[i];
            value += w->all[i].cost + (w->node_of[i] == main ? 0 : w->p.hop_cost);
        }
    for (uint32_t i = 0; i < w->p.n_nodes; i++)
        value += nodes >> i & 1 ? w->nodes[i].cost : 0;
    if (w->p.limit_value && value >= w->p.limit_value)
        return;
    struct best b = {true, (uint32_t)__builtin_popcount(nodes), (uint32_t)__builtin_popcount(mask),
                     value};
    bool better = !o->feasible || b.k < o->k;
    if (!better && b.k == o->k)
        better = f->tiered && b.g != o->g ? b.g < o->g : value < o->value;
    if (better)
        *o = b;
}

/* Least time of (set of devices, layers done), one more device at a time. */
struct program {
    const struct world *w;
    uint32_t main;
    int64_t (*ns)[MAX_L + 1];
};

static void extend(struct program *t, uint32_t mask, uint32_t at, uint32_t i)
{
    const struct world *w = t->w;
    uint32_t n = w->need.n;
    const struct pdev *d = &w->all[i];
    const struct speed *s = &w->speeds[d->speed];
    bool remote = w->node_of[i] != t->main, first = mask == 0 && !w->p.cpu_ns, any = false;
    for (uint32_t k = 0; k < w->n_all; k++)
        any = any || ((mask >> k & 1) && w->node_of[k] != t->main);
    for (uint32_t e = at + 1; e <= n; e++) {
        int64_t own = s->cum[e] - s->cum[at] + s->fixed + (remote ? w->p.net_all.fixed : 0);
        own += e == n ? s->tail + (remote ? w->p.net_all.tail : 0) : 0;
        int64_t ns = t->ns[mask][at] + own + (remote && !any ? w->p.net_all.once : 0);
        if (w->p.stage_ns && own > w->p.stage_ns)
            continue;
        if (ns < t->ns[mask | 1u << i][e] && fits(w, d->room, at, e, first, e == n))
            t->ns[mask | 1u << i][e] = ns;
    }
}

static struct best truth(const struct world *w, const struct family *f)
{
    struct best best = {0};
    struct program t = {.w = w};
    uint32_t n = w->need.n;
    t.ns = mem_calloc((size_t)1 << w->n_all, sizeof *t.ns);
    for (t.main = 0; t.main < w->p.n_nodes; t.main++) {
        const struct pnode *m = &w->nodes[t.main];
        for (uint32_t mask = 0; mask < 1u << w->n_all; mask++)
            for (uint32_t l = 0; l <= n; l++)
                t.ns[mask][l] = none;
        t.ns[0][0] = w->p.cpu_ns ? none : 0;
        for (uint32_t l = 1; w->p.cpu_ns && l <= m->n_cpu_max; l++)
            if (!w->p.stage_ns || w->cpu_ns[l] <= w->p.stage_ns)
                t.ns[0][l] = w->cpu_ns[l];
        for (uint32_t mask = 0; m->main_ok && mask < 1u << w->n_all; mask++) {
            for (uint32_t at = 0; at < n; at++)
                for (uint32_t i = 0; i < w->n_all && t.ns[mask][at] < none; i++)
                    if (!(mask >> i & 1))
                        extend(&t, mask, at, i);
            int64_t ns = t.ns[mask][n] + w->p.base_ns;
            if (mask && t.ns[mask][n] < none && (!w->p.limit_ns || ns <= w->p.limit_ns) &&
                allowed(w, f, t.main, mask))
                offer(w, f, t.main, mask, ns, &best);
        }
    }
    free(t.ns);
    return best;
}

/* ---- the answer's own claims ---- */

static void check_solution(const struct world *w, const struct family *f, const struct solution *s)
{
    uint32_t at = s->n_cpu, mask = 0;
    int64_t ns = w->p.base_ns + (w->p.cpu_ns ? w->cpu_ns[at] : 0);
    bool any = false;
    for (uint32_t i = 0; i < s->n_dev; i++) {
        const struct pdev *d = &w->nodes[s->node[i]].dev[s->dev[i]];
        const struct speed *sp = &w->speeds[d->speed];
        bool last = i == s->n_dev - 1, remote = s->node[i] != s->main;
        uint32_t e = at + s->counts[i];
        assert_true(s->counts[i] > 0);
        assert_true(fits(w, d->room, at, e, i == 0 && !w->p.cpu_ns, last));
        int64_t own = sp->cum[e] - sp->cum[at] + sp->fixed + (last ? sp->tail : 0);
        own += remote ? w->p.net_all.fixed + (last ? w->p.net_all.tail : 0) : 0;
        assert_true(!w->p.stage_ns || own <= w->p.stage_ns);
        ns += own + (remote && !any ? w->p.net_all.once : 0);
        any = any || remote;
        assert_false(mask >> d->id & 1);
        mask |= 1u << d->id;
        at = e;
    }
    assert_int_equal(at, w->need.n);
    assert_int_equal(ns, s->ns);
    assert_true(allowed(w, f, s->main, mask));
    struct best b = {0};
    offer(w, f, s->main, mask, ns, &b);
    assert_int_equal(b.value, s->value);
    assert_int_equal(b.k, s->n_nodes);
    assert_true(s->bound_value == s->value && s->bound_ns <= s->ns);
}

enum { CASES = 2500 };

static void run(const struct family *f, uint64_t seed)
{
    struct rng r = {seed};
    struct world *w = mem_calloc(1, sizeof *w);
    uint32_t feasible = 0, refused = 0;
    const char *times = getenv("PLACE_TEST_TIMES"); /* a longer run by hand */
    uint32_t cases = CASES * (times ? (uint32_t)strtoul(times, NULL, 10) : 1);
    for (uint32_t c = 0; c < cases; c++) {
        random_world(w, &r, f);
        struct best b = truth(w, f);
        struct solver *v = solver_new(&w->p, (uint64_t)1 << 40);
        struct solution s;
        int64_t floor = solver_floor(v, 1);
        if (f->tiered)
            solve_tiered(v, 1, MAX_N, &s);
        else
            solve_fastest(v, 1, MAX_N, &s);
        if (s.feasible != b.feasible || !s.proved || (b.feasible && floor > b.value) ||
            (b.feasible &&
             (s.n_nodes != b.k || s.value != b.value || (f->tiered && s.n_dev != b.g))))
            fail_msg(
                "%s: case %u of seed %llu: got %d proved %d k %u g %u value %lld; want %d k %u "
                "g %u value %lld",
                f->name, c, (unsigned long long)seed, s.feasible, s.proved, s.n_nodes, s.n_dev,
                (long long)s.value, b.feasible, b.k, b.g, (long long)b.value);
        if (s.feasible)
            check_solution(w, f, &s);
        feasible += b.feasible;
        refused += !b.feasible;
        solution_done(&s);
        solver_free(v);
    }
    /* The test must not pass because nothing ever fits, or everything does. */
    if (feasible < cases / 40 || refused < cases / 40)
        fail_msg("%s: %u cases have an answer, %u have none", f->name, feasible, refused);
    free(w);
}

static const struct family families[] = {
    {.name = "plain", .tiered = true},
    {.name = "costs", .tiered = true, .costs = true},
    {.name = "costs over numbers", .costs = true},
    {.name = "costs beside the CPU", .cpu = true, .costs = true},
    {.name = "limit", .tiered = true, .limit = true},
    {.name = "limit over numbers", .limit = true},
    {.name = "limit and costs", .tiered = true, .costs = true, .limit = true},
    {.name = "limit and costs over numbers", .costs = true, .limit = true},
    {.name = "value below", .tiered = true, .costs = true, .value = true},
    {.name = "value below, over numbers", .costs = true, .value = true},
    {.name = "stage", .tiered = true, .stage = true},
    {.name = "stage over numbers", .stage = true, .costs = true},
    {.name = "stage beside the CPU", .cpu = true, .stage = true},
    {.name = "exact number", .tiered = true, .exact = true},
    {.name = "exact number, value", .exact = true, .costs = true},
    {.name = "whole nodes", .tiered = true, .whole = true},
    {.name = "whole nodes, value", .whole = true, .costs = true},
    {.name = "whole nodes and RAM", .whole = true, .ram = true, .cpu = true},
    {.name = "all, tiered",
     .tiered = true,
     .costs = true,
     .limit = true,
     .stage = true,
     .exact = true,
     .whole = true,
     .ram = true},
    {.name = "all, value",
     .costs = true,
     .limit = true,
     .stage = true,
     .exact = true,
     .whole = true,
     .ram = true},
    {.name = "all beside the CPU",
     .cpu = true,
     .costs = true,
     .limit = true,
     .stage = true,
     .exact = true,
     .whole = true,
     .ram = true},
};

static void test_families(void **state)
{
    for (uint32_t i = 0; i < ARRAY_LEN(families); i++)
        run(&families[i], 100 + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
