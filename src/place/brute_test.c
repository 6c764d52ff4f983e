/* The search against exhaustive methods on random instances; how often its bounds meet at once, and
 * how far off it is when its budget ends.
 *
 *     test_place_brute                  a fixed part, as a test (TAP)
 *     test_place_brute N [SEED [MIX]]   N instances of a mix: orders, uniform, subsets, plans, all
 *
 * Half of the instances are made up, half have the layers of real models. A mismatch is printed
 * with a seed: one instance of that seed and mix is the same again. Exit status 1 when there was
 * one. */
#include "place/brute_plan.h"

#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum method { ORDERS, UNIFORM, SUBSETS, PLANS, METHODS };
static const char *const METHOD_NAMES[] = {"orders", "uniform", "subsets", "plans"};
#define AMPLE ((uint64_t)1 << 40)

struct count {
    uint64_t cases, feasible, several_nodes, real;
    uint64_t unproved; /* with an ample budget */
    uint64_t at_once;  /* of those that fit: proved with a budget of one step */
    uint64_t ended;    /* that budget ended the search, and then: */
    uint64_t no_answer, more_nodes, more_devices;
    double stated, actual; /* largest gap in per cent, where nodes and devices are the fewest */
};

struct bench {
    struct rng r;
    struct brute_models *models;
    struct count count[METHODS];
};

/* ---- one instance ---- */

/* Does size alone decide on how many devices it takes? */
static bool by_size(const struct brute_case *c)
{
    const struct brute *b = &c->b;
    bool plain = !b->limit_ns && !b->limit_value && !b->stage_ns && b->min_dev < 3;
    for (uint32_t i = 0; i < b->n_nodes; i++)
        plain = plain && !b->node[i].all_or_none;
    return plain && c->tiered && c->k_lo == 1;
}

/* The best entry: fewest nodes, fewest devices (of two or more) and their value; or value first. */
static bool truth(const struct brute_best *b, const struct brute_case *c, uint32_t *k, uint32_t *g,
                  int64_t *value)
{
    *value = BRUTE_NEVER;
    for (*k = c->k_lo; *k <= b->k_cap && *k <= c->k_hi; ++*k) {
        for (uint32_t i = c->tiered ? 2 : 1; i <= b->g_cap; i++)
            if (b->value[*k][i] < *value) {
                *value = b->value[*k][i];
                *g = i;
                if (c->tiered)
                    return true;
            }
        if (*value < BRUTE_NEVER)
            return true;
    }
    return false;
}

static void way_of(const struct brute_case *c, const struct solution *s, struct brute_way *w)
{
    *w = (struct brute_way){.main = s->main, .n_cpu = s->n_cpu, .n = s->n_dev};
    for (uint32_t i = 0; i < s->n_dev; i++) {
        uint32_t id = c->p->nodes[s->node[i]].dev[s->dev[i]].id;
        for (uint32_t d = 0; d < c->b.n_dev; d++)
            if (c->b.dev[d].id == id)
                w->dev[i] = d;
        w->count[i] = s->counts[i];
    }
}

/* Does it hold, and is it of the time and value that it says? */
static int judge_way(const struct brute_case *c, const struct solution *s, struct err *err)
{
    struct brute_way w;
    struct brute_sum is;
    way_of(c, s, &w);
    int64_t ns = brute_time(&c->b, &w, &is);
    if (ns != s->ns || is.k != s->n_nodes || is.value != s->value || is.k < c->k_lo ||
        is.k > c->k_hi)
        return err_set(err, ERR_INTERNAL,
                       "invalid: %u nodes, %u devices, %lld ns, value %lld; is %u, %lld, %lld",
                       s->n_nodes, s->n_dev, (long long)s->ns, (long long)s->value, is.k,
                       (long long)ns, (long long)is.value);
    return 0;
}

