/* One GPU, one node, several nodes, part in RAM, CPU only; see tiers.h. */
#include "place/tiers.h"

#include "base/mem.h"
#include "place/hand.h"
#include "place/pass.h"
#include "place/place_int.h"

#include <string.h>

/* ---- bounds of an answer ---- */

/* The time of the bound, where all that comes before time is as in the answer; else the least. */
static int64_t bound_ns(const struct scene *c, const struct objective *o, const struct answer *a)
{
    __int128 best = objective_total(o, a->value, 0), bound = a->bound_total;
    for (uint32_t i = 0; i < o->n && !o->weighted; i++) {
        const struct objective_term *t = &o->t[i];
        if (t->term == TERM_TOKEN_TIME)
            return (int64_t)(bound / t->wide % ((__int128)t->most + 1)) * o->tick_ns;
        if (best / t->wide != bound / t->wide)
            break;
    }
    return c->floor_ns < a->ns ? c->floor_ns : a->ns;
}

/* The best of a pass with its bounds. */
static void finish(struct pass *p, struct answer *out)
{
    struct answer *a = &p->best;
    bool streaming = p->r->c->goal->streaming;
    if (a->feasible && !streaming) {
        a->proved = p->open >= a->value;
        a->bound_total = a->proved ? a->value : p->open;
    }
    if (a->feasible)
        a->bound_ns = a->proved ? a->ns : bound_ns(p->r->c, p->o, a);
    *out = *a;
}

static bool solve(struct pass *p, struct answer *out)
{
    p->limit_ns = p->r->limit_ns;
    if (p->r->c->goal->streaming)
        stream_solve(p);
    else
        pass_solve(p);
    finish(p, out);
    return p->open >= PLACE_INF || out->feasible;
}

/* ---- nodes, then GPUs, then the rest ---- */

/* Several GPUs on k_lo to k_hi nodes; false and *sure false when that is not decided. */
static bool count_gpus(struct pass *p, uint32_t k_lo, uint32_t k_hi, struct answer *out, bool *sure)
{
    const struct scene *c = p->r->c;
    struct mode_opts o = {
        .mode = MODE_FULL, .gpus = true, .value = p->o, .limit_ns = p->r->limit_ns};
    if (c->m->n_layers < 2 || k_lo > k_hi || c->max_gpus == 1)
        return false;
    struct mode_problem *m = mode_new(c, &o);
    struct solver *v = solver_new(&m->p, run_left(p->r));
    struct solution s;
    solve_tiered(v, k_lo, k_hi, &s);
    p->r->used += solver_steps(v);
    if (s.feasible) {
        pass_answer(p, m, &o, &s, out);
        out->counted = true;
        out->proved = s.proved;
        out->bound_nodes = s.bound_nodes;
        out->bound_gpus = s.bound_dev;
        out->bound_total = s.bound_value;
        out->bound_ns = s.bound_ns * p->o->tick_ns;
    }
    *sure = *sure && (s.feasible || s.proved);
    solution_done(&s);
    solver_free(v);
    mode_free(m);
    return out->feasible;
}

static bool count_single(struct pass *p, enum single_main where, struct answer *out)
{
    p->best = (struct answer){0};
    p->open = PLACE_INF;
    p->limit_ns = p->r->limit_ns;
    single_gpu(p, where);
    finish(p, out);
    out->counted = true;
    return out->feasible;
}

/* A GPU that is large enough, on a node without the RAM, comes between one node and several.
 * Returns whether it is settled that nothing fits, or what does. */
static bool counted(struct pass *p, struct answer *out)
{
    const struct run *r = p->r;
    bool sure = true, between = r->last >= TIER_NODES && single_fits(r->c);
    uint32_t most = r->last >= TIER_NODES ? r->max_nodes : r->last >= TIER_ONE_NODE;
    bool found = count_single(p, SINGLE_LOCAL, out) ||
                 count_gpus(p, 1, between ? 1 : most, out, &sure) ||
                 (between && most > 1 &&
                  (count_single(p, SINGLE_REMOTE, out) || count_gpus(p, 2, most, out, &sure)));
    if (found)
        out->proved = out->proved && sure;
    return found || sure;
}

