/* Rows of costs; see cost.h. */
#include "place/cost.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

static const double MOST = 1e15;

/* Less free memory, or more neighbours, never lowers these. The others are preferences. */
static bool only_grows(enum policy_term t)
{
    return t != TERM_LEFTOVER && t != TERM_WHOLE && t != TERM_LOAD && t != TERM_SPREAD;
}

/* The terms of a policy, and what decides between plans that are equal in them; up to the first
 * preference. A sum is one number, if it has no preferences. */
static void count_terms(const struct policy *p, struct cost_terms *out)
{
    static const enum policy_term THEN[] = {TERM_NODES, TERM_GPUS, TERM_TOKEN_TIME};
    bool named[TERM_COUNT] = {false};
    for (uint32_t i = 0; i < p->n_terms; i++) {
        if (!only_grows(p->terms[i].term))
            return;
        named[p->terms[i].term] = true;
        if (!p->weighted || i + 1 == p->n_terms)
            out->t[out->n++] = p->terms[i].term;
    }
    for (uint32_t i = 0; i < ARRAY_LEN(THEN) && !p->weighted; i++)
        if (!named[THEN[i]])
            out->t[out->n++] = THEN[i];
}

void cost_form_init(struct cost_form *f, const struct deployment_spec *const *specs, uint32_t n)
{
    *f = (struct cost_form){.n_wishes = n, .len = 1 + n};
    f->specs = mem_calloc((size_t)n + 1, sizeof *f->specs);
    f->terms = mem_calloc((size_t)n + 1, sizeof *f->terms);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = 0;
        f->specs[i] = specs[i];
        while (k < i && !policy_same(&specs[k]->policy, &specs[i]->policy))
            k++;
        if (k < i) {
            f->terms[i] = f->terms[k];
            continue;
        }
        count_terms(&specs[i]->policy, &f->terms[i]);
        f->terms[i].at = f->len;
        f->len += f->terms[i].n;
    }
}

void cost_form_done(struct cost_form *f)
{
    free(f->specs);
    free(f->terms);
    *f = (struct cost_form){0};
}

static int64_t whole(double amount)
{
    return llround(fmin(amount * COST_UNIT, MOST));
}

/* A term that nothing is known of costs nothing in any plan. */
static struct place_term term_of(const struct place_plan *p, enum policy_term t)
{
    for (uint32_t i = 0; i < p->n_terms; i++)
        if (p->terms[i].term == t)
            return p->terms[i];
    return (struct place_term){.proved = true};
}

static void add_dropped(const struct cost_form *f, uint32_t wish, int64_t *row)
{
    row[0]++;
    row[1 + wish]++;
}

void cost_add(const struct cost_form *f, uint32_t wish, const struct place_plan *p, int64_t *row)
{
    if (!p->feasible) {
        add_dropped(f, wish, row);
        return;
    }
    const struct cost_terms *c = &f->terms[wish];
    for (uint32_t i = 0; i < c->n; i++)
        row[c->at + i] += whole(p->weighted ? p->sum : term_of(p, c->t[i]).amount);
}

/* RAM of further nodes takes part only where nothing else fits, so a plan with part in RAM may cost
 * less once there is less room: but for being in RAM, and for being on one node where nodes are
 * what is counted next. A context that may be lowered makes any plan cheaper. */
static uint32_t terms_that_hold(const struct cost_form *f, uint32_t wish,
                                const struct place_plan *p)
{
    const struct cost_terms *c = &f->terms[wish];
    if (f->specs[wish]->want.min_ctx)
        return 0;
    if (p->tier != TIER_RAM || c->n == 0)
        return c->n;
    if (p->weighted || c->t[0] != TERM_OFFLOAD)
        return 0;
    bool one = c->n > 1 && c->t[1] == TERM_NODES && term_of(p, TERM_NODES).amount < 2;
    return one ? c->n : 1;
}

void cost_add_low(const struct cost_form *f, uint32_t wish, const struct place_plan *p,
                  int64_t *row)
{
    if (!p->feasible) {
        if (p->optimal)
            add_dropped(f, wish, row);
        return;
    }
    const struct cost_terms *c = &f->terms[wish];
    uint32_t n = terms_that_hold(f, wish, p);
    for (uint32_t i = 0; i < n; i++) {
        struct place_term t = term_of(p, c->t[i]);
        row[c->at + i] += whole(p->weighted ? p->bound_sum : t.bound);
        if (!t.proved)
            break;
    }
}

int cost_compare(const struct cost_form *f, const int64_t *a, const int64_t *b)
{
    for (uint32_t i = 0; i < f->len; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

double cost_gap(const struct cost_form *f, const int64_t *a, const int64_t *low)
{
    for (uint32_t i = 0; i < f->len; i++)
        if (a[i] != low[i])
            return a[i] > 0 ? 100.0 * (double)(a[i] - low[i]) / (double)a[i] : 0;
    return 0;
}
