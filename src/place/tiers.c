/* One GPU, one node, several nodes, part in RAM, CPU only; see tiers.h. */
#include "place/tiers.h"

#include "base/mem.h"

#include <string.h>

struct run {
    const struct scene *c;
    uint64_t steps, used;
    uint32_t max_nodes;
    enum place_tier last; /* tiers after it are not tried */
    bool unsure;          /* a tier that was passed over is not proved impossible */
    int64_t open_ns;      /* what modes that are not settled could still reach */
};

void answer_done(struct answer *a)
{
    free(a->parts);
    *a = (struct answer){0};
}

static const struct cluster_node *node_at(const struct run *r, uint32_t i)
{
    return &r->c->s->nodes[i];
}

/* ---- one GPU ---- */

/* Faster, then smaller, then by name: the order of the devices is that of the names. */
static bool better_single(const struct scene *c, const struct scene_device *d,
                          const struct scene_device *best)
{
    if (!best || c->single_ns[d->speed] != c->single_ns[best->speed])
        return !best || c->single_ns[d->speed] < c->single_ns[best->speed];
    return d->room < best->room;
}

static const struct scene_device *pick_single(const struct scene *c, bool with_ram)
{
    const struct scene_device *best = NULL;
    for (uint32_t i = 0; i < c->n_dev; i++) {
        const struct scene_device *d = &c->dev[i];
        bool ram = c->s->nodes[d->node].ram_free_bytes >= c->ram_single;
        if (!d->why && d->room >= c->need_single && (ram || !with_ram) && better_single(c, d, best))
            best = d;
    }
    return best;
}

static void set_single(struct run *r, const struct scene_device *d, uint32_t main, int64_t ns,
                       struct answer *a)
{
    *a = (struct answer){.feasible = true,
                         .proved = !r->unsure,
                         .tier = main == d->node ? TIER_ONE_GPU : TIER_NODES,
                         .main = main,
                         .n_nodes = main == d->node ? 1 : 2,
                         .n_gpus = 1,
                         .ns = ns,
                         .bound_ns = ns,
                         .parts = mem_calloc(1, sizeof *a->parts),
                         .n_parts = 1};
    a->bound_nodes = a->n_nodes;
    a->bound_gpus = 1;
    a->parts[0] = (struct answer_part){d->node, d->index, r->c->m->n_layers};
}

static bool one_gpu(struct run *r, struct answer *a)
{
    r->used += r->c->n_dev;
    const struct scene_device *d = pick_single(r->c, true);
    if (d)
        set_single(r, d, d->node, r->c->single_ns[d->speed], a);
    return d != NULL;
}

static struct net net_between(const struct scene *c, uint32_t a, uint32_t b)
{
    uint32_t x = c->nodes[a].tag, y = c->nodes[b].tag, lo = x < y ? x : y, hi = x < y ? y : x;
    for (uint32_t i = 0; i < c->n_pairs && c->nodes[a].special; i++)
        if (c->pairs[i].a == lo && c->pairs[i].b == hi)
            return c->pairs[i].net;
    return c->net_all;
}

/* A GPU whose node lacks the RAM for the main process, which then runs on another node. Distinct
 * links make it a search over pairs; that of the fastest GPU is exact, and others can only tie. */
static bool one_remote_gpu(struct run *r, struct answer *a)
{
    const struct scene *c = r->c;
    int64_t best = PLACE_INF;
    const struct scene_device *dev = NULL;
    uint32_t main = 0;
    if (r->max_nodes < 2)
        return false;
    for (uint32_t i = 0; i < c->n_dev; i++) {
        const struct scene_device *d = &c->dev[i];
        if (d->why || d->room < c->need_single)
            continue;
        for (uint32_t n = 0; n < c->s->n_nodes; n++) {
            if (n == d->node || c->nodes[n].why || c->s->nodes[n].ram_free_bytes < c->ram_single)
                continue;
            struct net net = net_between(c, d->node, n);
            int64_t ns = c->single_ns[d->speed] + net.fixed + net.tail + net.once;
            r->used++;
            if (ns < best || (ns == best && (d->room < dev->room ||
                                             (d == dev && c->nodes[n].tag < c->nodes[main].tag)))) {
                best = ns;
                dev = d;
                main = n;
            }
            if (!c->n_pairs && d != dev)
                break; /* with one kind of link any main node is like the next */
        }
    }
    if (dev)
        set_single(r, dev, main, best, a);
    return dev != NULL;
}