/* ---- the tiers ---- */

static bool all_on_gpus(struct run *r, struct answer *out)
{
    struct pass p = {.r = r, .o = r->c->goal->gpus, .gpus = true};
    return r->c->goal->counted ? counted(&p, out) : solve(&p, out);
}

/* One tier after the other; what is not settled in one makes the later ones unproved. */
static void by_tier(struct run *r, struct answer *out)
{
    bool ram = !r->c->spec->want.no_ram, sure = all_on_gpus(r, out);
    uint32_t offload = sure ? 1 : 0;
    for (uint32_t i = 1; i <= 2 && !out->feasible; i++) {
        struct pass p = {.r = r, .o = r->c->goal->ram, .ram = i == 1, .cpu = i == 2};
        if (!ram || r->last < (i == 1 ? TIER_RAM : TIER_CPU))
            break;
        bool settled = solve(&p, out);
        out->bound_offload = sure ? i : offload;
        out->proved = out->proved && sure;
        offload = sure && settled ? i + 1 : offload;
        sure = sure && settled;
    }
    if (!out->feasible) {
        answer_done(out);
        out->proved = sure;
    }
}

static void best_of_all(struct run *r, struct answer *out)
{
    bool ram = !r->c->spec->want.no_ram;
    struct pass p = {.r = r,
                     .o = r->c->goal->gpus,
                     .gpus = true,
                     .ram = ram && r->last >= TIER_RAM,
                     .cpu = ram && r->last >= TIER_CPU};
    bool settled = solve(&p, out);
    if (!out->feasible)
        out->proved = settled;
}

static bool too_slow(const struct scene *c, const struct answer *a)
{
    double least = c->spec->want.min_tok_s;
    return a->feasible && least > 0 &&
           place_seconds(c, a->main, a->parts, a->n_parts, a->n_cpu, a->n_moe) * least > 1 + 1e-9;
}

static void solve_all(const struct scene *c, struct run *r, struct answer *out)
{
    *out = (struct answer){0};
    (c->goal->by_tier ? by_tier : best_of_all)(r, out);
}

/* The search adds up rounded times. First with so much leave that no plan of the least speed is
 * missed; when the best of those is too slow after all, once more with none: what lies between is
 * then not excluded. */
static void solve_speed(const struct scene *c, struct run *r, struct answer *out)
{
    int64_t slack = objective_slack_ns(c->goal->gpus, c), ram = objective_slack_ns(c->goal->ram, c);
    slack = ram > slack ? ram : slack;
    r->limit_ns = c->limit_ns ? c->limit_ns + slack : 0;
    solve_all(c, r, out);
    if (!too_slow(c, out))
        return;
    struct answer between = *out;
    r->limit_ns = c->limit_ns > slack ? c->limit_ns - slack : 1;
    solve_all(c, r, out);
    out->proved = false;
    out->bound_offload = between.bound_offload;
    out->bound_nodes = between.bound_nodes;
    out->bound_gpus = between.bound_gpus;
    out->bound_total = between.bound_total;
    answer_done(&between);
}

void tiers_solve(const struct scene *c, const struct tiers_opts *o, struct answer *out,
                 uint64_t *used)
{
    struct run r = {.c = c, .steps = o->steps, .last = o->last, .max_nodes = c->max_nodes};
    *out = (struct answer){0};
    if (c->spec->want.n_split)
        hand_solve(c, out);
    else
        solve_speed(c, &r, out);
    if (!out->feasible)
        out->tier = TIER_NONE;
    *used += r.used;
}

void tiers_ram(const struct scene *c, uint64_t steps, struct answer *out, uint64_t *used)
{
    struct run r = {
        .c = c, .steps = steps, .last = TIER_RAM, .max_nodes = 1, .limit_ns = c->limit_ns};
    struct pass p = {.r = &r, .o = c->goal->ram, .ram = true};
    solve(&p, out);
    if (!out->feasible)
        out->tier = TIER_NONE;
    *used += r.used;
}
