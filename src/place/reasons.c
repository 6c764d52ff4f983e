/* Why this plan, what proves it, what a person might have tried instead; and what a refusal lacks.
 */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

enum { GIB_TEXT = 32, LABEL = 160, RAM_STEPS = 4 << 20 };

struct place_reason *reasons_add(struct place_plan *p, enum place_code code)
{
    p->rejected = mem_realloc(p->rejected, p->n_rejected + 1, sizeof *p->rejected);
    struct place_reason *r = &p->rejected[p->n_rejected++];
    *r = (struct place_reason){.code = code};
    return r;
}

/* The next free line of proof or why. */
static char *line(char (*lines)[160], uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!lines[i][0])
            return lines[i];
    return NULL;
}
#define SAY(lines, ...)                                                                            \
    do {                                                                                           \
        char *line_ = line((lines), ARRAY_LEN(lines));                                             \
        if (line_)                                                                                 \
            str_copyf(line_, sizeof *(lines), __VA_ARGS__);                                        \
    } while (0)

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

static void prove_counts(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    struct capacity k;
    capacity_init(&k, c);
    uint32_t want = c->m->n_layers;
    if (a->n_nodes > 1) {
        uint64_t most = top_sum(k.node, k.p->p.n_nodes, a->n_nodes - 1);
        if (a->bound_nodes < a->n_nodes)
            SAY(p->proof, "not excluded within the budget: an answer with %u node%s",
                a->bound_nodes, a->bound_nodes == 1 ? "" : "s");
        else if (most < want)
            SAY(p->proof, "%u node%s: at most %llu of %u layers", a->n_nodes - 1,
                a->n_nodes > 2 ? "s" : " alone", (unsigned long long)most, want);
        else
            SAY(p->proof, "%u node%s: no choice holds all %u layers (searched)", a->n_nodes - 1,
                a->n_nodes > 2 ? "s" : " alone", want);
    }
    uint64_t most = top_sum(k.dev, c->n_dev, a->n_gpus - 1);
    if (a->bound_gpus < a->n_gpus)
        SAY(p->proof, "not excluded within the budget: an answer with %u GPUs", a->bound_gpus);
    else if (a->n_gpus > 2 && most < want)
        SAY(p->proof, "%u GPUs: at most %llu of %u layers", a->n_gpus - 1, (unsigned long long)most,
            want);
    else if (a->n_gpus > 2)
        SAY(p->proof, "%u GPUs on %u node%s: no choice holds all %u layers (searched)",
            a->n_gpus - 1, a->n_nodes, a->n_nodes == 1 ? "" : "s", want);
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
        SAY(p->proof, "GPUs alone were not excluded within the budget");
    else if (most < c->n_usable && most == c->s->engine_devices)
        SAY(p->proof,
            "no choice of %u GPUs, the most the engine spans, holds all layers (searched)", most);
    else
        SAY(p->proof, c->n_usable ? "no choice of GPUs holds all layers (searched)"
                                  : "there is no GPU to use");
}

static void prove(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    char need[GIB_TEXT], have[GIB_TEXT], label[LABEL];
    const struct scene_device *big = largest(c);
    num_fmt_gib(need, sizeof need, c->need_single);
    if (a->tier == TIER_ONE_GPU) {
        SAY(p->proof, "one GPU is the least there is; no GPU that holds it is faster");
        return;
    }
    if (big && big->room < c->need_single) {
        num_fmt_gib(have, sizeof have, big->room);
        SAY(p->proof, "no single GPU: %s needed, at most %s usable (%s)", need, have,
            place_device_label(c, big->node, big->index, label, sizeof label));
    }
    bool tiered = strcmp(c->spec->policy.name, "fastest") != 0;
    if ((a->tier == TIER_ONE_NODE || a->tier == TIER_NODES) && tiered && a->n_gpus > 1)
        prove_counts(c, a, p);
    if (a->tier >= TIER_RAM && tiered)
        prove_no_gpus(c, a, p);
    if (a->proved)
        SAY(p->proof, "%.2f ms per token: least of all such plans", (double)a->ns / 1e6);
    else
        SAY(p->proof, "%.2f ms per token; none of this kind is below %.2f", (double)a->ns / 1e6,
            (double)a->bound_ns / 1e6);
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
    char text[GIB_TEXT];
    if (best == UINT32_MAX || a->n_gpus < 2)
        return;
    const char *name = c->s->nodes[best].name;
    if (most < need)
        SAY(p->why, "%s alone is %s short, so %u nodes is the minimum.", name,
            num_fmt_gib(text, sizeof text, need - most), a->n_nodes);
    else
        SAY(p->why, "%s has the bytes, but whole layers do not fit its GPUs: %u nodes.", name,
            a->n_nodes);
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
            SAY(p->why, "%.60s over %.60s: %.0f against %.0f GB/s.", mine->name, d->name,
                mine->bandwidth_bytes_per_s / 1e9, d->bandwidth_bytes_per_s / 1e9);
            return;
        }
    }
}

