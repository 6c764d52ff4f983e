/* Every policy and every constraint against trying every plan (policy_brute.c): each preset and
 * random policies with each constraint alone and in pairs. Then what has no plan to compare with:
 * names that nobody has, figures that nobody knows, terms that do not fit together, a context that
 * is lowered, splits written by hand, plan ids. POLICY_TEST_TIMES=n: n times as many. */
#include "place/place.h"
#include "place/place_int.h"
#include "place/policy_brute.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* ---- random models, clusters and policies ---- */

static struct estimate_model *random_model(struct rng *r, uint32_t n)
{
    struct estimate_model *m = mem_calloc(1, sizeof *m);
    uint64_t size[2] = {(200 + rng_below(r, 900)) * MIB, (200 + rng_below(r, 900)) * MIB};
    bool moe = rng_below(r, 3) == 0;
    m->n_layers = m->n_blocks = n;
    m->layers = mem_calloc(n, sizeof *m->layers);
    for (uint32_t i = 0; i < n; i++) {
        struct estimate_layer *l = &m->layers[i];
        l->weights = l->read = size[rng_below(r, 2)] + rng_below(r, 3) * MIB;
        l->kv = (10 + rng_below(r, 2) * 60) * MIB;
        l->peak = l->peak_bare = (20 + rng_below(r, 2) * 30) * MIB;
        if (moe && i > 0) {
            l->experts = l->weights * 9 / 10;
            l->read = l->weights - l->experts + l->experts / 16;
            l->peak_bare /= 2;
        }
    }
    m->expert_peak = moe ? 60 * MIB : 0;
    m->head = m->head_read = m->head_host = (100 + rng_below(r, 900)) * MIB;
    m->host_embedding = 300 * MIB;
    m->mask = m->host_mask = 8 * MIB;
    m->act = 16 * MIB;
    m->file_bytes = 5000 * MIB + 1;
    m->n_embd = 4096;
    m->n_vocab = 128000;
    m->opts = (struct estimate_opts){.ctx = 4096, .n_slots = 1, .ubatch = 512};
    return m;
}

static uint64_t model_sum(const struct estimate_model *m)
{
    uint64_t sum = m->head;
    for (uint32_t i = 0; i < m->n_layers; i++)
        sum += m->layers[i].weights + m->layers[i].kv;
    return sum;
}

static void add_label(struct cluster_node *n, const char *text)
{
    n->labels = mem_realloc(n->labels, n->n_labels + 1, sizeof *n->labels);
    STR_COPY(n->labels[n->n_labels++], text);
}

static void random_node(struct rng *r, const struct estimate_model *m, struct cluster_snapshot *s)
{
    struct cluster_node *n = snapshot_add_node(s);
    uint32_t i = s->n_nodes - 1;
    snprintf(n->name, sizeof n->name, "n%u", i);
    snprintf(n->id, sizeof n->id, "id%u", i);
    n->ram_bytes = 64 * GIB;
    n->ram_free_bytes = rng_below(r, 3) ? rng_below(r, model_sum(m) * 2) : 64 * GIB;
    if (rng_below(r, 3))
        add_label(n, rng_below(r, 2) ? "rack=a" : "rack=b");
    if (i == 0 || rng_below(r, 2))
        add_label(n, "fast=yes");
    if (rng_below(r, 2)) {
        n->files = mem_calloc(1, sizeof *n->files);
        n->files[n->n_files++] = mem_strdup("/models/m.gguf");
    }
}

/* Cards of three types with prices and watts; some are partly in use, by something of ours or not.
 */