/* Is the answer valid, and all that it claims true? */
static int judge(const struct brute_case *c, const struct brute_best *best,
                 const struct solution *s, struct err *err)
{
    uint32_t k = 0, g = 0;
    int64_t value;
    bool fits = truth(best, c, &k, &g, &value);
    if (s->feasible && judge_way(c, s, err))
        return -1;
    bool least = s->n_nodes == k && (!c->tiered || s->n_dev == g);
    if (s->proved && (s->feasible != fits || (fits && (!least || s->value != value))))
        return err_set(
            err, ERR_INTERNAL, "proved %d, %u nodes, %u devices, value %lld; is %d, %u, %u, %lld",
            s->feasible, s->n_nodes, s->n_dev, (long long)s->value, fits, k, g, (long long)value);
    if (!s->feasible) /* what is left open, of a single number of nodes */
        return c->k_lo == c->k_hi && !c->tiered && fits && s->bound_value > value
                   ? err_set(err, ERR_INTERNAL, "no answer, bound %lld; the least is %lld",
                             (long long)s->bound_value, (long long)value)
                   : 0;
    if (!fits || s->n_nodes < k || (c->tiered && s->n_nodes == k && s->n_dev < g))
        return err_set(err, ERR_INTERNAL,
                       "an answer of %u nodes, %u devices, where %u, %u is least", s->n_nodes,
                       s->n_dev, k, g);
    if (s->bound_nodes > k || (c->tiered && s->n_nodes == k && s->bound_dev > g))
        return err_set(err, ERR_INTERNAL, "bounds of %u nodes, %u devices; %u, %u do",
                       s->bound_nodes, s->bound_dev, k, g);
    if (least && (s->bound_value > value || s->value < value || s->bound_ns > s->ns))
        return err_set(err, ERR_INTERNAL, "value %lld, bound %lld, of ns %lld; the least is %lld",
                       (long long)s->value, (long long)s->bound_value, (long long)s->bound_ns,
                       (long long)value);
    return 0;
}

static int solve(struct brute_case *c, const struct brute_best *best, uint64_t steps,
                 struct solution *s, struct err *err)
{
    struct solver *v = solver_new(c->p, steps);
    if (c->tiered)
        solve_tiered(v, c->k_lo, c->k_hi, s);
    else
        solve_fastest(v, c->k_lo, c->k_hi, s);
    solver_free(v);
    int rc = judge(c, best, s, err);
    if (rc)
        err_wrap(err, "budget %llu", (unsigned long long)steps);
    return rc;
}

static void tally(struct count *n, const struct brute_case *c, const struct brute_best *best,
                  const struct solution *s)
{
    uint32_t k = 0, g = 0;
    int64_t value;
    bool fits = truth(best, c, &k, &g, &value);
    n->ended += !s->proved;
    if (s->proved || !fits)
        return;
    if (!s->feasible) {
        n->no_answer++;
    } else if (s->n_nodes > k) {
        n->more_nodes++;
    } else if (c->tiered && s->n_dev > g) {
        n->more_devices++;
    } else {
        double have = (double)s->value;
        n->stated = fmax(n->stated, 100 * (have - (double)s->bound_value) / have);
        n->actual = fmax(n->actual, 100 * (have - (double)value) / have);
    }
}

/* Ample, one step, and something between. */
static int run_budgets(struct bench *x, struct brute_case *c, const struct brute_best *best,
                       struct count *n, struct err *err)
{
    const uint64_t steps[3] = {AMPLE, 1, (uint64_t)1 << (4 + rng_below(&x->r, 10))};
    for (uint32_t i = 0; i < 3; i++) {
        struct solution s;
        int rc = solve(c, best, steps[i], &s, err);
        if (rc == 0 && i == 0) {
            n->unproved += !s.proved;
            n->feasible += s.feasible;
            n->several_nodes += s.feasible && s.n_nodes > 1;
        }
        if (rc == 0 && i == 1) {
            n->at_once += s.feasible && s.proved;
            tally(n, c, best, &s);
        }
        solution_done(&s);
        if (rc)
            return -1;
    }
    return 0;
}

/* Two methods must agree wherever both looked. */
static int same(const struct brute_best *a, const struct brute_best *b, struct err *err)
{
    uint32_t k_cap = a->k_cap < b->k_cap ? a->k_cap : b->k_cap;
    uint32_t g_cap = a->g_cap < b->g_cap ? a->g_cap : b->g_cap;
    for (uint32_t k = 0; k <= k_cap; k++)
        for (uint32_t g = 0; g <= g_cap; g++)
            if (a->value[k][g] != b->value[k][g])
                return err_set(err, ERR_INTERNAL,
                               "exhaustive methods differ at %u nodes, %u devices: %lld, %lld", k,
                               g, (long long)a->value[k][g], (long long)b->value[k][g]);
    return 0;
}

