/* Order and split of given devices; see leaf.h.
 *
 * A class is a set of devices that nothing tells apart: same rank, speed and way to the main node.
 * A state is how many of each class are used; devices come in pipeline order, so a state has a
 * furthest layer it can reach (`reach`) and, from the other end, a least layer from which the
 * unused devices can still finish (`start`). Only layers between the two need a time: the slack
 * window. */
#include "place/leaf.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_CLASSES = 64 };

struct class
{
    uint32_t n;
    uint64_t stride;
    const struct fit *fit;
    const struct speed *speed;
    int64_t fixed, tail;
    uint16_t first; /* in the sorted list of devices */
};

struct table {
    const struct leaf *l;
    uint32_t n_layers, n_classes;
    struct class c[MAX_CLASSES];
    uint16_t *sorted;  /* device indexes by class */
    uint64_t n_states; /* 0: too many */
    uint16_t *reach, *start;
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
            return; /* n_states stays 0 */
        const struct speed *s = &l->speeds[d->speed];
        t->c[t->n_classes++] = (struct class){.n = 1,
                                              .fit = ranks_fit(l->ranks, d->rank),
                                              .speed = s,
                                              .fixed = s->fixed + d->net_fixed,
                                              .tail = s->tail + d->net_tail,
                                              .first = (uint16_t)i};
    }
    uint64_t states = 1;
    for (uint32_t i = 0; i < t->n_classes; i++) {
        t->c[i].stride = states;
        states *= t->c[i].n + 1;
        if (states * t->n_classes > l->max_work)
            return;
    }
    t->n_states = states;
}

static void table_done(struct table *t)
{
    free(t->sorted);
    free(t->reach);
    free(t->start);
}

static uint32_t used(const struct table *t, uint64_t state, uint32_t c)
{
    return (uint32_t)(state / t->c[c].stride % (t->c[c].n + 1));
}

/* Furthest layer with these devices or fewer. Exact for "or fewer": a shorter prefix of a pipeline
 * ends at any layer before, so only the furthest end matters. */
static void fill_reach(struct table *t)
{
    t->reach = mem_calloc(t->n_states, sizeof *t->reach);
    t->reach[0] = (uint16_t)t->l->n_cpu_max;
    for (uint64_t i = 1; i < t->n_states; i++) {
        uint16_t best = 0;
        for (uint32_t c = 0; c < t->n_classes; c++) {
            if (!used(t, i, c))
                continue;
            uint16_t from = t->reach[i - t->c[c].stride];
            uint16_t to = from ? t->c[c].fit->hi[from] : t->c[c].fit->hi_first;
            best = to > best ? to : best;
        }
        t->reach[i] = best;
    }
}

