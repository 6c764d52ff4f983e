/* Why this plan, and what proves it. What was not chosen: rejected.c; refusals: refused.c. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/capacity.h"
#include "place/hand.h"
#include "place/objective.h"

#include <assert.h>
#include <string.h>

enum { LABEL = 160, ORDER = 256 };

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

struct telling {
    const struct scene *c;
    const struct answer *a;
    const struct capacity *k;
    struct place_plan *p;
};

static const struct scene_device *largest(const struct scene *c)
{
    const struct scene_device *best = NULL;
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why && (!best || c->dev[i].room > best->room))
            best = &c->dev[i];
    return best;
}

/* ---- proof: nodes and GPUs ---- */

/* The measure in which so many nodes and GPUs fall short, as figures of a note. */
static void set_lacks(const struct telling *x, uint32_t b, uint64_t fits, struct note *n)
{
    if (b == CAP_BYTES)
        note_num(note_num(n, WORD_FREE, fits), WORD_NEED, x->k->want[b]);
    else
        note_num(note_num(n, WORD_LAYERS_FIT, fits), WORD_LAYERS, x->k->want[b]);
    if (b >= CAP_LARGE)
        note_num(n, WORD_LAYER, capacity_large(x->k, b));
}

/* That no choice of so many nodes and GPUs holds the model: by the measure that shows it, else
 * because the search has tried them all. n_gpus UINT32_MAX: as many as there are. */
static void prove_too_few(const struct telling *x, uint32_t n_nodes, uint32_t n_gpus)
{
    static const enum note_code NODES[] = {NOTE_PROOF_NODES_LAYERS, NOTE_PROOF_NODES_BYTES,
                                           NOTE_PROOF_NODES_LARGE, NOTE_PROOF_NODES_SEARCHED};
    static const enum note_code GPUS[] = {NOTE_PROOF_GPUS_LAYERS, NOTE_PROOF_GPUS_BYTES,
                                          NOTE_PROOF_GPUS_LARGE, NOTE_PROOF_GPUS_SEARCHED};
    uint64_t fits;
    uint32_t b = capacity_lacks(x->k, n_nodes, n_gpus, &fits);
    uint32_t kind = b == CAP_COUNT ? 3 : b < CAP_LARGE ? b : 2;
    bool gpus = n_gpus != UINT32_MAX;
    struct note *n = notes_add(&x->p->proof, gpus ? GPUS[kind] : NODES[kind]);
    note_num(n, WORD_N_NODES, n_nodes);
    if (gpus)
        note_num(n, WORD_N_GPUS, n_gpus);
    if (kind == 3)
        note_num(n, WORD_LAYERS, x->c->m->n_layers);
    else
        set_lacks(x, b, fits, n);
}

static void prove_no_single(const struct telling *x)
{
    const struct scene_device *big = largest(x->c);
    char label[LABEL];
    if (!big || big->room >= x->c->need_single)
        return;
    struct note *n = notes_add(&x->p->proof, NOTE_PROOF_NO_SINGLE_GPU);
    note_num(note_num(n, WORD_NEED, x->c->need_single), WORD_FREE, big->room);
    note_str(n, WORD_GPU, place_device_label(x->c, big->node, big->index, label, sizeof label));
}

static void prove_nodes(const struct telling *x)
{
    const struct answer *a = x->a;
    if (a->bound_nodes < a->n_nodes)
        note_num(notes_add(&x->p->proof, NOTE_OPEN_NODES), WORD_N_NODES, a->bound_nodes);
    if (a->bound_nodes > 1)
        prove_too_few(x, a->bound_nodes - 1, UINT32_MAX);
}

static void prove_gpus(const struct telling *x)
{
    const struct answer *a = x->a;
    if (a->bound_gpus < a->n_gpus)
        note_num(notes_add(&x->p->proof, NOTE_OPEN_GPUS), WORD_N_GPUS, a->bound_gpus);
    if (a->bound_gpus > 2)
        prove_too_few(x, a->n_nodes, a->bound_gpus - 1);
}

