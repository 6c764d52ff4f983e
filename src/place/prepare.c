/* Links, floors, and which nodes can take part; see solve.h and bounds.h. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

/* ---- links ---- */

struct net solver_net(const struct problem *p, uint32_t a, uint32_t b)
{
    uint32_t x = p->nodes[a].tag, y = p->nodes[b].tag;
    if (x > y) {
        uint32_t swap = x;
        x = y;
        y = swap;
    }
    uint32_t lo = 0, hi = p->n_pairs;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        const struct net_pair *q = &p->pairs[mid];
        if (q->a == x && q->b == y)
            return q->net;
        if (q->a < x || (q->a == x && q->b < y))
            lo = mid + 1;
        else
            hi = mid;
    }
    return p->net_all;
}

/* ---- the floor under every time ---- */

static int64_t layer_ns(const int64_t *cum, uint32_t l)
{
    return cum[l + 1] - cum[l];
}

void prepare_floor(struct solver *v)
{
    const struct problem *p = v->p;
    const struct solver *like = p->like;
    uint32_t n = v->n_layers;
    if (like) {
        v->floor_ns = like->floor_ns;
        v->net_min = like->net_min;
        return;
    }
    int64_t tail = PLACE_INF;
    for (uint32_t s = 0; s < p->n_speeds; s++)
        tail = p->speeds[s].tail < tail ? p->speeds[s].tail : tail;
    v->floor_ns = mem_calloc(n + 1, sizeof *v->floor_ns);
    v->floor_ns[n] = p->n_speeds ? tail : 0;
    for (uint32_t l = n; l-- > 0;) {
        int64_t least = p->cpu_ns ? layer_ns(p->cpu_ns, l) : PLACE_INF;
        for (uint32_t s = 0; s < p->n_speeds; s++) {
            int64_t t = layer_ns(p->speeds[s].cum, l);
            least = t < least ? t : least;
        }
        v->floor_ns[l] = v->floor_ns[l + 1] + least;
    }
    v->net_min = p->net_all;
    for (uint32_t i = 0; i < p->n_pairs; i++) {
        const struct net *x = &p->pairs[i].net;
        v->net_min.fixed = x->fixed < v->net_min.fixed ? x->fixed : v->net_min.fixed;
        v->net_min.tail = x->tail < v->net_min.tail ? x->tail : v->net_min.tail;
        v->net_min.once = x->once < v->net_min.once ? x->once : v->net_min.once;
    }
}

/* ---- which nodes ---- */

struct top { /* the k largest of a list and their sum */
    uint64_t *item, sum;
    uint32_t n, k;
};

static void top_add(struct top *t, uint64_t x)
{
    uint32_t i = t->n;
    if (t->n == t->k) {
        if (x <= t->item[t->k - 1])
            return;
        t->sum -= t->item[--i];
        t->n--;
    }
    for (; i > 0 && t->item[i - 1] < x; i--)
        t->item[i] = t->item[i - 1];
    t->item[i] = x;
    t->sum += x;
    t->n++;
}

/* The most that k nodes hold together when this one, worth x, is one of them. */
static uint64_t with(const struct top *t, uint64_t x)
{
    bool in = t->n < t->k || x >= t->item[t->k - 1];
    return in || !t->n ? t->sum : t->sum - t->item[t->n - 1] + x;
}

bool prepare_enough(const struct solver *v, uint32_t most)
{
    bool enough = true;
    for (uint32_t c = 0; c < v->n_caps && enough; c++) {
        struct top t = {.item = mem_calloc(most + 1, sizeof *t.item), .k = most};
        uint64_t cpu = 0;
        for (uint32_t i = 0; i < v->n_nodes; i++) {
            const struct snode *s = &v->nodes[i];
            uint64_t own = snode_cpu(v, s, c);
            cpu = own > cpu ? own : cpu;
            for (uint32_t d = 0; d < s->n_dev; d++)
                top_add(&t, snode_cap(s, c, d + 1) - snode_cap(s, c, d));
        }
        enough = t.sum + cpu >= v->want[c];
        free(t.item);
    }
    return enough;
}

/* Could k nodes hold the model when one of this kind is among them? */
struct sums {
    struct top top[CAP_COUNT];
    uint64_t cpu[CAP_COUNT];
};

static void sums_init(const struct solver *v, uint32_t k, struct sums *x)
{
    *x = (struct sums){0};
    for (uint32_t c = 0; c < v->n_caps; c++) {
        x->top[c] = (struct top){.item = mem_calloc(k, sizeof *x->top[c].item), .k = k};
        for (uint32_t i = 0; i < v->n_nodes; i++) {
            const struct snode *s = &v->nodes[i];
            uint64_t cpu = s->main_ok ? snode_cpu(v, s, c) : 0;
            top_add(&x->top[c], snode_cap(s, c, s->n_dev));
            x->cpu[c] = cpu > x->cpu[c] ? cpu : x->cpu[c];
        }
    }
}

static void sums_done(struct sums *x)
{
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        free(x->top[c].item);
}

static bool sums_may(const struct solver *v, const struct sums *x, const struct snode *s)
{
    for (uint32_t c = 0; c < v->n_caps; c++)
        if (with(&x->top[c], snode_cap(s, c, s->n_dev)) + x->cpu[c] < v->want[c])
            return false;
    return true;
}

/* Is every layer on speed a as fast as on b? */
static bool as_fast(const struct solver *v, uint32_t a, uint32_t b)
{
    const struct speed *x = &v->p->speeds[a], *y = &v->p->speeds[b];
    bool fast = a <= b && x->fixed <= y->fixed && x->tail <= y->tail;
    for (uint32_t l = 0; a != b && fast && l < v->n_layers; l++)
        fast = layer_ns(x->cum, l) <= layer_ns(y->cum, l);
    return fast;
}