/* Least layer from which the unused devices can finish, the output layer included. */
static void fill_start(struct table *t)
{
    uint64_t full = t->n_states - 1;
    t->start = mem_calloc(t->n_states, sizeof *t->start);
    t->start[full] = (uint16_t)t->n_layers;
    for (uint64_t i = full; i-- > 0;) {
        uint16_t best = (uint16_t)t->n_layers;
        for (uint32_t c = 0; c < t->n_classes; c++) {
            if (used(t, i, c) == t->c[c].n)
                continue;
            uint64_t next = i + t->c[c].stride;
            const struct fit *f = t->c[c].fit;
            uint16_t s = next == full ? (i ? f->lo_last : f->lo_only) : f->lo[t->start[next]];
            best = s < best ? s : best;
        }
        t->start[i] = best;
    }
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
        if (from ? f->lo_last <= from : f->lo_only == 0)
            return i + 1;
        at = at ? f->hi[at] : f->hi_first;
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

/* The exact answer: a state that some unused device can finish. */
static uint32_t table_fits(struct table *t)
{
    uint32_t n = t->n_layers;
    fill_reach(t);
    for (uint64_t i = 0; i < t->n_states; i++) {
        uint32_t from = t->reach[i] < n ? t->reach[i] : n - 1, count = 1;
        bool ends = false;
        for (uint32_t c = 0; c < t->n_classes; c++) {
            const struct fit *f = t->c[c].fit;
            count += used(t, i, c);
            if (used(t, i, c) < t->c[c].n && (from ? f->lo_last <= from : f->lo_only == 0))
                ends = true;
        }
        if (ends)
            return count;
    }
    return 0;
}

uint32_t leaf_fits(const struct leaf *l, bool *exact, uint64_t *work)
{
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
    *exact = t.n_states > 0;
    if (t.n_states) {
        *work += t.n_states * t.n_classes;
        fits = table_fits(&t);
    }
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

struct cell {
    int64_t ns;
    uint16_t from;  /* layer where the last device starts */
    uint16_t class; /* of that device */
};

/* One state of the time table: every class as the last device. */
static void fill_state(const struct table *t, struct cell *const *row, uint64_t i)
{
    uint32_t n = t->n_layers;
    bool full = i == t->n_states - 1;
    uint32_t lo = t->start[i], hi = full ? n : t->reach[i];
    for (uint32_t c = 0; c < t->n_classes; c++) {
        const struct class *k = &t->c[c];
        if (!used(t, i, c) || !row[i - k->stride])
            continue;
        uint64_t prev = i - k->stride;
        uint32_t plo = t->start[prev], phi = t->reach[prev];
        const int64_t *cum = k->speed->cum;
        const struct cell *p = row[prev];
        bool first = prev == 0 && !t->l->n_cpu_max;
        uint16_t deque[PLACE_MAX_LAYERS + 1];
        uint32_t head = 0, tail = 0, s = plo;
        for (uint32_t e = lo; e <= hi; e++) {
            uint32_t least = full ? (first ? k->fit->lo_only : k->fit->lo_last) : k->fit->lo[e];
            if (first && !full)
                least = e <= k->fit->hi_first ? 0 : e;
            for (; s <= phi && s < e; s++) {
                if (p[s - plo].ns >= PLACE_INF)
                    continue;
                while (tail > head &&
                       p[deque[tail - 1] - plo].ns - cum[deque[tail - 1]] > p[s - plo].ns - cum[s])
                    tail--;
                deque[tail++] = (uint16_t)s;
            }
            while (tail > head && deque[head] < least)
                head++;
            if (tail == head)
                continue;
            int64_t ns = p[deque[head] - plo].ns - cum[deque[head]] + cum[e] + k->fixed +
                         (full ? k->tail : 0);
            if (ns < row[i][e - lo].ns)
                row[i][e - lo] = (struct cell){ns, deque[head], (uint16_t)c};
        }
    }
}

static void read_back(const struct table *t, struct cell *const *row, struct leaf_answer *a)
{
    uint64_t i = t->n_states - 1;
    uint32_t e = t->n_layers;
    for (uint32_t g = t->l->n_dev; g-- > 0;) {
        const struct cell *x = &row[i][e - t->start[i]];
        const struct class *k = &t->c[x->class];
        a->order[g] = t->sorted[k->first + used(t, i, x->class) - 1];
        a->counts[g] = (uint16_t)(e - x->from);
        i -= k->stride;
        e = x->from;
    }
    a->n_cpu = e;
}

static bool fill_times(const struct table *t, struct leaf_answer *a)
{
    uint64_t cells = 0;
    for (uint64_t i = 0; i < t->n_states; i++)
        if (t->reach[i] >= t->start[i])
            cells += t->reach[i] - t->start[i] + 1u;
    if (cells * t->n_classes > t->l->max_work)
        return false;
    a->work += cells * t->n_classes;
    mem_auto struct cell *pool = mem_calloc(cells + 1, sizeof *pool);
    mem_auto struct cell **row = mem_calloc(t->n_states, sizeof *row);
    for (uint64_t i = 0; i <= cells; i++)
        pool[i].ns = PLACE_INF;
    cells = 0;
    for (uint64_t i = 0; i < t->n_states; i++)
        if (t->reach[i] >= t->start[i]) {
            row[i] = pool + cells;
            cells += t->reach[i] - t->start[i] + 1u;
        }
    uint64_t full = t->n_states - 1;
    row[full] = row[full] ? row[full] : pool + cells; /* the spare cell */
    for (uint32_t x = t->start[0]; row[0] && x <= t->reach[0]; x++)
        row[0][x - t->start[0]].ns = !t->l->n_cpu_max ? 0 : x ? t->l->cpu_ns[x] : PLACE_INF;
    for (uint64_t i = 1; i < t->n_states; i++)
        if (row[i])
            fill_state(t, row, i);
    a->ns = row[full][t->n_layers - t->start[full]].ns;
    a->feasible = a->ns < PLACE_INF;
    a->exact = true;
    if (a->feasible)
        read_back(t, row, a);
    return true;
}

void leaf_solve(const struct leaf *l, struct leaf_answer *a)
{
    struct table t;
    a->feasible = a->exact = false;
    table_init(&t, l);
    if (t.n_states && l->n_dev) {
        a->work += t.n_states * t.n_classes;
        fill_reach(&t);
        fill_start(&t);
    }
    if (!t.n_states || !fill_times(&t, a))
        try_orders(&t, l, a);
    table_done(&t);
}