/* ---- proof: RAM, time, the rest ---- */

static void prove_no_gpus(const struct telling *x)
{
    static const enum note_code LACKS[] = {NOTE_PROOF_NO_GPUS_LAYERS, NOTE_PROOF_NO_GPUS_BYTES,
                                           NOTE_PROOF_NO_GPUS_LARGE};
    uint64_t fits;
    uint32_t b = capacity_lacks(x->k, 0, x->k->most, &fits);
    struct notes *out = &x->p->proof;
    if (!x->c->n_usable)
        notes_add(out, NOTE_PROOF_NO_GPU_THERE);
    else if (b < CAP_COUNT)
        set_lacks(x, b, fits,
                  note_num(notes_add(out, LACKS[b < CAP_LARGE ? b : 2]), WORD_N_GPUS, x->k->most));
    else if (x->a->bound_offload == 0)
        notes_add(out, NOTE_OPEN_NO_GPUS);
    else if (x->k->most < x->c->n_usable && x->k->most == x->c->s->engine_devices)
        note_num(notes_add(out, NOTE_PROOF_NO_GPUS_SPAN), WORD_SPAN, x->k->most);
    else
        notes_add(out, NOTE_PROOF_NO_GPUS);
}

static void prove_time(const struct telling *x, const struct place_term *t)
{
    struct note *n = notes_add(&x->p->proof, t->proved ? NOTE_PROOF_TIME : NOTE_OPEN_TIME);
    note_real(n, WORD_MS, t->amount);
    if (!t->proved)
        note_real(n, WORD_BOUND_MS, t->bound);
}

static void prove_term(const struct telling *x, const struct place_term *t)
{
    struct note *n = notes_add(&x->p->proof, t->proved ? NOTE_PROOF_TERM : NOTE_OPEN_TERM);
    note_str(n, WORD_TERM, policy_term_name(t->term));
    note_str(note_real(n, WORD_AMOUNT, t->amount), WORD_UNIT, policy_term_unit(t->term));
    if (!t->proved)
        note_real(n, WORD_BOUND, t->bound);
}

static void prove_sum(const struct telling *x)
{
    struct note *n = notes_add(&x->p->proof, x->p->optimal ? NOTE_PROOF_SUM : NOTE_OPEN_SUM);
    note_real(n, WORD_AMOUNT, x->p->sum);
    if (!x->p->optimal)
        note_real(n, WORD_BOUND, x->p->bound_sum);
}

static void prove_one(const struct telling *x, const struct place_term *t)
{
    bool counted = x->a->counted;
    switch (t->term) {
    case TERM_OFFLOAD:
        if (t->amount > 0 && x->c->goal->by_tier)
            prove_no_gpus(x);
        break;
    case TERM_TOKEN_TIME:
        prove_time(x, t);
        break;
    case TERM_NODES:
        if (counted && x->a->n_gpus == 1 && x->a->n_nodes == 1)
            notes_add(&x->p->proof, NOTE_PROOF_ONE_GPU);
        else if (counted)
            prove_no_single(x);
        if (counted)
            prove_nodes(x);
        else
            prove_term(x, t);
        break;
    case TERM_GPUS:
        if (counted)
            prove_gpus(x);
        else
            prove_term(x, t);
        break;
    default:
        prove_term(x, t);
    }
}

/* Term by term in the order of the policy, up to the first that is not proved: nothing is known of
 * those after it. A preference at the end is none that could be. */
static void prove(const struct telling *x)
{
    if (x->c->spec->want.n_split) {
        notes_add(&x->p->proof, NOTE_PROOF_GIVEN);
        return;
    }
    if (x->p->weighted) {
        prove_sum(x);
        return;
    }
    uint32_t n = x->p->n_terms - x->c->goal->prefers_fit;
    for (uint32_t i = 0; i < n; i++) {
        prove_one(x, &x->p->terms[i]);
        if (!x->p->terms[i].proved)
            break;
    }
}

