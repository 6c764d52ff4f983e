/* REJECTED: what a person would have tried instead, each one computed and not supposed. What the
 * bounds exclude is said with them; of the rest each is planned. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/capacity.h"
#include "place/objective.h"
#include "place/trial.h"

#include <string.h>

enum { LABEL = 160, REJECTED_STEPS = 1 << 20 };

struct asked {
    const struct scene *c;
    const struct answer *a;
    const struct capacity *k;
    struct place_plan *p;
    bool brief; /* no planning */
    struct trials *trials;
};

static struct note *says(struct place_finding *f, enum note_code code)
{
    return notes_add(&f->says, code);
}

static struct place_finding *add(const struct asked *x, enum note_code what)
{
    return findings_add(&x->p->rejected, what);
}

/* Why something that runs was not taken, by its figures beside the plan's. */
static void says_not_better(const struct asked *x, struct place_finding *f, const struct trial *t)
{
    size_t before = f->says.n;
    f->tok_s = t->tok_s;
    if (t->tok_s < x->p->a.tok_s)
        says(f, NOTE_SLOWER);
    if (t->tier > x->p->tier && t->tier >= TIER_RAM)
        says(f, NOTE_USES_RAM);
    else if (t->n_nodes > x->a->n_nodes)
        note_num(says(f, NOTE_MORE_NODES), WORD_N_NODES, t->n_nodes);
    else if (t->n_gpus > x->a->n_gpus)
        note_num(says(f, NOTE_MORE_GPUS), WORD_N_GPUS, t->n_gpus);
    if (f->says.n == before)
        note_str(says(f, NOTE_POLICY_PREFERS), WORD_POLICY, x->c->goal->p.name);
    if (!t->sure)
        says(f, NOTE_SEARCH_ENDED);
}

static bool try_spec(const struct asked *x, const struct deployment_spec *spec, struct trial *t)
{
    return trial_run(x->c->s, spec, x->c->m, x->trials, t);
}

/* An alternative under a spec that allows so many nodes (0: any) and GPUs. NULL: it is not listed,
 * as it would take planning to know. */
static struct place_finding *consider(const struct asked *x, enum note_code what,
                                      const struct deployment_spec *spec, uint32_t n_nodes,
                                      uint32_t n_gpus)
{
    uint64_t fits;
    uint32_t lacks = capacity_lacks(x->k, n_nodes, n_gpus, &fits);
    if (lacks == CAP_COUNT && x->brief)
        return NULL;
    struct place_finding *f = add(x, what);
    struct trial t;
    if (lacks == CAP_LAYERS)
        note_num(note_num(says(f, NOTE_HOLDS_LAYERS), WORD_LAYERS_FIT, fits), WORD_LAYERS,
                 x->k->want[lacks]);
    else if (lacks == CAP_BYTES)
        note_num(note_num(says(f, NOTE_HOLDS_BYTES), WORD_FREE, fits), WORD_NEED,
                 x->k->want[lacks]);
    else if (lacks < CAP_COUNT)
        note_num(note_num(note_num(says(f, NOTE_HOLDS_LARGE), WORD_LAYERS_FIT, fits), WORD_LAYERS,
                          x->k->want[lacks]),
                 WORD_LAYER, capacity_large(x->k, lacks));
    else if (try_spec(x, spec, &t))
        says_not_better(x, f, &t);
    else
        says(f, t.sure ? NOTE_NO_CHOICE_FITS : NOTE_NONE_FOUND);
    return f;
}

/* ---- fewer GPUs, fewer nodes ---- */

static void one_gpu(const struct asked *x)
{
    const struct scene_device *best = NULL;
    for (uint32_t i = 0; i < x->c->n_dev; i++)
        if (!x->c->dev[i].why && (!best || x->c->dev[i].room > best->room))
            best = &x->c->dev[i];
    if (!best || x->a->n_gpus < 2)
        return;
    mem_auto struct deployment_spec *spec = trial_spec(x->c->spec, TIER_ONE_NODE);
    struct place_finding *f = consider(x, NOTE_ALT_ONE_GPU, spec, 1, 1);
    char label[LABEL];
    if (!f)
        return;
    note_str(&f->what, WORD_GPU,
             place_device_label(x->c, best->node, best->index, label, sizeof label));
    uint64_t need = x->c->need_single;
    if (f->tok_s > 0 || best->room >= need)
        return;
    struct note *n = note_num(says(f, NOTE_SHORT), WORD_SHORT, need - best->room);
    note_num(note_num(n, WORD_NEED, need), WORD_FREE, best->room);
}

