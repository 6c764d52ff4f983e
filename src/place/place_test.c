/* Whole plans: against an exhaustive search that knows only estimate/, on the reference clusters,
 * and refused. Every answer goes through the independent validator. */
#include "place/place.h"
#include "place/place_int.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"
#include "os/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct place_budget BRIEF = {.no_changes = true};

/* ---- random models and clusters ---- */

static struct estimate_model *random_model(struct rng *r, uint32_t n)
{
    struct estimate_model *m = mem_calloc(1, sizeof *m);
    uint64_t size[2] = {(200 + rng_below(r, 900)) * MIB, (200 + rng_below(r, 900)) * MIB};
    bool moe = rng_below(r, 3) == 0;
    uint32_t dense = (uint32_t)rng_below(r, 3);
    m->n_layers = m->n_blocks = n;
    m->layers = mem_calloc(n, sizeof *m->layers);
    for (uint32_t i = 0; i < n; i++) {
        struct estimate_layer *l = &m->layers[i];
        l->weights = l->read = size[rng_below(r, 2)] + rng_below(r, 3) * MIB;
        l->kv = (10 + rng_below(r, 2) * 60) * MIB;
        l->peak = l->peak_bare = (20 + rng_below(r, 2) * 30) * MIB;
        if (moe && i >= dense) {
            l->experts = l->weights * 9 / 10;
            l->read = l->weights - l->experts + l->experts / 16;
            l->peak_bare /= 2;
        }
    }
    m->expert_peak = moe ? 60 * MIB : 0;
    m->head = m->head_read = m->head_host = (100 + rng_below(r, 900)) * MIB;
    m->host_embedding = 300 * MIB;
    m->shared = rng_below(r, 2) * MIB;
    m->mask = m->host_mask = 8 * MIB;
    m->act = 16 * MIB;
    m->big = moe ? 16 * MIB : 0;
    m->first_extra = rng_below(r, 2) * 32 * MIB;
    m->recurrent_only = rng_below(r, 8) == 0;
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

static void random_cluster(struct rng *r, const struct estimate_model *m, uint32_t max_dev,
                           struct cluster_snapshot *s)
{
    static const double SPEED[] = {360e9, 936e9, 2039e9, 0};
    snapshot_init(s);
    s->margin_bytes = 64 * MIB;
    s->runtime_bytes = 32 * MIB;
    uint32_t nodes = 1 + (uint32_t)rng_below(r, 3), dev = 1 + (uint32_t)rng_below(r, max_dev);
    bool tiny = rng_below(r, 16) == 0; /* no card holds anything */
    uint64_t share = model_sum(m) / (1 + rng_below(r, dev)) + 600 * MIB;
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = snapshot_add_node(s);
        snprintf(n->name, sizeof n->name, "n%u", i);
        snprintf(n->id, sizeof n->id, "id%u", i);
        n->ram_bytes = 64 * GIB;
        n->ram_free_bytes = rng_below(r, 3) ? rng_below(r, model_sum(m) * 2) : 64 * GIB;
    }
    for (uint32_t i = 0; i < dev; i++) {
        struct cluster_node *n = &s->nodes[rng_below(r, nodes)];
        struct cluster_device *d = node_add_device(n);
        uint32_t kind = (uint32_t)rng_below(r, 4);
        snprintf(d->uuid, sizeof d->uuid, "gpu-%u", i);
        snprintf(d->name, sizeof d->name, "card %u", kind);
        d->index = n->n_devices - 1;
        d->backend = BACKEND_FAKE;
        d->bandwidth_bytes_per_s = SPEED[kind];
        d->hbm = kind == 2;
        d->total_bytes = d->free_bytes = share / 2 + rng_below(r, share);
        if (tiny)
            d->free_bytes = 100 * MIB;
    }
    s->links = mem_calloc(1, sizeof *s->links);
    s->links[0] = (struct cluster_link){.all = true, .bytes_per_s = 125e6, .rtt_s = 2e-4};
    s->n_links = 1;
}

/* ---- the exhaustive search ---- */

struct flat {
    uint32_t node, dev;
};

struct trial {
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    const struct deployment_spec *spec;
    struct flat dev[8];
    uint32_t n_dev, main, n_cpu, n_moe;
    uint32_t order[8], counts[8];
    bool feasible;
    enum place_tier tier;
    uint32_t k, g;
    double seconds;
};

