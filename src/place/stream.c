/* Time over several streams: the larger of its share of the whole and the slowest stage. It is no
 * sum over devices, so the search gets it as a limit: with stages and shares of at most x, what is
 * the least value? That grows as x falls, in steps; a plan found under x is the best for every
 * limit down to its own stream time. Spans of x that are not settled yet are halved, the one whose
 * bound is least first, until no bound is below the best total. */
#include "place/pass.h"

#include "base/mem.h"

struct span { /* plans whose stream time lies in lo..hi have at least this value */
    int64_t lo, hi, value;
};

struct halving {
    struct pass *p;
    struct span *span;
    uint32_t n;
    size_t cap;
    struct answer best;
    __int128 total, open; /* of the best; the least that is not excluded */
};

static int64_t stream_ticks(const struct pass *p, const struct answer *a)
{
    int64_t tick = p->o->tick_ns, ns = figure_answer(p->r->c, a, TERM_STREAM_TIME);
    return (ns + tick - 1) / tick;
}

static void add_span(struct halving *h, int64_t lo, int64_t hi, int64_t value)
{
    if (lo > hi)
        return;
    mem_grow(&h->span, &h->cap, (size_t)h->n + 1, sizeof *h->span);
    h->span[h->n++] = (struct span){lo, hi, value};
}

static void leave_open(struct halving *h, int64_t value, int64_t stream)
{
    __int128 total = objective_total(h->p->o, value, stream);
    h->open = total < h->open ? total : h->open;
}

/* Takes what a search under the limit hi found for the span. Its plans with stream times from that
 * of the answer on are settled. */
static void settle(struct halving *h, struct pass *found, const struct span *s)
{
    struct answer *a = &found->best;
    int64_t proved = found->open < PLACE_INF ? found->open : a->value;
    if (!a->feasible) {
        if (found->open < PLACE_INF)
            leave_open(h, found->open > s->value ? found->open : s->value, s->lo);
        return;
    }
    int64_t x = stream_ticks(h->p, a);
    x = x > s->hi ? s->hi : x; /* times are rounded */
    __int128 total = objective_total(h->p->o, a->value, x);
    int64_t least = proved < a->value ? proved : a->value;
    if (least < a->value)
        leave_open(h, least, x > s->lo ? x : s->lo);
    add_span(h, s->lo, x - 1, least);
    if (!h->best.feasible || total < h->total) {
        answer_done(&h->best);
        h->best = *a;
        h->total = total;
    } else {
        answer_done(a);
    }
}

/* The span with the least bound, taken out; false when none is below the best. */
static bool next(struct halving *h, struct span *out)
{
    uint32_t at = UINT32_MAX;
    __int128 least = h->total;
    for (uint32_t i = 0; i < h->n; i++) {
        __int128 t = objective_total(h->p->o, h->span[i].value, h->span[i].lo);
        if (t < least) {
            least = t;
            at = i;
        }
    }
    if (at == UINT32_MAX)
        return false;
    *out = h->span[at];
    h->span[at] = h->span[--h->n];
    return true;
}

static void probe(struct halving *h, int64_t limit, struct pass *q)
{
    int64_t tick = h->p->o->tick_ns, share;
    *q = *h->p;
    q->stage_ns = limit * tick;
    if (!__builtin_mul_overflow(q->stage_ns, (int64_t)h->p->r->c->goal->streams, &share) &&
        (!q->limit_ns || share < q->limit_ns))
        q->limit_ns = share;
    pass_solve(q);
}

void stream_solve(struct pass *p)
{
    struct halving h = {.p = p};
    struct pass q = *p;
    struct span s;
    for (uint32_t i = 0; i < p->o->n; i++)
        if (p->o->t[i].term == TERM_STREAM_TIME)
            s = (struct span){0, p->o->t[i].most, 0};
    h.open = objective_total(p->o, PLACE_INF, s.hi);
    pass_solve(&q);
    p->near_ram = q.near_ram;
    p->near_cpus = q.near_cpus;
    p->open = q.best.feasible ? PLACE_INF : q.open;
    settle(&h, &q, &s);
    while (h.best.feasible && next(&h, &s)) {
        if (!run_left(p->r)) {
            leave_open(&h, s.value, s.lo);
            continue;
        }
        int64_t mid = s.lo + (s.hi - s.lo) / 2;
        add_span(&h, mid + 1, s.hi, s.value);
        s.hi = mid;
        probe(&h, mid, &q);
        settle(&h, &q, &s);
    }
    free(h.span);
    p->best = h.best;
    p->best.proved = h.open >= h.total;
    p->best.bound_total = p->best.proved ? h.total : h.open;
}
