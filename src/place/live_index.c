/* The best GPU and the best node of a demand, kept up to date; see live_index.h. */
#include "place/live_index.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/identity.h"
#include "place/pass.h"
#include "place/place_int.h"
#include "place/tournament.h"

#include <string.h>

enum {
    MAX_NODES = 16384, /* where the search for one node would leave nodes out of its tables */
};

struct single {   /* the best GPU of a node that holds the model alone */
    uint32_t dev; /* of the scene */
    int64_t value;
};

struct spot {                /* a node that may hold the model on several of its GPUs */
    bool stale, known, sure; /* known: solved; sure: what came of it is proved */
    uint32_t n_gpus;         /* before it is known: not fewer */
    int64_t value;           /* not less */
    struct answer a;         /* when known and feasible */
    int64_t *row;            /* what tells nodes apart that are as good; see solver_row */
    uint32_t n_row;
};

struct live_index {
    const struct cluster_snapshot *s;
    struct scene *c;
    struct mode_opts mode;
    struct mode_problem *base; /* without nodes */
    struct solver *tables;     /* of base */
    bool by_gpu, by_node;
    uint32_t n_fit; /* GPUs that would hold it alone, whatever the RAM */
    struct single *single;
    struct spot *spot; /* by node */
    uint32_t *stale, n_stale;
    uint64_t n_unsure;
    struct tournament gpus, best, first; /* first: of the fewest GPUs, whatever the value */
    uint64_t *id;                        /* by node: what it adds to a plan's name */
    bool *id_stale;
};

/* ---- orders ---- */

static bool better_gpu(const void *ctx, uint32_t a, uint32_t b)
{
    const struct live_index *x = ctx;
    const struct single *p = &x->single[a], *q = &x->single[b];
    uint64_t room_p = x->c->dev[p->dev].room, room_q = x->c->dev[q->dev].room;
    if (p->value != q->value)
        return p->value < q->value;
    return room_p != room_q ? room_p < room_q : p->dev < q->dev;
}

static bool better_row(const struct live_index *x, uint32_t a, uint32_t b)
{
    const struct spot *p = &x->spot[a], *q = &x->spot[b];
    for (uint32_t i = 0; i < p->n_row && i < q->n_row; i++)
        if (p->row[i] != q->row[i])
            return p->row[i] > q->row[i];
    return x->c->nodes[a].tag < x->c->nodes[b].tag;
}

static bool better_node(const void *ctx, uint32_t a, uint32_t b)
{
    const struct live_index *x = ctx;
    const struct spot *p = &x->spot[a], *q = &x->spot[b];
    if (p->n_gpus != q->n_gpus)
        return p->n_gpus < q->n_gpus;
    return p->value != q->value ? p->value < q->value : better_row(x, a, b);
}

static bool sooner_node(const void *ctx, uint32_t a, uint32_t b)
{
    const struct live_index *x = ctx;
    const struct spot *p = &x->spot[a], *q = &x->spot[b];
    return p->n_gpus != q->n_gpus ? p->n_gpus < q->n_gpus : better_row(x, a, b);
}

/* ---- one GPU ---- */

static bool holds(const struct live_index *x, const struct scene_device *d)
{
    const struct scene_node *n = &x->c->nodes[d->node];
    return !d->why && d->room >= x->c->need_single && (!n->all_or_none || n->n_dev == 1);
}

static void find_single(struct live_index *x, uint32_t node)
{
    const struct scene *c = x->c;
    const struct scene_node *n = &c->nodes[node];
    struct single *out = &x->single[node];
    bool ram = !n->why && c->s->nodes[node].ram_free_bytes >= c->ram_single, found = false;
    for (uint32_t i = n->first; i < n->first + n->n_dev && ram; i++) {
        const struct scene_device *d = &c->dev[i];
        if (!holds(x, d))
            continue;
        int64_t value = objective_single(c->goal->gpus, c, i, node,
                                         objective_alone(c->goal->gpus, c, d->speed));
        if (found &&
            (value > out->value || (value == out->value && d->room >= c->dev[out->dev].room)))
            continue;
        *out = (struct single){i, value};
        found = true;
    }
    tournament_set(&x->gpus, node, found);
}

