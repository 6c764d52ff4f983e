/* The validator must find whatever is wrong with a plan: valid plans of real models are broken in
 * one thing at a time, in the plan, in the cluster under it, or by a constraint that it does not
 * keep; and constraints that it does keep must not be held against it. */
#include "place/brute_case.h"
#include "place/place.h"
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct rng r;
    struct cluster_snapshot s;
    struct deployment_spec *spec;
    struct estimate_model *m;
    struct assignment a; /* of the plan, a copy */
    uint32_t n_gpus, n_nodes;
};

/* ---- finding one's way ---- */

static struct cluster_node *node_of(struct world *w, const char *id)
{
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        if (strcmp(w->s.nodes[i].id, id) == 0)
            return &w->s.nodes[i];
    fail_msg("no node %s", id);
    return NULL;
}

static struct cluster_node *main_of(struct world *w)
{
    return node_of(w, w->a.main_id);
}

/* The device of a part; NULL when it is RAM. */
static struct cluster_device *device_of(struct world *w, uint32_t part)
{
    const struct assignment_part *p = &w->a.parts[part];
    struct cluster_node *n = node_of(w, p->node_id);
    for (uint32_t i = 0; p->uuid[0] && i < n->n_devices; i++)
        if (strcmp(n->devices[i].uuid, p->uuid) == 0)
            return &n->devices[i];
    return NULL;
}

static uint32_t any_part(struct world *w)
{
    return (uint32_t)rng_below(&w->r, w->a.n_parts);
}

/* A part on a GPU; false when all are RAM. */
static bool any_gpu(struct world *w, uint32_t *part)
{
    for (uint32_t i = 0; i < 8 * w->a.n_parts; i++)
        if (w->a.parts[ *part = any_part(w)].uuid[0])
            return true;
    return false;
}

static bool node_used(const struct world *w, const char *id)
{
    bool used = strcmp(id, w->a.main_id) == 0;
    for (uint32_t i = 0; i < w->a.n_parts; i++)
        used = used || strcmp(id, w->a.parts[i].node_id) == 0;
    return used;
}

static void add_name(struct name_list *l, const char *fmt, const char *a, uint32_t b)
{
    snprintf(l->items[l->n], sizeof l->items[l->n], fmt, a, b);
    l->n++;
}

static void add_gpu(struct name_list *l, const struct assignment_part *p, bool by_uuid)
{
    if (by_uuid)
        add_name(l, "%s", p->uuid, 0);
    else
        add_name(l, "%s:%u", p->node, p->index);
}

static const char *one_used_node(struct world *w)
{
    return w->a.n_parts && rng_below(&w->r, 2) ? w->a.parts[any_part(w)].node_id : w->a.main_id;
}

/* ---- the plan is wrong ---- */

#define FIELD(name, field, change)                                                                 \
    static bool name(struct world *w)                                                              \
    {                                                                                              \
        w->a.field change;                                                                         \
        return true;                                                                               \
    }
#define PART(name, field, change)                                                                  \
    static bool name(struct world *w)                                                              \
    {                                                                                              \
        if (w->a.n_parts)                                                                          \
            w->a.parts[any_part(w)].field change;                                                  \
        return w->a.n_parts > 0;                                                                   \
    }
FIELD(bad_layers, n_layers, ++)
FIELD(bad_blocks, n_blocks, ++)
FIELD(bad_cpu_layers, n_cpu_layers, ++)
FIELD(bad_all_cpu, n_cpu_layers, = UINT32_MAX)
FIELD(bad_ctx, ctx, ++)
FIELD(bad_slots, n_slots, ++)
FIELD(bad_batch, ubatch, ++)
FIELD(bad_kv, kv[0], = 'x')
FIELD(bad_host_weights, host_weights_bytes, --)
FIELD(bad_host_kv, host_kv_bytes, ++)
FIELD(bad_host_compute, host_compute_bytes, --)
FIELD(bad_speed, tok_s, *= 1.001)
FIELD(bad_main, main_id[0], = 'x')
FIELD(bad_main_name, main_node[0], = 'x')
PART(bad_first, first_layer, ++)
PART(bad_count, n_layers, ++)
PART(bad_none, n_layers, = 0)
PART(bad_huge, n_layers, = UINT32_MAX)
PART(bad_weights, weights_bytes, --)
PART(bad_part_kv, kv_bytes, ++)
PART(bad_compute, compute_bytes, --)
PART(bad_runtime, runtime_bytes, ++)
PART(bad_output, output, ^= true)
PART(bad_node, node_id[0], = 'x')
PART(bad_name, node[0], = 'x')
PART(bad_uuid, uuid[0], = 'x')
PART(bad_index, index, += 77)