static bool bytes_fit(const struct trial *t, uint32_t g)
{
    struct estimate_bytes b[8], host;
    struct estimate_split split = {
        .n_devices = g, .counts = t->counts, .n_cpu_layers = t->n_cpu, .n_cpu_moe = t->n_moe};
    estimate_split_bytes(t->m, &split, b, &host);
    for (uint32_t i = 0; i < g; i++) {
        const struct flat *d = &t->dev[t->order[i]];
        if (b[i].weights + b[i].kv + b[i].compute + t->s->runtime_bytes + t->s->margin_bytes >
            t->s->nodes[d->node].devices[d->dev].free_bytes)
            return false;
    }
    return host.weights + host.kv + host.compute <= t->s->nodes[t->main].ram_free_bytes;
}

static double seconds_of(const struct trial *t, uint32_t g)
{
    struct estimate_device_speed v[8];
    struct estimate_split split = {
        .n_devices = g, .counts = t->counts, .n_cpu_layers = t->n_cpu, .n_cpu_moe = t->n_moe};
    for (uint32_t i = 0; i < g; i++) {
        const struct flat *d = &t->dev[t->order[i]];
        const struct cluster_device *x = &t->s->nodes[d->node].devices[d->dev];
        bool remote = d->node != t->main;
        v[i] = (struct estimate_device_speed){.bandwidth_bytes_per_s = x->bandwidth_bytes_per_s,
                                              .hbm = x->hbm,
                                              .remote = remote,
                                              .net_bytes_per_s = remote ? 125e6 : 0,
                                              .net_rtt_s = remote ? 2e-4 : 0};
    }
    return estimate_token_seconds(t->m, &split, v, NULL);
}

static void offer(struct trial *t, uint32_t g)
{
    uint32_t nodes = 1u << t->main;
    for (uint32_t i = 0; i < g; i++)
        nodes |= 1u << t->dev[t->order[i]].node;
    uint32_t k = (uint32_t)__builtin_popcount(nodes);
    bool ram = t->n_cpu || t->n_moe;
    enum place_tier tier = !g      ? TIER_CPU
                           : ram   ? TIER_RAM
                           : k > 1 ? TIER_NODES
                           : g > 1 ? TIER_ONE_NODE
                                   : TIER_ONE_GPU;
    if (t->spec->want.max_gpus && g > t->spec->want.max_gpus)
        return;
    if (t->feasible && (tier > t->tier || (tier == t->tier && k > t->k) ||
                        (tier == t->tier && k == t->k && !ram && g > t->g)))
        return;
    if (!bytes_fit(t, g))
        return;
    double sec = seconds_of(t, g);
    bool same = t->feasible && tier == t->tier && k == t->k && (ram || g == t->g);
    if (same && sec >= t->seconds)
        return;
    t->feasible = true;
    t->tier = tier;
    t->k = k;
    t->g = g;
    t->seconds = sec;
}

static void extend(struct trial *t, uint32_t mask, uint32_t g, uint32_t at)
{
    uint32_t n = t->m->n_layers;
    if (at == n)
        offer(t, g);
    for (uint32_t i = 0; i < t->n_dev && at < n; i++) {
        if (mask >> i & 1)
            continue;
        t->order[g] = i;
        for (uint32_t e = at + 1; e <= n; e++) {
            t->counts[g] = e - at;
            extend(t, mask | 1u << i, g + 1, e);
        }
    }
}

/* Every main node, every order, every split, every number of layers or blocks of experts in RAM. */
static void exhaust(struct trial *t)
{
    uint32_t n = t->m->n_layers;
    for (uint32_t i = 0; i < t->s->n_nodes; i++)
        for (uint32_t d = 0; d < t->s->nodes[i].n_devices; d++)
            t->dev[t->n_dev++] = (struct flat){i, d};
    for (t->main = 0; t->main < t->s->n_nodes; t->main++) {
        for (t->n_cpu = 0; t->n_cpu <= (t->spec->want.no_ram ? 0 : n); t->n_cpu++)
            extend(t, 0, 0, t->n_cpu);
        t->n_cpu = 0;
        for (t->n_moe = 1; t->n_moe <= (t->spec->want.no_ram ? 0 : n); t->n_moe++)
            if (t->m->layers[t->n_moe - 1].experts)
                extend(t, 0, 0, 0);
        t->n_moe = 0;
    }
}

