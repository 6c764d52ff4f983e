/* Why this plan, what proves it, what a person might have tried instead; and what a refusal lacks.
 */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <assert.h>
#include <string.h>

enum { LABEL = 160, RAM_STEPS = 4 << 20 };

struct place_finding *findings_add(struct place_findings *l, enum note_code what)
{
    assert(l->n < PLACE_MAX_FINDINGS);
    l->items = mem_realloc(l->items, l->n + 1, sizeof *l->items);
    struct place_finding *f = &l->items[l->n++];
    *f = (struct place_finding){.what = {.code = what}};
    l->total++;
    return f;
}

void findings_done(struct place_findings *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        note_done(&l->items[i].what);
        notes_done(&l->items[i].says);
    }
    free(l->items);
    *l = (struct place_findings){0};
}

/* A reason of a finding. */
static struct note *says(struct place_finding *f, enum note_code code)
{
    return notes_add(&f->says, code);
}

static uint64_t model_bytes(const struct scene *c)
{
    uint64_t sum = c->m->head;
    for (uint32_t l = 0; l < c->m->n_layers; l++)
        sum = num_add_sat(sum, num_add_sat(c->m->layers[l].weights, c->m->layers[l].kv));
    return sum;
}

static const struct scene_device *largest(const struct scene *c)
{
    const struct scene_device *best = NULL;
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why && (!best || c->dev[i].room > best->room))
            best = &c->dev[i];
    return best;
}

/* ---- layers that devices hold at most, as bounds ---- */

struct capacity {
    struct mode_problem *p;
    struct ranks *ranks;
    uint32_t *node; /* layers, by problem node */
    uint32_t *dev;  /* layers, by scene device */
};

static void capacity_init(struct capacity *k, const struct scene *c)
{
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true, .ignore_ram = true};
    k->p = mode_new(c, &o);
    k->ranks = ranks_new(&k->p->need);
    k->node = mem_calloc(k->p->p.n_nodes + 1, sizeof *k->node);
    k->dev = mem_calloc(c->n_dev + 1, sizeof *k->dev);
    for (uint32_t i = 0; i < k->p->p.n_nodes; i++)
        for (uint32_t d = 0; d < k->p->nodes[i].n_dev; d++) {
            const struct pdev *x = &k->p->nodes[i].dev[d];
            k->dev[x->id] = ranks_layers(k->ranks, ranks_of(k->ranks, x->room));
            k->node[i] += k->dev[x->id];
        }
}

static void capacity_done(struct capacity *k)
{
    free(k->node);
    free(k->dev);
    ranks_free(k->ranks);
    mode_free(k->p);
}