static bool bad_backend(struct world *w)
{
    uint32_t i;
    bool gpu = any_gpu(w, &i);
    if (gpu)
        w->a.parts[i].backend = BACKEND_CUDA; /* the cards here are of another back end */
    return gpu;
}

static bool bad_dropped(struct world *w)
{
    w->a.n_parts -= w->a.n_parts > 0;
    return w->a.parts && w->a.parts[w->a.n_parts].n_layers > 0;
}

/* All in order, but a layer more here and one less there: only the bytes tell. */
static bool bad_shift(struct world *w)
{
    struct assignment_part *p = w->a.parts;
    if (w->a.n_parts < 2 || p[1].n_layers < 2)
        return false;
    p[0].n_layers++;
    p[1].first_layer++;
    p[1].n_layers--;
    return true;
}

static bool bad_twice(struct world *w)
{
    struct assignment_part *p = w->a.parts;
    if (w->a.n_parts < 2)
        return false;
    memcpy(p[1].node_id, p[0].node_id, sizeof p[1].node_id);
    memcpy(p[1].node, p[0].node, sizeof p[1].node);
    memcpy(p[1].uuid, p[0].uuid, sizeof p[1].uuid);
    p[1].index = p[0].index;
    p[1].backend = p[0].backend;
    return true;
}

static bool bad_experts(struct world *w)
{
    if (w->a.n_cpu_moe == w->a.n_layers || !w->m->layers[w->a.n_cpu_moe].experts ||
        w->a.n_cpu_layers > w->a.n_cpu_moe)
        return false;
    w->a.n_cpu_moe++;
    return true;
}

/* ---- the cluster is not what the plan needs ---- */

static bool poor_gpu(struct world *w)
{
    uint32_t i;
    if (!any_gpu(w, &i))
        return false;
    device_of(w, i)->free_bytes =
        assignment_part_bytes(&w->a.parts[i]) + w->s.margin_bytes - 1; /* one byte */
    return true;
}

static bool poor_ram(struct world *w)
{
    main_of(w)->ram_free_bytes =
        w->a.host_weights_bytes + w->a.host_kv_bytes + w->a.host_compute_bytes - 1;
    return true;
}

static bool gone_gpu(struct world *w)
{
    uint32_t i;
    if (!any_gpu(w, &i))
        return false;
    device_of(w, i)->uuid[0] = 'x';
    return true;
}

static bool not_a_gpu(struct world *w)
{
    uint32_t i;
    if (!any_gpu(w, &i))
        return false;
    device_of(w, i)->kind = DEVICE_CPU;
    return true;
}

static bool gone_node(struct world *w)
{
    node_of(w, one_used_node(w))->id[0] = 'x';
    return true;
}

static bool not_ready(struct world *w)
{
    node_of(w, one_used_node(w))->state = rng_below(&w->r, 2) ? NODE_DRAINED : NODE_LOST;
    return true;
}

static bool slower_card(struct world *w)
{
    uint32_t i;
    if (!any_gpu(w, &i))
        return false;
    device_of(w, i)->bandwidth_bytes_per_s = 100e9;
    return true;
}

static bool slower_net(struct world *w)
{
    for (uint32_t i = 0; i < w->s.n_links; i++)
        w->s.links[i].rtt_s += 0.1;
    return w->n_nodes > 1;
}

static bool short_engine(struct world *w)
{
    w->s.engine_devices = w->a.n_parts - 1;
    return w->a.n_parts > 1;
}

