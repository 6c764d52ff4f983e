/* The best plan of some kinds, over every way of holding the model and every number of nodes; see
 * pass.h. */
#include "place/pass.h"

#include "base/mem.h"

void answer_done(struct answer *a)
{
    free(a->parts);
    *a = (struct answer){0};
}

uint64_t run_left(const struct run *r)
{
    return r->used < r->steps ? r->steps - r->used : 0;
}

void pass_offer(struct pass *p, struct answer *a)
{
    if (p->best.feasible && a->value >= p->best.value) {
        answer_done(a);
        return;
    }
    answer_done(&p->best);
    p->best = *a;
}

/* ---- one mode ---- */

static enum place_tier tier_of(const struct mode_opts *mode, const struct answer *a)
{
    if (mode->mode != MODE_FULL)
        return a->n_gpus ? TIER_RAM : TIER_CPU;
    return a->n_nodes > 1 ? TIER_NODES : a->n_gpus > 1 ? TIER_ONE_NODE : TIER_ONE_GPU;
}

/* What TERM_OFFLOAD adds to every value of a mode. */
static int64_t offload_of(const struct pass *p, const struct mode_opts *mode)
{
    int64_t steps = mode->mode == MODE_FULL ? 0 : mode->gpus ? 1 : 2;
    return p->o->offload * steps;
}

void pass_answer(const struct pass *p, const struct mode_problem *m, const struct mode_opts *mode,
                 const struct solution *s, struct answer *a)
{
    const struct scene *c = p->r->c;
    *a = (struct answer){.feasible = true,
                         .main = m->node_of[s->main],
                         .n_nodes = s->n_nodes,
                         .n_cpu = s->n_cpu,
                         .n_moe = mode->mode == MODE_MOE ? mode->n_moe : 0,
                         .ns = s->ns * p->o->tick_ns,
                         .value = s->value + offload_of(p, mode),
                         .parts = mem_calloc((size_t)s->n_dev + 1, sizeof *a->parts),
                         .n_parts = s->n_dev};
    for (uint32_t i = 0; i < s->n_dev; i++) {
        const struct pdev *d = &m->nodes[s->node[i]].dev[s->dev[i]];
        bool ram = d->id >= c->n_dev;
        a->parts[i] = (struct answer_part){m->node_of[s->node[i]],
                                           ram ? UINT32_MAX : c->dev[d->id].index, s->counts[i]};
        a->n_gpus += !ram;
    }
    a->tier = tier_of(mode, a);
}

static void leave_open(struct pass *p, int64_t value)
{
    p->open = value < p->open ? value : p->open;
}

static uint32_t most_nodes(const struct scene *c, const struct mode_problem *m)
{
    uint32_t most = c->m->n_layers < c->max_devices ? c->m->n_layers : c->max_devices;
    return m->p.n_nodes < most + 1 ? m->p.n_nodes : most + 1;
}

void pass_nodes(struct pass *p, const struct mode_opts *mode, uint32_t k_lo, uint32_t k_hi)
{
    struct run *r = p->r;
    struct mode_opts o = *mode;
    if (p->first && p->best.feasible)
        return;
    o.first = p->first;
    o.value = p->o;
    o.limit_ns = p->limit_ns;
    o.stage_ns = p->stage_ns;
    struct mode_problem *m = mode_new(r->c, &o);
    struct solver *v = solver_new(&m->p, run_left(r));
    uint32_t most = most_nodes(r->c, m);
    int64_t offload = offload_of(p, mode);
    for (uint32_t k = k_lo; k <= k_hi && k <= most; k++) {
        int64_t floor = solver_floor(v, k), below = p->best.value - offload;
        if (p->best.feasible && (p->first || floor >= below))
            break;
        if (p->best.feasible && solver_steps(v) >= run_left(r)) {
            leave_open(p, floor + offload);
            break;
        }
        struct solution s;
        m->p.limit_value = p->best.feasible ? below : 0;
        solve_fastest(v, k, k, &s);
        if (!s.proved)
            leave_open(p, (s.bound_value > floor ? s.bound_value : floor) + offload);
        if (s.feasible) {
            struct answer a;
            pass_answer(p, m, mode, &s, &a);
            pass_offer(p, &a);
        }
        solution_done(&s);
    }
    r->used += solver_steps(v);
    solver_free(v);
    mode_free(m);
}