static int more(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

/* Sum of the n largest. Leaves `list` sorted. */
static uint64_t top_sum(uint32_t *list, uint32_t len, uint32_t n)
{
    uint64_t sum = 0;
    qsort(list, len, sizeof *list, more);
    for (uint32_t i = 0; i < n && i < len; i++)
        sum += list[i];
    return sum;
}

/* ---- proof ---- */

static void prove_nodes(const struct answer *a, uint64_t most, uint32_t want, struct notes *out)
{
    struct note *n;
    if (a->bound_nodes < a->n_nodes) {
        note_num(notes_add(out, NOTE_OPEN_NODES), WORD_N_NODES, a->bound_nodes);
    } else if (most < want) {
        n = note_num(notes_add(out, NOTE_PROOF_NODES_LAYERS), WORD_N_NODES, a->n_nodes - 1);
        note_num(note_num(n, WORD_LAYERS_FIT, most), WORD_LAYERS, want);
    } else {
        n = note_num(notes_add(out, NOTE_PROOF_NODES_SEARCHED), WORD_N_NODES, a->n_nodes - 1);
        note_num(n, WORD_LAYERS, want);
    }
}

static void prove_gpus(const struct answer *a, uint64_t most, uint32_t want, struct notes *out)
{
    struct note *n;
    if (a->bound_gpus < a->n_gpus) {
        note_num(notes_add(out, NOTE_OPEN_GPUS), WORD_N_GPUS, a->bound_gpus);
    } else if (a->n_gpus > 2 && most < want) {
        n = note_num(notes_add(out, NOTE_PROOF_GPUS_LAYERS), WORD_N_GPUS, a->n_gpus - 1);
        note_num(note_num(n, WORD_LAYERS_FIT, most), WORD_LAYERS, want);
    } else if (a->n_gpus > 2) {
        n = note_num(notes_add(out, NOTE_PROOF_GPUS_SEARCHED), WORD_N_GPUS, a->n_gpus - 1);
        note_num(note_num(n, WORD_N_NODES, a->n_nodes), WORD_LAYERS, want);
    }
}

static void prove_counts(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    struct capacity k;
    capacity_init(&k, c);
    if (a->n_nodes > 1)
        prove_nodes(a, top_sum(k.node, k.p->p.n_nodes, a->n_nodes - 1), c->m->n_layers, &p->proof);
    prove_gpus(a, top_sum(k.dev, c->n_dev, a->n_gpus - 1), c->m->n_layers, &p->proof);
    capacity_done(&k);
}

/* The most devices that one instance can have. */
static uint32_t most_devices(const struct scene *c)
{
    uint32_t most = c->n_usable, span = c->s->engine_devices;
    most = span && span < most ? span : most;
    return c->spec->want.max_gpus && c->spec->want.max_gpus < most ? c->spec->want.max_gpus : most;
}

static void prove_no_gpus(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    uint32_t most = most_devices(c);
    if (!a->proved)
        notes_add(&p->proof, NOTE_OPEN_NO_GPUS);
    else if (!c->n_usable)
        notes_add(&p->proof, NOTE_PROOF_NO_GPU_THERE);
    else if (most < c->n_usable && most == c->s->engine_devices)
        note_num(notes_add(&p->proof, NOTE_PROOF_NO_GPUS_SPAN), WORD_SPAN, most);
    else
        notes_add(&p->proof, NOTE_PROOF_NO_GPUS);
}

static void prove_time(const struct answer *a, struct place_plan *p)
{
    struct note *n = notes_add(&p->proof, a->proved ? NOTE_PROOF_TIME : NOTE_OPEN_TIME);
    note_real(n, WORD_MS, (double)a->ns / 1e6);
    if (!a->proved)
        note_real(n, WORD_BOUND_MS, (double)a->bound_ns / 1e6);
}

static void prove(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    char label[LABEL];
    const struct scene_device *big = largest(c);
    if (a->tier == TIER_ONE_GPU) {
        notes_add(&p->proof, NOTE_PROOF_ONE_GPU);
        return;
    }
    if (big && big->room < c->need_single) {
        struct note *n = notes_add(&p->proof, NOTE_PROOF_NO_SINGLE_GPU);
        note_num(note_num(n, WORD_NEED, c->need_single), WORD_FREE, big->room);
        note_str(n, WORD_GPU, place_device_label(c, big->node, big->index, label, sizeof label));
    }
    bool tiered = strcmp(c->spec->policy.name, "fastest") != 0;
    if ((a->tier == TIER_ONE_NODE || a->tier == TIER_NODES) && tiered && a->n_gpus > 1)
        prove_counts(c, a, p);
    if (a->tier >= TIER_RAM && tiered)
        prove_no_gpus(c, a, p);
    prove_time(a, p);
}

/* ---- why ---- */

/* The node of most room: how far it is from holding the model alone. */
static void why_nodes(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    uint32_t best = UINT32_MAX;
    uint64_t most = 0, room;
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        room = 0;
        for (uint32_t k = 0; k < c->nodes[i].n_dev; k++)
            if (!c->dev[c->nodes[i].first + k].why)
                room = num_add_sat(room, c->dev[c->nodes[i].first + k].room);
        if (room && (best == UINT32_MAX || room > most)) {
            best = i;
            most = room;
        }
    }
    uint64_t need = model_bytes(c);
    if (best == UINT32_MAX || a->n_gpus < 2)
        return;
    struct note *n = notes_add(&p->why, most < need ? NOTE_WHY_NODE_SHORT : NOTE_WHY_NODE_WHOLE);
    note_num(note_str(n, WORD_NODE, c->s->nodes[best].name), WORD_N_NODES, a->n_nodes);
    if (most < need)
        note_num(n, WORD_SHORT, need - most);
}