static void why(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    char text[GIB_TEXT];
    const char *main = c->s->nodes[a->main].name;
    if (a->tier == TIER_ONE_GPU)
        SAY(p->why, "the fastest GPU that holds all %u layers; of equal ones the smallest.",
            c->m->n_layers);
    if (a->tier == TIER_ONE_NODE)
        SAY(p->why, "no single GPU holds it; %u GPUs of %s do, and no network is needed.",
            a->n_gpus, main);
    if (a->tier == TIER_NODES)
        why_nodes(c, a, p);
    if (a->n_moe)
        SAY(p->why, "routed experts of the first %u blocks stay in the RAM of %s.", a->n_moe, main);
    if (a->n_cpu && a->n_parts)
        SAY(p->why, "%s %u layers; the first %u run on the CPU of %s.",
            a->n_gpus ? "GPUs hold" : "the RAM of other nodes holds", c->m->n_layers - a->n_cpu,
            a->n_cpu, main);
    if (a->tier == TIER_CPU && c->n_usable)
        SAY(p->why, "no GPU takes part: none holds even part of it.");
    why_speed(c, a, p);
    uint32_t last = a->n_parts ? a->parts[a->n_parts - 1].node : a->main;
    if (a->n_nodes > 1 && last == a->main)
        SAY(p->why,
            "%s last: the output layer stays beside the main process; elsewhere it would "
            "send %s per token.",
            main, num_fmt_gib(text, sizeof text, 4 * (uint64_t)c->m->n_vocab));
}

/* ---- rejected ---- */

/* Would these counts on the answer's devices fit? The first that does not, or the speed. */
static void reject_split(const struct scene *c, const struct answer *a, const char *what,
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
        uint64_t taken = c->s->margin_bytes + c->s->runtime_bytes;
        uint64_t have = c->s->nodes[x->node].devices[x->index].free_bytes;
        parts[i] = *x;
        parts[i].n_layers = counts[i];
        if (num_add_sat(need, taken) <= have)
            continue;
        struct place_reason *r = reasons_add(p, PLACE_MEMORY);
        STR_COPY(r->what, what);
        str_copyf(r->detail, sizeof r->detail, "%.90s: %u layers",
                  place_device_label(c, x->node, x->index, label, sizeof label), counts[i]);
        r->need = num_add_sat(need, taken);
        r->have = have;
        return;
    }
    double t = place_seconds(c, a->main, parts, a->n_parts, 0, 0);
    if (t > 0 && 1 / t < p->a.tok_s * 0.999) {
        struct place_reason *r = reasons_add(p, PLACE_SLOWER);
        STR_COPY(r->what, what);
        r->tok_s = 1 / t;
    }
}

static void reject_splits(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    uint32_t g = a->n_parts, n = c->m->n_layers;
    char what[128];
    mem_auto uint32_t *counts = mem_calloc(g + 1, sizeof *counts);
    mem_auto double *shares = mem_calloc(g + 1, sizeof *shares);
    mem_auto int *where = mem_calloc((size_t)c->m->n_blocks + 2, sizeof *where);
    for (uint32_t i = 0; i < g; i++)
        counts[i] = n / g + (i < n % g);
    str_copyf(what, sizeof what, "equal split");
    reject_split(c, a, what, counts, p);
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
    str_copyf(what, sizeof what, "split by free memory");
    reject_split(c, a, what, counts, p);
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
        struct place_reason *r = reasons_add(p, PLACE_LAYERS);
        str_copyf(r->what, sizeof r->what, "%s only, %u GPU%s",
                  c->s->nodes[k.p->node_of[best]].name, n->n_dev, n->n_dev == 1 ? "" : "s");
        r->need = c->m->n_layers;
        r->have = k.node[best] < r->need ? k.node[best] : r->need - 1;
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
        struct place_reason *r = reasons_add(p, PLACE_SLOWER);
        str_copyf(r->what, sizeof r->what, "%s, %s%u%s in RAM", c->s->nodes[ram.main].name,
                  ram.n_moe ? "experts of " : "", ram.n_moe ? ram.n_moe : ram.n_cpu,
                  ram.n_moe        ? ""
                  : ram.n_cpu == 1 ? " layer"
                                   : " layers");
        r->tok_s = t > 0 ? 1 / t : 0;
        if (r->tok_s > p->a.tok_s)
            STR_COPY(r->detail, "all on GPUs comes first; --policy fastest takes this");
    }
    answer_done(&ram);
}