/* ---- constraints: `keep` makes one that the plan keeps, else one that it breaks ---- */

static bool want_nodes(struct world *w, bool keep)
{
    struct name_list *l = &w->spec->want.nodes;
    const char *left_out = one_used_node(w);
    add_name(l, "%s", "some-other", 0);
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        if (keep || strcmp(w->s.nodes[i].id, left_out) != 0)
            add_name(l, "%s", i % 2 ? w->s.nodes[i].name : w->s.nodes[i].id, 0);
    return true;
}

static bool want_exclude(struct world *w, bool keep)
{
    struct name_list *l = &w->spec->want.exclude_nodes;
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        if (!node_used(w, w->s.nodes[i].id))
            add_name(l, "%s", w->s.nodes[i].name, 0);
    if (!keep)
        add_name(l, "%s", one_used_node(w), 0);
    return true;
}

static bool want_gpus(struct world *w, bool keep)
{
    uint32_t left_out;
    if (!any_gpu(w, &left_out))
        return false;
    add_name(&w->spec->want.gpus, "%s:%u", "n0", 99);
    for (uint32_t i = 0; i < w->a.n_parts; i++)
        if (w->a.parts[i].uuid[0] && (keep || i != left_out))
            add_gpu(&w->spec->want.gpus, &w->a.parts[i], i % 2);
    return true;
}

static bool want_types(struct world *w, bool keep)
{
    uint32_t left_out;
    if (!any_gpu(w, &left_out))
        return false;
    const char *type = device_of(w, left_out)->name;
    add_name(&w->spec->want.gpu_types, "%s", "A100", 0);
    for (uint32_t i = 0; i < w->a.n_parts; i++) {
        const struct cluster_device *d = device_of(w, i);
        if (!d || (!keep && strcmp(d->name, type) == 0))
            continue;
        add_name(&w->spec->want.gpu_types, "%s", d->name, 0);
        char *item = w->spec->want.gpu_types.items[w->spec->want.gpu_types.n - 1];
        item[0] = (char)(item[0] - 'a' + 'A'); /* any case, and the beginning is enough */
        *strrchr(item, ' ') = 0;
    }
    return true;
}

static bool want_labels(struct world *w, bool keep)
{
    const char *without = one_used_node(w);
    for (uint32_t i = 0; i < w->s.n_nodes; i++) {
        struct cluster_node *n = &w->s.nodes[i];
        free(n->labels);
        n->labels = mem_calloc(2, sizeof *n->labels);
        n->n_labels = 2;
        snprintf(n->labels[0], sizeof n->labels[0], "rack=%u", i);
        snprintf(n->labels[1], sizeof n->labels[1], "zone=%s",
                 keep || strcmp(n->id, without) != 0 ? "a" : "ab");
    }
    add_name(&w->spec->want.labels, "%s", "zone=a", 0);
    return true;
}

static bool want_apart(struct world *w, bool keep)
{
    struct cluster_instance *x = snapshot_add_instance(&w->s);
    uint32_t on = (uint32_t)(node_of(w, one_used_node(w)) - w->s.nodes), unused = w->s.n_nodes;
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        unused = node_used(w, w->s.nodes[i].id) ? unused : i;
    snprintf(x->deployment, sizeof x->deployment, "chat");
    add_name(&w->spec->want.anti_affinity, "%s", "chat", 0);
    if (keep && unused == w->s.n_nodes) { /* the same place, but another deployment */
        snprintf(x->deployment, sizeof x->deployment, "embed");
        unused = on;
    }
    x->main = keep ? unused : on;
    if (!keep && unused < w->s.n_nodes) { /* only a part of it is there */
        x->main = unused;
        x->parts = mem_calloc(1, sizeof *x->parts);
        x->n_parts = 1;
        x->parts[0].node = on;
        x->parts[0].device = UINT32_MAX;
    }
    return true;
}