static void random_card(struct rng *r, struct cluster_node *n, uint32_t id, uint64_t share)
{
    static const struct {
        const char *name;
        double bandwidth, price;
        uint32_t tdp;
    } TYPES[] = {{"RTX 3060", 360e9, 289.99, 170},
                 {"RTX 3090", 936e9, 700, 350},
                 {"RTX 3090 Ti", 1008e9, 900.5, 450},
                 {"A100", 2039e9, 9000, 400}};
    struct cluster_device *d = node_add_device(n);
    uint32_t t = (uint32_t)rng_below(r, ARRAY_LEN(TYPES));
    snprintf(d->uuid, sizeof d->uuid, "gpu-%u", id);
    snprintf(d->name, sizeof d->name, "%s", TYPES[t].name);
    d->index = n->n_devices - 1;
    d->backend = BACKEND_FAKE;
    d->bandwidth_bytes_per_s = TYPES[t].bandwidth;
    d->hbm = t == 3;
    d->price = TYPES[t].price;
    d->tdp_w = TYPES[t].tdp;
    d->total_bytes = share / 2 + rng_below(r, share) + GIB;
    d->free_bytes = d->total_bytes - rng_below(r, 3) * 200 * MIB;
    d->claimed_bytes = rng_below(r, 4) ? 0 : 100 * MIB;
}

static void random_instance(struct rng *r, struct cluster_snapshot *s)
{
    struct cluster_instance *x = snapshot_add_instance(s);
    snprintf(x->deployment, sizeof x->deployment, "%s", rng_below(r, 2) ? "mine" : "other");
    x->main = (uint32_t)rng_below(r, s->n_nodes);
    uint32_t node = (uint32_t)rng_below(r, s->n_nodes);
    if (s->nodes[node].n_devices == 0)
        return;
    x->parts = mem_calloc(1, sizeof *x->parts);
    x->parts[x->n_parts++] = (struct cluster_instance_part){
        .node = node, .device = (uint32_t)rng_below(r, s->nodes[node].n_devices)};
}

static void random_cluster(struct rng *r, const struct estimate_model *m, uint32_t max_dev,
                           struct cluster_snapshot *s)
{
    snapshot_init(s);
    s->margin_bytes = 64 * MIB;
    s->runtime_bytes = 32 * MIB;
    uint32_t nodes = 1 + (uint32_t)rng_below(r, 3), dev = 1 + (uint32_t)rng_below(r, max_dev);
    uint64_t share = model_sum(m) / (1 + rng_below(r, dev)) + 600 * MIB;
    for (uint32_t i = 0; i < nodes; i++)
        random_node(r, m, s);
    for (uint32_t i = 0; i < dev; i++)
        random_card(r, &s->nodes[rng_below(r, nodes)], i, share);
    for (uint64_t i = rng_below(r, 4); i > 0; i--)
        random_instance(r, s);
    *snapshot_add_link(s) = (struct cluster_link){.all = true, .bytes_per_s = 125e6, .rtt_s = 2e-4};
    if (nodes > 1 && rng_below(r, 3) == 0)
        *snapshot_add_link(s) = (struct cluster_link){
            .a = 0, .b = 1, .bytes_per_s = rng_below(r, 2) ? 3e9 : 2e7, .rtt_s = 1e-4};
}

static void random_policy(struct rng *r, struct policy *p)
{
    *p = (struct policy){.name = "random", .weighted = rng_below(r, 2)};
    p->n_terms = 1 + (uint32_t)rng_below(r, 6);
    bool used[TERM_COUNT] = {0};
    for (uint32_t i = 0; i < p->n_terms; i++) {
        uint32_t t;
        do
            t = (uint32_t)rng_below(r, TERM_COUNT);
        while (used[t]);
        used[t] = true;
        p->terms[i].term = t;
        p->terms[i].weight = (double)(1 + rng_below(r, 1000)) / 100;
    }
    p->streams = 1u << rng_below(r, 6);
    if (rng_below(r, 2))
        STR_COPY(p->domain, "rack");
}

/* ---- constraints, one at a time ---- */

struct draw {
    struct rng *r;
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    struct constraints *w;
};

static void put(struct name_list *l, const char *name)
{
    STR_COPY(l->items[l->n++], name);
}

static const struct cluster_node *any_node(const struct draw *d)
{
    return &d->s->nodes[rng_below(d->r, d->s->n_nodes)];
}

/* Some GPU as node:index or by its uuid. */
static void put_gpu(const struct draw *d, struct name_list *l)
{
    const struct cluster_node *n = any_node(d);
    while (n->n_devices == 0)
        n = any_node(d);
    const struct cluster_device *x = &n->devices[rng_below(d->r, n->n_devices)];
    mem_auto char *name = mem_printf("%s:%u", n->name, x->index);
    put(l, rng_below(d->r, 2) ? name : x->uuid);
}