static void single_answer(const struct live_index *x, uint32_t node, struct answer *a)
{
    const struct scene *c = x->c;
    const struct scene_device *d = &c->dev[x->single[node].dev];
    int64_t ns = c->single_ns[d->speed], value = x->single[node].value;
    *a = (struct answer){.feasible = true,
                         .proved = true,
                         .tier = TIER_ONE_GPU,
                         .main = node,
                         .n_nodes = 1,
                         .n_gpus = 1,
                         .ns = ns,
                         .bound_ns = ns,
                         .value = value,
                         .bound_total = value,
                         .counted = true,
                         .bound_nodes = 1,
                         .bound_gpus = 1,
                         .parts = mem_calloc(1, sizeof *a->parts),
                         .n_parts = 1};
    a->parts[0] = (struct answer_part){d->node, d->index, c->m->n_layers};
}

/* ---- one node ---- */

/* The problem of some nodes, with the tables of all. */
struct part {
    struct mode_problem m;
    struct pnode node[2];
    uint32_t node_of[2];
    struct pdev *dev;
};

/* False when one of them takes no part. */
static bool part_init(const struct live_index *x, const uint32_t *nodes, uint32_t n, struct part *p)
{
    size_t room = n;
    for (uint32_t i = 0; i < n; i++)
        room += x->c->nodes[nodes[i]].n_dev;
    *p = (struct part){.dev = mem_calloc(room, sizeof *p->dev)};
    p->m = *x->base;
    p->m.nodes = p->node;
    p->m.node_of = p->node_of;
    p->m.p.nodes = p->node;
    p->m.p.n_nodes = n;
    p->m.p.like = x->tables;
    struct pdev *d = p->dev;
    bool in = true;
    for (uint32_t i = 0; i < n && in; i++) {
        in = mode_node(x->c, &x->mode, nodes[i], d, &p->node[i]);
        p->node_of[i] = nodes[i];
        d += p->node[i].n_dev;
    }
    return in;
}

/* Every layer on the fastest of the node's kinds, and so many devices. */
static int64_t least_value(const struct live_index *x, const struct pnode *n, uint32_t n_gpus)
{
    const struct problem *p = &x->base->p;
    int64_t ns = p->base_ns, tail = PLACE_INF, fixed = PLACE_INF;
    for (uint32_t l = 0; l < x->c->m->n_layers; l++) {
        int64_t least = PLACE_INF;
        for (uint32_t i = 0; i < n->n_dev; i++) {
            const int64_t *cum = p->speeds[n->dev[i].speed].cum;
            least = cum[l + 1] - cum[l] < least ? cum[l + 1] - cum[l] : least;
        }
        ns += least;
    }
    for (uint32_t i = 0; i < n->n_dev; i++) {
        const struct speed *s = &p->speeds[n->dev[i].speed];
        tail = s->tail < tail ? s->tail : tail;
        fixed = s->fixed < fixed ? s->fixed : fixed;
    }
    return (p->time_scale ? p->time_scale : 1) * (ns + tail + n_gpus * fixed);
}

static void forget(struct live_index *x, struct spot *p)
{
    x->n_unsure -= p->known && !p->sure;
    answer_done(&p->a);
    free(p->row);
    *p = (struct spot){0};
}

static void set_in(struct live_index *x, uint32_t node, bool in)
{
    tournament_set(&x->best, node, in);
    tournament_set(&x->first, node, in);
}

/* What a node could do, by size alone. */
static void look_at(struct live_index *x, uint32_t node)
{
    struct spot *spot = &x->spot[node];
    struct part p;
    forget(x, spot);
    bool in = part_init(x, &node, 1, &p);
    if (in) {
        struct solver *v = solver_new(&p.m.p, PLACE_STEPS);
        uint32_t least = solver_fewest(v);
        least = least < 2 ? 2 : least;
        in = least <= p.node[0].n_dev;
        if (in) {
            spot->row = mem_calloc(SOLVER_ROW + 3 * (size_t)p.node[0].n_dev, sizeof *spot->row);
            spot->n_row = solver_row(v, spot->row);
            spot->n_gpus = least;
            spot->value = least_value(x, &p.node[0], least);
        }
        solver_free(v);
    }
    free(p.dev);
    set_in(x, node, in);
}

/* Solves nodes for the fewest GPUs of one of them, then value. Returns whether the answer, or that
 * there is none, is proved. */