static bool want_whole_node(struct world *w, bool keep)
{
    uint32_t part;
    if (!any_gpu(w, &part))
        return false;
    struct cluster_node *n = node_of(w, w->a.parts[part].node_id);
    add_name(&w->spec->want.keep_whole, "%s", n->name, 0);
    if (!keep) {
        struct cluster_device *d = node_add_device(n);
        d->kind = DEVICE_GPU;
        snprintf(d->uuid, sizeof d->uuid, "spare");
        d->index = 50;
        return true;
    }
    for (uint32_t i = n->n_devices; i-- > 0;) {
        bool used = false;
        for (uint32_t k = 0; k < w->a.n_parts; k++)
            used = used || strcmp(w->a.parts[k].uuid, n->devices[i].uuid) == 0;
        if (!used)
            n->devices[i] = n->devices[--n->n_devices];
    }
    return true;
}

static bool want_whole_gpu(struct world *w, bool keep)
{
    uint32_t part;
    bool whole = w->a.n_parts == 1 && !w->a.n_cpu_layers && !w->a.n_cpu_moe;
    if (!any_gpu(w, &part) || whole != keep)
        return false;
    struct name_list *l = &w->spec->want.keep_whole;
    if (rng_below(&w->r, 3) == 0)
        add_name(l, "%s", device_of(w, part)->name, 0);
    else
        add_gpu(l, &w->a.parts[part], rng_below(&w->r, 2));
    return true;
}

static bool want_exactly(struct world *w, bool keep)
{
    w->spec->want.gpus_per_replica = w->n_gpus + (keep ? 0 : 1);
    if (!keep && w->n_gpus > 1 && rng_below(&w->r, 2))
        w->spec->want.gpus_per_replica = w->n_gpus - 1;
    return true;
}

static bool want_max_nodes(struct world *w, bool keep)
{
    w->spec->want.max_nodes = w->n_nodes - (keep ? 0 : 1);
    return w->spec->want.max_nodes > 0;
}

static bool want_max_gpus(struct world *w, bool keep)
{
    w->spec->want.max_gpus = keep ? w->n_gpus : w->n_gpus - 1;
    return w->n_gpus > 1;
}

static bool want_tok_s(struct world *w, bool keep)
{
    w->spec->want.min_tok_s = w->a.tok_s * (keep ? 1 : 1.0001);
    return true;
}

static bool want_no_ram(struct world *w, bool keep)
{
    bool ram = w->a.n_cpu_layers || w->a.n_cpu_moe || w->n_gpus < w->a.n_parts || !w->n_gpus;
    w->spec->want.no_ram = true;
    return ram != keep;
}

static bool want_no_network(struct world *w, bool keep)
{
    w->spec->want.no_network = true;
    return (w->n_nodes == 1) == keep;
}

static bool want_split(struct world *w, bool keep)
{
    struct constraints *want = &w->spec->want;
    bool gpus_only = w->n_gpus == w->a.n_parts && !w->a.n_cpu_layers && !w->a.n_cpu_moe;
    for (uint32_t i = 0; i < w->a.n_parts && gpus_only; i++) {
        add_gpu(&want->gpus, &w->a.parts[i], i % 2);
        want->split[i] = w->a.parts[i].n_layers;
    }
    want->n_split = want->gpus.n;
    if (!gpus_only || w->a.n_parts < 2)
        return gpus_only && keep;
    if (!keep && rng_below(&w->r, 2)) { /* the same layers, in another order of GPUs */
        char swap[sizeof want->gpus.items[0]];
        memcpy(swap, want->gpus.items[0], sizeof swap);
        memcpy(want->gpus.items[0], want->gpus.items[1], sizeof swap);
        memcpy(want->gpus.items[1], swap, sizeof swap);
    } else if (!keep) {
        want->split[0]++;
        want->split[1]--;
    }
    return true;
}

/* ---- the tables and their runner ---- */

#define ROW(f)                                                                                     \
    {                                                                                              \
#f, f                                                                                      \
    }
