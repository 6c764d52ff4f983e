/* A refusal: for every GPU, node and RAM all that stands against it. Neighbours of which the same
 * is to be said are one line. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/capacity.h"
#include "place/whys.h"

#include <string.h>

enum { LABEL = 160 };

/* GPUs of one node, or whole nodes, alike. */
struct line {
    uint32_t node, last_node, n_nodes; /* in the snapshot */
    uint32_t first, n;                 /* devices of the scene, on the first node */
    uint64_t room, used;               /* the least of them; of each */
    uint32_t layers;
    bool whole; /* all GPUs of its node */
};

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

static struct note *says(struct place_finding *f, enum note_code code)
{
    return notes_add(&f->says, code);
}

/* The finding, or NULL when the list is full: it is counted then. */
static struct place_finding *add(struct place_plan *p, enum note_code what)
{
    if (p->refused.n < PLACE_MAX_FINDINGS)
        return findings_add(&p->refused, what);
    p->refused.total++;
    return NULL;
}

/* ---- why a GPU or a node was left out: all reasons ---- */

struct ask {
    const struct scene *c;
    const struct capacity *k;
    struct place_plan *p;
    struct whys whys;
    struct line *lines;
    uint32_t n;
};

static const struct cluster_device *device_at(const struct scene *c, uint32_t i)
{
    return &c->s->nodes[c->dev[i].node].devices[c->dev[i].index];
}

void reasons_left_out(const struct scene *c, struct place_finding *f, uint32_t node,
                      enum scene_why why)
{
    if (!why)
        return;
    struct note *n = says(f, LEFT_OUT[why]);
    if (why == SCENE_DRAINED)
        note_str(n, WORD_REASON, c->s->nodes[node].reason);
}

static void says_all(const struct ask *x, struct place_finding *f, uint32_t node, uint32_t whys)
{
    for (uint32_t w = 1; w < SCENE_WHY_COUNT; w++)
        if (whys >> w & 1)
            reasons_left_out(x->c, f, node, w);
}

/* ---- lines ---- */

static struct line line_at(const struct ask *x, uint32_t i)
{
    const struct scene_device *d = &x->c->dev[i];
    return (struct line){.node = d->node,
                         .last_node = d->node,
                         .n_nodes = 1,
                         .first = i,
                         .n = 1,
                         .room = d->room,
                         .used = device_at(x->c, i)->claimed_bytes,
                         .layers = capacity_layers(x->k, d->room)};
}

/* The same is to be said of both, but for what exactly is free. */
static bool alike(const struct ask *x, const struct line *a, const struct line *b)
{
    return x->whys.dev[a->first] == x->whys.dev[b->first] &&
           x->c->dev[a->first].kept == x->c->dev[b->first].kept && a->layers == b->layers &&
           a->used == b->used &&
           strcmp(device_at(x->c, a->first)->name, device_at(x->c, b->first)->name) == 0;
}

static bool alike_nodes(const struct ask *x, const struct line *a, const struct line *b)
{
    const struct cluster_node *n = x->c->s->nodes;
    return a->whole && b->whole && a->n == b->n && alike(x, a, b) &&
           strcmp(n[a->node].reason, n[b->node].reason) == 0;
}

/* Lines of a node's GPUs, joined with that of the node before where they are alike. */
static void add_node(struct ask *x, uint32_t node)
{
    const struct scene_node *n = &x->c->nodes[node];
    uint32_t start = x->n;
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++) {
        struct line l = line_at(x, i), *last = x->n > start ? &x->lines[x->n - 1] : NULL;
        if (last && alike(x, last, &l)) {
            last->n++;
            last->room = l.room < last->room ? l.room : last->room;
        } else {
            x->lines[x->n++] = l;
        }
    }
    if (x->n != start + 1)
        return;
    struct line *l = &x->lines[start];
    l->whole = true;
    if (!start || !alike_nodes(x, l - 1, l))
        return;
    l[-1].last_node = node;
    l[-1].n_nodes++;
    l[-1].room = l->room < l[-1].room ? l->room : l[-1].room;
    x->n--;
}