static bool solve_nodes(const struct live_index *x, const uint32_t *nodes, uint32_t n,
                        struct answer *a)
{
    struct run r = {.c = x->c};
    struct pass pass = {.r = &r, .o = x->c->goal->gpus};
    struct part p;
    struct solution s;
    *a = (struct answer){0};
    if (!part_init(x, nodes, n, &p)) {
        free(p.dev);
        return true;
    }
    struct solver *v = solver_new(&p.m.p, PLACE_STEPS);
    solve_tiered(v, 1, 1, &s);
    bool sure = s.proved;
    if (s.feasible) {
        pass_answer(&pass, &p.m, &x->mode, &s, a);
        a->counted = true;
        a->proved = s.proved;
        a->bound_nodes = s.bound_nodes;
        a->bound_gpus = s.bound_dev;
        a->bound_total = s.bound_value;
        a->bound_ns = s.bound_ns * x->c->goal->gpus->tick_ns;
        sure = sure && s.bound_dev == s.n_dev;
    }
    solution_done(&s);
    solver_free(v);
    free(p.dev);
    return sure;
}

static void solve_spot(struct live_index *x, uint32_t node)
{
    struct spot *p = &x->spot[node];
    p->known = true;
    p->sure = solve_nodes(x, &node, 1, &p->a);
    x->n_unsure += !p->sure;
    p->n_gpus = p->a.n_gpus;
    p->value = p->a.value;
    set_in(x, node, p->a.feasible);
}

/* The winner, once it is one of those that are solved. */
static uint32_t winner(struct live_index *x, const struct tournament *t)
{
    uint32_t node = tournament_best(t);
    while (node != TOURNAMENT_NONE && !x->spot[node].known) {
        solve_spot(x, node);
        node = tournament_best(t);
    }
    return node;
}

static void refresh_spots(struct live_index *x)
{
    for (uint32_t i = 0; i < x->n_stale; i++) {
        x->spot[x->stale[i]].stale = false;
        look_at(x, x->stale[i]);
    }
    x->n_stale = 0;
}

/* The search takes the first node of the fewest GPUs, and leaves it for the first of the least
 * value: with both of them alone it does the same as with all. */
static bool node_answer(struct live_index *x, struct answer *a)
{
    refresh_spots(x);
    uint32_t best = winner(x, &x->best);
    uint32_t first = best == TOURNAMENT_NONE ? best : winner(x, &x->first);
    if (first == TOURNAMENT_NONE || x->n_unsure)
        return false;
    if (best == first) {
        *a = x->spot[best].a;
        a->parts = mem_calloc(a->n_parts, sizeof *a->parts);
        memcpy(a->parts, x->spot[best].a.parts, a->n_parts * sizeof *a->parts);
        return true;
    }
    bool swap = x->c->nodes[first].tag < x->c->nodes[best].tag;
    uint32_t both[2] = {swap ? first : best, swap ? best : first};
    bool sure = solve_nodes(x, both, 2, a);
    if (sure && a->feasible && a->value == x->spot[best].value)
        return true;
    answer_done(a);
    return false;
}

/* ---- the index ---- */

/* Terms whose figures no instance changes. Room that is left is one at the end, where it is only a
 * preference (objective.h). */
static bool stays(const struct policy *p, uint32_t i)
{
    bool timed = false;
    for (uint32_t k = 0; k < p->n_terms; k++)
        timed = timed || p->terms[k].term == TERM_TOKEN_TIME;
    switch (p->terms[i].term) {
    case TERM_SPREAD:
    case TERM_LOAD:
    case TERM_WHOLE:
        return false;
    case TERM_LEFTOVER:
        return i + 1 == p->n_terms && !p->weighted && timed;
    default:
        return true;
    }
}

bool live_index_follows(const struct deployment_spec *spec)
{
    const struct constraints *w = &spec->want;
    for (uint32_t i = 0; i < spec->policy.n_terms; i++)
        if (!stays(&spec->policy, i))
            return false;
    return !w->anti_affinity.n && !w->min_ctx && !w->n_split;
}

/* What the shortcuts rely on; else everything is searched. */
static void choose_ways(struct live_index *x)
{
    const struct scene *c = x->c;
    bool counted = c->goal->counted && c->spec->want.min_tok_s <= 0, whole = false;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        whole = whole || c->nodes[i].all_or_none;
    x->by_gpu = counted && c->min_gpus <= 1;
    x->by_node = counted && c->m->n_layers > 1 && c->max_gpus != 1 && !whole && !c->n_pairs &&
                 c->s->n_nodes <= MAX_NODES;
}

static void touch_devices(struct live_index *x, uint32_t node)
{
    const struct scene_node *n = &x->c->nodes[node];
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++) {
        struct scene_device *d = &x->c->dev[i];
        uint64_t free_bytes = x->s->nodes[node].devices[d->index].free_bytes;
        bool held = holds(x, d);
        d->room = scene_room(x->c, free_bytes, x->s->runtime_bytes);
        x->n_fit += (uint32_t)holds(x, d) - (uint32_t)held;
    }
}