static const struct mutation {
    const char *name;
    bool (*apply)(struct world *w); /* false: does not apply to this plan */
} MUTATIONS[] = {
    ROW(bad_layers),       ROW(bad_blocks),    ROW(bad_cpu_layers),   ROW(bad_all_cpu),
    ROW(bad_ctx),          ROW(bad_slots),     ROW(bad_batch),        ROW(bad_kv),
    ROW(bad_host_weights), ROW(bad_host_kv),   ROW(bad_host_compute), ROW(bad_speed),
    ROW(bad_main),         ROW(bad_main_name), ROW(bad_first),        ROW(bad_count),
    ROW(bad_none),         ROW(bad_huge),      ROW(bad_weights),      ROW(bad_part_kv),
    ROW(bad_compute),      ROW(bad_runtime),   ROW(bad_output),       ROW(bad_node),
    ROW(bad_name),         ROW(bad_uuid),      ROW(bad_index),        ROW(bad_backend),
    ROW(bad_dropped),      ROW(bad_shift),     ROW(bad_twice),        ROW(bad_experts),
    ROW(poor_gpu),         ROW(poor_ram),      ROW(gone_gpu),         ROW(not_a_gpu),
    ROW(gone_node),        ROW(not_ready),     ROW(slower_card),      ROW(slower_net),
    ROW(short_engine),
};
static const struct wish {
    const char *name;
    bool (*apply)(struct world *w, bool keep);
} WISHES[] = {
    ROW(want_nodes),   ROW(want_exclude),    ROW(want_gpus),       ROW(want_types),
    ROW(want_labels),  ROW(want_apart),      ROW(want_whole_node), ROW(want_whole_gpu),
    ROW(want_exactly), ROW(want_max_nodes),  ROW(want_max_gpus),   ROW(want_tok_s),
    ROW(want_no_ram),  ROW(want_no_network), ROW(want_split),
};

static struct brute_models *load_models(void)
{
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *folder = mem_printf("%s/tests/data/models", root ? root : "..");
    struct err err = {0};
    struct brute_models *all = brute_models_new(folder, &err);
    if (!all)
        fail_msg("%s", err.msg);
    return all;
}

/* A copy that may be broken. */
static void copy_world(const struct world *from, uint64_t seed, struct world *to)
{
    *to = *from;
    to->r.state = seed;
    snapshot_copy(&to->s, &from->s);
    to->spec = mem_calloc(1, sizeof *to->spec);
    to->a.parts = mem_calloc(from->a.n_parts + 1, sizeof *to->a.parts);
    memcpy(to->a.parts, from->a.parts, from->a.n_parts * sizeof *to->a.parts);
}

static void copy_done(struct world *w)
{
    snapshot_done(&w->s);
    free(w->spec);
    free(w->a.parts);
}

static void count_used(struct world *w)
{
    w->n_gpus = w->n_nodes = 0;
    for (uint32_t i = 0; i < w->a.n_parts; i++)
        w->n_gpus += w->a.parts[i].uuid[0] != 0;
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        w->n_nodes += node_used(w, w->s.nodes[i].id);
}

static void try_mutations(const struct world *base, uint32_t at, uint32_t *tried)
{
    for (size_t i = 0; i < ARRAY_LEN(MUTATIONS); i++) {
        struct world w;
        struct err err = {0};
        copy_world(base, at, &w);
        if (MUTATIONS[i].apply(&w)) {
            tried[i]++;
            if (place_validate_model(&w.s, w.spec, w.m, &w.a, &err) == 0)
                fail_msg("plan %u: %s was not found", at, MUTATIONS[i].name);
            assert_true(err.msg[0] && err.code != ERR_INTERNAL);
        }
        copy_done(&w);
    }
}

static void try_wishes(const struct world *base, uint32_t at, bool keep, uint32_t *tried)
{
    for (size_t i = 0; i < ARRAY_LEN(WISHES); i++) {
        struct world w;
        struct err err = {0};
        copy_world(base, at, &w);
        if (WISHES[i].apply(&w, keep)) {
            int rc = place_validate_model(&w.s, w.spec, w.m, &w.a, &err);
            tried[i]++;
            if (rc == 0 && !keep)
                fail_msg("plan %u: broken %s was not found", at, WISHES[i].name);
            if (rc != 0 && keep)
                fail_msg("plan %u: %s is kept, but: %s", at, WISHES[i].name, err.msg);
        }
        copy_done(&w);
    }
}