static void check_valid(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                        const struct estimate_model *m, const struct place_plan *p)
{
    struct err err = {0};
    if (p->feasible && place_validate_model(s, spec, m, &p->a, &err))
        fail_msg("validator: %s", err.msg);
}

/* RAM of other nodes takes part only where nothing else fits; the exhaustive search leaves it out.
 */
static bool uses_remote_ram(const struct place_plan *p)
{
    for (uint32_t i = 0; i < p->a.n_parts; i++)
        if (!p->a.parts[i].uuid[0])
            return true;
    return false;
}

static uint32_t gpus_of(const struct place_plan *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->a.n_parts; i++)
        n += p->a.parts[i].uuid[0] != 0;
    return n;
}

static uint32_t nodes_of(const struct place_plan *p)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < p->a.n_parts; i++) {
        bool seen = strcmp(p->a.parts[i].node_id, p->a.main_id) == 0;
        for (uint32_t k = 0; k < i; k++)
            seen = seen || strcmp(p->a.parts[k].node_id, p->a.parts[i].node_id) == 0;
        n += !seen;
    }
    return n;
}

static void test_exhaustive(void **state)
{
    struct rng r = {7};
    uint32_t by_tier[TIER_NONE + 1] = {0};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    for (uint32_t i = 0; i < 2500; i++) {
        struct estimate_model *m = random_model(&r, 3 + (uint32_t)rng_below(&r, 4));
        struct cluster_snapshot s;
        struct err err = {0};
        random_cluster(&r, m, 4, &s);
        spec->want.no_ram = rng_below(&r, 4) == 0;
        spec->want.max_gpus = rng_below(&r, 4) == 0 ? 1 + (uint32_t)rng_below(&r, 3) : 0;
        struct trial t = {.s = &s, .m = m, .spec = spec};
        exhaust(&t);
        struct place_plan *p = place_model(&s, spec, m, &BRIEF, &err);
        if (!p)
            fail_msg("case %u: %s", i, err.msg);
        check_valid(&s, spec, m, p);
        assert_true(p->optimal);
        if (!uses_remote_ram(p)) {
            double sec = p->a.tok_s > 0 ? 1 / p->a.tok_s : 0;
            if (p->feasible != t.feasible ||
                (t.feasible && (p->tier != t.tier || nodes_of(p) != t.k ||
                                (t.tier < TIER_RAM && gpus_of(p) != t.g) ||
                                fabs(sec - t.seconds) > 1e-7 * t.seconds)))
                fail_msg("case %u: %s %u nodes %u gpus %.9f; want %s %u %u %.9f", i,
                         place_tier_name(p->tier), nodes_of(p), gpus_of(p), sec,
                         place_tier_name(t.feasible ? t.tier : TIER_NONE), t.k, t.g, t.seconds);
        }
        by_tier[p->tier]++;
        place_free(p);
        snapshot_done(&s);
        estimate_free(m);
    }
    for (uint32_t i = 0; i <= TIER_NONE; i++)
        if (by_tier[i] <= 20)
            fail_msg("tier %u met %u times", i, by_tier[i]);
}

/* ---- reference clusters and models ---- */

static char *data_path(const char *folder, const char *name, const char *ext)
{
    const char *root = getenv("STOWAGE_SOURCE");
    return mem_printf("%s/%s/%s.%s", root ? root : "..", folder, name, ext);
}

static void read_cluster(const char *name, struct cluster_snapshot *s)
{
    mem_auto char *path = data_path("examples", name, "yaml"), *text = NULL;
    size_t n;
    struct err err = {0};
    snapshot_init(s);
    if (file_read(path, 1 << 20, &text, &n, &err))
        fail_msg("%s", err.msg);
    struct doc d;
    if (doc_parse(&d, path, text, n, &err) || snapshot_from_doc(s, &d, &err))
        fail_msg("%s", err.msg);
    doc_done(&d);
}

static const struct golden {
    const char *cluster, *model, *kv;
    uint32_t ctx;
    const char *summary; /* tier, nodes, GPUs, main */
} GOLDEN[] = {
#include "place/golden.inc"
};