/* Does node a do whatever b does, and at no more cost? Device by device in their order, which finds
 * most of it. */
static bool replaces(const struct solver *v, const bool *fast, const struct snode *a,
                     const struct snode *b)
{
    const struct pnode *x = a->src, *y = b->src;
    if (a->n_dev < b->n_dev || x->special || y->special || a->cpu_lay < b->cpu_lay ||
        x->cost > y->cost)
        return false;
    if (b->main_ok && (!a->main_ok || x->main_cost > y->main_cost))
        return false;
    if (x->all_or_none && (!y->all_or_none || a->n_dev != b->n_dev))
        return false;
    for (uint32_t i = 0; i < b->n_dev; i++) {
        const struct pdev *p = &x->dev[i], *q = &y->dev[i];
        bool ram = (p->speed == v->p->remote_only) != (q->speed == v->p->remote_only);
        if (p->rank < q->rank || p->cost > q->cost || ram ||
            !fast[p->speed * v->p->n_speeds + q->speed])
            return false;
    }
    return true;
}

/* How many of the list, up to k, replace this one. */
static uint32_t replaced_by(const struct solver *v, const bool *fast, const struct bnode *list,
                            uint32_t n, const struct snode *s, uint32_t k)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n && found < k; i++)
        found += replaces(v, fast, list[i].s, s);
    return found;
}

static void add_kind(const struct solver *v, uint32_t lo, uint32_t n, struct bnode *to)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct snode *s = &v->nodes[lo + i];
        to[i] = (struct bnode){.s = s, .first = i == 0};
        for (uint32_t c = 0; c < v->n_caps; c++)
            to[i].cpu[c] = snode_cpu(v, s, c);
    }
}

uint32_t prepare_nodes(const struct solver *v, uint32_t k, bool ascending, uint32_t max,
                       struct bnode **out, bool *cut)
{
    struct sums sums;
    struct bnode *list = NULL;
    uint32_t n = 0, speeds = v->p->n_speeds;
    size_t cap = 0;
    mem_auto bool *fast = mem_calloc((size_t)speeds * speeds + 1, sizeof *fast);
    for (uint32_t i = 0; i < speeds * speeds; i++)
        fast[i] = as_fast(v, i / speeds, i % speeds);
    sums_init(v, k, &sums);
    *cut = false;
    /* One kind at a time, from either end of the sorted list. */
    for (uint32_t done = 0, lo, hi; done < v->n_nodes && !*cut; done += hi - lo) {
        lo = ascending ? v->nodes[v->n_nodes - 1 - done].class_start : done;
        hi = v->nodes[lo].class_end;
        const struct snode *s = &v->nodes[lo];
        if (!sums_may(v, &sums, s))
            continue;
        uint32_t most = k - (ascending ? 0 : replaced_by(v, fast, list, n, s, k));
        uint32_t keep = hi - lo < most ? hi - lo : most;
        *cut = n + keep > max;
        keep = *cut ? max - n : keep;
        mem_grow(&list, &cap, n + keep + 1, sizeof *list);
        add_kind(v, lo, keep, list + n);
        n += keep;
        for (uint32_t i = n - keep; i < n; i++)
            list[i].end = n;
    }
    sums_done(&sums);
    *out = list;
    return n;
}

/* ---- what a device holds in the longest time for a stage ---- */

static void fill_stage(struct solver *v, uint32_t speed)
{
    const struct speed *sp = &v->p->speeds[speed];
    uint16_t *lo = v->stage_lo + (size_t)speed * (v->n_layers + 2);
    uint32_t n = v->n_layers, s = 0;
    int64_t most = v->p->stage_ns - sp->fixed;
    for (uint32_t e = 1; e <= n + 1; e++) {
        uint32_t end = e < n ? e : n;
        int64_t more = e > n ? sp->tail : 0;
        while (s < end && sp->cum[end] - sp->cum[s] + more > most)
            s++;
        lo[e] = (uint16_t)s;
        for (uint32_t c = 0; c < v->n_caps && s < end; c++) {
            uint64_t x = ranks_measure(v->ranks, c, e) - ranks_measure(v->ranks, c, s);
            v->stage_caps[speed][c] = x > v->stage_caps[speed][c] ? x : v->stage_caps[speed][c];
        }
    }
}

void prepare_stage(struct solver *v)
{
    const struct problem *p = v->p;
    if (!p->stage_ns)
        return;
    v->stage_caps = mem_calloc(p->n_speeds + 1, sizeof *v->stage_caps);
    v->stage_lo = mem_calloc((size_t)p->n_speeds * (v->n_layers + 2), sizeof *v->stage_lo);
    for (uint32_t s = 0; s < p->n_speeds; s++)
        fill_stage(v, s);
}

const uint16_t *solver_stage(const struct solver *v, uint32_t speed)
{
    return v->stage_lo ? v->stage_lo + (size_t)speed * (v->n_layers + 2) : NULL;
}

const uint64_t *solver_caps(const struct solver *v, const struct pdev *d, uint64_t own[CAP_COUNT])
{
    const uint64_t *cap = ranks_caps(v->ranks, d->rank);
    if (!v->stage_caps)
        return cap;
    const uint64_t *stage = v->stage_caps[d->speed];
    for (uint32_t c = 0; c < v->n_caps; c++)
        own[c] = cap[c] < stage[c] ? cap[c] : stage[c];
    return own;
}
