/* ONE CHANGE AWAY, of the cluster: nodes that come back, an instance that moves, an engine of a
 * wider build, new GPUs. */
#include "place/changes.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

enum {
    MAX_BACK = 16,  /* drained or lost nodes tried, the largest */
    MAX_MOVES = 32, /* instances tried, the smallest */
    MAX_ADDED = 64, /* GPUs on one node */
    MAX_TYPES = 4,  /* of GPUs there are, the largest; and one of 24 GiB */
    MAX_HOMES = 2,  /* nodes that new GPUs are tried on */
};
#define ADDED_BYTES (24 * GIB)
#define ADDED_BANDWIDTH 936e9

static uint64_t gpu_bytes(const struct cluster_node *n)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < n->n_devices; k++)
        sum = num_add_sat(sum, n->devices[k].free_bytes);
    return sum;
}

static void cut(const struct search *x, const char *list, uint64_t shown, uint64_t total)
{
    struct note *n = note_str(notes_add(&x->p->remarks, NOTE_LIST_CUT), WORD_LIST, list);
    note_num(note_num(n, WORD_SHOWN, shown), WORD_TOTAL, total);
}

/* ---- nodes that take no part ---- */

/* Indexes of the nodes in a state, the most memory first; at most MAX_BACK. */
static uint32_t largest_in(const struct search *x, enum node_state state, uint32_t out[MAX_BACK],
                           uint32_t *total)
{
    uint32_t n = 0;
    *total = 0;
    for (uint32_t i = 0; i < x->s->n_nodes; i++) {
        if (x->s->nodes[i].state != state)
            continue;
        ++*total;
        uint64_t mine = gpu_bytes(&x->s->nodes[i]);
        uint32_t k = n < MAX_BACK ? n++ : n;
        for (; k > 0 && gpu_bytes(&x->s->nodes[out[k - 1]]) < mine; k--)
            if (k < MAX_BACK)
                out[k] = out[k - 1];
        if (k < MAX_BACK)
            out[k] = i;
    }
    return n;
}

static bool try_back(const struct search *x, uint32_t node, enum note_code what)
{
    struct cluster_snapshot s;
    struct trial t;
    trial_snapshot(&s, x->s);
    s.nodes[node].state = NODE_READY;
    bool fits = changes_try(x, &s, &t);
    if (fits || x->tier == TIER_NONE) {
        note_str(changes_add(x, &t, what), WORD_NODE, s.nodes[node].name);
        if (!fits)
            changes_lacking(x, &s, x->spec, x->m);
    }
    trial_snapshot_done(&s, x->s);
    return fits;
}

static void all_back(const struct search *x, uint32_t total)
{
    struct cluster_snapshot s;
    struct trial t;
    trial_snapshot(&s, x->s);
    for (uint32_t i = 0; i < s.n_nodes; i++)
        if (s.nodes[i].state == NODE_DRAINED)
            s.nodes[i].state = NODE_READY;
    if (changes_try(x, &s, &t))
        note_num(changes_add(x, &t, NOTE_UNDRAIN_ALL), WORD_N_NODES, total);
    trial_snapshot_done(&s, x->s);
}

static void change_nodes(const struct search *x)
{
    uint32_t list[MAX_BACK], total, n = largest_in(x, NODE_DRAINED, list, &total);
    bool fits = false;
    for (uint32_t i = 0; i < n; i++)
        fits = try_back(x, list[i], NOTE_UNDRAIN) || fits;
    if (total > n)
        cut(x, "changes: undrain", n, total);
    if (!fits && total > 1)
        all_back(x, total);
    n = largest_in(x, NODE_LOST, list, &total);
    for (uint32_t i = 0; i < n; i++)
        try_back(x, list[i], NOTE_NODE_BACK);
    if (total > n)
        cut(x, "changes: lost nodes", n, total);
}

/* ---- a wider engine ---- */

static void change_engine(const struct search *x)
{
    struct cluster_snapshot s = *x->s; /* borrows the nodes */
    struct trial t;
    s.engine_devices = 0;
    if (x->s->engine_devices && changes_try(x, &s, &t) && t.n_gpus > x->s->engine_devices)
        note_num(changes_add(x, &t, NOTE_ENGINE_SPAN), WORD_N_GPUS, t.n_gpus);
}

/* ---- an instance that moves ---- */

