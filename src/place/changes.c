/* ONE CHANGE AWAY: the smallest changes that make it fit or give a better tier, each one planned
 * again by the same search before it is said. Here those of what is asked for. */
#include "place/changes.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/capacity.h"
#include "place/objective.h"

#include <stddef.h>
#include <string.h>

enum {
    CHANGES_STEPS = 1 << 21,
    CTX_STEP = 256, /* the engine rounds to this */
};

/* Fits, and is better than what there is. */
static bool run(const struct search *x, const struct cluster_snapshot *s,
                const struct deployment_spec *spec, const struct estimate_model *m, struct trial *t)
{
    trial_run(s, spec, m, x->trials, t);
    t->fits = t->fits && t->tier < x->tier;
    return t->fits;
}

bool changes_try(const struct search *x, const struct cluster_snapshot *s, struct trial *t)
{
    return run(x, s, x->spec, x->m, t);
}

/* ---- the list ---- */

static enum note_code gives_code(const struct trial *t)
{
    static const enum note_code CODES[] = {
        [TIER_ONE_GPU] = NOTE_GIVES_ONE_GPU, [TIER_ONE_NODE] = NOTE_GIVES_ONE_NODE,
        [TIER_NODES] = NOTE_GIVES_NODES,     [TIER_RAM] = NOTE_GIVES_RAM,
        [TIER_CPU] = NOTE_GIVES_CPU,         [TIER_NONE] = NOTE_NOT_ENOUGH_WHOLE,
    };
    return CODES[t->fits ? t->tier : TIER_NONE];
}

struct note *changes_add(const struct search *x, const struct trial *t, enum note_code what)
{
    struct place_plan *p = x->p;
    p->changes = mem_realloc(p->changes, p->n_changes + 1, sizeof *p->changes);
    struct place_change *c = &p->changes[p->n_changes++];
    *c = (struct place_change){.what = {.code = what},
                               .gives = {.code = gives_code(t)},
                               .tier = t->fits ? t->tier : TIER_NONE,
                               .n_nodes = t->n_nodes,
                               .n_gpus = t->n_gpus,
                               .tok_s = t->tok_s,
                               .fits = t->fits};
    trial_note(&c->gives, t);
    return &c->what;
}

void changes_lacking(const struct search *x, const struct cluster_snapshot *s,
                     const struct deployment_spec *spec, const struct estimate_model *m)
{
    struct scene *c = scene_new(s, spec, m, NULL);
    if (!c)
        return;
    struct capacity *k = capacity_new(c);
    uint64_t fits = capacity_sum(k, CAP_LAYERS, spec->want.max_nodes, k->most);
    struct note *n = &x->p->changes[x->p->n_changes - 1].gives;
    if (fits < m->n_layers) {
        note_set(n, NOTE_NOT_ENOUGH);
        note_num(note_num(n, WORD_LAYERS_FIT, fits), WORD_LAYERS, m->n_layers);
    }
    capacity_free(k);
    scene_free(c);
}

/* Smaller changes first: settings, the more of the context is left the better; then what somebody
 * has to allow; then what has to be moved, built, bought. */
static uint32_t rank(enum note_code what)
{
    static const enum note_code ORDER[] = {
        NOTE_SET_KV, NOTE_SET_CTX,  NOTE_SET_KV_CTX, NOTE_UNDRAIN,     NOTE_UNDRAIN_ALL,
        NOTE_DROP,   NOTE_DROP_ALL, NOTE_MOVE,       NOTE_ENGINE_SPAN, NOTE_NODE_BACK,
    };
    for (uint32_t i = 0; i < ARRAY_LEN(ORDER); i++)
        if (ORDER[i] == what)
            return what == NOTE_SET_KV_CTX ? 1 : i; /* those with --ctx by the context alone */
    return ARRAY_LEN(ORDER);
}

