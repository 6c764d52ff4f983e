/* Node profiles, equal kinds, bounds by node, and prices; see solve.h and bounds.h. */
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

/* Least sum of x neighbours in d[n]: a device holds neighbours, so it costs at least that. */
static void least_windows(const int64_t *d, uint32_t n, int64_t *out)
{
    out[0] = 0;
    for (uint32_t x = 1; x <= n; x++) {
        int64_t sum = 0, best;
        for (uint32_t i = 0; i < x; i++)
            sum += d[i];
        best = sum;
        for (uint32_t i = x; i < n; i++) {
            sum += d[i] - d[i - x];
            best = sum < best ? sum : best;
        }
        out[x] = best;
    }
}

void prepare_floor(struct solver *v)
{
    const struct problem *p = v->p;
    uint32_t n = v->n_layers;
    mem_auto int64_t *least = mem_calloc(n, sizeof *least), *d = mem_calloc(n, sizeof *d);
    int64_t tail = PLACE_INF;
    for (uint32_t s = 0; s < p->n_speeds; s++)
        tail = p->speeds[s].tail < tail ? p->speeds[s].tail : tail;
    v->floor_ns = p->n_speeds ? tail : 0;
    for (uint32_t l = 0; l < n; l++) {
        least[l] = p->cpu_ns ? layer_ns(p->cpu_ns, l) : PLACE_INF;
        for (uint32_t s = 0; s < p->n_speeds; s++) {
            int64_t t = layer_ns(p->speeds[s].cum, l);
            least[l] = t < least[l] ? t : least[l];
        }
        v->floor_ns += least[l];
    }
    v->excess = mem_calloc(p->n_speeds + 1, sizeof *v->excess);
    v->price = mem_calloc((size_t)p->n_speeds * (n + 1) + 1, sizeof *v->price);
    for (uint32_t s = 0; s < p->n_speeds; s++) {
        for (uint32_t l = 0; l < n; l++)
            d[l] = layer_ns(p->speeds[s].cum, l) - least[l];
        v->excess[s] = mem_calloc(n + 1, sizeof **v->excess);
        least_windows(d, n, v->excess[s]);
    }
    v->cpu_excess = mem_calloc(n + 1, sizeof *v->cpu_excess);
    for (uint32_t l = 0; p->cpu_ns && l < n; l++)
        v->cpu_excess[l + 1] = v->cpu_excess[l] + layer_ns(p->cpu_ns, l) - least[l];
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
    for (uint32_t c = 0; c < CAP_COUNT && enough; c++) {
        struct top t = {.item = mem_calloc(most + 1, sizeof *t.item), .k = most};
        uint64_t cpu = 0;
        for (uint32_t i = 0; i < v->n_nodes; i++) {
            const struct snode *s = &v->nodes[i];
            cpu = s->cpu_cap[c] > cpu ? s->cpu_cap[c] : cpu;
            for (uint32_t d = 0; d < s->n_dev; d++)
                top_add(&t, s->cap[c][d + 1] - s->cap[c][d]);
        }
        enough = t.sum + cpu >= v->want[c];
        free(t.item);
    }
    return enough;
}

