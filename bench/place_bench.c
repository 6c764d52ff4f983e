/* Plan times of place/ by cluster size, beside an enumerator of GPU subsets as a classic scheduler
 * has it (proportional split, with and without its caps), in one run on the same demands.
 *
 * usage: place_bench [DIR of model headers]     run it on a quiet machine; figures are medians */
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"
#include "os/file.h"
#include "place/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 5, ENUM_LIMIT_MS = 2000, CAP_GPUS = 16, CAP_SET = 8 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- clusters ---- */

static const struct card {
    const char *name;
    uint64_t gib;
    double bandwidth;
    bool hbm;
} CARDS[] = {{"RTX 3060", 12, 360e9, false}, {"RTX 3090", 24, 936e9, false},
             {"A40", 48, 696e9, false},      {"A100", 80, 2039e9, true},
             {"RTX 4080", 16, 717e9, false}, {"T4", 16, 320e9, false}};

enum family { UNIFORM, KINDS, LIVE, SINGLES, FAMILIES };
static const char *const FAMILY_NAMES[] = {"one kind", "six kinds", "six kinds, in use",
                                           "one per node"};

/* n GPUs in nodes of eight (or one): equal ones; a kind per node; the same with random parts in
 * use. */
static void make_cluster(struct cluster_snapshot *s, uint32_t n, enum family f, uint64_t seed)
{
    struct rng r = {seed};
    uint32_t per = f == SINGLES ? 1 : 8;
    snapshot_init(s);
    for (uint32_t i = 0; i < n; i += per) {
        struct cluster_node *node = snapshot_add_node(s);
        const struct card *c = &CARDS[f == UNIFORM ? 1 : rng_below(&r, ARRAY_LEN(CARDS))];
        snprintf(node->name, sizeof node->name, "node%05u", i / per);
        snprintf(node->id, sizeof node->id, "node%05u", i / per);
        node->ram_bytes = node->ram_free_bytes = 256 * GIB;
        for (uint32_t k = 0; k < per && i + k < n; k++) {
            struct cluster_device *d = node_add_device(node);
            snprintf(d->uuid, sizeof d->uuid, "gpu-%05u", i + k);
            snprintf(d->name, sizeof d->name, "%s", c->name);
            d->index = k;
            d->total_bytes = d->free_bytes = c->gib * GIB - 400 * MIB;
            d->bandwidth_bytes_per_s = c->bandwidth;
            d->hbm = c->hbm;
            if (f == LIVE || f == SINGLES)
                d->free_bytes -= rng_below(&r, d->free_bytes / 2);
        }
    }
    s->links = mem_calloc(1, sizeof *s->links);
    s->links[s->n_links++] =
        (struct cluster_link){.all = true, .bytes_per_s = 1.25e9, .rtt_s = 1e-4};
}

/* ---- the enumerator ---- */

struct enumerator {
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    const struct cluster_device *dev[4096];
    uint32_t n, max_set, pick[64];
    uint64_t tried;
    double deadline;
    bool found, late;
};

static void try_set(struct enumerator *e, uint32_t g)
{
    double shares[64];
    uint32_t counts[64] = {0};
    struct estimate_bytes b[64], host;
    mem_auto int *where = mem_calloc(e->m->n_blocks + 2, sizeof *where);
    for (uint32_t i = 0; i < g; i++)
        shares[i] = (double)e->dev[e->pick[i]]->free_bytes;
    estimate_engine_layers(e->m->n_blocks, g, shares, -1, where);
    for (uint32_t l = 0; l < e->m->n_layers; l++)
        counts[where[l]]++;
    struct estimate_split split = {.n_devices = g, .counts = counts};
    estimate_split_bytes(e->m, &split, b, &host);
    e->tried++;
    for (uint32_t i = 0; i < g; i++)
        if (b[i].weights + b[i].kv + b[i].compute + e->s->runtime_bytes + e->s->margin_bytes >
            e->dev[e->pick[i]]->free_bytes)
            return;
    e->found = true;
}

static void subsets(struct enumerator *e, uint32_t from, uint32_t g, uint32_t want)
{
    if (e->found || e->late)
        return;
    if (g == want) {
        try_set(e, g);
        e->late = (e->tried & 255) == 0 && now_ms() > e->deadline;
        return;
    }
    for (uint32_t i = from; i + (want - g) <= e->n; i++) {
        e->pick[g] = i;
        subsets(e, i + 1, g + 1, want);
    }
}