void live_index_touch(struct live_index *x, uint32_t node)
{
    touch_devices(x, node);
    x->id_stale[node] = true;
    if (x->by_gpu)
        find_single(x, node);
    if (!x->by_node || x->spot[node].stale)
        return;
    x->spot[node].stale = true;
    x->stale[x->n_stale++] = node;
}

struct live_index *live_index_new(const struct cluster_snapshot *s,
                                  const struct deployment_spec *spec,
                                  const struct estimate_model *m, struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    if (!c)
        return NULL;
    struct live_index *x = mem_calloc(1, sizeof *x);
    size_t n = (size_t)s->n_nodes + 1;
    x->s = s;
    x->c = c;
    choose_ways(x);
    x->mode = (struct mode_opts){.mode = MODE_FULL, .gpus = true, .value = c->goal->gpus};
    x->base = mode_new(c, &x->mode);
    x->base->p.n_nodes = 0;
    x->tables = solver_new(&x->base->p, PLACE_STEPS);
    x->single = mem_calloc(n, sizeof *x->single);
    x->spot = mem_calloc(n, sizeof *x->spot);
    x->stale = mem_calloc(n, sizeof *x->stale);
    x->id = mem_calloc(n, sizeof *x->id);
    x->id_stale = mem_calloc(n, sizeof *x->id_stale);
    tournament_init(&x->gpus, s->n_nodes, better_gpu, x);
    tournament_init(&x->best, s->n_nodes, better_node, x);
    tournament_init(&x->first, s->n_nodes, sooner_node, x);
    for (uint32_t i = 0; i < c->n_dev; i++)
        x->n_fit += holds(x, &c->dev[i]);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        live_index_touch(x, i);
    return x;
}

void live_index_free(struct live_index *x)
{
    if (!x)
        return;
    for (uint32_t i = 0; i < x->s->n_nodes; i++)
        forget(x, &x->spot[i]);
    tournament_done(&x->gpus);
    tournament_done(&x->best);
    tournament_done(&x->first);
    free(x->single);
    free(x->spot);
    free(x->stale);
    free(x->id);
    free(x->id_stale);
    solver_free(x->tables);
    mode_free(x->base);
    scene_free(x->c);
    free(x);
}

/* ---- plans ---- */

static void refresh_ids(struct live_index *x)
{
    for (uint32_t i = 0; i < x->s->n_nodes; i++)
        if (x->id_stale[i]) {
            x->id[i] = identity_node(x->c, i);
            x->id_stale[i] = false;
        }
}

/* Takes the answer. */
static struct place_plan *plan_of(const struct scene *c, struct answer *a, const uint64_t *ids,
                                  struct err *err)
{
    struct place_plan *p = mem_calloc(1, sizeof *p);
    int rc = place_fill(c, a, p, err);
    identity_set(c, ids, p->a.plan_id);
    answer_done(a);
    if (rc == 0)
        return p;
    place_free(p);
    return NULL;
}

static uint64_t search(const struct scene *c, struct answer *a)
{
    struct tiers_opts o = {.last = TIER_CPU, .steps = PLACE_STEPS};
    uint64_t steps = 0;
    tiers_solve(c, &o, a, &steps);
    return steps;
}

struct place_plan *live_index_place(struct live_index *x, enum live_how *how, struct err *err)
{
    struct answer a = {0};
    uint64_t steps = 0;
    uint32_t gpu = x->by_gpu ? tournament_best(&x->gpus) : TOURNAMENT_NONE;
    *how = LIVE_BY_SEARCH;
    if (gpu != TOURNAMENT_NONE) {
        single_answer(x, gpu, &a);
        *how = LIVE_BY_GPU;
    } else if (x->by_node && !x->n_fit && node_answer(x, &a)) {
        *how = LIVE_BY_NODE;
    } else {
        steps = search(x->c, &a);
    }
    refresh_ids(x);
    struct place_plan *p = plan_of(x->c, &a, x->id, err);
    if (p)
        p->steps = steps;
    return p;
}

struct place_plan *live_index_scratch(const struct cluster_snapshot *s,
                                      const struct deployment_spec *spec,
                                      const struct estimate_model *m, struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    struct answer a;
    if (!c)
        return NULL;
    uint64_t steps = search(c, &a);
    struct place_plan *p = plan_of(c, &a, NULL, err);
    if (p)
        p->steps = steps;
    scene_free(c);
    return p;
}