/* ---- all modes ---- */

static uint64_t most_ram(const struct scene *c)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why && c->s->nodes[i].ram_free_bytes > most)
            most = c->s->nodes[i].ram_free_bytes;
    return most;
}

/* What no plan with experts in RAM is better than, by how many blocks. */
struct floors {
    const struct scene *c;
    uint64_t one;            /* the most that one GPU holds, */
    uint64_t *nodes;         /* [k]: and k nodes together, with as many GPUs as a plan may have */
    uint32_t n_nodes;        /* of them */
    int64_t *ns;             /* [n]: every layer on its fastest kind */
    int64_t node, main, dev; /* least costs */
};

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* The rooms of a node's GPUs, or of all, largest first; returns the sum of the first `most`. */
static uint64_t sum_rooms(const struct scene *c, uint32_t first, uint32_t n, uint64_t *list)
{
    uint32_t len = 0, most = c->max_devices < c->m->n_layers ? c->max_devices : c->m->n_layers;
    for (uint32_t i = first; i < first + n; i++)
        if (!c->dev[i].why)
            list[len++] = scene_clamp(c->dev[i].room);
    if (len > most)
        qsort(list, len, sizeof *list, descending);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len && i < most; i++)
        sum += list[i];
    return sum;
}

static void floor_rooms(struct floors *f)
{
    const struct scene *c = f->c;
    mem_auto uint64_t *list = mem_calloc((size_t)c->n_dev + 1, sizeof *list);
    uint64_t all = sum_rooms(c, 0, c->n_dev, list);
    f->nodes = mem_calloc((size_t)c->s->n_nodes + 1, sizeof *f->nodes);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (c->nodes[i].n_dev)
            f->nodes[++f->n_nodes] = sum_rooms(c, c->nodes[i].first, c->nodes[i].n_dev, list);
    qsort(f->nodes + 1, f->n_nodes, sizeof *f->nodes, descending);
    for (uint32_t k = 1; k <= f->n_nodes; k++) {
        f->nodes[k] += f->nodes[k - 1];
        f->nodes[k] = f->nodes[k] < all ? f->nodes[k] : all;
    }
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why && scene_clamp(c->dev[i].room) > f->one)
            f->one = scene_clamp(c->dev[i].room);
}

/* The fastest kind for each layer; that of the output layer is left out. */
static void floor_times(struct floors *f)
{
    const struct scene *c = f->c;
    f->ns = mem_calloc((size_t)c->m->n_layers + 1, sizeof *f->ns);
    for (uint32_t l = 0; l < c->m->n_layers; l++) {
        int64_t near = INT64_MAX, away = INT64_MAX;
        for (uint32_t i = 0; i + 1 < c->n_speeds; i++) {
            int64_t x = scene_layer_ns(c, i, l, false), y = scene_layer_ns(c, i, l, true);
            near = x < near ? x : near;
            away = y < away ? y : away;
        }
        f->ns[0] += near;
        f->ns[l + 1] = away - near;
    }
    for (uint32_t n = 1; n <= c->m->n_layers; n++)
        f->ns[n] += f->ns[n - 1];
}

static void floor_costs(struct floors *f, const struct objective *o)
{
    f->node = f->main = f->dev = INT64_MAX;
    for (uint32_t i = 0; i < f->c->s->n_nodes; i++) {
        if (f->c->nodes[i].why)
            continue;
        f->node = o->node[i] < f->node ? o->node[i] : f->node;
        f->main = o->main[i] < f->main ? o->main[i] : f->main;
    }
    for (uint32_t i = 0; i < f->c->n_dev; i++)
        if (!f->c->dev[i].why && o->dev[0][i] < f->dev)
            f->dev = o->dev[0][i];
}

/* Fewest nodes that could hold what is left on GPUs; 0: none can, seen without a search. */
static uint32_t fewest_nodes(const struct floors *f, uint32_t n)
{
    const struct scene *c = f->c;
    uint64_t sum = 0;
    for (uint32_t l = 0; l < c->m->n_layers; l++) {
        const struct estimate_layer *x = &c->m->layers[l];
        uint64_t need = scene_clamp(x->weights - (l < n ? x->experts : 0)) + scene_clamp(x->kv);
        if (need > f->one)
            return 0;
        sum += need;
    }
    for (uint32_t k = 1; k <= f->n_nodes; k++)
        if (f->nodes[k] >= sum)
            return k;
    return 0;
}