static uint64_t cost(const struct note *n)
{
    if (n->code == NOTE_SET_CTX || n->code == NOTE_SET_KV_CTX)
        return UINT64_MAX - note_num_of(n, WORD_CTX);
    if (n->code == NOTE_MOVE)
        return note_num_of(n, WORD_USED);
    return num_mul_sat(note_num_of(n, WORD_N_GPUS), note_num_of(n, WORD_SIZE));
}

static bool smaller(const struct place_change *a, const struct place_change *b)
{
    if (a->fits != b->fits)
        return a->fits;
    if (rank(a->what.code) != rank(b->what.code))
        return rank(a->what.code) < rank(b->what.code);
    return cost(&a->what) < cost(&b->what);
}

/* By insertion: the list is short, and equal ones stay in the order they were found. */
static void sort(struct place_plan *p)
{
    for (uint32_t i = 1; i < p->n_changes; i++)
        for (uint32_t k = i; k > 0 && smaller(&p->changes[k], &p->changes[k - 1]); k--) {
            struct place_change c = p->changes[k];
            p->changes[k] = p->changes[k - 1];
            p->changes[k - 1] = c;
        }
}

/* ---- context and KV ---- */

static bool try_opts(const struct search *x, enum kv_type kv, uint32_t ctx, struct trial *t)
{
    struct estimate_opts o = x->d->opts;
    o.kv_k = o.kv_v = kv;
    o.ctx = ctx;
    struct estimate_model *m = estimate_new(x->d->facts, &o, NULL);
    *t = (struct trial){.sure = true, .tier = TIER_NONE};
    bool fits = m && run(x, x->s, x->spec, m, t);
    estimate_free(m);
    return fits;
}

/* The largest context, in whole steps per slot, that does; 0: none. */
static uint32_t largest_ctx(const struct search *x, enum kv_type kv, struct trial *best)
{
    uint32_t slots = x->d->opts.n_slots ? x->d->opts.n_slots : 1;
    uint32_t floor = x->d->spec->want.min_ctx / CTX_STEP;
    uint32_t lo = 0, hi = (x->d->opts.ctx / slots - 1) / CTX_STEP; /* lo fits, hi + 1 does not */
    struct trial t;
    while (lo < hi) {
        uint32_t mid = (lo + hi + 1) / 2;
        if (try_opts(x, kv, mid * CTX_STEP * slots, &t)) {
            lo = mid;
            *best = t;
        } else {
            hi = mid - 1;
        }
    }
    return lo >= floor ? lo * CTX_STEP : 0;
}

static void lacking_kv(const struct search *x, enum kv_type kv)
{
    struct estimate_opts o = x->d->opts;
    o.kv_k = o.kv_v = kv;
    struct estimate_model *m = estimate_new(x->d->facts, &o, NULL);
    if (m)
        changes_lacking(x, x->s, x->spec, m);
    estimate_free(m);
}

/* Smaller types of KV until one does; with each that does not, the largest context that does. */
static void change_kv(const struct search *x, uint32_t ctx)
{
    static const enum kv_type TYPES[] = {KV_Q8_0, KV_Q4_0};
    enum kv_type now = x->d->opts.kv_k;
    struct trial t, best;
    for (size_t i = now == KV_Q8_0; i < ARRAY_LEN(TYPES) && now != KV_Q4_0; i++) {
        bool fits = try_opts(x, TYPES[i], x->d->opts.ctx, &t);
        note_str(changes_add(x, &t, NOTE_SET_KV), WORD_KV, kv_type_name(TYPES[i]));
        if (fits)
            return;
        lacking_kv(x, TYPES[i]);
        uint32_t with = largest_ctx(x, TYPES[i], &best);
        if (with <= ctx)
            continue;
        struct note *n = changes_add(x, &best, NOTE_SET_KV_CTX);
        note_num(note_str(n, WORD_KV, kv_type_name(TYPES[i])), WORD_CTX, with);
    }
}