/* A faster used card beside a slower unused one of the same node that would also have done. */
static void why_speed(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct answer_part *x = &a->parts[i];
        if (x->index == UINT32_MAX)
            continue;
        const struct cluster_node *n = &c->s->nodes[x->node];
        const struct cluster_device *mine = &n->devices[x->index];
        for (uint32_t k = 0; k < n->n_devices; k++) {
            const struct cluster_device *d = &n->devices[k];
            bool used = false;
            for (uint32_t j = 0; j < a->n_parts; j++)
                used = used || (a->parts[j].node == x->node && a->parts[j].index == k);
            if (used || d->kind != DEVICE_GPU || d->free_bytes < mine->free_bytes ||
                d->bandwidth_bytes_per_s >= mine->bandwidth_bytes_per_s)
                continue;
            struct note *said = notes_add(&p->why, NOTE_WHY_FASTER_GPU);
            note_str(note_str(said, WORD_GPU, mine->name), WORD_OTHER, d->name);
            note_real(said, WORD_RATE, mine->bandwidth_bytes_per_s);
            note_real(said, WORD_OTHER_RATE, d->bandwidth_bytes_per_s);
            return;
        }
    }
}

/* What stays in RAM, and whose. */
static void why_ram(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    const char *main = c->s->nodes[a->main].name;
    struct note *n;
    if (a->n_moe) {
        n = note_str(notes_add(&p->why, NOTE_WHY_EXPERTS_IN_RAM), WORD_NODE, main);
        note_num(n, WORD_BLOCKS, a->n_moe);
    }
    if (a->n_cpu && a->n_parts) {
        n = notes_add(&p->why, a->n_gpus ? NOTE_WHY_LAYERS_IN_RAM : NOTE_WHY_LAYERS_IN_REMOTE_RAM);
        note_num(note_str(n, WORD_NODE, main), WORD_LAYERS, c->m->n_layers - a->n_cpu);
        note_num(n, WORD_CPU_LAYERS, a->n_cpu);
    }
    if (a->tier == TIER_CPU && c->n_usable)
        notes_add(&p->why, NOTE_WHY_CPU_ONLY);
}

static void why(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    const char *main = c->s->nodes[a->main].name;
    struct note *n;
    if (a->tier == TIER_ONE_GPU)
        note_num(notes_add(&p->why, NOTE_WHY_ONE_GPU), WORD_LAYERS, c->m->n_layers);
    if (a->tier == TIER_ONE_NODE) {
        n = note_str(notes_add(&p->why, NOTE_WHY_ONE_NODE), WORD_NODE, main);
        note_num(n, WORD_N_GPUS, a->n_gpus);
    }
    if (a->tier == TIER_NODES)
        why_nodes(c, a, p);
    why_ram(c, a, p);
    why_speed(c, a, p);
    uint32_t last = a->n_parts ? a->parts[a->n_parts - 1].node : a->main;
    if (a->n_nodes > 1 && last == a->main) {
        n = note_str(notes_add(&p->why, NOTE_WHY_MAIN_LAST), WORD_NODE, main);
        note_num(n, WORD_LOGITS, 4 * (uint64_t)c->m->n_vocab);
    }
}

/* ---- rejected ---- */