/* Instances on one GPU can be moved without knowing their model: what they hold stays the same. */
static const struct cluster_instance_part *movable(const struct cluster_instance *i)
{
    bool one = !i->pinned && i->n_parts == 1 && i->parts[0].device != UINT32_MAX &&
               i->main == i->parts[0].node;
    return one ? i->parts : NULL;
}

static uint32_t list_movable(const struct search *x, uint32_t out[MAX_MOVES], uint32_t *total)
{
    uint32_t n = 0;
    *total = 0;
    for (uint32_t i = 0; i < x->s->n_instances; i++) {
        const struct cluster_instance_part *p = movable(&x->s->instances[i]);
        if (!p || p->node >= x->s->n_nodes || p->device >= x->s->nodes[p->node].n_devices)
            continue;
        ++*total;
        uint32_t k = n < MAX_MOVES ? n++ : n;
        for (; k > 0 && x->s->instances[out[k - 1]].parts->bytes > p->bytes; k--)
            if (k < MAX_MOVES)
                out[k] = out[k - 1];
        if (k < MAX_MOVES)
            out[k] = i;
    }
    return n;
}

/* The smallest room that holds it elsewhere: what is large stays whole. */
static bool target(const struct search *x, const struct cluster_instance *i, uint32_t *node,
                   uint32_t *device)
{
    const struct cluster_instance_part *p = i->parts;
    uint64_t need = num_add_sat(p->bytes, x->s->margin_bytes), best = UINT64_MAX;
    for (uint32_t n = 0; n < x->s->n_nodes; n++) {
        const struct cluster_node *to = &x->s->nodes[n];
        if (to->state != NODE_READY || (n != p->node && to->ram_free_bytes < i->main_ram_bytes))
            continue;
        for (uint32_t d = 0; d < to->n_devices; d++) {
            uint64_t room = to->devices[d].free_bytes;
            bool same = n == p->node && d == p->device;
            if (same || to->devices[d].kind != DEVICE_GPU || room < need || room >= best)
                continue;
            best = room;
            *node = n;
            *device = d;
        }
    }
    return best != UINT64_MAX;
}

static bool try_move(const struct search *x, const struct cluster_instance *i)
{
    const struct cluster_instance_part *p = i->parts;
    struct cluster_snapshot s;
    struct trial t;
    uint32_t n, d;
    if (!target(x, i, &n, &d))
        return false;
    trial_snapshot(&s, x->s);
    trial_node(&s, x->s, p->node, 0)->devices[p->device].free_bytes += p->bytes;
    if (n != p->node)
        trial_node(&s, x->s, n, 0);
    s.nodes[n].devices[d].free_bytes -= p->bytes;
    s.nodes[p->node].ram_free_bytes += i->main_ram_bytes;
    s.nodes[n].ram_free_bytes -= i->main_ram_bytes;
    bool fits = changes_try(x, &s, &t);
    if (fits) {
        const struct cluster_node *from = &x->s->nodes[p->node], *to = &x->s->nodes[n];
        mem_auto char *a = mem_printf("%s:%u", from->name, from->devices[p->device].index);
        mem_auto char *b = mem_printf("%s:%u", to->name, to->devices[d].index);
        mem_auto char *model = mem_printf("%s/%u", i->deployment, i->index);
        struct note *w = note_str(changes_add(x, &t, NOTE_MOVE), WORD_MODEL, model);
        note_num(note_str(note_str(w, WORD_GPU, a), WORD_OTHER, b), WORD_USED, p->bytes);
    }
    trial_snapshot_done(&s, x->s);
    return fits;
}

static void change_moves(const struct search *x)
{
    uint32_t list[MAX_MOVES], total, n = list_movable(x, list, &total), i = 0;
    while (i < n && !try_move(x, &x->s->instances[list[i]]))
        i++;
    if (i == n && total > n)
        cut(x, "changes: move", n, total);
}

/* ---- new GPUs ---- */

/* The nodes that may take part where one would put a card: most GPU memory, else most RAM. */
static uint32_t homes(const struct search *x, uint32_t out[MAX_HOMES])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->s->n_nodes; i++) {
        const struct cluster_node *mine = &x->s->nodes[i];
        if (x->c->nodes[i].why)
            continue;
        uint32_t k = n < MAX_HOMES ? n++ : n;
        for (; k > 0; k--) {
            const struct cluster_node *o = &x->s->nodes[out[k - 1]];
            uint64_t a = gpu_bytes(mine), b = gpu_bytes(o);
            if (a < b || (a == b && mine->ram_free_bytes <= o->ram_free_bytes))
                break;
            if (k < MAX_HOMES)
                out[k] = out[k - 1];
        }
        if (k < MAX_HOMES)
            out[k] = i;
    }
    return n;
}

