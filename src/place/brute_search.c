/* Exhaustive methods; see brute.h. */
#include "place/brute.h"

#include "base/mem.h"

#include <string.h>

static uint32_t bits(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

static void clear(struct brute_best *out)
{
    out->k_cap = BRUTE_NODES;
    out->g_cap = BRUTE_DEV;
    for (uint32_t k = 0; k <= BRUTE_NODES; k++)
        for (uint32_t g = 0; g <= BRUTE_DEV; g++)
            out->value[k][g] = BRUTE_NEVER;
}

static uint32_t nodes_of(const struct brute *b, uint32_t main, uint32_t mask)
{
    uint32_t nodes = 1u << main;
    for (uint32_t i = 0; i < b->n_dev; i++)
        if (mask >> i & 1)
            nodes |= 1u << b->dev[i].node;
    return bits(nodes);
}

/* Nodes that are used whole or not at all. */
static bool whole(const struct brute *b, uint32_t mask)
{
    uint32_t have[BRUTE_NODES] = {0}, used[BRUTE_NODES] = {0};
    bool ok = true;
    for (uint32_t i = 0; i < b->n_dev; i++)
        if (!b->dev[i].remote_only) {
            have[b->dev[i].node]++;
            used[b->dev[i].node] += mask >> i & 1;
        }
    for (uint32_t i = 0; i < b->n_nodes; i++)
        ok = ok && (!b->node[i].all_or_none || !used[i] || used[i] == have[i]);
    return ok;
}

static int64_t value_of(const struct brute *b, uint32_t main, uint32_t mask, int64_t ns)
{
    uint32_t nodes = 1u << main;
    int64_t value = b->scale * ns + b->node[main].main_cost;
    for (uint32_t i = 0; i < b->n_dev; i++)
        if (mask >> i & 1) {
            nodes |= 1u << b->dev[i].node;
            value += b->dev[i].cost + (b->dev[i].node == main ? 0 : b->hop_cost);
        }
    for (uint32_t i = 0; i < b->n_nodes; i++)
        value += nodes >> i & 1 ? b->node[i].cost : 0;
    return value;
}

/* What is asked of a set of devices and its time, beside that everything fits. */
static bool allowed(const struct brute *b, uint32_t main, uint32_t mask, int64_t ns)
{
    uint32_t g = bits(mask);
    return ns < BRUTE_NEVER && g >= b->min_dev && (!b->max_dev || g <= b->max_dev) &&
           (!b->limit_ns || ns <= b->limit_ns) && whole(b, mask) &&
           (!b->limit_value || value_of(b, main, mask, ns) < b->limit_value);
}

/* Keeps the least value by numbers of nodes and devices. */
struct offers {
    const struct brute *b;
    struct brute_best *out;
};

static void offer(void *arg, uint32_t main, uint32_t mask, int64_t ns, int64_t stage)
{
    struct offers *x = arg;
    const struct brute *b = x->b;
    struct brute_best *out = x->out;
    uint32_t k = nodes_of(b, main, mask), g = bits(mask);
    if (!allowed(b, main, mask, ns))
        return;
    int64_t value = value_of(b, main, mask, ns);
    out->value[k][g] = value < out->value[k][g] ? value : out->value[k][g];
}

static bool usable(const struct brute *b, uint32_t main, uint32_t dev)
{
    return !b->dev[dev].remote_only || b->dev[dev].node != main;
}

/* Nobody but the main node's CPU comes first. */
static uint32_t start_least(const struct brute *b)
{
    return b->cpu ? 1 : 0;
}
static uint32_t start_most(const struct brute *b, uint32_t main)
{
    uint32_t most = b->node[main].n_cpu_max;
    return !b->cpu ? 0 : most < b->n_layers ? most : b->n_layers - 1;
}

/* What a device costs besides its layers. */
static int64_t overhead(const struct brute *b, uint32_t main, uint32_t dev, bool first_remote,
                        bool last)
{
    const struct brute_dev *d = &b->dev[dev];
    int64_t ns = b->fixed[d->speed] + (last ? b->tail[d->speed] : 0);
    if (d->node != main) {
        const struct brute_net *n = &b->net[main][d->node];
        ns += n->fixed + (last ? n->tail : 0) + (first_remote ? n->once : 0);
    }
    return ns;
}

/* A stage of the pipeline: everything that is the device's own. */
static bool slow(const struct brute *b, int64_t ns)
{
    return b->stage_ns && ns > b->stage_ns;
}
static bool cpu_slow(const struct brute *b, uint32_t x)
{
    return b->cpu && slow(b, b->cpu_ns[x]);
}

static bool any_remote(const struct brute *b, uint32_t main, uint32_t mask)
{
    for (uint32_t i = 0; i < b->n_dev; i++)
        if ((mask >> i & 1) && b->dev[i].node != main)
            return true;
    return false;
}

/* ---- one placement ---- */

int64_t brute_time(const struct brute *b, const struct brute_way *w, struct brute_sum *out)
{
    uint32_t at = w->n_cpu, mask = 0;
    int64_t ns = b->base_ns + (b->cpu ? b->cpu_ns[at] : 0), stage = b->cpu ? b->cpu_ns[at] : 0;
    bool ok = w->main < b->n_nodes && b->node[w->main].main_ok && w->n > 0;
    ok = ok && at >= start_least(b) && at <= start_most(b, w->main) && !cpu_slow(b, at);
    for (uint32_t i = 0; i < w->n && ok; i++) {
        const struct brute_dev *d = &b->dev[w->dev[i]];
        uint32_t e = at + w->count[i];
        bool last = i + 1 == w->n;
        ok = w->count[i] > 0 && e <= b->n_layers && !(mask >> w->dev[i] & 1) &&
             usable(b, w->main, w->dev[i]) && (e == b->n_layers) == last &&
             b->bytes[at][e] <= d->room;
        int64_t own = overhead(b, w->main, w->dev[i], false, last);
        int64_t once = overhead(b, w->main, w->dev[i], true, last) - own;
        for (; ok && at < e; at++)
            own += b->ns[d->speed][at];
        ok = ok && !slow(b, own);
        stage = own > stage ? own : stage;
        ns += own + (any_remote(b, w->main, mask) ? 0 : once);
        mask |= 1u << w->dev[i];
    }
    *out = (struct brute_sum){nodes_of(b, w->main, mask), value_of(b, w->main, mask, ns), stage};
    return ok && at == b->n_layers && allowed(b, w->main, mask, ns) ? ns : BRUTE_NEVER;
}

/* ---- all orders ---- */

struct walk {
    const struct brute *b;
    uint32_t main;
    brute_fn *fn;
    void *arg;
};

static void extend(const struct walk *w, uint32_t mask, uint32_t at, int64_t ns, int64_t stage)
{
    const struct brute *b = w->b;
    bool remote = any_remote(b, w->main, mask);
    for (uint32_t i = 0; i < b->n_dev; i++) {
        if ((mask >> i & 1) || !usable(b, w->main, i))
            continue;
        int64_t t = 0;
        for (uint32_t e = at + 1; e <= b->n_layers; e++) {
            bool last = e == b->n_layers;
            t += b->ns[b->dev[i].speed][e - 1];
            int64_t own = t + overhead(b, w->main, i, false, last);
            if (b->bytes[at][e] > b->dev[i].room || slow(b, own))
                continue;
            int64_t sum = ns + t + overhead(b, w->main, i, !remote, last);
            int64_t most = own > stage ? own : stage;
            if (last)
                w->fn(w->arg, w->main, mask | 1u << i, sum, most);
            else
                extend(w, mask | 1u << i, e, sum, most);
        }
    }
}

void brute_each_way(const struct brute *b, brute_fn *fn, void *arg)
{
    for (uint32_t main = 0; main < b->n_nodes; main++) {
        struct walk w = {b, main, fn, arg};
        if (!b->node[main].main_ok)
            continue;
        for (uint32_t x = start_least(b); x <= start_most(b, main) && !cpu_slow(b, x); x++)
            extend(&w, 0, x, b->base_ns + (b->cpu ? b->cpu_ns[x] : 0), b->cpu ? b->cpu_ns[x] : 0);
    }
}

void brute_orders(const struct brute *b, struct brute_best *out)
{
    struct offers x = {b, out};
    clear(out);
    brute_each_way(b, offer, &x);
}

/* ---- layers that are alike ---- */

bool brute_alike(const struct brute *b)
{
    uint32_t n = b->n_layers;
    for (uint32_t s = 1; s < n; s++)
        for (uint32_t e = s + 1; e < n; e++)
            if (b->bytes[s][e] != b->bytes[1][1 + e - s])
                return false;
    for (uint32_t i = 0; i < BRUTE_SPEEDS; i++)
        for (uint32_t l = 1; l < n; l++)
            if (b->ns[i][l] != b->ns[i][0])
                return false;
    for (uint32_t i = 0; i < b->n_nodes * b->n_nodes; i++) { /* who is first must not matter */
        uint32_t x = i / b->n_nodes, y = i % b->n_nodes;
        if (x != y && b->net[x][y].once != b->net[0][1].once)
            return false;
    }
    return !b->cpu;
}

/* The most layers that a device holds in its place, and finishes in a stage. */
static uint32_t holds(const struct brute *b, uint32_t main, uint32_t dev, bool first, bool last)
{
    uint32_t n = b->n_layers, x = 0, most = n;
    uint64_t room = b->dev[dev].room;
    int64_t own = overhead(b, main, dev, false, last), one = b->ns[b->dev[dev].speed][0];
    while (most > 0 && slow(b, own + most * one))
        most--;
    if (first && last)
        return b->bytes[0][n] <= room && most == n ? n : 0;
    while (x + 1 < n) { /* a middle one leaves a layer on either side */
        uint32_t s = first ? 0 : last ? n - x - 1 : 1, e = s + x + 1;
        if ((e == n && !last) || b->bytes[s][e] > room)
            break;
        x++;
    }
    return x < most ? x : most;
}

/* Each device one layer, the rest to the fastest ones: the least time of this set in these places.
 */
static int64_t fill_fastest(const struct brute *b, uint32_t main, uint32_t mask, uint32_t first,
                            uint32_t last)
{
    uint32_t room[BRUTE_DEV] = {0}, left = b->n_layers;
    int64_t ns = b->base_ns + (any_remote(b, main, mask) ? b->net[0][1].once : 0);
    for (uint32_t i = 0; i < b->n_dev; i++) {
        if (!(mask >> i & 1))
            continue;
        uint32_t x = holds(b, main, i, i == first, i == last);
        if (x == 0 || left == 0 || !usable(b, main, i))
            return BRUTE_NEVER;
        room[i] = x - 1;
        left--;
        ns += overhead(b, main, i, false, i == last) + b->ns[b->dev[i].speed][0];
    }
    while (left > 0) {
        uint32_t best = BRUTE_DEV;
        for (uint32_t i = 0; i < b->n_dev; i++)
            if (room[i] &&
                (best == BRUTE_DEV || b->ns[b->dev[i].speed][0] < b->ns[b->dev[best].speed][0]))
                best = i;
        if (best == BRUTE_DEV)
            return BRUTE_NEVER;
        uint32_t take = room[best] < left ? room[best] : left;
        ns += take * b->ns[b->dev[best].speed][0];
        room[best] -= take;
        left -= take;
    }
    return ns;
}

/* Does a first device hold as much as one in the middle? Then it does not matter who is first. */
static bool first_alike(const struct brute *b)
{
    for (uint32_t x = 1; x + 1 < b->n_layers; x++)
        if (b->bytes[0][x] != b->bytes[1][1 + x])
            return false;
    return true;
}

/* Every choice of the last one, and of the first one unless all would do as well. */
static void places(const struct offers *x, uint32_t main, uint32_t mask, bool any_first)
{
    const struct brute *b = x->b;
    for (uint32_t last = 0; last < b->n_dev; last++) {
        uint32_t others = bits(mask) == 1 ? mask : mask & ~(1u << last);
        if (!(mask >> last & 1))
            continue;
        for (uint32_t first = 0; first < b->n_dev; first++) {
            if (!(others >> first & 1))
                continue;
            offer((void *)x, main, mask, fill_fastest(b, main, mask, first, last), 0);
            if (any_first)
                break;
        }
    }
}

void brute_uniform(const struct brute *b, struct brute_best *out)
{
    struct offers x = {b, out};
    bool any_first = first_alike(b);
    clear(out);
    for (uint32_t main = 0; main < b->n_nodes; main++)
        for (uint32_t mask = 1; b->node[main].main_ok && mask < 1u << b->n_dev; mask++)
            places(&x, main, mask, any_first);
}

/* ---- sets and layers reached ---- */

/* The furthest layer of every set, not every device of it in use: a later start never ends earlier,
 * as a shorter range needs less. Lowers *k and *g to what it takes to hold the model. */
static void reach(const struct brute *b, uint32_t main, uint8_t *far, uint32_t *k, uint32_t *g)
{
    uint32_t n = b->n_layers, most = b->max_dev ? b->max_dev : BRUTE_DEV;
    for (uint32_t x = start_least(b); x <= start_most(b, main) && !cpu_slow(b, x); x++)
        far[0] = (uint8_t)x;
    for (uint32_t mask = 1; mask < 1u << b->n_dev; mask++) {
        far[mask] = 0;
        for (uint32_t i = 0; i < b->n_dev; i++) {
            if (!(mask >> i & 1))
                continue;
            uint32_t at = far[mask & ~(1u << i)], e = at;
            while (usable(b, main, i) && e + 1 < n && b->bytes[at][e + 1] <= b->dev[i].room)
                e++;
            if (usable(b, main, i) && at < n && b->bytes[at][n] <= b->dev[i].room)
                e = n;
            far[mask] = e > far[mask] ? (uint8_t)e : far[mask];
        }
        uint32_t nodes = nodes_of(b, main, mask), used = bits(mask);
        if (far[mask] == n && used <= most && (nodes < *k || (nodes == *k && used < *g))) {
            *k = nodes;
            *g = used;
        }
    }
}

typedef int64_t row[BRUTE_LAYERS + 1];

/* Extends set `mask`, where best[mask] holds the least times, by device i. */
static void step(const struct brute *b, uint32_t main, uint32_t mask, uint32_t i, row *best)
{
    bool remote = any_remote(b, main, mask);
    int64_t plain = overhead(b, main, i, !remote, false),
            ending = overhead(b, main, i, !remote, true);
    const int64_t *ns = b->ns[b->dev[i].speed];
    int64_t *to = best[mask | 1u << i];
    uint32_t n = b->n_layers;
    for (uint32_t at = 0; at < n; at++) {
        int64_t t = best[mask][at];
        if (t >= BRUTE_NEVER)
            continue;
        for (uint32_t e = at + 1; e <= n; e++) {
            int64_t sum = (t += ns[e - 1]) + (e == n ? ending : plain);
            int64_t own = t - best[mask][at] + overhead(b, main, i, false, e == n);
            if (b->bytes[at][e] <= b->dev[i].room && sum < to[e] && !slow(b, own))
                to[e] = sum;
        }
    }
}

struct caps {
    uint32_t k, g;
};

static void times(const struct brute *b, uint32_t main, row *best, struct caps cap, brute_fn *fn,
                  void *arg)
{
    for (uint32_t mask = 0; mask < 1u << b->n_dev; mask++)
        for (uint32_t l = 0; l <= b->n_layers; l++)
            best[mask][l] = BRUTE_NEVER;
    for (uint32_t x = start_least(b); x <= start_most(b, main) && !cpu_slow(b, x); x++)
        best[0][x] = b->base_ns + (b->cpu ? b->cpu_ns[x] : 0);
    for (uint32_t mask = 0; mask < 1u << b->n_dev; mask++) {
        if (bits(mask) > cap.g || nodes_of(b, main, mask) > cap.k)
            continue;
        if (mask && best[mask][b->n_layers] < BRUTE_NEVER)
            fn(arg, main, mask, best[mask][b->n_layers], 0);
        for (uint32_t i = 0; i < b->n_dev && bits(mask) < cap.g; i++)
            if (!(mask >> i & 1) && usable(b, main, i))
                step(b, main, mask, i, best);
    }
}

static void each_set(const struct brute *b, struct caps cap, brute_fn *fn, void *arg)
{
    mem_auto row *best = mem_calloc((size_t)1 << b->n_dev, sizeof *best);
    for (uint32_t main = 0; main < b->n_nodes; main++)
        if (b->node[main].main_ok)
            times(b, main, best, cap, fn, arg);
}

void brute_each_set(const struct brute *b, brute_fn *fn, void *arg)
{
    each_set(b, (struct caps){BRUTE_NODES, BRUTE_DEV}, fn, arg);
}

void brute_subsets(const struct brute *b, bool all, struct brute_best *out)
{
    struct caps cap = {BRUTE_NODES, BRUTE_DEV};
    struct offers x = {b, out};
    mem_auto uint8_t *far = mem_calloc((size_t)1 << b->n_dev, sizeof *far);
    clear(out);
    for (uint32_t main = 0; main < b->n_nodes && !all; main++)
        if (b->node[main].main_ok)
            reach(b, main, far, &cap.k, &cap.g);
    /* One device alone is another kind of plan (tiers.c); how many it takes beside it is open. */
    if (cap.g < 2)
        cap = (struct caps){BRUTE_NODES, BRUTE_DEV};
    out->k_cap = cap.k;
    out->g_cap = cap.g;
    each_set(b, cap, offer, &x);
}