/* ---- why ---- */

/* Does time decide once tier, nodes and GPUs have? */
static bool by_speed(const struct telling *x)
{
    const struct goal *g = x->c->goal;
    if (g->p.weighted)
        return false;
    for (uint32_t i = 0; i < g->p.n_terms; i++) {
        enum policy_term t = g->p.terms[i].term;
        if (t == TERM_TOKEN_TIME)
            return true;
        if (t != TERM_OFFLOAD && t != TERM_NODES && t != TERM_GPUS)
            return false;
    }
    return true;
}

/* The order of terms, for policies that are not the usual one. */
static void why_policy(const struct telling *x)
{
    const struct policy *p = &x->c->goal->p;
    struct policy usual;
    char order[ORDER] = "";
    if (policy_preset(&usual, "tiered", NULL) || policy_same(p, &usual))
        return;
    for (uint32_t i = 0; i < p->n_terms; i++) {
        size_t n = strlen(order);
        str_copyf(order + n, sizeof order - n, "%s%s", i ? ", " : "",
                  policy_term_name(p->terms[i].term));
    }
    struct note *n = notes_add(&x->p->why, p->weighted ? NOTE_WHY_SUM : NOTE_WHY_POLICY);
    note_str(note_str(n, WORD_POLICY, p->name), WORD_ORDER, order);
}

static void why_one_gpu(const struct telling *x)
{
    uint32_t n = 0;
    char label[LABEL];
    for (uint32_t i = 0; i < x->c->n_dev; i++)
        n += !x->c->dev[i].why && x->c->dev[i].room >= x->c->need_single;
    const struct answer_part *d = &x->a->parts[0];
    bool usual = by_speed(x) && x->c->goal->prefers_fit;
    struct note *w = notes_add(&x->p->why, usual ? NOTE_WHY_ONE_GPU : NOTE_WHY_THIS_GPU);
    note_str(w, WORD_GPU, place_device_label(x->c, d->node, d->index, label, sizeof label));
    note_num(note_num(w, WORD_LAYERS, x->c->m->n_layers), WORD_N_GPUS, n);
    if (!usual)
        note_str(w, WORD_POLICY, x->c->goal->p.name);
}

static void why_one_node(const struct telling *x)
{
    const struct scene_device *big = largest(x->c);
    bool must = big && big->room < x->c->need_single;
    struct note *n = notes_add(&x->p->why, must ? NOTE_WHY_ONE_NODE : NOTE_WHY_THESE_GPUS);
    note_str(n, WORD_NODE, x->c->s->nodes[x->a->main].name);
    note_num(n, WORD_N_GPUS, x->a->n_gpus);
    if (!must)
        note_str(n, WORD_POLICY, x->c->goal->p.name);
}

/* How far the node that comes closest is from holding the model alone. */
static void why_nodes(const struct telling *x)
{
    uint32_t best = capacity_best_node(x->k);
    uint64_t need, gap;
    if (best == UINT32_MAX || x->a->n_gpus < 2)
        return;
    gap = capacity_node_short(x->k, best, &need);
    bool least = x->a->counted && x->a->bound_nodes == x->a->n_nodes;
    struct note *n = notes_add(&x->p->why, gap && least ? NOTE_WHY_NODE_SHORT
                                           : gap        ? NOTE_WHY_NODE_ALONE_SHORT
                                           : least      ? NOTE_WHY_NODE_WHOLE
                                                        : NOTE_WHY_THESE_NODES);
    if (gap || least)
        note_str(n, WORD_NODE, x->c->s->nodes[best].name);
    else
        note_str(n, WORD_POLICY, x->c->goal->p.name);
    if (!gap || least)
        note_num(n, WORD_N_NODES, x->a->n_nodes);
    if (gap)
        note_num(n, WORD_SHORT, gap);
}