static const char *any_type(const struct draw *d)
{
    const struct cluster_node *n = any_node(d);
    while (n->n_devices == 0)
        n = any_node(d);
    return n->devices[rng_below(d->r, n->n_devices)].name;
}

static void want_nodes(const struct draw *d)
{
    put(&d->w->nodes, any_node(d)->name);
    put(&d->w->nodes, any_node(d)->id);
}
static void want_exclude(const struct draw *d)
{
    put(&d->w->exclude_nodes, any_node(d)->name);
}
static void want_gpus(const struct draw *d)
{
    put_gpu(d, &d->w->gpus);
    put_gpu(d, &d->w->gpus);
}
static void want_types(const struct draw *d)
{
    char lower[CONSTRAINT_NAME];
    STR_COPY(lower, any_type(d));
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    put(&d->w->gpu_types, lower);
}
static void want_labels(const struct draw *d)
{
    put(&d->w->labels, "fast=yes");
}
static void want_apart(const struct draw *d)
{
    put(&d->w->anti_affinity, rng_below(d->r, 2) ? "mine" : "other");
}
static void want_whole_node(const struct draw *d)
{
    put(&d->w->keep_whole, any_node(d)->name);
}
static void want_whole_gpu(const struct draw *d)
{
    if (rng_below(d->r, 2))
        put(&d->w->keep_whole, any_type(d));
    else
        put_gpu(d, &d->w->keep_whole);
}
static void want_number(const struct draw *d)
{
    d->w->gpus_per_replica = 1 + (uint32_t)rng_below(d->r, 3);
}
static void want_max_nodes(const struct draw *d)
{
    d->w->max_nodes = 1 + (uint32_t)rng_below(d->r, 2);
}
static void want_max_gpus(const struct draw *d)
{
    d->w->max_gpus = 1 + (uint32_t)rng_below(d->r, 2);
}
static void want_speed(const struct draw *d)
{
    d->w->min_tok_s = 20 + (double)rng_below(d->r, 300);
}
static void want_no_ram(const struct draw *d)
{
    d->w->no_ram = true;
}
static void want_no_network(const struct draw *d)
{
    d->w->no_network = true;
}
/* A split over up to three different GPUs, written by hand. */
static void want_split(const struct draw *d)
{
    uint32_t left = d->m->n_layers;
    d->w->gpus.n = 0;
    for (uint32_t i = 0; i < d->s->n_nodes && left; i++)
        for (uint32_t k = 0; k < d->s->nodes[i].n_devices && left && d->w->n_split < 3; k++) {
            if (rng_below(d->r, 3) == 0)
                continue;
            put(&d->w->gpus, d->s->nodes[i].devices[k].uuid);
            d->w->split[d->w->n_split] = 1 + (uint32_t)rng_below(d->r, left);
            left -= d->w->split[d->w->n_split++];
        }
    if (d->w->n_split)
        d->w->split[d->w->n_split - 1] += left;
    else
        want_no_ram(d);
}

static const struct {
    const char *name;
    void (*set)(const struct draw *d);
} WANTS[] = {{"nothing", NULL},
             {"nodes", want_nodes},
             {"exclude_nodes", want_exclude},
             {"gpus", want_gpus},
             {"gpu_types", want_types},
             {"labels", want_labels},
             {"anti_affinity", want_apart},
             {"keep_whole node", want_whole_node},
             {"keep_whole gpu", want_whole_gpu},
             {"gpus_per_replica", want_number},
             {"max_nodes", want_max_nodes},
             {"max_gpus", want_max_gpus},
             {"min_tok_s", want_speed},
             {"no_ram", want_no_ram},
             {"no_network", want_no_network},
             {"tensor_split", want_split}};
enum { N_WANTS = ARRAY_LEN(WANTS), N_POLICIES = 12 }; /* six presets, six random ones */

/* ---- against every plan ---- */

