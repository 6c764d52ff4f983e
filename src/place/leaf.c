/* Order and split of given devices; see leaf.h.
 *
 * A class is a set of devices that nothing tells apart: same rank, speed and way to the main node.
 * A state is how many of each class are used. Devices come in pipeline order, so a state has a
 * furthest layer it can reach, and what the unused devices can hold at most gives the least layer
 * from which they could still finish: only layers between the two matter (the slack window), and
 * states where the two cross are never made. States are found level by level, a level being a
 * number of devices. */
#include "place/leaf.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_CLASSES = 64 };

struct class
{
    uint32_t n;
    uint64_t stride;
    const struct fit *fit;
    struct fit own; /* where time limits it too; lo NULL: it does not */
    const uint64_t *cap;
    const struct speed *speed;
    int64_t fixed, tail;
    uint16_t first; /* in the sorted list of devices */
};

struct cell {
    int64_t ns;
    uint16_t from;  /* layer where the last device starts */
    uint16_t class; /* of that device */
};

struct state {
    uint64_t key;   /* mixed radix of the counts */
    uint64_t cells; /* first of lo..reach in table.cells */
    uint16_t lo, reach;
};

struct level {
    struct state *s;
    uint32_t n;
    size_t cap;
    uint32_t *slot; /* hash of key to index + 1; n_slots is a power of two */
    uint32_t n_slots;
};

struct table {
    const struct leaf *l;
    uint32_t n_layers, n_classes;
    struct class c[MAX_CLASSES];
    uint16_t *sorted;    /* device indexes by class */
    bool keyed;          /* false: more classes than a key can tell apart */
    uint64_t full;       /* key of all devices */
    struct level *level; /* n_dev + 1 */
    struct cell *cells;
    size_t cells_cap;
    uint64_t n_cells, work;
};

/* ---- classes ---- */

static int compare(const struct leaf_dev *a, const struct leaf_dev *b)
{
    if (a->speed != b->speed)
        return a->speed < b->speed ? -1 : 1;
    if (a->net_fixed != b->net_fixed)
        return a->net_fixed < b->net_fixed ? 1 : -1; /* far ones first, so that local ones end */
    if (a->net_tail != b->net_tail)
        return a->net_tail < b->net_tail ? 1 : -1;
    if (a->rank != b->rank)
        return a->rank > b->rank ? -1 : 1;
    return 0;
}

