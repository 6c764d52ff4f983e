/* States of a leaf, level by level; see states.h. */
#include "place/states.h"

#include "base/mem.h"

#include <string.h>

/* ---- classes ---- */

static int compare_time(const struct leaf_dev *a, const struct leaf_dev *b)
{
    if (a->speed != b->speed)
        return a->speed < b->speed ? -1 : 1;
    if (a->net_fixed != b->net_fixed)
        return a->net_fixed < b->net_fixed ? 1 : -1; /* far ones first, so that local ones end */
    if (a->net_tail != b->net_tail)
        return a->net_tail < b->net_tail ? 1 : -1;
    return 0;
}

static int compare(const struct leaf_dev *a, const struct leaf_dev *b)
{
    int c = compare_time(a, b);
    return c || a->rank == b->rank ? c : a->rank > b->rank ? -1 : 1;
}

static int by_class(const void *x, const void *y, void *arg)
{
    const struct leaf_dev *dev = arg;
    const struct leaf_dev *a = &dev[*(const uint16_t *)x], *b = &dev[*(const uint16_t *)y];
    int c = compare(a, b);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

void leaf_clip(const struct leaf *l, const struct leaf_dev *d, const struct fit *from,
               struct fit *to)
{
    const struct speed *sp = &l->speeds[d->speed];
    uint32_t n = l->need->n;
    int64_t most = l->stage_ns - sp->fixed - d->net_fixed, last = most - sp->tail - d->net_tail;
    for (uint32_t e = 0, s = 0; e <= n; e++) {
        while (s < e && sp->cum[e] - sp->cum[s] > most)
            s++;
        to->lo[e] = (uint16_t)(s > from->lo[e] ? s : from->lo[e]);
    }
    for (uint32_t s = 0, e = 0; s <= n; s++) {
        e = e > s ? e : s;
        while (e < from->hi[s] && sp->cum[e + 1] - sp->cum[s] <= most)
            e++;
        to->hi[s] = (uint16_t)(e < from->hi[s] ? e : from->hi[s]);
    }
    to->hi_first = from->hi_first;
    while (to->hi_first && sp->cum[to->hi_first] > most)
        to->hi_first--;
    uint16_t start = 0;
    while (start < n && sp->cum[n] - sp->cum[start] > last)
        start++;
    to->lo_last = start > from->lo_last ? start : from->lo_last;
    to->lo_only = start > from->lo_only ? start : from->lo_only;
}

static struct class new_class(const struct leaf *l, uint32_t i, const struct leaf_dev *d)
{
    const struct speed *s = &l->speeds[d->speed];
    return (struct class){.n = 1,
                          .fit = ranks_fit(l->ranks, d->rank),
                          .cap = ranks_caps(l->ranks, d->rank),
                          .speed = s,
                          .fixed = s->fixed + d->net_fixed,
                          .tail = s->tail + d->net_tail,
                          .least = d->least_ns,
                          .last = d->last_ns,
                          .first = (uint16_t)i};
}

/* Counts side by side in one word. */
static bool set_keys(struct table *t)
{
    uint32_t shift = 0;
    for (uint32_t i = 0; i < t->n_classes; i++) {
        struct class *c = &t->c[i];
        uint32_t bits = 32 - (uint32_t)__builtin_clz(c->n);
        if (shift + bits > 64)
            return false;
        c->shift = shift;
        c->mask = ((uint64_t)1 << bits) - 1;
        t->full |= (uint64_t)c->n << shift;
        shift += bits;
    }
    return true;
}

void table_init(struct table *t, const struct leaf *l)
{
    *t = (struct table){.l = l, .n_layers = l->need->n, .n_caps = ranks_n_caps(l->ranks)};
    t->sorted = mem_calloc(l->n_dev + 1, sizeof *t->sorted);
    for (uint32_t i = 0; i < l->n_dev; i++)
        t->sorted[i] = (uint16_t)i;
    qsort_r(t->sorted, l->n_dev, sizeof *t->sorted, by_class, (void *)l->dev);
    for (uint32_t i = 0; i < l->n_dev; i++) {
        const struct leaf_dev *d = &l->dev[t->sorted[i]];
        if (i && compare(&l->dev[t->sorted[i - 1]], d) == 0) {
            t->c[t->n_classes - 1].n++;
            continue;
        }
        if (t->n_classes == MAX_CLASSES)
            return;
        struct class *c = &t->c[t->n_classes++];
        *c = new_class(l, i, d);
        if (l->stage_ns) {
            fit_init(&c->own, t->n_layers);
            leaf_clip(l, d, c->fit, &c->own);
            c->fit = &c->own;
        }
    }
    for (uint32_t i = t->n_classes, end = i; i-- > 0;) {
        t->c[i].end = end;
        if (i && compare_time(&l->dev[t->sorted[t->c[i - 1].first]],
                              &l->dev[t->sorted[t->c[i].first]]) != 0)
            end = i;
    }
    t->keyed = set_keys(t);
}

void table_done(struct table *t)
{
    for (uint32_t i = 0; i < t->n_classes; i++)
        fit_done(&t->c[i].own);
    free(t->s);
    free(t->room);
    free(t->slot);
    free(t->edge);
    free(t->cells);
    free(t->sorted);
}

static uint32_t used(const struct table *t, uint64_t key, uint32_t c)
{
    return (uint32_t)(key >> t->c[c].shift & t->c[c].mask);
}

/* The largest unused class that takes the same time as c and is smaller, or n_classes. */
static uint32_t next_smaller(const struct table *t, uint64_t key, uint32_t c)
{
    uint32_t i = c + 1;
    while (i < t->c[c].end && used(t, key, i) == t->c[i].n)
        i++;
    return i < t->c[c].end ? i : t->n_classes;
}

/* ---- states ---- */

static uint32_t slot_of(const struct table *t, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    uint32_t i = (uint32_t)(h >> 32) & (t->n_slots - 1);
    while (t->slot[i] && t->s[t->slot[i] - 1].key != key)
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

static void grow_slots(struct table *t)
{
    t->n_slots = t->n_slots ? t->n_slots * 2 : 64;
    free(t->slot);
    t->slot = mem_calloc(t->n_slots, sizeof *t->slot);
    for (uint32_t i = 0; i < t->n; i++)
        t->slot[slot_of(t, t->s[i].key)] = i + 1;
}

/* Least layer, from `lo` on, from which the unused devices could still finish. */
static uint16_t least_layer(const struct table *t, const uint64_t *room, uint32_t lo)
{
    for (uint32_t b = 0; b < t->n_caps; b++) {
        const uint64_t *sum = ranks_sums(t->l->ranks, b);
        uint64_t all = sum[t->n_layers + 1];
        while (lo < t->n_layers && all - sum[lo] > room[b])
            lo++;
    }
    return (uint16_t)lo;
}

/* What the unused devices add to the bound, one of them being the last. */
static int64_t least_left(const struct table *t, uint64_t key)
{
    int64_t sum = 0, last = PLACE_INF;
    for (uint32_t c = 0; c < t->n_classes; c++) {
        uint32_t left = t->c[c].n - used(t, key, c);
        sum += left * t->c[c].least;
        last = left && t->c[c].last < last ? t->c[c].last : last;
    }
    return last < PLACE_INF ? sum + last : sum;
}

static uint32_t add_state(struct table *t, struct state s)
{
    if (t->n * 2 >= t->n_slots)
        grow_slots(t);
    mem_grow(&t->s, &t->s_cap, t->n + 1, sizeof *t->s);
    t->s[t->n] = s;
    t->slot[slot_of(t, s.key)] = t->n + 1;
    return t->n++;
}

/* The state one device of class c further. */
static uint32_t next_state(struct table *t, uint32_t from, uint32_t c)
{
    uint64_t key = t->s[from].key + ((uint64_t)1 << t->c[c].shift);
    uint32_t at = t->slot[slot_of(t, key)];
    if (at)
        return at - 1;
    mem_grow(&t->room, &t->room_cap, ((size_t)t->n + 1) * t->n_caps, sizeof *t->room);
    const uint64_t *had = t->room + (size_t)from * t->n_caps;
    uint64_t *room = t->room + (size_t)t->n * t->n_caps;
    for (uint32_t b = 0; b < t->n_caps; b++)
        room[b] = had[b] - t->c[c].cap[b];
    struct state s = {.key = key, .from = from, .class = (uint16_t)c};
    s.least = least_left(t, key);
    /* The last level has no layer to start from; it is kept for its one cell. */
    s.start = key == t->full ? (uint16_t)t->n_layers : least_layer(t, room, t->s[from].start);
    s.lo = s.start;
    return add_state(t, s);
}

static void first_state(struct table *t)
{
    struct state s = {.reach = (uint16_t)t->l->n_cpu_max};
    mem_grow(&t->room, &t->room_cap, t->n_caps, sizeof *t->room);
    for (uint32_t c = 0; c < t->n_classes; c++) {
        for (uint32_t b = 0; b < t->n_caps; b++)
            t->room[b] += t->c[c].n * t->c[c].cap[b];
    }
    s.least = least_left(t, 0);
    s.start = s.lo = least_layer(t, t->room, 0);
    add_state(t, s);
}

/* ---- does it fit at all ---- */

uint16_t fit_furthest(const struct fit *f, uint32_t at)
{
    return at && f->hi[at] > f->hi_first ? f->hi[at] : f->hi_first;
}

bool fit_ends(const struct fit *f, uint32_t at, uint32_t n_cpu)
{
    return (at && f->lo_last <= at) || (!n_cpu && f->lo_only == 0);
}

/* All states one device further than the level from `start` on. The reach is exact for "these
 * devices or fewer": a shorter prefix of a pipeline ends at any layer before, so only the furthest
 * end matters. */
static void expand_fits(struct table *t, uint32_t start, uint32_t end)
{
    for (uint32_t i = start; i < end; i++) {
        if (t->s[i].lo > t->s[i].reach)
            continue;
        for (uint32_t c = 0; c < t->n_classes; c++) {
            if (used(t, t->s[i].key, c) == t->c[c].n)
                continue;
            uint32_t less = next_smaller(t, t->s[i].key, c);
            uint16_t to = fit_furthest(t->c[c].fit, t->s[i].reach);
            if (less < t->n_classes && fit_furthest(t->c[less].fit, t->s[i].reach) == to)
                continue;
            uint32_t next = next_state(t, i, c);
            if (to > t->s[next].reach) {
                t->s[next].reach = to;
                t->s[next].from = i;
                t->s[next].class = (uint16_t)c;
            }
        }
        t->work += t->n_classes;
    }
}

/* The class of an unused device that can take all the rest, or n_classes. */
static uint32_t ends_with(const struct table *t, const struct state *s)
{
    uint32_t n = t->n_layers, from = s->reach < n ? s->reach : n - 1, c = 0;
    while (c < t->n_classes &&
           (used(t, s->key, c) == t->c[c].n || !fit_ends(t->c[c].fit, from, t->l->n_cpu_max)))
        c++;
    return c;
}

static uint16_t device_of(const struct table *t, uint64_t key, uint32_t c)
{
    return t->sorted[t->c[c].first + used(t, key, c)];
}

uint32_t table_fits(struct table *t, uint16_t *order, bool *exact)
{
    first_state(t);
    for (uint32_t g = 0, start = 0; g < t->l->n_dev; g++) {
        uint32_t end = t->n;
        for (uint32_t i = start; i < end; i++) {
            uint32_t c = t->s[i].lo > t->s[i].reach ? t->n_classes : ends_with(t, &t->s[i]);
            if (c == t->n_classes)
                continue;
            order[g] = device_of(t, t->s[i].key, c);
            for (uint32_t k = g; k-- > 0; i = t->s[i].from)
                order[k] = device_of(t, t->s[t->s[i].from].key, t->s[i].class);
            return g + 1;
        }
        if (t->work > t->l->max_work) {
            *exact = false;
            return 0;
        }
        expand_fits(t, start, end);
        start = end;
    }
    return 0;
}

/* ---- least time ---- */

/* The times of one state from those of one before, class c being the device in between. */
static void relax(struct table *t, const struct edge *x)
{
    const struct state *from = &t->s[x->from], *to = &t->s[x->to];
    const struct class *k = &t->c[x->class];
    const struct fit *less = x->less < t->n_classes ? t->c[x->less].fit : NULL;
    const int64_t *cum = k->speed->cum;
    const struct cell *p = t->cells + from->cells;
    struct cell *out = t->cells + to->cells;
    bool full = to->key == t->full, first = from->key == 0 && !t->l->n_cpu_max;
    uint32_t hi = full ? t->n_layers : to->reach, head = 0, tail = 0, s = from->lo;
    uint16_t deque[PLACE_MAX_LAYERS + 1];
    for (uint32_t e = to->lo; e <= hi; e++) {
        uint32_t least = full ? (first ? k->fit->lo_only : k->fit->lo_last) : k->fit->lo[e];
        uint32_t most = less ? less->lo[e] : e; /* what the smaller one does not hold */
        if (first && !full) {
            least = e <= k->fit->hi_first ? 0 : e;
            most = less && e <= less->hi_first ? 0 : e;
        }
        for (; s <= from->reach && s < most; s++) {
            if (p[s - from->lo].ns >= PLACE_INF)
                continue;
            int64_t mine = p[s - from->lo].ns - cum[s];
            while (tail > head && p[deque[tail - 1] - from->lo].ns - cum[deque[tail - 1]] > mine)
                tail--;
            deque[tail++] = (uint16_t)s;
        }
        while (tail > head && deque[head] < least)
            head++;
        if (tail == head)
            continue;
        int64_t ns = p[deque[head] - from->lo].ns - cum[deque[head]] + cum[e] + k->fixed +
                     (full ? k->tail : 0);
        if (ns < out[e - to->lo].ns)
            out[e - to->lo] = (struct cell){ns, deque[head], (uint16_t)x->class};
    }
    t->work += hi - to->lo + 1u;
}

/* The furthest that class c gets from a state where the next smaller class does not; 0: nowhere. */
static uint16_t further(const struct table *t, const struct state *s, uint32_t c, uint32_t less)
{
    const struct fit *f = t->c[c].fit, *g = less < t->n_classes ? t->c[less].fit : NULL;
    if (s->key == 0 && !t->l->n_cpu_max)
        return g && g->hi_first == f->hi_first ? 0 : f->hi_first;
    for (uint32_t at = s->reach + 1u; at-- > s->lo;)
        if (f->hi[at] > (g ? g->hi[at] : at))
            return f->hi[at];
    return 0;
}

/* The level after start..end: its states, and the edges to them. */
static void expand_times(struct table *t, uint32_t start, uint32_t end)
{
    t->n_edges = 0;
    for (uint32_t i = start; i < end; i++) {
        if (t->s[i].lo > t->s[i].reach)
            continue;
        for (uint32_t c = 0; c < t->n_classes; c++) {
            if (used(t, t->s[i].key, c) == t->c[c].n)
                continue;
            uint32_t less = next_smaller(t, t->s[i].key, c);
            uint64_t one = (uint64_t)1 << t->c[c].shift;
            uint16_t to = further(t, &t->s[i], c, less);
            if (!to && t->s[i].key + one != t->full)
                continue;
            uint32_t next = next_state(t, i, c);
            t->s[next].reach = to > t->s[next].reach ? to : t->s[next].reach;
            mem_grow(&t->edge, &t->edge_cap, t->n_edges + 1, sizeof *t->edge);
            t->edge[t->n_edges++] = (struct edge){i, next, (uint16_t)c, (uint16_t)less};
        }
    }
    t->work += t->n_edges;
}

static void add_cells(struct table *t, struct state *s)
{
    if (s->key == t->full)
        s->reach = (uint16_t)t->n_layers;
    if (s->lo > s->reach)
        return;
    uint32_t n = s->reach - s->lo + 1u;
    mem_grow(&t->cells, &t->cells_cap, t->n_cells + n, sizeof *t->cells);
    s->cells = (uint32_t)t->n_cells;
    for (uint32_t i = 0; i < n; i++)
        t->cells[t->n_cells + i].ns = PLACE_INF;
    t->n_cells += n;
}

/* Takes out the times that lead to nothing wanted, and closes the window around the others. */
static void prune(struct table *t, struct state *s)
{
    const struct leaf *l = t->l;
    if (s->lo > s->reach)
        return;
    struct cell *cell = t->cells + s->cells - s->lo;
    uint32_t lo = s->reach + 1u, hi = s->lo;
    for (uint32_t e = s->lo; e <= s->reach; e++) {
        int64_t rest = l->rest_ns && s->key != t->full ? l->rest_ns[e] + s->least : 0;
        if (cell[e].ns < PLACE_INF && cell[e].ns + rest < l->below_ns) {
            lo = lo < e ? lo : e;
            hi = e;
        } else {
            cell[e].ns = PLACE_INF;
        }
    }
    s->cells += lo <= hi ? lo - s->lo : 0;
    s->lo = (uint16_t)lo;
    s->reach = (uint16_t)hi;
    if (lo > hi) {
        s->lo = 1;
        s->reach = 0;
    }
}

static void read_back(const struct table *t, struct leaf_answer *a)
{
    uint64_t key = t->full;
    uint32_t e = t->n_layers;
    for (uint32_t g = t->l->n_dev; g-- > 0;) {
        const struct state *s = &t->s[t->slot[slot_of(t, key)] - 1];
        const struct cell *x = &t->cells[s->cells + (e - s->lo)];
        key -= (uint64_t)1 << t->c[x->class].shift;
        a->order[g] = device_of(t, key, x->class);
        a->counts[g] = (uint16_t)(e - x->from);
        e = x->from;
    }
    a->n_cpu = e;
}

bool table_times(struct table *t, struct leaf_answer *a)
{
    const struct leaf *l = t->l;
    first_state(t);
    add_cells(t, &t->s[0]);
    for (uint32_t x = t->s[0].lo; x <= t->s[0].reach; x++)
        t->cells[x - t->s[0].lo].ns = !l->n_cpu_max ? 0 : x ? l->cpu_ns[x] : PLACE_INF;
    prune(t, &t->s[0]);
    for (uint32_t g = 0, start = 0; g < l->n_dev; g++) {
        uint32_t end = t->n;
        expand_times(t, start, end);
        for (uint32_t i = end; i < t->n; i++)
            add_cells(t, &t->s[i]);
        for (size_t i = 0; i < t->n_edges; i++)
            if (t->s[t->edge[i].to].lo <= t->s[t->edge[i].to].reach)
                relax(t, &t->edge[i]);
        for (uint32_t i = end; i < t->n; i++)
            prune(t, &t->s[i]);
        if (t->work > l->max_work)
            return false;
        start = end;
    }
    a->exact = true;
    uint32_t at = t->slot[slot_of(t, t->full)];
    a->feasible = at && t->s[at - 1].lo <= t->s[at - 1].reach;
    if (a->feasible) {
        a->ns = t->cells[t->s[at - 1].cells].ns;
        read_back(t, a);
    }
    return true;
}