struct tally {
    uint32_t cases, feasible, proved, refused, streaming, weighted, open;
    uint32_t by_tier[TIER_NONE + 1];
};

static bool uses_remote_ram(const struct place_plan *p)
{
    for (uint32_t i = 0; i < p->a.n_parts; i++)
        if (!p->a.parts[i].uuid[0])
            return true;
    return false;
}

/* The search adds up rounded times, of which a plan has some ten. */
static bool same_time(const struct place_plan *p, int64_t a, int64_t b)
{
    return llabs(a - b) <= 16 * (int64_t)p->time_step_ns;
}

static char *policy_text(const struct policy *p)
{
    json_auto_t *j = policy_to_json(p);
    return json_text(j);
}

/* The plan is as good as the best by the policy. */
static void check_best(const struct every *e, const struct place_plan *p, const char *what)
{
    enum policy_term terms[EVERY_TERMS];
    int64_t f[EVERY_TERMS];
    every_figures(e, &p->a, f);
    if (e->policy.weighted) {
        double sum = every_sum(e, f);
        if (fabs(p->sum - sum) > 1e-4 + 1e-6 * sum || sum > e->sum * 1.001) {
            mem_auto char *policy = policy_text(&e->policy);
            fail_msg("%s: sum %.9g, told %.9g, best %.9g; %s; least speed %.9g", what, sum, p->sum,
                     e->sum, policy, e->spec->want.min_tok_s);
        }
        return;
    }
    uint32_t n = every_terms(e, terms);
    for (uint32_t i = 0; i < n; i++) {
        enum policy_term t = terms[i];
        bool time = t == TERM_TOKEN_TIME || t == TERM_STREAM_TIME;
        if (f[t] == e->best[t])
            continue;
        if (time && same_time(p, f[t], e->best[t]))
            return; /* what follows may go either way */
        mem_auto char *policy = policy_text(&e->policy);
        fail_msg("%s: %s is %lld, best %lld; %s", what, policy_term_name(t), (long long)f[t],
                 (long long)e->best[t], policy);
    }
}

/* What the plan tells of itself is so. */
static void check_told(const struct every *e, const struct place_plan *p, const char *what)
{
    int64_t f[EVERY_TERMS];
    every_figures(e, &p->a, f);
    for (uint32_t i = 0; i < p->n_terms; i++) {
        const struct place_term *x = &p->terms[i];
        bool time = x->term == TERM_TOKEN_TIME || x->term == TERM_STREAM_TIME;
        double unit = time ? 1e6 : x->term == TERM_PRICE ? 100 : 1;
        double is = (double)f[x->term] / unit;
        if (fabs(x->amount - is) > (time ? 1e-4 + 1e-7 * is : 1e-9))
            fail_msg("%s: %s told as %.9g, is %.9g", what, policy_term_name(x->term), x->amount,
                     is);
        if (x->bound > x->amount || (x->proved && x->bound < x->amount))
            fail_msg("%s: bound of %s", what, policy_term_name(x->term));
    }
}

/* Where links differ, which remote device comes first matters a little, and the search may leave it
 * open; so it may with what is within a few steps of the least speed, where times are compared in
 * coarse steps. What it says then must hold: bounds are below the best. */
static void check_open(const struct every *e, const struct place_plan *p, const char *what)
{
    bool coarse = e->spec->want.min_tok_s > 0 && p->time_step_ns > 1;
    if (!coarse && e->s->n_links < 2)
        fail_msg("%s: not proved, gap %g", what, p->gap_percent);
    if (p->weighted && p->bound_sum > e->sum * 1.001)
        fail_msg("%s: bound %.9g, best %.9g", what, p->bound_sum, e->sum);
    for (uint32_t i = 0; i < p->n_terms && !p->weighted; i++) {
        const struct place_term *x = &p->terms[i];
        bool time = x->term == TERM_TOKEN_TIME || x->term == TERM_STREAM_TIME;
        double unit = time ? 1e6 : x->term == TERM_PRICE ? 100 : 1;
        double best = (double)e->best[x->term] / unit;
        if (x->bound > best + (time ? 1e-4 : 0))
            fail_msg("%s: bound of %s is %.9g, best %.9g", what, policy_term_name(x->term),
                     x->bound, best);
        if (!x->proved)
            break;
    }
}