static int by_class(const void *x, const void *y, void *arg)
{
    const struct leaf_dev *dev = arg;
    const struct leaf_dev *a = &dev[*(const uint16_t *)x], *b = &dev[*(const uint16_t *)y];
    int c = compare(a, b);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

/* The ranges of a fit that take no longer than a stage may. */
static void clip(const struct leaf *l, const struct leaf_dev *d, const struct fit *from,
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

static void table_init(struct table *t, const struct leaf *l)
{
    *t = (struct table){.l = l, .n_layers = l->need->n};
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
        const struct speed *s = &l->speeds[d->speed];
        t->c[t->n_classes++] = (struct class){.n = 1,
                                              .fit = ranks_fit(l->ranks, d->rank),
                                              .cap = ranks_caps(l->ranks, d->rank),
                                              .speed = s,
                                              .fixed = s->fixed + d->net_fixed,
                                              .tail = s->tail + d->net_tail,
                                              .first = (uint16_t)i};
        if (l->stage_ns) {
            struct class *c = &t->c[t->n_classes - 1];
            fit_init(&c->own, t->n_layers);
            clip(l, d, c->fit, &c->own);
            c->fit = &c->own;
        }
    }
    uint64_t states = 1;
    for (uint32_t i = 0; i < t->n_classes; i++) {
        t->c[i].stride = states;
        if (__builtin_mul_overflow(states, (uint64_t)t->c[i].n + 1, &states) || states >> 62)
            return;
    }
    t->full = states - 1;
    t->keyed = true;
    t->level = mem_calloc(l->n_dev + 1, sizeof *t->level);
}

static void table_done(struct table *t)
{
    for (uint32_t i = 0; t->level && i <= t->l->n_dev; i++) {
        free(t->level[i].s);
        free(t->level[i].slot);
    }
    for (uint32_t i = 0; i < t->n_classes; i++)
        fit_done(&t->c[i].own);
    free(t->level);
    free(t->cells);
    free(t->sorted);
}

static uint32_t used(const struct table *t, uint64_t key, uint32_t c)
{
    return (uint32_t)(key / t->c[c].stride % (t->c[c].n + 1));
}

/* ---- states ---- */

static uint32_t slot_of(const struct level *v, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    uint32_t i = (uint32_t)(h >> 32) & (v->n_slots - 1);
    while (v->slot[i] && v->s[v->slot[i] - 1].key != key)
        i = (i + 1) & (v->n_slots - 1);
    return i;
}

static struct state *find_state(const struct level *v, uint64_t key)
{
    uint32_t i = v->n_slots ? v->slot[slot_of(v, key)] : 0;
    return i ? &v->s[i - 1] : NULL;
}

static void grow_slots(struct level *v)
{
    v->n_slots = v->n_slots ? v->n_slots * 2 : 16;
    free(v->slot);
    v->slot = mem_calloc(v->n_slots, sizeof *v->slot);
    for (uint32_t i = 0; i < v->n; i++)
        v->slot[slot_of(v, v->s[i].key)] = i + 1;
}

/* The state with this key and at least this reach. */
static void reach_state(struct level *v, uint64_t key, uint16_t reach)
{
    struct state *s = find_state(v, key);
    if (s) {
        s->reach = reach > s->reach ? reach : s->reach;
        return;
    }
    if (v->n * 2 >= v->n_slots)
        grow_slots(v);
    mem_grow(&v->s, &v->cap, v->n + 1, sizeof *v->s);
    v->s[v->n++] = (struct state){.key = key, .reach = reach};
    v->slot[slot_of(v, key)] = v->n;
}

/* Least layer from which the unused devices could still finish by what they hold at most. */
static uint16_t least_layer(const struct table *t, uint64_t key)
{
    uint64_t room[CAP_COUNT] = {0};
    uint32_t lo = 0, n = t->n_layers;
    for (uint32_t c = 0; c < t->n_classes; c++) {
        uint64_t left = t->c[c].n - used(t, key, c);
        for (uint32_t b = 0; left && b < ranks_n_caps(t->l->ranks); b++)
            room[b] += left * t->c[c].cap[b];
    }
    for (uint32_t b = 0; b < ranks_n_caps(t->l->ranks); b++) {
        uint64_t all = ranks_measure(t->l->ranks, b, n + 1);
        uint32_t a = lo, z = n;
        while (a < z) { /* the first layer with no more behind it than there is room for */
            uint32_t mid = (a + z) / 2;
            if (all - ranks_measure(t->l->ranks, b, mid) <= room[b])
                z = mid;
            else
                a = mid + 1;
        }
        lo = a;
    }
    return (uint16_t)lo;
}

/* Where a device gets to from `at`, or as the first one, whichever is further: the ones before it
 * need not be used. */
static uint16_t furthest(const struct fit *f, uint32_t at)
{
    return at && f->hi[at] > f->hi_first ? f->hi[at] : f->hi_first;
}

/* Can a device take all from `at` or any layer before? */
static bool ends(const struct fit *f, uint32_t at, uint32_t n_cpu)
{
    return (at && f->lo_last <= at) || (!n_cpu && f->lo_only == 0);
}

/* All states one device further. The reach is exact for "these devices or fewer": a shorter prefix
 * of a pipeline ends at any layer before, so only the furthest end matters. */
static void expand(struct table *t, uint32_t g)
{
    struct level *v = &t->level[g], *next = &t->level[g + 1];
    for (uint32_t i = 0; i < v->n; i++) {
        const struct state *s = &v->s[i];
        for (uint32_t c = 0; c < t->n_classes; c++) {
            const struct class *k = &t->c[c];
            if (used(t, s->key, c) == k->n)
                continue;
            uint16_t to = furthest(k->fit, s->reach);
            reach_state(next, s->key + k->stride, to);
        }
    }
    t->work += (uint64_t)v->n * t->n_classes;
    /* Dead ones go. The last level has no layer to start from; it is kept for its one cell. */
    uint32_t keep = 0;
    for (uint32_t i = 0; i < next->n; i++) {
        struct state *s = &next->s[i];
        s->lo = s->key == t->full ? (uint16_t)t->n_layers : least_layer(t, s->key);
        if (s->lo <= s->reach || s->key == t->full)
            next->s[keep++] = *s;
    }
    next->n = keep;
    if (next->n_slots) {
        memset(next->slot, 0, next->n_slots * sizeof *next->slot);
        for (uint32_t i = 0; i < keep; i++)
            next->slot[slot_of(next, next->s[i].key)] = i + 1;
    }
}

static void first_state(struct table *t)
{
    reach_state(&t->level[0], 0, (uint16_t)t->l->n_cpu_max);
    struct state *s = &t->level[0].s[0];
    s->lo = least_layer(t, 0);
    if (s->lo > s->reach)
        t->level[0].n = 0;
    if (t->level[0].n == 0 && t->level[0].n_slots)
        memset(t->level[0].slot, 0, t->level[0].n_slots * sizeof *t->level[0].slot);
}

/* ---- does it fit at all ---- */

/* One pass in the order given, each device as far as it goes; ends as soon as one can finish. */
static uint32_t greedy(const struct leaf *l, const uint16_t *order, bool backwards)
{
    uint32_t n = l->need->n, at = l->n_cpu_max;
    for (uint32_t i = 0; i < l->n_dev; i++) {
        const struct leaf_dev *d = &l->dev[order[backwards ? l->n_dev - 1 - i : i]];
        const struct fit *f = ranks_fit(l->ranks, d->rank);
        uint32_t from = at < n ? at : n - 1;
        if (ends(f, from, l->n_cpu_max))
            return i + 1;
        at = furthest(f, at);
    }
    return 0;
}

/* The same, but with the device of most room kept for the end, where the output layer goes. */
static uint32_t greedy_big_last(const struct leaf *l, const uint16_t *by_room)
{
    mem_auto uint16_t *order = mem_calloc(l->n_dev, sizeof *order);
    for (uint32_t i = 0; i < l->n_dev; i++)
        order[i] = by_room[(i + 1) % l->n_dev];
    return greedy(l, order, false);
}

static int by_room(const void *x, const void *y, void *arg)
{
    const struct leaf_dev *dev = arg;
    const struct leaf_dev *a = &dev[*(const uint16_t *)x], *b = &dev[*(const uint16_t *)y];
    if (a->rank != b->rank)
        return a->rank > b->rank ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Can a device that this state leaves unused take all the rest? */
static bool can_end(const struct table *t, const struct state *s)
{
    uint32_t n = t->n_layers, from = s->reach < n ? s->reach : n - 1;
    for (uint32_t c = 0; c < t->n_classes; c++) {
        const struct fit *f = t->c[c].fit;
        if (used(t, s->key, c) < t->c[c].n && ends(f, from, t->l->n_cpu_max))
            return true;
    }
    return false;
}

/* The exact answer: level by level, so with the fewest devices. */
static uint32_t table_fits(struct table *t, bool *exact)
{
    first_state(t);
    for (uint32_t g = 0; g < t->l->n_dev; g++) {
        for (uint32_t i = 0; i < t->level[g].n; i++)
            if (can_end(t, &t->level[g].s[i]))
                return g + 1;
        if (t->work > t->l->max_work) {
            *exact = false;
            return 0;
        }
        expand(t, g);
    }
    return 0;
}

uint32_t leaf_fits(const struct leaf *of, bool *exact, uint64_t *work)
{
    struct leaf copy = *of, *l = &copy;
    l->stage_ns = 0;
    *exact = true;
    *work += l->n_dev;
    if (l->n_dev == 0)
        return 0;
    mem_auto uint16_t *order = mem_calloc(l->n_dev, sizeof *order);
    for (uint32_t i = 0; i < l->n_dev; i++)
        order[i] = (uint16_t)i;
    qsort_r(order, l->n_dev, sizeof *order, by_room, (void *)l->dev);
    uint32_t fits = greedy(l, order, false);
    if (!fits)
        fits = greedy(l, order, true);
    if (!fits)
        fits = greedy_big_last(l, order);
    if (fits)
        return fits;
    struct table t;
    table_init(&t, l);
    *exact = t.keyed;
    if (t.keyed)
        fits = table_fits(&t, exact);
    *work += t.work;
    table_done(&t);
    return fits;
}

/* ---- a given order ---- */

/* cur[s] is the time of the first s layers; next[e] = min over s of cur[s] and the range [s, e). */
static void extend(const struct fit *f, const int64_t *cum, int64_t fixed, uint32_t n,
                   const int64_t *cur, int64_t *next, uint16_t *from)
{
    uint16_t deque[PLACE_MAX_LAYERS + 1];
    uint32_t head = 0, tail = 0;
    next[0] = PLACE_INF;
    for (uint32_t e = 1; e <= n; e++) {
        uint32_t s = e - 1;
        if (cur[s] < PLACE_INF) {
            while (tail > head && cur[deque[tail - 1]] - cum[deque[tail - 1]] > cur[s] - cum[s])
                tail--;
            deque[tail++] = (uint16_t)s;
        }
        while (tail > head && deque[head] < f->lo[e])
            head++;
        next[e] = PLACE_INF;
        if (tail > head) {
            next[e] = cur[deque[head]] - cum[deque[head]] + cum[e] + fixed;
            from[e] = deque[head];
        }
    }
}

/* The last device, from any s in [lo, n). */
static int64_t finish(uint32_t lo, const int64_t *cum, int64_t fixed, uint32_t n,
                      const int64_t *cur, uint16_t *from)
{
    int64_t best = PLACE_INF;
    for (uint32_t s = lo; s < n; s++)
        if (cur[s] < PLACE_INF && cur[s] - cum[s] + cum[n] + fixed < best) {
            best = cur[s] - cum[s] + cum[n] + fixed;
            *from = (uint16_t)s;
        }
    return best;
}

static void first_row(const struct leaf *l, int64_t *cur)
{
    for (uint32_t i = 0; i <= l->need->n; i++)
        cur[i] = i >= 1 && i <= l->n_cpu_max ? l->cpu_ns[i] : PLACE_INF;
    if (!l->n_cpu_max)
        cur[0] = 0;
}

bool leaf_split(const struct leaf *l, uint64_t spare, struct leaf_answer *a)
{
    uint32_t n = l->need->n, g = l->n_dev;
    mem_auto int64_t *rows = mem_calloc(2 * ((size_t)n + 1), sizeof *rows);
    mem_auto uint16_t *from = mem_calloc((size_t)g * (n + 1), sizeof *from);
    int64_t *cur = rows, *next = rows + n + 1, ns = PLACE_INF;
    struct fit own;
    fit_init(&own, n);
    first_row(l, cur);
    for (uint32_t i = 0; i < g; i++) {
        const struct leaf_dev *d = &l->dev[a->order[i]];
        const struct speed *sp = &l->speeds[d->speed];
        const struct fit *f = &own;
        uint16_t *back = from + (size_t)i * (n + 1);
        int64_t fixed = sp->fixed + d->net_fixed;
        if (spare)
            fit_fill(&own, l->need, d->room > spare ? d->room - spare : 0);
        else
            f = ranks_fit(l->ranks, d->rank);
        if (l->stage_ns) {
            clip(l, d, f, &own);
            f = &own;
        }
        bool first = i == 0 && !l->n_cpu_max;
        if (i == g - 1) {
            ns = finish(first ? f->lo_only : f->lo_last, sp->cum, fixed + sp->tail + d->net_tail, n,
                        cur, &back[n]);
            break;
        }
        extend(f, sp->cum, fixed, n, cur, next, back);
        for (uint32_t e = 1; first && e <= n; e++)
            next[e] = e <= f->hi_first ? sp->cum[e] + fixed : PLACE_INF, back[e] = 0;
        int64_t *swap = cur;
        cur = next;
        next = swap;
    }
    fit_done(&own);
    a->work += (uint64_t)g * n;
    if (ns >= PLACE_INF)
        return false;
    a->ns = ns;
    for (uint32_t i = g, e = n; i-- > 0;) {
        uint32_t s = from[(size_t)i * (n + 1) + e];
        a->counts[i] = (uint16_t)(e - s);
        a->n_cpu = e = s;
    }
    return true;
}

void leaf_balance(const struct leaf *l, struct leaf_answer *a)
{
    int64_t ns = a->ns;
    uint64_t lo = 0, hi = 0;
    for (uint32_t i = 0; i < l->n_dev; i++)
        hi = l->dev[i].room > hi ? l->dev[i].room : hi;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo + 1) / 2;
        if (leaf_split(l, mid, a) && a->ns == ns)
            lo = mid;
        else
            hi = mid - 1;
    }
    leaf_split(l, lo, a);
}