static bool try_added(const struct search *x, uint32_t node, const struct cluster_device *card,
                      uint32_t count, struct trial *t)
{
    struct cluster_snapshot s;
    trial_snapshot(&s, x->s);
    uint32_t had = x->s->nodes[node].n_devices;
    struct cluster_node *n = trial_node(&s, x->s, node, count);
    for (uint32_t i = 0; i < count; i++) {
        struct cluster_device *d = &n->devices[had + i];
        *d = *card;
        d->index = had ? n->devices[had - 1].index + 1 + i : i;
        str_copyf(d->uuid, sizeof d->uuid, "added-%u", i);
    }
    bool fits = changes_try(x, &s, t);
    trial_snapshot_done(&s, x->s);
    return fits;
}

/* Fewest new cards on a node; 0: not with MAX_ADDED, or not with fewer than `limit`. */
static uint32_t fewest(const struct search *x, uint32_t node, const struct cluster_device *card,
                       uint32_t limit, struct trial *best)
{
    uint32_t lo = 0, hi = 1;
    struct trial t;
    while (hi < limit && !try_added(x, node, card, hi, best)) {
        lo = hi;
        hi *= 2;
    }
    if (hi >= limit) {
        hi = limit - 1;
        if (hi <= lo || !try_added(x, node, card, hi, best))
            return 0;
    }
    while (lo + 1 < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (try_added(x, node, card, mid, &t)) {
            hi = mid;
            *best = t;
        } else {
            lo = mid;
        }
    }
    return hi;
}

static void add_card(const struct search *x, const struct cluster_device *card, bool there)
{
    uint32_t home[MAX_HOMES], n = homes(x, home), count = 0, node = 0;
    struct trial best, t;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = fewest(x, home[i], card, count ? count : MAX_ADDED + 1, &t);
        if (!c)
            continue;
        count = c;
        node = home[i];
        best = t;
    }
    if (!count)
        return;
    struct note *w = changes_add(x, &best, there ? NOTE_ADD_SUCH_GPUS : NOTE_ADD_GPUS);
    note_num(note_num(w, WORD_N_GPUS, count), WORD_SIZE, card->total_bytes);
    note_str(w, WORD_NODE, x->s->nodes[node].name);
    if (there)
        note_str(w, WORD_TYPE, card->name);
}

/* Types of GPUs that are there, the largest first. */
static uint32_t list_types(const struct search *x, const struct cluster_device *out[MAX_TYPES])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->s->n_nodes; i++)
        for (uint32_t d = 0; d < x->s->nodes[i].n_devices; d++) {
            const struct cluster_device *mine = &x->s->nodes[i].devices[d];
            bool known = mine->kind != DEVICE_GPU;
            for (uint32_t k = 0; k < n && !known; k++)
                known = strcmp(out[k]->name, mine->name) == 0;
            if (known)
                continue;
            uint32_t k = n < MAX_TYPES ? n++ : n;
            for (; k > 0 && out[k - 1]->total_bytes < mine->total_bytes; k--)
                if (k < MAX_TYPES)
                    out[k] = out[k - 1];
            if (k < MAX_TYPES)
                out[k] = mine;
        }
    return n;
}

static void change_add(const struct search *x)
{
    const struct cluster_device *types[MAX_TYPES];
    if (x->d->spec->want.gpus.n) /* a new card is not among those that were named */
        return;
    struct cluster_device card = {.kind = DEVICE_GPU,
                                  .total_bytes = ADDED_BYTES,
                                  .bandwidth_bytes_per_s = ADDED_BANDWIDTH,
                                  .name = "24 GiB"};
    uint32_t n = list_types(x, types);
    for (uint32_t i = 0; i <= n; i++) {
        struct cluster_device c = i < n ? *types[i] : card;
        c.free_bytes = c.total_bytes;
        c.claimed_bytes = 0;
        add_card(x, &c, i < n);
    }
}

void changes_of_cluster(const struct search *x)
{
    change_nodes(x);
    change_moves(x);
    change_engine(x);
    change_add(x);
}