static void one_node(const struct asked *x)
{
    uint32_t best = capacity_best_node(x->k);
    if (x->a->n_nodes < 2 || best == UINT32_MAX)
        return;
    mem_auto struct deployment_spec *spec = trial_spec(x->c->spec, TIER_NODES);
    struct place_finding *f = consider(x, NOTE_ALT_ONE_NODE, spec, 1, UINT32_MAX);
    if (!f)
        return;
    note_str(&f->what, WORD_NODE, x->c->s->nodes[best].name);
    note_num(&f->what, WORD_N_GPUS, x->c->nodes[best].n_dev);
    uint64_t need, gap = capacity_node_short(x->k, best, &need);
    if (f->tok_s > 0 || !gap)
        return;
    struct note *n = note_num(says(f, NOTE_SHORT), WORD_SHORT, gap);
    note_num(note_num(n, WORD_NEED, need), WORD_FREE, need - gap);
}

static void fewer_nodes(const struct asked *x)
{
    uint32_t n = x->a->n_nodes - 1;
    if (n < 2)
        return;
    mem_auto struct deployment_spec *spec = trial_spec(x->c->spec, TIER_RAM);
    spec->want.max_nodes = n;
    struct place_finding *f = consider(x, NOTE_ALT_FEWER_NODES, spec, n, UINT32_MAX);
    if (f)
        note_num(&f->what, WORD_N_NODES, n);
}

/* ---- other splits over the same GPUs ---- */

/* Would these counts on the answer's devices fit? The first that does not, or the speed. */
static void split(const struct asked *x, enum note_code what, const uint32_t *counts)
{
    const struct scene *c = x->c;
    const struct answer *a = x->a;
    mem_auto struct estimate_bytes *b = mem_calloc(a->n_parts + 1, sizeof *b);
    mem_auto struct answer_part *parts = mem_calloc(a->n_parts + 1, sizeof *parts);
    struct estimate_bytes host;
    struct estimate_split s = {.n_devices = a->n_parts, .counts = counts};
    char label[LABEL];
    estimate_split_bytes(c->m, &s, b, &host);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct answer_part *y = &a->parts[i];
        uint64_t need = num_add_sat(num_add_sat(b[i].weights, b[i].kv), b[i].compute);
        need = num_add_sat(need, c->s->margin_bytes + c->s->runtime_bytes);
        uint64_t have = c->s->nodes[y->node].devices[y->index].free_bytes;
        parts[i] = *y;
        parts[i].n_layers = counts[i];
        if (need <= have)
            continue;
        struct place_finding *f = add(x, what);
        note_num(&f->what, WORD_N_GPUS, a->n_parts);
        struct note *n = note_num(says(f, NOTE_GPU_SHORT), WORD_LAYERS, counts[i]);
        note_str(n, WORD_GPU, place_device_label(c, y->node, y->index, label, sizeof label));
        note_num(note_num(n, WORD_NEED, need), WORD_FREE, have);
        return;
    }
    double seconds = place_seconds(c, a->main, parts, a->n_parts, 0, 0);
    struct trial t = {.sure = true, .tier = x->p->tier, .n_nodes = a->n_nodes, .n_gpus = a->n_gpus};
    t.tok_s = seconds > 0 ? 1 / seconds : 0;
    struct place_finding *f = add(x, what);
    note_num(&f->what, WORD_N_GPUS, a->n_parts);
    if (t.tok_s < x->p->a.tok_s)
        says_not_better(x, f, &t);
    else
        says(f, NOTE_FITS_TOO); /* as fast: only less room is left where it is least */
    f->tok_s = t.tok_s;
}

static bool same_counts(const struct answer *a, const uint32_t *counts)
{
    for (uint32_t i = 0; i < a->n_parts; i++)
        if (a->parts[i].n_layers != counts[i])
            return false;
    return true;
}

static void splits(const struct asked *x)
{
    const struct answer *a = x->a;
    uint32_t g = a->n_parts, n = x->c->m->n_layers, blocks = x->c->m->n_blocks;
    if (g < 2 || x->p->tier >= TIER_RAM)
        return;
    mem_auto uint32_t *counts = mem_calloc(g + 1, sizeof *counts);
    mem_auto double *shares = mem_calloc(g + 1, sizeof *shares);
    mem_auto int *where = mem_calloc((size_t)blocks + 2, sizeof *where);
    for (uint32_t i = 0; i < g; i++)
        counts[i] = n / g + (i < n % g);
    if (!same_counts(a, counts))
        split(x, NOTE_ALT_EQUAL_SPLIT, counts);
    /* What the engine, and a scheduler that leaves it to the engine, would do. */
    for (uint32_t i = 0; i < g; i++) {
        const struct answer_part *y = &a->parts[i];
        shares[i] = (double)x->c->s->nodes[y->node].devices[y->index].free_bytes;
        counts[i] = 0;
    }
    estimate_engine_layers(blocks, g, shares, -1, where);
    for (uint32_t l = 0; l < n; l++)
        if (where[l] >= 0 && (uint32_t)where[l] < g)
            counts[where[l]]++;
    if (!same_counts(a, counts))
        split(x, NOTE_ALT_FREE_SPLIT, counts);
}

