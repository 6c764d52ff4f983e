/* ONE CHANGE AWAY: the smallest changes that make it fit or give a better tier, each one planned
 * again by the same search before it is said. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

enum {
    CHANGE_STEPS = 4 << 20, /* of one trial */
    CTX_STEP = 256,         /* the engine rounds to this */
    MAX_ADDED = 64,
};
#define ADDED_BYTES (24 * GIB)
#define ADDED_BANDWIDTH 936e9

struct search {
    const struct cluster_snapshot *s;
    const struct place_demand *d;
    struct place_plan *p;
    enum place_tier last; /* better than what there is */
};

struct trial {
    bool fits;
    enum place_tier tier;
    uint32_t n_nodes, n_gpus;
    double tok_s;
};

static bool try_plan(const struct search *x, const struct cluster_snapshot *s,
                     const struct deployment_spec *spec, const struct estimate_opts *opts,
                     struct trial *t)
{
    *t = (struct trial){0};
    struct estimate_model *m = estimate_new(x->d->facts, opts, NULL);
    struct scene *c = m ? scene_new(s, spec, m, NULL) : NULL;
    if (c) {
        struct tiers_opts o = {.last = x->last, .steps = CHANGE_STEPS};
        struct answer a;
        tiers_solve(c, &o, &a, &x->p->steps);
        if (a.feasible) {
            double sec = place_seconds(c, a.main, a.parts, a.n_parts, a.n_cpu, a.n_moe);
            *t = (struct trial){true, a.tier, a.n_nodes, a.n_gpus, sec > 0 ? 1 / sec : 0};
        }
        answer_done(&a);
    }
    scene_free(c);
    estimate_free(m);
    return t->fits;
}

static enum note_code gives_code(const struct trial *t)
{
    static const enum note_code CODES[] = {
        [TIER_ONE_GPU] = NOTE_GIVES_ONE_GPU, [TIER_ONE_NODE] = NOTE_GIVES_ONE_NODE,
        [TIER_NODES] = NOTE_GIVES_NODES,     [TIER_RAM] = NOTE_GIVES_RAM,
        [TIER_CPU] = NOTE_GIVES_CPU,         [TIER_NONE] = NOTE_NOT_ENOUGH,
    };
    return CODES[t->fits ? t->tier : TIER_NONE];
}

/* Sets those of the trial's figures that the code has. */
static void set_gives(struct note *n, const struct trial *t)
{
    note_set(n, gives_code(t));
    uint64_t has = word_at(n->code)->params;
    if (has >> WORD_N_GPUS & 1)
        note_num(n, WORD_N_GPUS, t->n_gpus);
    if (has >> WORD_N_NODES & 1)
        note_num(n, WORD_N_NODES, t->n_nodes);
    if (has >> WORD_TOK_S & 1)
        note_real(n, WORD_TOK_S, t->tok_s);
}

/* The new change's note, without parameters yet. */
static struct note *add(const struct search *x, const struct trial *t, enum note_code what)
{
    struct place_plan *p = x->p;
    p->changes = mem_realloc(p->changes, p->n_changes + 1, sizeof *p->changes);
    struct place_change *c = &p->changes[p->n_changes++];
    *c = (struct place_change){.what = {.code = what},
                               .tier = t->fits ? t->tier : TIER_NONE,
                               .tok_s = t->tok_s,
                               .fits = t->fits};
    set_gives(&c->gives, t);
    return &c->what;
}

/* The largest context, in whole steps per slot, that does. */
static void change_ctx(const struct search *x)
{
    uint32_t slots = x->d->opts.n_slots ? x->d->opts.n_slots : 1;
    uint32_t lo = 0, hi = (x->d->opts.ctx / slots - 1) / CTX_STEP; /* lo fits, hi + 1 does not */
    struct estimate_opts o = x->d->opts;
    struct trial t, best = {0};
    while (lo < hi) {
        uint32_t mid = (lo + hi + 1) / 2;
        o.ctx = mid * CTX_STEP * slots;
        if (try_plan(x, x->s, x->d->spec, &o, &t)) {
            lo = mid;
            best = t;
        } else {
            hi = mid - 1;
        }
    }
    if (lo)
        note_num(add(x, &best, NOTE_SET_CTX), WORD_CTX, lo * CTX_STEP);
}

static void change_kv(const struct search *x)
{
    static const enum kv_type TYPES[] = {KV_Q8_0, KV_Q4_0};
    struct trial t;
    if (x->d->opts.kv_k != KV_F16 && x->d->opts.kv_k != KV_Q8_0)
        return;
    for (size_t i = x->d->opts.kv_k == KV_Q8_0; i < ARRAY_LEN(TYPES); i++) {
        struct estimate_opts o = x->d->opts;
        o.kv_k = o.kv_v = TYPES[i];
        bool fits = try_plan(x, x->s, x->d->spec, &o, &t);
        if (fits || (i + 1 == ARRAY_LEN(TYPES) && !x->p->feasible))
            note_str(add(x, &t, NOTE_SET_KV), WORD_KV, kv_type_name(TYPES[i]));
        if (fits)
            return;
    }
}

/* ---- changes of the cluster ---- */