static bool uses(const struct answer *a, uint32_t node, uint32_t index)
{
    for (uint32_t i = 0; i < a->n_parts; i++)
        if (a->parts[i].node == node && a->parts[i].index == index)
            return true;
    return false;
}

static bool said(const struct notes *l, const char *gpu, const char *other)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(note_str_of(&l->items[i], WORD_GPU), gpu) == 0 &&
            strcmp(note_str_of(&l->items[i], WORD_OTHER), other) == 0)
            return true;
    return false;
}

/* Faster used cards beside slower unused ones of the same node that are as large; each pair of
 * types once. */
static void why_speed(const struct telling *x)
{
    for (uint32_t i = 0; i < x->a->n_parts; i++) {
        const struct answer_part *part = &x->a->parts[i];
        if (part->index == UINT32_MAX)
            continue;
        const struct cluster_node *n = &x->c->s->nodes[part->node];
        const struct cluster_device *mine = &n->devices[part->index];
        for (uint32_t k = 0; k < n->n_devices; k++) {
            const struct cluster_device *d = &n->devices[k];
            if (uses(x->a, part->node, k) || d->kind != DEVICE_GPU ||
                d->free_bytes < mine->free_bytes || !d->bandwidth_bytes_per_s ||
                d->bandwidth_bytes_per_s >= mine->bandwidth_bytes_per_s ||
                said(&x->p->why, mine->name, d->name))
                continue;
            struct note *w = notes_add(&x->p->why, NOTE_WHY_FASTER_GPU);
            note_str(note_str(w, WORD_GPU, mine->name), WORD_OTHER, d->name);
            note_real(w, WORD_RATE, mine->bandwidth_bytes_per_s);
            note_real(w, WORD_OTHER_RATE, d->bandwidth_bytes_per_s);
        }
    }
}

/* What stays in RAM, and whose. */
static void why_ram(const struct telling *x)
{
    const struct answer *a = x->a;
    const char *main = x->c->s->nodes[a->main].name;
    struct note *n;
    if (a->n_moe) {
        n = note_str(notes_add(&x->p->why, NOTE_WHY_EXPERTS_IN_RAM), WORD_NODE, main);
        note_num(n, WORD_BLOCKS, a->n_moe);
    }
    if (a->n_cpu && a->n_parts) {
        n = notes_add(&x->p->why, a->n_gpus ? NOTE_WHY_LAYERS_IN_RAM : NOTE_WHY_REMOTE_RAM);
        note_num(note_str(n, WORD_NODE, main), WORD_LAYERS, x->c->m->n_layers - a->n_cpu);
        note_num(n, WORD_CPU_LAYERS, a->n_cpu);
    }
    if (a->tier == TIER_CPU && x->c->n_usable && x->c->goal->by_tier)
        notes_add(&x->p->why, NOTE_WHY_CPU_ONLY);
}

/* The main node carries the output layer: what the same split would be with it at the front. */
static void why_main_last(const struct telling *x)
{
    const struct answer *a = x->a;
    uint32_t n = a->n_parts, at = 0;
    if (a->n_nodes < 2 || !n || a->parts[n - 1].node != a->main || a->parts[0].node == a->main)
        return;
    mem_auto struct answer_part *parts = mem_calloc(n, sizeof *parts);
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < n; i++)
            if ((a->parts[i].node == a->main) == (pass == 0))
                parts[at++] = a->parts[i];
    double t = place_seconds(x->c, a->main, parts, n, a->n_cpu, a->n_moe);
    struct note *w = notes_add(&x->p->why, NOTE_WHY_MAIN_LAST);
    note_str(w, WORD_NODE, x->c->s->nodes[a->main].name);
    note_num(w, WORD_LOGITS, 4 * (uint64_t)x->c->m->n_vocab);
    note_real(note_real(w, WORD_TOK_S, x->p->a.tok_s), WORD_OTHER_TOK_S, t > 0 ? 1 / t : 0);
}