uint32_t prepare_nodes(const struct solver *v, uint32_t k, bool ascending, uint32_t max,
                       struct snode **out, bool *cut)
{
    struct top top[CAP_COUNT];
    uint64_t cpu[CAP_COUNT] = {0};
    for (uint32_t c = 0; c < CAP_COUNT; c++) {
        top[c] = (struct top){.item = mem_calloc(k, sizeof *top[c].item), .k = k};
        for (uint32_t i = 0; i < v->n_nodes; i++) {
            const struct snode *s = &v->nodes[i];
            top_add(&top[c], s->cap[c][s->n_dev]);
            cpu[c] = s->src->main_ok && s->cpu_cap[c] > cpu[c] ? s->cpu_cap[c] : cpu[c];
        }
    }
    struct snode *list = mem_calloc(v->n_nodes + 1, sizeof *list);
    uint32_t n = 0;
    *cut = false;
    /* One kind at a time, from either end of the sorted list. */
    for (uint32_t done = 0, lo, hi; done < v->n_nodes && !*cut; done += hi - lo) {
        lo = ascending ? v->nodes[v->n_nodes - 1 - done].class_start : done;
        hi = v->nodes[lo].class_end;
        const struct snode *s = &v->nodes[lo];
        bool may = true;
        for (uint32_t c = 0; c < CAP_COUNT; c++)
            may = may && with(&top[c], s->cap[c][s->n_dev]) + cpu[c] >= v->want[c];
        if (!may)
            continue;
        uint32_t start = n, keep = hi - lo < k ? hi - lo : k;
        *cut = n + keep > max;
        for (uint32_t c = 0; c < keep && n < max; c++)
            list[n++] = v->nodes[lo + c];
        for (uint32_t c = start; c < n; c++)
            list[c].class_end = n;
    }
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        free(top[c].item);
    *out = list;
    return n;
}

/* ---- prices ---- */

static void merge(const struct snode *s, const int64_t *in, int64_t *out)
{
    uint32_t at[32] = {0};
    out[0] = 0;
    if (s->n_groups == 1 || s->n_groups > ARRAY_LEN(at)) {
        /* Beyond any real machine: the sum of the least is bounded by the least times q. */
        int64_t least = PLACE_INF;
        for (uint32_t g = 0; g < s->n_groups; g++)
            for (uint32_t i = 0; i < s->groups[g].n; i++) {
                int64_t x = in[s->groups[g].first + i];
                if (s->n_groups == 1)
                    out[i + 1] = out[i] + x;
                least = x < least ? x : least;
            }
        for (uint32_t q = 1; s->n_groups != 1 && q <= s->n_dev; q++)
            out[q] = out[q - 1] + least;
        return;
    }
    for (uint32_t q = 1; q <= s->n_dev; q++) {
        uint32_t from = UINT32_MAX;
        int64_t best = 0;
        for (uint32_t g = 0; g < s->n_groups; g++)
            if (at[g] < s->groups[g].n &&
                (from == UINT32_MAX || in[s->groups[g].first + at[g]] < best)) {
                from = g;
                best = in[s->groups[g].first + at[g]];
            }
        at[from]++;
        out[q] = out[q - 1] + best;
    }
}

void prepare_prices(struct solver *v, struct snode *nodes, uint32_t n, int64_t lambda)
{
    const struct problem *p = v->p;
    uint32_t stride = v->n_layers + 1;
    for (uint32_t s = 0; s < p->n_speeds; s++) {
        int64_t *row = v->price + (size_t)s * stride;
        row[0] = PLACE_INF / 1024; /* a device without a layer is no device */
        for (uint32_t x = 1; x <= v->n_layers; x++) {
            int64_t t = v->excess[s][x] - lambda * x;
            row[x] = x > 1 && row[x - 1] < t ? row[x - 1] : t;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        struct snode *s = &nodes[i];
        for (uint32_t d = 0; d < s->n_dev; d++) {
            const struct pdev *x = &s->src->dev[d];
            int64_t t = p->speeds[x->speed].fixed +
                        v->price[(size_t)x->speed * stride + ranks_layers(v->ranks, x->rank)];
            s->gloc[d] = t;
            s->grem[d] = t + v->net_min.fixed;
        }
        merge(s, s->gloc, s->loc);
        merge(s, s->grem, s->rem);
        s->cpu_tim = 0;
        for (uint32_t x = 1; x <= s->cpu_lay; x++) {
            int64_t t = v->cpu_excess[x] - lambda * x;
            s->cpu_tim = x == 1 || t < s->cpu_tim ? t : s->cpu_tim;
        }
    }
}