static void test_reference(void **state)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    const char *write = getenv("PLACE_GOLDEN"); /* prints the table instead of checking it */
    for (size_t i = 0; i < ARRAY_LEN(GOLDEN); i++) {
        const struct golden *g = &GOLDEN[i];
        struct cluster_snapshot s;
        struct err err = {0};
        mem_auto char *path = data_path("tests/data/models", g->model, "ggufh");
        read_cluster(g->cluster, &s);
        struct arch_facts *f = model_facts(path, NULL, &err);
        if (!f)
            fail_msg("%s", err.msg);
        struct place_demand d = {.facts = f, .spec = spec};
        d.opts = (struct estimate_opts){.ctx = g->ctx, .n_slots = 1, .ubatch = 512};
        assert_int_equal(kv_type_parse(g->kv, &d.opts.kv_k, &err), 0);
        d.opts.kv_v = d.opts.kv_k;
        struct place_budget b = {.no_changes = true};
        struct place_plan *p = place_plan(&s, &d, &b, &err);
        if (!p)
            fail_msg("%s: %s", g->model, err.msg);
        if (p->feasible && place_validate(&s, &d, &p->a, &err))
            fail_msg("%s on %s: %s", g->model, g->cluster, err.msg);
        char got[160];
        snprintf(got, sizeof got, "%s, %u nodes, %u gpus, main %s%s", place_tier_name(p->tier),
                 p->feasible ? nodes_of(p) : 0, gpus_of(p),
                 p->a.main_node[0] ? p->a.main_node : "-", p->optimal ? "" : ", not proved");
        if (write)
            printf("    {\"%s\", \"%s\", \"%s\", %u, \"%s\"},\n", g->cluster, g->model, g->kv,
                   g->ctx, got);
        else if (strcmp(got, g->summary) != 0)
            fail_msg("%s at %u on %s: %s; want %s", g->model, g->ctx, g->cluster, got, g->summary);
        place_free(p);
        arch_free(f);
        snapshot_done(&s);
    }
}

/* ---- refusals, constraints, changes ---- */

struct scenario {
    struct cluster_snapshot s;
    struct arch_facts *f;
    struct deployment_spec *spec;
    struct place_demand d;
};

static void scenario_init(struct scenario *x, const char *model, uint32_t ctx)
{
    struct err err = {0};
    mem_auto char *path = data_path("tests/data/models", model, "ggufh");
    read_cluster("cluster-small-gpus", &x->s);
    x->f = model_facts(path, NULL, &err);
    if (!x->f)
        fail_msg("%s", err.msg);
    x->spec = mem_calloc(1, sizeof *x->spec);
    x->d = (struct place_demand){.facts = x->f, .spec = x->spec};
    x->d.opts = (struct estimate_opts){.ctx = ctx, .n_slots = 1, .ubatch = 512};
}

static void scenario_done(struct scenario *x)
{
    arch_free(x->f);
    free(x->spec);
    snapshot_done(&x->s);
}

static void put_name(struct name_list *l, const char *name)
{
    snprintf(l->items[l->n], sizeof l->items[l->n], "%s", name);
    l->n++;
}

static const struct note *refused(const struct place_plan *p, enum note_code code)
{
    for (uint32_t i = 0; i < p->refused.n; i++)
        if (notes_find(&p->refused.items[i].says, code))
            return notes_find(&p->refused.items[i].says, code);
    return NULL;
}

static const struct place_change *change(const struct place_plan *p, enum note_code what)
{
    for (uint32_t i = 0; i < p->n_changes; i++)
        if (p->changes[i].what.code == what)
            return &p->changes[i];
    return NULL;
}

static void test_refusal(void **state)
{
    struct scenario x;
    struct err err = {0};
    scenario_init(&x, "llama-3.3-70b-q4_k_m", 8192);
    x.spec->want.no_ram = true;
    put_name(&x.spec->want.nodes, "lab-07");
    put_name(&x.spec->want.nodes, "lab-01");
    put_name(&x.spec->want.nodes, "lab-03");
    x.s.nodes[2].state = NODE_DRAINED;
    snprintf(x.s.nodes[2].reason, sizeof x.s.nodes[2].reason, "new fans");
    x.spec->want.max_gpus = 3;
    struct place_plan *p = place_plan(&x.s, &x.d, NULL, &err);
    assert_non_null(p);
    assert_false(p->feasible);
    assert_true(p->optimal); /* that nothing fits is proved */
    assert_int_equal(p->tier, TIER_NONE);
    assert_int_equal(note_num_of(&p->summary, WORD_LAYERS), 80);
    const struct note *r = refused(p, NOTE_GPU_HOLDS);
    assert_non_null(r);
    assert_int_equal(note_num_of(r, WORD_LAYERS), 80);
    assert_in_range(note_num_of(r, WORD_LAYERS_FIT), 11, 29);
    r = refused(p, NOTE_DRAINED);
    assert_non_null(r);
    assert_string_equal(note_str_of(r, WORD_REASON), "new fans");
    assert_non_null(refused(p, NOTE_RAM_FORBIDDEN));
    assert_non_null(change(p, NOTE_DROP));
    place_free(p);
    scenario_done(&x);
}