/* ---- the search ---- */

static void set_answer(struct run *r, const struct mode_problem *p, const struct mode_opts *o,
                       const struct solution *s, enum place_tier tier, struct answer *a)
{
    const struct scene *c = r->c;
    *a = (struct answer){.feasible = true,
                         .proved = s->proved,
                         .tier = tier,
                         .main = p->node_of[s->main],
                         .n_nodes = s->n_nodes,
                         .n_cpu = s->n_cpu,
                         .n_moe = o->mode == MODE_MOE ? o->n_moe : 0,
                         .bound_nodes = s->bound_nodes,
                         .bound_gpus = s->bound_dev,
                         .ns = s->ns,
                         .bound_ns = s->bound_ns,
                         .parts = mem_calloc(s->n_dev + 1, sizeof *a->parts),
                         .n_parts = s->n_dev};
    for (uint32_t i = 0; i < s->n_dev; i++) {
        const struct pdev *d = &p->nodes[s->node[i]].dev[s->dev[i]];
        bool ram = d->id >= c->n_dev;
        a->parts[i] = (struct answer_part){p->node_of[s->node[i]],
                                           ram ? UINT32_MAX : c->dev[d->id].index, s->counts[i]};
        a->n_gpus += !ram;
    }
}

/* The first of two answers of one tier: fewer nodes, then faster, then fewer GPUs. */
static bool better(const struct answer *a, const struct answer *b, bool nodes_first)
{
    if (!b->feasible)
        return true;
    if (nodes_first && a->n_nodes != b->n_nodes)
        return a->n_nodes < b->n_nodes;
    if (a->ns != b->ns)
        return a->ns < b->ns;
    return a->n_gpus < b->n_gpus;
}

static uint64_t left(const struct run *r)
{
    return r->used < r->steps ? r->steps - r->used : 0;
}

/* Solves one mode for k_lo..k_hi nodes; keeps the answer in *best when it is better. Returns
 * whether it is settled (proved, whichever way). */
static bool try_mode(struct run *r, const struct mode_opts *o, bool tiered, enum place_tier tier,
                     uint32_t k_lo, uint32_t k_hi, struct answer *best)
{
    struct mode_problem *p = mode_new(r->c, o);
    struct solver *v = solver_new(&p->p, left(r));
    struct solution s;
    if (tiered)
        solve_tiered(v, k_lo, k_hi, &s);
    else
        solve_fastest(v, k_lo, k_hi, &s);
    r->used += solver_steps(v);
    bool proved = s.proved;
    int64_t open = s.feasible ? s.bound_ns : r->c->floor_ns;
    if (!proved && open < r->open_ns)
        r->open_ns = open;
    if (s.feasible) {
        struct answer a;
        set_answer(r, p, o, &s, tier, &a);
        if (better(&a, best, true)) {
            answer_done(best);
            *best = a;
        } else {
            answer_done(&a);
        }
    }
    solution_done(&s);
    solver_free(v);
    mode_free(p);
    return proved;
}

static bool all_on_gpus(struct run *r, uint32_t k_lo, uint32_t k_hi, struct answer *a)
{
    if (r->c->m->n_layers < 2 || k_lo > k_hi)
        return false;
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true};
    bool proved = try_mode(r, &o, true, TIER_NODES, k_lo, k_hi, a);
    if (a->feasible) {
        a->tier = a->n_nodes > 1 ? TIER_NODES : TIER_ONE_NODE;
        a->proved = proved && !r->unsure;
        return true;
    }
    r->unsure |= !proved;
    return false;
}

/* ---- RAM ---- */

static uint64_t most_ram(const struct scene *c)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && c->s->nodes[i].ram_free_bytes > most)
            most = c->s->nodes[i].ram_free_bytes;
    return most;
}