static void change_settings(const struct search *x)
{
    struct trial best;
    uint32_t ctx = largest_ctx(x, x->d->opts.kv_k, &best);
    if (ctx)
        note_num(changes_add(x, &best, NOTE_SET_CTX), WORD_CTX, ctx);
    change_kv(x, ctx);
}

/* ---- constraints ---- */

/* clang-format off */
#define ROW_AS(name, key) {name, offsetof(struct constraints, key), sizeof(((struct constraints *)0)->key)}
#define ROW(key) ROW_AS(#key, key)
/* clang-format on */
static const struct {
    const char *key;
    size_t at, size;
} CONSTRAINTS[] = {
    ROW(nodes),         ROW(exclude_nodes),
    ROW(gpus),          ROW(gpu_types),
    ROW(labels),        ROW(keep_whole),
    ROW(anti_affinity), ROW(max_nodes),
    ROW(max_gpus),      ROW(gpus_per_replica),
    ROW(min_tok_s),     ROW(no_ram),
    ROW(no_network),    ROW_AS("tensor_split", n_split),
};
#undef ROW
#undef ROW_AS

static bool is_set(const struct constraints *w, size_t i)
{
    const char *p = (const char *)w + CONSTRAINTS[i].at;
    const struct name_list *l = (const void *)p;
    if (CONSTRAINTS[i].size == sizeof *l)
        return l->n > 0;
    for (size_t k = 0; k < CONSTRAINTS[i].size; k++)
        if (p[k])
            return true;
    return false;
}

static void clear(struct constraints *w, size_t i)
{
    memset((char *)w + CONSTRAINTS[i].at, 0, CONSTRAINTS[i].size);
    if (w->gpus.n == 0) /* the split counts them */
        w->n_split = 0;
}

static bool try_without(const struct search *x, const struct constraints *w, struct trial *t)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    *spec = *x->d->spec;
    spec->want = *w;
    mem_auto struct deployment_spec *better = trial_spec(spec, x->tier);
    return run(x, x->s, better, x->m, t);
}

static void change_constraints(const struct search *x)
{
    mem_auto struct constraints *w = mem_calloc(1, sizeof *w);
    uint32_t n_set = 0, n_fit = 0;
    struct trial t;
    for (size_t i = 0; i < ARRAY_LEN(CONSTRAINTS); i++) {
        *w = x->d->spec->want;
        if (!is_set(w, i))
            continue;
        n_set++;
        clear(w, i);
        if (!try_without(x, w, &t))
            continue;
        n_fit++;
        note_str(changes_add(x, &t, NOTE_DROP), WORD_CONSTRAINT, CONSTRAINTS[i].key);
    }
    *w = (struct constraints){0};
    if (n_set > 1 && !n_fit && try_without(x, w, &t))
        changes_add(x, &t, NOTE_DROP_ALL);
}

/* Is a better tier what the policy would take, before all else? For those that compare time, price
 * or sums first, it may not be. */
static bool wants_better(const struct scene *c, const struct place_plan *p)
{
    if (!p->feasible)
        return true;
    return p->tier != TIER_ONE_GPU &&
           (c->goal->counted || (c->goal->by_tier && p->tier >= TIER_RAM));
}

void changes_find(const struct cluster_snapshot *s, const struct place_demand *d,
                  struct place_plan *p)
{
    struct estimate_model *m = estimate_new(d->facts, &d->opts, NULL);
    struct scene *c = m ? scene_new(s, d->spec, m, NULL) : NULL;
    if (!c || !wants_better(c, p)) {
        scene_free(c);
        estimate_free(m);
        return;
    }
    struct trials trials = {.left = CHANGES_STEPS};
    struct search x = {.s = s, .d = d, .m = m, .c = c, .p = p, .tier = p->tier, .trials = &trials};
    mem_auto struct deployment_spec *spec = trial_spec(d->spec, p->tier);
    x.spec = spec;
    change_settings(&x);
    change_constraints(&x);
    changes_of_cluster(&x);
    trials_report(&trials, "changes", p);
    sort(p);
    scene_free(c);
    estimate_free(m);
}
