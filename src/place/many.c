/* Several instances on one snapshot; see many.h. */
#include "place/many.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place/covers.h"
#include "place/hold.h"
#include "place/live.h"
#include "place/many_job.h"
#include "place/pack.h"
#include "place/place_int.h"
#include "place/replicas.h"

#include <string.h>

struct draft { /* a plan for every instance, and what they cost */
    struct place_plan **plans;
    int64_t *cost;
};

void place_set_free(struct place_set *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->n_items; i++)
        place_free(p->items[i].plan);
    notes_done(&p->proof);
    free(p->items);
    free(p);
}

/* ---- drafts ---- */

static void draft_init(const struct job *j, struct draft *d)
{
    d->plans = mem_calloc((size_t)j->n + 1, sizeof(struct place_plan *));
    d->cost = mem_calloc(j->form.len, sizeof *d->cost);
}

static void draft_done(const struct job *j, struct draft *d)
{
    for (uint32_t i = 0; d->plans && i < j->n; i++)
        place_free(d->plans[i]);
    free(d->plans);
    free(d->cost);
    *d = (struct draft){0};
}

static void draft_cost(const struct job *j, struct draft *d)
{
    memset(d->cost, 0, j->form.len * sizeof *d->cost);
    for (uint32_t i = 0; i < j->n; i++)
        cost_add(&j->form, j->wish[i], d->plans[i], d->cost);
}

/* The better of two stays in *best. */
static void draft_keep(const struct job *j, struct draft *best, struct draft *d)
{
    if (!best->plans || cost_compare(&j->form, d->cost, best->cost) < 0) {
        struct draft swap = *best;
        *best = *d;
        *d = swap;
    }
    draft_done(j, d);
}

static struct place_plan *refusal(const struct place_plan *like)
{
    struct place_plan *p = mem_calloc(1, sizeof *p);
    p->tier = TIER_NONE;
    p->optimal = like->optimal;
    return p;
}

/* What was placed is held, and seen by what comes after. */
static int keep(struct job *j, struct cluster_snapshot *now, uint32_t item,
                const struct place_plan *p, struct err *err)
{
    struct cluster_instance i = {.index = item};
    if (hold_of(now, j->nodes, &p->a, &i, err))
        return -1;
    if (hold_take(now, &i, err)) {
        hold_done(&i);
        return -1;
    }
    STR_COPY(i.deployment, j->wishes[j->wish[item]].d.spec->name);
    *snapshot_add_instance(now) = i;
    return 0;
}

/* The wishes on a live snapshot of their own. */
static struct live *start(const struct job *j, uint32_t *id, struct err *err)
{
    struct live *l = live_new(j->s);
    for (uint32_t w = 0; w < j->n_wishes; w++)
        if (live_demand(l, &j->wishes[w].d, j->wishes[w].m, &id[w], err)) {
            live_free(l);
            return NULL;
        }
    return l;
}

/* The replicas of one wish, one after the other. A refusal is one of all that follow: less is free
 * for them. */
static int place_wish(struct job *j, struct live *l, uint32_t id, uint32_t first, uint32_t n,
                      struct draft *d, struct err *err)
{
    const struct place_plan *last = NULL;
    uint32_t claim;
    for (uint32_t i = first; i < first + n; i++) {
        struct place_plan *p = last && !last->feasible ? refusal(last) : live_place(l, id, err);
        last = d->plans[i] = p;
        if (!p)
            return -1;
        j->steps += p->steps + j->s->n_nodes;
        const char *name = j->wishes[j->wish[i]].d.spec->name;
        if (p->feasible && live_claim(l, &p->a, name, i - first, &claim, err))
            return -1;
    }
    return 0;
}