/* Would these counts on the answer's devices fit? The first that does not, or the speed. */
static void reject_split(const struct scene *c, const struct answer *a, enum note_code what,
                         const uint32_t *counts, struct place_plan *p)
{
    mem_auto struct estimate_bytes *b = mem_calloc(a->n_parts + 1, sizeof *b);
    mem_auto struct answer_part *parts = mem_calloc(a->n_parts + 1, sizeof *parts);
    struct estimate_bytes host;
    struct estimate_split s = {.n_devices = a->n_parts, .counts = counts};
    char label[LABEL];
    estimate_split_bytes(c->m, &s, b, &host);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct answer_part *x = &a->parts[i];
        uint64_t need = num_add_sat(num_add_sat(b[i].weights, b[i].kv), b[i].compute);
        need = num_add_sat(need, c->s->margin_bytes + c->s->runtime_bytes);
        uint64_t have = c->s->nodes[x->node].devices[x->index].free_bytes;
        parts[i] = *x;
        parts[i].n_layers = counts[i];
        if (need <= have)
            continue;
        struct place_finding *f = findings_add(&p->rejected, what);
        note_num(&f->what, WORD_N_GPUS, a->n_parts);
        struct note *n = note_num(says(f, NOTE_GPU_SHORT), WORD_LAYERS, counts[i]);
        note_str(n, WORD_GPU, place_device_label(c, x->node, x->index, label, sizeof label));
        note_num(note_num(n, WORD_NEED, need), WORD_FREE, have);
        return;
    }
    double t = place_seconds(c, a->main, parts, a->n_parts, 0, 0);
    if (t > 0 && 1 / t < p->a.tok_s * 0.999) {
        struct place_finding *f = findings_add(&p->rejected, what);
        note_num(&f->what, WORD_N_GPUS, a->n_parts);
        says(f, NOTE_SLOWER);
        f->tok_s = 1 / t;
    }
}

static void reject_splits(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    uint32_t g = a->n_parts, n = c->m->n_layers;
    mem_auto uint32_t *counts = mem_calloc(g + 1, sizeof *counts);
    mem_auto double *shares = mem_calloc(g + 1, sizeof *shares);
    mem_auto int *where = mem_calloc((size_t)c->m->n_blocks + 2, sizeof *where);
    for (uint32_t i = 0; i < g; i++)
        counts[i] = n / g + (i < n % g);
    reject_split(c, a, NOTE_ALT_EQUAL_SPLIT, counts, p);
    /* What the engine, and a scheduler that leaves it to the engine, would do. */
    for (uint32_t i = 0; i < g; i++) {
        const struct answer_part *x = &a->parts[i];
        shares[i] = (double)c->s->nodes[x->node].devices[x->index].free_bytes;
        counts[i] = 0;
    }
    estimate_engine_layers(c->m->n_blocks, g, shares, -1, where);
    for (uint32_t l = 0; l < n; l++)
        if (where[l] >= 0 && (uint32_t)where[l] < g)
            counts[where[l]]++;
    reject_split(c, a, NOTE_ALT_FREE_SPLIT, counts, p);
}

/* Each node of the answer on its own, with all its GPUs. */
static void reject_one_node(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    struct capacity k;
    capacity_init(&k, c);
    uint32_t best = 0;
    for (uint32_t i = 1; i < k.p->p.n_nodes; i++)
        if (k.node[i] > k.node[best])
            best = i;
    if (k.p->p.n_nodes && a->n_gpus > 1) {
        const struct scene_node *n = &c->nodes[k.p->node_of[best]];
        struct place_finding *f = findings_add(&p->rejected, NOTE_ALT_ONE_NODE);
        note_str(&f->what, WORD_NODE, c->s->nodes[k.p->node_of[best]].name);
        note_num(&f->what, WORD_N_GPUS, n->n_dev);
        uint32_t all = c->m->n_layers;
        struct note *why = note_num(says(f, NOTE_HOLDS_LAYERS), WORD_LAYERS, all);
        note_num(why, WORD_LAYERS_FIT, k.node[best] < all ? k.node[best] : all - 1);
    }
    capacity_done(&k);
}