static void test_mutations(void **state)
{
    struct brute_models *all = load_models();
    uint32_t tried[ARRAY_LEN(MUTATIONS)] = {0}, broken[ARRAY_LEN(WISHES)] = {0};
    uint32_t kept[ARRAY_LEN(WISHES)] = {0};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct brute_shape o = {.max_layers = 24, .max_dev = 10, .max_nodes = 4, .links = true};
    assert_int_equal(policy_preset(&spec->policy, "tiered", NULL), 0);
    for (uint32_t at = 0; at < 800; at++) {
        struct world w = {.r = {at}, .spec = spec};
        struct err err = {0};
        char what[96];
        w.m = brute_cut(all, &w.r, 4 + (uint32_t)rng_below(&w.r, 21), what);
        brute_cluster(w.m, &w.r, &o, &w.s);
        struct place_plan *p = place_model(&w.s, spec, w.m, NULL, &err);
        if (!p)
            fail_msg("%s: %s", what, err.msg);
        if (p->feasible) {
            w.a = p->a;
            count_used(&w);
            if (place_validate_model(&w.s, spec, w.m, &w.a, &err))
                fail_msg("%s: %s", what, err.msg);
            try_mutations(&w, at, tried);
            try_wishes(&w, at, true, kept);
            try_wishes(&w, at, false, broken);
        }
        place_free(p);
        snapshot_done(&w.s);
        brute_cut_free(w.m);
    }
    for (size_t i = 0; i < ARRAY_LEN(MUTATIONS); i++)
        if (tried[i] < 20)
            fail_msg("%s was tried %u times", MUTATIONS[i].name, tried[i]);
    for (size_t i = 0; i < ARRAY_LEN(WISHES); i++)
        if (kept[i] < 20 || broken[i] < 20)
            fail_msg("%s was kept %u times, broken %u", WISHES[i].name, kept[i], broken[i]);
    brute_models_free(all);
}

/* A context that was lowered because the spec lets it. */
static void test_lower_context(void **state)
{
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *path =
        mem_printf("%s/tests/data/models/llama-3.1-8b-q4_k_m.ggufh", root ? root : "..");
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct err err = {0};
    struct cluster_snapshot s;
    struct arch_facts *f = model_facts(path, NULL, &err);
    if (!f)
        fail_msg("%s", err.msg);
    assert_int_equal(policy_preset(&spec->policy, "tiered", &err), 0);
    snapshot_init(&s);
    struct cluster_node *n = snapshot_add_node(&s);
    snprintf(n->name, sizeof n->name, "hill");
    snprintf(n->id, sizeof n->id, "id");
    n->ram_free_bytes = 64 * GIB;
    struct cluster_device *d = node_add_device(n);
    snprintf(d->uuid, sizeof d->uuid, "gpu");
    d->free_bytes = 24 * GIB;
    struct place_demand x = {.facts = f, .spec = spec};
    x.opts = (struct estimate_opts){.ctx = 8192, .n_slots = 2, .ubatch = 512};
    struct place_budget b = {.no_changes = true};
    struct place_plan *p = place_plan(&s, &x, &b, &err);
    assert_true(p && p->feasible);
    assert_int_equal(place_validate(&s, &x, &p->a, &err), 0);
    x.opts.ctx = 16384;
    assert_int_equal(place_validate(&s, &x, &p->a, &err), -1); /* asked for, and not given */
    spec->want.min_ctx = 4096;                                 /* per slot */
    assert_int_equal(place_validate(&s, &x, &p->a, &err), 0);
    spec->want.min_ctx = 4097;
    assert_int_equal(place_validate(&s, &x, &p->a, &err), -1);
    spec->want.min_ctx = 1024;
    x.opts.ctx = 4096; /* more than was asked for is as wrong */
    assert_int_equal(place_validate(&s, &x, &p->a, &err), -1);
    place_free(p);
    snapshot_done(&s);
    arch_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_lower_context),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