/* One after the other, wishes in the order given. */
static int draft_in_order(struct job *j, const uint32_t *order, struct draft *d, struct err *err)
{
    mem_auto uint32_t *first = mem_calloc((size_t)j->n_wishes + 1, sizeof *first);
    mem_auto uint32_t *id = mem_calloc((size_t)j->n_wishes + 1, sizeof *id);
    struct live *l = start(j, id, err);
    int rc = l ? 0 : -1;
    for (uint32_t i = 0; i < j->n_wishes; i++)
        first[i + 1] = first[i] + j->wishes[i].replicas;
    draft_init(j, d);
    for (uint32_t o = 0; o < j->n_wishes && !rc; o++) {
        uint32_t w = order[o];
        rc = place_wish(j, l, id[w], first[w], j->wishes[w].replicas, d, err);
    }
    live_free(l);
    if (rc)
        draft_done(j, d);
    else
        draft_cost(j, d);
    return rc;
}

/* ---- orders ---- */

struct sized {
    uint64_t bytes;
    uint32_t wish;
};

static int larger(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (x->wish > y->wish) - (x->wish < y->wish);
}

static uint64_t model_bytes(const struct estimate_model *m)
{
    uint64_t sum = m->head;
    for (uint32_t l = 0; l < m->n_layers; l++)
        sum = num_add_sat(sum, num_add_sat(m->layers[l].weights, m->layers[l].kv));
    return sum;
}

/* As given; the largest models first; the smallest first. Stops when nothing can be better. */
static int try_orders(struct job *j, const int64_t *low, struct draft *best, struct err *err)
{
    mem_auto uint32_t *order = mem_calloc((size_t)j->n_wishes + 1, sizeof *order);
    mem_auto struct sized *size = mem_calloc((size_t)j->n_wishes + 1, sizeof *size);
    for (uint32_t i = 0; i < j->n_wishes; i++)
        size[i] = (struct sized){model_bytes(j->wishes[i].m), i};
    qsort(size, j->n_wishes, sizeof *size, larger);
    for (uint32_t turn = 1; turn < 3; turn++) {
        struct draft d;
        for (uint32_t i = 0; i < j->n_wishes; i++)
            order[i] = size[turn == 1 ? i : j->n_wishes - 1 - i].wish;
        if (j->n_wishes < 2 || cost_compare(&j->form, best->cost, low) <= 0 ||
            j->steps >= j->budget)
            return 0;
        if (draft_in_order(j, order, &d, err))
            return -1;
        draft_keep(j, best, &d);
    }
    return 0;
}

/* Replicas of one model over several nodes each: nodes that go together first, then what is left as
 * it comes. */
static int try_covers(struct job *j, struct draft *best, struct err *err)
{
    struct cover *covers;
    uint32_t n;
    struct place_budget b = {.bare = true};
    struct cluster_snapshot now;
    struct draft d;
    int rc = 0;
    if (j->n_wishes != 1 || j->steps >= j->budget)
        return 0;
    if (covers_find(j, &covers, &n, err))
        return -1;
    draft_init(j, &d);
    snapshot_copy(&now, j->s);
    for (uint32_t i = 0; i < j->n && n && !rc; i++) {
        d.plans[i] = i < n ? cover_plan(j, &now, &covers[i], err) : job_solve(j, &now, 0, &b, err);
        rc = !d.plans[i] ? -1 : d.plans[i]->feasible ? keep(j, &now, i, d.plans[i], err) : 0;
    }
    free(covers);
    snapshot_done(&now);
    if (rc == 0 && n) {
        draft_cost(j, &d);
        draft_keep(j, best, &d);
    } else {
        draft_done(j, &d);
    }
    return rc;
}

/* ---- bounds ---- */

/* Every instance at the best plan it would have alone. */
static int bound_alone(struct job *j, int64_t *low, struct err *err)
{
    struct place_budget b = {.bare = true};
    for (uint32_t w = 0; w < j->n_wishes; w++) {
        if (!j->wishes[w].replicas)
            continue;
        struct place_plan *p = job_solve(j, j->s, w, &b, err);
        if (!p)
            return -1;
        for (uint32_t r = 0; r < j->wishes[w].replicas; r++)
            cost_add_low(&j->form, w, p, low);
        place_free(p);
    }
    return 0;
}

/* The larger of two bounds. */
static void raise(const struct job *j, int64_t *low, const int64_t *other)
{
    if (cost_compare(&j->form, low, other) < 0)
        memcpy(low, other, j->form.len * sizeof *low);
}