static void reject_more(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    if (c->n_usable <= a->n_gpus)
        return;
    struct place_reason *r = reasons_add(p, PLACE_MORE_NODES);
    str_copyf(r->what, sizeof r->what, "all %u GPUs", c->n_usable);
    STR_COPY(r->detail, a->n_gpus == 1 ? "more hops, nothing gained" : "more hops than needed");
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

static const struct {
    enum place_code code;
    const char *text;
} LEFT_OUT[] = {
    [SCENE_OK] = {PLACE_EXCLUDED, ""},
    [SCENE_NODE_EXCLUDED] = {PLACE_EXCLUDED, "excluded by name"},
    [SCENE_NODE_NOT_LISTED] = {PLACE_EXCLUDED, "not among the nodes asked for"},
    [SCENE_NOT_LISTED] = {PLACE_EXCLUDED, "not among the GPUs asked for"},
    [SCENE_DRAINED] = {PLACE_DRAINED, ""},
    [SCENE_LOST] = {PLACE_LOST, "no heartbeat"},
    [SCENE_TYPE] = {PLACE_EXCLUDED, "not of a type asked for"},
    [SCENE_LABEL] = {PLACE_EXCLUDED, "lacks a label asked for"},
    [SCENE_ANTI_AFFINITY] = {PLACE_EXCLUDED, "runs what this must be apart from"},
    [SCENE_KEPT_NODE] = {PLACE_EXCLUDED, "its node is kept whole, not all of it may be used"},
};
_Static_assert(ARRAY_LEN(LEFT_OUT) == SCENE_WHY_COUNT, "a text for every reason");

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
        if (d->why && d->why != SCENE_NOT_LISTED)
            continue; /* the node's own line says why */
        struct place_reason *r = reasons_add(p, d->why ? LEFT_OUT[d->why].code : PLACE_LAYERS);
        char gib[GIB_TEXT];
        if (e - i == 1)
            str_copyf(r->what, sizeof r->what, "%s:%u %s", n->name, x->index, x->name);
        else
            str_copyf(r->what, sizeof r->what, "%s:%u-%u %ux %s", n->name, x->index,
                      n->devices[c->dev[e - 1].index].index, e - i, x->name);
        if (d->why)
            STR_COPY(r->detail, LEFT_OUT[d->why].text);
        else
            str_copyf(r->detail, sizeof r->detail, "%s usable%s",
                      num_fmt_gib(gib, sizeof gib, d->room), e - i > 1 ? " each" : "");
        r->have = (uint64_t)k->dev[i];
        r->need = c->m->n_layers;
    }
}

static void refuse_nodes(const struct scene *c, struct place_plan *p)
{
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        enum scene_why w = c->nodes[i].why;
        if (!w)
            continue;
        struct place_reason *r = reasons_add(p, LEFT_OUT[w].code);
        STR_COPY(r->what, c->s->nodes[i].name);
        STR_COPY(r->detail, w == SCENE_DRAINED ? c->s->nodes[i].reason : LEFT_OUT[w].text);
    }
}

/* RAM that would have to hold all of it, and does not. */
static void refuse_ram(const struct scene *c, struct place_plan *p)
{
    uint64_t need = c->ram_cpu[c->m->n_layers];
    if (c->spec->want.no_ram) {
        struct place_reason *r = reasons_add(p, PLACE_EXCLUDED);
        STR_COPY(r->what, "RAM of every node");
        STR_COPY(r->detail, "layers in RAM are forbidden");
        return;
    }
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && (best == UINT32_MAX ||
                                 c->s->nodes[i].ram_free_bytes > c->s->nodes[best].ram_free_bytes))
            best = i;
    if (best == UINT32_MAX)
        return;
    struct place_reason *r = reasons_add(p, PLACE_MEMORY);
    str_copyf(r->what, sizeof r->what, "RAM of %s, the largest", c->s->nodes[best].name);
    STR_COPY(r->detail, "all layers on the CPU");
    r->need = need;
    r->have = c->s->nodes[best].ram_free_bytes;
}

void reasons_refusal(const struct scene *c, struct place_plan *p)
{
    struct capacity k;
    char each[GIB_TEXT];
    capacity_init(&k, c);
    uint64_t fit = 0, n = c->m->n_layers, bytes = model_bytes(c) - c->m->head;
    refuse_devices(c, &k, p);
    refuse_nodes(c, p);
    refuse_ram(c, p);
    uint32_t most = most_devices(c);
    fit = top_sum(k.dev, c->n_dev, most);
    num_fmt_gib(each, sizeof each, bytes / n);
    if (c->n_usable == 0)
        str_copyf(p->summary, sizeof p->summary,
                  "no placement: %llu layers of %s needed, no GPU to use and too little RAM",
                  (unsigned long long)n, each);
    else if (fit < n)
        str_copyf(p->summary, sizeof p->summary,
                  "no placement: %llu layers of %s needed, %llu fit on %u GPU%s%s",
                  (unsigned long long)n, each, (unsigned long long)fit, most, most == 1 ? "" : "s",
                  most == c->s->engine_devices && most < c->n_usable ? ", the most the engine spans"
                                                                     : "");
    else
        str_copyf(p->summary, sizeof p->summary,
                  "no placement: %llu layers of %s would fit, but not within %s%s%s",
                  (unsigned long long)n, each,
                  c->spec->want.max_nodes || c->spec->want.max_gpus ? "the limits asked for"
                  : most < c->n_usable ? "the number of devices that the engine spans"
                                       : "whole layers, output layer and RAM",
                  p->optimal ? "" : " (not proved", p->optimal ? "" : ")");
    capacity_done(&k);
}