/* No plan with the experts of n blocks in RAM and k nodes has less value. */
static int64_t least_value(const struct pass *p, const struct floors *f, uint32_t n, uint32_t k)
{
    const struct objective *o = p->o;
    uint32_t far = k - 1, layers = f->c->m->n_layers;
    int64_t ns = f->ns[n] - f->c->hop_ns, ticks = ns / o->tick_ns - (o->tick_ns > 1 ? layers : 0);
    return p->o->offload + o->time_scale * (ticks > 0 ? ticks : 0) + k * f->node + f->main +
           far * o->hop + (far ? far : 1) * f->dev;
}

static void try_experts(struct pass *p, const struct floors *f, uint32_t n)
{
    const struct scene *c = p->r->c;
    uint32_t k = c->m->layers[n - 1].experts ? fewest_nodes(f, n) : 0;
    if (!k || (p->best.feasible && least_value(p, f, n, k) >= p->best.value))
        return;
    if (scene_ram_moe(c, n) > most_ram(c) || (p->stage_ns && scene_moe_ns(c, n) > p->stage_ns))
        return;
    struct mode_opts o = {.mode = MODE_MOE, .n_moe = n, .gpus = true};
    pass_nodes(p, &o, 1, p->r->max_nodes);
}

/* Experts of the first n blocks in RAM, every n. More of them need fewer nodes, fewer of them less
 * time: where nodes come before time the most is tried first, which says on how many nodes it will
 * be. From the least on, the first that fits is next to the best. */
static void experts_in_ram(struct pass *p)
{
    const struct scene *c = p->r->c;
    struct floors f = {.c = c};
    uint32_t most = c->m->n_layers;
    uint64_t ram = most_ram(c);
    while (most > 0 && (!c->m->layers[most - 1].experts || scene_ram_moe(c, most) > ram))
        most--;
    if (most == 0)
        return;
    floor_rooms(&f);
    floor_times(&f);
    floor_costs(&f, p->o);
    if (c->goal->by_tier)
        try_experts(p, &f, most);
    for (uint32_t n = 1; n <= most - c->goal->by_tier; n++)
        try_experts(p, &f, n);
    free(f.nodes);
    free(f.ns);
}

/* What is tried where nothing else fits: RAM of further nodes, if a GPU helps there; which the best
 * plan tells, not any. */
static void remote_ram(struct pass *p)
{
    struct mode_opts o = {.mode = MODE_CPU, .gpus = true, .remote_ram = true};
    bool first = p->first;
    if (!p->r->c->n_usable || p->r->c->min_gpus)
        return;
    p->first = false;
    pass_nodes(p, &o, 1, p->r->max_nodes);
    p->first = first;
    if (p->best.feasible && p->best.n_gpus == 0)
        answer_done(&p->best);
}

static void remote_cpus(struct pass *p)
{
    struct mode_opts o = {.mode = MODE_CPU, .remote_ram = true};
    pass_nodes(p, &o, 2, p->r->max_nodes);
}

void pass_solve(struct pass *p)
{
    const struct scene *c = p->r->c;
    bool split = c->m->n_layers > 1, gpus = c->n_usable > 0;
    uint32_t most = p->r->last >= TIER_NODES ? p->r->max_nodes : 1;
    struct mode_opts full = {.mode = MODE_FULL, .gpus = true};
    struct mode_opts cpu = {.mode = MODE_CPU, .gpus = true};
    p->best = (struct answer){0};
    p->open = PLACE_INF;
    if (p->gpus)
        single_gpu(p, most > 1 ? SINGLE_ANY : SINGLE_LOCAL);
    if (p->gpus && split && gpus && p->r->last >= TIER_ONE_NODE && c->max_gpus != 1)
        pass_nodes(p, &full, 1, most);
    if (p->ram && split && gpus)
        pass_nodes(p, &cpu, 1, p->r->max_nodes);
    if (p->ram && gpus)
        experts_in_ram(p);
    p->near_ram = p->near_ram || p->best.feasible;
    if (p->ram && split && !p->near_ram)
        remote_ram(p);
    if (p->cpu && !c->min_gpus)
        single_cpu(p);
    p->near_cpus = p->near_cpus || p->best.feasible;
    if (p->cpu && split && !p->near_cpus && !c->min_gpus)
        remote_cpus(p);
}