/* Does the policy count offload, nodes and GPUs before all else? */
static bool counts_first(const struct cost_terms *c)
{
    static const enum policy_term FIRST[] = {TERM_OFFLOAD, TERM_NODES, TERM_GPUS};
    return c->n >= ARRAY_LEN(FIRST) && memcmp(c->t, FIRST, sizeof FIRST) == 0;
}

/* Replicas of the only wish, of which n are placed. Sums are settled one after the other: those on
 * one GPU and those within one node are no more than the bound says, and the others take as little
 * as any; each node and each GPU more than one costs its time. */
static void bound_sums(struct job *j, const struct replicas_bound *b, uint32_t n, int64_t *row)
{
    const struct place_wish *w = &j->wishes[0];
    const struct cost_terms *c = &j->form.terms[0];
    int64_t *out = row + c->at;
    if (!counts_first(c))
        return;
    out[0] = (int64_t)COST_UNIT * (n - (n < b->on_gpus ? n : b->on_gpus));
    if (out[0])
        return;
    uint32_t ones = b->one_gpu < n ? b->one_gpu : n, near = b->one_node < n ? b->one_node : n;
    uint32_t nodes = b->nodes < 2 ? 2 : b->nodes, far = n - near;
    out[1] = COST_UNIT * (near + (int64_t)far * nodes);
    out[2] = COST_UNIT * (ones + (int64_t)(n - ones) * b->gpus);
    if (c->n < 4 || c->t[3] != TERM_TOKEN_TIME)
        return;
    int64_t one = replicas_least_ns(j->s, w->d.spec, w->m, 1, 1);
    int64_t several = replicas_least_ns(j->s, w->d.spec, w->m, 1, b->gpus);
    int64_t remote = replicas_least_ns(j->s, w->d.spec, w->m, nodes, b->gpus);
    out[3] = one * ones + several * (n - ones) + (remote - several) * far;
}

/* How many fit by capacities: each wish's replicas as if the others were not there. What they cost
 * is known where there is only one wish. */
static int bound_most(struct job *j, int64_t *low, struct err *err)
{
    mem_auto int64_t *row = mem_calloc(j->form.len, sizeof *row);
    struct replicas_bound b;
    for (uint32_t w = 0; w < j->n_wishes; w++) {
        const struct place_wish *x = &j->wishes[w];
        if (x->d.spec->want.min_ctx || !x->replicas)
            continue; /* with less context more may fit */
        if (replicas_bound(j->s, x->d.spec, x->m, x->replicas, &b, err))
            return -1;
        row[1 + w] = x->replicas - b.most;
        row[0] += row[1 + w];
        if (j->n_wishes == 1)
            bound_sums(j, &b, b.most, row);
    }
    raise(j, low, row);
    return 0;
}

/* Replicas of one wish, each on one GPU: GPUs hold so many each, nodes so many mains each, which is
 * a laminar matroid. The best one next, again and again, is best in all, as long as nothing but one
 * GPU can be as good in the first terms, and what a replica costs on a GPU does not depend on the
 * others. */
static bool best_by_turns(const struct job *j, const struct draft *d)
{
    const struct constraints *want = &j->wishes[0].d.spec->want;
    if (j->n_wishes != 1 || !counts_first(&j->form.terms[0]) || want->min_ctx || want->keep_whole.n)
        return false;
    for (uint32_t i = 0; i < j->n; i++)
        if (!d->plans[i]->feasible || !d->plans[i]->optimal || d->plans[i]->tier != TIER_ONE_GPU)
            return false;
    return true;
}

/* ---- the exact search ---- */