/* What a change promises is what planning with it gives. */
static void test_changes(void **state)
{
    struct scenario x;
    struct err err = {0};
    scenario_init(&x, "llama-3.3-70b-q4_k_m", 131072);
    x.spec->want.max_nodes = 1;
    x.spec->want.no_ram = true;
    put_name(&x.spec->want.nodes, "lab-05");
    struct place_plan *p = place_plan(&x.s, &x.d, NULL, &err), *q;
    assert_non_null(p);
    assert_true(p->feasible); /* four 24 GiB cards at the full context */
    place_free(p);
    x.spec->want.max_gpus = 3;
    p = place_plan(&x.s, &x.d, NULL, &err);
    assert_false(p->feasible);
    const struct place_change *kv = change(p, NOTE_SET_KV);
    assert_true(kv && kv->fits);
    assert_string_equal(note_str_of(&kv->what, WORD_KV), "q8_0");
    assert_non_null(change(p, NOTE_SET_CTX));
    uint32_t ctx = (uint32_t)note_num_of(&change(p, NOTE_SET_CTX)->what, WORD_CTX);
    assert_in_range(ctx, 4097, 131071);
    struct place_budget b = {.no_changes = true};
    x.d.opts.ctx = ctx;
    q = place_plan(&x.s, &x.d, &b, &err);
    assert_true(q->feasible);
    place_free(q);
    x.d.opts.ctx = ctx + 256; /* the largest one, not just some */
    q = place_plan(&x.s, &x.d, &b, &err);
    assert_false(q->feasible);
    place_free(q);
    place_free(p);
    scenario_done(&x);
}

/* When what the engine spans is in the way, the refusal says so and names the span that would do.
 */
static void test_engine_span(void **state)
{
    struct scenario x;
    struct err err = {0};
    scenario_init(&x, "deepseek-r1-q4_k_m-mla", 8192);
    x.spec->want.no_ram = true;
    struct place_plan *p = place_plan(&x.s, &x.d, NULL, &err);
    assert_non_null(p);
    assert_false(p->feasible);
    assert_int_equal(p->summary.code, NOTE_NO_FIT_BYTES_SPAN);
    assert_int_equal(note_num_of(&p->summary, WORD_SPAN), CLUSTER_ENGINE_DEVICES);
    assert_non_null(change(p, NOTE_ENGINE_SPAN));
    uint32_t span = (uint32_t)note_num_of(&change(p, NOTE_ENGINE_SPAN)->what, WORD_N_GPUS);
    assert_true(span > CLUSTER_ENGINE_DEVICES);
    place_free(p);
    x.s.engine_devices = span;
    p = place_plan(&x.s, &x.d, NULL, &err);
    assert_true(p->feasible);
    assert_int_equal(p->a.n_parts, span);
    if (place_validate(&x.s, &x.d, &p->a, &err))
        fail_msg("%s", err.msg);
    place_free(p);
    scenario_done(&x);
}