static void enumerate(const struct cluster_snapshot *s, const struct estimate_model *m, bool caps,
                      char *text, size_t cap)
{
    struct enumerator *e = mem_calloc(1, sizeof *e);
    e->s = s;
    e->m = m;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices && e->n < ARRAY_LEN(e->dev); k++)
            e->dev[e->n++] = &s->nodes[i].devices[k];
    e->max_set = caps ? CAP_SET : 15;
    double t = now_ms();
    e->deadline = t + ENUM_LIMIT_MS;
    if (caps && e->n > CAP_GPUS) {
        snprintf(text, cap, "gives up (%u > %d)", e->n, CAP_GPUS);
    } else {
        for (uint32_t g = 1; g <= e->max_set && g <= e->n; g++)
            subsets(e, 0, 0, g);
        t = now_ms() - t;
        if (e->late)
            snprintf(text, cap, "> %d ms, %llu sets", ENUM_LIMIT_MS, (unsigned long long)e->tried);
        else
            snprintf(text, cap, "%.2f ms, %s", t, e->found ? "fits" : "no answer");
    }
    free(e);
}

/* ---- runs ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct demand {
    const char *name;
    struct arch_facts *f;
    struct estimate_opts opts;
};

static void one(const struct cluster_snapshot *s, const char *what, const struct demand *d,
                bool base)
{
    static struct deployment_spec spec;
    struct place_demand pd = {.facts = d->f, .opts = d->opts, .spec = &spec};
    struct place_budget budget = {.no_changes = true};
    double ms[RUNS];
    char plan[64] = "", caps[64] = "-", all[64] = "-";
    for (uint32_t i = 0; i < RUNS; i++) {
        struct err err = {0};
        double t = now_ms();
        struct place_plan *p = place_plan(s, &pd, &budget, &err);
        ms[i] = now_ms() - t;
        if (!p) {
            snprintf(plan, sizeof plan, "%.60s", err.msg);
            continue;
        }
        char gap[24] = "";
        if (!p->optimal)
            snprintf(gap, sizeof gap, ", gap %.1f %%", p->gap_percent);
        snprintf(plan, sizeof plan, "%s %u%s", place_tier_name(p->tier), p->a.n_parts, gap);
        place_free(p);
    }
    qsort(ms, RUNS, sizeof *ms, by_value);
    if (base) {
        struct estimate_model *m = estimate_new(d->f, &d->opts, NULL);
        enumerate(s, m, true, caps, sizeof caps);
        enumerate(s, m, false, all, sizeof all);
        estimate_free(m);
    }
    printf("%-30s %-18s %8.3f %8.3f  %-28s %-22s %s\n", what, d->name, ms[RUNS / 2], ms[RUNS - 1],
           plan, caps, all);
    fflush(stdout);
}

static bool load(const char *dir, const char *file, const char *name, uint32_t ctx,
                 struct demand *d)
{
    struct err err = {0};
    mem_auto char *path = mem_printf("%s/%s.ggufh", dir, file);
    *d = (struct demand){.name = name, .f = model_facts(path, NULL, &err)};
    d->opts = (struct estimate_opts){.ctx = ctx, .n_slots = 1, .ubatch = 512};
    if (!d->f)
        fprintf(stderr, "place_bench: %s\n", err.msg);
    return d->f != NULL;
}

static void reference(const char *dir, struct demand *d, uint32_t n)
{
    mem_auto char *path = mem_printf("%s/../clusters/cluster-mixed.yaml", dir), *text = NULL;
    struct cluster_snapshot s;
    struct err err = {0};
    size_t len;
    snapshot_init(&s);
    json_auto_t *doc =
        file_read(path, 1 << 20, &text, &len, &err) ? NULL : json_parse_yaml(text, len, &err);
    if (!doc || snapshot_from_json(&s, doc, &err)) {
        fprintf(stderr, "place_bench: %s\n", err.msg);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        one(&s, "46 the mixed cluster", &d[i], true);
    snapshot_done(&s);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "tests/data/models";
    struct demand d[4];
    if (!load(dir, "llama-3.1-8b-q4_k_m", "8B", 8192, &d[0]) ||
        !load(dir, "llama-3.3-70b-q4_k_m", "70B", 32768, &d[1]) ||
        !load(dir, "deepseek-r1-ud-iq2_xxs-mla", "R1 IQ2_XXS", 8192, &d[2]) ||
        !load(dir, "deepseek-r1-q4_k_m-mla", "R1 Q4_K_M", 8192, &d[3]))
        return 1;
    printf("%-30s %-18s %8s %8s  %-28s %-22s %s\n", "GPUS", "MODEL", "MEDIAN", "WORST", "PLAN",
           "SUBSETS, CAPPED", "SUBSETS, NO CAP");
    reference(dir, d, 4);
    static const uint32_t SIZES[] = {16, 64, 1000, 10000};
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++)
        for (int f = 0; f < FAMILIES; f++) {
            struct cluster_snapshot s;
            char what[64];
            make_cluster(&s, SIZES[i], (enum family)f, 1);
            snprintf(what, sizeof what, "%u %s", SIZES[i], FAMILY_NAMES[f]);
            for (uint32_t k = 0; k < 4; k++)
                one(&s, what, &d[k], SIZES[i] <= 64 && k > 0);
            snapshot_done(&s);
        }
    for (uint32_t i = 0; i < 4; i++)
        arch_free(d[i].f);
    return 0;
}
