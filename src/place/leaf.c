/* Order and split of given devices; see leaf.h. */
#include "place/leaf.h"

#include "base/mem.h"
#include "place/states.h"

#include <string.h>

/* ---- does it fit at all ---- */

/* One pass in the order given, each device as far as it goes; ends as soon as one can finish. */
static uint32_t greedy(const struct leaf *l, const uint16_t *order)
{
    uint32_t n = l->need->n, at = l->n_cpu_max;
    for (uint32_t i = 0; i < l->n_dev; i++) {
        const struct fit *f = ranks_fit(l->ranks, l->dev[order[i]].rank);
        uint32_t from = at < n ? at : n - 1;
        if (fit_ends(f, from, l->n_cpu_max))
            return i + 1;
        at = fit_furthest(f, at);
    }
    return 0;
}

static void reverse(uint16_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        uint16_t swap = order[i];
        order[i] = order[n - 1 - i];
        order[n - 1 - i] = swap;
    }
}

static int by_room(const void *x, const void *y, void *arg)
{
    const struct leaf_dev *dev = arg;
    const struct leaf_dev *a = &dev[*(const uint16_t *)x], *b = &dev[*(const uint16_t *)y];
    if (a->rank != b->rank)
        return a->rank > b->rank ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Behind the first `used` of the order, those devices that are not among them. */
static void append_rest(uint16_t *order, uint32_t used, uint32_t n)
{
    mem_auto bool *taken = mem_calloc(n + 1, sizeof *taken);
    for (uint32_t i = 0; i < used; i++)
        taken[order[i]] = true;
    for (uint32_t d = 0; d < n; d++)
        if (!taken[d])
            order[used++] = (uint16_t)d;
}

uint32_t leaf_fits(const struct leaf *of, uint16_t *order, bool *exact, uint64_t *work)
{
    struct leaf copy = *of, *l = &copy;
    mem_auto struct leaf_dev *dev = mem_calloc(of->n_dev + 1, sizeof *dev);
    for (uint32_t i = 0; i < of->n_dev; i++) /* nothing but their sizes */
        dev[i] = (struct leaf_dev){.rank = of->dev[i].rank, .id = of->dev[i].id};
    l->dev = dev;
    l->stage_ns = 0;
    *exact = true;
    *work += l->n_dev;
    if (l->n_dev == 0)
        return 0;
    for (uint32_t i = 0; i < l->n_dev; i++)
        order[i] = (uint16_t)i;
    qsort_r(order, l->n_dev, sizeof *order, by_room, (void *)l->dev);
    uint32_t fits = greedy(l, order);
    if (!fits) {
        reverse(order, l->n_dev);
        fits = greedy(l, order);
    }
    if (!fits) { /* largest first again, but the largest for the end, where the output layer goes */
        reverse(order, l->n_dev - 1);
        fits = greedy(l, order);
    }
    if (fits)
        return fits;
    struct table t;
    table_init(&t, l);
    *exact = t.keyed;
    if (t.keyed)
        fits = table_fits(&t, order, exact);
    if (fits)
        append_rest(order, fits, l->n_dev);
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
            leaf_clip(l, d, f, &own);
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

static void try_order(const struct leaf *l, const uint16_t *order, struct leaf_answer *a)
{
    struct leaf_answer b = {.order = mem_calloc(l->n_dev, sizeof *b.order),
                            .counts = mem_calloc(l->n_dev, sizeof *b.counts)};
    memcpy(b.order, order, l->n_dev * sizeof *order);
    if (leaf_split(l, 0, &b) && b.ns < (a->feasible ? a->ns : l->below_ns)) {
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
    reverse(order, g);
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
}

/* No order and no split of these devices is faster. */
static int64_t least_ns(const struct leaf *l)
{
    int64_t ns = l->rest_ns[0], last = PLACE_INF;
    for (uint32_t i = 0; i < l->n_dev; i++) {
        ns += l->dev[i].least_ns;
        last = l->dev[i].last_ns < last ? l->dev[i].last_ns : last;
    }
    return ns + last;
}

void leaf_solve(const struct leaf *l, struct leaf_answer *a)
{
    struct table t;
    a->feasible = a->exact = false;
    if (l->rest_ns && !l->n_cpu_max && least_ns(l) >= l->below_ns) {
        a->exact = true;
        return;
    }
    table_init(&t, l);
    if (!t.keyed || !table_times(&t, a))
        try_orders(&t, l, a);
    a->work += t.work;
    table_done(&t);
}