/* ---- more GPUs, RAM, another policy ---- */

static void all_gpus(const struct asked *x)
{
    uint32_t n = x->c->n_usable, span = x->c->s->engine_devices;
    if (n <= x->a->n_gpus)
        return;
    struct place_finding *f = NULL;
    if (n > x->c->m->n_layers) {
        f = add(x, NOTE_ALT_ALL_GPUS);
        note_num(says(f, NOTE_MORE_THAN_LAYERS), WORD_LAYERS, x->c->m->n_layers);
    } else if (span && n > span) {
        f = add(x, NOTE_ALT_ALL_GPUS);
        note_num(says(f, NOTE_MORE_THAN_SPAN), WORD_SPAN, span);
    } else if (!x->brief) {
        mem_auto struct deployment_spec *spec = trial_spec(x->c->spec, TIER_RAM);
        spec->want.gpus_per_replica = n;
        f = consider(x, NOTE_ALT_ALL_GPUS, spec, 0, n);
    }
    if (f)
        note_num(&f->what, WORD_N_GPUS, n);
}

static void in_ram(const struct asked *x)
{
    struct answer ram;
    uint64_t used = 0;
    if (x->brief || x->a->n_gpus < 2 || x->p->tier >= TIER_RAM || x->c->spec->want.no_ram)
        return;
    tiers_ram(x->c, TRIAL_STEPS, &ram, &used);
    x->p->steps += used;
    if (ram.feasible) {
        double sec = place_seconds(x->c, ram.main, ram.parts, ram.n_parts, ram.n_cpu, ram.n_moe);
        struct trial t = {
            .sure = ram.proved, .tier = TIER_RAM, .n_nodes = ram.n_nodes, .n_gpus = ram.n_gpus};
        t.tok_s = sec > 0 ? 1 / sec : 0;
        struct place_finding *f =
            add(x, ram.n_moe ? NOTE_ALT_EXPERTS_IN_RAM : NOTE_ALT_LAYERS_IN_RAM);
        note_str(&f->what, WORD_NODE, x->c->s->nodes[ram.main].name);
        note_num(&f->what, WORD_N_GPUS, ram.n_gpus);
        note_num(&f->what, ram.n_moe ? WORD_BLOCKS : WORD_CPU_LAYERS,
                 ram.n_moe ? ram.n_moe : ram.n_cpu);
        says_not_better(x, f, &t);
    }
    answer_done(&ram);
}

/* What the other one of the two best-known policies would do, when it is something else. */
static void other_policy(const struct asked *x)
{
    struct trial t;
    mem_auto struct deployment_spec *spec = trial_spec(x->c->spec, TIER_NONE);
    const char *name = strcmp(spec->policy.name, "fastest") == 0 ? "tiered" : "fastest";
    if (x->brief || policy_preset(&spec->policy, name, NULL) || !try_spec(x, spec, &t))
        return;
    bool same = t.tier == x->p->tier && t.n_nodes == x->a->n_nodes && t.n_gpus == x->a->n_gpus &&
                t.tok_s <= x->p->a.tok_s * 1.001;
    if (same || (strcmp(name, "fastest") == 0 && t.tok_s <= x->p->a.tok_s))
        return;
    struct place_finding *f = add(x, NOTE_ALT_POLICY);
    note_str(&f->what, WORD_POLICY, name);
    note_num(note_num(&f->what, WORD_N_GPUS, t.n_gpus), WORD_N_NODES, t.n_nodes);
    says_not_better(x, f, &t);
}

void reasons_rejected(const struct scene *c, const struct answer *a, const struct capacity *k,
                      bool brief, struct place_plan *p)
{
    struct trials trials = {.left = REJECTED_STEPS};
    struct asked x = {.c = c, .a = a, .k = k, .p = p, .brief = brief, .trials = &trials};
    one_gpu(&x);
    one_node(&x);
    fewer_nodes(&x);
    splits(&x);
    all_gpus(&x);
    in_ram(&x);
    other_policy(&x);
    p->steps += trials.used;
}
