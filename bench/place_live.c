/* Placements per second on a live snapshot, against planning from scratch. */
#include "base/mem.h"
#include "base/rng.h"
#include "place/live.h"
#include "place_common.h"
#include "place_world.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 20000, CHECK_EVERY = 8, PAIRS = 200, MAX_CLAIMS = 100000 };
static const double LONG_MS = 4000, FILL = 0.6; /* of the free memory at the start */

static const char *const FAMILIES[] = {"uniform", "jitter", "mixed", "singles"};
static const struct mix {
    const char *name, *only[4]; /* none: all */
} MIXES[] = {{"8B to 70B", {"8B", "gemma-3-27b", "qwen3-30b", "70B"}}, {"all models", {0}}};

struct churn {
    struct live *l;
    struct rng rng;
    uint32_t demand[16], n_demands; /* ids of live */
    const struct demand *of[16];
    uint32_t *claim, n_claims;
    uint64_t held_bytes;
    uint32_t placed, refused;
};

static uint64_t plan_bytes(const struct place_plan *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->a.n_parts; i++)
        sum += assignment_part_bytes(&p->a.parts[i]);
    return sum;
}

static _Noreturn void give_up(const struct err *err)
{
    fprintf(stderr, "place_bench: %s\n", err->msg);
    exit(1);
}

/* Takes what a plan holds; counts a refusal. */
static void claim(struct churn *c, const struct place_plan *p)
{
    struct err err = {0};
    uint32_t id = 0;
    if (!p->feasible) {
        c->refused++;
        return;
    }
    if (c->n_claims == MAX_CLAIMS || live_claim(c->l, &p->a, "bench", c->n_claims, &id, &err))
        give_up(&err);
    c->claim[c->n_claims++] = id;
    c->held_bytes += plan_bytes(p);
    c->placed++;
}

static struct place_plan *place(struct churn *c, uint32_t i)
{
    struct err err = {0};
    struct place_plan *p = live_place(c->l, c->demand[i], &err);
    if (!p)
        give_up(&err);
    return p;
}

static void place_one(struct churn *c)
{
    struct place_plan *p = place(c, (uint32_t)rng_below(&c->rng, c->n_demands));
    claim(c, p);
    place_free(p);
}

static void release_one(struct churn *c)
{
    uint32_t i = (uint32_t)rng_below(&c->rng, c->n_claims);
    live_release(c->l, c->claim[i]);
    c->claim[i] = c->claim[--c->n_claims];
}

static bool in_mix(const struct mix *m, const char *name)
{
    if (!m->only[0])
        return true;
    for (uint32_t i = 0; i < ARRAY_LEN(m->only); i++)
        if (strcmp(m->only[i], name) == 0)
            return true;
    return false;
}

static void add_demands(struct churn *c, const struct mix *m, const struct demand *d, uint32_t n)
{
    struct err err = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (!in_mix(m, d[i].name) || c->n_demands == ARRAY_LEN(c->demand))
            continue;
        c->of[c->n_demands] = &d[i];
        if (live_demand(c->l, &d[i].d, NULL, &c->demand[c->n_demands++], &err)) {
            fprintf(stderr, "place_bench: %s\n", err.msg);
            exit(1);
        }
    }
}

struct pair { /* the same demands on the same states, both ways */
    double live_ms, scratch_ms;
    uint32_t n, differ;
};

static struct pair compare(struct churn *c)
{
    struct pair x = {0};
    for (; x.n < PAIRS && x.scratch_ms < LONG_MS && c->n_claims; x.n++) {
        release_one(c);
        uint32_t i = (uint32_t)rng_below(&c->rng, c->n_demands);
        double t = cpu_ms(), mid;
        struct place_plan *p = place(c, i);
        mid = cpu_ms();
        struct place_plan *q = bench_plan(live_snapshot(c->l), &c->of[i]->d, false);
        x.scratch_ms += cpu_ms() - mid;
        x.live_ms += mid - t;
        x.differ += p->feasible != q->feasible || p->tier != q->tier ||
                    p->a.n_parts != q->a.n_parts || strcmp(p->a.plan_id, q->a.plan_id) != 0;
        claim(c, p);
        place_free(p);
        place_free(q);
    }
    return x;
}