static void why(const struct telling *x)
{
    why_policy(x);
    if (x->c->spec->want.n_split) {
        notes_add(&x->p->why, NOTE_WHY_GIVEN);
        return;
    }
    if (x->a->tier == TIER_ONE_GPU)
        why_one_gpu(x);
    if (x->a->tier == TIER_ONE_NODE)
        why_one_node(x);
    if (x->a->tier == TIER_NODES)
        why_nodes(x);
    why_ram(x);
    if (by_speed(x))
        why_speed(x);
    why_main_last(x);
}

/* ---- the rest ---- */

/* How the main process reaches each part: activations there and back, logits from the last one. */
static void ways(const struct telling *x)
{
    const struct estimate_model *m = x->c->m;
    for (uint32_t i = 0; i < x->a->n_parts; i++) {
        const struct answer_part *part = &x->a->parts[i];
        if (part->node == x->a->main) {
            notes_add(&x->p->ways, NOTE_WAY_LOCAL);
            continue;
        }
        struct cluster_link l = snapshot_link(x->c->s, x->a->main, part->node);
        uint64_t bytes = 2 * 4 * (uint64_t)m->n_embd;
        bytes += i + 1 == x->a->n_parts ? 4 * (uint64_t)m->n_vocab : 0;
        struct note *n = note_num(notes_add(&x->p->ways, NOTE_WAY_NETWORK), WORD_TOKEN, bytes);
        note_real(note_real(n, WORD_LINK, l.bytes_per_s), WORD_RTT, 1e3 * l.rtt_s);
    }
}

static void verdict(const struct scene *c, struct place_plan *p)
{
    const char *policy = c->spec->policy.name;
    note_set(&p->verdict, p->optimal ? NOTE_OPTIMAL : NOTE_BEST_FOUND);
    note_real(&p->verdict, WORD_TOK_S, p->a.tok_s);
    note_str(&p->verdict, WORD_POLICY, policy[0] ? policy : "tiered");
    if (!p->optimal)
        note_real(&p->verdict, WORD_GAP, p->gap_percent);
}

static void assumed(const struct scene *c, struct place_plan *p)
{
    const struct estimate_opts *o = &c->m->opts;
    uint32_t slots = o->n_slots ? o->n_slots : 1;
    int64_t age = -1;
    struct note *n = note_num(notes_add(&p->assumed, NOTE_ASSUMED_CTX), WORD_CTX, o->ctx / slots);
    note_str(note_num(n, WORD_SLOTS, slots), WORD_KV, kv_type_name(o->kv_k));
    n = note_num(notes_add(&p->assumed, NOTE_ASSUMED_RESERVE), WORD_RUNTIME, c->s->runtime_bytes);
    note_num(n, WORD_MARGIN, c->s->margin_bytes);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && c->s->nodes[i].seen_ms > age)
            age = c->s->nodes[i].seen_ms;
    if (age >= 0)
        note_num(notes_add(&p->assumed, NOTE_ASSUMED_SEEN), WORD_SECONDS,
                 ((uint64_t)age + 999) / 1000);
    if (c->m->warning[0])
        note_str(notes_add(&p->assumed, NOTE_ASSUMED_MODEL), WORD_TEXT, c->m->warning);
}

void reasons_answer(const struct scene *c, const struct answer *a, bool brief, struct place_plan *p)
{
    struct capacity *k = capacity_new(c);
    struct telling x = {.c = c, .a = a, .k = k, .p = p};
    prove(&x);
    why(&x);
    ways(&x);
    verdict(c, p);
    assumed(c, p);
    reasons_rejected(c, a, k, brief, p);
    capacity_free(k);
}

void reasons_refusal(const struct scene *c, struct place_plan *p)
{
    struct capacity *k = capacity_new(c);
    if (c->spec->want.n_split)
        hand_refusal(c, p);
    else
        reasons_refused(c, k, p);
    assumed(c, p);
    if (!p->optimal)
        note_num(notes_add(&p->warnings, NOTE_WARN_BUDGET_NONE), WORD_STEPS, p->steps);
    capacity_free(k);
}
