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
    o.value = p->o;
    o.limit_ns = p->limit_ns;
    o.stage_ns = p->stage_ns;
    struct mode_problem *m = mode_new(r->c, &o);
    struct solver *v = solver_new(&m->p, run_left(r));
    uint32_t most = most_nodes(r->c, m);
    int64_t offload = offload_of(p, mode);
    for (uint32_t k = k_lo; k <= k_hi && k <= most; k++) {
        int64_t floor = solver_floor(v, k), below = p->best.value - offload;
        if (p->best.feasible && floor >= below)
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

/* The most that GPUs hold: one, and as many together as a plan may have. */
struct rooms {
    uint64_t one, all;
};

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static struct rooms rooms_of(const struct scene *c)
{
    mem_auto uint64_t *list = mem_calloc((size_t)c->n_dev + 1, sizeof *list);
    struct rooms r = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            list[n++] = scene_clamp(c->dev[i].room);
    qsort(list, n, sizeof *list, descending);
    for (uint32_t i = 0; i < n && i < c->max_devices && i < c->m->n_layers; i++)
        r.all += list[i];
    r.one = n ? list[0] : 0;
    return r;
}

/* Whatever the experts of n blocks leave on GPUs is too much for them: seen without a search. */
static bool too_much(const struct scene *c, uint32_t n, const struct rooms *r)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < c->m->n_layers; l++) {
        const struct estimate_layer *x = &c->m->layers[l];
        uint64_t need = scene_clamp(x->weights - (l < n ? x->experts : 0)) + scene_clamp(x->kv);
        if (need > r->one)
            return true;
        sum += need;
    }
    return sum > r->all;
}

/* Experts of the first n blocks in RAM, every n. More of them need fewer devices, fewer of them
 * less time: what is likely to be best comes first. */
static void experts_in_ram(struct pass *p)
{
    const struct scene *c = p->r->c;
    uint32_t layers = c->m->n_layers;
    uint64_t ram = most_ram(c);
    struct rooms rooms = rooms_of(c);
    for (uint32_t i = 1; i <= layers; i++) {
        uint32_t n = c->goal->by_tier ? layers + 1 - i : i;
        if (!c->m->layers[n - 1].experts || scene_ram_moe(c, n) > ram || too_much(c, n, &rooms))
            continue;
        if (p->stage_ns && scene_moe_ns(c, n) > p->stage_ns)
            continue;
        struct mode_opts o = {.mode = MODE_MOE, .n_moe = n, .gpus = true};
        pass_nodes(p, &o, 1, p->r->max_nodes);
    }
}

/* What is tried where nothing else fits: RAM of further nodes, if a GPU helps there. */
static void remote_ram(struct pass *p)
{
    struct mode_opts o = {.mode = MODE_CPU, .gpus = true, .remote_ram = true};
    if (!p->r->c->n_usable || p->r->c->min_gpus)
        return;
    pass_nodes(p, &o, 1, p->r->max_nodes);
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