/* Experts of the first n blocks in RAM, every n: fewer nodes may need a larger n, less time a
 * smaller one. */
static bool try_moe(struct run *r, struct answer *a)
{
    const struct estimate_model *m = r->c->m;
    uint64_t ram = most_ram(r->c);
    bool sure = true;
    for (uint32_t n = m->n_layers; n > 0; n--) {
        if (!m->layers[n - 1].experts || scene_ram_moe(r->c, n) > ram)
            continue;
        struct mode_opts o = {.mode = MODE_MOE, .n_moe = n, .gpus = true};
        uint32_t k_hi = a->feasible ? a->n_nodes : r->max_nodes;
        sure = try_mode(r, &o, false, TIER_RAM, 1, k_hi, a) && sure;
    }
    return sure;
}

static bool part_in_ram(struct run *r, struct answer *a)
{
    bool sure = true;
    struct mode_opts o = {.mode = MODE_CPU, .gpus = true};
    r->open_ns = PLACE_INF;
    if (r->c->n_usable) {
        if (r->c->m->n_layers > 1)
            sure = try_mode(r, &o, false, TIER_RAM, 1, r->max_nodes, a);
        sure = try_moe(r, a) && sure;
        if (!a->feasible && r->c->m->n_layers > 1) {
            o.remote_ram = true;
            sure = try_mode(r, &o, false, TIER_RAM, 1, r->max_nodes, a) && sure;
            if (a->feasible && a->n_gpus == 0)
                answer_done(a); /* GPUs do not help: the next tier has it */
        }
    }
    if (a->feasible) {
        a->proved = sure && !r->unsure;
        a->bound_ns = r->open_ns < a->bound_ns ? r->open_ns : a->bound_ns;
    }
    r->unsure |= !sure;
    return a->feasible;
}

/* ---- CPU only ---- */

/* The smallest RAM that does; one CPU is as fast as the next as far as anyone knows. */
static bool one_cpu(struct run *r, struct answer *a)
{
    const struct scene *c = r->c;
    uint32_t n = c->m->n_layers, best = UINT32_MAX;
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        uint64_t ram = c->s->nodes[i].ram_free_bytes;
        if (c->nodes[i].why || ram < c->ram_cpu[n])
            continue;
        if (best == UINT32_MAX || ram < node_at(r, best)->ram_free_bytes ||
            (ram == node_at(r, best)->ram_free_bytes && c->nodes[i].tag < c->nodes[best].tag))
            best = i;
    }
    if (best == UINT32_MAX)
        return false;
    *a = (struct answer){.feasible = true,
                         .proved = !r->unsure,
                         .tier = TIER_CPU,
                         .main = best,
                         .n_nodes = 1,
                         .bound_nodes = 1,
                         .n_cpu = n,
                         .ns = c->single_ns[c->n_speeds - 1],
                         .bound_ns = c->single_ns[c->n_speeds - 1]};
    return true;
}

static bool cpu_only(struct run *r, struct answer *a)
{
    if (one_cpu(r, a))
        return true;
    if (r->c->m->n_layers < 2 || r->max_nodes < 2)
        return false;
    struct mode_opts o = {.mode = MODE_CPU, .remote_ram = true};
    bool proved = try_mode(r, &o, false, TIER_CPU, 2, r->max_nodes, a);
    if (a->feasible)
        a->proved = proved && !r->unsure;
    r->unsure |= !proved;
    return a->feasible;
}

/* ---- policies ---- */

static bool tiered(struct run *r, struct answer *a)
{
    bool ram = !r->c->spec->want.no_ram;
    uint32_t most = r->last >= TIER_NODES ? r->max_nodes : 1;
    if (one_gpu(r, a))
        return true;
    /* A GPU that is large enough, on a node without the RAM, comes between one node and several. */
    bool between = pick_single(r->c, false) != NULL;
    return (r->last >= TIER_ONE_NODE && all_on_gpus(r, 1, between ? 1 : most, a)) ||
           (between && most > 1 && (one_remote_gpu(r, a) || all_on_gpus(r, 2, most, a))) ||
           (r->last >= TIER_RAM && ram && part_in_ram(r, a)) ||
           (r->last >= TIER_CPU && ram && cpu_only(r, a));
}