static void reject_ram(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    struct answer ram;
    uint64_t used = 0;
    if (c->spec->want.no_ram)
        return;
    tiers_ram(c, RAM_STEPS, &ram, &used);
    p->steps += used;
    if (ram.feasible) {
        double t = place_seconds(c, ram.main, ram.parts, ram.n_parts, ram.n_cpu, ram.n_moe);
        struct place_finding *f = findings_add(&p->rejected, ram.n_moe ? NOTE_ALT_EXPERTS_IN_RAM
                                                                       : NOTE_ALT_LAYERS_IN_RAM);
        note_str(&f->what, WORD_NODE, c->s->nodes[ram.main].name);
        if (ram.n_moe)
            note_num(&f->what, WORD_BLOCKS, ram.n_moe);
        else
            note_num(&f->what, WORD_CPU_LAYERS, ram.n_cpu);
        f->tok_s = t > 0 ? 1 / t : 0;
        says(f, f->tok_s > p->a.tok_s ? NOTE_FASTER_IN_RAM : NOTE_SLOWER);
    }
    answer_done(&ram);
}

static void reject_more(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    if (c->n_usable <= a->n_gpus)
        return;
    struct place_finding *f = findings_add(&p->rejected, NOTE_ALT_ALL_GPUS);
    note_num(&f->what, WORD_N_GPUS, c->n_usable);
    says(f, NOTE_MORE_THAN_NEEDED);
}

void reasons_answer(const struct scene *c, const struct answer *a, bool brief, struct place_plan *p)
{
    prove(c, a, p);
    why(c, a, p);
    bool several = a->tier == TIER_ONE_NODE || a->tier == TIER_NODES;
    if (several && a->n_nodes > 1)
        reject_one_node(c, a, p);
    if (several && a->n_gpus > 1) {
        reject_splits(c, a, p);
        if (!brief)
            reject_ram(c, a, p);
    }
    if (a->tier <= TIER_NODES)
        reject_more(c, a, p);
}

/* ---- refusals ---- */

static const enum note_code LEFT_OUT[] = {
    [SCENE_OK] = NOTE_NONE,
    [SCENE_NODE_EXCLUDED] = NOTE_NODE_EXCLUDED,
    [SCENE_NODE_NOT_LISTED] = NOTE_NODE_NOT_LISTED,
    [SCENE_NOT_LISTED] = NOTE_GPU_NOT_LISTED,
    [SCENE_DRAINED] = NOTE_DRAINED,
    [SCENE_LOST] = NOTE_LOST,
    [SCENE_TYPE] = NOTE_TYPE_NOT_LISTED,
    [SCENE_LABEL] = NOTE_LABEL_MISSING,
    [SCENE_ANTI_AFFINITY] = NOTE_KEPT_APART,
    [SCENE_KEPT_NODE] = NOTE_NODE_KEPT_WHOLE,
};
_Static_assert(ARRAY_LEN(LEFT_OUT) == SCENE_WHY_COUNT, "a note for every reason");

static void says_left_out(struct place_finding *f, enum scene_why why, const char *reason)
{
    struct note *n = says(f, LEFT_OUT[why]);
    if (why == SCENE_DRAINED)
        note_str(n, WORD_REASON, reason);
}

/* Neighbours of one node that hold the same are one line: "hill:0-3 4x RTX 3090". */
static void refuse_devices(const struct scene *c, const struct capacity *k, struct place_plan *p)
{
    for (uint32_t i = 0, e; i < c->n_dev; i = e) {
        const struct scene_device *d = &c->dev[i];
        const struct cluster_node *n = &c->s->nodes[d->node];
        const struct cluster_device *x = &n->devices[d->index];
        for (e = i + 1; e < c->n_dev; e++) {
            const struct scene_device *o = &c->dev[e];
            if (o->node != d->node || o->why != d->why || k->dev[e] != k->dev[i] ||
                strcmp(n->devices[o->index].name, x->name) != 0)
                break;
        }
        if (d->why && d->why == c->nodes[d->node].why)
            continue; /* the node's own line says why */
        char label[LABEL];
        if (e - i == 1)
            place_device_label(c, d->node, d->index, label, sizeof label);
        else
            str_copyf(label, sizeof label, "%s:%u-%u %ux %s", n->name, x->index,
                      n->devices[c->dev[e - 1].index].index, e - i, x->name);
        if (p->refused.n == PLACE_MAX_FINDINGS) {
            p->refused.total++;
            continue;
        }
        struct place_finding *f = findings_add(&p->refused, NOTE_AT_GPU);
        note_str(&f->what, WORD_GPU, label);
        if (d->why) {
            says_left_out(f, d->why, "");
            continue;
        }
        struct note *holds = note_num(says(f, NOTE_GPU_HOLDS), WORD_FREE, d->room);
        note_num(note_num(holds, WORD_LAYERS_FIT, k->dev[i]), WORD_LAYERS, c->m->n_layers);
    }
}