/* ---- the best order ---- */

/* No order and no split of these devices is faster. */
static int64_t lower_bound(const struct leaf *l)
{
    int64_t ns = 0, tail = PLACE_INF;
    for (uint32_t i = 0; i < l->n_dev; i++) {
        const struct speed *s = &l->speeds[l->dev[i].speed];
        ns += s->fixed + l->dev[i].net_fixed;
        tail = s->tail + l->dev[i].net_tail < tail ? s->tail + l->dev[i].net_tail : tail;
    }
    for (uint32_t k = 0; k < l->need->n; k++) {
        int64_t best = PLACE_INF;
        for (uint32_t i = 0; i < l->n_dev; i++) {
            const int64_t *cum = l->speeds[l->dev[i].speed].cum;
            best = cum[k + 1] - cum[k] < best ? cum[k + 1] - cum[k] : best;
        }
        if (k < l->n_cpu_max && l->cpu_ns[k + 1] - l->cpu_ns[k] < best)
            best = l->cpu_ns[k + 1] - l->cpu_ns[k];
        ns += best;
    }
    return ns + tail;
}

static void try_order(const struct leaf *l, const uint16_t *order, struct leaf_answer *a)
{
    struct leaf_answer b = {.order = mem_calloc(l->n_dev, sizeof *b.order),
                            .counts = mem_calloc(l->n_dev, sizeof *b.counts)};
    memcpy(b.order, order, l->n_dev * sizeof *order);
    if (leaf_split(l, 0, &b) && (!a->feasible || b.ns < a->ns)) {
        memcpy(a->order, b.order, l->n_dev * sizeof *order);
        memcpy(a->counts, b.counts, l->n_dev * sizeof *order);
        a->feasible = true;
        a->ns = b.ns;
        a->n_cpu = b.n_cpu;
    }
    a->work += b.work;
    free(b.order);
    free(b.counts);
}