static uint64_t free_bytes(const struct cluster_snapshot *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            sum += s->nodes[i].devices[k].free_bytes;
    return sum;
}

static void report(struct churn *c, const char *family, const char *mix, uint32_t n_gpus, double ms,
                   struct live_counts before, json_t *out)
{
    struct live_counts n = live_counts(c->l);
    uint32_t placed = c->placed, refused = c->refused;
    double each = ms / (placed + refused);
    struct pair x = compare(c);
    double ratio = x.live_ms > 0 ? x.scratch_ms / x.live_ms : 0;
    printf("%-10s %7u %-12s %9.0f %9.4f %9.2f %9.1f %9u %9u %9u %9llu %9llu %9llu %9u\n", family,
           n_gpus, mix, 1e3 / each, each, x.scratch_ms / x.n, ratio, c->n_claims, placed, refused,
           (unsigned long long)(n.by_gpu - before.by_gpu),
           (unsigned long long)(n.by_node - before.by_node),
           (unsigned long long)(n.full - before.full), x.differ);
    fflush(stdout);
    json_t *o = json_add_object(out);
    json_put_str(o, "family", family);
    json_put_str(o, "mix", mix);
    json_put_u64(o, "gpus", n_gpus);
    json_put_double(o, "per_s", 1e3 / each);
    json_put_double(o, "ms", each);
    json_put_double(o, "scratch_ms", x.scratch_ms / x.n);
    json_put_double(o, "ratio", ratio);
    json_put_u64(o, "compared", x.n);
    json_put_u64(o, "differ", x.differ);
    json_put_u64(o, "instances", c->n_claims);
    json_put_u64(o, "placed", placed);
    json_put_u64(o, "refused", refused);
    json_put_u64(o, "by_gpu", n.by_gpu - before.by_gpu);
    json_put_u64(o, "by_node", n.by_node - before.by_node);
    json_put_u64(o, "full", n.full - before.full);
}

static void run(const struct family *f, const struct mix *m, const struct demand *d, uint32_t n,
                uint32_t n_gpus, uint64_t seed, json_t *out)
{
    struct cluster_snapshot s;
    struct churn c = {.rng = {seed}, .claim = mem_calloc(MAX_CLAIMS, sizeof *c.claim)};
    world_make(&s, f, n_gpus, seed);
    uint64_t all = free_bytes(&s);
    c.l = live_new(&s);
    add_demands(&c, m, d, n);
    double t = cpu_ms();
    while ((double)c.held_bytes < FILL * (double)all && c.refused < 100 &&
           cpu_ms() - t < LONG_MS * 4)
        place_one(&c);
    struct live_counts before = live_counts(c.l);
    c.placed = c.refused = 0;
    t = cpu_ms();
    for (uint32_t i = 0; i < ROUNDS && c.n_claims; i++) {
        release_one(&c);
        place_one(&c);
        if (i % CHECK_EVERY == 0 && cpu_ms() - t > LONG_MS)
            break;
    }
    report(&c, f->name, m->name, n_gpus, cpu_ms() - t, before, out);
    live_free(c.l);
    snapshot_done(&s);
    free(c.claim);
}

void bench_live(const struct demand *d, uint32_t n_demands, uint32_t n_gpus, uint64_t seed,
                json_t *out)
{
    printf("\n%-10s %7s %-12s %9s %9s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n", "LIVE", "GPUS", "MIX",
           "PER S", "MS EACH", "SCRATCH", "RATIO", "RUNNING", "PLACED", "REFUSED", "BY GPU",
           "BY NODE", "FULL", "DIFFER");
    for (uint32_t i = 0; i < ARRAY_LEN(FAMILIES); i++)
        for (uint32_t k = 0; world_family(k); k++)
            for (uint32_t m = 0; m < ARRAY_LEN(MIXES); m++)
                if (strcmp(world_family(k)->name, FAMILIES[i]) == 0)
                    run(world_family(k), &MIXES[m], d, n_demands, n_gpus, seed, out);
}