static void name_line(const struct ask *x, const struct line *l, struct place_finding *f)
{
    const struct cluster_node *n = &x->c->s->nodes[l->node];
    const struct cluster_device *d = device_at(x->c, l->first);
    char label[LABEL];
    if (l->n_nodes > 1) {
        note_str(&f->what, WORD_NODE, n->name);
        note_str(&f->what, WORD_LAST_NODE, x->c->s->nodes[l->last_node].name);
        note_num(note_num(&f->what, WORD_N_NODES, l->n_nodes), WORD_N_GPUS, l->n);
        note_str(&f->what, WORD_TYPE, d->name);
        return;
    }
    if (l->n == 1)
        place_device_label(x->c, l->node, x->c->dev[l->first].index, label, sizeof label);
    else
        str_copyf(label, sizeof label, "%s:%u-%u %ux %s", n->name, d->index,
                  device_at(x->c, l->first + l->n - 1)->index, l->n, d->name);
    note_num(note_str(&f->what, WORD_GPU, label), WORD_N_GPUS, l->n);
}

static void put_line(const struct ask *x, const struct line *l)
{
    struct place_finding *f = add(x->p, l->n_nodes > 1 ? NOTE_AT_NODES : NOTE_AT_GPU);
    if (!f)
        return;
    name_line(x, l, f);
    uint32_t whys = x->whys.dev[l->first];
    says_all(x, f, l->node, whys);
    if (x->c->dev[l->first].kept)
        says(f, NOTE_GPU_KEPT_WHOLE);
    struct note *n = says(f, whys ? NOTE_WOULD_HOLD : NOTE_GPU_HOLDS);
    note_num(note_num(n, WORD_FREE, l->room), WORD_LAYERS_FIT, l->layers);
    note_num(n, WORD_LAYERS, x->c->m->n_layers);
    if (l->used)
        note_num(says(f, NOTE_IN_USE), WORD_USED, l->used);
}

static uint32_t *by_tag(const struct scene *c)
{
    uint32_t *order = mem_calloc(c->s->n_nodes + 1, sizeof *order);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        order[c->nodes[i].tag] = i;
    return order;
}

static void refuse_gpus(struct ask *x)
{
    mem_auto uint32_t *order = by_tag(x->c);
    x->lines = mem_calloc(x->c->n_dev + 1, sizeof *x->lines);
    for (uint32_t i = 0; i < x->c->s->n_nodes; i++)
        add_node(x, order[i]);
    for (uint32_t pass = 0; pass < 2; pass++) /* what may take part comes first */
        for (uint32_t i = 0; i < x->n; i++)
            if ((x->whys.dev[x->lines[i].first] != 0) == (pass == 1))
                put_line(x, &x->lines[i]);
    free(x->lines);
    for (uint32_t i = 0; i < x->c->s->n_nodes; i++) {
        const struct scene_node *n = &x->c->nodes[order[i]];
        struct place_finding *f = NULL;
        if (n->why && !n->n_dev && (f = add(x->p, NOTE_AT_NODE))) {
            note_str(&f->what, WORD_NODE, x->c->s->nodes[order[i]].name);
            says_all(x, f, order[i], x->whys.node[order[i]]);
        }
    }
}

/* ---- RAM ---- */

static uint32_t most_ram(const struct scene *c)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && (best == UINT32_MAX ||
                                 c->s->nodes[i].ram_free_bytes > c->s->nodes[best].ram_free_bytes))
            best = i;
    return best;
}

/* The node with most RAM: what it would have to hold beside the GPUs, else altogether. */
static void refuse_ram(const struct ask *x)
{
    const struct scene *c = x->c;
    uint32_t best = most_ram(c), n = c->m->n_layers;
    struct place_finding *f = NULL;
    if (c->spec->want.no_ram) {
        if ((f = add(x->p, NOTE_AT_EVERY_RAM)))
            says(f, NOTE_RAM_FORBIDDEN);
        return;
    }
    if (best == UINT32_MAX || !(f = add(x->p, NOTE_AT_RAM)))
        return;
    note_str(&f->what, WORD_NODE, c->s->nodes[best].name);
    uint64_t have = c->s->nodes[best].ram_free_bytes;
    uint64_t fits = capacity_sum(x->k, CAP_LAYERS, 0, x->k->most);
    uint32_t rest = fits < n ? n - (uint32_t)fits : 0;
    if (rest && rest < n && c->ram_cpu[rest] > have) {
        struct note *part = note_num(says(f, NOTE_RAM_SHORT), WORD_CPU_LAYERS, rest);
        note_num(note_num(part, WORD_NEED, c->ram_cpu[rest]), WORD_FREE, have);
    } else if (c->ram_cpu[n] > have) {
        struct note *all = note_num(says(f, NOTE_RAM_SHORT), WORD_CPU_LAYERS, n);
        note_num(note_num(all, WORD_NEED, c->ram_cpu[n]), WORD_FREE, have);
    } else {
        says(f, NOTE_RAM_HOLDS);
    }
}

