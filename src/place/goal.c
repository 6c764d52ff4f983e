/* The policy of a scene: what it comes to here, and what a plan is worth by it; see objective.h. */
#include "place/objective.h"

#include "base/mem.h"

#include <string.h>

/* ---- figures that nobody knows ---- */

enum known { KNOWN_ALL, KNOWN_SOME, KNOWN_NONE };

/* Of the GPUs that may be used, how many have it; *missing is one that has not. */
static enum known known(const struct scene *c, enum policy_term t, uint32_t *missing)
{
    uint32_t have = 0, lack = 0;
    for (uint32_t i = 0; i < c->n_dev; i++) {
        const struct cluster_device *d = &c->s->nodes[c->dev[i].node].devices[c->dev[i].index];
        if (c->dev[i].why)
            continue;
        if (t == TERM_PRICE ? d->price > 0 : d->tdp_w > 0) {
            have++;
        } else {
            *missing = lack ? *missing : i;
            lack++;
        }
    }
    return !lack ? KNOWN_ALL : have ? KNOWN_SOME : KNOWN_NONE;
}

static uint32_t find_term(const struct policy *p, enum policy_term t)
{
    uint32_t i = 0;
    while (i < p->n_terms && p->terms[i].term != t)
        i++;
    return i;
}

static void drop_term(struct policy *p, uint32_t at)
{
    p->n_terms--;
    for (uint32_t i = at; i < p->n_terms; i++)
        p->terms[i] = p->terms[i + 1];
}

static int not_known(const struct scene *c, enum policy_term t, uint32_t dev, struct err *err)
{
    const struct cluster_node *n = &c->s->nodes[c->dev[dev].node];
    const struct cluster_device *d = &n->devices[c->dev[dev].index];
    return err_set(err, ERR_INVALID,
                   "policy '%s' counts %s, but that of %.60s:%u %.40s is not known; give it in the "
                   "cluster file (%s), leave that GPU out or take another policy",
                   c->goal->p.name, policy_term_name(t), n->name, d->index, d->name,
                   t == TERM_PRICE ? "price" : "power");
}

/* Price and power stand in for one another where no GPU has the one. Unknown is never nothing. */
static int settle_unknown(struct scene *c, struct err *err)
{
    static const enum policy_term TERMS[] = {TERM_PRICE, TERM_POWER};
    struct goal *g = c->goal;
    struct policy asked = g->p;
    for (size_t i = 0; i < ARRAY_LEN(TERMS); i++) {
        enum policy_term t = TERMS[i], other = TERMS[1 - i];
        uint32_t missing = 0, ignored;
        uint32_t at = find_term(&g->p, t);
        enum known k = at < g->p.n_terms ? known(c, t, &missing) : KNOWN_ALL;
        if (k == KNOWN_ALL)
            continue;
        bool instead =
            find_term(&asked, other) < asked.n_terms && known(c, other, &ignored) == KNOWN_ALL;
        if (k == KNOWN_SOME || !instead)
            return not_known(c, t, missing, err);
        drop_term(&g->p, at);
        g->left_out = t;
    }
    return 0;
}

/* ---- the goal ---- */

static bool is_term(const struct policy *p, uint32_t i, enum policy_term t)
{
    return i < p->n_terms && p->terms[i].term == t;
}

static void settle_order(struct goal *g)
{
    const struct policy *p = &g->p;
    bool ordered = !p->weighted;
    g->streams = p->streams ? p->streams : 1;
    g->streaming = find_term(p, TERM_STREAM_TIME) < p->n_terms;
    g->by_tier = ordered && is_term(p, 0, TERM_OFFLOAD);
    g->counted =
        g->by_tier && !g->streaming && is_term(p, 1, TERM_NODES) && is_term(p, 2, TERM_GPUS);
    g->prefers_fit = ordered && is_term(p, p->n_terms - 1, TERM_LEFTOVER) &&
                     find_term(p, TERM_TOKEN_TIME) < p->n_terms;
}

int goal_new(struct scene *c, struct err *err)
{
    struct goal *g = c->goal = mem_calloc(1, sizeof *g);
    g->p = c->spec->policy;
    g->left_out = TERM_COUNT;
    if (!g->p.n_terms)
        policy_preset(&g->p, "tiered", NULL);
    if (settle_unknown(c, err))
        return -1;
    settle_order(g);
    figures_init(&g->figures, c, &g->p);
    g->gpus = objective_new(c, true, !g->by_tier, err);
    g->ram = g->by_tier && g->gpus ? objective_new(c, false, true, err) : g->gpus;
    return g->gpus && g->ram ? 0 : -1;
}

void goal_free(struct goal *g)
{
    if (!g)
        return;
    if (g->ram != g->gpus)
        objective_free(g->ram);
    objective_free(g->gpus);
    figures_done(&g->figures);
    free(g);
}

/* ---- comparing ---- */