/* Too many classes for the table: some good orders, and every device once at the end. */
static void try_orders(const struct table *t, const struct leaf *l, struct leaf_answer *a)
{
    uint32_t g = l->n_dev;
    mem_auto uint16_t *order = mem_calloc(g, sizeof *order);
    for (uint32_t i = 0; i < g; i++)
        order[i] = (uint16_t)i;
    qsort_r(order, g, sizeof *order, by_room, (void *)l->dev);
    try_order(l, order, a);
    for (uint32_t i = 0; i < g / 2; i++) {
        uint16_t swap = order[i];
        order[i] = order[g - 1 - i];
        order[g - 1 - i] = swap;
    }
    try_order(l, order, a);
    try_order(l, t->sorted, a);
    for (uint32_t k = 0; k < g; k++) {
        uint32_t at = 0;
        for (uint32_t i = 0; i < g; i++)
            if (i != k)
                order[at++] = t->sorted[i];
        order[at] = t->sorted[k];
        try_order(l, order, a);
    }
    a->exact = a->feasible && a->ns == lower_bound(l);
}

/* The times of one state from those of one before, k being the device in between. */
static void relax(struct table *t, const struct state *from, struct state *to, uint32_t c)
{
    const struct class *k = &t->c[c];
    const int64_t *cum = k->speed->cum;
    const struct cell *p = t->cells + from->cells;
    struct cell *out = t->cells + to->cells;
    bool full = to->key == t->full, first = from->key == 0 && !t->l->n_cpu_max;
    uint32_t hi = full ? t->n_layers : to->reach, head = 0, tail = 0, s = from->lo;
    uint16_t deque[PLACE_MAX_LAYERS + 1];
    for (uint32_t e = to->lo; e <= hi; e++) {
        uint32_t least = full ? (first ? k->fit->lo_only : k->fit->lo_last) : k->fit->lo[e];
        if (first && !full)
            least = e <= k->fit->hi_first ? 0 : e;
        for (; s <= from->reach && s < e; s++) {
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
            out[e - to->lo] = (struct cell){ns, deque[head], (uint16_t)c};
    }
}

static void add_cells(struct table *t, struct state *s)
{
    uint32_t n = s->key == t->full ? 1 : s->reach - s->lo + 1u;
    mem_grow(&t->cells, &t->cells_cap, t->n_cells + n, sizeof *t->cells);
    s->cells = t->n_cells;
    for (uint32_t i = 0; i < n; i++)
        t->cells[t->n_cells + i].ns = PLACE_INF;
    t->n_cells += n;
}

static void read_back(const struct table *t, struct leaf_answer *a)
{
    uint64_t key = t->full;
    uint32_t e = t->n_layers;
    for (uint32_t g = t->l->n_dev; g-- > 0;) {
        const struct state *s = find_state(&t->level[g + 1], key);
        const struct cell *x = &t->cells[s->cells + (e - s->lo)];
        const struct class *k = &t->c[x->class];
        a->order[g] = t->sorted[k->first + used(t, key, x->class) - 1];
        a->counts[g] = (uint16_t)(e - x->from);
        key -= k->stride;
        e = x->from;
    }
    a->n_cpu = e;
}

/* False when the table would become too large. */
static bool fill_times(struct table *t, struct leaf_answer *a)
{
    uint32_t n_dev = t->l->n_dev;
    first_state(t);
    if (t->level[0].n) {
        struct state *s = &t->level[0].s[0];
        add_cells(t, s);
        for (uint32_t x = s->lo; x <= s->reach; x++)
            t->cells[s->cells + x - s->lo].ns = !t->l->n_cpu_max ? 0
                                                : x              ? t->l->cpu_ns[x]
                                                                 : PLACE_INF;
    }
    for (uint32_t g = 0; g < n_dev; g++) {
        expand(t, g);
        struct level *next = &t->level[g + 1];
        for (uint32_t i = 0; i < next->n; i++) {
            struct state *s = &next->s[i];
            add_cells(t, s);
            for (uint32_t c = 0; c < t->n_classes; c++) {
                if (!used(t, s->key, c))
                    continue;
                const struct state *from = find_state(&t->level[g], s->key - t->c[c].stride);
                if (from)
                    relax(t, from, s, c);
            }
        }
        if (t->work + t->n_cells * 2 > t->l->max_work)
            return false;
    }
    a->exact = true;
    const struct state *end = find_state(&t->level[n_dev], t->full);
    a->feasible = end && t->cells[end->cells].ns < PLACE_INF;
    if (!a->feasible)
        return true;
    a->ns = t->cells[end->cells].ns;
    read_back(t, a);
    return true;
}

void leaf_solve(const struct leaf *l, struct leaf_answer *a)
{
    struct table t;
    a->feasible = a->exact = false;
    table_init(&t, l);
    if (!t.keyed || !fill_times(&t, a))
        try_orders(&t, l, a);
    a->work += t.work + t.n_cells;
    table_done(&t);
}