static int try_pack(struct job *j, int64_t *low, struct draft *best, struct place_set *out,
                    struct err *err)
{
    mem_auto struct choice_for *items = mem_calloc(j->n, sizeof *items);
    struct pack_answer a;
    for (uint32_t i = 0; i < j->n; i++) {
        uint32_t w = j->wish[i];
        items[i] = (struct choice_for){
            .wish = w, .spec = j->wishes[w].d.spec, .m = j->wishes[w].m, .d = &j->wishes[w].d};
    }
    struct pack p = {.s = j->s,
                     .form = &j->form,
                     .items = items,
                     .n = j->n,
                     .beat = best->cost,
                     .steps = j->budget > j->steps ? j->budget - j->steps : 0};
    int rc = pack_solve(&p, &a, err);
    if (rc == 0) {
        j->steps += a.steps;
        raise(j, low, a.low);
        if (a.plans) {
            struct draft d = {.plans = STEAL(a.plans)};
            d.cost = mem_calloc(j->form.len, sizeof *d.cost);
            draft_cost(j, &d);
            draft_keep(j, best, &d);
        }
        if (a.proved)
            note_num(notes_add(&out->proof, NOTE_TOGETHER_SEARCHED), WORD_SETS, a.n_sets);
    }
    pack_done(&a, j->n);
    return rc;
}

/* ---- the answer ---- */

struct beside { /* all instances placed, so that each can be planned beside the others */
    struct cluster_snapshot now;
    uint32_t *at; /* by item: place in now.instances */
};

static void swap_last(struct beside *x, uint32_t item)
{
    struct cluster_instance *a = &x->now.instances[x->at[item]];
    struct cluster_instance *b = &x->now.instances[x->now.n_instances - 1], swap = *a;
    x->at[b->index] = x->at[item];
    *a = *b;
    *b = swap;
    x->at[item] = x->now.n_instances - 1;
}

/* Plans one item again, beside all others: with reasons, and never worse than it was. */
static int again(struct job *j, struct beside *x, struct draft *d, uint32_t item, bool changes,
                 struct err *err)
{
    struct place_plan *old = d->plans[item];
    struct place_budget b = {.no_changes = old->feasible || !changes};
    struct cluster_instance *held = NULL;
    if (old->feasible) {
        swap_last(x, item);
        held = &x->now.instances[--x->now.n_instances];
        hold_give(&x->now, held);
    }
    struct place_plan *p = job_solve(j, &x->now, j->wish[item], &b, err);
    mem_auto int64_t *was = mem_calloc(j->form.len, sizeof *was);
    mem_auto int64_t *is = mem_calloc(j->form.len, sizeof *is);
    if (p) {
        cost_add(&j->form, j->wish[item], old, was);
        cost_add(&j->form, j->wish[item], p, is);
    }
    bool better = p && cost_compare(&j->form, is, was) <= 0;
    if (better) {
        d->plans[item] = p;
        p = old;
    }
    if (held && better)
        hold_done(held);
    int rc = p ? 0 : -1;
    place_free(p);
    if (rc || !d->plans[item]->feasible)
        return rc;
    if (!better) {
        x->now.n_instances++;
        return hold_take(&x->now, held, err);
    }
    x->at[item] = x->now.n_instances;
    return keep(j, &x->now, item, d->plans[item], err);
}

static int explain(struct job *j, struct draft *d, struct err *err)
{
    struct beside x;
    int rc = 0;
    snapshot_copy(&x.now, j->s);
    uint32_t given = x.now.n_instances;
    x.at = mem_calloc((size_t)j->n + 1, sizeof *x.at);
    for (uint32_t i = 0; i < given; i++)
        x.now.instances[i].index = j->n; /* names an item from here on; these are none */
    for (uint32_t i = 0; i < j->n && !rc; i++) {
        x.at[i] = x.now.n_instances;
        if (d->plans[i]->feasible)
            rc = keep(j, &x.now, i, d->plans[i], err);
    }
    for (uint32_t i = 0; i < j->n && !rc; i++) {
        bool first = i == 0 || j->wish[i] != j->wish[i - 1] || d->plans[i - 1]->feasible;
        rc = again(j, &x, d, i, first && j->changes, err);
    }
    snapshot_done(&x.now);
    free(x.at);
    draft_cost(j, d);
    return rc;
}