const struct objective *goal_objective(const struct scene *c, const struct answer *a)
{
    return a->tier <= TIER_NODES ? c->goal->gpus : c->goal->ram;
}

double goal_units(enum policy_term t, double figure)
{
    return figure / figure_resolution(t);
}

static double weighted_sum(const struct scene *c, const struct answer *a)
{
    const struct policy *p = &c->goal->p;
    double sum = 0;
    for (uint32_t i = 0; i < p->n_terms; i++) {
        enum policy_term t = p->terms[i].term;
        sum += p->terms[i].weight * goal_units(t, (double)figure_answer(c, a, t));
    }
    return sum;
}

int goal_compare(const struct scene *c, const struct answer *a, const struct answer *b)
{
    const struct policy *p = &c->goal->p;
    if (p->weighted) {
        double x = weighted_sum(c, a), y = weighted_sum(c, b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    uint32_t named = p->weighted ? 0 : p->n_terms;
    for (uint32_t i = 0; i < named + GOAL_ENDS; i++) {
        enum policy_term t = i < named ? p->terms[i].term : GOAL_END[i - named];
        int64_t x = figure_answer(c, a, t), y = figure_answer(c, b, t);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

/* ---- reporting ---- */

static double below_percent(double bound, double amount)
{
    return amount > 0 && bound < amount ? 100 * (amount - bound) / amount : 0;
}

/* What the bound has of a term; false when it says nothing of it. */
static bool bound_of(const struct scene *c, const struct answer *a, enum policy_term t, double *out)
{
    const struct goal *g = c->goal;
    const struct objective *o = goal_objective(c, a);
    if (t == TERM_OFFLOAD && g->by_tier)
        return *out = a->bound_offload, true;
    if (a->counted && (t == TERM_NODES || t == TERM_GPUS))
        return *out = t == TERM_NODES ? a->bound_nodes : a->bound_gpus, true;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct objective_term *x = &o->t[i];
        if (x->term != t)
            continue;
        __int128 steps = a->bound_total / x->wide % ((__int128)x->most + 1);
        int64_t step = x->step * (objective_is_time(t) ? o->tick_ns : 1);
        *out = goal_units(t, (double)(int64_t)steps * (double)step);
        return true;
    }
    return false;
}

/* The terms in their order, what decides between equals, and a preference at the end. */
static uint32_t list_terms(const struct goal *g, enum policy_term *out)
{
    uint32_t n = 0, named = g->p.n_terms - g->prefers_fit;
    for (uint32_t i = 0; i < named; i++)
        out[n++] = g->p.terms[i].term;
    for (uint32_t i = 0; i < GOAL_ENDS; i++)
        if (find_term(&g->p, GOAL_END[i]) == g->p.n_terms)
            out[n++] = GOAL_END[i];
    if (g->prefers_fit)
        out[n++] = TERM_LEFTOVER;
    return n;
}

static void report_ordered(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    bool proved = true; /* all terms so far */
    for (uint32_t i = 0; i < p->n_terms; i++) {
        struct place_term *x = &p->terms[i];
        double bound = x->amount;
        bool said = proved && (a->proved || bound_of(c, a, x->term, &bound));
        if (i == p->n_terms - 1 && c->goal->prefers_fit)
            said = false;
        x->bound = said ? (bound < x->amount ? bound : x->amount) : 0;
        x->proved = said && x->bound >= x->amount;
        if (proved && said && !x->proved)
            p->gap_percent = below_percent(x->bound, x->amount);
        proved = proved && x->proved;
    }
    /* Where nodes and GPUs are settled first, the time has a bound of its own. */
    bool timed = a->counted && !a->proved;
    double ns = timed ? below_percent((double)a->bound_ns, (double)a->ns) : 0;
    p->gap_percent = ns > p->gap_percent ? ns : p->gap_percent;
}

static void report_sum(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    p->weighted = true;
    p->sum = p->bound_sum = weighted_sum(c, a);
    const struct objective *o = c->goal->gpus;
    double bound = (double)(a->bound_total / o->sum_step * o->sum_step) / o->sum_scale;
    if (!a->proved && bound < p->sum)
        p->bound_sum = bound;
    p->gap_percent = below_percent(p->bound_sum, p->sum);
    for (uint32_t i = 0; i < p->n_terms && a->proved; i++)
        p->terms[i].proved = true;
}

void goal_report(const struct scene *c, const struct answer *a, struct place_plan *p)
{
    enum policy_term terms[PLACE_MAX_TERMS];
    p->n_terms = list_terms(c->goal, terms);
    p->time_step_ns = (uint32_t)goal_objective(c, a)->tick_ns;
    for (uint32_t i = 0; i < p->n_terms; i++) {
        double amount = goal_units(terms[i], (double)figure_answer(c, a, terms[i]));
        p->terms[i] = (struct place_term){.term = terms[i], .amount = amount, .bound = amount};
    }
    if (c->goal->p.weighted)
        report_sum(c, a, p);
    else
        report_ordered(c, a, p);
}