/* Best time over the tiers, with as many nodes as could still be faster. */
static void faster_with_more(struct run *r, const struct mode_opts *o, enum place_tier tier,
                             struct answer *best, bool *sure)
{
    for (uint32_t k = 1; k <= r->max_nodes && left(r); k++) {
        struct mode_problem *p = mode_new(r->c, o);
        struct solver *v = solver_new(&p->p, left(r));
        struct solution s = {0};
        bool hopeless = k > p->p.n_nodes || (best->feasible && solver_floor(v, k) >= best->ns);
        if (!hopeless) {
            solve_fastest(v, k, k, &s);
            *sure = *sure && s.proved;
        }
        r->used += solver_steps(v);
        if (s.feasible) {
            struct answer a;
            set_answer(r, p, o, &s, tier, &a);
            if (tier == TIER_NODES && k == 1)
                a.tier = a.n_gpus > 1 ? TIER_ONE_NODE : TIER_ONE_GPU;
            a.bound_gpus = 0;
            if (better(&a, best, false)) {
                answer_done(best);
                *best = a;
            } else {
                answer_done(&a);
            }
        }
        solution_done(&s);
        solver_free(v);
        mode_free(p);
        if (hopeless)
            return;
    }
    *sure = *sure && left(r);
}

static bool fastest(struct run *r, struct answer *best)
{
    const struct estimate_model *m = r->c->m;
    bool sure = true;
    if (!tiered(r, best))
        return false;
    struct mode_opts full = {.mode = MODE_FULL, .gpus = true};
    struct mode_opts cpu = {.mode = MODE_CPU, .gpus = true};
    /* One GPU needs smaller buffers than one of several, so the search below would not see it. */
    struct answer one = {0};
    if (one_remote_gpu(r, &one) && better(&one, best, false)) {
        answer_done(best);
        *best = one;
    } else {
        answer_done(&one);
    }
    if (m->n_layers > 1 && r->c->n_usable)
        faster_with_more(r, &full, TIER_NODES, best, &sure);
    if (!r->c->spec->want.no_ram && r->c->n_usable) {
        if (m->n_layers > 1)
            faster_with_more(r, &cpu, TIER_RAM, best, &sure);
        uint64_t ram = most_ram(r->c);
        for (uint32_t n = 1; n <= m->n_layers; n++) {
            struct mode_opts moe = {.mode = MODE_MOE, .n_moe = n, .gpus = true};
            if (m->layers[n - 1].experts && scene_ram_moe(r->c, n) <= ram)
                faster_with_more(r, &moe, TIER_RAM, best, &sure);
        }
    }
    best->bound_nodes = best->bound_gpus = 0;
    best->proved = sure;
    best->bound_ns = sure || r->c->floor_ns > best->ns ? best->ns : r->c->floor_ns;
    return true;
}

void tiers_ram(const struct scene *c, uint64_t steps, struct answer *out, uint64_t *used)
{
    struct run r = {.c = c, .steps = steps, .last = TIER_RAM, .max_nodes = 1};
    *out = (struct answer){.tier = TIER_NONE};
    if (!part_in_ram(&r, out))
        answer_done(out);
    *used += r.used;
}

void tiers_solve(const struct scene *c, const struct tiers_opts *o, struct answer *out,
                 uint64_t *used)
{
    struct run r = {.c = c, .steps = o->steps, .last = o->last};
    uint32_t most = c->spec->want.max_nodes ? c->spec->want.max_nodes : UINT32_MAX;
    r.max_nodes = most < c->s->n_nodes ? most : c->s->n_nodes;
    *out = (struct answer){.tier = TIER_NONE};
    bool found = o->fastest ? fastest(&r, out) : tiered(&r, out);
    if (!found) {
        answer_done(out);
        out->tier = TIER_NONE;
        out->proved = !r.unsure;
    }
    *used += r.used;
}