static void test_unknown_names(void **state)
{
    struct scenario x;
    struct err err = {0};
    scenario_init(&x, "llama-3.1-8b-q4_k_m", 8192);
    put_name(&x.spec->want.gpus, "lab-05:9");
    assert_null(place_plan(&x.s, &x.d, NULL, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_true(strstr(err.msg, "lab-05:9") != NULL);
    x.spec->want.gpus.n = 0;
    put_name(&x.spec->want.gpus, "lab-05:2");
    struct place_plan *p = place_plan(&x.s, &x.d, NULL, &err);
    assert_non_null(p);
    assert_int_equal(p->a.n_parts, 1);
    assert_string_equal(p->a.parts[0].node, "lab-05");
    assert_int_equal(p->a.parts[0].index, 2);
    place_free(p);
    scenario_done(&x);
}

/* Three hosts without a GPU, none of which holds the model alone. */
static void test_cpu_cluster(void **state)
{
    struct rng r = {5};
    struct err err = {0};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct estimate_model *m = random_model(&r, 16);
    struct cluster_snapshot s;
    snapshot_init(&s);
    for (uint32_t i = 0; i < 3; i++) {
        struct cluster_node *n = snapshot_add_node(&s);
        snprintf(n->name, sizeof n->name, "host%u", i);
        snprintf(n->id, sizeof n->id, "id%u", i);
        n->ram_bytes = n->ram_free_bytes = model_sum(m) / 2 + GIB + s.margin_bytes;
    }
    struct place_plan *p = place_model(&s, spec, m, NULL, &err);
    assert_non_null(p);
    assert_true(p->feasible && p->optimal);
    assert_int_equal(p->tier, TIER_CPU);
    assert_int_equal(nodes_of(p), 2);
    assert_true(p->a.n_cpu_layers > 0 && p->a.n_parts == 1);
    assert_string_equal(p->a.parts[0].uuid, "");
    assert_int_equal(p->a.parts[0].backend, BACKEND_CPU);
    check_valid(&s, spec, m, p);
    place_free(p);
    snapshot_done(&s);
    estimate_free(m);
}

/* A fast GPU on a node without the RAM for the main process holds the model alone and exactly, so
 * not with the buffers of one device of several; two slow GPUs of another node hold it together. */
static void test_fastest_remote(void **state)
{
    struct rng r = {9};
    struct err err = {0};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    assert_int_equal(policy_preset(&spec->policy, "fastest", &err), 0);
    spec->want.no_ram = true;
    struct estimate_model *m = random_model(&r, 6);
    struct cluster_snapshot s;
    struct estimate_bytes need, host;
    struct estimate_split whole = {.n_devices = 1, .counts = &m->n_layers};
    estimate_split_bytes(m, &whole, &need, &host);
    snapshot_init(&s);
    for (uint32_t i = 0; i < 3; i++) {
        if (i < 2) {
            struct cluster_node *n = snapshot_add_node(&s);
            snprintf(n->name, sizeof n->name, "n%u", i);
            snprintf(n->id, sizeof n->id, "id%u", i);
            n->ram_bytes = n->ram_free_bytes = i ? 64 * GIB : 0;
        }
        struct cluster_device *d = node_add_device(&s.nodes[i ? 1 : 0]);
        snprintf(d->uuid, sizeof d->uuid, "gpu-%u", i);
        d->index = i == 2;
        d->bandwidth_bytes_per_s = i ? 20e9 : 2039e9;
        d->free_bytes = s.margin_bytes + s.runtime_bytes + need.weights + need.kv + need.compute;
        d->free_bytes -= i ? MIB : 0;
    }
    struct place_plan *p = place_model(&s, spec, m, NULL, &err);
    assert_non_null(p);
    assert_true(p->feasible && p->optimal);
    assert_int_equal(p->a.n_parts, 1);
    assert_string_equal(p->a.parts[0].uuid, "gpu-0");
    assert_string_equal(p->a.main_node, "n1");
    check_valid(&s, spec, m, p);
    place_free(p);
    snapshot_done(&s);
    estimate_free(m);
}

/* A budget that ends early gives an answer that says so. */
static void test_budget(void **state)
{
    struct scenario x;
    struct err err = {0};
    scenario_init(&x, "deepseek-r1-ud-iq2_xxs-mla", 8192);
    struct place_budget b = {.no_changes = true, .steps = 1};
    struct place_plan *p = place_plan(&x.s, &x.d, &b, &err);
    assert_non_null(p);
    assert_true(p->feasible);
    assert_false(p->optimal);
    assert_int_equal(p->tier, TIER_NODES);
    assert_true(p->gap_percent >= 0 && p->gap_percent < 100);
    assert_int_equal(place_validate(&x.s, &x.d, &p->a, &err), 0);
    place_free(p);
    scenario_done(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive),     cmocka_unit_test(test_reference),
        cmocka_unit_test(test_refusal),        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_engine_span),    cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_cpu_cluster),    cmocka_unit_test(test_budget),
        cmocka_unit_test(test_fastest_remote),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