static void copy_snapshot(const struct cluster_snapshot *from, struct cluster_snapshot *to)
{
    *to = *from;
    to->nodes = mem_calloc(from->n_nodes + 1, sizeof *to->nodes);
    memcpy(to->nodes, from->nodes, from->n_nodes * sizeof *to->nodes);
}

/* The ready node with most GPU memory, else most RAM: where one would put a card. */
static uint32_t home(const struct search *x)
{
    uint32_t best = UINT32_MAX;
    uint64_t most = 0;
    for (uint32_t i = 0; i < x->s->n_nodes; i++) {
        const struct cluster_node *n = &x->s->nodes[i];
        uint64_t sum = n->ram_free_bytes / 1024;
        for (uint32_t k = 0; k < n->n_devices; k++)
            sum = num_add_sat(sum, n->devices[k].free_bytes);
        if (n->state == NODE_READY && (best == UINT32_MAX || sum > most)) {
            best = i;
            most = sum;
        }
    }
    return best;
}

static bool try_added(const struct search *x, uint32_t node, uint32_t count, struct trial *t)
{
    struct cluster_snapshot s;
    copy_snapshot(x->s, &s);
    struct cluster_node *n = &s.nodes[node];
    uint32_t had = n->n_devices;
    n->devices = mem_calloc(had + count, sizeof *n->devices);
    if (had)
        memcpy(n->devices, x->s->nodes[node].devices, had * sizeof *n->devices);
    for (uint32_t i = 0; i < count; i++) {
        struct cluster_device *d = &n->devices[had + i];
        *d = (struct cluster_device){.kind = DEVICE_GPU,
                                     .index = had ? n->devices[had - 1].index + 1 + i : i,
                                     .total_bytes = ADDED_BYTES,
                                     .free_bytes = ADDED_BYTES,
                                     .bandwidth_bytes_per_s = ADDED_BANDWIDTH};
        str_copyf(d->uuid, sizeof d->uuid, "added-%u", i);
        STR_COPY(d->name, "24 GiB GPU");
    }
    n->n_devices = had + count;
    bool fits = try_plan(x, &s, x->d->spec, &x->d->opts, t);
    free(n->devices);
    free(s.nodes);
    return fits;
}

static void change_add(const struct search *x)
{
    uint32_t node = home(x), lo = 0, hi = 1;
    struct trial t, best;
    if (node == UINT32_MAX || x->d->spec->want.gpus.n)
        return;
    while (hi <= MAX_ADDED && !try_added(x, node, hi, &best)) {
        lo = hi;
        hi *= 2;
    }
    if (hi > MAX_ADDED)
        return;
    while (lo + 1 < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (try_added(x, node, mid, &t)) {
            hi = mid;
            best = t;
        } else {
            lo = mid;
        }
    }
    struct note *n = note_num(add(x, &best, NOTE_ADD_GPUS), WORD_N_GPUS, hi);
    note_str(note_num(n, WORD_SIZE, ADDED_BYTES), WORD_NODE, x->s->nodes[node].name);
}

static void change_undrain(const struct search *x)
{
    struct trial t;
    for (uint32_t i = 0, tried = 0; i < x->s->n_nodes && tried < 4; i++) {
        if (x->s->nodes[i].state != NODE_DRAINED)
            continue;
        tried++;
        struct cluster_snapshot s;
        copy_snapshot(x->s, &s);
        s.nodes[i].state = NODE_READY;
        bool fits = try_plan(x, &s, x->d->spec, &x->d->opts, &t);
        if (fits || !x->p->feasible)
            note_str(add(x, &t, NOTE_UNDRAIN), WORD_NODE, x->s->nodes[i].name);
        free(s.nodes);
    }
}

/* An engine of a build that spans more devices. */
static void change_engine(const struct search *x)
{
    if (!x->s->engine_devices)
        return;
    struct cluster_snapshot s = *x->s; /* borrows the nodes */
    struct trial t;
    s.engine_devices = 0;
    if (try_plan(x, &s, x->d->spec, &x->d->opts, &t) && t.n_gpus > x->s->engine_devices)
        note_num(add(x, &t, NOTE_ENGINE_SPAN), WORD_N_GPUS, t.n_gpus);
}

/* Without the constraints of the spec, when there are any. */
static void change_free(const struct search *x)
{
    const struct deployment_spec *d = x->d->spec;
    if (!d->want.max_nodes && !d->want.max_gpus && !d->want.no_ram && !d->want.nodes.n &&
        !d->want.exclude_nodes.n && !d->want.gpus.n)
        return;
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    *spec = *d;
    spec->want = (struct constraints){0};
    struct trial t;
    if (try_plan(x, x->s, spec, &x->d->opts, &t))
        add(x, &t, NOTE_NO_LIMITS);
}

void changes_find(const struct cluster_snapshot *s, const struct place_demand *d,
                  const struct place_budget *budget, struct place_plan *p)
{
    if (p->feasible && p->tier == TIER_ONE_GPU)
        return;
    struct search x = {.s = s, .d = d, .p = p, .last = TIER_CPU};
    if (p->feasible)
        x.last = p->tier - 1;
    change_ctx(&x);
    change_kv(&x);
    change_undrain(&x);
    change_free(&x);
    change_engine(&x);
    change_add(&x);
}
