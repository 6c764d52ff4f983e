/* Policies as sums of whole numbers; see objective.h. */
#include "place/objective.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

/* Values stay far below what the search's own sums may reach. */
#define VALUE_MAX (PLACE_INF / 8)
#define WEIGHT_PARTS 1000 /* a weight is held to one part in as many */

enum { MAX_TICK_NS = 100000 };

/* ---- the terms of an objective ---- */

struct wanted {
    enum policy_term term;
    double weight; /* 0: only decides between equals */
};

static bool has_term(const struct wanted *w, uint32_t n, enum policy_term t)
{
    for (uint32_t i = 0; i < n; i++)
        if (w[i].term == t)
            return true;
    return false;
}

/* The policy's terms without those that the order of work settles, then the usual ends. */
static uint32_t choose(const struct goal *g, bool gpus, struct wanted *out)
{
    uint32_t n = 0;
    bool counted = gpus && g->counted;
    for (uint32_t i = 0; i < g->p.n_terms; i++) {
        enum policy_term t = g->p.terms[i].term;
        bool settled = (t == TERM_OFFLOAD && g->by_tier) ||
                       (t == TERM_LEFTOVER && g->prefers_fit) ||
                       ((t == TERM_NODES || t == TERM_GPUS) && counted);
        if (!settled)
            out[n++] = (struct wanted){t, g->p.weighted ? g->p.terms[i].weight : 0};
    }
    for (uint32_t i = 0; i < GOAL_ENDS; i++)
        if (!has_term(out, n, GOAL_END[i]) && !(counted && GOAL_END[i] != TERM_TOKEN_TIME))
            out[n++] = (struct wanted){GOAL_END[i], 0};
    return n;
}