static int exhaust(struct bench *x, struct brute_case *c, enum method m, struct brute_best *best,
                   struct err *err)
{
    struct brute_best other;
    bool again = rng_below(&x->r, 16) == 0;
    if (m == ORDERS)
        brute_orders(&c->b, best);
    else if (m == UNIFORM)
        brute_uniform(&c->b, best);
    else
        brute_subsets(&c->b, !by_size(c), best);
    if (m == SUBSETS || !again)
        return 0;
    brute_subsets(&c->b, c->b.n_dev < 9 || !by_size(c), &other);
    return same(best, &other, err);
}

/* Mostly small ones, with some at the most that the method can do. */
static struct brute_shape shape_of(struct rng *r, enum method m)
{
    static const uint32_t DEV[METHODS][3] = {{6, 7, 7}, {10, 12, 12}, {9, 12, 14}, {6, 8, 9}};
    static const uint32_t LAYERS[METHODS][3] = {
        {10, 10, 14}, {20, 24, 24}, {16, 20, 24}, {9, 10, 14}};
    uint64_t dice = rng_below(r, 100);
    uint32_t size = dice < 80 ? 0 : dice < 98 ? 1 : 2;
    return (struct brute_shape){.max_layers = LAYERS[m][size],
                                .max_dev = DEV[m][size],
                                .max_nodes = m == PLANS ? 4 : 2 + (uint32_t)rng_below(r, 5),
                                .uniform = m == UNIFORM,
                                .cpu = m != UNIFORM && rng_below(r, 4) == 0,
                                .links = rng_below(r, 4) == 0,
                                .wants = rng_below(r, 3) == 0};
}

static int run_case(struct bench *x, enum method m, struct err *err)
{
    struct count *n = &x->count[m];
    struct brute_shape o = shape_of(&x->r, m);
    struct brute_case *c = mem_calloc(1, sizeof *c);
    struct brute_best best;
    bool real = m != UNIFORM && rng_below(&x->r, 2);
    n->cases++;
    n->real += real;
    if (real)
        brute_real(c, x->models, &x->r, &o);
    else
        brute_make(c, &x->r, &o);
    c->k_lo = rng_below(&x->r, 2) ? 1 : 1 + (uint32_t)rng_below(&x->r, c->b.n_nodes);
    c->k_hi = rng_below(&x->r, 2) ? BRUTE_NODES : c->k_lo;
    int rc = exhaust(x, c, m, &best, err);
    if (rc == 0)
        rc = run_budgets(x, c, &best, n, err);
    if (rc)
        err_wrap(err, "%s", c->what);
    brute_case_done(c);
    free(c);
    return rc;
}

static int run_plan(struct bench *x, struct err *err)
{
    struct count *n = &x->count[PLANS];
    struct brute_shape o = shape_of(&x->r, PLANS);
    bool small = rng_below(&x->r, 4) == 0;
    struct place_plan *p = NULL;
    struct brute_outcome best;
    int rc = brute_plan(x->models, &x->r, &o, small ? 1 : 0, &p, &best, err);
    n->cases++;
    n->real++;
    n->feasible += best.feasible;
    n->several_nodes += best.feasible && best.best.n_nodes > 1;
    if (p && !small)
        n->unproved += !p->optimal;
    if (p && small) {
        n->at_once += p->feasible && p->optimal;
        n->ended += !p->optimal;
        n->no_answer += best.feasible && !p->feasible;
        n->stated = fmax(n->stated, p->feasible && !p->optimal ? p->gap_percent : 0);
    }
    place_free(p);
    return rc;
}

static int run(struct bench *x, enum method m, struct err *err)
{
    return m == PLANS ? run_plan(x, err) : run_case(x, m, err);
}

static struct bench *bench_new(uint64_t seed)
{
    struct bench *x = mem_calloc(1, sizeof *x);
    struct err err = {0};
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *folder = mem_printf("%s/tests/data/models", root ? root : "..");
    x->r.state = seed;
    x->models = brute_models_new(folder, &err);
    if (!x->models) {
        fprintf(stderr, "%s; set STOWAGE_SOURCE to the source tree\n", err.msg);
        exit(2);
    }
    return x;
}

static void bench_free(struct bench *x)
{
    brute_models_free(x->models);
    free(x);
}

/* ---- by hand ---- */