static void refuse_nodes(const struct scene *c, struct place_plan *p)
{
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        enum scene_why w = c->nodes[i].why;
        if (!w)
            continue;
        if (p->refused.n == PLACE_MAX_FINDINGS) {
            p->refused.total++;
            continue;
        }
        struct place_finding *f = findings_add(&p->refused, NOTE_AT_NODE);
        note_str(&f->what, WORD_NODE, c->s->nodes[i].name);
        says_left_out(f, w, c->s->nodes[i].reason);
    }
}

/* RAM that would have to hold all of it, and does not. */
static void refuse_ram(const struct scene *c, struct place_plan *p)
{
    if (p->refused.n == PLACE_MAX_FINDINGS) {
        p->refused.total++;
        return;
    }
    if (c->spec->want.no_ram) {
        struct place_finding *f = findings_add(&p->refused, NOTE_AT_EVERY_RAM);
        says(f, NOTE_RAM_FORBIDDEN);
        return;
    }
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && (best == UINT32_MAX ||
                                 c->s->nodes[i].ram_free_bytes > c->s->nodes[best].ram_free_bytes))
            best = i;
    if (best == UINT32_MAX)
        return;
    struct place_finding *f = findings_add(&p->refused, NOTE_AT_RAM);
    note_str(&f->what, WORD_NODE, c->s->nodes[best].name);
    struct note *n = note_num(says(f, NOTE_RAM_SHORT), WORD_NEED, c->ram_cpu[c->m->n_layers]);
    note_num(n, WORD_FREE, c->s->nodes[best].ram_free_bytes);
}

static enum note_code summary_code(const struct scene *c, const struct place_plan *p, uint64_t fit,
                                   uint32_t most)
{
    bool span = most < c->n_usable && most == c->s->engine_devices;
    if (c->n_usable == 0)
        return NOTE_NO_FIT_NO_GPU;
    if (fit < c->m->n_layers)
        return span ? NOTE_NO_FIT_SPAN : NOTE_NO_FIT;
    if (!p->optimal)
        return NOTE_NO_FIT_UNPROVED;
    if (c->spec->want.max_nodes || c->spec->want.max_gpus)
        return NOTE_NO_FIT_LIMITS;
    return span ? NOTE_NO_FIT_WHOLE_SPAN : NOTE_NO_FIT_WHOLE;
}

void reasons_refusal(const struct scene *c, struct place_plan *p)
{
    struct capacity k;
    capacity_init(&k, c);
    refuse_devices(c, &k, p);
    refuse_nodes(c, p);
    refuse_ram(c, p);
    uint32_t most = most_devices(c);
    uint64_t fit = top_sum(k.dev, c->n_dev, most), n = c->m->n_layers;
    enum note_code code = summary_code(c, p, fit, most);
    note_set(&p->summary, code);
    note_num(note_num(&p->summary, WORD_LAYERS, n), WORD_LAYER, (model_bytes(c) - c->m->head) / n);
    uint64_t has = word_at(code)->params;
    if (has >> WORD_LAYERS_FIT & 1)
        note_num(&p->summary, WORD_LAYERS_FIT, fit);
    if (has >> WORD_N_GPUS & 1)
        note_num(&p->summary, WORD_N_GPUS, most);
    if (has >> WORD_SPAN & 1)
        note_num(&p->summary, WORD_SPAN, most);
    if (p->refused.total > p->refused.n) {
        struct note *cut =
            note_str(notes_add(&p->warnings, NOTE_WARN_LIST_CUT), WORD_LIST, "refused");
        note_num(note_num(cut, WORD_SHOWN, p->refused.n), WORD_TOTAL, p->refused.total);
    }
    capacity_done(&k);
}