/* ---- ranges ---- */

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Step and greatest sum of up to k of these figures, which it sorts. */
static void range_of(int64_t *list, uint32_t n, uint32_t k, struct objective_term *t)
{
    bool flat = true;
    t->step = 0;
    for (uint32_t i = 0; i < n; i++) {
        t->step = gcd(t->step, list[i]);
        flat = flat && list[i] == list[0];
    }
    t->step = t->step ? t->step : 1;
    if (!flat)
        qsort(list, n, sizeof *list, descending);
    __int128 sum = 0;
    for (uint32_t i = 0; i < n && i < k; i++)
        sum += list[i] / t->step;
    t->most = sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

/* The most devices, GPUs and nodes that a plan can have. */
struct sizes {
    uint32_t devices, gpus, nodes;
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static struct sizes sizes_of(const struct scene *c)
{
    struct sizes z = {.devices = least(c->max_devices, c->m->n_layers)};
    z.gpus = least(z.devices, c->n_usable ? c->n_usable : 1);
    z.gpus = c->max_gpus ? least(z.gpus, c->max_gpus) : z.gpus;
    z.nodes = least(c->max_nodes, z.devices + 1);
    return z;
}

/* The longest time of a plan, in ticks. */
static int64_t most_ticks(const struct scene *c, bool ram, int64_t tick)
{
    struct net most = c->net_all;
    for (uint32_t i = 0; i < c->n_pairs; i++) {
        const struct net *x = &c->pairs[i].net;
        most.fixed = x->fixed > most.fixed ? x->fixed : most.fixed;
        most.tail = x->tail > most.tail ? x->tail : most.tail;
        most.once = x->once > most.once ? x->once : most.once;
    }
    uint32_t n = sizes_of(c).devices;
    __int128 ns = (__int128)(ram ? c->most_ns : c->most_gpu_ns) + most.tail + most.once +
                  (__int128)n * (c->hop_ns + most.fixed);
    ns = (ns + c->m->n_layers) / tick + 2 * n + 4; /* layers, devices, ways may be rounded up */
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

static void range(const struct scene *c, bool gpus, bool ram, struct objective_term *t)
{
    struct sizes z = sizes_of(c);
    enum figure_of kind = figure_kind(t->term);
    t->step = 1;
    if (objective_is_time(t->term))
        return; /* in ticks, see compile */
    if (kind == FIGURE_OF_PLAN) {
        t->most = t->term == TERM_OFFLOAD ? (ram ? 2 : 0) : z.devices; /* or hops */
        return;
    }
    uint32_t n = 0, all = kind == FIGURE_OF_DEVICE ? c->n_dev : c->s->n_nodes;
    mem_auto int64_t *list = mem_calloc((size_t)all + 1, sizeof *list);
    for (uint32_t i = 0; i < all; i++) {
        if (kind == FIGURE_OF_DEVICE ? c->dev[i].why : c->nodes[i].why)
            continue;
        if (kind == FIGURE_OF_DEVICE)
            list[n++] = gpus || !figure_gpus_only(t->term) ? figure_device(c, t->term, i) : 0;
        else
            list[n++] = figure_node(c, t->term, i);
    }
    range_of(list, n, kind == FIGURE_OF_MAIN ? 1 : kind == FIGURE_OF_DEVICE ? z.gpus : z.nodes, t);
}

bool objective_is_time(enum policy_term t)
{
    return t == TERM_TOKEN_TIME || t == TERM_STREAM_TIME;
}

/* ---- multipliers ---- */

/* mult times (most + 1), as long as that is a value. */
static bool widen(__int128 *mult, const struct objective_term *t)
{
    if (*mult > VALUE_MAX / ((__int128)t->most + 1))
        return false;
    *mult *= (__int128)t->most + 1;
    return true;
}

/* From the last term to the first: a step weighs more than all that follows. */
static bool order(struct objective *o)
{
    __int128 mult = 1, streams = 1;
    for (uint32_t i = o->n; i-- > 0;) {
        struct objective_term *t = &o->t[i];
        bool stream = t->term == TERM_STREAM_TIME;
        t->mult = stream ? 0 : (int64_t)mult;
        t->wide = mult * streams;
        if (!widen(stream ? &streams : &mult, t))
            return false;
    }
    return true;
}

/* A step of a term in what its weight is for. */
static double weight_of(const struct objective *o, const struct wanted *w,
                        const struct objective_term *t)
{
    double unit = goal_units(t->term, (double)t->step);
    return w->weight * (objective_is_time(t->term) ? unit * (double)o->tick_ns : unit);
}

/* What only decides between equals comes below all weighted terms. *weak: a term that is in the way
 * when it does not fit. */
static bool weigh(struct objective *o, const struct wanted *w, uint32_t *weak)
{
    double most = 0;
    __int128 mult = 1;
    for (uint32_t i = o->n; i-- > 0;) {
        struct objective_term *t = &o->t[i];
        *weak = i;
        if (w[i].weight > 0) {
            most += weight_of(o, &w[i], t) * (double)t->most;
            continue;
        }
        t->wide = t->mult = (int64_t)mult;
        if (!widen(&mult, t))
            return false;
    }
    double scale = most > 0 ? (double)(VALUE_MAX / (int64_t)mult) / most : 1;
    for (uint32_t i = 0; i < o->n; i++) {
        struct objective_term *t = &o->t[i];
        if (w[i].weight <= 0)
            continue;
        double parts = weight_of(o, &w[i], t) * scale;
        *weak = i;
        if (t->most && parts < WEIGHT_PARTS)
            return false;
        t->wide = t->most ? (__int128)llround(parts) * mult : 0;
        t->mult = t->term == TERM_STREAM_TIME ? 0 : (int64_t)t->wide;
    }
    o->sum_scale = scale * (double)mult;
    o->sum_step = (int64_t)mult;
    return true;
}

static int too_much(const struct scene *c, const struct objective *o, uint32_t weak,
                    struct err *err)
{
    struct buf b;
    buf_init(&b, 160);
    for (uint32_t i = 0; i < o->n; i++)
        buf_addf(&b, "%s%s", i ? ", " : "", policy_term_name(o->t[i].term));
    const char *name = c->goal->p.name;
    if (o->weighted)
        err_fill(err, ERR_LIMIT,
                 "policy '%s': '%s' weighs too little beside the rest of %s; raise its weight or "
                 "leave it out",
                 name, policy_term_name(o->t[weak].term), b.p);
    else
        err_fill(err, ERR_LIMIT,
                 "policy '%s': %s in this order are more than 64 bits hold; leave one out, or "
                 "round prices",
                 name, b.p);
    buf_done(&b);
    return -1;
}

/* ---- costs ---- */

static void add_costs(const struct scene *c, struct objective *o, const struct objective_term *t)
{
    enum figure_of kind = figure_kind(t->term);
    for (uint32_t i = 0; i < c->n_dev && kind == FIGURE_OF_DEVICE; i++) {
        if (c->dev[i].why)
            continue;
        int64_t cost = figure_device(c, t->term, i) / t->step * t->mult;
        o->dev[1][i] += cost;
        o->dev[0][i] += figure_gpus_only(t->term) ? 0 : cost;
    }
    int64_t *to = kind == FIGURE_OF_NODE ? o->node : o->main;
    for (uint32_t i = 0; i < c->s->n_nodes && kind >= FIGURE_OF_NODE; i++)
        if (!c->nodes[i].why)
            to[i] += figure_node(c, t->term, i) / t->step * t->mult;
    if (t->term == TERM_TOKEN_TIME)
        o->time_scale = t->mult;
    if (t->term == TERM_HOPS)
        o->hop = t->mult;
    if (t->term == TERM_OFFLOAD)
        o->offload = t->mult;
}

void objective_free(struct objective *o)
{
    if (!o)
        return;
    free(o->dev[0]);
    free(o->dev[1]);
    free(o->node);
    free(o->main);
    free(o);
}

/* Ranges and multipliers, with times as fine as there is room for. */
static int compile(const struct scene *c, bool gpus, bool ram, struct objective *o, struct err *err)
{
    struct wanted w[PLACE_MAX_TERMS];
    uint32_t weak = 0;
    o->n = choose(c->goal, !ram, w);
    o->weighted = c->goal->p.weighted;
    for (uint32_t i = 0; i < o->n; i++) {
        o->t[i].term = w[i].term;
        range(c, gpus, ram, &o->t[i]);
    }
    for (o->tick_ns = 1; o->tick_ns <= MAX_TICK_NS; o->tick_ns *= 10) {
        for (uint32_t i = 0; i < o->n; i++)
            if (objective_is_time(w[i].term))
                o->t[i].most = most_ticks(c, ram, o->tick_ns);
        if (o->weighted ? weigh(o, w, &weak) : order(o))
            return 0;
    }
    return too_much(c, o, weak, err);
}

struct objective *objective_new(const struct scene *c, bool gpus, bool ram, struct err *err)
{
    struct objective *o = mem_calloc(1, sizeof *o);
    if (compile(c, gpus, ram, o, err)) {
        objective_free(o);
        return NULL;
    }
    o->dev[0] = mem_calloc((size_t)c->n_dev + 1, sizeof *o->dev[0]);
    o->dev[1] = mem_calloc((size_t)c->n_dev + 1, sizeof *o->dev[1]);
    o->node = mem_calloc((size_t)c->s->n_nodes + 1, sizeof *o->node);
    o->main = mem_calloc((size_t)c->s->n_nodes + 1, sizeof *o->main);
    for (uint32_t i = 0; i < o->n; i++)
        add_costs(c, o, &o->t[i]);
    return o;
}

int64_t objective_ticks(const struct objective *o, int64_t ns)
{
    return (ns + o->tick_ns / 2) / o->tick_ns;
}

int64_t objective_slack_ns(const struct objective *o, const struct scene *c)
{
    return o->tick_ns * (2 * (int64_t)sizes_of(c).devices + 4) + c->m->n_layers;
}

int64_t objective_alone(const struct objective *o, const struct scene *c, uint32_t speed)
{
    return objective_ticks(o, c->layers_ns[speed]) + objective_ticks(o, c->output_ns[speed]);
}

int64_t objective_single(const struct objective *o, const struct scene *c, uint32_t dev,
                         uint32_t main, int64_t ticks)
{
    int64_t v = o->node[main] + o->main[main] + o->time_scale * ticks;
    if (dev == UINT32_MAX)
        return v + 2 * o->offload;
    uint32_t node = c->dev[dev].node;
    return v + o->dev[1][dev] + (node == main ? 0 : o->node[node] + o->hop);
}

__int128 objective_total(const struct objective *o, int64_t value, int64_t stream)
{
    for (uint32_t i = 0; i < o->n; i++) {
        const struct objective_term *t = &o->t[i];
        if (t->term != TERM_STREAM_TIME)
            continue;
        if (o->weighted)
            return value + t->wide * stream;
        /* What comes before the stream time, that, and what comes after it. */
        __int128 after = t->wide;
        return value / after * after * ((__int128)t->most + 1) + after * stream + value % after;
    }
    return value;
}