/* ---- limits on all of it ---- */

static void refuse_limits(const struct ask *x)
{
    const struct constraints *w = &x->c->spec->want;
    uint32_t span = x->c->s->engine_devices;
    struct notes l = {0};
    if (span && span < x->c->n_usable)
        note_num(notes_add(&l, NOTE_LIMIT_SPAN), WORD_SPAN, span);
    if (w->max_nodes)
        note_num(notes_add(&l, NOTE_LIMIT_NODES), WORD_N_NODES, w->max_nodes);
    if (w->max_gpus)
        note_num(notes_add(&l, NOTE_LIMIT_GPUS), WORD_N_GPUS, w->max_gpus);
    if (w->gpus_per_replica)
        note_num(notes_add(&l, NOTE_LIMIT_EXACT_GPUS), WORD_N_GPUS, w->gpus_per_replica);
    if (w->no_network)
        notes_add(&l, NOTE_LIMIT_NO_NETWORK);
    if (w->min_tok_s > 0)
        note_real(notes_add(&l, NOTE_LIMIT_TOK_S), WORD_TOK_S, w->min_tok_s);
    if (w->keep_whole.n)
        notes_add(&l, NOTE_LIMIT_KEEP_WHOLE);
    struct place_finding *f = l.n ? add(x->p, NOTE_AT_ALL) : NULL;
    if (f)
        f->says = l;
    else
        notes_done(&l);
}

/* ---- one line ---- */

static bool limited(const struct constraints *w)
{
    return w->max_nodes || w->max_gpus || w->gpus_per_replica || w->no_network ||
           w->min_tok_s > 0 || w->keep_whole.n;
}

static enum note_code summary_code(const struct ask *x, uint32_t lacks)
{
    const struct scene *c = x->c;
    bool span =
        c->s->engine_devices && x->k->most < c->n_usable && x->k->most == c->s->engine_devices;
    if (c->n_usable == 0)
        return NOTE_NO_FIT_NO_GPU;
    if (lacks == CAP_LAYERS)
        return span ? NOTE_NO_FIT_SPAN : NOTE_NO_FIT;
    if (lacks == CAP_BYTES)
        return span ? NOTE_NO_FIT_BYTES_SPAN : NOTE_NO_FIT_BYTES;
    if (!x->p->optimal)
        return NOTE_NO_FIT_UNPROVED;
    if (limited(&c->spec->want))
        return NOTE_NO_FIT_LIMITS;
    return span ? NOTE_NO_FIT_WHOLE_SPAN : NOTE_NO_FIT_WHOLE;
}

static void summary(const struct ask *x)
{
    struct note *n = &x->p->summary;
    uint64_t layers = x->c->m->n_layers, bytes = 0, fits;
    uint32_t lacks = capacity_lacks(x->k, 0, x->k->most, &fits);
    for (uint32_t l = 0; l < layers; l++)
        bytes = num_add_sat(bytes, num_add_sat(x->c->m->layers[l].weights, x->c->m->layers[l].kv));
    note_set(n, summary_code(x, lacks));
    uint64_t has = word_at(n->code)->params;
    note_num(n, WORD_LAYERS, layers);
    if (has >> WORD_LAYER & 1)
        note_num(n, WORD_LAYER, bytes / layers);
    if (has >> WORD_NEED & 1)
        note_num(note_num(n, WORD_NEED, x->k->want[lacks]), WORD_FREE, fits);
    if (has >> WORD_LAYERS_FIT & 1)
        note_num(n, WORD_LAYERS_FIT, fits);
    if (has >> WORD_N_GPUS & 1)
        note_num(n, WORD_N_GPUS, x->k->most);
    if (has >> WORD_SPAN & 1)
        note_num(n, WORD_SPAN, x->k->most);
}

void reasons_refused(const struct scene *c, const struct capacity *k, struct place_plan *p)
{
    struct ask x = {.c = c, .k = k, .p = p};
    whys_init(&x.whys, c);
    refuse_gpus(&x);
    whys_done(&x.whys);
    refuse_ram(&x);
    refuse_limits(&x);
    summary(&x);
    if (p->refused.total == p->refused.n)
        return;
    struct note *cut = note_str(notes_add(&p->remarks, NOTE_LIST_CUT), WORD_LIST, "refused");
    note_num(note_num(cut, WORD_SHOWN, p->refused.n), WORD_TOTAL, p->refused.total);
}