static void report(const struct bench *x)
{
    for (uint32_t m = 0; m < METHODS; m++) {
        const struct count *n = &x->count[m];
        if (!n->cases)
            continue;
        printf("%s: %llu instances (%llu real models); %llu fit, %llu on several "
               "nodes; not proved %llu\n",
               METHOD_NAMES[m], (unsigned long long)n->cases, (unsigned long long)n->real,
               (unsigned long long)n->feasible, (unsigned long long)n->several_nodes,
               (unsigned long long)n->unproved);
        printf("    bounds met at once: %llu; else the budget of a step ended %llu: no answer "
               "%llu, more nodes "
               "%llu, more devices %llu; else largest gap stated %.1f %%, actual %.1f %%\n",
               (unsigned long long)n->at_once, (unsigned long long)n->ended,
               (unsigned long long)n->no_answer, (unsigned long long)n->more_nodes,
               (unsigned long long)n->more_devices, n->stated, n->actual);
    }
}

static int by_hand(uint64_t cases, uint64_t seed, const char *mix)
{
    struct bench *x = bench_new(seed);
    enum method only = METHODS;
    for (uint32_t m = 0; m < METHODS; m++)
        if (strcmp(mix, METHOD_NAMES[m]) == 0)
            only = (enum method)m;
    if (only == METHODS && strcmp(mix, "all") != 0) {
        fprintf(stderr, "no mix '%s': orders, uniform, subsets, plans or all\n", mix);
        return 2;
    }
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < cases; i++) {
        struct err err = {0};
        enum method m = only == METHODS ? (enum method)(i % METHODS) : only;
        x->r.state = seed + (i << 20); /* each instance by itself can be found again */
        if (run(x, m, &err)) {
            wrong++;
            printf("%s, seed %llu: %s\n", METHOD_NAMES[m], (unsigned long long)(seed + (i << 20)),
                   err.msg);
        }
        if ((i + 1) % 50000 == 0) {
            printf("%llu instances, %llu mismatches\n", (unsigned long long)(i + 1),
                   (unsigned long long)wrong);
            fflush(stdout);
        }
    }
    report(x);
    printf("mismatches: %llu\n", (unsigned long long)wrong);
    bench_free(x);
    return wrong > 0;
}

/* ---- as a test ---- */

static void test_method(enum method m, uint32_t cases)
{
    struct bench *x = bench_new(2026);
    const struct count *n = &x->count[m];
    for (uint32_t i = 0; i < cases; i++) {
        struct err err = {0};
        if (run(x, m, &err))
            fail_msg("%s, instance %u: %s", METHOD_NAMES[m], i, err.msg);
    }
    /* Nothing is shown by instances that all fit one node, or never fit, or never need a search. */
    assert_true(n->feasible > cases / 4 && n->feasible < cases);
    assert_true(n->several_nodes > cases / 20);
    assert_true(n->ended > 0 && n->at_once > cases / 20);
    bench_free(x);
}

/* Instances that once were answered wrongly. */
static void test_found(void **state)
{
    static const struct {
        enum method m;
        uint64_t seed;
    } FOUND[] = {
        /* Numbers of devices that a budget left open by size were not looked at again. */
        {SUBSETS, 332891442983},
        {SUBSETS, 340399247143},
        /* A set that fits a shorter order named a device twice. */
        {SUBSETS, 481771727108},
    };
    struct bench *x = bench_new(0);
    for (size_t i = 0; i < ARRAY_LEN(FOUND); i++) {
        struct err err = {0};
        x->r.state = FOUND[i].seed;
        if (run(x, FOUND[i].m, &err))
            fail_msg("%s, seed %llu: %s", METHOD_NAMES[FOUND[i].m],
                     (unsigned long long)FOUND[i].seed, err.msg);
    }
    bench_free(x);
}

static void test_orders(void **state)
{
    test_method(ORDERS, 3000);
}
static void test_uniform(void **state)
{
    test_method(UNIFORM, 2000);
}
static void test_subsets(void **state)
{
    test_method(SUBSETS, 3000);
}
static void test_plans(void **state)
{
    test_method(PLANS, 4000);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),   cmocka_unit_test(test_orders),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_subsets),
        cmocka_unit_test(test_plans),
    };
    if (argc > 1)
        return by_hand(strtoull(argv[1], NULL, 10), argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
                       argc > 3 ? argv[3] : "all");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