static void check(const struct every *e, const struct place_plan *p, const char *what,
                  struct tally *n)
{
    struct err err = {0};
    n->cases++;
    n->proved += p->optimal;
    n->feasible += p->feasible;
    n->by_tier[p->tier]++;
    if (p->feasible && place_validate_model(e->s, e->spec, e->m, &p->a, &err))
        fail_msg("%s: %s", what, err.msg);
    if (p->feasible && uses_remote_ram(p)) {
        if (e->with_gpus || (e->feasible && p->tier == TIER_CPU))
            fail_msg("%s: RAM of other nodes, but something else fits", what);
        return;
    }
    if (p->feasible != e->feasible)
        fail_msg("%s: %s, of %llu plans", what, p->feasible ? "fits" : "refused",
                 (unsigned long long)e->plans);
    if (!p->feasible) {
        n->refused++;
        if (!p->optimal)
            fail_msg("%s: a refusal that is not proved", what);
        if (p->summary.code == NOTE_NONE || !p->refused.n)
            fail_msg("%s: a refusal without reasons", what);
        return;
    }
    check_told(e, p, what);
    n->open += !p->optimal;
    (p->optimal ? check_best : check_open)(e, p, what);
}

static void one_case(struct rng *r, uint32_t policy, uint32_t a, uint32_t b, struct tally *n)
{
    struct cluster_snapshot s;
    struct err err = {0};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct estimate_model *m = random_model(r, 2 + (uint32_t)rng_below(r, 4));
    random_cluster(r, m, 4, &s);
    STR_COPY(spec->name, "mine");
    STR_COPY(spec->model, "/models/m.gguf");
    if (policy < 6)
        assert_int_equal(policy_preset(&spec->policy, policy_preset_name(policy), &err), 0);
    else
        random_policy(r, &spec->policy);
    struct draw d = {r, &s, m, &spec->want};
    if (WANTS[a].set)
        WANTS[a].set(&d);
    if (WANTS[b].set && b != a)
        WANTS[b].set(&d);
    mem_auto char *what = mem_printf("case %u, policy %u %s, %s, %s", n->cases, policy,
                                     spec->policy.name, WANTS[a].name, WANTS[b].name);
    struct every e = {.s = &s, .m = m, .spec = spec, .policy = spec->policy};
    every_plan(&e);
    struct place_budget budget = {.no_changes = true};
    struct place_plan *p = place_model(&s, spec, m, &budget, &err);
    if (!p)
        fail_msg("%s: %s", what, err.msg);
    check(&e, p, what, n);
    n->weighted += spec->policy.weighted;
    for (uint32_t i = 0; i < spec->policy.n_terms; i++)
        n->streaming += spec->policy.terms[i].term == TERM_STREAM_TIME;
    place_free(p);
    snapshot_done(&s);
    estimate_free(m);
}

static void test_against_all(void **state)
{
    struct rng r = {23};
    struct tally n = {0};
    const char *times = getenv("POLICY_TEST_TIMES");
    for (uint32_t i = 0; i < (times ? (uint32_t)strtoul(times, NULL, 10) : 1); i++)
        for (uint32_t policy = 0; policy < N_POLICIES; policy++)
            for (uint32_t a = 0; a < N_WANTS; a++)
                for (uint32_t b = a; b < N_WANTS; b++)
                    one_case(&r, policy, a, b, &n);
    print_message("%u cases: %u fit, %u refused, %u proved, %u left open by links that differ; %u "
                  "with streams, %u weighted; by tier %u %u %u %u %u\n",
                  n.cases, n.feasible, n.refused, n.proved, n.open, n.streaming, n.weighted,
                  n.by_tier[0], n.by_tier[1], n.by_tier[2], n.by_tier[3], n.by_tier[4]);
    assert_true(n.open <= n.cases / 100);
    for (uint32_t i = 0; i <= TIER_NONE; i++)
        assert_true(n.by_tier[i] > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