/* Placed ones of a wish first. */
static void fill_items(struct job *j, struct draft *d, struct place_set *out)
{
    out->items = mem_calloc((size_t)j->n + 1, sizeof *out->items);
    for (uint32_t i = 0; i < j->n;) {
        uint32_t end = i, replica = 0;
        while (end < j->n && j->wish[end] == j->wish[i])
            end++;
        for (int placed = 1; placed >= 0; placed--)
            for (uint32_t k = i; k < end; k++)
                if (d->plans[k] && d->plans[k]->feasible == (placed == 1)) {
                    out->items[out->n_items++] = (struct place_item){
                        .wish = j->wish[i], .replica = replica++, .plan = STEAL(d->plans[k])};
                    out->n_placed += placed == 1;
                }
        i = end;
    }
}

static void fill_proof(const struct job *j, const struct draft *d, const int64_t *low,
                       struct place_set *out)
{
    out->bound_placed = j->n - (uint32_t)low[0];
    out->optimal = cost_compare(&j->form, d->cost, low) <= 0;
    out->gap_percent = out->optimal ? 0 : cost_gap(&j->form, d->cost, low);
    if (low[0] && d->cost[0] <= low[0])
        note_num(notes_add(&out->proof, NOTE_TOGETHER_MOST), WORD_PLANS, out->n_placed);
    if (out->optimal)
        return;
    if (d->cost[0] > low[0])
        note_num(notes_add(&out->proof, NOTE_TOGETHER_OPEN), WORD_PLANS, out->bound_placed);
    else
        note_real(notes_add(&out->proof, NOTE_TOGETHER_OPEN_COST), WORD_GAP, out->gap_percent);
}

/* Drafts and bounds until they meet, or the budget ends. */
static int search(struct job *j, struct draft *best, int64_t *low, struct place_set *out,
                  struct err *err)
{
    mem_auto uint32_t *order = mem_calloc((size_t)j->n_wishes + 1, sizeof *order);
    for (uint32_t i = 0; i < j->n_wishes; i++)
        order[i] = i;
    if (bound_alone(j, low, err) || draft_in_order(j, order, best, err))
        return -1;
    if (cost_compare(&j->form, best->cost, low) <= 0) {
        note_num(notes_add(&out->proof, NOTE_TOGETHER_ALONE), WORD_PLANS, j->n);
        return 0;
    }
    if (best_by_turns(j, best)) {
        note_num(notes_add(&out->proof, NOTE_TOGETHER_GPUS), WORD_PLANS, j->n);
        raise(j, low, best->cost);
        return 0;
    }
    if (bound_most(j, low, err) || try_orders(j, low, best, err))
        return -1;
    if (cost_compare(&j->form, best->cost, low) <= 0 && !best->cost[0])
        note_num(notes_add(&out->proof, NOTE_TOGETHER_BY_SIZE), WORD_PLANS, j->n);
    if (cost_compare(&j->form, best->cost, low) <= 0)
        return 0;
    if (try_covers(j, best, err))
        return -1;
    return j->n > PACK_MAX_ITEMS ? 0 : try_pack(j, low, best, out, err);
}

struct place_set *place_many(const struct cluster_snapshot *s, const struct place_wish *wishes,
                             uint32_t n, const struct place_budget *budget, struct err *err)
{
    struct job j = {0};
    struct place_set *out = mem_calloc(1, sizeof *out);
    struct draft best = {0};
    int rc = job_init(&j, s, wishes, n, err);
    j.budget = budget && budget->steps ? budget->steps : PLACE_STEPS;
    j.changes = !(budget && budget->no_changes);
    mem_auto int64_t *low = mem_calloc((size_t)j.form.len + 1, sizeof *low);
    if (rc == 0)
        rc = search(&j, &best, low, out, err);
    if (rc == 0 && j.n <= PLACE_MANY_EXPLAINED && !(budget && budget->bare))
        rc = explain(&j, &best, err);
    if (rc == 0) {
        fill_proof(&j, &best, low, out);
        fill_items(&j, &best, out);
        out->steps = j.steps;
    }
    draft_done(&j, &best);
    job_done(&j);
    if (rc == 0)
        return out;
    place_set_free(out);
    return NULL;
}
